//! What an upstream connection remembers of its one client, as far as the replies so far say; and what a reply to a request
//! is watched for. It owns the knowledge when a client needs its own connection no longer; it never does I/O.

mod exec;
mod subscriptions;

pub use self::exec::Exec;
pub use self::subscriptions::{Event, Family, Subscriptions, event};

use crate::resp::Proto;
use crate::upstream::stream::{Credentials, Greeting, Identity};
use bytes::BytesMut;
use std::rc::Rc;

/// Makes another reply of the upstream's, in the protocol that the client reads at that point.
pub type Rewrite = Box<dyn FnOnce(&[u8], Proto) -> BytesMut>;

/// The same of an error, whoever's request it answers: made once, and for many requests.
pub type OnError = Rc<dyn Fn(&[u8], Proto) -> BytesMut>;

/// Makes another reply of one while it comes: what comes back in place of the next bytes is appended. False: it has not the form
/// that it must have, and nothing more of it may be told.
pub type Telling = Box<dyn FnMut(&[u8], &mut BytesMut) -> bool>;

/// Begins to: made once, and for many requests.
pub type InParts = Rc<dyn Fn() -> Telling>;

/// What the reply to a request is watched for. Inside MULTI it is the reply in EXEC's that counts, not `+QUEUED`.
pub struct Watch {
    /// What a reply that is no error says of the connection.
    pub effect: Effect,
    /// The client gets what this makes of the reply.
    pub rewrite: Option<Rewrite>,
    /// The same of a reply that does not come whole, where it is an array or a map.
    pub in_parts: Option<InParts>,
    /// The same for an error alone: any other reply goes to the client as it comes.
    pub error: Option<OnError>,
    /// The request is the sidecar's own: inside EXEC's reply its element is left out.
    pub hidden: bool,
}

impl Watch {
    /// For nothing yet.
    #[must_use]
    pub fn nothing() -> Box<Self> {
        Box::new(Self { effect: Effect::None, rewrite: None, in_parts: None, error: None, hidden: false })
    }

    /// Only what the reply says of the connection.
    #[must_use]
    pub fn effect(effect: Effect) -> Option<Box<Self>> {
        Some(Box::new(Self { effect, rewrite: None, in_parts: None, error: None, hidden: false }))
    }

    /// Another reply in place of the upstream's.
    #[must_use]
    pub fn rewrite(rewrite: impl FnOnce(&[u8], Proto) -> BytesMut + 'static) -> Option<Box<Self>> {
        Some(Box::new(Self {
            effect: Effect::None,
            rewrite: Some(Box::new(rewrite)),
            in_parts: None,
            error: None,
            hidden: false,
        }))
    }

    /// A request of the sidecar's own inside MULTI.
    #[must_use]
    pub fn hidden(rewrite: Option<Rewrite>) -> Option<Box<Self>> {
        Some(Box::new(Self { effect: Effect::None, rewrite, in_parts: None, error: None, hidden: true }))
    }
}

/// What a reply that is no error says of the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    None,
    /// `MULTI`: it is in a transaction.
    Multi,
    /// `EXEC`: it is no more, whatever the reply.
    Exec,
    /// `DISCARD`: it is no more.
    Discard,
    /// `WATCH`: until EXEC, DISCARD or UNWATCH.
    Watch,
    /// `UNWATCH`.
    Unwatch,
    /// `SELECT n`.
    Select(u32),
    /// `HELLO n`, by whom where it said so.
    Hello(Proto, Identity),
    /// `AUTH`.
    Auth(Rc<Credentials>),
    /// These are kept from here on.
    Keep(Kept),
    /// These no more.
    Lift(Kept),
    /// Not known to change anything, nor not to. By the name under which COMMAND may come to know it, where it may.
    Unknown(Option<Box<[u8]>>),
    /// A script, which may run for ever: until its reply the link is one to evade.
    Script,
    /// Refused, it may have changed something all the same: a HELLO proves a user before it finds what is wrong behind.
    Doubtful,
    /// `SHUTDOWN`: the connection's end is its answer.
    End,
    /// One of the `SUBSCRIBE` and `UNSUBSCRIBE` family: so many replies follow, None: as many as there are subscriptions
    /// when its turn comes.
    Subscription(Family, Option<usize>),
    /// `RESET`, of the sidecar's own, with what makes it this greeting's behind it: it remembers nothing else.
    Reset(Box<Greeting>),
    /// A request of the sidecar's own, whose refusal makes the connection another than the client believes: it is closed.
    Must,
}

