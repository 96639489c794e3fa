//! Where the figures are: every series of every metric, and its text for Prometheus (format 0.0.4).
//!
//! Owns the sums. A handle is a pointer to its own figure, so that recording is an atomic addition and nothing else: no clock
//! is read, no sample is kept, and nothing need be done between two scrapes.

use super::list::{Kind, METRICS, Metric};
use ::metrics::{Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn};
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A figure on a cache line of its own: two threads that count do not slow each other.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Line(AtomicU64);

impl CounterFn for Line {
    #[inline]
    fn increment(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    fn absolute(&self, value: u64) {
        self.0.fetch_max(value, Ordering::Relaxed);
    }
}

/// A number that goes up and down, as the bits of its `f64`.
#[derive(Debug, Default)]
struct Now(AtomicU64);

impl GaugeFn for Now {
    fn increment(&self, by: f64) {
        add(&self.0, by);
    }

    fn decrement(&self, by: f64) {
        add(&self.0, -by);
    }

    fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }
}

/// How values are spread over buckets.
#[derive(Debug)]
struct Spread {
    bounds: &'static [f64],
    /// For each bound the values up to it and above the one before; the last one has all above the last bound.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

impl Spread {
    fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, sum: AtomicU64::new(0) }
    }
}

impl HistogramFn for Spread {
    fn record(&self, value: f64) {
        self.record_many(value, 1);
    }

    fn record_many(&self, value: f64, times: usize) {
        let place = self.bounds.partition_point(|bound| *bound < value);
        self.counts[place].fetch_add(times as u64, Ordering::Relaxed);
        add(&self.sum, value * times as f64);
    }
}

fn add(figure: &AtomicU64, by: f64) {
    let sum = |bits| Some((f64::from_bits(bits) + by).to_bits());
    let _ = figure.fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum);
}

enum Figure {
    /// Of each thread that counts for itself.
    Counter(Vec<Arc<Line>>),
    Gauge(Arc<Now>),
    Histogram(Arc<Spread>),
}

