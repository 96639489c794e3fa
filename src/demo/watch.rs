//! From counters to a [`Frame`]: what the figures are now and how they moved in the last second.
//!
//! Owns the earlier looks. Never writes.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::account::Stock;
use super::batches::Batches;
use super::histogram::Snapshot;
use super::plan::Plan;
use super::tally::{Asked, Tally};
use super::view::{Frame, Row};

/// Rates and latencies are of this long.
const WINDOW: Duration = Duration::from_secs(1);
/// One figure of the curve.
const CURVE_STEP: Duration = Duration::from_millis(500);
const CURVE_LENGTH: usize = 24;

struct Look {
    at: Instant,
    served: u64,
    times: Snapshot,
    batches: Batches,
}

/// Remembers the last second.
pub(super) struct Watch {
    opened: Instant,
    looks: VecDeque<Look>,
    curve: VecDeque<f64>,
    curve_at: Instant,
    curve_served: u64,
    stocks: Vec<Stock>,
    sold_before: Vec<i64>,
}

impl Watch {
    /// `before`: the stock at the opening.
    pub(super) fn new(opened: Instant, before: &[Stock], batches: Batches) -> Self {
        let first = Look { at: opened, served: 0, times: Snapshot::default(), batches };
        Self {
            opened,
            looks: VecDeque::from([first]),
            curve: VecDeque::new(),
            curve_at: opened,
            curve_served: 0,
            stocks: before.to_vec(),
            sold_before: before.iter().map(|stock| stock.committed).collect(),
        }
    }

    /// What is to be seen now; `stocks` is `None` where Redis did not answer, and the last ones stand.
    pub(super) fn look(
        &mut self,
        plan: &Plan,
        tally: &Tally,
        stocks: Option<Vec<Stock>>,
        batches: Batches,
        now: Instant,
    ) -> Frame {
        let away = stocks.is_none();
        if let Some(stocks) = stocks {
            self.stocks = stocks;
        }
        let look = Look { at: now, served: tally.served.get(), times: tally.times(&Asked::MOVES_STOCK), batches };
        self.bend(&look);
        // The oldest one that is kept is the window's beginning.
        while self.looks.get(1).is_some_and(|second| now - second.at >= WINDOW) {
            self.looks.pop_front();
        }
        let first = self.looks.front().unwrap_or(&look);
        let times = look.times.since(&first.times);
        let seconds = (now - first.at).as_secs_f64().max(f64::EPSILON);
        let frame = Frame {
            seed: plan.seed,
            elapsed: now - self.opened,
            buyers: plan.buyers,
            connections: plan.connections,
            units: plan.skus.iter().map(|sku| sku.units).sum(),
            served: look.served,
            bought: tally.bought.get(),
            refused: tally.refused.get(),
            returned: tally.returned.get(),
            errors: tally.errors.get(),
            buyers_per_second: (look.served - first.served) as f64 / seconds,
            curve: self.curve.iter().copied().collect(),
            p50: times.quantile(0.5),
            p99: times.quantile(0.99),
            batch: batches.since(first.batches).size(),
            away,
            rows: self.rows(plan, tally),
        };
        self.looks.push_back(look);
        frame
    }

    fn bend(&mut self, look: &Look) {
        let passed = look.at - self.curve_at;
        if passed < CURVE_STEP {
            return;
        }
        self.curve.push_back((look.served - self.curve_served) as f64 / passed.as_secs_f64());
        if self.curve.len() > CURVE_LENGTH {
            self.curve.pop_front();
        }
        (self.curve_at, self.curve_served) = (look.at, look.served);
    }

    fn rows(&self, plan: &Plan, tally: &Tally) -> Vec<Row> {
        let units = |n: i64| u64::try_from(n).unwrap_or(0);
        let each = plan.skus.iter().zip(&tally.skus).zip(self.stocks.iter().zip(&self.sold_before));
        each.map(|((sku, of_sku), (stock, sold_before))| Row {
            name: sku.name.clone(),
            left: units(stock.available),
            open: units(stock.reserved),
            sold: units(stock.committed - sold_before),
            back: of_sku.rolled_back.get() + of_sku.expired.get(),
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::DemoOptions;

    #[test]
    fn rates_are_of_the_last_second_and_a_server_that_is_away_leaves_the_last_stock() {
        let options =
            DemoOptions { buyers: 9, connections: 1, units: 10, skus: 1, keep: false, data_dir: None, seed: None };
        let (plan, tally, opened) = (Plan::new(&options, 1), Tally::new(1), Instant::now());
        let stock = |available, reserved, committed| vec![Stock { available, reserved, committed }];
        let batches = |operations, round_trips| Batches { operations, round_trips };
        let mut watch = Watch::new(opened, &stock(10, 0, 5), batches(100.0, 10.0));

        tally.served.add(1_000);
        tally.took(Asked::Reserve, Duration::from_micros(10));
        tally.took(Asked::Page, Duration::from_secs(9));
        let at = opened + Duration::from_millis(500);
        let frame = watch.look(&plan, &tally, Some(stock(4, 1, 10)), batches(120.0, 14.0), at);
        assert_eq!((frame.buyers_per_second, frame.batch, frame.away), (2_000.0, Some(5.0), false));
        assert_eq!(frame.p99, Some(Duration::from_micros(10)));
        let row = Row { name: plan.skus[0].name.clone(), left: 4, open: 1, sold: 5, back: 0 };
        assert_eq!(frame.rows, std::slice::from_ref(&row));

        tally.served.add(500);
        tally.skus[0].expired.add(2);
        let at = opened + Duration::from_millis(1_500);
        let frame = watch.look(&plan, &tally, None, batches(120.0, 14.0), at);
        assert_eq!((frame.buyers_per_second, frame.batch, frame.away, frame.p99), (500.0, None, true, None));
        assert_eq!(frame.rows, [Row { back: 2, ..row }]);
        assert_eq!(frame.curve, [2_000.0, 500.0]);
    }
}
