//! Reservation ids: `<cell>-<22 characters>` where the sidecar mints them (a lot and a place in it), `<cell>-<the client's own>`
//! where it does not.
//! An id says which cell of the namespace it lives in, so that any sidecar can route it; to clients it is opaque.

use std::cell::Cell;
use std::time::{SystemTime, UNIX_EPOCH};

/// A client's own id, a SKU, a reference: at most so many bytes.
pub const NAME_BYTES_MAX: usize = 512;
/// In the order of their bytes, so that ids sort by the time they were minted.
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Of a lot's id those that tell when it was minted, unix ms: enough until the year 8800.
const TIME_DIGITS: usize = 8;
/// 62^11 > 2^64.
const RANDOM_DIGITS: usize = 11;
/// As lua/lib/format.lua has it.
const LOT_DIGITS: usize = TIME_DIGITS + RANDOM_DIGITS;
const PLACE_DIGITS: usize = 3;

/// Places of a lot whose ends are stored together (lua/lib/format.lua).
const LOG_PLACES: u16 = 16;
/// Places of a lot, for its logs are counted by one byte.
const PLACE_MAX: u64 = 256 * LOG_PLACES as u64;

/// Names a lot: reservations that one script call makes together (lua/lib/format.lua).
pub type LotId = [u8; LOT_DIGITS];
/// Tells an operation sent again from another one like it: chance alone.
pub type Token = [u8; RANDOM_DIGITS];

/// What a minted id is within its cell.
pub type MintedText = [u8; LOT_DIGITS + PLACE_DIGITS];

/// A reservation whose id the sidecar minted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Minted {
    /// Its lot.
    pub lot: LotId,
    /// Its place there, from 1.
    pub place: u16,
}

impl Minted {
    /// What an id within a cell would be, were it a minted one; None where it cannot be.
    #[must_use]
    pub fn parse(own: &[u8]) -> Option<Self> {
        let text: &MintedText = own.try_into().ok()?;
        let (lot, place) = text.split_at(LOT_DIGITS);
        // Without a branch for each of them: nearly all are.
        let worst = lot.iter().fold(0, |worst, &digit| worst | VALUES[usize::from(digit)]);
        if worst & NO_DIGIT != 0 {
            return None;
        }
        let place = u16::try_from(number(place)?).ok().filter(|&place| place > 0 && u64::from(place) <= PLACE_MAX)?;
        Some(Self { lot: lot.try_into().ok()?, place })
    }

    /// Which of its lot's logs it is in, from 0, and its place there, from 1.
    #[must_use]
    pub fn in_log(&self) -> (u8, u16) {
        let before = self.place.saturating_sub(1);
        ((before / LOG_PLACES) as u8, before % LOG_PLACES + 1)
    }

    /// The id within its cell.
    #[must_use]
    pub fn text(&self) -> MintedText {
        let mut text = [0; LOT_DIGITS + PLACE_DIGITS];
        let (lot, place) = text.split_at_mut(LOT_DIGITS);
        lot.copy_from_slice(&self.lot);
        write_digits(place, u64::from(self.place));
        text
    }
}

/// When a lot's id was minted, unix ms.
#[must_use]
pub fn minted_ms(lot: &LotId) -> u64 {
    number(&lot[..TIME_DIGITS]).unwrap_or(0)
}

/// Mints ids by the upstream's clock, as far as its last answers told it.
#[derive(Debug, Default)]
pub struct Mint {
    /// The upstream's clock minus this machine's, ms.
    offset_ms: Cell<i64>,
}

impl Mint {
    /// The upstream said that it is now `now_ms` there.
    pub fn observe(&self, now_ms: i64) {
        self.offset_ms.set(now_ms - local_ms());
    }

    /// The upstream's time, about: unix ms.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        local_ms().saturating_add(self.offset_ms.get()).max(0) as u64
    }

    /// A new lot's id: when it was minted, and 64 bits of chance.
    #[must_use]
    pub fn lot(&self) -> LotId {
        let mut id = [0; LOT_DIGITS];
        let (time, random) = id.split_at_mut(TIME_DIGITS);
        write_digits(time, self.now_ms());
        write_chance(random);
        id
    }
}

