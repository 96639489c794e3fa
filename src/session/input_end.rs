//! A client that has closed its sending side while something on its own connection may wait for ever.

use super::core::Core;
use super::rewritten::request;
use crate::resp::{Proto, ReplyQueue};
use std::task::Context;

impl Core {
    /// May what was asked on its own connection stay without an answer for ever?
    pub(super) fn may_never_be_answered(&self) -> bool {
        self.is_raw() || self.waits_for_ever()
    }

    /// The client has closed its sending side, and all that can be handed over is. As Redis: what is answered without waiting
    /// is answered, and a command that waits ends with its client, for it must not take an element for one that may be gone.
    /// Which of the two it is the upstream knows: its connection's sending side is closed too. Where `more` stands behind,
    /// which needs replies first, that would cut it off: then the upstream is asked whether the command waits.
    pub(super) fn end_input(&mut self, cx: &mut Context<'_>, more: bool) {
        if !self.may_never_be_answered() || !self.has_room(cx) {
            return;
        }
        if more && !self.is_raw() && !self.waits_upstream(cx) {
            return;
        }
        if let Some(pin) = &self.pin {
            pin.end_input();
        }
    }

    /// Asks the upstream whether it lets this client's connection wait, until it does so or has answered. A command that was
    /// sent may not have arrived there yet, so "no" is asked again.
    fn waits_upstream(&mut self, cx: &Context<'_>) -> bool {
        let Some(id) = self.pin.as_ref().and_then(|pin| pin.upstream_id()) else { return false };
        // What it has answered may wait here for the client to read.
        if self.replies.unsent_bytes() > self.context.settings.output_pause_bytes {
            return false;
        }
        loop {
            let (_link, asked) = self.probe.get_or_insert_with(|| {
                let link = self.context.links.shared(&self.context.links.first_greeting(Proto::Resp2));
                let asked = ReplyQueue::new(usize::MAX);
                link.send(&request(&[b"CLIENT", b"LIST", b"ID", id.to_string().as_bytes()]), asked.ticket(), None);
                (link, asked)
            });
            asked.register(cx.waker());
            if asked.waiting() > 0 {
                return false;
            }
            let rows = asked.take_ready();
            self.probe = None;
            // Where it may not be asked it is taken to wait.
            if rows.starts_with(b"-") || has_flag_blocked(&rows) {
                return true;
            }
        }
    }
}

/// Does this row of CLIENT LIST tell of a client that waits in a command?
fn has_flag_blocked(row: &[u8]) -> bool {
    let flags = row.split(|&byte| byte == b' ').find_map(|field| field.strip_prefix(b"flags="));
    flags.is_some_and(|flags| flags.contains(&b'b'))
}
