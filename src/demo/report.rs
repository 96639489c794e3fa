//! What is said at the end: the account as a table, its verdict, and what was achieved.
//!
//! Owns the words. Pure: it judges nothing that the account has not judged.

use std::time::Duration;

use super::account::Line;
use super::batches::Batches;
use super::figures::{Look, Tone, count, grouped, rounded, time};
use super::tally::{Asked, Tally};

/// SKUs with a line of their own.
const LINES_MAX: usize = 20;

/// From so many columns on the account has room.
const WIDE: usize = 76;

/// What was done in which time.
pub(super) struct Achieved {
    /// From the opening to the last buyer's first answer.
    pub(super) arrivals: Duration,
    /// How many buyers the plan sent.
    pub(super) came_per_second: f64,
    /// From the opening to the last settled reservation.
    pub(super) sale: Duration,
    pub(super) batches: Batches,
}

/// Before, sold, left and open as Redis has them, and what the buyers were told.
pub(super) fn account(lines: &[Line], width: usize, look: Look) -> String {
    let total = Line::total(lines);
    let column = if width < WIDE { 7 } else { 10 }.max(grouped(total.before).len() + 1);
    let uncertain = total.told.uncertain > 0;
    let columns = |name: &str, cells: [String; 5], unsure: String, end: &str| {
        let cells: String = cells.iter().map(|cell| format!("{cell:>column$}")).collect();
        let unsure = if uncertain { format!("{unsure:>11}") } else { String::new() };
        format!("  {name:<16.16}{cells}{unsure}{end}")
    };
    let row = |line: &Line| {
        let cells = [line.before, line.sold, line.left, line.open, line.told.sold].map(grouped);
        let end = if line.faults().is_empty() { "  ok" } else { "  WRONG" };
        let text = columns(&line.sku, cells, grouped(line.told.uncertain), end);
        if line.faults().is_empty() { text } else { look.paint(Tone::Bad, &text) }
    };
    let words = ["before", "sold", "left", "open", "told"].map(str::to_owned);
    let mut text = vec![
        format!("  {}, as Redis itself holds it", look.paint(Tone::Strong, "The account")),
        String::new(),
        look.paint(Tone::Dim, &columns("SKU", words, "uncertain".to_owned(), "")),
    ];
    // Where there are too many, those that are wrong come first.
    let mut shown: Vec<&Line> = lines.iter().collect();
    if shown.len() > LINES_MAX {
        shown.sort_by_key(|line| line.faults().is_empty());
    }
    text.extend(shown.iter().take(LINES_MAX).map(|line| row(line)));
    if shown.len() > LINES_MAX {
        text.push(format!("  and {} more", shown.len() - LINES_MAX));
    }
    text.push(look.paint(Tone::Strong, &row(&total)));
    text.join("\n")
}

/// The last line: it adds up, or what does not.
///
/// # Errors
/// What does not add up, a line each.
pub(super) fn verdict(lines: &[Line], surprise: Option<&str>, look: Look) -> Result<String, String> {
    let faults: Vec<String> = lines.iter().flat_map(Line::faults).map(|fault| format!("  {fault}")).collect();
    if !faults.is_empty() {
        return Err(format!("The account does not add up:\n{}", faults.join("\n")));
    }
    if let Some(surprise) = surprise {
        return Err(format!("The account adds up, but a buyer got an answer that none should get: {surprise}"));
    }
    let total = Line::total(lines);
    let told = match total.told.uncertain {
        0 => "what the buyers were told".to_owned(),
        n => format!(
            "the {} that the buyers were told and {} of {n} uncertain ones",
            grouped(total.told.sold),
            grouped(total.sold - total.told.sold)
        ),
    };
    Ok(format!(
        "  {} {} before = {} sold + {} left + {} open.\n  Sold is {told}. Nothing was oversold.",
        look.paint(Tone::Good, "It adds up:"),
        grouped(total.before),
        grouped(total.sold),
        grouped(total.left),
        grouped(total.open),
    ))
}

