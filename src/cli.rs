//! The command line: what can be said there and in the environment, and how that overlays the file.
//!
//! Owns the subcommands, their help and the order of the sources. Never runs a sidecar: `main` does with what it finds.

mod health;
mod tenants;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::{self, Config, ConfigError, Override, ShownConfig, UpstreamUrl};

pub use health::{health, running};
pub use tenants::{acl_line, acl_note, warnings};

/// What a reader of `--help` wants to type next.
const EXAMPLES: &str = "\
Examples:
  inventory-sentinel demo                          watch a flash sale, with a Redis of its own
  inventory-sentinel run --upstream managed        serve on 127.0.0.1:6380, with a Redis of its own
  inventory-sentinel run --upstream redis://db:6379
  inventory-sentinel check --config sentinel.toml --connect

Then, with any Redis client:
  redis-cli -p 6380 INV.SETSTOCK tickets 100
  redis-cli -p 6380 INV.RESERVE tickets 2 EX 300   answers the reservation's id
  redis-cli -p 6380 INV.COMMIT <id>                or INV.ROLLBACK <id>
  redis-cli -p 6380 INV.HELP
  curl http://127.0.0.1:9121/metrics               also /healthz and /readyz

Other commands go to the upstream as they are; a few about the connection itself
(HELLO, SELECT, CLIENT REPLY ...) are answered here.";

const RUN_EXAMPLES: &str = "\
Flags beat these environment variables, which beat the file, which beats the defaults:
  INVENTORY_SENTINEL_CONFIG, _LISTEN, _UPSTREAM, _ADMIN, _NAMESPACE, _WORKERS
An empty variable counts as unset.

Examples:
  inventory-sentinel run        127.0.0.1:6380 before redis://127.0.0.1:6379
  inventory-sentinel run --upstream managed --data-dir /var/lib/inventory-sentinel
  inventory-sentinel run --listen '' --listen-unix /run/sentinel.sock
  inventory-sentinel run --config sentinel.toml --set inventory.reservation_ttl=10m

SIGTERM and SIGINT end it: what is in flight is answered first, within sidecar.drain_ms.
SIGHUP, or another content of the file, has the configuration read again: tenants and a few
other keys change without a restart, or nothing does where anything is wrong.";

const CHECK_EXAMPLES: &str = "\
Takes the flags and environment variables of `run`, so it says what `run` would do.
Exits with 0 and a summary, or with 1 and one line a fault:
  file.toml:12: inventory.cells: 0 is not in 1..=1024

Examples:
  inventory-sentinel check --config new.toml --against old.toml
  inventory-sentinel check --config new.toml --against http://127.0.0.1:9121/config

A sidecar tells what it runs with where its admin.show_config is true. It tells no secret, nor a
hash of one: of those that both configurations hold it is said that they were not compared. Of files
and environment variables that hold one the names are.";

const ACL_EXAMPLES: &str = "\
The user is the tenant's upstream_user, or else its name. Put the password in place of <password>,
execute the line upstream, and set the tenant's upstream_user and upstream_password: with the line
in place a request of the tenant's that got past the sidecar's isolation would still be refused by
the upstream.

Examples:
  inventory-sentinel acl --config sentinel.toml --tenant acme
  inventory-sentinel acl --config sentinel.toml --tenant acme --engine 6.2";

const DEMO_EXAMPLES: &str = "\
Runs a Redis (or Valkey) of its own in a temporary directory, the sidecar before it on a free port,
and a sale through ordinary Redis connections. At the end it reads the account from Redis: units
before = sold + left + open, to the unit; it exits with 1 if that does not add up, with 130 if it
was interrupted before.

Examples:
  inventory-sentinel demo --buyers 20000 --units 500
  inventory-sentinel demo --keep        stays up at the end and prints the redis-cli line to try";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "inventory-sentinel",
    version,
    about = "A sidecar for Redis that reserves, sells and gives back stock atomically",
    long_about = "A sidecar for Redis (or Valkey): it runs beside an application, speaks the Redis protocol on \
                  localhost, turns INV.* commands into batched, atomic script calls, so that stock is never sold \
                  twice, and passes everything else through.",
    after_help = EXAMPLES,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the sidecar
    #[command(after_help = RUN_EXAMPLES)]
    Run(ConfigArgs),
    /// Say what is wrong with a configuration, or what it would serve
    #[command(after_help = CHECK_EXAMPLES)]
    Check(CheckArgs),
    /// Watch a flash sale run through a sidecar and a Redis of its own
    #[command(after_help = DEMO_EXAMPLES)]
    Demo(DemoOptions),
    /// Print the ACL SETUSER line that makes a tenant's upstream user
    #[command(after_help = ACL_EXAMPLES)]
    Acl(AclArgs),
    /// Ask a running sidecar whether it is alive; exits with 0 or 1
    Health(HealthArgs),
}

