//! A connection of one's own, no longer than needed, and nothing of it for the next one.

use crate::common::resp::encode;
use crate::common::{Redis, Reply, SOON, Sidecar, figure, until, words};
use crate::{comes_to_be_unpinned, pinned};

#[test]
fn a_connection_of_ones_own_goes_back_when_its_state_is_over() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    let mut conn = sidecar.conn();
    let mut other = sidecar.conn();
    for (begin, end) in [
        (vec!["MULTI", "SET k v"], vec!["EXEC"]),
        (vec!["MULTI"], vec!["DISCARD"]),
        (vec!["WATCH k"], vec!["UNWATCH"]),
        (vec!["WATCH k", "MULTI", "SET k w"], vec!["EXEC"]),
        (vec!["CLIENT TRACKING ON"], vec!["CLIENT TRACKING OFF"]),
        (vec!["CLIENT NO-EVICT ON"], vec!["CLIENT NO-EVICT OFF"]),
        (vec!["WATCH k", "SELECT 1"], vec!["RESET"]),
    ] {
        if begin[0] == "CLIENT NO-EVICT ON" && matches!(redis.conn().call("CLIENT NO-EVICT OFF"), Reply::Error(_)) {
            continue; // not known before 7.0
        }
        for line in &begin {
            assert!(!matches!(conn.call(line), Reply::Error(_)), "{line}");
        }
        assert_eq!(pinned(&sidecar), 1.0, "{begin:?}");
        for line in &end {
            assert!(!matches!(conn.call(line), Reply::Error(_)), "{line}");
        }
        comes_to_be_unpinned(&sidecar, end[0]);
        assert_eq!(conn.call("PING"), Reply::Simple("PONG".into()));
    }
    // Subscriptions: until all of them are acknowledged to be gone.
    for (begin, end) in
        [("SUBSCRIBE a b", "UNSUBSCRIBE"), ("PSUBSCRIBE a* b*", "PUNSUBSCRIBE a* b*"), ("SUBSCRIBE a", "RESET")]
    {
        conn.send(&encode(&words(begin)));
        (1..begin.split(' ').count()).for_each(|_| drop(conn.reply()));
        assert_eq!(pinned(&sidecar), 1.0, "{begin}");
        assert_eq!(other.call("PUBLISH a1 x"), Reply::Int(i64::from(begin.starts_with('P'))));
        if begin.starts_with('P') {
            assert_eq!(conn.reply().items()[3], Reply::bulk("x"));
        }
        conn.send(&encode(&words(end)));
        let acknowledged = if end == "RESET" { 1 } else { begin.split(' ').count() - 1 };
        (0..acknowledged).for_each(|_| drop(conn.reply()));
        comes_to_be_unpinned(&sidecar, end);
        conn.call("SET k v").expect_ok();
    }
    // A command that waits: until its reply.
    conn.send(&encode(&words("BLPOP list 0")));
    until("the pop waits", SOON, || {
        redis.conn().call("INFO clients").text().contains("blocked_clients:1").then_some(())
    });
    assert_eq!(pinned(&sidecar), 1.0);
    other.call("RPUSH list x").int();
    assert_eq!(conn.reply().items()[1], Reply::bulk("x"));
    comes_to_be_unpinned(&sidecar, "BLPOP");
    // All of that took but one connection, which is warm for the next.
    assert_eq!(figure(&sidecar, "inventory_sentinel_pins_total{reason=\"transaction\"} "), 5.0);
    let total = redis.conn().call("INFO stats").text();
    let received = total.lines().find_map(|line| line.strip_prefix("total_connections_received:")).expect("a count");
    assert!(received.trim().parse::<u32>().expect("a number") < 40, "{received}");
}

#[test]
fn a_client_gone_leaves_nothing_of_its_state_to_the_next_one_of_its_connection() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &["upstream.pinned_max=1"]);
    for leave in [
        &["WATCH k"][..],
        &["MULTI", "SET k gone"],
        &["SUBSCRIBE news"],
        &["HELLO 3", "SUBSCRIBE news"],
        &["CLIENT TRACKING ON BCAST", "SET k tracked"],
        &["WATCH k", "SELECT 3"],
        &["WATCH k", "HELLO 3"],
    ] {
        let mut gone = sidecar.conn();
        for line in leave {
            gone.call(line);
        }
        drop(gone);
        // Only one may have its own: the next one gets the same.
        let mut next = until("a connection of one's own", SOON, || {
            let mut next = sidecar.conn();
            (!matches!(next.call("WATCH other"), Reply::Error(_))).then_some(next)
        });
        redis.conn().call("SET k changed").expect_ok();
        redis.conn().call("PUBLISH news x").int();
        let replies = next.pipeline(&["MULTI", "GET k", "EXEC", "PING"].map(words));
        assert_eq!(replies[2], Reply::Array(vec![Reply::bulk("changed")]), "after {leave:?}");
        assert_eq!(replies[3], Reply::Simple("PONG".into()), "after {leave:?}");
    }
}

#[test]
fn nobody_is_told_of_a_key_that_another_client_read() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &["upstream.pinned_max=1"]);
    let tracking = |sidecar: &Sidecar| {
        until("a connection of one's own", SOON, || {
            let mut conn = sidecar.conn();
            conn.call("HELLO 3");
            (!matches!(conn.call("CLIENT TRACKING ON"), Reply::Error(_))).then_some(conn)
        })
    };
    for end in ["CLIENT TRACKING OFF", "RESET", "(it goes)"] {
        let mut first = tracking(&sidecar);
        first.call("GET secret");
        if end != "(it goes)" {
            first.call(end);
            comes_to_be_unpinned(&sidecar, end);
        }
        drop(first);
        let mut second = tracking(&sidecar);
        redis.conn().call("SET secret changed").expect_ok();
        assert_eq!(second.call("PING"), Reply::Simple("PONG".into()), "after {end}");
    }
}

#[test]
fn one_too_many_with_a_connection_of_its_own_is_told_so_and_nothing_of_its_transaction_happens() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &["upstream.pinned_max=1"]);
    let (mut one, mut two) = (sidecar.conn(), sidecar.conn());
    one.call("WATCH k").expect_ok();
    two.call("BLPOP list 1").expect_error("OVERLOADED");
    two.call("SET k before").expect_ok();
    two.send(&["MULTI", "SET k during", "EXEC"].map(|line| encode(&words(line))).concat());
    two.reply().expect_error("OVERLOADED");
    two.expect_close();
    assert_eq!(one.call("GET k"), Reply::bulk("before"));
    one.call("UNWATCH").expect_ok();
    comes_to_be_unpinned(&sidecar, "UNWATCH");
    sidecar.conn().call("MULTI").expect_ok();
}

#[test]
fn a_request_too_large_to_be_kept_leaves_its_state_where_it_is_asked_for() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    let mut conn = sidecar.conn();
    let large = vec![b'w'; 4 << 20];
    conn.call_args(&[b"WATCH".as_slice(), b"k", &large]).expect_ok();
    redis.conn().call("SET k changed").expect_ok();
    let replies = conn.pipeline(&["MULTI", "SET k lost", "EXEC"].map(words));
    assert!(replies[2].is_nil(), "{:?}", replies[2]);
    assert_eq!(conn.call("GET k"), Reply::bulk("changed"));
    assert_eq!(pinned(&sidecar), 1.0);
}
