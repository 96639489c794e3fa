//! Two namespaces of one upstream are strangers, also where their SKUs and IDs are spelt alike.

mod common;

use common::{Redis, Reply, SOON, Sidecar, stock, until};

fn pair(redis: &Redis) -> (Sidecar, Sidecar) {
    (
        Sidecar::start(&redis.url(), &["inventory.namespace=acme"]),
        Sidecar::start(&redis.url(), &["inventory.namespace=bolt"]),
    )
}

#[test]
fn the_same_sku_in_two_namespaces_has_two_stocks() {
    let redis = Redis::start();
    let (acme, bolt) = pair(&redis);
    let (mut acme, mut bolt) = (acme.conn(), bolt.conn());
    acme.call("INV.SETSTOCK tee 5").expect_ok();
    assert!(bolt.call("INV.STOCK tee").is_nil());
    bolt.call("INV.RESERVE tee 1").expect_error("UNKNOWNSKU");
    bolt.call("INV.SETSTOCK tee 2").expect_ok();
    let id = acme.call("INV.RESERVE tee 5").text();
    acme.call(&format!("INV.COMMIT {id}")).expect_ok();
    assert_eq!(stock(&mut bolt, "tee").available, 2);
    bolt.call("INV.RESERVE tee 2").text();
    assert_eq!((stock(&mut acme, "tee").committed, stock(&mut bolt, "tee").reserved), (5, 2));
}

#[test]
fn another_namespaces_id_is_byte_for_byte_one_that_never_was() {
    let redis = Redis::start();
    let (acme, bolt) = pair(&redis);
    let (mut acme, mut bolt) = (acme.conn(), bolt.conn());
    for conn in [&mut acme, &mut bolt] {
        conn.call("INV.SETSTOCK tee 9").expect_ok();
    }
    let minted = acme.call("INV.RESERVE tee 1").text();
    let own = acme.call("INV.RESERVE tee 1 ID order-17").text();
    for id in [&minted, &own] {
        for command in ["INV.COMMIT", "INV.ROLLBACK"] {
            bolt.send_args(&[command, id]);
            let theirs = bolt.raw();
            assert!(theirs.starts_with(b"-NOTFOUND "), "{}", common::show(&theirs));
            bolt.send_args(&[command, "0-never"]);
            let never = String::from_utf8(bolt.raw()).expect("text");
            assert_eq!(String::from_utf8(theirs).expect("text").replace(id.as_str(), "0-never"), never);
        }
        bolt.call(&format!("INV.EXTEND {id} EX 5")).expect_error("NOTFOUND");
        assert!(bolt.call(&format!("INV.GET {id}")).is_nil());
        assert_eq!(acme.call(&format!("INV.GET {id}")).field("state"), Reply::bulk("open"));
    }
    assert_eq!(stock(&mut bolt, "tee").available, 9);
    assert_eq!(stock(&mut acme, "tee").reserved, 2);
}

#[test]
fn the_same_client_id_and_operation_id_mean_two_things_in_two_namespaces() {
    let redis = Redis::start();
    let (acme, bolt) = pair(&redis);
    let (mut acme, mut bolt) = (acme.conn(), bolt.conn());
    for (conn, delta) in [(&mut acme, 3), (&mut bolt, 4)] {
        assert_eq!(conn.call(&format!("INV.ADDSTOCK tee {delta} ID delivery-1")), Reply::Int(delta));
    }
    assert_eq!(acme.call("INV.RESERVE tee 3 ID order-1"), bolt.call("INV.RESERVE tee 4 ID order-1"));
    acme.call("INV.COMMIT 0-order-1").expect_ok();
    assert_eq!(bolt.call("INV.GET 0-order-1").field("state"), Reply::bulk("open"));
}

#[test]
fn protection_and_reaping_stay_within_a_namespace() {
    let redis = Redis::start();
    let (acme, bolt) = pair(&redis);
    let (mut acme, mut bolt) = (acme.conn(), bolt.conn());
    assert_eq!(acme.call("INV.PROTECT tee"), Reply::Int(1));
    assert_eq!(acme.call("INV.ISPROTECTED tee"), Reply::Int(1));
    assert_eq!(bolt.call("INV.ISPROTECTED tee"), Reply::Int(0));
    assert_eq!(bolt.call("INV.UNPROTECT tee"), Reply::Int(0));
    assert_eq!(redis.conn().call("SISMEMBER inv1:{acme/0}:protected tee"), Reply::Int(1));
}

#[test]
fn two_sidecars_of_one_namespace_are_one_inventory() {
    let redis = Redis::start();
    let one = Sidecar::start(&redis.url(), &["inventory.namespace=acme"]);
    let two = Sidecar::start(&redis.url(), &["inventory.namespace=acme"]);
    one.conn().call("INV.SETSTOCK tee 1").expect_ok();
    let id = one.conn().call("INV.RESERVE tee 1 ID order-1").text();
    assert_eq!(two.conn().call("INV.RESERVE tee 1 ID order-1"), Reply::bulk(&id));
    two.conn().call(&format!("INV.COMMIT {id}")).expect_ok();
    one.conn().call(&format!("INV.COMMIT {id}")).expect_error("ALREADYCOMMITTED");
}

#[test]
fn protection_is_told_right_after_the_upstream_lost_its_data() {
    let redis = Redis::start();
    let (one, other) = (Sidecar::start(&redis.url(), &[]), Sidecar::start(&redis.url(), &[]));
    let (mut one, mut other) = (one.conn(), other.conn());
    for sku in ["x", "y"] {
        assert_eq!(one.call(&format!("INV.PROTECT {sku}")), Reply::Int(1));
        until("the other sidecar knows", SOON, || {
            (other.call(&format!("INV.ISPROTECTED {sku}")).int() == 1).then_some(())
        });
    }
    redis.conn().call("FLUSHALL").expect_ok();
    // As many changes as there were before, so that a bare count of them would be the same.
    for sku in ["a", "b"] {
        assert_eq!(other.call(&format!("INV.PROTECT {sku}")), Reply::Int(1));
    }
    until("the first sidecar has forgotten and learnt", SOON, || {
        (one.call("INV.ISPROTECTED x y a b") == Reply::Array([0, 0, 1, 1].map(Reply::Int).to_vec())).then_some(())
    });
}

#[test]
fn a_sidecar_that_nobody_asks_for_an_inventory_leaves_nothing_upstream() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &["inventory.cells=4"]);
    let mut conn = sidecar.conn();
    conn.call("INV.STOCK tee");
    conn.call("INV.RESERVE tee 1").expect_error("UNKNOWNSKU");
    assert_eq!(conn.call("DBSIZE"), Reply::Int(0));
    conn.call("INV.SETSTOCK tee 1").expect_ok();
    assert_eq!(redis.conn().call("HGET inv1:{default/0}:meta cells"), Reply::bulk("4"));
    // Also after all was taken away.
    conn.call("FLUSHALL").expect_ok();
    conn.call("INV.ADDSTOCK tee 1").int();
    assert_eq!(redis.conn().call("HGET inv1:{default/0}:meta cells"), Reply::bulk("4"));
}
