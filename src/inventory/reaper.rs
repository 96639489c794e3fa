//! What happens without a client asking: overdue reservations give their stock back, old records are forgotten, the copy
//! of the protected SKUs is kept fresh. Each sidecar does it for its namespace, so it goes on when another one is gone.

use super::batcher::Batcher;
use super::commands::reap_operations;
use super::operation::{Expect, ScriptArgs, ScriptOperation};
use super::reply::Outcome;
use crate::metrics::{Operation, Status};
use std::rc::Rc;
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
    /// Cells of the namespace.
    pub cells: u16,
    /// Longer than any operation may take.
    pub patience: Duration,
}

/// Runs until it is dropped. `on_round` hears after each reaping whether the upstream answered, or the words of its refusal.
pub async fn reap(batcher: Rc<Batcher>, settings: ReaperSettings, on_round: impl Fn(Result<(), String>)) {
    loop {
        let (mut again, mut refused) = (false, None);
        // As many for each cell: how many there are must not slow any of them.
        for operation in reap_operations(settings.reap_count * u64::from(settings.cells), settings.cells) {
            // An operation is answered by its deadline; a round that is not must not keep the sidecar ready.
            let Ok(outcome) = timeout(settings.patience, batcher.run(operation)).await else {
                on_round(Err("the upstream does not answer".to_owned()));
                continue;
            };
            match outcome {
                Outcome::Reaped { more, .. } => again |= more,
                Outcome::Refused(refusal) => refused = Some(refusal),
                _ => {}
            }
        }
        match refused {
            None => on_round(Ok(())),
            // The upstream is there and busy: that is no reason to be taken out of service.
            Some(refusal) if refusal.status == Status::Overloaded => {}
            Some(refusal) => on_round(Err(batcher.trouble(&refusal))),
        }
        if !again {
            sleep(jittered(settings.reap_interval)).await;
        }
    }
}

/// Runs until it is dropped.
pub async fn refresh_marks(batcher: Rc<Batcher>, settings: ReaperSettings) {
    loop {
        for cell in 0..settings.cells {
            let (asked_with, asked) = (batcher.marks().version(cell), Instant::now());
            let mut args = ScriptArgs::new(b'L');
            args.push_number(asked_with);
            let operation = ScriptOperation::script(Operation::IsProtected, cell, args, Expect::MarkedList);
            if let Ok(Outcome::MarkedList { version, skus }) = timeout(settings.patience, batcher.run(operation)).await
            {
                batcher.marks().listed(cell, asked_with, version, skus, asked);
            }
        }
        sleep(jittered(settings.protected_refresh)).await;
    }
}

/// Not longer than `longest`, and sidecars that started together drift apart.
fn jittered(longest: Duration) -> Duration {
    longest.mul_f64(0.75 + fastrand::f64() / 4.0)
}
