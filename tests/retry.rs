//! A connection lost after the script ran and before its answer arrived: the client sees one result, the stock moved
//! once. And where nobody can know: `-UNCERTAIN`, never a guess.

mod common;

use std::time::{Duration, Instant};

use common::{Conn, Fault, FaultProxy, Redis, Reply, Sidecar, Stock, assert_account, stock, until, words};

/// Short, for these tests wait for it to pass.
const DEADLINE_MS: u64 = 600;

/// A Redis, the fault proxy before it, the sidecar before that. `tee` has 10 units, `held` is an open reservation of 2.
struct Rig {
    redis: Redis,
    proxy: FaultProxy,
    sidecar: Sidecar,
    conn: Conn,
}

impl Rig {
    fn new() -> Self {
        let redis = Redis::start();
        let proxy = FaultProxy::start(&redis.addr());
        let sidecar = Sidecar::start(&proxy.url(), &[&format!("inventory.operation_deadline_ms={DEADLINE_MS}")]);
        let mut conn = sidecar.conn();
        conn.call("INV.SETSTOCK tee 10").expect_ok();
        assert_eq!(conn.call("INV.RESERVE tee 2 ID held"), Reply::bulk("0-held"));
        Self { redis, proxy, sidecar, conn }
    }

    /// Sends `line` with the answer of its first attempt lost; `needle` is what its script call must contain.
    #[track_caller]
    fn lose_first_answer(&mut self, needle: &str, line: &str) -> Reply {
        let before = self.proxy.struck();
        self.proxy.arm(needle, Fault::CutAfterAnswer, 1);
        let reply = self.conn.call(line);
        assert_eq!(self.proxy.struck(), before + 1, "the fault must strike, or it proves nothing");
        reply
    }

    #[track_caller]
    fn account(&mut self, supplied: i64) -> Stock {
        assert_account(&mut self.conn, &mut self.redis.conn(), "default", "tee", supplied)
    }
}

#[test]
fn a_reserve_without_id_whose_answer_is_lost_takes_its_stock_once() {
    let mut rig = Rig::new();
    let id = rig.lose_first_answer("tee", "INV.RESERVE tee 3").text();
    assert_eq!(rig.account(10), Stock { available: 5, reserved: 5, committed: 0 });
    assert_eq!(rig.conn.call(&format!("INV.GET {id}")).field("quantity"), Reply::Int(3));
    rig.conn.call(&format!("INV.COMMIT {id}")).expect_ok();
}

#[test]
fn a_reserve_with_id_whose_answer_is_lost_takes_its_stock_once() {
    let mut rig = Rig::new();
    assert_eq!(rig.lose_first_answer("order-17", "INV.RESERVE tee 3 ID order-17"), Reply::bulk("0-order-17"));
    assert_eq!(rig.conn.call("INV.RESERVE tee 3 ID order-17"), Reply::bulk("0-order-17"));
    assert_eq!(rig.account(10), Stock { available: 5, reserved: 5, committed: 0 });
}

#[test]
fn a_commit_whose_answer_is_lost_is_ok_and_a_second_commit_is_told_from_it() {
    let mut rig = Rig::new();
    rig.lose_first_answer("held", "INV.COMMIT 0-held").expect_ok();
    assert_eq!(rig.account(10), Stock { available: 8, reserved: 0, committed: 2 });
    rig.conn.call("INV.COMMIT 0-held").expect_error("ALREADYCOMMITTED");
}

#[test]
fn a_commit_with_ref_whose_answer_is_lost_is_ok() {
    let mut rig = Rig::new();
    rig.lose_first_answer("held", "INV.COMMIT 0-held REF invoice-1").expect_ok();
    rig.conn.call("INV.COMMIT 0-held REF invoice-1").expect_ok();
    rig.conn.call("INV.COMMIT 0-held REF invoice-2").expect_error("ALREADYCOMMITTED");
    assert_eq!(rig.account(10), Stock { available: 8, reserved: 0, committed: 2 });
}

#[test]
fn a_rollback_whose_answer_is_lost_gives_back_once() {
    let mut rig = Rig::new();
    rig.lose_first_answer("held", "INV.ROLLBACK 0-held").expect_ok();
    assert_eq!(rig.account(10), Stock { available: 10, reserved: 0, committed: 0 });
    rig.conn.call("INV.COMMIT 0-held").expect_error("ROLLEDBACK");
}

