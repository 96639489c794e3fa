//! The composition root: from a configuration to workers, listener, admin, managed upstream; and their end in order. It
//! and its parts alone see all.

mod parts;
mod process;

pub use self::parts::{target, worker_parts};
pub use self::process::Signals;

use self::parts::on_round;
use self::process::raise_file_limit;
use crate::admin::{self, AdminState, Readiness};
use crate::config::{self, Acknowledge, Config, ShownConfig, UpstreamUrl};
use crate::error::{Kind, UpstreamError};
use crate::listener::{Handover, Listeners, WorkerDoor};
use crate::memory::{self, Memory};
use crate::metrics::Metrics;
use crate::reload::{Reloader, Reread};
use crate::tenant::{Tenants, resolve};
use crate::tls::{self, ListenerTls};
use crate::upstream::check;
use crate::upstream::knowledge::Knowledge;
use crate::upstream::managed::Managed;
use crate::upstream::target::Target;
use crate::upstream::users::TenantUsers;
use crate::worker::{self, StopBy, WorkerParts};
use arc_swap::ArcSwap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

/// A worker may take so much longer to end than it was told.
const GRACE: Duration = Duration::from_millis(500);
/// See [`Memory`].
const UPKEEP: Duration = Duration::from_secs(1);

/// A sidecar that runs.
pub struct Running {
    /// Where clients come in by TCP, with the port that was really taken.
    pub listen: Option<SocketAddr>,
    /// Where metrics and health are.
    pub admin: Option<SocketAddr>,
    /// Where the upstream is.
    pub upstream: String,
    /// Its figures.
    pub metrics: Metrics,
    drain: Duration,
    stop: watch::Sender<Option<StopBy>>,
    tenants: watch::Sender<Arc<Tenants>>,
    knowledge: Arc<Knowledge>,
    /// What the upstream's side knows of them.
    users: Arc<TenantUsers>,
    /// What `/config` tells, where it does.
    shown: Option<Arc<ArcSwap<ShownConfig>>>,
    listeners: Mutex<Listeners>,
    workers: Vec<(JoinHandle<()>, oneshot::Receiver<()>)>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    managed: Option<Managed>,
}

