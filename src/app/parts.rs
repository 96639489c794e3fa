//! What a configuration means for the parts: the upstream's target, and what workers are made of.

use crate::admin::Readiness;
use crate::config::{self, Config, UpstreamUrl};
use crate::inventory::batcher::{BatcherLimits, Namespaces};
use crate::inventory::reaper::ReaperSettings;
use crate::inventory::{keys, script};
use crate::metrics::Metrics;
use crate::session::SessionSettings;
use crate::session::walks::Pages;
use crate::tenant::Tenants;
use crate::tls::UpstreamTls;
use crate::upstream::links::LinkLimits;
use crate::upstream::managed::Managed;
use crate::upstream::pool::{Claim, Fitting};
use crate::upstream::target::{Target, name_on};
use crate::worker::{OnRound, WorkerParts};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// This part of the clients that may be there may be such as have not said yet who they are.
const UNKNOWN_SHARE: usize = 4;
/// For tests alone: the upstream key that holds the script's time, unix ms, in place of the upstream's clock.
const TEST_CLOCK_KEY: &str = "INVENTORY_SENTINEL_TEST_CLOCK_KEY";

/// Where a configuration's upstream is.
///
/// # Errors
/// Where it is managed and is not there.
pub fn target(config: &Config, managed: Option<&Managed>) -> Result<Target, String> {
    let (address, username, password, db) = match (&config.upstream.url, managed) {
        (UpstreamUrl::Server { address, username, password, db, .. }, _) => {
            (address.clone(), username.clone(), password.clone(), *db)
        }
        (UpstreamUrl::Managed, Some(managed)) => {
            (config::Address::Unix(managed.socket_path().to_owned()), None, None, 0)
        }
        (UpstreamUrl::Managed, None) => return Err("the managed upstream is not there".to_owned()),
    };
    Ok(Target {
        address,
        tls: UpstreamTls::load(&config.upstream)?,
        username,
        password,
        name: Some(name_on(&std::env::var("HOSTNAME").unwrap_or_default())),
        db,
        connect_timeout: Duration::from_millis(config.upstream.connect_timeout_ms),
        reconnect_min: Duration::from_millis(config.upstream.reconnect_min_ms),
        reconnect_max: Duration::from_millis(config.upstream.reconnect_max_ms),
        reached: watch::Sender::default(),
        tenants: Arc::default(),
    })
}

/// What a configuration's workers are made of; `on_round` hears of the reaper's rounds.
pub fn worker_parts(
    config: &Config,
    target: Target,
    tenants: watch::Receiver<Arc<Tenants>>,
    metrics: &Metrics,
    on_round: OnRound,
) -> WorkerParts {
    let inventory = &config.inventory;
    let test_clock = std::env::var(TEST_CLOCK_KEY).ok();
    if let Some(key) = &test_clock {
        tracing::warn!(key, "the inventory's time is read from a key: for tests alone");
    }
    WorkerParts {
        fitting: Fitting {
            script_with_flags: script::source(true, test_clock.as_deref()),
            script_plain: script::source(false, test_clock.as_deref()),
            clock: script::clock(test_clock.as_deref()),
            home: config
                .tenants
                .is_empty()
                .then(|| Claim { meta_key: keys::meta_key(&inventory.namespace), cells: inventory.cells }),
        },
        target,
        knowledge: Arc::default(),
        workers: config.sidecar.workers,
        pool_size: config.upstream.pool_size,
        links: LinkLimits {
            links: config.upstream.links,
            pinned_max: config.upstream.pinned_max,
            reply_timeout: Duration::from_millis(config.upstream.reply_timeout_ms),
            pause_bytes: config.session.output_pause_bytes,
        },
        pinned: Arc::default(),
        batcher: BatcherLimits {
            batch_ops_max: inventory.batch_ops_max,
            queue_ops_max: inventory.queue_ops_max,
            batches_max: config.upstream.pool_size as usize,
            deadline: Duration::from_millis(inventory.operation_deadline_ms),
        },
        tenants,
        tls: None,
        session: SessionSettings {
            pipeline_max: config.session.pipeline_max,
            client_ops_max: inventory.client_ops_max,
            request_stream_bytes: config.session.request_stream_bytes,
            output_pause_bytes: config.session.output_pause_bytes,
            output_close_bytes: config.session.output_close_bytes,
            output_stall: Duration::from_millis(config.session.output_stall_ms),
            unknown_max: (config.listen.clients_max / UNKNOWN_SHARE).max(1),
            auth_timeout: Duration::from_millis(config.listen.auth_timeout_ms),
            auth_failure: Duration::from_millis(config.listen.auth_failure_ms),
        },
        namespaces: Arc::new(Namespaces::new(Duration::from_millis(inventory.sold_out_cache_ms))),
        metrics: metrics.clone(),
        clients: Arc::default(),
        pages: Pages::default(),
        reaper: Some((
            ReaperSettings {
                reap_interval: Duration::from_millis(inventory.reap_interval_ms),
                reap_count: inventory.reap_count as u64,
                protected_refresh: Duration::from_millis(inventory.protected_refresh_ms),
                patience: Duration::from_millis(inventory.operation_deadline_ms * 2),
                look_patience: Duration::from_millis(inventory.operation_deadline_ms / 8),
            },
            on_round,
        )),
    }
}

/// What the reaper's rounds tell of the upstream.
pub(super) fn on_round(readiness: &Arc<Readiness>, metrics: &Metrics) -> OnRound {
    let (readiness, up) = (Arc::clone(readiness), metrics.upstream_up.clone());
    Arc::new(move |round| match round {
        Ok(()) => {
            up.set(1.0);
            readiness.set_ready();
        }
        Err(reason) => {
            up.set(0.0);
            readiness.set_not_ready(reason);
        }
    })
}
