//! What a batch is made of when it goes out again: some of its operations are answered by then, and none of the others may
//! become another one, or change places with one of the same client's.

mod common;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::{Conn, Fault, FaultProxy, Redis, Reply, SOON, Sidecar, Stock, assert_account, figure, until, words};

/// One batch in flight, so that what comes beside it goes together next.
const ONE_AT_A_TIME: &str = "upstream.pool_size=1";

/// How many inventory requests the sidecar has read.
fn wait_read(sidecar: &Sidecar, count: f64) {
    until("the requests are read", SOON, || {
        (figure(sidecar, "inventory_sentinel_requests_total{route=\"inventory\"} ") >= count).then_some(())
    });
}

fn read(sidecar: &Sidecar) -> f64 {
    figure(sidecar, "inventory_sentinel_requests_total{route=\"inventory\"} ")
}

fn send(conn: &mut Conn, lines: &[&str]) {
    let requests: Vec<u8> = lines.iter().flat_map(|line| common::resp::encode(&words(line))).collect();
    conn.send(&requests);
}

#[test]
fn a_clients_operations_on_one_cell_keep_their_order_round_one_on_another_cell() {
    let redis = Redis::start();
    let proxy = FaultProxy::start(&redis.addr());
    let sidecar = Sidecar::start(&proxy.url(), &["inventory.cells=2", ONE_AT_A_TIME]);
    let (mut first, mut other, mut conn) = (sidecar.conn(), sidecar.conn(), sidecar.conn());
    // A SKU of each cell: the id says in which it is.
    let mut of_cell = |cell: &str| {
        (0..100).find_map(|i| {
            conn.call(&format!("INV.SETSTOCK sku{i} 10")).expect_ok();
            let id = conn.call(&format!("INV.RESERVE sku{i} 1")).text();
            id.starts_with(cell).then(|| (format!("sku{i}"), id))
        })
    };
    let ((sku, id), (other_sku, _)) = (of_cell("0-").expect("a SKU"), of_cell("1-").expect("a SKU"));
    let theirs = conn.call(&format!("INV.RESERVE {sku} 1")).text();

    proxy.arm("first-one", Fault::Stall, 1);
    let before = read(&sidecar);
    send(&mut first, &[&format!("INV.RESERVE {sku} 1 ID first-one")]);
    proxy.wait_struck(1);
    send(&mut other, &[&format!("INV.ROLLBACK {theirs}")]);
    wait_read(&sidecar, before + 2.0);
    send(
        &mut conn,
        &[&format!("INV.COMMIT {id}"), &format!("INV.RESERVE {other_sku} 1"), &format!("INV.ROLLBACK {id}")],
    );
    wait_read(&sidecar, before + 5.0);
    proxy.release();

    conn.reply().expect_ok();
    conn.reply().text();
    conn.reply().expect_error("ALREADYCOMMITTED");
}

#[test]
fn reservations_of_one_lot_are_told_apart_where_one_before_them_is_no_longer_sent() {
    const DEADLINE: Duration = Duration::from_millis(6_000);
    let redis = Redis::start();
    let proxy = FaultProxy::start(&redis.addr());
    let deadline = format!("inventory.operation_deadline_ms={}", DEADLINE.as_millis());
    let sidecar = Sidecar::start(&proxy.url(), &[&deadline, ONE_AT_A_TIME, "upstream.reconnect_max_ms=20"]);
    let (mut first, mut early, mut one, mut two) = (sidecar.conn(), sidecar.conn(), sidecar.conn(), sidecar.conn());
    one.call("INV.SETSTOCK tee 10").expect_ok();
    one.call("INV.SETSTOCK mug 10").expect_ok();
    let mugs = [(); 2].map(|()| one.call("INV.RESERVE mug 1").text());

    proxy.arm("first-one", Fault::Stall, 1);
    let before = read(&sidecar);
    send(&mut first, &["INV.RESERVE mug 1 ID first-one"]);
    proxy.wait_struck(1);
    let asked = Instant::now();
    send(&mut early, &[&format!("INV.COMMIT {}", mugs[0])]);
    // The others' time is over later than its.
    until("a while", SOON, || (asked.elapsed() > DEADLINE / 3).then_some(()));
    wait_read(&sidecar, before + 2.0);
    send(&mut one, &["INV.RESERVE tee 1"]);
    wait_read(&sidecar, before + 3.0);
    send(&mut two, &[&format!("INV.COMMIT {}", mugs[1]), "INV.RESERVE tee 1"]);
    wait_read(&sidecar, before + 5.0);
    proxy.arm("tee", Fault::CutBefore, usize::MAX);
    proxy.release();
    early.reply().expect_error("UNCERTAIN");
    proxy.disarm();

    two.reply().expect_ok();
    for conn in [&mut one, &mut two] {
        let id = conn.reply().text();
        assert_eq!(conn.call(&format!("INV.GET {id}")).field("state"), Reply::bulk("open"), "{id}");
        conn.call(&format!("INV.COMMIT {id}")).expect_ok();
    }
    let tee = assert_account(&mut one, &mut redis.conn(), "default", "tee", 10);
    assert_eq!(tee, Stock { available: 8, reserved: 0, committed: 2 });
}

