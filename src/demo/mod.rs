//! A flash sale to watch: a Redis of its own, the sidecar before it, a crowd of buyers over ordinary Redis connections, and
//! at the end the account, to the unit.
//!
//! Owns the order of events and the end of everything it started. It stands beside [`crate::app`], from which it gets its
//! sidecar; no other room knows of it.

mod account;
mod batches;
mod buyer;
mod client;
mod figures;
mod histogram;
mod ledger;
mod load;
mod plan;
mod report;
mod sale;
mod screen;
mod tally;
mod view;
mod watch;

use std::fmt;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::pin::pin;

use tempfile::TempDir;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::app::{self, Running, Signals};
use crate::cli::DemoOptions;
use crate::config::{Config, UpstreamUrl};
use crate::logging;

/// Beside the buyers' connections: those that fill the shelves, and a person with redis-cli.
const CLIENTS_BESIDE: usize = 100;

/// Why a sale did not end with an account that adds up.
#[derive(Debug, PartialEq, Eq)]
pub enum Unfinished {
    /// Ctrl-C, SIGTERM or the end of the terminal came before the end of the sale.
    Interrupted,
    /// It could not be held, or its account does not add up: one line, or a few.
    Failed(String),
}

impl From<String> for Unfinished {
    fn from(why: String) -> Self {
        Self::Failed(why)
    }
}

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interrupted => {
                f.write_str("Interrupted before the end of the sale; the sidecar and its Redis have ended.")
            }
            Self::Failed(why) => f.write_str(why),
        }
    }
}

/// Runs the sale, shows it, prints its account. Everything that it started has ended when it returns.
///
/// # Errors
/// Each [`Unfinished`].
pub fn run(options: &DemoOptions) -> Result<(), Unfinished> {
    let temporary = match options.data_dir {
        Some(_) => None,
        None => Some(TempDir::with_prefix("inventory-sentinel-demo-").map_err(|error| error.to_string())?),
    };
    let data_dir = match (&options.data_dir, &temporary) {
        (Some(dir), _) => dir.clone(),
        (None, Some(dir)) => dir.path().to_owned(),
        (None, None) => PathBuf::new(),
    };
    let config = config(options, data_dir);
    logging::init(&config.log)?;
    raise_open_files();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    runtime.block_on(hold(options, &config))
}

fn config(options: &DemoOptions, data_dir: PathBuf) -> Config {
    let mut config = Config::default();
    config.upstream.url = UpstreamUrl::Managed;
    config.sidecar.data_dir = data_dir;
    "127.0.0.1:0".clone_into(&mut config.listen.tcp);
    "127.0.0.1:0".clone_into(&mut config.admin.listen);
    config.listen.clients_max = options.connections as usize + CLIENTS_BESIDE;
    // A line between its pictures would tear the live view, which says by itself when Redis is away; RUST_LOG beats it.
    let torn = screen::output().1 && std::io::stderr().is_terminal();
    if torn { "off" } else { "warn" }.clone_into(&mut config.log.level);
    config
}

/// Both ends of each connection are in this process, and many systems begin with 1,024 files.
fn raise_open_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where it stays low, a connection that cannot be made says so.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// Ctrl-C, SIGTERM, or the terminal being closed: without it the Redis and its directory would stay behind.
struct Interrupts {
    signals: Signals,
    hangup: Signal,
}

impl Interrupts {
    fn new() -> Result<Self, String> {
        let hangup = signal(SignalKind::hangup());
        let both = Signals::new().and_then(|signals| Ok(Self { signals, hangup: hangup? }));
        both.map_err(|error| format!("signals: {error}"))
    }

    /// Cancel safe.
    async fn next(&mut self) {
        tokio::select! {
            () = self.signals.next() => {}
            _ = self.hangup.recv() => {}
        }
    }
}

/// The sidecar's life around the sale.
async fn hold(options: &DemoOptions, config: &Config) -> Result<(), Unfinished> {
    let mut interrupts = Interrupts::new()?;
    let mut starting = pin!(app::start(config));
    let running = tokio::select! {
        running = &mut starting => running?,
        () = interrupts.next() => {
            // Dropped half-way, the start kills what it had started, but nobody would wait until that is gone.
            tokio::select! {
                running = &mut starting => {
                    if let Ok(running) = running {
                        running.stop(std::future::ready(())).await;
                    }
                }
                () = interrupts.next() => {}
            }
            return Err(Unfinished::Interrupted);
        }
    };
    // Dropped, the sale ends its thread and gives the cursor back.
    let sold = tokio::select! {
        sold = sale::sell(options, config, &running) => sold.map_err(Unfinished::from),
        () = interrupts.next() => {
            // Past the ^C that the terminal shows.
            screen::print("");
            Err(Unfinished::Interrupted)
        }
    };
    if options.keep && sold.is_ok() {
        screen::print(&invitation(&running, &plan::name(0)));
        interrupts.next().await;
        screen::print("");
    }
    running.stop(std::future::ready(())).await;
    sold
}

/// What there is to try while it stays up.
fn invitation(running: &Running, sku: &str) -> String {
    let (Some(listen), Some(admin)) = (running.listen, running.admin) else { return String::new() };
    let (port, (look, _)) = (listen.port(), screen::output());
    let strong = |text: &str| look.paint(figures::Tone::Strong, text);
    format!(
        "\n  {}\n\n    redis-cli -p {port} INV.ADDSTOCK {sku} 100\n    redis-cli -p {port} INV.RESERVE {sku} 2 EX 60\n    \
         redis-cli -p {port} INV.STOCK {sku}\n    curl http://{admin}/metrics\n\n  Ctrl-C ends it.",
        strong("It stays up. To try:")
    )
}
