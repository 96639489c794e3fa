//! What goes wrong around a sale: caches flushed, processes killed, clients that vanish, frames that are none, giants,
//! crowds, and an end under load.

mod common;
mod faults {
    mod frames;
    mod leaving;
    mod readers;
}

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use common::resp::encode;
use common::{Conn, Dice, Fault, FaultProxy, Redis, Reply, SOON, Sidecar, Stock, assert_account, stock, until, words};

/// What one buyer of a load saw acknowledged.
#[derive(Default, Clone, Copy, Debug)]
struct Seen {
    reserved: i64,
    committed: i64,
    /// Commits of which nobody could say what became.
    uncertain: i64,
}

/// Buyers that reserve and commit units of `tee` one by one until told to stop. They open a new connection when theirs
/// ends, and take `-UNCERTAIN`, `-UNAVAILABLE` and `-OVERLOADED` for what they are.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    buyers: Vec<std::thread::JoinHandle<Seen>>,
}

impl Load {
    fn start(addr: &str, buyers: usize) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let buyers = (0..buyers)
            .map(|_| {
                let (addr, stop, done) = (addr.to_string(), Arc::clone(&stop), Arc::clone(&done));
                std::thread::spawn(move || buy(&addr, &stop, &done))
            })
            .collect();
        Self { stop, done, buyers }
    }

    /// Waits until `more` further commits were acknowledged.
    fn wait_more(&self, more: usize) {
        let goal = self.done.load(Ordering::SeqCst) + more;
        until("the load goes on", SOON * 2, || (self.done.load(Ordering::SeqCst) >= goal).then_some(()));
    }

    fn finish(self) -> Seen {
        self.stop.store(true, Ordering::SeqCst);
        let mut sum = Seen::default();
        for buyer in self.buyers {
            let seen = buyer.join().expect("a buyer");
            sum.reserved += seen.reserved;
            sum.committed += seen.committed;
            sum.uncertain += seen.uncertain;
        }
        sum
    }
}

fn buy(addr: &str, stop: &AtomicBool, done: &AtomicUsize) -> Seen {
    let mut seen = Seen::default();
    let mut conn = None;
    while !stop.load(Ordering::SeqCst) {
        let Some(live) = conn.as_mut() else {
            conn = Conn::try_open(addr).ok();
            if conn.is_none() {
                common::pause();
            }
            continue;
        };
        match buy_one(live, &mut seen) {
            Ok(true) => _ = done.fetch_add(1, Ordering::SeqCst),
            Ok(false) => common::pause(),
            Err(_) => conn = None,
        }
    }
    seen
}

/// One purchase: `Ok(true)` where it was acknowledged.
fn buy_one(conn: &mut Conn, seen: &mut Seen) -> std::io::Result<bool> {
    let unknown = |reply: &Reply| ["UNCERTAIN", "UNAVAILABLE", "OVERLOADED", "LOADING"].contains(&reply.error_word());
    let reply = conn.try_call("INV.RESERVE tee 1 EX 600")?;
    if unknown(&reply) {
        return Ok(false);
    }
    let Reply::Bulk(_) = &reply else { panic!("INV.RESERVE: {reply:?}") };
    seen.reserved += 1;
    let commit = format!("INV.COMMIT {}", reply.text());
    seen.uncertain += 1;
    let reply = conn.try_call(&commit)?;
    match reply.error_word() {
        "UNCERTAIN" => return Ok(false),
        "UNAVAILABLE" | "OVERLOADED" | "LOADING" => {
            seen.uncertain -= 1;
            return Ok(false);
        }
        _ => reply.expect_ok(),
    }
    seen.uncertain -= 1;
    seen.committed += 1;
    Ok(true)
}

const SUPPLY: i64 = 1_000_000;

#[test]
fn a_flushed_script_cache_is_invisible_between_operations() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    let mut conn = sidecar.conn();
    conn.call("INV.SETSTOCK tee 100").expect_ok();
    for _ in 0..10 {
        redis.conn().call("SCRIPT FLUSH").expect_ok();
        let id = conn.call("INV.RESERVE tee 1").text();
        redis.conn().call("SCRIPT FLUSH").expect_ok();
        conn.call(&format!("INV.COMMIT {id}")).expect_ok();
        redis.conn().call("SCRIPT FLUSH").expect_ok();
        assert_eq!(conn.call("INV.REAP"), Reply::Int(0));
    }
    assert_eq!(stock(&mut conn, "tee"), Stock { available: 90, reserved: 0, committed: 10 });
}

