//! What of a tenant is now: its clients, its pinned connections, its requests of late. Shared by all workers.

use super::isolation::Scripts;
use super::{Limits, Tenant};
use crate::metrics::Gauge;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tokio::sync::Semaphore;

/// Clients of a tenant that walk through all keys, or wait for their turn to: more than an application has workers.
const WALKS_MAX: u64 = 256;

/// See the module.
#[derive(Debug)]
pub struct Live {
    clients: AtomicU64,
    /// Clients so far.
    last_client: AtomicU64,
    pinned: AtomicU64,
    since: Instant,
    /// The theoretical arrival time of the next request, ns from `since` (GCRA: a leaky bucket in one number).
    arrival: AtomicU64,
    /// The scripts that it sent.
    pub scripts: Scripts,
    /// Its password's hash is worked out for one client at a time.
    pub hashing: Semaphore,
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
            since: Instant::now(),
            arrival: AtomicU64::new(0),
            scripts: Scripts::default(),
            hashing: Semaphore::const_new(1),
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
pub struct Pinned(Arc<Live>);

impl Pinned {
    /// None: the tenant has as many as it may have.
    #[must_use]
    pub fn new(live: &Arc<Live>, limits: &Limits) -> Option<Self> {
        enter(&live.pinned, limits.pinned).then(|| Self(Arc::clone(live)))
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        self.0.pinned.fetch_sub(1, Ordering::Relaxed);
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
    fn a_pinned_connection_more_than_may_be_is_refused_until_one_is_given_back() {
        let (live, limits) = (Arc::default(), Limits { pinned: Some(1), ..Limits::default() });
        let pinned = Pinned::new(&live, &limits);
        assert!(pinned.is_some() && Pinned::new(&live, &limits).is_none());
        drop(pinned);
        assert!(Pinned::new(&live, &limits).is_some());
    }
}
