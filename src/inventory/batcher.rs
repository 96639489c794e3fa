//! From operations to batches to EVALSHA, and again where an answer was lost.
//!
//! An operation that finds a pooled connection free goes at once; what arrives while all are busy goes together next.
//! There is no timer to fill a batch. A batch is owned by the batcher: a client that vanishes cancels nothing.
//!
//! A client's operations take effect in its order: while one is in flight, its next ones wait or join the same batch.

use super::id::{Mint, token};
use super::keys;
use super::marks::Marks;
use super::operation::{Expect, ScriptOperation};
use super::reply::{Outcome, Refusal};
use crate::error::{Kind, UpstreamError};
use crate::metrics::{ErrorKind, ErrorOrigin, Metrics, OperationMetrics, Status};
use crate::resp::{Proto, ReplyQueue, Ticket};
use crate::upstream::pool::{Knowledge, Pool, PoolConnection};
use bb8_redis::bb8::{PooledConnection, RunError};
use bb8_redis::redis::{Pipeline, Value, cmd};
use bytes::BytesMut;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

/// Overdue reservations that one script call takes back at the most, some milliseconds of the upstream's time.
pub const SETTLE_MAX: u64 = 5000;
/// How long a token is remembered: longer than any packet is held up on its way.
const OPS_MEMORY: Duration = Duration::from_secs(60 * 60);
/// Sendings that the upstream refused without effect (OOM, READONLY, …) before its word goes to the client.
const REFUSED_MAX: u32 = 4;
/// The first pause after such a refusal; it doubles.
const REFUSED_PAUSE: Duration = Duration::from_millis(25);
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

enum Owner {
    Client(Ticket, Proto),
    Part(Rc<Join>, usize),
    Internal(oneshot::Sender<Outcome>),
}

/// A client's request whose parts went to several cells.
struct Join {
    parts: RefCell<Vec<Option<Outcome>>>,
    waiting: Cell<usize>,
    client: Cell<Option<(Ticket, Proto)>>,
}

