//! Real applications that use much of Redis, unmodified, of two tenants at once under the same names: a queue with BullMQ, one
//! with Celery, a session store. Each says itself that all of its work was done once and none was the other's; here it is
//! looked at what they left upstream.
//!
//! `tests/clients/setup.sh` installs them at pinned versions; `make test` runs it first.

mod common;

use common::script::{Language, Script};
use common::tenant_users::Tenants;
use common::{Redis, Reply, Sidecar};

/// The program twice, once for each tenant.
fn start(language: &Language, script: &str, sidecar: &Sidecar, args: &[&str]) -> [Script; 2] {
    ["acme", "rival"].map(|tenant| {
        let secret = format!("{tenant}-secret");
        let args: Vec<&str> = [&[tenant, &secret], args].concat();
        Script::start(language, script, &sidecar.listen, &args)
    })
}

/// Both have come to this word.
#[track_caller]
fn wait_for(both: &mut [Script; 2], word: &str) {
    both.iter_mut().for_each(|one| one.wait_for(word));
}

fn go_on(both: &mut [Script; 2]) {
    both.iter_mut().for_each(Script::goes_on);
}

/// Each tenant has so many keys at the least, and there are no others.
#[track_caller]
fn assert_keys_are_the_tenants(tenants: &Tenants, least: usize) {
    let keys = tenants.keys();
    let of = |tenant: &str| keys.iter().filter(|key| key.starts_with(&format!("{tenant}:"))).count();
    let sentinel = keys.iter().filter(|key| key.starts_with("inv1:{")).count();
    let (acme, rival) = (of("acme"), of("rival"));
    assert!(acme >= least && rival >= least, "{acme}, {rival}: {keys:?}");
    assert_eq!(acme + rival + sentinel, keys.len(), "{keys:?}");
}

/// What the upstream's ACL refused: nothing, where the rewriting is right.
#[track_caller]
fn assert_the_second_wall_was_not_touched(tenants: &Tenants) {
    let log = tenants.redis.conn().call("ACL LOG");
    // 6.2 refuses a subcommand that it does not know, as libraries send CLIENT SETINFO, where others say that they do not know
    // it; and it alone notes no more of it than this.
    let touched: Vec<&Reply> = log.items().iter().filter(|entry| entry.field("object").text() != "client").collect();
    assert!(touched.is_empty(), "{touched:?}");
}

#[test]
fn bullmq_does_each_job_once_and_no_other_tenants_also_when_scripts_are_forgotten() {
    let tenants = Tenants::with_users(Redis::start(), "");
    let mut sidecar = tenants.sidecar("127.0.0.1:0");
    let mut both = start(&Language::Node, "bullmq_queue.mjs", &sidecar, &[]);
    wait_for(&mut both, "ready");
    go_on(&mut both);
    wait_for(&mut both, "half");
    assert_keys_are_the_tenants(&tenants, 100);
    // Neither the sidecar that comes now nor the upstream knows a script any more.
    let listen = sidecar.listen.clone();
    sidecar.kill9();
    tenants.redis.conn().call("SCRIPT FLUSH").expect_ok();
    let _sidecar = tenants.sidecar(&listen);
    go_on(&mut both);
    both.into_iter().for_each(Script::succeeds);
    assert_the_second_wall_was_not_touched(&tenants);
}

#[test]
fn celery_does_each_task_and_tells_workers_of_its_own_tenant_alone() {
    // What its workers are all told goes by patterns, and of a pattern Redis wants that it is literally the user's.
    let tenants = Tenants::with_users(Redis::start(), "&@:/0.celery.pidbox &@:/0.celeryev/worker.*");
    let sidecar = tenants.sidecar("127.0.0.1:0");
    let mut both = start(&Language::Python, "celery_shop.py", &sidecar, &[]);
    wait_for(&mut both, "ready");
    go_on(&mut both);
    wait_for(&mut both, "half");
    assert_keys_are_the_tenants(&tenants, 100);
    tenants.redis.conn().call("SCRIPT FLUSH").expect_ok();
    go_on(&mut both);
    both.into_iter().for_each(Script::succeeds);
    assert_the_second_wall_was_not_touched(&tenants);
}

/// Sessions need no script, so that the rewriting alone is enough.
#[test]
fn a_session_store_lists_touches_and_clears_its_own_tenants_sessions_alone() {
    for users in [false, true] {
        let tenants =
            if users { Tenants::with_users(Redis::start(), "") } else { Tenants::without_users(Redis::start()) };
        let sidecar = tenants.sidecar("127.0.0.1:0");
        for protocol in ["2", "3"] {
            let mut both = start(&Language::Node, "sessions.mjs", &sidecar, &[protocol]);
            wait_for(&mut both, "ready");
            assert_keys_are_the_tenants(&tenants, 40);
            go_on(&mut both);
            wait_for(&mut both, "ready again");
            let [mut acme, mut rival] = both;
            acme.goes_on();
            acme.succeeds();
            let keys = tenants.keys();
            assert!(keys.len() == 34 && keys.iter().all(|key| key.starts_with("rival:sess:")), "{keys:?}");
            rival.goes_on();
            rival.succeeds();
            assert_eq!(tenants.keys(), Vec::<String>::new());
        }
        assert_the_second_wall_was_not_touched(&tenants);
    }
}
