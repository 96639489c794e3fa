//! Tenants take turns in a worker: in one round of its tasks each takes so many requests at most, however many clients it
//! has and however much they have sent. So what one of them floods the worker with costs another one short turn.
//!
//! A round is over when every task that was ready has run. It is only looked for while somebody waits for the next.

use super::clients::ClientEntry;
use super::core::{Core, Lane, SessionContext};
use super::room::Own;
use crate::resp::Window;
use crate::upstream::link::Pace;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Requests of one tenant in a round: a tenth of a millisecond of a worker, and more than most pipelines.
const REQUESTS_A_TURN: u32 = 128;

/// So many bytes of a request, or of one that is not whole yet, or of what comes for a client, count as one request.
const BYTES_A_TURN: usize = 512;

/// So many a step counts for that is done for a client before anything is known of it.
const REQUESTS_A_STEP: u32 = 40;

/// A tenant that has asked for nothing for so long is nobody whom others have to leave the upstream to.
const QUIET_AFTER: Duration = Duration::from_secs(10);

/// What a tenant has taken in which round, and what it has under way upstream.
#[derive(Default)]
pub struct Share {
    round: Cell<u64>,
    taken: Cell<u32>,
    /// Requests that others wait behind.
    pub window: Rc<Window>,
}

/// A worker's rounds.
pub struct Turns {
    round: Cell<u64>,
    waiting: RefCell<Vec<Waker>>,
    /// Those who had something in this round: they come after the others in the next.
    served: RefCell<Vec<Waker>>,
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
            served: RefCell::default(),
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

    /// Is anything left of the share in this round?
    fn has(&self, share: &Share) -> bool {
        if share.round.replace(self.round.get()) != self.round.get() {
            share.taken.set(0);
        }
        share.taken.get() < REQUESTS_A_TURN
    }

    /// More than one tenant asks for something.
    #[must_use]
    pub fn are_several(&self) -> bool {
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
        taken.set(taken.get().saturating_add(more));
    }

    /// So many bytes of requests were looked at or kept.
    #[inline]
    pub(super) fn take_turns_for(&self, bytes: usize) {
        if bytes >= BYTES_A_TURN && self.told_apart {
            self.take_turns(turns_for(bytes));
        }
    }
}

impl SessionContext {
    /// Does this for a client of whom nothing is known yet, a step at a time in the turns of those: a step may be a signature. None:
    /// many more such clients have come meanwhile, and it has had its time.
    pub async fn before_it_is_known<F: Future>(&self, entry: &ClientEntry, work: F) -> Option<F::Output> {
        if self.rooms.tenants().are_told_apart() {
            self.clients.must_say(entry, self.settings.unknown_max);
        }
        let share = &self.rooms.nobody().own.share;
        let mut work = std::pin::pin!(work);
        poll_fn(|cx| {
            entry.set_waker(cx.waker());
            if entry.is_killed() {
                return Poll::Ready(None);
            }
            if !self.rooms.turns.has(share) {
                self.rooms.turns.wait(cx);
                return Poll::Pending;
            }
            share.taken.set(share.taken.get() + REQUESTS_A_STEP);
            work.as_mut().poll(cx).map(Some)
        })
        .await
    }
}

/// What comes for a tenant's clients by connections of their own (messages, large replies) is taken in turns too: by its bytes,
/// whichever of its connections they come by, and whoever had none of a round is first in the next.
pub(super) struct Reads {
    turns: Rc<Turns>,
    of: Rc<Own>,
    /// When this connection had something last.
    round: Cell<u64>,
}

impl Reads {
    pub(super) fn new(turns: &Rc<Turns>, of: &Rc<Own>) -> Self {
        Self { turns: Rc::clone(turns), of: Rc::clone(of), round: Cell::new(u64::MAX) }
    }
}

impl Pace for Reads {
    fn may_read(&self, cx: &Context<'_>) -> bool {
        let may = self.turns.has(&self.of.reads);
        if !may {
            let served = self.round.get() == self.turns.round.get();
            let list = if served { &self.turns.served } else { &self.turns.waiting };
            list.borrow_mut().push(cx.waker().clone());
            self.turns.wanted.notify_one();
        }
        may
    }

    fn has_read(&self, bytes: usize) {
        self.round.set(self.turns.round.get());
        let taken = &self.of.reads.taken;
        taken.set(taken.get().saturating_add(turns_for(bytes) + 1));
    }
}

/// How many requests so many bytes count for beside their own: what is done with them takes longer the more they are.
pub(super) fn turns_for(bytes: usize) -> u32 {
    u32::try_from(bytes / BYTES_A_TURN).unwrap_or(u32::MAX)
}

/// Runs for as long as the worker does.
async fn count(turns: Rc<Turns>) {
    loop {
        turns.wanted.notified().await;
        while !(turns.waiting.borrow().is_empty() && turns.served.borrow().is_empty()) {
            // All that is ready now runs first, and what came by sockets meanwhile.
            tokio::task::yield_now().await;
            turns.round.set(turns.round.get() + 1);
            turns.waiting.borrow_mut().drain(..).for_each(Waker::wake);
            turns.served.borrow_mut().drain(..).for_each(Waker::wake);
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

    #[test]
    fn what_is_large_counts_for_many() {
        assert_eq!((turns_for(100), turns_for(512), turns_for(64 * 1024)), (0, 1, REQUESTS_A_TURN));
        let (turns, share) = (Turns::default(), Share::default());
        assert!(turns.has(&share) && turns.has(&share));
        share.taken.set(share.taken.get() + turns_for(64 * 1024));
        assert!(!turns.has(&share) && !turns.take(&share));
        turns.round.set(1);
        assert!(turns.has(&share));
    }

    #[test]
    fn who_had_nothing_of_a_round_is_first_in_the_next() {
        let turns = Rc::new(Turns::default());
        let metrics = crate::metrics::Metrics::new();
        let own = Own::new(&metrics, &crate::tenant::Tenant::nobody());
        let links: Vec<Reads> = (0..3).map(|_| Reads::new(&turns, &own)).collect();
        let mut served = [0; 3];
        let mut order = vec![0, 1, 2];
        let waker = Waker::noop();
        let cx = Context::from_waker(waker);
        for round in 0..30 {
            turns.round.set(round);
            let (mut waiting, mut again) = (Vec::new(), Vec::new());
            for link in order {
                while links[link].may_read(&cx) {
                    links[link].has_read(64 * 1024);
                    served[link] += 1;
                }
                let list = if turns.served.borrow_mut().pop().is_some() { &mut again } else { &mut waiting };
                list.push(link);
            }
            turns.waiting.borrow_mut().clear();
            order = [waiting, again].concat();
        }
        assert_eq!(served, [10, 10, 10]);
    }
}
