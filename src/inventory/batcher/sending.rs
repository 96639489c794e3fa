//! A batch on its way: sent, and sent again where its answer was lost, until each of its operations is answered.

use super::call::{Answer, Call};
use super::queue::{Batch, InFlight};
use super::space::{is_met, write_wait};
use super::{Batcher, Job, Replies, SETTLE_MAX, Space};
use crate::config::Acknowledge;
use crate::error::{Kind, UpstreamError};
use crate::inventory::id::{Token, token};
use crate::inventory::operation::{Name, Work};
use crate::inventory::reply::{Insufficient, Outcome, Refusal};
use crate::metrics::{ErrorKind, ErrorOrigin, Status};
use crate::resp::write::RequestWriter;
use crate::upstream::pool::{Manager, Pool, PoolConnection};
use bb8_redis::bb8::{PooledConnection, RunError};
use bb8_redis::redis::Value;
use bytes::BytesMut;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

/// How long a token is remembered: longer than any packet is held up on its way.
pub(super) const OPS_MEMORY: Duration = Duration::from_secs(60 * 60);
/// Sendings that the upstream refused without effect (OOM, READONLY, …) before its word goes to the client.
const REFUSED_MAX: u32 = 4;
/// The first pause after such a refusal; it doubles.
const REFUSED_PAUSE: Duration = Duration::from_millis(25);
/// Room for a call of usual size: what stands ahead of its operations is some 600 bytes.
const USUAL_CALL_BYTES: usize = 1000;

/// Names a batch and counts its sendings, for the script to tell one that was overtaken (lua/lib/run.lua).
struct Sending {
    batch: Token,
    attempt: u32,
    /// Refusals without effect so far.
    refused: u32,
    /// Failures to connect so far.
    unconnected: u32,
    /// Connections lost so far.
    lost: u32,
}

/// What a call is told ahead of its operations (lua/lib/input.lua).
pub(super) struct Head {
    pub settle_max: u64,
    pub batch: Token,
    pub attempt: u32,
}

impl Batcher {
    /// Groups the operations, one call for each cell. See [`Call::of`].
    pub(super) fn calls(&self, jobs: &mut [Job]) -> Vec<Call> {
        self.calls.set(self.calls.get() + 1);
        Call::of(jobs, self.calls.get(), &self.mint)
    }

    /// Appends all that a call is told but the script.
    pub(super) fn write_call(&self, request: &mut RequestWriter, call: &Call, jobs: &[Job], head: &Head) {
        let keys = &call.space.cell_keys[call.cell as usize];
        request.number(keys.len());
        for key in keys {
            request.arg(key.as_bytes());
        }
        request.number(call.space.settings.remember_ms).number(OPS_MEMORY.as_millis() as u64).number(head.settle_max);
        request.arg(&head.batch).number(head.attempt).arg(call.letters());
        call.write(jobs, request);
    }

    fn requests(&self, jobs: &[Job], calls: &[Call], sending: &Sending, sha: &str) -> BytesMut {
        let head = Head { settle_max: SETTLE_MAX, batch: sending.batch, attempt: sending.attempt };
        let mut out = BytesMut::new();
        for call in calls {
            let mut evalsha = RequestWriter::with_capacity(USUAL_CALL_BYTES);
            evalsha.arg(b"EVALSHA").arg(sha.as_bytes());
            self.write_call(&mut evalsha, call, jobs, &head);
            evalsha.finish(&mut out);
        }
        out
    }
}

/// Sends the batch until each of its operations is answered.
pub(super) async fn run_batch(batcher: Rc<Batcher>, batch: Batch) {
    let Batch { mut jobs, acknowledge, shares } = batch;
    let _place = InFlight { batcher: Rc::clone(&batcher), acknowledge, shares };
    let pool = batcher.pool(acknowledge);
    let mut sending = Sending { batch: token(), attempt: 0, refused: 0, unconnected: 0, lost: 0 };
    while !jobs.is_empty() {
        expire_jobs(&batcher, &mut jobs);
        let Some(earliest) = jobs.iter().map(|job| job.queued).min().map(|queued| queued + batcher.limits.deadline)
        else {
            break;
        };
        let Some(mut connection) = check_out(&batcher, &pool, earliest, &mut sending).await else {
            if batcher.lacks_password(&pool) {
                return jobs.iter_mut().for_each(|job| refuse_unsent(&batcher, job));
            }
            continue;
        };
        jobs = attempt(&batcher, &mut connection, jobs, &mut sending, acknowledge, earliest).await;
        if !jobs.is_empty() {
            batcher.metrics.retries.increment(jobs.len() as u64);
        }
    }
}

