//! One connection of a link: writes what is handed over and reads replies, both at once.

mod delivery;
mod parts;

use super::{Link, OUT_PAUSE_BYTES, Scratch, Sharing};
use crate::error::{Kind, UpstreamError};
use crate::metrics::Direction;
use crate::resp::ReplyScanner;
use crate::upstream::stream::Stream;
use bytes::{Buf, BytesMut};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Interval;

/// An output buffer that grew past this is given back once it is empty and was no larger for a tick: memory that is taken
/// anew for each large request costs more than the request.
const KEEP_CAPACITY_BYTES: usize = 256 * 1024;
/// So much is read at once (see [`SCRATCH_BYTES`](super::SCRATCH_BYTES)) before others have their turn.
const READS_A_TURN: usize = 8;
/// So much is written at once, where the upstream takes it as fast as that.
const WRITTEN_A_TURN: usize = 512 * 1024;
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
    /// It is told otherwise while it comes.
    parts: Option<parts::Parts>,
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
            parts: None,
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
            if peak.saturating_sub(inner.out.len()) >= WRITTEN_A_TURN {
                cx.waker().wake_by_ref();
                break;
            }
            match Pin::new(&mut *stream).poll_write(cx, &inner.out) {
                Poll::Pending => break,
                Poll::Ready(Ok(0)) => return Err(UpstreamError::new(Kind::Io, "the connection takes no more bytes")),
                Poll::Ready(Ok(n)) => {
                    if n < inner.out.len() {
                        inner.split_partly_written(n);
                    }
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
        let pace = self.link.pace();
        for reads in 0.. {
            if self.is_paused() || pace.as_ref().is_some_and(|pace| !pace.may_read(cx)) {
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
            if let Some(pace) = &pace {
                pace.has_read(n);
            }
            self.deliver(&scratch[..kept + n])?;
        }
        Ok(())
    }
}
