//! How a tenant's clients come in: by passwords of each kind, by its own doors; and what those may do who have not come in.

mod common;

use argon2::password_hash::{PasswordHasher, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use common::resp::encode;
use common::tenants::{Tenanted, text, two, word};
use common::{Conn, Redis, SOON, figure, until};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

const WRONG: &str = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";

/// Of the word, as costly as that.
fn hash(word: &str, kib: u32, times: u32) -> String {
    let salt = SaltString::from_b64("c2FsdHNhbHQ").expect("a salt");
    let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(kib, times, 1, None).expect("params"));
    hasher.hash_password(word.as_bytes(), &salt).expect("a hash").to_string()
}

fn of_every_kind(hash: &str) -> String {
    format!(
        r#"
[listen]
auth_failure_ms = 1

[[tenants]]
name = "file"
password_file = "DIR/secret"

[[tenants]]
name = "env"
password_env = "TENANTS_TEST_PASSWORD"

[[tenants]]
name = "hash"
password_hash = "{hash}"

[[tenants]]
name = "default"
password = "the default's"
"#
    )
}

#[test]
fn a_password_of_each_kind_lets_in_and_a_wrong_one_does_not() {
    let redis = Redis::start();
    let config = of_every_kind(&hash("right", 64, 1));
    let tenants = Tenanted::start_with(&redis, &config, &[], |dir| {
        std::fs::write(dir.join("secret"), "of a file\n").expect("a file");
    });
    let mut conn = tenants.sidecar.conn();
    let words = ["of a file", "from the environment", "right", "the default's"];
    for (at, name) in ["file", "env", "hash", "default"].iter().enumerate() {
        for (of, word) in words.iter().enumerate() {
            let reply = text(&mut conn, &["AUTH", name, word]);
            assert_eq!(reply, if at == of { "+OK\r\n" } else { WRONG }, "{name} {word}");
        }
        for wrong in ["", "of a file\n", "righ", "rightt", &"x".repeat(20_000)] {
            assert_eq!(text(&mut conn, &["AUTH", name, wrong]), WRONG, "{name} {wrong:?}");
        }
        // Who was somebody stays it.
        assert_eq!(text(&mut conn, &["ACL", "WHOAMI"]), format!("${}\r\n{name}\r\n", name.len()));
        // The number of wrong ones begins anew with a right one.
        conn = tenants.conn_as(name, words[at]);
    }
    assert_eq!(text(&mut tenants.sidecar.conn(), &["AUTH", "the default's"]), "+OK\r\n");
    let log = tenants.sidecar.log_lines().join("\n");
    assert!(words.iter().all(|word| !log.contains(&format!("{word}\""))), "{log}");
}

#[test]
fn the_sixteenth_wrong_password_closes_and_each_is_counted() {
    let redis = Redis::start();
    let tenants = Tenanted::start(&redis, &two(""));
    let mut conn = tenants.sidecar.conn();
    for _ in 0..16 {
        assert_eq!(text(&mut conn, &["AUTH", "acme", "guess"]), WRONG);
    }
    conn.expect_close();
    assert_eq!(figure(&tenants.sidecar, "inventory_sentinel_auth_failures_total"), 16.0);
    // In one packet too, and what stands behind them is not executed.
    let mut conn = tenants.sidecar.conn();
    conn.send(&[encode(&["AUTH", "acme", "guess"]).repeat(16), encode(&["AUTH", "acme", "acme-secret"])].concat());
    assert!((0..16).all(|_| conn.raw() == WRONG.as_bytes()));
    conn.expect_close();
}

#[test]
fn many_costly_passwords_at_once_hold_nobody_up_who_has_come_in_or_comes_in_elsewhere() {
    let redis = Redis::start();
    let config = of_every_kind(&hash("right", 64 * 1024, 4));
    let tenants = Tenanted::start_with(&redis, &config, &["listen.auth_timeout_ms=600000"], |dir| {
        std::fs::write(dir.join("secret"), "of a file").expect("a file");
    });
    let mut other = tenants.conn_as("file", "of a file");
    // All of these together are longer than a test may take; nobody waits for one of them.
    let mut guesses: Vec<Conn> = (0..200).map(|_| tenants.sidecar.conn()).collect();
    guesses.iter_mut().for_each(|conn| conn.send_args(&["AUTH", "hash", "guess"]));
    for _ in 0..200 {
        assert_eq!(text(&mut other, &["PING"]), "+PONG\r\n");
    }
    drop(tenants.conn_as("env", "from the environment"));
    guesses.iter_mut().for_each(|conn| conn.patience(Duration::from_millis(1)));
    let first = until("one is answered", SOON, || guesses.iter_mut().find_map(|conn| conn.try_raw().ok()));
    assert_eq!(first, WRONG.as_bytes());
    assert!(figure(&tenants.sidecar, "inventory_sentinel_auth_failures_total") < 150.0, "they were no load");
}

