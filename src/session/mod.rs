//! One client: reads its requests, sends each its way, writes its replies in order.
//!
//! A session is one task that polls everything itself: its socket, its replies, what it waits for. It never blocks on an
//! upstream, and nothing it hands over is cancelled when it ends: what is owed to a client that is gone is thrown away by
//! whoever brings it.

mod admission;
mod again;
mod client_rows;
pub mod clients;
mod core;
mod dispatch;
mod frames;
mod gate;
mod held;
mod input_end;
mod introspection;
mod last_command;
mod local;
mod own_keys;
mod pinned;
mod rewritten;
pub mod room;
mod runs;
mod simple_ways;
mod streaming;
mod subscribing;
mod transaction;
mod turns;
mod wait;
pub mod walks;

use self::clients::ClientEntry;
use self::core::{Core, Phase, Stage};
use self::held::Held;
use self::room::Own;
use self::runs::Simple;
use crate::memory::drop_large;
use crate::metrics::{Direction, ErrorKind, ErrorOrigin};
use crate::resp::{ReplyQueue, RequestLimits, RequestScanner};
use crate::upstream::stream::Stream;
use bytes::{Buf, Bytes, BytesMut};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::Sleep;

pub use self::core::{SessionContext, SessionSettings};

/// While requests wait for earlier ones to be answered, so many bytes more are read, so that the client's end is seen.
const BLOCKED_BYTES_MAX: usize = 64 * 1024;
/// How long a client that is to be closed may take to read its last replies.
const LINGER: Duration = Duration::from_millis(500);

struct Session {
    core: Core,
    scanner: RequestScanner,
    simple: Simple,
    stream: Stream,
    /// What was read and not taken yet: part of a frame, or frames that must wait.
    unread: BytesMut,
    /// `unread` begins with a whole frame that must wait.
    blocked: bool,
    /// `unread` may have whole frames that are not looked at before the tenant's next turn.
    waits_its_turn: bool,
    /// Of a large request that is not kept: how much of it has come.
    streamed: usize,
    /// The large request at hand must be seen whole, and that is not asked again whenever more of it comes.
    kept_whole: bool,
    /// It is whole, and that what it waits for is not here is seen without looking at it again.
    waits_whole: bool,
    /// Runs while the client has not said who it is.
    unknown: Option<Pin<Box<Sleep>>>,
    /// Runs while the client has too much unsent and takes nothing.
    stall: Option<Pin<Box<Sleep>>>,
    /// What its tenant's memory has of it.
    held: Held,
}

/// Serves one client until its end. `replies` is the client's queue, which the caller may wake; `entry` what others see of
/// it.
pub async fn serve(context: Rc<SessionContext>, stream: Stream, entry: Arc<ClientEntry>, replies: Rc<ReplyQueue>) {
    let id = entry.key;
    let mut session = Session {
        core: Core::new(context, Rc::clone(&replies), entry),
        scanner: RequestScanner::new(RequestLimits::default()),
        simple: Simple::default(),
        stream,
        unread: BytesMut::new(),
        blocked: false,
        waits_its_turn: false,
        streamed: 0,
        kept_whole: false,
        waits_whole: false,
        unknown: None,
        stall: None,
        held: Held::default(),
    };
    session.core.come_in();
    session.core.publish_client();
    poll_fn(|cx| {
        session.core.entry.set_waker(cx.waker());
        Poll::Ready(())
    })
    .await;
    let end = poll_fn(|cx| session.poll(cx)).await;
    session.give_up(&replies);
    if let Err(error) = &end {
        let tenant = &*session.core.room.tenant.name;
        tracing::debug!(client = id, tenant, %error, "a client's connection ended");
    }
    session.held = Held::default();
    if session.core.told_apart && session.core.pin.is_none() {
        // In a box: it would be part of each client's memory for as long as it is served.
        Box::pin(leave_in_turn(Rc::clone(&session.core.room.own))).await;
    }
    let Session { core, stream, .. } = session;
    // The pinned connection goes first: a client that is gone must not leave a command waiting upstream.
    drop(core);
    if end.is_ok() {
        linger(stream).await;
    }
}

/// Thousands of a tenant's clients may go at once, and each takes some system calls.
async fn leave_in_turn(own: Rc<Own>) {
    if let Ok(_turn) = own.ends.acquire().await {
        tokio::task::yield_now().await;
    }
}

/// Closes so that the client can read its last replies: closing with bytes unread would make the kernel throw them away.
pub async fn linger(mut stream: Stream) {
    if stream.shutdown().await.is_err() {
        return;
    }
    // The buffer is on the stack: in the task it would be part of each client's memory for as long as it is served.
    let until_its_end = poll_fn(|cx| {
        let mut rest = [0; 4096];
        loop {
            let mut buf = ReadBuf::new(&mut rest);
            match Pin::new(&mut stream).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {}
                ended => return ended.map(drop),
            }
        }
    });
    let _ = tokio::time::timeout(LINGER, until_its_end).await;
}

