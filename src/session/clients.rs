//! All clients of the sidecar, whatever worker serves them: what CLIENT LIST, KILL, UNBLOCK and TRACKING … REDIRECT speak
//! of. A session writes its own entry; others read it, ask for its end, or for a connection of its own.

use dashmap::DashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// The map of clients is so many, so that workers do not wait for each other. (dashmap's own choice reads a dozen files.)
const SHARDS: usize = 16;

/// See the module.
pub struct Clients {
    entries: DashMap<u64, Arc<ClientEntry>>,
    last_id: AtomicU64,
    paused_until: Mutex<Option<Instant>>,
    /// Whether the above is worth a look.
    paused: AtomicBool,
}

/// Where a client came in.
#[derive(Debug, Clone, Default)]
pub struct Door {
    /// Its own address, `ip:port`, or of a unix socket `path:0`, as Redis writes it.
    pub addr: String,
    /// The address that it connected to.
    pub laddr: String,
    /// The socket's descriptor.
    pub fd: i32,
    /// Over a unix socket.
    pub unix: bool,
    /// The tenant whose own listener it is.
    pub tenant: Option<Arc<str>>,
}

/// What a session last said of itself.
#[derive(Debug, Clone, Default)]
pub struct ClientState {
    /// CLIENT SETNAME.
    pub name: Vec<u8>,
    /// CLIENT SETINFO LIB-NAME.
    pub lib_name: Vec<u8>,
    /// CLIENT SETINFO LIB-VER.
    pub lib_ver: Vec<u8>,
    /// The tenant; empty where it is not known yet.
    pub tenant: Arc<str>,
    /// The ACL user; empty for the sidecar's own.
    pub user: Vec<u8>,
    /// The selected database.
    pub db: u32,
    /// 2 or 3.
    pub resp: u8,
    /// The last command, lower case, with its subcommand where it has one.
    pub command: Vec<u8>,
    /// The id upstream of the connection of its own, where it has one.
    pub upstream_id: Option<u64>,
    /// The id upstream of the link that its requests go over.
    pub link_id: Option<u64>,
    /// It has subscriptions.
    pub subscribed: bool,
}

/// What a client did so far. Its session writes them, others read them: they need no lock.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Requests.
    pub requests: AtomicU64,
    /// Bytes read from it.
    pub bytes_in: AtomicU64,
    /// Bytes written to it.
    pub bytes_out: AtomicU64,
    /// Milliseconds from the client's beginning to its last request.
    active_ms: AtomicU64,
}

/// One client.
pub struct ClientEntry {
    /// What CLIENT ID tells it.
    pub id: u64,
    /// Where it came in.
    pub door: Door,
    /// What it did so far.
    pub traffic: Traffic,
    since: Instant,
    state: Mutex<ClientState>,
    killed: AtomicBool,
    finished: AtomicBool,
    wanted: AtomicBool,
    /// How often it could not have that, for `pinned_max` were in use.
    refusals: AtomicU64,
    waker: Mutex<Option<Waker>>,
    /// Those who wait for its connection of its own.
    waiters: Mutex<Vec<Waker>>,
}

/// Another client's connection of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnConnection {
    /// By its id upstream.
    Is(u64),
    /// No such client.
    NoClient,
    /// As many as may have one.
    Refused,
}

impl Default for Clients {
    fn default() -> Self {
        Self {
            entries: DashMap::with_shard_amount(SHARDS),
            last_id: AtomicU64::default(),
            paused_until: Mutex::default(),
            paused: AtomicBool::default(),
        }
    }
}

impl Clients {
    /// A new client; it leaves by [`leave`](Self::leave).
    pub fn enter(&self, door: Door) -> Arc<ClientEntry> {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let entry = Arc::new(ClientEntry {
            id,
            door,
            traffic: Traffic::default(),
            since: Instant::now(),
            state: Mutex::default(),
            killed: AtomicBool::new(false),
            finished: AtomicBool::new(false),
            wanted: AtomicBool::new(false),
            refusals: AtomicU64::new(0),
            waker: Mutex::default(),
            waiters: Mutex::default(),
        });
        self.entries.insert(id, Arc::clone(&entry));
        entry
    }

    /// It is gone.
    pub fn leave(&self, id: u64) {
        if let Some((_, entry)) = self.entries.remove(&id) {
            entry.wake_waiters();
        }
    }

    /// By its id.
    #[must_use]
    pub fn get(&self, id: u64) -> Option<Arc<ClientEntry>> {
        self.entries.get(&id).map(|entry| Arc::clone(&entry))
    }

