//! Nobody waits behind a whole pipeline of another client's: at most behind so much of it as one client may have under way; and no
//! tenant behind more than a few requests of another's.

mod common;

use common::tenants::{TWO, Tenanted, two};
use common::{Conn, Redis, SOON, Sidecar, figure, resp, until, words};

const OTHERS: usize = 199;
const PIPELINE: usize = 2000;
/// `inventory.client_ops_max`.
const OPS_MAX: usize = 256;
/// Requests of a tenant under way at once, where others ask too.
const WINDOW: usize = 64;

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
    deep.send(&resp::encode(&words("INV.ADDSTOCK sku 1")).repeat(PIPELINE));
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

/// Requests of this tenant's that went upstream, or wait there.
fn handed_over(tenants: &Tenanted, tenant: &str) -> usize {
    let (_, metrics) = tenants.sidecar.http("/metrics");
    let count = |route| {
        let name = format!("inventory_sentinel_tenant_requests_total{{tenant=\"{tenant}\",route=\"{route}\"}} ");
        let count = metrics.lines().find_map(|line| line.strip_prefix(&name));
        count.map_or(0, |count| count.parse::<usize>().expect("a count"))
    };
    count("link") + count("pinned")
}

#[test]
fn of_a_tenants_flood_a_window_is_under_way_while_others_ask_too() {
    // In runs; one by one; each on a connection of its client's own, and those whose reply is told otherwise there.
    let ways = [
        ("PING", "INCR n#"),
        ("PING", "OBJECT FREQ n#"),
        ("CLIENT TRACKING ON", "INCR n#"),
        ("CLIENT TRACKING ON", "CLIENT GETNAME"),
    ];
    for (before, request) in ways {
        let redis = Redis::start();
        let tenants = Tenanted::start(&redis, TWO);
        let mut flood: Vec<Conn> = (0..20).map(|_| tenants.conn3_as("acme", "acme-secret")).collect();
        flood.iter_mut().for_each(|conn| drop(conn.call(before)));
        let mut rival = tenants.rival();
        rival.call("SET k v").expect_ok();
        let already = handed_over(&tenants, "acme");

        redis.stop();
        for (client, conn) in flood.iter_mut().enumerate() {
            conn.send(&resp::encode(&words(&request.replace('#', &client.to_string()))).repeat(200));
        }
        let now = || handed_over(&tenants, "acme") - already;
        until("as much is handed over as may be", SOON, || (now() >= WINDOW).then_some(()));
        // The worker has had many rounds; of the rival's own nothing is kept back.
        (0..100).for_each(|_| drop(rival.call("INV.HELP")));
        rival.send(&resp::encode(&words("GET k")).repeat(WINDOW));
        until("the rival's are handed over", SOON, || (handed_over(&tenants, "rival") == 1 + WINDOW).then_some(()));
        assert_eq!(now(), WINDOW, "{before}, {request}");
        redis.cont();

        for conn in &mut flood {
            for number in 1..=200 {
                let reply = conn.reply();
                if request.starts_with("INCR") {
                    assert_eq!(reply.int(), number);
                }
            }
        }
        assert_eq!(now(), 20 * 200);
    }
}

#[test]
fn of_a_tenants_inventory_too_a_window_is_under_way_while_others_ask() {
    for several in [true, false] {
        let redis = Redis::start();
        let tenants = Tenanted::start(&redis, TWO);
        let mut flood: Vec<Conn> = (0..20).map(|_| tenants.acme()).collect();
        flood[0].call("INV.SETSTOCK sku 0").expect_ok();
        let (mut rival, mut other) = (tenants.rival(), tenants.rival());
        if several {
            rival.call("INV.SETSTOCK sku 100").expect_ok();
            drop(flood[0].call("PING"));
        }
        let before = taken(&tenants.sidecar);
        redis.stop();
        flood.iter_mut().for_each(|conn| conn.send(&resp::encode(&words("INV.ADDSTOCK sku 1")).repeat(WINDOW)));
        until("all are taken", SOON, || (taken(&tenants.sidecar) == before + 20 * WINDOW).then_some(()));
        let waiting = || figure(&tenants.sidecar, "inventory_sentinel_queue_operations ") as usize;
        if several {
            until("a window is under way", SOON, || (waiting() <= 19 * WINDOW).then_some(()));
            // It goes past those of the flood, with a batch of its own.
            rival.send_args(&words("INV.RESERVE sku 1 ID order"));
            until("the rival's is taken", SOON, || (taken(&tenants.sidecar) == before + 20 * WINDOW + 1).then_some(()));
            (0..100).for_each(|_| drop(other.call("INV.HELP")));
            until("it is on its way, and no more of the flood's", SOON, || (waiting() == 19 * WINDOW).then_some(()));
        } else {
            until("more than a window is under way", SOON, || (waiting() < 19 * WINDOW).then_some(()));
        }
        redis.cont();
        let mut counts: Vec<i64> =
            flood.iter_mut().flat_map(|conn| (0..WINDOW).map(|_| conn.reply().int()).collect::<Vec<_>>()).collect();
        counts.sort_unstable();
        assert!(counts.into_iter().eq(1..=20 * WINDOW as i64));
        if several {
            assert_eq!(rival.reply().text(), "0-order");
        }
    }
}

