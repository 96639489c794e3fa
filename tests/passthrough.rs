//! What is no inventory command goes to the upstream and comes back as it is, byte for byte and in order.

mod common;
mod passthrough {
    mod multi;
    mod recorded;
}

use common::resp::encode;
use common::{Conn, Redis, Reply, SOON, Sidecar, until, words};

/// What the upstream itself says: engines differ in the words of some errors.
fn answer_of(redis: &Redis, request: &[u8]) -> Vec<u8> {
    let mut conn = redis.conn();
    conn.send(request);
    conn.raw()
}

#[test]
fn odd_frames_get_what_redis_gives() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    for addr in [redis.addr(), sidecar.listen.clone()] {
        let mut conn = Conn::open(&addr);
        for nothing in ["*0\r\n", "*-1\r\n", "\r\n", "\n", "  \r\n"] {
            conn.exchange(format!("{nothing}PING\r\n").as_bytes(), b"+PONG\r\n");
        }
        conn.exchange(b"PING\n", b"+PONG\r\n");
        conn.exchange(b"  ECHO   'a\\'b'\r\n", b"$3\r\na'b\r\n");
        conn.exchange(b"ECHO \"\\x41\\n\\\"\"\r\n", b"$3\r\nA\n\"\r\n");
        conn.exchange(b"*1\r\n$0\r\n\r\n", &answer_of(&redis, b"*1\r\n$0\r\n\r\n"));
        conn.exchange(b"ECHO \"\"\r\n", b"$0\r\n\r\n");
        conn.exchange(b"Nope \"a'b\" c\r\n", &answer_of(&redis, b"Nope \"a'b\" c\r\n"));
        for bad in ["POST / HTTP/1.1\r\n", "Host: x\r\n"] {
            let mut conn = Conn::open(&addr);
            conn.send(bad.as_bytes());
            conn.expect_close();
        }
    }
}

fn blocked(redis: &Redis) -> i64 {
    let info = redis.conn().call("INFO clients").text();
    let line = info.lines().find_map(|line| line.strip_prefix("blocked_clients:")).expect("blocked_clients");
    line.trim().parse().expect("a number")
}

#[test]
fn a_blocked_pop_waits_and_blocks_nobody_else() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &["upstream.links=1", "inventory.operation_deadline_ms=200"]);
    let mut waiters: Vec<_> = (0..5).map(|_| sidecar.conn()).collect();
    for (i, waiter) in waiters.iter_mut().enumerate() {
        waiter.send_args(&words(&format!("BLPOP q{i} 0")));
    }
    until("all are blocked", SOON, || (blocked(&redis) == 5).then_some(()));
    let mut conn = sidecar.conn();
    for i in 0..5 {
        assert_eq!(conn.call(&format!("RPUSH q{i} v{i}")), Reply::Int(1));
    }
    for (i, waiter) in waiters.iter_mut().enumerate() {
        assert_eq!(waiter.reply(), Reply::Array(vec![Reply::bulk(format!("q{i}")), Reply::bulk(format!("v{i}"))]));
        assert_eq!(waiter.call(&format!("LLEN q{i}")), Reply::Int(0));
    }
    waiters[0].send_args(&words("BLPOP q 0.01"));
    waiters[0].expect(b"*-1\r\n");
}

#[test]
fn a_client_gone_from_its_blocked_pop_takes_no_element_with_it() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    for orderly in [true, false] {
        let mut gone = sidecar.conn();
        gone.send_args(&words("BLPOP q 0"));
        until("it is blocked", SOON, || (blocked(&redis) == 1).then_some(()));
        if orderly {
            drop(gone);
        } else {
            gone.reset();
        }
        until("its connection is gone", SOON, || (blocked(&redis) == 0).then_some(()));
    }
    let mut conn = sidecar.conn();
    assert_eq!(conn.call("RPUSH q kept"), Reply::Int(1));
    assert_eq!(conn.call("LPOP q"), Reply::bulk("kept"));
}

#[test]
fn what_follows_a_blocked_pop_in_a_pipeline_waits_for_it() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    let mut conn = sidecar.conn();
    conn.call("INV.SETSTOCK tee 5").expect_ok();
    let pipeline = ["BLPOP q 0", "INV.RESERVE tee 1 ID a", "PING", "GET k"];
    conn.send(&pipeline.iter().flat_map(|line| encode(&words(line))).collect::<Vec<_>>());
    until("it is blocked", SOON, || (blocked(&redis) == 1).then_some(()));
    sidecar.conn().call("SET k v").expect_ok();
    sidecar.conn().call("RPUSH q x");
    conn.expect(b"*2\r\n$1\r\nq\r\n$1\r\nx\r\n$3\r\n0-a\r\n+PONG\r\n$1\r\nv\r\n");
}

