//! What waits, and who goes next: namespaces take turns, and within one the order is that of arrival.

use super::job::Job;
use super::{BATCH_ARGS_MAX, Batcher, LOOK_AHEAD, Space};
use crate::config::Acknowledge;
use crate::inventory::reply::Outcome;
use std::collections::VecDeque;
use std::rc::Rc;
use tokio::time::Instant;

/// What of a batcher's work is not on its way.
#[derive(Default)]
pub(super) struct State {
    /// Namespaces of which operations wait; the one whose turn it is stands in front.
    ready: VecDeque<Rc<Space>>,
    /// Operations that wait.
    pub queued: usize,
    /// Batches on their way, by what is waited for: one that waits for replicas holds its connection for as long, and those
    /// that wait for nothing must not wait for it.
    in_flight: Vec<(Acknowledge, usize)>,
    next_batch: u64,
}

/// What goes together.
pub(super) struct Batch {
    pub jobs: Vec<Job>,
    /// All of it is answered when this is done.
    pub acknowledge: Acknowledge,
    /// How many of them are whose.
    pub shares: Vec<(Rc<Space>, usize)>,
}

/// A batch's place among those in flight; given back also where the batch's task ends by a panic.
pub(super) struct InFlight {
    pub batcher: Rc<Batcher>,
    pub acknowledge: Acknowledge,
    pub shares: Vec<(Rc<Space>, usize)>,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.shares.iter().for_each(|(space, count)| space.under_way.set(space.under_way.get() - count));
        self.batcher.state.borrow_mut().ended(self.acknowledge);
        self.batcher.changed.notify_one();
    }
}

/// How much may be on its way.
#[derive(Clone, Copy)]
struct Bounds {
    batch_ops_max: usize,
    /// Of those that wait for the same.
    batches_max: usize,
    /// Others ask too: of each namespace there is no more than its window.
    crowded: bool,
}

impl Bounds {
    /// How many more of this namespace's.
    fn room(&self, space: &Space) -> usize {
        if self.crowded { space.bounds.get().window.saturating_sub(space.under_way.get()) } else { usize::MAX }
    }
}

/// A batch that is being put together.
struct Filling {
    id: u64,
    jobs: Vec<Job>,
    args: usize,
}

impl Filling {
    /// Takes this one in behind those that are taken, where it may go and there is room; its place in `jobs` follows.
    fn takes_first(&mut self, job: &Job) -> bool {
        let weight = job.operation.weight();
        if self.args > 0 && self.args + weight > BATCH_ARGS_MAX {
            return false;
        }
        if let Some(client) = job.client() {
            if !client.may_join_batch(self.id) {
                return false;
            }
            client.join_batch(self.id);
        }
        self.args += weight;
        true
    }
}

impl State {
    pub(super) fn push(&mut self, job: Job) {
        let space = Rc::clone(&job.space);
        let mut queue = space.queue.borrow_mut();
        if queue.is_empty() {
            self.ready.push_back(Rc::clone(&space));
        }
        queue.push_back(job);
        self.queued += 1;
    }

