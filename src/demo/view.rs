//! The live view: what one sees of the sale at one time, as lines that fit the terminal, or as one plain line.
//!
//! Owns the layout. Pure: it neither looks nor writes.

use std::time::Duration;

use super::figures::{Look, Tone, clipped, count, rounded, time};
use super::plan::Plan;

/// One SKU now, in units.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) left: u64,
    pub(super) open: u64,
    pub(super) sold: u64,
    /// Given back up to now: rolled back or expired.
    pub(super) back: u64,
}

/// Everything now.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Frame {
    pub(super) seed: u64,
    pub(super) elapsed: Duration,
    pub(super) buyers: u64,
    pub(super) connections: u32,
    pub(super) units: u64,
    pub(super) served: u64,
    pub(super) bought: u64,
    pub(super) refused: u64,
    pub(super) returned: u64,
    pub(super) errors: u64,
    /// Of the last second, as all rates here.
    pub(super) buyers_per_second: f64,
    /// The rates of the seconds before, the newest last.
    pub(super) curve: Vec<f64>,
    pub(super) p50: Option<Duration>,
    pub(super) p99: Option<Duration>,
    pub(super) batch: Option<f64>,
    /// Redis did not answer at the last look.
    pub(super) away: bool,
    pub(super) rows: Vec<Row>,
}

const NAME_WIDTH: usize = 16;
const NUMBERS: usize = 4;
const NUMBER_MIN: usize = 7;
const MARGIN: usize = 2;
/// A shorter bar says nothing.
const BAR_MIN: usize = 6;
const BAR_MAX: usize = 60;
/// All lines but those of the SKUs.
const OTHER_LINES: usize = 13;
const ROWS_MAX: usize = 12;

/// The frame as lines, none wider than `width`, fewer than `height`.
pub(super) fn render(frame: &Frame, width: usize, height: usize, look: Look) -> Vec<String> {
    let dot = look.dot();
    let mut lines = vec![
        format!(
            "  {} {dot} {:.1} s {dot} seed {}",
            look.paint(Tone::Strong, "Flash sale"),
            frame.elapsed.as_secs_f64(),
            frame.seed
        ),
        format!(
            "  {} buyers {dot} {} connections {dot} {} units of {} SKUs",
            count(frame.buyers),
            count(frame.connections.into()),
            count(frame.units),
            frame.rows.len()
        ),
        String::new(),
    ];
    table(frame, width, height, look, &mut lines);
    lines.push(String::new());
    figures(frame, look, &mut lines);
    let mut lines: Vec<String> = lines.iter().map(|line| clipped(line, width)).collect();
    // The cursor stands on a line of its own below them.
    lines.truncate(height.saturating_sub(1));
    lines
}

fn table(frame: &Frame, width: usize, height: usize, look: Look, lines: &mut Vec<String>) {
    let number_width = NUMBER_MIN.max(count(frame.units).len() + 2);
    // One column stays free: some terminals wrap when the last one is written.
    let table_width = MARGIN + NAME_WIDTH + NUMBERS * number_width + MARGIN;
    let bar_width = width.saturating_sub(table_width + 1).min(BAR_MAX);
    let bar_width = if bar_width < BAR_MIN { 0 } else { bar_width };
    let row = |row: &Row| {
        let numbers = [row.left, row.open, row.sold, row.back].map(|n| format!("{:>number_width$}", count(n)));
        let bar = look.bar(row.sold, row.open, row.left, bar_width);
        format!("  {:<NAME_WIDTH$.NAME_WIDTH$}{}  {bar}", row.name, numbers.concat())
    };
    let (sold, open, left) = look.bar_signs();
    let legend = format!(
        "{} sold {} open {} left",
        look.paint(Tone::Good, sold),
        look.paint(Tone::Open, open),
        look.paint(Tone::Dim, left)
    );
    let heading = ["left", "open", "sold", "back"].map(|word| format!("{word:>number_width$}")).concat();
    let heading = format!("{:<NAME_WIDTH$}{heading}", "SKU");
    let legend = if bar_width >= "# sold + open . left".len() { legend } else { String::new() };
    lines.push(format!("  {}  {legend}", look.paint(Tone::Dim, &heading)));
    let room = height.saturating_sub(OTHER_LINES).clamp(1, ROWS_MAX);
    lines.extend(frame.rows.iter().take(room).map(row));
    if frame.rows.len() > room {
        lines.push(row(&total(format!("{} more", frame.rows.len() - room), &frame.rows[room..])));
    }
    lines.push(look.paint(Tone::Strong, &row(&total("all".to_owned(), &frame.rows)).replace("\x1b[0m", "\x1b[0;1m")));
}

