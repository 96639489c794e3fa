//! Random histories of all commands against a small obvious model, one by one and in bursts that fall into one batch:
//! the same answers, and the same account in Redis, after each step.
//!
//! `MODEL_CASES=n` runs more histories, `MODEL_SEED=n` repeats a run; a failure prints its seed and the shortest history
//! that still fails.

mod common;
mod model {
    pub mod history;
    pub mod obvious;
    pub mod run;
}

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

use common::{Redis, Sidecar, account};
use model::history::{Step, history};
use model::obvious::Model;
use model::run::{Checked, Run};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

const CLOCK: &str = "test:clock";
const TTL_MS: i64 = 5_000;
const TTL_MAX_MS: i64 = 20_000;
const REMEMBER_MS: i64 = 30_000;
const MOST: i64 = (1 << 53) - 1;
const SKUS: usize = 3;

/// What outlives a history: the clock never goes back, names are never used twice.
struct World {
    redis: Redis,
    sidecar: Sidecar,
    clock: i64,
    case: usize,
}

impl World {
    fn advance(&mut self, ms: i64) {
        self.clock += ms;
        self.redis.set_clock(CLOCK, self.clock);
    }

    fn play(&mut self, history: &[Step], bursts: bool) -> Checked {
        self.case += 1;
        self.advance(1);
        let conn = if bursts { self.sidecar.conn3() } else { self.sidecar.conn() };
        let model = Model { now: self.clock, ..Model::default() };
        let mut run = Run { case: self.case, conn, upstream: self.redis.conn(), model, minted: Vec::new() };
        for part in history.split_inclusive(|step| !bursts || matches!(step, Step::Advance(_))) {
            let (steps, advance) = match part.split_last() {
                Some((Step::Advance(ms), steps)) => (steps, *ms),
                _ => (part, 0),
            };
            if !steps.is_empty() {
                run.burst(steps)?;
            }
            if advance > 0 {
                self.advance(advance);
                run.model.now = self.clock;
                run.account().map_err(|why| format!("after {advance} ms: {why}"))?;
            }
        }
        self.finish(&mut run)
    }

    /// After the longest time to live and a reap nothing is open, and available = total - committed.
    fn finish(&mut self, run: &mut Run) -> Checked {
        self.advance(TTL_MAX_MS);
        run.model.now = self.clock;
        let mut reaps = 0..100;
        while reaps.next().is_some() && run.conn.call("INV.REAP").int() > 0 {}
        run.account().map_err(|why| format!("at the end: {why}"))?;
        let open = account::open_upstream(&mut run.upstream, "default");
        let skus: Vec<String> = (0..SKUS).map(|sku| run.sku(sku)).collect();
        let stored = skus.iter().filter_map(|sku| account::stock_upstream(&mut run.upstream, "default", sku));
        let reserved: i64 = stored.map(|stock| stock.reserved).sum();
        if (open, reserved) == (0, 0) { Ok(()) } else { Err(format!("at the end {open} open, {reserved} reserved")) }
    }
}

#[test]
fn random_histories_answer_and_account_as_the_model_does_one_by_one_and_in_bursts() {
    let env = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64;
    let seed = env("MODEL_SEED").unwrap_or(wall);
    println!("MODEL_SEED={seed}");
    let redis = Redis::start();
    // A clock behind the wall's: an id minted by the wall's clock is then never too old for it.
    let clock = wall as i64 - 30 * 86_400_000;
    redis.set_clock(CLOCK, clock);
    let sidecar = Sidecar::start_with_clock(
        &redis.url(),
        CLOCK,
        &[
            &format!("inventory.reservation_ttl=\"{TTL_MS}ms\""),
            &format!("inventory.reservation_ttl_max=\"{TTL_MAX_MS}ms\""),
            &format!("inventory.remember=\"{REMEMBER_MS}ms\""),
        ],
    );
    let world = RefCell::new(World { redis, sidecar, clock, case: 0 });
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config =
        Config { cases: env("MODEL_CASES").unwrap_or(256) as u32, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let outcome = runner.run(&history(), |history| {
        let mut world = world.borrow_mut();
        world.play(&history, false).map_err(|why| TestCaseError::fail(format!("one by one: {why}")))?;
        world.play(&history, true).map_err(|why| TestCaseError::fail(format!("in bursts: {why}")))
    });
    if let Err(failure) = outcome {
        panic!("MODEL_SEED={seed}: {failure}");
    }
}
