//! One worker: a thread with a runtime of its own, its sessions, its links, its batcher. Workers share only what must be
//! shared: knowledge of the upstream, the protected SKUs, the count of pinned connections, figures.

use crate::config::Acknowledge;
use crate::error::UpstreamError;
use crate::inventory::batcher::{Batcher, BatcherLimits, BatcherParts, MakePool, Namespaces};
use crate::inventory::reaper::{ReaperSettings, reap, refresh_marks};
use crate::listener::{Accepted, AcceptedStream, ClientGuard};
use crate::metrics::{Metrics, TlsHandshake};
use crate::resp::ReplyQueue;
use crate::session::clients::{ClientEntry, Clients, Door};
use crate::session::room::{MakeBatcher, Rooms};
use crate::session::walks::Pages;
use crate::session::{SessionContext, SessionSettings, linger, serve};
use crate::tenant::Tenants;
use crate::tls::{ListenerTls, NoHandshake, TlsStream};
use crate::upstream::knowledge::{Knowledge, keep_commands_known};
use crate::upstream::link::new_scratch;
use crate::upstream::links::pins::PinCounts;
use crate::upstream::links::{LinkLimits, Links};
use crate::upstream::pool::{Fitting, Manager, Pool, PoolConnection};
use crate::upstream::stream::Stream;
use crate::upstream::target::Target;
use bb8_redis::bb8::ManageConnection;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// A stopping sidecar is idle when no client has sent anything for so long.
const QUIET: Duration = Duration::from_millis(100);
/// A start waits so long for the upstream to say that it cannot serve; one that is slower is met later.
const FIRST_LOOK: Duration = Duration::from_millis(500);
/// How often a stopping sidecar looks.
const LOOK: Duration = Duration::from_millis(5);

/// A connection for what waits for replicas is kept so long where nobody needs it: a changed configuration may wait no more.
const POOL_IDLE_MAX: Duration = Duration::from_secs(60);

/// Hears after each round of the reaper whether the upstream answered.
pub type OnRound = Arc<dyn Fn(Result<(), String>) + Send + Sync>;

/// Hears once what came of the first connection to the upstream; None: it took too long. Where the upstream can never serve,
/// the worker ends.
pub type OnFirstLook = oneshot::Sender<Option<Result<(), UpstreamError>>>;

/// What a worker is made of.
#[derive(Clone)]
pub struct WorkerParts {
    /// Where the upstream is.
    pub target: Target,
    /// What its pooled connections need.
    pub fitting: Fitting,
    /// What is known of it.
    pub knowledge: Arc<Knowledge>,
    /// How many workers there are.
    pub workers: usize,
    /// Connections of the pool.
    pub pool_size: u32,
    /// Limits of links and pinned connections.
    pub links: LinkLimits,
    /// Pinned connections of all workers.
    pub pinned: Arc<PinCounts>,
    /// Limits of the batcher.
    pub batcher: BatcherLimits,
    /// Whose clients they may be, as it changes.
    pub tenants: watch::Receiver<Arc<Tenants>>,
    /// What is known of namespaces.
    pub namespaces: Arc<Namespaces>,
    /// What clients of the TCP listener must go through first.
    pub tls: Option<ListenerTls>,
    /// Bounds of sessions.
    pub session: SessionSettings,
    /// Figures.
    pub metrics: Metrics,
    /// All clients, of all workers.
    pub clients: Arc<Clients>,
    /// Whose turn it is to ask for a page of all keys.
    pub pages: Pages,
    /// Only one worker reaps.
    pub reaper: Option<(ReaperSettings, OnRound)>,
}

/// When to stop: no new request after the first instant, nothing at all after the second.
#[derive(Debug, Clone, Copy)]
pub struct StopBy {
    /// Clients may go on working until then.
    pub finish: Instant,
    /// Everything is dropped then.
    pub end: Instant,
}

type Sessions = Rc<RefCell<HashMap<u64, Rc<ReplyQueue>>>>;

