//! A sidecar that speaks RESP beside each application pod: `INV.*` commands become batched script calls against the
//! upstream Redis, everything else passes through as if it were not there.
//!
//! # The life of a command
//!
//! A [`listener`] accepts a client and hands it to a worker, one thread with a runtime of its own. Its [`session`] finds
//! the frames in what the client sends ([`resp`]) and asks [`command`] which way each goes:
//!
//! - *local*: the session answers it itself
//! - *link*: its bytes go out on a connection that many clients share, and the reply's bytes come back ([`upstream::link`])
//! - *pinned*: the same, on a connection of the client's own, because the upstream keeps state for it
//! - *inventory*: it becomes operations ([`inventory::commands`]), which travel in batches ([`inventory::batcher`]) over a
//!   pool ([`upstream::pool`]) to one script (lua/), whose answers become replies ([`inventory::reply`])
//!
//! Whatever way the replies come back, they leave in the order of the client's requests ([`resp::queue`]).
//!
//! # The layers
//!
//! Imports go right only: `app → listener → session → tenant, inventory → command, upstream → resp, tls → error`; [`config`] and
//! [`metrics`] import none of the others. Replies travel back as values.

pub mod admin;
pub mod app;
pub mod cli;
pub mod command;
pub mod config;
pub mod demo;
pub mod error;
pub mod inventory;
pub mod listener;
pub mod logging;
pub mod memory;
pub mod metrics;
pub mod reload;
pub mod resp;
pub mod session;
pub mod tenant;
pub mod tls;
pub mod upstream;
pub mod worker;