#[test]
fn subscriptions_deliver_as_redis_delivers_over_resp2_and_resp3() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    for addr in [redis.addr(), sidecar.listen.clone()] {
        for (protocol, push) in [(2, '*'), (3, '>')] {
            let mut sub = if protocol == 3 { Conn::open3(&addr) } else { Conn::open(&addr) };
            let mut publisher = sidecar.conn();
            sub.send_args(&words("SUBSCRIBE a b"));
            for (channel, count) in [("a", 1), ("b", 2)] {
                sub.expect(format!("{push}3\r\n$9\r\nsubscribe\r\n$1\r\n{channel}\r\n:{count}\r\n").as_bytes());
            }
            sub.send_args(&words("PSUBSCRIBE c*"));
            sub.expect(format!("{push}3\r\n$10\r\npsubscribe\r\n$2\r\nc*\r\n:3\r\n").as_bytes());
            assert_eq!(publisher.call("PUBLISH a one"), Reply::Int(1));
            sub.expect(format!("{push}3\r\n$7\r\nmessage\r\n$1\r\na\r\n$3\r\none\r\n").as_bytes());
            assert_eq!(publisher.call("PUBLISH cat two"), Reply::Int(1));
            sub.expect(format!("{push}4\r\n$8\r\npmessage\r\n$2\r\nc*\r\n$3\r\ncat\r\n$3\r\ntwo\r\n").as_bytes());
            sub.send_args(&words("PING"));
            if protocol == 2 {
                sub.expect(b"*2\r\n$4\r\npong\r\n$0\r\n\r\n");
                sub.send_args(&words("GET k"));
                // Which others are allowed, engines say in words of their own.
                sub.expect(b"-ERR Can't execute 'get': only (P");
                sub.rest_of_line();
            } else {
                sub.expect(b"+PONG\r\n");
                sub.send_args(&words("GET k"));
                sub.expect(b"_\r\n");
            }
            sub.send_args(&words("UNSUBSCRIBE a b"));
            for (channel, count) in [("a", 2), ("b", 1)] {
                sub.expect(format!("{push}3\r\n$11\r\nunsubscribe\r\n$1\r\n{channel}\r\n:{count}\r\n").as_bytes());
            }
            sub.send_args(&words("PUNSUBSCRIBE"));
            sub.expect(format!("{push}3\r\n$12\r\npunsubscribe\r\n$2\r\nc*\r\n:0\r\n").as_bytes());
            // The subscription is over: an ordinary client again.
            assert_eq!(sub.call("ECHO back"), Reply::bulk("back"));
        }
    }
}

