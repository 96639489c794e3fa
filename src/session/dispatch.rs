//! Which way a request goes, for a client without a connection of its own; and the way of the inventory for all.

use super::again::Again;
use super::client_rows::number;
use super::clients::OwnConnection;
use super::core::{Core, Lane, Phase, ReplyMode, Step};
use super::frames::encode;
use super::gate::Gate;
use super::rewritten::NOBODY;
use crate::command::{Args, Local, Pin, Route};
use crate::inventory::commands::{Context as CommandContext, Request, parse};
use crate::inventory::id::cell_of;
use crate::inventory::operation::Work;
use crate::inventory::reply::Outcome;
use crate::metrics::{ErrorKind, ErrorOrigin, Operation, PinReason, Route as RouteLabel, Status};
use crate::resp::{ArgRange, Proto, is_security_violation};
use crate::tenant::isolation::Back;
use crate::upstream::link::state::{Effect, Watch};
use crate::upstream::links::SharedLink;
use bytes::BytesMut;
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

/// Of many clients that speak HTTP one a second is told of: who writes the log must not be held up by them.
static HTTP_TOLD: Seldom = Seldom::new();

/// What is due once a second at most.
pub(super) struct Seldom(Mutex<Option<Instant>>);

impl Seldom {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(None))
    }

    pub(super) fn is_due(&self) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = last.is_none_or(|last| last.elapsed() >= Duration::from_secs(1));
        if is_due {
            *last = Some(Instant::now());
        }
        is_due
    }
}

/// Whether a request speaks of another client's connection, and how it goes upstream then.
enum Redirected {
    No,
    To(BytesMut, Vec<ArgRange>),
    /// That client cannot have one.
    Refused,
}

impl Core {
    /// Sends one whole request its way.
    pub(super) fn dispatch(&mut self, cx: &mut Context<'_>, frame: &[u8], ranges: &[ArgRange]) -> Step {
        self.request_begins();
        let args = Args::new(frame, ranges);
        if args.get(0).is_some_and(is_security_violation) {
            // As Redis: the body of a misled HTTP request must not be executed as commands.
            if HTTP_TOLD.is_due() {
                let tenant = &*self.room.tenant.name;
                tracing::warn!(client = self.entry.id(), tenant, "closed a client that speaks HTTP");
            }
            self.context.metrics.error(ErrorOrigin::Client, ErrorKind::Protocol);
            self.phase = Phase::Finishing;
            return Step::Done;
        }
        let redirected = match args.len() {
            _ if !self.is_known() => Redirected::No,
            ..5 => Redirected::No,
            _ => match self.redirected(cx, &args) {
                Poll::Pending => return Step::Blocked,
                Poll::Ready(redirected) => redirected,
            },
        };
        let refused = matches!(redirected, Redirected::Refused);
        let (frame, args) = match &redirected {
            Redirected::To(frame, ranges) => (&frame[..], Args::new(frame, ranges)),
            Redirected::No | Redirected::Refused => (frame, args),
        };
        if self.replies.queued() >= self.context.settings.pipeline_max || !self.has_room(cx) {
            return Step::Blocked;
        }
        // Without tenants there is nothing to be asked, nor anything to be dropped.
        if self.is_gated && !refused {
            return self.dispatch_gated(cx, frame, &args, &redirected);
        }
        self.dispatch_on(cx, frame, &args, &redirected)
    }

    fn dispatch_gated(&mut self, cx: &mut Context<'_>, frame: &[u8], args: &Args<'_>, redirected: &Redirected) -> Step {
        // What is large is not judged more than once.
        if self.is_large(frame) && !self.may_go_in_pieces(cx) {
            return Step::Blocked;
        }
        let step = match self.gate(frame, args) {
            Gate::InPieces(pieces) => self.dispatch_in_pieces(args, pieces),
            Gate::Open => self.dispatch_on(cx, frame, args, redirected),
            Gate::Rewritten(frame, ranges) => self.dispatch_on(cx, &frame, &Args::new(&frame, &ranges), redirected),
            Gate::Shut(Step::Blocked) => Step::Blocked,
            Gate::Shut(Step::Done) => {
                self.note_command(args);
                if self.wait.is_none() {
                    self.request_is_over();
                }
                Step::Done
            }
        };
        self.is_counted &= matches!(step, Step::Blocked);
        step
    }

