//! Question: does the sidecar leak, err or lose anything under everything at once, for as long as it is let?
//!
//! Reservations and their ends, expiry, GET and SET, pub/sub, blocking commands, MULTI, and clients that come, go and break
//! off, all at full speed. After a first phase and after a second, longer one all clients leave; memory and descriptors
//! must then be what they were, no error may have been seen or counted, and the account must add up.
//!
//! Command: `make soak` (10 minutes; SOAK_SECONDS for another time).
#![allow(missing_docs, reason = "a program, not a library")]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "it tells how far it is, and fails loudly"
)]

#[path = "../../tests/common/mod.rs"]
mod common;
mod crowd;
mod shop;

use common::{Redis, Sidecar, stock, until};
use crowd::Crowd;
use shop::{SKUS, Shop};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Without SOAK_SECONDS; what CI has time for.
const SECONDS: u64 = 15;
/// More than after the first phase: the allocator's own waver, not a leak of ten minutes.
const MEMORY_MARGIN_KIB: u64 = 8 * 1024;
/// Links and connections that nobody uses any more are closed after ten seconds.
const SETTLED: Duration = Duration::from_secs(13);
const PATIENCE: Duration = Duration::from_secs(60);

fn main() {
    let seconds = std::env::var("SOAK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SECONDS);
    common::raise_file_limit();
    let redis = Redis::with(&["--save", "", "--appendonly", "no", "--maxclients", "4000"]);
    // What has ended is soon forgotten, or ten minutes of it would fill the machine; and a machine that is busy with
    // other things is no error.
    let settings = ["inventory.operation_deadline_ms=5000", "inventory.remember=10s"];
    let sidecar = Sidecar::start(&redis.url(), &settings);
    let shop = Arc::new(Shop::open(&mut sidecar.conn()));

    // The first phase makes all connections and buffers; only what the second adds is a leak.
    let main_phase = Duration::from_secs(seconds);
    let first_phase = (main_phase / 2).clamp(Duration::from_secs(5), Duration::from_secs(60));
    run(&sidecar, &shop, first_phase);
    let before = Rest::of(&sidecar, None);
    println!("after {} s: {before}", first_phase.as_secs());
    run(&sidecar, &shop, main_phase);
    let after = Rest::of(&sidecar, Some(before.descriptors));
    println!("after {} s more: {after}", main_phase.as_secs());

    assert!(after.memory_kib <= before.memory_kib + MEMORY_MARGIN_KIB, "the memory grew: {before}, then {after}");
    assert_no_errors(&sidecar);
    assert_account(&sidecar, &shop);
    println!("soak: memory and descriptors as they were, no error, the account adds up");
}

/// The crowd at work for so long; then all have left.
fn run(sidecar: &Sidecar, shop: &Arc<Shop>, time: Duration) {
    let crowd = Crowd::start(&sidecar.listen, shop);
    let end = Instant::now() + time;
    let mut told = Instant::now();
    until("the time is over", time + PATIENCE, || {
        if told.elapsed() >= Duration::from_secs(10) {
            told = Instant::now();
            println!(
                "{} requests so far, {} KiB, {} descriptors",
                shop.requests(),
                sidecar.resident_kib(),
                descriptors(sidecar)
            );
        }
        (Instant::now() >= end || crowd.is_broken()).then_some(())
    });
    crowd.end();
    println!("{} requests", shop.requests());
}

/// The sidecar at rest.
struct Rest {
    memory_kib: u64,
    descriptors: usize,
}

impl Rest {
    /// Once nothing changes any more; or once it has so many descriptors.
    fn of(sidecar: &Sidecar, wanted: Option<usize>) -> Self {
        let (mut count, mut since) = (descriptors(sidecar), Instant::now());
        until("the descriptors are what they were", PATIENCE, || {
            let now = descriptors(sidecar);
            if now != count {
                (count, since) = (now, Instant::now());
            }
            (wanted.is_none_or(|wanted| wanted == now) && since.elapsed() >= SETTLED).then_some(())
        });
        Self { memory_kib: sidecar.resident_kib(), descriptors: count }
    }
}

impl std::fmt::Display for Rest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} KiB, {} descriptors", self.memory_kib, self.descriptors)
    }
}

fn descriptors(sidecar: &Sidecar) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", sidecar.pid())).expect("its descriptors").count()
}

/// Each client has checked its own replies. What the sidecar counts as the upstream's errors are also requests on an own
/// connection whose client broke off; but no operation of the inventory may have met one, and nothing of the sidecar's own.
fn assert_no_errors(sidecar: &Sidecar) {
    let (_, metrics) = sidecar.http("/metrics");
    let bad = [
        "status=\"uncertain\"",
        "status=\"unavailable\"",
        "status=\"overloaded\"",
        "origin=\"sidecar\"",
        "kind=\"timeout\"",
    ];
    let counted: Vec<&str> = metrics
        .lines()
        .filter(|line| {
            bad.iter().any(|label| line.contains(label)) && !line.contains("duration") && !line.ends_with(" 0")
        })
        .collect();
    assert!(counted.is_empty(), "errors were counted: {counted:?}");
    let logged: Vec<String> = sidecar
        .log_lines()
        .into_iter()
        .filter(|line| line.contains("\"WARN\"") || line.contains("\"ERROR\""))
        .collect();
    assert!(logged.is_empty(), "errors were logged: {logged:?}");
}

/// What was supplied is sold or there, to the unit; what was sold is what was acknowledged.
fn assert_account(sidecar: &Sidecar, shop: &Shop) {
    let mut conn = sidecar.conn();
    for (sku, name) in SKUS.iter().enumerate() {
        // What clients that broke off have reserved expires.
        let told = until("all reservations have ended", PATIENCE, || {
            let told = stock(&mut conn, name);
            (told.reserved == 0).then_some(told)
        });
        assert_eq!(told.committed, shop.sold(sku), "{name}: sold, as the sidecar says and as it acknowledged");
        assert_eq!(told.total(), shop.supplied(sku), "{name}: all that was supplied");
    }
}
