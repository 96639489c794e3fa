//! Who is this client: the tenant, its namespace, what it may do and how much of it.

pub mod acl;
pub mod isolation;
mod limits;
mod password;
mod registry;
pub mod rights;

pub use limits::{Admitted, Live, Pinned, Walk};
pub use password::Password;
pub use registry::{Tenants, resolve};

use crate::config::{Acknowledge, InventoryRights, Passthrough, Secret};
use isolation::KeySpace;
use rights::Rights;
use std::sync::Arc;
use std::time::Duration;

/// Name and password of an ACL user upstream.
pub type UpstreamUser = (String, Secret);

/// One tenant's rights and limits.
#[derive(Debug)]
pub struct Tenant {
    /// What AUTH calls the user.
    pub name: Arc<str>,
    /// Its inventory's key space: `[A-Za-z0-9_-]{1,64}`.
    pub namespace: String,
    /// How many cells the namespace has, 1 at the least.
    pub cells: u16,
    /// A reservation's life where the client names none, ms.
    pub reservation_ttl_ms: u64,
    /// The longest life, ms.
    pub reservation_ttl_max_ms: u64,
    /// How long an ended reservation is remembered, ms.
    pub remember_ms: u64,
    /// Within which an operation is answered.
    pub operation_deadline: Duration,
    /// What must have an operation's effects before it is answered.
    pub acknowledge: Acknowledge,
    /// Its clients have a connection of their own from the first command on.
    pub pin_always: bool,
    /// What becomes of commands that are not the inventory's.
    pub passthrough: Passthrough,
    /// Which commands it may use at all.
    pub rights: Rights,
    /// Where its ordinary keys are, where they are shut in.
    pub space: KeySpace,
    /// FLUSHDB and FLUSHALL delete its own keys.
    pub flushdb: bool,
    /// Whom its commands run as upstream; None: the sidecar's own user.
    pub upstream: Option<UpstreamUser>,
    /// How its clients prove who they are; None: by the listener alone.
    pub password: Option<Password>,
    /// Its bounds.
    pub limits: Limits,
    /// What is now; the same for all versions of the tenant that a changed configuration makes.
    pub live: Arc<Live>,
}

/// Bounds of one tenant, of all its clients together; None: none but the sidecar's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Clients at once.
    pub clients: Option<u64>,
    /// Pinned connections at once.
    pub pinned: Option<u64>,
    /// Requests a second, and how many may come at once.
    pub requests: Option<(u64, u64)>,
    /// Bytes of one request.
    pub request_bytes: Option<usize>,
    /// Bytes that are kept for its clients.
    pub buffer_bytes: Option<usize>,
    /// Operations of the inventory that wait, a worker.
    pub queue_ops: Option<usize>,
    /// Requests, and operations of the inventory, that are upstream in each worker while other tenants ask too.
    pub window: Option<usize>,
}

impl Tenant {
    /// Who has not said yet who it is: nothing is allowed.
    #[must_use]
    pub fn nobody() -> Self {
        Self {
            name: "".into(),
            namespace: String::new(),
            cells: 1,
            reservation_ttl_ms: 0,
            reservation_ttl_max_ms: 0,
            remember_ms: 0,
            operation_deadline: Duration::ZERO,
            acknowledge: Acknowledge::Memory,
            pin_always: false,
            passthrough: Passthrough::Off,
            rights: Rights::default(),
            space: KeySpace::new(""),
            flushdb: false,
            upstream: None,
            password: None,
            limits: Limits::default(),
            live: Arc::default(),
        }
    }

    /// Whom its inventory's script runs as: its own user may only where it may do with the inventory what it likes, for a
    /// script of the tenant's could call what the inventory's does.
    #[must_use]
    pub fn inventory_user(&self) -> Option<&UpstreamUser> {
        self.upstream.as_ref().filter(|_| self.rights.inventory() == InventoryRights::All)
    }

    /// Are its ordinary keys shut in?
    #[must_use]
    pub fn is_isolated(&self) -> bool {
        self.passthrough == Passthrough::Isolated
    }
}
