//! What `check` and `acl` say of tenants.

use std::collections::BTreeSet;

use crate::config::{Acknowledge, Config, InventoryRights, Passthrough, Tenant, UpstreamUrl};
use crate::inventory::keys;
use crate::tenant::Tenants;
use crate::tenant::acl::{self, AclSecret, AclTenant};
use crate::upstream::check::{self, CheckedUser};
use crate::upstream::pool::Claim;

const OLDEST: (u32, u32, u32) = (6, 2, 0);

fn find<'c>(config: &'c Config, name: &str) -> Result<&'c Tenant, String> {
    config.tenants.iter().find(|known| known.name == name).ok_or_else(|| {
        let names: Vec<&str> = config.tenants.iter().map(|known| known.name.as_str()).collect();
        let known =
            if names.is_empty() { "there are none".to_owned() } else { format!("there are {}", names.join(", ")) };
        format!("--tenant: no tenant {name:?} in the configuration; {known}")
    })
}

/// The line that makes the upstream user of a tenant.
///
/// # Errors
/// There is no such tenant.
pub fn acl_line(config: &Config, tenant: &str, version: (u32, u32, u32)) -> Result<String, String> {
    if version < OLDEST {
        return Err(format!("--engine: Redis {}.{} is too old; 6.2 or later is needed", version.0, version.1));
    }
    let found = find(config, tenant)?;
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

/// What is to be known before that line is used, if anything is.
///
/// # Errors
/// There is no such tenant.
pub fn acl_note(config: &Config, tenant: &str) -> Result<Option<String>, String> {
    let found = find(config, tenant)?;
    Ok((found.passthrough == Passthrough::Full).then(|| {
        format!(
            "note: {tenant} has pass-through \"full\", so its keys have no prefix, and this user reaches {}:* alone: add \
             what it needs, such as ~* &*",
            found.namespace()
        )
    }))
}

/// What the upstream would refuse of what tenants' entries ask of it, or has otherwise than it is configured, one line each.
///
/// # Errors
/// It cannot be asked, or the sidecar would not start.
pub fn warnings(config: &Config, tenants: &Tenants, version: (u32, u32, u32)) -> Result<Vec<String>, String> {
    let mut lines = Vec::new();
    if version < (7, 2, 0) && tenants.all().any(|tenant| tenant.acknowledge == Acknowledge::Fsync) {
        lines.push(check::NO_FSYNC.to_owned());
    }
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let namespaces: BTreeSet<String> = tenants.all().map(|tenant| tenant.namespace.to_string()).collect();
    let claim = |namespace: &String| Claim { meta_key: keys::meta_key(namespace), cells: config.inventory.cells };
    let claims: Vec<Claim> = namespaces.iter().map(claim).collect();
    let cells = runtime.block_on(check::check_cells(config, &claims))?;
    if !tenants.are_told_apart() {
        // With it the sidecar does not start.
        return cells
            .into_iter()
            .next()
            .map_or(Ok(lines), |fault| Err(format!("upstream {}: {fault}", config.upstream.url)));
    }
    lines.extend(cells);
    let mut users: Vec<CheckedUser<'_>> = tenants
        .all()
        .filter_map(|tenant| Some(CheckedUser { tenant: &tenant.name, user: tenant.upstream.as_ref()? }))
        .collect();
    users.sort_by_key(|user| user.tenant);
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
