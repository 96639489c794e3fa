//! A batch on its way: sent, and sent again where its answer was lost, until each of its operations is answered.

use super::{Batcher, Job, SETTLE_MAX};
use crate::error::{Kind, UpstreamError};
use crate::inventory::id::token;
use crate::inventory::reply::{Outcome, Refusal};
use crate::metrics::{ErrorKind, ErrorOrigin, Status};
use crate::upstream::pool::{Manager, PoolConnection};
use bb8_redis::bb8::{PooledConnection, RunError};
use bb8_redis::redis::{Pipeline, Value, cmd};
use std::rc::Rc;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

/// How long a token is remembered: longer than any packet is held up on its way.
pub(super) const OPS_MEMORY: Duration = Duration::from_secs(60 * 60);
/// Sendings that the upstream refused without effect (OOM, READONLY, …) before its word goes to the client.
const REFUSED_MAX: u32 = 4;
/// The first pause after such a refusal; it doubles.
const REFUSED_PAUSE: Duration = Duration::from_millis(25);

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

impl Batcher {
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

/// Sends the batch until each of its operations is answered.
pub(super) async fn run_batch(batcher: Rc<Batcher>, mut jobs: Vec<Job>) {
    let _place = InFlight(Rc::clone(&batcher));
    let mut sending = Sending { batch: token(), attempt: 0, refused: 0, unconnected: 0, lost: 0 };
    while !jobs.is_empty() {
        jobs = expire_jobs(&batcher, jobs);
        let Some(earliest) = jobs.iter().map(|job| job.deadline).min() else { break };
        let Some(mut connection) = check_out(&batcher, earliest, &mut sending).await else {
            if batcher.lacks_password() {
                return jobs.into_iter().for_each(|job| refuse_unsent(&batcher, job));
            }
            continue;
        };
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
    late.into_iter().for_each(|job| refuse_unsent(batcher, job));
    jobs
}

/// It is not sent, or not again.
fn refuse_unsent(batcher: &Batcher, job: Job) {
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
    batcher: &'p Batcher,
    earliest: Instant,
    sending: &mut Sending,
) -> Option<PooledConnection<'p, Manager>> {
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

/// The script's answer: its clock (unix ms), how many reservations it found overdue, and what became of each operation.
pub(super) fn settled(value: &Value) -> Option<(i64, u64, &[Value])> {
    let Value::Array(parts) = value else { return None };
    let [Value::Int(now), Value::Int(expired), Value::Array(results)] = parts.as_slice() else { return None };
    Some((*now, u64::try_from(*expired).unwrap_or(0), results))
}

/// Gives a cell's answers out. Returns the operations that the call did not come to.
fn answer_group(batcher: &Batcher, group: Vec<Job>, value: &Value) -> Vec<Job> {
    let (results, expired) = match settled(value) {
        Some((now, expired, results)) => {
            batcher.mint.observe(now);
            (results, expired)
        }
        None => (&[][..], 0),
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
