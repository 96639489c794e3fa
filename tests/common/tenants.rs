//! A sidecar with tenants, whose configuration is in a file of its own and can become another.

use super::{Conn, Redis, SOON, Sidecar, figure, sidecar, until};
use rustix::process::{Pid, Signal, kill_process};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A wrong password is answered at once; two tenants.
pub const TWO: &str = r#"
[listen]
auth_failure_ms = 1

[[tenants]]
name = "acme"
password = "acme-secret"

[[tenants]]
name = "rival"
password = "rival-secret"
"#;

/// What each of these runs with: on a machine that has much else to do an operation may take long, and that is never the matter.
pub const PATIENT: &str = "inventory.operation_deadline_ms=15000";

/// [`TWO`], with these lines in the first one's entry.
pub fn two(of_acme: &str) -> String {
    TWO.replacen("\"acme-secret\"\n", &format!("\"acme-secret\"\n{of_acme}\n"), 1)
}

pub struct Tenanted {
    pub sidecar: Sidecar,
    dir: TempDir,
}

impl Tenanted {
    /// In front of it, with these tenants, and ready.
    pub fn start(redis: &Redis, text: &str) -> Self {
        Self::start_with(redis, text, &[], |_| {})
    }

    /// The same with these settings, and what is to be in its directory made before.
    pub fn start_with(redis: &Redis, text: &str, settings: &[&str], prepare: impl FnOnce(&Path)) -> Self {
        Self::start_at(&redis.url(), text, settings, prepare)
    }

    /// The same, where the upstream is at this address.
    pub fn start_at(url: &str, text: &str, settings: &[&str], prepare: impl FnOnce(&Path)) -> Self {
        let dir = TempDir::new().expect("a directory");
        prepare(dir.path());
        std::fs::write(dir.path().join("sentinel.toml"), text.replace("DIR", &dir.path().display().to_string()))
            .expect("the configuration");
        let path = dir.path().join("sentinel.toml").display().to_string();
        let mut args = vec!["--config", &path, "--upstream", url, "--set", PATIENT];
        for setting in settings {
            args.extend(["--set", setting]);
        }
        let mut command = sidecar::command(&["run", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        command.env("TENANTS_TEST_PASSWORD", "from the environment").args(args);
        let sidecar = Sidecar::launch_command(command);
        sidecar.wait_ready();
        Self { sidecar, dir }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A client that is this one.
    pub fn conn_as(&self, name: &str, password: &str) -> Conn {
        let mut conn = self.sidecar.conn();
        assert_eq!(text(&mut conn, &["AUTH", name, password]), "+OK\r\n");
        conn
    }

    /// The same, in RESP3.
    pub fn conn3_as(&self, name: &str, password: &str) -> Conn {
        let mut conn = self.sidecar.conn();
        let hello = conn.call(&format!("HELLO 3 AUTH {name} {password}"));
        assert!(!matches!(hello, super::Reply::Error(_)), "{hello:?}");
        conn
    }

    pub fn acme(&self) -> Conn {
        self.conn_as("acme", "acme-secret")
    }

    pub fn rival(&self) -> Conn {
        self.conn_as("rival", "rival-secret")
    }

    /// The configuration is this from here on, and the sidecar has looked at it, asked to.
    pub fn becomes(&self, text: &str, result: &str) {
        let before = self.reloads(result);
        // Moved to its place, so that no half of it is ever read.
        let next = self.path("next");
        std::fs::write(&next, text.replace("DIR", &self.dir.path().display().to_string())).expect("the configuration");
        std::fs::rename(next, self.path("sentinel.toml")).expect("the configuration");
        self.hang_up();
        until("the configuration is looked at", SOON, || (self.reloads(result) > before).then_some(()));
    }

    pub fn hang_up(&self) {
        let pid = Pid::from_raw(self.sidecar.pid() as i32).expect("a pid");
        kill_process(pid, Signal::HUP).expect("a signal");
    }

    /// How many changed configurations were `ok` or `failed`.
    pub fn reloads(&self, result: &str) -> f64 {
        figure(&self.sidecar, &format!("inventory_sentinel_config_reload_total{{result=\"{result}\"}}"))
    }

    /// Log lines with this in them.
    pub fn logged(&self, part: &str) -> Vec<String> {
        self.sidecar.log_lines().into_iter().filter(|line| line.contains(part)).collect()
    }
}

/// The reply as it came.
pub fn text(conn: &mut Conn, request: &[&str]) -> String {
    conn.send_args(request);
    String::from_utf8(conn.raw()).expect("a reply of text")
}

/// The first word of the reply, with its sign.
pub fn word(conn: &mut Conn, request: &[&str]) -> String {
    text(conn, request).split([' ', '\r']).next().unwrap_or_default().to_owned()
}
