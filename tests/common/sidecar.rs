//! The sidecar as a child process: started on free ports, which it tells in its one `serving` line.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Signal, kill_process};

use super::redis::pid_of;
use super::{Conn, SOON, until};

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_inventory-sentinel");

pub struct Sidecar {
    child: Child,
    pub listen: String,
    pub admin: String,
    /// Not a pipe: what it has said before it answered is there to be read with the answer.
    log: File,
}

impl Sidecar {
    /// In front of `url`, with `table.key=value` settings, and ready.
    pub fn start(url: &str, settings: &[&str]) -> Self {
        let sidecar = Self::launch(url, settings);
        sidecar.wait_ready();
        sidecar
    }

    /// The same, with the inventory's clock read from the upstream's key `clock` instead of the upstream's own.
    pub fn start_with_clock(url: &str, clock: &str, settings: &[&str]) -> Self {
        let mut command = command(&["run", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--upstream", url]);
        command.env("INVENTORY_SENTINEL_TEST_CLOCK_KEY", clock);
        for setting in settings {
            command.args(["--set", setting]);
        }
        let sidecar = Self::launch_command(command);
        sidecar.wait_ready();
        sidecar
    }

    pub fn wait_ready(&self) {
        until("the sidecar is ready", SOON, || (self.http("/readyz").0 == 200).then_some(()));
    }

    /// The same, ready or not: it serves.
    pub fn launch(url: &str, settings: &[&str]) -> Self {
        let mut args = vec!["--upstream", url];
        for setting in settings {
            args.extend(["--set", setting]);
        }
        Self::launch_args(&args)
    }

    /// `run` on free ports with these arguments besides.
    pub fn launch_args(args: &[&str]) -> Self {
        let mut command = command(&["run", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        command.args(args);
        Self::launch_command(command)
    }

    /// From a whole command line.
    pub fn launch_command(mut command: Command) -> Self {
        let log = tempfile::tempfile().expect("a file");
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.try_clone().expect("the same file"))
            .spawn()
            .expect("the sidecar starts");
        let mut sidecar = Self { child, listen: String::new(), admin: String::new(), log };
        let (listen, admin) = until("the sidecar says that it serves", SOON, || {
            if let Some(status) = sidecar.child.try_wait().expect("wait") {
                panic!("the sidecar ended at once with {status}: {:?}", sidecar.log_lines());
            }
            sidecar.log_lines().iter().find_map(|line| serving(line))
        });
        (sidecar.listen, sidecar.admin) = (listen, admin);
        sidecar
    }

    pub fn conn(&self) -> Conn {
        Conn::open(&self.listen)
    }

    pub fn conn3(&self) -> Conn {
        Conn::open3(&self.listen)
    }

    /// What it has said, as far as the lines are whole.
    pub fn log_lines(&self) -> Vec<String> {
        let mut bytes = vec![0; self.log.metadata().expect("its length").len() as usize];
        // At a place of our own: where the file stands is where the sidecar writes.
        self.log.read_exact_at(&mut bytes, 0).expect("the log");
        let text = String::from_utf8_lossy(&bytes);
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(str::to_owned).collect()
    }

    /// Status and body of a GET on the admin address.
    pub fn http(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.admin).expect("the admin address");
        stream.set_read_timeout(Some(SOON)).expect("a timeout");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        (status, body.to_string())
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How much memory it holds, in KiB.
    pub fn resident_kib(&self) -> u64 {
        self.kib("VmRSS:")
    }

    /// How much of its address space is taken, in KiB.
    pub fn virtual_kib(&self) -> u64 {
        self.kib("VmSize:")
    }

    fn kib(&self, which: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("its status");
        let line = status.lines().find_map(|line| line.strip_prefix(which)).expect("a line of it");
        line.trim().trim_end_matches(" kB").parse().expect("kB")
    }

    pub fn kill9(&mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("wait");
    }

    pub fn terminate(&self) {
        kill_process(pid_of(&self.child), Signal::TERM).expect("signal");
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        until("the sidecar ends", SOON, || self.child.try_wait().expect("wait"))
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("wait").is_none()
    }
}

impl Drop for Sidecar {
    #[allow(clippy::print_stderr, reason = "what a failed test shows")]
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let lines = self.log_lines();
            let from = lines.len().saturating_sub(30);
            eprintln!("--- the sidecar's last words\n{}\n---", lines[from..].join("\n"));
        }
    }
}

/// The value of a metric, by its name, labels and the blank behind them.
#[track_caller]
pub fn figure(sidecar: &Sidecar, name: &str) -> f64 {
    let (_, text) = sidecar.http("/metrics");
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name} in {text}"));
    line.trim().parse().expect("a number")
}

/// The program, without what the environment of whoever runs the tests would add.
pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("INVENTORY_SENTINEL_") {
            command.env_remove(name);
        }
    }
    command.env_remove("RUST_LOG").args(args);
    command
}

/// Runs the program to its end: status, stdout, stderr. Killed, and the test with it, at the deadline.
pub fn run_to_end(args: &[&str]) -> (Option<i32>, String, String) {
    let mut child = command(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let collect = |mut from: Box<dyn Read + Send>| {
        std::thread::spawn(move || {
            let mut text = String::new();
            let _ = from.read_to_string(&mut text);
            text
        })
    };
    let stdout = collect(Box::new(child.stdout.take().expect("stdout")));
    let stderr = collect(Box::new(child.stderr.take().expect("stderr")));
    let end = std::time::Instant::now() + SOON;
    let status = loop {
        if let Some(status) = child.try_wait().expect("wait") {
            break Some(status);
        }
        if std::time::Instant::now() > end {
            let _ = child.kill();
            let _ = child.wait();
            break None;
        }
        super::pause();
    };
    let (stdout, stderr) = (stdout.join().expect("stdout"), stderr.join().expect("stderr"));
    let Some(status) = status else { panic!("{args:?} did not end: {stdout}{stderr}") };
    (status.code(), stdout, stderr)
}

/// `listen` and `admin` of the `serving` line, whether its fields stand at the top or under `fields`.
fn serving(line: &str) -> Option<(String, String)> {
    let json: serde_json::Value = serde_json::from_str(line).ok()?;
    let fields = json.get("fields").unwrap_or(&json);
    if fields.get("message")?.as_str()? != "serving" {
        return None;
    }
    let text = |name: &str| fields.get(name)?.as_str().map(str::to_string);
    Some((text("listen")?, text("admin")?))
}
