//! A worker's links: for each database and protocol in use a few, shared by all clients that use them.

use super::link::{Link, Scratch, Sharing};
use super::stream::Greeting;
use super::target::Target;
use crate::metrics::Metrics;
use crate::resp::{Proto, ReplyQueue};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Limits of a worker's upstream connections.
#[derive(Debug, Clone)]
pub struct LinkLimits {
    /// Links for each database and protocol.
    pub links: usize,
    /// Pinned connections of the whole process.
    pub pinned_max: usize,
    /// See [`Sharing::Shared`].
    pub reply_timeout: Duration,
    /// See [`Sharing::Exclusive`].
    pub pause_bytes: usize,
}

/// By database and protocol.
type Groups = HashMap<(u32, Proto), Vec<Rc<Link>>>;

/// See the module.
pub struct Links {
    target: Rc<Target>,
    limits: LinkLimits,
    metrics: Metrics,
    scratch: Scratch,
    groups: RefCell<Groups>,
    next: Cell<usize>,
    /// Pinned connections of all workers.
    pinned: Arc<AtomicUsize>,
}

impl Links {
    /// None is connected before a client needs it.
    #[must_use]
    pub fn new(
        target: &Rc<Target>,
        limits: LinkLimits,
        pinned: &Arc<AtomicUsize>,
        metrics: &Metrics,
        scratch: &Scratch,
    ) -> Self {
        Self {
            target: Rc::clone(target),
            limits,
            metrics: metrics.clone(),
            scratch: Rc::clone(scratch),
            groups: RefCell::default(),
            next: Cell::new(0),
            pinned: Arc::clone(pinned),
        }
    }

    /// The sidecar has credentials of its own upstream.
    #[must_use]
    pub fn has_credentials(&self) -> bool {
        self.target.password.is_some() || self.target.username.is_some()
    }

    /// The database that clients begin in.
    #[must_use]
    pub fn first_db(&self) -> u32 {
        self.target.db
    }

    /// A link for this database and protocol; give it back by dropping the [`SharedLink`].
    pub fn shared(self: &Rc<Self>, db: u32, proto: Proto) -> SharedLink {
        let mut groups = self.groups.borrow_mut();
        let group = groups.entry((db, proto)).or_default();
        group.retain(|link| !link.is_closed());
        let link = if group.len() < self.limits.links {
            let greeting = Greeting { proto, db, name: Vec::new(), silent: false };
            let sharing = Sharing::Shared { reply_timeout: self.limits.reply_timeout };
            let link = Link::start(&self.target, greeting, sharing, &self.metrics, &self.scratch);
            group.push(Rc::clone(&link));
            link
        } else {
            let index = self.next.get() % group.len();
            self.next.set(self.next.get().wrapping_add(1));
            Rc::clone(&group[index])
        };
        link.users.set(link.users.get() + 1);
        SharedLink { link, db, proto, links: Rc::clone(self) }
    }

    /// A connection of this client's own, or None where `pinned_max` are open.
    pub fn pinned(&self, client: &Rc<ReplyQueue>, greeting: Greeting) -> Option<PinnedLink> {
        if self.pinned.fetch_add(1, Ordering::Relaxed) >= self.limits.pinned_max {
            self.pinned.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let sharing = Sharing::Exclusive { client: Rc::clone(client), pause_bytes: self.limits.pause_bytes };
        let link = Link::start(&self.target, greeting, sharing, &self.metrics, &self.scratch);
        Some(PinnedLink { link, pinned: Arc::clone(&self.pinned) })
    }

    /// Ends all links; for the end of the worker.
    pub fn close(&self) {
        for (_, group) in self.groups.borrow_mut().drain() {
            group.iter().for_each(|link| link.close());
        }
    }
}

/// A client's use of a shared link. A group that no client uses any more, but the one that clients begin in, is closed.
pub struct SharedLink {
    link: Rc<Link>,
    db: u32,
    proto: Proto,
    links: Rc<Links>,
}

impl std::ops::Deref for SharedLink {
    type Target = Rc<Link>;
    fn deref(&self) -> &Rc<Link> {
        &self.link
    }
}

impl Drop for SharedLink {
    fn drop(&mut self) {
        self.link.users.set(self.link.users.get() - 1);
        if self.db == self.links.target.db {
            return;
        }
        let mut groups = self.links.groups.borrow_mut();
        let unused = groups
            .get(&(self.db, self.proto))
            .is_some_and(|group| group.iter().all(|link| link.users.get() == 0 && link.is_idle()));
        if unused && let Some(group) = groups.remove(&(self.db, self.proto)) {
            group.iter().for_each(|link| link.close());
        }
    }
}

/// A client's own connection; dropping it closes the connection, whatever is under way on it.
pub struct PinnedLink {
    link: Rc<Link>,
    pinned: Arc<AtomicUsize>,
}

impl std::ops::Deref for PinnedLink {
    type Target = Rc<Link>;
    fn deref(&self) -> &Rc<Link> {
        &self.link
    }
}

impl Drop for PinnedLink {
    fn drop(&mut self) {
        self.link.close();
        self.pinned.fetch_sub(1, Ordering::Relaxed);
    }
}
