//! What the upstream says of its commands.

use super::{Pin, Route};
use std::collections::{HashMap, HashSet};

/// The upstream's COMMAND reply, as far as the way of a command depends on it.
#[derive(Debug, Default)]
pub struct CommandTable {
    /// By upper-case name: whether it may block.
    blocking: HashMap<Box<[u8]>, bool>,
    /// Lower-case names of those that have subcommands.
    containers: HashSet<Box<[u8]>>,
}

impl CommandTable {
    /// From names and their flags, as COMMAND lists them.
    #[must_use]
    pub fn from_flags(commands: Vec<(String, Vec<String>)>) -> Self {
        let blocking = commands
            .into_iter()
            .map(|(name, flags)| {
                (name.to_ascii_uppercase().into_bytes().into_boxed_slice(), flags.iter().any(|flag| flag == "blocking"))
            })
            .collect();
        Self { blocking, containers: HashSet::new() }
    }

    /// These have subcommands, by their lower-case names.
    #[must_use]
    pub fn with_containers(mut self, names: impl IntoIterator<Item = String>) -> Self {
        self.containers = names.into_iter().map(|name| name.into_bytes().into_boxed_slice()).collect();
        self
    }

    /// Does the command of this lower-case name have subcommands?
    #[must_use]
    pub fn has_subcommands(&self, lower: &[u8]) -> bool {
        self.containers.contains(lower)
    }

    /// Is it one of them, by its upper-case name?
    #[must_use]
    pub fn knows(&self, upper: &[u8]) -> bool {
        self.blocking.contains_key(upper)
    }

    /// How many commands it knows; none before the upstream was reached.
    #[must_use]
    pub fn len(&self) -> usize {
        self.blocking.len()
    }

    /// Nothing is known yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.blocking.is_empty()
    }

    /// The way of a command that is no exception. Before the upstream was reached nothing is known; a link then says so.
    #[must_use]
    pub fn route(&self, upper: &[u8]) -> Route {
        match self.blocking.get(upper) {
            Some(false) => Route::Link,
            Some(true) => Route::Pin(Pin::Blocking),
            None if self.is_empty() => Route::Link,
            None => Route::Pin(Pin::Unknown),
        }
    }
}
