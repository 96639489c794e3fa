//! The child process and its data directory: found, started, asked, ended.
//!
//! Owns every system call of the managed upstream. Never decides when: its parent does.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};
use tracing::warn;

use super::ManagedError;
use crate::config::AppendFsync;

/// In the order of preference.
const SERVERS: [&str; 2] = ["valkey-server", "redis-server"];
/// For a child to answer, counted anew while it says that it is loading its data.
pub(super) const START_TIMEOUT: Duration = Duration::from_secs(30);
/// For a child to write its data and end.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// For one PING: the child is on this machine.
const PING_TIMEOUT: Duration = Duration::from_secs(1);
/// Between two looks at a child that starts or ends.
const POLL: Duration = Duration::from_millis(10);
/// A lock that is taken is tried so many times again, with a pause between.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(25);

/// The first of the known servers on this PATH.
pub(super) fn find_server(path: Option<&OsStr>) -> Option<PathBuf> {
    let path = path?;
    let executable = |file: &PathBuf| {
        fs::metadata(file).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    SERVERS.iter().find_map(|server| {
        // An empty part of PATH means the working directory, from which nothing is to be run by accident.
        let dirs = std::env::split_paths(path).filter(|dir| dir.is_absolute());
        dirs.map(|dir| dir.join(server)).find(executable)
    })
}

pub(super) fn data_dir(dir: &Path) -> Result<PathBuf, ManagedError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .and_then(|()| fs::canonicalize(dir))
        .map_err(|error| ManagedError::DataDir(dir.to_owned(), error))
}

/// As `try_lock`, with some patience: a process that is being started elsewhere in this one holds a copy of every open file
/// until it is another program, that of a lock that was just given back too.
pub(super) async fn lock(dir: &Path) -> Result<File, ManagedError> {
    for _ in 0..LOCK_TRIES {
        match try_lock(dir) {
            Err(ManagedError::Locked(_)) => sleep(LOCK_PAUSE).await,
            done => return done,
        }
    }
    try_lock(dir)
}

