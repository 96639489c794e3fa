//! What a tenant's limits promise: what is over one is told so, and others feel nothing.

mod common;

use common::resp::encode;
use common::tenants::{Tenanted, text, two, word};
use common::{Conn, Redis, Reply, SOON, until, words};
use std::time::Instant;

/// Sends all of these at once; the words of their replies, each the first of its line.
fn pipeline(conn: &mut Conn, lines: &[&str]) -> Vec<String> {
    let bytes: Vec<u8> = lines.iter().flat_map(|line| encode(&words(line))).collect();
    conn.send(&bytes);
    let first =
        |reply: Vec<u8>| String::from_utf8_lossy(&reply).split([' ', '\r']).next().unwrap_or_default().to_owned();
    lines.iter().map(|_| first(conn.raw())).collect()
}

fn count(words: &[String], word: &str) -> usize {
    words.iter().filter(|found| *found == word).count()
}

#[test]
fn one_client_more_than_clients_max_is_refused_until_one_leaves() {
    let redis = Redis::start();
    let tenants = Tenanted::start(&redis, &two("clients_max = 2"));
    let (mut one, two) = (tenants.acme(), tenants.acme());
    let mut third = tenants.sidecar.conn();
    let refused = text(&mut third, &["AUTH", "acme", "acme-secret"]);
    assert!(refused.starts_with("-OVERLOADED ") && refused.contains("clients_max"), "{refused}");
    assert_eq!(word(&mut third, &["PING"]), "-NOAUTH");
    assert!(text(&mut third, &["HELLO", "3", "AUTH", "acme", "acme-secret"]).starts_with("-OVERLOADED "));
    // Who is one of them already is not one more.
    assert_eq!(text(&mut one, &["AUTH", "acme", "acme-secret"]), "+OK\r\n");
    let mut rivals: Vec<Conn> = (0..4).map(|_| tenants.rival()).collect();
    assert!(rivals.iter_mut().all(|rival| text(rival, &["PING"]) == "+PONG\r\n"));
    drop(two);
    until("a place is free", SOON, || (word(&mut third, &["AUTH", "acme", "acme-secret"]) == "+OK").then_some(()));
    // It leaves as another tenant too.
    assert_eq!(text(&mut third, &["AUTH", "rival", "rival-secret"]), "+OK\r\n");
    assert_eq!(text(&mut third, &["AUTH", "acme", "acme-secret"]), "+OK\r\n");
    assert_eq!(text(&mut third, &["RESET"]), "+RESET\r\n");
    drop(tenants.acme());
}

#[test]
fn one_pinned_client_more_than_pinned_max_is_refused_and_others_are_not() {
    let redis = Redis::start();
    let tenants = Tenanted::start(&redis, &two("pinned_max = 1"));
    let (mut one, mut two, mut rival) = (tenants.acme(), tenants.acme(), tenants.rival());
    assert_eq!(text(&mut one, &["WATCH", "k"]), "+OK\r\n");
    for request in [&["BLPOP", "l", "0"][..], &["SUBSCRIBE", "c"], &["CLIENT", "TRACKING", "ON"]] {
        assert_eq!(word(&mut two, request), "-OVERLOADED", "{request:?}");
        assert_eq!(text(&mut two, &["GET", "k"]), "$-1\r\n");
    }
    assert_eq!(text(&mut rival, &["WATCH", "k"]), "+OK\r\n");
    assert_eq!(text(&mut rival, &["MULTI"]), "+OK\r\n");
    assert_eq!(text(&mut one, &["UNWATCH"]), "+OK\r\n");
    until("the connection is given back", SOON, || {
        (word(&mut two, &["CLIENT", "TRACKING", "ON"]) == "+OK").then_some(())
    });
    // A transaction that cannot be had takes its client with it: what follows was to be executed in it or not at all.
    assert_eq!(word(&mut one, &["MULTI"]), "-OVERLOADED");
    one.expect_close();
}

#[test]
fn what_comes_more_often_than_it_may_is_refused_and_another_tenant_is_not() {
    let redis = Redis::start();
    let limits = "requests_per_second = 1\nrequests_burst = 30";
    let tenants = Tenanted::start(&redis, &two(limits));
    // One second more is one request more: a machine that stands still makes the bound wider, and nothing else.
    let began = Instant::now();
    let most = |began: Instant| 30 + began.elapsed().as_secs() as usize + 1;
    let (mut one, mut two) = (tenants.acme(), tenants.acme());
    let first = pipeline(&mut one, &["SET k v"; 20]);
    assert_eq!(count(&first, "+OK"), 20);
    let second = pipeline(&mut two, &["INV.HELP"; 20]);
    let (passed, refused) = (20 - count(&second, "-OVERLOADED"), count(&second, "-OVERLOADED"));
    assert!((10..=most(began) - 20).contains(&passed) && passed + refused == 20, "{second:?}");
    let mut rival = tenants.rival();
    assert_eq!(count(&pipeline(&mut rival, &["SET k v"; 200]), "+OK"), 200);
    let line =
        until("it is refused again", SOON, || Some(text(&mut one, &["PING"])).filter(|line| line != "+PONG\r\n"));
    assert!(line.starts_with("-OVERLOADED ") && line.contains("requests_per_second"), "{line}");
}

