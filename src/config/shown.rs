//! A configuration as others may see it: what `/config` of a running sidecar tells, and what two of them are compared by.
//!
//! Owns that no secret leaves the process, nor anything that is made of one: of each only where it stands is told.

use super::{Config, Secret, Tenant, UpstreamUrl};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownConfig {
    /// Of the sidecar whose it is.
    pub version: String,
    /// Each `table.key` and its value, in their order.
    pub keys: Vec<(String, String)>,
    /// The same of each tenant, by its name.
    pub tenants: BTreeMap<String, Vec<(String, String)>>,
    /// Those that the configuration itself holds.
    pub secrets: Secrets,
}

/// By `table.key` and `tenants.name.key`. What is written and read of it is where they stand; what they are is known only of a
/// configuration that this process has read itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "Vec<String>", into = "Vec<String>")]
pub struct Secrets(BTreeMap<String, Option<Secret>>);

impl From<Vec<String>> for Secrets {
    fn from(paths: Vec<String>) -> Self {
        Self(paths.into_iter().map(|path| (path, None)).collect())
    }
}

impl From<Secrets> for Vec<String> {
    fn from(secrets: Secrets) -> Self {
        secrets.0.into_keys().collect()
    }
}

impl ShownConfig {
    /// Of this one, with its secrets for [`diff_shown`](super::diff_shown) to compare.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let owned = |shown: Vec<(&'static str, String)>| -> Vec<(String, String)> {
            shown.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
        };
        let mut secrets = BTreeMap::new();
        let mut hide = |path: String, secret: Option<&Secret>| {
            if let Some(secret) = secret {
                secrets.insert(path, Some(secret.clone()));
            }
        };
        if let UpstreamUrl::Server { username, password, .. } = &config.upstream.url
            && (username.is_some() || password.is_some())
        {
            let password = password.as_ref().map(Secret::expose);
            hide("upstream.url".to_owned(), Some(&Secret::new(format!("{username:?}{password:?}"))));
        }
        for tenant in &config.tenants {
            let Tenant { name, password, password_hash, upstream_password, .. } = tenant;
            hide(format!("tenants.{name}.password"), password.as_ref());
            hide(format!("tenants.{name}.password_hash"), password_hash.as_ref());
            hide(format!("tenants.{name}.upstream_password"), upstream_password.as_ref());
        }
        let tenants = config.tenants.iter().map(|tenant| (tenant.name.clone(), owned(tenant.shown()))).collect();
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Self { version, keys: config.shown(), tenants, secrets: Secrets(secrets) }
    }

    /// As it may be told: only where secrets stand.
    #[must_use]
    pub fn for_others(mut self) -> Self {
        self.secrets.0.values_mut().for_each(|secret| *secret = None);
        self
    }

    /// Secrets that both have, and of which it is not known whether they are the same.
    #[must_use]
    pub fn not_compared(&self, other: &Self) -> Vec<&str> {
        let is_unknown = |path: &str| matches!((self.secrets.0.get(path), other.secrets.0.get(path)), (Some(one), Some(two)) if one.is_none() || two.is_none());
        self.secrets.0.keys().map(String::as_str).filter(|path| is_unknown(path)).collect()
    }

    /// Both have this secret, and it is not the same.
    pub(super) fn differs_in(&self, other: &Self, path: &str) -> bool {
        match (self.secrets.0.get(path), other.secrets.0.get(path)) {
            (Some(Some(one)), Some(Some(two))) => one != two,
            _ => false,
        }
    }

    /// One has something secret there, and the other has not.
    pub(super) fn is_new_in(&self, other: &Self, path: &str) -> bool {
        self.secrets.0.contains_key(path) != other.secrets.0.contains_key(path)
    }
}
