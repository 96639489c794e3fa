//! Commands of the inventory inside MULTI: queued by the upstream with the client's other commands, executed with them, and
//! answered at their place in EXEC's reply.

use super::core::{Core, Lane, Step};
use super::rewritten::request;
use crate::command::Args;
use crate::config::Acknowledge;
use crate::inventory::batcher::Queued;
use crate::inventory::commands::{Context as CommandContext, Request, parse};
use crate::inventory::operation::ScriptOperation;
use crate::inventory::reply::Outcome;
use crate::metrics::{Route as RouteLabel, Status};
use crate::resp::{Proto, ReplyQueue};
use crate::upstream::link::state::{Rewrite, Watch};
use bytes::BytesMut;
use std::cell::RefCell;
use std::rc::Rc;

const NOT_THIS_USER: &[u8] = b"-NOPERM this tenant's upstream user may not run the inventory's script, so INV commands are not served inside MULTI; EXEC will abort this transaction\r\n";
const UNASSURED: &[u8] = b"-ERR INV commands that change anything are not served inside MULTI where inventory.acknowledge asks for more than the upstream's memory: EXEC would be answered before that; EXEC will abort this transaction\r\n";
const TOO_MANY: &[u8] = b"-OVERLOADED too many INV commands in one transaction (inventory.client_ops_max): each is the whole script to the upstream; EXEC will abort this transaction\r\n";
const AFTER_SELECT: &[u8] = b"-ERR an INV command cannot follow SELECT inside one MULTI: the inventory lives in one database; EXEC will abort this transaction\r\n";

/// What becomes of the parts of one command, where its SKUs live in several cells.
type Parts = Rc<RefCell<Vec<Result<Outcome, BytesMut>>>>;

impl Core {
    /// Queues a request of the inventory on the client's own connection, which is inside MULTI and owes no reply.
    pub(super) fn queue_inventory(&mut self, args: &Args<'_>) -> Step {
        if !self.enter(Lane::Pinned) {
            return Step::Blocked;
        }
        let Some(pin) = &self.pin else { return Step::Blocked };
        let context = CommandContext { tenant: &self.room.tenant };
        let (operation, parsed) = parse(args, &context);
        let operations = match parsed {
            Ok(Request::One(operation)) => vec![operation],
            Ok(Request::Operations(operations) | Request::Marks(_, operations)) => operations,
            Ok(Request::Answer(outcome)) => {
                // Something must be queued for its place.
                let rewrite = move |reply: &[u8], proto| {
                    if reply.starts_with(b"-") { BytesMut::from(reply) } else { written(&outcome, proto) }
                };
                pin.send(&request(&[b"PING"]), self.ticket(), Watch::rewrite(rewrite));
                return self.was_queued();
            }
            Err(refusal) => {
                if let Some(operation) = operation {
                    self.room.inventory.operations().record(operation, refusal.status, Default::default(), 1);
                }
                if refusal.status == Status::Err {
                    self.context.metrics.error(crate::metrics::ErrorOrigin::Client, crate::metrics::ErrorKind::Syntax);
                }
                let line = written(&Outcome::Refused(refusal), Proto::Resp2);
                return self.refuse_in_multi(&line);
            }
        };
        if self.room.tenant.upstream.is_some() && self.room.tenant.inventory_user().is_none() {
            return self.refuse_in_multi(NOT_THIS_USER);
        }
        let tenant = &self.room.tenant;
        if tenant.acknowledge != Acknowledge::Memory && operations.iter().any(ScriptOperation::writes) {
            return self.refuse_in_multi(UNASSURED);
        }
        let scripts = pin.remembered().scripts + operations.len();
        if self.told_apart && scripts > self.context.settings.client_ops_max.max(operations.len()) {
            return self.refuse_in_multi(TOO_MANY);
        }
        // No connection of the inventory's own was ever there: nobody has checked the namespace's number of cells.
        if self.context.knowledge.engine.load().is_none() {
            return self.refuse_in_multi(&written(
                &Outcome::Refused(self.room.inventory.batcher().never_sent(false)),
                Proto::Resp2,
            ));
        }
        let (will_select, db) = {
            let remembered = pin.remembered();
            (remembered.will_select(), remembered.greeting.db)
        };
        let home = self.context.links.first_greeting(Proto::Resp2).db;
        if will_select {
            return self.refuse_in_multi(AFTER_SELECT);
        }
        pin.remembered_mut().scripts = scripts;
        let nobody = ReplyQueue::new(usize::MAX);
        let select = |db: u32| request(&[b"SELECT", itoa::Buffer::new().format(db).as_bytes()]);
        if db != home {
            pin.send(&select(home), nobody.ticket(), Watch::hidden(None));
        }
        let (parts, count) = (Parts::default(), operations.len());
        for (place, operation) in operations.into_iter().enumerate() {
            let (eval, queued) = self.room.inventory.eval_request(operation);
            let last = place + 1 == count;
            let rewrite = self.part(queued, &parts, last);
            let ticket = if last { self.ticket() } else { nobody.ticket() };
            let watch = if last { Watch::rewrite(rewrite) } else { Watch::hidden(Some(rewrite)) };
            pin.send(&eval, ticket, watch);
        }
        if db != home {
            pin.send(&select(db), nobody.ticket(), Watch::hidden(None));
        }
        self.was_queued()
    }

    fn was_queued(&mut self) -> Step {
        self.count(RouteLabel::Inventory);
        Step::Done
    }

    /// Takes one part's reply; the last one makes the command's of them all.
    fn part(&self, queued: Queued, parts: &Parts, last: bool) -> Rewrite {
        let (batcher, parts) = (self.room.inventory.clone(), Rc::clone(parts));
        let on_error = self.told_apart.then(|| Rc::clone(&self.room.on_error));
        Box::new(move |reply, proto| {
            parts.borrow_mut().push(batcher.conclude(queued, reply));
            if !last {
                return BytesMut::new();
            }
            match parts.take().into_iter().collect::<Result<Vec<_>, _>>() {
                Ok(outcomes) => written(&Outcome::merge(outcomes), proto),
                Err(refused) => on_error.map_or_else(|| refused.clone(), |on_error| on_error(&refused, proto)),
            }
        })
    }
}

fn written(outcome: &Outcome, proto: Proto) -> BytesMut {
    let mut out = BytesMut::with_capacity(64);
    outcome.write(&mut out, proto);
    out
}