#[test]
fn guessing_at_one_tenants_hash_does_not_keep_anothers_clients_out() {
    let redis = Redis::start();
    let (costly, cheap) = (hash("right", 64 * 1024, 4), hash("right", 64, 1));
    let config = format!(
        "[[tenants]]\nname = \"costly\"\npassword_hash = \"{costly}\"\n[[tenants]]\nname = \"cheap\"\npassword_hash = \"{cheap}\"\n"
    );
    let tenants = Tenanted::start(&redis, &config);
    let mut guesses: Vec<Conn> = (0..200).map(|_| tenants.sidecar.conn()).collect();
    guesses.iter_mut().for_each(|conn| conn.send_args(&["AUTH", "costly", "guess"]));
    drop(tenants.conn_as("cheap", "right"));
    assert!(
        figure(&tenants.sidecar, "inventory_sentinel_auth_failures_total") < 150.0,
        "it came in behind all of them"
    );
}

#[test]
fn who_guesses_and_is_closed_leaves_no_hash_behind_that_is_worked_out_beside_anothers() {
    let redis = Redis::start();
    let costly = hash("right", 16 * 1024, 4);
    let config = format!("[[tenants]]\nname = \"costly\"\npassword_hash = \"{costly}\"\n");
    // Of two clients that have not said who they are the older is closed for each that comes.
    let tenants = Tenanted::start_with(&redis, &config, &["listen.clients_max=8"], |_| {});
    let tasks = format!("/proc/{}/task", tenants.sidecar.pid());
    let hashing = || {
        let names = std::fs::read_dir(&tasks)
            .expect("threads")
            .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
        names.filter(|name| name.trim() == "password" || name.contains("blocking") || name.contains("tokio-rt")).count()
    };
    let (before, mut most, mut guesses) = (hashing(), 0, Vec::new());
    for _ in 0..40 {
        let Ok(mut conn) = Conn::try_open(&tenants.sidecar.listen) else { continue };
        if conn.try_send(&encode(&["AUTH", "costly", "guess"])).is_ok() {
            guesses.push(conn);
        }
        // It is looked at before the next one comes.
        let _ = tenants.sidecar.http("/metrics");
        most = most.max(hashing());
    }
    assert!(most <= before + 1, "{most} at once, {before} before");
}

#[test]
fn who_does_not_say_in_time_who_it_is_is_closed() {
    let redis = Redis::start();
    let tenants = Tenanted::start_with(&redis, &two(""), &["listen.auth_timeout_ms=200"], |_| {});
    let (mut acme, mut silent, mut chatty) = (tenants.acme(), tenants.sidecar.conn(), tenants.sidecar.conn());
    silent.expect_close();
    let end = until("it is closed too", SOON, || match chatty.try_call("PING") {
        Ok(reply) => {
            reply.expect_error("NOAUTH");
            None
        }
        Err(error) => Some(error),
    });
    assert!(end.kind() != std::io::ErrorKind::TimedOut, "{end}");
    assert_eq!(text(&mut acme, &["PING"]), "+PONG\r\n");
    // Nobody any more, it has so long again.
    assert_eq!(text(&mut acme, &["RESET"]), "+RESET\r\n");
    acme.expect_close();
}

#[test]
fn before_auth_frames_are_small_and_right_behind_it_they_need_not_be() {
    let redis = Redis::start();
    let tenants = Tenanted::start(&redis, &two(""));
    for (bytes, what) in [("*11\r\n", "multibulk"), ("*2\r\n$4\r\nAUTH\r\n$16385\r\n", "bulk")] {
        let mut conn = tenants.sidecar.conn();
        conn.send(bytes.as_bytes());
        let line = String::from_utf8(conn.raw()).expect("text");
        assert_eq!(line, format!("-ERR Protocol error: unauthenticated {what} length\r\n"));
        conn.expect_close();
    }
    let mut conn = tenants.sidecar.conn();
    let mget: Vec<String> = std::iter::once("MGET".to_owned()).chain((0..20).map(|n| format!("k{n}"))).collect();
    let requests = [
        encode(&["AUTH", "acme", "acme-secret"]),
        encode(&["SET", "k0", &"v".repeat(20_000)]),
        encode(&mget),
        encode(&["RESET"]),
    ];
    conn.send(&requests.concat());
    assert_eq!((conn.raw(), conn.raw()), (b"+OK\r\n".to_vec(), b"+OK\r\n".to_vec()));
    assert!(conn.raw().starts_with(b"*20\r\n$20000\r\n"));
    assert_eq!(conn.raw(), b"+RESET\r\n");
    conn.send(b"*11\r\n");
    assert_eq!(conn.raw(), b"-ERR Protocol error: unauthenticated multibulk length\r\n");
    conn.expect_close();
}

