//! What happens without a client asking: overdue reservations give their stock back, old records are forgotten, the copy
//! of the protected SKUs is kept fresh. Each sidecar does it for its namespaces, so it goes on when another one is gone.

use super::batcher::Inventory;
use super::commands::reap_operations;
use super::operation::{Expect, ScriptArgs, ScriptOperation};
use super::reply::Outcome;
use crate::metrics::{Operation, Status};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};

/// How often, and how much at a time.
#[derive(Debug, Clone)]
pub struct ReaperSettings {
    /// Between two reapings; well below the second within which stock must be back.
    pub reap_interval: Duration,
    /// Reservations of one call.
    pub reap_count: u64,
    /// Between two looks at the protected SKUs; well below the second for which a copy is fresh.
    pub protected_refresh: Duration,
    /// Longer than any operation may take.
    pub patience: Duration,
}

/// Runs until it is dropped. `inventories`: all that are to be reaped now. `on_round` hears after each reaping whether the
/// upstream answered for any of them, or the words of its refusal.
pub async fn reap(
    inventories: impl Fn() -> Vec<Inventory>,
    settings: ReaperSettings,
    on_round: impl Fn(Result<(), String>),
) {
    loop {
        let (mut again, mut answered, mut trouble) = (false, false, None);
        let mut rounds: FuturesUnordered<_> =
            inventories().into_iter().map(|inventory| reap_once(inventory, &settings)).collect();
        while let Some(round) = rounds.next().await {
            match round {
                Ok(more) => (again, answered) = (again | more, true),
                Err(reason) => trouble = trouble.or(reason),
            }
        }
        match trouble {
            Some(reason) if !answered => on_round(Err(reason)),
            None if !answered => {}
            _ => on_round(Ok(())),
        }
        if !again {
            sleep(jittered(settings.reap_interval)).await;
        }
    }
}

/// Returns whether more is left, or what was wrong where that says something of the upstream.
async fn reap_once(inventory: Inventory, settings: &ReaperSettings) -> Result<bool, Option<String>> {
    let (mut again, mut refused) = (false, None);
    let cells = inventory.settings.cells;
    // As many for each cell: how many there are must not slow any of them.
    for operation in reap_operations(settings.reap_count * u64::from(cells), cells) {
        // An operation is answered by its deadline; a round that is not must not keep the sidecar ready.
        let Ok(outcome) = timeout(settings.patience, inventory.run(operation)).await else {
            return Err(Some("the upstream does not answer".to_owned()));
        };
        match outcome {
            Outcome::Reaped { more, .. } => again |= more,
            Outcome::Refused(refusal) => refused = Some(refusal),
            _ => {}
        }
    }
    match refused {
        None => Ok(again),
        // The upstream is there and busy: that is no reason to be taken out of service.
        Some(refusal) if refusal.status == Status::Overloaded => Err(None),
        Some(refusal) => Err(Some(inventory.batcher().trouble(&refusal))),
    }
}

/// Runs until it is dropped.
pub async fn refresh_marks(inventories: impl Fn() -> Vec<Inventory>, settings: ReaperSettings) {
    loop {
        let rounds: FuturesUnordered<_> =
            inventories().into_iter().map(|inventory| refresh_once(inventory, &settings)).collect();
        rounds.collect::<()>().await;
        sleep(jittered(settings.protected_refresh)).await;
    }
}

async fn refresh_once(inventory: Inventory, settings: &ReaperSettings) {
    for cell in 0..inventory.settings.cells {
        let (asked_with, asked) = (inventory.marks.version(cell), Instant::now());
        let mut args = ScriptArgs::new(b'L');
        args.push_number(asked_with);
        let operation = ScriptOperation::script(Operation::IsProtected, cell, args, Expect::MarkedList);
        if let Ok(Outcome::MarkedList { version, skus }) = timeout(settings.patience, inventory.run(operation)).await {
            inventory.marks.listed(cell, asked_with, version, skus, asked);
        }
    }
}

/// Not longer than `longest`, and sidecars that started together drift apart.
fn jittered(longest: Duration) -> Duration {
    longest.mul_f64(0.75 + fastrand::f64() / 4.0)
}
