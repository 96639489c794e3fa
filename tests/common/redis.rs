//! A real redis-server as a child on a free port, in a directory of its own, gone when dropped.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{Conn, Reply, SOON, until};

pub struct Redis {
    child: Child,
    port: u16,
    dir: TempDir,
    args: Vec<String>,
}

impl Redis {
    /// Keeps nothing on disk.
    pub fn start() -> Self {
        Self::with(&["--save", "", "--appendonly", "no"])
    }

    /// Has an append-only file that is synced before every answer, so that a kill loses nothing acknowledged.
    pub fn durable() -> Self {
        Self::with(&["--save", "", "--appendonly", "yes", "--appendfsync", "always"])
    }

    pub fn with(args: &[&str]) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let args: Vec<String> = args.iter().map(ToString::to_string).collect();
        // A port that was free a moment ago may be taken by now: another is tried.
        for _ in 0..20 {
            let port = free_port();
            if let Some(child) = spawn(port, &dir, &args) {
                return Self { child, port, dir, args };
            }
        }
        panic!("redis-server does not start; is it installed (apt-get install redis-server)?");
    }

    pub fn addr(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.addr())
    }

    pub fn conn(&self) -> Conn {
        Conn::open(&self.addr())
    }

    /// Ends it at once, as a crash does. [`Self::restart`] brings it back on the same port with the same directory.
    pub fn kill9(&mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("wait");
    }

    pub fn restart(&mut self) {
        self.kill9_if_running();
        let child = until("redis-server is back", SOON, || spawn(self.port, &self.dir, &self.args));
        self.child = child;
    }

    /// Freezes it: connections stay open, nothing is answered.
    pub fn stop(&self) {
        self.signal(Signal::STOP);
    }

    pub fn cont(&self) {
        self.signal(Signal::CONT);
    }

    /// Puts the injected clock to `ms`.
    pub fn set_clock(&self, key: &str, ms: i64) {
        self.conn().call(&format!("SET {key} {ms}")).expect_ok();
    }

    fn signal(&self, signal: Signal) {
        kill_process(pid_of(&self.child), signal).expect("signal");
    }

    fn kill9_if_running(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill9_if_running();
    }
}

/// Upstream connections as the upstream counts them, but the one that asks.
pub fn upstream_connections(redis: &Redis) -> usize {
    redis.conn().call("CLIENT LIST").text().lines().count() - 1
}

/// `redis-server`, or `valkey-server` on a machine that has only that.
fn server() -> &'static str {
    let there = |name: &str| {
        std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(name).is_file()))
    };
    if !there("redis-server") && there("valkey-server") { "valkey-server" } else { "redis-server" }
}

pub fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(child.id() as i32).expect("a pid")
}

/// Starts one and waits until it answers; None where the port is another's or it ended.
fn spawn(port: u16, dir: &TempDir, args: &[String]) -> Option<Child> {
    let log = std::fs::OpenOptions::new().append(true).create(true).open(dir.path().join("log")).expect("a log file");
    let mut child = Command::new(server())
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--protected-mode", "no"])
        .args(["--repl-diskless-load", "disabled", "--dir"])
        .arg(dir.path())
        .args(args)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server is on PATH (apt-get install redis-server)");
    let own = format!("process_id:{}\r\n", child.id());
    let alive = until("redis-server answers or ends", SOON, || {
        if child.try_wait().expect("wait").is_some() {
            return Some(false);
        }
        let info = Conn::try_open(&format!("127.0.0.1:{port}")).ok()?.try_call("INFO").ok()?;
        match info {
            Reply::Bulk(text) => {
                let text = String::from_utf8_lossy(&text).into_owned();
                // Another's process id: ours is about to fail to bind. It answers before it has loaded its data.
                if text.contains(&own) { text.contains("\r\nloading:0\r\n").then_some(true) } else { Some(false) }
            }
            Reply::Error(line) if line.starts_with("NOAUTH") => Some(true),
            _ => None,
        }
    });
    if alive {
        return Some(child);
    }
    let _ = child.kill();
    let _ = child.wait();
    None
}

/// A port nobody listens on, below the range from which outgoing connections take theirs.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = std::process::id().wrapping_mul(7919) % 11_000;
    loop {
        let step = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = (21_000 + (base + step) % 11_000) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
