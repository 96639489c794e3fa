//! The configuration: one struct per TOML table, its defaults and its bounds, all in the one list below.
//!
//! Owns what a key means and what it may be. A value is parsed once, into a type that cannot hold a wrong one.
//! Never opens a socket, never reads the environment (the command line does), never changes after [`load`].

mod diff;
mod fault;
mod load;
mod relations;
mod shown;
mod tenants;
mod time;
mod upstream;
mod words;

#[cfg(test)]
mod tests;

use diff::Shown;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use serde::Deserialize;

pub use diff::{Change, diff, diff_shown};
pub use fault::{ConfigError, Fault};
pub use load::{Override, load, load_from};
pub use shown::ShownConfig;
pub use tenants::Tenant;
pub use time::Span;
pub(crate) use upstream::SOCKET_PATH_MAX;
pub use upstream::{Address, Secret, UpstreamUrl};
pub use words::{Acknowledge, AppendFsync, InventoryRights, LogFormat, Passthrough, Pin, SocketMode};

/// A configuration key as the list below declares it: what the loader and the tests need to know of it.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) table: &'static str,
    pub(crate) name: &'static str,
    /// For whole numbers: the smallest and the largest. `None` for what is not a number.
    pub(crate) bounds: Option<RangeInclusive<u64>>,
}

