//! Replies that come one after the other for one client, which is what pipelines make.

use super::Ticket;
use std::rc::Rc;

/// Replies to requests of one client that came one after the other, to be handed over in one piece.
pub struct Run {
    first: Ticket,
    count: usize,
    /// It is this client's turn, so that nothing need be kept apart.
    at_head: bool,
}

impl Run {
    /// Begins with this one.
    #[must_use]
    #[inline]
    pub fn begin(first: Ticket) -> Self {
        let at_head = first.queue.inner.borrow().head == first.number;
        Self { first, count: 1, at_head }
    }

    /// Is this one the next of it?
    #[must_use]
    #[inline]
    pub fn takes(&self, next: &Ticket) -> bool {
        self.at_head
            && next.number == self.first.number + self.count as u64
            && next.muted == self.first.muted
            && Rc::ptr_eq(&next.queue, &self.first.queue)
    }

    /// Adds one that it [`takes`](Self::takes).
    #[inline]
    pub fn take(&mut self, mut next: Ticket) {
        next.answered = true;
        self.count += 1;
    }

    /// The replies to all of them.
    pub fn complete(mut self, bytes: &[u8]) {
        self.first.answered = true;
        let bytes = if self.first.muted { b"" } else { bytes };
        self.first.queue.complete_run(self.first.number, self.count, bytes);
    }
}

impl Drop for Run {
    /// As tickets that are dropped: each says so to the client.
    fn drop(&mut self) {
        if !std::mem::replace(&mut self.first.answered, true) {
            let lost = if self.first.muted { Vec::new() } else { super::LOST.repeat(self.count) };
            self.first.queue.complete_run(self.first.number, self.count, &lost);
        }
    }
}