    /// Batches on their way.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.iter().map(|(_, count)| count).sum()
    }

    fn started(&mut self, acknowledge: Acknowledge) {
        match self.in_flight.iter_mut().find(|(known, _)| *known == acknowledge) {
            Some((_, count)) => *count += 1,
            None => self.in_flight.push((acknowledge, 1)),
        }
    }

    pub(super) fn ended(&mut self, acknowledge: Acknowledge) {
        self.in_flight.iter_mut().filter(|(known, _)| *known == acknowledge).for_each(|(_, count)| *count -= 1);
    }

    /// Fewer batches that wait for the same are on their way than may be.
    fn has_place(&self, acknowledge: Acknowledge, batches_max: usize) -> bool {
        self.in_flight.iter().all(|(known, count)| *known != acknowledge || *count < batches_max)
    }

    /// Something waits that a batch more may take.
    fn may_go(&self, bounds: Bounds) -> bool {
        self.ready
            .iter()
            .any(|space| bounds.room(space) > 0 && self.has_place(space.bounds.get().acknowledge, bounds.batches_max))
    }

    /// Among how many namespaces, one more included, the queue is shared.
    pub(super) fn sharers(&self) -> usize {
        self.ready.len() + 1
    }

    /// Takes up to so many of one namespace's. Returns false where the batch's arguments are as many as they may be.
    /// `look`: so many are looked at, for those of clients that must wait are stepped over.
    fn take(filling: &mut Filling, space: &Space, most: usize, look: usize) -> bool {
        let mut queue = space.queue.borrow_mut();
        // Nearly always all of them may go, and none is stepped over.
        let free = queue.iter().take(most.min(look)).take_while(|job| filling.takes_first(job)).count();
        let (mut held, mut left, mut look) = (VecDeque::new(), most - free, look - free);
        if filling.jobs.is_empty() && free == queue.len() {
            // As they lie: the next ones get another room, of the same size.
            filling.jobs = std::mem::replace(&mut *queue, VecDeque::with_capacity(free)).into();
            return true;
        }
        filling.jobs.extend(queue.drain(..free));
        let mut room = true;
        while left > 0 && look > 0 {
            let Some(job) = queue.pop_front() else { break };
            look -= 1;
            let weight = job.operation.weight();
            if !filling.jobs.is_empty() && filling.args + weight > BATCH_ARGS_MAX {
                queue.push_front(job);
                room = false;
                break;
            }
            match job.client() {
                Some(client) if !client.may_join_batch(filling.id) => held.push_back(job),
                client => {
                    if let Some(client) = client {
                        client.join_batch(filling.id);
                    }
                    filling.args += weight;
                    filling.jobs.push(job);
                    left -= 1;
                }
            }
        }
        while let Some(job) = held.pop_back() {
            queue.push_front(job);
        }
        room
    }

    /// The next batch. Namespaces share it, so that one whose queue is long does not keep others waiting; what one leaves of
    /// its share others have.
    fn fill(&mut self, bounds: Bounds) -> Batch {
        let batch_ops_max = bounds.batch_ops_max;
        self.next_batch += 1;
        let mut shares: Vec<(Rc<Space>, usize)> = Vec::new();
        let mut filling = Filling { id: self.next_batch, jobs: Vec::new(), args: 0 };
        let mut acknowledge = Acknowledge::Memory;
        // Whose turn it was, but that the batch is answered at another time or that enough of theirs is on its way: they go
        // first next time.
        let mut passed_over = Vec::new();
        for round in 0..2 {
            for _ in 0..self.ready.len() {
                let left = batch_ops_max - filling.jobs.len();
                if left == 0 {
                    break;
                }
                let Some(space) = self.ready.pop_front() else { break };
                let own = space.bounds.get().acknowledge;
                let room = bounds.room(&space);
                // Where all of the first one's operations must wait the next one decides.
                if filling.jobs.is_empty() && room > 0 {
                    acknowledge = own;
                }
                if acknowledge != own || room == 0 || !self.has_place(own, bounds.batches_max) {
                    passed_over.push(space);
                    continue;
                }
                let share = if round == 0 { batch_ops_max.div_ceil(self.ready.len() + 1).min(left) } else { left };
                let taken = filling.jobs.len();
                // Each namespace is looked at as far: one whose clients all wait must not hide another.
                let goes_on = Self::take(&mut filling, &space, share.min(room), batch_ops_max * LOOK_AHEAD);
                let taken = filling.jobs.len() - taken;
                if taken > 0 {
                    space.under_way.set(space.under_way.get() + taken);
                    shares.push((Rc::clone(&space), taken));
                }
                if !space.queue.borrow().is_empty() {
                    self.ready.push_back(space);
                }
                if !goes_on {
                    break;
                }
            }
        }
        passed_over.into_iter().rev().for_each(|space| self.ready.push_front(space));
        self.queued -= filling.jobs.len();
        Batch { jobs: filling.jobs, acknowledge, shares }
    }
}

impl Batcher {
    fn bounds(&self) -> Bounds {
        Bounds {
            batch_ops_max: self.limits.batch_ops_max,
            batches_max: self.limits.batches_max,
            crowded: (self.crowded)(),
        }
    }

    /// The next batch, or none: nothing waits that may go.
    pub(super) fn take_batch(&self) -> Option<Batch> {
        let mut state = self.state.borrow_mut();
        let bounds = self.bounds();
        if !state.may_go(bounds) {
            return None;
        }
        let batch = state.fill(bounds);
        if batch.jobs.is_empty() {
            return None;
        }
        state.started(batch.acknowledge);
        Some(batch)
    }

    /// Brings the metric up to date: once for all that came and went in a round.
    pub(super) fn show_queue(&self) {
        let queued = self.state.borrow().queued;
        let shown = self.shown.replace(queued);
        match queued.checked_sub(shown) {
            Some(0) => {}
            Some(more) => self.metrics.queue_operations.increment(more as f64),
            None => self.metrics.queue_operations.decrement((shown - queued) as f64),
        }
    }

    /// What has arrived already is to join: as long as a look at the sockets brings more operations, another look is worth it.
    /// Nothing is waited for that is not there.
    pub(super) async fn gather(&self) {
        let mut before = 0;
        while self.state.borrow().may_go(self.bounds()) {
            let waiting = self.state.borrow().queued;
            if waiting <= before || waiting >= self.limits.batch_ops_max {
                return;
            }
            before = waiting;
            tokio::task::yield_now().await;
        }
    }

    /// Answers what waited too long to be sent. Returns when the next will have.
    pub(super) fn expire_queue(&self) -> Option<Instant> {
        if self.state.borrow().queued == 0 {
            return None;
        }
        let (now, deadline) = (Instant::now(), self.limits.deadline);
        let mut late = Vec::new();
        let next = {
            let state = &mut *self.state.borrow_mut();
            for space in &state.ready {
                let mut queue = space.queue.borrow_mut();
                while queue.front().is_some_and(|job| job.queued + deadline <= now) {
                    late.extend(queue.pop_front());
                }
            }
            state.queued -= late.len();
            state.ready.retain(|space| !space.queue.borrow().is_empty());
            state.ready.iter().filter_map(|space| space.queue.borrow().front().map(|job| job.queued + deadline)).min()
        };
        for mut job in late {
            self.finish(&mut job, Outcome::Refused(self.never_sent(self.reachable.get())), false);
        }
        next
    }
}
