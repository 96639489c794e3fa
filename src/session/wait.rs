//! WAIT and WAITAOF of clients whose writes went over shared links.

use super::core::{Core, Lane, Step};
use super::rewritten::request;
use crate::command::{Pin, Route};
use crate::config::Passthrough;
use crate::upstream::link::state::Watch;
use bytes::BytesMut;
use std::cell::Cell;
use std::rc::Rc;

const WAIT_NOT_KNOWN: &[u8] = b"-NOPERM what WAIT is to wait for is not known: this user needs the right to SPUBLISH inventory-sentinel, or session.pin = \"always\"\r\n";
/// A shard channel that nobody listens to, and no pattern finds.
const MARKER: &[u8] = b"inventory-sentinel";

impl Core {
    /// WAIT and WAITAOF wait for the last write of their connection, and the client's writes went over others. A write that
    /// changes nothing goes before them: with it they wait for all writes there were, the client's among them. From 7.2 on
    /// only what is propagated counts as a write, before that any command.
    pub(super) fn send_wait(&mut self, frame: &[u8]) -> Step {
        // What goes before it goes once.
        if !self.enter(Lane::Pinned) {
            return Step::Blocked;
        }
        let Some(pin) = &self.pin else { return Step::Blocked };
        let tenant = &self.room.tenant;
        // The upstream user of a tenant that is shut in may publish on channels of the tenant's alone.
        let is_shut_in = tenant.passthrough == Passthrough::Isolated && tenant.upstream.is_some();
        let marker = if is_shut_in { tenant.space.outside(MARKER) } else { BytesMut::from(MARKER) };
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
        pin.send(&request(&[b"SPUBLISH", &marker, b""]), self.replies.muted_ticket(), Watch::rewrite(publish));
        let wait = move |reply: &[u8], _| {
            BytesMut::from(if propagated.get() || reply.starts_with(b"-") { reply } else { WAIT_NOT_KNOWN })
        };
        self.send_watched(frame, Watch::rewrite(wait), Route::Pin(Pin::Blocking))
    }
}