/// What else a connection may remember; a set of bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kept(u8);

impl Kept {
    /// Nothing.
    pub const NOTHING: Self = Self(0);
    /// `CLIENT TRACKING ON`, and with it CLIENT CACHING.
    pub const TRACKING: Self = Self(1);
    /// `CLIENT NO-EVICT ON`.
    pub const NO_EVICT: Self = Self(2);
    /// `CLIENT NO-TOUCH ON`.
    pub const NO_TOUCH: Self = Self(4);
    /// `READONLY`, in a cluster.
    pub const READONLY: Self = Self(8);
    /// Another client's invalidations are redirected to it, so it must stay this client's.
    pub const TARGET: Self = Self(16);
    /// What nobody knows.
    pub const UNKNOWN: Self = Self(32);

    fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// So many names are kept of commands that nobody knows; a connection that executed more is its client's for good.
const UNKNOWN_MAX: usize = 16;

/// What is kept of a watched command inside MULTI: its place, its watch, and what the allocator adds.
const MARK_BYTES: usize = 128;

/// See the module.
pub struct State {
    /// Whose requests it carries, the protocol it speaks, its database.
    pub greeting: Greeting,
    /// Inside MULTI.
    pub in_multi: bool,
    /// Keys are watched.
    pub watching: bool,
    /// What it is subscribed to.
    pub subscriptions: Subscriptions,
    kept: Kept,
    /// Commands that it executed and nobody knew, by their upper-case names.
    unknown: Vec<Box<[u8]>>,
    /// One of them was not asked about yet.
    has_new_unknown: bool,
    /// CLIENT TRACKING was on: the upstream's table of who read what keeps the connection's id even when it is off again, so
    /// whoever turned it on next would be told of keys that another client read.
    tracked: bool,
    /// The inventory's scripts that the transaction has queued so far.
    pub scripts: usize,
    /// Commands that the transaction has queued so far.
    queued: usize,
    /// Those of them that are watched, by their places.
    marked: Vec<(usize, Box<Watch>)>,
}

impl State {
    /// Of a new connection.
    #[must_use]
    pub fn new(greeting: Greeting) -> Self {
        Self {
            greeting,
            in_multi: false,
            watching: false,
            subscriptions: Subscriptions::default(),
            kept: Kept::NOTHING,
            unknown: Vec::new(),
            has_new_unknown: false,
            tracked: false,
            scripts: 0,
            queued: 0,
            marked: Vec::new(),
        }
    }

    /// It remembers nothing but what its greeting says.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let holds = self.in_multi || self.watching || !self.subscriptions.is_empty();
        !holds && self.kept == Kept::NOTHING && self.unknown.is_empty()
    }

    /// Clean, or clean after a RESET, it is as a new one to whoever gets it next. (RESET lifts NO-EVICT and NO-TOUCH in later
    /// engines only.)
    #[must_use]
    pub fn is_reusable(&self) -> bool {
        !self.tracked && self.kept == Kept::NOTHING && self.unknown.is_empty()
    }

    /// Another client's invalidations go to it, or no more.
    pub fn keep(&mut self, kept: Kept) {
        self.kept = self.kept.with(kept);
    }

    /// It executed commands that nobody knew then.
    #[must_use]
    pub fn has_unknown(&self) -> bool {
        !self.unknown.is_empty()
    }

    /// Those that are known by now are like any other: they left nothing. Returns whether one came that is not, since the
    /// last time.
    pub fn settle_unknown(&mut self, is_known: impl Fn(&[u8]) -> bool) -> bool {
        self.unknown.retain(|name| !is_known(name));
        std::mem::take(&mut self.has_new_unknown) && self.has_unknown()
    }

