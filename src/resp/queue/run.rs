//! Replies that come one after the other for one client, which is what pipelines make.

use super::Ticket;
use std::rc::Rc;

/// Replies to requests of one client that came one after the other, to be handed over in one piece or in several.
pub struct Run {
    first: Ticket,
    count: u32,
}

impl Run {
    /// Begins with this one.
    #[must_use]
    #[inline]
    pub fn begin(first: Ticket) -> Self {
        Self::of(first, 1)
    }

    /// This one and those behind it, `count` in all.
    #[inline]
    pub(super) fn of(first: Ticket, count: u32) -> Self {
        Self { first, count }
    }

    /// How many they are.
    #[must_use]
    #[inline]
    pub fn count(&self) -> usize {
        self.count as usize
    }

    /// The reply that is next.
    #[must_use]
    #[inline]
    pub fn first(&self) -> &Ticket {
        &self.first
    }

    /// Is this one the next of it? Only where it is this client's turn, so that nothing need be kept apart.
    #[must_use]
    #[inline]
    pub fn takes(&self, next: &Ticket) -> bool {
        next.number == self.first.number + u64::from(self.count)
            && next.muted == self.first.muted
            && Rc::ptr_eq(&next.queue, &self.first.queue)
            && self.first.queue.inner.borrow().head == self.first.number
    }

    /// Adds one that it [`takes`](Self::takes).
    #[inline]
    pub fn take(&mut self, mut next: Ticket) {
        next.answered = true;
        self.count += 1;
    }

    /// Takes the first so many off; some stay.
    #[must_use]
    pub fn split(&mut self, count: usize) -> Self {
        debug_assert!((1..self.count()).contains(&count), "a run is never empty");
        let queue = Rc::clone(&self.first.queue);
        let first = Ticket { queue, number: self.first.number, answered: false, muted: self.first.muted };
        self.first.number += count as u64;
        self.count -= count as u32;
        Self::of(first, count as u32)
    }

    /// The replies to all of them.
    pub fn complete(mut self, bytes: &[u8]) {
        self.first.answered = true;
        let bytes = if self.first.muted { b"" } else { bytes };
        self.first.queue.complete_run(self.first.number, self.count(), bytes);
    }

    /// The replies to the first so many; some stay.
    #[inline]
    pub fn complete_first(&mut self, count: usize, bytes: &[u8]) {
        debug_assert!((1..self.count()).contains(&count), "a run is never empty");
        let bytes = if self.first.muted { b"" } else { bytes };
        let number = self.first.number;
        self.first.number += count as u64;
        self.count -= count as u32;
        self.first.queue.complete_run(number, count, bytes);
    }

    /// The same reply to each of them.
    pub fn complete_each(self, bytes: &[u8]) {
        if self.count > 1 {
            let all = bytes.repeat(self.count());
            return self.complete(&all);
        }
        self.complete(bytes);
    }

    /// Part of the first one's reply went out and the rest will never come: the client is to be closed.
    pub fn break_off(self) {
        self.first.queue.break_off_at(self.first.number);
        self.complete(b"");
    }
}

impl Drop for Run {
    /// As tickets that are dropped: each says so to the client.
    fn drop(&mut self) {
        if !std::mem::replace(&mut self.first.answered, true) {
            let lost = if self.first.muted { Vec::new() } else { super::ticket::LOST.repeat(self.count()) };
            self.first.queue.complete_run(self.first.number, self.count(), &lost);
        }
    }
}
