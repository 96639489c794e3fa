//! What an upstream is and whether it will do: engine, version, eviction policy, scripts, round trip.
//!
//! Owns the questions of `inventory-sentinel check --connect`. Never changes a key, and never stands in a request's way:
//! the sidecar's own connections ask for themselves.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bb8_redis::redis::Value;
use bytes::{Bytes, BytesMut};
use tokio::sync::watch;
use tokio::time::timeout;

use super::command_reply::command_table_of;
use super::managed::Managed;
use super::pool::{self, Claim};
use super::target::Target;
use super::wire::Wire;
use crate::command::CommandTable;
use crate::config::{Address, Config, Secret, UpstreamUrl};
use crate::error::{Kind, UpstreamError};
use crate::resp::write;
use crate::tls::UpstreamTls;

/// The oldest engine whose scripts and replies the sidecar relies on.
const OLDEST: (u32, u32) = (6, 2);
/// What is to be said where `fsync` is asked of an engine before Redis 7.2.
pub const NO_FSYNC: &str =
    "acknowledge = \"fsync\" needs Redis 7.2 or later: until then all that INV commands change is answered UNCERTAIN";
/// Enough for a median that one late reply does not move.
const PINGS: usize = 20;

/// What was found. Shown as one line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckReport {
    /// `redis` or `valkey`.
    pub engine: String,
    /// The engine's own version: `7.0.15`.
    pub version: String,
    /// `noeviction`, or what puts stock at risk; then there is a warning.
    pub maxmemory_policy: String,
    /// The median of 20 PINGs, in microseconds.
    pub round_trip_us: u64,
    /// What will work, but should not stay so.
    pub warnings: Vec<String>,
}

impl CheckReport {
    /// The Redis version that it is compatible with: Valkey calls itself 7.2.4 towards clients.
    #[must_use]
    pub fn redis_version(&self) -> (u32, u32, u32) {
        if self.engine != "redis" {
            return (7, 2, 4);
        }
        let mut parts = self.version.split('.').map(|part| part.parse().unwrap_or(0));
        let mut next = || parts.next().unwrap_or(0);
        (next(), next(), next())
    }
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { engine, version, maxmemory_policy, round_trip_us, warnings } = self;
        writeln!(f, "engine      {engine} {version}")?;
        writeln!(f, "eviction    {maxmemory_policy}")?;
        writeln!(f, "scripts     supported")?;
        write!(f, "round trip  {round_trip_us} µs (median of {PINGS})")?;
        for warning in warnings {
            write!(f, "\nwarning: {warning}")?;
        }
        Ok(())
    }
}

/// Connects as the configuration says and asks. For a managed upstream a server is run in a temporary directory for as
/// long as the questions take: the data directory may be in use by the sidecar that is to be checked.
///
/// # Errors
///
/// One line that says what is wrong: not reachable, password refused, an engine that is too old or runs no scripts.
///
/// # Cancel safety
///
/// Nothing is left behind.
pub async fn check_connect(config: &Config) -> Result<CheckReport, String> {
    if config.upstream.url != UpstreamUrl::Managed {
        return check_url(config, &config.upstream.url).await;
    }
    let dir = tempfile::tempdir().map_err(|error| format!("upstream managed: {error}"))?;
    let mut elsewhere = config.clone();
    elsewhere.sidecar.data_dir = dir.path().to_owned();
    let managed = Managed::start(&elsewhere).await.map_err(|error| format!("upstream managed: {error}"))?;
    let url = UpstreamUrl::plain(Address::Unix(managed.socket_path().to_owned()));
    let report = check_url(config, &url).await;
    managed.stop().await;
    report
}

/// An upstream user of a tenant's.
#[derive(Debug)]
pub struct CheckedUser<'a> {
    /// The tenant's name.
    pub tenant: &'a str,
    /// Name and password.
    pub user: &'a (String, Secret),
}

