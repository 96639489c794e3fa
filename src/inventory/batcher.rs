//! From operations to batches to EVALSHA, and again where an answer was lost.
//!
//! An operation that finds a pooled connection free goes at once; what arrives while all are busy goes together next.
//! There is no timer to fill a batch. A batch is owned by the batcher: a client that vanishes cancels nothing.
//!
//! A client's operations take effect in its order: while one is in flight, its next ones wait or join the same batch.

mod call;
mod job;
mod replies;
mod runs;
mod sending;
mod transaction;

pub use transaction::Queued;

use self::job::{Job, Join, Owner};
use self::replies::Replies;
use super::id::Mint;
use super::keys::{self, CellKeys};
use super::marks::Marks;
use super::operation::{Expect, ScriptOperation, Work};
use super::reply::{Outcome, Refusal};
use super::sold_out::SoldOut;
use crate::error::Kind;
use crate::metrics::{ErrorKind, ErrorOrigin, Metrics, OperationMetrics, Status};
use crate::resp::{Proto, ReplyQueue, Ticket};
use crate::upstream::knowledge::Knowledge;
use crate::upstream::pool::{Fitting, Pool};
use bytes::BytesMut;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep_until};

/// Overdue reservations that one script call takes back at the most, some milliseconds of the upstream's time.
pub const SETTLE_MAX: u64 = 5000;
/// Arguments of a batch's operations: one of a thousand SKUs takes the upstream some milliseconds, and one call must not
/// take it many of them.
const BATCH_ARGS_MAX: usize = 2048;
/// Operations looked at for one batch, as a multiple of what it may hold: those of clients that must wait are stepped over.
const LOOK_AHEAD: usize = 4;

/// Limits of one batcher.
#[derive(Debug, Clone)]
pub struct BatcherLimits {
    /// Operations of a batch.
    pub batch_ops_max: usize,
    /// Operations that wait.
    pub queue_ops_max: usize,
    /// Batches in flight: the pool's connections.
    pub batches_max: usize,
    /// Within which an operation is answered.
    pub deadline: Duration,
    /// How long an ended reservation is remembered, ms.
    pub remember_ms: u64,
}

struct State {
    queue: VecDeque<Job>,
    in_flight: usize,
    next_batch: u64,
}

/// One worker's batcher for one namespace.
pub struct Batcher {
    pool: Pool,
    knowledge: Arc<Knowledge>,
    fitting: Fitting,
    limits: BatcherLimits,
    cell_keys: Vec<CellKeys>,
    mint: Mint,
    marks: Arc<Marks>,
    sold_out: Arc<SoldOut>,
    metrics: Metrics,
    operations: OperationMetrics,
    /// Where replies are written.
    scratch: RefCell<BytesMut>,
    /// The time at which what is submitted now was, as long as the dispatcher has not run.
    submitted: Cell<Option<Instant>>,
    state: RefCell<State>,
    /// Sendings so far.
    calls: Cell<u64>,
    changed: Notify,
    /// The last thing heard of the upstream was an answer.
    reachable: Cell<bool>,
    pause: Pause,
}

/// What a batcher is made of.
pub struct BatcherParts {
    /// Connections with the script loaded.
    pub pool: Pool,
    /// What they learn.
    pub knowledge: Arc<Knowledge>,
    /// The script.
    pub fitting: Fitting,
    /// The namespace.
    pub namespace: String,
    /// How many cells it has.
    pub cells: u16,
    /// Limits.
    pub limits: BatcherLimits,
    /// The copy of the protected SKUs.
    pub marks: Arc<Marks>,
    /// What is known to be sold out.
    pub sold_out: Arc<SoldOut>,
    /// Figures.
    pub metrics: Metrics,
    /// Figures of the namespace.
    pub operations: OperationMetrics,
    /// Between attempts to connect.
    pub pause: Pause,
}

/// The pause before the n-th attempt (from 0) to connect again, with jitter.
pub type Pause = Box<dyn Fn(u32) -> Duration>;

