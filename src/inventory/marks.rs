//! The sidecar's copy of the protected SKUs, shared by its workers: asked on every checkout, fresh within a second. Where nobody
//! asks it is not kept so.

use dashmap::DashMap;
use std::collections::HashSet;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

/// An answer from memory is never older than this.
const FRESH: Duration = Duration::from_secs(1);
/// An older copy is read anew as a whole: the upstream may have lost its data meanwhile, and have counted up to the same version
/// again. Longer than any pause between two refreshes.
const KNOWN: Duration = Duration::from_secs(10);

#[derive(Default)]
struct CellMarks {
    /// Of the set upstream; -1: none known.
    version: i64,
    /// When a change of this sidecar's own was last put in.
    changed: Option<Instant>,
    skus: HashSet<Vec<u8>>,
    /// When the list was asked for that is here; None: not usable.
    asked: Option<Instant>,
}

impl CellMarks {
    fn unread() -> Self {
        Self { version: -1, ..Self::default() }
    }
}

/// The map of cells is so many: it is written when the list is read. (dashmap's own choice reads a dozen files.)
const SHARDS: usize = 4;

/// So many refreshes a question is worth: a minute of them by default.
const WANTED_REFRESHES: u8 = 150;

/// By cell of the namespace.
pub struct Marks {
    cells: DashMap<u16, CellMarks>,
    /// Refreshes until nobody has asked for long.
    wanted: AtomicU8,
}

impl Default for Marks {
    fn default() -> Self {
        Self { cells: DashMap::with_shard_amount(SHARDS), wanted: AtomicU8::new(0) }
    }
}

impl Marks {
    /// Whether the SKU is protected; None where the copy is not fresh.
    #[must_use]
    pub fn get(&self, cell: u16, sku: &[u8]) -> Option<bool> {
        if self.wanted.load(Ordering::Relaxed) < WANTED_REFRESHES {
            self.wanted.store(WANTED_REFRESHES, Ordering::Relaxed);
        }
        let marks = self.cells.get(&cell)?;
        (marks.asked?.elapsed() < FRESH).then(|| marks.skus.contains(sku))
    }

    /// Whether to refresh the copy: somebody asked lately. Counts the refreshes.
    pub fn are_wanted(&self) -> bool {
        let less = |left: u8| left.checked_sub(1);
        self.wanted.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }

    /// The version to ask with.
    #[must_use]
    pub fn version(&self, cell: u16) -> i64 {
        let known = |asked: Instant| asked.elapsed() < KNOWN;
        self.cells.get(&cell).map_or(-1, |marks| if marks.asked.is_some_and(known) { marks.version } else { -1 })
    }

    /// A change that this sidecar made: in the copy before its client hears of it. Where others changed the set between,
    /// the copy is not usable until it is read anew.
    pub fn changed(&self, cell: u16, skus: &[Vec<u8>], mark: bool, before: i64, after: i64) {
        // Also where no list was read yet: the first one may have been asked for before.
        let mut marks = self.cells.entry(cell).or_insert_with(CellMarks::unread);
        marks.changed = Some(Instant::now());
        if before == marks.version {
            for sku in skus {
                if mark {
                    marks.skus.insert(sku.clone());
                } else {
                    marks.skus.remove(sku);
                }
            }
            marks.version = after;
        } else {
            marks.asked = None;
        }
    }

    /// The list as the upstream had it when it was asked at `asked`; empty where `version` is the one asked with.
    pub fn listed(&self, cell: u16, asked_with: i64, version: i64, skus: Vec<Vec<u8>>, asked: Instant) {
        let mut marks = self.cells.entry(cell).or_insert_with(CellMarks::unread);
        if marks.changed.is_some_and(|changed| changed >= asked) {
            return; // it may be older than a change that is in the copy already; the next list tells
        }
        if version != asked_with {
            marks.skus = skus.into_iter().collect();
        }
        marks.version = version;
        marks.asked = Some(asked);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_refreshed_only_while_somebody_asks() {
        let marks = Marks::default();
        assert!(!marks.are_wanted());
        assert_eq!(marks.get(0, b"a"), None);
        let refreshes = (0..1000).take_while(|_| marks.are_wanted()).count();
        assert_eq!(refreshes, usize::from(WANTED_REFRESHES));
        assert_eq!(marks.get(0, b"a"), None);
        assert!(marks.are_wanted());
    }

    #[test]
    fn a_copy_answers_only_while_it_is_fresh_and_whole() {
        let (marks, now) = (Marks::default(), Instant::now());
        let a = || b"a".to_vec();
        assert_eq!(marks.get(0, b"a"), None);
        marks.listed(0, -1, 3, vec![a()], now);
        assert_eq!((marks.get(0, b"a"), marks.get(0, b"b"), marks.get(1, b"a")), (Some(true), Some(false), None));
        marks.changed(0, &[a()], false, 3, 4);
        assert_eq!(marks.get(0, b"a"), Some(false));
        // A list that was on its way while the change was made.
        marks.listed(0, 3, 3, vec![], now);
        marks.listed(0, -1, 3, vec![a()], now);
        assert_eq!((marks.get(0, b"a"), marks.version(0)), (Some(false), 4));
        // Another sidecar's change between ours.
        marks.changed(0, &[a()], true, 5, 6);
        assert_eq!((marks.get(0, b"a"), marks.version(0)), (None, -1));
        marks.listed(0, -1, 6, vec![a()], Instant::now());
        assert_eq!(marks.get(0, b"a"), Some(true));
        // The first list was on its way while the first change was made.
        marks.changed(1, &[a()], true, 0, 1);
        marks.listed(1, -1, 0, vec![], now);
        assert_eq!((marks.get(1, b"a"), marks.version(1)), (None, -1));
        // The upstream lost its data and begins anew.
        marks.listed(0, 6, 0, vec![], Instant::now());
        assert_eq!((marks.get(0, b"a"), marks.version(0)), (Some(false), 0));
        std::mem::take(&mut marks.cells.get_mut(&0).unwrap().changed);
        marks.listed(0, 0, 0, vec![], now.checked_sub(FRESH).unwrap());
        assert_eq!((marks.get(0, b"a"), marks.version(0)), (None, 0));
        marks.listed(0, 0, 0, vec![], now.checked_sub(KNOWN).unwrap());
        assert_eq!(marks.version(0), -1);
    }
}
