//! The Redis or Valkey behind the sidecar: how it is reached, what it is, and the three kinds of connections to it.
//!
//! - [`link`], [`links`]: bytes in, bytes out: shared by many clients, or pinned to one
//! - [`pool`]: what inventory batches travel on
//! - [`managed`]: an upstream that the sidecar runs itself
//! - [`refusal`], [`users`]: what clients are told where nothing can be sent, and the log of tenants' users
//! - [`engine`], [`knowledge`], [`command_reply`], [`check`]: what it is, asked and never assumed

pub mod check;
pub mod command_reply;
pub mod engine;
pub mod knowledge;
pub mod link;
pub mod links;
pub mod managed;
pub mod pool;
pub mod refusal;
pub mod stream;
pub mod target;
pub mod users;
pub mod wire;
