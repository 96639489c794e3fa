//! Pinned connections: each carries the requests of one client at a time, while the upstream keeps state for it. One that
//! remembers nothing any more waits, warm, for the next client of the same greeting; one whose client is gone is RESET first
//! where that takes all away, and else closed.

use super::Links;
use crate::metrics::PinReason;
use crate::resp::{Proto, ReplyQueue, write};
use crate::upstream::link::state::{Effect, Watch};
use crate::upstream::link::{Link, Sharing};
use crate::upstream::stream::Greeting;
use bytes::BytesMut;
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use tokio::time::Instant;

/// Connections that wait for their next client, of one worker.
const WARM_MAX: usize = 32;
/// So many of them nobody has used yet: a command that waits, or a transaction, goes upstream at once, before what other
/// clients send after it.
const SPARE: usize = 2;
/// Clients of a worker whose credentials are being proved at once.
const PROVING_MAX: usize = 8;
/// After one of them could not be made or was lost.
const SPARE_PAUSE: Duration = Duration::from_secs(1);

/// By greeting, with the time it was given back, the last one at the end.
type Warm = HashMap<Greeting, Vec<(Rc<Link>, Instant)>>;

/// What the workers count together.
#[derive(Default)]
pub struct PinCounts {
    /// Pinned connections in use.
    used: AtomicUsize,
    /// Those of them that may be shown what others send upstream (MONITOR).
    watching: AtomicUsize,
}

/// Bookkeeping of a worker's pinned connections.
pub(super) struct Pins {
    max: usize,
    counts: Arc<PinCounts>,
    /// Those that wait for their next client.
    warm: RefCell<Warm>,
    /// Connections made before anybody needs them, greeted as clients begin.
    spare: RefCell<Vec<Rc<Link>>>,
    /// None is made before then.
    spare_from: Cell<Instant>,
    /// A client has come that may need one.
    spare_wanted: Cell<bool>,
    /// Connections on which credentials are being proved, and who waits to prove more.
    proving: Cell<usize>,
    provers: RefCell<Vec<Waker>>,
    /// Those that are being RESET.
    resetting: RefCell<Vec<(Rc<Link>, Greeting)>>,
}

impl Pins {
    pub(super) fn new(max: usize, counts: &Arc<PinCounts>) -> Self {
        Self {
            max,
            counts: Arc::clone(counts),
            warm: RefCell::default(),
            spare: RefCell::default(),
            spare_from: Cell::new(Instant::now()),
            spare_wanted: Cell::new(false),
            proving: Cell::new(0),
            provers: RefCell::default(),
            resetting: RefCell::default(),
        }
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
            // Of those of whom there are most the oldest goes: nobody's many keep out another's first.
            let (most, kept) = match warm.iter_mut().max_by_key(|(_, kept)| kept.len()) {
                Some((most, kept)) => (most.clone(), kept),
                None => return link.close(),
            };
            kept.remove(0).0.close();
            if kept.is_empty() {
                warm.remove(&most);
            }
        }
        warm.entry(greeting).or_default().push((Rc::clone(link), Instant::now()));
    }

    /// Those whose RESET is done are warm from here on.
    fn collect_reset(&self) {
        let (done, pending): (Vec<_>, Vec<_>) =
            self.resetting.take().into_iter().partition(|(link, _)| link.is_idle() || link.is_closed());
        *self.resetting.borrow_mut() = pending;
        for (link, greeting) in done.into_iter().filter(|(link, _)| !link.is_closed()) {
            self.keep_warm(&link, greeting);
        }
    }

    /// A client of the sidecar may be shown all that goes upstream, and what is not the clients' is none of its business.
    fn are_watched(&self) -> bool {
        self.counts.watching.load(Ordering::Relaxed) > 0
    }

    fn take_spare(&self) -> Option<Rc<Link>> {
        let mut spare = self.spare.borrow_mut();
        let place = spare.iter().position(|link| link.is_up())?;
        Some(spare.swap_remove(place))
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
        self.spare.borrow_mut().drain(..).for_each(|link| link.close());
        self.resetting.borrow_mut().drain(..).for_each(|(link, _)| link.close());
    }
}

