//! What the upstream is: engine, version, what it knows. Asked, never assumed.

use crate::error::{Kind, UpstreamError};
use std::fmt;

/// Redis or Valkey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Engine {
    /// `redis` or `valkey`.
    pub name: &'static str,
    /// Major, minor, patch of the Redis version that it is compatible with.
    pub version: (u32, u32, u32),
    /// Differs after a restart.
    pub run_id: String,
}

impl Engine {
    /// The oldest that is served: 6.2 has SMISMEMBER and `ZADD LT`.
    pub const OLDEST: (u32, u32, u32) = (6, 2, 0);

    /// From the text of `INFO server`.
    ///
    /// # Errors
    /// `Unfit` where it is older than [`OLDEST`](Self::OLDEST) or says no version.
    pub fn from_info(info: &str) -> Result<Self, UpstreamError> {
        let field = |name: &str| {
            info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim).unwrap_or_default()
        };
        let text = field("redis_version");
        let mut numbers = text.split('.').map(|number| number.parse::<u32>().ok());
        let (Some(Some(major)), Some(Some(minor))) = (numbers.next(), numbers.next()) else {
            return Err(UpstreamError::new(Kind::Unfit, format!("the upstream's version {text:?} cannot be read")));
        };
        let version = (major, minor, numbers.next().flatten().unwrap_or(0));
        if version < Self::OLDEST {
            return Err(UpstreamError::new(
                Kind::Unfit,
                format!("the upstream is Redis {text}: 6.2 or later is needed"),
            ));
        }
        let name =
            if field("server_name") == "valkey" || !field("valkey_version").is_empty() { "valkey" } else { "redis" };
        Ok(Self { name, version, run_id: field("run_id").to_owned() })
    }

    /// WAIT waits for the connection's last command that was propagated, not for its last command whatever it was.
    #[must_use]
    pub fn counts_only_writes(&self) -> bool {
        self.version >= (7, 2, 0)
    }

    /// It can say that its disk has what was written: WAITAOF.
    #[must_use]
    pub fn knows_its_disk(&self) -> bool {
        self.version >= (7, 2, 0)
    }

    /// It reads a script's `#!lua` line.
    #[must_use]
    pub fn reads_script_flags(&self) -> bool {
        self.version >= (7, 0, 0)
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor, patch) = self.version;
        write!(f, "{} {major}.{minor}.{patch}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_older_than_what_the_script_needs_are_unfit() {
        let engine = Engine::from_info("# Server\r\nredis_version:7.0.15\r\nrun_id:abc\r\n").unwrap();
        assert_eq!((engine.name, engine.version, engine.reads_script_flags()), ("redis", (7, 0, 15), true));
        let valkey =
            Engine::from_info("redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.0\r\n").unwrap();
        assert_eq!(valkey.name, "valkey");
        assert!(!Engine::from_info("redis_version:6.2.14\r\n").unwrap().reads_script_flags());
        for old in ["redis_version:6.0.16\r\n", "redis_version:5.0.7\r\n", "", "redis_version:x\r\n"] {
            assert_eq!(Engine::from_info(old).unwrap_err().kind, Kind::Unfit, "{old}");
        }
    }
}