impl Session {
    /// What is here for the client and of it is of no more use. It may be gigabytes.
    fn give_up(&mut self, replies: &ReplyQueue) {
        let (unsent, unread) = (replies.take_ready(), std::mem::take(&mut self.unread));
        replies.close();
        drop_large(unsent.len(), unsent);
        drop_large(unread.len(), unread);
    }

    /// Ready when the session is over: `Err` where the connection is of no more use.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut result = self.advance(cx);
        if self.core.told_apart && result.is_pending() {
            result = self.poll_held(cx);
        }
        self.core.publish();
        result
    }

    fn advance(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut drained = false;
        loop {
            self.core.replies.register(cx.waker());
            if self.core.replies.overflowed() {
                return Poll::Ready(Err(self.too_slow()));
            }
            if self.core.entry.is_killed() {
                return Poll::Ready(Err(io::Error::other("killed by CLIENT KILL")));
            }
            if self.core.entry.is_finished() {
                self.core.phase = Phase::Finishing;
            }
            if self.core.replies.broken_off() || self.core.context.closing.get() {
                self.core.phase = Phase::Finishing;
                if self.core.waits_for_ever() && self.core.replies.ready_bytes() == 0 {
                    return Poll::Ready(Ok(()));
                }
            }
            self.core.follow_tenants();
            if self.core.is_evicted && self.core.waits_for_ever() && self.core.replies.ready_bytes() == 0 {
                return Poll::Ready(Ok(()));
            }
            if !self.core.is_known() && self.is_unknown_for_too_long(cx) {
                return Poll::Ready(Err(io::Error::other("it did not say in time who it is")));
            }
            self.core.keep_wanted_pin();
            let mut progress = self.core.poll_wait(cx) | self.core.release_pin();
            progress |= self.take_unread(cx) | self.break_off_stream() | self.core.end_broken_stream();
            progress |= self.write(cx)?;
            if self.is_stalled(cx) {
                return Poll::Ready(Err(self.too_slow()));
            }
            if self.is_over() {
                return Poll::Ready(Ok(()));
            }
            // Once it had no more the task is woken when more comes: asking again in the same poll finds nothing.
            let mut only_waits = false;
            while !drained && self.may_read(cx) {
                match self.read(cx) {
                    Poll::Ready(read) => {
                        progress |= read?;
                        only_waits = self.only_waits();
                        if !only_waits {
                            break;
                        }
                    }
                    Poll::Pending => drained = true,
                }
            }
            if !progress || (drained && (only_waits || self.only_waits())) {
                if self.core.phase == Phase::Ended {
                    self.core.end_input(cx, self.blocked);
                }
                self.core.learn_upstream_id(cx);
                return Poll::Pending;
            }
        }
    }

    /// Another round would find nothing but the socket's next bytes, or a reply, which wakes the session. So it is with
    /// nearly every request.
    fn only_waits(&self) -> bool {
        let core = &self.core;
        core.phase == Phase::Open
            && matches!(core.stage, Stage::Frames)
            && self.unread.is_empty()
            && core.pin.is_none()
            && core.wait.is_none()
            && !core.entry.is_wanted()
            && core.replies.ready_bytes() == 0
            && !core.replies.overflowed()
    }

    fn is_over(&self) -> bool {
        let core = &self.core;
        let owes_nothing = core.replies.waiting() == 0 && core.replies.unsent_bytes() == 0;
        match core.phase {
            Phase::Open => false,
            // A raw connection's end is its last word.
            Phase::Ended => {
                owes_nothing && core.wait.is_none() && !self.blocked && !self.waits_its_turn && !core.is_raw()
            }
            Phase::Finishing => owes_nothing && (core.wait.is_none() || core.replies.broken_off()),
        }
    }

    /// It has more unsent than it may, and has taken nothing of it for too long. Its socket takes nothing now, for it was
    /// just tried.
    fn is_stalled(&mut self, cx: &mut Context<'_>) -> bool {
        let (settings, replies) = (&self.core.context.settings, &self.core.replies);
        // What waits for an earlier reply is not the client's fault.
        if replies.unsent_bytes() <= settings.output_close_bytes || replies.ready_bytes() == 0 {
            self.stall = None;
            return false;
        }
        let stall = self.stall.get_or_insert_with(|| Box::pin(tokio::time::sleep(settings.output_stall)));
        stall.as_mut().poll(cx).is_ready()
    }

    /// A client that must say who it is has so long for it.
    fn is_unknown_for_too_long(&mut self, cx: &mut Context<'_>) -> bool {
        let most = self.core.context.settings.auth_timeout;
        let unknown = self.unknown.get_or_insert_with(|| Box::pin(tokio::time::sleep(most)));
        unknown.as_mut().poll(cx).is_ready()
    }

    fn too_slow(&self) -> io::Error {
        self.core.context.metrics.error(ErrorOrigin::Client, ErrorKind::SlowReader);
        let tenant = &*self.core.room.tenant.name;
        tracing::warn!(client = self.core.entry.id(), tenant, "closed a client that does not read its replies");
        io::Error::other("the client does not read its replies")
    }

    /// Returns whether a byte was written.
    fn write(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let pause = self.core.context.settings.output_pause_bytes;
        let before = if self.core.pin.is_some() { self.core.replies.unsent_bytes() } else { 0 };
        let mut wrote = 0;
        loop {
            let stream = &mut self.stream;
            let taken = self.core.replies.with_ready(|ready| match Pin::new(stream).poll_write(cx, ready) {
                Poll::Ready(Ok(0)) => Err(io::Error::from(io::ErrorKind::WriteZero)),
                Poll::Ready(taken) => taken,
                Poll::Pending => Ok(0),
            })?;
            if taken == 0 {
                break;
            }
            wrote += taken;
        }
        if let Poll::Ready(flushed) = Pin::new(&mut self.stream).poll_flush(cx) {
            flushed?;
        }
        if wrote > 0 {
            self.core.context.metrics.bytes[Direction::ClientOut].increment(wrote as u64);
            self.core.bytes_out += wrote as u64;
            self.stall = None;
        }
        if let Some(pin) = &self.core.pin
            && before > pause
            && self.core.replies.unsent_bytes() <= pause
        {
            pin.wake(); // it had stopped reading for this client
        }
        Ok(wrote > 0)
    }

    fn may_read(&self, cx: &mut Context<'_>) -> bool {
        let core = &self.core;
        core.phase == Phase::Open
            && core.wait.is_none()
            && !self.waits_its_turn
            && !matches!(core.stage, Stage::Broken(_))
            && (!self.blocked || self.unread.len() < self.blocked_bytes_max())
            && core.replies.unsent_bytes() <= core.context.settings.output_pause_bytes
            && core.has_room(cx)
    }

    /// Behind a command that may wait for ever more is read: only reading tells that the client is gone, and the command
    /// must not take an element for a client that is.
    fn blocked_bytes_max(&self) -> usize {
        if self.core.pin_blocking { self.core.context.settings.output_pause_bytes } else { BLOCKED_BYTES_MAX }
    }

    fn read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let scratch = Rc::clone(&self.core.context.scratch);
        let mut scratch = scratch.borrow_mut();
        let mut buf = ReadBuf::new(&mut scratch);
        std::task::ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf))?;
        let bytes = buf.filled();
        if bytes.is_empty() {
            if let (Stage::Forward(_), false) = (&self.core.stage, self.core.may_never_be_answered()) {
                // The request will never be whole; what came before it is answered.
                self.core.stage = Stage::Broken(Bytes::new());
                return Poll::Ready(Ok(true));
            }
            self.core.phase = Phase::Ended;
            return Poll::Ready(Ok(true));
        }
        self.core.context.metrics.bytes[Direction::ClientIn].increment(bytes.len() as u64);
        self.core.bytes_in += bytes.len() as u64;
        let taken = if self.unread.is_empty() { self.take(cx, bytes) } else { 0 };
        self.unread.extend_from_slice(&bytes[taken..]);
        self.core.take_turns_for(bytes.len() - taken);
        Poll::Ready(Ok(true))
    }

    /// A large request began when the client's end was read already, or its client is to go in the middle of it: its rest will
    /// never come. Returns whether it is so.
    fn break_off_stream(&mut self) -> bool {
        let core = &mut self.core;
        let is_cut = match core.phase {
            Phase::Open => false,
            Phase::Ended => self.unread.is_empty() && !core.may_never_be_answered(),
            Phase::Finishing => true,
        };
        if !is_cut || !matches!(core.stage, Stage::Forward(_)) {
            return false;
        }
        core.stage = Stage::Broken(Bytes::new());
        true
    }

    /// Returns whether anything was taken.
    fn take_unread(&mut self, cx: &mut Context<'_>) -> bool {
        // Of a client that does not read its replies no more is asked.
        let paused = self.blocked && self.core.replies.unsent_bytes() > self.core.context.settings.output_pause_bytes;
        if self.unread.is_empty() || paused || self.core.pin.as_ref().is_some_and(|pin| pin.input_ended()) {
            if self.blocked {
                self.core.replies.end_turn();
            }
            return false;
        }
        let mut unread = std::mem::take(&mut self.unread);
        let taken = self.take(cx, &unread);
        unread.advance(taken);
        if !unread.is_empty() {
            self.unread = unread;
        }
        taken > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten thousand clients are ten thousand of these.
    #[test]
    fn a_client_takes_little_memory() {
        fn bytes<A, B, C, D, F>(_: fn(A, B, C, D) -> F) -> usize {
            size_of::<F>()
        }
        let (task, of_session) = (bytes(serve), size_of::<Session>());
        assert!(task <= of_session + 300, "{task} for a task, {of_session} for the session in it");
        assert!(of_session <= 1500, "{of_session} for a session");
    }
}
