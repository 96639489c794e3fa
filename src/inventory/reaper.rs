//! What happens without a client asking: overdue reservations give their stock back, old records are forgotten, the copy
//! of the protected SKUs is kept fresh. Each sidecar does it for its namespaces, so it goes on when another one is gone.

use super::batcher::{Batcher, Inventory};
use super::commands::reap_operation;
use super::operation::{Expect, ScriptArgs, ScriptOperation};
use super::reply::Outcome;
use crate::metrics::{Operation, Status};
use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::time::{Instant as Until, Sleep, sleep, timeout};

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
    /// What a look at what is overdue may take; then the script is asked without.
    pub look_patience: Duration,
}

/// Runs until it is dropped. `inventories`: all that are to be reaped now. `on_round` hears after each reaping whether the
/// upstream answered for any of them, or the words of its refusal.
///
/// In each round all are looked at, but the script is asked only of those where something is overdue, and of one more, each in
/// its turn, by which it is known whether the upstream takes operations. One that is alone is always asked.
pub async fn reap(
    inventories: impl Fn() -> Vec<Inventory>,
    settings: ReaperSettings,
    on_round: impl Fn(Result<(), String>),
) {
    let mut reaping = Reaping { settings: &settings, rounds: Rounds::default(), looks: Rounds::default(), turn: 0 };
    let mut look = true;
    loop {
        let late = sleep(jittered(settings.reap_interval));
        tokio::pin!(late);
        reaping.begin(inventories(), look);
        let (heard, all_are_there) = reaping.end(late.as_mut()).await;
        let refused = !heard.answered && heard.trouble.is_some();
        // Of an upstream that refuses all there is nothing to be seen.
        look = !refused;
        if refused && heard.left_some {
            continue; // it may be one of them alone: before anything is said all are asked
        }
        match heard.trouble {
            Some(reason) if refused => on_round(Err(reason)),
            None if !heard.answered => {}
            _ => on_round(Ok(())),
        }
        if all_are_there && !heard.again {
            late.await;
        }
    }
}

/// A namespace and those of its cells where something is overdue, or may be.
type Overdue = (Inventory, Vec<u16>);

/// What is under way: a look over each batcher's own connections, and the script asked of each namespace that is to be.
struct Reaping<'s> {
    settings: &'s ReaperSettings,
    looks: Rounds<'s, *const Batcher, Looked>,
    rounds: Rounds<'s, String, Result<bool, Option<String>>>,
    /// Whose turn it is to be asked whatever a look says.
    turn: usize,
}

struct Looked {
    overdue: Vec<Overdue>,
    left_some: bool,
}

/// What came of what was under way in one round.
#[derive(Default)]
struct Heard {
    /// More is left.
    again: bool,
    /// By one of them at the least.
    answered: bool,
    /// The first refusal that says something of the upstream.
    trouble: Option<String>,
    /// A look said that there is no need to ask of some.
    left_some: bool,
}

impl Reaping<'_> {
    fn begin(&mut self, inventories: Vec<Inventory>, look: bool) {
        self.turn += 1;
        let turn = self.turn.checked_rem(inventories.len());
        let mut to_look: HashMap<*const Batcher, Vec<Inventory>> = HashMap::new();
        for (at, inventory) in inventories.into_iter().enumerate() {
            if !look || turn == Some(at) {
                let cells = (0..inventory.settings.cells).collect();
                self.ask((inventory, cells));
            } else if !self.rounds.busy.contains(&inventory.settings.namespace) {
                to_look.entry(Rc::as_ptr(inventory.batcher())).or_default().push(inventory);
            }
        }
        let until = Until::now() + self.settings.look_patience;
        for (batcher, inventories) in to_look {
            self.looks.begin(batcher, || look_once(inventories, until));
        }
    }

    fn ask(&mut self, (inventory, cells): Overdue) {
        let namespace = inventory.settings.namespace.clone();
        self.rounds.begin(namespace, || reap_once(inventory, cells, self.settings));
    }

    /// Until all are done, which is true then, or `late` is ready.
    async fn end(&mut self, mut late: Pin<&mut Sleep>) -> (Heard, bool) {
        let mut heard = Heard::default();
        while !(self.looks.busy.is_empty() && self.rounds.busy.is_empty()) {
            // Dropping `next` loses nothing.
            tokio::select! {
                biased;
                Some(round) = self.rounds.next() => match round {
                    Ok(more) => (heard.again, heard.answered) = (heard.again | more, true),
                    Err(reason) => heard.trouble = heard.trouble.take().or(reason),
                },
                Some(looked) = self.looks.next() => {
                    heard.left_some |= looked.left_some;
                    looked.overdue.into_iter().for_each(|overdue| self.ask(overdue));
                }
                () = &mut late => return (heard, false),
            }
        }
        (heard, true)
    }
}

