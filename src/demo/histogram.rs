//! How long operations took, in buckets that are exact to a sixteenth.
//!
//! Owns the buckets. Never knows of what.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Buckets of each doubling: a quantile is off by a sixteenth at most.
const STEPS: u64 = 16;
const STEP_BITS: u32 = STEPS.trailing_zeros();
/// Microseconds up to 2^26, a minute; what took longer counts as that.
const BUCKETS: usize = ((26 - STEP_BITS as usize) + 1) * STEPS as usize;

/// One thread records, another looks.
#[derive(Debug)]
pub(super) struct Histogram {
    buckets: Box<[AtomicU64]>,
}

/// What a [`Histogram`] held at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Snapshot {
    buckets: Vec<u64>,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect() }
    }
}

impl Histogram {
    pub(super) fn record(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.buckets[bucket(micros)].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot { buckets: self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect() }
    }
}

impl Default for Snapshot {
    fn default() -> Self {
        Self { buckets: vec![0; BUCKETS] }
    }
}

impl Snapshot {
    /// This and that together.
    pub(super) fn add(&mut self, other: &Self) {
        self.buckets.iter_mut().zip(&other.buckets).for_each(|(all, more)| *all += more);
    }

    /// What was recorded since `earlier`, a snapshot of the same histograms.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        let pairs = self.buckets.iter().zip(&earlier.buckets);
        Self { buckets: pairs.map(|(now, then)| now.saturating_sub(*then)).collect() }
    }

    pub(super) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The time within which this part of all (0.0 to 1.0) was done; `None` where there were none.
    pub(super) fn quantile(&self, part: f64) -> Option<Duration> {
        let count = self.count();
        // The smallest rank that covers the part, counted from 1.
        let rank = ((count as f64 * part).ceil() as u64).clamp(1, count.max(1));
        let mut seen = 0;
        let index = self.buckets.iter().position(|bucket| {
            seen += bucket;
            seen >= rank
        })?;
        Some(Duration::from_micros(upper_bound(index)))
    }
}

/// Below [`STEPS`] each microsecond has a bucket; above, each doubling has that many.
fn bucket(micros: u64) -> usize {
    let index = if micros < STEPS {
        micros
    } else {
        let doubling = micros.ilog2() - STEP_BITS;
        u64::from(doubling) * STEPS + (micros >> doubling)
    };
    usize::try_from(index).map_or(BUCKETS - 1, |index| index.min(BUCKETS - 1))
}

/// The largest number of microseconds in this bucket.
fn upper_bound(index: usize) -> u64 {
    let index = index as u64;
    if index < STEPS {
        return index;
    }
    let doubling = index / STEPS - 1;
    ((index % STEPS + STEPS + 1) << doubling) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_without_gap_or_overlap() {
        let mut next = 0;
        for index in 0..BUCKETS - 1 {
            let last = upper_bound(index);
            assert_eq!((bucket(next), bucket(last)), (index, index));
            assert!(last - next <= next / STEPS, "{next}..={last}");
            next = last + 1;
        }
        assert_eq!((bucket(next), bucket(u64::MAX)), (BUCKETS - 1, BUCKETS - 1));
        assert!(next > 60_000_000);
    }

    #[test]
    fn quantiles_are_right_to_a_sixteenth() {
        let histogram = Histogram::default();
        assert_eq!(histogram.snapshot().quantile(0.5), None);
        (1..=1_000).for_each(|n| histogram.record(Duration::from_micros(n * 10)));
        let snapshot = histogram.snapshot();
        assert_eq!(snapshot.count(), 1_000);
        for (part, micros) in [(0.0, 10), (0.5, 5_000), (0.99, 9_900), (1.0, 10_000)] {
            let found = snapshot.quantile(part).unwrap().as_micros();
            assert!((micros..=micros + micros / 16).contains(&found), "{part}: {found}");
        }
    }

    #[test]
    fn a_difference_holds_what_came_between() {
        let (histogram, other) = (Histogram::default(), Histogram::default());
        histogram.record(Duration::from_micros(3));
        let earlier = histogram.snapshot();
        histogram.record(Duration::from_micros(9));
        other.record(Duration::from_micros(12));
        let mut between = histogram.snapshot().since(&earlier);
        assert_eq!((between.count(), between.quantile(1.0)), (1, Some(Duration::from_micros(9))));
        between.add(&other.snapshot());
        assert_eq!((between.count(), between.quantile(1.0)), (2, Some(Duration::from_micros(12))));
    }
}
