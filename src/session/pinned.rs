//! A client with a connection of its own, which it keeps for its life; and requests too large to be kept, which need one.

use super::core::{Core, Lane, Phase, Stage, Step};
use crate::command::{Args, Pin, Route, route};
use crate::metrics::{ErrorKind, Route as RouteLabel};
use crate::resp::{ArgRange, Proto, ReplyQueue, write};
use crate::upstream::link::Watch;
use crate::upstream::stream::Greeting;
use bytes::{Bytes, BytesMut};
use std::task::Context;

const NO_MORE_PINNED: &[u8] =
    b"-OVERLOADED too many clients have a connection of their own (upstream.pinned_max); this was not sent\r\n";
const IN_MULTI: &[u8] = b"-ERR INV commands inside MULTI are not supported yet; EXEC will abort this transaction\r\n";
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
    /// Gives the client a connection of its own, with what it has set; the request is the first on it.
    pub(super) fn pin_and_dispatch(&mut self, frame: &[u8], args: &Args<'_>) -> Step {
        // A client's own credentials go first where the sidecar has none: without them the upstream may refuse a greeting.
        let silent = (args.is(0, "AUTH") || args.is(0, "HELLO")) && !self.context.links.has_credentials();
        match self.open_pin(silent) {
            Opened::Yes => {}
            Opened::NotYet => return Step::Blocked,
            Opened::Refused => return self.refuse(ErrorKind::Overloaded, NO_MORE_PINNED),
        }
        let step = self.dispatch_pinned(frame, args);
        if let (true, Some(pin)) = (silent, &self.pin) {
            let greeting = self.greeting(true);
            let says_hello = args.is(0, "HELLO");
            let nobody = ReplyQueue::new(usize::MAX);
            for request in greeting.follow_ups().iter().skip(usize::from(says_hello && greeting.proto == Proto::Resp3))
            {
                pin.send(request, nobody.ticket(), Watch::Must);
            }
        }
        step
    }

    fn greeting(&self, silent: bool) -> Greeting {
        Greeting { proto: self.client.proto, db: self.client.db, name: self.client.name.clone(), silent }
    }

    fn open_pin(&mut self, silent: bool) -> Opened {
        if self.pin.is_some() {
            return Opened::Yes;
        }
        if !self.enter(Lane::Pinned) {
            return Opened::NotYet;
        }
        match self.context.links.pinned(&self.replies, self.greeting(silent)) {
            Some(pin) => {
                self.pin = Some(pin);
                self.link = None;
                Opened::Yes
            }
            None => Opened::Refused,
        }
    }

    pub(super) fn dispatch_pinned(&mut self, frame: &[u8], args: &Args<'_>) -> Step {
        let Some(pin) = &self.pin else { return Step::Blocked };
        if pin.raw.get() {
            let refuse = Self::is_inventory(args) || matches!(self.pinned_route(args), Route::Refuse(_));
            if refuse {
                pin.send_more(&refused_by_upstream(args));
            } else {
                pin.send_more(frame);
            }
            self.count(RouteLabel::Pinned);
            return Step::Done;
        }
        let route = self.pinned_route(args);
        let refusal = match route {
            Route::Inventory => IN_MULTI,
            Route::Refuse(line) => line.as_bytes(),
            _ => return self.send_on_pin(frame, args, route),
        };
        // Whether this is inside MULTI is known when all replies are here.
        if self.lane == Lane::Pinned && self.replies.waiting() > 0 {
            return Step::Blocked;
        }
        let (in_multi, proto) = (pin.in_multi.get(), pin.proto.get());
        match route {
            _ if in_multi => self.refuse_in_multi(refusal),
            Route::Inventory => self.inventory(args, proto),
            _ => self.refuse(ErrorKind::Unsupported, refusal),
        }
    }

    fn send_on_pin(&mut self, frame: &[u8], args: &Args<'_>, route: Route) -> Step {
        if !self.enter(Lane::Pinned) {
            return Step::Blocked;
        }
        let Some(pin) = &self.pin else { return Step::Blocked };
        if route == Route::Pin(Pin::Stream) {
            // From here on replies are not one a request; those before must be paired first.
            if self.replies.waiting() > 0 {
                return Step::Blocked;
            }
            pin.raw.set(true);
            pin.send_more(frame);
        } else {
            pin.send(frame, self.replies.ticket(), watch(args));
            self.set_blocking(route);
        }
        self.count(RouteLabel::Pinned);
        Step::Done
    }

    /// A refusal of the sidecar's inside MULTI. The upstream is made to refuse something too, so that it refuses EXEC, as
    /// after any bad command.
    fn refuse_in_multi(&mut self, line: &[u8]) -> Step {
        let Some(pin) = &self.pin else { return Step::Blocked };
        let mut unknown = BytesMut::new();
        write::request(&mut unknown, &[UNKNOWN_COMMAND]);
        pin.send(&unknown, self.replies.ticket(), Watch::Replace(Bytes::copy_from_slice(line)));
        self.lane = Lane::Pinned;
        self.count(RouteLabel::Pinned);
        Step::Done
    }

    /// Notes whether a request that was just sent may wait in the upstream, until all are answered.
    fn set_blocking(&mut self, route: Route) {
        let alone = self.replies.waiting() == 1;
        self.pin_blocking = (self.pin_blocking && !alone) || route == Route::Pin(Pin::Blocking);
        self.replies.set_may_wait_for_ever(self.pin_blocking);
    }

    /// As for any client; but one that has its own connection from the beginning may wait for its own writes.
    fn pinned_route(&self, args: &Args<'_>) -> Route {
        match route(args, &self.context.knowledge.commands.load()) {
            Route::Refuse(_) if self.context.tenant.pin_always && (args.is(0, "WAIT") || args.is(0, "WAITAOF")) => {
                Route::Pin(Pin::Blocking)
            }
            route => route,
        }
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
        match self.open_pin(false) {
            Opened::NotYet => return Step::Blocked,
            Opened::Refused => {
                self.stage = Stage::Drop(NO_MORE_PINNED);
                return Step::Done;
            }
            Opened::Yes => {}
        }
        let Some(pin) = &self.pin else { return Step::Blocked };
        if route == Route::Pin(Pin::Stream) && !pin.raw.get() {
            if self.replies.waiting() > 0 {
                return Step::Blocked;
            }
            pin.raw.set(true);
        }
        if !pin.raw.get() {
            pin.send(b"", self.replies.ticket(), Watch::None);
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
        if done && let Stage::Drop(reply) = std::mem::replace(&mut self.stage, Stage::Frames) {
            if self.pin.as_ref().is_some_and(|pin| pin.in_multi.get()) {
                self.refuse_in_multi(reply);
            } else {
                self.refuse(ErrorKind::Unsupported, reply);
            }
        }
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

fn watch(args: &Args<'_>) -> Watch {
    let alone = args.len() == 1;
    if alone && args.is(0, "MULTI") {
        Watch::Multi
    } else if alone && args.is(0, "EXEC") {
        Watch::Exec
    } else if alone && args.is(0, "DISCARD") {
        Watch::Discard
    } else if alone && args.is(0, "RESET") {
        Watch::Reset
    } else if args.is(0, "HELLO") && args.is(1, "3") {
        Watch::Hello(Proto::Resp3)
    } else if args.is(0, "HELLO") && args.is(1, "2") {
        Watch::Hello(Proto::Resp2)
    } else {
        Watch::None
    }
}

/// On a connection whose replies are not one a request a refusal keeps its place only where the upstream gives it: as an
/// unknown command whose name says why.
fn refused_by_upstream(args: &Args<'_>) -> BytesMut {
    let mut name: Vec<u8> =
        args.get(0).unwrap_or_default().iter().copied().filter(u8::is_ascii_graphic).take(32).collect();
    name.extend_from_slice(b" (not served on a connection that subscribes, monitors or turned replies off)");
    let mut request = BytesMut::new();
    write::request(&mut request, &[&name]);
    request
}
