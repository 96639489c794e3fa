//! What a tenant's entry says holds where two parts of the sidecar meet: categories and the inventory, limits and large requests,
//! the tenant's names and the sidecar's own answers, the upstream's user and what the sidecar sends for it.

mod common;

use common::resp::encode;
use common::sidecar::run_to_end;
use common::tenants::{Tenanted, text, two, word};
use common::{Conn, Redis, SOON, figure, until};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

#[test]
fn a_category_means_the_inventorys_commands_too() {
    let redis = Redis::start();
    let tenanted = Tenanted::start(&redis, &two("deny = [\"@write\"]"));
    let mut acme = tenanted.acme();
    for (line, sign) in [
        ("SET k v", "-NOPERM"),
        ("INV.SETSTOCK s 1", "-NOPERM"),
        ("inv.reserve s 1", "-NOPERM"),
        ("INV.STOCK s", "*-1"),
        ("INV.HELP", "*"),
    ] {
        let said = word(&mut acme, &line.split(' ').collect::<Vec<_>>());
        assert!(said.starts_with(sign) || (sign == "*-1" && said.starts_with(['_', '$'])), "{line}: {said}");
    }
}

#[test]
fn whom_invalidations_go_to_is_told_by_the_tenants_own_number() {
    let redis = Redis::start();
    let tenanted = Tenanted::start(&redis, &two(""));
    // So that numbers upstream and here differ.
    let _others: Vec<Conn> = (0..5).map(|_| tenanted.rival()).collect();
    let (mut acme, mut ear) = (tenanted.acme(), tenanted.acme());
    let id = text(&mut ear, &["CLIENT", "ID"]).trim_start_matches(':').trim().to_owned();
    assert!(text(&mut ear, &["SUBSCRIBE", "__redis__:invalidate"]).contains("subscribe"));
    assert_eq!(text(&mut acme, &["CLIENT", "TRACKING", "ON", "REDIRECT", &id]), "+OK\r\n");
    assert_eq!(text(&mut acme, &["CLIENT", "GETREDIR"]), format!(":{id}\r\n"));
    let told = text(&mut acme, &["CLIENT", "TRACKINGINFO"]);
    assert!(told.contains(&format!("redirect\r\n:{id}\r\n")), "{told}");
}

#[test]
fn a_tenant_ends_its_own_clients_by_its_name_and_learns_of_no_users() {
    let redis = Redis::start();
    redis.conn().call("ACL SETUSER rival on nopass").expect_ok();
    let tenanted = Tenanted::start(&redis, &two(""));
    let (mut acme, mut other) = (tenanted.acme(), tenanted.acme());
    let mut rival = tenanted.rival();
    // Of one that is a user upstream and a tenant, one that is a user alone, and one that is neither.
    for user in ["rival", "default", "nobody"] {
        assert_eq!(text(&mut acme, &["CLIENT", "KILL", "USER", user]), ":0\r\n", "{user}");
    }
    assert_eq!(text(&mut acme, &["CLIENT", "KILL", "TYPE", "normal", "USER", "acme"]), ":1\r\n");
    other.expect_close();
    assert_eq!(text(&mut rival, &["PING"]), "+PONG\r\n");
    assert_eq!(word(&mut acme, &["CLIENT", "KILL", "USER", "acme", "NOSUCH", "x"]), "-ERR");
}

#[test]
fn info_all_of_a_tenant_that_is_shut_in_ends_with_the_inventory() {
    let redis = Redis::start();
    let tenanted = Tenanted::start(&redis, &two(""));
    // More than one section is a syntax error to 6.2.
    let takes_two = redis.conn().call("INFO server clients").error_word().is_empty();
    let requests = [&["INFO", "all"][..], &["INFO", "everything"], &["INFO", "server", "inventory"]];
    for request in requests.into_iter().filter(|request| takes_two || request.len() == 2) {
        for multi in [false, true] {
            let mut acme = tenanted.acme();
            let told = if multi {
                text(&mut acme, &["MULTI"]);
                text(&mut acme, request);
                text(&mut acme, &["EXEC"])
            } else {
                text(&mut acme, request)
            };
            let (server, own) = (told.find("# Server"), told.find("\r\n# Inventory\r\ninventory_version:"));
            assert!(server.is_some() && server < own, "{request:?}: {told}");
            assert!(told.contains("inventory_namespace:acme") && !told.contains("run_id"), "{request:?}: {told}");
        }
    }
    assert!(!text(&mut tenanted.acme(), &["INFO"]).contains("inventory_"));
}

