//! Who comes, what for, and what becomes of the payment: all by the seed, so that the same seed makes the same crowd.
//!
//! Owns the figures of the sale. Never looks at a clock or a connection.

use std::time::Duration;

use crate::cli::DemoOptions;

/// How long a buyer has to pay. Short, so that what nobody pays for is sold to others while one watches.
pub(super) const RESERVATION_TTL: Duration = Duration::from_millis(1_500);
/// So many buyers of a hundred want the first SKU.
const HOT_PERCENT: u64 = 70;
/// So many buyers of a hundred want one unit, so many of the rest two; the others three.
const ONE_UNIT_PERCENT: u64 = 85;
const TWO_UNITS_PERCENT: u64 = 10;
/// Of a hundred payments so many succeed, so many of the rest fail; the others never answer.
const SUCCEEDS_PERCENT: u64 = 75;
const FAILS_PERCENT: u64 = 15;
/// What a payment takes, in milliseconds: well within the time to live, so that a slow machine changes no outcome.
const PAYMENT_MS: std::ops::Range<u64> = 60..700;
/// So many refused buyers of a hundred wait for what others give back.
const PATIENT_PERCENT: u64 = 40;
/// How often a patient buyer comes back at most.
const RETURNS_MAX: u64 = 5;
/// No faster than this, so that there is something to see on a fast machine.
const BUYERS_PER_SECOND_MAX: u64 = 15_000;
/// A small sale is not over before one has looked.
const ARRIVALS_MIN: Duration = Duration::from_secs(4);

const NAMES: [&str; 8] = [
    "phoenix-sneaker",
    "nova-console",
    "orbit-watch",
    "ember-jacket",
    "delta-backpack",
    "lumen-lamp",
    "quartz-kettle",
    "drift-board",
];

/// One SKU on sale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sku {
    pub(super) name: String,
    pub(super) units: u64,
}

/// What becomes of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Payment {
    Succeeds,
    Fails,
    NeverAnswers,
}

/// One who wants something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Buyer {
    pub(super) number: u64,
    /// Index into [`Plan::skus`].
    pub(super) sku: usize,
    pub(super) quantity: u64,
    pub(super) payment: Payment,
    pub(super) payment_takes: Duration,
    /// How often this one comes back after a refusal.
    pub(super) returns: u64,
    /// How much later than told, so that not all who wait come in the same instant.
    pub(super) returns_late: Duration,
}

/// The whole sale.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) buyers: u64,
    pub(super) connections: u32,
    pub(super) skus: Vec<Sku>,
    /// For all SKUs but the first: the sum of 1/1, 1/2, 1/3, … up to and with it.
    zipf: Vec<f64>,
}

impl Plan {
    pub(super) fn new(options: &DemoOptions, seed: u64) -> Self {
        let count = u64::from(options.skus);
        let skus = (0..count)
            .map(|index| Sku {
                name: name(index),
                // What cannot be shared evenly goes to the first ones.
                units: options.units / count + u64::from(index < options.units % count),
            })
            .collect();
        let mut sum = 0.0;
        let zipf = (1..options.skus)
            .map(|rank| {
                sum += 1.0 / f64::from(rank);
                sum
            })
            .collect();
        Self { seed, buyers: options.buyers, connections: options.connections, skus, zipf }
    }

    /// The buyer of this number, whoever asks and in whatever order.
    pub(super) fn buyer(&self, number: u64) -> Buyer {
        let mut random = fastrand::Rng::with_seed(mixed(self.seed, number));
        let sku = self.wanted(&mut random);
        let quantity = match random.u64(0..100) {
            percent if percent < ONE_UNIT_PERCENT => 1,
            percent if percent < ONE_UNIT_PERCENT + TWO_UNITS_PERCENT => 2,
            _ => 3,
        };
        let payment = match random.u64(0..100) {
            percent if percent < SUCCEEDS_PERCENT => Payment::Succeeds,
            percent if percent < SUCCEEDS_PERCENT + FAILS_PERCENT => Payment::Fails,
            _ => Payment::NeverAnswers,
        };
        let payment_takes = Duration::from_millis(random.u64(PAYMENT_MS));
        let patient = random.u64(0..100) < PATIENT_PERCENT;
        let returns = if patient { random.u64(1..=RETURNS_MAX) } else { 0 };
        let returns_late = Duration::from_millis(random.u64(0..250));
        Buyer { number, sku, quantity, payment, payment_takes, returns, returns_late }
    }

