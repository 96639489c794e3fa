//! One connection of a link: writes what is handed over, reads replies and gives each to the one it is for, both at once.

use super::{Link, OUT_PAUSE_BYTES, Scratch, Sharing, Watch};
use crate::error::{Kind, UpstreamError};
use crate::metrics::Direction;
use crate::resp::{Proto, ReplyScanner};
use crate::upstream::stream::Stream;
use bytes::{Buf, BytesMut};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Interval;

/// An output buffer that grew past this is given back once it is empty.
const KEEP_CAPACITY_BYTES: usize = 256 * 1024;
/// A push (an invalidation) is kept until it is whole, up to so many bytes.
const PUSH_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How often a link looks whether its upstream still answers.
const TICK: Duration = Duration::from_secs(1);

/// One connection's reading and writing.
pub(super) struct Driver<'l> {
    link: &'l Rc<Link>,
    scanner: ReplyScanner,
    /// The beginning of a reply's header line whose end is not here yet.
    rest: Vec<u8>,
    /// The push that is coming in.
    push: BytesMut,
    /// A byte came: the connection is of use.
    pub(super) lived: bool,
    tick: Interval,
    /// Ticks since a byte came while a reply was owed.
    silent_ticks: u32,
}

impl<'l> Driver<'l> {
    pub(super) fn new(link: &'l Rc<Link>) -> Self {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        Self {
            link,
            scanner: ReplyScanner::new(),
            rest: Vec::new(),
            push: BytesMut::new(),
            lived: false,
            tick,
            silent_ticks: 0,
        }
    }

    pub(super) fn mid_reply(&self) -> bool {
        self.scanner.mid_reply()
    }

    /// Ready when the connection is at its end, with the reason.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, stream: &mut Stream, scratch: &Scratch) -> Poll<UpstreamError> {
        self.link.inner.borrow_mut().waker = Some(cx.waker().clone());
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
        let Sharing::Shared { reply_timeout } = &self.link.sharing else { return None };
        if self.link.inner.borrow().slots.is_empty() {
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

    fn write(&mut self, cx: &mut Context<'_>, stream: &mut Stream) -> Result<(), UpstreamError> {
        let mut guard = self.link.inner.borrow_mut();
        let inner = &mut *guard;
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
        if inner.out.is_empty() && inner.out.capacity() > KEEP_CAPACITY_BYTES {
            inner.out = BytesMut::new();
        }
        if inner.out.len() < OUT_PAUSE_BYTES {
            inner.waiters.drain(..).for_each(Waker::wake);
        }
        Ok(())
    }

    fn read(&mut self, cx: &mut Context<'_>, stream: &mut Stream, scratch: &Scratch) -> Result<(), UpstreamError> {
        loop {
            if let Sharing::Exclusive { client, pause_bytes } = &self.link.sharing {
                // Its own client is slow: let the upstream wait, as it would for that client without a sidecar.
                if client.ready_bytes() > *pause_bytes {
                    return Ok(());
                }
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
    }

    /// Gives what came to those it is for.
    fn deliver(&mut self, bytes: &[u8]) -> Result<(), UpstreamError> {
        if self.link.raw.get() {
            if let Sharing::Exclusive { client, .. } = &self.link.sharing {
                client.push_unasked(bytes);
            }
            self.rest.clear();
            return Ok(());
        }
        let mut at = 0;
        while at < bytes.len() {
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

    fn deliver_part(&mut self, part: &[u8], done: bool) -> Result<(), UpstreamError> {
        let link = self.link;
        if self.scanner.is_push() {
            // Only a client's own connection asks for pushes; one that comes before a reply stands before it.
            // Whole, for a reply of the inventory may come between its parts.
            self.push.extend_from_slice(part);
            if done && let Sharing::Exclusive { client, .. } = &link.sharing {
                let push = std::mem::take(&mut self.push);
                match link.inner.borrow().slots.front() {
                    Some(slot) => slot.ticket.part(&push),
                    None => client.push_unasked(&push),
                }
            } else if done {
                self.push.clear();
            } else if self.push.len() > PUSH_BYTES_MAX {
                return Err(UpstreamError::new(Kind::Io, "a push of the upstream is too long"));
            }
            return Ok(());
        }
        if !done {
            let inner = link.inner.borrow();
            let Some(slot) = inner.slots.front() else { return self.unasked(part) };
            if !matches!(slot.watch, Watch::Replace(_)) {
                slot.ticket.part(part);
            }
            return Ok(());
        }
        let slot = link.inner.borrow_mut().slots.pop_front();
        let Some(slot) = slot else { return self.unasked(part) };
        let kind = self.scanner.kind();
        match slot.watch {
            Watch::None => {}
            Watch::Multi => link.in_multi.set(link.in_multi.get() || kind == Some(b'+')),
            Watch::Exec => link.in_multi.set(false),
            // Refused for another reason (LOADING, NOAUTH) it leaves the transaction open.
            Watch::Discard => link.in_multi.set(link.in_multi.get() && kind == Some(b'-')),
            Watch::Reset => {
                link.in_multi.set(false);
                link.proto.set(Proto::Resp2);
            }
            Watch::Hello(proto) => {
                if matches!(kind, Some(b'*' | b'%')) {
                    link.proto.set(proto);
                }
            }
            Watch::Must => {
                if kind == Some(b'-')
                    && let Sharing::Exclusive { client, .. } = &link.sharing
                {
                    client.break_off();
                }
            }
            Watch::Replace(reply) => {
                slot.ticket.complete(&reply);
                return Ok(());
            }
        }
        slot.ticket.complete(part);
        Ok(())
    }

    /// A reply that nobody asked for: on a shared link the pairing is lost, and so must be the connection.
    fn unasked(&self, part: &[u8]) -> Result<(), UpstreamError> {
        match &self.link.sharing {
            Sharing::Shared { .. } => {
                Err(UpstreamError::new(Kind::Io, "a reply without a request: the connection cannot be trusted"))
            }
            Sharing::Exclusive { client, .. } => {
                client.push_unasked(part);
                Ok(())
            }
        }
    }
}
