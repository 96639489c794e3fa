//! An upstream of the sidecar's own: a Valkey or Redis that it runs as a child, on a unix socket, with its data on disk.
//!
//! Owns the child's whole life: found, started, watched, started again, ended; and its data directory, alone. Never
//! speaks to it beyond PING and the SHUTDOWN of an orphan; the other rooms connect to [`Managed::socket_path`].

mod process;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::process::Child;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tracing::{error, info};

use crate::config::{Config, SOCKET_PATH_MAX};
use process::{Recipe, START_TIMEOUT, data_dir, end_orphan, find_server, last_line, lock, terminate};

/// After a child that lived longer the back-off begins anew.
const STABLE: Duration = Duration::from_secs(10);

/// A child that runs. Dropped, it is killed; [`Managed::stop`] ends it cleanly.
#[derive(Debug)]
pub struct Managed {
    socket: PathBuf,
    server: PathBuf,
    pid: Arc<AtomicU32>,
    stop: Option<oneshot::Sender<()>>,
    watcher: Option<JoinHandle<()>>,
    /// Held as long as this lives; the kernel gives it back however the sidecar ends.
    _lock: File,
}

/// Why there is no managed upstream.
#[derive(Debug)]
pub enum ManagedError {
    /// Neither server is on PATH.
    NotFound,
    /// The data directory or a file in it cannot be used.
    DataDir(PathBuf, io::Error),
    /// Another sidecar uses the data directory.
    Locked(PathBuf),
    /// The socket's path has more bytes than the kernel takes.
    SocketPath(PathBuf),
    /// A server of an earlier sidecar still runs there and does not end.
    Orphan(PathBuf),
    /// The server could not be run.
    Spawn(PathBuf, io::Error),
    /// The server ended before it answered; the last line of its log.
    Exited(ExitStatus, String),
    /// The server does not answer; the last line of its log.
    NoAnswer(String),
}

impl Managed {
    /// Finds a server on PATH, starts it in `sidecar.data_dir` and waits until it answers. Needs a tokio runtime that
    /// lives as long as the sidecar: the child's watcher runs on it.
    ///
    /// # Errors
    ///
    /// Each [`ManagedError`]; nothing is left running then.
    ///
    /// # Cancel safety
    ///
    /// Dropped half-way, it kills what it started.
    pub async fn start(config: &Config) -> Result<Self, ManagedError> {
        Self::start_with_path(config, std::env::var_os("PATH")).await
    }

    async fn start_with_path(config: &Config, path: Option<OsString>) -> Result<Self, ManagedError> {
        let server = find_server(path.as_deref()).ok_or(ManagedError::NotFound)?;
        let dir = data_dir(&config.sidecar.data_dir)?;
        let lock = lock(&dir).await?;
        let socket = dir.join("upstream.sock");
        if socket.as_os_str().len() > SOCKET_PATH_MAX {
            return Err(ManagedError::SocketPath(socket));
        }
        end_orphan(&socket).await?;
        let recipe = Recipe {
            server: server.clone(),
            log: dir.join("upstream.log"),
            socket: socket.clone(),
            dir,
            appendfsync: config.managed.appendfsync,
        };
        let child = recipe.start().await?;
        let pid = Arc::new(AtomicU32::new(child.id().unwrap_or(0)));
        let (stop, stopped) = oneshot::channel();
        let backoff = Backoff {
            min: Duration::from_millis(config.upstream.reconnect_min_ms),
            max: Duration::from_millis(config.upstream.reconnect_max_ms),
            next: Duration::from_millis(config.upstream.reconnect_min_ms),
        };
        info!(server = %server.display(), socket = %socket.display(), pid = child.id(), "managed upstream started");
        let watcher = tokio::spawn(watch(recipe, child, Arc::clone(&pid), backoff, stopped));
        Ok(Self { socket, server, pid, stop: Some(stop), watcher: Some(watcher), _lock: lock })
    }

    /// Where it listens; the same after a restart.
    #[must_use]
    pub fn socket_path(&self) -> &Path {
        &self.socket
    }

