//! A client with a connection of its own, which it keeps while the upstream keeps state for it there.

use super::core::{Core, Lane, Phase, Stage, Step};
use super::local::strict_integer;
use super::turns::Reads;
use crate::command::{Args, Hello, Local, Pin, Route, listed_name};
use crate::metrics::{ErrorKind, PinReason, Refused, Route as RouteLabel};
use crate::resp::write;
use crate::tenant::Pinned;
use crate::tenant::isolation::push;
use crate::upstream::link::state::{Effect, Family, Kept, Rewrite, Watch};
use crate::upstream::stream::{Credentials, with_id};
use bytes::BytesMut;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;

pub(super) const NO_MORE_PINNED: &[u8] =
    b"-OVERLOADED too many clients have a connection of their own (upstream.pinned_max, or the tenant's own); this was not sent\r\n";
const REPLY_IN_MULTI: &[u8] = b"-ERR CLIENT REPLY is not served inside MULTI; EXEC will abort this transaction\r\n";
const WAIT_IN_MULTI: &[u8] = b"-ERR WAIT and WAITAOF inside MULTI would not speak of this client's writes, which share a connection: set session.pin = \"always\" for clients that use them so\r\n";
/// No engine knows it.
const UNKNOWN_COMMAND: &[u8] = b"INVENTORY-SENTINEL.REFUSED";

pub(super) enum Opened {
    Yes,
    /// Not while requests of another way are in flight.
    NotYet,
    /// `pinned_max` are open.
    Refused,
}

impl Core {
    /// Gives the client a connection of its own, which is what it is; the request is the first on it.
    pub(super) fn pin_and_dispatch(&mut self, frame: &[u8], args: &Args<'_>, reason: PinReason) -> Step {
        match self.open_pin(reason) {
            Opened::Yes => self.dispatch_pinned(frame, args),
            Opened::NotYet => Step::Blocked,
            Opened::Refused => {
                if reason == PinReason::Transaction {
                    // What follows in the pipeline was to be executed in the transaction, or not at all.
                    self.phase = Phase::Finishing;
                }
                if self.is_gated {
                    self.room.own.metrics.refused(Refused::Overloaded).increment(1);
                }
                self.refuse(ErrorKind::Overloaded, NO_MORE_PINNED)
            }
        }
    }

    pub(super) fn open_pin(&mut self, reason: PinReason) -> Opened {
        if self.pin.is_some() {
            return Opened::Yes;
        }
        if !self.enter(Lane::Pinned) {
            return Opened::NotYet;
        }
        let name = self.entry.state().name.clone();
        let tenant = &self.room.tenant;
        let Some(counted) = Pinned::new(&tenant.live, &tenant.limits) else { return Opened::Refused };
        match self.context.links.pinned(&self.replies, &self.client.greeting, &name, reason) {
            Some(mut pin) => {
                pin.guard = Some(Box::new(counted));
                if self.told_apart {
                    pin.set_pace(Rc::new(Reads::new(&self.context.rooms.turns, &self.room.own)));
                }
                if tenant.is_isolated() {
                    let tenant = Arc::clone(tenant);
                    pin.set_filter(Box::new(move |frame| push::inside(frame, &tenant.space)));
                }
                self.pin = Some(pin);
                Opened::Yes
            }
            None => Opened::Refused,
        }
    }

    /// Another client speaks of this one's own connection: it gets one and keeps it.
    pub(super) fn keep_wanted_pin(&mut self) {
        if !self.entry.is_wanted() || self.phase != Phase::Open {
            return;
        }
        if self.pin.is_none() {
            match self.open_pin(PinReason::State) {
                Opened::Yes => {}
                Opened::NotYet => return,
                Opened::Refused => return self.entry.refuse_own_connection(),
            }
        }
        if let Some(pin) = &self.pin {
            pin.is_awaited.set(false);
            pin.remembered_mut().keep(Kept::TARGET);
        }
    }

    /// Another client that this request speaks of cannot have a connection of its own.
    pub(super) fn refuse_redirect(&mut self) -> Step {
        let Some(pin) = &self.pin else { return self.refuse(ErrorKind::Overloaded, NO_MORE_PINNED) };
        // Whether it is inside MULTI is known when all replies are here.
        if self.replies.waiting() > 0 {
            return Step::Blocked;
        }
        let in_multi = pin.remembered().in_multi;
        if in_multi { self.refuse_in_multi(NO_MORE_PINNED) } else { self.refuse(ErrorKind::Overloaded, NO_MORE_PINNED) }
    }

