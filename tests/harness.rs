//! The tests' own tools, held against a real redis-server: a tool that lies would make every other test lie.

mod common;

use common::resp::{encode, reply_end};
use common::{Conn, Fault, FaultProxy, Redis, Reply, until};
use std::time::Duration;

#[test]
fn a_redis_child_answers_and_is_gone_when_dropped() {
    let redis = Redis::start();
    let addr = redis.addr();
    assert_eq!(redis.conn().call("PING"), Reply::Simple("PONG".into()));
    drop(redis);
    assert!(Conn::try_open(&addr).is_err());
}

#[test]
fn a_durable_redis_keeps_what_it_acknowledged_over_a_kill() {
    let mut redis = Redis::durable();
    redis.conn().call("SET kept yes").expect_ok();
    redis.kill9();
    redis.restart();
    assert_eq!(redis.conn().call("GET kept"), Reply::bulk("yes"));
}

#[test]
fn a_stopped_redis_answers_when_continued() {
    let redis = Redis::start();
    let mut conn = redis.conn();
    redis.stop();
    conn.send_args(&["PING"]);
    conn.patience(Duration::from_millis(50));
    assert!(conn.try_reply().is_err());
    redis.cont();
    conn.patience(common::SOON);
    assert_eq!(conn.reply(), Reply::Simple("PONG".into()));
}

#[test]
fn the_client_reads_every_kind_of_reply_in_pieces() {
    let all: &[&[u8]] = &[
        b"+OK\r\n",
        b"-ERR no\r\n",
        b":-5\r\n",
        b"$3\r\na\r\n\r\n",
        b"$-1\r\n",
        b"*-1\r\n",
        b"_\r\n",
        b"#t\r\n",
        b",1.5\r\n",
        b"*2\r\n*1\r\n:1\r\n$0\r\n\r\n",
        b"%1\r\n+k\r\n*0\r\n",
        b"~1\r\n:2\r\n",
        b">2\r\n+a\r\n+b\r\n",
        b"=5\r\ntxt:x\r\n",
        b"(12\r\n",
    ];
    for bytes in all {
        for cut in 0..bytes.len() {
            assert_eq!(reply_end(&bytes[..cut]), None, "{}", common::show(&bytes[..cut]));
        }
        assert_eq!(reply_end(bytes), Some(bytes.len()));
        assert!(common::resp::decode(bytes).1.is_empty());
    }
}

#[test]
fn a_pipeline_is_answered_in_order_over_both_protocols() {
    let redis = Redis::start();
    for mut conn in [redis.conn(), Conn::open3(&redis.addr())] {
        let requests: Vec<_> = (0..100).map(|i| common::words(&format!("ECHO {i}"))).collect();
        let replies = conn.pipeline(&requests);
        assert_eq!(replies, (0..100).map(|i| Reply::bulk(i.to_string())).collect::<Vec<_>>());
    }
}

#[test]
fn the_fault_proxy_cuts_before_and_after_what_it_was_armed_for_and_nothing_else() {
    let redis = Redis::start();
    let sha = redis.conn().call_args(&["SCRIPT", "LOAD", "return redis.call('INCR', KEYS[1])"]).text();
    let bump = |key: &str| format!("EVALSHA {sha} 1 {key}");
    let proxy = FaultProxy::start(&redis.addr());

    proxy.arm("target", Fault::CutAfterAnswer, 1);
    let mut conn = Conn::open(&proxy.addr());
    assert_eq!(conn.call(&bump("other")), Reply::Int(1));
    assert_eq!(conn.call("GET target"), Reply::NilBulk);
    conn.send_args(&common::words(&bump("target")));
    conn.expect_close();
    assert_eq!(proxy.struck(), 1);
    assert_eq!(redis.conn().call("GET target"), Reply::bulk("1"));

    proxy.arm("target", Fault::CutBefore, 1);
    let mut conn = Conn::open(&proxy.addr());
    conn.send_args(&common::words(&bump("target")));
    conn.expect_close();
    assert_eq!(redis.conn().call("GET target"), Reply::bulk("1"));

    let mut conn = Conn::open(&proxy.addr());
    assert_eq!(conn.call(&bump("target")), Reply::Int(2));
    assert_eq!(proxy.struck(), 2);
}

#[test]
fn the_fault_proxy_stalls_until_released_refuses_and_trickles_whole_answers() {
    let redis = Redis::start();
    let sha = redis.conn().call_args(&["SCRIPT", "LOAD", "return {1, 'two', ARGV[1]}"]).text();
    let proxy = FaultProxy::start(&redis.addr());
    let mut conn = Conn::open(&proxy.addr());
    let wanted = Reply::Array(vec![Reply::Int(1), Reply::bulk("two"), Reply::bulk("x")]);

    proxy.arm("x", Fault::Stall, 1);
    conn.send(&encode(&["EVALSHA", &sha, "0", "x"]));
    proxy.wait_struck(1);
    conn.patience(Duration::from_millis(20));
    assert!(conn.try_reply().is_err());
    proxy.release();
    conn.patience(common::SOON);
    assert_eq!(conn.reply(), wanted);

    proxy.arm("x", Fault::Refuse("OOM no room"), 1);
    assert_eq!(conn.call(&format!("EVALSHA {sha} 0 x")), Reply::Error("OOM no room".into()));
    proxy.arm("x", Fault::Trickle, 1);
    assert_eq!(conn.call(&format!("EVALSHA {sha} 0 x")), wanted);
    proxy.wait_struck(3);
}

#[test]
fn the_fault_proxy_refuses_while_its_upstream_is_away_and_serves_when_it_is_back() {
    let mut redis = Redis::durable();
    let proxy = FaultProxy::start(&redis.addr());
    redis.kill9();
    Conn::open(&proxy.addr()).expect_close();
    redis.restart();
    until("service again", common::SOON, || Conn::try_open(&proxy.addr()).ok()?.try_call("PING").ok());
}

#[test]
fn the_injected_clock_is_a_plain_key_upstream() {
    let redis = Redis::start();
    redis.set_clock("clock", 1_000);
    assert_eq!(redis.conn().call("GET clock"), Reply::bulk("1000"));
}
