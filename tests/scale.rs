//! What a tenant costs that nobody is: memory, and the upstream's time; and that it is not forgotten.

mod common;

use common::tenants::Tenanted;
use common::{Redis, SOON, until};

const TENANTS: u64 = 1000;
/// Of memory, for one tenant.
const BYTES_MAX: u64 = 20_000;

fn config(tenants: u64) -> String {
    (0..tenants).map(|n| format!("[[tenants]]\nname = \"t{n}\"\npassword = \"p{n}\"\n")).collect()
}

/// Commands of this name that the upstream has executed, those inside scripts too.
fn calls(redis: &Redis, command: &str) -> u64 {
    let stats = redis.conn().call("INFO commandstats").text();
    let of = |line: &str| line.strip_prefix(&format!("cmdstat_{command}:calls="))?.split(',').next()?.parse().ok();
    stats.lines().find_map(of).unwrap_or(0)
}

/// Until each tenant's inventory was looked after some times: that takes two looks.
fn rounds(redis: &Redis, tenants: u64) {
    let before = calls(redis, "zrangebyscore");
    let looked = || calls(redis, "zrangebyscore") >= before + tenants * 8;
    until("a few rounds of all of them", SOON * 4, || looked().then_some(()));
}

/// What it holds once each tenant's inventory was looked after some times.
fn resident_bytes(redis: &Redis, tenants: u64) -> u64 {
    let sidecar = Tenanted::start(redis, &config(tenants)).sidecar;
    rounds(redis, tenants);
    sidecar.resident_kib() * 1024
}

#[test]
fn a_thousand_tenants_take_little_memory_each() {
    let redis = Redis::start();
    let (few, many) = (resident_bytes(&redis, 1), resident_bytes(&redis, TENANTS + 1));
    let each = many.saturating_sub(few) / TENANTS;
    assert!(each < BYTES_MAX, "{each} bytes for each of {TENANTS} tenants");
}

#[test]
fn a_tenant_of_a_thousand_costs_no_script_while_nothing_is_overdue_and_is_reaped_when_it_is() {
    let redis = Redis::start();
    let tenanted = Tenanted::start(&redis, &config(TENANTS));
    rounds(&redis, TENANTS);
    // Where a look takes too long, as it may on a busy machine, the script is asked of those that were not looked at.
    let costs_none = (0..5).any(|_| {
        let before = calls(&redis, "evalsha");
        rounds(&redis, TENANTS);
        calls(&redis, "evalsha") - before < TENANTS / 10
    });
    assert!(costs_none, "each time the script is asked of one in ten at the least");

    // One of the last to have its turn, whatever their order.
    let mut conns = [3, 500, 997].map(|n| (n, tenanted.conn_as(&format!("t{n}"), &format!("p{n}"))));
    for (_, conn) in &mut conns {
        conn.call("INV.SETSTOCK tee 1").expect_ok();
        conn.call("INV.RESERVE tee 1 PX 20").text();
    }
    for (n, _) in &conns {
        let mut upstream = redis.conn();
        let open = format!("ZCARD inv1:{{t{n}/0}}:open");
        until("what is overdue is given back", SOON, || (upstream.call(&open).int() == 0).then_some(()));
    }
}

#[test]
fn one_tenant_that_cannot_be_served_does_not_take_the_sidecar_out_of_service() {
    let redis = Redis::start();
    // Begun with other cells than it is said to have.
    redis.conn().call("HSET inv1:{t0/0}:meta cells 7").int();
    let settings = ["inventory.reap_interval_ms=10"];
    let sidecar = Tenanted::start_with(&redis, &config(2), &settings, |_| {}).sidecar;
    let mut refused = sidecar.conn();
    refused.call("AUTH t0 p0").expect_ok();
    refused.call("INV.STOCK tee").expect_error("UNAVAILABLE");
    for _ in 0..10 {
        rounds(&redis, 2);
        assert_eq!(sidecar.http("/readyz").0, 200);
    }
}