/// What would not work of what tenants' entries ask of the upstream, one line each. `unknown` says which of their rules it does
/// not know. A managed upstream knows no users, and runs for nobody now.
///
/// # Errors
/// As of [`check_connect`].
pub async fn check_tenants(
    config: &Config,
    users: &[CheckedUser<'_>],
    unknown: impl FnOnce(&CommandTable) -> Vec<String>,
) -> Result<Vec<String>, String> {
    let UpstreamUrl::Server { address, db, tls, .. } = &config.upstream.url else { return Ok(Vec::new()) };
    let limit = Duration::from_millis(config.upstream.connect_timeout_ms);
    let fault = |what: String| format!("upstream {}: {what}", config.upstream.url);
    let loaded = UpstreamTls::load(&config.upstream).map_err(fault)?;
    let mut wire = within(limit, connect(&config.upstream.url, loaded.clone(), limit)).await.map_err(fault)?;
    let mut request = BytesMut::new();
    write::request(&mut request, &[b"COMMAND"]);
    let read = |reply: &Bytes| Ok(command_table_of(reply, true));
    let tables = within(limit, wire.exchange_read(&request, 1, read)).await.map_err(fault)?;
    let mut lines: Vec<String> = tables
        .into_iter()
        .next()
        .flatten()
        .map_or_else(Vec::new, |table| unknown(&table))
        .into_iter()
        .map(|line| format!("allow or deny names what the upstream does not know, and that does nothing: {line}"))
        .collect();
    for CheckedUser { tenant, user: (name, password) } in users {
        let (username, password) = (Some(name.clone()), Some(password.clone()));
        let as_user = UpstreamUrl::Server { address: address.clone(), username, password, db: *db, tls: *tls };
        if let Err(what) = within(limit, connect(&as_user, loaded.clone(), limit)).await {
            lines.push(format!("tenant {tenant}: upstream_user {name:?}: {what}"));
        }
    }
    Ok(lines)
}

/// What is said of the namespaces that were begun with another number of cells than is configured now. A managed upstream runs
/// for nobody now.
///
/// # Errors
/// As of [`check_connect`].
pub async fn check_cells(config: &Config, claims: &[Claim]) -> Result<Vec<String>, String> {
    let url = &config.upstream.url;
    if *url == UpstreamUrl::Managed {
        return Ok(Vec::new());
    }
    let limit = Duration::from_millis(config.upstream.connect_timeout_ms);
    let fault = |what: String| format!("upstream {url}: {what}");
    let tls = UpstreamTls::load(&config.upstream).map_err(fault)?;
    let mut wire = within(limit, connect(url, tls, limit)).await.map_err(fault)?;
    let mut lines = Vec::new();
    for claim in claims {
        let known = query(&mut wire, limit, &["HGET", &claim.meta_key, "cells"]).await.map_err(fault)?;
        lines.extend(pool::check(claim, &known).err().map(|error| error.detail));
    }
    Ok(lines)
}

async fn check_url(config: &Config, url: &UpstreamUrl) -> Result<CheckReport, String> {
    let limit = Duration::from_millis(config.upstream.connect_timeout_ms);
    let fault = |what: String| format!("upstream {url}: {what}");
    let tls = UpstreamTls::load(&config.upstream).map_err(fault)?;
    let mut wire =
        within(limit, connect(url, tls, limit)).await.map_err(|what| fault(format!("cannot connect: {what}")))?;
    ask(&mut wire, limit).await.map_err(fault)
}

async fn connect(url: &UpstreamUrl, tls: Option<Arc<UpstreamTls>>, limit: Duration) -> Result<Wire, UpstreamError> {
    let UpstreamUrl::Server { address, username, password, db, .. } = url else {
        return Err(UpstreamError::new(Kind::Connect, "a managed upstream has no address yet"));
    };
    let target = Target {
        address: address.clone(),
        tls,
        username: username.clone(),
        password: password.clone(),
        name: None,
        db: *db,
        connect_timeout: limit,
        reconnect_min: limit,
        reconnect_max: limit,
        reached: watch::Sender::default(),
        tenants: Arc::default(),
    };
    Wire::connect(&target).await
}

async fn ask(wire: &mut Wire, limit: Duration) -> Result<CheckReport, String> {
    let info = text(query(wire, limit, &["INFO", "server"]).await?);
    let memory = text(query(wire, limit, &["INFO", "memory"]).await?);
    let (engine, version) = engine(&info)?;
    let sum = text(query(wire, limit, &["SCRIPT", "LOAD", "return 1"]).await?);
    let one = query(wire, limit, &["EVALSHA", &sum, "0"]).await?;
    let also = query(wire, limit, &["EVAL", "return 1", "0"]).await?;
    if (one, also) != (Value::Int(1), Value::Int(1)) {
        return Err("its scripts do not return what they should".to_owned());
    }
    let mut times = Vec::with_capacity(PINGS);
    for _ in 0..PINGS {
        let sent = Instant::now();
        query(wire, limit, &["PING"]).await?;
        times.push(sent.elapsed());
    }
    times.sort_unstable();
    let policy = field(&memory, "maxmemory_policy").unwrap_or("unknown");
    Ok(CheckReport {
        engine: engine.to_owned(),
        version: version.to_owned(),
        maxmemory_policy: policy.to_owned(),
        round_trip_us: u64::try_from(times[PINGS / 2].as_micros()).unwrap_or(u64::MAX),
        warnings: policy_warning(policy).into_iter().collect(),
    })
}

/// The engine and its version out of INFO, if it is not too old.
fn engine(info: &str) -> Result<(&'static str, &str), String> {
    // Valkey says `redis_version:7.2.4` for the sake of old clients, and its own beside it.
    if field(info, "server_name") == Some("valkey") || field(info, "valkey_version").is_some() {
        return Ok(("valkey", field(info, "valkey_version").unwrap_or("unknown")));
    }
    let Some(version) = field(info, "redis_version") else {
        return Err("it is neither Redis nor Valkey: INFO names no redis_version".to_owned());
    };
    let mut numbers = version.split('.').map(|part| part.parse::<u32>().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor)) if (major, minor) >= OLDEST => Ok(("redis", version)),
        (Some(_), Some(_)) => Err(format!("it is Redis {version}; {}.{} or later is needed", OLDEST.0, OLDEST.1)),
        _ => Err(format!("its redis_version is {version:?}; {}.{} or later is needed", OLDEST.0, OLDEST.1)),
    }
}

