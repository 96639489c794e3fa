//! What a tenant costs that nobody is: memory.

mod common;

use common::tenants::Tenanted;
use common::{Redis, SOON, until};

const TENANTS: u64 = 1000;
/// Of memory, for one tenant.
const BYTES_MAX: u64 = 20_000;

fn config(tenants: u64) -> String {
    (0..tenants).map(|n| format!("[[tenants]]\nname = \"t{n}\"\npassword = \"p{n}\"\n")).collect()
}

/// What it holds once each tenant's inventory was looked after some times.
fn resident_bytes(redis: &Redis, tenants: u64) -> u64 {
    let sidecar = Tenanted::start(redis, &config(tenants)).sidecar;
    let calls = || {
        let stats = redis.conn().call("INFO commandstats").text();
        let of = |line: &str| line.strip_prefix("cmdstat_evalsha:calls=")?.split(',').next()?.parse::<u64>().ok();
        stats.lines().find_map(of).unwrap_or(0)
    };
    let before = calls();
    until("a few rounds of all of them", SOON * 4, || (calls() >= before + tenants * 4).then_some(()));
    sidecar.resident_kib() * 1024
}

#[test]
fn a_thousand_tenants_take_little_memory_each() {
    let redis = Redis::start();
    let (few, many) = (resident_bytes(&redis, 1), resident_bytes(&redis, TENANTS + 1));
    let each = many.saturating_sub(few) / TENANTS;
    assert!(each < BYTES_MAX, "{each} bytes for each of {TENANTS} tenants");
}
