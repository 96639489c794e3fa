//! Every metric: its name, kind, unit and help in one list, and the handles made from it.
//!
//! Owns what is counted and under which labels, as closed sets. Never decides when: those who do the work record it. No
//! global recorder is set, so that several sidecars may live in one process, each with its own figures.

mod figures;
mod labels;
mod list;
mod operations;
mod registry;
mod tenants;

#[cfg(test)]
mod tests;

use std::marker::PhantomData;
use std::ops::Index;
use std::sync::Arc;
use std::time::Instant;

use registry::Registry;

pub use ::metrics::{Counter, Gauge, Histogram};
pub use figures::{Ended, Figures};
pub use labels::{
    ConnectionKind, Direction, ErrorKind, ErrorOrigin, Label, Operation, PinReason, Refused, Reload, Route, Status,
    TlsHandshake, TlsSide,
};
pub use list::{Kind, METRICS, Metric};
pub use operations::OperationMetrics;
pub use tenants::TenantMetrics;

/// One handle for each value of a label: `metrics.requests[Route::Link].increment(1)`.
#[derive(Clone)]
pub struct By<L, H> {
    handles: Arc<[H]>,
    label: PhantomData<L>,
}

impl<L: Label, H> By<L, H> {
    fn new(handle: impl FnMut(L) -> H) -> Self {
        Self { handles: L::ALL.iter().copied().map(handle).collect(), label: PhantomData }
    }
}

impl<L: Label, H> Index<L> for By<L, H> {
    type Output = H;

    fn index(&self, label: L) -> &H {
        &self.handles[label.index()]
    }
}

/// A sidecar's metrics. Cloning is cheap and yields the same figures; recording is an atomic addition, without look-up.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    since: Instant,
    /// Clients connected now.
    pub clients: Gauge,
    /// Clients accepted.
    pub clients_total: Counter,
    /// TLS handshakes of clients, by how they ended.
    pub tls_handshakes: By<TlsHandshake, Counter>,
    /// Changed files of TLS, by whose they are and what became of them.
    pub tls_reload: By<TlsSide, By<Reload, Counter>>,
    /// Requests read from clients, by the way they went.
    pub requests: By<Route, Counter>,
    /// Upstream connections now.
    pub upstream_connections: By<ConnectionKind, Gauge>,
    /// Clients that got a connection of their own, by why.
    pub pins: By<PinReason, Counter>,
    /// Clients that have one now.
    pub pinned_clients: Gauge,
    /// Operations of a batch, once a batch.
    pub batch_operations: Histogram,
    /// From sending a batch to its last reply, in seconds.
    pub batch_round_trip: Histogram,
    /// What a batch waited for a pooled connection, in seconds.
    pub pool_wait: Histogram,
    /// Upstream connections made anew after one was lost.
    pub reconnects: By<ConnectionKind, Counter>,
    /// Operations sent again.
    pub retries: Counter,
    /// Changed configurations, by whether they were taken.
    pub config_reload: By<Reload, Counter>,
    /// AUTH and HELLO with a wrong tenant or password.
    pub auth_failures: Counter,
    /// Bytes, by where they went.
    pub bytes: By<Direction, Counter>,
    /// 1 while the upstream can be reached, else 0.
    pub upstream_up: Gauge,
    /// Operations that wait in the batchers now.
    pub queue_operations: Gauge,
    errors: By<ErrorOrigin, By<ErrorKind, Counter>>,
}

