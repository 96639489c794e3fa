//! A tenant whose upstream user the upstream refuses: its clients are told what is the matter and not whose password it is, and
//! all is well again when the user is.

mod common;

use common::resp::encode;
use common::tenants::{Tenanted, text, two, word};
use common::{Fault, FaultProxy, Redis, Reply, SOON, Sidecar, until, words};

const REFUSED: &str = "-UNAVAILABLE the upstream refuses this tenant's user; this was not sent\r\n";
/// Whoever waits for an operation's deadline fails: it is beyond what a test waits for a reply.
const LATE: &str = "inventory.operation_deadline_ms=600000";
const USER: &str = "upstream_user = \"up\"\nupstream_password = \"up-word\"";
const RIGHT: &str = "ACL SETUSER up reset on >up-word ~* &* +@all";

fn told(tenanted: &Tenanted, part: &str) -> usize {
    tenanted.logged(part).iter().filter(|line| line.contains("\"up\"") && line.contains("acme")).count()
}

#[test]
fn a_tenant_whose_user_the_upstream_refuses_is_told_so_and_served_again_when_it_is_put_right() {
    for (wrong, rights) in [
        ("ACL SETUSER up reset on >another-word ~* &* +@all", "all"),
        ("ACL DELUSER up", "all"),
        ("ACL SETUSER up reset off >up-word ~* &* +@all", "sell"),
    ] {
        let redis = Redis::start();
        let mut direct = redis.conn();
        direct.call(wrong);
        let lines = format!("{USER}\ninventory = \"{rights}\"");
        let tenanted = Tenanted::start_with(&redis, &two(&lines), &[LATE], |_| {});
        let mut acme = tenanted.acme();
        for request in ["GET k", "SET k v", "EVAL return(1) 0", "HELLO 3", "HELLO 3 AUTH acme acme-secret"] {
            assert_eq!(text(&mut acme, &request.split(' ').collect::<Vec<_>>()), REFUSED, "{wrong}: {request}");
        }
        // That needs a connection of its own, which nobody has; the client ends with it, as with any that is lost.
        for request in ["BLPOP q 0", "MULTI", "SUBSCRIBE c", "WATCH k"] {
            let mut acme = tenanted.acme();
            assert_eq!(text(&mut acme, &request.split(' ').collect::<Vec<_>>()), REFUSED, "{wrong}: {request}");
            assert!(acme.try_raw().is_err(), "{request}");
        }
        // The script of a tenant that may only sell runs as the sidecar's user.
        if rights == "all" {
            for request in ["INV.STOCK tee", "INV.RESERVE tee 1", "INV.SETSTOCK tee 1"] {
                assert_eq!(text(&mut acme, &request.split(' ').collect::<Vec<_>>()), REFUSED, "{wrong}: {request}");
            }
        }
        assert_eq!(text(&mut tenanted.rival(), &["GET", "k"]), "$-1\r\n");
        assert_eq!(told(&tenanted, "the upstream refuses a tenant's upstream_user"), 1, "{wrong}");

        direct.call(RIGHT).expect_ok();
        until("it is served", SOON, || (text(&mut acme, &["SET", "k", "v"]) == "+OK\r\n").then_some(()));
        until("so is its inventory", SOON, || acme.call("INV.STOCK tee").is_nil().then_some(()));
        assert_eq!(
            tenanted.acme().pipeline(&["MULTI", "GET k", "EXEC"].map(words))[2],
            Reply::Array(vec![Reply::bulk("v")])
        );
        assert_eq!(told(&tenanted, "the upstream takes a tenant's upstream_user again"), 1, "{wrong}");
        assert!(tenanted.logged("-word").is_empty());
    }
}

#[test]
fn a_client_outlives_its_tenants_user() {
    let redis = Redis::start();
    let mut direct = redis.conn();
    direct.call(RIGHT).expect_ok();
    let tenanted = Tenanted::start_with(&redis, &two(USER), &[LATE], |_| {});
    let mut acme = tenanted.acme();
    acme.call("SET k v").expect_ok();
    acme.call("INV.SETSTOCK tee 3").expect_ok();
    for _ in 0..3 {
        // Its connections end, with what is under way on them.
        assert_eq!(direct.call("ACL DELUSER up"), Reply::Int(1));
        until("it is refused", SOON, || (text(&mut acme, &["GET", "k"]) == REFUSED).then_some(()));
        until("its inventory too", SOON, || (text(&mut acme, &["INV.STOCK", "tee"]) == REFUSED).then_some(()));
        direct.call(RIGHT).expect_ok();
        until("it is served", SOON, || (acme.call("GET k") == Reply::bulk("v")).then_some(()));
        until("its inventory too", SOON, || (acme.call("INV.RESERVE tee 1").error_word() == "").then_some(()));
    }
    assert_eq!(acme.call("INV.STOCK tee").field("available"), Reply::Int(0));
}

