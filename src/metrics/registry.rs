//! Where the figures are: every series of every metric, and its text for Prometheus (format 0.0.4).
//!
//! Owns the sums. A handle is a pointer to its own figure, so that recording is an atomic addition and nothing else: no clock
//! is read, no sample is kept, and nothing need be done between two scrapes.

use super::list::{Kind, METRICS, Metric};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A figure on a cache line of its own: two threads that count do not slow each other.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Line(AtomicU64);

/// Only ever grows. Clones are the same figure.
#[derive(Debug, Clone, Default)]
pub struct Counter(Arc<Line>);

impl Counter {
    /// So many more.
    #[inline]
    pub fn increment(&self, n: u64) {
        self.0.0.fetch_add(n, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.0.load(Ordering::Relaxed)
    }
}

/// What is now. Clones are the same figure.
#[derive(Debug, Clone, Default)]
pub struct Gauge(Arc<AtomicU64>);

impl Gauge {
    /// It is this.
    pub fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }

    /// It is so much more.
    pub fn increment(&self, by: f64) {
        add(&self.0, by);
    }

    /// It is so much less.
    pub fn decrement(&self, by: f64) {
        add(&self.0, -by);
    }

    fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

/// How values are spread over buckets. Clones are the same figures.
#[derive(Debug, Clone)]
pub struct Histogram(Arc<Spread>);

#[derive(Debug)]
struct Spread {
    bounds: &'static [f64],
    /// For each bound the values up to it and above the one before; the last one has all above the last bound.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

impl Histogram {
    fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(Spread { bounds, counts, sum: AtomicU64::new(0) }))
    }

    /// One value.
    pub fn record(&self, value: f64) {
        self.record_many(value, 1);
    }

    /// The same value so many times.
    pub fn record_many(&self, value: f64, times: u64) {
        let Spread { bounds, counts, sum } = &*self.0;
        let place = bounds.partition_point(|bound| *bound < value);
        counts[place].fetch_add(times, Ordering::Relaxed);
        add(sum, value * times as f64);
    }
}

fn add(figure: &AtomicU64, by: f64) {
    let sum = |bits| Some((f64::from_bits(bits) + by).to_bits());
    let _ = figure.fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum);
}

enum Figure {
    /// Of each thread that counts for itself.
    Counter(Vec<Counter>),
    Gauge(Gauge),
    Histogram(Histogram),
}

struct Series {
    metric: &'static Metric,
    /// As they are written, without the braces.
    labels: String,
    figure: Figure,
}

/// See the module.
#[derive(Default)]
pub(super) struct Registry(Mutex<Vec<Series>>);

/// A label's name and value.
pub(super) type LabelPair<'a> = (&'static str, &'a str);

impl Registry {
    /// The counter of these labels, which is made when it is first asked for.
    pub(super) fn counter(&self, metric: &'static Metric, labels: &[LabelPair<'_>]) -> Counter {
        self.find(
            metric,
            labels,
            || Figure::Counter(vec![Counter::default()]),
            |figure| match figure {
                Figure::Counter(counters) => counters.first().cloned().unwrap_or_default(),
                Figure::Gauge(_) | Figure::Histogram(_) => Counter::default(),
            },
        )
    }

    /// Another counter of these labels: what it counts is part of the same figure.
    pub(super) fn another_counter(&self, metric: &'static Metric, labels: &[LabelPair<'_>]) -> Counter {
        let another = Counter::default();
        self.find(
            metric,
            labels,
            || Figure::Counter(Vec::new()),
            |figure| {
                if let Figure::Counter(counters) = figure {
                    counters.push(another.clone());
                }
            },
        );
        another
    }

    /// The gauge of these labels.
    pub(super) fn gauge(&self, metric: &'static Metric, labels: &[LabelPair<'_>]) -> Gauge {
        self.find(
            metric,
            labels,
            || Figure::Gauge(Gauge::default()),
            |figure| match figure {
                Figure::Gauge(gauge) => gauge.clone(),
                Figure::Counter(_) | Figure::Histogram(_) => Gauge::default(),
            },
        )
    }

    /// The histogram of these labels.
    pub(super) fn histogram(&self, metric: &'static Metric, labels: &[LabelPair<'_>]) -> Histogram {
        let bounds = if let Kind::Histogram(bounds) = metric.kind { bounds } else { &[] };
        self.find(
            metric,
            labels,
            || Figure::Histogram(Histogram::new(bounds)),
            |figure| match figure {
                Figure::Histogram(histogram) => histogram.clone(),
                Figure::Counter(_) | Figure::Gauge(_) => Histogram::new(bounds),
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
        let labels = written(labels);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.iter().position(|series| series.metric.name == metric.name && series.labels == labels);
        let place = known.unwrap_or_else(|| {
            all.push(Series { metric, labels, figure: make() });
            all.len() - 1
        });
        take(&mut all[place].figure)
    }

    /// All figures, the metrics in the order of the list.
    pub(super) fn render(&self) -> String {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
                writeln!(out, "{name}{braces} {}", counters.iter().map(Counter::get).sum::<u64>())
            }
            Figure::Gauge(gauge) => writeln!(out, "{name}{braces} {}", gauge.get()),
            Figure::Histogram(histogram) => {
                let Spread { bounds, counts, sum } = &*histogram.0;
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
