//! What of a tenant is now: its clients, its pinned connections, its requests of late. Shared by all workers.

use super::isolation::Scripts;
use super::{Limits, Tenant};
use crate::metrics::Gauge;
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;
use tokio::sync::Semaphore;

/// Clients of a tenant that walk through all keys, or wait for their turn to: more than an application has workers.
const WALKS_MAX: u64 = 256;

/// Patterns that a tenant may be subscribed to, or as many for each of its pinned connections as [`PATTERNS_OF_ONE`]: the upstream
/// compares each with the channel of every message, whoever's it is.
const PATTERNS_MAX: u64 = 1024;
const PATTERNS_OF_ONE: u64 = 4;
/// Subscriptions of a tenant to channels that are everybody's (keyspace events): each is sent what happens to anybody's keys, and
/// what is not the tenant's is thrown away here.
const EVERYBODYS_MAX: u64 = 16;

/// See the module.
#[derive(Debug)]
pub struct Live {
    clients: AtomicU64,
    /// Clients so far.
    last_client: AtomicU64,
    pinned: AtomicU64,
    patterns: AtomicU64,
    everybodys: AtomicU64,
    held: AtomicUsize,
    since: Instant,
    /// The theoretical arrival time of the next request, ns from `since` (GCRA: a leaky bucket in one number).
    arrival: AtomicU64,
    /// The scripts that it sent.
    pub scripts: Scripts,
    /// Its password's hash is worked out for one client at a time.
    pub hashing: Arc<Semaphore>,
    walks: AtomicU64,
    /// It walks through all keys once at a time,
    pub walk: Arc<Semaphore>,
    /// and asks for one page at a time.
    pub page: Arc<Semaphore>,
}

impl Default for Live {
    fn default() -> Self {
        Self {
            clients: AtomicU64::new(0),
            last_client: AtomicU64::new(0),
            pinned: AtomicU64::new(0),
            patterns: AtomicU64::new(0),
            everybodys: AtomicU64::new(0),
            held: AtomicUsize::new(0),
            since: Instant::now(),
            arrival: AtomicU64::new(0),
            scripts: Scripts::default(),
            hashing: Arc::new(Semaphore::const_new(1)),
            walks: AtomicU64::new(0),
            walk: Arc::new(Semaphore::const_new(1)),
            page: Arc::new(Semaphore::const_new(1)),
        }
    }
}

impl Live {
    /// Clients at once.
    #[must_use]
    pub fn clients(&self) -> u64 {
        self.clients.load(Ordering::Relaxed)
    }

    /// A client that held `before` bytes holds `now`: how many all of them hold then.
    pub fn holds(&self, before: usize, now: usize) -> usize {
        match now.checked_sub(before) {
            Some(more) => self.held.fetch_add(more, Ordering::Relaxed) + more,
            None => self.held.fetch_sub(before - now, Ordering::Relaxed).saturating_sub(before - now),
        }
    }

    /// The id of another client.
    #[must_use]
    pub fn next_client(&self) -> u64 {
        self.last_client.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// May another request come now?
    #[must_use]
    pub fn takes_request(&self, limits: &Limits) -> bool {
        let Some((per_second, burst)) = limits.requests else { return true };
        self.takes_request_at(per_second, burst, self.since.elapsed().as_nanos() as u64)
    }

    fn takes_request_at(&self, per_second: u64, burst: u64, now: u64) -> bool {
        let interval = 1_000_000_000 / per_second.max(1);
        let tolerance = interval.saturating_mul(burst.max(1));
        self.arrival
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |arrival| {
                let next = arrival.max(now) + interval;
                (next <= now + tolerance).then_some(next)
            })
            .is_ok()
    }
}

fn enter(count: &AtomicU64, most: Option<u64>) -> bool {
    let most = most.unwrap_or(u64::MAX);
    count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| (count < most).then_some(count + 1)).is_ok()
}

/// A client that is counted among its tenant's for as long as this lives.
pub struct Admitted(Arc<Live>, Gauge);

impl Admitted {
    /// None: the tenant has as many as it may have. `figure` shows how many there are.
    #[must_use]
    pub fn new(tenant: &Tenant, figure: &Gauge) -> Option<Self> {
        let entered = enter(&tenant.live.clients, tenant.limits.clients);
        entered.then(|| {
            figure.increment(1.0);
            Self(Arc::clone(&tenant.live), figure.clone())
        })
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.0.clients.fetch_sub(1, Ordering::Relaxed);
        self.1.decrement(1.0);
    }
}

/// A pinned connection that is counted among its tenant's for as long as this lives.
#[derive(Debug)]
pub struct Pinned {
    live: Arc<Live>,
    patterns_max: u64,
    patterns: Cell<u64>,
    everybodys: Cell<u64>,
}

impl Pinned {
    /// None: the tenant has as many as it may have.
    #[must_use]
    pub fn new(live: &Arc<Live>, limits: &Limits) -> Option<Self> {
        enter(&live.pinned, limits.pinned).then(|| Self {
            live: Arc::clone(live),
            patterns_max: PATTERNS_MAX.max(limits.pinned.unwrap_or(0).saturating_mul(PATTERNS_OF_ONE)),
            patterns: Cell::new(0),
            everybodys: Cell::new(0),
        })
    }