#[test]
fn a_script_cache_flushed_over_and_over_during_a_load_is_invisible() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &["sidecar.workers=2"]);
    let mut conn = sidecar.conn();
    conn.call(&format!("INV.SETSTOCK tee {SUPPLY}")).expect_ok();
    let load = Load::start(&sidecar.listen, 16);
    let mut upstream = redis.conn();
    for _ in 0..50 {
        upstream.call("SCRIPT FLUSH").expect_ok();
        load.wait_more(10);
    }
    let seen = load.finish();
    assert_eq!(seen.uncertain, 0, "{seen:?}");
    let tee = assert_account(&mut conn, &mut upstream, "default", "tee", SUPPLY);
    assert_eq!((tee.committed, tee.reserved), (seen.committed, 0), "{seen:?}");
}

#[test]
fn an_upstream_killed_and_restarted_under_load_loses_no_acknowledged_commit_and_oversells_nothing() {
    let mut redis = Redis::durable();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    let mut conn = sidecar.conn();
    conn.call(&format!("INV.SETSTOCK tee {SUPPLY}")).expect_ok();
    let load = Load::start(&sidecar.listen, 8);
    for _ in 0..3 {
        load.wait_more(50);
        redis.kill9();
        redis.restart();
    }
    load.wait_more(50);
    let seen = load.finish();
    sidecar.wait_ready();
    let tee = assert_account(&mut conn, &mut redis.conn(), "default", "tee", SUPPLY);
    assert!(tee.committed >= seen.committed, "an acknowledged commit is lost: {tee:?}, {seen:?}");
    assert!(tee.committed <= seen.committed + seen.uncertain, "a commit nobody asked for: {tee:?}, {seen:?}");
    assert!(tee.committed + tee.reserved >= seen.reserved, "an acknowledged reservation is lost: {tee:?}, {seen:?}");
}

#[test]
fn a_killed_sidecars_acknowledged_operations_stand_and_the_same_id_tells() {
    let redis = Redis::start();
    let mut first = Sidecar::start(&redis.url(), &[]);
    let second = Sidecar::start(&redis.url(), &[]);
    second.conn().call(&format!("INV.SETSTOCK tee {SUPPLY}")).expect_ok();
    first.conn().call("INV.RESERVE tee 5 ID order-17").text();
    let load = Load::start(&first.listen, 8);
    load.wait_more(200);
    first.kill9();
    let seen = load.finish();
    let mut conn = second.conn();
    assert_eq!(conn.call("INV.RESERVE tee 5 ID order-17"), Reply::bulk("0-order-17"));
    let tee = assert_account(&mut conn, &mut redis.conn(), "default", "tee", SUPPLY);
    assert!(tee.committed >= seen.committed && tee.committed <= seen.committed + seen.uncertain, "{tee:?}, {seen:?}");
}