/// What this says on the socket, and is told.
fn over(path: &std::path::Path, request: &[&str]) -> String {
    let mut socket = UnixStream::connect(path).expect("the socket");
    socket.set_read_timeout(Some(SOON)).expect("a timeout");
    socket.write_all(&encode(request)).expect("a request");
    socket.shutdown(std::net::Shutdown::Write).expect("its end");
    let mut reply = String::new();
    socket.read_to_string(&mut reply).expect("a reply");
    reply
}

#[test]
fn a_tenants_own_doors_lead_to_it_alone() {
    let redis = Redis::start();
    let doors = r#"
[listen]
auth_failure_ms = 1

[[tenants]]
name = "open"
tcp = "127.0.0.1:0"
unix = "DIR/open.sock"
unix_mode = "0640"

[[tenants]]
name = "shut"
password = "secret"
tcp = "127.0.0.1:0"
unix = "DIR/shut.sock"
"#;
    let tenants = Tenanted::start(&redis, doors);
    let address = |tenant: &str| -> String {
        let lines = tenants.logged("a listener of its own");
        let find = |line: &String| {
            let json: serde_json::Value = serde_json::from_str(line).ok()?;
            let fields = json.get("fields").unwrap_or(&json).clone();
            let listen = fields["listen"].as_str()?.to_owned();
            (fields["tenant"] == tenant && listen.starts_with("127")).then_some(listen)
        };
        lines.iter().find_map(find).expect("where it listens")
    };
    let mode = |name: &str| tenants.path(name).metadata().expect("a socket").permissions().mode() & 0o777;
    assert_eq!((mode("open.sock"), mode("shut.sock")), (0o640, 0o700));

    let mut open = Conn::open(&address("open"));
    assert_eq!(text(&mut open, &["SET", "k", "v"]), "+OK\r\n");
    assert_eq!(over(&tenants.path("open.sock"), &["GET", "k"]), "$1\r\nv\r\n");
    assert_eq!(redis.conn().call("GET open:k"), common::Reply::bulk("v"));
    // RESET makes it what it was when it came, and its name can be said without a password here alone.
    assert_eq!(text(&mut open, &["RESET"]), "+RESET\r\n");
    assert_eq!(text(&mut open, &["AUTH", "open", "anything"]), "+OK\r\n");
    assert_eq!(text(&mut open, &["GET", "k"]), "$1\r\nv\r\n");
    let mut common = tenants.sidecar.conn();
    assert_eq!(text(&mut common, &["AUTH", "open", "anything"]), WRONG);
    assert_eq!(word(&mut common, &["PING"]), "-NOAUTH");

    let mut shut = Conn::open(&address("shut"));
    assert_eq!(word(&mut shut, &["PING"]), "-NOAUTH");
    assert_eq!(text(&mut shut, &["AUTH", "open", ""]), WRONG);
    assert_eq!(text(&mut open, &["AUTH", "shut", "secret"]), WRONG);
    assert_eq!(text(&mut shut, &["AUTH", "shut", "secret"]), "+OK\r\n");
    assert_eq!(text(&mut shut, &["GET", "k"]), "$-1\r\n");
    assert_eq!(over(&tenants.path("shut.sock"), &["GET", "k"]), "-NOAUTH Authentication required.\r\n");
}

