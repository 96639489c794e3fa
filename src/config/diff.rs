//! How two configurations differ, and what of that a running sidecar can take.
//!
//! Owns the list of keys that may change under way. Never shows a secret.

use super::{
    Acknowledge, AppendFsync, Config, InventoryRights, LogFormat, Passthrough, Pin, Secret, ShownConfig, SocketMode,
    Span, UpstreamUrl,
};
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
    diff_shown(&ShownConfig::of(before), &ShownConfig::of(after))
}

/// The same of what is shown of them. What one of them does not know, being of another version, is not compared.
#[must_use]
pub fn diff_shown(before: &ShownConfig, after: &ShownConfig) -> Vec<Change> {
    let mut changes = of_keys(&before.keys, &after.keys, "", |key| !RELOADABLE.contains(&key));
    // Its password may be another though it is shown alike.
    let url_differs = before.differs_in(after, "upstream.url") || before.is_new_in(after, "upstream.url");
    if url_differs && !changes.iter().any(|change| change.key == "upstream.url") {
        changes.push(changed("upstream.url".to_owned(), true));
    }
    let (old, new) = (&before.tenants, &after.tenants);
    // AUTH is the upstream's to judge where there are none.
    let told_apart = old.is_empty() != new.is_empty();
    for (name, tenant) in old {
        let key = format!("tenants.{name}");
        match new.get(name) {
            None => changes.push(Change { key, before: Some(String::new()), after: None, needs_restart: told_apart }),
            Some(now) => {
                changes.extend(of_keys(tenant, now, &format!("{key}."), |_| false));
                let secrets = ["password", "password_hash", "upstream_password"];
                let paths = secrets.iter().map(|secret| format!("{key}.{secret}"));
                changes.extend(paths.filter(|path| before.differs_in(after, path)).map(|path| changed(path, false)));
            }
        }
    }
    for name in new.keys().filter(|name| !old.contains_key(*name)) {
        changes.push(Change {
            key: format!("tenants.{name}"),
            before: None,
            after: Some(String::new()),
            needs_restart: told_apart,
        });
    }
    changes
}

fn changed(key: String, needs_restart: bool) -> Change {
    Change { key, before: Some(String::new()), after: Some(String::new()), needs_restart }
}

fn of_keys(
    before: &[(String, String)],
    after: &[(String, String)],
    path: &str,
    needs_restart: impl Fn(&str) -> bool,
) -> Vec<Change> {
    let differs = |(key, before): &(String, String)| {
        let (_, after) = after.iter().find(|(known, _)| known == key)?;
        (before != after).then(|| Change {
            needs_restart: needs_restart(key),
            key: format!("{path}{key}"),
            before: Some(before.clone()),
            after: Some(after.clone()),
        })
    };
    before.iter().filter_map(differs).collect()
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
        assert_eq!(changes(&acme(""), &acme("unix = \"/u\"")), ["tenants.acme.unix: \"\" -> \"/u\""]);
        assert_eq!(changes("", &acme("")), ["tenants.acme: added (needs a restart)"]);
    }

    #[test]
    fn what_others_are_told_has_no_secret_and_nothing_that_is_made_of_one() {
        let shown = |text: &str| ShownConfig::of(&load_text(text, &[]).unwrap());
        let hash = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$5tXCdHqd6p0MSaPTBPEKXcKyCm3DhHlcRdyqfE+IDQg";
        let text = |word: &str| {
            format!(
                "[upstream]\nurl = \"redis://ursula:{word}-url@h\"\n[[tenants]]\nname = \"acme\"\npassword = \"{word}\"\n\
                 upstream_user = \"u\"\nupstream_password = \"{word}-upstream\"\n\
                 [[tenants]]\nname = \"zed\"\npassword_hash = \"{hash}\"\n"
            )
        };
        let of_tiger = shown(&text("tiger"));
        let told = serde_json::to_string(&of_tiger.clone().for_others()).unwrap();
        for secret in ["tiger", "ursula", "argon2id", "5tXCdHqd6p0MSaPTBPEKXcKyCm3DhHlcRdyqfE"] {
            assert!(!told.contains(secret) && !format!("{of_tiger:?}").contains(secret), "{secret}: {told}");
        }
        // Whatever the secrets are the same is told, and also where somebody forgets to ask for what may be told.
        assert_eq!(told, serde_json::to_string(&shown(&text("lion"))).unwrap());
        let read: ShownConfig = serde_json::from_str(&told).unwrap();
        let none: [Change; 0] = [];
        assert_eq!(diff_shown(&read, &shown(&text("lion"))), none);
        let all =
            ["tenants.acme.password", "tenants.acme.upstream_password", "tenants.zed.password_hash", "upstream.url"];
        assert_eq!(read.not_compared(&shown(&text("lion"))), all);
        assert!(of_tiger.not_compared(&shown(&text("lion"))).is_empty());
        // That there is one is known.
        let without = text("lion").replace("ursula:lion-url@", "");
        let changes: Vec<String> = diff_shown(&read, &shown(&without)).iter().map(ToString::to_string).collect();
        assert_eq!(changes, ["upstream.url: changed (needs a restart)"]);
    }

    #[test]
    fn what_another_version_does_not_know_is_not_compared() {
        let mut before = ShownConfig::of(&Config::default());
        before.keys.retain(|(key, _)| key != "inventory.cells");
        before.keys.push(("inventory.gone".to_owned(), "1".to_owned()));
        let after = ShownConfig::of(&load_text("[inventory]\ncells = 2\nreap_count = 7", &[]).unwrap());
        let changes: Vec<String> = diff_shown(&before, &after).iter().map(ToString::to_string).collect();
        assert_eq!(changes, ["inventory.reap_count: 250 -> 7 (needs a restart)"]);
    }
}