    /// All, by their ids.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<ClientEntry>> {
        let mut all: Vec<_> = self.entries.iter().map(|entry| Arc::clone(&entry)).collect();
        all.sort_unstable_by_key(|entry| entry.id);
        all
    }

    /// Those of a tenant, by their ids.
    #[must_use]
    pub fn of(&self, tenant: &str) -> Vec<Arc<ClientEntry>> {
        let mut all = self.all();
        all.retain(|entry| *entry.tenant() == *tenant);
        all
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> usize {
        self.entries.len()
    }

    /// CLIENT PAUSE was told through the sidecar: until then the upstream may let commands wait. None: CLIENT UNPAUSE.
    pub fn pause(&self, time: Option<Duration>) {
        let now = Instant::now();
        let mut until = lock(&self.paused_until);
        // As Redis has it: a later PAUSE does not shorten an earlier one.
        *until = time.map(|time| until.unwrap_or(now).max(now + time));
        self.paused.store(until.is_some(), Ordering::Release);
    }

    /// May the upstream let a command wait that is not one to wait?
    #[must_use]
    pub fn is_paused(&self) -> bool {
        if !self.paused.load(Ordering::Acquire) {
            return false;
        }
        let mut until = lock(&self.paused_until);
        let paused = until.is_some_and(|until| until > Instant::now());
        if !paused {
            *until = None;
            self.paused.store(false, Ordering::Release);
        }
        paused
    }

    /// Something changed for which a client may not need its connection of its own any more.
    pub fn wake_pinned(&self) {
        for entry in self.all().iter().filter(|entry| entry.state().upstream_id.is_some()) {
            entry.wake();
        }
    }

    /// The connection of its own of that client, which it is made to have and to keep. Pending: `cx` is woken when something
    /// changed. `asked` is the caller's memory from one call to the next, None before and after.
    pub fn poll_own_connection(
        &self,
        id: u64,
        tenant: &str,
        asked: &mut Option<u64>,
        cx: &Context<'_>,
    ) -> Poll<OwnConnection> {
        let Some(entry) = self.get(id).filter(|entry| *entry.tenant() == *tenant) else {
            *asked = None;
            return Poll::Ready(OwnConnection::NoClient);
        };
        lock(&entry.waiters).push(cx.waker().clone());
        // Its session takes the wish back before it counts a refusal: one that comes in between is refused with it.
        let refusals = entry.refusals.load(Ordering::Acquire);
        if *asked.get_or_insert(refusals) != refusals {
            *asked = None;
            return Poll::Ready(OwnConnection::Refused);
        }
        let wanted = entry.wanted.swap(true, Ordering::AcqRel);
        if wanted && let Some(upstream_id) = entry.state().upstream_id {
            *asked = None;
            return Poll::Ready(OwnConnection::Is(upstream_id));
        }
        entry.wake();
        Poll::Pending
    }
}

impl ClientEntry {
    /// The tenant; empty where it is not known yet.
    #[must_use]
    pub fn tenant(&self) -> Arc<str> {
        Arc::clone(&self.state().tenant)
    }

    /// Its age.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// How long it has asked nothing.
    #[must_use]
    pub fn idle(&self) -> Duration {
        self.age().saturating_sub(Duration::from_millis(self.traffic.active_ms.load(Ordering::Relaxed)))
    }

    /// It asked something just now.
    pub fn is_active(&self) {
        self.traffic.active_ms.store(self.age().as_millis() as u64, Ordering::Relaxed);
    }

    /// What it last said of itself.
    pub fn state(&self) -> MutexGuard<'_, ClientState> {
        lock(&self.state)
    }

    /// Whom to wake; to be called by its session.
    pub fn set_waker(&self, waker: &Waker) {
        *lock(&self.waker) = Some(waker.clone());
    }

    /// Ends it at once, or where `after_reply` when what it is owed is written.
    pub fn kill(&self, after_reply: bool) {
        if after_reply { &self.finished } else { &self.killed }.store(true, Ordering::Release);
        self.wake();
    }

    /// It is to end at once.
    #[must_use]
    pub fn is_killed(&self) -> bool {
        self.killed.load(Ordering::Acquire)
    }

    /// It is to end when it is answered.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.finished.load(Ordering::Acquire)
    }

    /// It must have a connection of its own and keep it, for others speak of that.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Acquire)
    }

    /// It cannot have the connection that others speak of.
    pub fn refuse_own_connection(&self) {
        self.wanted.store(false, Ordering::Release);
        self.refusals.fetch_add(1, Ordering::AcqRel);
        self.wake_waiters();
    }

    /// Its own connection came or went.
    pub fn wake_waiters(&self) {
        lock(&self.waiters).drain(..).for_each(Waker::wake);
    }

    fn wake(&self) {
        if let Some(waker) = &*lock(&self.waker) {
            waker.wake_by_ref();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
