//! The programs of `tests/clients`: real clients and applications, in the languages they are written in.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::{pause, until};

/// How long one client may take for the whole of it; Node alone needs a second to start on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// A client's language.
pub enum Language {
    Python,
    Node,
}

/// A script of `tests/clients` while it runs; ended when dropped.
pub struct Script {
    child: Child,
    name: String,
    out: tempfile::NamedTempFile,
}

impl Script {
    /// `script HOST PORT` and `args`.
    #[track_caller]
    pub fn start(language: &Language, script: &str, address: &str, args: &[&str]) -> Self {
        let (program, needs) = match language {
            Language::Python => (clients().join(".venv/bin/python"), ".venv/.stamp"),
            Language::Node => (PathBuf::from("node"), "node_modules/.stamp"),
        };
        assert!(
            clients().join(needs).exists(),
            "tests/clients/{needs} is missing: run `make test`, or tests/clients/setup.sh"
        );
        let (host, port) = address.rsplit_once(':').expect("host:port");
        let out = tempfile::NamedTempFile::new().expect("a file");
        // At the end, whoever writes: what one says must not stand where another said something.
        let end = || OpenOptions::new().append(true).open(out.path()).expect("a file");
        let child = Command::new(&program)
            .args([script, host, port])
            .args(args)
            .current_dir(clients())
            .stdin(Stdio::piped())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; run `make test`", program.display()));
        Self { child, name: script.to_owned(), out }
    }

    pub fn said(&self) -> String {
        std::fs::read_to_string(self.out.path()).expect("what it said")
    }

    /// Until it says that it is ready.
    #[track_caller]
    pub fn wait_ready(&mut self) {
        self.wait_for("ready");
    }

    /// Until it says this on a line of its own.
    #[track_caller]
    pub fn wait_for(&mut self, word: &str) {
        until(&format!("{} says {word}", self.name), PATIENCE, || {
            let ended = self.child.try_wait().expect("wait");
            assert!(ended.is_none(), "{} ({ended:?}): {}", self.name, self.said());
            self.said().lines().any(|line| line == word).then_some(())
        });
    }

    pub fn goes_on(&mut self) {
        self.child.stdin.as_mut().expect("its input").write_all(b"go on\n").expect("told");
    }

    /// Until it ends well.
    #[track_caller]
    pub fn succeeds(mut self) {
        let end = std::time::Instant::now() + PATIENCE;
        let status = loop {
            let status = self.child.try_wait().expect("wait");
            if status.is_some() || std::time::Instant::now() > end {
                break status;
            }
            pause();
        };
        assert!(status.is_some_and(|status| status.success()), "{} ({status:?}): {}", self.name, self.said());
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