#[test]
fn clients_that_vanish_mid_pipeline_never_shift_the_replies_of_others() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &["upstream.links=1"]);
    sidecar.conn().call(&format!("INV.SETSTOCK tee {SUPPLY}")).expect_ok();
    let stop = Arc::new(AtomicBool::new(false));
    let honest: Vec<_> = (0..4)
        .map(|client| {
            let (mut conn, stop) = (sidecar.conn(), Arc::clone(&stop));
            std::thread::spawn(move || {
                let mut round = 0;
                while !stop.load(Ordering::SeqCst) {
                    round += 1;
                    let id = format!("c{client}-{round}");
                    let replies = conn.pipeline(&[
                        words(&format!("SET {id} {id}")),
                        words(&format!("GET {id}")),
                        words(&format!("INV.RESERVE tee 1 ID {id}")),
                        words(&format!("ECHO {id}")),
                        words(&format!("INV.ROLLBACK 0-{id}")),
                    ]);
                    let wanted =
                        [Reply::ok(), Reply::bulk(&id), Reply::bulk(format!("0-{id}")), Reply::bulk(&id), Reply::ok()];
                    assert_eq!(replies, wanted);
                }
                round
            })
        })
        .collect();
    let mut dice = Dice::new(7);
    for round in 0..200 {
        let mut conn = sidecar.conn();
        let mut bytes = Vec::new();
        for i in 0..20 {
            bytes.extend(match dice.below(4) {
                0 => encode(&words(&format!("GET gone-{round}-{i}"))),
                1 => encode(&words(&format!("INV.RESERVE tee 1 ID gone-{round}-{i}"))),
                2 => encode(&words(&format!("SET gone {}", "x".repeat(5_000)))),
                _ => encode(&words("LRANGE none 0 -1")),
            });
        }
        // Some end within a frame.
        bytes.truncate(bytes.len() - dice.below(30) as usize);
        let _ = conn.try_send(&bytes);
        conn.reset();
    }
    stop.store(true, Ordering::SeqCst);
    for client in honest {
        assert!(client.join().expect("an honest client") > 0);
    }
    assert_account(&mut sidecar.conn(), &mut redis.conn(), "default", "tee", SUPPLY);
}

#[test]
fn a_thousand_clients_share_a_handful_of_upstream_connections() {
    common::raise_file_limit();
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &["upstream.links=2", "upstream.pool_size=2"]);
    sidecar.conn().call(&format!("INV.SETSTOCK tee {SUPPLY}")).expect_ok();
    let mut clients: Vec<_> = (0..1_000).map(|_| sidecar.conn()).collect();
    for (i, client) in clients.iter_mut().enumerate() {
        client.send_args(&words(&format!("SET k{i} {i}")));
        client.send_args(&words(&format!("INV.RESERVE tee 1 ID b{i}")));
        client.send_args(&words(&format!("GET k{i}")));
    }
    for (i, client) in clients.iter_mut().enumerate() {
        client.reply().expect_ok();
        assert_eq!(client.reply(), Reply::bulk(format!("0-b{i}")));
        assert_eq!(client.reply(), Reply::bulk(i.to_string()));
    }
    let upstream = redis.conn().call("CLIENT LIST").text().lines().count();
    assert!(upstream <= 12, "{upstream} upstream connections for 1,000 clients");
    assert_eq!(stock(&mut clients[0], "tee").reserved, 1_000);
}

#[test]
fn one_client_too_many_is_told_so_as_redis_tells_it() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &["listen.clients_max=3"]);
    let mut kept: Vec<_> = (0..3).map(|_| sidecar.conn()).collect();
    for conn in &mut kept {
        conn.call("PING");
    }
    let mut over = sidecar.conn();
    over.expect(b"-ERR max number of clients reached\r\n");
    over.expect_close();
    drop(kept.pop());
    until("a place is free again", SOON, || {
        let reply = Conn::try_open(&sidecar.listen).ok()?.try_call("PING").ok()?;
        (reply == Reply::Simple("PONG".into())).then_some(())
    });
}

#[test]
fn sigterm_under_load_answers_what_is_in_flight_and_exits_zero() {
    let redis = Redis::start();
    let mut sidecar = Sidecar::start(&redis.url(), &["sidecar.drain_ms=3000"]);
    let second = Sidecar::start(&redis.url(), &[]);
    let mut conn = second.conn();
    conn.call(&format!("INV.SETSTOCK tee {SUPPLY}")).expect_ok();
    let load = Load::start(&sidecar.listen, 8);
    load.wait_more(200);
    sidecar.terminate();
    assert_eq!(sidecar.wait().code(), Some(0));
    let seen = load.finish();
    let tee = assert_account(&mut conn, &mut redis.conn(), "default", "tee", SUPPLY);
    assert!(tee.committed >= seen.committed && tee.committed <= seen.committed + seen.uncertain, "{tee:?}, {seen:?}");
}

