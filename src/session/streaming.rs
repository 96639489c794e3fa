//! Requests too large to be kept: they go upstream as they come, over a connection of the client's own.

use super::core::{Core, Lane, Phase, Stage, Step};
use super::pinned::{NO_MORE_PINNED, Opened};
use crate::command::{Args, Local, Pin, Rewritten, Route};
use crate::config::Passthrough;
use crate::metrics::{ErrorKind, PinReason, Refused, Route as RouteLabel};
use crate::resp::Pending;
use crate::tenant::isolation::{Back, Pieces, TooLong, begun};
use crate::upstream::link::state::{Effect, Watch};
use bytes::Bytes;
use std::task::Context;

const NAME_TOO_LARGE: &[u8] = b"-ERR unknown command: its name is longer than any\r\n";
const NAMES_TOO_LONG: &[u8] = b"-ERR the request is too long once its names bear the tenant's prefix\r\n";
pub(super) const MAY_NOT_BE_LARGE: &[u8] = b"-ERR the request is too large for this command\r\n";
const MAY_NOT: &[u8] = b"-NOPERM this tenant may not run this command\r\n";
const CLIENTS_TOO_LARGE: &[u8] = b"-ERR the request is too large for a command about clients\r\n";
const WORDS_TOO_LARGE: &[u8] = b"-ERR a name or a password is too large\r\n";
/// Longer than any request of the inventory that its grammar allows.
const TOO_LARGE: &[u8] = b"-ERR the request is too large for a command of the inventory\r\n";

impl Core {
    /// A request that is longer is not kept whole, unless it [must be](Self::must_see_whole).
    pub(super) fn whole_bytes_max(&self) -> usize {
        let stream_bytes = self.context.settings.request_stream_bytes;
        if !self.is_gated {
            return stream_bytes;
        }
        let most = self.room.tenant.limits.request_bytes.unwrap_or(usize::MAX);
        // Before it has said who it is nothing of it goes anywhere.
        if self.is_known() { most.min(stream_bytes) } else { most }
    }

    /// Its tenant is not shut in, or it has none.
    fn passes_all(&self) -> bool {
        !self.is_gated || self.room.tenant.passthrough == Passthrough::Full
    }

    /// Of a tenant that is shut in, a whole request that is not to be encoded and handed over in one go: that takes as long as it
    /// is large, and for a while three times the memory.
    pub(super) fn is_large(&self, frame: &[u8]) -> bool {
        frame.len() > self.context.settings.request_stream_bytes
            && self.is_at_hand
            && !self.passes_all()
            && self.is_known()
    }

    /// May a [large](Self::is_large) request go on now? Where not, the session is woken when it may. It is judged once: so it is not
    /// before all is here that it might have to wait for then.
    pub(super) fn may_go_in_pieces(&mut self, cx: &mut Context<'_>) -> bool {
        self.replies.waiting() == 0 && self.enter(Lane::Pinned) && self.has_room(cx) && self.room_upstream() > 0
    }

    /// Of a large request these arguments are here, and all of it must be: where its names are cannot be told before.
    pub(super) fn must_see_whole(&self, args: &Args<'_>, pending: Pending) -> bool {
        if self.passes_all() || args.is_empty() {
            return false;
        }
        match self.pinned_route(args) {
            Route::Link | Route::Pin(Pin::Blocking) => self.begun(args, pending).is_none(),
            Route::Local(_) | Route::Rewritten(_) | Route::Inventory | Route::Refuse(_) => false,
            Route::Script | Route::Pin(_) => true,
        }
    }

    /// How it goes on then. None: it must be seen whole.
    fn begun(&self, args: &Args<'_>, pending: Pending) -> Option<Pieces> {
        let tenant = &self.room.tenant;
        if tenant.passthrough != Passthrough::Isolated || super::gate::is_for_the_sidecar(args) {
            return None;
        }
        begun(args, pending.args_declared, &tenant.space, self.context.commands.borrow_mut().load())
    }

    /// Longer than a request of this tenant's may be. How long it is may be seen when some of it went upstream already.
    pub(super) fn is_too_large(&self, bytes_at_least: usize) -> bool {
        self.is_gated && self.room.tenant.limits.request_bytes.is_some_and(|most| bytes_at_least > most)
    }

