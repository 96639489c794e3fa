//! What is sold never exceeds what was there, however many ask at once and through whichever sidecar.

mod common;

use std::sync::{Arc, Barrier};

use common::{Conn, Dice, Redis, Reply, Sidecar, assert_account, words};

/// Runs `racers` threads that start together; gives what each returned.
fn race<T: Send + 'static>(racers: usize, run: impl Fn(usize) -> T + Send + Sync + 'static) -> Vec<T> {
    let start = Arc::new(Barrier::new(racers));
    let run = Arc::new(run);
    let threads: Vec<_> = (0..racers)
        .map(|racer| {
            let (start, run) = (Arc::clone(&start), Arc::clone(&run));
            std::thread::spawn(move || {
                start.wait();
                run(racer)
            })
        })
        .collect();
    threads.into_iter().map(|thread| thread.join().expect("a racer")).collect()
}

#[test]
fn of_fifty_racers_for_one_unit_exactly_one_wins() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    let mut conn = sidecar.conn();
    for round in 0..5 {
        conn.call(&format!("INV.SETSTOCK last-{round} 1")).expect_ok();
        let listen = sidecar.listen.clone();
        let replies = race(50, move |_| Conn::open(&listen).call(&format!("INV.RESERVE last-{round} 1")));
        let wins = replies.iter().filter(|reply| matches!(reply, Reply::Bulk(_))).count();
        assert_eq!(wins, 1, "{replies:?}");
        for reply in replies.iter().filter(|reply| !matches!(reply, Reply::Bulk(_))) {
            reply.expect_error("INSUFFICIENTSTOCK");
            assert_eq!(reply.error_field("requested"), Some(1), "{reply:?}");
            assert_eq!(reply.error_field("available"), Some(0), "{reply:?}");
        }
        assert_account(&mut conn, &mut redis.conn(), "default", &format!("last-{round}"), 1);
    }
}

#[test]
fn of_fifty_racers_for_one_unit_through_two_sidecars_exactly_one_wins() {
    let redis = Redis::start();
    let sidecars = [Sidecar::start(&redis.url(), &["sidecar.workers=2"]), Sidecar::start(&redis.url(), &[])];
    let addrs = sidecars.each_ref().map(|sidecar| sidecar.listen.clone());
    sidecars[0].conn().call("INV.SETSTOCK last 1").expect_ok();
    let replies = race(50, move |racer| Conn::open(&addrs[racer % 2]).call("INV.RESERVE last 1"));
    assert_eq!(replies.iter().filter(|reply| matches!(reply, Reply::Bulk(_))).count(), 1, "{replies:?}");
    assert_account(&mut sidecars[1].conn(), &mut redis.conn(), "default", "last", 1);
}

const SKUS: u64 = 5;
const STOCK: i64 = 600;
const RACERS: usize = 2_000;
const CONNECTIONS: usize = 100;

/// What became of one connection's racers: per SKU what was won, committed, given back.
#[derive(Default, Clone, Copy)]
struct Tally {
    won: [i64; SKUS as usize],
    committed: [i64; SKUS as usize],
    returned: [i64; SKUS as usize],
    refused: usize,
}