#[test]
fn a_pipeline_inside_multi_does_not_get_past_the_limit() {
    let redis = Redis::start();
    let tenants = Tenanted::start(&redis, &two("requests_per_second = 1\nrequests_burst = 10"));
    let (began, mut conn) = (Instant::now(), tenants.acme());
    let mut lines = vec!["MULTI"];
    lines.extend(["INCR k"; 40]);
    lines.push("EXEC");
    let replies = pipeline(&mut conn, &lines);
    let most = 10 + began.elapsed().as_secs() as usize + 1;
    let queued = count(&replies, "+QUEUED");
    assert!((9..most).contains(&queued), "{queued} of {most}: {replies:?}");
    assert_eq!(1 + queued + count(&replies, "-OVERLOADED") + count(&replies, "-EXECABORT"), 42, "{replies:?}");
    assert_eq!(redis.conn().call("EXISTS acme:k"), Reply::Int(0));
    let end =
        until("EXEC is let through", SOON, || Some(word(&mut conn, &["EXEC"])).filter(|word| word != "-OVERLOADED"));
    assert!(end == "-EXECABORT" || end == "-ERR", "{end}");
}

#[test]
fn an_isolated_tenants_large_values_pass_where_its_requests_may_be_so_large() {
    let redis = Redis::start();
    let tenants = Tenanted::start(&redis, &two("request_bytes_max = 5_000_000"));
    let mut conn = tenants.acme();
    // Larger than what is kept of others' requests (session.request_stream_bytes), more than once.
    let value = "v".repeat(2 * 1024 * 1024);
    let bytes: Vec<u8> = ["a", "b"].iter().flat_map(|key| encode(&["SET", key, &value])).collect();
    conn.send(&[bytes, encode(&["STRLEN", "b"])].concat());
    assert_eq!((conn.reply(), conn.reply(), conn.reply()), (ok(), ok(), Reply::Int(2 * 1024 * 1024)));
    assert_eq!(conn.call("GET a"), Reply::Bulk(value.clone().into_bytes()));
    assert_eq!(redis.conn().call("STRLEN acme:a"), Reply::Int(2 * 1024 * 1024));
    conn.call("MULTI").expect_ok();
    conn.send_args(&["APPEND", "a", &value]);
    assert_eq!(conn.reply(), Reply::Simple("QUEUED".into()));
    assert_eq!(conn.call("EXEC").items(), [Reply::Int(4 * 1024 * 1024)]);
}

fn ok() -> Reply {
    Reply::Simple("OK".into())
}

#[test]
fn a_request_larger_than_it_may_be_is_refused_whole_and_the_connection_goes_on() {
    let redis = Redis::start();
    let tenants = Tenanted::start(&redis, &two("request_bytes_max = 4096"));
    let (mut conn, mut rival) = (tenants.acme(), tenants.rival());
    for size in [4096, 10_000, 3_000_000] {
        let value = "v".repeat(size);
        conn.send(&[encode(&["SET", "k", &value]), encode(&["EXISTS", "k"])].concat());
        let line = String::from_utf8(conn.raw()).expect("text");
        assert!(line.starts_with("-OVERLOADED ") && line.contains("request_bytes_max"), "{line}");
        assert_eq!(conn.reply(), Reply::Int(0));
        rival.send_args(&["SET", "k", &value]);
        assert_eq!(rival.reply(), ok());
        // The transaction that it was to be a part of is not executed without it.
        conn.call("MULTI").expect_ok();
        conn.send_args(&["SET", "k", &value]);
        conn.reply().expect_error("OVERLOADED");
        assert_eq!(conn.call("SET other v"), Reply::Simple("QUEUED".into()));
        conn.call("EXEC").expect_error("EXECABORT");
        assert_eq!(conn.call("EXISTS k other"), Reply::Int(0));
    }
    assert_eq!(text(&mut conn, &["SET", "k", &"v".repeat(4000)]), "+OK\r\n");
}