/// Runs a worker on this thread until it is told to stop and has. With `first_look` it connects to the upstream before all
/// else, and keeps the connection.
///
/// # Errors
/// Where no runtime can be made, or the target cannot be expressed.
pub fn run(
    parts: WorkerParts,
    clients: mpsc::Receiver<(Accepted, ClientGuard)>,
    stop: watch::Receiver<Option<StopBy>>,
    first_look: Option<OnFirstLook>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())?;
    runtime.block_on(work(parts, clients, stop, first_look))
}

async fn work(
    parts: WorkerParts,
    mut clients: mpsc::Receiver<(Accepted, ClientGuard)>,
    mut stop: watch::Receiver<Option<StopBy>>,
    first_look: Option<OnFirstLook>,
) -> io::Result<()> {
    let (tls, mut tenants) = (parts.tls.clone(), parts.tenants.clone());
    let reaper = parts.reaper.clone();
    let first = match first_look {
        None => None,
        Some(on_first_look) => match look(&parts).await {
            Some(Err(error)) if error.is_fatal() => {
                let _ = on_first_look.send(Some(Err(error)));
                return Ok(());
            }
            looked => {
                let (first, found) = looked.map_or((None, None), |looked| match looked {
                    Ok(first) => (Some(first), Some(Ok(()))),
                    Err(error) => (None, Some(Err(error))),
                });
                let _ = on_first_look.send(found);
                first
            }
        },
    };
    let context = Rc::new(session_context(parts, first)?);
    if let Some((settings, on_round)) = reaper {
        let inventories = |context: &Rc<SessionContext>| {
            let context = Rc::clone(context);
            move || context.rooms.inventories()
        };
        tokio::task::spawn_local(reap(inventories(&context), settings.clone(), move |round| on_round(round)));
        tokio::task::spawn_local(refresh_marks(inventories(&context), settings));
    }
    let sessions = Sessions::default();
    let start = |client, guard| start_client(&context, &sessions, client, guard, tls.as_ref());
    let stop_by = loop {
        tokio::select! {
            biased;
            // First: a client may have come by the listener of a tenant that is new.
            Ok(()) = tenants.changed() => {
                context.rooms.change(Arc::clone(&tenants.borrow_and_update()));
                sessions.borrow().values().for_each(|replies| replies.wake_session());
            }
            stopped = stop.changed() => break stopped.ok().and_then(|()| *stop.borrow_and_update()),
            client = clients.recv() => match client {
                Some((client, guard)) => start(client, guard),
                None => break None,
            },
        }
    };
    if let Some(stop_by) = stop_by {
        // New clients are served while the others still work: an application that stops beside the sidecar needs it to.
        let until_quiet = quiet(&context, &sessions);
        tokio::pin!(until_quiet);
        loop {
            tokio::select! {
                client = clients.recv() => match client {
                    Some((client, guard)) => start(client, guard),
                    None => break,
                },
                () = &mut until_quiet => break,
                () = tokio::time::sleep_until(stop_by.finish) => break,
                // Told again: at once.
                _ = stop.changed() => break,
            }
        }
        context.closing.set(true);
        sessions.borrow().values().for_each(|replies| replies.wake_session());
        let _ = timeout_at(stop_by.end, async {
            while !sessions.borrow().is_empty() || !context.rooms.are_idle() {
                sleep(LOOK).await;
            }
        })
        .await;
    }
    context.links.close();
    Ok(())
}

/// None: it takes too long.
async fn look(parts: &WorkerParts) -> Option<Result<Box<PoolConnection>, UpstreamError>> {
    let manager = Manager::new(&parts.target, parts.fitting.clone(), &parts.knowledge, &parts.metrics);
    timeout(FIRST_LOOK, manager.connect()).await.ok()
}

