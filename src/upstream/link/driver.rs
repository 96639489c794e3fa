//! One connection of a link: writes what is handed over, reads replies and gives each to the one it is for, both at once.

use super::state::{Effect, Event, event, rewritten};
use super::{Link, OUT_PAUSE_BYTES, Scratch, Sharing, Slot};
use crate::error::{Kind, UpstreamError};
use crate::metrics::Direction;
use crate::resp::{ReplyQueue, ReplyScanner, Run};
use crate::upstream::stream::Stream;
use bytes::{Buf, BytesMut};
use std::borrow::Cow;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Interval;

/// An output buffer that grew past this is given back once it is empty and was no larger for a tick: memory that is taken
/// anew for each large request costs more than the request.
const KEEP_CAPACITY_BYTES: usize = 256 * 1024;
/// A frame that must be looked into is kept until it is whole, up to so many bytes: a message is a bulk of 512 MiB at most.
const WHOLE_BYTES_MAX: usize = 1024 * 1024 * 1024;
/// So much is read at once (see [`SCRATCH_BYTES`](super::SCRATCH_BYTES)) before others have their turn.
const READS_A_TURN: usize = 8;
/// How often a link looks whether its upstream still answers.
const TICK: Duration = Duration::from_secs(1);

/// One connection's reading and writing.
pub(super) struct Driver<'l> {
    link: &'l Rc<Link>,
    scanner: ReplyScanner,
    /// The beginning of a reply's header line whose end is not here yet.
    rest: Vec<u8>,
    /// A frame is coming in, and this is whether it is kept until it is whole.
    kept: Option<bool>,
    /// What is here of it.
    whole: BytesMut,
    /// A byte came: the connection is of use.
    pub(super) lived: bool,
    tick: Interval,
    /// Ticks since a byte came while a reply was owed.
    silent_ticks: u32,
    /// The sending side is closed.
    shut: bool,
    /// The most bytes that waited to be written since the last tick.
    out_peak: usize,
    /// It was more than is kept.
    out_large: bool,
}

