//! How operations come into a batcher.

use super::job::{Job, Join, Owner};
use super::space::{Inventory, Space, SpaceSettings};
use super::{Batcher, Namespaces};
use crate::inventory::operation::ScriptOperation;
use crate::inventory::reply::{Outcome, Refusal};
use crate::metrics::Status;
use crate::resp::{Proto, Ticket};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

impl Batcher {
    /// One namespace's inventory. `namespaces` is what all batchers know of them.
    #[must_use]
    pub fn inventory(self: &Rc<Self>, settings: SpaceSettings, namespaces: &Namespaces) -> Inventory {
        let space = Space::new(settings, namespaces, &self.metrics);
        // With each connection it was checked already.
        space.checked.set(self.fitting.home.as_ref().is_some_and(|home| home.meta_key == space.claim.meta_key));
        Inventory { batcher: Rc::clone(self), space }
    }
}

impl Inventory {
    /// The batcher.
    #[must_use]
    pub fn batcher(&self) -> &Rc<Batcher> {
        &self.batcher
    }

    /// The same namespace, of the same batcher.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.space, &other.space)
    }

    /// A namespace that holds less than its share of the batcher has room there however much others hold.
    fn has_room_for(&self, count: usize) -> bool {
        let own = self.space.queue.borrow().len() + count;
        let (state, most) = (self.batcher.state.borrow(), self.batcher.limits.queue_ops_max);
        own <= self.space.bounds.get().queue_ops_max && (state.queued + count <= most || own <= most / state.sharers())
    }

    /// A client's request; its reply goes to the ticket.
    pub fn submit_one(&self, operation: ScriptOperation, ticket: Ticket, proto: Proto) {
        if !self.has_room_for(1) {
            return self.refuse_unqueued(&[operation], ticket, proto);
        }
        let queued = self.batcher.submitted.get().unwrap_or_else(Instant::now);
        self.batcher.submitted.set(Some(queued));
        self.enqueue(operation, Owner::Client(ticket, proto), queued);
    }

    fn refuse_unqueued(&self, operations: &[ScriptOperation], ticket: Ticket, proto: Proto) {
        let outcome = Outcome::Refused(self.batcher.never_sent(true));
        if let Some(operation) = operations.first() {
            self.space.operations().record(operation.operation, outcome.status(), Duration::ZERO, 1);
        }
        self.batcher.reply(ticket, proto, &outcome);
    }

    /// The same, in as many parts as there are cells.
    pub fn submit(&self, operations: Vec<ScriptOperation>, ticket: Ticket, proto: Proto) {
        let (queued, client) = (Instant::now(), Rc::clone(ticket.queue()));
        if !self.has_room_for(operations.len()) {
            return self.refuse_unqueued(&operations, ticket, proto);
        }
        let count = operations.len();
        let mut ticket = Some((ticket, proto));
        let join = (count != 1).then(|| {
            Rc::new(Join {
                parts: RefCell::new(vec![None; count]),
                waiting: Cell::new(count),
                client: Cell::new(ticket.take()),
                queue: client,
            })
        });
        for (place, operation) in operations.into_iter().enumerate() {
            let owner = match (&join, ticket.take()) {
                (Some(join), _) => Owner::Part(Rc::clone(join), place),
                (None, Some((ticket, proto))) => Owner::Client(ticket, proto),
                (None, None) => return,
            };
            self.enqueue(operation, owner, queued);
        }
    }

    /// An operation of the sidecar's own.
    ///
    /// # Cancel safety
    /// Dropped, the operation goes on and its outcome is lost.
    pub async fn run(&self, operation: ScriptOperation) -> Outcome {
        let (sender, receiver) = oneshot::channel();
        self.enqueue(operation, Owner::Internal(sender), Instant::now());
        receiver
            .await
            .unwrap_or_else(|_| Outcome::Refused(Refusal::new(Status::Uncertain, "the sidecar gave up this operation")))
    }

    fn enqueue(&self, operation: ScriptOperation, owner: Owner, queued: Instant) {
        let batcher = &self.batcher;
        batcher.state.borrow_mut().push(Job {
            space: Rc::clone(&self.space),
            operation,
            owner,
            queued,
            unknown: false,
        });
        // Told once it looks again: a pipeline is many operations.
        if !batcher.told.replace(true) {
            batcher.changed.notify_one();
        }
    }
}
