//! The figures of one tenant, by its configured name: no client can mint a series.
//!
//! Owns the handles, each made when it is first asked for: of a thousand tenants most do nothing.

use std::sync::{Arc, OnceLock};

use super::labels::{Label, Refused, Route};
use super::list;
use super::registry::{Registry, TENANT};
use super::{By, Counter, Gauge};

/// One tenant's handles, for one thread: figures of all threads are one.
pub struct TenantMetrics {
    registry: Arc<Registry>,
    tenant: Arc<str>,
    clients: OnceLock<Gauge>,
    requests: By<Route, OnceLock<Counter>>,
    refused: By<Refused, OnceLock<Counter>>,
}

impl TenantMetrics {
    pub(super) fn new(registry: &Arc<Registry>, tenant: &Arc<str>) -> Self {
        Self {
            registry: Arc::clone(registry),
            tenant: Arc::clone(tenant),
            clients: OnceLock::new(),
            requests: By::new(|_| OnceLock::new()),
            refused: By::new(|_| OnceLock::new()),
        }
    }

    /// Its clients connected now.
    pub fn clients(&self) -> &Gauge {
        self.clients.get_or_init(|| self.registry.gauge(&list::TENANT_CLIENTS, &[(TENANT, &self.tenant)]))
    }

    /// Its requests that went this way.
    pub fn requests(&self, route: Route) -> &Counter {
        self.requests[route].get_or_init(|| {
            let labels = [(TENANT, &*self.tenant), (Route::NAME, route.word())];
            self.registry.another_counter(&list::TENANT_REQUESTS_TOTAL, &labels)
        })
    }

    /// Its requests that were refused.
    pub fn refused(&self, reason: Refused) -> &Counter {
        self.refused[reason].get_or_init(|| {
            let labels = [(TENANT, &*self.tenant), (Refused::NAME, reason.word())];
            self.registry.another_counter(&list::TENANT_REFUSED_TOTAL, &labels)
        })
    }
}
