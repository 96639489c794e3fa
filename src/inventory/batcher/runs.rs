//! What the script is told of a lot's reservations, and what it answers of them: runs of places that are alike (lua/ops/reserve.lua).

use crate::inventory::operation::{int, text};
use bb8_redis::redis::Value;

/// The quantities at a lot's places, as the script reads them.
#[derive(Default)]
pub(super) struct RunList {
    bytes: Vec<u8>,
    next: u16,
    run: (u16, u32),
}

impl RunList {
    pub(super) fn push(&mut self, place: u16, quantity: u32) {
        // Places whose operations are answered already.
        let gap = place.saturating_sub(1).saturating_sub(self.next);
        if gap > 0 {
            self.add(gap, 0);
        }
        self.add(1, quantity);
        self.next = place;
    }

    fn add(&mut self, count: u16, quantity: u32) {
        if self.run.0 > 0 && self.run.1 == quantity {
            self.run.0 += count;
        } else {
            self.end_run();
            self.run = (count, quantity);
        }
    }

    fn end_run(&mut self) {
        if self.run.0 > 0 {
            self.bytes.extend_from_slice(&self.run.0.to_be_bytes());
            self.bytes.extend_from_slice(&self.run.1.to_be_bytes());
        }
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.end_run();
        self.bytes
    }
}

/// What became of a lot's place.
#[derive(Clone, Copy)]
pub(super) enum Run {
    Reserved,
    Refused { available: i64, retry_ms: i64 },
    NotExecuted,
}

/// Reads the answer to `r`, place after place.
pub(super) struct Runs<'a> {
    /// None: all are reserved.
    rest: Option<&'a [Value]>,
    /// Behind the last reserved place of the run at hand, and behind its last refused one.
    ends: (u64, u64),
    refused: Run,
}

impl<'a> Runs<'a> {
    pub(super) fn new(result: &'a Value) -> Self {
        let rest = match result {
            Value::Array(values) => Some(values.as_slice()),
            _ if int(result) == Some(1) => None,
            _ => Some(&[Value::Nil][..]),
        };
        Self { rest, ends: (1, 1), refused: Run::NotExecuted }
    }

    /// None: the answer is not of the contract's form. Places must ascend.
    pub(super) fn at(&mut self, place: u16) -> Option<Run> {
        let place = u64::from(place);
        let Some(mut rest) = self.rest else { return Some(Run::Reserved) };
        while place >= self.ends.1 {
            let [reserved, refused, available, retry_ms, behind @ ..] = rest else {
                return rest.is_empty().then_some(Run::Reserved);
            };
            let count = |value| int(value).and_then(|count| u64::try_from(count).ok());
            let reserved_end = self.ends.1 + count(reserved)?;
            self.ends = (reserved_end, reserved_end + count(refused)?);
            self.refused = match (int(available), text(available)) {
                (Some(available), _) => Run::Refused { available, retry_ms: int(retry_ms)? },
                (None, Some(b"again")) => Run::NotExecuted,
                _ => return None,
            };
            rest = behind;
            self.rest = Some(rest);
        }
        Some(if place < self.ends.0 { Run::Reserved } else { self.refused })
    }
}