impl<'l> Driver<'l> {
    pub(super) fn new(link: &'l Rc<Link>) -> Self {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        Self {
            link,
            scanner: ReplyScanner::new(),
            rest: Vec::new(),
            kept: None,
            whole: BytesMut::new(),
            lived: false,
            tick,
            silent_ticks: 0,
            shut: false,
            out_peak: 0,
            out_large: false,
        }
    }

    pub(super) fn mid_reply(&self) -> bool {
        self.scanner.mid_reply()
    }

    /// Ready when the connection is at its end, with the reason.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, stream: &mut Stream, scratch: &Scratch) -> Poll<UpstreamError> {
        self.link.inner.borrow_mut().wakeup.register(cx.waker());
        if self.link.is_closed() {
            return Poll::Ready(UpstreamError::new(Kind::Io, "closed"));
        }
        if let Err(error) = self.write(cx, stream) {
            return Poll::Ready(error);
        }
        if let Err(error) = self.read(cx, stream, scratch) {
            return Poll::Ready(error);
        }
        while self.tick.poll_tick(cx).is_ready() {
            if let Some(error) = self.on_tick() {
                return Poll::Ready(error);
            }
        }
        Poll::Pending
    }

    fn on_tick(&mut self) -> Option<UpstreamError> {
        self.shrink();
        let (reply_timeout, owes) = match &self.link.sharing {
            Sharing::Shared { reply_timeout } => (reply_timeout, !self.link.inner.borrow().slots.is_empty()),
            // It owes at least its end, and waits for nothing but a client that reads.
            Sharing::Exclusive { reply_timeout, .. } => (reply_timeout, self.shut && !self.is_paused()),
        };
        if !owes {
            self.silent_ticks = 0;
            return None;
        }
        self.silent_ticks += 1;
        (TICK * self.silent_ticks > *reply_timeout).then(|| {
            UpstreamError::new(
                Kind::Timeout,
                format!("{}: no reply within {reply_timeout:?}", self.link.target.address),
            )
        })
    }

    /// Gives a large output buffer back that was not needed since the last tick.
    fn shrink(&mut self) {
        let is_large = std::mem::take(&mut self.out_peak) > KEEP_CAPACITY_BYTES;
        if std::mem::replace(&mut self.out_large, is_large) && !is_large {
            let mut inner = self.link.inner.borrow_mut();
            if inner.out.is_empty() {
                inner.out = BytesMut::new();
            } else {
                self.out_large = true;
            }
        }
    }

    fn write(&mut self, cx: &mut Context<'_>, stream: &mut Stream) -> Result<(), UpstreamError> {
        let mut guard = self.link.inner.borrow_mut();
        let inner = &mut *guard;
        let peak = inner.out.len();
        while !inner.out.is_empty() {
            match Pin::new(&mut *stream).poll_write(cx, &inner.out) {
                Poll::Pending => break,
                Poll::Ready(Ok(0)) => return Err(UpstreamError::new(Kind::Io, "the connection takes no more bytes")),
                Poll::Ready(Ok(n)) => {
                    inner.out.advance(n);
                    inner.written += n as u64;
                    self.link.metrics.bytes[Direction::UpstreamOut].increment(n as u64);
                }
                Poll::Ready(Err(error)) => return Err(UpstreamError::new(Kind::Io, error.to_string())),
            }
        }
        if let Poll::Ready(Err(error)) = Pin::new(&mut *stream).poll_flush(cx) {
            return Err(UpstreamError::new(Kind::Io, error.to_string()));
        }
        if inner.out.is_empty() && self.link.input_ended() && !self.shut {
            match Pin::new(stream).poll_shutdown(cx) {
                Poll::Ready(Err(error)) => return Err(UpstreamError::new(Kind::Io, error.to_string())),
                shut => self.shut = shut.is_ready(),
            }
        }
        self.out_peak = self.out_peak.max(peak);
        if inner.out.len() < OUT_PAUSE_BYTES {
            inner.waiters.drain(..).for_each(Waker::wake);
        }
        Ok(())
    }

    /// Its own client is slow: let the upstream wait, as it would for that client without a sidecar.
    fn is_paused(&self) -> bool {
        let Sharing::Exclusive { client, pause_bytes, .. } = &self.link.sharing else { return false };
        client.borrow().as_ref().is_some_and(|client| client.ready_bytes() > *pause_bytes)
    }

    fn read(&mut self, cx: &mut Context<'_>, stream: &mut Stream, scratch: &Scratch) -> Result<(), UpstreamError> {
        for reads in 0.. {
            if self.is_paused() {
                return Ok(());
            }
            if reads == READS_A_TURN {
                cx.waker().wake_by_ref();
                return Ok(());
            }
            let mut scratch = scratch.borrow_mut();
            let kept = self.rest.len();
            if kept >= scratch.len() / 2 {
                // A header line longer than that is an error text or a number of absurd length.
                return Err(UpstreamError::new(Kind::Io, "a reply's header line is too long"));
            }
            scratch[..kept].copy_from_slice(&self.rest);
            let mut buf = ReadBuf::new(&mut scratch[kept..]);
            match Pin::new(&mut *stream).poll_read(cx, &mut buf) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Err(error)) => return Err(UpstreamError::new(Kind::Io, error.to_string())),
                Poll::Ready(Ok(())) => {}
            }
            let n = buf.filled().len();
            if n == 0 {
                return Err(UpstreamError::new(Kind::Io, "closed by the upstream"));
            }
            self.silent_ticks = 0;
            self.lived = true;
            self.link.metrics.bytes[Direction::UpstreamIn].increment(n as u64);
            self.deliver(&scratch[..kept + n])?;
        }
        Ok(())
    }

    /// Gives what came to those it is for.
    fn deliver(&mut self, bytes: &[u8]) -> Result<(), UpstreamError> {
        if self.link.raw.get() {
            if let Some(client) = self.client() {
                client.push_unasked(bytes);
            }
            self.rest.clear();
            return Ok(());
        }
        let mut at = 0;
        while at < bytes.len() {
            at += self.deliver_run(&bytes[at..]);
            if at == bytes.len() {
                break;
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

    /// Gives a run of short replies that are no errors, which answer requests of one client that came one after the other and
    /// that nobody watches, to that client in one piece. Returns how many bytes they are; 0 where there is none.
    fn deliver_run(&mut self, bytes: &[u8]) -> usize {
        if self.kept.is_some() || self.link.is_exclusive() {
            return 0;
        }
        let mut inner = self.link.inner.borrow_mut();
        let mut next = |scanner: &mut ReplyScanner, at: usize, run: Option<&Run>| {
            let slot = inner.slots.front()?;
            if slot.watch.is_some() || run.is_some_and(|run| !run.takes(&slot.ticket)) {
                return None;
            }
            let len = scanner.advance_short(&bytes[at..])?;
            Some((len, inner.slots.pop_front()?.ticket))
        };
        let mut at = 0;
        let Some((len, ticket)) = next(&mut self.scanner, at, None) else { return 0 };
        at += len;
        let mut run = Run::begin(ticket);
        while let Some((len, ticket)) = next(&mut self.scanner, at, Some(&run)) {
            at += len;
            run.take(ticket);
        }
        drop(inner);
        run.complete(&bytes[..at]);
        at
    }

    fn deliver_part(&mut self, part: &[u8], done: bool) -> Result<(), UpstreamError> {
        let keep = self.kept.unwrap_or_else(|| self.must_be_whole());
        self.kept = (!done).then_some(keep);
        if keep {
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
            let slot = self.link.inner.borrow_mut().slots.pop_front();
            return match slot {
                Some(slot) => self.conclude(slot, part),
                None => self.unasked(part),
            };
        }
        match self.link.inner.borrow().slots.front() {
            Some(slot) => slot.ticket.part(part),
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
            Effect::Exec => watch.rewrite.is_some() || self.link.remembered.borrow().has_marks(),
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
                    slot.ticket.aside(&frame);
                }
                if done && let Some(slot) = inner.slots.pop_front() {
                    slot.ticket.complete(b"");
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
                let slot = inner.slots.pop_front();
                drop(inner);
                match slot {
                    Some(slot) => self.conclude(slot, frame),
                    None => self.unasked(frame),
                }
            }
        }
    }

    /// The last bytes of the reply to a request, or all of them where they are to be looked into.
    fn conclude(&mut self, mut slot: Slot, bytes: &[u8]) -> Result<(), UpstreamError> {
        let kind = self.scanner.kind().unwrap_or_default();
        if !self.link.is_exclusive() && slot.watch.is_none() {
            match rewritten(None, slot.on_error.take(), bytes, self.link.greeting.proto) {
                Some(shown) => slot.ticket.complete(&shown),
                None => slot.ticket.complete(bytes),
            }
            return Ok(());
        }
        let mut remembered = self.link.remembered.borrow_mut();
        if remembered.queue(kind, &mut slot.watch) {
            slot.ticket.complete(bytes);
            return Ok(());
        }
        let Some(watch) = slot.watch.take() else {
            slot.ticket.complete(bytes);
            return Ok(());
        };
        if watch.effect == Effect::Exec && remembered.has_marks() {
            let shown = remembered.exec(bytes, |push| self.link.shown(push));
            drop(remembered);
            slot.ticket.complete(&shown);
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
        match rewritten(watch.rewrite, watch.error, bytes, proto) {
            Some(shown) => slot.ticket.complete(&shown),
            None => slot.ticket.complete(bytes),
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
            (Some(_), Some(slot)) => slot.ticket.aside(frame),
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
