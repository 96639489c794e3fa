//! A link: one upstream connection that carries the requests of many clients (shared) or of one (exclusive, a pinned
//! connection). It owns the order of replies on that connection; it never looks into a request.
//!
//! Every request that was handed over keeps its slot until its reply came, whoever has vanished meanwhile. Reading and
//! writing go on at once, in one task.

mod driver;
pub mod state;

use self::state::{Effect, State as Remembered, Watch};
use super::stream::{Greeting, Stream, greet, id_in};
use super::target::Target;
use crate::error::{Kind, UpstreamError};
use crate::metrics::{ConnectionKind, ErrorKind, ErrorOrigin, Metrics};
use crate::resp::{ReplyQueue, Ticket, Wakeup};
use bytes::{Buf, Bytes, BytesMut};
use driver::Driver;
use std::cell::{Cell, Ref, RefCell, RefMut};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// A session stops to hand over requests while so many bytes wait to be written.
pub const OUT_PAUSE_BYTES: usize = 4 * 1024 * 1024;
/// Bytes read at a time.
pub const SCRATCH_BYTES: usize = 64 * 1024;

struct Slot {
    ticket: Ticket,
    /// Where in the stream of bytes the request begins.
    start: u64,
    watch: Option<Box<Watch>>,
}

impl Slot {
    /// The upstream's reply is not what the client gets.
    fn is_rewritten(&self) -> bool {
        self.watch.as_ref().is_some_and(|watch| watch.rewrite.is_some())
    }
}

#[derive(Debug, Clone)]
enum State {
    /// A connection is being made; requests wait for it.
    Connecting,
    Up,
    /// The last attempt failed; requests are refused until the next one.
    Down(UpstreamError),
    Closed,
}

struct Inner {
    state: State,
    out: BytesMut,
    /// The position in the stream of bytes of `out`'s first byte: all before it is written.
    written: u64,
    slots: VecDeque<Slot>,
    /// Scripts among them.
    scripts: usize,
    wakeup: Wakeup,
    /// Sessions that wait for this link to be up, or for room in `out`.
    waiters: Vec<Waker>,
    /// Of the last attempt to connect, where it failed.
    last_error: Option<UpstreamError>,
    /// The upstream's reply to HELLO on the current connection.
    hello: Bytes,
}

/// Whose requests a link carries.
pub enum Sharing {
    /// Of many clients; it reconnects by itself.
    Shared {
        /// The head of the line may wait so long for its reply.
        reply_timeout: Duration,
    },
    /// Of one client at a time; its end is the end of the client.
    Exclusive {
        /// The client; None while nobody uses it.
        client: RefCell<Option<Rc<ReplyQueue>>>,
        /// Above so many bytes that the client has not taken no more are read.
        pause_bytes: usize,
    },
}

/// See the module.
pub struct Link {
    target: Rc<Target>,
    greeting: Greeting,
    sharing: Sharing,
    metrics: Metrics,
    inner: RefCell<Inner>,
    remembered: RefCell<Remembered>,
    /// Shared only, of a client's own user: whose they are.
    members: RefCell<Vec<Weak<ReplyQueue>>>,
    /// As what it is among the figures now.
    counted: Cell<Option<ConnectionKind>>,
    /// Exclusive only: no connection could be made, so nothing was ever sent.
    never_up: Cell<bool>,
    /// Exclusive only: the upstream wants to know first who the client is, as it answers whatever the client asks.
    refused: Cell<bool>,
    /// Exclusive only: the name that it was told last, of the client that it serves.
    pub name: RefCell<Vec<u8>>,
    /// The connection's id upstream, 0 while it is not known.
    upstream_id: Cell<u64>,
    /// Exclusive only: bytes go through as they come, for replies are no longer one a request.
    pub raw: Cell<bool>,
}

