//! Where the upstream is and who the sidecar is there.

use super::users::TenantUsers;
use crate::config::{Address, Secret};
use crate::tls::UpstreamTls;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// A host's name is no longer.
const HOST_BYTES_MAX: usize = 253;

/// The upstream as every kind of connection needs it.
#[derive(Debug, Clone)]
pub struct Target {
    /// Host and port, or the path of a unix socket.
    pub address: Address,
    /// Over TLS, and how.
    pub tls: Option<Arc<UpstreamTls>>,
    /// ACL user, `default` where none is set.
    pub username: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
    /// What CLIENT LIST calls the sidecar's own connections, in characters that a name may have; None: nothing.
    pub name: Option<Arc<str>>,
    /// The database that clients begin in and the inventory lives in.
    pub db: u32,
    /// Within which a connection must be made and greeted.
    pub connect_timeout: Duration,
    /// The first pause before connecting again.
    pub reconnect_min: Duration,
    /// The longest pause.
    pub reconnect_max: Duration,
    /// Counts the connections that the pools made; whoever pauses after a failure need pause no longer then. Shared by the clones.
    pub reached: watch::Sender<u64>,
    /// What is to be known of tenants. Shared by the clones.
    pub tenants: Arc<TenantUsers>,
}

/// The name of the sidecar's own connections on this host. What a name may not have (blanks, what cannot be printed) is left out.
#[must_use]
pub fn name_on(host: &str) -> Arc<str> {
    let host: String = host.chars().filter(char::is_ascii_graphic).take(HOST_BYTES_MAX).collect();
    if host.is_empty() { "inventory-sentinel".into() } else { format!("inventory-sentinel:{host}").into() }
}

impl Target {
    /// The pause before the n-th attempt after a failed one (n from 0): doubling, with jitter, so that a thousand sidecars
    /// do not fall on a restarting upstream at once.
    #[must_use]
    pub fn pause(&self, attempt: u32) -> Duration {
        let longest = self.reconnect_min.saturating_mul(1 << attempt.min(16)).min(self.reconnect_max);
        longest.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hosts_name_becomes_one_that_a_connection_may_have() {
        assert_eq!(&*name_on("shop-7d9f"), "inventory-sentinel:shop-7d9f");
        assert_eq!(&*name_on(" a b\r\nc\u{e9}"), "inventory-sentinel:abc");
        assert_eq!(&*name_on(""), "inventory-sentinel");
    }
}