#[test]
fn whose_queue_is_full_is_told_so_and_anothers_operations_wait_their_turn() {
    let redis = Redis::start();
    let settings = ["upstream.pool_size=1", "inventory.operation_deadline_ms=60000"];
    let tenants = Tenanted::start_with(&redis, &two("queue_ops_max = 5"), &settings, |_| {});
    let (mut acme, mut rival) = (tenants.acme(), tenants.rival());
    for conn in [&mut acme, &mut rival] {
        conn.call("INV.SETSTOCK tee 1000").expect_ok();
    }
    // Nothing is answered until all have asked.
    redis.stop();
    let taken = || common::figure(&tenants.sidecar, "inventory_sentinel_requests_total{route=\"inventory\"}");
    let before = taken();
    let request = encode(&words("INV.RESERVE tee 1"));
    acme.send(&request.repeat(100));
    until("all of them are taken", SOON, || (taken() >= before + 100.0).then_some(()));
    rival.send(&request.repeat(100));
    until("all of the other's are too", SOON, || (taken() >= before + 200.0).then_some(()));
    redis.cont();
    let replies: Vec<Reply> = (0..100).map(|_| acme.reply()).collect();
    let refused = replies.iter().filter(|reply| matches!(reply, Reply::Error(line) if line.starts_with("OVERLOADED")));
    // Those that wait, those that went at once, and the sidecar's own.
    let refused = refused.count();
    assert!((90..=97).contains(&refused), "{refused} refused of 100: {replies:?}");
    assert!((0..100).all(|_| matches!(rival.reply(), Reply::Bulk(_))));
    assert_eq!(common::stock(&mut acme, "tee").reserved, 100 - refused as i64);
    assert_eq!(common::stock(&mut rival, "tee").reserved, 100);
}

#[test]
fn a_tenant_that_fills_the_whole_queue_leaves_others_their_share() {
    let redis = Redis::start();
    let settings = [
        "upstream.pool_size=1",
        "inventory.operation_deadline_ms=60000",
        "inventory.queue_ops_max=64",
        "inventory.batch_ops_max=16",
        "inventory.client_ops_max=64",
    ];
    let tenants = Tenanted::start_with(&redis, &two(""), &settings, |_| {});
    let mut flood: Vec<Conn> = (0..4).map(|_| tenants.acme()).collect();
    let mut rival = tenants.rival();
    flood[0].call("INV.SETSTOCK tee 1000").expect_ok();
    rival.call("INV.SETSTOCK tee 1000").expect_ok();
    redis.stop();
    let taken = || common::figure(&tenants.sidecar, "inventory_sentinel_requests_total{route=\"inventory\"}");
    let before = taken();
    let request = encode(&words("INV.RESERVE tee 1"));
    flood.iter_mut().for_each(|conn| conn.send(&request.repeat(64)));
    until("all of them are taken", SOON, || (taken() >= before + 256.0).then_some(()));
    rival.send(&request.repeat(16));
    until("and the other's", SOON, || (taken() >= before + 272.0).then_some(()));
    redis.cont();
    assert!((0..16).all(|_| matches!(rival.reply(), Reply::Bulk(_))));
    let refused: usize = flood
        .iter_mut()
        .map(|conn| {
            (0..64).filter(|_| matches!(conn.reply(), Reply::Error(line) if line.starts_with("OVERLOADED"))).count()
        })
        .sum();
    assert!(refused >= 256 - 2 * 64, "{refused}");
}

#[test]
fn what_is_kept_for_all_clients_of_a_tenant_is_bounded_and_anothers_is_not_touched() {
    let redis = Redis::start();
    let limits = "buffer_bytes_max = 4_194_304\nrequest_bytes_max = 4_194_304";
    let tenants = Tenanted::start(&redis, &two(limits));
    // All of it must be seen before it goes anywhere.
    let begun = |len: usize| [b"*3\r\n$7\r\nPUBLISH\r\n$1\r\nk\r\n$4000000\r\n".as_slice(), &vec![b'v'; len]].concat();
    let rest = [vec![b'v'; 1_000_000], b"\r\n".to_vec()].concat();
    let (mut one, mut two, mut rival) = (tenants.acme(), tenants.acme(), tenants.rival());
    // Half requests: the first one's is within the bound, the second one's is not beside it.
    let read = || common::figure(&tenants.sidecar, "inventory_sentinel_bytes_total{direction=\"client_in\"}");
    let before = read();
    one.send(&begun(3_000_000));
    until("the first one's bytes are kept", SOON, || (read() >= before + 3_000_000.0).then_some(()));
    let mut more = tenants.acme();
    more.send(&begun(2_000_000));
    let line = String::from_utf8(more.raw()).expect("a line");
    assert!(line.starts_with("-OVERLOADED") && line.contains("buffer_bytes_max"), "{line}");
    more.expect_close();
    rival.send(&begun(3_000_000));
    for conn in [&mut rival, &mut one] {
        conn.send(&rest);
        assert_eq!(conn.reply(), Reply::Int(0));
    }
    // Replies that nobody reads.
    one.send_args(&["SET", "k", &"v".repeat(4_000_000)]);
    assert_eq!(one.reply(), ok());
    let refused = "inventory_sentinel_tenant_refused_total{tenant=\"acme\",reason=\"overloaded\"}";
    let refused = || common::figure(&tenants.sidecar, refused);
    let before = refused();
    two.receive_buffer(64 * 1024);
    two.send(&encode(&["GET", "k"]).repeat(64));
    until("it is closed", SOON, || (refused() > before).then_some(()));
    assert!((0..64).any(|_| two.try_raw().is_err()));
    assert_eq!(text(&mut rival, &["PING"]), "+PONG\r\n");
    assert_eq!(text(&mut one, &["PING"]), "+PONG\r\n");
}
