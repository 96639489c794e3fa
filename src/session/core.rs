//! What a session knows of its client, apart from the bytes that are being read.

use super::admission::Proof;
use super::again::Again;
use super::clients::{ClientEntry, Clients};
use super::last_command::LastCommand;
use super::own_keys::Task;
use super::room::{Room, Rooms};
use super::walks::Pages;
use crate::command::{Args, CommandTable, Route as Way, route};
use crate::metrics::{ErrorKind, ErrorOrigin, Metrics, Route};
use crate::resp::{Proto, ReplyQueue, Ticket};
use crate::tenant::Admitted;
use crate::tenant::isolation::{Back, Pieces};
use crate::upstream::knowledge::Knowledge;
use crate::upstream::link::Scratch;
use crate::upstream::links::pins::{PinnedLink, ProvingLink};
use crate::upstream::links::{Links, SharedLink};
use crate::upstream::stream::Greeting;
use arc_swap::{ArcSwap, Cache};
use bytes::{Bytes, BytesMut};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Context;
use std::time::Duration;
use tokio::time::Instant;

const ROUTES: [Route; 4] = [Route::Local, Route::Link, Route::Pinned, Route::Inventory];

/// Bounds of a session; see config/sentinel.toml.
#[derive(Debug, Clone)]
pub struct SessionSettings {
    /// Requests in flight.
    pub pipeline_max: usize,
    /// Inventory operations in flight.
    pub client_ops_max: usize,
    /// A larger request goes over a connection of the client's own, as it comes.
    pub request_stream_bytes: usize,
    /// Above it no further request is read.
    pub output_pause_bytes: usize,
    /// Above it the client is closed where it takes nothing for `output_stall`.
    pub output_close_bytes: usize,
    /// See above.
    pub output_stall: Duration,
    /// Clients that have not said who they are, and must.
    pub unknown_max: usize,
    /// Within which a client must have said who it is.
    pub auth_timeout: Duration,
    /// How long the answer to a wrong password is held back.
    pub auth_failure: Duration,
}

impl SessionSettings {
    /// Above it the client is closed whatever it takes. No more of it is read long before, but what it has asked for until
    /// then is not known in bytes: `pipeline_max` requests of a few bytes may be answered with gigabytes, and the link that
    /// brings them carries others' replies too and must be read. So what one client may cost is bounded here; four times
    /// leaves a slow client of honest pipelines alone.
    pub fn output_max_bytes(&self) -> usize {
        self.output_close_bytes.saturating_mul(4)
    }
}

/// What all sessions of a worker share.
pub struct SessionContext {
    /// Whose clients they may be.
    pub rooms: Rooms,
    /// Bounds.
    pub settings: SessionSettings,
    /// Ways upstream.
    pub links: Rc<Links>,
    /// How many workers there are, this one among them.
    pub workers: usize,
    /// What is known of the upstream.
    pub knowledge: Arc<Knowledge>,
    /// What it knows of commands, at hand.
    pub commands: RefCell<Cache<Arc<ArcSwap<CommandTable>>, Arc<CommandTable>>>,
    /// All clients, those of other workers too.
    pub clients: Arc<Clients>,
    /// The sidecar's own user upstream.
    pub default_user: Vec<u8>,
    /// Figures.
    pub metrics: Metrics,
    /// Where bytes are read into.
    pub scratch: Scratch,
    /// Sessions take no further request and end when theirs are answered.
    pub closing: Cell<bool>,
    /// When a wrong password was last told of, and how many were not since.
    pub wrong_told: Cell<Option<(Instant, u64)>>,
    /// Whose turn it is to ask for a page of all keys.
    pub pages: Pages,
    /// Counts requests, for the worker to see whether clients are still at work.
    pub requests: Cell<u64>,
}

