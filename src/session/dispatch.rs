//! Which way a request goes, for a client without a connection of its own; and the way of the inventory for all.

use super::core::{Core, Lane, Phase, Step};
use crate::command::{Args, Local, Route, is_inventory, route};
use crate::inventory::commands::{Context as CommandContext, Request, parse};
use crate::inventory::id::cell_of;
use crate::inventory::reply::Outcome;
use crate::metrics::{ErrorKind, ErrorOrigin, Operation, Route as RouteLabel, Status};
use crate::resp::{ArgRange, Proto, is_security_violation};
use crate::upstream::link::Watch;
use crate::upstream::links::SharedLink;
use bytes::BytesMut;
use std::task::Context;
use std::time::Duration;

impl Core {
    /// Sends one whole request its way.
    pub(super) fn dispatch(&mut self, cx: &mut Context<'_>, frame: &[u8], ranges: &[ArgRange]) -> Step {
        let args = Args::new(frame, ranges);
        if args.get(0).is_some_and(is_security_violation) {
            // As Redis: the body of a misled HTTP request must not be executed as commands.
            tracing::warn!(client = self.client.id, "closed a client that speaks HTTP");
            self.context.metrics.error(ErrorOrigin::Client, ErrorKind::Protocol);
            self.phase = Phase::Finishing;
            return Step::Done;
        }
        if self.replies.queued() >= self.context.settings.pipeline_max || !self.has_room(cx) {
            return Step::Blocked;
        }
        if self.pin.is_some() {
            return self.dispatch_pinned(frame, &args);
        }
        match route(&args, &self.context.knowledge.commands.load()) {
            Route::Inventory => self.inventory(&args, self.client.proto),
            _ if self.context.tenant.pin_always => self.pin_and_dispatch(frame, &args),
            Route::Local(Local::Ping) if self.link_is_up() => self.send_on_link(frame),
            Route::Local(local) => self.answer(local, &args),
            Route::Link => self.send_on_link(frame),
            Route::Pin(_) => self.pin_and_dispatch(frame, &args),
            Route::Refuse(line) => self.refuse(ErrorKind::Unsupported, line.as_bytes()),
        }
    }

    /// Is this client's link there? It is made where the client has none yet.
    fn link_is_up(&mut self) -> bool {
        self.shared_link().is_up()
    }

    fn shared_link(&mut self) -> &SharedLink {
        if self.link.as_ref().is_some_and(|link| link.is_closed()) {
            self.link = None;
        }
        self.link.get_or_insert_with(|| self.context.links.shared(self.client.db, self.client.proto))
    }

    fn send_on_link(&mut self, frame: &[u8]) -> Step {
        if !self.enter(Lane::Link) {
            return Step::Blocked;
        }
        let ticket = self.replies.ticket();
        self.shared_link().send(frame, ticket, Watch::None);
        self.count(RouteLabel::Link);
        Step::Done
    }

    /// A request of the inventory, of a client that reads `proto`.
    pub(super) fn inventory(&mut self, args: &Args<'_>, proto: Proto) -> Step {
        if !self.enter(Lane::Inventory) || self.replies.waiting() >= self.context.settings.client_ops_max {
            return Step::Blocked;
        }
        self.count(RouteLabel::Inventory);
        let context = CommandContext { tenant: &self.context.tenant, mint: self.context.batcher.mint() };
        let (operation, request) = parse(args, &context);
        match request {
            Ok(Request::Operations(operations)) => {
                self.context.batcher.submit(operations, self.replies.ticket(), proto);
            }
            Ok(Request::Marks(skus, operations)) => {
                // Behind an operation of its own in flight the client must see what that one did.
                let known = if self.replies.waiting() == 0 { self.marks(&skus) } else { None };
                match known {
                    Some(outcome) => self.reply(operation, &outcome, proto),
                    None => self.context.batcher.submit(operations, self.replies.ticket(), proto),
                }
            }
            Ok(Request::Answer(outcome)) => self.reply(operation, &outcome, proto),
            Err(refusal) => {
                if refusal.status == Status::Err {
                    self.context.metrics.error(ErrorOrigin::Client, ErrorKind::Syntax);
                }
                self.reply(operation, &Outcome::Refused(refusal), proto);
            }
        }
        Step::Done
    }

    fn marks(&self, skus: &[Vec<u8>]) -> Option<Outcome> {
        let (cells, marks) = (self.context.tenant.cells, self.context.batcher.marks());
        let marks: Option<Vec<_>> = skus
            .iter()
            .enumerate()
            .map(|(place, sku)| marks.get(cell_of(sku, cells), sku).map(|mark| (place, mark)))
            .collect();
        marks.map(Outcome::Marks)
    }

    fn reply(&self, operation: Option<Operation>, outcome: &Outcome, proto: Proto) {
        if let Some(operation) = operation {
            self.context.batcher.operations().record(operation, outcome.status(), Duration::ZERO, 1);
        }
        let mut out = BytesMut::with_capacity(64);
        outcome.write(&mut out, proto);
        self.replies.push(&out);
    }

    pub(super) fn is_inventory(args: &Args<'_>) -> bool {
        args.get(0).is_some_and(is_inventory)
    }
}
