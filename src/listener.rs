//! Where clients come in: binds, accepts, and hands each client to the worker with the fewest. Never reads a byte of them.

use crate::config::{Config, SocketMode};
use crate::metrics::{ErrorKind, ErrorOrigin, Metrics};
use crate::session::clients::Door;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
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
pub struct Accepted {
    /// Its connection.
    pub stream: AcceptedStream,
    /// The tenant whose own listener it came by.
    pub tenant: Option<Arc<str>>,
}

/// A connection, not yet of any runtime.
pub enum AcceptedStream {
    /// TCP.
    Tcp(std::net::TcpStream),
    /// Unix.
    Unix(std::os::unix::net::UnixStream),
}

impl Accepted {
    /// Where it came in, in Redis's words.
    #[must_use]
    pub fn door(&self) -> Door {
        let tenant = self.tenant.clone();
        match &self.stream {
            AcceptedStream::Tcp(stream) => {
                let text =
                    |addr: io::Result<SocketAddr>| addr.map_or_else(|_| "?:0".to_owned(), |addr| addr.to_string());
                let (addr, laddr) = (text(stream.peer_addr()), text(stream.local_addr()));
                Door { addr, laddr, fd: stream.as_raw_fd(), unix: false, tenant }
            }
            AcceptedStream::Unix(stream) => {
                let path = stream.local_addr().ok().and_then(|addr| Some(addr.as_pathname()?.display().to_string()));
                let addr = format!("{}:0", path.unwrap_or_default());
                Door { laddr: addr.clone(), addr, fd: stream.as_raw_fd(), unix: true, tenant }
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

/// The bound sockets: those of all, and those of one tenant each.
pub struct Listeners {
    sockets: Vec<(Socket, Option<Arc<str>>)>,
}

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

impl Listeners {
    /// Binds what the configuration names.
    ///
    /// # Errors
    /// One line that names the address and the reason.
    pub fn bind(config: &Config) -> Result<Self, String> {
        let listen = &config.listen;
        let mut listeners = Self { sockets: Vec::new() };
        listeners.add(&listen.tcp, &listen.unix, listen.unix_mode, None)?;
        for tenant in config.tenants.iter().filter(|tenant| tenant.has_door()) {
            listeners.add(&tenant.tcp, &tenant.unix, tenant.unix_mode, Some(&tenant.name))?;
        }
        Ok(listeners)
    }

    fn add(&mut self, tcp: &str, unix: &str, mode: SocketMode, tenant: Option<&str>) -> Result<(), String> {
        let tenant = tenant.map(Arc::from);
        if !tcp.is_empty() {
            let socket = bind_tcp(tcp).map_err(|error| format!("cannot listen on {tcp}: {error}"))?;
            self.sockets.push((Socket::Tcp(socket), tenant.clone()));
        }
        if !unix.is_empty() {
            let path = PathBuf::from(unix);
            let socket = bind_unix(&path, mode.get()).map_err(|error| format!("cannot listen on {unix}: {error}"))?;
            self.sockets.push((Socket::Unix(socket, path), tenant));
        }
        Ok(())
    }

    /// The TCP address for all, with the port that was really taken.
    #[must_use]
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        self.sockets.iter().find_map(|(socket, tenant)| match (socket, tenant) {
            (Socket::Tcp(socket), None) => socket.local_addr().ok(),
            _ => None,
        })
    }

    /// Where tenants have listeners of their own, with the ports that were really taken.
    pub fn of_tenants(&self) -> impl Iterator<Item = (&str, String)> {
        self.sockets.iter().filter_map(|(socket, tenant)| {
            let address = match socket {
                Socket::Tcp(socket) => socket.local_addr().ok()?.to_string(),
                Socket::Unix(_, path) => path.display().to_string(),
            };
            Some((&**tenant.as_ref()?, address))
        })
    }

    /// Accepts until it is dropped. `clients_max`: one more is refused as Redis does.
    pub async fn accept(&self, doors: &[WorkerDoor], clients_max: usize, metrics: &Metrics) {
        let clients = Arc::new(AtomicUsize::new(0));
        let each = self.sockets.iter().map(|(socket, tenant)| {
            let clients = &clients;
            async move {
                loop {
                    match socket.accept(tenant.as_ref()).await {
                        Ok(client) => hand_over(client, doors, clients, clients_max, metrics).await,
                        Err(error) => {
                            tracing::warn!(%error, "cannot accept a client");
                            metrics.error(ErrorOrigin::Sidecar, ErrorKind::Io);
                            tokio::time::sleep(ACCEPT_PAUSE).await;
                        }
                    }
                }
            }
        });
        let mut each: FuturesUnordered<_> = each.collect();
        while each.next().await.is_some() {}
    }
}

impl Socket {
    /// Cancel safe: a connection stays in the backlog until one returns it.
    async fn accept(&self, tenant: Option<&Arc<str>>) -> io::Result<Accepted> {
        let stream = match self {
            Self::Tcp(listener) => AcceptedStream::Tcp(TcpStream::into_std(listener.accept().await?.0)?),
            Self::Unix(listener, _) => AcceptedStream::Unix(UnixStream::into_std(listener.accept().await?.0)?),
        };
        Ok(Accepted { stream, tenant: tenant.map(Arc::clone) })
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        for (socket, _) in &self.sockets {
            if let Socket::Unix(_, path) = socket {
                let _ = std::fs::remove_file(path);
            }
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
    match std::fs::symlink_metadata(path) {
        Ok(found) if !std::os::unix::fs::FileTypeExt::is_socket(&found.file_type()) => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file that is no socket is there already"));
        }
        Ok(_) if std::os::unix::net::UnixStream::connect(path).is_err() => std::fs::remove_file(path)?,
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    Ok(listener)
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
    let _ = match &client.stream {
        AcceptedStream::Tcp(stream) => {
            let mut stream = stream;
            stream.write(TOO_MANY)
        }
        AcceptedStream::Unix(stream) => {
            let mut stream = stream;
            stream.write(TOO_MANY)
        }
    };
}
