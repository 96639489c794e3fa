//! The sale itself: shelves filled, doors opened, watched until the last reservation is settled, and its account.
//!
//! Owns the order of these. Never ends the sidecar.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval};

use super::account::{Line, Stock, Told};
use super::batches::Batches;
use super::ledger::Ledger;
use super::load::Load;
use super::plan::{Plan, RESERVATION_TTL};
use super::report::{self, Achieved};
use super::screen::{self, Screen};
use super::tally::Tally;
use super::view;
use super::watch::Watch;
use crate::app::Running;
use crate::cli::DemoOptions;
use crate::config::Config;

/// Ten pictures a second move; more would only cost.
const FRAME: Duration = Duration::from_millis(100);
/// Where there is no terminal, one look of so many becomes a line.
const FRAMES_PER_LINE: u32 = 10;
/// Within this after the last buyer has gone all reservations are settled: expired, and the reaper was there.
const SETTLED: Duration = Duration::from_millis(RESERVATION_TTL.as_millis() as u64 + 5_000);
/// Seeds that one can remember and type.
const SEEDS: u64 = 1_000_000;

/// Holds the sale against this sidecar.
///
/// # Errors
/// It could not be held, or its account does not add up.
///
/// # Cancel safety
/// Dropped, it ends the load and gives the cursor back; open reservations expire.
pub(super) async fn sell(options: &DemoOptions, config: &Config, running: &Running) -> Result<(), String> {
    let sidecar = running.listen.ok_or("the sidecar has no TCP address")?;
    let plan = Plan::new(options, options.seed.unwrap_or_else(|| fastrand::u64(..SEEDS)));
    let tally = Arc::new(Tally::new(plan.skus.len()));
    let mut ledger = Ledger::new(&running.upstream, &config.inventory.namespace, &plan.skus)?;
    let mut load = Load::start(plan.clone(), Arc::clone(&tally), sidecar).map_err(|error| error.to_string())?;
    load.ready().await?;

    let before = ledger.read().await?;
    let batches = Batches::of(&running.metrics);
    let opened = Instant::now();
    let mut audience = Audience {
        plan: &plan,
        tally: &tally,
        running,
        ledger: &mut ledger,
        watch: Watch::new(opened, &before, batches),
        screen: None,
        looks: 0,
        arrivals: None,
    };
    audience.sit_down();
    load.open();
    let surprise = audience.watch(&mut load).await?;
    let achieved = Achieved {
        arrivals: audience.arrivals.unwrap_or_else(|| opened.elapsed()),
        came_per_second: plan.buyers as f64 / plan.arrives(plan.buyers).as_secs_f64(),
        sale: opened.elapsed(),
        batches: Batches::of(&running.metrics).since(batches),
    };
    drop(audience);
    drop(load);

    let after = ledger.read().await?;
    let lines = account(&plan, &tally, &before, &after);
    let (look, _) = screen::output();
    screen::print(&format!(
        "\n{}\n\n{}\n",
        report::achieved(&tally, &lines, &achieved, look),
        report::account(&lines, Screen::size().0, look)
    ));
    screen::print(&report::verdict(&lines, surprise.as_deref(), look)?);
    Ok(())
}

fn account(plan: &Plan, tally: &Tally, before: &[Stock], after: &[Stock]) -> Vec<Line> {
    let stocks = before.iter().zip(after);
    let skus = plan.skus.iter().zip(&tally.skus).zip(stocks);
    skus.map(|((sku, told), (before, after))| Line::new(&sku.name, *before, *after, Told::of(told))).collect()
}

/// Who looks at the sale: a terminal, or a file that gets a line a second.
struct Audience<'a> {
    plan: &'a Plan,
    tally: &'a Tally,
    running: &'a Running,
    ledger: &'a mut Ledger,
    watch: Watch,
    screen: Option<Screen>,
    looks: u32,
    /// When the last buyer had got an answer.
    arrivals: Option<Duration>,
}

impl Audience<'_> {
    fn sit_down(&mut self) {
        let (look, live) = screen::output();
        if live {
            screen::print("");
            self.screen = Some(Screen::new(look));
        } else {
            screen::print(&view::opening(self.plan));
        }
    }

    /// Until all buyers have gone and all reservations are settled.
    async fn watch(&mut self, load: &mut Load) -> Result<Option<String>, String> {
        let mut frames = interval(FRAME);
        frames.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let surprise = loop {
            // Neither loses anything when dropped.
            tokio::select! {
                done = load.done() => break done?,
                _ = frames.tick() => {}
            }
            self.look().await;
        };
        let gone = Instant::now();
        while self.look().await > 0 && gone.elapsed() < SETTLED {
            frames.tick().await;
        }
        // What nobody settled is in the account as open.
        Ok(surprise)
    }

    /// Shows what is now; returns the units that are open.
    async fn look(&mut self) -> u64 {
        let stocks = self.ledger.glance().await;
        let frame = self.watch.look(self.plan, self.tally, stocks, Batches::of(&self.running.metrics), Instant::now());
        if frame.served == frame.buyers {
            self.arrivals.get_or_insert(frame.elapsed);
        }
        if let Some(screen) = &mut self.screen {
            let (width, height) = Screen::size();
            let lines = view::render(&frame, width, height, screen.look());
            screen.draw(&lines);
        } else if self.looks.is_multiple_of(FRAMES_PER_LINE) && self.looks > 0 {
            screen::print(&view::plain(&frame));
        }
        self.looks += 1;
        if frame.away { u64::MAX } else { frame.rows.iter().map(|row| row.open).sum() }
    }
}
