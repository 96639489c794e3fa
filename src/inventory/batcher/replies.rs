//! Replies and figures of a batch's operations, handed over as many at once as one client gets one after the other.

use super::job::Tally;
use super::space::Space;
use crate::inventory::reply::Outcome;

use crate::resp::{Proto, Run, Ticket};
use bytes::BytesMut;

/// What a batch's answer says, on its way to the clients. To be [`finish`](Self::finish)ed.
#[derive(Default)]
pub(super) struct Replies {
    pub tally: Tally,
    run: Option<Run>,
    bytes: BytesMut,
}

impl Replies {
    /// Writes to a buffer that was in use before.
    pub(super) fn in_buffer(bytes: BytesMut) -> Self {
        Self { bytes, ..Self::default() }
    }

    /// The reply to this one.
    pub(super) fn add(&mut self, ticket: Ticket, proto: Proto, outcome: &Outcome) {
        match &mut self.run {
            Some(run) if run.takes(&ticket) => run.take(ticket),
            _ => {
                self.flush();
                self.run = Some(Run::begin(ticket));
            }
        }
        outcome.write(&mut self.bytes, proto);
    }

    fn flush(&mut self) {
        if let Some(run) = self.run.take() {
            run.complete(&self.bytes);
        }
        self.bytes.clear();
    }

    /// Hands the last ones over. Returns the buffer.
    pub(super) fn finish(mut self, space: &Space) -> BytesMut {
        self.flush();
        self.tally.record(space);
        self.bytes
    }
}
