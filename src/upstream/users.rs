//! What is to be known here of tenants: whether there are any, for then clients are not told all; and who their upstream users
//! are, for the log names both where the upstream refuses one.

use crate::error::UpstreamError;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// One user is spoken of no more often, whatever becomes of it.
const PAUSE: Duration = Duration::from_secs(1);

/// See the module. One for the process.
#[derive(Debug, Default)]
pub struct TenantUsers {
    told_apart: AtomicBool,
    users: Mutex<HashMap<String, User>>,
}

#[derive(Debug, Default)]
struct User {
    /// The names of those that have it, with commas between.
    tenants: String,
    /// The log says that it is refused.
    told: bool,
    at: Option<Instant>,
}

impl TenantUsers {
    /// From here on there are tenants or not, and these upstream users, each with a tenant that has it.
    pub fn become_these<'t>(&self, told_apart: bool, users: impl Iterator<Item = (&'t str, &'t str)>) {
        let mut known = self.lock();
        let mut before = std::mem::take(&mut *known);
        let mut users: Vec<_> = users.collect();
        users.sort_unstable();
        for (user, tenant) in users {
            let entry = known.entry(user.to_owned()).or_insert_with(|| {
                let User { told, at, .. } = before.remove(user).unwrap_or_default();
                User { tenants: String::new(), told, at }
            });
            if !entry.tenants.is_empty() {
                entry.tenants.push_str(", ");
            }
            entry.tenants.push_str(tenant);
        }
        self.told_apart.store(told_apart, Ordering::Relaxed);
    }

    /// There are tenants.
    #[must_use]
    pub fn are_told_apart(&self) -> bool {
        self.told_apart.load(Ordering::Relaxed)
    }

    /// The upstream refuses this user of a tenant's, which is the operator's to see: whoever asks through it is told less.
    pub fn refused(&self, user: &str, error: &UpstreamError) {
        let mut users = self.lock();
        let Some(known) = users.get_mut(user) else { return };
        if !known.told && known.at.is_none_or(|at| at.elapsed() >= PAUSE) {
            (known.told, known.at) = (true, Some(Instant::now()));
            tracing::warn!(user, tenant = known.tenants, %error, "the upstream refuses a tenant's upstream_user");
        }
    }

    /// It takes it.
    pub fn taken(&self, user: &str) {
        let mut users = self.lock();
        let Some(known) = users.get_mut(user) else { return };
        if std::mem::take(&mut known.told) {
            known.at = Some(Instant::now());
            tracing::info!(user, tenant = known.tenants, "the upstream takes a tenant's upstream_user again");
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, User>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_of_a_user_is_known_when_the_tenants_have_changed() {
        let (users, error) = (TenantUsers::default(), UpstreamError::from_reply("WRONGPASS no"));
        let told = |user: &str| users.lock().get(user).map(|user| (user.tenants.clone(), user.told));
        users.become_these(true, [("up", "rival"), ("up", "acme"), ("other", "third")].into_iter());
        assert!(users.are_told_apart());
        users.refused("up", &error);
        users.refused("nobody", &error);
        assert_eq!(told("up"), Some(("acme, rival".to_owned(), true)));
        users.become_these(true, [("up", "acme")].into_iter());
        assert_eq!((told("up"), told("other"), told("nobody")), (Some(("acme".to_owned(), true)), None, None));
        users.taken("up");
        // It was spoken of a moment ago.
        users.refused("up", &error);
        assert_eq!(told("up"), Some(("acme".to_owned(), false)));
        users.become_these(false, std::iter::empty());
        assert!(!users.are_told_apart() && told("up").is_none());
    }
}