struct Job {
    operation: ScriptOperation,
    owner: Owner,
    client: Option<Rc<ReplyQueue>>,
    queued: Instant,
    deadline: Instant,
    /// It was sent, and what became of it is not known.
    unknown: bool,
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
    limits: BatcherLimits,
    cell_keys: Vec<[String; 8]>,
    mint: Mint,
    marks: Arc<Marks>,
    metrics: Metrics,
    operations: OperationMetrics,
    state: RefCell<State>,
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
    /// The namespace.
    pub namespace: String,
    /// How many cells it has.
    pub cells: u16,
    /// Limits.
    pub limits: BatcherLimits,
    /// The copy of the protected SKUs.
    pub marks: Arc<Marks>,
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
            limits: parts.limits,
            mint: Mint::default(),
            marks: parts.marks,
            metrics: parts.metrics,
            operations: parts.operations,
            state: RefCell::new(State { queue: VecDeque::new(), in_flight: 0, next_batch: 0 }),
            changed: Notify::new(),
            reachable: Cell::new(false),
            pause: parts.pause,
        });
        tokio::task::spawn_local(dispatch(Rc::clone(&batcher)));
        batcher
    }

    /// Where ids come from.
    #[must_use]
    pub fn mint(&self) -> &Mint {
        &self.mint
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
    pub fn submit(&self, operations: Vec<ScriptOperation>, ticket: Ticket, proto: Proto) {
        let (queued, client) = (Instant::now(), Rc::clone(ticket.queue()));
        if self.state.borrow().queue.len() + operations.len() > self.limits.queue_ops_max {
            let outcome = Outcome::Refused(self.never_sent(true));
            if let Some(operation) = operations.first() {
                self.operations.record(operation.operation, outcome.status(), Duration::ZERO, 1);
            }
            return reply(ticket, proto, &outcome);
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
            if !batch.is_empty() && args + job.operation.args.len() > BATCH_ARGS_MAX {
                state.queue.push_front(job);
                break;
            }
            match &job.client {
                Some(client) if !client.may_join_batch(id) => held.push_back(job),
                client => {
                    if let Some(client) = client {
                        client.join_batch(id);
                    }
                    args += job.operation.args.len();
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

    fn never_sent(&self, reachable: bool) -> Refusal {
        if reachable {
            return Refusal::new(
                Status::Overloaded,
                "too many operations wait for the upstream; this one was not sent",
            );
        }
        let detail = self.knowledge.last_error().map_or_else(String::new, |error| format!(" ({})", error.detail));
        Refusal::new(Status::Unavailable, format!("the upstream cannot be reached{detail}; this was not sent"))
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

    /// `joined`: it was part of a batch.
    fn finish(&self, job: Job, outcome: Outcome, joined: bool) {
        if joined && let Some(client) = &job.client {
            client.leave_batch();
        }
        if let (Expect::Marked(skus, mark), Outcome::Marked { version_before, version_after, .. }) =
            (&job.operation.expect, &outcome)
        {
            self.marks.changed(job.operation.cell, skus, *mark, *version_before, *version_after);
        }
        let status = outcome.status();
        match status {
            Status::Uncertain => self.metrics.error(ErrorOrigin::Upstream, ErrorKind::Uncertain),
            Status::Unavailable => self.metrics.error(ErrorOrigin::Upstream, ErrorKind::Unavailable),
            Status::Overloaded => self.metrics.error(ErrorOrigin::Sidecar, ErrorKind::Overloaded),
            _ => {}
        }
        if !matches!(job.owner, Owner::Internal(_)) {
            self.operations.record(job.operation.operation, status, job.queued.elapsed(), 1);
        }
        match job.owner {
            Owner::Client(ticket, proto) => reply(ticket, proto, &outcome),
            Owner::Internal(sender) => {
                let _ = sender.send(outcome);
            }
            Owner::Part(join, place) => {
                join.parts.borrow_mut()[place] = Some(outcome);
                join.waiting.set(join.waiting.get() - 1);
                if join.waiting.get() == 0
                    && let Some((ticket, proto)) = join.client.take()
                {
                    let parts = join.parts.borrow_mut().drain(..).flatten().collect();
                    reply(ticket, proto, &Outcome::merge(parts));
                }
            }
        }
    }

    fn pipeline(&self, jobs: &[Job], groups: &[(u16, Vec<usize>)], sending: &Sending, sha: &str) -> Pipeline {
        let mut numbers = itoa::Buffer::new();
        let mut pipeline = Pipeline::with_capacity(groups.len());
        for (cell, members) in groups {
            let mut evalsha = cmd("EVALSHA");
            evalsha.arg(sha).arg(self.cell_keys[*cell as usize].len());
            for key in &self.cell_keys[*cell as usize] {
                evalsha.arg(key);
            }
            evalsha.arg(numbers.format(self.limits.remember_ms)).arg(OPS_MEMORY.as_millis() as u64).arg(SETTLE_MAX);
            evalsha.arg(&sending.batch[..]).arg(sending.attempt).arg(letters(jobs, members));
            for &member in members {
                for arg in jobs[member].operation.args.iter() {
                    evalsha.arg(arg);
                }
            }
            pipeline.add_command(evalsha);
        }
        pipeline
    }
}

/// Names a batch and counts its sendings, for the script to tell one that was overtaken (lua/lib/ops.lua).
struct Sending {
    batch: [u8; 22],
    attempt: u32,
    /// Refusals without effect so far.
    refused: u32,
    /// Failures to connect so far.
    unconnected: u32,
    /// Connections lost so far.
    lost: u32,
}

fn reply(ticket: Ticket, proto: Proto, outcome: &Outcome) {
    let mut out = BytesMut::with_capacity(64);
    outcome.write(&mut out, proto);
    ticket.complete(&out);
}

async fn dispatch(batcher: Rc<Batcher>) {
    loop {
        while let Some(batch) = batcher.take_batch() {
            batcher.metrics.batch_operations.record(batch.len() as f64);
            tokio::task::spawn_local(run_batch(Rc::clone(&batcher), batch));
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

/// Sends the batch until each of its operations is answered.
async fn run_batch(batcher: Rc<Batcher>, mut jobs: Vec<Job>) {
    let _place = InFlight(Rc::clone(&batcher));
    let mut sending = Sending { batch: token(), attempt: 0, refused: 0, unconnected: 0, lost: 0 };
    while !jobs.is_empty() {
        jobs = expire_jobs(&batcher, jobs);
        let Some(earliest) = jobs.iter().map(|job| job.deadline).min() else { break };
        let Some(mut connection) = check_out(&batcher, earliest, &mut sending).await else { continue };
        jobs = attempt(&batcher, &mut connection, jobs, &mut sending, earliest).await;
        if !jobs.is_empty() {
            batcher.metrics.retries.increment(jobs.len() as u64);
        }
    }
}

/// A batch's place among those in flight; given back also where the batch's task ends by a panic.
struct InFlight(Rc<Batcher>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.state.borrow_mut().in_flight -= 1;
        self.0.changed.notify_one();
    }
}

/// Answers those whose time is over.
fn expire_jobs(batcher: &Batcher, jobs: Vec<Job>) -> Vec<Job> {
    let now = Instant::now();
    let (late, jobs): (Vec<_>, Vec<_>) = jobs.into_iter().partition(|job| job.deadline <= now);
    for job in late {
        let refusal = if job.unknown { uncertain() } else { batcher.never_sent(batcher.reachable.get()) };
        batcher.finish(job, Outcome::Refused(refusal), true);
    }
    jobs
}

fn uncertain() -> Refusal {
    Refusal::new(
        Status::Uncertain,
        "the upstream did not say what became of it; send the same again, a reservation with the same ID",
    )
}

/// A connection, or None where there is none yet: time is over or a pause was made.
async fn check_out<'p>(
    batcher: &'p Batcher,
    earliest: Instant,
    sending: &mut Sending,
) -> Option<PooledConnection<'p, crate::upstream::pool::Manager>> {
    let asked = Instant::now();
    // Dropping `get` gives its place up; a connection that it took is put back.
    tokio::select! {
        biased;
        got = batcher.pool.get() => match got {
            Ok(connection) => {
                batcher.metrics.pool_wait.record(asked.elapsed().as_secs_f64());
                sending.unconnected = 0;
                return Some(connection);
            }
            Err(RunError::TimedOut | RunError::User(_)) => {}
        },
        () = batcher.knowledge.connect_failed() => {}
        () = sleep_until(earliest) => {}
    }
    batcher.reachable.set(false);
    let pause = (batcher.pause)(sending.unconnected);
    sending.unconnected += 1;
    sleep_until(earliest.min(Instant::now() + pause)).await;
    None
}

/// Sends once. Returns what is to be sent again.
async fn attempt(
    batcher: &Batcher,
    connection: &mut PoolConnection,
    mut jobs: Vec<Job>,
    sending: &mut Sending,
    earliest: Instant,
) -> Vec<Job> {
    if connection.is_closed() {
        // It was lost while nobody used it: nothing is sent, so nothing becomes unknown.
        connection.give_up();
        return jobs;
    }
    sending.attempt += 1;
    let groups = by_cell(&jobs);
    let pipeline = batcher.pipeline(&jobs, &groups, sending, connection.sha());
    // Half of the deadline: a connection that is half open must leave time for another.
    let patience = earliest.min(Instant::now() + batcher.limits.deadline / 2);
    let sent = Instant::now();
    // Given up before it is awaited: were this dropped, nobody could use the connection again.
    let answer = timeout_at(patience, connection.send(&pipeline)).await;
    let replies = match answer {
        Ok(Ok(replies)) if replies.len() == groups.len() => replies,
        other => {
            connection.give_up();
            let error = match other {
                Ok(Ok(_)) => UpstreamError::new(Kind::Io, "the number of replies is not that of the requests"),
                Ok(Err(error)) => error,
                Err(_) => UpstreamError::new(Kind::Timeout, "no answer in time"),
            };
            tracing::debug!(%error, operations = jobs.len(), "a batch is sent again");
            batcher.metrics.error(
                ErrorOrigin::Upstream,
                if error.kind == Kind::Timeout { ErrorKind::Timeout } else { ErrorKind::Io },
            );
            jobs.iter_mut().for_each(|job| job.unknown = true);
            // The first time at once; an upstream that closes every time is not to be stormed.
            if sending.lost > 0 {
                sleep_until(earliest.min(Instant::now() + (batcher.pause)(sending.lost))).await;
            }
            sending.lost += 1;
            return jobs;
        }
    };
    batcher.reachable.set(true);
    batcher.metrics.batch_round_trip.record(sent.elapsed().as_secs_f64());

    let mut again: Vec<Job> = Vec::new();
    let (mut pause, mut load) = (None, false);
    let mut slots: Vec<Option<Job>> = jobs.into_iter().map(Some).collect();
    for ((_, members), reply) in groups.into_iter().zip(replies) {
        let group: Vec<Job> = members.into_iter().filter_map(|member| slots[member].take()).collect();
        match reply {
            Ok(value) => again.extend(answer_group(batcher, group, &value)),
            Err(error) if error.detail.starts_with("NOSCRIPT") => {
                load = true;
                again.extend(group);
            }
            Err(error) if error.kind == Kind::Refused && sending.refused < REFUSED_MAX => {
                pause = Some(REFUSED_PAUSE * (1 << sending.refused));
                if error.detail.starts_with("READONLY") {
                    // The node was demoted: the next connection finds the new one.
                    connection.give_up();
                }
                again.extend(group);
            }
            Err(error) => {
                batcher.metrics.error(ErrorOrigin::Upstream, ErrorKind::Refused);
                for job in group {
                    // It says nothing of an earlier sending.
                    let refusal = if job.unknown { uncertain() } else { Refusal::upstream(&error.detail) };
                    batcher.finish(job, Outcome::Refused(refusal), true);
                }
            }
        }
    }
    if load && !matches!(timeout_at(patience, connection.load_script()).await, Ok(Ok(()))) {
        connection.give_up();
    }
    if let Some(pause) = pause {
        sending.refused += 1;
        sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
    }
    again
}

/// Each letter of these operations once.
fn letters(jobs: &[Job], members: &[usize]) -> Vec<u8> {
    let mut letters: Vec<u8> = Vec::with_capacity(4);
    for &member in members {
        let letter = jobs[member].operation.args.letter();
        if !letters.contains(&letter) {
            letters.push(letter);
        }
    }
    letters
}

/// Positions of the operations by cell, each cell's in their order.
fn by_cell(jobs: &[Job]) -> Vec<(u16, Vec<usize>)> {
    let mut groups: Vec<(u16, Vec<usize>)> = Vec::with_capacity(1);
    for (index, job) in jobs.iter().enumerate() {
        match groups.iter_mut().find(|(cell, _)| *cell == job.operation.cell) {
            Some((_, members)) => members.push(index),
            None => groups.push((job.operation.cell, vec![index])),
        }
    }
    groups
}

/// Gives a cell's answers out. Returns the operations that the call did not come to.
fn answer_group(batcher: &Batcher, group: Vec<Job>, value: &Value) -> Vec<Job> {
    let (results, expired) = match value {
        Value::Array(parts) => match parts.as_slice() {
            [Value::Int(now), Value::Int(expired), Value::Array(results)] => {
                batcher.mint.observe(*now);
                (results.as_slice(), u64::try_from(*expired).unwrap_or(0))
            }
            _ => (&[][..], 0),
        },
        _ => (&[][..], 0),
    };
    if results.len() > group.len() || !matches!(value, Value::Array(_)) {
        tracing::error!(?value, "the script gave an answer that is not of its contract");
        for job in group {
            batcher.finish(job, Outcome::Refused(uncertain()), true);
        }
        return Vec::new();
    }
    batcher.operations.reservations_expired.increment(expired);
    let mut again = Vec::new();
    for (index, mut job) in group.into_iter().enumerate() {
        let Some(result) = results.get(index) else {
            job.unknown = false; // the call says that it did not come to it, nor did an earlier sending
            again.push(job);
            continue;
        };
        match job.operation.expect.outcome(result) {
            Outcome::Stale if !job.unknown => {
                // The upstream's clock went ahead of what its last answer told.
                job.operation.args.replace_last(batcher.mint.now_ms());
                again.push(job);
            }
            Outcome::Stale => batcher.finish(job, Outcome::Refused(uncertain()), true),
            outcome => batcher.finish(job, outcome, true),
        }
    }
    again
}