/// What is done for each key at the same time. One that takes long, because what it waits for does not come, must not keep the
/// others waiting: it goes on beside their next rounds.
struct Rounds<'s, K, T> {
    under_way: FuturesUnordered<LocalBoxFuture<'s, (K, T)>>,
    busy: HashSet<K>,
}

impl<K, T> Default for Rounds<'_, K, T> {
    fn default() -> Self {
        Self { under_way: FuturesUnordered::new(), busy: HashSet::new() }
    }
}

impl<'s, K: Clone + Eq + Hash + 's, T> Rounds<'s, K, T> {
    fn begin<F: Future<Output = T> + 's>(&mut self, key: K, round: impl FnOnce() -> F) {
        if self.busy.insert(key.clone()) {
            let round = round();
            self.under_way.push(Box::pin(async move { (key, round.await) }));
        }
    }

    /// The next that is done; None: nothing is under way.
    async fn next(&mut self) -> Option<T> {
        let (key, found) = self.under_way.next().await?;
        self.busy.remove(&key);
        Some(found)
    }
}

/// Of namespaces of one batcher.
async fn look_once(inventories: Vec<Inventory>, until: Until) -> Looked {
    let places: Vec<_> = inventories
        .into_iter()
        .flat_map(|inventory| (0..inventory.settings.cells).map(move |cell| (inventory.clone(), cell)))
        .collect();
    let is_overdue = match places.first() {
        Some((first, _)) => first.batcher().is_overdue(&places, until).await,
        None => Vec::new(),
    };
    let mut looked = Looked { overdue: Vec::new(), left_some: is_overdue.contains(&false) };
    let overdue = places.into_iter().zip(is_overdue).filter(|(_, is_overdue)| *is_overdue);
    for ((inventory, cell), _) in overdue {
        match looked.overdue.last_mut() {
            Some((last, cells)) if last.is_same(&inventory) => cells.push(cell),
            _ => looked.overdue.push((inventory, vec![cell])),
        }
    }
    looked
}

/// Returns whether more is left, or what was wrong where that says something of the upstream.
async fn reap_once(inventory: Inventory, cells: Vec<u16>, settings: &ReaperSettings) -> Result<bool, Option<String>> {
    let (mut again, mut refused) = (false, None);
    for cell in cells {
        // As many for each cell: how many there are must not slow any of them.
        let operation = reap_operation(cell, settings.reap_count);
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

/// Runs until it is dropped. Only of namespaces of which somebody asked lately.
pub async fn refresh_marks(inventories: impl Fn() -> Vec<Inventory>, settings: ReaperSettings) {
    let mut rounds = Rounds::default();
    loop {
        for inventory in inventories().into_iter().filter(|inventory| inventory.marks.are_wanted()) {
            rounds.begin(inventory.settings.namespace.clone(), || refresh_once(inventory, &settings));
        }
        let late = sleep(jittered(settings.protected_refresh));
        tokio::pin!(late);
        // Dropping `next` loses nothing.
        while !late.is_elapsed() {
            tokio::select! {
                biased;
                Some(()) = rounds.next() => {}
                () = &mut late => {}
            }
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