    /// When the buyer of this number comes, counted from the opening, if a connection is free then.
    pub(super) fn arrives(&self, number: u64) -> Duration {
        let all = ARRIVALS_MIN.max(Duration::from_secs_f64(self.buyers as f64 / BUYERS_PER_SECOND_MAX as f64));
        all.mul_f64(number as f64 / self.buyers as f64)
    }

    fn wanted(&self, random: &mut fastrand::Rng) -> usize {
        let Some(all) = self.zipf.last() else { return 0 };
        if random.u64(0..100) < HOT_PERCENT {
            return 0;
        }
        let at = random.f64() * all;
        1 + self.zipf.partition_point(|sum| *sum <= at).min(self.zipf.len() - 1)
    }
}

/// The name of the SKU at this place.
pub(super) fn name(index: u64) -> String {
    usize::try_from(index)
        .ok()
        .and_then(|index| NAMES.get(index))
        .map_or_else(|| format!("sku-{}", index + 1), |name| (*name).to_owned())
}

/// Neighbouring numbers must make strangers (the finalizer of SplitMix64).
fn mixed(seed: u64, number: u64) -> u64 {
    let mut z = seed.wrapping_add(number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(buyers: u64, units: u64, skus: u32, seed: u64) -> Plan {
        let options = DemoOptions { buyers, connections: 1, units, skus, keep: false, data_dir: None, seed: None };
        Plan::new(&options, seed)
    }

    #[test]
    fn the_same_seed_makes_the_same_buyers_in_any_order() {
        let (a, b, other) = (plan(100, 10, 5, 7), plan(100, 10, 5, 7), plan(100, 10, 5, 8));
        let forth: Vec<Buyer> = (0..100).map(|number| a.buyer(number)).collect();
        let mut back: Vec<Buyer> = (0..100).rev().map(|number| b.buyer(number)).collect();
        back.reverse();
        assert_eq!(forth, back);
        assert_ne!(forth, (0..100).map(|number| other.buyer(number)).collect::<Vec<_>>());
    }

    #[test]
    fn all_units_are_on_sale_and_none_more() {
        for (units, skus) in [(10_000, 5), (7, 3), (2, 5), (1, 1), (1_000_003, 1_000)] {
            let plan = plan(1, units, skus, 1);
            assert_eq!(plan.skus.iter().map(|sku| sku.units).sum::<u64>(), units);
            let names: std::collections::HashSet<_> = plan.skus.iter().map(|sku| &sku.name).collect();
            assert_eq!(names.len(), skus as usize);
        }
    }

    #[test]
    fn the_crowd_is_skewed_and_its_payments_end_in_all_three_ways() {
        let plan = plan(20_000, 10, 5, 3);
        let (mut wanted, mut quantities, mut payments) = ([0; 5], [0; 4], [0; 3]);
        for number in 0..20_000 {
            let buyer = plan.buyer(number);
            wanted[buyer.sku] += 1;
            quantities[buyer.quantity as usize] += 1;
            payments[buyer.payment as usize] += 1;
            assert!(buyer.payment_takes < RESERVATION_TTL / 2);
        }
        assert!((13_600..14_400).contains(&wanted[0]), "{wanted:?}");
        assert!(wanted.is_sorted_by(|a, b| a > b), "{wanted:?}");
        assert!(quantities[0] == 0 && quantities[1] > quantities[2] && quantities[2] > quantities[3], "{quantities:?}");
        assert!((14_600..15_400).contains(&payments[0]) && payments[1] > payments[2], "{payments:?}");
        assert!(payments[2] > 1_600, "{payments:?}");
    }

    #[test]
    fn one_sku_is_what_all_want() {
        let plan = plan(100, 10, 1, 3);
        assert!((0..100).all(|number| plan.buyer(number).sku == 0));
    }

    #[test]
    fn arrivals_are_in_order_and_last_long_enough_to_be_seen() {
        let (small, large) = (plan(1_000, 1, 1, 1), plan(150_000, 1, 1, 1));
        assert_eq!(small.arrives(0), Duration::ZERO);
        assert!(small.arrives(500) < small.arrives(501));
        assert_eq!((small.arrives(1_000), large.arrives(150_000)), (ARRIVALS_MIN, Duration::from_secs(10)));
    }
}
