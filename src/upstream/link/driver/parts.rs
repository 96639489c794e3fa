//! Large replies that are told otherwise: while they come, so that no more of one is kept, nor done at once, than what comes at
//! once. One that comes whole is looked into whole (see [`delivery`](super::delivery)).

use super::Driver;
use super::delivery::WHOLE_BYTES_MAX;
use crate::error::{Kind, UpstreamError};
use crate::upstream::link::state::{Effect, Exec, Telling};
use bytes::BytesMut;

/// The reply that is under way.
pub(super) enum Parts {
    Exec(Box<Exec>),
    Told(Telling),
}

impl Driver<'_> {
    /// A reply that must be looked into begins with these bytes, and more of it is to come. False: it is kept until it is whole.
    pub(super) fn begin_told(&mut self, part: &[u8]) -> bool {
        let mut inner = self.link.inner.borrow_mut();
        let Some(watch) = inner.slots.front_mut().and_then(|slot| slot.watch.as_mut()) else { return false };
        let mut remembered = self.link.remembered.borrow_mut();
        let is_subscribed = remembered.is_subscribed_resp2() || matches!(watch.effect, Effect::Subscription(..));
        if is_subscribed || self.scanner.is_push() || !matches!(part, [b'*' | b'%', ..]) {
            return false;
        }
        self.parts = match (&watch.effect, &watch.in_parts) {
            (Effect::Exec, _) if watch.rewrite.is_none() && remembered.has_marks() && part[0] == b'*' => {
                Some(Parts::Exec(Box::new(remembered.begin_exec())))
            }
            (Effect::None, Some(begin)) => {
                let telling = begin();
                // From here on the client has a part of it: where the rest does not come it cannot be told so.
                watch.rewrite = None;
                Some(Parts::Told(telling))
            }
            _ => None,
        };
        self.parts.is_some()
    }

    /// The next bytes of that reply, or the last ones.
    pub(super) fn deliver_told(&mut self, part: &[u8], done: bool) -> Result<(), UpstreamError> {
        let Some(parts) = &mut self.parts else { return Ok(()) };
        let mut told = BytesMut::with_capacity(part.len());
        let is_good = match parts {
            Parts::Exec(exec) => {
                let mut remembered = self.link.remembered.borrow_mut();
                exec.take(&mut remembered, part, |push| self.link.shown(push), &mut told).is_ok()
                    && exec.held_bytes() <= WHOLE_BYTES_MAX
            }
            Parts::Told(telling) => telling(part, &mut told),
        };
        if !done {
            if is_good && let Some(slot) = self.link.inner.borrow().slots.front() {
                slot.owed.first().part(&told);
            }
        } else {
            (self.parts, self.kept) = (None, None);
            let slot = self.link.inner.borrow_mut().pop_slot();
            match slot {
                Some(slot) if is_good => slot.owed.complete(&told),
                // What it has of the reply is never whole.
                Some(slot) => slot.owed.break_off(),
                None => {}
            }
        }
        if is_good {
            return Ok(());
        }
        Err(UpstreamError::new(Kind::Io, "a reply has not the form that it must have"))
    }
}
