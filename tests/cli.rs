//! The command line: what is wrong is said in one clear line and exit 1; what runs says how it is.

mod common;

use std::io::Write as _;

use common::sidecar::{PROGRAM, run_to_end};
use common::{Redis, Reply, SOON, Sidecar, until};

fn config(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(text.as_bytes()).expect("its text");
    file
}

/// Starts and must end with exit 1 and one line on stderr.
#[track_caller]
fn one_line_and_exit_1(args: &[&str]) -> String {
    let (code, stdout, stderr) = run_to_end(args);
    assert_eq!(code, Some(1), "{args:?}: {stdout}{stderr}");
    assert_eq!(stderr.lines().count(), 1, "one line, not: {stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    stderr
}

#[test]
fn check_names_the_line_and_the_key_of_what_is_wrong() {
    for (text, line, key) in [
        ("[sidecar]\nworkers = 1\nwokers = 2\n", 3, "wokers"),
        ("[upstream]\n\nlinks = \"two\"\n", 3, "links"),
        ("[inventory]\nnamespace = \"a b\"\n", 2, "namespace"),
        ("[inventory]\ncells = 0\n", 2, "cells"),
        ("[inventory]\n# a comment\nreservation_ttl = \"5 parsecs\"\n", 3, "reservation_ttl"),
        ("[nonsense]\nx = 1\n", 1, "nonsense"),
    ] {
        let file = config(text);
        let (code, stdout, stderr) = run_to_end(&["check", "--config", file.path().to_str().expect("a path")]);
        let said = format!("{stdout}{stderr}");
        assert_eq!(code, Some(1), "{text}: {said}");
        assert!(said.contains(key), "{text}: the key is not in: {said}");
        let names_line = [format!("line {line}"), format!(":{line}:"), format!(":{line}")];
        assert!(names_line.iter().any(|form| said.contains(form)), "{text}: line {line} is not in: {said}");
    }
}

#[test]
fn check_of_a_file_that_is_not_toml_or_not_there_says_so() {
    let file = config("[sidecar\nworkers 1");
    let (code, stdout, stderr) = run_to_end(&["check", "--config", file.path().to_str().expect("a path")]);
    assert_eq!(code, Some(1), "{stdout}{stderr}");
    let (code, stdout, stderr) = run_to_end(&["check", "--config", "/nowhere/at/all.toml"]);
    assert_eq!(code, Some(1));
    assert!(format!("{stdout}{stderr}").contains("/nowhere/at/all.toml"), "{stdout}{stderr}");
}

#[test]
fn check_of_a_good_file_is_exit_0_and_the_shipped_example_is_one() {
    let file = config("[inventory]\nnamespace = \"acme\"\nreservation_ttl = \"2m\"\n");
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/config/sentinel.toml");
    for path in [file.path().to_str().expect("a path"), shipped] {
        let (code, stdout, stderr) = run_to_end(&["check", "--config", path]);
        assert_eq!(code, Some(0), "{path}: {stdout}{stderr}");
    }
}

#[test]
fn check_connects_and_tells_the_engine_and_warns_of_eviction() {
    let redis = Redis::start();
    let file = config(&format!("[upstream]\nurl = \"{}\"\n", redis.url()));
    let path = file.path().to_str().expect("a path").to_string();
    let (code, stdout, stderr) = run_to_end(&["check", "--config", &path, "--connect"]);
    let said = format!("{stdout}{stderr}").to_lowercase();
    assert_eq!(code, Some(0), "{said}");
    let info = redis.conn().call("INFO server").text();
    // Valkey says both, the other one's being what it is compatible with.
    let engine = ["valkey", "redis"]
        .into_iter()
        .find_map(|name| Some((name, info.lines().find_map(|line| line.strip_prefix(&format!("{name}_version:")))?)));
    let (name, version) = engine.expect("a version");
    assert!(said.contains(&format!("{name} {}", version.trim())) && said.contains("noeviction"), "{said}");
    redis.conn().call("CONFIG SET maxmemory-policy allkeys-lru").expect_ok();
    let (_, stdout, stderr) = run_to_end(&["check", "--config", &path, "--connect"]);
    let said = format!("{stdout}{stderr}").to_lowercase();
    assert!(said.contains("allkeys-lru") && said.contains("warn"), "{said}");
}

#[test]
fn check_connects_and_tells_of_a_namespace_that_was_begun_with_other_cells() {
    let redis = Redis::start();
    Sidecar::start(&redis.url(), &["inventory.namespace=acme"]).conn().call("INV.SETSTOCK tee 1").expect_ok();
    let upstream = redis.url();
    let asked = ["check", "--connect", "--upstream", &upstream, "--set", "inventory.cells=4"];
    let said = one_line_and_exit_1(&[&asked[..], &["--namespace", "acme"]].concat());
    assert!(said.contains("inventory.cells is 4, but this namespace was begun with inventory.cells = 1"), "{said}");
    assert_eq!(run_to_end(&asked).0, Some(0), "another namespace");

    // Of several tenants it keeps only those from their inventory whose namespace it is.
    let tenants = "[[tenants]]\nname = \"acme\"\npassword = \"x\"\n[[tenants]]\nname = \"other\"\npassword = \"x\"\n";
    let file = config(tenants);
    let (code, stdout, stderr) =
        run_to_end(&[&asked[..], &["--config", file.path().to_str().expect("a path")]].concat());
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("warning: inventory.cells is 4") && stdout.matches("warning").count() == 1, "{stdout}");
}