    /// Others speak of a pinned connection by its id upstream: the session is woken to tell them once it is known.
    pub(super) fn learn_upstream_id(&self, cx: &mut Context<'_>) {
        if let Some(pin) = &self.pin
            && pin.upstream_id().is_none()
        {
            let _ = pin.poll_up(cx);
        }
    }

    /// Gives the connection back where the upstream keeps no state of the client there any more. Returns whether it did.
    pub(super) fn release_pin(&mut self) -> bool {
        let Some(pin) = &self.pin else { return false };
        let needed = self.replies.waiting() > 0
            || !matches!(self.stage, Stage::Frames)
            || (self.room.tenant.pin_always && !pin.is_closed());
        if needed || pin.raw.get() {
            return false;
        }
        if pin.remembered().has_unknown() && pin.is_idle() {
            let commands = self.context.knowledge.commands.load();
            if pin.remembered_mut().settle_unknown(|name| commands.knows(name)) {
                self.context.knowledge.doubt_commands();
            }
        }
        if !pin.ended_unused() {
            if pin.is_awaited.get() || pin.is_closed() || !pin.is_idle() || !pin.remembered().is_clean() {
                return false;
            }
            let greeting = pin.remembered().greeting.clone();
            if greeting != self.client.greeting {
                self.client.greeting = greeting;
                self.link = None;
                self.publish_client();
            }
        }
        self.pin = None;
        true
    }

    pub(super) fn dispatch_pinned(&mut self, frame: &[u8], args: &Args<'_>) -> Step {
        let step = self.dispatch_on_pin(frame, args);
        if let (Step::Done, Some(pin)) = (&step, &self.pin) {
            pin.is_awaited.set(false);
        }
        step
    }

    fn dispatch_on_pin(&mut self, frame: &[u8], args: &Args<'_>) -> Step {
        let Some(pin) = &self.pin else { return Step::Blocked };
        let route = self.pinned_route(args);
        if pin.raw.get() {
            if matches!(route, Route::Inventory | Route::Refuse(_)) {
                pin.send_more(&refused_by_upstream(args));
            } else {
                pin.send_more(frame);
            }
            self.count(RouteLabel::Pinned);
            return Step::Done;
        }
        match route {
            // In a transaction too it is answered at once, and nothing behind it.
            Route::Local(Local::Quit) => {
                let step = self.send_on_pin(frame, args, route);
                if matches!(step, Step::Done) {
                    self.phase = Phase::Finishing;
                }
                return step;
            }
            // Whether it is inside MULTI must be known.
            Route::Pin(Pin::Subscription) if self.replies.waiting() > 0 && !self.subscribing => return Step::Blocked,
            // From 7.2 on a refused AUTH is not answered while an earlier reply waits to be written.
            Route::Local(Local::Auth | Local::Hello) if self.replies.waiting() > 0 => return Step::Blocked,
            Route::Inventory | Route::Refuse(_) | Route::Pin(Pin::Wait) => {}
            Route::Rewritten(_) if self.room_upstream() == 0 => return Step::Blocked,
            Route::Rewritten(which) => match self.rewriting(which, frame, args) {
                Some((request, rewrite)) => {
                    let watch = self.with_way_back(Watch::rewrite(rewrite));
                    return self.send_watched(request.as_deref().unwrap_or(frame), watch, route);
                }
                None => return self.send_on_pin(frame, args, route),
            },
            Route::Local(local) if !local.is_the_connections() => {}
            _ => return self.send_on_pin(frame, args, route),
        }
        // What the connection remembers is known when all replies are here.
        if self.lane == Lane::Pinned && self.replies.waiting() > 0 {
            return Step::Blocked;
        }
        let (in_multi, subscribed, proto) = {
            let remembered = pin.remembered();
            (remembered.in_multi, remembered.is_subscribed_resp2(), remembered.greeting.proto)
        };
        match route {
            Route::Local(Local::Reset) => self.answer(Local::Reset, args),
            // The upstream refuses it in its own words, but a command that it does not know.
            Route::Local(_) if subscribed => self.send_on_pin(frame, args, route),
            Route::Inventory if subscribed => self.refuse(ErrorKind::Unsupported, &subscribed_refusal(args)),
            // It changes nothing, and EXEC's reply is whole.
            Route::Local(Local::ClientReply) if in_multi && args.is(2, "ON") => self.send_on_pin(frame, args, route),
            Route::Local(local) if in_multi => self.queue_local(frame, local, args),
            Route::Local(local) => self.answer(local, args),
            Route::Inventory if in_multi => self.queue_inventory(args),
            Route::Inventory => self.inventory(frame, args, proto),
            Route::Pin(Pin::Wait) if in_multi => self.refuse_in_multi(WAIT_IN_MULTI),
            Route::Pin(Pin::Wait) if !subscribed => self.send_wait(frame),
            Route::Refuse(line) if in_multi => self.refuse_in_multi(line.as_bytes()),
            Route::Refuse(line) => self.refuse(ErrorKind::Unsupported, line.as_bytes()),
            Route::Link | Route::Script | Route::Pin(_) | Route::Rewritten(_) => self.send_on_pin(frame, args, route),
        }
    }