fn refused(tenanted: &Tenanted) -> f64 {
    figure(&tenanted.sidecar, "inventory_sentinel_tenant_refused_total{tenant=\"acme\",reason=\"overloaded\"}")
}

#[test]
fn no_request_is_larger_than_a_tenants_may_be_whatever_its_pass_through() {
    let redis = Redis::start();
    for passthrough in ["isolated", "full"] {
        let lines = format!("passthrough = \"{passthrough}\"\nrequest_bytes_max = 4096");
        let tenanted = Tenanted::start_with(&redis, &two(&lines), &["session.request_stream_bytes=1024"], |_| {});
        let mut acme = tenanted.acme();
        for (count, size) in [(0_u8, 5_000), (1, 100_000), (2, 3_000_000)] {
            let value = "v".repeat(size);
            assert_eq!(word(&mut acme, &["SET", "k", &value]), "-OVERLOADED", "{passthrough} {size}");
            assert_eq!(refused(&tenanted), f64::from(count + 1), "{passthrough} {size}");
        }
        assert_eq!(word(&mut acme, &["SET", "k", &"v".repeat(4000)]), "+OK", "{passthrough}");
        assert_eq!(text(&mut acme, &["STRLEN", "k"]), ":4000\r\n");
    }
}

#[test]
fn no_denial_is_gone_round_by_a_subcommand_that_comes_late() {
    let redis = Redis::start();
    redis.conn().call("ACL SETUSER victim on").expect_ok();
    for deny in ["acl|deluser", "@admin"] {
        let lines = format!("passthrough = \"full\"\ndeny = [\"{deny}\"]");
        let tenanted = Tenanted::start_with(&redis, &two(&lines), &["session.request_stream_bytes=1024"], |_| {});
        let mut acme = tenanted.acme();
        // The number alone says that it will be too large to be kept.
        send_and_see(&tenanted.sidecar, &mut acme, b"*300\r\n$3\r\nACL\r\n");
        acme.send(format!("$7\r\nDELUSER\r\n{}", "$6\r\nvictim\r\n".repeat(298)).as_bytes());
        assert!(String::from_utf8_lossy(&acme.raw()).starts_with("-NOPERM "), "{deny}");
        assert!(text(&mut redis.conn(), &["ACL", "USERS"]).contains("victim"), "{deny}");
        assert_eq!(text(&mut acme, &["PING"]), "+PONG\r\n");
    }
}

#[test]
fn a_large_request_may_begin_with_its_count_alone() {
    let redis = Redis::start();
    let sidecar = common::Sidecar::start(&redis.url(), &["session.request_stream_bytes=1024"]);
    let mut conn = sidecar.conn();
    let pairs: String = (0..150).map(|number| format!("$4\r\nk{number:03}\r\n$1\r\nv\r\n")).collect();
    for part in ["*301\r\n", "$4\r\nMS", "ET\r\n"] {
        send_and_see(&sidecar, &mut conn, part.as_bytes());
    }
    conn.send(pairs.as_bytes());
    assert_eq!(String::from_utf8_lossy(&conn.raw()), "+OK\r\n");
    assert_eq!(text(&mut conn, &["DBSIZE"]), ":150\r\n");
}

#[test]
fn no_large_request_reaches_the_connections_that_clients_share() {
    let redis = Redis::start();
    let sidecar = common::Sidecar::start(&redis.url(), &["session.request_stream_bytes=1024"]);
    for word in ["LIST", "KILL"] {
        let mut conn = sidecar.conn();
        let head = format!("*303\r\n$6\r\nCLIENT\r\n$4\r\n{word}\r\n$2\r\nID\r\n");
        send_and_see(&sidecar, &mut conn, head.as_bytes());
        conn.send((100..400).map(|id| format!("$3\r\n{id}\r\n")).collect::<String>().as_bytes());
        assert!(String::from_utf8_lossy(&conn.raw()).starts_with("-ERR the request is too large"), "{word}");
        assert_eq!(text(&mut conn, &["PING"]), "+PONG\r\n");
    }
}

/// Sends this, and waits until it was read.
fn send_and_see(sidecar: &common::Sidecar, conn: &mut Conn, part: &[u8]) {
    let read = || figure(sidecar, "inventory_sentinel_bytes_total{direction=\"client_in\"}");
    let before = read();
    conn.send(part);
    until("it is read", SOON, || (read() >= before + part.len() as f64).then_some(()));
}

