//! The command line.

use clap::{Parser, ValueEnum};
use std::net::SocketAddr;

/// What each request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// GET of one of the keys
    Get,
    /// SET of one of the keys
    Set,
    /// A reservation of one unit
    Reserve,
    /// The commit of a reservation; they are made before the measurement
    Commit,
    /// The rollback of a reservation; they are made before the measurement
    Rollback,
    /// No load: clients that did one GET and stay until standard input ends
    Hold,
    /// No load: listens at the address and does nothing but answer
    Answer,
}

#[derive(Debug, Parser)]
#[command(name = "load", about = "N clients, each with a pipeline; the answer is one line of JSON")]
pub struct Options {
    /// What each request is
    #[arg(value_enum)]
    pub kind: Kind,
    /// Where to
    #[arg(long)]
    pub addr: SocketAddr,
    /// Connections
    #[arg(long, default_value_t = 50)]
    pub clients: usize,
    /// Requests that a client sends at once
    #[arg(long, default_value_t = 1)]
    pub pipeline: usize,
    /// How long to measure; commits and rollbacks end when all are done
    #[arg(long, default_value_t = 1.0)]
    pub seconds: f64,
    /// How long to run before that
    #[arg(long, default_value_t = 0.15)]
    pub warmup: f64,
    /// So many requests at most; of commits and rollbacks exactly so many
    #[arg(long, default_value_t = 1_000_000)]
    pub requests: u64,
    /// Commits and rollbacks in any order, not in that of the reservations
    #[arg(long)]
    pub shuffle: bool,
    /// The plain scripts by EVALSHA, for a Redis, in place of INV commands
    #[arg(long)]
    pub plain: bool,
    /// What is reserved
    #[arg(long, default_value = "hot")]
    pub sku: String,
    /// Sets its stock first
    #[arg(long)]
    pub stock: Option<u64>,
    /// Bytes of a value
    #[arg(long, default_value_t = 64)]
    pub value_bytes: usize,
    /// Keys that are read and written
    #[arg(long, default_value_t = 10_000)]
    pub keys: u32,
    /// Gives each of them a value first
    #[arg(long)]
    pub fill: bool,
    /// A process whose CPU is told, as name=pid; may be repeated
    #[arg(long, value_name = "NAME=PID", value_parser = watch)]
    pub watch: Vec<(String, u32)>,
    /// Other clients beside them, that reserve too and are told apart
    #[arg(long, default_value_t = 0)]
    pub beside_clients: usize,
    /// What those send at once
    #[arg(long, default_value_t = 1)]
    pub beside_pipeline: usize,
    /// What those reserve
    #[arg(long, default_value = "hot")]
    pub beside_sku: String,
    /// `cargo bench` says it
    #[arg(long, hide = true)]
    pub bench: bool,
}

fn watch(text: &str) -> Result<(String, u32), String> {
    let (name, pid) = text.split_once('=').ok_or("not name=pid")?;
    Ok((name.to_owned(), pid.parse().map_err(|_| "not a pid")?))
}