/// Makes of one list the structs, their defaults and [`KEYS`], so that a key cannot be known to one and not to another.
macro_rules! tables {
    ($(
        $(#[$table_doc:meta])*
        $table:ident: $Table:ident {
            $( $(#[$key_doc:meta])* $key:ident: $type:ty = $default:expr $(, in $bounds:expr)?; )+
        }
    )+) => {
        /// Everything that can be configured. `Config::default()` is what `config/sentinel.toml` shows.
        #[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Config {
            $( $(#[$table_doc])* pub $table: $Table, )+
            /// `[[tenants]]`: who may come in, where that is not anybody.
            pub tenants: Vec<Tenant>,
        }

        $(
            $(#[$table_doc])*
            #[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
            #[serde(default, deny_unknown_fields)]
            pub struct $Table {
                $( $(#[$key_doc])* pub $key: $type, )+
            }

            impl $Table {
                /// Each key and its value, as one may see it.
                fn shown(&self) -> Vec<(&'static str, String)> {
                    vec![$( (stringify!($key), Shown::shown(&self.$key)) ),+]
                }
            }

            impl Default for $Table {
                fn default() -> Self {
                    Self { $( $key: $default, )+ }
                }
            }
        )+

        impl Config {
            /// Each `table.key` and its value, as one may see it; tenants are not among them.
            fn shown(&self) -> Vec<(String, String)> {
                let mut all = Vec::new();
                $( for (key, value) in self.$table.shown() {
                    all.push((format!("{}.{key}", stringify!($table)), value));
                } )+
                all
            }
        }

        /// Every key there is, in the order of the list.
        pub(crate) const KEYS: &[Key] = &[
            $( $( Key {
                table: stringify!($table),
                name: stringify!($key),
                bounds: bounds!($($bounds)?),
            }, )+ )+
        ];
    };
}

macro_rules! bounds {
    () => {
        None
    };
    ($bounds:expr) => {
        Some($bounds)
    };
}

tables! {
    /// `[sidecar]`: the process.
    sidecar: Sidecar {
        /// Worker threads, each with its own runtime, links and batchers.
        workers: usize = 1, in 1..=64;
        /// How long a stopping sidecar waits for what is in flight, in milliseconds.
        drain_ms: u64 = 5_000, in 0..=600_000;
        /// Where a managed upstream keeps its data, its socket and its log; made with mode 0700 if missing.
        data_dir: PathBuf = PathBuf::from("inventory-sentinel-data");
    }
    /// `[listen]`: where clients come in.
    listen: Listen {
        /// `host:port` of the TCP listener (port 0: any free one); empty for none.
        tcp: String = "127.0.0.1:6380".to_owned();
        /// Path of the unix socket; empty for none.
        unix: String = String::new();
        /// The unix socket's permissions, as an octal string.
        unix_mode: SocketMode = SocketMode::OWNER_ONLY;
        /// Clients at once; one more is refused as Redis refuses it.
        clients_max: usize = 10_000, in 1..=1_000_000;
        /// How long a client may take to say who it is, where it must, in milliseconds.
        auth_timeout_ms: u64 = 10_000, in 1..=3_600_000;
        /// How long the answer to a wrong password is held back, in milliseconds; each further one of the same client twice as
        /// long, to ten times at the most.
        auth_failure_ms: u64 = 250, in 0..=60_000;
        /// PEM file of the TCP listener's certificate and those between it and its authority; empty for no TLS.
        tls_cert: PathBuf = PathBuf::new();
        /// PEM file of its private key.
        tls_key: PathBuf = PathBuf::new();
        /// PEM file of the authorities of which a client's certificate must be; empty: clients need none.
        tls_client_ca: PathBuf = PathBuf::new();
        /// How long a client may take for TLS's handshake, in milliseconds.
        handshake_ms: u64 = 5_000, in 1..=600_000;
        /// Other machines may reach the TCP listener though it is not guarded.
        insecure: bool = false;
    }
    /// `[upstream]`: the Redis or Valkey behind the sidecar.
    upstream: Upstream {
        /// Where it is, or `managed`: run one as a child.
        url: UpstreamUrl = UpstreamUrl::localhost();
        /// PEM file of the authorities of which a `rediss://` upstream's certificate must be; empty: the system's.
        tls_ca: PathBuf = PathBuf::new();
        /// PEM file of the certificate to show it; empty for none.
        tls_cert: PathBuf = PathBuf::new();
        /// PEM file of its private key.
        tls_key: PathBuf = PathBuf::new();
        /// The name that the upstream's certificate must be for; empty: the host of the URL.
        tls_server_name: String = String::new();
        /// Shared, multiplexed connections a worker.
        links: usize = 2, in 1..=64;
        /// Pooled connections for inventory batches a worker.
        pool_size: u32 = 4, in 1..=64;
        /// Connections pinned to one client each, at once, of all workers together.
        pinned_max: usize = 512, in 0..=100_000;
        /// For connecting and the handshake, in milliseconds.
        connect_timeout_ms: u64 = 2_000, in 1..=600_000;
        /// How long the oldest request on a shared link may wait for its reply before the link is closed, in milliseconds.
        reply_timeout_ms: u64 = 60_000, in 1..=3_600_000;
        /// The first wait before connecting again, in milliseconds; it doubles, with jitter.
        reconnect_min_ms: u64 = 20, in 1..=60_000;
        /// The longest wait before connecting again, in milliseconds.
        reconnect_max_ms: u64 = 2_000, in 1..=600_000;
    }
    /// `[admin]`: metrics and health over HTTP.
    admin: Admin {
        /// `host:port` (port 0: any free one); empty for none.
        listen: String = "127.0.0.1:9121".to_owned();
        /// `/config` tells the configuration that is in force, without its secrets.
        show_config: bool = false;
    }
    /// `[inventory]`: the INV commands.
    inventory: Inventory {
        /// The namespace of the clients' inventory: 1 to 64 of `A-Z a-z 0-9 _ -`.
        namespace: String = "default".to_owned();
        /// Parts (hash slots) of the namespace; all sidecars of a namespace must agree.
        cells: u16 = 1, in 1..=1024;
        /// A reservation's time to live where the command names none.
        reservation_ttl: Span = Span::from_secs(5 * 60);
        /// The longest a reservation may live, counted from its making.
        reservation_ttl_max: Span = Span::from_secs(24 * 3_600);
        /// How long an ended reservation can still be asked for.
        remember: Span = Span::from_secs(24 * 3_600);
        /// An operation is answered within this, in milliseconds.
        operation_deadline_ms: u64 = 2_000, in 1..=600_000;
        /// Operations one script call decides at most.
        batch_ops_max: usize = 128, in 1..=1_024;
        /// Operations a worker's batcher holds at most; one more is refused as overloaded.
        queue_ops_max: usize = 65_536, in 1..=16_777_216;
        /// Operations of one client in the batcher at once; above it no further request of that client is read.
        client_ops_max: usize = 256, in 1..=65_536;
        /// What must have an operation's effects before it is answered: "memory" (the upstream's), "replicas:N" (so many of its
        /// replicas too) or "fsync" (its disk; from Redis 7.2 on). What does not come in time is answered as UNCERTAIN.
        acknowledge: Acknowledge = Acknowledge::Memory;
        /// For how long a refusal for lack of stock answers for the same or more of the SKU, in milliseconds; 0: not at all.
        sold_out_cache_ms: u64 = 0, in 0..=60_000;
        /// How often overdue reservations that nobody touches are looked for, in milliseconds.
        reap_interval_ms: u64 = 500, in 10..=1_000;
        /// Overdue reservations taken back by one call of the reaper.
        reap_count: usize = 250, in 1..=100_000;
        /// How old the sidecar's memory of protected SKUs may grow, in milliseconds.
        protected_refresh_ms: u64 = 400, in 10..=1_000;
    }
    /// `[session]`: the bounds of one client.
    session: Session {
        /// When a client gets an upstream connection of its own.
        pin: Pin = Pin::Auto;
        /// Requests of one client in flight.
        pipeline_max: usize = 16_384, in 1..=1_048_576;
        /// A larger request gets a connection of its own, in bytes.
        request_stream_bytes: usize = 1_048_576, in 1_024..=536_870_912;
        /// Unsent output of a client above which no further request of it is read, in bytes.
        output_pause_bytes: usize = 16_777_216, in 1_024..=17_179_869_184;
        /// Unsent output of a client above which it is closed where it takes nothing of it, in bytes; at four times as much
        /// it is closed whatever it takes.
        output_close_bytes: usize = 268_435_456, in 65_536..=17_179_869_184;
        /// For how long it may take nothing then, in milliseconds.
        output_stall_ms: u64 = 10_000, in 1..=3_600_000;
    }
    /// `[managed]`: the upstream that the sidecar runs itself.
    managed: Managed {
        /// When its append-only file is flushed to the disk: before each answer, unless somebody chooses to lose some.
        appendfsync: AppendFsync = AppendFsync::Always;
    }
    /// `[log]`: what the sidecar says of itself.
    log: Log {
        /// How a line is written.
        format: LogFormat = LogFormat::Auto;
        /// The least severe level that is written: off, error, warn, info, debug or trace.
        level: String = "info".to_owned();
    }
}
