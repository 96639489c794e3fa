//! The sidecar's copy of the protected SKUs, shared by its workers: asked on every checkout, fresh within a second.

use dashmap::DashMap;
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// An answer from memory is never older than this.
const FRESH: Duration = Duration::from_secs(1);

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

/// By cell of the namespace.
pub struct Marks {
    cells: DashMap<u16, CellMarks>,
}

impl Default for Marks {
    fn default() -> Self {
        Self { cells: DashMap::with_shard_amount(SHARDS) }
    }
}

impl Marks {
    /// Whether the SKU is protected; None where the copy is not fresh.
    #[must_use]
    pub fn get(&self, cell: u16, sku: &[u8]) -> Option<bool> {
        let marks = self.cells.get(&cell)?;
        (marks.asked?.elapsed() < FRESH).then(|| marks.skus.contains(sku))
    }

    /// The version to ask with.
    #[must_use]
    pub fn version(&self, cell: u16) -> i64 {
        self.cells.get(&cell).map_or(-1, |marks| if marks.asked.is_some() { marks.version } else { -1 })
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
        assert_eq!(marks.get(0, b"a"), None);
    }
}