#[test]
fn what_replicas_must_have_is_uncertain_without_one_and_on_it_with_one() {
    let redis = Redis::start();
    let settings = ["inventory.operation_deadline_ms=1500"];
    let tenants = Tenanted::start_with(&redis, &two("acknowledge = \"replicas:1\""), &settings, |_| {});
    let (mut acme, mut rival) = (tenants.acme(), tenants.rival());
    assert_eq!(word(&mut acme, &["INV.SETSTOCK", "tee", "5"]), "-UNCERTAIN");
    assert_eq!(text(&mut rival, &["INV.SETSTOCK", "tee", "5"]), "+OK\r\n");

    let replica = Redis::start();
    let (host, port) =
        redis.addr().split_once(':').map(|(host, port)| (host.to_owned(), port.to_owned())).expect("an address");
    assert_eq!(replica.conn().call(&format!("REPLICAOF {host} {port}")), common::Reply::Simple("OK".into()));
    until("it is a replica", SOON, || {
        replica.conn().call("INFO replication").text().contains("master_link_status:up").then_some(())
    });
    until("it counts", SOON, || (word(&mut acme, &["INV.SETSTOCK", "tee", "5"]) == "+OK").then_some(()));
    let id = text(&mut acme, &["INV.RESERVE", "tee", "2"]);
    let id = id.lines().nth(1).expect("an id");
    let before = replica.conn().call("HGET inv1:{acme/0}:stock tee");
    assert_eq!(text(&mut acme, &["INV.COMMIT", id]), "+OK\r\n");
    // Nothing is waited for: what was acknowledged is there.
    assert_ne!(replica.conn().call("HGET inv1:{acme/0}:stock tee"), before);
}

#[test]
fn who_waits_for_replicas_that_are_not_there_keeps_nobody_waiting() {
    let redis = Redis::start();
    // One connection; what is waited for does not come for longer than a client here is patient.
    let settings = ["inventory.operation_deadline_ms=120000", "upstream.pool_size=1"];
    let tenants = Tenanted::start_with(&redis, &two("acknowledge = \"replicas:1\""), &settings, |_| {});
    let mut waiting: Vec<Conn> = (0..3).map(|_| tenants.acme()).collect();
    waiting.iter_mut().for_each(|conn| conn.send_args(&["INV.SETSTOCK", "tee", "5"]));
    let waits = || redis.conn().call("CLIENT LIST").text().contains("cmd=wait");
    until("it waits upstream", SOON, || waits().then_some(()));

    let mut rival = tenants.rival();
    assert_eq!(text(&mut rival, &["INV.SETSTOCK", "tee", "5"]), "+OK\r\n");
    rival.call("INV.RESERVE tee 1 PX 1");
    // Nobody asks: what is overdue gives its stock back by itself.
    until("a reservation of another's has expired", SOON, || {
        (figure(&tenants.sidecar, "inventory_sentinel_reservations_expired_total{namespace=\"rival\"}") > 0.0)
            .then_some(())
    });
    assert!(waits());
}

#[test]
fn what_the_disk_must_have_is_acknowledged_where_the_upstream_can_wait_for_it() {
    let redis = Redis::with(&["--save", "", "--appendonly", "yes", "--appendfsync", "everysec"]);
    let knows = redis.conn().call("COMMAND INFO WAITAOF").items().first().is_some_and(|info| !info.is_nil());
    let settings = ["inventory.operation_deadline_ms=4000"];
    let tenants = Tenanted::start_with(&redis, &two("acknowledge = \"fsync\""), &settings, |_| {});
    let mut acme = tenants.acme();
    assert_eq!(word(&mut acme, &["INV.SETSTOCK", "tee", "5"]), if knows { "+OK" } else { "-UNCERTAIN" });
}

#[test]
fn a_password_that_cannot_be_looked_at_is_not_called_wrong() {
    use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
    let redis = Redis::start();
    let config = of_every_kind(&hash("right", 64, 1));
    let tenants = Tenanted::start_with(&redis, &config, &[], |dir| {
        std::fs::write(dir.join("secret"), "of a file").expect("a file");
    });
    let pid = Pid::from_raw(tenants.sidecar.pid() as i32);
    let may_take = |bytes| {
        let Rlimit { maximum, .. } = getrlimit(Resource::As);
        prlimit(pid, Resource::As, Rlimit { current: bytes, maximum }).expect("a limit");
    };
    let mut conn = tenants.sidecar.conn();
    assert_eq!(text(&mut conn, &["AUTH", "file", "of a file"]), "+OK\r\n");
    // There is no room for the stack of another thread.
    may_take(Some((tenants.sidecar.virtual_kib() + 512) * 1024));
    for password in ["right", "wrong"].repeat(20) {
        assert_eq!(word(&mut conn, &["AUTH", "hash", password]), "-OVERLOADED");
    }
    // One that needs no thread is judged.
    assert_eq!(text(&mut conn, &["AUTH", "file", "wrong"]), WRONG);
    assert_eq!(figure(&tenants.sidecar, "inventory_sentinel_auth_failures_total"), 1.0);
    assert!((1..40).contains(&tenants.logged("no thread to look at a password on").len()));
    may_take(None);
    assert_eq!(text(&mut conn, &["AUTH", "hash", "wrong"]), WRONG);
    assert_eq!(text(&mut conn, &["AUTH", "hash", "right"]), "+OK\r\n");
}
