//! Who is this client: the namespace its inventory lives in, and what it may ask for. One tenant, without a password.

pub mod acl;
pub mod isolation;
pub mod rights;

use crate::config::Config;
use std::time::Duration;

/// One tenant's rights and limits.
#[derive(Debug, Clone)]
pub struct Tenant {
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
    /// Its clients have a connection of their own from the first command on.
    pub pin_always: bool,
}

impl Tenant {
    /// The tenant of a configuration without tenants.
    #[must_use]
    pub fn from_config(config: &Config) -> Self {
        let inventory = &config.inventory;
        Self {
            namespace: inventory.namespace.clone(),
            cells: inventory.cells,
            reservation_ttl_ms: inventory.reservation_ttl.as_ms(),
            reservation_ttl_max_ms: inventory.reservation_ttl_max.as_ms(),
            remember_ms: inventory.remember.as_ms(),
            operation_deadline: Duration::from_millis(inventory.operation_deadline_ms),
            pin_always: config.session.pin == crate::config::Pin::Always,
        }
    }
}
