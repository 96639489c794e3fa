//! SKUs of which the upstream said a moment ago that fewer are there than were asked for, shared by the workers: the rush
//! that comes too late is refused here. That can only under-sell, and only until the next open reservation of the SKU expires,
//! `sold_out_cache_ms` are over, or this sidecar gives stock back.

use super::reply::Insufficient;
use bytes::BytesMut;
use dashmap::DashMap;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// SKUs of a cell that are remembered at once.
const SKUS_MAX: usize = 4096;

#[derive(Clone, Copy)]
struct Mark {
    available: i64,
    /// When the next open reservation expires, as far as is known.
    expires: Option<Instant>,
    until: Instant,
}

struct CellMarks {
    /// Grows whenever this sidecar may have given stock back.
    gives: AtomicU64,
    /// Grows whenever what is known has changed.
    changes: AtomicU64,
    /// False: there is none. Of a cell with stock nothing more is asked.
    any: AtomicBool,
    skus: DashMap<Box<[u8]>, Mark, Seed>,
}

/// A refusal that is known, for as long as it [`holds`](SoldOut::holds).
#[derive(Clone, Copy)]
pub struct Known {
    cell: u16,
    changes: u64,
    requested: i64,
    mark: Mark,
}

impl Known {
    /// As it is now.
    #[must_use]
    pub fn insufficient(&self, now: Instant) -> Insufficient {
        let retry_ms = self.mark.expires.map_or(-1, |expires| (expires - now).as_millis() as i64);
        Insufficient { requested: self.requested, available: self.mark.available, retry_ms }
    }
}

/// See the module.
pub struct SoldOut {
    keep: Duration,
    cells: Vec<CellMarks>,
}

impl SoldOut {
    /// Remembers nothing where `keep` is zero.
    #[must_use]
    pub fn new(keep: Duration, cells: u16) -> Self {
        let cells = if keep.is_zero() { 0 } else { cells };
        let cell = |_| CellMarks {
            gives: AtomicU64::new(0),
            changes: AtomicU64::new(0),
            any: AtomicBool::new(false),
            skus: DashMap::with_hasher(Seed(fastrand::u64(..))),
        };
        Self { keep, cells: (0..cells).map(cell).collect() }
    }

    /// The refusal of so many, where it is known; and what time it is, which is asked for only then.
    #[must_use]
    pub fn refusal(
        &self,
        cell: u16,
        sku: &[u8],
        requested: i64,
        now: impl FnOnce() -> Instant,
    ) -> Option<(Known, Instant)> {
        let marks = self.cells.get(usize::from(cell)).filter(|cell| cell.any.load(Ordering::Acquire))?;
        // Before the mark is read: were it changed meanwhile this would not hold.
        let changes = marks.changes.load(Ordering::Acquire);
        let mark = *marks.skus.get(sku).filter(|mark| requested > mark.available)?;
        let now = now();
        (now < mark.until).then_some((Known { cell, changes, requested, mark }, now))
    }

    /// Is it known still?
    #[must_use]
    pub fn holds(&self, known: &Known, now: Instant) -> bool {
        let marks = self.cells.get(usize::from(known.cell));
        now < known.mark.until && marks.is_some_and(|cell| cell.changes.load(Ordering::Acquire) == known.changes)
    }

    /// To be asked for before a sending, and handed to [`Self::learn`] with what it brought.
    #[must_use]
    pub fn gives(&self, cell: u16) -> u64 {
        self.cells.get(usize::from(cell)).map_or(0, |cell| cell.gives.load(Ordering::Acquire))
    }

    /// The upstream refused; it was asked at `sent`.
    pub fn learn(&self, cell: u16, sku: &[u8], refused: &Insufficient, sent: Instant, gives: u64) {
        let Some(cell) = self.cells.get(usize::from(cell)) else { return };
        let expires = u64::try_from(refused.retry_ms).ok().map(|ms| sent + Duration::from_millis(ms));
        let until = expires.map_or(sent + self.keep, |expires| expires.min(sent + self.keep));
        if cell.skus.len() >= SKUS_MAX {
            cell.skus.clear();
        }
        cell.skus.insert(sku.into(), Mark { available: refused.available, expires, until });
        // Behind the mark: whoever gives back finds it, or is found here.
        cell.any.swap(true, Ordering::AcqRel);
        // What was given back since it was sent it does not know of.
        if cell.gives.load(Ordering::Acquire) != gives {
            cell.skus.remove(sku);
        }
        cell.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// This sidecar gave stock of the cell back, or may have.
    pub fn gave(&self, cell: u16) {
        if let Some(cell) = self.cells.get(usize::from(cell)) {
            cell.gives.fetch_add(1, Ordering::AcqRel);
            // Whoever learns says so, and then asks for `gives`: it is cleared here, or taken back there.
            if cell.any.swap(false, Ordering::AcqRel) {
                cell.skus.clear();
                cell.changes.fetch_add(1, Ordering::AcqRel);
            }
        }
    }
}

/// The last request that was refused for what is known, and its reply: in a rush the next one mostly says the same in the same
/// words, and they need not be read again. Of one tenant, for what a request means is its tenant's matter.
#[derive(Default)]
pub struct LastRefusal {
    request: Vec<u8>,
    reply: BytesMut,
    /// And when the reply was written: it tells how long to wait.
    known: Option<(Known, Instant)>,
}

impl LastRefusal {
    /// The reply to this request, where it is the last one again and the same is known still.
    pub fn again(&mut self, request: &[u8], marks: &SoldOut, now: impl FnOnce() -> Instant) -> Option<&[u8]> {
        let (known, at) = self.known.filter(|_| *request == *self.request)?;
        let now = now();
        if !marks.holds(&known, now) {
            self.known = None;
            return None;
        }
        if at != now && known.mark.expires.is_some() {
            self.write(known, now);
        }
        Some(&self.reply)
    }