    /// What may go its way goes.
    #[inline]
    fn dispatch_on(&mut self, cx: &mut Context<'_>, frame: &[u8], args: &Args<'_>, redirected: &Redirected) -> Step {
        let known = self.note_command(args);
        let step = match &self.pin {
            _ if matches!(redirected, Redirected::Refused) => self.refuse_redirect(),
            Some(_) => self.dispatch_pinned(frame, args),
            None => {
                let route = known.unwrap_or_else(|| self.context.route(args));
                self.dispatch_shared(cx, frame, args, route)
            }
        };
        if let (Redirected::To(..), Some(pin)) = (redirected, &self.pin) {
            pin.redirect.set(self.redirect);
        }
        if matches!(step, Step::Done) && self.wait.is_none() {
            self.request_is_over();
        }
        step
    }

    /// Whatever becomes of it: it is the one that CLIENT REPLY SKIP was for.
    pub(super) fn request_begins(&mut self) {
        if self.client.replies == ReplyMode::SkipNext {
            self.client.replies = ReplyMode::Skip;
        }
    }

    /// The reply to a request is on its way or here: CLIENT REPLY SKIP was for it alone.
    pub(super) fn request_is_over(&mut self) {
        if self.client.replies == ReplyMode::Skip {
            self.client.replies = ReplyMode::On;
        }
    }

    /// `CLIENT TRACKING … REDIRECT id` with the id upstream of that client's own connection, which it is made to have.
    fn redirected(&mut self, cx: &Context<'_>, args: &Args<'_>) -> Poll<Redirected> {
        if !args.is(0, "CLIENT") || !args.is(1, "TRACKING") {
            return Poll::Ready(Redirected::No);
        }
        let Some(place) = (3..args.len() - 1).find(|&at| args.is(at, "REDIRECT")) else {
            return Poll::Ready(Redirected::No);
        };
        let Some(id) = args.get(place + 1).and_then(number) else { return Poll::Ready(Redirected::No) };
        let upstream = match ready!(self.context.clients.poll_own_connection(
            id,
            &self.room.tenant.name,
            &mut self.redirect_asked,
            cx
        )) {
            OwnConnection::Is(upstream) => upstream,
            // On a raw connection no reply can be put between what the upstream sends.
            OwnConnection::Refused if !self.is_raw() => return Poll::Ready(Redirected::Refused),
            OwnConnection::NoClient | OwnConnection::Refused => NOBODY,
        };
        self.redirect = Some((upstream, id));
        let mut words: Vec<Vec<u8>> = args.from(0).map(<[u8]>::to_vec).collect();
        words[place + 1] = upstream.to_string().into_bytes();
        let (frame, ranges) = encode(&words);
        Poll::Ready(Redirected::To(frame, ranges))
    }

    fn dispatch_shared(&mut self, cx: &Context<'_>, frame: &[u8], args: &Args<'_>, route: Route) -> Step {
        match route {
            Route::Inventory => self.inventory(frame, args, self.client.greeting.proto),
            // Also where no connection can be had.
            Route::Local(Local::Info) => self.answer(Local::Info, args),
            _ if self.room.tenant.pin_always => self.pin_and_dispatch(frame, args, PinReason::Always),
            Route::Local(local) => self.answer_shared(cx, local, frame, args),
            // What the upstream lets wait would hold up all who share its link, CLIENT UNPAUSE too.
            Route::Link | Route::Script | Route::Rewritten(_)
                if self.context.clients.is_paused() && self.context.links.has_pin_left() =>
            {
                self.pin_and_dispatch(frame, args, PinReason::Blocking)
            }
            Route::Link => self.send_on_link(frame, None),
            Route::Script => self.send_on_link(frame, Watch::effect(Effect::Script)),
            Route::Rewritten(which) => match self.rewriting(which, frame, args) {
                Some((request, rewrite)) => {
                    self.send_on_link(request.as_deref().unwrap_or(frame), Watch::rewrite(rewrite))
                }
                None => self.send_on_link(frame, None),
            },
            // What the sidecar says upstream for itself is none of a MONITOR's business.
            Route::Pin(Pin::Raw) if self.context.links.poll_greeted(cx).is_pending() => Step::Blocked,
            // On a connection of raw bytes nobody could tell the client that none could be made.
            Route::Pin(Pin::Raw) => match self.refused_unknown(cx) {
                Some(step) => step,
                None => self.pin_and_dispatch(frame, args, reason(Pin::Raw)),
            },
            Route::Pin(pin) => self.pin_and_dispatch(frame, args, reason(pin)),
            Route::Refuse(line) => self.refuse(ErrorKind::Unsupported, line.as_bytes()),
        }
    }

    /// A command of the sidecar's own. The upstream may want to know first who the client is, and answers PING itself.
    fn answer_shared(&mut self, cx: &Context<'_>, local: Local, frame: &[u8], args: &Args<'_>) -> Step {
        if !matches!(local, Local::Auth | Local::Hello | Local::Quit | Local::Reset) {
            if let Some(step) = self.refused_unknown(cx) {
                return step;
            }
            if local == Local::Ping && self.shared_link().is_up() {
                return self.send_on_link(frame, None);
            }
        }
        self.answer(local, args)
    }

