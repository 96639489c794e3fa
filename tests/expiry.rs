//! A reservation is valid while now < expires, to the millisecond; from then on its stock is everybody's.
//!
//! The clock is a key upstream that the test sets, so no test here but the last two waits for anything.

mod common;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::{Conn, Redis, Reply, SOON, Sidecar, Stock, account, stock, until};

const CLOCK: &str = "test:clock";

fn wall_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as i64
}

/// An upstream whose clock stands where it is put, a sidecar on it, and one SKU with one unit reserved for 1,000 ms.
struct Edge {
    redis: Redis,
    #[expect(dead_code, reason = "lives as long as its connection")]
    sidecar: Sidecar,
    conn: Conn,
    id: String,
    expires: i64,
}

impl Edge {
    fn new() -> Self {
        let redis = Redis::start();
        let now = wall_ms();
        redis.set_clock(CLOCK, now);
        let sidecar = Sidecar::start_with_clock(&redis.url(), CLOCK, &[]);
        let mut conn = sidecar.conn();
        conn.call("INV.SETSTOCK tee 1").expect_ok();
        let id = conn.call("INV.RESERVE tee 1 PX 1000 ID edge").text();
        let expires = conn.call(&format!("INV.GET {id}")).field("expires_ms").int();
        assert_eq!(expires, now + 1_000);
        Self { redis, sidecar, conn, id, expires }
    }

    /// Puts the clock to `offset_ms` from the expiry.
    fn at(self, offset_ms: i64) -> Self {
        self.redis.set_clock(CLOCK, self.expires + offset_ms);
        self
    }

    fn say(&mut self, line: &str) -> Reply {
        let line = line.replace("$id", &self.id);
        self.conn.call(&line)
    }

    fn stock(&mut self) -> Stock {
        stock(&mut self.conn, "tee")
    }

    fn state(&mut self) -> String {
        self.say("INV.GET $id").field("state").text()
    }
}

const HELD: Stock = Stock { available: 0, reserved: 1, committed: 0 };
const FREE: Stock = Stock { available: 1, reserved: 0, committed: 0 };
const SOLD: Stock = Stock { available: 0, reserved: 0, committed: 1 };

#[test]
fn one_millisecond_before_its_expiry_a_reservation_commits() {
    let mut edge = Edge::new().at(-1);
    assert_eq!((edge.state().as_str(), edge.stock()), ("open", HELD));
    edge.say("INV.COMMIT $id").expect_ok();
    assert_eq!((edge.state().as_str(), edge.stock()), ("committed", SOLD));
}

#[test]
fn at_its_expiry_and_after_a_reservation_does_not_commit() {
    for offset in [0, 1] {
        let mut edge = Edge::new().at(offset);
        edge.say("INV.COMMIT $id").expect_error("EXPIRED");
        assert_eq!((edge.state().as_str(), edge.stock()), ("expired", FREE), "offset {offset}");
    }
}

#[test]
fn a_commit_before_the_expiry_stays_when_it_passes() {
    let mut edge = Edge::new().at(-1);
    edge.say("INV.COMMIT $id").expect_ok();
    let mut edge = edge.at(1);
    edge.say("INV.REAP");
    edge.say("INV.COMMIT $id").expect_error("ALREADYCOMMITTED");
    assert_eq!((edge.state().as_str(), edge.stock()), ("committed", SOLD));
}

#[test]
fn a_rollback_before_at_and_after_the_expiry_gives_back_exactly_once() {
    for (offset, state) in [(-1, "rolledback"), (0, "expired"), (1, "expired")] {
        let mut edge = Edge::new().at(offset);
        edge.say("INV.ROLLBACK $id").expect_ok();
        edge.say("INV.ROLLBACK $id").expect_ok();
        assert_eq!((edge.state().as_str(), edge.stock()), (state, FREE), "offset {offset}");
        let mut edge = edge.at(10);
        edge.say("INV.REAP");
        assert_eq!(edge.stock(), FREE, "offset {offset}");
    }
}

