//! A Redis, a sidecar without tenants and one with many, and the ways in. Links are few, so that many clients share each.

use super::super::common::tenants::Tenanted;
use super::super::common::{Conn, Redis, Reply, Sidecar, raise_file_limit};
use super::asked::BURST_BYTES_MAX;

/// Of the sidecars: so that requests are streamed and clients are not read from, or closed, at sizes that these tests have.
const SETTINGS: [&str; 7] = [
    "upstream.links=1",
    "upstream.reconnect_max_ms=50",
    "inventory.reservation_ttl=\"24h\"",
    "session.request_stream_bytes=50000",
    "session.output_pause_bytes=65536",
    "session.output_close_bytes=4194304",
    "session.output_stall_ms=200",
];
/// So many tenants of a worker have links of their own.
const LANES: usize = 64;

/// One way in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// No tenants are known.
    Open,
    /// Shut into its own keys. These two share a link: it is by the pairing alone that neither sees the other's replies.
    Acme,
    Rival,
    /// A tenant whose requests go through as they are.
    Free,
}

impl Door {
    pub const ALL: [Self; 4] = [Self::Open, Self::Acme, Self::Rival, Self::Free];

    pub fn is_isolated(self) -> bool {
        matches!(self, Self::Acme | Self::Rival)
    }

    /// How a client says who it is.
    pub fn auth(self) -> Option<[&'static str; 3]> {
        match self {
            Self::Open => None,
            Self::Acme => Some(["AUTH", "acme", "acme-secret"]),
            Self::Rival => Some(["AUTH", "rival", "rival-secret"]),
            Self::Free => Some(["AUTH", "free", "free-secret"]),
        }
    }
}

pub struct Scene {
    pub redis: Redis,
    open: Sidecar,
    tenanted: Tenanted,
}

impl Scene {
    pub fn new() -> Self {
        raise_file_limit();
        let redis = Redis::start();
        let open = Sidecar::start(&redis.url(), &SETTINGS);
        let mut config: String = (0..LANES - 2)
            .map(|number| format!("[[tenants]]\nname = \"other{number}\"\npassword = \"other\"\n"))
            .collect();
        for (name, more) in [("acme", ""), ("rival", ""), ("free", "passthrough = \"full\"\n")] {
            config.push_str(&format!("[[tenants]]\nname = \"{name}\"\npassword = \"{name}-secret\"\n{more}"));
        }
        let tenanted = Tenanted::start_with(&redis, &config, &SETTINGS, |_| {});
        // The first that comes and the one after the last have the same links.
        tenanted.acme().call("GET k");
        tenanted.conn_as("free", "free-secret").call("GET k");
        for number in 0..LANES - 2 {
            tenanted.conn_as(&format!("other{number}"), "other").call("GET k");
        }
        tenanted.rival().call("GET k");
        Self { redis, open, tenanted }
    }

    /// A client that came in this way, over RESP2. The sidecar may not be able to serve it now.
    pub fn connect(&self, door: Door) -> std::io::Result<Conn> {
        let sidecar = if door == Door::Open { &self.open } else { &self.tenanted.sidecar };
        let mut conn = Conn::try_open(&sidecar.listen)?;
        conn.send_buffer(4 * BURST_BYTES_MAX);
        if let Some(auth) = door.auth() {
            assert_eq!(conn.try_call(&auth.join(" "))?, Reply::ok());
        }
        Ok(conn)
    }
}

/// A number out of the environment.
pub fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}
