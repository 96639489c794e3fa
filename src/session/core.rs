//! What a session knows of its client, apart from the bytes that are being read.

use crate::error::UpstreamError;
use crate::inventory::batcher::Batcher;
use crate::metrics::{ErrorKind, ErrorOrigin, Metrics, Route};
use crate::resp::{Proto, ReplyQueue};
use crate::tenant::Tenant;
use crate::upstream::link::{Scratch, unavailable};
use crate::upstream::links::{Links, PinnedLink, SharedLink};
use crate::upstream::pool::Knowledge;
use bytes::Bytes;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;

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
    /// Above it the client is closed.
    pub output_close_bytes: usize,
}

/// What all sessions of a worker share.
pub struct SessionContext {
    /// Whose clients they are.
    pub tenant: Tenant,
    /// Bounds.
    pub settings: SessionSettings,
    /// Ways upstream.
    pub links: Rc<Links>,
    /// Way of the inventory.
    pub batcher: Rc<Batcher>,
    /// What is known of the upstream.
    pub knowledge: Arc<Knowledge>,
    /// Figures.
    pub metrics: Metrics,
    /// Where bytes are read into.
    pub scratch: Scratch,
    /// Sessions take no further request and end when theirs are answered.
    pub closing: Cell<bool>,
    /// Counts requests, for the worker to see whether clients are still at work.
    pub requests: Cell<u64>,
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
    /// The rest of a large frame goes to the pinned connection.
    Forward,
    /// The rest of a large frame is dropped; then this is the reply.
    Drop(&'static [u8]),
    /// A large frame broke off in the middle: when the replies before it are here, this is the last one.
    Broken(Bytes),
}

/// A request whose answer needs another link; until it is up nothing more of this client is taken.
pub(super) enum Wait {
    Select { link: SharedLink, db: u32 },
    Hello { link: SharedLink, proto: Proto, name: Option<Vec<u8>> },
}

/// What a client has set.
pub(super) struct Client {
    pub id: u64,
    pub proto: Proto,
    pub db: u32,
    pub name: Vec<u8>,
}

/// Everything of a session but the scanner, whose results are borrowed while this works.
pub(super) struct Core {
    pub context: Rc<SessionContext>,
    pub replies: Rc<ReplyQueue>,
    pub client: Client,
    pub lane: Lane,
    pub phase: Phase,
    pub link: Option<SharedLink>,
    pub pin: Option<PinnedLink>,
    /// A request on the pinned connection may wait in the upstream.
    pub pin_blocking: bool,
    pub stage: Stage,
    pub wait: Option<Wait>,
    counts: [u64; ROUTES.len()],
}

impl Core {
    pub fn new(context: Rc<SessionContext>, replies: Rc<ReplyQueue>, id: u64) -> Self {
        Self {
            replies,
            client: Client { id, proto: Proto::Resp2, db: context.links.first_db(), name: Vec::new() },
            lane: Lane::Link,
            phase: Phase::Open,
            link: None,
            pin: None,
            pin_blocking: false,
            stage: Stage::Frames,
            wait: None,
            counts: [0; ROUTES.len()],
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

    pub fn protocol_error(&mut self, reply: &[u8]) {
        self.context.metrics.error(ErrorOrigin::Client, ErrorKind::Protocol);
        if !self.is_raw() {
            self.replies.push(reply);
        }
        self.phase = Phase::Finishing;
    }

    /// A refusal of the sidecar's own.
    pub fn refuse(&mut self, kind: ErrorKind, line: &[u8]) -> Step {
        self.count(Route::Local);
        let origin = if kind == ErrorKind::Overloaded { ErrorOrigin::Sidecar } else { ErrorOrigin::Client };
        self.context.metrics.error(origin, kind);
        self.replies.push(line);
        Step::Done
    }

    pub fn refuse_unavailable(&self, error: &UpstreamError) {
        self.context.metrics.error(ErrorOrigin::Upstream, ErrorKind::Unavailable);
        self.replies.push(unavailable(error).as_bytes());
    }

    pub fn count(&mut self, route: Route) {
        self.counts[route as usize] += 1;
    }

    pub fn flush_counts(&mut self) {
        for route in ROUTES {
            let count = std::mem::take(&mut self.counts[route as usize]);
            if count > 0 {
                self.context.metrics.requests[route].increment(count);
                self.context.requests.set(self.context.requests.get() + count);
            }
        }
    }
}
