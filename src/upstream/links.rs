//! A worker's connections for what passes through: for each user, database and protocol in use a few links, shared by all
//! clients that use them; and the pinned connections, each of one client at a time ([`pins`]).

pub mod pins;

use self::pins::{PinCounts, Pins};
use super::link::{Link, Scratch, Sharing};
use super::stream::Greeting;
use super::target::Target;
use crate::metrics::Metrics;
use crate::resp::Proto;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior};

/// Links and pinned connections that nobody uses are kept so long for the next client.
const IDLE_MAX: Duration = Duration::from_secs(10);
/// How often is looked for them.
const SWEEP: Duration = Duration::from_secs(1);

/// Limits of a worker's upstream connections.
#[derive(Debug, Clone)]
pub struct LinkLimits {
    /// Links for each user, database and protocol.
    pub links: usize,
    /// Pinned connections of the whole process.
    pub pinned_max: usize,
    /// See [`Sharing::Shared`].
    pub reply_timeout: Duration,
    /// See [`Sharing::Exclusive`].
    pub pause_bytes: usize,
}

#[derive(Default)]
struct Group {
    links: Vec<Rc<Link>>,
    users: usize,
    unused_since: Option<Instant>,
}

/// See the module.
pub struct Links {
    target: Rc<Target>,
    limits: LinkLimits,
    metrics: Metrics,
    scratch: Scratch,
    groups: RefCell<HashMap<Greeting, Group>>,
    next: Cell<usize>,
    pins: Pins,
}

impl Links {
    /// None is connected before a client needs it. To be called on the worker's runtime.
    #[must_use]
    pub fn new(
        target: &Rc<Target>,
        limits: LinkLimits,
        pinned: &Arc<PinCounts>,
        metrics: &Metrics,
        scratch: &Scratch,
    ) -> Rc<Self> {
        let links = Rc::new(Self {
            target: Rc::clone(target),
            pins: Pins::new(limits.pinned_max, pinned),
            limits,
            metrics: metrics.clone(),
            scratch: Rc::clone(scratch),
            groups: RefCell::default(),
            next: Cell::new(0),
        });
        tokio::task::spawn_local(sweep(Rc::downgrade(&links)));
        links
    }

    /// What clients begin with.
    #[must_use]
    pub fn first_greeting(&self, proto: Proto) -> Greeting {
        Greeting { identity: None, proto, db: self.target.db, selected_as: None, lane: 0 }
    }

    /// A link that says this greeting; give it back by dropping the [`SharedLink`].
    pub fn shared(self: &Rc<Self>, greeting: &Greeting) -> SharedLink {
        let mut groups = self.groups.borrow_mut();
        if !groups.contains_key(greeting) {
            groups.insert(greeting.clone(), Group::default());
        }
        let Some(group) = groups.get_mut(greeting) else { unreachable!("it was just put there") };
        group.links.retain(|link| !link.is_closed());
        let link = if group.links.len() < self.limits.links {
            let link = self.make_shared(greeting);
            group.links.push(Rc::clone(&link));
            link
        } else {
            let index = self.next.get() % group.links.len();
            self.next.set(self.next.get().wrapping_add(1));
            Rc::clone(&group.links[index])
        };
        group.users += 1;
        group.unused_since = None;
        drop(groups);
        self.keep_spare();
        SharedLink { link, greeting: greeting.clone(), links: Rc::clone(self) }
    }

    fn make_shared(&self, greeting: &Greeting) -> Rc<Link> {
        let sharing = Sharing::Shared { reply_timeout: self.limits.reply_timeout };
        Link::start(&self.target, greeting.clone(), sharing, &self.metrics, &self.scratch)
    }

    /// All links that the next clients will begin with are there, or being made.
    fn fill_first_group(&self) {
        let first = self.first_greeting(Proto::Resp2);
        let mut groups = self.groups.borrow_mut();
        let group = groups.entry(first.clone()).or_default();
        group.links.retain(|link| !link.is_closed());
        group.links.resize_with(self.limits.links, || self.make_shared(&first));
    }

    /// Another link that says the same and runs no script, where there is one.
    pub fn evade(self: &Rc<Self>, link: &SharedLink) -> Option<SharedLink> {
        let mut groups = self.groups.borrow_mut();
        let group = groups.get_mut(&link.greeting)?;
        if group.links.len() < self.limits.links {
            drop(groups);
            return Some(self.shared(&link.greeting));
        }
        let free = group.links.iter().find(|link| !link.is_closed() && link.is_up() && !link.runs_script())?;
        group.users += 1;
        Some(SharedLink { link: Rc::clone(free), greeting: link.greeting.clone(), links: Rc::clone(self) })
    }

    fn release(&self, greeting: &Greeting, link: &Rc<Link>) {
        let mut groups = self.groups.borrow_mut();
        let Some(group) = groups.get_mut(greeting) else { return };
        group.users -= 1;
        if group.users > 0 || self.is_first(greeting) {
            return;
        }
        // What the upstream refused (a wrong password, a database that is not there) is not tried again by itself.
        if !link.is_up() && link.is_idle() {
            group.links.iter().for_each(|link| link.close());
            groups.remove(greeting);
        } else {
            group.unused_since = Some(Instant::now());
        }
    }

    /// Clients begin here: it is kept for them.
    fn is_first(&self, greeting: &Greeting) -> bool {
        greeting.identity.is_none() && greeting.db == self.target.db && greeting.lane == 0
    }

    fn sweep(&self) {
        let now = Instant::now();
        self.groups.borrow_mut().retain(|_, group| {
            let old = group.unused_since.is_some_and(|since| now - since > IDLE_MAX);
            let unused = old && group.links.iter().all(|link| link.is_idle());
            if unused {
                group.links.iter().for_each(|link| link.close());
            }
            !unused
        });
        // Not for an upstream that is not there: its links find out when it is back.
        if self.groups.borrow().values().any(|group| group.links.iter().any(|link| link.is_up())) {
            self.refill_spare();
        }
        self.pins.sweep(now, IDLE_MAX);
    }

    /// Ends all links; for the end of the worker.
    pub fn close(&self) {
        for (_, group) in self.groups.borrow_mut().drain() {
            group.links.iter().for_each(|link| link.close());
        }
        self.pins.close();
    }
}

async fn sweep(links: Weak<Links>) {
    let mut tick = tokio::time::interval(SWEEP);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let Some(links) = links.upgrade() else { return };
        links.sweep();
    }
}

/// A client's use of a shared link.
pub struct SharedLink {
    link: Rc<Link>,
    greeting: Greeting,
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
        self.links.release(&self.greeting, &self.link);
    }
}