    /// Another request was refused, and its reply.
    pub fn note(&mut self, request: &[u8], known: Known, now: Instant) -> &[u8] {
        self.request.clear();
        self.request.extend_from_slice(request);
        self.write(known, now);
        &self.reply
    }

    fn write(&mut self, known: Known, now: Instant) {
        self.reply.clear();
        known.insufficient(now).write(&mut self.reply);
        self.known = Some((known, now));
    }
}

/// Clients choose the SKUs, and are not to know which of them collide.
#[derive(Clone, Copy)]
struct Seed(u64);

struct SkuHasher(u64);

impl BuildHasher for Seed {
    type Hasher = SkuHasher;
    fn build_hasher(&self) -> SkuHasher {
        SkuHasher(self.0)
    }
}

impl SkuHasher {
    /// Both halves of the product: each bit of the word and of the seed has a say in each of the hash.
    fn add(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * u128::from(0x9E37_79B9_7F4A_7C15_u64);
        self.0 = (product as u64) ^ (product >> 64) as u64;
    }
}

impl Hasher for SkuHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.add(u64::from_le_bytes(word));
        }
    }

    fn write_usize(&mut self, length: usize) {
        self.add(length as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: Insufficient = Insufficient { requested: 3, available: 2, retry_ms: 60_000 };

    fn refused(marks: &SoldOut, requested: i64) -> bool {
        marks.refusal(0, b"tee", requested, Instant::now).is_some()
    }

    #[test]
    fn what_was_refused_is_refused_again_until_stock_is_given_back() {
        let (marks, now) = (SoldOut::new(Duration::from_secs(60), 1), Instant::now());
        marks.learn(0, b"tee", &REFUSED, now, marks.gives(0));
        assert!(refused(&marks, 3) && refused(&marks, 4) && !refused(&marks, 2));
        assert!(marks.refusal(0, b"mug", 3, Instant::now).is_none());
        marks.gave(0);
        assert!(!refused(&marks, 3));
    }

    #[test]
    fn an_answer_that_does_not_know_of_what_was_given_back_is_not_remembered() {
        let (marks, now) = (SoldOut::new(Duration::from_secs(60), 1), Instant::now());
        let gives = marks.gives(0);
        marks.gave(0);
        marks.learn(0, b"tee", &REFUSED, now, gives);
        assert!(!refused(&marks, 3));
    }

    #[test]
    fn it_is_over_when_the_next_reservation_expires_or_the_time_is_over() {
        let (marks, now) = (SoldOut::new(Duration::from_secs(60), 1), Instant::now());
        marks.learn(0, b"tee", &Insufficient { retry_ms: 0, ..REFUSED }, now, 0);
        assert!(!refused(&marks, 3));
        marks.learn(0, b"tee", &Insufficient { retry_ms: -1, ..REFUSED }, now - Duration::from_secs(61), 0);
        assert!(!refused(&marks, 3));
        assert!(!refused(&SoldOut::new(Duration::ZERO, 1), 3));
    }

    #[test]
    fn the_same_request_again_has_its_answer_for_as_long_as_it_is_known() {
        let (marks, now) = (SoldOut::new(Duration::from_secs(60), 1), Instant::now());
        let mut last = LastRefusal::default();
        let learn = |last: &mut LastRefusal| {
            marks.learn(0, b"tee", &REFUSED, now, marks.gives(0));
            let (known, now) = marks.refusal(0, b"tee", 3, || now).unwrap();
            assert!(last.note(b"three", known, now).ends_with(b"requested=3 available=2 retry_ms=60000\r\n"));
        };
        learn(&mut last);
        assert!(last.again(b"three", &marks, || now).is_some_and(|reply| reply.ends_with(b"retry_ms=60000\r\n")));
        assert!(last.again(b"other", &marks, || now).is_none());
        let later = now + Duration::from_millis(100);
        assert!(last.again(b"three", &marks, || later).is_some_and(|reply| reply.ends_with(b"retry_ms=59900\r\n")));
        assert!(last.again(b"three", &marks, || now + Duration::from_secs(60)).is_none());
        // What was learnt anew may be another number; what was given back may be enough.
        learn(&mut last);
        marks.learn(0, b"tee", &Insufficient { available: 3, ..REFUSED }, now, marks.gives(0));
        assert!(last.again(b"three", &marks, || now).is_none());
        learn(&mut last);
        marks.gave(0);
        assert!(last.again(b"three", &marks, || now).is_none());
    }
}