#[test]
fn a_taken_port_is_one_line_and_exit_1() {
    let redis = Redis::start();
    let said =
        one_line_and_exit_1(&["run", "--listen", &redis.addr(), "--admin", "127.0.0.1:0", "--upstream", &redis.url()]);
    assert!(said.contains(&redis.addr()), "{said}");
    let said =
        one_line_and_exit_1(&["run", "--listen", "127.0.0.1:0", "--admin", &redis.addr(), "--upstream", &redis.url()]);
    assert!(said.contains(&redis.addr()), "{said}");
}

#[test]
fn a_database_that_the_upstream_does_not_have_is_one_line_and_exit_1() {
    let redis = Redis::start();
    let url = format!("{}/99", redis.url());
    for command in [&["run", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"][..], &["check", "--connect"]] {
        let said = one_line_and_exit_1(&[command, &["--upstream", &url]].concat());
        assert!(said.contains("it refuses database 99"), "{said}");
    }
}

#[test]
fn a_file_where_the_socket_is_to_be_is_left_alone_and_named() {
    let file = config("somebody's");
    let path = file.path().to_str().expect("a path");
    let said = one_line_and_exit_1(&["run", "--listen", "", "--listen-unix", path, "--admin", "127.0.0.1:0"]);
    assert!(said.contains(path) && said.contains("no socket"), "{said}");
    assert_eq!(std::fs::read_to_string(path).expect("it is there"), "somebody's");
}

#[test]
fn a_data_directory_that_cannot_be_is_named_with_its_key() {
    let file = config("");
    let dir = file.path().join("data");
    let dir = dir.to_str().expect("a path");
    let listen = ["run", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    let said = one_line_and_exit_1(&[&listen[..], &["--upstream", "managed", "--data-dir", dir]].concat());
    assert!(said.contains("sidecar.data_dir: ") && said.contains(dir), "{said}");
}

#[test]
fn acl_of_a_tenant_that_there_is_not_says_so_whether_the_upstream_is_there_or_not() {
    let file = config("[[tenants]]\nname = \"acme\"\npassword = \"x\"\n");
    let path = file.path().to_str().expect("a path");
    let upstream = "redis://127.0.0.1:1";
    let said = one_line_and_exit_1(&["acl", "--config", path, "--tenant", "acne", "--upstream", upstream]);
    assert!(said.contains("\"acne\"") && said.contains("there are acme"), "{said}");
    let said = one_line_and_exit_1(&["acl", "--tenant", "acme", "--upstream", upstream]);
    assert!(said.contains("there are none"), "{said}");
}

#[test]
fn health_of_what_is_no_address_says_what_one_is() {
    for address in ["localhost", "127.0.0.1:port", ""] {
        let said = one_line_and_exit_1(&["health", "--admin", address]);
        assert!(said.contains("host:port"), "{address}: {said}");
    }
}

#[test]
fn a_refused_password_is_one_line_and_exit_1_and_is_never_shown() {
    let redis = Redis::with(&["--save", "", "--requirepass", "right"]);
    let url = format!("redis://:wrong-secret@{}", redis.addr());
    let said = one_line_and_exit_1(&["run", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--upstream", &url]);
    assert!(!said.contains("wrong-secret"), "{said}");
    let sidecar = Sidecar::start(&format!("redis://:right@{}", redis.addr()), &[]);
    assert_eq!(sidecar.conn().call("GET k"), Reply::NilBulk);
    sidecar.conn().call("INV.SETSTOCK tee 1").expect_ok();
    assert!(!sidecar.log_lines().concat().contains("right@"), "{:?}", sidecar.log_lines());
}

#[test]
fn a_setting_that_is_wrong_is_one_line_and_exit_1() {
    for setting in
        ["inventory.cells=0", "inventory.nope=1", "nonsense", "upstream.links=many", "inventory.namespace=a:b"]
    {
        let said = one_line_and_exit_1(&["run", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--set", setting]);
        let key = setting.split('=').next().expect("a key").rsplit('.').next().expect("a key");
        assert!(said.contains(key), "{setting}: {said}");
    }
    one_line_and_exit_1(&[
        "run",
        "--listen",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
        "--upstream",
        "http://127.0.0.1:1",
    ]);
}

#[test]
fn flags_beat_the_environment_which_beats_the_file() {
    let redis = Redis::start();
    let file = config("[inventory]\nnamespace = \"from-file\"\n");
    let namespace_of = |env: Option<&str>, flag: Option<&str>| {
        let mut command = common::sidecar::command(&["run", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        command.args(["--config", file.path().to_str().expect("a path"), "--upstream", &redis.url()]);
        if let Some(name) = env {
            command.env("INVENTORY_SENTINEL_NAMESPACE", name);
        }
        if let Some(name) = flag {
            command.args(["--namespace", name]);
        }
        redis.conn().call("FLUSHALL").expect_ok();
        let sidecar = Sidecar::launch_command(command);
        sidecar.wait_ready();
        sidecar.conn().call("INV.SETSTOCK tee 1").expect_ok();
        let keys = redis.conn().call("KEYS inv1:*:stock");
        let key = keys.items()[0].text();
        key.trim_start_matches("inv1:{").split('/').next().expect("a namespace").to_string()
    };
    assert_eq!(namespace_of(None, None), "from-file");
    assert_eq!(namespace_of(Some("from-env"), None), "from-env");
    assert_eq!(namespace_of(Some("from-env"), Some("from-flag")), "from-flag");
}

#[test]
fn a_managed_upstream_runs_and_its_data_survive_a_restart_of_both() {
    let dir = tempfile::TempDir::new().expect("a directory");
    let args = ["--upstream", "managed", "--data-dir", dir.path().to_str().expect("a path")];
    let mut sidecar = Sidecar::launch_args(&args);
    sidecar.wait_ready();
    let mut conn = sidecar.conn();
    conn.call("INV.SETSTOCK tee 5").expect_ok();
    assert_eq!(conn.call("INV.RESERVE tee 2 ID order-17 EX 3600"), Reply::bulk("0-order-17"));
    conn.call("SET k v").expect_ok();
    sidecar.terminate();
    assert_eq!(sidecar.wait().code(), Some(0));
    let children = || {
        let dir = dir.path().to_str().expect("a path").to_string();
        std::fs::read_dir("/proc")
            .expect("/proc")
            .flatten()
            .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
            .filter(|line| String::from_utf8_lossy(line).contains(&dir))
            .count()
    };
    assert_eq!(children(), 0, "its child has ended with it");

    let mut sidecar = Sidecar::launch_args(&args);
    sidecar.wait_ready();
    let mut conn = sidecar.conn();
    assert_eq!(conn.call("GET k"), Reply::bulk("v"));
    conn.call("INV.COMMIT 0-order-17").expect_ok();
    assert_eq!(conn.call("INV.STOCK tee").field("committed"), Reply::Int(2));
    // The child crashes: it is started again, with its data.
    let pid = conn.call("INFO server").text();
    let pid =
        pid.lines().find_map(|line| line.strip_prefix("process_id:")).expect("a pid").trim().parse().expect("a pid");
    let pid = rustix::process::Pid::from_raw(pid).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("kill");
    until("the upstream is back", SOON, || {
        let reply = conn.try_call("INV.STOCK tee").ok()?;
        (!matches!(reply, Reply::Error(_))).then(|| assert_eq!(reply.field("committed"), Reply::Int(2)))
    });
    sidecar.terminate();
    assert_eq!(sidecar.wait().code(), Some(0));
}

#[test]
fn the_metrics_page_has_the_four_names_of_the_library_with_help_and_counts() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &["inventory.namespace=acme"]);
    let mut conn = sidecar.conn();
    conn.call("INV.SETSTOCK tee 2").expect_ok();
    let id = conn.call("INV.RESERVE tee 1").text();
    conn.call("INV.RESERVE tee 9").expect_error("INSUFFICIENTSTOCK");
    conn.call(&format!("INV.COMMIT {id}")).expect_ok();
    conn.call(&format!("INV.COMMIT {id}")).expect_error("ALREADYCOMMITTED");
    let id = conn.call("INV.RESERVE tee 1").text();
    conn.call(&format!("INV.ROLLBACK {id}")).expect_ok();
    let (status, page) = sidecar.http("/metrics");
    assert_eq!(status, 200);
    let value = |name: &str, labels: &[&str]| {
        let line = page
            .lines()
            .find(|line| line.starts_with(&format!("{name}{{")) && labels.iter().all(|label| line.contains(label)));
        let line = line.unwrap_or_else(|| panic!("no {name} with {labels:?} in\n{page}"));
        line.rsplit(' ').next().expect("a value").parse::<f64>().expect("a number")
    };
    let acme = "namespace=\"acme\"";
    assert_eq!(value("inventory_sentinel_reserve_total", &["status=\"ok\"", acme]), 2.0);
    assert_eq!(value("inventory_sentinel_reserve_total", &["status=\"insufficient_stock\"", acme]), 1.0);
    assert_eq!(value("inventory_sentinel_commit_total", &["status=\"ok\"", acme]), 1.0);
    assert_eq!(value("inventory_sentinel_commit_total", &["status=\"already_committed\"", acme]), 1.0);
    assert_eq!(value("inventory_sentinel_rollback_total", &["status=\"ok\"", acme]), 1.0);
    assert!(value("inventory_sentinel_operation_duration_seconds_count", &["operation=\"reserve\""]) >= 1.0);
    assert!(page.contains("inventory_sentinel_operation_duration_seconds_bucket{"), "{page}");
    for (name, kind) in [
        ("inventory_sentinel_reserve_total", "counter"),
        ("inventory_sentinel_commit_total", "counter"),
        ("inventory_sentinel_rollback_total", "counter"),
        ("inventory_sentinel_operation_duration_seconds", "histogram"),
    ] {
        assert!(page.contains(&format!("# HELP {name} ")), "no help for {name}");
        assert!(page.contains(&format!("# TYPE {name} {kind}")), "no type for {name}");
    }
    assert!(!page.contains("tee"), "a SKU is never a label");
}

#[test]
fn health_and_readiness_tell_alive_from_able() {
    let mut redis = Redis::durable();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    for path in ["/healthz", "/readyz"] {
        let (status, body) = sidecar.http(path);
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str::<serde_json::Value>(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"));
    }
    assert_eq!(sidecar.http("/nope").0, 404);
    redis.kill9();
    let body = until("not ready", SOON, || {
        let (status, body) = sidecar.http("/readyz");
        (status == 503).then_some(body)
    });
    assert!(body.to_lowercase().contains("upstream"), "the reason: {body}");
    assert_eq!(sidecar.http("/healthz").0, 200);
    redis.restart();
    sidecar.wait_ready();
}

#[test]
fn help_is_good_enough_to_need_no_other_text() {
    assert!(std::path::Path::new(PROGRAM).exists());
    let (code, help, _) = run_to_end(&["--help"]);
    assert_eq!(code, Some(0));
    for word in ["run", "check", "demo"] {
        assert!(help.contains(word), "{word} is not in {help}");
    }
    let (code, help, _) = run_to_end(&["run", "--help"]);
    assert_eq!(code, Some(0));
    for word in [
        "--config",
        "--listen",
        "--listen-unix",
        "--upstream",
        "--admin",
        "--namespace",
        "--workers",
        "--data-dir",
        "--set",
        "127.0.0.1:6380",
        "redis://127.0.0.1:6379",
        "127.0.0.1:9121",
        "INVENTORY_SENTINEL_",
    ] {
        assert!(help.contains(word), "{word} is not in {help}");
    }
    let (code, version, _) = run_to_end(&["--version"]);
    assert_eq!(code, Some(0));
    assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
}
