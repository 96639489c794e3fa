//! Reservation ids: `<cell>-<22 characters>` where the sidecar mints them, `<cell>-<the client's own>` where it does not.
//! An id says which cell of the namespace it lives in, so that any sidecar can route it; to clients it is opaque.

use std::cell::Cell;
use std::time::{SystemTime, UNIX_EPOCH};

/// A client's own id, a SKU, a reference: at most so many bytes.
pub const NAME_BYTES_MAX: usize = 512;
/// In the order of their bytes, so that ids sort by the time they were minted.
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 62^11 > 2^64, twice.
const MINTED_LENGTH: usize = 22;
/// Of the first 64 bits; the other 64 are chance too.
const RANDOM_BITS: u32 = 16;

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

    /// A new id of 22 characters, and when it was minted (unix ms): 48 bits of time, 80 of chance.
    #[must_use]
    pub fn mint(&self) -> ([u8; MINTED_LENGTH], u64) {
        let made_ms = self.now_ms();
        let time = made_ms << RANDOM_BITS;
        (text(time | fastrand::u64(..1 << RANDOM_BITS), fastrand::u64(..)), made_ms)
    }
}

/// An operation's token: chance alone.
#[must_use]
pub fn token() -> [u8; MINTED_LENGTH] {
    text(fastrand::u64(..), fastrand::u64(..))
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
    let dash = memchr::memchr(b'-', id)?;
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

/// Two halves of 11 digits: dividing 128 bits at a time would cost more than all else about an id.
fn text(high: u64, low: u64) -> [u8; MINTED_LENGTH] {
    let mut text = [b'0'; MINTED_LENGTH];
    let (first, second) = text.split_at_mut(MINTED_LENGTH / 2);
    for (half, mut number) in [(first, high), (second, low)] {
        for place in half.iter_mut().rev() {
            *place = DIGITS[(number % 62) as usize];
            number /= 62;
        }
    }
    text
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
        let (early, _) = mint.mint();
        mint.observe(90_000);
        let (late, made_ms) = mint.mint();
        assert!(early < late && made_ms >= 90_000);
        assert_ne!(mint.mint().0, mint.mint().0);
    }

    #[test]
    fn skus_with_one_tag_share_a_cell() {
        assert_eq!(cell_of(b"a{tag}", 64), cell_of(b"b{tag}", 64));
        assert_eq!(cell_of(b"anything", 1), 0);
    }
}
