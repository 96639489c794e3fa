//! What is wrong with bytes that are no reply. Owns the words; never decides what becomes of the connection.

use std::fmt;

/// The upstream's bytes are no reply: the connection is of no more use, and no reply on it can be trusted any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyError {
    /// No type begins with this byte, or not in this place.
    UnexpectedType(u8),
    /// A length, count or integer that is none.
    BadNumber,
    /// Not `_`, `#t`, `#f` or `.` and a CRLF.
    BadConstant,
    /// A CR or an LF that is not a line's end.
    BadLine,
    /// A payload with something else than CRLF behind it.
    BadBulkEnd,
    /// Nested deeper than [`REPLY_DEPTH_MAX`](crate::resp::limits::REPLY_DEPTH_MAX).
    TooDeep,
}

impl fmt::Display for ReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnexpectedType(byte) => write!(f, "unexpected type byte '{}'", byte.escape_ascii()),
            Self::BadNumber => f.write_str("invalid length or integer"),
            Self::BadConstant => f.write_str("invalid null, boolean or end"),
            Self::BadLine => f.write_str("stray CR or LF in a line"),
            Self::BadBulkEnd => f.write_str("expected CRLF after bulk"),
            Self::TooDeep => f.write_str("nested too deep"),
        }
    }
}

impl std::error::Error for ReplyError {}
