//! The one list of metrics: name, kind, unit, help.
//!
//! Owns these alone. A metric is added here and as a handle in the module above.

/// How a metric's figures are to be read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Only ever grows.
    Counter,
    /// What is now.
    Gauge,
    /// How values are spread over these buckets.
    Histogram(&'static [f64]),
}

/// One metric of the list.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metric {
    /// Its name, with the prefix.
    pub name: &'static str,
    /// How it is to be read.
    pub kind: Kind,
    /// What one of it is.
    pub unit: &'static str,
    /// What it counts: a sentence.
    pub help: &'static str,
}

macro_rules! metrics {
    ($( $ID:ident = $kind:expr, $name:literal, $unit:literal, $help:literal; )+) => {
        $( pub(super) const $ID: Metric =
            Metric { name: concat!("inventory_sentinel_", $name), kind: $kind, unit: $unit, help: $help }; )+

        /// All metrics.
        pub const METRICS: &[Metric] = &[$( $ID ),+];
    };
}

/// From a round trip on a unix socket to a deadline that somebody set high.
const SECONDS: &[f64] =
    &[0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];
/// The doublings up to the largest `batch_ops_max`.
const OPERATIONS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

metrics! {
    RESERVE_TOTAL = Kind::Counter, "reserve_total", "operations", "Reservations asked for, by what became of them.";
    COMMIT_TOTAL = Kind::Counter, "commit_total", "operations", "Commits asked for, by what became of them.";
    ROLLBACK_TOTAL = Kind::Counter, "rollback_total", "operations", "Rollbacks asked for, by what became of them.";
    OPERATION_DURATION_SECONDS = Kind::Histogram(SECONDS), "operation_duration_seconds", "seconds",
        "From reading an inventory operation to its reply.";
    OPERATIONS_TOTAL = Kind::Counter, "operations_total", "operations",
        "All inventory operations, by what became of them; a status appears when it is first met.";
    RESERVATIONS_EXPIRED_TOTAL = Kind::Counter, "reservations_expired_total", "reservations",
        "Reservations that this sidecar found overdue and whose stock it gave back.";
    CLIENTS = Kind::Gauge, "clients", "connections", "Clients connected now.";
    CLIENTS_TOTAL = Kind::Counter, "clients_total", "connections", "Clients accepted.";
    TLS_HANDSHAKES_TOTAL = Kind::Counter, "tls_handshakes_total", "handshakes",
        "TLS handshakes of clients, by how they ended.";
    TLS_RELOAD_TOTAL = Kind::Counter, "tls_reload_total", "times",
        "Changes of the files of TLS, by whose they are and whether they could be used.";
    REQUESTS_TOTAL = Kind::Counter, "requests_total", "requests", "Requests of clients, by the way they went.";
    UPSTREAM_CONNECTIONS = Kind::Gauge, "upstream_connections", "connections",
        "Connections to the upstream now, by what they are for.";
    PINS_TOTAL = Kind::Counter, "pins_total", "times",
        "Clients that got an upstream connection of their own, by why; each time anew.";
    PINNED_CLIENTS = Kind::Gauge, "pinned_clients", "clients", "Clients that have an upstream connection of their own now.";
    BATCH_OPERATIONS = Kind::Histogram(OPERATIONS), "batch_operations", "operations",
        "Inventory operations that went upstream together.";
    BATCH_ROUND_TRIP_SECONDS = Kind::Histogram(SECONDS), "batch_round_trip_seconds", "seconds",
        "From sending a batch upstream to its last reply.";
    POOL_WAIT_SECONDS = Kind::Histogram(SECONDS), "pool_wait_seconds", "seconds",
        "What a batch waited for a pooled connection.";
    RECONNECTS_TOTAL = Kind::Counter, "reconnects_total", "connections",
        "Upstream connections made anew after one was lost.";
    RETRIES_TOTAL = Kind::Counter, "retries_total", "operations", "Inventory operations that were sent again.";
    CONFIG_RELOAD_TOTAL = Kind::Counter, "config_reload_total", "times", "Changed configurations, by whether they were taken.";
    AUTH_FAILURES_TOTAL = Kind::Counter, "auth_failures_total", "attempts", "AUTH and HELLO with a wrong tenant or password.";
    TENANT_REQUESTS_TOTAL = Kind::Counter, "tenant_requests_total", "requests",
        "Requests of a tenant's clients, by the way they went; where there are tenants.";
    TENANT_CLIENTS = Kind::Gauge, "tenant_clients", "connections", "Clients of a tenant connected now.";
    TENANT_REFUSED_TOTAL = Kind::Counter, "tenant_refused_total", "requests",
        "Requests of a tenant's clients that were refused, by why; of clients that have not said who they are with an empty tenant.";
    BYTES_TOTAL = Kind::Counter, "bytes_total", "bytes", "Bytes read and written; upstream: on links and pinned connections.";
    ERRORS_TOTAL = Kind::Counter, "errors_total", "errors", "Errors, by whose doing they were and what they were.";
    UPSTREAM_UP = Kind::Gauge, "upstream_up", "1 or 0", "Whether the upstream can be reached.";
    QUEUE_OPERATIONS = Kind::Gauge, "queue_operations", "operations", "Inventory operations that wait to be sent: those in flight are not among them.";
    BUILD_INFO = Kind::Gauge, "build_info", "always 1", "The version that runs.";
}
