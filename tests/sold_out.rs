//! `inventory.sold_out_cache_ms`: a refusal for lack of stock answers for those that come right behind it.

mod common;

use common::{Redis, Reply, Sidecar};

#[test]
fn a_refusal_answers_for_as_many_or_more_until_this_sidecar_gives_stock_back() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &["inventory.sold_out_cache_ms=60000"]);
    let (mut one, mut two) = (sidecar.conn(), sidecar.conn());
    one.call("INV.SETSTOCK tee 5").expect_ok();
    let id = one.call("INV.RESERVE tee 4 EX 300").text();
    one.call("INV.RESERVE tee 3").expect_error("INSUFFICIENTSTOCK");
    // It is known without the upstream, of this SKU alone, and not for fewer than were refused.
    redis.stop();
    for _ in 0..3 {
        let refusal = two.call("INV.RESERVE tee 2");
        let Reply::Error(line) = &refusal else { panic!("{refusal:?}") };
        assert!(line.starts_with("INSUFFICIENTSTOCK") && line.contains("requested=2 available=1 retry_ms="), "{line}");
    }
    redis.cont();
    two.call("INV.RESERVE tee 1").text();
    two.call("INV.RESERVE mug 1").expect_error("UNKNOWNSKU");
    one.call(&format!("INV.ROLLBACK {id}")).expect_ok();
    two.call("INV.RESERVE tee 4").text();
    two.call("INV.RESERVE tee 1").expect_error("INSUFFICIENTSTOCK");
    one.call("INV.ADDSTOCK tee 1").int();
    two.call("INV.RESERVE tee 1").text();
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
