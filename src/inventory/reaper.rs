//! What happens without a client asking: overdue reservations give their stock back, old records are forgotten, the copy
//! of the protected SKUs is kept fresh. Each sidecar does it for its namespaces, so it goes on when another one is gone.

use super::batcher::Inventory;
use super::commands::reap_operations;
use super::operation::{Expect, ScriptArgs, ScriptOperation};
use super::reply::Outcome;
use crate::metrics::{Operation, Status};
use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use std::collections::HashSet;
use std::pin::Pin;
use std::time::{Duration, Instant};
use tokio::time::{Sleep, sleep, timeout};

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
    let mut rounds = Rounds::default();
    loop {
        let (mut again, mut answered, mut trouble) = (false, false, None);
        rounds.begin(inventories(), |inventory| reap_once(inventory, &settings));
        let late = sleep(jittered(settings.reap_interval));
        tokio::pin!(late);
        let note = |round| match round {
            Ok(more) => (again, answered) = (again | more, true),
            Err(reason) => trouble = trouble.take().or(reason),
        };
        let all_are_there = rounds.end(note, late.as_mut()).await;
        match trouble {
            Some(reason) if !answered => on_round(Err(reason)),
            None if !answered => {}
            _ => on_round(Ok(())),
        }
        if all_are_there && !again {
            late.await;
        }
    }
}

/// What is done for each namespace at the same time. One that takes long, because what it waits for does not come, must not
/// keep the others waiting: it goes on beside their next rounds.
struct Rounds<'s, T> {
    under_way: FuturesUnordered<LocalBoxFuture<'s, (String, T)>>,
    busy: HashSet<String>,
}

impl<T> Default for Rounds<'_, T> {
    fn default() -> Self {
        Self { under_way: FuturesUnordered::new(), busy: HashSet::new() }
    }
}

impl<'s, T> Rounds<'s, T> {
    fn begin<F: Future<Output = T> + 's>(&mut self, inventories: Vec<Inventory>, round: impl Fn(Inventory) -> F) {
        for inventory in inventories {
            let namespace = inventory.settings.namespace.clone();
            if self.busy.insert(namespace.clone()) {
                let round = round(inventory);
                self.under_way.push(Box::pin(async move { (namespace, round.await) }));
            }
        }
    }

    /// Until all are done, which is true then, or `late` is ready.
    async fn end(&mut self, mut note: impl FnMut(T), mut late: Pin<&mut Sleep>) -> bool {
        loop {
            tokio::select! {
                biased;
                round = self.under_way.next() => match round {
                    Some((namespace, found)) => {
                        self.busy.remove(&namespace);
                        note(found);
                    }
                    None => return true,
                },
                () = &mut late => return false,
            }
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
    let mut rounds = Rounds::default();
    loop {
        rounds.begin(inventories(), |inventory| refresh_once(inventory, &settings));
        let late = sleep(jittered(settings.protected_refresh));
        tokio::pin!(late);
        if rounds.end(drop, late.as_mut()).await {
            late.await;
        }
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