fn policy_warning(policy: &str) -> Option<String> {
    match policy {
        "noeviction" => None,
        // No inventory key has an expiry, so these never choose one.
        "volatile-lru" | "volatile-lfu" | "volatile-random" | "volatile-ttl" => Some(format!(
            "maxmemory-policy is {policy}: inventory keys have no expiry and are spared, but a full Redis then refuses \
             reservations; noeviction says so sooner"
        )),
        _ => Some(format!(
            "maxmemory-policy is {policy}: stock or reservations may be evicted, so stock may be lost or sold twice; set \
             it to noeviction"
        )),
    }
}

/// A field's value in INFO's text.
fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

async fn query(wire: &mut Wire, limit: Duration, words: &[&str]) -> Result<Value, String> {
    let args: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    within(limit, wire.ask(&args)).await.map_err(|what| format!("{}: {what}", words[0]))
}

fn text(value: Value) -> String {
    match value {
        Value::BulkString(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Value::SimpleString(text) => text,
        _ => String::new(),
    }
}

async fn within<T>(limit: Duration, answer: impl Future<Output = Result<T, UpstreamError>>) -> Result<T, String> {
    match timeout(limit, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        // The upstream's words say which of the two it was no better.
        Ok(Err(error)) if error.kind == Kind::Auth && !error.is_noauth() && !error.detail.starts_with("NOPERM") => {
            Err("the upstream refused the password (or the user)".to_owned())
        }
        Ok(Err(error)) => Err(error.detail.replace(['\r', '\n'], " ")),
        Err(_) => Err(format!("no answer in {} ms", limit.as_millis())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_are_told_apart_and_old_ones_refused() {
        let valkey = "# Server\r\nredis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.1\r\n";
        assert_eq!(engine(valkey).unwrap(), ("valkey", "8.1.1"));
        for version in ["6.2.0", "7.0.15", "8.2.1", "10.0.0"] {
            assert_eq!(engine(&format!("redis_version:{version}\r\n")).unwrap(), ("redis", version));
        }
        for (info, said) in [
            ("redis_version:6.0.16\r\n", "it is Redis 6.0.16; 6.2 or later is needed"),
            ("redis_version:5.9.9\r\n", "it is Redis 5.9.9; 6.2 or later is needed"),
            ("redis_version:new\r\n", "its redis_version is \"new\"; 6.2 or later is needed"),
            ("", "it is neither Redis nor Valkey: INFO names no redis_version"),
        ] {
            assert_eq!(engine(info).unwrap_err(), said);
        }
    }

    #[test]
    fn a_policy_that_may_evict_stock_is_warned_of() {
        assert_eq!(policy_warning("noeviction"), None);
        assert!(policy_warning("allkeys-lru").unwrap().contains("lost or sold twice"));
        assert!(policy_warning("volatile-lru").unwrap().contains("are spared"));
    }

    #[tokio::test]
    async fn a_real_server_is_reported() {
        let mut config = Config::default();
        config.upstream.url = UpstreamUrl::Managed;
        let report = check_connect(&config).await.unwrap();
        assert_eq!((report.maxmemory_policy.as_str(), report.warnings.len()), ("noeviction", 0));
        assert!(["redis", "valkey"].contains(&report.engine.as_str()) && report.version.contains('.'), "{report}");
        assert!(report.round_trip_us < 1_000_000, "{report}");
    }

    #[tokio::test]
    async fn a_policy_and_a_password_are_found_out_on_a_real_server() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.sidecar.data_dir = dir.path().to_owned();
        let managed = Managed::start(&config).await.unwrap();
        let at = |password: Option<&str>| UpstreamUrl::Server {
            address: Address::Unix(managed.socket_path().to_owned()),
            username: None,
            password: password.map(Secret::new),
            db: 3,
            tls: false,
        };
        let mut wire = connect(&at(None), None, Duration::from_secs(5)).await.unwrap();
        for (key, value) in [("maxmemory-policy", "allkeys-lru"), ("requirepass", "right")] {
            let words = ["CONFIG", "SET", key, value];
            query(&mut wire, Duration::from_secs(5), &words).await.unwrap();
        }
        let report = check_url(&config, &at(Some("right"))).await.unwrap();
        assert_eq!(report.maxmemory_policy, "allkeys-lru");
        assert!(report.to_string().contains("\nwarning: maxmemory-policy is allkeys-lru"), "{report}");
        let refused = check_url(&config, &at(Some("wrong"))).await.unwrap_err();
        assert!(refused.contains("refused the password") && !refused.contains("wrong"), "{refused}");
        let refused = check_url(&config, &at(None)).await.unwrap_err();
        assert!(refused.contains("Authentication required"), "{refused}");
        managed.stop().await;
    }

    #[tokio::test]
    async fn nobody_there_is_one_clear_line() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut config = Config::default();
        config.upstream.url = format!("redis://u:hunter2@127.0.0.1:{free}").parse().unwrap();
        let error = check_connect(&config).await.unwrap_err();
        assert!(error.starts_with(&format!("upstream redis://127.0.0.1:{free}: cannot connect: ")), "{error}");
        assert!(error.contains("refused") && !error.contains('\n') && !error.contains("hunter2"), "{error}");
    }

    #[tokio::test]
    async fn one_that_does_not_answer_is_given_up() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut config = Config::default();
        config.upstream.connect_timeout_ms = 50;
        config.upstream.url = format!("redis://{}", silent.local_addr().unwrap()).parse().unwrap();
        let error = check_connect(&config).await.unwrap_err();
        assert!(error.ends_with("cannot connect: no answer in 50 ms") || error.contains("INFO: no answer"), "{error}");
    }
}