    fn note_unknown(&mut self, name: Option<Box<[u8]>>) {
        match name {
            Some(name) if self.unknown.contains(&name) => {}
            Some(name) if self.unknown.len() < UNKNOWN_MAX => {
                self.unknown.push(name);
                self.has_new_unknown = true;
            }
            _ => self.kept = self.kept.with(Kept::UNKNOWN),
        }
    }

    /// Replies are arrays like messages, so that a message is told by its first word alone.
    #[must_use]
    pub fn is_subscribed_resp2(&self) -> bool {
        self.greeting.proto == Proto::Resp2 && !self.subscriptions.is_empty()
    }

    /// The reply to EXEC must be looked into.
    #[must_use]
    pub fn has_marks(&self) -> bool {
        self.in_multi && !self.marked.is_empty()
    }

    /// What it keeps for the transaction, about.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.marked.len() * MARK_BYTES
    }

    /// The transaction will select another database, or try to.
    #[must_use]
    pub fn will_select(&self) -> bool {
        self.marked.iter().any(|(_, watch)| matches!(watch.effect, Effect::Select(_)) && !watch.hidden)
    }

    /// An acknowledgement came.
    pub fn note(&mut self, family: Family, count: usize) {
        self.subscriptions.note(family, count);
    }

    /// A reply came whose first byte is `kind`. True: the transaction has queued the request, and its watch is kept.
    pub fn queue(&mut self, kind: u8, watch: &mut Option<Box<Watch>>) -> bool {
        let control =
            matches!(watch.as_deref(), Some(Watch { effect: Effect::Exec | Effect::Discard | Effect::Reset(_), .. }));
        if !self.in_multi || kind != b'+' || control {
            return false;
        }
        if let Some(watch) = watch.take() {
            self.marked.push((self.queued, watch));
        }
        self.queued += 1;
        true
    }

    /// The reply to a request came, or the transaction's reply to it, with this first byte.
    pub fn apply(&mut self, effect: Effect, kind: u8) {
        let (ok, refused) = (kind == b'+', kind == b'-');
        match effect {
            Effect::Exec if self.in_multi => self.end_transaction(),
            // Refused for another reason (LOADING, NOAUTH) it leaves the transaction open.
            Effect::Discard if !refused => self.end_transaction(),
            Effect::Reset(greeting) if ok => *self = Self { tracked: self.tracked, ..Self::new(*greeting) },
            Effect::Multi if ok => self.in_multi = true,
            Effect::Watch if ok => self.watching = true,
            Effect::Unwatch if ok => self.watching = false,
            Effect::Select(db) if ok => {
                self.greeting.db = db;
                self.greeting.selected_as = None;
            }
            Effect::Hello(proto, identity) if !refused => {
                self.greeting.proto = proto;
                if let Some(credentials) = identity {
                    self.greeting.become_user(credentials);
                }
            }
            Effect::Auth(credentials) if ok => self.greeting.become_user(credentials),
            Effect::Keep(kept) if ok => {
                self.kept = self.kept.with(kept);
                self.tracked |= kept.has(Kept::TRACKING);
            }
            Effect::Lift(kept) if ok => self.kept = self.kept.without(kept),
            Effect::Doubtful => self.kept = self.kept.with(Kept::UNKNOWN),
            Effect::Unknown(name) if !refused => self.note_unknown(name),
            _ => {}
        }
    }

    fn end_transaction(&mut self) {
        (self.in_multi, self.watching) = (false, false);
        (self.queued, self.scripts) = (0, 0);
        self.marked.clear();
    }
}

/// What the client gets in place of the reply, which is whole, where that is something else.
pub(super) fn rewritten(
    rewrite: Option<Rewrite>,
    error: Option<OnError>,
    reply: &[u8],
    proto: Proto,
) -> Option<BytesMut> {
    match (rewrite, error) {
        (Some(rewrite), _) => Some(rewrite(reply, proto)),
        (None, Some(error)) if is_error(reply) => Some(error(reply, proto)),
        (None, _) => None,
    }
}

/// Is the reply one?
#[must_use]
pub fn is_error(reply: &[u8]) -> bool {
    matches!(reply.first(), Some(b'-' | b'!'))
}

#[cfg(test)]
mod tests;
