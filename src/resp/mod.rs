//! The wire, RESP2 and RESP3: where requests and replies begin and end, and how those that the sidecar makes itself are
//! written. Works on byte slices alone: it never reads a socket, never knows a command's meaning, never changes what
//! passes through.
//!
//! - [`request`]: client → sidecar. [`RequestScanner`] finds whole frames and borrows their arguments.
//! - [`reply`]: upstream → sidecar. [`ReplyScanner`] finds where replies end, [`decode_reply`] reads one whole.
//! - [`mod@write`]: replies and requests of the sidecar's own.
//! - [`splice`]: a whole reply with more in it. [`values`]: one taken apart.
//! - [`queue`]: the order of one client's replies. [`Wakeup`]: whom to wake.
//! - [`inline`]: the telnet form of a request. [`limits`]: every bound, and where it comes from.

#[cfg(test)]
mod cuts;
pub mod inline;
pub mod limits;
pub(crate) mod number;
pub mod queue;
pub mod reply;
pub mod request;
pub mod splice;
pub mod values;
mod wakeup;
pub mod write;

pub use queue::{ReplyQueue, Run, Ticket, Window};
pub use reply::{Advance, DecodeError, ReplyError, ReplyScanner, decode_reply};
pub use request::{
    ArgRange, FrameKind, Pending, ProtocolError, RequestLimits, RequestScanner, SHORT_ARGS_MAX, ScannedFrame,
    ShortArgs, ShortHead, Streamed, is_security_violation,
};
pub use wakeup::Wakeup;
pub use write::Proto;
