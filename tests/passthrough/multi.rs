//! MULTI of ordinary commands, and WATCH.

use crate::common::resp::encode;
use crate::common::{Redis, Reply, Sidecar, words};

#[test]
fn a_transaction_runs_whole_and_a_broken_one_aborts() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    let mut conn = sidecar.conn();
    let queued = b"+QUEUED\r\n".as_slice();
    for at_once in [false, true] {
        let script: &[(&str, &[u8])] = &[
            ("MULTI", b"+OK\r\n"),
            ("SET k 1", queued),
            ("INCR k", queued),
            ("LPUSH k x", queued),
            ("EXEC", b"*3\r\n+OK\r\n:2\r\n-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"),
            ("GET k", b"$1\r\n2\r\n"),
            ("EXEC", b"-ERR EXEC without MULTI\r\n"),
            ("DISCARD", b"-ERR DISCARD without MULTI\r\n"),
            ("MULTI", b"+OK\r\n"),
            ("MULTI", b"-ERR MULTI calls can not be nested\r\n"),
            ("SET k 9", queued),
            ("DISCARD", b"+OK\r\n"),
            ("MULTI", b"+OK\r\n"),
            ("SET k", b"-ERR wrong number of arguments for 'set' command\r\n"),
            ("EXEC", b"-EXECABORT Transaction discarded because of previous errors.\r\n"),
            ("MULTI", b"+OK\r\n"),
            ("EXEC", b"*0\r\n"),
            ("GET k", b"$1\r\n2\r\n"),
        ];
        if at_once {
            conn.send(&script.iter().flat_map(|(line, _)| encode(&words(line))).collect::<Vec<_>>());
        }
        for (line, wanted) in script {
            if !at_once {
                conn.send_args(&words(line));
            }
            if wanted.starts_with(b"-ERR MULTI") {
                // Engines differ in the words.
                conn.expect(b"-ERR ");
                conn.rest_of_line();
            } else {
                conn.expect(wanted);
            }
        }
    }
}

#[test]
fn a_transaction_does_not_swallow_the_commands_of_other_clients() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &["upstream.links=1"]);
    let (mut one, mut two) = (sidecar.conn(), sidecar.conn());
    one.call("MULTI").expect_ok();
    assert_eq!(one.call("SET k 1"), Reply::Simple("QUEUED".into()));
    assert_eq!(two.call("GET k"), Reply::NilBulk);
    two.call("SET k 2").expect_ok();
    assert_eq!(one.call("EXEC"), Reply::Array(vec![Reply::ok()]));
    assert_eq!(two.call("GET k"), Reply::bulk("1"));
}

#[test]
fn a_watched_key_that_changed_fails_the_transaction() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    let (mut one, mut two) = (sidecar.conn(), sidecar.conn());
    one.call("WATCH k").expect_ok();
    two.call("SET k 2").expect_ok();
    one.call("MULTI").expect_ok();
    one.call("SET k 1");
    one.send_args(&["EXEC"]);
    one.expect(b"*-1\r\n");
    one.call("WATCH k").expect_ok();
    one.call("UNWATCH").expect_ok();
    two.call("SET k 3").expect_ok();
    one.call("MULTI").expect_ok();
    one.call("SET k 1");
    assert_eq!(one.call("EXEC"), Reply::Array(vec![Reply::ok()]));
    // A client that goes with a watch leaves none behind for the next.
    one.call("WATCH k").expect_ok();
    drop(one);
    two.call("SET k 4").expect_ok();
    let mut three = sidecar.conn();
    three.call("MULTI").expect_ok();
    three.call("GET k");
    assert_eq!(three.call("EXEC"), Reply::Array(vec![Reply::bulk("4")]));
}

#[test]
fn what_the_sidecar_refuses_inside_multi_aborts_the_transaction() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    for refused in ["WAIT 0 0", "INV.STOCK", "CLIENT REPLY OFF"] {
        let mut conn = sidecar.conn();
        let replies =
            conn.pipeline(&[words("MULTI"), words("SET k v"), words(refused), words("SET k2 v"), words("EXEC")]);
        replies[2].expect_error("ERR");
        replies[4].expect_error("EXECABORT");
        assert!(redis.conn().call("GET k").is_nil(), "{refused}");
        // And the connection goes on.
        assert!(conn.call("INV.ADDSTOCK sku 1").int() > 0);
    }
}

#[test]
fn a_hello_that_is_only_queued_changes_no_protocol() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    let mut conn = sidecar.conn();
    for line in ["MULTI", "HELLO 3", "DISCARD"] {
        conn.call(line);
    }
    conn.exchange(b"*2\r\n$7\r\nINV.GET\r\n$3\r\n0-x\r\n", b"$-1\r\n");
}