#[test]
fn each_client_has_its_own_database_name_protocol_and_reply_mode() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &["upstream.links=1"]);
    let (mut one, mut two) = (sidecar.conn(), sidecar.conn());
    one.call("SELECT 3").expect_ok();
    one.call("SET k three").expect_ok();
    two.call("SET k zero").expect_ok();
    assert_eq!((one.call("GET k"), two.call("GET k")), (Reply::bulk("three"), Reply::bulk("zero")));
    assert_eq!(one.call("SELECT 99"), Reply::Error("ERR DB index is out of range".into()));
    assert_eq!(one.call("SELECT x"), Reply::Error("ERR value is not an integer or out of range".into()));
    assert_eq!(one.call("GET k"), Reply::bulk("three"));
    // The inventory is one, whichever database a client has selected.
    one.call("INV.SETSTOCK tee 1").expect_ok();
    assert_eq!(two.call("INV.STOCK tee").field("available"), Reply::Int(1));
    one.call("SELECT 0").expect_ok();
    assert_eq!(one.call("GET k"), Reply::bulk("zero"));

    assert!(matches!(one.call("CLIENT GETNAME"), Reply::NilBulk | Reply::Bulk(_)));
    one.call("CLIENT SETNAME ann").expect_ok();
    assert_eq!(one.call("CLIENT GETNAME"), Reply::bulk("ann"));
    assert_eq!(two.call("CLIENT GETNAME"), Reply::NilBulk);
    assert!(matches!(one.call("CLIENT SETNAME a\u{e9}b"), Reply::Error(_)));
    assert_ne!(one.call("CLIENT ID").int(), two.call("CLIENT ID").int());
    one.call("CLIENT SETINFO LIB-NAME mine");

    assert!(matches!(one.call("HELLO 3"), Reply::Map(_)));
    assert_eq!((one.call("GET none"), two.call("GET none")), (Reply::Null, Reply::NilBulk));
    assert_eq!(one.call("HELLO 4").error_word(), "NOPROTO");
    assert_eq!(one.call("GET none"), Reply::Null);
    let hello = one.call("HELLO 2 SETNAME bob");
    assert_eq!(hello.field("proto"), Reply::Int(2));
    assert_eq!(one.call("CLIENT GETNAME"), Reply::bulk("bob"));
    one.send_args(&["RESET"]);
    one.expect(b"+RESET\r\n");
    assert_eq!(one.call("CLIENT GETNAME"), Reply::NilBulk);

    let off = [
        "CLIENT REPLY OFF",
        "SET hidden 1",
        "GET hidden",
        "CLIENT REPLY ON",
        "GET hidden",
        "CLIENT REPLY SKIP",
        "GET k",
        "ECHO seen",
    ];
    two.send(&off.iter().flat_map(|line| encode(&words(line))).collect::<Vec<_>>());
    two.expect(b"+OK\r\n$1\r\n1\r\n$4\r\nseen\r\n");
    two.send_args(&["QUIT"]);
    two.expect(b"+OK\r\n");
    two.expect_close();
}

#[test]
fn one_pipelines_replies_keep_its_order_across_every_route() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &["sidecar.workers=2"]);
    let mut conn = sidecar.conn();
    conn.call("INV.SETSTOCK tee 1000").expect_ok();
    let unknown = redis.conn().call("NOPE");
    let mut script: Vec<(String, Reply)> = Vec::new();
    for i in 0..100 {
        let mut add = |line: String, wanted: Reply| script.push((line, wanted));
        add(format!("SET k {i}"), Reply::ok());
        add(format!("INV.RESERVE tee 1 ID r{i}"), Reply::bulk(format!("0-r{i}")));
        add(format!("CLIENT SETNAME n{i}"), Reply::ok());
        add("GET k".into(), Reply::bulk(i.to_string()));
        add(format!("INV.COMMIT 0-r{i}"), Reply::ok());
        add("CLIENT GETNAME".into(), Reply::bulk(format!("n{i}")));
        if i % 10 == 0 {
            add("MULTI".into(), Reply::ok());
            add(format!("SET k x{i}"), Reply::Simple("QUEUED".into()));
            add("EXEC".into(), Reply::Array(vec![Reply::ok()]));
            add("GET k".into(), Reply::bulk(format!("x{i}")));
            add(format!("RPUSH q {i}"), Reply::Int(1));
            add("BLPOP q 0".into(), Reply::Array(vec![Reply::bulk("q"), Reply::bulk(i.to_string())]));
        }
        add("INV.ISPROTECTED tee".into(), Reply::Int(0));
        add(format!("PING p{i}"), Reply::bulk(format!("p{i}")));
        add("NOPE".into(), unknown.clone());
    }
    let requests: Vec<_> = script.iter().map(|(line, _)| words(line)).collect();
    for ((line, wanted), got) in script.iter().zip(conn.pipeline(&requests)) {
        assert_eq!(got, *wanted, "{line}");
    }
}

#[test]
fn effects_of_one_client_happen_in_its_order_on_the_upstream() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &["upstream.links=2"]);
    let mut conn = sidecar.conn();
    for round in 0..50i64 {
        // An ordinary read of the inventory's own key right after the operation that wrote it.
        let replies = conn.pipeline(&[
            words(&format!("INV.SETSTOCK tee {round}")),
            words("HGET inv1:{default/0}:stock tee"),
            words(&format!("SET k {round}")),
            words("MULTI"),
            words("GET k"),
            words("EXEC"),
        ]);
        replies[0].expect_ok();
        let stored: Vec<u8> = [round, 0, 0, 0i64].iter().flat_map(|number| number.to_be_bytes()).collect();
        assert_eq!(replies[1], Reply::Bulk(stored));
        assert_eq!(replies[5], Reply::Array(vec![Reply::bulk(round.to_string())]));
    }
}

