//! `CLIENT REPLY SKIP` is for the request behind it and for no other, whatever becomes of that one: were it kept, the next
//! reply would be missing and all later ones taken for others'.

mod common;

use common::resp::encode;
use common::tenants::{TWO, Tenanted};
use common::{Conn, Redis, Reply, Sidecar};

/// Of these requests the first is skipped, and the two behind are answered.
#[track_caller]
fn assert_one_is_skipped(conn: &mut Conn, request: &[&str]) {
    let requests = [&["CLIENT", "REPLY", "SKIP"], request, &["ECHO", "first"], &["ECHO", "second"]];
    conn.send(&requests.iter().flat_map(|request| encode(request)).collect::<Vec<u8>>());
    let replies = (conn.reply(), conn.reply());
    assert_eq!(replies, (Reply::bulk("first"), Reply::bulk("second")), "behind {}", request[0]);
}

#[test]
fn a_large_request_is_the_one_that_is_skipped() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &["session.request_stream_bytes=1024"]);
    let (mut conn, large) = (sidecar.conn(), "v".repeat(100_000));
    for request in [
        &["SET", "k", &large][..],
        &["INV.RESERVE", "tee", &large],
        &["SET", "k", &large, "NOSUCH"],
        &["CLIENT", "MAINT_NOTIFICATIONS", &large],
    ] {
        assert_one_is_skipped(&mut conn, request);
    }
    assert_eq!(conn.call("STRLEN k"), Reply::Int(100_000));
}

#[test]
fn what_a_tenant_is_refused_or_told_by_the_sidecar_is_the_one_that_is_skipped() {
    let redis = Redis::start();
    let tenanted = Tenanted::start(&redis, TWO);
    let mut conn = tenanted.acme();
    for request in [
        &["FLUSHALL", "ASYNC"][..],
        &["SELECT", "1"],
        &["NOSUCH", "k"],
        &["HELLO", "x"],
        &["KEYS", "*"],
        &["DBSIZE", "x"],
        &["DBSIZE"],
        &["RANDOMKEY"],
        &["AUTH", "acme", "acme-secret"],
        &["AUTH", "acme", "wrong"],
        &["SET", "k", "v"],
        &["INV.STOCK", "tee"],
        &["INV.RESERVE", "tee", "0"],
        &["PING", "x"],
    ] {
        assert_one_is_skipped(&mut conn, request);
    }
}