/// A batch whose first sending was executed and its answer lost, and whose second one is stopped at its first operation: by
/// then more is overdue than one call takes back.
struct Stopped {
    redis: Redis,
    proxy: FaultProxy,
    #[expect(dead_code, reason = "lives as long as its connection")]
    sidecar: Sidecar,
    conn: Conn,
}

impl Stopped {
    const CLOCK: &str = "test:clock";

    fn new() -> Self {
        let redis = Redis::start();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as i64;
        redis.set_clock(Self::CLOCK, now);
        let proxy = FaultProxy::start(&redis.addr());
        let sidecar = Sidecar::start_with_clock(&proxy.url(), Self::CLOCK, &[ONE_AT_A_TIME]);
        let mut conn = sidecar.conn();
        conn.call("INV.SETSTOCK many 10000").expect_ok();
        conn.call("INV.SETSTOCK tee 10").expect_ok();
        let held = conn.call("INV.RESERVE tee 1").text();
        let requests: Vec<_> = (0..5_100).map(|_| words("INV.RESERVE many 1 PX 1000")).collect();
        conn.pipeline(&requests).iter().for_each(|reply| drop(reply.text()));
        // Of one client and one write, so of one batch.
        proxy.arm("many", Fault::Stall, 1);
        send(&mut conn, &["INV.STOCK many", &format!("INV.COMMIT {held}"), "INV.RESERVE tee 1"]);
        proxy.wait_struck(1);
        redis.set_clock(Self::CLOCK, now + 2_000);
        Self { redis, proxy, sidecar, conn }
    }
}

#[test]
fn what_an_earlier_sending_did_is_not_done_anew_where_a_later_one_is_stopped_before_it() {
    let mut rig = Stopped::new();
    assert_eq!(rig.conn.reply().field("available"), Reply::Int(10_000));
    rig.conn.reply().expect_ok();
    let id = rig.conn.reply().text();
    assert_eq!(rig.conn.call(&format!("INV.GET {id}")).field("state"), Reply::bulk("open"));
    let tee = assert_account(&mut rig.conn, &mut rig.redis.conn(), "default", "tee", 10);
    assert_eq!(tee, Stock { available: 8, reserved: 1, committed: 1 });
}

#[test]
fn what_an_earlier_sending_did_is_not_called_refused_where_a_later_one_is_stopped_before_it() {
    let mut rig = Stopped::new();
    rig.proxy.arm_from("many", Fault::Refuse("LOADING Redis is loading the dataset in memory"), usize::MAX, 1);
    rig.conn.reply();
    rig.conn.reply().expect_error("UNCERTAIN");
    rig.conn.reply().expect_error("UNCERTAIN");
    rig.proxy.disarm();
    let tee = assert_account(&mut rig.conn, &mut rig.redis.conn(), "default", "tee", 10);
    assert_eq!(tee, Stock { available: 8, reserved: 1, committed: 1 });
}