impl Metrics {
    /// A registry of its own and all handles.
    #[must_use]
    pub fn new() -> Self {
        let registry = Arc::new(Registry::default());
        registry.gauge(&list::BUILD_INFO, &[("version", env!("CARGO_PKG_VERSION"))]).set(1.0);
        Self {
            since: Instant::now(),
            clients: registry.gauge(&list::CLIENTS, &[]),
            clients_total: registry.counter(&list::CLIENTS_TOTAL, &[]),
            tls_handshakes: counters(&registry, &list::TLS_HANDSHAKES_TOTAL, &[]),
            tls_reload: By::new(|side: TlsSide| counters(&registry, &list::TLS_RELOAD_TOTAL, &[pair(side)])),
            requests: counters(&registry, &list::REQUESTS_TOTAL, &[]),
            upstream_connections: By::new(|kind: ConnectionKind| {
                registry.gauge(&list::UPSTREAM_CONNECTIONS, &[(ConnectionKind::NAME, kind.word())])
            }),
            pins: counters(&registry, &list::PINS_TOTAL, &[]),
            pinned_clients: registry.gauge(&list::PINNED_CLIENTS, &[]),
            batch_operations: registry.histogram(&list::BATCH_OPERATIONS, &[]),
            batch_round_trip: registry.histogram(&list::BATCH_ROUND_TRIP_SECONDS, &[]),
            pool_wait: registry.histogram(&list::POOL_WAIT_SECONDS, &[]),
            reconnects: counters(&registry, &list::RECONNECTS_TOTAL, &[]),
            config_reload: counters(&registry, &list::CONFIG_RELOAD_TOTAL, &[]),
            auth_failures: registry.counter(&list::AUTH_FAILURES_TOTAL, &[]),
            retries: registry.counter(&list::RETRIES_TOTAL, &[]),
            bytes: counters(&registry, &list::BYTES_TOTAL, &[]),
            upstream_up: registry.gauge(&list::UPSTREAM_UP, &[]),
            queue_operations: registry.gauge(&list::QUEUE_OPERATIONS, &[]),
            errors: By::new(|origin: ErrorOrigin| {
                counters(&registry, &list::ERRORS_TOTAL, &[(ErrorOrigin::NAME, origin.word())])
            }),
            registry,
        }
    }

    /// The same figures for another thread, which counts what is counted with each request by itself: threads that add to
    /// the same memory wait for each other.
    #[must_use]
    pub fn for_thread(&self) -> Self {
        let own = self.clone();
        let requests = By::new(|route: Route| self.registry.another_counter(&list::REQUESTS_TOTAL, &[pair(route)]));
        let bytes = By::new(|way: Direction| self.registry.another_counter(&list::BYTES_TOTAL, &[pair(way)]));
        Self { requests, bytes, ..own }
    }

    /// The handles of a namespace's operations. Make them once a namespace and keep them; asking twice yields the same
    /// figures.
    #[must_use]
    pub fn operations(&self, namespace: &str) -> OperationMetrics {
        OperationMetrics::new(&self.registry, namespace)
    }

    /// The handles of a tenant's figures for one thread, to be kept.
    #[must_use]
    pub fn tenant(&self, name: &Arc<str>) -> TenantMetrics {
        TenantMetrics::new(&self.registry, name)
    }

    /// Who is there now: series of other tenants and namespaces go when nobody records them any more.
    pub fn keep<'n>(&self, tenants: impl Iterator<Item = &'n str>, namespaces: impl Iterator<Item = &'n str>) {
        let tenants = tenants.map(|name| (registry::TENANT, Box::from(name)));
        self.registry.keep(tenants.chain(namespaces.map(|name| (registry::NAMESPACE, Box::from(name)))).collect());
    }

    /// Counts an error.
    pub fn error(&self, origin: ErrorOrigin, kind: ErrorKind) {
        self.errors[origin][kind].increment(1);
    }

    /// All figures as Prometheus text (format 0.0.4).
    #[must_use]
    pub fn render(&self) -> String {
        self.registry.render()
    }

    /// Figures for INFO; those of operations are this namespace's.
    #[must_use]
    pub fn figures(&self, namespace: &str) -> Figures {
        let text = self.registry.render_some(&figures::READ, (registry::NAMESPACE, namespace));
        Figures::read(&text, self.since.elapsed(), namespace)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn pair<L: Label>(label: L) -> (&'static str, &'static str) {
    (L::NAME, label.word())
}

/// One counter for each value of the label, beside the labels that are given.
fn counters<L: Label>(
    registry: &Registry,
    metric: &'static Metric,
    labels: &[(&'static str, &'static str)],
) -> By<L, Counter> {
    By::new(|label: L| registry.counter(metric, &[labels, &[pair(label)]].concat()))
}
