//! Where clients come in: binds, accepts, and hands each client to the worker with the fewest. Never reads a byte of them.

use crate::config::{self, Config, SocketMode};
use crate::metrics::{ErrorKind, ErrorOrigin, Metrics};
use crate::session::clients::Door;
use rustix::fs::Mode;
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
use tokio::task::AbortHandle;

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

/// The bound sockets: those of all, and those of one tenant each. Dropped, nobody listens on them any more.
#[derive(Default)]
pub struct Listeners {
    open: Vec<Listener>,
    /// Where clients go, once they are accepted.
    to: Option<Arc<Handover>>,
}

/// Where the listeners' clients go.
pub struct Handover {
    /// To the worker with the fewest.
    pub workers: Vec<WorkerDoor>,
    /// One more is refused as Redis does.
    pub clients_max: usize,
    /// What is counted of them.
    pub metrics: Metrics,
    /// All there are.
    pub clients: Arc<AtomicUsize>,
}

struct Listener {
    wanted: Wanted,
    socket: Arc<Socket>,
    accepting: Option<AbortHandle>,
}

/// A socket as the configuration has it.
#[derive(Clone, PartialEq)]
struct Wanted {
    address: Address,
    /// The tenant whose own it is.
    tenant: Option<Arc<str>>,
}

#[derive(Clone, PartialEq)]
enum Address {
    Tcp(String),
    Unix(PathBuf, u32),
}

/// The sockets of a configuration, all there.
pub struct Prepared(Vec<(Wanted, Option<Socket>)>);

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
        let mut listeners = Self::default();
        listeners.take(listeners.prepare(config)?);
        Ok(listeners)
    }

    /// Binds what a changed configuration names and is not there yet; nothing else changes.
    ///
    /// # Errors
    /// As [`Self::bind`].
    pub fn prepare(&self, config: &Config) -> Result<Prepared, String> {
        let with_socket = |wanted: Wanted| {
            let is_there = self.open.iter().any(|listener| listener.wanted.is_at(&wanted));
            let socket = if is_there { None } else { Some(Socket::bind(&wanted.address)?) };
            Ok((wanted, socket))
        };
        wanted(config).into_iter().map(with_socket).collect::<Result<_, _>>().map(Prepared)
    }

    /// Listens on these from here on and on no other. A socket that another tenant has now stays the same.
    pub fn take(&mut self, prepared: Prepared) {
        let mut before = std::mem::take(&mut self.open);
        for (wanted, socket) in prepared.0 {
            let known = before.iter().position(|listener| listener.wanted.is_at(&wanted));
            let listener = match (socket, known.map(|at| before.swap_remove(at))) {
                (Some(socket), _) => Listener { wanted, socket: Arc::new(socket), accepting: None },
                (None, Some(known)) if known.wanted == wanted => known,
                (None, Some(known)) => {
                    known.socket.set_mode(&wanted.address);
                    Listener { wanted, socket: Arc::clone(&known.socket), accepting: None }
                }
                (None, None) => continue,
            };
            self.open.push(listener);
        }
        self.accept_from_new();
    }

    /// Accepts from all of them, from here on.
    pub fn accept(&mut self, to: Handover) {
        self.to = Some(Arc::new(to));
        self.accept_from_new();
    }

    fn accept_from_new(&mut self) {
        let Some(to) = &self.to else { return };
        for listener in self.open.iter_mut().filter(|listener| listener.accepting.is_none()) {
            if let Some(tenant) = listener.wanted.tenant.as_deref() {
                tracing::info!(tenant, listen = listener.socket.address(), "a listener of its own");
            }
            let accepting = accept(Arc::clone(&listener.socket), listener.wanted.tenant.clone(), Arc::clone(to));
            listener.accepting = Some(tokio::spawn(accepting).abort_handle());
        }
    }

    /// The TCP address for all, with the port that was really taken.
    #[must_use]
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        self.open.iter().find_map(|listener| match (&*listener.socket, &listener.wanted.tenant) {
            (Socket::Tcp(socket), None) => socket.local_addr().ok(),
            _ => None,
        })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(accepting) = &self.accepting {
            accepting.abort();
        }
    }
}

