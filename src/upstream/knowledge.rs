//! What is known of the upstream, shared by all workers: its commands, what it is, why it could not be reached. Connections of
//! the pool learn it; here is also decided when they ask again.

use super::command_reply::command_table_of;
use super::engine::Engine;
use super::pool::Pool;
use crate::command::CommandTable;
use crate::error::{Kind, UpstreamError};
use arc_swap::ArcSwap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

/// COMMAND is some 200 kB: whoever doubts what is known of it, it is not asked for more often.
const ASK_PAUSE: Duration = Duration::from_secs(1);
/// Older than this the table is asked for again when a connection is made: others may have loaded a module.
const OLD: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Default)]
pub struct Knowledge {
    /// Its commands.
    pub commands: Arc<ArcSwap<CommandTable>>,
    /// Somebody's rights or isolation need more of COMMAND than the way of each command: [`CommandTable::facts`]. To be set
    /// before the first connection, and where it is set later the commands are to be doubted.
    pub facts_wanted: AtomicBool,
    /// None before the first connection.
    pub engine: ArcSwap<Option<Engine>>,
    /// What the sidecar's own user knows, where this is of another.
    own: Option<Arc<Self>>,
    asked: Mutex<Option<Instant>>,
    /// Something was seen that those commands do not explain,
    doubted: AtomicBool,
    /// and this wakes who asks.
    doubt: Notify,
    /// Pooled connections that were given up and not made anew yet.
    lost: AtomicUsize,
    failed: Notify,
    last_error: Mutex<Option<UpstreamError>>,
    /// Where this is of another user and the upstream refuses it.
    refusal: Mutex<Option<Refusal>>,
}

/// A user is not asked for again before then, whoever needs a connection.
struct Refusal {
    until: Instant,
    times: u32,
}

impl Knowledge {
    /// Of the same upstream, for connections of another user, whose failures are not those of the sidecar's own. That user
    /// need not have the right to ask for the commands, and does not.
    #[must_use]
    pub fn of_another_user(self: &Arc<Self>) -> Self {
        Self { commands: Arc::clone(&self.commands), own: Some(Arc::clone(self)), ..Self::default() }
    }

    /// The upstream's commands may be others than those that are known. Asked for soon, in the background.
    pub fn doubt_commands(&self) {
        self.doubted.store(true, Ordering::Release);
        self.doubt.notify_one();
    }

    /// Whoever made a connection is to ask for the commands.
    #[must_use]
    pub fn is_to_be_asked(&self) -> bool {
        if self.own.is_some() {
            return false;
        }
        let asked = *self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = self.doubted.load(Ordering::Acquire) || self.commands.load().is_empty();
        asked.map(|asked| asked.elapsed()).is_none_or(|ago| ago > OLD || (wanted && ago > ASK_PAUSE))
    }

    /// See [`Self::of_another_user`].
    #[must_use]
    pub fn is_of_another(&self) -> bool {
        self.own.is_some()
    }

    /// What is known for the sidecar's own user, where this is of another.
    pub(super) fn own(&self) -> Option<&Self> {
        self.own.as_deref()
    }

    /// They are being asked for; a doubt from here on is another.
    pub fn asking(&self) {
        self.doubted.store(false, Ordering::Release);
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// The reply to COMMAND, where it is one.
    pub fn learn(&self, reply: &[u8]) {
        match command_table_of(reply, self.facts_wanted.load(Ordering::Acquire)) {
            Some(commands) => self.commands.store(Arc::new(commands)),
            None => self.doubt_commands(),
        }
    }

    /// The pool's connections are refused for want of a password in upstream.url.
    #[must_use]
    pub fn lacks_password(&self) -> bool {
        self.last_error().is_some_and(|error| error.kind == Kind::NoPassword)
    }

    /// The upstream refuses the other user that this is of: nothing that needs a connection can be sent.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.own.is_some() && self.last_error().is_some_and(|error| error.kind == Kind::Auth)
    }

    /// The same, and it is not to be asked again yet.
    pub(super) fn refused_of_late(&self) -> Option<UpstreamError> {
        let refusal = self.refusal.lock().unwrap_or_else(PoisonError::into_inner);
        let is_of_late = refusal.as_ref().is_some_and(|refusal| Instant::now() < refusal.until);
        self.last_error().filter(|_| is_of_late && self.is_refused())
    }

    /// The upstream has just refused the other user; the n-th time in a row it is left alone for so long.
    pub(super) fn refused(&self, pause: impl Fn(u32) -> Duration) {
        let (now, mut refusal) = (Instant::now(), self.refusal.lock().unwrap_or_else(PoisonError::into_inner));
        // Connections that were being made at once are one attempt.
        if refusal.as_ref().is_none_or(|refusal| refusal.until <= now) {
            let times = refusal.as_ref().map_or(0, |refusal| refusal.times + 1);
            *refusal = Some(Refusal { until: now + pause(times), times });
        }
    }

    /// A pooled connection was made. Returns whether it is in the place of one that was lost.
    pub(super) fn connected(&self) -> bool {
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = None;
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.lost.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |lost| lost.checked_sub(1)).is_ok()
    }

    pub(super) fn lost(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn failed(&self, error: UpstreamError) {
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        self.failed.notify_waiters();
    }

    /// The error of the last attempt to connect.
    #[must_use]
    pub fn last_error(&self) -> Option<UpstreamError> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// When an attempt to connect fails. Cancel safe.
    pub async fn connect_failed(&self) {
        self.failed.notified().await;
    }
}

/// Asks for the commands whenever somebody doubts them, and calls `learnt` then. Runs until it is dropped.
pub async fn keep_commands_known(pool: Pool, knowledge: Arc<Knowledge>, patience: Duration, learnt: impl Fn()) {
    loop {
        knowledge.doubt.notified().await;
        if let Ok(mut connection) = pool.get().await {
            if let Ok(Ok(())) = timeout(patience, connection.ask_commands()).await {
                learnt();
            } else {
                connection.give_up();
                knowledge.doubt_commands();
            }
        }
        sleep(ASK_PAUSE).await;
        // Where none could be asked, and nobody else did.
        if knowledge.doubted.load(Ordering::Acquire) {
            knowledge.doubt.notify_one();
        }
    }
}
