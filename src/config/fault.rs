//! What is wrong with a configuration: where, which key, and what would be right.
//!
//! Owns the wording of a fault's place. Never prints.

use std::fmt;

/// One thing that is wrong. Shown as `file.toml:12: inventory.cells: 0 is not in 1..=1024`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where it was given: `file.toml:12`, `--set`, `INVENTORY_SENTINEL_WORKERS`.
    pub place: String,
    /// `table.key`, or a table, or empty where the file as a whole is at fault.
    pub key: String,
    /// What is wrong with it and what would be right.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, key, message } = self;
        if key.is_empty() { write!(f, "{place}: {message}") } else { write!(f, "{place}: {key}: {message}") }
    }
}

/// All faults that were found, in the order of the file and then of what overrides it. Shown as one line a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// Never empty.
    pub faults: Vec<Fault>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// ` (did you mean "cells"?)` where one of the words is near enough to what was given, else nothing.
pub(super) fn did_you_mean<'a>(given: &str, words: impl Iterator<Item = &'a str>) -> String {
    // A third of the letters may be wrong: "cels", "reservation_tll", but not "foo" for "pin".
    let near = words
        .map(|word| (distance(given, word), word))
        .filter(|(distance, word)| distance * 3 <= word.len().max(given.len()))
        .min();
    near.map(|(_, word)| format!(" (did you mean {word:?}?)")).unwrap_or_default()
}

/// Levenshtein's distance: letters to add, drop or change.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.bytes().enumerate() {
            let change = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
