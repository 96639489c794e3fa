//! Values that are one word of a few, and the mode of a unix socket.
//!
//! Owns their spelling and the sentence that says what would be right. Never knows which key holds them.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

/// An enum whose values are words in the file: spelling, parsing and the error from one list.
macro_rules! words {
    ($( $(#[$doc:meta])* pub enum $Name:ident { $( $(#[$word_doc:meta])* $Variant:ident = $word:literal, )+ } )+) => { $(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
        #[serde(try_from = "String")]
        pub enum $Name { $( $(#[$word_doc])* $Variant, )+ }

        impl $Name {
            /// The word as it stands in the file.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$Variant => $word, )+ }
            }
        }

        impl FromStr for $Name {
            type Err = String;

            fn from_str(given: &str) -> Result<Self, String> {
                match given {
                    $( $word => Ok(Self::$Variant), )+
                    _ => Err(not_one_of(given, &[$( $word ),+])),
                }
            }
        }

        impl TryFrom<String> for $Name {
            type Error = String;

            fn try_from(given: String) -> Result<Self, String> {
                given.parse()
            }
        }

        impl fmt::Display for $Name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    )+ };
}

words! {
    /// `session.pin`: when a client gets an upstream connection of its own.
    pub enum Pin {
        /// Only while the state of its connection demands it.
        Auto = "auto",
        /// From its first pass-through command to its end: for clients that use WAIT.
        Always = "always",
    }
    /// `managed.appendfsync`: how often the append-only file is flushed to the disk.
    pub enum AppendFsync {
        /// Once a second: a crash of the machine loses about a second; while a flush lags the server answers up to two
        /// seconds before it writes, so its own crash may lose as much.
        Everysec = "everysec",
        /// Before each answer.
        Always = "always",
    }
    /// `tenants.passthrough`: what becomes of a tenant's commands that are not the inventory's.
    pub enum Passthrough {
        /// They are refused.
        Off = "off",
        /// They are shut into the tenant's own key space.
        Isolated = "isolated",
        /// They go upstream as they are.
        Full = "full",
    }
    /// `tenants.inventory`: which commands of the inventory a tenant may use.
    #[derive(Default)]
    pub enum InventoryRights {
        /// All.
        #[default]
        All = "all",
        /// Those of a shop: none that sets stock or limits by decree, and no repair.
        Sell = "sell",
        /// Those that change nothing.
        Read = "read",
    }
    /// `log.format`: how a line is written.
    pub enum LogFormat {
        /// Text on a terminal, JSON otherwise.
        Auto = "auto",
        /// For people.
        Text = "text",
        /// For machines.
        Json = "json",
    }
}

/// `inventory.acknowledge`: what must have an operation's effects before it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Acknowledge {
    /// `memory`: the upstream's.
    Memory,
    /// `replicas:N`: so many replicas of the upstream too.
    Replicas(u32),
    /// `fsync`: the upstream's disk.
    Fsync,
}

impl FromStr for Acknowledge {
    type Err = String;

    fn from_str(given: &str) -> Result<Self, String> {
        let replicas = given.strip_prefix("replicas:").and_then(|count| count.parse().ok());
        match (given, replicas) {
            ("memory", _) => Ok(Self::Memory),
            ("fsync", _) => Ok(Self::Fsync),
            (_, Some(count @ 1..=64)) => Ok(Self::Replicas(count)),
            _ => Err(format!("{given:?} is not \"memory\", \"replicas:N\" (N from 1 to 64) or \"fsync\"")),
        }
    }
}

impl TryFrom<String> for Acknowledge {
    type Error = String;

    fn try_from(given: String) -> Result<Self, String> {
        given.parse()
    }
}

impl fmt::Display for Acknowledge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::Replicas(count) => write!(f, "replicas:{count}"),
            Self::Fsync => f.write_str("fsync"),
        }
    }
}

/// The values of `log.level`.
pub(super) const LOG_LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace"];

/// `"fast" is not one of "auto", "always"`.
pub(super) fn not_one_of(given: &str, words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    format!("{given:?} is not one of {}", words.join(", "))
}

/// The permissions of a unix socket, written as an octal string: `"0700"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct SocketMode(u32);

impl SocketMode {
    /// `0700`: nobody but the sidecar's own user.
    pub const OWNER_ONLY: Self = Self(0o700);

    /// The mode's bits, as `chmod` takes them.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl FromStr for SocketMode {
    type Err = String;

    fn from_str(given: &str) -> Result<Self, String> {
        let octal = (3..=4).contains(&given.len()) && given.bytes().all(|digit| matches!(digit, b'0'..=b'7'));
        match u32::from_str_radix(given, 8) {
            Ok(mode) if octal && mode <= 0o777 => Ok(Self(mode)),
            _ => Err(format!("{given:?} is not an octal mode from \"0000\" to \"0777\", such as \"0700\"")),
        }
    }
}

impl TryFrom<String> for SocketMode {
    type Error = String;

    fn try_from(given: String) -> Result<Self, String> {
        given.parse()
    }
}

impl fmt::Display for SocketMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}