/// Starts a sidecar on this runtime (for admin and listener) and threads of its own (the workers).
///
/// # Errors
/// One line: what cannot be had and what would be right.
pub async fn start(config: &Config) -> Result<Running, String> {
    let tls = ListenerTls::load(&config.listen)?;
    let tenants = resolve(config, &Tenants::default())?;
    let mut listeners = Listeners::bind(config)?;
    let admin = match config.admin.listen.as_str() {
        "" => None,
        address => Some(
            tokio::net::TcpListener::bind(address)
                .await
                .map_err(|error| format!("cannot listen on {address} (admin): {error}"))?,
        ),
    };
    let managed = match &config.upstream.url {
        UpstreamUrl::Managed => Some(Managed::start(config).await.map_err(|error| error.to_string())?),
        UpstreamUrl::Server { .. } => None,
    };
    let target = target(config, managed.as_ref())?;
    let metrics = Metrics::new();
    let readiness = Arc::new(Readiness::new());
    let shown = ShownConfig::of(config).for_others();
    let shown = config.admin.show_config.then(|| Arc::new(ArcSwap::from_pointee(shown)));
    keep_figures(&metrics, &tenants);
    name_users(&target.tenants, &tenants);
    let (tenants, changed) = watch::channel(Arc::new(tenants));
    if config.tenants.is_empty() {
        // Its figures are there from the start, so that a rate over one is never absent.
        drop(metrics.operations(&config.inventory.namespace));
    }
    let wants_facts = config.tenants.iter().any(config::Tenant::needs_facts);
    let mut parts = worker_parts(config, target.clone(), changed, &metrics, on_round(&readiness, &metrics));
    parts.tls = tls.clone();
    parts.knowledge.facts_wanted.store(wants_facts, Ordering::Release);

    let (stop, stopped) = watch::channel(None);
    let (mut doors, mut workers) = (Vec::new(), Vec::new());
    let (on_first_look, found) = oneshot::channel();
    let mut on_first_look = Some(on_first_look);
    for index in 0..config.sidecar.workers {
        let (door, clients) = WorkerDoor::new();
        doors.push(door);
        let mut parts = WorkerParts { metrics: metrics.for_thread(), ..parts.clone() };
        if index > 0 {
            parts.reaper = None;
        }
        let on_first_look = on_first_look.take();
        let (stopped, (ended, end)) = (stopped.clone(), oneshot::channel());
        let thread = std::thread::Builder::new()
            .name(format!("worker-{index}"))
            .spawn(move || {
                if let Err(error) = worker::run(parts, clients, stopped, on_first_look) {
                    tracing::error!(%error, "a worker could not run");
                }
                let _ = ended.send(());
            })
            .map_err(|error| format!("cannot start worker {index}: {error}"))?;
        workers.push((thread, end));
    }
    // A worker that could not run has said so.
    if let Err(error) = first_look(found.await.unwrap_or(Some(Ok(()))), &target) {
        if let Some(managed) = managed {
            managed.stop().await;
        }
        return Err(error);
    }

    let listen = listeners.tcp_address();
    listeners.accept(Handover {
        workers: doors,
        clients_max: config.listen.clients_max,
        metrics: metrics.clone(),
        clients: Arc::default(),
    });
    let mut running = Running {
        listen,
        listeners: Mutex::new(listeners),
        admin: admin.as_ref().and_then(|listener| listener.local_addr().ok()),
        upstream: target.address.to_string(),
        metrics: metrics.clone(),
        drain: Duration::from_millis(config.sidecar.drain_ms),
        stop,
        tenants,
        knowledge: Arc::clone(&parts.knowledge),
        users: Arc::clone(&target.tenants),
        workers,
        tasks: tasks(
            admin.map(|listener| (listener, AdminState { metrics: metrics.clone(), readiness, config: shown.clone() })),
            &parts,
        ),
        shown,
        managed,
    };
    if let Some(tls) = &tls {
        running.tasks.push(tokio::spawn(tls::keep_fresh(Arc::clone(tls.watched()), metrics.clone())));
    }
    if let Some(tls) = &target.tls {
        running.tasks.push(tokio::spawn(tls::keep_fresh(Arc::clone(tls.watched()), metrics)));
    }
    tracing::info!(
        listen = running.listen.map_or_else(|| "-".to_owned(), |address| address.to_string()),
        tls = tls.is_some(),
        unix = if config.listen.unix.is_empty() { "-" } else { &config.listen.unix },
        admin = running.admin.map_or_else(|| "-".to_owned(), |address| address.to_string()),
        upstream = %running.upstream,
        namespace = if config.tenants.is_empty() { &config.inventory.namespace } else { "of each tenant" },
        tenants = config.tenants.len(),
        workers = config.sidecar.workers,
        "serving"
    );
    Ok(running)
}

impl Running {
    /// Takes the tenants of a changed configuration and their listeners, all of them or, where one of them cannot be had, none.
    ///
    /// # Errors
    /// One line: a password or a listener that cannot be had.
    pub fn change_tenants(&self, config: &Config) -> Result<(), String> {
        let tenants = resolve(config, &self.tenants.borrow())?;
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        let prepared = listeners.prepare(config)?;
        if config.tenants.iter().any(config::Tenant::needs_facts)
            && !self.knowledge.facts_wanted.swap(true, Ordering::AcqRel)
        {
            self.knowledge.doubt_commands();
        }
        keep_figures(&self.metrics, &tenants);
        name_users(&self.users, &tenants);
        self.tenants.send_replace(Arc::new(tenants));
        listeners.take(prepared);
        if let Some(shown) = &self.shown {
            shown.store(Arc::new(ShownConfig::of(config).for_others()));
        }
        Ok(())
    }

    /// Ends in order: what is in flight is answered, then workers, admin, the managed upstream. Clients may go on while they
    /// are at work, for three quarters of `drain_ms` or until `hurry` is ready.
    pub async fn stop(mut self, hurry: impl Future<Output = ()>) {
        let now = Instant::now();
        let finish = now + self.drain.mul_f64(0.75);
        let end = now + self.drain;
        self.stop.send_replace(Some(StopBy { finish, end }));
        let workers = std::mem::take(&mut self.workers);
        let ended = async {
            for (thread, ended) in workers {
                // A worker that holds on past the end is left to the process's end.
                if tokio::time::timeout_at(end + GRACE, ended).await.is_ok() {
                    let _ = thread.join();
                }
            }
        };
        tokio::pin!(ended);
        tokio::select! {
            () = &mut ended => {}
            () = hurry => {
                self.stop.send_replace(Some(StopBy { finish: Instant::now(), end }));
                ended.await;
            }
        }
        drop(self.listeners);
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
        if let Some(managed) = self.managed.take() {
            managed.stop().await;
        }
        tracing::info!("stopped");
    }
}