impl Batcher {
    /// Makes the batcher and its task, which ends with the runtime.
    #[must_use]
    pub fn start(parts: BatcherParts) -> Rc<Self> {
        let batcher = Rc::new(Self {
            cell_keys: (0..parts.cells).map(|cell| keys::cell_keys(&parts.namespace, cell)).collect(),
            pool: parts.pool,
            knowledge: parts.knowledge,
            fitting: parts.fitting,
            limits: parts.limits,
            mint: Mint::default(),
            marks: parts.marks,
            sold_out: parts.sold_out,
            scratch: RefCell::default(),
            submitted: Cell::new(None),
            metrics: parts.metrics,
            operations: parts.operations,
            state: RefCell::new(State { queue: VecDeque::new(), in_flight: 0, next_batch: 0 }),
            calls: Cell::new(0),
            changed: Notify::new(),
            reachable: Cell::new(false),
            pause: parts.pause,
        });
        tokio::task::spawn_local(dispatch(Rc::clone(&batcher)));
        batcher
    }

    /// The copy of the protected SKUs.
    #[must_use]
    pub fn marks(&self) -> &Marks {
        &self.marks
    }

    /// Figures of the namespace.
    #[must_use]
    pub fn operations(&self) -> &OperationMetrics {
        &self.operations
    }

