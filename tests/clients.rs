//! Real clients, unmodified, live the life cycle of the specification through the sidecar.
//!
//! `tests/clients/setup.sh` installs them at pinned versions; `make test` runs it first.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Redis, Sidecar};

/// How long one client may take for the whole of it; Node alone needs a second to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// Runs `program script HOST PORT` against a sidecar of its own.
#[track_caller]
fn lives_through(program: &Path, script: &str, needs: &str) {
    assert!(
        clients().join(needs).exists(),
        "tests/clients/{needs} is missing: run `make test`, or tests/clients/setup.sh"
    );
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    let (host, port) = sidecar.listen.rsplit_once(':').expect("host:port");
    let out = tempfile::NamedTempFile::new().expect("a file");
    let mut child = Command::new(program)
        .args([script, host, port])
        .current_dir(clients())
        .stdin(Stdio::null())
        .stdout(out.reopen().expect("a file"))
        .stderr(out.reopen().expect("a file"))
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}; run `make test`", program.display()));
    let end = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().expect("wait") {
            break Some(status);
        }
        if Instant::now() > end {
            let _ = child.kill();
            let _ = child.wait();
            break None;
        }
        common::pause();
    };
    let said = std::fs::read_to_string(out.path()).expect("what it said");
    assert!(status.is_some_and(|status| status.success()), "{script} ({status:?}): {said}");
}

#[test]
fn redis_py_lives_the_life_cycle_over_resp2_and_resp3() {
    lives_through(&clients().join(".venv/bin/python"), "life_cycle.py", ".venv/.stamp");
}

#[test]
fn ioredis_lives_the_life_cycle() {
    lives_through(Path::new("node"), "life_cycle_ioredis.mjs", "node_modules/.stamp");
}

#[test]
fn node_redis_lives_the_life_cycle_over_resp2_and_resp3() {
    lives_through(Path::new("node"), "life_cycle_node_redis.mjs", "node_modules/.stamp");
}