    fn send_on_pin(&mut self, frame: &[u8], args: &Args<'_>, route: Route) -> Step {
        if !self.enter(Lane::Pinned) || self.room_upstream() == 0 {
            return Step::Blocked;
        }
        let Some(pin) = &self.pin else { return Step::Blocked };
        if self.must_be_raw(args, route) {
            // From here on replies are not one a request; those before must be paired first.
            if self.replies.waiting() > 0 {
                return Step::Blocked;
            }
            pin.become_raw();
            pin.send_more(frame);
            self.count(RouteLabel::Pinned);
            return Step::Done;
        }
        if route == Route::Pin(Pin::Subscription)
            && let Some(step) = self.refuse_subscription(args)
        {
            return step;
        }
        let watch = self.watch(args, route);
        let watch = self.with_way_back(watch);
        self.send_watched(frame, watch, route)
    }

    pub(super) fn send_watched(&mut self, frame: &[u8], watch: Option<Box<Watch>>, route: Route) -> Step {
        if !self.enter(Lane::Pinned) {
            return Step::Blocked;
        }
        // Behind its like it need not wait: it would reach the upstream later than what others send meanwhile.
        self.subscribing = route == Route::Pin(Pin::Subscription) && (self.subscribing || self.replies.waiting() == 0);
        let Some(pin) = &self.pin else { return Step::Blocked };
        pin.send(frame, self.ticket(), watch);
        self.set_blocking(route);
        self.count(RouteLabel::Pinned);
        Step::Done
    }

    /// Replies are no longer one a request from here on, and it cannot be told which is which.
    fn must_be_raw(&self, args: &Args<'_>, route: Route) -> bool {
        match route {
            Route::Pin(Pin::Raw) => true,
            // Each channel is acknowledged, inside the reply of EXEC and, in RESP2, behind it.
            Route::Pin(Pin::Subscription) => {
                self.pin.as_ref().is_some_and(|pin| pin.remembered().in_multi) && args.len() > 1
            }
            _ => false,
        }
    }

    /// What the reply says of the connection.
    pub(super) fn watch(&self, args: &Args<'_>, route: Route) -> Option<Box<Watch>> {
        let effect = effect(args, route);
        let hello = if args.is(0, "HELLO") { Hello::parse(args) } else { None };
        let rewrite = hello.map(|hello| -> Rewrite {
            let (entry, name) = (Arc::clone(&self.entry), hello.name.map(<[u8]>::to_vec));
            Box::new(move |reply, _| {
                if let (Some(name), false) = (name, reply.starts_with(b"-")) {
                    entry.state().name = name;
                }
                with_id(reply, entry.id())
            })
        });
        (effect != Effect::None || rewrite.is_some())
            .then(|| Box::new(Watch { effect, rewrite, in_parts: None, error: None, hidden: false }))
    }

    /// A command of the sidecar's own inside MULTI: the upstream queues it, and its answer stands in EXEC's.
    fn queue_local(&mut self, frame: &[u8], local: Local, args: &Args<'_>) -> Step {
        let Some(answer) = self.answer_of(local, args) else { return self.refuse_in_multi(REPLY_IN_MULTI) };
        if !self.enter(Lane::Pinned) {
            return Step::Blocked;
        }
        let rewrite = move |reply: &[u8], _| if reply.starts_with(b"-") { BytesMut::from(reply) } else { answer };
        let Some(pin) = &self.pin else { return Step::Blocked };
        pin.send(frame, self.ticket(), Watch::rewrite(rewrite));
        self.count(RouteLabel::Pinned);
        Step::Done
    }

    /// A refusal of the sidecar's inside MULTI. The upstream is made to refuse something too, so that it refuses EXEC, as
    /// after any bad command.
    pub(super) fn refuse_in_multi(&mut self, line: &[u8]) -> Step {
        if !self.enter(Lane::Pinned) {
            return Step::Blocked;
        }
        let Some(pin) = &self.pin else { return Step::Blocked };
        let mut unknown = BytesMut::new();
        write::request(&mut unknown, &[UNKNOWN_COMMAND]);
        let line = BytesMut::from(line);
        pin.send(&unknown, self.ticket(), Watch::rewrite(move |_, _| line));
        self.count(RouteLabel::Pinned);
        Step::Done
    }