    /// A large request turned out too large on its way: what is upstream of it is never executed, for it will not be whole.
    pub(super) fn break_too_large(&mut self) {
        self.room.own.metrics.refused(Refused::Overloaded).increment(1);
        self.stage = Stage::Broken(Bytes::from_static(super::gate::TOO_LARGE));
    }

    /// Of a tenant's client, a request too large to be kept.
    fn refused_large(&mut self, args: &Args<'_>, route: Route, pending: Pending) -> Option<&'static [u8]> {
        let Pending { args_declared, bytes_at_least, .. } = pending;
        let (tenant, passes_all) = (&self.room.tenant, self.passes_all());
        let may = {
            let mut commands = self.context.commands.borrow_mut();
            let commands = commands.load();
            (commands.facts().is_some() || !tenant.rights.need_facts()) && tenant.rights.may(args, commands).is_ok()
        };
        match route {
            _ if self.is_too_large(bytes_at_least) => Some(super::gate::TOO_LARGE),
            _ if !may => Some(MAY_NOT),
            Route::Pin(Pin::Transaction) if args_declared > super::gate::WATCHED_MAX => {
                Some(super::gate::TOO_MANY_WATCHED)
            }
            // What is asked again because it had to wait was counted already.
            _ if !self.is_counted && !tenant.live.takes_request(&tenant.limits) => Some(super::gate::TOO_OFTEN),
            Route::Local(Local::Auth | Local::Hello) => Some(WORDS_TOO_LARGE),
            Route::Inventory => Some(TOO_LARGE),
            Route::Refuse(line) => Some(line.as_bytes()),
            _ if !passes_all && is_never_large(route) => Some(MAY_NOT_BE_LARGE),
            _ => {
                self.is_counted = true;
                None
            }
        }
    }

    /// A request too large to be kept began; `args` are its first arguments, the name among them where it is not itself
    /// too large.
    pub(super) fn begin_stream(&mut self, cx: &mut Context<'_>, args: &Args<'_>, pending: Pending) -> Step {
        self.request_begins();
        let step = self.begin_to_stream(cx, args, pending);
        self.is_counted &= matches!(step, Step::Blocked);
        step
    }

    fn begin_to_stream(&mut self, cx: &mut Context<'_>, args: &Args<'_>, pending: Pending) -> Step {
        let route = self.pinned_route(args);
        let refusal = match route {
            _ if args.is_empty() => Some(NAME_TOO_LARGE),
            // The numbers in it are of the sidecar's clients, and upstream of others.
            Route::Rewritten(Rewritten::ClientList | Rewritten::ClientKill) => Some(CLIENTS_TOO_LARGE),
            _ if self.is_gated => self.refused_large(args, route, pending),
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
            self.end_unguarded(route);
            return Step::Done;
        }
        if !self.enter(Lane::Pinned) || !self.has_room(cx) {
            return Step::Blocked;
        }
        match self.open_pin(PinReason::Large) {
            Opened::NotYet => return Step::Blocked,
            Opened::Refused => {
                self.stage = Stage::Drop(NO_MORE_PINNED);
                self.end_unguarded(route);
                return Step::Done;
            }
            Opened::Yes => {}
        }
        // Ready to be sent where it must be changed: else as it comes.
        let pieces = if self.passes_all() {
            None
        } else {
            let pieces = match self.begun(args, pending) {
                Some(pieces) => pieces,
                None if route == Route::Local(Local::Ping) => Pieces::unchanged(),
                None => {
                    self.stage = Stage::Drop(MAY_NOT_BE_LARGE);
                    self.end_unguarded(route);
                    return Step::Done;
                }
            };
            self.back = Some(Back::AsIs);
            Some(Box::new(pieces))
        };
        let Some(pin) = &self.pin else { return Step::Blocked };
        if route == Route::Pin(Pin::Subscription) && !pin.raw.get() {
            // So many channels that they are not all known here.
            if self.replies.waiting() > 0 {
                return Step::Blocked;
            }
            pin.become_raw();
        }
        pin.is_awaited.set(false);
        if !pin.raw.get() {
            // Of its arguments not all are known: what may leave state is taken to have left it.
            let effect = match route {
                Route::Link | Route::Script | Route::Pin(Pin::Blocking) => Effect::None,
                _ => Effect::Doubtful,
            };
            let watch = self.with_way_back(Watch::effect(effect));
            let ticket = self.ticket();
            if let Some(pin) = &self.pin {
                pin.send(b"", ticket, watch);
            }
            self.set_blocking(route);
        }
        self.stage = Stage::Forward(pieces);
        self.count(RouteLabel::Pinned);
        Step::Done
    }

    /// A large WATCH is refused: what it was to guard must not be executed without it. So its client has its last reply.
    fn end_unguarded(&mut self, route: Route) {
        if route == Route::Pin(Pin::Transaction) && !self.is_raw() {
            self.stream_on(b"", true);
            self.phase = Phase::Finishing;
        }
    }

    /// A large request that is here whole and was judged: it goes on piece by piece too, in place of its own bytes.
    pub(super) fn dispatch_in_pieces(&mut self, args: &Args<'_>, pieces: Box<Pieces>) -> Step {
        self.note_command(args);
        let step = self.send_in_pieces(args);
        match step {
            Step::Blocked => {}
            Step::Done if self.back.take().is_some() => self.request_is_over(),
            Step::Done => self.stage = Stage::Forward(Some(pieces)),
        }
        step
    }

    /// Hands over all of it but its bytes. What [`Core::back`] is then was not sent.
    fn send_in_pieces(&mut self, args: &Args<'_>) -> Step {
        let route = self.pinned_route(args);
        match self.open_pin(PinReason::Large) {
            Opened::Yes => {}
            Opened::NotYet => return Step::Blocked,
            Opened::Refused => {
                if route == Route::Pin(Pin::Transaction) {
                    // What it was to guard must not be executed without it.
                    self.phase = Phase::Finishing;
                }
                self.room.own.metrics.refused(Refused::Overloaded).increment(1);
                return self.refuse(ErrorKind::Overloaded, NO_MORE_PINNED);
            }
        }
        let back = self.back.clone();
        if route == Route::Pin(Pin::Subscription)
            && let Some(step) = self.refuse_subscription(args)
        {
            self.back = back;
            return step;
        }
        let watch = self.watch(args, route);
        let watch = self.with_way_back(watch);
        let step = self.send_watched(b"", watch, route);
        if let Some(pin) = &self.pin {
            pin.is_awaited.set(false);
        }
        step
    }

    /// The next bytes of a large request.
    pub(super) fn stream_on(&mut self, bytes: &[u8], done: bool) {
        match (&mut self.stage, &self.pin) {
            (Stage::Forward(None), Some(pin)) => pin.send_more(bytes),
            (Stage::Forward(Some(pieces)), Some(pin)) => {
                if let Err(TooLong) = pin.send_more_by(|out| pieces.write(bytes, out)) {
                    self.stage = Stage::Broken(Bytes::from_static(NAMES_TOO_LONG));
                    return;
                }
            }
            _ => {}
        }
        if !done {
            return;
        }
        if let Stage::Drop(reply) = std::mem::replace(&mut self.stage, Stage::Frames) {
            let (kind, reason) = match reply {
                _ if reply.starts_with(b"-OVERLOADED ") => (ErrorKind::Overloaded, Some(Refused::Overloaded)),
                _ if reply.starts_with(b"-NOPERM ") => (ErrorKind::Refused, Some(Refused::NoPerm)),
                _ => (ErrorKind::Unsupported, None),
            };
            if let Some(reason) = reason {
                self.room.own.metrics.refused(reason).increment(1);
            }
            if self.pin.as_ref().is_some_and(|pin| pin.remembered().in_multi) {
                self.refuse_in_multi(reply);
            } else {
                self.refuse(kind, reply);
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
}

/// Of an isolated tenant: what the sidecar answers, or tells otherwise, is asked for in few words.
pub(super) fn is_never_large(route: Route) -> bool {
    match route {
        Route::Local(local) => local != Local::Ping,
        Route::Rewritten(_) | Route::Pin(Pin::Wait | Pin::Ending) => true,
        _ => false,
    }
}
