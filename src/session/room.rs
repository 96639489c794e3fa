//! A worker's tenants: for each that somebody was or is reaped for, its inventory through the batcher of its upstream user.

use super::simple_ways::SimpleWays;
use super::turns::{Share, Turns};
use crate::inventory::batcher::{Batcher, Inventory, Namespaces, SpaceBounds, SpaceSettings};
use crate::inventory::sold_out::LastRefusal;
use crate::metrics::{Metrics, TenantMetrics};
use crate::tenant::isolation::Back;
use crate::tenant::{Tenant, Tenants, UpstreamUser};
use crate::upstream::link::state::{InParts, OnError, Telling};
use crate::upstream::stream::{Credentials, Identity};
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Tenants of a worker that have links of their own; more of them share these.
const LANES: u8 = 64;

/// Of one tenant's clients that leave at once so many are taken leave of in one round of a worker's tasks.
const ENDS_A_TURN: usize = 8;

/// Makes the batcher of an upstream user, which looks at the turns whether it is crowded.
pub type MakeBatcher = Box<dyn Fn(Option<&UpstreamUser>, &Rc<Turns>) -> Rc<Batcher>>;

/// One tenant in one worker.
pub struct Room {
    /// Whose it is.
    pub tenant: Arc<Tenant>,
    /// Its inventory.
    pub inventory: Inventory,
    /// What of it was refused last without the upstream.
    pub last_refusal: RefCell<LastRefusal>,
    /// Whom its commands run as upstream.
    pub identity: Identity,
    /// An upstream's error as an isolated tenant's client is to see it.
    pub on_error: OnError,
    /// Replies that name keys and may be large, as it is to see them while they come.
    pub first_is_key: InParts,
    /// See above.
    pub streams: InParts,
    /// What lives on where its configuration changes.
    pub own: Rc<Own>,
    /// What becomes of its simple commands.
    pub simple_ways: RefCell<SimpleWays>,
}

/// What a tenant has in a worker, whatever its configuration.
pub struct Own {
    /// Its figures.
    pub metrics: TenantMetrics,
    /// What it has taken of the worker's time.
    pub share: Share,
    /// The same of what comes by connections of its clients' own.
    pub reads: Share,
    /// Lists of its clients that are made now.
    pub lists: Semaphore,
    /// Its clients that end now.
    pub ends: Semaphore,
    lane: OnceCell<u8>,
}

impl Own {
    pub(super) fn new(metrics: &Metrics, tenant: &Tenant) -> Rc<Self> {
        Rc::new(Self {
            metrics: metrics.tenant(&tenant.name),
            share: Share::default(),
            reads: Share::default(),
            lists: Semaphore::new(1),
            ends: Semaphore::new(ENDS_A_TURN),
            lane: OnceCell::new(),
        })
    }
}

impl Room {
    fn new(tenant: &Arc<Tenant>, inventory: Inventory, identity: Identity, own: Rc<Own>) -> Rc<Self> {
        let of = Arc::clone(tenant);
        let on_error: OnError = Rc::new(move |reply, proto| Back::AsIs.apply(reply, &of.space, proto));
        let in_parts = |back: Back| -> InParts {
            let of = Arc::clone(tenant);
            Rc::new(move || telling(&back, &of))
        };
        let (first_is_key, streams) = (in_parts(Back::FirstIsKey), in_parts(Back::Streams));
        let (last_refusal, simple_ways) = (RefCell::default(), RefCell::default());
        Rc::new(Self {
            tenant: Arc::clone(tenant),
            inventory,
            last_refusal,
            identity,
            on_error,
            first_is_key,
            streams,
            own,
            simple_ways,
        })
    }
}

fn telling(back: &Back, tenant: &Tenant) -> Telling {
    match back.in_parts(&tenant.space) {
        Some(mut parts) => Box::new(move |bytes, out| parts.tell(bytes, out)),
        // Of such a reply nothing may be told before it is whole.
        None => Box::new(|_, _| false),
    }
}

/// See the module.
pub struct Rooms {
    tenants: RefCell<Arc<Tenants>>,
    /// Grows with each change of the tenants.
    generation: Cell<u64>,
    namespaces: Arc<Namespaces>,
    queue_ops_max: usize,
    make: MakeBatcher,
    batchers: RefCell<Vec<(Option<UpstreamUser>, Rc<Batcher>)>>,
    /// Those of upstream users that no tenant has any more: each ends when what it has under way is answered.
    retired: RefCell<Vec<Weak<Batcher>>>,
    rooms: RefCell<HashMap<Arc<str>, Rc<Room>>>,
    nobody: Rc<Room>,
    metrics: Metrics,
    lanes: Cell<u8>,
    /// The workers's turns.
    pub turns: Rc<Turns>,
}

impl Rooms {
    /// `namespaces` is what all workers know of them; `queue_ops_max` holds for a tenant that has no bound of its own.
    #[must_use]
    pub fn new(
        tenants: Arc<Tenants>,
        namespaces: Arc<Namespaces>,
        queue_ops_max: usize,
        make: MakeBatcher,
        metrics: &Metrics,
    ) -> Self {
        let turns = Turns::start();
        let batcher = make(None, &turns);
        let tenant = Arc::new(Tenant::nobody());
        let inventory = batcher.inventory(settings(&tenant, queue_ops_max), &namespaces);
        let nobody = Room::new(&tenant, inventory, None, Own::new(metrics, &tenant));
        Self {
            tenants: RefCell::new(tenants),
            generation: Cell::new(0),
            namespaces,
            queue_ops_max,
            make,
            batchers: RefCell::new(vec![(None, batcher)]),
            retired: RefCell::default(),
            rooms: RefCell::default(),
            nobody,
            metrics: metrics.clone(),
            lanes: Cell::new(0),
            turns,
        }
    }