#[test]
fn what_was_sent_before_the_user_was_refused_is_not_told_to_be_unsent() {
    let redis = Redis::start();
    let mut direct = redis.conn();
    direct.call(RIGHT).expect_ok();
    let proxy = FaultProxy::start(&redis.addr());
    let settings = ["inventory.operation_deadline_ms=2000"];
    let tenanted = Tenanted::start_at(&proxy.url(), &two(USER), &settings, |_| {});
    let mut acme = tenanted.acme();
    acme.call("INV.SETSTOCK tee 3").expect_ok();
    proxy.arm("order-17", Fault::Stall, 1);
    acme.send(&encode(&["INV.RESERVE", "tee", "1", "ID", "order-17"]));
    proxy.wait_struck(1);
    assert_eq!(direct.call("ACL DELUSER up"), Reply::Int(1));
    acme.reply().expect_error("UNCERTAIN");
    until("what comes next is refused", SOON, || (text(&mut acme, &["INV.STOCK", "tee"]) == REFUSED).then_some(()));
    proxy.release();
    direct.call(RIGHT).expect_ok();
    until("it is served", SOON, || {
        (acme.call("INV.RESERVE tee 1 ID order-17") == Reply::bulk("0-order-17")).then_some(())
    });
    assert_eq!(acme.call("INV.STOCK tee").field("available"), Reply::Int(2));
}

#[test]
fn who_asks_in_vain_does_not_make_the_sidecar_ask_as_often() {
    let redis = Redis::start();
    let tenanted = Tenanted::start_with(&redis, &two(USER), &[LATE], |_| {});
    let mut acme = tenanted.acme();
    for _ in 0..300 {
        assert_eq!(text(&mut acme, &["INV.STOCK", "tee"]), REFUSED);
        assert_eq!(text(&mut acme, &["GET", "k"]), REFUSED);
    }
    let stats = redis.conn().call("INFO commandstats").text();
    let calls = |name: &str| -> u64 {
        let row = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{name}:calls=")));
        row.map_or(0, |row| row.split(',').next().and_then(|calls| calls.parse().ok()).expect("a number"))
    };
    let (pool, links) = (calls("auth"), calls("hello"));
    assert!((1..100).contains(&pool) && links < 100, "{pool} {links}");
}

#[test]
fn an_upstream_that_has_no_room_refuses_nobodys_password() {
    let redis = Redis::with(&["--save", "", "--maxclients", "5"]);
    let mut direct: Vec<_> = (0..5).map(|_| redis.conn()).collect();
    direct[0].call("PING");
    direct[0].call(RIGHT).expect_ok();
    let sidecar = Sidecar::launch(&redis.url().replace("redis://", "redis://up:up-word@"), &[]);
    let reason = until("it is known", SOON, || {
        let (_, said) = sidecar.http("/readyz");
        (!said.contains("starting")).then_some(said)
    });
    assert!(!reason.contains("password"), "{reason}");
    drop(direct);
    sidecar.wait_ready();
}

/// What may be told of the upstream to whoever reaches a sidecar without tenants, and to no tenant.
#[test]
fn a_tenant_is_told_neither_where_the_upstream_is_nor_who_the_sidecar_is_there() {
    let mut redis = Redis::start();
    let mut direct = redis.conn();
    direct.call("ACL SETUSER house reset on >house-word ~* &* +@all").expect_ok();
    direct.call(RIGHT).expect_ok();
    let (url, port) = (redis.url().replace("redis://", "redis://house:house-word@"), redis.addr()[10..].to_owned());
    let few = ["inventory.operation_deadline_ms=200"];
    let alone = Sidecar::start(&url, &few);
    let tenanted = ["", "passthrough = \"off\"", "passthrough = \"full\"", USER]
        .map(|lines| Tenanted::start_at(&url, &two(lines), &few, |_| {}));
    let secret = |said: &str| said.contains(&port) || said.contains("127.0.0.1") || said.contains("house");
    let mut conns: Vec<_> = tenanted.iter().map(Tenanted::acme).collect();

    // Of those who may not even look for keys as the sidecar's own user.
    direct.call("ACL SETUSER house -scan -evalsha").expect_ok();
    for request in [&["KEYS", "*"][..], &["DBSIZE"], &["RANDOMKEY"], &["INV.STOCK", "tee"]] {
        for conn in &mut conns[..1] {
            let said = text(conn, request);
            assert!(said.starts_with("-NOPERM ") && !secret(&said), "{request:?} {said}");
        }
    }
    direct.call("ACL SETUSER house +@all").expect_ok();

    redis.kill9();
    for (conn, tenanted) in conns.iter_mut().zip(&tenanted) {
        for request in [
            &["ECHO", "x"][..],
            &["GET", "k"],
            &["KEYS", "*"],
            &["DBSIZE"],
            &["CLIENT", "LIST"],
            &["HELLO", "3", "AUTH", "acme", "acme-secret"],
            &["HELLO", "2"],
            &["INV.STOCK", "tee"],
            &["INV.RESERVE", "tee", "1"],
            &["EVAL", "return 1", "0"],
        ] {
            let said = text(conn, request);
            assert!(!secret(&said), "{request:?} {said}");
        }
        for request in [&["MULTI"][..], &["BLPOP", "q", "0"], &["SUBSCRIBE", "c"]] {
            let said = text(&mut tenanted.acme(), request);
            assert!(!secret(&said), "{request:?} {said}");
        }
        assert_eq!(word(conn, &["INV.STOCK", "tee"]), "-UNAVAILABLE");
    }
    let mut anybody = alone.conn();
    for request in ["GET k", "INV.STOCK tee", "MULTI"] {
        let said = anybody.call(request).error().to_owned();
        assert!(said.starts_with("UNAVAILABLE ") && said.contains(&port), "{request} {said}");
    }
}