#[test]
fn wait_counts_only_replicas_that_have_what_the_client_wrote() {
    let (redis, replica) = (Redis::start(), Redis::start());
    let sidecar = Sidecar::start(&redis.url(), &[]);
    let mut conn = sidecar.conn();
    let (host, port) = redis.addr().rsplit_once(':').map(|(host, port)| (host.to_owned(), port.to_owned())).unwrap();
    replica.conn().call(&format!("REPLICAOF {host} {port}")).expect_ok();
    until("the replica is there", SOON, || conn.call("INFO replication").text().contains("state=online").then_some(()));
    conn.call("SET k 1").expect_ok();
    assert_eq!(conn.call("WAIT 1 10000"), Reply::Int(1));
    replica.stop();
    conn.call("SET k 2").expect_ok();
    assert_eq!(conn.call("WAIT 1 50"), Reply::Int(0));
    replica.cont();
    assert_eq!(conn.call("WAIT 1 10000"), Reply::Int(1));
    conn.call("WAIT x 1").expect_error("ERR");
    let replies = conn.pipeline(&["MULTI", "WAIT 0 0", "EXEC", "PING"].map(words));
    replies[1].expect_error("ERR");
    replies[2].expect_error("EXECABORT");
    assert_eq!(replies[3], Reply::Simple("PONG".into()));
    // On a connection that it has already, behind what goes another way and is not answered yet.
    let mut conn = sidecar.conn3();
    conn.call("CLIENT TRACKING ON").expect_ok();
    let replies =
        conn.pipeline(&["INV.SETSTOCK x 1", "WAIT 1 10000", "INV.RESERVE x 1 ID a", "WAIT 1 10000"].map(words));
    assert_eq!([&replies[1], &replies[3]], [&Reply::Int(1); 2]);
    assert_eq!(replies[2], Reply::bulk("0-a"));
}

#[test]
fn a_replica_replicates_through_the_sidecar() {
    let (redis, replica) = (Redis::start(), Redis::start());
    let sidecar = Sidecar::start(&redis.url(), &[]);
    sidecar.conn().call("SET before 1").expect_ok();
    let (host, port) = sidecar.listen.rsplit_once(':').expect("host:port");
    replica.conn().call(&format!("REPLICAOF {host} {port}")).expect_ok();
    until("the whole data set", SOON, || (replica.conn().call("GET before") == Reply::bulk("1")).then_some(()));
    sidecar.conn().call("SET after 2").expect_ok();
    until("what came after", SOON, || (replica.conn().call("GET after") == Reply::bulk("2")).then_some(()));
    replica.conn().call("REPLICAOF NO ONE").expect_ok();
}

#[test]
fn tracking_invalidates_what_another_client_changed() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    let (mut one, mut two) = (sidecar.conn3(), sidecar.conn());
    one.call("CLIENT TRACKING ON").expect_ok();
    assert_eq!(one.call("GET k"), Reply::Null);
    two.call("SET k 1").expect_ok();
    one.expect(b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n");
    one.call("CLIENT TRACKING OFF").expect_ok();
    assert_eq!(one.call("GET k"), Reply::bulk("1"));
}

#[test]
fn select_takes_a_number_as_redis_does() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    for text in ["+1", "01", "-0", " 1", "1 ", "x", "-1", "99", "16", "15", "0"] {
        let request = encode(&["SELECT", text]);
        let (mut through, mut direct) = (sidecar.conn(), redis.conn());
        through.send(&request);
        direct.send(&request);
        assert_eq!(through.raw(), direct.raw(), "{text:?}");
    }
}

#[test]
fn a_client_may_say_who_it_is_where_the_upstream_wants_a_password_meanwhile() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    let mut conn = sidecar.conn();
    conn.call("SELECT 3").expect_ok();
    conn.call("SET k three").expect_ok();
    conn.call("CONFIG SET requirepass secret").expect_ok();
    conn.call("AUTH secret").expect_ok();
    // It is where it was, and who it is now.
    assert_eq!(conn.call("GET k"), Reply::bulk("three"));
    let mut other = sidecar.conn();
    other.call("AUTH wrong").expect_error("WRONGPASS");
    let mut third = sidecar.conn();
    let hello = third.call("HELLO 3 AUTH default secret");
    assert_eq!(hello.field("proto"), Reply::Int(3));
    conn.call_args(&["CONFIG", "SET", "requirepass", ""]).expect_ok();
}