    /// It has so many patterns now, as far as that is `known`, and asks for more, and for channels that are everybody's; of those
    /// all that it had count for as long as this lives. False: the tenant would have too many, and what it asked for does not
    /// count.
    pub fn subscribes(&self, known: Option<u64>, patterns: u64, everybodys: u64) -> bool {
        let has = self.patterns.get();
        let now = known.unwrap_or(has);
        self.live.patterns.fetch_sub(has.saturating_sub(now), Ordering::Relaxed);
        self.patterns.set(now.min(has));
        if !more_of(&self.live.everybodys, &self.everybodys, everybodys, EVERYBODYS_MAX) {
            return false;
        }
        let may = more_of(&self.live.patterns, &self.patterns, patterns, self.patterns_max);
        if !may {
            self.live.everybodys.fetch_sub(everybodys, Ordering::Relaxed);
            self.everybodys.set(self.everybodys.get() - everybodys);
        }
        may
    }
}

/// So many more of what all have together, where that are not more than `most` then.
fn more_of(all: &AtomicU64, own: &Cell<u64>, more: u64, most: u64) -> bool {
    let within = |all: u64| all.checked_add(more).filter(|sum| *sum <= most);
    let may = more == 0 || all.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within).is_ok();
    if may {
        own.set(own.get() + more);
    }
    may
}

impl Drop for Pinned {
    fn drop(&mut self) {
        self.live.pinned.fetch_sub(1, Ordering::Relaxed);
        self.live.patterns.fetch_sub(self.patterns.get(), Ordering::Relaxed);
        self.live.everybodys.fetch_sub(self.everybodys.get(), Ordering::Relaxed);
    }
}

/// A walk through all keys, or one that waits for its turn, that is counted among its tenant's for as long as this lives.
#[derive(Debug)]
pub struct Walk(Arc<Live>);

impl Walk {
    /// None: there are as many as there may be.
    #[must_use]
    pub fn new(live: &Arc<Live>) -> Option<Self> {
        enter(&live.walks, Some(WALKS_MAX)).then(|| Self(Arc::clone(live)))
    }
}

impl Drop for Walk {
    fn drop(&mut self) {
        self.0.walks.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn so_many_come_at_once_and_then_so_many_a_second() {
        let live = Live::default();
        let taken = |now, tries| (0..tries).filter(|_| live.takes_request_at(10, 3, now)).count();
        assert_eq!(taken(0, 10), 3);
        assert_eq!(taken(SECOND / 10, 10), 1);
        assert_eq!(taken(SECOND, 10), 3);
        assert_eq!((1..=100).map(|tenth| taken(SECOND + tenth * SECOND / 10, 5)).sum::<usize>(), 100);
    }

    #[test]
    fn patterns_and_everybodys_channels_are_counted_together_until_their_connection_is_given_back() {
        let (live, limits) = (Arc::default(), Limits::default());
        let (one, two) = (Pinned::new(&live, &limits).expect("one"), Pinned::new(&live, &limits).expect("two"));
        assert!(one.subscribes(Some(0), 1000, 0) && two.subscribes(Some(0), 24, 0) && !two.subscribes(None, 1, 0));
        // It has unsubscribed from most of them.
        assert!(one.subscribes(Some(10), 0, 0) && two.subscribes(None, 990, 0) && !one.subscribes(None, 1, 0));
        assert!(one.subscribes(None, 0, 16) && !two.subscribes(None, 0, 1) && two.subscribes(None, 0, 0));
        drop(one);
        assert!(two.subscribes(None, 10, 0) && !two.subscribes(None, 1, 0) && two.subscribes(None, 0, 16));
        drop(two);
        assert_eq!((live.patterns.load(Ordering::Relaxed), live.everybodys.load(Ordering::Relaxed)), (0, 0));
        let many = Limits { pinned: Some(10_000), ..Limits::default() };
        assert!(Pinned::new(&live, &many).is_some_and(|pinned| pinned.subscribes(Some(0), 40_000, 0)));
    }

    #[test]
    fn what_is_refused_counts_for_nothing() {
        let (live, limits) = (Arc::default(), Limits::default());
        let pinned = Pinned::new(&live, &limits).expect("one");
        for _ in 0..3 {
            assert!(!pinned.subscribes(None, 1025, 1) && !pinned.subscribes(None, 1, 17));
        }
        assert!(pinned.subscribes(None, 1024, 16));
        drop(pinned);
        assert_eq!((live.patterns.load(Ordering::Relaxed), live.everybodys.load(Ordering::Relaxed)), (0, 0));
    }

    #[test]
    fn a_pinned_connection_more_than_may_be_is_refused_until_one_is_given_back() {
        let (live, limits) = (Arc::default(), Limits { pinned: Some(1), ..Limits::default() });
        let pinned = Pinned::new(&live, &limits);
        assert!(pinned.is_some() && Pinned::new(&live, &limits).is_none());
        drop(pinned);
        assert!(Pinned::new(&live, &limits).is_some());
    }
}