/// The upstream's side is to know whose users it meets there.
fn name_users(known: &TenantUsers, tenants: &Tenants) {
    let users = tenants.all().filter_map(|tenant| Some((tenant.upstream.as_ref()?.0.as_str(), &*tenant.name)));
    known.become_these(tenants.are_told_apart(), users);
}

/// Of tenants and namespaces that are gone none are kept.
fn keep_figures(metrics: &Metrics, tenants: &Tenants) {
    if tenants.are_told_apart() {
        let all = || tenants.all().map(|tenant| &**tenant);
        metrics.keep(all().map(|tenant| &*tenant.name), all().map(|tenant| &*tenant.namespace));
    }
}

/// An upstream that can never serve (credentials, version, cells) fails the start; one that is not there does not.
fn first_look(found: Option<Result<(), UpstreamError>>, target: &Target) -> Result<(), String> {
    match found {
        Some(Ok(())) => {}
        Some(Err(error)) if error.is_fatal() => {
            return Err(start_error(&target.address.to_string(), &error.detail));
        }
        Some(Err(error)) if error.kind == Kind::NoPassword => tracing::warn!(
            upstream = %target.address,
            "the upstream wants a password, and upstream.url has none: INV commands are refused, and all others of clients \
             that do not say AUTH themselves"
        ),
        Some(Err(error)) => {
            tracing::warn!(%error, "the upstream is not there yet; serving without it and trying again");
        }
        None => {
            tracing::warn!(upstream = %target.address, "the upstream is slow to answer; serving without it and trying again");
        }
    }
    Ok(())
}

/// Names the address once.
fn start_error(address: &str, detail: &str) -> String {
    if detail.starts_with(address) { format!("upstream {detail}") } else { format!("upstream {address}: {detail}") }
}

fn tasks(
    admin: Option<(tokio::net::TcpListener, AdminState)>,
    parts: &WorkerParts,
) -> Vec<tokio::task::JoinHandle<()>> {
    let (clients, knowledge, tenants) =
        (Arc::clone(&parts.clients), Arc::clone(&parts.knowledge), parts.tenants.clone());
    let mut tasks = vec![tokio::spawn(async move {
        let (mut memory, mut told, mut told_of_disk) = (Memory::default(), Vec::new(), false);
        loop {
            tokio::time::sleep(UPKEEP).await;
            let commands = knowledge.commands.load();
            if !commands.is_empty() {
                let unknown = tenants.borrow().unknown_rules(&commands);
                for rules in unknown.iter().filter(|line| !told.contains(*line)) {
                    tracing::warn!(
                        rules,
                        "allow or deny of a tenant names what the upstream does not know; that does nothing"
                    );
                }
                told = unknown;
            }
            drop(commands);
            let blind = knowledge.engine.load().as_ref().as_ref().is_some_and(|engine| !engine.knows_its_disk());
            let fsync = blind && tenants.borrow().all().any(|tenant| tenant.acknowledge == Acknowledge::Fsync);
            if fsync && !told_of_disk {
                tracing::warn!("{}", check::NO_FSYNC);
            }
            told_of_disk = fsync;
            if memory.is_idle(clients.count()) {
                memory::give_back();
            }
        }
    })];
    if let Some((listener, state)) = admin {
        tasks.push(tokio::spawn(async move {
            if let Err(error) = admin::serve(listener, state, std::future::pending()).await {
                tracing::error!(%error, "the admin address is not served any more");
            }
        }));
    }
    tasks
}

/// Runs a sidecar until SIGTERM or SIGINT; a second one ends it without waiting for idle clients. `reread` makes the
/// configuration anew, which came from `file` too.
///
/// # Errors
/// As [`start`].
pub fn run(config: &Config, file: Option<PathBuf>, reread: Reread) -> Result<(), String> {
    raise_file_limit();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let mut signals = Signals::new().map_err(|error| format!("signals: {error}"))?;
        let running = tokio::select! {
            running = start(config) => running?,
            () = signals.next() => return Ok(()),
        };
        let mut reloader = Reloader::new(config.clone(), file, reread).map_err(|error| format!("signals: {error}"))?;
        // Dropped at the end: a change that comes with it is not taken any more.
        tokio::select! {
            () = signals.next() => {}
            () = reloader.run(&running) => {}
        }
        tracing::info!("stopping: answering what is in flight");
        running.stop(signals.next()).await;
        Ok(())
    })
}