#[test]
fn an_extension_one_millisecond_before_the_expiry_keeps_the_stock_and_at_it_or_after_comes_too_late() {
    let mut edge = Edge::new().at(-1);
    let until = edge.expires - 1 + 500;
    assert_eq!(edge.say("INV.EXTEND $id PX 500"), Reply::Int(until));
    let mut edge = edge.at(498);
    assert_eq!((edge.state().as_str(), edge.stock()), ("open", HELD));
    let mut edge = edge.at(499);
    assert_eq!((edge.state().as_str(), edge.stock()), ("expired", FREE));
    for offset in [0, 1] {
        let mut edge = Edge::new().at(offset);
        edge.say("INV.EXTEND $id PX 500").expect_error("EXPIRED");
        assert_eq!((edge.state().as_str(), edge.stock()), ("expired", FREE), "offset {offset}");
    }
}

#[test]
fn a_shortened_reservation_expires_at_its_new_time() {
    let mut edge = Edge::new().at(-900);
    let until = edge.expires - 900 + 10;
    assert_eq!(edge.say("INV.EXTEND $id PX 10"), Reply::Int(until));
    let mut edge = edge.at(-891);
    edge.say("INV.RESERVE tee 1").expect_error("INSUFFICIENTSTOCK");
    let mut edge = edge.at(-890);
    edge.say("INV.COMMIT $id").expect_error("EXPIRED");
    edge.say("INV.RESERVE tee 1").text();
}

#[test]
fn another_buyer_is_refused_one_millisecond_before_and_served_at_the_expiry() {
    let mut edge = Edge::new().at(-1);
    let refusal = edge.say("INV.RESERVE tee 1");
    refusal.expect_error("INSUFFICIENTSTOCK");
    assert_eq!(refusal.error_field("retry_ms"), Some(1), "{refusal:?}");
    for offset in [0, 1] {
        let mut edge = Edge::new().at(offset);
        edge.say("INV.RESERVE tee 1 ID other").text();
        edge.say("INV.COMMIT $id").expect_error("EXPIRED");
        assert_eq!(edge.stock(), HELD, "offset {offset}");
    }
}

#[test]
fn the_same_reserve_again_answers_the_same_before_the_expiry_and_expired_from_then_on() {
    let mut edge = Edge::new().at(-1);
    let id = edge.id.clone();
    assert_eq!(edge.say("INV.RESERVE tee 1 PX 1000 ID edge"), Reply::bulk(id));
    let expires = edge.expires;
    assert_eq!(edge.say("INV.GET $id").field("expires_ms").int(), expires, "a retry refreshes nothing");
    for offset in [0, 1] {
        let mut edge = Edge::new().at(offset);
        edge.say("INV.RESERVE tee 1 PX 1000 ID edge").expect_error("EXPIRED");
        edge.say("INV.RESERVE tee 2 PX 1000 ID edge").expect_error("CONFLICT");
    }
}

#[test]
fn stock_in_overdue_reservations_counts_as_available_to_every_command() {
    let mut edge = Edge::new().at(0);
    assert_eq!(edge.stock(), FREE);
    let mut edge = Edge::new().at(0);
    edge.say("INV.SETSTOCK tee 0").expect_ok();
    assert_eq!(edge.stock(), Stock::default());
    let mut edge = Edge::new().at(0);
    assert_eq!(edge.say("INV.ADDSTOCK tee -1"), Reply::Int(0));
}

#[test]
fn many_overdue_reservations_are_all_taken_back_before_a_refusal() {
    let mut edge = Edge::new();
    edge.say("INV.SETSTOCK mug 5000").expect_ok();
    let reserve = common::words("INV.RESERVE mug 1 PX 100");
    for _ in 0..5 {
        for reply in edge.conn.pipeline(&vec![reserve.clone(); 1_000]) {
            reply.text();
        }
    }
    let mut edge = edge.at(0);
    edge.say("INV.RESERVE mug 5001").expect_error("INSUFFICIENTSTOCK");
    edge.say("INV.RESERVE mug 5000").text();
    assert_eq!(stock(&mut edge.conn, "mug"), Stock { available: 0, reserved: 5_000, committed: 0 });
}

