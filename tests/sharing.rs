//! A thousand ordinary clients over a handful of upstream connections, and a connection of one's own no longer than needed:
//! counted in the upstream's own CLIENT LIST.

mod common;
mod sharing {
    mod monitor;
    mod states;
    mod users;
}

use common::resp::encode;
use common::{Conn, Redis, Reply, SOON, Sidecar, figure, raise_file_limit, until, upstream_connections, words};

/// `inventory_sentinel_pinned_clients`
fn pinned(sidecar: &Sidecar) -> f64 {
    figure(sidecar, "inventory_sentinel_pinned_clients ")
}

#[track_caller]
fn comes_to_be_unpinned(sidecar: &Sidecar, what: &str) {
    until(what, SOON, || (pinned(sidecar) == 0.0).then_some(()));
}

#[test]
fn a_thousand_clients_with_their_usual_greetings_share_two_links_for_each_user_database_and_protocol() {
    raise_file_limit();
    let redis = Redis::start();
    redis.conn().call_args(&["ACL", "SETUSER", "app", "on", ">secret", "~*", "&*", "+@all"]).expect_ok();
    let sidecar = Sidecar::start(&redis.url(), &["upstream.links=2"]);
    let pool = upstream_connections(&redis);
    // redis-py, node-redis, ioredis and Lettuce greet so.
    let greetings: [&[&str]; 4] = [
        &["CLIENT SETINFO LIB-NAME redis-py", "CLIENT SETINFO LIB-VER 5.0.8"],
        &["HELLO 3 AUTH app secret SETNAME node", "CLIENT SETINFO LIB-NAME node-redis"],
        &["AUTH app secret", "INFO", "CLIENT SETNAME io"],
        &["HELLO 3", "CLIENT SETNAME lettuce", "SELECT 1"],
    ];
    let mut clients: Vec<Conn> = Vec::new();
    for index in 0..1000 {
        let mut conn = sidecar.conn();
        let requests: Vec<_> = greetings[index % greetings.len()].iter().map(|line| words(line)).collect();
        for (reply, request) in conn.pipeline(&requests).iter().zip(&requests) {
            // Engines before 7.2 do not know SETINFO, and clients do not mind.
            let refused = matches!(reply, Reply::Error(_)) && request.get(1).is_none_or(|sub| sub != b"SETINFO");
            assert!(!refused, "{request:?}: {reply:?}");
        }
        clients.push(conn);
    }
    for (index, conn) in clients.iter_mut().enumerate() {
        conn.call(&format!("SET k{index} {index}")).expect_ok();
        assert_eq!(conn.call(&format!("GET k{index}")), Reply::bulk(index.to_string()));
    }
    // (no one, 0, RESP2) (app, 0, RESP3) (app, 0, RESP2) (no one, 0, RESP3) (no one, 1, RESP3): two links each at most;
    // two that wait to be the own one of whoever needs one, and two on which AUTH was proved just now.
    let connections = upstream_connections(&redis) - pool;
    assert!(
        connections <= 14,
        "{connections} connections for 1000 clients:\n{}",
        redis.conn().call("CLIENT LIST").text()
    );
    assert_eq!(figure(&sidecar, "inventory_sentinel_upstream_connections{kind=\"pinned\"} "), 0.0);
    // And they see one another.
    let list = clients[0].call("CLIENT LIST").text();
    assert_eq!(list.lines().count(), 1000);
    assert_eq!(list.lines().filter(|row| row.contains(" name=node ") && row.contains(" user=app ")).count(), 250);
    assert_eq!(list.lines().filter(|row| row.contains(" name=lettuce ") && row.contains(" db=1 ")).count(), 250);
}

#[test]
fn a_pause_holds_up_who_writes_and_nobody_else_and_ends_when_it_is_told_to() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &["upstream.links=1"]);
    let (mut writer, mut reader) = (sidecar.conn(), sidecar.conn());
    reader.call("SET k v").expect_ok();
    reader.call("CLIENT PAUSE 60000 WRITE").expect_ok();
    writer.send(&encode(&words("SET k w")));
    until("the write waits", SOON, || {
        redis.conn().call("INFO clients").text().contains("blocked_clients:1").then_some(())
    });
    assert_eq!(reader.call("GET k"), Reply::bulk("v"));
    reader.call("CLIENT UNPAUSE").expect_ok();
    writer.reply().expect_ok();
    assert_eq!(reader.call("GET k"), Reply::bulk("w"));
    comes_to_be_unpinned(&sidecar, "CLIENT UNPAUSE");
    reader.call("CLIENT PAUSE x").expect_error("ERR");
}

#[test]
fn shutdown_ends_the_client_as_it_would_directly() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    let (mut conn, mut other) = (sidecar.conn(), sidecar.conn());
    conn.call("SHUTDOWN SIDEWAYS").expect_error("ERR");
    conn.call("SET k v").expect_ok();
    conn.send(&encode(&words("SHUTDOWN NOSAVE")));
    conn.expect_close();
    until("it is gone", SOON, || (other.call("GET k").error_word() == "UNAVAILABLE").then_some(()));
}

#[test]
fn an_endless_script_holds_up_nobody_who_can_evade_it() {
    let redis = Redis::start();
    redis.conn().call("CONFIG SET lua-time-limit 20").expect_ok();
    let sidecar = Sidecar::start(&redis.url(), &["upstream.links=2"]);
    let (mut runs, mut other, mut third) = (sidecar.conn(), sidecar.conn(), sidecar.conn());
    for conn in [&mut runs, &mut other, &mut third] {
        conn.call("GET k");
    }
    runs.send(&encode(&["EVAL", "while true do end", "0"]));
    until("it is told to be busy", SOON, || (other.call("GET k").error_word() == "BUSY").then_some(()));
    assert_eq!(third.call("GET k").error_word(), "BUSY");
    other.call("SCRIPT KILL").expect_ok();
    assert!(matches!(runs.reply(), Reply::Error(_)));
    assert!(third.call("GET k").is_nil());
}
