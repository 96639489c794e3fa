//! Requests too large to be kept: they go upstream as they come, over a connection of the client's own.

use super::core::{Core, Lane, Phase, Stage, Step};
use super::pinned::{NO_MORE_PINNED, Opened};
use crate::command::{Args, Local, Pin, Rewritten, Route};
use crate::config::Passthrough;
use crate::metrics::{ErrorKind, PinReason, Refused, Route as RouteLabel};
use crate::resp::ArgRange;
use crate::upstream::link::state::{Effect, Watch};
use bytes::Bytes;
use std::task::Context;

const NAME_TOO_LARGE: &[u8] = b"-ERR unknown command: its name is longer than any\r\n";
const MAY_NOT: &[u8] = b"-NOPERM this tenant may not run this command\r\n";
const CLIENTS_TOO_LARGE: &[u8] = b"-ERR the request is too large for a command about clients\r\n";
const WORDS_TOO_LARGE: &[u8] = b"-ERR a name or a password is too large\r\n";
/// Longer than any request of the inventory that its grammar allows.
const TOO_LARGE: &[u8] = b"-ERR the request is too large for a command of the inventory\r\n";

impl Core {
    /// A request that is longer is not kept whole. Of a tenant that is shut in all of it must be seen.
    pub(super) fn whole_bytes_max(&self) -> usize {
        let stream_bytes = self.context.settings.request_stream_bytes;
        if !self.is_gated {
            return stream_bytes;
        }
        let tenant = &self.room.tenant;
        let most = tenant.limits.request_bytes.unwrap_or(usize::MAX);
        if tenant.passthrough == Passthrough::Full { most.min(stream_bytes) } else { most }
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
    fn refused_large(&mut self, args: &Args<'_>, route: Route, bytes_at_least: usize) -> Option<&'static [u8]> {
        let tenant = &self.room.tenant;
        let may = {
            let mut commands = self.context.commands.borrow_mut();
            let commands = commands.load();
            (commands.facts().is_some() || !tenant.rights.need_facts()) && tenant.rights.may(args, commands).is_ok()
        };
        match route {
            _ if tenant.passthrough != Passthrough::Full => Some(super::gate::TOO_LARGE),
            _ if self.is_too_large(bytes_at_least) => Some(super::gate::TOO_LARGE),
            _ if !may => Some(MAY_NOT),
            _ if !tenant.live.takes_request(&tenant.limits) => Some(super::gate::TOO_OFTEN),
            Route::Local(Local::Auth | Local::Hello) => Some(WORDS_TOO_LARGE),
            Route::Inventory => Some(TOO_LARGE),
            Route::Refuse(line) => Some(line.as_bytes()),
            _ => None,
        }
    }

    /// A request too large to be kept began; `ranges` are its first arguments, the name among them where it is not itself
    /// too large. It is `bytes_at_least` long.
    pub(super) fn begin_stream(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        ranges: &[ArgRange],
        bytes_at_least: usize,
    ) -> Step {
        self.request_begins();
        let args = Args::new(bytes, ranges);
        let route = self.pinned_route(&args);
        let refusal = match route {
            _ if args.is_empty() => Some(NAME_TOO_LARGE),
            // The numbers in it are of the sidecar's clients, and upstream of others.
            Route::Rewritten(Rewritten::ClientList | Rewritten::ClientKill) => Some(CLIENTS_TOO_LARGE),
            _ if self.is_gated => self.refused_large(&args, route, bytes_at_least),
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
            pin.become_raw();
        }
        pin.is_awaited.set(false);
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