/// Answers those whose time is over.
fn expire_jobs(batcher: &Batcher, jobs: &mut Vec<Job>) {
    let (now, deadline) = (Instant::now(), batcher.limits.deadline);
    if jobs.iter().any(|job| job.queued + deadline <= now) {
        let late = jobs.iter_mut().filter(|job| job.queued + deadline <= now);
        late.for_each(|job| refuse_unsent(batcher, job));
        jobs.retain(Job::is_open);
    }
}

/// It is not sent, or not again.
fn refuse_unsent(batcher: &Batcher, job: &mut Job) {
    let refusal = if job.unknown { uncertain() } else { batcher.never_sent(batcher.reachable.get()) };
    batcher.finish(job, Outcome::Refused(refusal), true);
}

fn uncertain() -> Refusal {
    Refusal::new(
        Status::Uncertain,
        "the upstream did not say what became of it; send the same again, a reservation with the same ID",
    )
}

/// A connection, or None where there is none yet: time is over or a pause was made.
async fn check_out<'p>(
    batcher: &Batcher,
    pool: &'p Pool,
    earliest: Instant,
    sending: &mut Sending,
) -> Option<PooledConnection<'p, Manager>> {
    let asked = Instant::now();
    // Dropping `get` gives its place up; a connection that it took is put back.
    tokio::select! {
        biased;
        got = pool.get() => match got {
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

/// The first time at once; an upstream that closes every time is not to be stormed.
async fn pause_after_loss(batcher: &Batcher, sending: &mut Sending, earliest: Instant) {
    if sending.lost > 0 {
        sleep_until(earliest.min(Instant::now() + (batcher.pause)(sending.lost))).await;
    }
    sending.lost += 1;
}

/// A namespace that is not as the configuration has it, or could not be asked.
struct Unclaimed {
    space: Rc<Space>,
    error: UpstreamError,
}

/// Makes sure that each namespace has the cells that its operations were sorted into.
async fn claim_namespaces(connection: &mut PoolConnection, calls: &[Call]) -> Result<(), Unclaimed> {
    for call in calls {
        let space = &call.space;
        let done = if call.may_begin_namespace() {
            connection.claim_cells(&space.claim).await
        } else if space.checked.get() {
            continue;
        } else {
            connection.check_cells(&space.claim).await
        };
        done.map_err(|error| Unclaimed { space: Rc::clone(space), error })?;
        space.checked.set(true);
    }
    Ok(())
}

/// Sends once. Returns what is to be sent again.
async fn attempt(
    batcher: &Batcher,
    connection: &mut PoolConnection,
    mut jobs: Vec<Job>,
    sending: &mut Sending,
    acknowledge: Acknowledge,
    earliest: Instant,
) -> Vec<Job> {
    if connection.is_closed() {
        // It was lost while nobody used it: nothing is sent, so nothing becomes unknown.
        connection.give_up();
        return jobs;
    }
    let calls = batcher.calls(&mut jobs);
    let gives: Vec<u64> = calls.iter().map(|call| call.space.sold_out.gives(call.cell)).collect();
    // Half of the deadline: a connection that is half open must leave time for another.
    let patience = earliest.min(Instant::now() + batcher.limits.deadline / 2);
    match timeout_at(patience, claim_namespaces(connection, &calls)).await {
        Ok(Ok(())) => {}
        Ok(Err(Unclaimed { space, error })) if error.kind == Kind::Unfit => {
            for job in jobs.iter_mut().filter(|job| Rc::ptr_eq(&job.space, &space)) {
                let never = Refusal::new(Status::Unavailable, format!("{}; this was not sent", error.detail));
                let refusal = if job.unknown { uncertain() } else { never };
                batcher.finish(job, Outcome::Refused(refusal), true);
            }
            jobs.retain(Job::is_open);
            return jobs;
        }
        // The same would become of the batch, and what that means is said there.
        Ok(Err(unclaimed)) if unclaimed.error.kind != Kind::Io => {}
        _ => {
            connection.give_up();
            pause_after_loss(batcher, sending, earliest).await;
            return jobs;
        }
    }
    sending.attempt += 1;
    let mut requests = batcher.requests(&jobs, &calls, sending, connection.sha());
    let sent = Instant::now();
    let waits = calls
        .first()
        .map_or(0, |call| write_wait(acknowledge, &mut requests, &call.space.claim.meta_key, patience - sent));
    // Given up before it is awaited: were this dropped, nobody could use the connection again.
    let answer = timeout_at(patience, connection.send(&requests, calls.len() + waits)).await;
    let mut replies = match answer {
        Ok(Ok(replies)) if replies.len() == calls.len() + waits => replies,
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
            pause_after_loss(batcher, sending, earliest).await;
            return jobs;
        }
    };
    batcher.reachable.set(true);
    batcher.metrics.batch_round_trip.record(sent.elapsed().as_secs_f64());

    let assured = is_met(acknowledge, replies.split_off(calls.len()).last());
    // Whichever of them is not answered here is sent again.
    let (mut pause, mut load) = (None, false);
    for ((call, reply), gives) in calls.iter().zip(replies).zip(gives) {
        match reply {
            Ok(value) => {
                let asked = Asked { sent, gives, assured };
                answer_call(batcher, call, &mut jobs, &value, &asked);
            }
            Err(error) if error.detail.starts_with("NOSCRIPT") => load = true,
            Err(error) if error.kind == Kind::Refused && sending.refused < REFUSED_MAX => {
                pause = Some(REFUSED_PAUSE * (1 << sending.refused));
                if error.detail.starts_with("READONLY") {
                    // The node was demoted: the next connection finds the new one.
                    connection.give_up();
                }
            }
            Err(error) => {
                batcher.metrics.error(ErrorOrigin::Upstream, ErrorKind::Refused);
                for member in call.members().flatten() {
                    let job = &mut jobs[member];
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
    jobs.retain(Job::is_open);
    jobs
}

/// The script's answer: its clock (unix ms), how many reservations it found overdue, and what became of each operation.
pub(super) fn settled(value: &Value) -> Option<(i64, u64, &[Value])> {
    let Value::Array(parts) = value else { return None };
    let [Value::Int(now), Value::Int(expired), Value::Array(results)] = parts.as_slice() else { return None };
    Some((*now, u64::try_from(*expired).unwrap_or(0), results))
}

/// How a call was sent.
struct Asked {
    sent: Instant,
    /// See [`SoldOut::gives`](crate::inventory::sold_out::SoldOut::gives).
    gives: u64,
    /// What was done is where the namespace wants it before it is told.
    assured: bool,
}

pub(super) const NOT_ACKNOWLEDGED: &str = "it was done, but what inventory.acknowledge asks for did not come in time; send the same again, a reservation with the same ID";

/// It was done, and may be lost again.
fn unassured() -> Refusal {
    Refusal::new(Status::Uncertain, NOT_ACKNOWLEDGED)
}

/// Gives a call's answers out. Operations that it did not come to stay as they are.
fn answer_call(batcher: &Batcher, call: &Call, jobs: &mut [Job], value: &Value, asked: &Asked) {
    let Some((now, expired, results)) = settled(value).filter(|(_, _, results)| results.len() <= call.len()) else {
        if *value == Value::Int(0) {
            // A later sending was here before this one: then this one is not the last, and what became of it is not known.
            tracing::warn!("a sending of a batch was overtaken by a later one");
        } else {
            tracing::error!(?value, "the script gave an answer that is not of its contract");
        }
        call.members()
            .flatten()
            .for_each(|member| batcher.finish(&mut jobs[member], Outcome::Refused(uncertain()), true));
        return;
    };
    batcher.mint.observe(now);
    if expired > 0 {
        call.space.operations().reservations_expired.increment(expired);
        call.space.sold_out.gave(call.cell);
    }
    let mut replies = Replies::in_buffer(batcher.scratch.take());
    // The last refusal of a SKU says for which others it answers.
    let mut refused: Option<(Name, Insufficient)> = None;
    for (index, members) in call.members().enumerate() {
        let Some(result) = results.get(index) else {
            // This sending did not come to them. What an earlier one did is not known where that got no answer.
            for member in members {
                let job = &mut jobs[member];
                if !job.unknown {
                    not_executed(job);
                }
            }
            continue;
        };
        if asked.assured
            && let Some(members) = call.done(index, jobs, result)
        {
            members.for_each(|member| batcher.done_among(&mut jobs[member], &mut replies));
            continue;
        }
        call.answers(index, jobs, result, |job, answer| match answer {
            Answer::NotExecuted => not_executed(job),
            // The upstream's clock went ahead of what its last answer told.
            Answer::Outcome(Outcome::Stale) if !job.unknown => not_executed(job),
            Answer::Outcome(Outcome::Stale) => batcher.finish(job, Outcome::Refused(uncertain()), true),
            Answer::Outcome(outcome) if !asked.assured && outcome.status() == Status::Ok && job.operation.writes() => {
                batcher.finish(job, Outcome::Refused(unassured()), true);
            }
            Answer::Outcome(outcome) => {
                if let (Outcome::Insufficient(now), Work::Reserve { sku, .. }) = (&outcome, &job.operation.work)
                    && refused.as_ref().is_none_or(|(known, was)| **known != **sku || was.available != now.available)
                {
                    call.space.sold_out.learn(call.cell, sku, now, asked.sent, asked.gives);
                    refused = Some((sku.clone(), *now));
                }
                batcher.finish_among(job, outcome, true, &mut replies);
            }
        });
    }
    batcher.scratch.replace(replies.finish(&call.space));
}

/// No sending of it so far did anything: it may be sent as new.
fn not_executed(job: &mut Job) {
    job.unknown = false;
    if let Work::Reserve { minted, .. } = &mut job.operation.work {
        *minted = None;
    }
}