#[test]
fn an_extension_whose_answer_is_lost_is_what_the_reservation_has() {
    let mut rig = Rig::new();
    let expires = rig.lose_first_answer("held", "INV.EXTEND 0-held EX 1000").int();
    assert_eq!(rig.conn.call("INV.GET 0-held").field("expires_ms"), Reply::Int(expires));
}

#[test]
fn a_delivery_without_id_whose_answer_is_lost_arrives_once() {
    let mut rig = Rig::new();
    assert_eq!(rig.lose_first_answer("tee", "INV.ADDSTOCK tee 7"), Reply::Int(15));
    assert_eq!(rig.account(17).available, 15);
    assert_eq!(rig.lose_first_answer("tee", "INV.ADDSTOCK tee -5"), Reply::Int(10));
    assert_eq!(rig.account(12).available, 10);
    assert_eq!(rig.conn.call("INV.ADDSTOCK tee 7"), Reply::Int(17), "a second delivery is one of its own");
}

#[test]
fn a_delivery_with_id_whose_answer_is_lost_arrives_once() {
    let mut rig = Rig::new();
    assert_eq!(rig.lose_first_answer("tee", "INV.ADDSTOCK tee 7 ID lorry-1"), Reply::Int(15));
    assert_eq!(rig.conn.call("INV.ADDSTOCK tee 7 ID lorry-1"), Reply::Int(15));
    assert_eq!(rig.account(17).available, 15);
}

#[test]
fn a_setstock_whose_answer_is_lost_is_ok() {
    let mut rig = Rig::new();
    rig.lose_first_answer("tee", "INV.SETSTOCK tee 20").expect_ok();
    assert_eq!(rig.account(20), Stock { available: 18, reserved: 2, committed: 0 });
}

#[test]
fn a_setstock_nx_whose_answer_is_lost_is_ok_and_not_nil() {
    let mut rig = Rig::new();
    rig.lose_first_answer("mug", "INV.SETSTOCK mug 4 NX").expect_ok();
    assert_eq!(stock(&mut rig.conn, "mug").available, 4);
    assert!(rig.conn.call("INV.SETSTOCK mug 5 NX").is_nil());
}

#[test]
fn protect_and_unprotect_whose_answer_is_lost_count_as_if_once() {
    let mut rig = Rig::new();
    assert_eq!(rig.lose_first_answer("hat", "INV.PROTECT hat cap"), Reply::Int(2));
    assert_eq!(rig.conn.call("INV.PROTECT hat cap"), Reply::Int(0));
    assert_eq!(rig.lose_first_answer("hat", "INV.UNPROTECT hat cap"), Reply::Int(2));
    assert_eq!(rig.conn.call("INV.UNPROTECT hat cap"), Reply::Int(0));
}

#[test]
fn a_refusal_whose_answer_is_lost_is_a_refusal() {
    let mut rig = Rig::new();
    rig.lose_first_answer("tee", "INV.RESERVE tee 9").expect_error("INSUFFICIENTSTOCK");
    assert_eq!(rig.account(10), Stock { available: 8, reserved: 2, committed: 0 });
}

#[test]
fn a_request_cut_before_it_reached_the_upstream_is_sent_again() {
    let mut rig = Rig::new();
    rig.proxy.arm("tee", Fault::CutBefore, 1);
    rig.conn.call("INV.RESERVE tee 3").text();
    rig.proxy.wait_struck(1);
    assert_eq!(rig.account(10), Stock { available: 5, reserved: 5, committed: 0 });
}

#[test]
fn a_batch_whose_answer_is_lost_happens_once_and_every_operation_is_answered() {
    let mut rig = Rig::new();
    rig.conn.call("INV.SETSTOCK mug 1000").expect_ok();
    rig.proxy.arm("mug", Fault::CutAfterAnswer, 2);
    let requests: Vec<_> = (0..400)
        .map(|i| match i % 4 {
            0 => words(&format!("INV.RESERVE mug 2 ID buyer-{i}")),
            1 => words(&format!("INV.COMMIT 0-buyer-{}", i - 1)),
            2 => words("INV.ADDSTOCK mug 1"),
            _ => words("INV.RESERVE mug 1"),
        })
        .collect();
    let replies = rig.conn.pipeline(&requests);
    for (i, reply) in replies.iter().enumerate() {
        match i % 4 {
            0 => assert_eq!(*reply, Reply::bulk(format!("0-buyer-{i}"))),
            1 => reply.expect_ok(),
            2 => assert!(reply.int() > 0),
            _ => assert!(matches!(reply, Reply::Bulk(_)), "{reply:?}"),
        }
    }
    rig.proxy.wait_struck(2);
    let mug = assert_account(&mut rig.conn, &mut rig.redis.conn(), "default", "mug", 1_100);
    assert_eq!(mug, Stock { available: 800, reserved: 100, committed: 200 });
}