/// Until all clients are answered and none has sent anything for a while. Cancel safe: it only looks.
async fn quiet(context: &SessionContext, sessions: &Sessions) {
    let (mut seen, mut since) = (context.requests.get(), Instant::now());
    loop {
        let busy = sessions.borrow().values().any(|replies| replies.is_busy());
        if busy || context.requests.get() != seen {
            (seen, since) = (context.requests.get(), Instant::now());
        }
        if since.elapsed() >= QUIET || sessions.borrow().is_empty() {
            return;
        }
        sleep(LOOK).await;
    }
}

/// What the sessions of a worker share, its links and its batcher among it. To be called on the worker's runtime. `first` is a
/// connection for batches that is there already.
///
/// # Errors
/// Where the target cannot be expressed.
pub fn session_context(parts: WorkerParts, first: Option<Box<PoolConnection>>) -> io::Result<SessionContext> {
    let scratch = new_scratch();
    let target = Rc::new(parts.target.clone());
    let manager = Manager::new(&target, parts.fitting.clone(), &parts.knowledge, &parts.metrics);
    let pool = manager.into_pool(parts.pool_size, parts.batcher.deadline, None);
    // Were it lost meanwhile the pool would make another.
    if let Some(first) = first {
        drop(pool.add(first));
    }
    if parts.reaper.is_some() {
        let (knowledge, clients) = (Arc::clone(&parts.knowledge), Arc::clone(&parts.clients));
        let learnt = move || clients.wake_pinned();
        tokio::task::spawn_local(keep_commands_known(pool.clone(), knowledge, target.connect_timeout, learnt));
    }
    let tenants = Arc::clone(&parts.tenants.borrow());
    let queue_ops_max = parts.batcher.queue_ops_max;
    let make = make_batcher(&target, &parts, pool);
    let rooms = Rooms::new(tenants, Arc::clone(&parts.namespaces), queue_ops_max, make, &parts.metrics);
    Ok(SessionContext {
        rooms,
        settings: parts.session,
        links: Links::new(&target, parts.links, &parts.pinned, &parts.metrics, &scratch),
        workers: parts.workers,
        commands: RefCell::new(arc_swap::Cache::new(Arc::clone(&parts.knowledge.commands))),
        knowledge: parts.knowledge,
        clients: parts.clients,
        default_user: target.username.clone().unwrap_or_else(|| "default".to_owned()).into_bytes(),
        metrics: parts.metrics,
        scratch,
        closing: Cell::new(false),
        pages: parts.pages,
        requests: Cell::new(0),
        wrong_told: Cell::new(None),
    })
}

/// Of the sidecar's own user over this pool, of another over one of its own.
fn make_batcher(target: &Rc<Target>, parts: &WorkerParts, pool: Pool) -> MakeBatcher {
    let (target, own) = (Rc::clone(target), Arc::clone(&parts.knowledge));
    let (fitting, limits, metrics) = (parts.fitting.clone(), parts.batcher.clone(), parts.metrics.clone());
    let (pool_size, deadline) = (parts.pool_size, parts.batcher.deadline);
    Box::new(move |user, turns| {
        let (of, knowledge, fits, first) = match user {
            None => (Target::clone(&target), Arc::clone(&own), fitting.clone(), Some(pool.clone())),
            Some((name, password)) => {
                let of =
                    Target { username: Some(name.clone()), password: Some(password.clone()), ..Target::clone(&target) };
                (of, Arc::new(own.of_another_user()), Fitting { home: None, ..fitting.clone() }, None)
            }
        };
        let (known, of_pool) = (Arc::clone(&knowledge), metrics.clone());
        let make_pool: MakePool = Box::new(move |acknowledge| match &first {
            Some(pool) if acknowledge == Acknowledge::Memory => pool.clone(),
            _ => {
                let idle_max = (acknowledge != Acknowledge::Memory).then_some(POOL_IDLE_MAX);
                Manager::new(&of, fits.clone(), &known, &of_pool).into_pool(pool_size, deadline, idle_max)
            }
        });
        let (target, turns) = (Rc::clone(&target), Rc::clone(turns));
        Batcher::start(BatcherParts {
            make_pool,
            knowledge,
            fitting: fitting.clone(),
            limits: limits.clone(),
            metrics: metrics.clone(),
            tenants: Arc::clone(&target.tenants),
            pause: Box::new(move |attempt| target.pause(attempt)),
            crowded: Box::new(move || turns.are_several()),
        })
    })
}

