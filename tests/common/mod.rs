//! What every test here stands on: real redis-server children, the sidecar as a child process, a small RESP client that
//! shows raw bytes, and a fault proxy that acts on content, never on time. Everything has a deadline; nothing sleeps
//! to synchronise.
#![allow(dead_code, reason = "each test file uses its own part of this")]
#![allow(unused_imports, reason = "each test file uses its own part of this")]

pub mod account;
pub mod fault;
pub mod judged;
pub mod redis;
pub mod resp;
pub mod script;
pub mod sidecar;
pub mod tenant_users;
pub mod tenants;
pub mod terminal;

use std::time::{Duration, Instant};

pub use account::{Stock, assert_account, stock};
pub use fault::{Fault, FaultProxy};
pub use redis::{Redis, upstream_connections};
pub use resp::{Conn, Reply};
pub use sidecar::{Sidecar, figure};
pub use terminal::Terminal;

/// How long a test waits for what must come soon. Generous, for it is paid only where a test fails.
pub const SOON: Duration = Duration::from_secs(30);

/// Asks `probe` until it gives a value, and panics with `what` where it gave none by the deadline.
pub fn until<T>(what: &str, deadline: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + deadline;
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(Instant::now() < end, "not within {deadline:?}: {what}");
        pause();
    }
}

/// The step between two looks at a condition.
#[allow(clippy::disallowed_methods, reason = "the tests are plain threads; this one is made to wait")]
pub fn pause() {
    std::thread::sleep(Duration::from_millis(2));
}

/// Lets this process, and the children it starts from now on, open as many files as the system allows.
pub fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("the limit of open files");
}

/// Splits a line as a person would type it: `words("SET k v")`.
pub fn words(line: &str) -> Vec<Vec<u8>> {
    line.split_ascii_whitespace().map(|word| word.as_bytes().to_vec()).collect()
}

/// Bytes as a person reads them: printable as they are, the others escaped.
pub fn show(bytes: &[u8]) -> String {
    let long = bytes.len() > 400;
    let text = bytes[..bytes.len().min(400)].escape_ascii().to_string();
    if long { format!("{text}… ({} bytes)", bytes.len()) } else { text }
}

/// A small seeded generator (xorshift), so that a load is the same at each run.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}