/// Two servers on one append-only file would destroy it.
fn try_lock(dir: &Path) -> Result<File, ManagedError> {
    let path = dir.join("sidecar.lock");
    let options = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
    let file = options.map_err(|error| ManagedError::DataDir(path.clone(), error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(ManagedError::Locked(dir.to_owned())),
        Err(TryLockError::Error(error)) => Err(ManagedError::DataDir(path, error)),
    }
}

/// Who holds the lock and still finds a server on the socket has found the child of a sidecar that was killed.
pub(super) async fn end_orphan(socket: &Path) -> Result<(), ManagedError> {
    let Ok(mut stream) = UnixStream::connect(socket).await else {
        return Ok(());
    };
    let pid = stream.peer_cred().ok().and_then(|peer| peer.pid()).and_then(Pid::from_raw);
    warn!(socket = %socket.display(), ?pid, "a server of an earlier sidecar still runs; it is shut down first");
    // It writes its append-only file, then closes its socket, then ends: a socket that is gone means data that are safe.
    let _ = stream.write_all(b"SHUTDOWN\r\n").await;
    if is_gone(socket).await {
        return Ok(());
    }
    if let Some(pid) = pid {
        let _ = kill_process(pid, Signal::KILL);
    }
    if is_gone(socket).await { Ok(()) } else { Err(ManagedError::Orphan(socket.to_owned())) }
}

/// Waits until nobody listens on the socket.
async fn is_gone(socket: &Path) -> bool {
    let gone = async {
        while UnixStream::connect(socket).await.is_ok() {
            sleep(POLL).await;
        }
    };
    timeout(STOP_TIMEOUT, gone).await.is_ok()
}

/// All that a child is started from.
pub(super) struct Recipe {
    pub(super) server: PathBuf,
    pub(super) dir: PathBuf,
    pub(super) socket: PathBuf,
    pub(super) log: PathBuf,
    pub(super) appendfsync: AppendFsync,
}

impl Recipe {
    /// A child that answers.
    pub(super) async fn start(&self) -> Result<Child, ManagedError> {
        let mut child = self.spawn()?;
        let mut deadline = Instant::now() + START_TIMEOUT;
        loop {
            match ping(&self.socket).await {
                Answer::Pong => return Ok(child),
                Answer::Loading => deadline = Instant::now() + START_TIMEOUT,
                Answer::None => {}
            }
            if let Ok(Some(status)) = child.try_wait() {
                return Err(ManagedError::Exited(status, last_line(&self.log)));
            }
            if Instant::now() > deadline {
                terminate(&mut child).await;
                return Err(ManagedError::NoAnswer(last_line(&self.log)));
            }
            sleep(POLL).await;
        }
    }

    fn spawn(&self) -> Result<Child, ManagedError> {
        let log = OpenOptions::new().create(true).append(true).mode(0o600).open(&self.log);
        let log = log.and_then(|log| Ok((log.try_clone()?, log)));
        let (out, err) = log.map_err(|error| ManagedError::DataDir(self.log.clone(), error))?;
        Command::new(&self.server)
            .args(["--port", "0", "--daemonize", "no", "--unixsocketperm", "700", "--maxmemory-policy", "noeviction"])
            // Snapshots would only repeat what the append-only file holds, which begins with one after each rewrite.
            .args(["--save", "", "--appendonly", "yes", "--aof-use-rdb-preamble", "yes"])
            .args(["--appendfsync", self.appendfsync.as_str()])
            .arg("--unixsocket")
            .arg(&self.socket)
            .arg("--dir")
            .arg(&self.dir)
            .arg("--logfile")
            .arg(&self.log)
            .stdin(Stdio::null())
            // What it says before it has opened its log.
            .stdout(out)
            .stderr(err)
            // Ctrl-C on the terminal goes to the sidecar alone, which answers what is in flight before it ends the child.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| ManagedError::Spawn(self.server.clone(), error))
    }
}

enum Answer {
    Pong,
    Loading,
    None,
}

async fn ping(socket: &Path) -> Answer {
    let exchange = async {
        let mut stream = UnixStream::connect(socket).await?;
        stream.write_all(b"PING\r\n").await?;
        let mut reply = [0; 64];
        let length = stream.read(&mut reply).await?;
        Ok::<_, io::Error>(match &reply[..length] {
            reply if reply.starts_with(b"+PONG") => Answer::Pong,
            reply if reply.starts_with(b"-LOADING") => Answer::Loading,
            _ => Answer::None,
        })
    };
    timeout(PING_TIMEOUT, exchange).await.unwrap_or(Ok(Answer::None)).unwrap_or(Answer::None)
}

/// SIGTERM, on which it writes its data; SIGKILL where that does not end it in time. Returns when it is gone.
pub(super) async fn terminate(child: &mut Child) {
    let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw) else {
        return; // Waited for already: the number may be somebody else's by now.
    };
    if kill_process(pid, Signal::TERM).is_ok() && timeout(STOP_TIMEOUT, child.wait()).await.is_ok() {
        return;
    }
    warn!(pid = child.id(), "managed upstream does not end; it is killed");
    let _ = child.kill().await;
}

/// The last line that says something, or that there is none.
pub(super) fn last_line(log: &Path) -> String {
    const TAIL: u64 = 4096;
    let read = || {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
        let mut tail = Vec::new();
        file.take(TAIL).read_to_end(&mut tail)?;
        Ok::<_, io::Error>(tail)
    };
    let tail = read().unwrap_or_default();
    let tail = String::from_utf8_lossy(&tail);
    let last = tail.lines().rev().find(|line| !line.trim().is_empty());
    last.map_or_else(|| "(its log is empty)".to_owned(), |line| line.trim().to_owned())
}