#[test]
fn a_large_request_that_turns_out_too_large_on_its_way_is_never_executed() {
    let redis = Redis::start();
    let lines = "passthrough = \"full\"\nrequest_bytes_max = 4096";
    let tenanted = Tenanted::start_with(&redis, &two(lines), &["session.request_stream_bytes=1024"], |_| {});
    let mut acme = tenanted.acme();
    // Each argument is small: only their sum is too large, and not before the first of them went upstream.
    acme.send(b"*201\r\n$4\r\nMSET\r\n");
    let pair = |number: usize| format!("$4\r\nk{number:03}\r\n$50\r\n{}\r\n", "v".repeat(50));
    (0..40).for_each(|number| acme.send(pair(number).as_bytes()));
    let mut direct = redis.conn();
    until("some of it is upstream", SOON, || {
        let rows = direct.call("CLIENT LIST").text();
        rows.lines()
            .any(|row| row.split(' ').any(|field| field.starts_with("argv-mem=") && field.len() > 12))
            .then_some(())
    });
    (40..100).for_each(|number| acme.send(pair(number).as_bytes()));
    assert!(String::from_utf8_lossy(&acme.raw()).starts_with("-OVERLOADED "));
    acme.expect_close();
    assert_eq!(text(&mut direct, &["DBSIZE"]), ":0\r\n");
    assert_eq!(refused(&tenanted), 1.0);
    assert_eq!(word(&mut tenanted.acme(), &["GET", "k000"]), "$-1");
}

#[test]
fn a_tenant_without_ordinary_commands_hears_of_no_keys() {
    let redis = Redis::start();
    let tenanted = Tenanted::start(&redis, &two("passthrough = \"off\""));
    let mut acme = tenanted.acme();
    for request in [&["CLIENT", "TRACKING", "ON", "BCAST"][..], &["client", "caching", "YES"]] {
        assert_eq!(word(&mut acme, request), "-NOPERM", "{request:?}");
    }
    assert_eq!(word(&mut acme, &["CLIENT", "ID"]), ":1");
}

/// The upstream user that `acl` prints for acme, made.
fn with_user(redis: &Redis, lines: &str) -> Tenanted {
    let lines = format!("{lines}\nupstream_user = \"acme\"\nupstream_password = \"up\"");
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), two(&lines)).expect("its text");
    let path = file.path().display().to_string();
    let (_, line, said) = run_to_end(&["acl", "--config", &path, "--tenant", "acme", "--upstream", &redis.url()]);
    assert!(line.starts_with("ACL SETUSER "), "{line} {said}");
    redis.conn().call(&line.trim_end().replace("<password>", "up")).expect_ok();
    Tenanted::start(redis, &two(&lines))
}

#[test]
fn the_user_that_is_printed_can_wait() {
    let redis = Redis::start();
    let tenanted = with_user(&redis, "");
    let mut monitor = redis.conn();
    monitor.call("MONITOR").expect_ok();
    let mut acme = tenanted.acme();
    assert_eq!(word(&mut acme, &["SET", "k", "v"]), "+OK");
    assert_eq!(text(&mut acme, &["WAIT", "0", "10"]), ":0\r\n");
    // 6.2 has no SPUBLISH, and counts a PING.
    if redis.conn().call("COMMAND INFO SPUBLISH").items()[0].is_nil() {
        return;
    }
    // On a channel of its own alone: no other is granted.
    let sent = loop {
        let line = String::from_utf8_lossy(&monitor.raw()).into_owned();
        if line.contains("\"SPUBLISH\"") {
            break line;
        }
        assert!(!line.contains("\"WAIT\""), "nothing was published");
    };
    assert!(sent.contains("\"acme:inventory-sentinel\""), "{sent}");
}

#[test]
fn the_user_that_is_printed_can_run_the_inventory_inside_multi_without_scripts_of_its_own() {
    let redis = Redis::start();
    let tenanted = with_user(&redis, "passthrough = \"off\"");
    let mut acme = tenanted.acme();
    assert_eq!(word(&mut acme, &["MULTI"]), "+OK");
    assert_eq!(word(&mut acme, &["INV.SETSTOCK", "s", "3"]), "+QUEUED");
    assert_eq!(text(&mut acme, &["EXEC"]), "*1\r\n+OK\r\n");
}