#[test]
fn sigterm_lets_a_pipeline_that_was_already_read_be_answered_whole() {
    let redis = Redis::start();
    let proxy = FaultProxy::start(&redis.addr());
    let mut sidecar = Sidecar::start(&proxy.url(), &["sidecar.drain_ms=5000"]);
    let mut conn = sidecar.conn();
    conn.call("INV.SETSTOCK tee 100").expect_ok();
    // The answer to the first batch is held back: by then the pipeline, one write, has been read.
    proxy.arm("tee", Fault::Stall, 1);
    let requests: Vec<_> = (0..50).map(|i| words(&format!("INV.RESERVE tee 1 ID b{i}"))).collect();
    conn.send(&requests.iter().flat_map(|args| encode(args)).collect::<Vec<_>>());
    proxy.wait_struck(1);
    sidecar.terminate();
    proxy.release();
    for i in 0..50 {
        assert_eq!(conn.reply(), Reply::bulk(format!("0-b{i}")));
    }
    conn.expect_close();
    assert_eq!(sidecar.wait().code(), Some(0));
}

#[test]
fn an_upstream_absent_at_start_leaves_the_sidecar_alive_not_ready_and_it_recovers_by_itself() {
    let mut redis = Redis::durable();
    redis.kill9();
    let mut sidecar = Sidecar::launch(&redis.url(), &["inventory.operation_deadline_ms=300"]);
    assert_eq!(sidecar.http("/healthz").0, 200);
    let (status, body) = sidecar.http("/readyz");
    assert_eq!(status, 503, "{body}");
    let reason: serde_json::Value = serde_json::from_str(&body).expect("a JSON body");
    assert!(reason.is_object() && body.len() > 10, "a reason: {body}");
    let mut conn = sidecar.conn();
    assert_eq!(conn.call("PING"), Reply::Simple("PONG".into()));
    conn.call("INV.SETSTOCK tee 1").expect_error("UNAVAILABLE");
    conn.call("GET k").expect_error("UNAVAILABLE");
    redis.restart();
    sidecar.wait_ready();
    conn.call("INV.SETSTOCK tee 1").expect_ok();
    assert_eq!(conn.call("GET k"), Reply::NilBulk);
    assert!(sidecar.is_running());
}

#[test]
fn an_operation_is_answered_also_where_the_lost_script_cannot_be_loaded_again() {
    let redis = Redis::start();
    let proxy = FaultProxy::start(&redis.addr());
    let sidecar = Sidecar::start(&proxy.url(), &["inventory.operation_deadline_ms=1000"]);
    sidecar.conn().call("INV.SETSTOCK sku 10").expect_ok();
    proxy.arm("SCRIPT", Fault::Stall, 2);
    redis.conn().call("SCRIPT FLUSH").expect_ok();
    let mut conn = sidecar.conn();
    until("the inventory serves again", SOON, || conn.call("INV.RESERVE sku 1").text().starts_with("0-").then_some(()));
}

#[test]
fn an_upstream_that_is_lost_while_nobody_uses_it_makes_no_outcome_uncertain() {
    let mut redis = Redis::start();
    let sidecar =
        Sidecar::start(&redis.url(), &["inventory.operation_deadline_ms=300", "inventory.reap_interval_ms=1000"]);
    let mut conn = sidecar.conn();
    conn.call("INV.SETSTOCK sku 10").expect_ok();
    redis.kill9();
    until("the sidecar has seen it", SOON, || {
        (sidecar.http("/metrics").1.contains("upstream_connections{kind=\"pool\"} 0")).then_some(())
    });
    conn.call("INV.RESERVE sku 1").expect_error("UNAVAILABLE");
}

#[test]
fn a_stopping_sidecar_does_not_wait_for_a_client_that_may_wait_for_ever() {
    let redis = Redis::start();
    let mut sidecar = Sidecar::start(&redis.url(), &["sidecar.drain_ms=600000"]);
    let mut conn = sidecar.conn();
    conn.send(b"*3\r\n$5\r\nBLPOP\r\n$1\r\nq\r\n$1\r\n0\r\n");
    let mut upstream = redis.conn();
    until("the client waits", SOON, || {
        (upstream.call("INFO clients").text().contains("blocked_clients:1")).then_some(())
    });
    sidecar.terminate();
    assert!(sidecar.wait().success());
}