    /// All operations of clients are answered.
    #[must_use]
    pub fn are_idle(&self) -> bool {
        self.batchers.borrow().iter().all(|(_, batcher)| batcher.is_idle())
            && self.retired.borrow().iter().filter_map(Weak::upgrade).all(|batcher| batcher.is_idle())
    }

    /// The tenants as they are now.
    #[must_use]
    pub fn tenants(&self) -> Arc<Tenants> {
        Arc::clone(&self.tenants.borrow())
    }

    /// Another for each change of the tenants.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.get()
    }

    /// The configuration has changed: clients are sorted in anew.
    pub fn change(&self, tenants: Arc<Tenants>) {
        self.rooms.borrow_mut().retain(|name, _| tenants.get(name).is_some());
        // Also of those whom nobody visits now: what a room of before holds of its upstream user is let go.
        let names: Vec<Arc<str>> = self.rooms.borrow().keys().cloned().collect();
        names.iter().filter_map(|name| tenants.get(name)).for_each(|tenant| drop(self.of(tenant)));
        self.retire_batchers(&tenants);
        *self.tenants.borrow_mut() = tenants;
        self.generation.set(self.generation.get() + 1);
    }

    fn retire_batchers(&self, tenants: &Tenants) {
        let user = |user: &'_ UpstreamUser| (user.0.clone(), user.1.expose().to_owned());
        let used: HashSet<_> = tenants.all().filter_map(|tenant| tenant.inventory_user()).map(user).collect();
        let mut batchers = self.batchers.borrow_mut();
        let gone =
            batchers.extract_if(.., |(known, _)| known.as_ref().is_some_and(|known| !used.contains(&user(known))));
        let mut retired = self.retired.borrow_mut();
        retired.retain(|batcher| batcher.strong_count() > 0);
        retired.extend(gone.map(|(_, batcher)| Rc::downgrade(&batcher)));
    }

    /// Which links it uses: its own, where tenants are not too many.
    #[must_use]
    pub fn lane(&self, room: &Room) -> u8 {
        *room.own.lane.get_or_init(|| {
            let lane = self.lanes.get() % LANES + 1;
            self.lanes.set(lane);
            lane
        })
    }

    /// The room of who is nobody yet: nothing is allowed there.
    #[must_use]
    pub fn nobody(&self) -> &Rc<Room> {
        &self.nobody
    }

    /// This tenant's.
    pub fn of(&self, tenant: &Arc<Tenant>) -> Rc<Room> {
        if let Some(room) = self.rooms.borrow().get(&tenant.name).filter(|room| Arc::ptr_eq(&room.tenant, tenant)) {
            return Rc::clone(room);
        }
        let inventory = self.inventory(tenant);
        let known = self.rooms.borrow().get(&tenant.name).map(|room| Rc::clone(&room.own));
        let own = known.unwrap_or_else(|| Own::new(&self.metrics, tenant));
        own.share.window.resize(tenant.limits.window.unwrap_or(usize::MAX));
        let identity = tenant.upstream.as_ref().map(|(user, password)| {
            Rc::new(Credentials::new(vec![user.clone().into_bytes(), password.expose().as_bytes().to_vec()]))
        });
        let room = Room::new(tenant, inventory, identity, own);
        self.rooms.borrow_mut().insert(Arc::clone(&tenant.name), Rc::clone(&room));
        room
    }

    /// What waits of a tenant waits on where its configuration has changed: a client's operations keep their order.
    fn inventory(&self, tenant: &Arc<Tenant>) -> Inventory {
        let settings = settings(tenant, self.queue_ops_max);
        if let Some(before) = self.rooms.borrow().get(&tenant.name)
            && before.tenant.namespace == tenant.namespace
            && before.tenant.inventory_user() == tenant.inventory_user()
        {
            before.inventory.set_bounds(settings.bounds);
            return before.inventory.clone();
        }
        self.batcher(tenant.inventory_user()).inventory(settings, &self.namespaces)
    }

    /// The inventory of each namespace, each once.
    #[must_use]
    pub fn inventories(&self) -> Vec<Inventory> {
        let tenants = self.tenants();
        let mut seen = HashSet::new();
        tenants
            .all()
            .filter(|tenant| seen.insert(tenant.namespace.clone()))
            .map(|tenant| self.of(tenant).inventory.clone())
            .collect()
    }

    fn batcher(&self, user: Option<&UpstreamUser>) -> Rc<Batcher> {
        let mut batchers = self.batchers.borrow_mut();
        if let Some((_, batcher)) = batchers.iter().find(|(known, _)| known.as_ref() == user) {
            return Rc::clone(batcher);
        }
        let batcher = (self.make)(user, &self.turns);
        batchers.push((user.cloned(), Rc::clone(&batcher)));
        batcher
    }
}

fn settings(tenant: &Tenant, queue_ops_max: usize) -> SpaceSettings {
    SpaceSettings {
        namespace: tenant.namespace.clone(),
        cells: tenant.cells,
        remember_ms: tenant.remember_ms,
        bounds: SpaceBounds {
            queue_ops_max: tenant.limits.queue_ops.unwrap_or(queue_ops_max),
            acknowledge: tenant.acknowledge,
            window: tenant.limits.window.unwrap_or(usize::MAX),
        },
    }
}
