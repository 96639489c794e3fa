//! An operation inside a client's own MULTI: the same script, called by the client's own connection, one call an operation.
//!
//! The script goes along whole (EVAL): inside EXEC nothing could be sent again where the upstream has lost it.

use super::call::{Answer, Call};
use super::sending::{Head, settled};
use super::{Batcher, Inventory, Job, Owner};
use crate::inventory::id::token;
use crate::inventory::operation::ScriptOperation;
use crate::inventory::reply::{Outcome, Refusal};
use crate::metrics::Status;
use crate::resp::write::RequestWriter;
use crate::upstream::engine::Engine;
use bb8_redis::redis::{Value, parse_redis_value};
use bytes::BytesMut;
use std::rc::Rc;
use tokio::time::Instant;

/// Nothing can be sent again inside EXEC, so all that is overdue is taken back by the one call.
const SETTLE_ALL: u64 = 1 << 53;

/// An operation that a client's transaction has queued.
pub struct Queued {
    call: Call,
    job: Job,
}

impl Inventory {
    /// The request that executes this operation.
    #[must_use]
    pub fn eval_request(&self, operation: ScriptOperation) -> (BytesMut, Queued) {
        let flags = self.batcher.knowledge.engine.load().as_ref().as_ref().is_some_and(Engine::reads_script_flags);
        let script = if flags { &self.batcher.fitting.script_with_flags } else { &self.batcher.fitting.script_plain };
        let now = Instant::now();
        let mut jobs =
            [Job { space: Rc::clone(&self.space), operation, owner: Owner::Transaction, queued: now, unknown: false }];
        let mut calls = self.batcher.calls(&mut jobs);
        let call = calls.swap_remove(0);
        let mut eval = RequestWriter::default();
        eval.arg(b"EVAL").arg(script.as_bytes());
        self.batcher.write_call(&mut eval, &call, &jobs, &Head { settle_max: SETTLE_ALL, batch: token(), attempt: 1 });
        let [job] = jobs;
        let mut out = BytesMut::new();
        eval.finish(&mut out);
        (out, Queued { call, job })
    }

    /// What the script's reply inside EXEC's means. `Err`: the upstream refused the script, nothing of it took effect, and these
    /// are its words.
    pub fn conclude(&self, queued: Queued, reply: &[u8]) -> Result<Outcome, BytesMut> {
        if reply.starts_with(b"-") {
            return Err(BytesMut::from(reply));
        }
        let value = parse_redis_value(reply).unwrap_or(Value::Nil);
        let Queued { call, job } = queued;
        let mut jobs = [job];
        let mut answer = None;
        if let Some((now, expired, [result])) = settled(&value) {
            self.batcher.mint.observe(now);
            self.space.operations().reservations_expired.increment(expired);
            call.answers(0, &mut jobs, result, |_, found| answer = Some(found));
        }
        let [job] = jobs;
        let outcome = match answer {
            Some(Answer::Outcome(Outcome::Stale)) => Outcome::Refused(Refusal::new(
                Status::Unavailable,
                "the upstream's clock went ahead of the sidecar's; this did nothing, send it again",
            )),
            Some(Answer::Outcome(outcome)) => outcome,
            Some(Answer::NotExecuted) | None => {
                tracing::error!(?value, "the script gave an answer that is not of its contract");
                Outcome::Refused(Refusal::new(Status::Uncertain, "the upstream's answer could not be read"))
            }
        };
        Batcher::note(&self.space, &job.operation, &outcome);
        Batcher::note_given_back(&self.space, &job.operation);
        self.space.operations().record(job.operation.operation, outcome.status(), job.queued.elapsed(), 1);
        Ok(outcome)
    }
}