impl SessionContext {
    /// Which way a request goes for a client without a connection of its own.
    pub(super) fn route(&self, args: &Args<'_>) -> Way {
        route(args, self.commands.borrow_mut().load())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// The client has closed its sending side: what it sent is still answered.
    Ended,
    /// No further request is taken; the session ends when what it owes is written.
    Finishing,
}

/// Where the requests went that are not answered yet. Another way is taken only when none is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    Link,
    Pinned,
    Inventory,
}

pub(super) enum Step {
    Done,
    /// It must wait until something changes that wakes the session.
    Blocked,
}

/// How the bytes that come are to be taken.
pub(super) enum Stage {
    /// As whole frames.
    Frames,
    /// The rest of a large frame goes to the pinned connection, of an isolated tenant's client with these changes.
    Forward(Option<Box<Pieces>>),
    /// The rest of a large frame is dropped; then this is the reply.
    Drop(&'static [u8]),
    /// A large frame broke off in the middle: when the replies before it are here, this is the last one.
    Broken(Bytes),
}

/// A request whose answer needs another connection; until it is up nothing more of this client is taken.
pub(super) struct Wait {
    /// What the client is to be from here on.
    pub greeting: Greeting,
    pub request: Waiting,
    pub on: On,
}

pub(super) enum Waiting {
    /// SELECT or AUTH.
    Plain,
    /// HELLO, and the name that it sets.
    Hello { name: Option<Vec<u8>> },
    /// CLIENT REPLY, None: with a word that it does not know.
    Replies(Option<ReplyMode>),
}

/// Where it is found out whether the upstream agrees.
pub(super) enum On {
    /// A link that says so.
    Link(SharedLink),
    /// Nowhere yet: credentials are to be proved.
    Nothing,
    /// A connection that proves the credentials by being made; or where it was there already, by what is asked on it next.
    Prover { link: ProvingLink, replies: Rc<ReplyQueue>, next: Option<Asked> },
    /// A password is looked at; and the protocol that is asked for with it.
    Proof(Proof, Proto),
    /// Several questions make one answer.
    Task(Task),
    /// On the connection that the client has; its reply comes here.
    Here(Rc<RefCell<Option<BytesMut>>>),
}

/// What was asked on a connection that has the credentials already; one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Nothing,
    Auth,
    Hello,
}

/// What the client wants to hear: CLIENT REPLY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReplyMode {
    On,
    Off,
    /// Not the reply to the next request,
    SkipNext,
    /// which is this one.
    Skip,
}

/// What a client has set.
pub(super) struct Client {
    /// While it has a connection of its own, that one knows better.
    pub greeting: Greeting,
    pub replies: ReplyMode,
}

/// Everything of a session but the scanner, whose results are borrowed while this works.
pub(super) struct Core {
    pub context: Rc<SessionContext>,
    pub replies: Rc<ReplyQueue>,
    pub client: Client,
    /// Whose it is.
    pub room: Rc<Room>,
    /// Counts it among its tenant's; None: it has not said who it is.
    pub admitted: Option<Admitted>,
    /// The tenants that it was sorted in by.
    pub generation: u64,
    /// Passwords are the sidecar's to judge.
    pub told_apart: bool,
    /// Its tenant is no more: what it waits for is not waited for.
    pub is_evicted: bool,
    /// Its requests go by the gate.
    pub is_gated: bool,
    /// The request that is looked at now has passed the limit of requests.
    pub is_counted: bool,
    /// Keys that it asked to be watched since it was known that none are: before the request that is looked at now, and with it.
    pub watched: (usize, usize),
    /// Wrong passwords so far.
    pub failures: u32,
    /// What is to be made of the reply to the request that is looked at now.
    pub back: Option<Back>,
    /// What others see of it.
    pub entry: Arc<ClientEntry>,
    /// Where its invalidations go: the id upstream, and the client's.
    pub redirect: Option<(u64, u64)>,
    /// What `Clients::poll_own_connection` keeps while it is asked.
    pub redirect_asked: Option<u64>,
    pub lane: Lane,
    pub phase: Phase,
    pub link: Option<SharedLink>,
    pub pin: Option<PinnedLink>,
    /// A request on the pinned connection may wait in the upstream.
    pub pin_blocking: bool,
    /// Requests in flight are all of the SUBSCRIBE family, and none is inside MULTI.
    pub subscribing: bool,
    /// The client's RESET was passed to its own connection.
    pub resetting: bool,
    pub stage: Stage,
    pub wait: Option<Wait>,
    /// The upstream was asked whether the pinned connection waits in a command.
    pub probe: Option<(SharedLink, Rc<ReplyQueue>)>,
    pub counts: [u64; ROUTES.len()],
    pub command: LastCommand,
    published: Ways,
    requests: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// When the bytes at hand were looked at, as soon as somebody wants to know it.
    pub now: Option<Instant>,
    /// Reservations that were refused without the upstream and are not counted yet.
    pub refused: u64,
    /// The request that is looked at now lies whole in what was read, as it came.
    pub is_at_hand: bool,
    /// The request that is looked at now is followed by one that says the same.
    pub comes_again: bool,
    pub again: Again,
}

