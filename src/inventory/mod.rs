//! `INV.*`: what a client asks for becomes operations, operations travel in batches, and what the script answers becomes
//! the client's reply.
//!
//! - [`commands`]: one file a command: its grammar, its help, its operations
//! - [`docs`], [`syntax`]: what COMMAND says of them
//! - [`operation`]: what goes to the script and what its answer means
//! - [`reply`]: what a client reads
//! - [`batcher`]: operations to batches to EVALSHA, and again after a lost connection
//! - [`reaper`], [`marks`]: what happens without a client asking

pub mod batcher;
pub mod commands;
pub mod docs;
pub mod id;
pub mod keys;
pub mod marks;
pub mod number;
pub mod operation;
pub mod reaper;
pub mod reply;
pub mod script;
pub mod sold_out;
pub mod syntax;
