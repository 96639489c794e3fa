//! An operation on its way: who waits for it, and since when.

use super::space::Space;
use crate::inventory::operation::ScriptOperation;
use crate::inventory::reply::Outcome;
use crate::metrics::{Operation, Status};
use crate::resp::{Proto, ReplyQueue, Ticket};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Who is told what became of it.
pub(super) enum Owner {
    Client(Ticket, Proto),
    Part(Rc<Join>, usize),
    Internal(oneshot::Sender<Outcome>),
    /// Answered inside EXEC's reply.
    Transaction,
    /// It was told.
    Answered,
}

/// A client's request whose parts went to several cells.
pub(super) struct Join {
    pub parts: RefCell<Vec<Option<Outcome>>>,
    pub waiting: Cell<usize>,
    pub client: Cell<Option<(Ticket, Proto)>>,
    pub queue: Rc<ReplyQueue>,
}

pub(super) struct Job {
    /// Whose it is.
    pub space: Rc<Space>,
    pub operation: ScriptOperation,
    pub owner: Owner,
    pub queued: Instant,
    /// It was sent, and what became of it is not known.
    pub unknown: bool,
}

impl Job {
    /// The client that asked for it.
    #[inline]
    pub(super) fn client(&self) -> Option<&Rc<ReplyQueue>> {
        match &self.owner {
            Owner::Client(ticket, _) => Some(ticket.queue()),
            Owner::Part(join, _) => Some(&join.queue),
            Owner::Internal(_) | Owner::Transaction | Owner::Answered => None,
        }
    }

    /// Nobody was told yet what became of it.
    pub(super) fn is_open(&self) -> bool {
        !matches!(self.owner, Owner::Answered)
    }
}

/// Operations that ended alike, one after the other; a batch's mostly do.
#[derive(Default)]
pub(super) struct Tally {
    pub run: Option<(Operation, Status, Instant)>,
    pub count: u64,
}

impl Tally {
    pub(super) fn add(&mut self, space: &Space, operation: Operation, status: Status, queued: Instant) {
        let run = Some((operation, status, queued));
        if self.run != run {
            self.record(space);
            self.run = run;
        }
        self.count += 1;
    }

    pub(super) fn record(&mut self, space: &Space) {
        if let Some((operation, status, queued)) = self.run.take() {
            space.operations().record(operation, status, queued.elapsed(), self.count);
        }
        self.count = 0;
    }
}
