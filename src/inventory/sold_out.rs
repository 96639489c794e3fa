//! SKUs of which the upstream said a moment ago that fewer are there than were asked for, shared by the workers: the rush
//! that comes too late is refused here. That can only under-sell, and only until the next open reservation of the SKU expires,
//! `sold_out_cache_ms` are over, or this sidecar gives stock back.

use super::reply::Insufficient;
use dashmap::DashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// SKUs of a cell that are remembered at once.
const SKUS_MAX: usize = 4096;

struct Mark {
    available: i64,
    /// When the next open reservation expires, as far as is known.
    expires: Option<Instant>,
    until: Instant,
}

#[derive(Default)]
struct CellMarks {
    /// Grows whenever this sidecar may have given stock back.
    gives: AtomicU64,
    skus: DashMap<Box<[u8]>, Mark>,
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
        Self { keep, cells: (0..cells).map(|_| CellMarks::default()).collect() }
    }

    /// The refusal of so many, where it is known.
    #[must_use]
    pub fn refusal(&self, cell: u16, sku: &[u8], requested: i64) -> Option<Insufficient> {
        let cell = self.cells.get(usize::from(cell)).filter(|cell| !cell.skus.is_empty())?;
        let mark = cell.skus.get(sku).filter(|mark| requested > mark.available)?;
        let now = Instant::now();
        if now >= mark.until {
            return None;
        }
        let retry_ms = mark.expires.map_or(-1, |expires| (expires - now).as_millis() as i64);
        Some(Insufficient { requested, available: mark.available, retry_ms })
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
        // What was given back since it was sent it does not know of.
        if cell.gives.load(Ordering::Acquire) != gives {
            cell.skus.remove(sku);
        }
    }

    /// This sidecar gave stock of the cell back, or may have.
    pub fn gave(&self, cell: u16) {
        if let Some(cell) = self.cells.get(usize::from(cell)) {
            cell.gives.fetch_add(1, Ordering::AcqRel);
            cell.skus.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: Insufficient = Insufficient { requested: 3, available: 2, retry_ms: 60_000 };

    fn refused(marks: &SoldOut, requested: i64) -> bool {
        marks.refusal(0, b"tee", requested).is_some()
    }

    #[test]
    fn what_was_refused_is_refused_again_until_stock_is_given_back() {
        let (marks, now) = (SoldOut::new(Duration::from_secs(60), 1), Instant::now());
        marks.learn(0, b"tee", &REFUSED, now, marks.gives(0));
        assert!(refused(&marks, 3) && refused(&marks, 4) && !refused(&marks, 2));
        assert!(marks.refusal(0, b"mug", 3).is_none());
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
}
