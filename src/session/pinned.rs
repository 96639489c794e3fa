//! A client with a connection of its own, which it keeps while the upstream keeps state for it there; and requests too large
//! to be kept, which need one.

use super::core::{Core, Lane, Phase, Stage, Step};
use super::local::strict_integer;
use super::rewritten::request;
use crate::command::{Args, Hello, Local, Pin, Route};
use crate::metrics::{ErrorKind, PinReason, Route as RouteLabel};
use crate::resp::{ArgRange, write};
use crate::upstream::link::state::{Effect, Family, Kept, Rewrite, Watch};
use crate::upstream::stream::{Credentials, with_id};
use bytes::BytesMut;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;

const NO_MORE_PINNED: &[u8] =
    b"-OVERLOADED too many clients have a connection of their own (upstream.pinned_max); this was not sent\r\n";
const REPLY_IN_MULTI: &[u8] = b"-ERR CLIENT REPLY is not served inside MULTI; EXEC will abort this transaction\r\n";
const WAIT_IN_MULTI: &[u8] = b"-ERR WAIT and WAITAOF inside MULTI would not speak of this client's writes, which share a connection: set session.pin = \"always\" for clients that use them so\r\n";
const WAIT_NOT_KNOWN: &[u8] = b"-NOPERM what WAIT is to wait for is not known: this user needs the right to SPUBLISH inventory-sentinel, or session.pin = \"always\"\r\n";
/// A shard channel that nobody listens to, and no pattern finds.
const MARKER: &[u8] = b"inventory-sentinel";
/// No engine knows it.
const UNKNOWN_COMMAND: &[u8] = b"INVENTORY-SENTINEL.REFUSED";
const NAME_TOO_LARGE: &[u8] = b"-ERR unknown command: its name is longer than any\r\n";
/// Longer than any request of the inventory that its grammar allows.
const TOO_LARGE: &[u8] = b"-ERR the request is too large for a command of the inventory\r\n";