/// Where a configuration comes from: a file and what overrides it.
#[derive(Debug, Default, Clone, Args)]
pub struct ConfigArgs {
    /// TOML file; config/sentinel.toml shows every key [env: INVENTORY_SENTINEL_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// host:port for clients, '' for none [default: 127.0.0.1:6380] [env: INVENTORY_SENTINEL_LISTEN]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
    /// Unix socket for clients
    #[arg(long, value_name = "PATH")]
    pub listen_unix: Option<String>,
    /// Where the upstream is
    #[arg(
        long,
        value_name = "URL",
        help = "redis://[user:password@]host[:port][/db], rediss:// for TLS, redis+unix:///path[?db=n], or managed: the sidecar runs \
                valkey-server or redis-server itself [default: redis://127.0.0.1:6379] \
                [env: INVENTORY_SENTINEL_UPSTREAM]"
    )]
    pub upstream: Option<String>,
    /// host:port for /metrics, /healthz and /readyz, '' for none [default: 127.0.0.1:9121]
    /// [env: INVENTORY_SENTINEL_ADMIN]
    #[arg(long, value_name = "ADDR")]
    pub admin: Option<String>,
    /// Namespace of the inventory: 1 to 64 of A-Z a-z 0-9 _ - [default: default] [env: INVENTORY_SENTINEL_NAMESPACE]
    #[arg(long, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Worker threads, 1 to 64 [default: 1] [env: INVENTORY_SENTINEL_WORKERS]
    #[arg(long, value_name = "N")]
    pub workers: Option<String>,
    /// Where a managed upstream keeps its data [default: inventory-sentinel-data]
    #[arg(long, value_name = "PATH")]
    pub data_dir: Option<String>,
    /// Any key of the file, such as inventory.reservation_ttl=10m; the flags above beat it; may be repeated
    #[arg(long, value_name = "TABLE.KEY=VALUE")]
    pub set: Vec<String>,
    /// auto, text or json [default: auto: text on a terminal, else json]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// off, error, warn, info, debug or trace [default: info]; RUST_LOG beats it
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
}

/// For `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// What to check.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Also connect to the upstream, and report its engine, version, eviction policy, scripts and round-trip time, and what
    /// of tenants' entries it would refuse
    #[arg(long)]
    pub connect: bool,
    /// Also print what differs from this file, or from what a sidecar runs with (http://ADMIN/config), and which of it it
    /// takes on SIGHUP
    #[arg(long, value_name = "FILE|URL")]
    pub against: Option<String>,
}

/// For `acl`.
#[derive(Debug, Args)]
pub struct AclArgs {
    /// Where the tenant is configured.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The tenant
    #[arg(long, value_name = "NAME")]
    pub tenant: String,
    /// The upstream's Redis version, such as 7.0 (of Valkey the one it is compatible with, 7.2) [default: it is asked]
    #[arg(long, value_name = "VERSION")]
    pub engine: Option<String>,
}

/// For `demo`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct DemoOptions {
    /// How many try to buy
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub buyers: u64,
    /// Client connections that they share
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub connections: u32,
    /// Units on sale, all SKUs together
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=2_147_483_647))]
    pub units: u64,
    /// SKUs; most buyers want the first
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub skus: u32,
    /// Stay up at the end, to be tried with redis-cli
    #[arg(long)]
    pub keep: bool,
    /// Where the Redis keeps its data [default: a temporary directory, removed at the end]
    #[arg(long, value_name = "PATH")]
    pub data_dir: Option<PathBuf>,
    /// The same seed makes the same buyers [default: random; it is printed]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
}

/// For `health`.
#[derive(Debug, Args)]
pub struct HealthArgs {
    /// The sidecar's admin address [default: 127.0.0.1:9121] [env: INVENTORY_SENTINEL_ADMIN]
    #[arg(long, value_name = "ADDR")]
    pub admin: Option<String>,
}

/// Flags, their environment variable if they have one, and the key they set.
type Row<'a> = (&'static str, Option<&'static str>, &'static str, &'a Option<String>);

impl ConfigArgs {
    /// The configuration that these flags, the environment and the file make. `env` reads a variable.
    ///
    /// # Errors
    ///
    /// All faults, each with its place.
    pub fn load(&self, env: impl Fn(&str) -> Option<String>) -> Result<Config, ConfigError> {
        let env = |name: &str| env(name).filter(|value| !value.is_empty());
        config::load_from(self.file(env).as_deref(), &self.overrides(env))
    }

    /// The file that it is read from. `env` reads a variable.
    pub fn file(&self, env: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
        let variable = || env("INVENTORY_SENTINEL_CONFIG").filter(|value| !value.is_empty());
        self.config.clone().or_else(|| variable().map(PathBuf::from))
    }

