//! What the clients saw, counted by the thread that makes the load and looked at by the one that shows it.
//!
//! Owns the counters. The account is made of these on the one side and of what Redis holds on the other.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::histogram::{Histogram, Snapshot};

/// A count. Relaxed: no figure says anything about another one until the load has ended.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a client asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Reserve,
    Commit,
    Rollback,
    IsProtected,
    /// The product's page and its counter: ordinary commands.
    Page,
}

impl Asked {
    pub(super) const ALL: [Self; 5] = [Self::Reserve, Self::Commit, Self::Rollback, Self::IsProtected, Self::Page];
    /// Those that move stock.
    pub(super) const MOVES_STOCK: [Self; 3] = [Self::Reserve, Self::Commit, Self::Rollback];

    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Reserve => "INV.RESERVE",
            Self::Commit => "INV.COMMIT",
            Self::Rollback => "INV.ROLLBACK",
            Self::IsProtected => "INV.ISPROTECTED",
            Self::Page => "GET + INCR",
        }
    }
}

/// One SKU's, in units, as the clients saw them acknowledged.
#[derive(Debug, Default)]
pub(super) struct OfSku {
    pub(super) reserved: Count,
    pub(super) sold: Count,
    pub(super) rolled_back: Count,
    pub(super) expired: Count,
    /// Commits of which nobody said what became of them.
    pub(super) uncertain: Count,
}

/// All that is counted.
#[derive(Debug)]
pub(super) struct Tally {
    /// Buyers who got their first answer.
    pub(super) served: Count,
    /// Buyers who bought.
    pub(super) bought: Count,
    /// Refusals for lack of stock.
    pub(super) refused: Count,
    /// Times that somebody who was refused came back.
    pub(super) returned: Count,
    /// Answers that decided nothing (UNAVAILABLE, UNCERTAIN, a connection that broke): the client asks again.
    pub(super) errors: Count,
    /// Answers about protection that were not as it was set.
    pub(super) misjudged: Count,
    pub(super) skus: Vec<OfSku>,
    took: [Histogram; Asked::ALL.len()],
}

impl Tally {
    pub(super) fn new(skus: usize) -> Self {
        Self {
            served: Count::default(),
            bought: Count::default(),
            refused: Count::default(),
            returned: Count::default(),
            errors: Count::default(),
            misjudged: Count::default(),
            skus: (0..skus).map(|_| OfSku::default()).collect(),
            took: std::array::from_fn(|_| Histogram::default()),
        }
    }

    pub(super) fn took(&self, asked: Asked, took: Duration) {
        self.took[asked as usize].record(took);
    }

    /// The times of these together.
    pub(super) fn times(&self, asked: &[Asked]) -> Snapshot {
        let mut all = Snapshot::default();
        asked.iter().for_each(|asked| all.add(&self.took[*asked as usize].snapshot()));
        all
    }
}