enum Opened {
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
                self.refuse(ErrorKind::Overloaded, NO_MORE_PINNED)
            }
        }
    }

    fn open_pin(&mut self, reason: PinReason) -> Opened {
        if self.pin.is_some() {
            return Opened::Yes;
        }
        if !self.enter(Lane::Pinned) {
            return Opened::NotYet;
        }
        let name = self.entry.state().name.clone();
        match self.context.links.pinned(&self.replies, &self.client.greeting, &name, reason) {
            Some(pin) => {
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
        if self.pin.is_none() && !matches!(self.open_pin(PinReason::State), Opened::Yes) {
            return;
        }
        if let Some(pin) = &self.pin {
            pin.remembered_mut().keep(Kept::TARGET);
        }
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
            || (self.context.tenant.pin_always && !pin.is_closed());
        if needed || pin.raw.get() {
            return false;
        }
        if !pin.ended_unused() {
            if pin.is_closed() || !pin.is_idle() || !pin.remembered().is_clean() {
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
            Route::Pin(Pin::Subscription) if self.replies.waiting() > 0 => return Step::Blocked,
            // From 7.2 on a refused AUTH is not answered while an earlier reply waits to be written.
            Route::Local(Local::Auth | Local::Hello) if self.replies.waiting() > 0 => return Step::Blocked,
            Route::Inventory | Route::Refuse(_) | Route::Pin(Pin::Wait) => {}
            Route::Rewritten(which) => match self.rewriting(which, frame, args) {
                Some((request, rewrite)) => {
                    let watch = Watch { effect: Effect::None, rewrite: Some(rewrite), hidden: false };
                    return self.send_watched(request.as_deref().unwrap_or(frame), Some(Box::new(watch)), route);
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
            Route::Inventory => self.inventory(args, proto),
            Route::Pin(Pin::Wait) if in_multi => self.refuse_in_multi(WAIT_IN_MULTI),
            Route::Pin(Pin::Wait) if !subscribed => self.send_wait(frame),
            Route::Refuse(line) if in_multi => self.refuse_in_multi(line.as_bytes()),
            Route::Refuse(line) => self.refuse(ErrorKind::Unsupported, line.as_bytes()),
            Route::Link | Route::Script | Route::Pin(_) | Route::Rewritten(_) => self.send_on_pin(frame, args, route),
        }
    }

    fn send_on_pin(&mut self, frame: &[u8], args: &Args<'_>, route: Route) -> Step {
        if !self.enter(Lane::Pinned) {
            return Step::Blocked;
        }
        let Some(pin) = &self.pin else { return Step::Blocked };
        if self.must_be_raw(args, route) {
            // From here on replies are not one a request; those before must be paired first.
            if self.replies.waiting() > 0 {
                return Step::Blocked;
            }
            pin.raw.set(true);
            pin.send_more(frame);
            self.count(RouteLabel::Pinned);
            return Step::Done;
        }
        self.send_watched(frame, self.watch(args, route), route)
    }

    fn send_watched(&mut self, frame: &[u8], watch: Option<Box<Watch>>, route: Route) -> Step {
        if !self.enter(Lane::Pinned) {
            return Step::Blocked;
        }
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
    fn watch(&self, args: &Args<'_>, route: Route) -> Option<Box<Watch>> {
        let effect = effect(args, route);
        let hello = if args.is(0, "HELLO") { Hello::parse(args) } else { None };
        let rewrite = hello.map(|hello| -> Rewrite {
            let (entry, name) = (Arc::clone(&self.entry), hello.name.map(<[u8]>::to_vec));
            Box::new(move |reply, _| {
                if let (Some(name), false) = (name, reply.starts_with(b"-")) {
                    entry.state().name = name;
                }
                with_id(reply, entry.id)
            })
        });
        (effect != Effect::None || rewrite.is_some()).then(|| Box::new(Watch { effect, rewrite, hidden: false }))
    }

    /// A command of the sidecar's own inside MULTI: the upstream queues it, and its answer stands in EXEC's.
    fn queue_local(&mut self, frame: &[u8], local: Local, args: &Args<'_>) -> Step {
        let Some(answer) = self.answer_of(local, args) else { return self.refuse_in_multi(REPLY_IN_MULTI) };
        let rewrite = move |reply: &[u8], _| if reply.starts_with(b"-") { BytesMut::from(reply) } else { answer };
        let Some(pin) = &self.pin else { return Step::Blocked };
        pin.send(frame, self.ticket(), Watch::rewrite(rewrite));
        self.lane = Lane::Pinned;
        self.count(RouteLabel::Pinned);
        Step::Done
    }

    /// A refusal of the sidecar's inside MULTI. The upstream is made to refuse something too, so that it refuses EXEC, as
    /// after any bad command.
    pub(super) fn refuse_in_multi(&mut self, line: &[u8]) -> Step {
        let Some(pin) = &self.pin else { return Step::Blocked };
        let mut unknown = BytesMut::new();
        write::request(&mut unknown, &[UNKNOWN_COMMAND]);
        let line = BytesMut::from(line);
        pin.send(&unknown, self.ticket(), Watch::rewrite(move |_, _| line));
        self.lane = Lane::Pinned;
        self.count(RouteLabel::Pinned);
        Step::Done
    }

    /// Notes whether a request that was just sent may wait in the upstream, until all are answered.
    fn set_blocking(&mut self, route: Route) {
        let alone = self.replies.waiting() == 1;
        let may_wait = route == Route::Pin(Pin::Blocking) || self.context.clients.is_paused();
        self.pin_blocking = (self.pin_blocking && !alone) || may_wait;
        self.replies.set_may_wait_for_ever(self.pin_blocking);
    }

    /// As for any client; but one that has its own connection from the beginning may wait for its own writes.
    fn pinned_route(&self, args: &Args<'_>) -> Route {
        match self.context.route(args) {
            Route::Pin(Pin::Wait) if self.context.tenant.pin_always => Route::Pin(Pin::Blocking),
            route => route,
        }
    }

    /// WAIT and WAITAOF wait for the last write of their connection, and the client's writes went over others. A write that
    /// changes nothing goes before them: with it they wait for all writes there were, the client's among them. From 7.2 on
    /// only what is propagated counts as a write, before that any command.
    fn send_wait(&mut self, frame: &[u8]) -> Step {
        let Some(pin) = &self.pin else { return Step::Blocked };
        let propagated = Rc::new(Cell::new(false));
        let (by_ping, by_publish) = (Rc::clone(&propagated), Rc::clone(&propagated));
        let counts_any =
            self.context.knowledge.engine.load().as_ref().as_ref().is_some_and(|engine| !engine.counts_only_writes());
        let ping = move |reply: &[u8], _| {
            by_ping.set(counts_any && !reply.starts_with(b"-"));
            BytesMut::new()
        };
        let publish = move |reply: &[u8], _| {
            by_publish.set(by_publish.get() || !reply.starts_with(b"-"));
            BytesMut::new()
        };
        pin.send(&request(&[b"PING"]), self.replies.muted_ticket(), Watch::rewrite(ping));
        pin.send(&request(&[b"SPUBLISH", MARKER, b""]), self.replies.muted_ticket(), Watch::rewrite(publish));
        let wait = move |reply: &[u8], _| {
            BytesMut::from(if propagated.get() || reply.starts_with(b"-") { reply } else { WAIT_NOT_KNOWN })
        };
        self.send_watched(frame, Watch::rewrite(wait), Route::Pin(Pin::Blocking))
    }

    /// A request too large to be kept began; `ranges` are its first arguments, the name among them where it is not itself
    /// too large.
    pub(super) fn begin_stream(&mut self, cx: &mut Context<'_>, bytes: &[u8], ranges: &[ArgRange]) -> Step {
        let args = Args::new(bytes, ranges);
        let route = self.pinned_route(&args);
        let refusal = match route {
            _ if args.is_empty() => Some(NAME_TOO_LARGE),
            Route::Inventory => Some(TOO_LARGE),
            Route::Refuse(line) => Some(line.as_bytes()),
            _ => None,
        };
        if let Some(refusal) = refusal {
            if self.is_raw() {
                // No reply can be put between what the upstream sends, and a frame this large cannot be renamed.
                self.phase = Phase::Finishing;
                return Step::Done;
            }
            if self.replies.waiting() > 0 {
                return Step::Blocked;
            }
            self.stage = Stage::Drop(refusal);
            return Step::Done;
        }
        if !self.enter(Lane::Pinned) || !self.has_room(cx) {
            return Step::Blocked;
        }
        match self.open_pin(PinReason::Large) {
            Opened::NotYet => return Step::Blocked,
            Opened::Refused => {
                self.stage = Stage::Drop(NO_MORE_PINNED);
                return Step::Done;
            }
            Opened::Yes => {}
        }
        let Some(pin) = &self.pin else { return Step::Blocked };
        if route == Route::Pin(Pin::Subscription) && !pin.raw.get() {
            // So many channels that they are not all known here.
            if self.replies.waiting() > 0 {
                return Step::Blocked;
            }
            pin.raw.set(true);
        }
        if !pin.raw.get() {
            // Of its arguments not all are known: what may leave state is taken to have left it.
            let effect = match route {
                Route::Link | Route::Script | Route::Pin(Pin::Blocking) => Effect::None,
                _ => Effect::Doubtful,
            };
            pin.send(b"", self.ticket(), Watch::effect(effect));
            self.set_blocking(route);
        }
        self.stage = Stage::Forward;
        self.count(RouteLabel::Pinned);
        Step::Done
    }

    /// The next bytes of a large request.
    pub(super) fn stream_on(&mut self, bytes: &[u8], done: bool) {
        if let (Stage::Forward, Some(pin)) = (&self.stage, &self.pin) {
            pin.send_more(bytes);
        }
        if !done {
            return;
        }
        if let Stage::Drop(reply) = std::mem::replace(&mut self.stage, Stage::Frames) {
            if self.pin.as_ref().is_some_and(|pin| pin.remembered().in_multi) {
                self.refuse_in_multi(reply);
            } else {
                self.refuse(ErrorKind::Unsupported, reply);
            }
        }
        self.request_is_over();
    }

    /// A large request broke off: what was forwarded of it will never be whole, so its connection is of no more use. But
    /// the replies before it are owed first. Returns whether they are here and the client was told.
    pub(super) fn end_broken_stream(&mut self) -> bool {
        let Stage::Broken(reply) = &self.stage else { return false };
        // Its own slot is the last one.
        if self.pin.is_some() && self.replies.waiting() > 1 {
            return false;
        }
        let reply = reply.clone();
        self.stage = Stage::Frames;
        if let Some(pin) = self.pin.take()
            && !pin.raw.get()
        {
            pin.abandon_last();
        }
        self.protocol_error(&reply);
        true
    }

    /// Does the upstream send what was not asked for, so that no reply can be put between?
    pub(super) fn is_raw(&self) -> bool {
        self.pin.as_ref().is_some_and(|pin| pin.raw.get())
    }

    /// Does the client wait for what may never come?
    pub(super) fn waits_for_ever(&self) -> bool {
        self.pin.is_some() && self.pin_blocking && self.replies.waiting() > 0
    }

    /// The client has closed its sending side: is there nothing that it could still wait for? A command that waits in the
    /// upstream must not take an element for a client that is gone.
    pub(super) fn ends_at_once(&self) -> bool {
        self.is_raw() || self.waits_for_ever()
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
                () => return unknown(route),
            };
            if args.is(2, "OFF") { Effect::Lift(kept) } else { Effect::Keep(kept) }
        }
        _ if route == Route::Pin(Pin::Ending) => Effect::End,
        n => {
            let family = match () {
                () if name("SUBSCRIBE") || name("UNSUBSCRIBE") => Family::Channel,
                () if name("PSUBSCRIBE") || name("PUNSUBSCRIBE") => Family::Pattern,
                () if name("SSUBSCRIBE") || name("SUNSUBSCRIBE") => Family::Shard,
                () => return unknown(route),
            };
            Effect::Subscription(family, (n > 1).then_some(n - 1))
        }
    }
}

fn unknown(route: Route) -> Effect {
    if route == Route::Pin(Pin::Unknown) { Effect::Unknown } else { Effect::None }
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
fn refused_by_upstream(args: &Args<'_>) -> BytesMut {
    let mut name: Vec<u8> =
        args.get(0).unwrap_or_default().iter().copied().filter(u8::is_ascii_graphic).take(32).collect();
    name.extend_from_slice(b" (not served on a connection that monitors, replicates or debugs)");
    let mut request = BytesMut::new();
    write::request(&mut request, &[&name]);
    request
}
