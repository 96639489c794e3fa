//! Where log lines go and what they look like: text on a terminal, JSON otherwise, always on standard error.

use crate::config::{Log, LogFormat};
use std::io::IsTerminal;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{fmt, registry};

/// Levels by target, such as `warn,inventory_sentinel::upstream=debug`.
const VARIABLE: &str = "RUST_LOG";

/// Sets the process's logging up; RUST_LOG beats the level of the configuration.
///
/// # Errors
/// A level that cannot be read, or logging that was set up before.
pub fn init(config: &Log) -> Result<(), String> {
    let filter: Targets = match std::env::var(VARIABLE) {
        Ok(filter) if !filter.is_empty() => filter.parse().map_err(|error| format!("{VARIABLE}: {error}"))?,
        _ => config.level.parse().map_err(|error| format!("log.level: {error}"))?,
    };
    let text = match config.format {
        LogFormat::Text => true,
        LogFormat::Json => false,
        LogFormat::Auto => std::io::stderr().is_terminal(),
    };
    let lines = fmt::layer().with_writer(std::io::stderr).with_target(false).with_ansi(std::io::stderr().is_terminal());
    let set = if text {
        registry().with(filter).with(lines).try_init()
    } else {
        registry().with(filter).with(lines.json().flatten_event(true)).try_init()
    };
    set.map_err(|error| error.to_string())
}