    /// From the weakest to the strongest: environment, `--set`, flags.
    fn overrides(&self, env: impl Fn(&str) -> Option<String>) -> Vec<Override> {
        let given =
            |source: &str, key: &str, value: String| Override { source: source.to_owned(), key: key.to_owned(), value };
        let from_env = self.rows().into_iter().filter_map(|(_, variable, key, _)| {
            let variable = variable?;
            Some(given(variable, key, env(variable)?))
        });
        let from_set = self.set.iter().map(|pair| {
            // Without a = there is no value: the key alone is then what the error speaks of.
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            given("--set", key.trim(), value.trim().to_owned())
        });
        let from_flags =
            self.rows().into_iter().filter_map(|(flag, _, key, value)| Some(given(flag, key, value.clone()?)));
        from_env.chain(from_set).chain(from_flags).collect()
    }

    fn rows(&self) -> [Row<'_>; 9] {
        [
            ("--listen", Some("INVENTORY_SENTINEL_LISTEN"), "listen.tcp", &self.listen),
            ("--listen-unix", None, "listen.unix", &self.listen_unix),
            ("--upstream", Some("INVENTORY_SENTINEL_UPSTREAM"), "upstream.url", &self.upstream),
            ("--admin", Some("INVENTORY_SENTINEL_ADMIN"), "admin.listen", &self.admin),
            ("--namespace", Some("INVENTORY_SENTINEL_NAMESPACE"), "inventory.namespace", &self.namespace),
            ("--workers", Some("INVENTORY_SENTINEL_WORKERS"), "sidecar.workers", &self.workers),
            ("--data-dir", None, "sidecar.data_dir", &self.data_dir),
            ("--log-format", None, "log.format", &self.log_format),
            ("--log-level", None, "log.level", &self.log_level),
        ]
    }
}

impl AclArgs {
    /// The version that was given.
    ///
    /// # Errors
    /// It is none.
    pub fn version(&self) -> Result<Option<(u32, u32, u32)>, String> {
        let Some(given) = &self.engine else { return Ok(None) };
        let parts: Option<Vec<u32>> = given.split('.').map(|part| part.parse().ok()).collect();
        match parts.as_deref() {
            Some([major]) => Ok(Some((*major, 0, 0))),
            Some([major, minor]) => Ok(Some((*major, *minor, 0))),
            Some([major, minor, patch]) => Ok(Some((*major, *minor, *patch))),
            _ => Err(format!("--engine: {given:?} is not a version, such as 7.0 or 8.2.1")),
        }
    }
}

/// What differs between two configurations, one line each.
#[must_use]
pub fn changes(before: &ShownConfig, after: &Config) -> String {
    let after = ShownConfig::of(after);
    let changes = config::diff_shown(before, &after);
    let mut lines: Vec<String> = changes.iter().map(|change| format!("change      {change}")).collect();
    if lines.is_empty() {
        lines.push("changes     none".to_owned());
    }
    lines.extend(
        before.not_compared(&after).iter().map(|path| format!("unknown     {path}: a sidecar tells no secret")),
    );
    lines.join("\n")
}

impl HealthArgs {
    /// The address to ask. `env` reads a variable.
    pub fn address(&self, env: impl Fn(&str) -> Option<String>) -> String {
        let from_env = || env("INVENTORY_SENTINEL_ADMIN").filter(|value| !value.is_empty());
        self.admin.clone().or_else(from_env).unwrap_or_else(|| Config::default().admin.listen)
    }
}

/// What this configuration would serve, one line each.
#[must_use]
pub fn summary(config: &Config) -> String {
    let Config { sidecar, listen, upstream, admin, inventory, .. } = config;
    let or_none = |what: &str| if what.is_empty() { "none".to_owned() } else { what.to_owned() };
    let tls = if listen.tcp.is_empty() || listen.tls_cert.as_os_str().is_empty() { "" } else { " (TLS)" };
    let tcp = format!("{}{tls}", listen.tcp);
    let clients = match (tcp.as_str(), listen.unix.as_str()) {
        ("", "") => "tenants' own listeners".to_owned(),
        (tcp, "") => tcp.to_owned(),
        ("", unix) => unix.to_owned(),
        (tcp, unix) => format!("{tcp} and {unix}"),
    };
    let upstream = match &upstream.url {
        UpstreamUrl::Managed => format!("managed, data in {}", sidecar.data_dir.display()),
        url => url.to_string(),
    };
    let cells = if inventory.cells == 1 { "1 cell".to_owned() } else { format!("{} cells", inventory.cells) };
    let workers = if sidecar.workers == 1 { "1 worker".to_owned() } else { format!("{} workers", sidecar.workers) };
    let inventory_line = if config.tenants.is_empty() {
        format!("namespace {}, {cells}", inventory.namespace)
    } else {
        format!("a namespace for each tenant, {cells}")
    };
    let tenants: String = config.tenants.iter().map(|tenant| tenants::line(config, tenant)).collect();
    format!(
        "clients     {clients} ({workers}, {} clients at most)\n\
         upstream    {upstream}\n\
         admin       {}\n\
         inventory   {inventory_line}; a reservation lives {}, {} at most{tenants}",
        listen.clients_max,
        or_none(&admin.listen),
        inventory.reservation_ttl,
        inventory.reservation_ttl_max,
    )
}