/// One connection's share of the racers: each asks once; the winners pay, think better of it, or stay silent.
fn sale(addr: &str, connection: usize, pipelined: bool) -> Tally {
    let mut dice = Dice::new(connection as u64 + 1);
    let mut conn = Conn::open(addr);
    let mut tally = Tally::default();
    let asks: Vec<(usize, i64)> =
        (0..RACERS / CONNECTIONS).map(|_| (dice.below(SKUS) as usize, 1 + dice.below(4) as i64)).collect();
    let reserve = |&(sku, quantity): &(usize, i64)| words(&format!("INV.RESERVE sku-{sku} {quantity}"));
    let replies = if pipelined {
        conn.pipeline(&asks.iter().map(reserve).collect::<Vec<_>>())
    } else {
        asks.iter().map(|ask| conn.call_args(&reserve(ask))).collect()
    };
    let mut endings = Vec::new();
    for (&(sku, quantity), reply) in asks.iter().zip(&replies) {
        let Reply::Bulk(_) = reply else {
            reply.expect_error("INSUFFICIENTSTOCK");
            assert!(reply.error_field("available").expect("available=") < quantity, "an untrue refusal: {reply:?}");
            tally.refused += 1;
            continue;
        };
        tally.won[sku] += quantity;
        match dice.below(4) {
            0 | 1 => {
                endings.push(words(&format!("INV.COMMIT {}", reply.text())));
                tally.committed[sku] += quantity;
            }
            2 => {
                endings.push(words(&format!("INV.ROLLBACK {}", reply.text())));
                tally.returned[sku] += quantity;
            }
            _ => {}
        }
    }
    let replies =
        if pipelined { conn.pipeline(&endings) } else { endings.iter().map(|ending| conn.call_args(ending)).collect() };
    for (reply, ending) in replies.iter().zip(&endings) {
        assert!(reply.is_ok(), "{ending:?}: {reply:?}");
    }
    tally
}

fn sale_adds_up(workers_of: &[usize], pipelined: bool) {
    let redis = Redis::start();
    let sidecars: Vec<_> = workers_of
        .iter()
        .map(|workers| Sidecar::start(&redis.url(), &[&format!("sidecar.workers={workers}")]))
        .collect();
    let mut conn = sidecars[0].conn();
    for sku in 0..SKUS {
        conn.call(&format!("INV.SETSTOCK sku-{sku} {STOCK}")).expect_ok();
    }
    let addrs: Vec<_> = sidecars.iter().map(|sidecar| sidecar.listen.clone()).collect();
    let tallies = race(CONNECTIONS, move |racer| sale(&addrs[racer % addrs.len()], racer, pipelined));
    let refused: usize = tallies.iter().map(|tally| tally.refused).sum();
    assert!(refused > 0, "the sale must sell out, or it proves nothing");
    for sidecar in &sidecars {
        for sku in 0..SKUS as usize {
            let sum = |of: fn(&Tally) -> &[i64; SKUS as usize]| tallies.iter().map(|tally| of(tally)[sku]).sum::<i64>();
            let (won, sold, back) = (sum(|t| &t.won), sum(|t| &t.committed), sum(|t| &t.returned));
            let name = format!("sku-{sku}");
            let stock = assert_account(&mut sidecar.conn(), &mut redis.conn(), "default", &name, STOCK);
            assert!(won - back <= STOCK, "{name}: {won} won, {back} given back, of {STOCK}");
            assert_eq!((stock.committed, stock.reserved), (sold, won - sold - back), "{name}");
        }
    }
}

#[test]
fn two_thousand_racers_never_oversell_one_sidecar_with_one_worker() {
    sale_adds_up(&[1], false);
}

#[test]
fn two_thousand_pipelined_racers_never_oversell_one_sidecar_with_one_worker() {
    sale_adds_up(&[1], true);
}

#[test]
fn two_thousand_racers_never_oversell_one_sidecar_with_two_workers() {
    sale_adds_up(&[2], false);
}

#[test]
fn two_thousand_pipelined_racers_never_oversell_one_sidecar_with_two_workers() {
    sale_adds_up(&[2], true);
}

#[test]
fn two_thousand_racers_never_oversell_two_sidecars_with_one_worker_each() {
    sale_adds_up(&[1, 1], false);
}

#[test]
fn two_thousand_pipelined_racers_never_oversell_two_sidecars_with_one_worker_each() {
    sale_adds_up(&[1, 1], true);
}

#[test]
fn two_thousand_racers_never_oversell_two_sidecars_with_two_workers_each() {
    sale_adds_up(&[2, 2], false);
}

#[test]
fn two_thousand_pipelined_racers_never_oversell_two_sidecars_with_two_workers_each() {
    sale_adds_up(&[2, 2], true);
}
