//! A reply that is owed.

use super::ReplyQueue;
use std::rc::Rc;

/// Whoever owed the reply is gone.
pub(super) const LOST: &[u8] = b"-UNCERTAIN the sidecar gave up this request; what became of it is not known\r\n";

/// A reply that is owed. Dropped without an answer it says so to the client, for a slot must never be left over.
pub struct Ticket {
    pub(super) queue: Rc<ReplyQueue>,
    pub(super) number: u64,
    pub(super) answered: bool,
    pub(super) muted: bool,
}

impl Ticket {
    /// A part of the reply; the rest follows.
    pub fn part(&self, bytes: &[u8]) {
        if !self.muted {
            self.queue.part(self.number, bytes);
        }
    }

    /// What came before the reply, or in its place, and is no reply: CLIENT REPLY does not silence it.
    pub fn aside(&self, bytes: &[u8]) {
        self.queue.part(self.number, bytes);
    }

    /// The whole reply, or its last part.
    pub fn complete(mut self, bytes: &[u8]) {
        self.answered = true;
        self.queue.complete(self.number, if self.muted { b"" } else { bytes });
    }

    /// Part of the reply went out and the rest will never come: the client is to be closed.
    pub fn break_off(mut self) {
        self.answered = true;
        self.queue.break_off_at(self.number);
        self.queue.complete(self.number, b"");
    }

    /// The client that is owed.
    #[must_use]
    pub fn queue(&self) -> &Rc<ReplyQueue> {
        &self.queue
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.answered {
            self.queue.complete(self.number, if self.muted { b"" } else { LOST });
        }
    }
}
