//! A link: one upstream connection that carries the requests of many clients (shared) or of one (exclusive, a pinned
//! connection). It owns the order of replies on that connection; it never looks into a request.
//!
//! Every request that was handed over keeps its slot until its reply came, whoever has vanished meanwhile. Reading and
//! writing go on at once, in one task.

mod driver;
mod life;
mod runs;
pub mod state;

use self::state::{Effect, OnError, State as Remembered, Watch};
use super::refusal::Reader;
use super::stream::Greeting;
use super::target::Target;
use crate::error::{Kind, UpstreamError};
use crate::metrics::{ConnectionKind, ErrorKind, ErrorOrigin, Metrics};
use crate::resp::{ReplyQueue, Run, Ticket, Wakeup};
use bytes::{Bytes, BytesMut};
use std::borrow::Cow;
use std::cell::{Cell, Ref, RefCell, RefMut};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// A session stops to hand over requests while so many bytes wait to be written.
pub const OUT_PAUSE_BYTES: usize = 4 * 1024 * 1024;
/// Bytes read at a time.
pub const SCRATCH_BYTES: usize = 64 * 1024;

struct Slot {
    /// Whose replies: of several requests only where nothing is watched for.
    owed: Run,
    /// Where in the stream of bytes the first of its requests begins.
    start: u64,
    watch: Option<Box<Watch>>,
    /// Where nothing else is watched for: what the client gets in place of an error.
    on_error: Option<OnError>,
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

impl Inner {
    fn new() -> Self {
        Self {
            state: State::Connecting,
            out: BytesMut::new(),
            written: 0,
            slots: VecDeque::new(),
            scripts: 0,
            wakeup: Wakeup::default(),
            waiters: Vec::new(),
            last_error: None,
            hello: Bytes::new(),
        }
    }
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
        /// When its input has ended, the upstream may be silent so long.
        reply_timeout: Duration,
    },
}

/// Makes of a frame that came unasked what a client is to see of it; None: nothing.
pub type Filter = Box<dyn Fn(&[u8]) -> Option<BytesMut>>;

