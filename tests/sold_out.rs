//! `inventory.sold_out_cache_ms`: a refusal for lack of stock answers for those that come right behind it.

mod common;

use common::{Redis, Reply, Sidecar};
use std::collections::HashSet;

/// The id of a reservation that was made.
#[track_caller]
fn id(reply: &Reply) -> String {
    assert!(matches!(reply, Reply::Bulk(_)), "{reply:?}");
    reply.text()
}

#[test]
fn a_refusal_answers_for_as_many_or_more_until_this_sidecar_gives_stock_back() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &["inventory.sold_out_cache_ms=60000"]);
    let (mut one, mut two) = (sidecar.conn(), sidecar.conn());
    one.call("INV.SETSTOCK tee 5").expect_ok();
    let held = id(&one.call("INV.RESERVE tee 4 EX 300"));
    one.call("INV.RESERVE tee 3").expect_error("INSUFFICIENTSTOCK");
    // It is known without the upstream, of this SKU alone, and not for fewer than were refused.
    redis.stop();
    for _ in 0..3 {
        let refusal = two.call("INV.RESERVE tee 2");
        let Reply::Error(line) = &refusal else { panic!("{refusal:?}") };
        assert!(line.starts_with("INSUFFICIENTSTOCK") && line.contains("requested=2 available=1 retry_ms="), "{line}");
    }
    redis.cont();
    id(&two.call("INV.RESERVE tee 1"));
    two.call("INV.RESERVE mug 1").expect_error("UNKNOWNSKU");
    one.call(&format!("INV.ROLLBACK {held}")).expect_ok();
    id(&two.call("INV.RESERVE tee 4"));
    two.call("INV.RESERVE tee 1").expect_error("INSUFFICIENTSTOCK");
    one.call("INV.ADDSTOCK tee 1").int();
    // So it is with an ID of the client's own.
    let own = id(&two.call("INV.RESERVE tee 1 ID order"));
    two.call("INV.RESERVE tee 1").expect_error("INSUFFICIENTSTOCK");
    one.call(&format!("INV.ROLLBACK {own}")).expect_ok();
    id(&two.call("INV.RESERVE tee 1"));
}

#[test]
fn behind_an_operation_of_its_own_a_client_sees_what_that_one_did() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &["inventory.sold_out_cache_ms=60000"]);
    let mut conn = sidecar.conn();
    conn.call("INV.SETSTOCK tee 1").expect_ok();
    let mut id = conn.call("INV.RESERVE tee 1").text();
    for _ in 0..20 {
        conn.call("INV.RESERVE tee 1").expect_error("INSUFFICIENTSTOCK");
        let replies =
            conn.pipeline(&[common::words(&format!("INV.ROLLBACK {id}")), common::words("INV.RESERVE tee 1")]);
        replies[0].expect_ok();
        id = replies[1].text();
    }
}

#[test]
fn without_it_every_refusal_is_the_upstreams() {
    let redis = Redis::start();
    let (one, two) = (Sidecar::start(&redis.url(), &[]), Sidecar::start(&redis.url(), &[]));
    let (mut one, mut two) = (one.conn(), two.conn());
    one.call("INV.SETSTOCK tee 1").expect_ok();
    for _ in 0..20 {
        let id = one.call("INV.RESERVE tee 1").text();
        two.call("INV.RESERVE tee 1").expect_error("INSUFFICIENTSTOCK");
        one.call(&format!("INV.ROLLBACK {id}")).expect_ok();
        let id = two.call("INV.RESERVE tee 1").text();
        two.call(&format!("INV.ROLLBACK {id}")).expect_ok();
    }
}

/// So many of the same words, as one pipeline.
fn times(count: usize, line: &str) -> Vec<Vec<Vec<u8>>> {
    vec![common::words(line); count]
}

#[test]
fn the_same_words_again_are_a_request_each_and_answered_in_their_turn() {
    for settings in
        [&["inventory.client_ops_max=7"][..], &["inventory.sold_out_cache_ms=60000"], &["session.pipeline_max=5"]]
    {
        let redis = Redis::start();
        let sidecar = Sidecar::start(&redis.url(), settings);
        let mut conn = sidecar.conn();
        conn.call("INV.SETSTOCK tee 50").expect_ok();
        let reserve = "INV.RESERVE tee 1 EX 300";
        let pipeline = [times(20, reserve), times(1, "ECHO a"), times(200, reserve), times(1, "ECHO b")].concat();
        let mut replies = conn.pipeline(&pipeline);
        assert_eq!((replies.remove(221), replies.remove(20)), (Reply::bulk("b"), Reply::bulk("a")));
        let (made, refused) = replies.split_at(50);
        let ids: HashSet<String> = made.iter().map(Reply::text).collect();
        assert_eq!(ids.len(), 50);
        refused.iter().for_each(|reply| reply.expect_error("INSUFFICIENTSTOCK"));
        // Also where nothing of the client's is in flight before the first of them.
        for reply in conn.pipeline(&times(100, reserve)) {
            assert_eq!((reply.error_word(), reply.error_field("requested")), ("INSUFFICIENTSTOCK", Some(1)));
        }
        let skipped = [times(1, "CLIENT REPLY SKIP"), times(3, reserve), times(1, "ECHO c")].concat();
        conn.send(&skipped.iter().flat_map(|request| common::resp::encode(request)).collect::<Vec<u8>>());
        (0..2).for_each(|_| conn.reply().expect_error("INSUFFICIENTSTOCK"));
        assert_eq!(conn.reply(), Reply::bulk("c"));
        // What gives stock back between them counts for those behind it.
        let id = made[0].text();
        let rollback = format!("INV.ROLLBACK {id}");
        let replies = conn.pipeline(&[times(9, reserve), times(1, &rollback), times(9, reserve)].concat());
        replies[9].expect_ok();
        assert!(!ids.contains(&replies[10].text()));
        let refused = replies[..9].iter().chain(&replies[11..]);
        refused.for_each(|reply| reply.expect_error("INSUFFICIENTSTOCK"));
        let ended = |status: &str| {
            let labels = format!("{{namespace=\"default\",operation=\"reserve\",status=\"{status}\"}} ");
            common::figure(&sidecar, &format!("inventory_sentinel_reserve_total{labels}"))
        };
        assert_eq!((ended("ok"), ended("insufficient_stock")), (51.0, 170.0 + 100.0 + 3.0 + 17.0));
    }
}
