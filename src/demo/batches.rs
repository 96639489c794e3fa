//! How many operations went upstream and in how many round trips, from the text that the sidecar serves at /metrics.

use crate::metrics::Metrics;

const NAME: &str = "inventory_sentinel_batch_operations";

/// Since the sidecar's start.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Batches {
    pub(super) operations: f64,
    pub(super) round_trips: f64,
}

impl Batches {
    pub(super) fn of(metrics: &Metrics) -> Self {
        Self::parse(&metrics.render())
    }

    fn parse(text: &str) -> Self {
        let mut batches = Self::default();
        for line in text.lines() {
            let Some((name, value)) = line.strip_prefix(NAME).and_then(|rest| rest.split_once(' ')) else { continue };
            match (name, value.parse()) {
                ("_sum", Ok(sum)) => batches.operations = sum,
                ("_count", Ok(count)) => batches.round_trips = count,
                _ => {}
            }
        }
        batches
    }

    pub(super) fn since(self, earlier: Self) -> Self {
        Self { operations: self.operations - earlier.operations, round_trips: self.round_trips - earlier.round_trips }
    }

    /// Operations of a round trip; `None` where there was none.
    pub(super) fn size(self) -> Option<f64> {
        (self.round_trips > 0.0).then(|| self.operations / self.round_trips)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sidecars_own_figures_are_understood() {
        let metrics = Metrics::new();
        assert_eq!(Batches::of(&metrics).size(), None);
        [1.0, 5.0, 12.0].iter().for_each(|operations| metrics.batch_operations.record(*operations));
        let earlier = Batches::of(&metrics);
        assert_eq!((earlier, earlier.size()), (Batches { operations: 18.0, round_trips: 3.0 }, Some(6.0)));
        metrics.batch_operations.record(40.0);
        assert_eq!(Batches::of(&metrics).since(earlier).size(), Some(40.0));
    }
}