impl Links {
    /// A connection of this client's own, or None where `pinned_max` are in use. Upstream it bears the client's name.
    pub fn pinned(
        self: &Rc<Self>,
        client: &Rc<ReplyQueue>,
        greeting: &Greeting,
        name: &[u8],
        reason: PinReason,
    ) -> Option<PinnedLink> {
        if self.pins.counts.used.fetch_add(1, Ordering::Relaxed) >= self.pins.max {
            self.pins.counts.used.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let link = match self.pins.take_warm(greeting).or_else(|| self.convert_spare(client, greeting)) {
            Some(link) => {
                link.attach(Some(Rc::clone(client)));
                link
            }
            None => self.make_exclusive(Some(Rc::clone(client)), greeting),
        };
        // Behind a MONITOR its greeting would be shown there.
        if reason != PinReason::Raw {
            self.keep_spare();
        }
        if *link.name.borrow() != name {
            let mut set_name = BytesMut::new();
            write::request(&mut set_name, &[b"CLIENT", b"SETNAME", name]);
            link.send(&set_name, client.muted_ticket(), None);
            *link.name.borrow_mut() = name.to_vec();
        }
        self.metrics.pins[reason].increment(1);
        self.metrics.pinned_clients.increment(1.0);
        Some(PinnedLink { link, links: Rc::clone(self), guard: None, is_awaited: Cell::new(true) })
    }

    fn make_exclusive(&self, client: Option<Rc<ReplyQueue>>, greeting: &Greeting) -> Rc<Link> {
        let sharing = Sharing::Exclusive {
            client: RefCell::new(client),
            pause_bytes: self.limits.pause_bytes,
            reply_timeout: self.limits.reply_timeout,
        };
        Link::start(&self.target, greeting.clone(), sharing, &self.metrics, &self.scratch)
    }

    /// Makes connections that the next clients in need will find greeted. It is done at once, not when a second client is
    /// in need: of clients that need one in a row each finds one as soon as the upstream can greet it.
    pub(super) fn keep_spare(&self) {
        self.pins.spare_wanted.set(true);
        self.refill_spare();
    }

    /// What could not be made when it was needed is made later.
    pub(super) fn refill_spare(&self) {
        // Under a MONITOR of a client's a command may have to wait for its connection, but what that client reads is only
        // what clients sent.
        if !self.pins.spare_wanted.get() || self.pins.are_watched() {
            return;
        }
        let first = self.first_greeting(Proto::Resp2);
        let mut spare = self.pins.spare.borrow_mut();
        let now = Instant::now();
        if spare.extract_if(.., |link| link.is_closed()).count() > 0 {
            // The upstream is not there, or does not want it: not at once again.
            self.pins.spare_from.set(now + SPARE_PAUSE);
        }
        if now < self.pins.spare_from.get() {
            return;
        }
        while spare.len() < SPARE {
            spare.push(self.make_exclusive(None, &first));
        }
    }

    /// A spare connection that is told, ahead of its client's first request, what it is to be. The client waits for the
    /// replies too, which it does not see.
    fn convert_spare(&self, client: &Rc<ReplyQueue>, greeting: &Greeting) -> Option<Rc<Link>> {
        // A client's credentials are proved with nothing else under way.
        if greeting.identity.is_some() {
            return None;
        }
        let link = self.pins.take_spare()?;
        for request in greeting.changes_from(&self.first_greeting(Proto::Resp2)) {
            link.send(&request, client.muted_ticket(), Watch::effect(Effect::Must));
        }
        link.forget(greeting.clone());
        Some(link)
    }

    /// Ready when none of this worker's connections is being greeted and none has to be for the next client. A MONITOR that
    /// begins then shows no greeting of the sidecar's.
    pub fn poll_greeted(&self, cx: &Context<'_>) -> Poll<()> {
        self.fill_first_group();
        self.keep_spare();
        let groups = self.groups.borrow();
        let spare = self.pins.spare.borrow();
        let links = groups.values().flat_map(|group| &group.links).chain(spare.iter());
        for link in links.filter(|link| !link.is_closed()) {
            // Where the upstream cannot be reached that is known too.
            let _ = ready!(link.poll_known(cx));
        }
        Poll::Ready(())
    }

    /// Fewer than `pinned_max` are in use.
    #[must_use]
    pub fn has_pin_left(&self) -> bool {
        self.pins.counts.used.load(Ordering::Relaxed) < self.pins.max
    }

    /// A connection of these credentials on which nothing else is under way, to prove them; its reply goes to `client`.
    /// Pending: many are being proved.
    pub fn prover(
        self: &Rc<Self>,
        client: &Rc<ReplyQueue>,
        greeting: &Greeting,
        cx: &Context<'_>,
    ) -> Poll<ProvingLink> {
        if self.pins.proving.get() >= PROVING_MAX {
            self.pins.provers.borrow_mut().push(cx.waker().clone());
            return Poll::Pending;
        }
        self.pins.proving.set(self.pins.proving.get() + 1);
        let link = match self.pins.take_warm(greeting) {
            Some(link) => {
                link.attach(Some(Rc::clone(client)));
                link
            }
            None => self.make_exclusive(Some(Rc::clone(client)), greeting),
        };
        Poll::Ready(ProvingLink { link, links: Rc::clone(self) })
    }

    /// A client needs its connection no longer.
    fn take_back(&self, link: &Rc<Link>) {
        link.attach(None);
        // What is under way may wait for ever, and would take an element for a client that is gone.
        if !link.is_up() || !link.is_idle() || link.raw.get() || link.input_ended() {
            return link.close();
        }
        let (clean, reusable, greeting) = {
            let remembered = link.remembered();
            (remembered.is_clean(), remembered.is_reusable(), remembered.greeting.clone())
        };
        match () {
            () if !reusable => link.close(),
            () if clean => self.pins.keep_warm(link, greeting),
            // Its RESET and its greeting would be shown to a MONITOR.
            () if greeting.identity.is_none() && !self.pins.are_watched() => {
                self.reset(link, &greeting, &ReplyQueue::new(usize::MAX));
                self.pins.resetting.borrow_mut().push((Rc::clone(link), greeting));
            }
            () => link.close(),
        }
    }

    /// Takes all from a connection that it remembers, and makes it this greeting's.
    fn reset(&self, link: &Link, greeting: &Greeting, client: &Rc<ReplyQueue>) {
        link.name.borrow_mut().clear();
        let mut reset = BytesMut::new();
        write::request(&mut reset, &[b"RESET"]);
        link.send(&reset, client.muted_ticket(), Watch::effect(Effect::Reset(Box::new(greeting.clone()))));
        for (_, request) in greeting.requests(&self.target, None) {
            link.send(&request, client.muted_ticket(), Watch::effect(Effect::Must));
        }
    }
}

impl PinnedLink {
    /// The client begins anew: this greeting is what is left. It waits for the replies, which it does not see.
    pub fn reset(&self, greeting: &Greeting, client: &Rc<ReplyQueue>) {
        if self.links.pins.are_watched() {
            // It is closed behind that: a greeting would be shown to a MONITOR.
            let mut reset = BytesMut::new();
            write::request(&mut reset, &[b"RESET"]);
            self.link.send(&reset, client.muted_ticket(), None);
        } else {
            self.links.reset(&self.link, greeting, client);
        }
    }
}

/// A client's own connection; dropping it gives it back, or closes it where something is under way on it.
pub struct PinnedLink {
    link: Rc<Link>,
    links: Rc<Links>,
    /// Kept for as long as the client has it.
    pub guard: Option<Box<dyn Any>>,
    /// The request that it is for was not sent yet: it waits for the greeting. Were the connection given back then, another
    /// would be made for that request, and so on.
    pub is_awaited: Cell<bool>,
}

impl PinnedLink {
    /// From here on bytes go through as they come.
    pub fn become_raw(&self) {
        if !self.link.raw.replace(true) {
            self.links.pins.counts.watching.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl std::ops::Deref for PinnedLink {
    type Target = Rc<Link>;
    fn deref(&self) -> &Rc<Link> {
        &self.link
    }
}

impl Drop for PinnedLink {
    fn drop(&mut self) {
        self.links.pins.counts.used.fetch_sub(1, Ordering::Relaxed);
        if self.link.raw.get() {
            self.links.pins.counts.watching.fetch_sub(1, Ordering::Relaxed);
        }
        self.links.metrics.pinned_clients.decrement(1.0);
        self.links.take_back(&self.link);
    }
}

/// A connection on which a client's credentials are proved.
pub struct ProvingLink {
    link: Rc<Link>,
    links: Rc<Links>,
}

impl std::ops::Deref for ProvingLink {
    type Target = Rc<Link>;
    fn deref(&self) -> &Rc<Link> {
        &self.link
    }
}

impl Drop for ProvingLink {
    fn drop(&mut self) {
        let pins = &self.links.pins;
        pins.proving.set(pins.proving.get() - 1);
        pins.provers.borrow_mut().drain(..).for_each(Waker::wake);
        self.links.take_back(&self.link);
    }
}