#[test]
fn an_answer_that_trickles_in_is_an_answer() {
    let mut rig = Rig::new();
    rig.proxy.arm("tee", Fault::Trickle, 3);
    for _ in 0..3 {
        rig.conn.call("INV.RESERVE tee 1").text();
    }
    assert_eq!(rig.proxy.struck(), 3);
    assert_eq!(rig.account(10), Stock { available: 5, reserved: 5, committed: 0 });
}

#[test]
fn every_answer_lost_until_the_deadline_is_uncertain_and_the_same_id_then_tells() {
    let mut rig = Rig::new();
    rig.proxy.arm("order-17", Fault::CutAfterAnswer, usize::MAX);
    let started = Instant::now();
    rig.conn.call("INV.RESERVE tee 3 ID order-17").expect_error("UNCERTAIN");
    assert!(started.elapsed() >= Duration::from_millis(DEADLINE_MS / 2), "it gave up after {:?}", started.elapsed());
    assert!(rig.proxy.struck() >= 2, "it must try again before it gives up: {} tries", rig.proxy.struck());
    rig.proxy.disarm();
    assert_eq!(rig.conn.call("INV.RESERVE tee 3 ID order-17"), Reply::bulk("0-order-17"));
    assert_eq!(rig.account(10), Stock { available: 5, reserved: 5, committed: 0 });

    rig.proxy.arm("lorry-1", Fault::CutAfterAnswer, usize::MAX);
    rig.conn.call("INV.ADDSTOCK tee 4 ID lorry-1").expect_error("UNCERTAIN");
    rig.proxy.disarm();
    assert_eq!(rig.conn.call("INV.ADDSTOCK tee 4 ID lorry-1"), Reply::Int(9));

    rig.proxy.arm("invoice-1", Fault::CutAfterAnswer, usize::MAX);
    rig.conn.call("INV.COMMIT 0-order-17 REF invoice-1").expect_error("UNCERTAIN");
    rig.proxy.disarm();
    rig.conn.call("INV.COMMIT 0-order-17 REF invoice-1").expect_ok();
    assert_eq!(rig.account(14), Stock { available: 9, reserved: 2, committed: 3 });
}

#[test]
fn an_answer_held_past_the_deadline_is_uncertain_and_never_taken_for_the_next_ones() {
    let mut rig = Rig::new();
    rig.proxy.arm("order-17", Fault::Stall, usize::MAX);
    rig.conn.call("INV.RESERVE tee 3 ID order-17").expect_error("UNCERTAIN");
    rig.proxy.disarm();
    rig.proxy.release();
    for i in 0..20 {
        let id = format!("after-{i}");
        rig.conn.call(&format!("INV.ADDSTOCK tee 1 ID {id}")).int();
        assert_eq!(rig.conn.call(&format!("ECHO {id}")), Reply::bulk(&id));
    }
    assert_eq!(rig.account(30), Stock { available: 25, reserved: 5, committed: 0 });
}

#[test]
fn a_frozen_upstream_is_uncertain_at_the_deadline_and_the_sidecar_says_so_and_recovers() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &[&format!("inventory.operation_deadline_ms={DEADLINE_MS}")]);
    let mut conn = sidecar.conn();
    conn.call("INV.SETSTOCK tee 10").expect_ok();
    redis.stop();
    let started = Instant::now();
    conn.call("INV.RESERVE tee 3 ID order-17").expect_error("UNCERTAIN");
    assert!(started.elapsed() >= Duration::from_millis(DEADLINE_MS), "too early: {:?}", started.elapsed());
    assert_eq!(sidecar.http("/healthz").0, 200);
    redis.cont();
    let reply = until("the same ID is answered", common::SOON, || {
        let reply = conn.call("INV.RESERVE tee 3 ID order-17");
        (!["UNCERTAIN", "UNAVAILABLE", "OVERLOADED"].contains(&reply.error_word())).then_some(reply)
    });
    assert_eq!(reply, Reply::bulk("0-order-17"));
    assert_account(&mut conn, &mut redis.conn(), "default", "tee", 10);
    assert_eq!(stock(&mut conn, "tee").reserved, 3);
}