#[test]
fn a_tenants_window_is_the_configured_one() {
    let redis = Redis::start();
    let tenants = Tenanted::start(&redis, &two("window = 20"));
    let (mut flood, mut other) = (tenants.acme(), tenants.rival());
    flood.call("INV.SETSTOCK sku 0").expect_ok();
    other.call("SET k v").expect_ok();
    let already = handed_over(&tenants, "acme");
    redis.stop();
    let mut reserving = tenants.acme();
    reserving.send(&resp::encode(&words("INV.ADDSTOCK sku 1")).repeat(100));
    flood.send(&resp::encode(&words("INCR n")).repeat(100));
    let now = || handed_over(&tenants, "acme") - already;
    let waiting = || figure(&tenants.sidecar, "inventory_sentinel_queue_operations ") as usize;
    until("as much is handed over as may be", SOON, || (now() >= 20 && waiting() >= 80).then_some(()));
    (0..100).for_each(|_| drop(other.call("INV.HELP")));
    assert_eq!((now(), waiting()), (20, 80));
    redis.cont();
    assert_eq!((0..100).map(|_| flood.reply().int()).last(), Some(100));
    assert_eq!((0..100).map(|_| reserving.reply().int()).last(), Some(100));
}

#[test]
fn a_tenant_alone_has_all_of_the_upstream() {
    let redis = Redis::start();
    let tenants = Tenanted::start(&redis, TWO);
    let mut conn = tenants.acme();
    conn.call("SET k v").expect_ok();
    drop(tenants.acme().call("GET k"));
    let already = handed_over(&tenants, "acme");
    redis.stop();
    conn.send(&resp::encode(&words("INCR n")).repeat(PIPELINE));
    let now = || handed_over(&tenants, "acme") - already;
    until("more than a window is handed over", SOON, || (now() > WINDOW).then_some(()));
    redis.cont();
    assert_eq!((0..PIPELINE).map(|_| conn.reply().int()).last(), Some(PIPELINE as i64));
}

#[test]
fn clients_that_wait_for_elements_keep_no_other_of_their_tenants_out() {
    let redis = Redis::start();
    let tenants = Tenanted::start(&redis, TWO);
    tenants.rival().call("SET k v").expect_ok();
    let mut waiting: Vec<Conn> = (0..2 * WINDOW).map(|_| tenants.acme()).collect();
    waiting.iter_mut().for_each(|conn| conn.send_args(&["BLPOP", "q", "0"]));
    let mut conn = tenants.acme();
    let blocked = || redis.conn().call("INFO clients").text().contains(&format!("blocked_clients:{}", 2 * WINDOW));
    until("all of them wait", SOON, || blocked().then_some(()));
    tenants.rival().call("SET k v").expect_ok();
    conn.call("SET k v").expect_ok();
    for _ in 0..2 * WINDOW {
        conn.call("RPUSH q element").int();
    }
    waiting.iter_mut().for_each(|conn| assert!(!conn.reply().is_nil()));
}

#[test]
fn clients_of_a_tenant_take_turns_within_its_window() {
    let redis = Redis::start();
    let tenants = Tenanted::start_with(&redis, TWO, &["upstream.links=1"], |_| {});
    let mut deep = tenants.acme();
    let mut others: Vec<Conn> = (0..OTHERS).map(|_| tenants.acme()).collect();
    others[0].call("SET n 0").expect_ok();
    tenants.rival().call("SET k v").expect_ok();
    let read = || figure(&tenants.sidecar, "inventory_sentinel_bytes_total{direction=\"client_in\"} ") as usize;
    let (before, request) = (read(), resp::encode(&words("INCR n")));
    redis.stop();
    deep.send(&request.repeat(PIPELINE));
    until("the pipeline is read", SOON, || (read() == before + PIPELINE * request.len()).then_some(()));
    others.iter_mut().for_each(|conn| conn.send(&request));
    until("so is what the others ask", SOON, || (read() == before + (PIPELINE + OTHERS) * request.len()).then_some(()));
    redis.cont();
    let places: Vec<i64> = others.iter_mut().map(|conn| conn.reply().int()).collect();
    let latest = places.into_iter().max().unwrap_or_default();
    // Between theirs a turn of the deep one's each time that it comes to the front.
    assert!(latest < (2 * WINDOW + 2 * OTHERS) as i64, "a client with one request was the {latest}th to be served");
    let last = (0..PIPELINE).map(|_| deep.reply().int()).last();
    assert_eq!(last, Some((PIPELINE + OTHERS) as i64));
}
