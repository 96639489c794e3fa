//! Whose rights a client has upstream where the sidecar was given none: its own, or none.

mod common;

use common::resp::encode;
use common::{Conn, Redis, Reply, SOON, Sidecar, until, words};

const SECRET: &str = "right";

fn locked() -> Redis {
    Redis::with(&["--save", "", "--requirepass", SECRET])
}

fn authenticated(addr: &str) -> Conn {
    let mut conn = Conn::open(addr);
    conn.call(&format!("AUTH {SECRET}")).expect_ok();
    conn
}

/// What comes back for these, one after the other.
fn replies(addr: &str, lines: &[&str]) -> Vec<String> {
    let mut conn = Conn::open(addr);
    let mut ask = |line: &&str| {
        conn.send(&encode(&words(line)));
        format!("{line}: {}", String::from_utf8_lossy(&conn.raw()))
    };
    lines.iter().map(&mut ask).collect()
}

/// How often a client got a connection of its own for this reason.
fn pins(sidecar: &Sidecar, reason: &str) -> f64 {
    let (name, (_, text)) =
        (format!("inventory_sentinel_pins_total{{reason=\"{reason}\"}} "), sidecar.http("/metrics"));
    text.lines().find_map(|line| line.strip_prefix(&name)).map_or(0.0, |value| value.trim().parse().expect("a number"))
}

#[test]
fn who_has_said_no_password_is_answered_as_directly() {
    let redis = locked();
    let sidecar = Sidecar::launch(&redis.url(), &[]);
    let lines = [
        "PING",
        "GET k",
        "SET k v",
        "SELECT 1",
        "HELLO 3",
        "HELLO 2",
        "HELLO",
        "MULTI",
        "WATCH k",
        "SUBSCRIBE channel",
        "BLPOP list 0",
        "EVAL return(1) 0",
        "CLIENT ID",
        "CLIENT GETNAME",
        "CLIENT SETNAME me",
        "CLIENT REPLY OFF",
        "CLIENT TRACKING ON",
        "COMMAND COUNT",
        "INFO server",
        "MONITOR",
        "AUTH wrong",
        "AUTH default wrong",
        "HELLO 3 AUTH default wrong",
        "GET k",
        "AUTH right",
        "GET k",
        "RESET",
        "GET k",
        "QUIT",
    ];
    assert_eq!(replies(&sidecar.listen, &lines), replies(&redis.addr(), &lines));
}

#[test]
fn a_client_with_a_password_of_its_own_has_all_that_it_opens() {
    let redis = locked();
    let sidecar = Sidecar::launch(&redis.url(), &["upstream.links=1"]);
    let (mut conn, mut other) = (authenticated(&sidecar.listen), authenticated(&sidecar.listen));
    conn.call("SET k v").expect_ok();
    assert_eq!(other.call("GET k"), Reply::bulk("v"));
    let transaction = other.pipeline(&["MULTI", "INCR n", "EXEC"].map(words));
    assert_eq!(transaction[2], Reply::Array(vec![Reply::Int(1)]));
    conn.call("SELECT 3").expect_ok();
    assert!(conn.call("GET k").is_nil());
    conn.call("SELECT 0").expect_ok();
    conn.send(&encode(&words("BLPOP list 0")));
    other.call("RPUSH list one");
    assert_eq!(conn.reply(), Reply::Array(vec![Reply::bulk("list"), Reply::bulk("one")]));
    conn.call("SUBSCRIBE channel");
    assert_eq!(other.call("PUBLISH channel x"), Reply::Int(1));
    assert_eq!(conn.reply().items()[2], Reply::bulk("x"));
    assert!(matches!(other.call("HELLO 3"), Reply::Map(_)));
    assert_eq!(other.call("GET k"), Reply::bulk("v"));
    let mut third = Conn::open(&sidecar.listen);
    assert!(matches!(third.call(&format!("HELLO 3 AUTH default {SECRET}")), Reply::Map(_)));
    assert_eq!(third.call("GET k"), Reply::bulk("v"));
    // The rights are hers who brought them.
    Conn::open(&sidecar.listen).call("GET k").expect_error("NOAUTH");
    // Of the first of them the sidecar has learnt what commands there are.
    until("commands are known", SOON, || {
        let before = pins(&sidecar, "unknown");
        third.call("NOPE").expect_error("ERR");
        (pins(&sidecar, "unknown") > before).then_some(())
    });
    let before = pins(&sidecar, "unknown");
    assert_eq!(third.call("GET k"), Reply::bulk("v"));
    assert_eq!(pins(&sidecar, "unknown"), before);
}

