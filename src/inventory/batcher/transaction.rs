//! An operation inside a client's own MULTI: the same script, called by the client's own connection, one call an operation.
//!
//! The script goes along whole (EVAL): inside EXEC nothing could be sent again where the upstream has lost it.

use super::Batcher;
use super::sending::{OPS_MEMORY, settled};
use crate::inventory::id::token;
use crate::inventory::operation::ScriptOperation;
use crate::inventory::reply::{Outcome, Refusal};
use crate::metrics::Status;
use crate::upstream::engine::Engine;
use bb8_redis::redis::{Value, parse_redis_value};
use bytes::BytesMut;
use tokio::time::Instant;

/// Nothing can be sent again inside EXEC, so all that is overdue is taken back by the one call.
const SETTLE_ALL: u64 = 1 << 53;

impl Batcher {
    /// The request that executes this operation.
    #[must_use]
    pub fn eval_request(&self, operation: &ScriptOperation) -> BytesMut {
        let flags = self.knowledge.engine.load().as_ref().as_ref().is_some_and(Engine::reads_script_flags);
        let script = if flags { &self.fitting.script_with_flags } else { &self.fitting.script_plain };
        let keys = &self.cell_keys[operation.cell as usize];
        let number = |number: u64| number.to_string().into_bytes();
        let numbers = [
            number(keys.len() as u64),
            number(self.limits.remember_ms),
            number(OPS_MEMORY.as_millis() as u64),
            number(SETTLE_ALL),
        ];
        let (batch, letter) = (token(), [operation.args.letter()]);
        let mut words: Vec<&[u8]> = vec![b"EVAL", script.as_bytes(), &numbers[0]];
        words.extend(keys.iter().map(String::as_bytes));
        words.extend(numbers[1..].iter().map(Vec::as_slice));
        words.extend([&batch[..], b"1", &letter]);
        words.extend(operation.args.iter());
        let mut out = BytesMut::new();
        crate::resp::write::request(&mut out, &words);
        out
    }

    /// What the script's reply inside EXEC's means, `queued` at that time. `Err`: the upstream refused the script, nothing of
    /// it took effect, and these are its words.
    pub fn conclude(&self, operation: &ScriptOperation, reply: &[u8], queued: Instant) -> Result<Outcome, BytesMut> {
        if reply.starts_with(b"-") {
            return Err(BytesMut::from(reply));
        }
        let value = parse_redis_value(reply).unwrap_or(Value::Nil);
        let outcome = match settled(&value) {
            Some((now, expired, [result])) => {
                self.mint.observe(now);
                self.operations.reservations_expired.increment(expired);
                match operation.expect.outcome(result) {
                    Outcome::Stale => Outcome::Refused(Refusal::new(
                        Status::Unavailable,
                        "the upstream's clock went ahead of the sidecar's; this did nothing, send it again",
                    )),
                    outcome => outcome,
                }
            }
            _ => {
                tracing::error!(?value, "the script gave an answer that is not of its contract");
                Outcome::Refused(Refusal::new(Status::Uncertain, "the upstream's answer could not be read"))
            }
        };
        self.note(operation, &outcome);
        self.operations.record(operation.operation, outcome.status(), queued.elapsed(), 1);
        Ok(outcome)
    }
}