    /// Notes whether a request that was just sent may wait in the upstream, until all are answered.
    pub(super) fn set_blocking(&mut self, route: Route) {
        let alone = self.replies.waiting() == 1;
        let may_wait = route == Route::Pin(Pin::Blocking) || self.context.clients.is_paused();
        let blocking = (self.pin_blocking && !alone) || may_wait;
        if std::mem::replace(&mut self.pin_blocking, blocking) != blocking {
            self.replies.set_may_wait_for_ever(blocking);
            self.follow_window();
        }
    }

    /// As for any client; but one that has its own connection from the beginning may wait for its own writes.
    pub(super) fn pinned_route(&self, args: &Args<'_>) -> Route {
        match self.context.route(args) {
            Route::Pin(Pin::Wait) if self.room.tenant.pin_always => Route::Pin(Pin::Blocking),
            route => route,
        }
    }

    /// Does the upstream send what was not asked for, so that no reply can be put between?
    pub(super) fn is_raw(&self) -> bool {
        self.pin.as_ref().is_some_and(|pin| pin.raw.get())
    }

    /// Does the client wait for what may never come?
    pub(super) fn waits_for_ever(&self) -> bool {
        self.pin.is_some() && self.pin_blocking && self.replies.waiting() > 0
    }
}

/// What the reply to this request will say of the connection, where it is no error.
fn effect(args: &Args<'_>, route: Route) -> Effect {
    let name = |word| args.is(0, word);
    let family = |word| args.is(1, word);
    match args.len() {
        1 if name("MULTI") => Effect::Multi,
        1 if name("EXEC") => Effect::Exec,
        1 if name("DISCARD") => Effect::Discard,
        1 if name("UNWATCH") => Effect::Unwatch,
        _ if name("WATCH") => Effect::Watch,
        2 if name("SELECT") => match args.get(1).and_then(strict_integer).map(u32::try_from) {
            Some(Ok(db)) => Effect::Select(db),
            _ => Effect::None,
        },
        2 | 3 if name("AUTH") => Effect::Auth(Rc::new(Credentials::new(args.from(1).map(<[u8]>::to_vec).collect()))),
        1 if name("READONLY") => Effect::Keep(Kept::READONLY),
        1 if name("READWRITE") => Effect::Lift(Kept::READONLY),
        _ if name("HELLO") => match Hello::parse(args) {
            Some(Hello { proto: Some(proto), auth, .. }) => Effect::Hello(
                proto,
                auth.map(|(user, password)| Rc::new(Credentials::new(vec![user.to_vec(), password.to_vec()]))),
            ),
            Some(_) => Effect::None,
            None => Effect::Doubtful,
        },
        n if n >= 3 && name("CLIENT") => {
            let kept = match () {
                () if family("TRACKING") => Kept::TRACKING,
                () if family("NO-EVICT") => Kept::NO_EVICT,
                () if family("NO-TOUCH") => Kept::NO_TOUCH,
                () => return unknown(args, route),
            };
            if args.is(2, "OFF") { Effect::Lift(kept) } else { Effect::Keep(kept) }
        }
        _ if route == Route::Pin(Pin::Ending) => Effect::End,
        n => {
            let family = match () {
                () if name("SUBSCRIBE") || name("UNSUBSCRIBE") => Family::Channel,
                () if name("PSUBSCRIBE") || name("PUNSUBSCRIBE") => Family::Pattern,
                () if name("SSUBSCRIBE") || name("SUNSUBSCRIBE") => Family::Shard,
                () => return unknown(args, route),
            };
            Effect::Subscription(family, (n > 1).then_some(n - 1))
        }
    }
}

fn unknown(args: &Args<'_>, route: Route) -> Effect {
    if route == Route::Pin(Pin::Unknown) { Effect::Unknown(args.get(0).and_then(listed_name)) } else { Effect::None }
}

/// As Redis 7 words it.
fn subscribed_refusal(args: &Args<'_>) -> Vec<u8> {
    let name: Vec<u8> = args.get(0).unwrap_or_default().iter().map(u8::to_ascii_lowercase).collect();
    let name = String::from_utf8_lossy(&name).into_owned();
    format!(
        "-ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context\r\n"
    )
    .into_bytes()
}

/// On a connection whose replies are not one a request a refusal keeps its place only where the upstream gives it: as an
/// unknown command whose name says why.
pub(super) fn refused_by_upstream(args: &Args<'_>) -> BytesMut {
    let mut name: Vec<u8> =
        args.get(0).unwrap_or_default().iter().copied().filter(u8::is_ascii_graphic).take(32).collect();
    name.extend_from_slice(b" (not served on a connection that monitors, replicates or debugs)");
    let mut request = BytesMut::new();
    write::request(&mut request, &[&name]);
    request
}
