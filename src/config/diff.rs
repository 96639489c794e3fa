//! How two configurations differ, and what of that a running sidecar can take.
//!
//! Owns the list of keys that may change under way. Never shows a secret.

use super::tenants::Tenant;
use super::{
    Acknowledge, AppendFsync, Config, InventoryRights, LogFormat, Passthrough, Pin, Secret, SocketMode, Span,
    UpstreamUrl,
};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// What a running sidecar takes, beside the tenants.
const RELOADABLE: &[&str] = &[
    "inventory.reservation_ttl",
    "inventory.reservation_ttl_max",
    "inventory.acknowledge",
    "session.pin",
    "log.level",
];
/// Of a tenant, what it does not take: listeners are bound at the start.
const TENANT_FIXED: &[&str] = &["tcp", "unix", "unix_mode"];

/// One key whose value is another. Shown as `inventory.cells: 1 -> 2 (needs a restart)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// `table.key`, `tenants.name` or `tenants.name.key`.
    pub key: String,
    /// None: it was not there.
    pub before: Option<String>,
    /// None: it is there no more.
    pub after: Option<String>,
    /// A running sidecar cannot take it.
    pub needs_restart: bool,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, before, after, needs_restart } = self;
        match (before, after) {
            (Some(before), Some(after)) if before == after => write!(f, "{key}: changed")?,
            (Some(before), Some(after)) => write!(f, "{key}: {before} -> {after}")?,
            (None, _) => write!(f, "{key}: added")?,
            (_, None) => write!(f, "{key}: removed")?,
        }
        if *needs_restart { f.write_str(" (needs a restart)") } else { Ok(()) }
    }
}

/// All that differs, in the order of the keys and then of the tenants' names.
#[must_use]
pub fn diff(before: &Config, after: &Config) -> Vec<Change> {
    let mut changes: Vec<Change> = before
        .shown()
        .into_iter()
        .zip(after.shown())
        .filter(|(before, after)| before != after)
        .map(|((key, before), (_, after))| {
            let needs_restart = !RELOADABLE.contains(&key.as_str());
            Change { key, before: Some(before), after: Some(after), needs_restart }
        })
        .collect();
    // Its password may be another though it is shown alike.
    if before.upstream != after.upstream && !changes.iter().any(|change| change.key == "upstream.url") {
        changes.push(changed("upstream.url".to_owned(), true));
    }
    let by_name = |config: &Config| -> BTreeMap<String, Tenant> {
        config.tenants.iter().map(|tenant| (tenant.name.clone(), tenant.clone())).collect()
    };
    let (old, new) = (by_name(before), by_name(after));
    // AUTH is the upstream's to judge where there are none.
    let told_apart = old.is_empty() != new.is_empty();
    for (name, tenant) in &old {
        let key = format!("tenants.{name}");
        match new.get(name) {
            None => changes.push(Change {
                key,
                before: Some(String::new()),
                after: None,
                needs_restart: told_apart || tenant.has_door(),
            }),
            Some(now) if now != tenant => changes.extend(of_tenant(&key, tenant, now)),
            Some(_) => {}
        }
    }
    for (name, tenant) in new.iter().filter(|(name, _)| !old.contains_key(*name)) {
        let needs_restart = told_apart || tenant.has_door();
        changes.push(Change {
            key: format!("tenants.{name}"),
            before: None,
            after: Some(String::new()),
            needs_restart,
        });
    }
    changes
}

fn changed(key: String, needs_restart: bool) -> Change {
    Change { key, before: Some(String::new()), after: Some(String::new()), needs_restart }
}

fn of_tenant(path: &str, before: &Tenant, after: &Tenant) -> Vec<Change> {
    let mut changes: Vec<Change> = before
        .shown()
        .into_iter()
        .zip(after.shown())
        .filter(|(before, after)| before != after)
        .map(|((key, before), (_, after))| Change {
            key: format!("{path}.{key}"),
            before: Some(before),
            after: Some(after),
            needs_restart: TENANT_FIXED.contains(&key),
        })
        .collect();
    let secrets = [
        ("password", &before.password, &after.password),
        ("password_hash", &before.password_hash, &after.password_hash),
        ("upstream_password", &before.upstream_password, &after.upstream_password),
    ];
    for (key, before, after) in secrets {
        if before.is_some() && after.is_some() && before != after {
            changes.push(changed(format!("{path}.{key}"), false));
        }
    }
    changes
}

/// A value as it may be shown.
pub(super) trait Shown {
    fn shown(&self) -> String;
}

impl Shown for String {
    fn shown(&self) -> String {
        format!("{self:?}")
    }
}

impl Shown for PathBuf {
    fn shown(&self) -> String {
        format!("{self:?}")
    }
}

impl Shown for Vec<String> {
    fn shown(&self) -> String {
        format!("{self:?}")
    }
}

impl Shown for Secret {
    fn shown(&self) -> String {
        "***".to_owned()
    }
}

impl<T: Shown> Shown for Option<T> {
    fn shown(&self) -> String {
        self.as_ref().map_or_else(|| "not set".to_owned(), Shown::shown)
    }
}

macro_rules! shown_as_displayed {
    ($( $type:ty ),+) => { $(
        impl Shown for $type {
            fn shown(&self) -> String {
                self.to_string()
            }
        }
    )+ };
}

shown_as_displayed!(
    bool,
    u16,
    u32,
    u64,
    usize,
    Acknowledge,
    AppendFsync,
    InventoryRights,
    LogFormat,
    Passthrough,
    Pin,
    SocketMode,
    Span,
    UpstreamUrl
);

#[cfg(test)]
mod tests {
    use super::super::tests::load_text;
    use super::*;

    fn changes(before: &str, after: &str) -> Vec<String> {
        let config = |text: &str| load_text(text, &[]).unwrap();
        diff(&config(before), &config(after)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_differs_is_named_and_no_secret_is_shown() {
        let none: [&str; 0] = [];
        assert_eq!(changes("", ""), none);
        assert_eq!(
            changes("[inventory]\ncells = 2", "[inventory]\nreservation_ttl = \"1m\""),
            ["inventory.cells: 2 -> 1 (needs a restart)", "inventory.reservation_ttl: 5m -> 1m"]
        );
        assert_eq!(
            changes("[upstream]\nurl = \"redis://:a@h\"", "[upstream]\nurl = \"redis://:b@h\""),
            ["upstream.url: changed (needs a restart)"]
        );
        let acme = |more: &str| format!("[[tenants]]\nname = \"acme\"\npassword = \"a\"\n{more}");
        let both = |more: &str| format!("{}[[tenants]]\nname = \"zed\"\npassword = \"z\"\n", acme(more));
        assert_eq!(changes(&acme(""), &both("")), ["tenants.zed: added"]);
        assert_eq!(
            changes(&both(""), &acme("clients_max = 3")),
            ["tenants.acme.clients_max: 0 -> 3", "tenants.zed: removed"]
        );
        assert_eq!(changes(&acme(""), &acme("").replace("\"a\"", "\"b\"")), ["tenants.acme.password: changed"]);
        assert_eq!(changes(&acme(""), &acme("unix = \"/u\"")), ["tenants.acme.unix: \"\" -> \"/u\" (needs a restart)"]);
        assert_eq!(changes("", &acme("")), ["tenants.acme: added (needs a restart)"]);
    }
}
