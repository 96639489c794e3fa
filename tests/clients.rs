//! Real clients, unmodified: they live the life cycle of the specification through the sidecar, and a thousand of them share
//! its connections.
//!
//! `tests/clients/setup.sh` installs them at pinned versions; `make test` runs it first.

mod common;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::{Redis, SOON, Sidecar, figure, raise_file_limit, until, upstream_connections};

/// How long one client may take for the whole of it; Node alone needs a second to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// A client's language.
enum Language {
    Python,
    Node,
}

/// A script of `tests/clients` while it runs; ended when dropped.
struct Script {
    child: Child,
    name: String,
    out: tempfile::NamedTempFile,
}

impl Script {
    /// `script HOST PORT` and `args`.
    #[track_caller]
    fn start(language: &Language, script: &str, sidecar: &Sidecar, args: &[&str]) -> Self {
        let (program, needs) = match language {
            Language::Python => (clients().join(".venv/bin/python"), ".venv/.stamp"),
            Language::Node => (PathBuf::from("node"), "node_modules/.stamp"),
        };
        assert!(
            clients().join(needs).exists(),
            "tests/clients/{needs} is missing: run `make test`, or tests/clients/setup.sh"
        );
        let (host, port) = sidecar.listen.rsplit_once(':').expect("host:port");
        let out = tempfile::NamedTempFile::new().expect("a file");
        let child = Command::new(&program)
            .args([script, host, port])
            .args(args)
            .current_dir(clients())
            .stdin(Stdio::piped())
            .stdout(out.reopen().expect("a file"))
            .stderr(out.reopen().expect("a file"))
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; run `make test`", program.display()));
        Self { child, name: script.to_owned(), out }
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.out.path()).expect("what it said")
    }

    /// Until it says that it is ready.
    #[track_caller]
    fn wait_ready(&mut self) {
        until(&format!("{} is ready", self.name), PATIENCE, || {
            let ended = self.child.try_wait().expect("wait");
            assert!(ended.is_none(), "{} ({ended:?}): {}", self.name, self.said());
            self.said().contains("ready\n").then_some(())
        });
    }

    fn goes_on(&mut self) {
        self.child.stdin.as_mut().expect("its input").write_all(b"go on\n").expect("told");
    }

    /// Until it ends well.
    #[track_caller]
    fn succeeds(mut self) {
        let end = std::time::Instant::now() + PATIENCE;
        let status = loop {
            let status = self.child.try_wait().expect("wait");
            if status.is_some() || std::time::Instant::now() > end {
                break status;
            }
            common::pause();
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

#[track_caller]
fn lives_through(language: &Language, script: &str) {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    Script::start(language, script, &sidecar, &[]).succeeds();
}

#[test]
fn redis_py_lives_the_life_cycle_over_resp2_and_resp3() {
    lives_through(&Language::Python, "life_cycle.py");
}

#[test]
fn ioredis_lives_the_life_cycle() {
    lives_through(&Language::Node, "life_cycle_ioredis.mjs");
}

#[test]
fn node_redis_lives_the_life_cycle_over_resp2_and_resp3() {
    lives_through(&Language::Node, "life_cycle_node_redis.mjs");
}

/// A thousand clients of the script's five kinds, counted upstream while all are connected.
#[track_caller]
fn a_thousand_share(language: &Language, script: &str) {
    const LINKS: usize = 2;
    const POOL: usize = 2;
    raise_file_limit();
    let redis = Redis::start();
    redis.conn().call("ACL SETUSER app on >secret ~* &* +@all").expect_ok();
    let settings = [format!("upstream.links={LINKS}"), format!("upstream.pool_size={POOL}")];
    let sidecar = Sidecar::start(&redis.url(), &settings.each_ref().map(String::as_str));
    let mut script = Script::start(language, script, &sidecar, &["1000"]);
    script.wait_ready();
    // (no one, 0, RESP2) (no one, 0, RESP3) (app, 0, RESP3) (app, 0, RESP2) (no one, 1, RESP2)
    let links = figure(&sidecar, "inventory_sentinel_upstream_connections{kind=\"link\"} ");
    assert!(links <= (5 * LINKS) as f64, "{links} links");
    // Besides, two that wait to be the own one of whoever needs one, and two on which AUTH was proved. Where more AUTHs came
    // at once, they had more; those go again when they are not needed for some seconds.
    let most = 5 * LINKS + POOL + 2 + 2;
    until(&format!("{most} connections for 1000 clients"), PATIENCE, || {
        (upstream_connections(&redis) <= most).then_some(())
    });
    assert_eq!(figure(&sidecar, "inventory_sentinel_pinned_clients "), 0.0);
    assert_eq!(figure(&sidecar, "inventory_sentinel_upstream_connections{kind=\"pinned\"} "), 0.0);
    for reason in ["transaction", "blocking", "subscription", "raw", "state", "unknown", "large", "always"] {
        let pins = figure(&sidecar, &format!("inventory_sentinel_pins_total{{reason=\"{reason}\"}} "));
        assert_eq!(pins, 0.0, "{reason}");
    }
    // Each is there for the others, as it is, and beside them the one that asks.
    assert_eq!(figure(&sidecar, "inventory_sentinel_clients "), 1000.0);
    let list = sidecar.conn().call("CLIENT LIST").text();
    let count = |words: &[&str]| list.lines().filter(|row| words.iter().all(|word| row.contains(word))).count();
    assert_eq!(count(&[]), 1001);
    assert_eq!((count(&[" user=app "]), count(&[" name=crowd "]), count(&[" db=1 "])), (400, 200, 200));
    script.goes_on();
    script.succeeds();
    until("all are gone", SOON, || (figure(&sidecar, "inventory_sentinel_clients ") == 0.0).then_some(()));
    assert!(upstream_connections(&redis) <= most);
}

#[test]
fn a_thousand_clients_of_redis_py_share_two_links_for_each_user_database_and_protocol() {
    a_thousand_share(&Language::Python, "crowd.py");
}

#[test]
fn a_thousand_clients_of_node_redis_share_two_links_for_each_user_database_and_protocol() {
    a_thousand_share(&Language::Node, "crowd_node_redis.mjs");
}