impl Wanted {
    /// Whether it is the same socket, whosoever it is. Of any free port each tenant has another.
    fn is_at(&self, other: &Self) -> bool {
        match (&self.address, &other.address) {
            (Address::Tcp(one), Address::Tcp(two)) => {
                one == two && (self.tenant == other.tenant || !one.ends_with(":0"))
            }
            (Address::Unix(one, _), Address::Unix(two, _)) => one == two,
            _ => false,
        }
    }
}

fn wanted(config: &Config) -> Vec<Wanted> {
    let of = |tcp: &str, unix: &str, mode: SocketMode, tenant: Option<&str>| {
        let tcp = (!tcp.is_empty()).then(|| Address::Tcp(tcp.to_owned()));
        let unix = (!unix.is_empty()).then(|| Address::Unix(PathBuf::from(unix), mode.get()));
        let tenant: Option<Arc<str>> = tenant.map(Arc::from);
        [tcp, unix].into_iter().flatten().map(move |address| Wanted { address, tenant: tenant.clone() })
    };
    let listen = &config.listen;
    let of_tenants = |tenant: &config::Tenant| of(&tenant.tcp, &tenant.unix, tenant.unix_mode, Some(&tenant.name));
    of(&listen.tcp, &listen.unix, listen.unix_mode, None).chain(config.tenants.iter().flat_map(of_tenants)).collect()
}

/// Until it is aborted.
async fn accept(socket: Arc<Socket>, tenant: Option<Arc<str>>, to: Arc<Handover>) {
    loop {
        match socket.accept(tenant.as_ref()).await {
            Ok(client) => hand_over(client, &to).await,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a client");
                to.metrics.error(ErrorOrigin::Sidecar, ErrorKind::Io);
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

impl Socket {
    fn bind(address: &Address) -> Result<Self, String> {
        match address {
            Address::Tcp(address) => {
                bind_tcp(address).map(Self::Tcp).map_err(|error| format!("cannot listen on {address}: {error}"))
            }
            Address::Unix(path, mode) => bind_unix(path, *mode)
                .map(|socket| Self::Unix(socket, path.clone()))
                .map_err(|error| format!("cannot listen on {}: {error}", path.display())),
        }
    }

    fn address(&self) -> String {
        match self {
            Self::Tcp(socket) => socket.local_addr().map_or_else(|_| "?".to_owned(), |address| address.to_string()),
            Self::Unix(_, path) => path.display().to_string(),
        }
    }

    fn set_mode(&self, address: &Address) {
        if let Address::Unix(path, mode) = address
            && let Err(error) = std::fs::set_permissions(path, std::fs::Permissions::from_mode(*mode))
        {
            tracing::error!(%error, socket = %path.display(), "cannot change the socket's permissions");
        }
    }

    /// Cancel safe: a connection stays in the backlog until one returns it.
    async fn accept(&self, tenant: Option<&Arc<str>>) -> io::Result<Accepted> {
        let stream = match self {
            Self::Tcp(listener) => AcceptedStream::Tcp(TcpStream::into_std(listener.accept().await?.0)?),
            Self::Unix(listener, _) => AcceptedStream::Unix(UnixStream::into_std(listener.accept().await?.0)?),
        };
        Ok(Accepted { stream, tenant: tenant.map(Arc::clone) })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
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

/// A socket file that nobody listens on any more is removed; any other file is left alone. Until it has its mode nobody else may
/// connect.
fn bind_unix(path: &Path, mode: u32) -> io::Result<UnixListener> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if !std::os::unix::fs::FileTypeExt::is_socket(&found.file_type()) => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file that is no socket is there already"));
        }
        Ok(_) if std::os::unix::net::UnixStream::connect(path).is_err() => std::fs::remove_file(path)?,
        _ => {}
    }
    let before = rustix::process::umask(Mode::from_raw_mode(0o177));
    let listener = UnixListener::bind(path);
    rustix::process::umask(before);
    let listener = listener?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    Ok(listener)
}

async fn hand_over(client: Accepted, to: &Handover) {
    let (clients, metrics) = (&to.clients, &to.metrics);
    if clients.load(Ordering::Relaxed) >= to.clients_max {
        metrics.error(ErrorOrigin::Sidecar, ErrorKind::Refused);
        refuse(&client);
        return;
    }
    let Some(door) = to.workers.iter().min_by_key(|door| door.clients.load(Ordering::Relaxed)) else { return };
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
