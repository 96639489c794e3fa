//! The account: what was there before, what Redis holds now, what the clients were told. It adds up to the unit, or not.
//!
//! Owns the judgement alone. Never reads or prints.

use super::tally::OfSku;

/// One SKU as Redis holds it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Stock {
    pub(super) available: i64,
    pub(super) reserved: i64,
    pub(super) committed: i64,
}

impl Stock {
    /// From available, reserved, committed and a time, 8 bytes each, as the stock hash has them.
    pub(super) fn parse(record: &[u8]) -> Option<Self> {
        let numbers: Vec<i64> =
            record.chunks(8).map(|bytes| Some(i64::from_be_bytes(bytes.try_into().ok()?))).collect::<Option<_>>()?;
        let [available, reserved, committed, _] = numbers[..] else { return None };
        Some(Self { available, reserved, committed })
    }
}

/// What the clients were told of one SKU, in units.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) sold: i64,
    pub(super) uncertain: i64,
    pub(super) rolled_back: i64,
    pub(super) expired: i64,
}

impl Told {
    pub(super) fn of(tally: &OfSku) -> Self {
        let units = |count: &super::tally::Count| i64::try_from(count.get()).unwrap_or(i64::MAX);
        Self {
            sold: units(&tally.sold),
            uncertain: units(&tally.uncertain),
            rolled_back: units(&tally.rolled_back),
            expired: units(&tally.expired),
        }
    }
}

/// One line of the account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) sku: String,
    pub(super) before: i64,
    pub(super) sold: i64,
    pub(super) left: i64,
    pub(super) open: i64,
    pub(super) told: Told,
}

/// What does not add up in a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// before is not sold + left + open.
    Sum { sku: String, before: i64, found: i64 },
    /// More sold than there was, or less than nothing left.
    Oversold { sku: String, sold: i64, before: i64 },
    /// Redis has sold other than what the clients were told, also with all that is uncertain.
    Sold { sku: String, redis: i64, told: i64, uncertain: i64 },
}

impl Line {
    /// From the stock before the sale and after it.
    pub(super) fn new(sku: &str, before: Stock, after: Stock, told: Told) -> Self {
        Self {
            sku: sku.to_owned(),
            before: before.available + before.reserved,
            sold: after.committed - before.committed,
            left: after.available,
            open: after.reserved,
            told,
        }
    }

    /// What does not add up, the worst first.
    pub(super) fn faults(&self) -> Vec<Fault> {
        let sku = || self.sku.clone();
        let mut faults = Vec::new();
        let most = self.sold.max(self.told.sold);
        if most > self.before || self.left < 0 {
            faults.push(Fault::Oversold { sku: sku(), sold: most, before: self.before });
        }
        let found = self.sold + self.left + self.open;
        if found != self.before {
            faults.push(Fault::Sum { sku: sku(), before: self.before, found });
        }
        let Told { sold: told, uncertain, .. } = self.told;
        if !(told..=told + uncertain).contains(&self.sold) {
            faults.push(Fault::Sold { sku: sku(), redis: self.sold, told, uncertain });
        }
        faults
    }

    /// Units that came back and that somebody else then took: at least so many, for those never taken may be among the left.
    pub(super) fn taken_again(&self) -> i64 {
        (self.told.rolled_back + self.told.expired - self.left).max(0)
    }

    /// All lines in one.
    pub(super) fn total(lines: &[Self]) -> Self {
        let sum = |of: fn(&Self) -> i64| lines.iter().map(of).sum();
        Self {
            sku: "total".to_owned(),
            before: sum(|line| line.before),
            sold: sum(|line| line.sold),
            left: sum(|line| line.left),
            open: sum(|line| line.open),
            told: Told {
                sold: sum(|line| line.told.sold),
                uncertain: sum(|line| line.told.uncertain),
                rolled_back: sum(|line| line.told.rolled_back),
                expired: sum(|line| line.told.expired),
            },
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sum { sku, before, found } => {
                write!(f, "{sku}: there were {before} units, and sold + left + open make {found}")
            }
            Self::Oversold { sku, sold, before } => write!(f, "{sku}: oversold: {sold} sold of {before}"),
            Self::Sold { sku, redis, told, uncertain } => {
                write!(f, "{sku}: Redis says {redis} sold, the clients were told {told}")?;
                if *uncertain > 0 { write!(f, " and are uncertain about {uncertain}") } else { Ok(()) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stock(available: i64, reserved: i64, committed: i64) -> Stock {
        Stock { available, reserved, committed }
    }

    fn faults(after: Stock, sold: i64, uncertain: i64) -> Vec<Fault> {
        let told = Told { sold, uncertain, ..Told::default() };
        Line::new("a", stock(10, 0, 100), after, told).faults()
    }

    #[test]
    fn stock_is_read_as_the_script_writes_it() {
        let record = |numbers: &[i64]| numbers.iter().flat_map(|number| number.to_be_bytes()).collect::<Vec<u8>>();
        assert_eq!(Stock::parse(&record(&[-3, 2, 10, 1_800_000_000_000])), Some(stock(-3, 2, 10)));
        for bad in [&record(&[])[..], &record(&[1, 2, 3]), &record(&[1, 2, 3, 4, 5]), b"1 2 3 4"] {
            assert_eq!(Stock::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn what_adds_up_has_no_fault() {
        assert_eq!(faults(stock(3, 1, 106), 6, 0), []);
        // Uncertain ones may have been sold or not.
        for committed in [104, 105, 106] {
            assert_eq!(faults(stock(110 - committed, 0, committed), 4, 2), [], "{committed}");
        }
    }

    #[test]
    fn a_unit_too_many_or_too_few_is_found() {
        let (sku, before) = ("a".to_owned(), 10);
        assert_eq!(faults(stock(3, 1, 107), 7, 0), [Fault::Sum { sku: sku.clone(), before, found: 11 }]);
        assert_eq!(faults(stock(3, 1, 105), 5, 0), [Fault::Sum { sku: sku.clone(), before, found: 9 }]);
        let sold = |redis, told, uncertain| Fault::Sold { sku: sku.clone(), redis, told, uncertain };
        assert_eq!(faults(stock(4, 0, 106), 5, 0), [sold(6, 5, 0)]);
        assert_eq!(faults(stock(4, 0, 106), 7, 0), [sold(6, 7, 0)]);
        assert_eq!(faults(stock(3, 0, 107), 4, 2), [sold(7, 4, 2)]);
    }

    #[test]
    fn overselling_is_found_whoever_says_it() {
        let oversold = Fault::Oversold { sku: "a".to_owned(), sold: 11, before: 10 };
        assert_eq!(faults(stock(-1, 0, 111), 11, 0), std::slice::from_ref(&oversold));
        assert_eq!(faults(stock(0, 0, 110), 11, 0)[0], oversold);
    }

    #[test]
    fn the_total_sums_and_a_line_knows_what_was_taken_again() {
        let told = Told { sold: 6, uncertain: 1, rolled_back: 2, expired: 3 };
        let line = Line::new("a", stock(10, 0, 0), stock(3, 1, 6), told);
        let total = Line::total(&[line.clone(), line.clone()]);
        assert_eq!((total.before, total.sold, total.left, total.open), (20, 12, 6, 2));
        assert_eq!(total.told, Told { sold: 12, uncertain: 2, rolled_back: 4, expired: 6 });
        assert_eq!(line.taken_again(), 2);
    }
}
