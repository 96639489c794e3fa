//! From operations to batches to EVALSHA, and again where an answer was lost.
//!
//! An operation that finds a pooled connection free goes at once; what arrives while all are busy goes together next.
//! There is no timer to fill a batch. A batch is owned by the batcher: a client that vanishes cancels nothing.
//!
//! A client's operations take effect in its order: while one is in flight, its next ones wait or join the same batch.

mod call;
mod job;
mod look;
mod queue;
mod replies;
mod runs;
mod sending;
mod space;
mod submit;
mod transaction;

pub use space::{Inventory, Namespaces, Space, SpaceBounds, SpaceSettings};
pub use transaction::Queued;

use self::job::{Job, Owner};
use self::queue::State;
use self::replies::Replies;
use super::id::Mint;
use super::operation::{Expect, ScriptOperation, Work};
use super::reply::{Outcome, Refusal};
use crate::config::Acknowledge;
use crate::error::without_user;
use crate::metrics::{ErrorKind, ErrorOrigin, Metrics, Status};
use crate::resp::{Proto, Ticket};
use crate::upstream::knowledge::Knowledge;
use crate::upstream::pool::{Fitting, Pool};
use crate::upstream::refusal::Reader;
use crate::upstream::users::TenantUsers;
use bytes::BytesMut;
use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// Overdue reservations that one script call takes back at the most. Each of a SKU of its own takes the upstream 20 us, in which
/// nobody else is served.
pub const SETTLE_MAX: u64 = 1000;
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
    /// Operations that wait, of all namespaces.
    pub queue_ops_max: usize,
    /// Batches in flight that wait for the same: a pool's connections.
    pub batches_max: usize,
    /// Within which an operation is answered.
    pub deadline: Duration,
}

/// One worker's batcher, for all namespaces of one upstream user.
pub struct Batcher {
    make_pool: MakePool,
    /// One for each that is waited for, from when it is first needed.
    pools: RefCell<Vec<(Acknowledge, Pool)>>,
    knowledge: Arc<Knowledge>,
    fitting: Fitting,
    limits: BatcherLimits,
    mint: Mint,
    metrics: Metrics,
    /// Where replies are written.
    scratch: RefCell<BytesMut>,
    /// The time at which what is submitted now was, as long as the dispatcher has not run.
    submitted: Cell<Option<Instant>>,
    state: RefCell<State>,
    /// Sendings so far.
    calls: Cell<u64>,
    changed: Rc<Notify>,
    /// The dispatcher is told that operations came, and has not looked since.
    told: Cell<bool>,
    /// What of the operations that wait is in the metrics.
    shown: Cell<usize>,
    /// The last thing heard of the upstream was an answer.
    reachable: Cell<bool>,
    pause: Pause,
    crowded: Crowded,
    tenants: Arc<TenantUsers>,
}

/// What a batcher is made of.
pub struct BatcherParts {
    /// Makes a pool of connections with the script loaded, for batches that wait for this.
    pub make_pool: MakePool,
    /// What they learn.
    pub knowledge: Arc<Knowledge>,
    /// The script.
    pub fitting: Fitting,
    /// Limits.
    pub limits: BatcherLimits,
    /// Figures.
    pub metrics: Metrics,
    /// Between attempts to connect.
    pub pause: Pause,
    /// Whether others ask for something.
    pub crowded: Crowded,
    /// Whether its clients are tenants'.
    pub tenants: Arc<TenantUsers>,
}

/// See [`BatcherParts`].
pub type MakePool = Box<dyn Fn(Acknowledge) -> Pool>;

/// The pause before the n-th attempt (from 0) to connect again, with jitter.
pub type Pause = Box<dyn Fn(u32) -> Duration>;

/// Whether more than one tenant asks the upstream for something now.
pub type Crowded = Box<dyn Fn() -> bool>;

impl Batcher {
    /// Makes the batcher and its task, which ends when nobody else has it and nothing of it waits or is in flight.
    #[must_use]
    pub fn start(parts: BatcherParts) -> Rc<Self> {
        let batcher = Rc::new(Self {
            pools: RefCell::default(),
            make_pool: parts.make_pool,
            knowledge: parts.knowledge,
            fitting: parts.fitting,
            limits: parts.limits,
            mint: Mint::default(),
            scratch: RefCell::default(),
            submitted: Cell::new(None),
            metrics: parts.metrics,
            state: RefCell::default(),
            calls: Cell::new(0),
            changed: Rc::default(),
            told: Cell::new(false),
            shown: Cell::new(0),
            reachable: Cell::new(false),
            pause: parts.pause,
            crowded: parts.crowded,
            tenants: parts.tenants,
        });
        tokio::task::spawn_local(dispatch(Rc::downgrade(&batcher), Rc::clone(&batcher.changed)));
        batcher
    }