/// What others were told last of the ways that this client's requests go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Ways {
    upstream_id: Option<u64>,
    link_id: Option<u64>,
    subscribed: bool,
}

impl Core {
    pub fn new(context: Rc<SessionContext>, replies: Rc<ReplyQueue>, entry: Arc<ClientEntry>) -> Self {
        Self {
            replies,
            client: Client { greeting: context.links.first_greeting(Proto::Resp2), replies: ReplyMode::On },
            entry,
            room: Rc::clone(context.rooms.nobody()),
            admitted: None,
            generation: 0,
            told_apart: true,
            is_evicted: false,
            is_gated: true,
            is_counted: false,
            watched: (0, 0),
            failures: 0,
            back: None,
            redirect: None,
            redirect_asked: None,
            lane: Lane::Link,
            phase: Phase::Open,
            link: None,
            pin: None,
            pin_blocking: false,
            subscribing: false,
            resetting: false,
            stage: Stage::Frames,
            wait: None,
            probe: None,
            counts: [0; ROUTES.len()],
            command: LastCommand::default(),
            published: Ways::default(),
            requests: 0,
            bytes_in: 0,
            bytes_out: 0,
            now: None,
            refused: 0,
            is_at_hand: false,
            comes_again: false,
            again: Again::Nothing,
            context,
        }
    }

    /// A client uses one way at a time: another one only when nothing is in flight.
    pub fn enter(&mut self, lane: Lane) -> bool {
        if self.lane != lane {
            if self.replies.waiting() > 0 {
                return false;
            }
            self.lane = lane;
            self.pin_blocking = false;
            self.replies.set_may_wait_for_ever(false);
            self.follow_window();
        }
        true
    }

    /// May another request be handed to the link or the pinned connection that this client uses? Where not, `cx` is woken.
    pub fn has_room(&self, cx: &mut Context<'_>) -> bool {
        match (&self.pin, &self.link) {
            (Some(pin), _) => pin.poll_room(cx).is_ready(),
            (None, Some(link)) => link.poll_room(cx).is_ready(),
            (None, None) => true,
        }
    }

    /// The place of a reply that comes later, where the client wants to hear it.
    pub fn ticket(&self) -> Ticket {
        if self.client.replies == ReplyMode::On { self.replies.ticket() } else { self.replies.muted_ticket() }
    }

    /// A reply of the sidecar's own, where the client wants to hear it.
    pub fn push(&self, reply: &[u8]) {
        if self.client.replies == ReplyMode::On {
            self.replies.push(reply);
        }
    }

    /// What the client is upstream. Only where no request is in flight is it certain.
    pub fn greeting(&self) -> Greeting {
        match &self.pin {
            Some(pin) => pin.remembered().greeting.clone(),
            None => self.client.greeting.clone(),
        }
    }

