//! Pinned connections: each carries the requests of one client at a time, while the upstream keeps state for it. One that
//! remembers nothing any more waits, warm, for the next client of the same greeting; one whose client is gone is RESET first
//! where that takes all away, and else closed.

use super::Links;
use crate::metrics::PinReason;
use crate::resp::{ReplyQueue, write};
use crate::upstream::link::state::{Effect, Watch};
use crate::upstream::link::{Link, Sharing};
use crate::upstream::stream::{Greeting, GreetingPart};
use bytes::BytesMut;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// Connections that wait for their next client, of one worker.
const WARM_MAX: usize = 32;

/// By greeting, with the time it was given back, the last one at the end.
type Warm = HashMap<Greeting, Vec<(Rc<Link>, Instant)>>;

/// Bookkeeping of a worker's pinned connections.
pub(super) struct Pins {
    max: usize,
    /// Those in use, of all workers.
    used: Arc<AtomicUsize>,
    /// Those that wait for their next client.
    warm: RefCell<Warm>,
    /// Those that are being RESET.
    resetting: RefCell<Vec<(Rc<Link>, Greeting)>>,
}

impl Pins {
    pub(super) fn new(max: usize, used: &Arc<AtomicUsize>) -> Self {
        Self { max, used: Arc::clone(used), warm: RefCell::default(), resetting: RefCell::default() }
    }

    fn take_warm(&self, greeting: &Greeting) -> Option<Rc<Link>> {
        self.collect_reset();
        let mut warm = self.warm.borrow_mut();
        let kept = warm.get_mut(greeting)?;
        let found = std::iter::from_fn(|| kept.pop()).map(|(link, _)| link).find(|link| !link.is_closed());
        if kept.is_empty() {
            warm.remove(greeting);
        }
        found
    }

    fn keep_warm(&self, link: &Rc<Link>, greeting: Greeting) {
        let mut warm = self.warm.borrow_mut();
        if warm.values().map(Vec::len).sum::<usize>() >= WARM_MAX {
            link.close();
            return;
        }
        warm.entry(greeting).or_default().push((Rc::clone(link), Instant::now()));
    }

    /// Those whose RESET is done are warm from here on.
    fn collect_reset(&self) {
        let (done, pending): (Vec<_>, Vec<_>) =
            self.resetting.take().into_iter().partition(|(link, _)| link.is_idle() || link.is_closed());
        *self.resetting.borrow_mut() = pending;
        for (link, greeting) in done.into_iter().filter(|(link, _)| !link.is_closed()) {
            if link.remembered().greeting.db == greeting.db {
                link.forget(greeting.clone());
                self.keep_warm(&link, greeting);
            } else {
                link.close();
            }
        }
    }

    pub(super) fn sweep(&self, now: Instant, idle_max: Duration) {
        self.collect_reset();
        self.warm.borrow_mut().retain(|_, kept| {
            kept.retain(|(link, since)| {
                let stays = now - *since <= idle_max && !link.is_closed();
                if !stays {
                    link.close();
                }
                stays
            });
            !kept.is_empty()
        });
    }

    pub(super) fn close(&self) {
        self.warm.borrow_mut().drain().flat_map(|(_, kept)| kept).for_each(|(link, _)| link.close());
        self.resetting.borrow_mut().drain(..).for_each(|(link, _)| link.close());
    }
}

impl Links {
    /// A connection of this client's own, or None where `pinned_max` are in use.
    pub fn pinned(
        self: &Rc<Self>,
        client: &Rc<ReplyQueue>,
        greeting: &Greeting,
        reason: PinReason,
    ) -> Option<PinnedLink> {
        if self.pins.used.fetch_add(1, Ordering::Relaxed) >= self.pins.max {
            self.pins.used.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let link = match self.pins.take_warm(greeting) {
            Some(link) => {
                link.attach(Some(Rc::clone(client)));
                link
            }
            None => {
                let sharing = Sharing::Exclusive {
                    client: RefCell::new(Some(Rc::clone(client))),
                    pause_bytes: self.limits.pause_bytes,
                };
                Link::start(&self.target, greeting.clone(), sharing, &self.metrics, &self.scratch)
            }
        };
        self.metrics.pins[reason].increment(1);
        self.metrics.pinned_clients.increment(1.0);
        Some(PinnedLink { link, links: Rc::clone(self) })
    }

    /// Fewer than `pinned_max` are in use.
    #[must_use]
    pub fn has_pin_left(&self) -> bool {
        self.pins.used.load(Ordering::Relaxed) < self.pins.max
    }

    /// A client needs its connection no longer.
    fn take_back(&self, link: &Rc<Link>) {
        self.pins.used.fetch_sub(1, Ordering::Relaxed);
        self.metrics.pinned_clients.decrement(1.0);
        link.attach(None);
        // What is under way may wait for ever, and would take an element for a client that is gone.
        if !link.is_up() || !link.is_idle() || link.raw.get() {
            return link.close();
        }
        let (clean, resettable, greeting) = {
            let remembered = link.remembered();
            (remembered.is_clean(), remembered.is_resettable(), remembered.greeting.clone())
        };
        match () {
            () if clean => self.pins.keep_warm(link, greeting),
            () if resettable => {
                let nobody = ReplyQueue::new(usize::MAX);
                let mut reset = BytesMut::new();
                write::request(&mut reset, &[b"RESET"]);
                link.send(&reset, nobody.ticket(), Watch::effect(Effect::Reset));
                for (part, request) in greeting.requests(&self.target) {
                    let effect = match part {
                        GreetingPart::Own => Effect::None,
                        GreetingPart::Select => Effect::Select(greeting.db),
                        GreetingPart::Auth | GreetingPart::Hello => Effect::Must,
                    };
                    link.send(&request, nobody.ticket(), Watch::effect(effect));
                }
                self.pins.resetting.borrow_mut().push((Rc::clone(link), greeting));
            }
            () => link.close(),
        }
    }
}

/// A client's own connection; dropping it gives it back, or closes it where something is under way on it.
pub struct PinnedLink {
    link: Rc<Link>,
    links: Rc<Links>,
}

impl std::ops::Deref for PinnedLink {
    type Target = Rc<Link>;
    fn deref(&self) -> &Rc<Link> {
        &self.link
    }
}

impl Drop for PinnedLink {
    fn drop(&mut self) {
        self.links.take_back(&self.link);
    }
}
