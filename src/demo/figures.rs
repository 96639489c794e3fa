//! Numbers as a person reads them, bars, colours, and lines that fit.
//!
//! Owns how a piece of text looks. Never knows what it says.

use std::time::Duration;

/// `1234567` as `1,234,567`.
pub(super) fn grouped(n: i64) -> String {
    let digits = n.unsigned_abs().to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3 + 1);
    if n < 0 {
        text.push('-');
    }
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The same of a count.
pub(super) fn count(n: u64) -> String {
    grouped(i64::try_from(n).unwrap_or(i64::MAX))
}

/// The same of a rounded figure.
pub(super) fn rounded(n: f64) -> String {
    grouped(n.round() as i64)
}

/// Two or three digits and a unit; `-` for none.
pub(super) fn time(took: Option<Duration>) -> String {
    let Some(took) = took else { return "-".to_owned() };
    let ms = took.as_secs_f64() * 1e3;
    match ms {
        ms if ms < 10.0 => format!("{ms:.2} ms"),
        ms if ms < 100.0 => format!("{ms:.1} ms"),
        ms if ms < 10_000.0 => format!("{ms:.0} ms"),
        ms => format!("{:.0} s", ms / 1e3),
    }
}

/// What the terminal can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) colour: bool,
    /// Blocks, or plain ASCII.
    pub(super) blocks: bool,
}

/// A colour's role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Strong,
    Dim,
    Good,
    Open,
    Bad,
}

impl Look {
    /// As it is written to a file.
    pub(super) const PLAIN: Self = Self { colour: false, blocks: false };

    /// By the customs of the environment, for a terminal. `env` reads a variable.
    pub(super) fn of_terminal(env: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| env(name).filter(|value| !value.is_empty());
        let locale = set("LC_ALL").or_else(|| set("LC_CTYPE")).or_else(|| set("LANG")).unwrap_or_default();
        let locale = locale.to_ascii_lowercase();
        Self {
            colour: set("NO_COLOR").is_none() && set("TERM").is_none_or(|term| term != "dumb"),
            blocks: locale.contains("utf-8") || locale.contains("utf8"),
        }
    }

    pub(super) fn paint(self, tone: Tone, text: &str) -> String {
        if !self.colour || text.is_empty() {
            return text.to_owned();
        }
        let code = match tone {
            Tone::Strong => "1",
            Tone::Dim => "2",
            Tone::Good => "32",
            Tone::Open => "33",
            Tone::Bad => "1;31",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// Parts of one whole side by side, `width` cells together: sold, open, left.
    pub(super) fn bar(self, sold: u64, open: u64, left: u64, width: usize) -> String {
        let (full, half, empty) = self.bar_signs();
        let [sold, open, left] = shares([sold, open, left], width);
        [(Tone::Good, full, sold), (Tone::Open, half, open), (Tone::Dim, empty, left)]
            .map(|(tone, sign, cells)| self.paint(tone, &sign.repeat(cells)))
            .concat()
    }

    /// The bar's signs: sold, open, left.
    pub(super) fn bar_signs(self) -> (&'static str, &'static str, &'static str) {
        if self.blocks { ("█", "▓", "░") } else { ("#", "+", ".") }
    }

    /// The separator of a heading.
    pub(super) fn dot(self) -> &'static str {
        if self.blocks { "·" } else { "-" }
    }

    /// A small curve, the newest on the right, one cell a figure.
    pub(super) fn curve(self, figures: &[f64]) -> String {
        const BLOCKS: [&str; 8] = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];
        const ASCII: [&str; 8] = ["_", "_", ".", ".", "-", "-", "=", "="];
        let signs = if self.blocks { BLOCKS } else { ASCII };
        let most = figures.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        figures.iter().map(|figure| signs[((figure / most * 7.0).round() as usize).min(7)]).collect()
    }
}