fn start_client(
    context: &Rc<SessionContext>,
    sessions: &Sessions,
    client: Accepted,
    guard: ClientGuard,
    tls: Option<&ListenerTls>,
) {
    let door = client.door();
    let stream = match client.stream {
        AcceptedStream::Tcp(stream) => tokio::net::TcpStream::from_std(stream).and_then(Stream::from_tcp),
        AcceptedStream::Unix(stream) => tokio::net::UnixStream::from_std(stream).map(Stream::Unix),
    };
    match (stream, tls) {
        (Ok(Stream::Tcp(stream)), Some(tls)) => {
            let (context, tls) = (Rc::clone(context), tls.clone());
            let entered = Entered::new(&context, sessions, door, guard);
            tokio::task::spawn_local(async move {
                let entry = Arc::clone(&entered.entry);
                let shaking = shake_hands(&context.metrics, &tls, stream, &entry.door);
                if let Some(Some(stream)) = context.before_it_is_known(&entry, shaking).await {
                    entered.serve(context, Stream::Tls(Box::new(stream))).await;
                }
            });
        }
        (Ok(stream), _) => {
            let (context, entered) = (Rc::clone(context), Entered::new(context, sessions, door, guard));
            tokio::task::spawn_local(entered.serve(context, stream));
        }
        (Err(error), _) => {
            tracing::debug!(%error, "a client was gone before it was served");
            context.metrics.error(crate::metrics::ErrorOrigin::Client, crate::metrics::ErrorKind::Io);
        }
    }
}

/// None where there is no TLS with this client, which is closed then.
async fn shake_hands(
    metrics: &Metrics,
    tls: &ListenerTls,
    stream: tokio::net::TcpStream,
    door: &Door,
) -> Option<TlsStream> {
    match tls.accept(stream).await {
        Ok(stream) => {
            metrics.tls_handshakes[TlsHandshake::Ok].increment(1);
            Some(stream)
        }
        Err(NoHandshake { end, reason, stream }) => {
            metrics.tls_handshakes[end].increment(1);
            tracing::debug!(addr = door.addr, reason, "no TLS with a client");
            if let Some(stream) = stream {
                linger(Stream::Tcp(stream)).await;
            }
            None
        }
    }
}

/// A client that has come in, and leaves where this is dropped.
struct Entered {
    entry: Arc<ClientEntry>,
    replies: Rc<ReplyQueue>,
    /// Dropped also where the session panics.
    _leave: Leave,
}

impl Entered {
    fn new(context: &SessionContext, sessions: &Sessions, door: Door, guard: ClientGuard) -> Self {
        let replies = ReplyQueue::new(context.settings.output_max_bytes());
        let entry = context.clients.enter(door);
        sessions.borrow_mut().insert(entry.key, Rc::clone(&replies));
        let leave = Leave {
            sessions: Rc::clone(sessions),
            clients: Arc::clone(&context.clients),
            id: entry.key,
            _guard: guard,
        };
        Self { entry, replies, _leave: leave }
    }

    async fn serve(self, context: Rc<SessionContext>, stream: Stream) {
        serve(context, stream, Arc::clone(&self.entry), Rc::clone(&self.replies)).await;
    }
}

struct Leave {
    sessions: Sessions,
    clients: Arc<Clients>,
    id: u64,
    _guard: ClientGuard,
}

impl Drop for Leave {
    fn drop(&mut self) {
        self.sessions.borrow_mut().remove(&self.id);
        self.clients.leave(self.id);
    }
}