    /// The upstream wants to know first who the client is: it was told so, or it is not known yet whether it does.
    fn refused_unknown(&mut self, cx: &Context<'_>) -> Option<Step> {
        match self.shared_link().poll_known(cx) {
            Poll::Pending => Some(Step::Blocked),
            Poll::Ready(Err(error)) if error.is_noauth() => {
                let line = self.shared_link().reader().refusal(&error);
                self.refuse_unconnected(&line);
                Some(Step::Done)
            }
            Poll::Ready(_) => None,
        }
    }

    pub(super) fn shared_link(&mut self) -> &SharedLink {
        if self.link.as_ref().is_some_and(|link| link.is_closed()) {
            self.link = None;
        }
        self.link.get_or_insert_with(|| {
            let link = self.context.links.shared(&self.client.greeting);
            if self.client.greeting.identity.is_some() {
                link.join(&self.replies);
            }
            link
        })
    }

    fn send_on_link(&mut self, frame: &[u8], watch: Option<Box<Watch>>) -> Step {
        if !self.enter(Lane::Link) || self.room_upstream() == 0 {
            return Step::Blocked;
        }
        if self.replies.waiting() == 0
            && let Some(link) = &self.link
            && link.runs_script()
            && let Some(other) = self.context.links.evade(link)
        {
            if self.client.greeting.identity.is_some() {
                other.join(&self.replies);
            }
            self.link = Some(other);
        }
        let ticket = self.ticket();
        if self.back.is_none() {
            self.shared_link().send(frame, ticket, watch);
            self.count(RouteLabel::Link);
            return Step::Done;
        }
        match (&watch, &self.back) {
            // So it is with nearly all requests of an isolated tenant.
            (None, Some(Back::AsIs)) => {
                let on_error = Rc::clone(&self.room.on_error);
                self.back = None;
                self.shared_link().send_guarded(frame, ticket, on_error);
            }
            _ => {
                let watch = self.with_way_back(watch);
                self.shared_link().send(frame, ticket, watch);
            }
        }
        self.count(RouteLabel::Link);
        Step::Done
    }

    /// A request of the inventory, of a client that reads `proto`.
    pub(super) fn inventory(&mut self, frame: &[u8], args: &Args<'_>, proto: Proto) -> Step {
        if !self.enter(Lane::Inventory) || self.replies.waiting() >= self.context.settings.client_ops_max {
            return Step::Blocked;
        }
        self.count(RouteLabel::Inventory);
        if self.is_refused_again(frame) {
            return Step::Done;
        }
        let context = CommandContext { tenant: &self.room.tenant };
        let (operation, request) = parse(args, &context);
        match request {
            Ok(Request::One(operation)) => {
                if !self.is_known_sold_out(frame, &operation) {
                    if self.comes_again && matches!(operation.work, Work::Reserve { .. }) {
                        self.again = Again::Reserve(operation.clone());
                    }
                    self.room.inventory.submit_one(operation, self.ticket(), proto);
                }
            }
            Ok(Request::Operations(operations)) => {
                self.room.inventory.submit(operations, self.ticket(), proto);
            }
            Ok(Request::Marks(skus, operations)) => {
                // Behind an operation of its own in flight the client must see what that one did.
                let known = if self.replies.waiting() == 0 { self.marks(&skus) } else { None };
                match known {
                    Some(outcome) => self.reply(operation, &outcome, proto),
                    None => self.room.inventory.submit(operations, self.ticket(), proto),
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
        let (cells, marks) = (self.room.tenant.cells, &self.room.inventory.marks);
        let marks: Option<Vec<_>> = skus
            .iter()
            .enumerate()
            .map(|(place, sku)| marks.get(cell_of(sku, cells), sku).map(|mark| (place, mark)))
            .collect();
        marks.map(Outcome::Marks)
    }

    fn reply(&self, operation: Option<Operation>, outcome: &Outcome, proto: Proto) {
        if let Some(operation) = operation {
            self.room.inventory.operations().record(operation, outcome.status(), Duration::ZERO, 1);
        }
        let mut out = BytesMut::with_capacity(64);
        outcome.write(&mut out, proto);
        self.push(&out);
    }
}

/// The label of a reason to pin.
fn reason(pin: Pin) -> PinReason {
    match pin {
        Pin::Transaction => PinReason::Transaction,
        Pin::Blocking => PinReason::Blocking,
        Pin::Subscription => PinReason::Subscription,
        Pin::Raw => PinReason::Raw,
        Pin::Wait | Pin::Ending => PinReason::Blocking,
        Pin::State => PinReason::State,
        Pin::Unknown => PinReason::Unknown,
    }
}
