//! A look at many cells at once, by plain commands: which of them the reaper is to go to. The script would say the same of each,
//! for ten times the upstream's time; and of most of a thousand namespaces there is nothing to say.

use super::Batcher;
use super::space::Inventory;
use crate::config::Acknowledge;
use crate::resp::write;
use crate::upstream::wire::Reply;
use bb8_redis::redis::Value;
use bytes::BytesMut;
use tokio::time::{Instant, sleep_until, timeout_at};

/// Cells of one exchange: a batch that comes meanwhile waits for no more than these.
const LOOK_CELLS: usize = 64;
/// Of a cell's keys, those whose scores say when there is something to do (lua/ops/reap.lua).
const DUE: usize = 3;
const ENDED: usize = 4;

impl Batcher {
    /// Whether the reaper has something to do in each of these cells, which are of this batcher's namespaces; also where that
    /// cannot be told.
    ///
    /// # Cancel safety
    /// Not to be dropped before it is done.
    pub async fn is_overdue(&self, cells: &[(Inventory, u16)], until: Instant) -> Vec<bool> {
        let mut overdue = Vec::with_capacity(cells.len());
        for some in cells.chunks(LOOK_CELLS) {
            match self.look(some, until).await {
                Some(looked) => overdue.extend(looked),
                // The script meets the same, and knows what to say of it.
                None => break,
            }
        }
        overdue.resize(cells.len(), true);
        overdue
    }

    async fn look(&self, cells: &[(Inventory, u16)], until: Instant) -> Option<Vec<bool>> {
        // What waits for replicas holds its connections long: a look goes with what waits for nothing. Dropping `get` gives its
        // place up; a connection that it took is put back.
        let pool = self.pool(Acknowledge::Memory);
        let mut connection = tokio::select! {
            biased;
            got = pool.get() => got.ok()?,
            () = self.knowledge.connect_failed() => return None,
            () = sleep_until(until) => return None,
        };
        let mut requests = BytesMut::new();
        let clock: Vec<&[u8]> = self.fitting.clock.iter().map(|word| word.as_bytes()).collect();
        write::request(&mut requests, &clock);
        for (inventory, cell) in cells {
            let keys = &inventory.cell_keys[usize::from(*cell)];
            for key in [&keys[DUE], &keys[ENDED]] {
                let soonest = [
                    b"ZRANGEBYSCORE".as_slice(),
                    key.as_bytes(),
                    b"-inf",
                    b"+inf",
                    b"WITHSCORES",
                    b"LIMIT",
                    b"0",
                    b"1",
                ];
                write::request(&mut requests, &soonest);
            }
        }
        let count = 1 + 2 * cells.len();
        let Ok(Ok(replies)) = timeout_at(until, connection.send(&requests, count)).await else {
            connection.give_up();
            return None;
        };
        let (now, scores) = replies.split_first()?;
        let now = now_ms(now)?;
        Some(scores.chunks(2).map(|scores| scores.iter().any(|score| is_over(score, now))).collect())
    }
}

/// What TIME says, or a test's key in its place.
fn now_ms(reply: &Reply) -> Option<f64> {
    let number = |value: &Value| match value {
        Value::BulkString(text) => std::str::from_utf8(text).ok()?.parse::<f64>().ok(),
        _ => None,
    };
    match reply.as_ref().ok()? {
        Value::Array(time) => Some(number(time.first()?)? * 1000.0 + (number(time.get(1)?)? / 1000.0).floor()),
        time => number(time),
    }
}

/// The lowest score of a set is not later than now. What says something else is none of ours to judge.
fn is_over(reply: &Reply, now_ms: f64) -> bool {
    match reply {
        Ok(Value::Array(found)) if found.is_empty() => false,
        Ok(Value::Array(found)) => match found.get(1) {
            Some(Value::BulkString(score)) => std::str::from_utf8(score)
                .ok()
                .and_then(|score| score.parse::<f64>().ok())
                .is_none_or(|score| score <= now_ms),
            _ => true,
        },
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::UpstreamError;

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn the_time_is_that_of_time_in_whole_milliseconds_or_a_keys() {
        let time = Value::Array(vec![text("1795424865"), text("247999")]);
        assert_eq!(now_ms(&Ok(time)), Some(1_795_424_865_247.0));
        assert_eq!(now_ms(&Ok(text("1795424865247"))), Some(1_795_424_865_247.0));
        for none in [Value::Nil, Value::Array(vec![]), Value::Array(vec![text("1")]), text("x"), Value::Int(7)] {
            assert_eq!(now_ms(&Ok(none)), None);
        }
        assert_eq!(now_ms(&Err(UpstreamError::from_reply("NOPERM no"))), None);
    }

    #[test]
    fn a_cell_is_left_alone_only_where_its_soonest_is_known_to_be_later() {
        let soonest = |score: &str| Ok(Value::Array(vec![text("tee"), text(score)]));
        assert!(!is_over(&Ok(Value::Array(vec![])), 7.0) && !is_over(&soonest("8"), 7.0));
        assert!(is_over(&soonest("7"), 7.0) && is_over(&soonest("-inf"), 7.0) && is_over(&soonest("?"), 7.0));
        assert!(is_over(&Ok(Value::Nil), 7.0) && is_over(&Err(UpstreamError::from_reply("MOVED 7 there:1")), 7.0));
    }
}