impl Link {
    /// Makes the link and its task, which connects at once and ends when the link is closed.
    pub fn start(
        target: &Rc<Target>,
        greeting: Greeting,
        sharing: Sharing,
        metrics: &Metrics,
        scratch: &Scratch,
    ) -> Rc<Self> {
        let link = Rc::new(Self {
            target: Rc::clone(target),
            remembered: RefCell::new(Remembered::new(greeting.clone())),
            greeting,
            sharing,
            metrics: metrics.clone(),
            inner: RefCell::new(Inner {
                state: State::Connecting,
                out: BytesMut::new(),
                written: 0,
                slots: VecDeque::new(),
                scripts: 0,
                wakeup: Wakeup::default(),
                waiters: Vec::new(),
                last_error: None,
                hello: Bytes::new(),
            }),
            members: RefCell::default(),
            name: RefCell::default(),
            counted: Cell::new(None),
            never_up: Cell::new(true),
            refused: Cell::new(false),
            upstream_id: Cell::new(0),
            raw: Cell::new(false),
        });
        // The task holds the link; it ends by `close`, which the owner (a session or the set of links) calls.
        tokio::task::spawn_local(run(Rc::clone(&link), Rc::clone(scratch)));
        link
    }

    /// Hands over one whole request (or its first part: `more` follows by [`send_more`](Self::send_more)).
    pub fn send(&self, request: &[u8], ticket: Ticket, watch: Option<Box<Watch>>) {
        let mut guard = self.inner.borrow_mut();
        let inner = &mut *guard;
        if let State::Down(error) = &inner.state {
            self.metrics.error(ErrorOrigin::Upstream, ErrorKind::Unavailable);
            ticket.complete(refusal(error).as_bytes());
            return;
        }
        if matches!(inner.state, State::Closed) {
            ticket.complete(b"-UNAVAILABLE the connection to the upstream is closed; this was not sent\r\n");
            return;
        }
        let start = inner.written + inner.out.len() as u64;
        inner.scripts += usize::from(is_script(&watch));
        inner.slots.push_back(Slot { ticket, start, watch });
        inner.out.extend_from_slice(request);
        inner.wakeup.wake();
    }

    /// Bytes for which no slot is kept: the rest of a large request, or a raw connection's.
    pub fn send_more(&self, bytes: &[u8]) {
        let mut inner = self.inner.borrow_mut();
        if !matches!(inner.state, State::Down(_) | State::Closed) {
            inner.out.extend_from_slice(bytes);
            inner.wakeup.wake();
        }
    }

    /// The last request handed over will never be whole, so it is not executed and its client is told otherwise. What the
    /// connection carried next would be taken for its rest: it is closed.
    pub fn abandon_last(&self) {
        self.close();
        let slot = self.inner.borrow_mut().slots.pop_back();
        if let Some(slot) = slot {
            slot.ticket.complete(b"");
        }
    }

