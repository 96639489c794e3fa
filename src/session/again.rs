//! Requests of the inventory that say the same as the one before them, word for word: in a rush whole pipelines do. They are not
//! read again. And reservations that are refused for what is known to be sold out: at once, without the upstream.

use super::core::{Core, ReplyMode};
use crate::inventory::operation::{ScriptOperation, Work};
use crate::metrics::{Operation, Route, Status};
use std::time::Duration;
use tokio::time::Instant;

/// What became of the request that was looked at last, where the same becomes of one that says the same.
#[derive(Default)]
pub(super) enum Again {
    #[default]
    Nothing,
    /// It was refused without the upstream.
    Refused,
    /// It is on its way, and the next one says the same.
    Reserve(ScriptOperation),
}

impl Core {
    /// Answers the request that was refused last where it comes again. Else it must be read.
    pub(super) fn is_refused_again(&mut self, frame: &[u8]) -> bool {
        // Behind an operation of its own in flight the client must see what that one did.
        if self.replies.waiting() > 0 {
            return false;
        }
        let (room, now) = (&self.room, &mut self.now);
        let mut last = room.last_refusal.borrow_mut();
        let now = || *now.get_or_insert_with(Instant::now);
        let Some(reply) = last.again(frame, &room.inventory.sold_out, now) else { return false };
        self.push(reply);
        drop(last);
        self.refused += 1;
        self.again = Again::Refused;
        true
    }

    /// Answers a reservation where it is known that it cannot be had.
    pub(super) fn is_known_sold_out(&mut self, frame: &[u8], operation: &ScriptOperation) -> bool {
        let Work::Reserve { sku, quantity, .. } = &operation.work else { return false };
        if self.replies.waiting() > 0 {
            return false;
        }
        let (room, now) = (&self.room, &mut self.now);
        let now = || *now.get_or_insert_with(Instant::now);
        let Some((known, now)) = room.inventory.sold_out.refusal(operation.cell, sku, i64::from(*quantity), now) else {
            return false;
        };
        self.push(self.room.last_refusal.borrow_mut().note(frame, known, now));
        self.refused += 1;
        self.again = Again::Refused;
        true
    }

    /// Takes what follows the request `frame`, as far as it is the same. Returns how many bytes of `rest` that is.
    #[inline]
    pub(super) fn take_again(&mut self, frame: &[u8], rest: &[u8]) -> usize {
        if matches!(self.again, Again::Nothing) { 0 } else { self.take_same(frame, rest) }
    }

    fn take_same(&mut self, frame: &[u8], rest: &[u8]) -> usize {
        let again = std::mem::take(&mut self.again);
        // A tenant's requests are counted one by one.
        if self.is_gated || self.client.replies != ReplyMode::On || frame.is_empty() {
            return 0;
        }
        let same = rest.chunks_exact(frame.len()).take_while(|next| *next == frame);
        let count = match again {
            Again::Nothing => 0,
            Again::Refused => self.refuse_times(frame, same.count()),
            Again::Reserve(operation) => self.reserve_times(&operation, same.count()),
        };
        self.counts[Route::Inventory as usize] += count as u64;
        count * frame.len()
    }

    fn refuse_times(&mut self, frame: &[u8], count: usize) -> usize {
        let (room, now) = (&self.room, &mut self.now);
        let now = || *now.get_or_insert_with(Instant::now);
        let mut last = room.last_refusal.borrow_mut();
        let Some(reply) = last.again(frame, &room.inventory.sold_out, now) else { return 0 };
        (0..count).for_each(|_| self.replies.push(reply));
        self.refused += count as u64;
        count
    }

    fn reserve_times(&mut self, operation: &ScriptOperation, count: usize) -> usize {
        if self.pin.is_some() {
            return 0;
        }
        let (settings, proto) = (&self.context.settings, self.client.greeting.proto);
        let room = settings.client_ops_max.saturating_sub(self.replies.waiting());
        let count = count.min(room).min(settings.pipeline_max.saturating_sub(self.replies.queued()));
        for _ in 0..count {
            self.room.inventory.submit_one(operation.clone(), self.replies.ticket(), proto);
        }
        count
    }

    /// Counts what was refused without the upstream since the last time.
    pub(super) fn publish_refused(&mut self) {
        let count = std::mem::take(&mut self.refused);
        if count > 0 {
            let operations = self.room.inventory.operations();
            operations.record(Operation::Reserve, Status::InsufficientStock, Duration::ZERO, count);
        }
    }
}
