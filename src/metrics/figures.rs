//! Figures read back, for INFO.
//!
//! Handles can only be written to, so this reads what is rendered: one place where the figures of all workers are together.

use std::time::Duration;

use super::labels::{ConnectionKind, Label, Operation, Status};
use super::list::{self, Metric};

/// What INFO tells.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    /// Since the metrics were made.
    pub uptime: Duration,
    /// Clients connected now.
    pub clients: u64,
    /// Those of them with an upstream connection of their own.
    pub pinned_clients: u64,
    /// Shared links now.
    pub links: u64,
    /// Pinned connections now.
    pub pinned: u64,
    /// Connections that wait for a client that needs one of its own.
    pub warm: u64,
    /// Connections for batches now.
    pub pool: u64,
    /// The upstream can be reached.
    pub upstream_up: bool,
    /// Operations that wait to be sent.
    pub queue_operations: u64,
    /// Batches sent so far.
    pub batches: u64,
    /// Operations in them, the sidecar's own among them.
    pub batch_operations: u64,
    /// Operations sent again.
    pub retries: u64,
    /// Reservations of the namespace found overdue.
    pub reservations_expired: u64,
    /// What became of the namespace's operations.
    pub operations: Vec<(Operation, Ended)>,
}

/// How many operations of a kind ended how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ended {
    /// Done.
    pub ok: u64,
    /// Refused: nothing took effect.
    pub refused: u64,
    /// Nobody knows.
    pub uncertain: u64,
}

/// What is read for it.
pub(super) const READ: [&Metric; 9] = [
    &list::CLIENTS,
    &list::PINNED_CLIENTS,
    &list::UPSTREAM_CONNECTIONS,
    &list::UPSTREAM_UP,
    &list::QUEUE_OPERATIONS,
    &list::BATCH_OPERATIONS,
    &list::RETRIES_TOTAL,
    &list::RESERVATIONS_EXPIRED_TOTAL,
    &list::OPERATIONS_TOTAL,
];

impl Figures {
    /// Out of the rendered text.
    pub(super) fn read(text: &str, uptime: Duration, namespace: &str) -> Self {
        let read = Rendered(text);
        let of_namespace = |metric: &Metric, labels: &[(&str, &str)]| {
            read.sum(metric.name, &[labels, &[("namespace", namespace)]].concat())
        };
        let connections =
            |kind: ConnectionKind| read.sum(list::UPSTREAM_CONNECTIONS.name, &[(ConnectionKind::NAME, kind.word())]);
        let batches = list::BATCH_OPERATIONS.name;
        let ended = |operation: Operation| {
            let of = |labels: &[(&str, &str)]| {
                of_namespace(&list::OPERATIONS_TOTAL, &[labels, &[(Operation::NAME, operation.word())]].concat())
            };
            let of_status = |status: Status| of(&[(Status::NAME, status.word())]);
            let (ok, uncertain) = (of_status(Status::Ok), of_status(Status::Uncertain));
            Ended { ok, uncertain, refused: of(&[]).saturating_sub(ok + uncertain) }
        };
        Self {
            uptime,
            clients: read.sum(list::CLIENTS.name, &[]),
            pinned_clients: read.sum(list::PINNED_CLIENTS.name, &[]),
            links: connections(ConnectionKind::Link),
            pinned: connections(ConnectionKind::Pinned),
            warm: connections(ConnectionKind::Warm),
            pool: connections(ConnectionKind::Pool),
            upstream_up: read.sum(list::UPSTREAM_UP.name, &[]) > 0,
            queue_operations: read.sum(list::QUEUE_OPERATIONS.name, &[]),
            batches: read.sum(&format!("{batches}_count"), &[]),
            batch_operations: read.sum(&format!("{batches}_sum"), &[]),
            retries: read.sum(list::RETRIES_TOTAL.name, &[]),
            reservations_expired: of_namespace(&list::RESERVATIONS_EXPIRED_TOTAL, &[]),
            operations: Operation::ALL.iter().map(|operation| (*operation, ended(*operation))).collect(),
        }
    }

    /// Upstream connections of all kinds.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.links + self.pinned + self.warm + self.pool
    }

    /// Their mean; 0 before the first batch.
    #[must_use]
    pub fn operations_per_batch(&self) -> f64 {
        if self.batches == 0 { 0.0 } else { self.batch_operations as f64 / self.batches as f64 }
    }
}

/// The Prometheus text.
struct Rendered<'a>(&'a str);

impl Rendered<'_> {
    /// The sum of the series of that name that have these labels. A gauge may be below zero for a moment, between two
    /// workers: that is 0.
    fn sum(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let wanted: Vec<String> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        let series = self.0.lines().filter_map(|line| {
            let (labels, value) = line.strip_prefix(name)?.rsplit_once(' ')?;
            let inner = match labels {
                "" => "",
                // Values are of closed sets, or a namespace: none has a comma or a quote.
                labels => labels.strip_prefix('{')?.strip_suffix('}')?,
            };
            let has = |wanted: &String| inner.split(',').any(|label| label == wanted);
            wanted.iter().all(has).then(|| value.parse::<f64>().ok())?
        });
        series.sum::<f64>() as u64
    }
}