    pub fn protocol_error(&mut self, reply: &[u8]) {
        self.context.metrics.error(ErrorOrigin::Client, ErrorKind::Protocol);
        if !self.is_raw() {
            self.push(reply);
        }
        self.phase = Phase::Finishing;
    }

    /// A refusal of the sidecar's own.
    pub fn refuse(&mut self, kind: ErrorKind, line: &[u8]) -> Step {
        self.count(Route::Local);
        let origin = if kind == ErrorKind::Overloaded { ErrorOrigin::Sidecar } else { ErrorOrigin::Client };
        self.context.metrics.error(origin, kind);
        self.push(line);
        Step::Done
    }

    /// No connection could be made: the upstream's own word, or that it cannot be reached.
    pub fn refuse_unconnected(&self, line: &str) {
        if line.starts_with("-UNAVAILABLE") {
            self.context.metrics.error(ErrorOrigin::Upstream, ErrorKind::Unavailable);
        }
        self.push(line.as_bytes());
    }

    pub fn count(&mut self, route: Route) {
        self.counts[route as usize] += 1;
    }

    /// Notes what CLIENT LIST shows as the last command. Returns its way, where that is known by its name alone.
    #[inline]
    pub fn note_command(&mut self, args: &Args<'_>) -> Option<Way> {
        if self.command.is_inventory_again(args) {
            return Some(Way::Inventory);
        }
        let goes_by_link = self.command.note(args, self.context.commands.borrow_mut().load());
        match goes_by_link {
            true => Some(Way::Link),
            false => self.command.is_inventory().then_some(Way::Inventory),
        }
    }

    /// Hands the figures of what was done since the last time over: to the metrics, and to whom else speaks of this client.
    pub fn publish(&mut self) {
        self.publish_refused();
        let mut requests = 0;
        for route in ROUTES {
            let count = std::mem::take(&mut self.counts[route as usize]);
            if count > 0 {
                self.context.metrics.requests[route].increment(count);
                if self.told_apart {
                    self.room.own.metrics.requests(route).increment(count);
                }
                requests += count;
            }
        }
        let traffic = &self.entry.traffic;
        if requests > 0 {
            self.context.requests.set(self.context.requests.get() + requests);
            self.requests += requests;
            traffic.requests.store(self.requests, Ordering::Relaxed);
            self.entry.is_active();
        }
        traffic.bytes_in.store(self.bytes_in, Ordering::Relaxed);
        traffic.bytes_out.store(self.bytes_out, Ordering::Relaxed);
        let pinned = self.pin.as_ref().map(|pin| (pin.upstream_id(), !pin.remembered().subscriptions.is_empty()));
        let (upstream_id, subscribed) = pinned.unwrap_or_default();
        let ways = Ways { upstream_id, subscribed, link_id: self.link.as_ref().and_then(|link| link.upstream_id()) };
        if ways == self.published && !self.command.is_new() {
            return;
        }
        let changed = self.published.upstream_id != upstream_id;
        {
            let mut state = self.entry.state();
            (state.upstream_id, state.subscribed, state.link_id) = (upstream_id, subscribed, ways.link_id);
            if requests > 0 {
                self.command.write(&mut state.command);
            }
        }
        self.published = ways;
        if changed {
            self.entry.wake_waiters();
        }
    }

    /// What the client has set is another: others see it at once.
    pub fn publish_client(&self) {
        let greeting = self.greeting();
        let mut state = self.entry.state();
        state.db = greeting.db;
        state.resp = if greeting.proto == Proto::Resp3 { 3 } else { 2 };
        state.user = match self.told_apart {
            true => self.room.tenant.name.as_bytes().to_vec(),
            false => greeting.identity.map_or_else(Vec::new, |credentials| credentials.user().to_vec()),
        };
    }
}
