//! Tenants take turns in a worker: in one round of its tasks each takes so many requests at most, however many clients it
//! has and however much they have sent. So what one of them floods the worker with costs another one short turn.
//!
//! A round is over when every task that was ready has run. It is only looked for while somebody waits for the next.

use super::core::{Core, Lane};
use crate::resp::Window;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Requests of one tenant in a round: a tenth of a millisecond of a worker, and more than most pipelines.
const REQUESTS_A_TURN: u32 = 128;

/// A tenant that has asked for nothing for so long is nobody whom others have to leave the upstream to.
const QUIET_AFTER: Duration = Duration::from_secs(10);

/// What a tenant has taken in which round, and what it has under way upstream.
#[derive(Default)]
pub struct Share {
    round: Cell<u64>,
    taken: Cell<u32>,
    window: Rc<Window>,
}

/// A worker's rounds.
pub struct Turns {
    round: Cell<u64>,
    waiting: RefCell<Vec<Waker>>,
    wanted: Notify,
    /// Who asked last.
    last: Cell<*const Share>,
    /// When that last was another one than before.
    changed: Cell<Option<Instant>>,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            round: Cell::default(),
            waiting: RefCell::default(),
            wanted: Notify::default(),
            last: Cell::new(std::ptr::null()),
            changed: Cell::default(),
        }
    }
}

impl Turns {
    /// With the task that counts them. To be called on the worker's runtime.
    pub(super) fn start() -> Rc<Self> {
        let turns = Rc::new(Self::default());
        tokio::task::spawn_local(count(Rc::clone(&turns)));
        turns
    }

    /// May one more be taken now?
    fn take(&self, share: &Share) -> bool {
        if share.round.replace(self.round.get()) != self.round.get() {
            share.taken.set(0);
        }
        let taken = share.taken.get();
        if taken < REQUESTS_A_TURN {
            share.taken.set(taken + 1);
        }
        taken < REQUESTS_A_TURN
    }

    /// A tenant asks for something.
    fn note(&self, share: &Share) {
        let last = self.last.replace(share);
        if !last.is_null() && !std::ptr::eq(last, share) {
            self.changed.set(Some(Instant::now()));
        }
    }

    /// How many more may be taken in this round; one was taken in it.
    fn left(&self, share: &Share) -> u32 {
        REQUESTS_A_TURN.saturating_sub(share.taken.get())
    }

    /// More than one tenant asks for something.
    fn are_several(&self) -> bool {
        let Some(changed) = self.changed.get() else { return false };
        let are_several = changed.elapsed() < QUIET_AFTER;
        if !are_several {
            self.changed.set(None);
        }
        are_several
    }

    fn wait(&self, cx: &Context<'_>) {
        self.waiting.borrow_mut().push(cx.waker().clone());
        self.wanted.notify_one();
    }
}

impl Core {
    /// May the client's next request be looked at in this round? Where not, `cx` is woken in the next.
    pub(super) fn takes_turn(&self, cx: &Context<'_>) -> bool {
        let turns = &self.context.rooms.turns;
        let takes = turns.take(&self.room.own.share);
        if !takes {
            turns.wait(cx);
        } else if self.is_known() {
            turns.note(&self.room.own.share);
        }
        takes
    }

    /// How many more than the one that [`takes_turn`](Self::takes_turn) allowed may be.
    pub(super) fn turns_left(&self) -> u32 {
        // Where nobody is told apart any more nobody takes turns.
        if self.told_apart { self.context.rooms.turns.left(&self.room.own.share) } else { u32::MAX - 1 }
    }

    /// How many requests the client may send upstream now, where other tenants ask for something too. Where none, its session is
    /// woken when it may.
    pub(super) fn room_upstream(&self) -> usize {
        if self.told_apart && self.context.rooms.turns.are_several() { self.replies.room() } else { usize::MAX }
    }

    /// What is under way of the client counts among its tenant's; but the inventory's operations, which go together, and what may
    /// wait for ever, which would keep all others out.
    pub(super) fn follow_window(&self) {
        let counts = match self.lane {
            Lane::Link => self.told_apart,
            Lane::Pinned => self.told_apart && !self.pin_blocking,
            Lane::Inventory => false,
        };
        self.replies.set_window(counts.then_some(&self.room.own.share.window));
    }

    /// So many more were.
    pub(super) fn take_turns(&self, more: u32) {
        let taken = &self.room.own.share.taken;
        taken.set(taken.get() + more);
    }
}

/// Runs for as long as the worker does.
async fn count(turns: Rc<Turns>) {
    loop {
        turns.wanted.notified().await;
        while !turns.waiting.borrow().is_empty() {
            // All that is ready now runs first, and what came by sockets meanwhile.
            tokio::task::yield_now().await;
            turns.round.set(turns.round.get() + 1);
            turns.waiting.borrow_mut().drain(..).for_each(Waker::wake);
            tokio::task::yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_tenants_many_requests_leave_anothers_turn_alone() {
        let (turns, flood, other) = (Turns::default(), Share::default(), Share::default());
        let taken = |share: &Share| (0..1000).filter(|_| turns.take(share)).count();
        assert_eq!(
            (taken(&flood), taken(&flood), taken(&other)),
            (REQUESTS_A_TURN as usize, 0, REQUESTS_A_TURN as usize)
        );
        turns.round.set(1);
        assert_eq!(taken(&flood), REQUESTS_A_TURN as usize);
    }
}