#[test]
fn who_may_not_turn_replies_off_gets_them() {
    let redis = Redis::start();
    let acl = ["ACL", "SETUSER", "few", "on", ">pw", "~*", "-@all", "+get", "+multi", "+exec", "+watch", "+unwatch"];
    redis.conn().call_args(&acl).expect_ok();
    redis.conn().call_args(&["ACL", "SETUSER", "all", "on", ">pw", "~*", "&*", "+@all"]).expect_ok();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    for pinned in [false, true] {
        for (user, may) in [("few", false), ("all", true)] {
            let mut conn = sidecar.conn();
            conn.call(&format!("AUTH {user} pw")).expect_ok();
            if pinned {
                conn.call("WATCH k").expect_ok();
            }
            let lines =
                ["GET a", "CLIENT REPLY SKIP", "GET b", "CLIENT REPLY OFF", "GET c", "CLIENT REPLY ON", "GET d"];
            conn.send(&lines.iter().flat_map(|line| encode(&words(line))).collect::<Vec<_>>());
            let said: Vec<Reply> = (0..if may { 3 } else { lines.len() }).map(|_| conn.reply()).collect();
            let nil = || Reply::NilBulk;
            if may {
                assert_eq!(said, [nil(), Reply::Simple("OK".into()), nil()], "{user}, pinned: {pinned}");
            } else {
                let words: Vec<String> = said.iter().map(|reply| reply.error_word().to_string()).collect();
                assert_eq!(words, ["", "NOPERM", "", "NOPERM", "", "NOPERM", ""], "{user}, pinned: {pinned}");
            }
            assert!(conn.call("GET last").is_nil());
            if may {
                conn.call("CLIENT REPLY SIDEWAYS").expect_error("ERR");
            }
        }
    }
}

#[test]
fn without_a_password_of_its_own_the_sidecar_says_so_and_serves_no_inventory_until_none_is_wanted() {
    let redis = locked();
    let sidecar = Sidecar::launch(&redis.url(), &["sidecar.workers=2"]);
    let warnings = || {
        let lines = sidecar.log_lines();
        lines.into_iter().filter(|line| line.contains("WARN") && line.contains("wants a password")).collect::<Vec<_>>()
    };
    let reason = until("it is not ready", SOON, || {
        let (status, body) = sidecar.http("/readyz");
        (status == 503 && !body.contains("starting")).then_some(body)
    });
    assert!(reason.contains("wants a password"), "{reason}");
    let (mut nobody, mut user) = (sidecar.conn(), authenticated(&sidecar.listen));
    for conn in [&mut nobody, &mut user] {
        let reply = conn.call("INV.RESERVE sku 1");
        reply.expect_error("UNAVAILABLE");
        let line = format!("{reply:?}");
        assert!(line.contains("upstream.url") && line.contains("not sent"), "{line}");
    }
    // Nor inside MULTI: nobody has checked that the namespace is what the sidecar takes it for.
    user.call("MULTI").expect_ok();
    user.call("INV.SETSTOCK sku 1").expect_error("UNAVAILABLE");
    user.call("EXEC").expect_error("EXECABORT");
    let mut direct = authenticated(&redis.addr());
    assert!(direct.call("KEYS *").items().is_empty());
    assert_eq!(warnings().len(), 1, "{:?}", sidecar.log_lines());

    direct.call_args(&["CONFIG", "SET", "requirepass", ""]).expect_ok();
    sidecar.wait_ready();
    nobody.call("INV.SETSTOCK sku 1").expect_ok();
    assert!(nobody.call("GET k").is_nil());
    assert_eq!(user.pipeline(&["MULTI", "INV.ROLLBACK 0-x", "EXEC"].map(words))[0], Reply::Simple("OK".into()));
}
