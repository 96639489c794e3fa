//! Nobody waits behind a whole pipeline of another client's: at most behind so much of it as one client may have under way.

mod common;

use common::{Conn, Redis, SOON, Sidecar, until, words};

const OTHERS: usize = 199;
const PIPELINE: usize = 2000;
/// `inventory.client_ops_max`.
const OPS_MAX: usize = 256;

/// How many requests of the inventory the sidecar has taken.
fn taken(sidecar: &Sidecar) -> usize {
    let (_, metrics) = sidecar.http("/metrics");
    let line =
        metrics.lines().find_map(|line| line.strip_prefix("inventory_sentinel_requests_total{route=\"inventory\"} "));
    line.map_or(0, |count| count.parse().expect("a count"))
}

#[test]
fn clients_with_one_request_each_are_served_before_another_clients_deep_pipeline_is() {
    let redis = Redis::start();
    let ops_max = format!("inventory.client_ops_max={OPS_MAX}");
    let settings = [&ops_max, "inventory.operation_deadline_ms=60000", "upstream.pool_size=1"];
    let sidecar = Sidecar::start(&redis.url(), &settings);
    let mut deep = sidecar.conn();
    deep.call("INV.SETSTOCK sku 0").expect_ok();
    let mut others: Vec<Conn> = (0..OTHERS).map(|_| sidecar.conn()).collect();

    // Nothing is answered until all have asked: what comes first is then no matter of time.
    redis.stop();
    let before = taken(&sidecar);
    // Each adds one, and so is told the how manieth it was.
    deep.send(&common::resp::encode(&words("INV.ADDSTOCK sku 1")).repeat(PIPELINE));
    until("of the pipeline all is taken that may be", SOON, || (taken(&sidecar) == before + OPS_MAX).then_some(()));
    others.iter_mut().for_each(|conn| conn.send_args(&words("INV.ADDSTOCK sku 1")));
    until("all others have asked", SOON, || (taken(&sidecar) == before + OPS_MAX + OTHERS).then_some(()));
    redis.cont();

    for conn in &mut others {
        let place = conn.reply().int();
        assert!(place <= (OPS_MAX + OTHERS) as i64, "one of {OTHERS} clients was the {place}th to be served");
    }
    let places: Vec<i64> = (0..PIPELINE).map(|_| deep.reply().int()).collect();
    assert!(places.is_sorted(), "a client's operations take effect in its order");
    assert_eq!(places.last(), Some(&((PIPELINE + OTHERS) as i64)));
}
