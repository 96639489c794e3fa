//! Where log lines go and what they look like: text on a terminal, JSON otherwise, always on standard error.

use crate::config::{Log, LogFormat};
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Sets the process's logging up; RUST_LOG beats the level of the configuration.
///
/// # Errors
/// A level that cannot be read, or logging that was set up before.
pub fn init(config: &Log) -> Result<(), String> {
    let filter = match std::env::var(EnvFilter::DEFAULT_ENV) {
        Ok(filter) if !filter.is_empty() => {
            EnvFilter::try_new(&filter).map_err(|error| format!("RUST_LOG: {error}"))?
        }
        _ => EnvFilter::try_new(&config.level).map_err(|error| format!("log.level: {error}"))?,
    };
    let text = match config.format {
        LogFormat::Text => true,
        LogFormat::Json => false,
        LogFormat::Auto => std::io::stderr().is_terminal(),
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal());
    let set = if text { builder.try_init() } else { builder.json().flatten_event(true).try_init() };
    set.map_err(|error| error.to_string())
}
