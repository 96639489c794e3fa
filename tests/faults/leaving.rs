//! Clients that leave while something of theirs waits or is half said.

use crate::common::resp::encode;
use crate::common::{Redis, Reply, SOON, Sidecar, until, words};

#[test]
fn an_element_is_not_popped_for_a_client_that_is_gone_whatever_it_sent_behind() {
    for behind in [b"*2\r\n$3\r\nGET\r\n$1\r\nx\r\n".to_vec(), b"*2\r\n$9\r\nINV.STOCK\r\n$1\r\nx\r\n".repeat(4000)] {
        let redis = Redis::start();
        let sidecar = Sidecar::start(&redis.url(), &[]);
        let mut upstream = redis.conn();
        let mut conn = sidecar.conn();
        conn.send(b"*3\r\n$5\r\nBLPOP\r\n$1\r\nq\r\n$1\r\n0\r\n");
        until("the client waits", SOON, || {
            (upstream.call("INFO clients").text().contains("blocked_clients:1")).then_some(())
        });
        conn.send(&behind);
        drop(conn);
        until("nobody waits", SOON, || {
            (upstream.call("INFO clients").text().contains("blocked_clients:0")).then_some(())
        });
        assert_eq!(upstream.call("RPUSH q element"), Reply::Int(1));
        assert_eq!(upstream.call("LLEN q"), Reply::Int(1));
    }
}

#[test]
fn an_element_is_not_popped_for_a_client_that_said_all_and_left_before_its_turn_to_wait() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    let mut upstream = redis.conn();
    // The first is under way elsewhere when the client is found to be gone, and only then does the other wait.
    for before in ["GET x", "INV.STOCK x"] {
        let mut conn = sidecar.conn();
        conn.send(&[encode(&words(before)), encode(&["BLPOP", "q", "0"]), encode(&["GET", "x"])].concat());
        conn.half_close();
        assert!(conn.reply().is_nil(), "{before}");
        conn.expect_close();
        assert_eq!(upstream.call("RPUSH q element"), Reply::Int(1), "{before}");
        assert_eq!(upstream.call("LLEN q"), Reply::Int(1), "{before}");
        assert_eq!(upstream.call("DEL q"), Reply::Int(1));
    }
}

#[test]
fn a_client_that_left_its_wait_behind_is_not_kept_by_an_upstream_that_does_not_answer() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &["upstream.reply_timeout_ms=1000"]);
    let mut conn = sidecar.conn();
    conn.send(&encode(&["BLPOP", "q", "0"]));
    until("the client waits", SOON, || {
        redis.conn().call("INFO clients").text().contains("blocked_clients:1").then_some(())
    });
    redis.stop();
    conn.half_close();
    conn.expect_close();
    redis.cont();
}

#[test]
fn a_client_that_leaves_in_the_middle_of_a_large_request_leaves_nothing_behind() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &["upstream.pinned_max=3"]);
    for _ in 0..10 {
        let mut conn = sidecar.conn();
        conn.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$10000000\r\n");
        conn.send(&vec![b'x'; 100_000]);
        drop(conn);
        // Each of them needs one of the three; the next can have it soon.
        until("a connection is free again", SOON, || sidecar.conn().call("MULTI").is_ok().then_some(()));
    }
    assert!(redis.conn().call("GET k").is_nil());
    let mut upstream = redis.conn();
    until("no connection is left over", SOON, || {
        (upstream.call("CLIENT LIST").text().lines().count() <= 7).then_some(())
    });
}
