//! What `check` and `acl` say of tenants.

use crate::config::{Acknowledge, Config, InventoryRights, Passthrough, Tenant, UpstreamUrl};
use crate::tenant::Tenants;
use crate::tenant::acl::{self, AclSecret, AclTenant};
use crate::upstream::check::{self, CheckedUser};

const OLDEST: (u32, u32, u32) = (6, 2, 0);

fn find<'c>(config: &'c Config, name: &str) -> Option<&'c Tenant> {
    config.tenants.iter().find(|known| known.name == name)
}

/// The line that makes the upstream user of a tenant.
///
/// # Errors
/// There is no such tenant.
pub fn acl_line(config: &Config, tenant: &str, version: (u32, u32, u32)) -> Result<String, String> {
    if version < OLDEST {
        return Err(format!("--engine: Redis {}.{} is too old; 6.2 or later is needed", version.0, version.1));
    }
    let Some(found) = find(config, tenant) else {
        let names: Vec<&str> = config.tenants.iter().map(|known| known.name.as_str()).collect();
        let known =
            if names.is_empty() { "there are none".to_owned() } else { format!("there are {}", names.join(", ")) };
        return Err(format!("--tenant: no tenant {tenant:?} in the configuration; {known}"));
    };
    let db = if let UpstreamUrl::Server { db, .. } = &config.upstream.url { *db } else { 0 };
    let user = if found.upstream_user.is_empty() { &found.name } else { &found.upstream_user };
    let isolated = found.passthrough == Passthrough::Isolated;
    let line = acl::acl_line(
        &AclTenant {
            user,
            secret: AclSecret::Placeholder,
            namespace: found.namespace(),
            db,
            inventory: found.inventory == InventoryRights::All,
            scripts: isolated,
            tracking: isolated,
        },
        version,
    );
    Ok(line)
}

/// What is to be known before that line is used.
#[must_use]
pub fn acl_note(config: &Config, tenant: &str) -> Option<String> {
    let found = find(config, tenant).filter(|found| found.passthrough == Passthrough::Full)?;
    Some(format!(
        "note: {tenant} has pass-through \"full\", so its keys have no prefix, and this user reaches {}:* alone: add what it \
         needs, such as ~* &*",
        found.namespace()
    ))
}

/// What the upstream would refuse of what tenants' entries ask of it, one line each.
///
/// # Errors
/// It cannot be asked.
pub fn warnings(config: &Config, tenants: &Tenants, version: (u32, u32, u32)) -> Result<Vec<String>, String> {
    let mut lines = Vec::new();
    if version < (7, 2, 0) && tenants.all().any(|tenant| tenant.acknowledge == Acknowledge::Fsync) {
        lines.push(check::NO_FSYNC.to_owned());
    }
    if !tenants.are_told_apart() {
        return Ok(lines);
    }
    let mut users: Vec<CheckedUser<'_>> = tenants
        .all()
        .filter_map(|tenant| Some(CheckedUser { tenant: &tenant.name, user: tenant.upstream.as_ref()? }))
        .collect();
    users.sort_by_key(|user| user.tenant);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let unknown = |commands: &_| tenants.unknown_rules(commands);
    lines.extend(runtime.block_on(check::check_tenants(config, &users, unknown))?);
    Ok(lines)
}

/// One line of the summary.
pub(super) fn line(config: &Config, tenant: &Tenant) -> String {
    let tls = if config.listen.tls_cert.as_os_str().is_empty() { "" } else { " (TLS)" };
    let tcp = (!tenant.tcp.is_empty()).then(|| format!("{}{tls}", tenant.tcp));
    let unix = (!tenant.unix.is_empty()).then(|| tenant.unix.clone());
    let doors: Vec<String> = tcp.into_iter().chain(unix).collect();
    let by = match (tenant.has_password(), tenant.has_door()) {
        (true, true) => format!("by password, also on {}", doors.join(" and ")),
        (true, false) => "by password".to_owned(),
        (false, true) => format!("on {}", doors.join(" and ")),
        (false, false) => "whoever says nothing".to_owned(),
    };
    let namespace = tenant.namespace();
    let others = config.tenants.iter().filter(|other| other.namespace() == namespace && other.name != tenant.name);
    let others: Vec<&str> = others.map(|other| other.name.as_str()).collect();
    let shared = if others.is_empty() { String::new() } else { format!(" (shared with {})", others.join(", ")) };
    let Tenant { name, passthrough, inventory, .. } = tenant;
    format!(
        "\ntenant      {name}: {by}; namespace {namespace}{shared}, pass-through {passthrough}, inventory {inventory}"
    )
}