/// A label's name and value, of whom a series is.
type Owner = (&'static str, Box<str>);

struct Series {
    metric: &'static Metric,
    /// As they are written, without the braces.
    labels: String,
    /// Whose it is, where it goes with them: a label's name and value.
    owner: Option<Owner>,
    figure: Figure,
}

impl Figure {
    /// Does anybody still record it?
    fn has_handles(&self) -> bool {
        match self {
            Self::Counter(lines) => lines.iter().any(is_held),
            Self::Gauge(now) => is_held(now),
            Self::Histogram(spread) => is_held(spread),
        }
    }
}

fn is_held<T>(figure: &Arc<T>) -> bool {
    Arc::strong_count(figure) > 1
}

/// Makes one of those that nobody counts on any more.
fn fold(lines: &mut Vec<Arc<Line>>) {
    let (held, given_up): (Vec<_>, Vec<_>) = lines.drain(..).partition(is_held);
    let mut given_up = given_up.into_iter();
    if let Some(sum) = given_up.next() {
        for line in given_up {
            sum.0.fetch_add(line.0.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        lines.push(sum);
    }
    lines.extend(held);
}

#[derive(Default)]
struct All {
    series: Vec<Series>,
    /// Where one is, by its metric's name and its labels.
    places: HashMap<(&'static str, String), usize>,
    /// Where all of an owner's are, and under None those that are nobody's.
    by_owner: HashMap<Option<Owner>, Vec<usize>>,
    /// Whose series stay though nobody records them now, where that is known.
    owners: Option<HashSet<Owner>>,
}

impl All {
    /// What was of others, and nobody records any more, goes.
    fn forget(&mut self) {
        let Some(owners) = &self.owners else { return };
        let before = self.series.len();
        self.series.retain(|series| {
            series.owner.as_ref().is_none_or(|owner| owners.contains(owner)) || series.figure.has_handles()
        });
        if self.series.len() != before {
            let named = self.series.iter().enumerate();
            self.places = named.map(|(place, series)| ((series.metric.name, series.labels.clone()), place)).collect();
            self.by_owner.clear();
            for (place, series) in self.series.iter().enumerate() {
                self.by_owner.entry(series.owner.clone()).or_default().push(place);
            }
        }
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct Registry(Mutex<All>);

/// The labels by which series have an owner, each the first of its series.
pub(super) const TENANT: &str = "tenant";
pub(super) const NAMESPACE: &str = "namespace";
const OWNERS: [&str; 2] = [TENANT, NAMESPACE];

/// A label's name and value.
pub(super) type LabelPair<'a> = (&'static str, &'a str);

impl Registry {
    /// The counter of these labels, which is made when it is first asked for.
    pub(super) fn counter(&self, metric: &'static Metric, labels: &[LabelPair<'_>]) -> Counter {
        let make = || Figure::Counter(vec![Arc::default()]);
        self.find(metric, labels, make, |figure| match figure {
            Figure::Counter(counters) => {
                counters.first().map_or_else(Counter::noop, |line| Counter::from_arc(Arc::clone(line)))
            }
            Figure::Gauge(_) | Figure::Histogram(_) => Counter::noop(),
        })
    }

    /// Another counter of these labels: what it counts is part of the same figure.
    pub(super) fn another_counter(&self, metric: &'static Metric, labels: &[LabelPair<'_>]) -> Counter {
        let another = Arc::<Line>::default();
        let make = || Figure::Counter(Vec::new());
        self.find(metric, labels, make, |figure| {
            if let Figure::Counter(counters) = figure {
                fold(counters);
                counters.push(Arc::clone(&another));
            }
        });
        Counter::from_arc(another)
    }

    /// The gauge of these labels.
    pub(super) fn gauge(&self, metric: &'static Metric, labels: &[LabelPair<'_>]) -> Gauge {
        self.find(
            metric,
            labels,
            || Figure::Gauge(Arc::default()),
            |figure| match figure {
                Figure::Gauge(gauge) => Gauge::from_arc(Arc::clone(gauge)),
                Figure::Counter(_) | Figure::Histogram(_) => Gauge::noop(),
            },
        )
    }

    /// The histogram of these labels.
    pub(super) fn histogram(&self, metric: &'static Metric, labels: &[LabelPair<'_>]) -> Histogram {
        let bounds = if let Kind::Histogram(bounds) = metric.kind { bounds } else { &[] };
        self.find(
            metric,
            labels,
            || Figure::Histogram(Arc::new(Spread::new(bounds))),
            |figure| match figure {
                Figure::Histogram(histogram) => Histogram::from_arc(Arc::clone(histogram)),
                Figure::Counter(_) | Figure::Gauge(_) => Histogram::noop(),
            },
        )
    }

    fn find<T>(
        &self,
        metric: &'static Metric,
        labels: &[LabelPair<'_>],
        make: impl FnOnce() -> Figure,
        take: impl FnOnce(&mut Figure) -> T,
    ) -> T {
        let owner = labels.first().filter(|(name, _)| OWNERS.contains(name));
        let owner = owner.map(|(name, value)| (*name, Box::from(*value)));
        let labels = written(labels);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let next = all.series.len();
        let place = *all.places.entry((metric.name, labels.clone())).or_insert(next);
        if place == next {
            all.by_owner.entry(owner.clone()).or_default().push(place);
            all.series.push(Series { metric, labels, owner, figure: make() });
        }
        take(&mut all.series[place].figure)
    }

    /// From here on series of other owners than these are gone when nobody records them any more.
    pub(super) fn keep(&self, owners: HashSet<Owner>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.owners = Some(owners);
        all.forget();
    }

    /// Of these metrics the figures that are nobody's or this owner's, in no order: as long as it takes for one of many owners.
    pub(super) fn render_some(&self, metrics: &[&Metric], owner: LabelPair<'_>) -> String {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |owner: Option<Owner>| all.by_owner.get(&owner).into_iter().flatten().map(|place| &all.series[*place]);
        let some = of(None).chain(of(Some((owner.0, Box::from(owner.1)))));
        let mut out = String::new();
        some.filter(|series| metrics.iter().any(|metric| metric.name == series.metric.name))
            .for_each(|series| series.write(&mut out));
        out
    }

    /// All figures, the metrics in the order of the list.
    pub(super) fn render(&self) -> String {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.forget();
        let all = &all.series;
        let mut out = String::with_capacity(all.len() * 128);
        for metric in METRICS {
            let mut series = all.iter().filter(|series| series.metric.name == metric.name).peekable();
            if series.peek().is_some() {
                let kind = match metric.kind {
                    Kind::Counter => "counter",
                    Kind::Gauge => "gauge",
                    Kind::Histogram(_) => "histogram",
                };
                let Metric { name, help, unit, .. } = metric;
                let _ = writeln!(out, "# HELP {name} {help} Unit: {unit}.\n# TYPE {name} {kind}");
                series.for_each(|series| series.write(&mut out));
                out.push('\n');
            }
        }
        out
    }
}

impl Series {
    fn write(&self, out: &mut String) {
        let (name, labels) = (self.metric.name, self.labels.as_str());
        let braces = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        let _ = match &self.figure {
            Figure::Counter(counters) => {
                writeln!(
                    out,
                    "{name}{braces} {}",
                    counters.iter().map(|line| line.0.load(Ordering::Relaxed)).sum::<u64>()
                )
            }
            Figure::Gauge(gauge) => writeln!(out, "{name}{braces} {}", f64::from_bits(gauge.0.load(Ordering::Relaxed))),
            Figure::Histogram(histogram) => {
                let Spread { bounds, counts, sum } = &**histogram;
                let bounds = bounds.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
                let (comma, mut count) = (if labels.is_empty() { "" } else { "," }, 0);
                for (bound, more) in bounds.zip(counts) {
                    count += more.load(Ordering::Relaxed);
                    let _ = writeln!(out, "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {count}");
                }
                let sum = f64::from_bits(sum.load(Ordering::Relaxed));
                writeln!(out, "{name}_sum{braces} {sum}\n{name}_count{braces} {count}")
            }
        };
    }
}

fn written(labels: &[LabelPair<'_>]) -> String {
    let mut out = String::new();
    for (name, value) in labels {
        let value = value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', "\\n");
        let comma = if out.is_empty() { "" } else { "," };
        let _ = write!(out, "{comma}{name}=\"{value}\"");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::list;

    #[test]
    fn counters_of_several_threads_are_one_figure() {
        let registry = Registry::default();
        let labels = [("route", "link")];
        let shared = registry.counter(&list::REQUESTS_TOTAL, &labels);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                let own = registry.another_counter(&list::REQUESTS_TOTAL, &labels);
                scope.spawn(move || (0..1000).for_each(|_| own.increment(2)));
                scope.spawn(|| shared.increment(1));
            }
        });
        registry.counter(&list::REQUESTS_TOTAL, &labels).increment(1);
        assert!(registry.render().ends_with("requests_total{route=\"link\"} 6004\n\n"), "{}", registry.render());
    }

    #[test]
    fn what_was_of_a_tenant_that_is_gone_goes_when_nobody_records_it_any_more() {
        let registry = Registry::default();
        let of = |tenant: &'static str| registry.another_counter(&list::TENANT_REQUESTS_TOTAL, &[(TENANT, tenant)]);
        let (acme, zed) = (of("acme"), of("zed"));
        acme.increment(1);
        drop((acme, of("gone")));
        let shown = |tenant: &str| {
            let line = format!("{{tenant=\"{tenant}\"}} ");
            registry.render().lines().find_map(|shown| shown.split_once(&line).map(|(_, count)| count.to_owned()))
        };
        // Who they are is not known yet.
        assert!(shown("gone").is_some());
        registry.keep(HashSet::from([(TENANT, Box::from("acme"))]));
        assert_eq!((shown("gone"), shown("zed"), shown("acme")), (None, Some("0".into()), Some("1".into())));
        zed.increment(3);
        assert_eq!(shown("zed"), Some("3".into()));
        drop(zed);
        assert_eq!(shown("zed"), None);
        // What was counted stays, and not what it was counted on.
        (0..100).for_each(|_| of("acme").increment(1));
        assert_eq!(shown("acme"), Some("101".into()));
        let all = registry.0.lock().unwrap();
        assert!(matches!(&all.series[0].figure, Figure::Counter(lines) if lines.len() <= 3));
    }

    #[test]
    fn what_is_read_for_one_is_as_much_whoever_else_there_is() {
        let registry = Registry::default();
        let of = |namespace: &str| registry.counter(&list::RETRIES_TOTAL, &[(NAMESPACE, namespace)]).increment(2);
        let read = || registry.render_some(&[&list::RETRIES_TOTAL], (NAMESPACE, "ours"));
        registry.counter(&list::RETRIES_TOTAL, &[]).increment(1);
        registry.counter(&list::CLIENTS_TOTAL, &[]).increment(1);
        of("ours");
        let alone = read();
        assert_eq!(alone.lines().count(), 2, "{alone}");
        (0..100).for_each(|other| of(&format!("other{other}")));
        assert_eq!(read(), alone);
        // Others are gone, and places are others.
        registry.keep(HashSet::from([(NAMESPACE, Box::from("ours"))]));
        assert_eq!(read(), alone);
    }

    #[test]
    fn a_value_is_in_the_bucket_of_its_bound_and_in_all_above() {
        let registry = Registry::default();
        let histogram = registry.histogram(&list::BATCH_OPERATIONS, &[]);
        for value in [0.0, 1.0, 1.5, 2.0, 1024.0, 1025.0] {
            histogram.record(value);
        }
        histogram.record_many(3.0, 10);
        let text = registry.render();
        for (bound, count) in [("1", 2), ("2", 4), ("4", 14), ("512", 14), ("1024", 15), ("+Inf", 16)] {
            assert!(text.contains(&format!("_bucket{{le=\"{bound}\"}} {count}\n")), "{bound} in\n{text}");
        }
        assert!(text.contains("_operations_sum 2083.5\n") && text.contains("_operations_count 16\n"), "{text}");
    }

    #[test]
    fn a_labels_value_cannot_end_its_line() {
        assert_eq!(written(&[("a", "x"), ("b", "\"\\\n")]), r#"a="x",b="\"\\\n""#);
    }
}