#[test]
fn with_nothing_listening_upstream_every_operation_is_unavailable_and_none_is_uncertain() {
    let mut redis = Redis::durable();
    let sidecar = Sidecar::start(&redis.url(), &[&format!("inventory.operation_deadline_ms={DEADLINE_MS}")]);
    let mut conn = sidecar.conn();
    conn.call("INV.SETSTOCK tee 10").expect_ok();
    redis.kill9();
    until("the loss is noticed", common::SOON, || (sidecar.http("/readyz").0 == 503).then_some(()));
    for line in [
        "INV.SETSTOCK tee 1",
        "INV.ADDSTOCK tee 1",
        "INV.RESERVE tee 1",
        "INV.RESERVE tee 1 ID a",
        "INV.COMMIT 0-a",
        "INV.ROLLBACK 0-a",
        "INV.EXTEND 0-a EX 5",
        "INV.GET 0-a",
        "INV.STOCK tee",
        "INV.PROTECT tee",
        "INV.REAP",
        "GET k",
        "SET k v",
    ] {
        let reply = conn.call(line);
        assert_eq!(reply.error_word(), "UNAVAILABLE", "{line}: {reply:?}");
    }
    assert_eq!(conn.call("PING"), Reply::Simple("PONG".into()), "what needs no upstream goes on");
    redis.restart();
    sidecar.wait_ready();
    assert_eq!(conn.call("INV.ADDSTOCK tee 1"), Reply::Int(11));
    assert_eq!(sidecar.http("/healthz").0, 200);
}

#[test]
fn two_clients_whose_batch_is_lost_each_get_their_own_answer() {
    let rig = Rig::new();
    rig.proxy.arm("tee", Fault::CutAfterAnswer, 1);
    let threads: Vec<_> = (0..8)
        .map(|i| {
            let mut conn = rig.sidecar.conn();
            std::thread::spawn(move || conn.call(&format!("INV.RESERVE tee 1 ID buyer-{i}")))
        })
        .collect();
    for (i, thread) in threads.into_iter().enumerate() {
        assert_eq!(thread.join().expect("a client"), Reply::bulk(format!("0-buyer-{i}")));
    }
    let mut rig = rig;
    assert_eq!(rig.account(10), Stock { available: 0, reserved: 10, committed: 0 });
}

/// What the upstream says of a call that it did not run.
const REFUSALS: [&str; 5] = [
    "LOADING Redis is loading the dataset in memory",
    "BUSY Redis is busy running a script.",
    "OOM command not allowed when used memory > 'maxmemory'.",
    "READONLY You can't write against a read only replica.",
    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
];

#[test]
fn a_call_that_the_upstream_refused_once_is_sent_again_and_the_client_never_knows() {
    let mut rig = Rig::new();
    for refusal in ["NOSCRIPT No matching script. Please use EVAL."].iter().chain(&REFUSALS) {
        rig.proxy.arm("order", Fault::Refuse(refusal), 1);
        rig.conn.call("INV.RESERVE tee 1 ID order").text();
        rig.conn.call("INV.EXTEND 0-order EX 600").int();
    }
    assert_eq!(rig.proxy.struck(), 6);
    assert_eq!(rig.account(10), Stock { available: 7, reserved: 3, committed: 0 });
}

#[test]
fn a_call_that_the_upstream_goes_on_refusing_gets_its_word_and_changes_nothing() {
    for refusal in REFUSALS {
        let mut rig = Rig::new();
        let word = refusal.split(' ').next().expect("a word");
        rig.proxy.arm("order", Fault::Refuse(refusal), usize::MAX);
        rig.conn.call("INV.RESERVE tee 3 ID order").expect_error(word);
        rig.proxy.disarm();
        assert_eq!(rig.account(10), Stock { available: 8, reserved: 2, committed: 0 });
    }
}

#[test]
fn a_refusal_of_the_second_attempt_says_nothing_of_the_first_and_is_uncertain() {
    for refusal in REFUSALS {
        let mut rig = Rig::new();
        rig.proxy.arm("held", Fault::CutAfterAnswer, 1);
        rig.proxy.arm("held", Fault::Refuse(refusal), usize::MAX);
        rig.conn.call("INV.COMMIT 0-held REF invoice-1").expect_error("UNCERTAIN");
        rig.proxy.disarm();
        rig.conn.call("INV.COMMIT 0-held REF invoice-1").expect_ok();
        assert_eq!(rig.account(10), Stock { available: 8, reserved: 0, committed: 2 });
    }
}
