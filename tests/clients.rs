//! Real clients, unmodified: they live the life cycle of the specification through the sidecar, and a thousand of them share
//! its connections.
//!
//! `tests/clients/setup.sh` installs them at pinned versions; `make test` runs it first.

mod common;

use common::script::{Language, PATIENCE, Script};
use common::{Redis, SOON, Sidecar, figure, raise_file_limit, until, upstream_connections};

#[track_caller]
fn lives_through(language: &Language, script: &str) {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    Script::start(language, script, &sidecar.listen, &[]).succeeds();
}

#[test]
fn redis_py_lives_the_life_cycle_over_resp2_and_resp3() {
    lives_through(&Language::Python, "life_cycle.py");
}

#[test]
fn ioredis_lives_the_life_cycle() {
    lives_through(&Language::Node, "life_cycle_ioredis.mjs");
}

#[test]
fn node_redis_lives_the_life_cycle_over_resp2_and_resp3() {
    lives_through(&Language::Node, "life_cycle_node_redis.mjs");
}

/// A thousand clients of the script's five kinds, counted upstream while all are connected.
#[track_caller]
fn a_thousand_share(language: &Language, script: &str) {
    const LINKS: usize = 2;
    const POOL: usize = 2;
    raise_file_limit();
    let redis = Redis::start();
    redis.conn().call("ACL SETUSER app on >secret ~* &* +@all").expect_ok();
    let settings = [format!("upstream.links={LINKS}"), format!("upstream.pool_size={POOL}")];
    let sidecar = Sidecar::start(&redis.url(), &settings.each_ref().map(String::as_str));
    let mut script = Script::start(language, script, &sidecar.listen, &["1000"]);
    script.wait_ready();
    // (no one, 0, RESP2) (no one, 0, RESP3) (app, 0, RESP3) (app, 0, RESP2) (no one, 1, RESP2)
    let links = figure(&sidecar, "inventory_sentinel_upstream_connections{kind=\"link\"} ");
    assert!(links <= (5 * LINKS) as f64, "{links} links");
    // Besides, two that wait to be the own one of whoever needs one, and two on which AUTH was proved. Where more AUTHs came
    // at once, they had more; those go again when they are not needed for some seconds.
    let most = 5 * LINKS + POOL + 2 + 2;
    until(&format!("{most} connections for 1000 clients"), PATIENCE, || {
        (upstream_connections(&redis) <= most).then_some(())
    });
    assert_eq!(figure(&sidecar, "inventory_sentinel_pinned_clients "), 0.0);
    assert_eq!(figure(&sidecar, "inventory_sentinel_upstream_connections{kind=\"pinned\"} "), 0.0);
    for reason in ["transaction", "blocking", "subscription", "raw", "state", "unknown", "large", "always"] {
        let pins = figure(&sidecar, &format!("inventory_sentinel_pins_total{{reason=\"{reason}\"}} "));
        assert_eq!(pins, 0.0, "{reason}");
    }
    // Each is there for the others, as it is, and beside them the one that asks.
    assert_eq!(figure(&sidecar, "inventory_sentinel_clients "), 1000.0);
    let list = sidecar.conn().call("CLIENT LIST").text();
    let count = |words: &[&str]| list.lines().filter(|row| words.iter().all(|word| row.contains(word))).count();
    assert_eq!(count(&[]), 1001);
    assert_eq!((count(&[" user=app "]), count(&[" name=crowd "]), count(&[" db=1 "])), (400, 200, 200));
    script.goes_on();
    script.succeeds();
    until("all are gone", SOON, || (figure(&sidecar, "inventory_sentinel_clients ") == 0.0).then_some(()));
    assert!(upstream_connections(&redis) <= most);
}

#[test]
fn a_thousand_clients_of_redis_py_share_two_links_for_each_user_database_and_protocol() {
    a_thousand_share(&Language::Python, "crowd.py");
}

#[test]
fn a_thousand_clients_of_node_redis_share_two_links_for_each_user_database_and_protocol() {
    a_thousand_share(&Language::Node, "crowd_node_redis.mjs");
}
