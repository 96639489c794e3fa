//! The order of one client's replies: a slot for each request that waits, the bytes that are ready to be written.
//!
//! A request that is answered elsewhere takes a [`Ticket`]; whoever answers it, in whatever order, the client gets the
//! replies in the order of its requests. Never does I/O; never leaves its thread.

mod run;
mod slots;
#[cfg(test)]
mod tests;
mod ticket;
mod window;

pub use run::Run;
pub use ticket::Ticket;
pub use window::Window;

use self::slots::{Inner, Slot};
use self::window::Turn;
use bytes::{Buf, Bytes, BytesMut};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;

/// An output buffer that grew past this is given back to the allocator once it is empty.
const KEEP_CAPACITY_BYTES: usize = 64 * 1024;

/// One client's replies. Shared (`Rc`) by its session and by whoever owes it a reply.
pub struct ReplyQueue {
    inner: RefCell<Inner>,
    limit_bytes: usize,
    closed: Cell<bool>,
    overflowed: Cell<bool>,
    broken: Cell<bool>,
    may_wait_for_ever: Cell<bool>,
    /// Where what waits for a reply counts, among others' that share it.
    window: RefCell<Option<Rc<Window>>>,
    turn: Turn,
    /// The inventory batch that has operations of this client in flight, and how many: see the batcher.
    batch: Cell<(u64, usize)>,
    /// The script call that it is in, and the last of that one's groups with an operation of this client.
    group: Cell<(u64, u32)>,
}

impl ReplyQueue {
    /// `limit_bytes`: above it the client is too slow and is to be closed.
    #[must_use]
    pub fn new(limit_bytes: usize) -> Rc<Self> {
        Rc::new(Self {
            inner: RefCell::default(),
            limit_bytes,
            closed: Cell::new(false),
            overflowed: Cell::new(false),
            broken: Cell::new(false),
            may_wait_for_ever: Cell::new(false),
            window: RefCell::default(),
            turn: Turn::default(),
            batch: Cell::new((0, 0)),
            group: Cell::new((0, 0)),
        })
    }

    /// A place in the order for a reply that comes later.
    #[must_use]
    pub fn ticket(self: &Rc<Self>) -> Ticket {
        let mut inner = self.inner.borrow_mut();
        let number = inner.tail;
        inner.tail += 1;
        inner.waiting += 1;
        self.hand_over(1);
        Ticket { queue: Rc::clone(self), number, answered: false, muted: false }
    }

    /// Places for the replies to so many requests that come one after the other, one at the least.
    #[must_use]
    pub fn run(self: &Rc<Self>, count: u32) -> Run {
        let first = self.ticket();
        let mut inner = self.inner.borrow_mut();
        inner.tail += u64::from(count - 1);
        inner.waiting += count as usize - 1;
        drop(inner);
        self.hand_over(count as usize - 1);
        Run::of(first, count)
    }

    /// The same for a client that wants no reply to this request (`CLIENT REPLY OFF`, `SKIP`).
    #[must_use]
    pub fn muted_ticket(self: &Rc<Self>) -> Ticket {
        let mut ticket = self.ticket();
        ticket.muted = true;
        ticket
    }

    /// A reply that is here already.
    pub fn push(&self, reply: &[u8]) {
        let mut inner = self.inner.borrow_mut();
        let queued = inner.queued();
        if inner.cut.is_some() {
            return;
        }
        if queued == 0 {
            inner.out.extend_from_slice(reply);
        } else {
            inner.make_slots(queued);
            inner.held_bytes += reply.len();
            inner.slots.push_back(Slot::Ready(Bytes::copy_from_slice(reply)));
            inner.tail += 1;
        }
        self.check_limit(&inner);
    }

    /// Bytes that belong to no request (pushes, a subscribed connection). Only for a client without waiting replies.
    pub fn push_unasked(&self, bytes: &[u8]) {
        if self.closed.get() {
            return;
        }
        let mut inner = self.inner.borrow_mut();
        if inner.cut.is_some() {
            return;
        }
        inner.out.extend_from_slice(bytes);
        self.check_limit(&inner);
        inner.wakeup.wake();
    }

