//! Where the figures are: every series of every metric, and its text for Prometheus (format 0.0.4).
//!
//! Owns the sums. A handle is a pointer to its own figure, so that recording is an atomic addition and nothing else: no clock
//! is read, no sample is kept, and nothing need be done between two scrapes.

use super::list::{Kind, METRICS, Metric};
use ::metrics::{Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn};
use std::collections::HashMap;
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

struct Series {
    metric: &'static Metric,
    /// As they are written, without the braces.
    labels: String,
    figure: Figure,
}

#[derive(Default)]
struct All {
    series: Vec<Series>,
    /// Where one is, by its metric's name and its labels.
    places: HashMap<(&'static str, String), usize>,
}

/// See the module.
#[derive(Default)]
pub(super) struct Registry(Mutex<All>);

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
        let labels = written(labels);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let next = all.series.len();
        let place = *all.places.entry((metric.name, labels.clone())).or_insert(next);
        if place == next {
            all.series.push(Series { metric, labels, figure: make() });
        }
        take(&mut all.series[place].figure)
    }

    /// All figures, the metrics in the order of the list.
    pub(super) fn render(&self) -> String {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
