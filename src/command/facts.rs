//! What COMMAND tells of a command beside its way: where its keys are, and its categories. Kept only where a tenant is
//! isolated or its rights name categories.

use super::table::NameHasher;
use std::collections::HashMap;
use std::hash::BuildHasherDefault;

/// Redis's own categories; a module's come behind them, as the upstream names them.
const CATEGORIES: [&str; 21] = [
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
];
/// Bits of a mask. More categories than that no upstream has; they are not told apart then.
const CATEGORIES_MAX: usize = 63;

/// One command's or subcommand's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fact {
    /// The first key's position, the last one's (from the end where negative), and the step.
    pub keys: (i32, i32, i32),
    /// `movablekeys`: there may be others.
    pub movable: bool,
    /// A bit for each of its categories.
    pub categories: u64,
}

impl Fact {
    /// Are its keys there and nowhere else?
    #[must_use]
    pub fn places_keys(&self, (first, last, step): (i32, i32, usize)) -> bool {
        !self.movable && self.keys == (first, last, i32::try_from(step).unwrap_or(i32::MAX))
    }
}

/// Of all commands and subcommands: see the module.
#[derive(Debug, Clone)]
pub struct CommandFacts {
    /// By upper-case name, `NAME` or `NAME|SUBCOMMAND`.
    by_name: HashMap<Box<[u8]>, Fact, BuildHasherDefault<NameHasher>>,
    categories: Vec<Box<str>>,
}

impl Default for CommandFacts {
    fn default() -> Self {
        Self { by_name: HashMap::default(), categories: CATEGORIES.iter().map(|&name| name.into()).collect() }
    }
}

impl CommandFacts {
    /// One more command or subcommand, `name` or `name|subcommand`; categories with or without their `@`.
    pub fn add<'c>(
        &mut self,
        name: &str,
        keys: (i32, i32, i32),
        movable: bool,
        categories: impl IntoIterator<Item = &'c str>,
    ) {
        let mut mask = 0;
        for category in categories {
            mask |= self.bit(category.trim_start_matches('@'));
        }
        let name = name.to_ascii_uppercase().into_bytes().into_boxed_slice();
        self.by_name.insert(name, Fact { keys, movable, categories: mask });
    }

    fn bit(&mut self, category: &str) -> u64 {
        let known = self.categories.iter().position(|known| known.eq_ignore_ascii_case(category));
        let at = known.unwrap_or_else(|| {
            self.categories.push(category.to_ascii_lowercase().into());
            self.categories.len() - 1
        });
        1 << at.min(CATEGORIES_MAX)
    }

    /// Of an upper-case name, `NAME` or `NAME|SUBCOMMAND`.
    #[must_use]
    pub fn find(&self, upper: &[u8]) -> Option<&Fact> {
        self.by_name.get(upper)
    }

    /// A category's bit, by its name without `@`.
    #[must_use]
    pub fn category(&self, name: &str) -> Option<u64> {
        let at = self.categories.iter().position(|known| known.eq_ignore_ascii_case(name))?;
        Some(1 << at.min(CATEGORIES_MAX))
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// None.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }
}
