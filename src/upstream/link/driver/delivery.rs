//! Gives each reply to the one it is for: in runs, in parts as they come, or whole where it must be looked into.

use super::Driver;
use crate::error::{Kind, UpstreamError};
use crate::resp::ReplyQueue;
use crate::upstream::link::state::{Effect, Event, event, rewritten};
use crate::upstream::link::{Sharing, Slot};
use std::borrow::Cow;
use std::rc::Rc;

/// A frame that must be looked into is kept until it is whole, up to so many bytes: a message is a bulk of 512 MiB at most.
pub(super) const WHOLE_BYTES_MAX: usize = 1024 * 1024 * 1024;

impl Driver<'_> {
    /// Gives what came to those it is for.
    pub(super) fn deliver(&mut self, bytes: &[u8]) -> Result<(), UpstreamError> {
        if self.link.raw.get() {
            if let Some(client) = self.client() {
                client.push_unasked(bytes);
            }
            self.rest.clear();
            return Ok(());
        }
        let mut at = 0;
        while at < bytes.len() {
            let taken = self.deliver_run(&bytes[at..]);
            if taken > 0 {
                at += taken;
                continue;
            }
            let advance = self
                .scanner
                .advance(&bytes[at..])
                .map_err(|error| UpstreamError::new(Kind::Io, format!("not a RESP reply: {error}")))?;
            if advance.take == 0 && !advance.done {
                break;
            }
            let part = &bytes[at..at + advance.take];
            at += advance.take;
            self.deliver_part(part, advance.done)?;
        }
        self.rest.clear();
        self.rest.extend_from_slice(&bytes[at..]);
        Ok(())
    }

    /// Gives short replies that are no errors, and answer requests of one client that came one after the other and that nobody
    /// watches, to that client in one piece. Returns how many bytes they are; 0 where there are none.
    fn deliver_run(&mut self, bytes: &[u8]) -> usize {
        if self.kept.is_some() || self.link.is_exclusive() {
            return 0;
        }
        let mut inner = self.link.inner.borrow_mut();
        let Some(slot) = inner.slots.front_mut().filter(|slot| slot.watch.is_none()) else { return 0 };
        let (count, taken) = self.scanner.advance_run(bytes, slot.owed.count());
        if count == slot.owed.count() {
            let slot = inner.slots.pop_front();
            drop(inner);
            if let Some(slot) = slot {
                slot.owed.complete(&bytes[..taken]);
            }
        } else if count > 0 {
            slot.owed.complete_first(count, &bytes[..taken]);
        }
        taken
    }

    fn deliver_part(&mut self, part: &[u8], done: bool) -> Result<(), UpstreamError> {
        if self.parts.is_some() {
            return self.deliver_told(part, done);
        }
        let keep = self.kept.unwrap_or_else(|| self.must_be_whole());
        self.kept = (!done).then_some(keep);
        if keep {
            if !done && self.whole.is_empty() && self.begin_told(part) {
                return self.deliver_told(part, done);
            }
            self.whole.extend_from_slice(part);
            if done {
                let whole = std::mem::take(&mut self.whole);
                return self.deliver_whole(&whole);
            }
            if self.whole.len() > WHOLE_BYTES_MAX {
                return Err(UpstreamError::new(Kind::Io, "a frame of the upstream is too long"));
            }
            return Ok(());
        }
        if done {
            let slot = self.link.inner.borrow_mut().pop_slot();
            return match slot {
                Some(slot) => self.conclude(slot, part, false),
                None => self.unasked(part),
            };
        }
        match self.link.inner.borrow().slots.front() {
            Some(slot) => slot.owed.first().part(part),
            None => return self.unasked(part),
        }
        Ok(())
    }

    /// Is the frame that begins one that is not simply the next part of what the client reads? A push is none: a reply of
    /// the inventory may come between its parts.
    fn must_be_whole(&self) -> bool {
        if self.scanner.is_push() {
            return true;
        }
        let inner = self.link.inner.borrow();
        let head = inner.slots.front();
        if self.is_error() && head.is_some_and(|slot| slot.on_error.is_some()) {
            return true;
        }
        let watch = head.and_then(|slot| slot.watch.as_deref());
        let is_array = self.scanner.kind() == Some(b'*');
        if self.link.is_exclusive() && is_array && self.link.remembered.borrow().is_subscribed_resp2() {
            return true;
        }
        let Some(watch) = watch else { return false };
        match watch.effect {
            Effect::Subscription(..) if is_array => true,
            Effect::Exec if self.link.remembered.borrow().has_marks() => true,
            _ => watch.rewrite.is_some() || (watch.error.is_some() && self.is_error()),
        }
    }

    fn is_error(&self) -> bool {
        matches!(self.scanner.kind(), Some(b'-' | b'!'))
    }

    fn deliver_whole(&mut self, frame: &[u8]) -> Result<(), UpstreamError> {
        let subscribed = self.link.remembered.borrow().is_subscribed_resp2();
        let mut inner = self.link.inner.borrow_mut();
        let head = inner.slots.front_mut();
        let mut subscribing = head.and_then(|slot| match slot.watch.as_deref_mut() {
            Some(watch) => match &mut watch.effect {
                Effect::Subscription(family, left) => Some((*family, left)),
                _ => None,
            },
            None => None,
        });
        let event = if self.scanner.is_push() || subscribed || subscribing.is_some() { event(frame) } else { None };
        match event {
            Some(Event::Acknowledged(family, count)) => {
                let before = self.link.remembered.borrow().subscriptions;
                self.link.remembered.borrow_mut().note(family, count);
                let Some((family, left)) = &mut subscribing else {
                    drop(inner);
                    return self.out_of_band(frame);
                };
                let still = left.get_or_insert_with(|| before.of(*family).max(1));
                *still -= 1;
                let done = *still == 0;
                if let (Some(slot), Some(frame)) = (inner.slots.front(), self.link.shown(frame)) {
                    slot.owed.first().aside(&frame);
                }
                if done && let Some(slot) = inner.pop_slot() {
                    slot.owed.complete(b"");
                }
                Ok(())
            }
            // An array of that form is a reply like any other where it answers a request and nothing is subscribed to.
            Some(Event::Message) if self.scanner.is_push() || subscribed => {
                drop(inner);
                self.out_of_band(frame)
            }
            _ if self.scanner.is_push() => {
                drop(inner);
                self.out_of_band(frame)
            }
            _ => {
                let slot = inner.pop_slot();
                drop(inner);
                match slot {
                    Some(slot) => self.conclude(slot, frame, true),
                    None => self.unasked(frame),
                }
            }
        }
    }

    /// The last bytes of the reply to a request, or all of them where they are to be looked into: what a part begins with says
    /// nothing of what the reply is.
    fn conclude(&mut self, mut slot: Slot, bytes: &[u8], looked_into: bool) -> Result<(), UpstreamError> {
        let kind = self.scanner.kind().unwrap_or_default();
        if !self.link.is_exclusive() && slot.watch.is_none() {
            let on_error = slot.on_error.take().filter(|_| looked_into);
            match rewritten(None, on_error, bytes, self.link.greeting.proto) {
                Some(shown) => slot.owed.complete(&shown),
                None => slot.owed.complete(bytes),
            }
            return Ok(());
        }
        let mut remembered = self.link.remembered.borrow_mut();
        if remembered.queue(kind, &mut slot.watch) {
            slot.owed.complete(bytes);
            return Ok(());
        }
        let Some(watch) = slot.watch.take() else {
            slot.owed.complete(bytes);
            return Ok(());
        };
        if watch.effect == Effect::Exec && remembered.has_marks() {
            let shown = remembered.exec(bytes, |push| self.link.shown(push));
            drop(remembered);
            slot.owed.complete(&shown);
            return Ok(());
        }
        if watch.effect == Effect::Script {
            let mut inner = self.link.inner.borrow_mut();
            inner.scripts = inner.scripts.saturating_sub(1);
        }
        let must = matches!(watch.effect, Effect::Must | Effect::Reset(_));
        remembered.apply(watch.effect, kind);
        let proto = remembered.greeting.proto;
        drop(remembered);
        let shown = if looked_into { rewritten(watch.rewrite, watch.error, bytes, proto) } else { None };
        match shown {
            Some(shown) => slot.owed.complete(&shown),
            None => slot.owed.complete(bytes),
        }
        if must && kind == b'-' {
            return Err(UpstreamError::new(Kind::Reply, "the upstream refused to make a connection what it was"));
        }
        Ok(())
    }

    fn client(&self) -> Option<Rc<ReplyQueue>> {
        match &self.link.sharing {
            Sharing::Exclusive { client, .. } => client.borrow().clone(),
            Sharing::Shared { .. } => None,
        }
    }

    /// A whole frame that answers no request; one that comes before a reply stands before it.
    fn out_of_band(&self, frame: &[u8]) -> Result<(), UpstreamError> {
        let told = self.link.redirect.get().and_then(|ids| redirect_is_broken(frame, ids));
        let Some(frame) = told.map(Cow::Owned).or_else(|| self.link.shown(frame)) else { return Ok(()) };
        let frame = &*frame;
        let inner = self.link.inner.borrow();
        match (self.client(), inner.slots.front()) {
            // Only a client's own connection asks for such.
            (None, _) if !self.link.is_exclusive() => {}
            (Some(_), Some(slot)) => slot.owed.first().aside(frame),
            (Some(client), None) => client.push_unasked(frame),
            // The connection is being RESET for its next client.
            (None, Some(_)) => {}
            (None, None) => return Err(UpstreamError::new(Kind::Io, "a frame that nobody asked for")),
        }
        Ok(())
    }

    /// A reply that nobody asked for: on a shared link the pairing is lost, and so must be the connection.
    fn unasked(&self, part: &[u8]) -> Result<(), UpstreamError> {
        match self.client() {
            // Whose it is nobody can tell.
            Some(_) if self.link.has_filter() => {
                Err(UpstreamError::new(Kind::Io, "a reply without a request to an isolated tenant"))
            }
            Some(client) => {
                client.push_unasked(part);
                Ok(())
            }
            None => Err(UpstreamError::new(Kind::Io, "a reply without a request: the connection cannot be trusted")),
        }
    }
}

/// The push that tells that the client to whom invalidations went is gone, with the id that this client knows it by. None: it
/// is another one.
fn redirect_is_broken(frame: &[u8], (upstream, client): (u64, u64)) -> Option<Vec<u8>> {
    let told = |id| format!(">2\r\n$21\r\ntracking-redir-broken\r\n:{id}\r\n").into_bytes();
    (frame == told(upstream)).then(|| told(client))
}