    /// How many requests wait for their reply.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.inner.borrow().waiting
    }

    /// Bytes that the client has not taken yet.
    #[must_use]
    pub fn unsent_bytes(&self) -> usize {
        let inner = self.inner.borrow();
        inner.out.len() + inner.held_bytes
    }

    /// Bytes that could be written now, did the client take them.
    #[must_use]
    pub fn ready_bytes(&self) -> usize {
        self.inner.borrow().out.len()
    }

    /// Requests whose reply is not ready to be written: they wait, or stand behind one that does.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.inner.borrow().queued()
    }

    /// Whether what the client waits for may never come (a blocking command): a stopping sidecar does not wait for it.
    pub fn set_may_wait_for_ever(&self, may: bool) {
        self.may_wait_for_ever.set(may);
    }

    /// Does the client wait for something that must come?
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.ready_bytes() > 0 || (self.waiting() > 0 && !self.may_wait_for_ever.get())
    }

    /// The client went over its limit: close it.
    #[must_use]
    pub fn overflowed(&self) -> bool {
        self.overflowed.get()
    }

    /// The client's own upstream connection is lost: close it after what is ready.
    pub fn break_off(&self) {
        self.broken.set(true);
        self.inner.borrow_mut().wakeup.wake();
    }

    /// The reply to this request cannot be completed: close the client after what is here of it.
    fn break_off_at(&self, number: u64) {
        self.inner.borrow_mut().cut_at(number);
        self.break_off();
    }

    /// Whether [`break_off`](Self::break_off) was called, or a reply was broken off.
    #[must_use]
    pub fn broken_off(&self) -> bool {
        self.broken.get()
    }

    /// From here on all that waits counts there, and nowhere else.
    pub fn set_window(&self, window: Option<&Rc<Window>>) {
        let waiting = self.waiting();
        if let Some(window) = window {
            window.hand_over(&self.turn, waiting);
        }
        if let Some(before) = self.window.replace(window.cloned()) {
            before.leave(self);
            before.give_back(waiting);
        }
    }

    /// How many requests the client may hand over now, for the sake of who does not share its window. Where none, its session is
    /// woken when it may.
    #[must_use]
    pub fn room(self: &Rc<Self>) -> usize {
        self.window.borrow().as_ref().map_or(usize::MAX, |window| window.room(self))
    }

    /// It was told that there is no [room](Self::room), and will be woken when there is.
    #[must_use]
    pub fn waits_for_room(&self) -> bool {
        self.turn.waits()
    }

    /// Its session asks for no more room now: others that share its window come first.
    #[inline]
    pub fn end_turn(&self) {
        if let Some(window) = &*self.window.borrow() {
            window.end_turn(&self.turn);
        }
    }

    #[inline]
    fn hand_over(&self, count: usize) {
        if let Some(window) = &*self.window.borrow() {
            window.hand_over(&self.turn, count);
        }
    }

    /// The client is gone: what still comes is thrown away.
    pub fn close(&self) {
        self.closed.set(true);
        let mut inner = self.inner.borrow_mut();
        inner.out = BytesMut::new();
        inner.wakeup.clear();
        drop(inner);
        self.end_turn();
    }

    /// Runs `write` on the bytes that are ready; it returns how many of them it took.
    pub fn with_ready<E>(&self, write: impl FnOnce(&[u8]) -> Result<usize, E>) -> Result<usize, E> {
        let mut inner = self.inner.borrow_mut();
        if inner.out.is_empty() {
            return Ok(0);
        }
        let taken = write(&inner.out)?;
        inner.out.advance(taken);
        if inner.out.is_empty() {
            if inner.out.capacity() > KEEP_CAPACITY_BYTES {
                inner.out = BytesMut::new();
            } else {
                inner.out.clear();
            }
        }
        Ok(taken)
    }

    /// Takes all that is ready to be written.
    #[must_use]
    pub fn take_ready(&self) -> Bytes {
        self.inner.borrow_mut().out.split().freeze()
    }

    /// Whom to wake when a reply came.
    pub fn register(&self, waker: &Waker) {
        self.inner.borrow_mut().wakeup.register(waker);
    }

    /// Wakes the session: something outside its replies changed.
    pub fn wake_session(&self) {
        self.inner.borrow_mut().wakeup.wake();
    }

    /// May an operation of this client join the batch `id`? Only where no other batch has one in flight: a client's
    /// operations take effect in its order.
    #[must_use]
    pub fn may_join_batch(&self, id: u64) -> bool {
        let (current, count) = self.batch.get();
        count == 0 || current == id
    }

    /// An operation of this client joined the batch.
    pub fn join_batch(&self, id: u64) {
        let (_, count) = self.batch.get();
        self.batch.set((id, count + 1));
    }

    /// The last group of the sending `call` that an operation of this client is in, 0 where it is in none: its next ones may
    /// join that one or a later one, so that they take effect in its order. Cells are not told apart: an operation on
    /// another one between two on this one must not let the second go ahead of the first.
    #[must_use]
    pub fn last_group(&self, call: u64) -> u32 {
        let (last_call, group) = self.group.get();
        if last_call == call { group } else { 0 }
    }

    /// An operation of this client is in this group of the sending.
    pub fn join_group(&self, call: u64, group: u32) {
        self.group.set((call, group.max(self.last_group(call))));
    }

    /// An operation of this client left its batch.
    pub fn leave_batch(&self) {
        let (id, count) = self.batch.get();
        self.batch.set((id, count.saturating_sub(1)));
    }

    fn check_limit(&self, inner: &Inner) {
        if inner.out.len() + inner.held_bytes > self.limit_bytes {
            self.overflowed.set(true);
        }
    }

    fn part(&self, number: u64, bytes: &[u8]) {
        if self.closed.get() || self.overflowed.get() {
            return;
        }
        let mut guard = self.inner.borrow_mut();
        let inner = &mut *guard;
        if inner.is_cut(number) {
            return;
        }
        if number == inner.head {
            inner.out.extend_from_slice(bytes);
        } else if let Some(Slot::Waiting(kept)) = inner.slot(number) {
            kept.get_or_insert_default().extend_from_slice(bytes);
            inner.held_bytes += bytes.len();
        }
        self.check_limit(inner);
        inner.wakeup.wake();
    }

    fn complete(&self, number: u64, bytes: &[u8]) {
        self.complete_run(number, 1, bytes);
    }

    /// `bytes` are the whole replies to `count` requests from `number` on.
    fn complete_run(&self, number: u64, count: usize, bytes: &[u8]) {
        self.place_run(number, count, bytes);
        // Any session of its may be woken by that, this one's too.
        if let Some(window) = &*self.window.borrow() {
            window.give_back(count);
        }
    }

    fn place_run(&self, number: u64, count: usize, bytes: &[u8]) {
        let mut guard = self.inner.borrow_mut();
        let inner = &mut *guard;
        inner.waiting -= count;
        if self.closed.get() || self.overflowed.get() || inner.is_cut(number) {
            inner.wakeup.wake();
            return;
        }
        if number == inner.head {
            inner.out.extend_from_slice(bytes);
            inner.head += count as u64;
            if !inner.slots.is_empty() {
                inner.slots.drain(..count.min(inner.slots.len()));
                inner.advance();
            }
        } else {
            inner.keep(number, count, bytes);
        }
        self.check_limit(inner);
        inner.wakeup.wake();
    }
}
