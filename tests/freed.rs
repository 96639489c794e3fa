//! What a changed configuration leaves behind is given back, once nothing of it is under way.

mod common;

use common::tenants::{Tenanted, text};
use common::{Conn, Redis, Reply, account, figure, until, words};
use std::time::Duration;

/// Links that nobody uses are kept for ten seconds; a busy machine takes its time too.
const PATIENT: Duration = Duration::from_secs(60);
const ROUNDS: usize = 12;

/// Acme, whose upstream user has another password each time, and a guest who was not there before.
fn configuration(round: usize) -> String {
    format!(
        "[[tenants]]\nname = \"acme\"\npassword = \"a\"\nupstream_user = \"up\"\nupstream_password = \"p{round}\"\n\
         [[tenants]]\nname = \"guest{round}\"\npassword = \"g\"\n"
    )
}

fn with_user() -> Redis {
    let redis = Redis::start();
    let passwords: String = (0..=ROUNDS).map(|round| format!(" >p{round}")).collect();
    redis.conn().call(&format!("ACL SETUSER up on{passwords} ~* &* +@all")).expect_ok();
    redis
}

/// Upstream connections of acme's user.
fn connections(redis: &Redis) -> usize {
    redis.conn().call("CLIENT LIST").text().lines().filter(|line| line.contains(" user=up ")).count()
}

fn works(conn: &mut Conn) {
    for line in ["SET k v", "INV.SETSTOCK tee 5"] {
        conn.call(line).expect_ok();
    }
}

fn round(tenants: &Tenanted, round: usize) {
    works(&mut tenants.conn_as("acme", "a"));
    works(&mut tenants.conn_as(&format!("guest{round}"), "g"));
}

#[test]
fn connections_descriptors_and_series_of_configurations_before_are_given_back() {
    let redis = with_user();
    let tenants = Tenanted::start(&redis, &configuration(0));
    let descriptors =
        || std::fs::read_dir(format!("/proc/{}/fd", tenants.sidecar.pid())).expect("the descriptors").count();
    round(&tenants, 0);
    let (first, first_open) = (connections(&redis), descriptors());
    let series = |text: &str| text.lines().filter(|line| !line.starts_with('#')).count();
    let first_series = series(&tenants.sidecar.http("/metrics").1);
    for at in 1..=ROUNDS {
        tenants.becomes(&configuration(at), "ok");
        round(&tenants, at);
    }
    // Batches' at once, but for those that are being made; links' and pinned ones' when they have been idle for a while.
    until("connections of before are closed", PATIENT, || (connections(&redis) <= first + 2).then_some(()));
    until("and their descriptors", PATIENT, || (descriptors() <= first_open + 4).then_some(()));
    let pooled = figure(&tenants.sidecar, "inventory_sentinel_upstream_connections{kind=\"pool\"}");
    assert!(pooled <= 4.0, "two of the sidecar's own, and two of acme's: {pooled}");
    let (_, metrics) = tenants.sidecar.http("/metrics");
    assert!(!metrics.contains("guest0\"") && metrics.contains(&format!("guest{ROUNDS}\"")), "{metrics}");
    assert!(series(&metrics) <= first_series + 2, "{first_series} series became {}", series(&metrics));
    works(&mut tenants.conn_as("acme", "a"));
}

#[test]
fn what_waits_for_a_connection_of_before_is_done_and_told() {
    let redis = with_user();
    let settings = ["upstream.pool_size=1", "inventory.operation_deadline_ms=60000"];
    let tenants = Tenanted::start_with(&redis, &configuration(0), &settings, |_| {});
    let mut setting = tenants.conn_as("acme", "a");
    setting.call("INV.SETSTOCK tee 1").expect_ok();
    let mut conns: Vec<Conn> = (0..5).map(|_| tenants.conn_as("acme", "a")).collect();
    redis.stop();
    let batches = || figure(&tenants.sidecar, "inventory_sentinel_batch_operations_count");
    let queued = || figure(&tenants.sidecar, "inventory_sentinel_queue_operations");
    let before = batches();
    let mut ask = |at: usize| conns[at].send_args(&words(&format!("INV.ADDSTOCK tee 1 ID add-{at}")));
    ask(0);
    // It, or the reaper's, has the only connection; the others wait for that.
    until("a batch is on its way", PATIENT, || (batches() > before || queued() > 0.0).then_some(()));
    (1..5).for_each(&mut ask);
    until("they wait", PATIENT, || (queued() >= 4.0).then_some(()));
    tenants.becomes(&configuration(1), "ok");
    redis.cont();
    let mut told: Vec<i64> = conns.iter_mut().map(|conn| conn.reply().int()).collect();
    told.sort_unstable();
    assert_eq!(told, [2, 3, 4, 5, 6]);
    conns.iter_mut().for_each(Conn::expect_close);
    let mut acme = tenants.conn_as("acme", "a");
    assert_eq!(account::stock(&mut acme, "tee").available, 6);
    // What was done is known to be done.
    assert!(text(&mut acme, &["INV.ADDSTOCK", "tee", "1", "ID", "add-3"]).starts_with(':'));
    assert_eq!(account::stock(&mut acme, "tee").available, 6);
    until("connections of before are closed", PATIENT, || {
        let pooled = figure(&tenants.sidecar, "inventory_sentinel_upstream_connections{kind=\"pool\"}");
        (pooled <= 2.0).then_some(())
    });
    assert_eq!(redis.conn().call("EXISTS inv1:{acme/0}:stock"), Reply::Int(1));
}
