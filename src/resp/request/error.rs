//! What a client is told whose bytes are no request. Owns Redis's words for it; never decides that a request is bad.

use bytes::Bytes;
use std::fmt;

/// A frame that is none. The client is told ([`to_reply`](Self::to_reply)) after the replies before it, then closed.
///
/// Displays Redis's words after `-ERR Protocol error: `.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProtocolError(pub(super) Fault);

/// Which rule was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    MultibulkLength,
    UnauthMultibulkLength,
    MultibulkLine,
    ExpectedDollar(u8),
    BulkLength,
    UnauthBulkLength,
    BulkLine,
    BulkEnd,
    InlineTooBig,
    InlineNul,
    InlineQuotes,
}

impl ProtocolError {
    /// The whole error reply, `-ERR Protocol error: …` and its line end.
    #[must_use]
    pub fn to_reply(&self) -> Bytes {
        let mut line = b"-ERR Protocol error: ".to_vec();
        match self.0 {
            // The byte as it came, as Redis does: as UTF-8 it might be two.
            Fault::ExpectedDollar(got) => {
                line.extend_from_slice(b"expected '$', got '");
                line.extend_from_slice(&[echo(got), b'\'']);
            }
            _ => line.extend_from_slice(self.to_string().as_bytes()),
        }
        line.extend_from_slice(b"\r\n");
        line.into()
    }
}

/// A byte fit to be echoed into an error line: what could end the line, or a C string, becomes a blank.
fn echo(byte: u8) -> u8 {
    if matches!(byte, b'\r' | b'\n' | 0) { b' ' } else { byte }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Fault::MultibulkLength => "invalid multibulk length",
            Fault::UnauthMultibulkLength => "unauthenticated multibulk length",
            Fault::MultibulkLine => "too big mbulk count string",
            Fault::ExpectedDollar(got) => return write!(f, "expected '$', got '{}'", char::from(echo(got))),
            Fault::BulkLength => "invalid bulk length",
            Fault::UnauthBulkLength => "unauthenticated bulk length",
            Fault::BulkLine => "too big bulk count string",
            Fault::BulkEnd => "expected CRLF after bulk",
            Fault::InlineTooBig => "too big inline request",
            Fault::InlineNul => "NUL in inline request",
            Fault::InlineQuotes => "unbalanced quotes in request",
        })
    }
}

impl std::error::Error for ProtocolError {}
