//! The figures of one namespace's inventory operations.
//!
//! Owns the handles by operation and status. Never looks one up while recording: an index finds it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::By;
use super::labels::{Label, Operation, Status};
use super::list::{self, Metric};
use super::registry::{NAMESPACE, Registry};
use super::{Counter, Histogram};

/// The handles of one namespace. Cloning is cheap and yields the same figures.
#[derive(Clone)]
pub struct OperationMetrics {
    shared: Arc<Shared>,
    /// Reservations of this namespace that were found overdue and whose stock was given back.
    pub reservations_expired: Counter,
}

struct Shared {
    registry: Arc<Registry>,
    namespace: String,
    by_operation: By<Operation, OfOperation>,
}

struct OfOperation {
    duration: Histogram,
    /// Made when a status is first met: all of them would be 252 series a namespace, of which most stay zero for ever.
    by_status: By<Status, OnceLock<OfStatus>>,
}

struct OfStatus {
    all: Counter,
    /// Reserve, commit and rollback also have a metric of their own.
    own: Option<Counter>,
}

impl OperationMetrics {
    pub(super) fn new(registry: &Arc<Registry>, namespace: &str) -> Self {
        let by_operation = By::new(|operation: Operation| {
            let labels = [(NAMESPACE, namespace), (Operation::NAME, operation.word())];
            OfOperation {
                duration: registry.histogram(&list::OPERATION_DURATION_SECONDS, &labels),
                by_status: By::new(|_| OnceLock::new()),
            }
        });
        let reservations_expired = registry.counter(&list::RESERVATIONS_EXPIRED_TOTAL, &[(NAMESPACE, namespace)]);
        let shared = Shared { registry: Arc::clone(registry), namespace: namespace.to_owned(), by_operation };
        // `ok` is there from the start, so that a rate over it is never absent.
        for operation in Operation::ALL {
            shared.counters(*operation, Status::Ok);
        }
        Self { shared: Arc::new(shared), reservations_expired }
    }

    /// Counts `n` operations that ended alike after the same time, as those of a batch do.
    pub fn record(&self, operation: Operation, status: Status, duration: Duration, n: u64) {
        let counters = self.shared.counters(operation, status);
        counters.all.increment(n);
        if let Some(own) = &counters.own {
            own.increment(n);
        }
        self.shared.by_operation[operation]
            .duration
            .record_many(duration.as_secs_f64(), usize::try_from(n).unwrap_or(usize::MAX));
    }
}

impl Shared {
    fn counters(&self, operation: Operation, status: Status) -> &OfStatus {
        self.by_operation[operation].by_status[status].get_or_init(|| {
            let labels = [
                (NAMESPACE, self.namespace.as_str()),
                (Operation::NAME, operation.word()),
                (Status::NAME, status.word()),
            ];
            OfStatus {
                all: self.registry.counter(&list::OPERATIONS_TOTAL, &labels),
                own: own_metric(operation).map(|metric| self.registry.counter(metric, &labels)),
            }
        })
    }
}

fn own_metric(operation: Operation) -> Option<&'static Metric> {
    match operation {
        Operation::Reserve => Some(&list::RESERVE_TOTAL),
        Operation::Commit => Some(&list::COMMIT_TOTAL),
        Operation::Rollback => Some(&list::ROLLBACK_TOTAL),
        _ => None,
    }
}