/// What the sale was like, in figures.
pub(super) fn achieved(tally: &Tally, lines: &[Line], achieved: &Achieved, look: Look) -> String {
    let strong = |text: String| look.paint(Tone::Strong, &text);
    let name = |name: &str| look.paint(Tone::Dim, &format!("{name:<9}"));
    let told = Line::total(lines).told;
    let again: i64 = lines.iter().map(Line::taken_again).sum();
    let mut text = vec![format!(
        "  {} {} in {:.1} s: {} /s, where {} /s came\n            all settled after {:.1} s",
        name("buyers"),
        count(tally.served.get()),
        achieved.arrivals.as_secs_f64(),
        strong(rounded(tally.served.get() as f64 / achieved.arrivals.as_secs_f64().max(f64::EPSILON))),
        rounded(achieved.came_per_second),
        achieved.sale.as_secs_f64(),
    )];
    text.push(format!(
        "  {} {} units: {} expired, {} rolled back\n            {}{} of them others took",
        name("back"),
        grouped(told.expired + told.rolled_back),
        grouped(told.expired),
        grouped(told.rolled_back),
        // Which of the units that are left were never taken, nobody knows.
        if lines.iter().any(|line| line.left > 0) { "at least " } else { "" },
        strong(grouped(again)),
    ));
    let Batches { operations, round_trips } = achieved.batches;
    let saved = (operations - round_trips).max(0.0);
    text.push(format!(
        "  {} {} operations in {} round trips to Redis\n            {} at a time: {} round trips saved ({:.0} %)",
        name("batches"),
        rounded(operations),
        rounded(round_trips),
        strong(achieved.batches.size().map_or_else(|| "-".to_owned(), |size| format!("{size:.1}"))),
        rounded(saved),
        if operations > 0.0 { saved / operations * 100.0 } else { 0.0 },
    ));
    text.push(String::new());
    let heading = format!("  {:<16}{:>10}{:>12}{:>12}", "asked", "times", "p50", "p99");
    text.push(look.paint(Tone::Dim, &heading));
    for asked in Asked::ALL {
        let times = tally.times(&[asked]);
        let (p50, p99) = (time(times.quantile(0.5)), time(times.quantile(0.99)));
        text.push(format!("  {:<16}{:>10}{p50:>12}{p99:>12}", asked.words(), count(times.count())));
    }
    let odd = [
        (tally.errors.get(), "answers without a decision: the upstream was away, and who needed one asked again"),
        (tally.misjudged.get(), "answers of INV.ISPROTECTED were not as it was set"),
    ];
    for (n, what) in odd {
        if n > 0 {
            text.push(look.paint(Tone::Open, &format!("  {} {what}", count(n))));
        }
    }
    text.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::account::{Stock, Told};

    fn line(sold: i64, left: i64, told: i64, uncertain: i64) -> Line {
        let stock = |available, committed| Stock { available, reserved: 0, committed };
        let told = Told { sold: told, uncertain, rolled_back: 30, expired: 20 };
        Line::new("phoenix-sneaker", stock(10_000, 0), stock(left, sold), told)
    }

    #[test]
    fn an_account_that_adds_up_says_so_to_the_unit() {
        let lines = [line(9_990, 10, 9_990, 0), line(10_000, 0, 10_000, 0)];
        let text = account(&lines, 80, Look::PLAIN);
        let row = "  phoenix-sneaker     10,000     9,990        10         0     9,990  ok";
        assert!(text.contains(row), "{text}");
        assert!(text.contains("  total               20,000    19,990        10         0    19,990  ok"), "{text}");
        assert!(!text.contains("uncertain") && !text.contains("WRONG"), "{text}");
        let narrow = account(&lines, 60, Look::PLAIN);
        assert!(narrow.lines().all(|line| line.len() <= 60), "{narrow}");
        let said = verdict(&lines, None, Look::PLAIN).unwrap();
        let words =
            "It adds up: 20,000 before = 19,990 sold + 10 left + 0 open.\n  Sold is what the buyers were told. Nothing";
        assert!(said.contains(words), "{said}");
    }

    #[test]
    fn uncertain_units_are_listed_apart() {
        let lines = [line(9_992, 8, 9_990, 3)];
        assert!(
            account(&lines, 80, Look::PLAIN).contains("9,990          3  ok"),
            "{}",
            account(&lines, 80, Look::PLAIN)
        );
        let said = verdict(&lines, None, Look::PLAIN).unwrap();
        assert!(said.contains("Sold is the 9,990 that the buyers were told and 2 of 3 uncertain ones."), "{said}");
    }

    #[test]
    fn what_does_not_add_up_is_an_error() {
        let lines = [line(10_000, 0, 10_000, 0), line(9_990, 9, 9_990, 0)];
        assert!(account(&lines, 80, Look::PLAIN).contains("9,990  WRONG"));
        let said = verdict(&lines, None, Look::PLAIN).unwrap_err();
        assert!(said.ends_with("phoenix-sneaker: there were 10000 units, and sold + left + open make 9999"), "{said}");
        let said = verdict(&lines[..1], Some("INV.COMMIT answered NOTFOUND"), Look::PLAIN).unwrap_err();
        assert!(said.contains("INV.COMMIT answered NOTFOUND"), "{said}");
    }

    #[test]
    fn of_very_many_skus_the_wrong_ones_are_shown() {
        let mut lines = vec![line(10_000, 0, 10_000, 0); 100];
        lines[99] = line(9_990, 9, 9_990, 0);
        let text = account(&lines, 80, Look::PLAIN);
        assert!(text.contains("9,990  WRONG") && text.contains("  and 80 more"), "{text}");
    }

    #[test]
    fn the_figures_say_what_was_saved_and_what_others_took() {
        let tally = Tally::new(1);
        tally.served.add(30_000);
        tally.took(Asked::Reserve, Duration::from_micros(2_000));
        let done = Achieved {
            arrivals: Duration::from_secs(2),
            came_per_second: 15_001.0,
            sale: Duration::from_secs(4),
            batches: Batches { operations: 1_000.0, round_trips: 40.0 },
        };
        let text = achieved(&tally, &[line(9_990, 10, 9_990, 0)], &done, Look::PLAIN);
        for words in [
            "30,000 in 2.0 s: 15,000 /s, where 15,001 /s came\n            all settled after 4.0 s",
            "50 units: 20 expired, 30 rolled back\n            at least 40 of them others took",
            "1,000 operations in 40 round trips to Redis\n            25.0 at a time: 960 round trips saved (96 %)",
            "  INV.RESERVE              1     2.05 ms     2.05 ms",
        ] {
            assert!(text.contains(words), "{words:?} is not in\n{text}");
        }
        assert!(!text.contains("asked again"), "{text}");
    }
}