/// An operation's token.
#[must_use]
pub fn token() -> Token {
    let mut token = [0; RANDOM_DIGITS];
    write_chance(&mut token);
    token
}

fn write_digits(out: &mut [u8], mut number: u64) {
    for place in out.iter_mut().rev() {
        *place = DIGITS[(number % 62) as usize];
        number /= 62;
    }
}

/// 64 bits of chance, in [`RANDOM_DIGITS`]. They are read as a fraction, for its digits come by multiplying it: to divide would cost
/// more.
fn write_chance(out: &mut [u8]) {
    let mut fraction = fastrand::u64(..);
    for place in out {
        let product = u128::from(fraction) * DIGITS.len() as u128;
        *place = DIGITS[(product >> 64) as usize];
        fraction = product as u64;
    }
}

/// In [`VALUES`], of a byte that is no digit. No value has this bit.
const NO_DIGIT: u8 = 0x80;

/// What each byte counts as a digit.
const VALUES: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let mut value = 0;
    while value < DIGITS.len() {
        values[DIGITS[value] as usize] = value as u8;
        value += 1;
    }
    values
};

fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |sum, &digit| match VALUES[usize::from(digit)] {
        NO_DIGIT => None,
        value => Some(sum * 62 + u64::from(value)),
    })
}

/// The id that the client sees.
#[must_use]
pub fn join(cell: u16, own: &[u8]) -> Vec<u8> {
    let mut digits = itoa::Buffer::new();
    let cell = digits.format(cell).as_bytes();
    let mut id = Vec::with_capacity(cell.len() + 1 + own.len());
    id.extend_from_slice(cell);
    id.push(b'-');
    id.extend_from_slice(own);
    id
}

/// The cell that an id names and the id within it; None for what this namespace never gave out.
#[must_use]
pub fn split(id: &[u8], cells: u16) -> Option<(u16, &[u8])> {
    // A cell has five digits at most.
    let dash = id.iter().take(6).position(|&byte| byte == b'-')?;
    let (cell, own) = (&id[..dash], &id[dash + 1..]);
    if own.is_empty() || own.len() > NAME_BYTES_MAX {
        return None;
    }
    let cell: u16 = super::number::unsigned(cell)?.try_into().ok()?;
    (cell < cells).then_some((cell, own))
}

/// The cell of a SKU: by its `{tag}` where it has one.
#[must_use]
pub fn cell_of(sku: &[u8], cells: u16) -> u16 {
    if cells == 1 { 0 } else { redis_protocol::redis_keyslot(sku) % cells }
}

fn local_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_split_only_as_it_was_joined() {
        assert_eq!(split(&join(7, b"order-17"), 8), Some((7, b"order-17".as_slice())));
        for unknown in ["order-17", "8-x", "07-x", "+7-x", "-x", "7-", "7", "", "65536-x", "7 -x"] {
            assert_eq!(split(unknown.as_bytes(), 8), None, "{unknown}");
        }
        assert_eq!(split(&join(0, &[b'x'; NAME_BYTES_MAX + 1]), 1), None);
    }

    #[test]
    fn minted_ids_sort_by_time_and_differ() {
        let mint = Mint::default();
        mint.observe(1_000);
        let early = mint.lot();
        mint.observe(1_800_000_000_000);
        let late = mint.lot();
        assert!(early < late && (1_800_000_000_000..1_800_000_010_000).contains(&minted_ms(&late)));
        assert_ne!(mint.lot(), mint.lot());
    }

    #[test]
    fn a_minted_id_reads_as_it_was_written() {
        let lot = Mint::default().lot();
        for place in [1, 61, 62, 3843, 3844, 4096] {
            let minted = Minted { lot, place };
            assert_eq!(Minted::parse(&minted.text()), Some(minted));
        }
        for other in [
            "0123456789012345678000",
            "0123456789012345678145",
            "0123456789012345678zzz",
            "012345678901234567890",
            "0123456789-12345678001",
        ] {
            assert_eq!(Minted::parse(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn skus_with_one_tag_share_a_cell() {
        assert_eq!(cell_of(b"a{tag}", 64), cell_of(b"b{tag}", 64));
        assert_eq!(cell_of(b"anything", 1), 0);
    }
}