#[test]
fn an_ended_reservation_is_remembered_and_then_forgotten() {
    let redis = Redis::start();
    let now = wall_ms();
    redis.set_clock(CLOCK, now);
    let sidecar = Sidecar::start_with_clock(&redis.url(), CLOCK, &["inventory.remember=\"60s\""]);
    let mut conn = sidecar.conn();
    conn.call("INV.SETSTOCK tee 3").expect_ok();
    for id in ["sold", "back"] {
        conn.call(&format!("INV.RESERVE tee 1 ID {id}")).text();
    }
    conn.call("INV.COMMIT 0-sold").expect_ok();
    conn.call("INV.ROLLBACK 0-back").expect_ok();
    redis.set_clock(CLOCK, now + 59_000);
    conn.call("INV.COMMIT 0-sold").expect_error("ALREADYCOMMITTED");
    conn.call("INV.COMMIT 0-back").expect_error("ROLLEDBACK");
    redis.set_clock(CLOCK, now + 61_000);
    for id in ["0-sold", "0-back"] {
        conn.call(&format!("INV.COMMIT {id}")).expect_error("NOTFOUND");
        conn.call(&format!("INV.ROLLBACK {id}")).expect_error("NOTFOUND");
        assert!(conn.call(&format!("INV.GET {id}")).is_nil());
    }
    assert_eq!(conn.call("INV.RESERVE tee 2 ID sold"), Reply::bulk("0-sold"), "its ID is free again");
    assert_eq!(stock(&mut conn, "tee"), Stock { available: 0, reserved: 2, committed: 1 });
}

/// The stored account of `tee`, read from the upstream alone: nobody touches the SKU.
fn untouched(redis: &Redis) -> Option<Stock> {
    account::stock_upstream(&mut redis.conn(), "default", "tee")
}

#[test]
fn in_real_time_the_reaper_gives_back_what_nobody_touches() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    let mut conn = sidecar.conn();
    conn.call("INV.SETSTOCK tee 3").expect_ok();
    for ttl_ms in [50, 100, 200] {
        conn.call(&format!("INV.RESERVE tee 1 PX {ttl_ms}")).text();
    }
    let all_back = Stock { available: 3, reserved: 0, committed: 0 };
    until("all stock is back", Duration::from_secs(10), || (untouched(&redis) == Some(all_back)).then_some(()));
    assert_eq!(account::open_upstream(&mut redis.conn(), "default"), 0);
}

#[test]
fn in_real_time_another_sidecar_gives_back_what_a_killed_one_reserved() {
    let redis = Redis::start();
    let _other = Sidecar::start(&redis.url(), &[]);
    let mut maker = Sidecar::start(&redis.url(), &[]);
    let mut conn = maker.conn();
    conn.call("INV.SETSTOCK tee 2").expect_ok();
    for ttl_ms in [100, 200] {
        conn.call(&format!("INV.RESERVE tee 1 PX {ttl_ms}")).text();
    }
    maker.kill9();
    let all_back = Stock { available: 2, reserved: 0, committed: 0 };
    until("all stock is back", Duration::from_secs(10), || (untouched(&redis) == Some(all_back)).then_some(()));
}

#[test]
fn the_reaper_comes_to_every_cell_however_few_it_takes_at_a_time() {
    let redis = Redis::start();
    let settings = ["inventory.cells=16", "inventory.reap_count=2", "inventory.reap_interval_ms=50"];
    let sidecar = Sidecar::start(&redis.url(), &settings);
    let mut conn = sidecar.conn();
    for i in 0..64 {
        conn.call(&format!("INV.SETSTOCK sku-{i} 1")).expect_ok();
        conn.call(&format!("INV.RESERVE sku-{i} 1 PX 20")).text();
    }
    let mut upstream = redis.conn();
    until("no reservation is open in any cell", SOON, || {
        let open: i64 = (0..16).map(|cell| upstream.call(&format!("ZCARD inv1:{{default/{cell}}}:open")).int()).sum();
        (open == 0).then_some(())
    });
}