    /// Operations that wait or are in flight.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let state = self.state.borrow();
        state.queued == 0 && state.in_flight() == 0
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
        let reader = match (self.tenants.are_told_apart(), self.knowledge.is_of_another()) {
            (false, _) => Reader::Anybody,
            (true, false) => Reader::Tenant,
            (true, true) => Reader::TenantWithUser,
        };
        let error = self.knowledge.last_error();
        let reason = error.map_or_else(|| "the upstream cannot be reached".to_owned(), |error| reader.reason(&error));
        Refusal::new(Status::Unavailable, format!("{reason}; this was not sent"))
    }

    fn pool(&self, acknowledge: Acknowledge) -> Pool {
        let mut pools = self.pools.borrow_mut();
        if let Some((_, pool)) = pools.iter().find(|(known, _)| *known == acknowledge) {
            return pool.clone();
        }
        let pool = (self.make_pool)(acknowledge);
        pools.push((acknowledge, pool.clone()));
        pool
    }

    /// No connection is there, and to wait for one is of no use.
    fn lacks_password(&self, pool: &Pool) -> bool {
        (self.knowledge.lacks_password() || self.knowledge.is_refused()) && pool.state().connections == 0
    }

    /// Why an operation of the sidecar's own was refused, in words about the upstream.
    #[must_use]
    pub fn trouble(&self, refusal: &Refusal) -> String {
        match (refusal.status, self.knowledge.last_error()) {
            (Status::Unavailable, Some(error)) => format!("upstream {}", error.detail),
            (Status::Uncertain, None) if refusal.text == sending::NOT_ACKNOWLEDGED => {
                "what acknowledge asks for does not come (fewer replicas are there, or it cannot wait for its disk)"
                    .to_owned()
            }
            (Status::Unavailable | Status::Uncertain, _) => "the upstream does not answer".to_owned(),
            _ => format!("the upstream refuses the script: {}", refusal.line()),
        }
    }

    /// Keeps the copy of the protected SKUs fresh.
    fn note(space: &Space, operation: &ScriptOperation, outcome: &Outcome) {
        if let Work::Script(_, Expect::Marked(skus, mark)) = &operation.work
            && let Outcome::Marked { version_before, version_after, .. } = outcome
        {
            space.marks.changed(operation.cell, skus, *mark, *version_before, *version_after);
        }
    }

    fn reply(&self, ticket: Ticket, proto: Proto, outcome: &Outcome) {
        let mut out = self.scratch.borrow_mut();
        out.clear();
        outcome.write(&mut out, proto);
        ticket.complete(&out);
    }

    /// May have given stock back, whatever became of it.
    fn note_given_back(space: &Space, operation: &ScriptOperation) {
        let gives = match &operation.work {
            Work::Reserve { .. } | Work::Commit(..) => false,
            Work::RollBack(_) => true,
            Work::Script(args, _) => matches!(args.letter(), b'B' | b'T' | b'A' | b'E' | b'X'),
        };
        if gives {
            space.sold_out.gave(operation.cell);
        }
    }

    /// `joined`: it was part of a batch.
    fn finish(&self, job: &mut Job, outcome: Outcome, joined: bool) {
        let space = Rc::clone(&job.space);
        let mut replies = Replies::default();
        self.finish_among(job, outcome, joined, &mut replies);
        replies.finish(&space);
    }

    /// The same of an operation of which [`Call::done`](call::Call::done) says that it did what it was to do.
    fn done_among(&self, job: &mut Job, replies: &mut Replies) {
        let outcome = match &job.operation.work {
            Work::Reserve { minted: Some(minted), .. } => Outcome::Minted(job.operation.cell, *minted),
            _ => Outcome::Ok,
        };
        if !matches!(job.owner, Owner::Client(..)) {
            return self.finish_among(job, outcome, true, replies);
        }
        Self::note_given_back(&job.space, &job.operation);
        if let Owner::Client(ticket, proto) = std::mem::replace(&mut job.owner, Owner::Answered) {
            ticket.queue().leave_batch();
            replies.tally.add(&job.space, job.operation.operation, Status::Ok, job.queued);
            replies.add(ticket, proto, &outcome);
        }
    }

    fn finish_among(&self, job: &mut Job, mut outcome: Outcome, joined: bool, replies: &mut Replies) {
        if joined && let Some(client) = job.client() {
            client.leave_batch();
        }
        Self::note(&job.space, &job.operation, &outcome);
        Self::note_given_back(&job.space, &job.operation);
        let status = outcome.status();
        match status {
            Status::Uncertain => self.metrics.error(ErrorOrigin::Upstream, ErrorKind::Uncertain),
            Status::Unavailable => self.metrics.error(ErrorOrigin::Upstream, ErrorKind::Unavailable),
            Status::Overloaded => self.metrics.error(ErrorOrigin::Sidecar, ErrorKind::Overloaded),
            _ => {}
        }
        if !matches!(job.owner, Owner::Internal(_)) {
            if let Outcome::Refused(refusal) = &mut outcome
                && refusal.upstream_word
                && self.tenants.are_told_apart()
            {
                refusal.text = String::from_utf8_lossy(&without_user(refusal.text.as_bytes())).into_owned();
            }
            replies.tally.add(&job.space, job.operation.operation, status, job.queued);
        }
        match std::mem::replace(&mut job.owner, Owner::Answered) {
            Owner::Client(ticket, proto) => replies.add(ticket, proto, &outcome),
            Owner::Internal(sender) => {
                let _ = sender.send(outcome);
            }
            Owner::Transaction | Owner::Answered => {}
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

impl Drop for Batcher {
    fn drop(&mut self) {
        self.changed.notify_one();
    }
}

async fn dispatch(batcher: Weak<Batcher>, changed: Rc<Notify>) {
    while let Some(batcher) = batcher.upgrade() {
        batcher.submitted.set(None);
        batcher.told.set(false);
        batcher.gather().await;
        while let Some(batch) = batcher.take_batch() {
            batcher.metrics.batch_operations.record(batch.jobs.len() as f64);
            tokio::task::spawn_local(sending::run_batch(Rc::clone(&batcher), batch));
        }
        let next = batcher.expire_queue();
        batcher.show_queue();
        match next {
            // It may be the last one that had it: its end wakes too.
            None => {
                drop(batcher);
                changed.notified().await;
            }
            // What waits is held, whoever has gone.
            Some(deadline) => {
                // Both only wake; nothing is lost by dropping either.
                tokio::select! {
                    () = changed.notified() => {}
                    () = sleep_until(deadline) => {}
                }
            }
        }
    }
}
