//! All tenants of a configuration, by name and by listener; the same for all workers.

use super::rights::Rights;
use super::{Limits, Live, Password, Tenant};
use crate::command::CommandTable;
use crate::config::{self, Config, Passthrough, Secret};
use crate::tenant::isolation::KeySpace;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The one who needs no password, and whom `AUTH password` means.
const DEFAULT: &str = "default";

/// See the module.
#[derive(Debug, Default)]
pub struct Tenants {
    by_name: HashMap<Arc<str>, Arc<Tenant>>,
    /// Whom clients of the common listener are before they say anything; None: nobody.
    first: Option<Arc<Tenant>>,
    /// Passwords are the sidecar's to judge, and not the upstream's.
    closed: bool,
}

impl Tenants {
    /// By its name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Tenant>> {
        self.by_name.get(name)
    }

    /// All of them, in no order.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Tenant>> {
        self.by_name.values()
    }

    /// Whom a client is that came in here before it says anything: `door` names the tenant whose own listener it is.
    #[must_use]
    pub fn first(&self, door: Option<&str>) -> Option<&Arc<Tenant>> {
        match door {
            Some(name) => self.get(name),
            None => self.first.as_ref(),
        }
    }

    /// Names and categories in rules that the upstream does not know: such a rule does nothing. One line a tenant.
    #[must_use]
    pub fn unknown_rules(&self, commands: &CommandTable) -> Vec<String> {
        let unknown = |tenant: &Arc<Tenant>| {
            let unknown = tenant.rights.unknown(commands);
            (!unknown.is_empty()).then(|| format!("{}: {}", tenant.name, unknown.join(", ")))
        };
        self.all().filter_map(unknown).collect()
    }

    /// Are there tenants? AUTH is the sidecar's to answer then.
    #[must_use]
    pub fn are_told_apart(&self) -> bool {
        self.closed
    }
}

/// The tenants of a configuration, with what lives on of those before.
///
/// # Errors
/// One line: a password that cannot be had.
pub fn resolve(config: &Config, before: &Tenants) -> Result<Tenants, String> {
    let live = |name: &str| before.get(name).map(|tenant| Arc::clone(&tenant.live)).unwrap_or_default();
    if config.tenants.is_empty() {
        let only = Arc::new(only(config, live(DEFAULT)));
        let by_name = HashMap::from([(Arc::clone(&only.name), Arc::clone(&only))]);
        return Ok(Tenants { by_name, first: Some(only), closed: false });
    }
    let mut by_name = HashMap::with_capacity(config.tenants.len());
    let mut first = None;
    for given in &config.tenants {
        let tenant =
            one(config, given, live(&given.name)).map_err(|fault| format!("tenants.{}.{fault}", given.name))?;
        let tenant = Arc::new(tenant);
        if &*tenant.name == DEFAULT && tenant.password.is_none() && !given.has_door() {
            first = Some(Arc::clone(&tenant));
        }
        by_name.insert(Arc::clone(&tenant.name), tenant);
    }
    Ok(Tenants { by_name, first, closed: true })
}

/// The tenant of a configuration without tenants.
fn only(config: &Config, live: Arc<Live>) -> Tenant {
    let inventory = &config.inventory;
    Tenant {
        name: DEFAULT.into(),
        namespace: inventory.namespace.clone(),
        cells: inventory.cells,
        reservation_ttl_ms: inventory.reservation_ttl.as_ms(),
        reservation_ttl_max_ms: inventory.reservation_ttl_max.as_ms(),
        remember_ms: inventory.remember.as_ms(),
        operation_deadline: Duration::from_millis(inventory.operation_deadline_ms),
        acknowledge: inventory.acknowledge,
        pin_always: config.session.pin == config::Pin::Always,
        passthrough: Passthrough::Full,
        rights: Rights::default(),
        space: KeySpace::new(&inventory.namespace),
        flushdb: false,
        upstream: None,
        password: None,
        limits: Limits::default(),
        live,
    }
}

fn one(config: &Config, given: &config::Tenant, live: Arc<Live>) -> Result<Tenant, String> {
    let some = |limit: u64| (limit > 0).then_some(limit);
    let ttl_max = given.reservation_ttl_max.unwrap_or(config.inventory.reservation_ttl_max);
    let ttl = given.reservation_ttl.unwrap_or_else(|| config.inventory.reservation_ttl.min(ttl_max));
    let upstream = word(
        given.upstream_password.as_ref(),
        given.upstream_password_file.as_deref(),
        given.upstream_password_env.as_deref(),
    )
    .map_err(|fault| format!("upstream_{fault}"))?;
    let password = match &given.password_hash {
        Some(hash) => Some(Password::argon2id(hash.expose()).map_err(|fault| format!("password_hash: {fault}"))?),
        None => word(given.password.as_ref(), given.password_file.as_deref(), given.password_env.as_deref())?
            .map(|word| Password::plain(word.expose())),
    };
    // Where there are others none of them can take all.
    let share = |given: u64, all: usize| {
        let half = (config.tenants.len() > 1).then(|| (all as u64 / 2).max(1));
        some(given).or(half)
    };
    let requests = some(given.requests_per_second).map(|rate| (rate, some(given.requests_burst).unwrap_or(rate)));
    Ok(Tenant {
        name: given.name.as_str().into(),
        namespace: given.namespace().to_owned(),
        reservation_ttl_ms: ttl.as_ms(),
        reservation_ttl_max_ms: ttl_max.as_ms(),
        acknowledge: given.acknowledge.unwrap_or(config.inventory.acknowledge),
        passthrough: given.passthrough,
        rights: Rights::new(given.inventory, &given.allow, &given.deny),
        space: KeySpace::new(given.namespace()),
        flushdb: given.flushdb,
        upstream: upstream.map(|password| (given.upstream_user.clone(), password)),
        password,
        limits: Limits {
            clients: share(given.clients_max, config.listen.clients_max),
            pinned: share(given.pinned_max, config.upstream.pinned_max),
            requests,
            request_bytes: usize::try_from(given.request_bytes_max).ok(),
            // One of its requests is kept at least.
            buffer_bytes: usize::try_from(given.buffer_bytes_max.max(given.request_bytes_max)).ok(),
            queue_ops: some(given.queue_ops_max).and_then(|most| usize::try_from(most).ok()),
            window: usize::try_from(given.window).ok(),
        },
        ..only(config, live)
    })
}

/// A password that is told in one of three ways, or not at all.
fn word(plain: Option<&Secret>, file: Option<&Path>, variable: Option<&str>) -> Result<Option<Secret>, String> {
    let read = match (plain, file, variable) {
        (Some(word), ..) => return Ok(Some(word.clone())),
        (_, Some(path), _) => std::fs::read_to_string(path)
            .map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
            .map_err(|error| format!("password_file: {}: {error}", path.display()))?,
        (.., Some(name)) => std::env::var(name)
            .map_err(|_| format!("password_env: the environment variable {name}, which is to hold it, is not set"))?,
        (None, None, None) => return Ok(None),
    };
    if read.is_empty() {
        return Err(match file {
            Some(path) => format!("password_file: {} is empty", path.display()),
            None => "password_env: the environment variable is empty".to_owned(),
        });
    }
    Ok(Some(Secret::new(read)))
}