    /// The server's program.
    #[must_use]
    pub fn server(&self) -> &Path {
        &self.server
    }

    /// The child's process id; `None` between a crash and the next start.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        Some(self.pid.load(Ordering::Relaxed)).filter(|pid| *pid != 0)
    }

    /// Ends the child cleanly (SIGTERM: it writes its data), and by force after 10 s. Nothing is left when it returns.
    ///
    /// # Cancel safety
    ///
    /// Dropped half-way, the child is killed.
    pub async fn stop(mut self) {
        // The watcher ends by itself only where its runtime does: then the child is dropped, and so killed, with it.
        drop(self.stop.take());
        if let Some(watcher) = self.watcher.as_mut() {
            let _ = watcher.await;
        }
    }
}

impl Drop for Managed {
    fn drop(&mut self) {
        if let Some(watcher) = self.watcher.take() {
            watcher.abort();
        }
    }
}

/// Owns the child until it is told to stop (or its [`Managed`] is gone). A child that ends by itself is started again.
async fn watch(
    recipe: Recipe,
    mut child: Child,
    pid: Arc<AtomicU32>,
    mut backoff: Backoff,
    mut stopped: oneshot::Receiver<()>,
) {
    loop {
        let started = Instant::now();
        // Neither branch loses anything when dropped: a child that was waited for in vain is still there.
        let status = tokio::select! {
            _ = &mut stopped => return terminate(&mut child).await,
            status = child.wait() => status,
        };
        pid.store(0, Ordering::Relaxed);
        let said = last_line(&recipe.log);
        match status {
            Ok(status) => error!(%status, last_log_line = said, "managed upstream ended; it is started again"),
            Err(error) => error!(%error, "managed upstream lost; it is started again"),
        }
        if started.elapsed() > STABLE {
            backoff.reset();
        }
        let restarted = async {
            loop {
                sleep(backoff.next()).await;
                match recipe.start().await {
                    Ok(child) => return child,
                    Err(error) => error!(%error, "managed upstream did not start"),
                }
            }
        };
        child = tokio::select! {
            // A child that is being started is killed with the branch: nobody was told yet that it is there.
            _ = &mut stopped => return,
            child = restarted => child,
        };
        pid.store(child.id().unwrap_or(0), Ordering::Relaxed);
        info!(pid = child.id(), "managed upstream started again");
    }
}

/// Doubling waits with jitter, from `reconnect_min_ms` to `reconnect_max_ms`.
struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    fn next(&mut self) -> Duration {
        let wait = self.next.mul_f64(0.5 + fastrand::f64() / 2.0);
        self.next = (self.next * 2).min(self.max);
        wait
    }

    fn reset(&mut self) {
        self.next = self.min;
    }
}

impl fmt::Display for ManagedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str(
                "neither valkey-server nor redis-server is on PATH; install one (apt-get install redis-server, or \
                 valkey-server where the distribution has it) or name an upstream of your own",
            ),
            Self::DataDir(path, error) => write!(f, "sidecar.data_dir: {}: {error}", path.display()),
            Self::Locked(dir) => {
                write!(
                    f,
                    "{}: another sidecar runs its upstream there; give this one a data_dir of its own",
                    dir.display()
                )
            }
            Self::SocketPath(path) => write!(
                f,
                "{}: the path has {} bytes; a unix socket's has {SOCKET_PATH_MAX} at most: choose a shorter data_dir",
                path.display(),
                path.as_os_str().len()
            ),
            Self::Orphan(socket) => {
                write!(f, "{}: the server of an earlier sidecar still runs there and does not end", socket.display())
            }
            Self::Spawn(server, error) => write!(f, "{}: {error}", server.display()),
            Self::Exited(status, last) => {
                write!(f, "the server ended before it answered ({status}); its log ends: {last}")
            }
            Self::NoAnswer(last) => {
                write!(f, "the server does not answer after {} s; its log ends: {last}", START_TIMEOUT.as_secs())
            }
        }
    }
}

impl std::error::Error for ManagedError {}
