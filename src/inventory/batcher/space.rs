//! One namespace in a batcher: its keys, its figures, and what waits of it.

use super::Batcher;
use super::job::Job;
use crate::config::Acknowledge;
use crate::inventory::keys::{self, CellKeys};
use crate::inventory::marks::Marks;
use crate::inventory::sold_out::SoldOut;
use crate::metrics::{Metrics, OperationMetrics};
use crate::resp::write;
use crate::upstream::pool::Claim;
use crate::upstream::wire::Reply;
use bb8_redis::redis::Value;
use bytes::BytesMut;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::ops::Deref;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

/// Appends what asks for it, to be answered behind what it is asked for. Returns how many replies that makes, the last one
/// to be judged. The upstream waits for what the connection wrote last: with a write to `meta_key` that is behind all that
/// other connections wrote, and the answers may speak of.
pub(super) fn write_wait(acknowledge: Acknowledge, out: &mut BytesMut, meta_key: &str, patience: Duration) -> usize {
    // Before the connection is given up: what was done is known then.
    let timeout = (patience.as_millis() as u64 * 9 / 10).max(1).to_string();
    if acknowledge != Acknowledge::Memory {
        write::request(out, &[b"HSET", meta_key.as_bytes(), b"waited", b"1"]);
    }
    match acknowledge {
        Acknowledge::Memory => return 0,
        Acknowledge::Replicas(count) => {
            write::request(out, &[b"WAIT", count.to_string().as_bytes(), timeout.as_bytes()]);
        }
        Acknowledge::Fsync => write::request(out, &[b"WAITAOF", b"1", b"0", timeout.as_bytes()]),
    }
    2
}

/// What its reply says. An engine that refuses to wait assures nothing.
pub(super) fn is_met(acknowledge: Acknowledge, reply: Option<&Reply>) -> bool {
    match (acknowledge, reply) {
        (Acknowledge::Memory, _) => true,
        (Acknowledge::Replicas(count), Some(Ok(Value::Int(replicas)))) => *replicas >= i64::from(count),
        (Acknowledge::Fsync, Some(Ok(Value::Array(places)))) => matches!(places.first(), Some(Value::Int(1..))),
        _ => false,
    }
}

/// What a namespace is to a batcher.
#[derive(Debug, Clone)]
pub struct SpaceSettings {
    /// Its name.
    pub namespace: String,
    /// How many cells it has.
    pub cells: u16,
    /// How long an ended reservation is remembered, ms.
    pub remember_ms: u64,
    /// See [`SpaceBounds`].
    pub bounds: SpaceBounds,
}

/// What of a namespace a changed configuration may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpaceBounds {
    /// Operations of it that wait at most.
    pub queue_ops_max: usize,
    /// Before an operation of it is answered.
    pub acknowledge: Acknowledge,
    /// Operations of it that are on their way at most while other tenants ask for something: what is before theirs at the upstream.
    pub window: usize,
}

/// What all workers of a sidecar know of each namespace.
pub struct Namespaces {
    sold_out_keep: Duration,
    known: Mutex<HashMap<String, Kept>>,
}

/// As long as a worker has the namespace.
struct Kept {
    marks: Weak<Marks>,
    sold_out: Weak<SoldOut>,
}

/// What all workers know of one namespace.
pub struct Known {
    /// The copy of the protected SKUs.
    pub marks: Arc<Marks>,
    /// What is known to be sold out.
    pub sold_out: Arc<SoldOut>,
}

impl Namespaces {
    /// Of none yet. `sold_out_keep`: for how long a refusal answers for others, zero: not at all.
    #[must_use]
    pub fn new(sold_out_keep: Duration) -> Self {
        Self { sold_out_keep, known: Mutex::default() }
    }

    fn known(&self, namespace: &str, cells: u16) -> Known {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let upgraded = |kept: &Kept| Some(Known { marks: kept.marks.upgrade()?, sold_out: kept.sold_out.upgrade()? });
        if let Some(known) = known.get(namespace).and_then(upgraded) {
            return known;
        }
        known.retain(|_, kept| kept.marks.strong_count() > 0);
        let new = Known { marks: Arc::default(), sold_out: Arc::new(SoldOut::new(self.sold_out_keep, cells)) };
        let kept = Kept { marks: Arc::downgrade(&new.marks), sold_out: Arc::downgrade(&new.sold_out) };
        known.insert(namespace.to_owned(), kept);
        new
    }
}

/// See the module.
pub struct Space {
    /// What it is.
    pub settings: SpaceSettings,
    /// The copy of its protected SKUs.
    pub marks: Arc<Marks>,
    /// What of it is known to be sold out.
    pub sold_out: Arc<SoldOut>,
    pub(super) cell_keys: Vec<CellKeys>,
    pub(super) claim: Claim,
    pub(super) queue: RefCell<VecDeque<Job>>,
    /// Operations of it that are in batches on their way.
    pub(super) under_way: Cell<usize>,
    pub(super) bounds: Cell<SpaceBounds>,
    /// The upstream was asked whether the namespace has so many cells.
    pub(super) checked: Cell<bool>,
    metrics: Metrics,
    operations: OnceCell<OperationMetrics>,
}

impl Space {
    pub(super) fn new(settings: SpaceSettings, namespaces: &Namespaces, metrics: &Metrics) -> Rc<Self> {
        let known = namespaces.known(&settings.namespace, settings.cells);
        Rc::new(Self {
            cell_keys: (0..settings.cells).map(|cell| keys::cell_keys(&settings.namespace, cell)).collect(),
            claim: Claim { meta_key: keys::meta_key(&settings.namespace), cells: settings.cells },
            marks: known.marks,
            sold_out: known.sold_out,
            queue: RefCell::default(),
            under_way: Cell::new(0),
            checked: Cell::new(false),
            bounds: Cell::new(settings.bounds),
            metrics: metrics.clone(),
            operations: OnceCell::new(),
            settings,
        })
    }

    /// From here on these hold.
    pub fn set_bounds(&self, bounds: SpaceBounds) {
        self.bounds.set(bounds);
    }

    /// Figures of the namespace; they are there from the first time that somebody asks.
    pub fn operations(&self) -> &OperationMetrics {
        self.operations.get_or_init(|| self.metrics.operations(&self.settings.namespace))
    }
}

/// One namespace's inventory: a batcher and the place in it.
#[derive(Clone)]
pub struct Inventory {
    pub(super) batcher: Rc<Batcher>,
    pub(super) space: Rc<Space>,
}

impl Deref for Inventory {
    type Target = Space;
    fn deref(&self) -> &Space {
        &self.space
    }
}