    /// Ready when the link is up, with the upstream's reply to HELLO; or the error of the last attempt.
    pub fn poll_up(&self, cx: &mut Context<'_>) -> Poll<Result<Bytes, UpstreamError>> {
        let mut inner = self.inner.borrow_mut();
        match &inner.state {
            State::Up => Poll::Ready(Ok(inner.hello.clone())),
            State::Down(error) => Poll::Ready(Err(error.clone())),
            State::Closed => Poll::Ready(Err(match &inner.last_error {
                Some(error) => error.clone(),
                None => UpstreamError::new(Kind::Io, "the connection is closed"),
            })),
            State::Connecting => {
                inner.waiters.push(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// A script is under way, which may run for ever: whoever can takes another link.
    #[must_use]
    pub fn runs_script(&self) -> bool {
        self.inner.borrow().scripts > 0
    }

    /// Ready when it is known whether the upstream can be reached: up, or with the error of an attempt. Unlike
    /// [`poll_up`](Self::poll_up) it does not wait for another attempt.
    pub fn poll_known(&self, cx: &Context<'_>) -> Poll<Result<(), UpstreamError>> {
        let mut inner = self.inner.borrow_mut();
        match (&inner.state, &inner.last_error) {
            (State::Up, _) => Poll::Ready(Ok(())),
            (State::Down(error), _) | (_, Some(error)) => Poll::Ready(Err(error.clone())),
            (State::Connecting | State::Closed, None) => {
                inner.waiters.push(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// A connection is there.
    #[must_use]
    pub fn is_up(&self) -> bool {
        matches!(self.inner.borrow().state, State::Up)
    }

    /// Pending, and `cx` woken later, while too much waits to be written.
    pub fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.inner.borrow_mut();
        if inner.out.len() < OUT_PAUSE_BYTES {
            return Poll::Ready(());
        }
        inner.waiters.push(cx.waker().clone());
        Poll::Pending
    }

    /// What the connection remembers, as far as the replies so far say.
    pub fn remembered(&self) -> Ref<'_, Remembered> {
        self.remembered.borrow()
    }

    /// The same, for what only the session knows.
    pub fn remembered_mut(&self) -> RefMut<'_, Remembered> {
        self.remembered.borrow_mut()
    }

    /// The connection's id upstream; None before it is up.
    #[must_use]
    pub fn upstream_id(&self) -> Option<u64> {
        Some(self.upstream_id.get()).filter(|&id| id != 0)
    }

    /// Exclusive only: the upstream wants to know first who the client is; nothing was ever sent, and it can go on without.
    #[must_use]
    pub fn ended_unused(&self) -> bool {
        self.is_closed() && self.never_up.get() && self.refused.get()
    }

    /// Exclusive only: whom it serves from here on.
    pub fn attach(&self, new: Option<Rc<ReplyQueue>>) {
        if let Sharing::Exclusive { client, .. } = &self.sharing {
            *client.borrow_mut() = new;
            if self.counted.get().is_some() {
                self.count(true);
            }
        }
        self.wake();
    }

    /// Exclusive only: it was RESET and greeted anew, and remembers nothing else.
    pub fn forget(&self, greeting: Greeting) {
        *self.remembered.borrow_mut() = Remembered::new(greeting);
    }

    /// This client ends where the upstream ends its user.
    pub fn join(&self, client: &Rc<ReplyQueue>) {
        let mut members = self.members.borrow_mut();
        if members.len() == members.capacity() {
            members.retain(|member| member.strong_count() > 0);
        }
        members.push(Rc::downgrade(client));
    }

    /// A client's own user's, and none of its clients is there any more.
    fn is_deserted(&self) -> bool {
        self.inner.borrow().slots.is_empty() && self.members.borrow().iter().all(|member| member.strong_count() == 0)
    }

    /// The user is no more, or has another password: its connections were ended, and so are the clients behind them.
    fn end_members(&self) {
        for client in self.members.borrow_mut().drain(..).filter_map(|member| member.upgrade()) {
            client.break_off();
        }
        self.close();
    }

    /// Nothing is to be written and no reply is owed.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let inner = self.inner.borrow();
        inner.slots.is_empty() && inner.out.is_empty()
    }

    /// Ends the link and its connection. What it still owes is answered as lost.
    pub fn close(&self) {
        let mut inner = self.inner.borrow_mut();
        inner.state = State::Closed;
        inner.wakeup.wake();
    }

    /// The client took bytes: go on reading.
    pub fn wake(&self) {
        self.inner.borrow_mut().wakeup.wake();
    }

    fn kind(&self) -> ConnectionKind {
        match &self.sharing {
            Sharing::Shared { .. } => ConnectionKind::Link,
            Sharing::Exclusive { client, .. } if client.borrow().is_some() => ConnectionKind::Pinned,
            Sharing::Exclusive { .. } => ConnectionKind::Warm,
        }
    }

    /// Counts the connection as what it is now, or no more.
    fn count(&self, up: bool) {
        if let Some(kind) = self.counted.take() {
            self.metrics.upstream_connections[kind].decrement(1.0);
        }
        if up {
            self.metrics.upstream_connections[self.kind()].increment(1.0);
            self.counted.set(Some(self.kind()));
        }
    }

    fn is_exclusive(&self) -> bool {
        matches!(self.sharing, Sharing::Exclusive { .. })
    }

    /// It will carry nothing any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.inner.borrow().state, State::Closed)
    }

    fn set_state(&self, state: State) {
        let mut inner = self.inner.borrow_mut();
        if !matches!(inner.state, State::Closed) {
            inner.state = state;
        }
        inner.waiters.drain(..).for_each(Waker::wake);
    }

    /// No connection could be made: what waits for one was never sent.
    fn refuse_all(&self, error: &UpstreamError) {
        let slots = {
            let mut inner = self.inner.borrow_mut();
            inner.out = BytesMut::new();
            inner.scripts = 0;
            std::mem::take(&mut inner.slots)
        };
        let line = refusal(error);
        for slot in slots {
            self.metrics.error(ErrorOrigin::Upstream, ErrorKind::Unavailable);
            slot.ticket.complete(line.as_bytes());
        }
    }

    /// The connection is lost. What was written may have been executed; a request of which a byte is missing was not; one
    /// of which no byte was written is kept for the next connection, where there will be one.
    fn lose(&self, error: &UpstreamError, mid_reply: bool) {
        let (lost, keep) = {
            let mut guard = self.inner.borrow_mut();
            let inner = &mut *guard;
            let end = inner.written + inner.out.len() as u64;
            let mut lost = Vec::new();
            while let Some(slot) = inner.slots.front() {
                if slot.start >= inner.written && !self.is_exclusive() {
                    break;
                }
                let Some(slot) = inner.slots.pop_front() else { break };
                let slot_end = inner.slots.front().map_or(end, |next| next.start);
                lost.push((slot, slot_end <= inner.written));
            }
            let keep_from = inner.slots.front().map_or(end, |slot| slot.start);
            let drop_bytes = (keep_from - inner.written) as usize;
            inner.out.advance(drop_bytes);
            inner.written = keep_from;
            inner.scripts = inner.slots.iter().filter(|slot| is_script(&slot.watch)).count();
            (lost, inner.slots.len())
        };
        for (index, (slot, whole)) in lost.into_iter().enumerate() {
            let ends = slot.watch.as_ref().is_some_and(|watch| watch.effect == Effect::End);
            if ends || (index == 0 && mid_reply && !slot.is_rewritten()) {
                slot.ticket.break_off();
            } else if whole {
                self.metrics.error(ErrorOrigin::Upstream, ErrorKind::Uncertain);
                slot.ticket.complete(
                    format!(
                        "-UNCERTAIN the connection to the upstream was lost ({error}); this may have been executed\r\n"
                    )
                    .as_bytes(),
                );
            } else {
                self.metrics.error(ErrorOrigin::Upstream, ErrorKind::Unavailable);
                slot.ticket.complete(unavailable(error).as_bytes());
            }
        }
        if keep > 0 {
            tracing::debug!(requests = keep, "requests wait for the next connection");
        }
    }
}

/// Bytes that a worker's connections read into, one after the other; never held across an await.
pub type Scratch = Rc<RefCell<Vec<u8>>>;

/// A scratch buffer for one worker.
#[must_use]
pub fn new_scratch() -> Scratch {
    Rc::new(RefCell::new(vec![0; SCRATCH_BYTES]))
}

fn is_script(watch: &Option<Box<Watch>>) -> bool {
    watch.as_ref().is_some_and(|watch| watch.effect == Effect::Script)
}

/// The reply for what was never sent.
#[must_use]
pub fn unavailable(error: &UpstreamError) -> String {
    let detail = error.detail.replace(['\r', '\n'], " ");
    format!("-UNAVAILABLE the upstream cannot be reached ({detail}); this was not sent\r\n")
}

/// The reply for what was not sent because of this error: the upstream's own word where it has one for the client.
#[must_use]
pub fn refusal(error: &UpstreamError) -> String {
    match error.kind {
        // As it answers any command of a client that has not said who it is.
        Kind::Auth if error.is_noauth() => "-NOAUTH Authentication required.\r\n".to_owned(),
        // BUSY and LOADING too: it answers, and these are its words.
        Kind::Auth | Kind::Reply | Kind::Refused => format!("-{}\r\n", error.detail.replace(['\r', '\n'], " ")),
        _ => unavailable(error),
    }
}

async fn run(link: Rc<Link>, scratch: Scratch) {
    let _ending = Ending(Rc::clone(&link));
    let mut failures = 0;
    loop {
        let connected = async {
            let mut stream = Stream::connect(&link.target.address, link.target.connect_timeout).await?;
            let hello = greet(&mut stream, &link.target, &link.greeting, link.target.connect_timeout).await?;
            Ok::<_, UpstreamError>((stream, hello))
        };
        let connected = tokio::select! {
            connected = connected => connected,
            () = closed(&link) => break,
        };
        let error = match connected {
            Ok((mut stream, hello)) => {
                link.upstream_id.set(id_in(&hello).unwrap_or_default());
                link.never_up.set(false);
                {
                    let mut inner = link.inner.borrow_mut();
                    (inner.hello, inner.last_error) = (hello, None);
                }
                link.set_state(State::Up);
                link.count(true);
                let mut driver = Driver::new(&link);
                let error = poll_fn(|cx| driver.poll(cx, &mut stream, &scratch)).await;
                link.count(false);
                link.set_state(State::Connecting);
                let lived = driver.lived;
                link.lose(&error, driver.mid_reply());
                if link.greeting.identity.is_some() && link.is_deserted() {
                    // Who needs it next makes it anew, and is not refused for what happened to this one.
                    link.close();
                }
                if !link.is_exclusive() && !lived {
                    // It greets and hangs up: once more at once would be a storm.
                    tokio::select! {
                        () = tokio::time::sleep(link.target.pause(failures)) => {}
                        () = closed(&link) => break,
                    }
                }
                failures = if lived { 0 } else { failures + 1 };
                if !link.is_exclusive() && !link.is_closed() {
                    link.metrics.reconnects[link.kind()].increment(1);
                    tracing::warn!(upstream = %link.target.address, %error, "a link was lost; connecting again");
                }
                error
            }
            Err(error) => {
                link.refused.set(error.is_noauth());
                link.inner.borrow_mut().last_error = Some(error.clone());
                link.set_state(State::Down(error.clone()));
                link.refuse_all(&error);
                if error.kind == Kind::Auth && link.greeting.identity.is_some() && !link.never_up.get() {
                    link.end_members();
                } else if !link.is_exclusive() {
                    let pause = link.target.pause(failures);
                    failures += 1;
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = closed(&link) => break,
                    }
                    link.set_state(State::Connecting);
                }
                error
            }
        };
        if link.is_closed() {
            break;
        }
        if link.is_exclusive() {
            tracing::debug!(%error, "a pinned connection ended");
            break;
        }
        tracing::debug!(upstream = %link.target.address, %error, "connecting again");
    }
}

/// The end of a link's task, also by a panic: what the link still owes is answered.
struct Ending(Rc<Link>);

impl Drop for Ending {
    fn drop(&mut self) {
        let closed = UpstreamError::new(Kind::Io, "closed");
        self.0.set_state(State::Closed);
        self.0.lose(&closed, false);
        self.0.refuse_all(&closed);
        // Where nothing was ever sent the client's own state is what it was.
        let lost_state = !self.0.never_up.get() || !self.0.refused.get();
        if let Sharing::Exclusive { client, .. } = &self.0.sharing
            && let Some(client) = client.borrow_mut().take()
        {
            if lost_state { client.break_off() } else { client.wake_session() }
        }
    }
}

/// Until the link is closed. Cancel safe: it only looks.
async fn closed(link: &Link) {
    poll_fn(|cx| {
        let mut inner = link.inner.borrow_mut();
        if matches!(inner.state, State::Closed) {
            return Poll::Ready(());
        }
        inner.wakeup.register(cx.waker());
        Poll::Pending
    })
    .await;
}
