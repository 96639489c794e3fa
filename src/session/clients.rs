//! All clients of the sidecar, whatever worker serves them: what CLIENT LIST, KILL, UNBLOCK and TRACKING … REDIRECT speak
//! of. A session writes its own entry; others read it, ask for its end, or for a connection of its own.

use dashmap::DashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// The map of clients is so many, so that workers do not wait for each other. (dashmap's own choice reads a dozen files.)
const SHARDS: usize = 16;

/// See the module.
pub struct Clients {
    entries: DashMap<u64, Arc<ClientEntry>>,
    /// Those of each tenant by the ids that they have there: whoever asks about his own pays for no others.
    by_tenant: DashMap<Arc<str>, BTreeMap<u64, Arc<ClientEntry>>>,
    last_id: AtomicU64,
    /// Those that have not said yet who they are, and must.
    unknown: Mutex<BTreeSet<u64>>,
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
    /// Under which it is kept.
    pub key: u64,
    /// See [`Self::id`].
    id: AtomicU64,
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
            by_tenant: DashMap::with_shard_amount(SHARDS),
            unknown: Mutex::default(),
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
            key: id,
            id: AtomicU64::new(id),
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

    /// It must say who it is. Where more than `most` must, the one that has taken longest is closed: who opens connections
    /// and says nothing does not keep out those who do.
    pub fn must_say(&self, entry: &ClientEntry, most: usize) {
        let mut unknown = lock(&self.unknown);
        unknown.insert(entry.key);
        if unknown.len() > most
            && let Some(oldest) = unknown.pop_first()
        {
            drop(unknown);
            if let Some(oldest) = self.entries.get(&oldest) {
                oldest.kill(false);
            }
        }
    }

    /// It has said who it is.
    pub fn has_said(&self, entry: &ClientEntry) {
        lock(&self.unknown).remove(&entry.key);
    }

    /// It is gone.
    pub fn leave(&self, id: u64) {
        lock(&self.unknown).remove(&id);
        if let Some((_, entry)) = self.entries.remove(&id) {
            self.leave_tenant(&entry);
            entry.wake_waiters();
        }
    }

    /// From here on it is that tenant's, and has this id there: how many clients others have is not told by it.
    pub fn become_tenants(&self, entry: &Arc<ClientEntry>, tenant: &Arc<str>, id: u64) {
        self.leave_tenant(entry);
        entry.id.store(id, Ordering::Relaxed);
        entry.state().tenant = Arc::clone(tenant);
        self.by_tenant.entry(Arc::clone(tenant)).or_default().insert(id, Arc::clone(entry));
    }

    fn leave_tenant(&self, entry: &ClientEntry) {
        let tenant = entry.tenant();
        let is_empty = self.by_tenant.get_mut(&tenant).is_some_and(|mut of| {
            of.remove(&entry.id());
            of.is_empty()
        });
        if is_empty {
            self.by_tenant.remove_if(&tenant, |_, of| of.is_empty());
        }
    }

    /// By what CLIENT ID tells it, among those of a tenant.
    #[must_use]
    pub fn find(&self, tenant: &str, id: u64) -> Option<Arc<ClientEntry>> {
        self.by_tenant.get(tenant)?.get(&id).cloned()
    }

    /// All, by their ids.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<ClientEntry>> {
        let mut all: Vec<_> = self.entries.iter().map(|entry| Arc::clone(&entry)).collect();
        all.sort_unstable_by_key(|entry| entry.key);
        all
    }

    /// Those of a tenant, by their ids.
    #[must_use]
    pub fn of(&self, tenant: &str) -> Vec<Arc<ClientEntry>> {
        self.by_tenant.get(tenant).map_or_else(Vec::new, |of| of.values().cloned().collect())
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
        let Some(entry) = self.find(tenant, id) else {
            *asked = None;
            return Poll::Ready(OwnConnection::NoClient);
        };
        entry.wait(cx);
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
    /// What CLIENT ID tells it: unique among its tenant's clients.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id.load(Ordering::Relaxed)
    }

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

    /// Who asks again, as one does with each request, waits once.
    fn wait(&self, cx: &Context<'_>) {
        let mut waiters = lock(&self.waiters);
        if !waiters.iter().any(|waiter| waiter.will_wake(cx.waker())) {
            waiters.push(cx.waker().clone());
        }
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
