//! Replies whose content the sidecar needs (handshakes, COMMAND, what must be rewritten), as the redis-protocol crate's
//! frames. Owns the guard in front of that crate; never sees a reply that is merely forwarded.

use super::super::limits::DECODE_DEPTH_MAX;
use super::{Phase, ReplyError, ReplyScanner, Step};
use bytes::Bytes;
use redis_protocol::{error::RedisProtocolError, resp3::decode::complete, resp3::types::BytesFrame};
use std::fmt;

/// Bytes that are not exactly one reply, or one that the crate does not read.
#[derive(Debug)]
pub enum DecodeError {
    /// The scanner refuses it.
    Reply(ReplyError),
    /// It ends before the reply does, or goes on behind it.
    NotOneReply,
    /// The crate refuses it: streamed types, a double or a text that is none.
    Content(RedisProtocolError),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reply(_) => f.write_str("malformed reply"),
            Self::NotOneReply => f.write_str("not exactly one reply"),
            Self::Content(_) => f.write_str("unreadable reply"),
        }
    }
}

impl std::error::Error for DecodeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Reply(cause) => Some(cause),
            Self::NotOneReply => None,
            Self::Content(cause) => Some(cause),
        }
    }
}

/// Decodes one whole reply, of RESP2 or RESP3, as [`ReplyScanner`] delimits it. RESP2's `$-1` and `*-1` become `Null`.
///
/// The crate's decoder recurses without a limit, so the scanner goes first and caps the depth; it also makes sure that
/// every count the decoder allocates by has its bytes.
///
/// # Errors
///
/// [`DecodeError`]; the input is as it was.
pub fn decode_reply(bytes: &Bytes) -> Result<BytesFrame, DecodeError> {
    let nulls = resp2_nulls(bytes)?;
    let bytes = if nulls.is_empty() { bytes.clone() } else { with_resp3_nulls(bytes, &nulls) };
    match complete::decode_bytes(&bytes).map_err(DecodeError::Content)? {
        Some((frame, used)) if used == bytes.len() => Ok(frame),
        _ => Err(DecodeError::NotOneReply),
    }
}

/// Makes sure that `bytes` are one reply, and finds every `$-1` and `*-1` in it that is a value: the crate's RESP3 decoder
/// takes them for `$?` and `*?`.
fn resp2_nulls(bytes: &[u8]) -> Result<Vec<usize>, DecodeError> {
    let mut scanner = ReplyScanner::new();
    let (mut pos, mut found) = (0, Vec::new());
    loop {
        let rest = &bytes[pos..];
        if scanner.phase == Phase::Value && matches!(rest, [b'$' | b'*', b'-', ..]) {
            found.push(pos);
        }
        if scanner.levels.len() > DECODE_DEPTH_MAX {
            return Err(DecodeError::Reply(ReplyError::TooDeep));
        }
        match scanner.step(rest).map_err(DecodeError::Reply)? {
            Step::Some(used) => pos += used,
            Step::Done(used) if pos + used == bytes.len() => return Ok(found),
            Step::Done(_) | Step::Partial => return Err(DecodeError::NotOneReply),
        }
    }
}

/// `bytes` with `_` in place of the five-byte nulls at `nulls`.
fn with_resp3_nulls(bytes: &[u8], nulls: &[usize]) -> Bytes {
    let mut out = Vec::with_capacity(bytes.len());
    let mut from = 0;
    for &at in nulls {
        out.extend_from_slice(&bytes[from..at]);
        out.extend_from_slice(b"_\r\n");
        from = at + b"$-1\r\n".len();
    }
    out.extend_from_slice(&bytes[from..]);
    out.into()
}
