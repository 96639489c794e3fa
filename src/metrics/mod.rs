//! Every metric: its name, kind, unit and help in one list, and the handles made from it.
//!
//! Owns what is counted and under which labels, as closed sets. Never decides when: those who do the work record it. No
//! global recorder is set, so that several sidecars may live in one process, each with its own figures.

mod figures;
mod labels;
mod list;
mod operations;

#[cfg(test)]
mod tests;

use std::marker::PhantomData;
use std::ops::Index;
use std::sync::Arc;
use std::time::Instant;

use ::metrics::{Counter, Gauge, Histogram, Key, Label as KeyLabel, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

pub use figures::{Ended, Figures};
pub use labels::{
    ConnectionKind, Direction, ErrorKind, ErrorOrigin, Label, Operation, PinReason, Route, Status, TlsHandshake,
    TlsReload, TlsSide,
};
pub use list::{Kind, METRICS, Metric};
pub use operations::OperationMetrics;

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
    recorder: Arc<PrometheusRecorder>,
    handle: PrometheusHandle,
    since: Instant,
    /// Clients connected now.
    pub clients: Gauge,
    /// Clients accepted.
    pub clients_total: Counter,
    /// TLS handshakes of clients, by how they ended.
    pub tls_handshakes: By<TlsHandshake, Counter>,
    /// Changed files of TLS, by whose they are and what became of them.
    pub tls_reload: By<TlsSide, By<TlsReload, Counter>>,
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
    /// Bytes, by where they went.
    pub bytes: By<Direction, Counter>,
    /// 1 while the upstream can be reached, else 0.
    pub upstream_up: Gauge,
    /// Operations that wait in the batchers now.
    pub queue_operations: Gauge,
    errors: By<ErrorOrigin, By<ErrorKind, Counter>>,
}

impl Metrics {
    /// A recorder of its own and all handles.
    ///
    /// # Errors
    ///
    /// Where a histogram of the list has no buckets: a mistake in the list, which a test finds.
    pub fn new() -> Result<Self, BuildError> {
        let mut builder = PrometheusBuilder::new();
        for metric in METRICS {
            if let Kind::Histogram(buckets) = metric.kind {
                builder = builder.set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), buckets)?;
            }
        }
        let recorder = Arc::new(builder.build_recorder());
        describe(&recorder);
        gauge(&recorder, &list::BUILD_INFO, &[("version", env!("CARGO_PKG_VERSION"))]).set(1.0);
        Ok(Self {
            handle: recorder.handle(),
            since: Instant::now(),
            clients: gauge(&recorder, &list::CLIENTS, &[]),
            clients_total: counter(&recorder, &list::CLIENTS_TOTAL, &[]),
            tls_handshakes: counters(&recorder, &list::TLS_HANDSHAKES_TOTAL, &[]),
            tls_reload: By::new(|side: TlsSide| {
                counters(&recorder, &list::TLS_RELOAD_TOTAL, &[(TlsSide::NAME, side.word())])
            }),
            requests: counters(&recorder, &list::REQUESTS_TOTAL, &[]),
            upstream_connections: By::new(|kind: ConnectionKind| {
                gauge(&recorder, &list::UPSTREAM_CONNECTIONS, &[(ConnectionKind::NAME, kind.word())])
            }),
            pins: counters(&recorder, &list::PINS_TOTAL, &[]),
            pinned_clients: gauge(&recorder, &list::PINNED_CLIENTS, &[]),
            batch_operations: histogram(&recorder, &list::BATCH_OPERATIONS, &[]),
            batch_round_trip: histogram(&recorder, &list::BATCH_ROUND_TRIP_SECONDS, &[]),
            pool_wait: histogram(&recorder, &list::POOL_WAIT_SECONDS, &[]),
            reconnects: counters(&recorder, &list::RECONNECTS_TOTAL, &[]),
            retries: counter(&recorder, &list::RETRIES_TOTAL, &[]),
            bytes: counters(&recorder, &list::BYTES_TOTAL, &[]),
            upstream_up: gauge(&recorder, &list::UPSTREAM_UP, &[]),
            queue_operations: gauge(&recorder, &list::QUEUE_OPERATIONS, &[]),
            errors: By::new(|origin: ErrorOrigin| {
                counters(&recorder, &list::ERRORS_TOTAL, &[(ErrorOrigin::NAME, origin.word())])
            }),
            recorder,
        })
    }

    /// The handles of a namespace's operations. Make them once a namespace and keep them; asking twice yields the same
    /// figures.
    #[must_use]
    pub fn operations(&self, namespace: &str) -> OperationMetrics {
        OperationMetrics::new(&self.recorder, namespace)
    }

    /// Counts an error.
    pub fn error(&self, origin: ErrorOrigin, kind: ErrorKind) {
        self.errors[origin][kind].increment(1);
    }

    /// All figures as Prometheus text (format 0.0.4).
    #[must_use]
    pub fn render(&self) -> String {
        self.handle.render()
    }

    /// Figures for INFO; those of operations are this namespace's.
    #[must_use]
    pub fn figures(&self, namespace: &str) -> Figures {
        Figures::read(&self.render(), self.since.elapsed(), namespace)
    }

    /// Moves what the histograms took into their buckets. Each sample takes 16 bytes until then, so it must be called
    /// about once a second whether or not anybody scrapes.
    pub fn run_upkeep(&self) {
        self.handle.run_upkeep();
    }
}

fn describe(recorder: &PrometheusRecorder) {
    for metric in METRICS {
        let help = format!("{} Unit: {}.", metric.help, metric.unit);
        match metric.kind {
            Kind::Counter => recorder.describe_counter(metric.name.into(), None, help.into()),
            Kind::Gauge => recorder.describe_gauge(metric.name.into(), None, help.into()),
            Kind::Histogram(_) => recorder.describe_histogram(metric.name.into(), None, help.into()),
        }
    }
}

/// The exporter asks for it and uses nothing of it.
static METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

fn key(metric: &Metric, labels: &[(&'static str, &str)]) -> Key {
    let labels: Vec<KeyLabel> = labels.iter().map(|(name, value)| KeyLabel::new(*name, (*value).to_owned())).collect();
    Key::from_parts(metric.name, labels)
}

fn counter(recorder: &PrometheusRecorder, metric: &Metric, labels: &[(&'static str, &str)]) -> Counter {
    recorder.register_counter(&key(metric, labels), &METADATA)
}

fn gauge(recorder: &PrometheusRecorder, metric: &Metric, labels: &[(&'static str, &str)]) -> Gauge {
    recorder.register_gauge(&key(metric, labels), &METADATA)
}

fn histogram(recorder: &PrometheusRecorder, metric: &Metric, labels: &[(&'static str, &str)]) -> Histogram {
    recorder.register_histogram(&key(metric, labels), &METADATA)
}

/// One counter for each value of the label, beside the labels that are given.
fn counters<L: Label>(
    recorder: &PrometheusRecorder,
    metric: &Metric,
    labels: &[(&'static str, &'static str)],
) -> By<L, Counter> {
    By::new(|label: L| counter(recorder, metric, &[labels, &[(L::NAME, label.word())]].concat()))
}
