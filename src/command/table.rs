//! What the upstream says of its commands.

use super::names::{ShortName, ShortNames};
use super::{Args, CommandFacts, Exception, NAME_BYTES_MAX, Pin, Route, exception, upper_case};
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

static LAST_ID: AtomicU64 = AtomicU64::new(0);

/// The upstream's COMMAND reply, as far as the way of a command depends on it.
#[derive(Default)]
pub struct CommandTable {
    /// By upper-case name. Each request looks here once, so the exceptions are in it too.
    ways: HashMap<Box<[u8]>, Way, BuildHasherDefault<NameHasher>>,
    /// Which table it is; 0: the one before the upstream was reached.
    id: u64,
    /// Lower-case names of those that have subcommands.
    containers: HashSet<Box<[u8]>, BuildHasherDefault<NameHasher>>,
    /// Short names of those that go over a link whatever their arguments, and have no subcommands.
    simple: ShortNames,
    /// Only where somebody needs them.
    facts: Option<CommandFacts>,
}

impl CommandTable {
    /// One that knows no command yet, of an upstream that is there.
    #[must_use]
    pub fn new() -> Self {
        Self { id: LAST_ID.fetch_add(1, Ordering::Relaxed) + 1, ..Self::default() }
    }

    /// From names and their flags, as COMMAND lists them.
    #[must_use]
    pub fn from_flags(commands: Vec<(String, Vec<String>)>) -> Self {
        let mut table = Self::new();
        for (name, flags) in commands {
            table.add(name.as_bytes(), flags.iter().any(|flag| flag == "blocking"));
        }
        table
    }

    /// It knows this one too, and whether the upstream may let it wait.
    pub fn add(&mut self, name: &[u8], is_blocking: bool) {
        let name = name.to_ascii_uppercase().into_boxed_slice();
        let way = match exception(&name) {
            Some(exception) => Way::Exception(exception),
            None => Way::Plain(if is_blocking { Route::Pin(Pin::Blocking) } else { Route::Link }),
        };
        if let Some(short) = ShortName::new(&name) {
            let is_container = self.containers.contains(name.to_ascii_lowercase().as_slice());
            // Redis 6.2 lists POST and HOST: as commands.
            let is_special = super::is_inventory(&name) || crate::resp::is_security_violation(&name);
            match way {
                Way::Plain(Route::Link) if !is_container && !is_special => self.simple.insert(short),
                _ => self.simple.remove(short),
            }
        }
        self.ways.insert(name, way);
    }

    /// The command of this lower-case name has subcommands.
    pub fn add_container(&mut self, lower: &[u8]) {
        self.containers.insert(lower.into());
        if let Some(short) = ShortName::new(lower) {
            self.simple.remove(short);
        }
    }

    /// What tenants' rights and isolation need beside it.
    #[must_use]
    pub fn with_facts(mut self, facts: CommandFacts) -> Self {
        self.facts = Some(facts);
        self
    }

    /// See [`Self::with_facts`]; None: nobody asked for them.
    #[must_use]
    pub fn facts(&self) -> Option<&CommandFacts> {
        self.facts.as_ref()
    }

    /// Does the command of this lower-case name have subcommands?
    #[must_use]
    pub fn has_subcommands(&self, lower: &[u8]) -> bool {
        self.containers.contains(lower)
    }

    /// Is it one of them, by its upper-case name?
    #[must_use]
    pub fn knows(&self, upper: &[u8]) -> bool {
        self.ways.contains_key(upper)
    }

    /// How many commands it knows; none before the upstream was reached.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ways.len()
    }

    /// Nothing is known yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ways.is_empty()
    }

    /// Another for each table that the upstream told of, never 0.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Does the command of this upper-case name go over a link whatever its arguments?
    #[must_use]
    pub fn is_plain(&self, upper: &[u8]) -> bool {
        !super::is_inventory(upper) && matches!(self.ways.get(upper), Some(Way::Plain(Route::Link)))
    }

    /// Is the command of this name, in any case, one that goes over a link whatever its arguments and has no subcommands? Of
    /// long names nothing is said.
    #[must_use]
    #[inline]
    pub fn is_simple(&self, name: ShortName) -> bool {
        self.simple.has(name)
    }

    /// The way of a command by its name. Before the upstream was reached nothing is known but the exceptions; a link then
    /// says so.
    #[must_use]
    pub fn route(&self, name: &[u8], args: &Args<'_>) -> Route {
        let mut upper = [0; NAME_BYTES_MAX];
        let Some(upper) = upper_case(name, &mut upper) else { return Route::Pin(Pin::Unknown) };
        let exception = match self.ways.get(upper) {
            Some(Way::Plain(route)) => return *route,
            Some(Way::Exception(exception)) => exception,
            None => match exception(upper) {
                Some(exception) => exception,
                None if self.is_empty() => return Route::Link,
                None => return Route::Pin(Pin::Unknown),
            },
        };
        match exception {
            Exception::Always(route) => *route,
            Exception::Depends(decide) => decide(args),
        }
    }
}

/// What is known of a command.
enum Way {
    Plain(Route),
    Exception(&'static Exception),
}

/// Names are put into the table by the upstream alone, and a client can only look one up: a cheap hash will do.
#[derive(Default)]
pub(crate) struct NameHasher(u64);

impl NameHasher {
    fn add(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

impl Hasher for NameHasher {
    fn write(&mut self, name: &[u8]) {
        let mut words = name.chunks_exact(8);
        for word in &mut words {
            self.add(word.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte)));
        }
        let rest = words.remainder();
        if !rest.is_empty() {
            self.add(rest.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte)));
        }
    }

    fn write_usize(&mut self, len: usize) {
        self.add(len as u64);
    }

    fn finish(&self) -> u64 {
        // The map takes its buckets from the low bits and its tags from the high ones.
        self.0 ^ self.0 >> 32
    }
}