/// Cells in proportion; they sum to `width`, and what is there at all has one where there is room.
fn shares(parts: [u64; 3], width: usize) -> [usize; 3] {
    let all: u64 = parts.iter().sum();
    if all == 0 {
        return [0, 0, width];
    }
    let mut cells = parts.map(|part| (part as f64 / all as f64 * width as f64).floor() as usize);
    for (cell, part) in cells.iter_mut().zip(parts) {
        *cell = (*cell).max(usize::from(part > 0));
    }
    // What rounding left over or took too much is the largest part's.
    let largest = (0..3).max_by_key(|index| parts[*index]).unwrap_or(0);
    let others: usize = (0..3).filter(|index| *index != largest).map(|index| cells[index]).sum();
    cells[largest] = width.saturating_sub(others);
    if others > width { [width, 0, 0] } else { cells }
}

/// The first `width` visible characters; colours end where it is cut.
pub(super) fn clipped(line: &str, width: usize) -> String {
    let (mut text, mut visible, mut coloured) = (String::with_capacity(line.len()), 0, false);
    let mut chars = line.chars();
    while let Some(char) = chars.next() {
        if char == '\x1b' {
            coloured = true;
            text.push(char);
            // An SGR sequence: up to its final m.
            for char in chars.by_ref() {
                text.push(char);
                if char == 'm' {
                    break;
                }
            }
        } else if visible == width {
            if coloured {
                text.push_str("\x1b[0m");
            }
            return text;
        } else {
            text.push(char);
            visible += 1;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_three() {
        for (n, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (-12_345, "-12,345"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(n), text);
        }
        assert_eq!((count(u64::MAX), rounded(1234.5)), (grouped(i64::MAX), "1,235".to_owned()));
    }

    #[test]
    fn times_have_few_digits() {
        for (micros, text) in [(0, "0.00 ms"), (457, "0.46 ms"), (12_340, "12.3 ms"), (1_234_000, "1234 ms")] {
            assert_eq!(time(Some(Duration::from_micros(micros))), text);
        }
        assert_eq!((time(None), time(Some(Duration::from_secs(15)))), ("-".to_owned(), "15 s".to_owned()));
    }

    #[test]
    fn a_bar_has_its_width_and_shows_what_is_there() {
        for (sold, open, left, bar) in [
            (0, 0, 0, ".........."),
            (10, 0, 0, "##########"),
            (5, 2, 3, "#####++..."),
            (1, 1, 9_998, "#+........"),
            (9_998, 1, 1, "########+."),
            (1, 1, 1, "###+++...."),
        ] {
            assert_eq!(Look::PLAIN.bar(sold, open, left, 10), bar);
        }
        assert_eq!(Look::PLAIN.bar(1, 1, 1, 0), "");
        assert_eq!(Look::PLAIN.bar(1, 1, 1, 1).len(), 1);
    }

    #[test]
    fn a_line_is_cut_by_what_is_seen_of_it() {
        let look = Look { colour: true, blocks: true };
        let line = format!("ab{}ef", look.paint(Tone::Good, "c█"));
        assert_eq!(clipped(&line, 6), line);
        assert_eq!(clipped(&line, 3), "ab\x1b[32mc\x1b[0m");
        assert_eq!(clipped("abc", 3), "abc");
        assert_eq!(clipped("abc", 0), "");
    }

    #[test]
    fn a_terminal_shows_what_its_environment_allows() {
        let look = |set: &[(&str, &str)]| {
            Look::of_terminal(|name| set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
        };
        assert_eq!(look(&[]), Look { colour: true, blocks: false });
        assert_eq!(look(&[("LANG", "de_DE.UTF-8")]), Look { colour: true, blocks: true });
        assert_eq!(look(&[("LANG", "de_DE.UTF-8"), ("LC_ALL", "C")]), Look { colour: true, blocks: false });
        assert_eq!(look(&[("NO_COLOR", "1"), ("LC_CTYPE", "C.utf8")]), Look { colour: false, blocks: true });
        assert_eq!(look(&[("TERM", "dumb")]), Look::PLAIN);
    }

    #[test]
    fn a_curve_reaches_its_top_at_the_most() {
        assert_eq!(Look { colour: false, blocks: true }.curve(&[0.0, 3.5, 7.0]), "▁▅█");
        assert_eq!(Look::PLAIN.curve(&[0.0, 0.0]), "__");
    }
}
