//! Where clients come in: binds, accepts, and hands each client to the worker with the fewest. Never reads a byte of them.

use crate::config::Listen;
use crate::metrics::{ErrorKind, ErrorOrigin, Metrics};
use crate::session::clients::Door;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::mpsc;

/// Connections that the kernel holds until they are accepted; as Redis has it.
const BACKLOG: i32 = 511;
/// Pause after an accept that failed for want of descriptors or memory: others must end first.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Clients on their way to a worker.
const HANDOVER_MAX: usize = 1024;
/// As Redis says it.
const TOO_MANY: &[u8] = b"-ERR max number of clients reached\r\n";

/// A client, not yet of any runtime.
pub enum Accepted {
    /// TCP.
    Tcp(std::net::TcpStream),
    /// Unix.
    Unix(std::os::unix::net::UnixStream),
}

impl Accepted {
    /// Where it came in, in Redis's words.
    #[must_use]
    pub fn door(&self) -> Door {
        match self {
            Self::Tcp(stream) => {
                let text =
                    |addr: io::Result<SocketAddr>| addr.map_or_else(|_| "?:0".to_owned(), |addr| addr.to_string());
                let (addr, laddr) = (text(stream.peer_addr()), text(stream.local_addr()));
                Door { addr, laddr, fd: stream.as_raw_fd(), unix: false, tenant: None }
            }
            Self::Unix(stream) => {
                let path = stream.local_addr().ok().and_then(|addr| Some(addr.as_pathname()?.display().to_string()));
                let addr = format!("{}:0", path.unwrap_or_default());
                Door { laddr: addr.clone(), addr, fd: stream.as_raw_fd(), unix: true, tenant: None }
            }
        }
    }
}

/// The listener's end of a worker.
#[derive(Clone)]
pub struct WorkerDoor {
    clients: Arc<AtomicUsize>,
    sender: mpsc::Sender<(Accepted, ClientGuard)>,
}

/// Counts a client for as long as it lives.
pub struct ClientGuard {
    of_worker: Arc<AtomicUsize>,
    of_all: Arc<AtomicUsize>,
    metrics: Metrics,
}

impl Drop for ClientGuard {
    fn drop(&mut self) {
        self.of_worker.fetch_sub(1, Ordering::Relaxed);
        self.of_all.fetch_sub(1, Ordering::Relaxed);
        self.metrics.clients.decrement(1.0);
    }
}

impl WorkerDoor {
    /// The door and what comes through it.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<(Accepted, ClientGuard)>) {
        let (sender, receiver) = mpsc::channel(HANDOVER_MAX);
        (Self { clients: Arc::default(), sender }, receiver)
    }
}

/// The bound sockets.
pub struct Listeners {
    tcp: Option<TcpListener>,
    unix: Option<(UnixListener, PathBuf)>,
}

impl Listeners {
    /// Binds what the configuration names.
    ///
    /// # Errors
    /// One line that names the address and the reason.
    pub fn bind(config: &Listen) -> Result<Self, String> {
        let tcp = if config.tcp.is_empty() {
            None
        } else {
            Some(bind_tcp(&config.tcp).map_err(|error| format!("cannot listen on {}: {error}", config.tcp))?)
        };
        let unix = if config.unix.is_empty() {
            None
        } else {
            let path = PathBuf::from(&config.unix);
            let listener = bind_unix(&path, config.unix_mode.get())
                .map_err(|error| format!("cannot listen on {}: {error}", config.unix))?;
            Some((listener, path))
        };
        Ok(Self { tcp, unix })
    }

    /// The TCP address, with the port that was really taken.
    #[must_use]
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        self.tcp.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// Accepts until it is dropped. `clients_max`: one more is refused as Redis does.
    pub async fn accept(&self, doors: &[WorkerDoor], clients_max: usize, metrics: &Metrics) {
        let clients = Arc::new(AtomicUsize::new(0));
        loop {
            // Both accepts are cancel safe: a connection stays in the backlog until one returns it.
            let accepted = tokio::select! {
                accepted = accept_tcp(self.tcp.as_ref()) => accepted,
                accepted = accept_unix(self.unix.as_ref()) => accepted,
            };
            match accepted {
                Ok(client) => hand_over(client, doors, &clients, clients_max, metrics).await,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a client");
                    metrics.error(ErrorOrigin::Sidecar, ErrorKind::Io);
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        if let Some((_, path)) = &self.unix {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn bind_tcp(address: &str) -> io::Result<TcpListener> {
    let address = address
        .to_socket_addrs()?
        .next()
        .ok_or_else(|| io::Error::new(io::ErrorKind::AddrNotAvailable, "the name has no address"))?;
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// A socket file that nobody listens on any more is removed; any other file is left alone.
fn bind_unix(path: &Path, mode: u32) -> io::Result<UnixListener> {
    if std::fs::symlink_metadata(path).is_ok_and(|found| std::os::unix::fs::FileTypeExt::is_socket(&found.file_type()))
        && std::os::unix::net::UnixStream::connect(path).is_err()
    {
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    Ok(listener)
}

async fn accept_tcp(listener: Option<&TcpListener>) -> io::Result<Accepted> {
    let Some(listener) = listener else { return std::future::pending().await };
    let (stream, _) = listener.accept().await?;
    TcpStream::into_std(stream).map(Accepted::Tcp)
}

async fn accept_unix(listener: Option<&(UnixListener, PathBuf)>) -> io::Result<Accepted> {
    let Some((listener, _)) = listener else { return std::future::pending().await };
    let (stream, _) = listener.accept().await?;
    UnixStream::into_std(stream).map(Accepted::Unix)
}

async fn hand_over(
    client: Accepted,
    doors: &[WorkerDoor],
    clients: &Arc<AtomicUsize>,
    clients_max: usize,
    metrics: &Metrics,
) {
    if clients.load(Ordering::Relaxed) >= clients_max {
        metrics.error(ErrorOrigin::Sidecar, ErrorKind::Refused);
        refuse(&client);
        return;
    }
    let Some(door) = doors.iter().min_by_key(|door| door.clients.load(Ordering::Relaxed)) else { return };
    door.clients.fetch_add(1, Ordering::Relaxed);
    clients.fetch_add(1, Ordering::Relaxed);
    metrics.clients.increment(1.0);
    metrics.clients_total.increment(1);
    let guard =
        ClientGuard { of_worker: Arc::clone(&door.clients), of_all: Arc::clone(clients), metrics: metrics.clone() };
    // A worker that is gone drops the client, which closes it.
    let _ = door.sender.send((client, guard)).await;
}

/// One try: the socket's buffer is empty, and a client that is not wanted is not waited for.
fn refuse(client: &Accepted) {
    use std::io::Write;
    let _ = match client {
        Accepted::Tcp(stream) => {
            let mut stream = stream;
            stream.write(TOO_MANY)
        }
        Accepted::Unix(stream) => {
            let mut stream = stream;
            stream.write(TOO_MANY)
        }
    };
}