    /// Operations that wait or are in flight.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let state = self.state.borrow();
        state.queue.is_empty() && state.in_flight == 0
    }

    /// A client's request; its reply goes to the ticket.
    pub fn submit_one(&self, operation: ScriptOperation, ticket: Ticket, proto: Proto) {
        let client = Rc::clone(ticket.queue());
        // Behind an operation of its own in flight the client must see what that one did.
        if let Work::Reserve { sku, quantity, .. } = &operation.work
            && client.waiting() == 1
            && let Some(refused) = self.sold_out.refusal(operation.cell, sku, i64::from(*quantity))
        {
            let outcome = Outcome::Insufficient(refused);
            self.operations.record(operation.operation, outcome.status(), Duration::ZERO, 1);
            return self.reply(ticket, proto, &outcome);
        }
        if self.state.borrow().queue.len() >= self.limits.queue_ops_max {
            return self.refuse_unqueued(&[operation], ticket, proto);
        }
        let queued = self.submitted.get().unwrap_or_else(Instant::now);
        self.submitted.set(Some(queued));
        self.enqueue(operation, Owner::Client(ticket, proto), Some(client), queued);
    }

    fn refuse_unqueued(&self, operations: &[ScriptOperation], ticket: Ticket, proto: Proto) {
        let outcome = Outcome::Refused(self.never_sent(true));
        if let Some(operation) = operations.first() {
            self.operations.record(operation.operation, outcome.status(), Duration::ZERO, 1);
        }
        self.reply(ticket, proto, &outcome);
    }

    /// The same, in as many parts as there are cells.
    pub fn submit(&self, operations: Vec<ScriptOperation>, ticket: Ticket, proto: Proto) {
        let (queued, client) = (Instant::now(), Rc::clone(ticket.queue()));
        if self.state.borrow().queue.len() + operations.len() > self.limits.queue_ops_max {
            return self.refuse_unqueued(&operations, ticket, proto);
        }
        let count = operations.len();
        let mut ticket = Some((ticket, proto));
        let join = (count != 1).then(|| {
            Rc::new(Join {
                parts: RefCell::new(vec![None; count]),
                waiting: Cell::new(count),
                client: Cell::new(ticket.take()),
            })
        });
        for (place, operation) in operations.into_iter().enumerate() {
            let owner = match (&join, ticket.take()) {
                (Some(join), _) => Owner::Part(Rc::clone(join), place),
                (None, Some((ticket, proto))) => Owner::Client(ticket, proto),
                (None, None) => return,
            };
            self.enqueue(operation, owner, Some(Rc::clone(&client)), queued);
        }
    }

    /// An operation of the sidecar's own.
    ///
    /// # Cancel safety
    /// Dropped, the operation goes on and its outcome is lost.
    pub async fn run(&self, operation: ScriptOperation) -> Outcome {
        let (sender, receiver) = oneshot::channel();
        self.enqueue(operation, Owner::Internal(sender), None, Instant::now());
        receiver
            .await
            .unwrap_or_else(|_| Outcome::Refused(Refusal::new(Status::Uncertain, "the sidecar gave up this operation")))
    }

    fn enqueue(&self, operation: ScriptOperation, owner: Owner, client: Option<Rc<ReplyQueue>>, queued: Instant) {
        let deadline = queued + self.limits.deadline;
        self.state.borrow_mut().queue.push_back(Job { operation, owner, client, queued, deadline, unknown: false });
        self.metrics.queue_operations.increment(1.0);
        self.changed.notify_one();
    }

    /// The next batch, or none: nothing waits that may go.
    fn take_batch(&self) -> Option<Vec<Job>> {
        let mut guard = self.state.borrow_mut();
        let state = &mut *guard;
        if state.queue.is_empty() || state.in_flight >= self.limits.batches_max {
            return None;
        }
        state.next_batch += 1;
        let (id, mut batch, mut held) = (state.next_batch, Vec::new(), VecDeque::new());
        let (mut look, mut args) = (self.limits.batch_ops_max * LOOK_AHEAD, 0);
        while batch.len() < self.limits.batch_ops_max && look > 0 {
            let Some(job) = state.queue.pop_front() else { break };
            look -= 1;
            let weight = job.operation.weight();
            if !batch.is_empty() && args + weight > BATCH_ARGS_MAX {
                state.queue.push_front(job);
                break;
            }
            match &job.client {
                Some(client) if !client.may_join_batch(id) => held.push_back(job),
                client => {
                    if let Some(client) = client {
                        client.join_batch(id);
                    }
                    args += weight;
                    batch.push(job);
                }
            }
        }
        while let Some(job) = held.pop_back() {
            state.queue.push_front(job);
        }
        if batch.is_empty() {
            return None;
        }
        state.in_flight += 1;
        self.metrics.queue_operations.decrement(batch.len() as f64);
        Some(batch)
    }

    /// What has arrived already is to join: as long as a look at the sockets brings more operations, another look is worth it.
    /// Nothing is waited for that is not there.
    async fn gather(&self) {
        let mut before = 0;
        loop {
            let waiting = self.state.borrow().queue.len();
            if waiting <= before || waiting >= self.limits.batch_ops_max {
                return;
            }
            before = waiting;
            tokio::task::yield_now().await;
        }
    }

    /// Answers what waited too long to be sent. Returns when the next will have.
    fn expire_queue(&self) -> Option<Instant> {
        let now = Instant::now();
        loop {
            let job = {
                let mut state = self.state.borrow_mut();
                match state.queue.front() {
                    None => return None,
                    Some(job) if job.deadline > now => return Some(job.deadline),
                    Some(_) => state.queue.pop_front()?,
                }
            };
            self.metrics.queue_operations.decrement(1.0);
            self.finish(job, Outcome::Refused(self.never_sent(self.reachable.get())), false);
        }
    }

    /// Why an operation was not sent.
    #[must_use]
    pub fn never_sent(&self, reachable: bool) -> Refusal {
        if reachable {
            return Refusal::new(
                Status::Overloaded,
                "too many operations wait for the upstream; this one was not sent",
            );
        }
        let error = self.knowledge.last_error();
        if let Some(error) = error.as_ref().filter(|error| error.kind == Kind::NoPassword) {
            return Refusal::new(Status::Unavailable, format!("the upstream {}; this was not sent", error.detail));
        }
        let detail = error.map_or_else(String::new, |error| format!(" ({})", error.detail));
        Refusal::new(Status::Unavailable, format!("the upstream cannot be reached{detail}; this was not sent"))
    }

    /// No connection is there, and to wait for one is of no use.
    fn lacks_password(&self) -> bool {
        self.knowledge.lacks_password() && self.pool.state().connections == 0
    }

    /// Why an operation of the sidecar's own was refused, in words about the upstream.
    #[must_use]
    pub fn trouble(&self, refusal: &Refusal) -> String {
        match (refusal.status, self.knowledge.last_error()) {
            (Status::Unavailable, Some(error)) => format!("upstream {}", error.detail),
            (Status::Unavailable | Status::Uncertain, _) => "the upstream does not answer".to_owned(),
            _ => format!("the upstream refuses the script: {}", refusal.line()),
        }
    }

    /// Keeps the copy of the protected SKUs fresh.
    fn note(&self, operation: &ScriptOperation, outcome: &Outcome) {
        if let Work::Script(script) = &operation.work
            && let (Expect::Marked(skus, mark), Outcome::Marked { version_before, version_after, .. }) =
                (&script.1, outcome)
        {
            self.marks.changed(operation.cell, skus, *mark, *version_before, *version_after);
        }
    }

    fn reply(&self, ticket: Ticket, proto: Proto, outcome: &Outcome) {
        let mut out = self.scratch.borrow_mut();
        out.clear();
        outcome.write(&mut out, proto);
        ticket.complete(&out);
    }

    /// May have given stock back, whatever became of it.
    fn note_given_back(&self, operation: &ScriptOperation) {
        let gives = match &operation.work {
            Work::Reserve { .. } | Work::Commit(..) => false,
            Work::RollBack(_) => true,
            Work::Script(script) => matches!(script.0.letter(), b'B' | b'T' | b'A' | b'E' | b'X'),
        };
        if gives {
            self.sold_out.gave(operation.cell);
        }
    }

    /// `joined`: it was part of a batch.
    fn finish(&self, job: Job, outcome: Outcome, joined: bool) {
        let mut replies = Replies::default();
        self.finish_among(job, outcome, joined, &mut replies);
        replies.finish(&self.operations);
    }

    fn finish_among(&self, job: Job, outcome: Outcome, joined: bool, replies: &mut Replies) {
        if joined && let Some(client) = &job.client {
            client.leave_batch();
        }
        self.note(&job.operation, &outcome);
        self.note_given_back(&job.operation);
        let status = outcome.status();
        match status {
            Status::Uncertain => self.metrics.error(ErrorOrigin::Upstream, ErrorKind::Uncertain),
            Status::Unavailable => self.metrics.error(ErrorOrigin::Upstream, ErrorKind::Unavailable),
            Status::Overloaded => self.metrics.error(ErrorOrigin::Sidecar, ErrorKind::Overloaded),
            _ => {}
        }
        if !matches!(job.owner, Owner::Internal(_)) {
            replies.tally.add(&self.operations, job.operation.operation, status, job.queued);
        }
        match job.owner {
            Owner::Client(ticket, proto) => replies.add(ticket, proto, &outcome),
            Owner::Internal(sender) => {
                let _ = sender.send(outcome);
            }
            Owner::Transaction => {}
            Owner::Part(join, place) => {
                join.parts.borrow_mut()[place] = Some(outcome);
                join.waiting.set(join.waiting.get() - 1);
                if join.waiting.get() == 0
                    && let Some((ticket, proto)) = join.client.take()
                {
                    let parts = join.parts.borrow_mut().drain(..).flatten().collect();
                    self.reply(ticket, proto, &Outcome::merge(parts));
                }
            }
        }
    }
}

async fn dispatch(batcher: Rc<Batcher>) {
    loop {
        batcher.submitted.set(None);
        batcher.gather().await;
        while let Some(batch) = batcher.take_batch() {
            batcher.metrics.batch_operations.record(batch.len() as f64);
            tokio::task::spawn_local(sending::run_batch(Rc::clone(&batcher), batch));
        }
        match batcher.expire_queue() {
            None => batcher.changed.notified().await,
            Some(deadline) => {
                // Both only wake; nothing is lost by dropping either.
                tokio::select! {
                    () = batcher.changed.notified() => {}
                    () = sleep_until(deadline) => {}
                }
            }
        }
    }
}
