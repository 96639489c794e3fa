//! What went wrong upstream: its kind, whether it may be tried again, and what is known of its effect.
//!
//! Refusals that are answers (out of stock, not found) are values of the inventory, not errors.

use memchr::memmem;
use std::fmt;

/// The kind of an upstream error; its [`label`](Kind::label) is a metric's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// No connection could be made.
    Connect,
    /// The connection was lost, or what came over it was not RESP.
    Io,
    /// No answer in time.
    Timeout,
    /// The upstream refused without effect, and may not refuse the next time (LOADING, OOM, READONLY, …).
    Refused,
    /// The upstream wants other credentials.
    Auth,
    /// The upstream wants a password and upstream.url has none: clients may bring theirs.
    NoPassword,
    /// The upstream cannot serve the sidecar: too old, or its key space disagrees with the configuration.
    Unfit,
    /// Any other error reply.
    Reply,
}

impl Kind {
    /// One word, from a closed set.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Io => "io",
            Self::Timeout => "timeout",
            Self::Refused => "refused",
            Self::Auth => "auth",
            Self::NoPassword => "no_password",
            Self::Unfit => "unfit",
            Self::Reply => "reply",
        }
    }
}

/// An error of the upstream or on the way there.
#[derive(Debug, Clone)]
pub struct UpstreamError {
    /// What kind.
    pub kind: Kind,
    /// The words for a person; of an error reply the reply itself, its word first.
    pub detail: String,
}

impl UpstreamError {
    /// An error of this kind.
    #[must_use]
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into() }
    }

    /// An error reply, classified by its first word: redis-rs has no kind of its own for most of them.
    #[must_use]
    pub fn from_reply(line: &str) -> Self {
        let kind = match line.split(' ').next().unwrap_or_default() {
            "LOADING" | "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN" | "READONLY" | "NOREPLICAS" | "MISCONF" | "OOM"
            | "BUSY" => Kind::Refused,
            "NOAUTH" | "WRONGPASS" | "NOPERM" => Kind::Auth,
            _ => Kind::Reply,
        };
        Self::new(kind, line)
    }

    /// May the same be tried again, on a new connection where need be?
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind, Kind::Connect | Kind::Io | Kind::Timeout | Kind::Refused)
    }

    /// Does the upstream want to know first who asks?
    #[must_use]
    pub fn is_noauth(&self) -> bool {
        self.kind == Kind::Auth && self.detail.starts_with("NOAUTH")
    }

    /// Is it certain that nothing took effect?
    #[must_use]
    pub fn is_without_effect(&self) -> bool {
        !matches!(self.kind, Kind::Io | Kind::Timeout)
    }

    /// Will no waiting help, so that a start should fail?
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        matches!(self.kind, Kind::Auth | Kind::Unfit)
    }
}

impl fmt::Display for UpstreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for UpstreamError {}

/// `User NAME has no permissions …` becomes `this user has …`, as 6.2 said it: which of its users the sidecar is upstream is not
/// the tenant's to know.
#[must_use]
pub fn without_user(text: &[u8]) -> Vec<u8> {
    const BEFORE: &[u8] = b"User ";
    const BEHIND: &[u8] = b" has no permissions";
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memmem::find(rest, BEFORE) {
        let (before, user) = rest.split_at(at);
        out.extend_from_slice(before);
        // A name has no blank.
        let name = &user[BEFORE.len()..];
        let len = name.iter().position(|byte| *byte == b' ').unwrap_or(name.len());
        if name[len..].starts_with(BEHIND) {
            out.extend_from_slice(b"this user");
            rest = &name[len..];
        } else {
            out.extend_from_slice(BEFORE);
            rest = name;
        }
    }
    out.extend_from_slice(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lost_connection_or_a_missing_answer_leaves_the_effect_unknown() {
        for (error, retryable, without_effect) in [
            (UpstreamError::from_reply("OOM command not allowed"), true, true),
            (UpstreamError::from_reply("READONLY You can't write"), true, true),
            (UpstreamError::from_reply("WRONGPASS invalid"), false, true),
            (UpstreamError::from_reply("WRONGTYPE Operation"), false, true),
            (UpstreamError::new(Kind::Connect, "refused"), true, true),
            (UpstreamError::new(Kind::Io, "reset"), true, false),
            (UpstreamError::new(Kind::Timeout, "late"), true, false),
        ] {
            assert_eq!((error.is_retryable(), error.is_without_effect()), (retryable, without_effect), "{error}");
        }
    }
}