/// How fast a client's own connection is read.
pub trait Pace {
    /// May more be read now? Where not, `cx` is woken when it may be.
    fn may_read(&self, cx: &Context<'_>) -> bool;
    /// So many bytes were.
    fn has_read(&self, bytes: usize);
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
    /// Exclusive only: where its invalidations go, by the id upstream and the one that its client knows.
    pub redirect: Cell<Option<(u64, u64)>>,
    /// Exclusive only: see [`Filter`].
    filter: RefCell<Option<Filter>>,
    /// Exclusive only: see [`Pace`].
    pace: RefCell<Option<Rc<dyn Pace>>>,
    /// Exclusive only: the client sends nothing any more, and so does the connection once all is written.
    input_ended: Cell<bool>,
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
            inner: RefCell::new(Inner::new()),
            members: RefCell::default(),
            name: RefCell::default(),
            counted: Cell::new(None),
            never_up: Cell::new(true),
            refused: Cell::new(false),
            upstream_id: Cell::new(0),
            raw: Cell::new(false),
            redirect: Cell::new(None),
            filter: RefCell::default(),
            pace: RefCell::default(),
            input_ended: Cell::new(false),
        });
        // The task holds the link; it ends by `close`, which the owner (a session or the set of links) calls.
        tokio::task::spawn_local(life::run(Rc::clone(&link), Rc::clone(scratch)));
        link
    }

    /// Hands over one whole request (or its first part: `more` follows by [`send_more`](Self::send_more)).
    pub fn send(&self, request: &[u8], ticket: Ticket, watch: Option<Box<Watch>>) {
        self.hand_over(request, ticket, watch, None);
    }

    /// Shared only: a request of whose reply nothing is watched for, and an error alone is told otherwise.
    pub fn send_guarded(&self, request: &[u8], ticket: Ticket, on_error: OnError) {
        self.hand_over(request, ticket, None, Some(on_error));
    }

    fn hand_over(&self, request: &[u8], ticket: Ticket, watch: Option<Box<Watch>>, on_error: Option<OnError>) {
        let mut guard = self.inner.borrow_mut();
        let inner = &mut *guard;
        if let State::Down(error) = &inner.state {
            self.metrics.error(ErrorOrigin::Upstream, ErrorKind::Unavailable);
            ticket.complete(self.reader().refusal(error).as_bytes());
            return;
        }
        if matches!(inner.state, State::Closed) {
            ticket.complete(b"-UNAVAILABLE the connection to the upstream is closed; this was not sent\r\n");
            return;
        }
        let start = inner.written + inner.out.len() as u64;
        inner.scripts += usize::from(is_script(&watch));
        inner.slots.push_back(Slot { owed: Run::begin(ticket), start, watch, on_error });
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

    /// The same of bytes that are written to where they wait.
    ///
    /// # Errors
    /// What `write` has: then nothing behind is to be sent.
    pub fn send_more_by<E>(&self, write: impl FnOnce(&mut BytesMut) -> Result<(), E>) -> Result<(), E> {
        let mut inner = self.inner.borrow_mut();
        if matches!(inner.state, State::Down(_) | State::Closed) {
            return Ok(());
        }
        let written = write(&mut inner.out);
        inner.wakeup.wake();
        written
    }

    /// The last request handed over will never be whole, so it is not executed and its client is told otherwise. What the
    /// connection carried next would be taken for its rest: it is closed.
    pub fn abandon_last(&self) {
        self.close();
        let slot = self.inner.borrow_mut().slots.pop_back();
        if let Some(slot) = slot {
            slot.owed.complete(b"");
        }
    }

    /// Exclusive only: its client has closed its sending side, and so does the connection when all is written. The upstream
    /// answers what it can answer now, and ends the connection as it would have ended the client: nothing is lost that it
    /// answers a client that says no more, and nothing is taken for a command that waits. What is not answered then has no
    /// reply.
    pub fn end_input(&self) {
        if !self.input_ended.replace(true) {
            self.wake();
        }
    }

    /// See [`end_input`](Self::end_input): nothing more can be sent.
    #[must_use]
    pub fn input_ended(&self) -> bool {
        self.input_ended.get()
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

    /// Exclusive only: what its client is to see of what comes unasked.
    pub fn set_filter(&self, filter: Filter) {
        *self.filter.borrow_mut() = Some(filter);
    }

    /// Exclusive only: how fast it is read for its client.
    pub fn set_pace(&self, pace: Rc<dyn Pace>) {
        *self.pace.borrow_mut() = Some(pace);
    }

    fn pace(&self) -> Option<Rc<dyn Pace>> {
        self.pace.borrow().clone()
    }

    /// Bytes that it keeps for its client: what is not written yet, and what replies are watched for inside MULTI.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.inner.borrow().out.len() + self.remembered.borrow().held_bytes()
    }

    fn has_filter(&self) -> bool {
        self.filter.borrow().is_some()
    }

    /// A frame that came unasked as the client is to see it; None: it is not to see it.
    fn shown<'f>(&self, frame: &'f [u8]) -> Option<Cow<'f, [u8]>> {
        match &*self.filter.borrow() {
            None => Some(Cow::Borrowed(frame)),
            Some(filter) => filter(frame).map(|frame| Cow::Owned(frame.to_vec())),
        }
    }

    /// Exclusive only: whom it serves from here on.
    pub fn attach(&self, new: Option<Rc<ReplyQueue>>) {
        self.filter.borrow_mut().take();
        self.pace.borrow_mut().take();
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

    /// Who reads what is said of this link.
    #[must_use]
    pub fn reader(&self) -> Reader {
        match (self.target.tenants.are_told_apart(), &self.greeting.identity) {
            (false, _) => Reader::Anybody,
            (true, None) => Reader::Tenant,
            (true, Some(_)) => Reader::TenantWithUser,
        }
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
