//! What becomes of an isolated tenant's request. Default is refusal: only what is listed here goes on.

use super::{Back, KeySpace};
use crate::command::{Args, CommandTable};
use crate::resp::ArgRange;
use bytes::BytesMut;

/// What a judgement depends on, beside the request.
pub struct Isolation<'a> {
    /// Where the tenant's keys are.
    pub space: &'a KeySpace,
    /// What the upstream says of its commands.
    pub commands: &'a CommandTable,
    /// The scripts that this tenant sent; what it sends now is added.
    pub scripts: &'a Scripts,
    /// The tenant has an upstream user of its own, which holds scripts to its keys.
    pub own_user: bool,
    /// FLUSHDB and FLUSHALL are allowed, and mean the tenant's own keys.
    pub flushdb: bool,
}

/// The SHA-1s of the scripts that a tenant sent through this sidecar: the upstream has one script cache for all. Shared by the
/// tenant's sessions, those of other workers too.
#[derive(Debug, Default)]
pub struct Scripts {}

/// What becomes of a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It names no key and no channel: as it came, and so does its reply.
    Passed,
    /// Encoded anew, each key and channel in the tenant's space.
    Rewritten {
        /// The request.
        frame: BytesMut,
        /// Where its arguments are.
        ranges: Vec<ArgRange>,
        /// What is to be made of the reply.
        back: Back,
    },
    /// The session answers it or knows the way.
    Own(Own),
    /// With this line, `-…\r\n`; nothing is sent.
    Refused(String),
}

/// What is the session's to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Own {
    /// The sidecar's own commands and what speaks of its clients: AUTH, HELLO, QUIT, RESET, SELECT, CLIENT …
    Session,
    /// `RANDOMKEY`
    RandomKey,
    /// `DBSIZE`
    DbSize,
    /// `FLUSHDB`, `FLUSHALL`
    FlushDb,
}

/// The judgement of one whole request outside of subscriptions, in or out of MULTI.
#[must_use]
pub fn judge(_args: &Args<'_>, _isolation: &Isolation<'_>) -> Verdict {
    Verdict::Refused("-NOPERM this tenant is isolated\r\n".to_owned())
}