#[test]
fn a_password_alone_is_the_tenants_own_at_its_own_door() {
    let redis = Redis::start();
    let lines = "unix = \"DIR/acme.sock\"";
    let more = "\n[[tenants]]\nname = \"default\"\npassword = \"default-secret\"\n";
    let tenanted = Tenanted::start(&redis, &format!("{}{more}", two(lines)));
    // Who one is who said this, over its socket or the common listener.
    let at = |door: &str, request: &[&str]| {
        let mut said = String::new();
        let all = [request, &["ACL", "WHOAMI"], &["QUIT"]].map(encode).concat();
        if door.is_empty() {
            let mut stream = TcpStream::connect(&tenanted.sidecar.listen).expect("the listener");
            stream.write_all(&all).and_then(|()| stream.read_to_string(&mut said)).expect("its replies");
        } else {
            let mut stream = UnixStream::connect(tenanted.path(door)).expect("the socket");
            stream.write_all(&all).and_then(|()| stream.read_to_string(&mut said)).expect("its replies");
        }
        said
    };
    let (acme, default) = ("$4\r\nacme\r\n+OK\r\n", "$7\r\ndefault\r\n+OK\r\n");
    assert!(at("acme.sock", &["AUTH", "acme-secret"]).ends_with(acme));
    assert!(at("acme.sock", &["HELLO", "2", "AUTH", "default", "acme-secret"]).ends_with(acme));
    assert!(at("acme.sock", &["AUTH", "default-secret"]).starts_with("-WRONGPASS "));
    assert!(at("", &["AUTH", "default-secret"]).ends_with(default));
    assert!(at("", &["AUTH", "acme-secret"]).starts_with("-WRONGPASS "));
}

#[test]
fn a_tenants_user_that_the_upstream_refuses_is_told_to_the_operator() {
    let redis = Redis::start();
    redis.conn().call("ACL SETUSER up on >right ~* &* +@all").expect_ok();
    let lines =
        "upstream_user = \"up\"\nupstream_password = \"wrong-word\"\ndeny = [\"flushal\"]\nacknowledge = \"fsync\"";
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), two(lines)).expect("its text");
    let path = file.path().display().to_string();
    let (code, said, _) = run_to_end(&["check", "--connect", "--config", &path, "--upstream", &redis.url()]);
    assert_eq!(code, Some(0), "{said}");
    for warning in [
        "warning: tenant acme: upstream_user \"up\": the upstream refused the password",
        "warning: allow or deny names what the upstream does not know, and that does nothing: acme: flushal",
        "tenant      acme: by password; namespace acme, pass-through isolated, inventory all",
    ] {
        assert!(said.contains(warning), "{warning}\n{said}");
    }
    let before_7_2 = said.contains("engine      redis 7.0") || said.contains("engine      redis 6.");
    assert_eq!(said.contains("warning: acknowledge = \"fsync\" needs Redis 7.2"), before_7_2, "{said}");
    assert!(!said.contains("wrong-word"), "{said}");

    let tenanted = Tenanted::start(&redis, &two(lines));
    let line = until("it is logged", SOON, || tenanted.logged("the upstream refuses a tenant's upstream_user").pop());
    assert!(line.contains("\"user\":\"up\"") && !line.contains("wrong-word"), "{line}");
    assert_eq!(word(&mut tenanted.rival(), &["INV.STOCK", "s"]), "$-1");
}

#[test]
fn what_acknowledge_asks_for_in_vain_is_why_nothing_is_ready() {
    let redis = Redis::start();
    let sidecar = common::Sidecar::launch(&redis.url(), &["inventory.acknowledge=replicas:1"]);
    let reason = until("it is known", SOON, || {
        let (_, said) = sidecar.http("/readyz");
        said.contains("acknowledge asks for does not come").then_some(said)
    });
    assert!(reason.contains("\"ready\":false"), "{reason}");
}

#[test]
fn the_line_for_a_tenant_without_a_prefix_comes_with_a_note() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), two("passthrough = \"full\"")).expect("its text");
    let path = file.path().display().to_string();
    let acl =
        |tenant: &str, engine: &str| run_to_end(&["acl", "--config", &path, "--tenant", tenant, "--engine", engine]);
    let (_, line, note) = acl("acme", "7.0");
    assert!(line.starts_with("ACL SETUSER acme ") && line.lines().count() == 1, "{line}");
    assert!(note.contains("note: acme has pass-through \"full\""), "{note}");
    assert_eq!(acl("rival", "7.0").2, "");
    let (code, _, said) = acl("rival", "5.0");
    assert!(code == Some(1) && said.contains("--engine: Redis 5.0 is too old"), "{said}");
}
