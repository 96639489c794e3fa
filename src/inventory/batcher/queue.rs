//! What waits, and who goes next: namespaces take turns, and within one the order is that of arrival.

use super::job::Job;
use super::{BATCH_ARGS_MAX, Batcher, LOOK_AHEAD, Space};
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
    /// Batches on their way.
    pub in_flight: usize,
    next_batch: u64,
}

/// A batch that is being put together.
struct Filling {
    id: u64,
    jobs: Vec<Job>,
    args: usize,
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

    /// Among how many namespaces, one more included, the queue is shared.
    pub(super) fn sharers(&self) -> usize {
        self.ready.len() + 1
    }

    /// Takes up to so many of one namespace's. Returns false where the batch's arguments are as many as they may be.
    /// `look`: so many are looked at, for those of clients that must wait are stepped over.
    fn take(filling: &mut Filling, space: &Space, most: usize, mut look: usize) -> bool {
        let (mut queue, mut held, mut left) = (space.queue.borrow_mut(), VecDeque::new(), most);
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
            match &job.client {
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
    /// its share others have. All of it is answered when the same is done.
    fn fill(&mut self, batch_ops_max: usize) -> Vec<Job> {
        self.next_batch += 1;
        let mut filling = Filling { id: self.next_batch, jobs: Vec::new(), args: 0 };
        let mut acknowledge = self.ready.front().map(|space| space.bounds.get().acknowledge);
        // Whose turn it was, but that the batch is answered at another time: they go first next time.
        let mut passed_over = Vec::new();
        for round in 0..2 {
            for _ in 0..self.ready.len() {
                let left = batch_ops_max - filling.jobs.len();
                if left == 0 {
                    break;
                }
                let Some(space) = self.ready.pop_front() else { break };
                // Where all of the first one's operations must wait the next one decides.
                if filling.jobs.is_empty() {
                    acknowledge = Some(space.bounds.get().acknowledge);
                }
                if acknowledge != Some(space.bounds.get().acknowledge) {
                    passed_over.push(space);
                    continue;
                }
                let share = if round == 0 { batch_ops_max.div_ceil(self.ready.len() + 1).min(left) } else { left };
                // Each namespace is looked at as far: one whose clients all wait must not hide another.
                let room = Self::take(&mut filling, &space, share, batch_ops_max * LOOK_AHEAD);
                if !space.queue.borrow().is_empty() {
                    self.ready.push_back(space);
                }
                if !room {
                    break;
                }
            }
        }
        passed_over.into_iter().rev().for_each(|space| self.ready.push_front(space));
        self.queued -= filling.jobs.len();
        filling.jobs
    }
}

impl Batcher {
    /// The next batch, or none: nothing waits that may go.
    pub(super) fn take_batch(&self) -> Option<Vec<Job>> {
        let mut state = self.state.borrow_mut();
        if state.queued == 0 || state.in_flight >= self.limits.batches_max {
            return None;
        }
        let batch = state.fill(self.limits.batch_ops_max);
        if batch.is_empty() {
            return None;
        }
        state.in_flight += 1;
        self.metrics.queue_operations.decrement(batch.len() as f64);
        Some(batch)
    }

    /// What has arrived already is to join: as long as a look at the sockets brings more operations, another look is worth it.
    /// Nothing is waited for that is not there.
    pub(super) async fn gather(&self) {
        let mut before = 0;
        loop {
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
        let now = Instant::now();
        let mut late = Vec::new();
        let next = {
            let state = &mut *self.state.borrow_mut();
            for space in &state.ready {
                let mut queue = space.queue.borrow_mut();
                while queue.front().is_some_and(|job| job.deadline <= now) {
                    late.extend(queue.pop_front());
                }
            }
            state.queued -= late.len();
            state.ready.retain(|space| !space.queue.borrow().is_empty());
            state.ready.iter().filter_map(|space| space.queue.borrow().front().map(|job| job.deadline)).min()
        };
        for job in late {
            self.metrics.queue_operations.decrement(1.0);
            self.finish(job, Outcome::Refused(self.never_sent(self.reachable.get())), false);
        }
        next
    }
}