fn figures(frame: &Frame, look: Look, lines: &mut Vec<String>) {
    let line = |name: &str, text: String| format!("  {} {text}", look.paint(Tone::Dim, &format!("{name:<8}")));
    lines.push(line(
        "buyers",
        format!(
            "{} served   {} /s  {}",
            count(frame.served),
            look.paint(Tone::Strong, &rounded(frame.buyers_per_second)),
            look.paint(Tone::Good, &look.curve(&frame.curve))
        ),
    ));
    lines.push(line(
        "",
        format!(
            "{} bought   {} refused   {} came back",
            count(frame.bought),
            count(frame.refused),
            count(frame.returned)
        ),
    ));
    lines.push(line(
        "latency",
        format!(
            "p50 {}   p99 {}",
            look.paint(Tone::Strong, &time(frame.p50)),
            look.paint(Tone::Strong, &time(frame.p99))
        ),
    ));
    let batch = frame.batch.map_or_else(|| "-".to_owned(), |size| format!("{size:.1}"));
    lines.push(line("batches", format!("{} operations a round trip to Redis", look.paint(Tone::Strong, &batch))));
    if frame.away {
        lines.push(line("", look.paint(Tone::Bad, "Redis is away: the sidecar waits for it and goes on by itself")));
    } else if frame.errors > 0 {
        let text = format!("{} answers without a decision; who needed one asked again", count(frame.errors));
        lines.push(line("", look.paint(Tone::Open, &text)));
    } else {
        lines.push(line("", look.paint(Tone::Dim, "back: not paid for in time, or the payment failed; on sale again")));
    }
}

/// What is said once where there is no terminal.
pub(super) fn opening(plan: &Plan) -> String {
    format!(
        "Flash sale: {} buyers on {} connections, {} units of {} SKUs, seed {}",
        count(plan.buyers),
        count(plan.connections.into()),
        count(plan.skus.iter().map(|sku| sku.units).sum()),
        plan.skus.len(),
        plan.seed
    )
}

/// The frame as one line without colours.
pub(super) fn plain(frame: &Frame) -> String {
    let all = total(String::new(), &frame.rows);
    format!(
        "{:5.1} s  buyers {:>7} ({:>6}/s)  left {:>6}  open {:>6}  sold {:>6}  back {:>6}  p50 {:>8}  p99 {:>8}  \
         {} ops/batch{}",
        frame.elapsed.as_secs_f64(),
        count(frame.served),
        rounded(frame.buyers_per_second),
        count(all.left),
        count(all.open),
        count(all.sold),
        count(all.back),
        time(frame.p50),
        time(frame.p99),
        frame.batch.map_or_else(|| "-".to_owned(), |size| format!("{size:.1}")),
        if frame.away { "  Redis is away" } else { "" },
    )
}

fn total(name: String, rows: &[Row]) -> Row {
    let sum = |of: fn(&Row) -> u64| rows.iter().map(of).sum();
    Row {
        name,
        left: sum(|row| row.left),
        open: sum(|row| row.open),
        sold: sum(|row| row.sold),
        back: sum(|row| row.back),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(skus: usize) -> Frame {
        let row = |index| Row { name: format!("sku-{index}"), left: 1_234, open: 56, sold: 710, back: 42 };
        Frame {
            seed: 7,
            elapsed: Duration::from_millis(4_321),
            buyers: 100_000,
            connections: 200,
            units: 10_000,
            served: 43_210,
            bought: 700,
            refused: 30_000,
            returned: 1_000,
            buyers_per_second: 14_980.4,
            curve: vec![1.0, 2.0, 3.0],
            p50: Some(Duration::from_micros(2_100)),
            p99: Some(Duration::from_micros(6_300)),
            batch: Some(23.44),
            rows: (1..=skus).map(row).collect(),
            ..Frame::default()
        }
    }

    fn visible(line: &str) -> usize {
        let mut escaped = false;
        let seen = line.chars().filter(|char| {
            let was_escaped = escaped || *char == '\x1b';
            escaped = was_escaped && *char != 'm';
            !was_escaped
        });
        seen.count()
    }

    #[test]
    fn no_line_is_wider_and_no_frame_higher_than_the_terminal() {
        for look in [Look::PLAIN, Look { colour: true, blocks: true }] {
            for (width, height, skus) in
                [(200, 50, 5), (100, 30, 5), (60, 24, 1_000), (40, 12, 5), (10, 5, 3), (0, 0, 1)]
            {
                let lines = render(&frame(skus), width, height, look);
                assert!(lines.len() <= height.saturating_sub(1), "{width} x {height}: {}", lines.len());
                assert!(lines.iter().all(|line| visible(line) <= width), "{width} x {height}: {lines:#?}");
            }
        }
    }

    #[test]
    fn a_usual_terminal_shows_everything() {
        let text = render(&frame(5), 80, 24, Look::PLAIN).join("\n");
        for word in [
            "4.3 s - seed 7",
            "100,000 buyers - 200 connections - 10,000 units of 5 SKUs",
            "  sku-5              1,234      56     710      42  #########+.................",
            "  all                6,170     280   3,550     210  #########+.................",
            "43,210 served   14,980 /s  .-=",
            "700 bought   30,000 refused   1,000 came back",
            "p50 2.10 ms   p99 6.30 ms",
            "23.4 operations a round trip",
        ] {
            assert!(text.contains(word), "{word:?} is not in\n{text}");
        }
    }

    #[test]
    fn skus_without_room_are_summed() {
        let text = render(&frame(20), 80, 50, Look::PLAIN).join("\n");
        assert!(text.contains("sku-12 ") && !text.contains("sku-13 "), "{text}");
        assert!(text.contains("  8 more             9,872     448   5,680     336"), "{text}");
    }

    #[test]
    fn a_plain_line_has_all_sums() {
        let mut frame = frame(2);
        frame.away = true;
        let line = "  4.3 s  buyers  43,210 (14,980/s)  left  2,468  open    112  sold  1,420  back     84  \
                    p50  2.10 ms  p99  6.30 ms  23.4 ops/batch  Redis is away";
        assert_eq!(plain(&frame), line);
    }
}
