//! Requests as they arrive from a client: where a frame ends, where its arguments stand, what Redis would call its
//! faults. Owns the request grammar; never copies an argument, never knows a command.
//!
//! The grammar is that of Redis 7.0's `processMultibulkBuffer` and `processInlineBuffer` (networking.c), and the words of
//! its errors. It differs where two parsers could disagree on where a request ends, and never takes what Redis refuses:
//!
//! - the two bytes behind a bulk must be CRLF, and a CR in a header line must be followed by LF (Redis skips any two);
//! - a NUL in a header line is a fault like any other, and one in an inline request an error (C's `strchr` makes Redis
//!   wait behind it until 64 KiB have come);
//! - a bulk that does not begin with `$` is refused at that byte, not at its line's end;
//! - a frame's fate never depends on how its bytes were split into reads.

use super::limits::{
    ARGS_KEPT_MAX, ARGS_MAX, ARGS_RESERVED_MAX, BULK_BYTES_MAX, HEADER_BYTES_MAX, INLINE_BYTES_MAX, UNAUTH_ARGS_MAX,
    UNAUTH_BULK_BYTES_MAX, UNAUTH_INLINE_BYTES_MAX,
};
use super::{inline, number, number::Number};
use error::Fault;
use memchr::{memchr, memchr2};

mod error;
mod frame;
mod short;
#[cfg(test)]
mod tests;

pub use error::ProtocolError;
pub use frame::{ArgRange, FrameKind, Pending, ScannedFrame, Streamed};
pub use short::{SHORT_ARGS_MAX, ShortArgs, ShortHead};

/// `POST` and `Host:` are a browser made to speak to us: the connection is closed without a word, as Redis does.
/// Compared like C's `strcasecmp`, so that a NUL ends the word.
#[must_use]
pub fn is_security_violation(first_arg: &[u8]) -> bool {
    match first_arg.first() {
        Some(b'P' | b'p' | b'H' | b'h') => {
            let word = &first_arg[..memchr(0, first_arg).unwrap_or(first_arg.len())];
            word.eq_ignore_ascii_case(b"post") || word.eq_ignore_ascii_case(b"host:")
        }
        _ => false,
    }
}

/// What one client may send. At or under the `UNAUTH_…` bounds a refusal says `unauthenticated …`, as Redis does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLimits {
    /// Arguments of one request.
    pub args_max: usize,
    /// Bytes of one argument.
    pub bulk_bytes_max: usize,
    /// Bytes of an inline request, its line end not counted.
    pub inline_bytes_max: usize,
}

impl RequestLimits {
    /// Of a client that has yet to authenticate.
    pub const UNAUTHENTICATED: Self = Self {
        args_max: UNAUTH_ARGS_MAX,
        bulk_bytes_max: UNAUTH_BULK_BYTES_MAX,
        inline_bytes_max: UNAUTH_INLINE_BYTES_MAX,
    };
}

impl Default for RequestLimits {
    /// Redis's own, for a client that has authenticated or need not.
    fn default() -> Self {
        Self { args_max: ARGS_MAX, bulk_bytes_max: BULK_BYTES_MAX, inline_bytes_max: INLINE_BYTES_MAX }
    }
}

/// What is expected at `pos`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Start,
    Inline,
    Count,
    BulkHead,
    Payload,
}

/// Finds the frames of one client's bytes. Resumable: what was looked at is not looked at again (but for a header line of
/// at most 23 bytes), so that a frame costs its own length however it trickles in; memory follows arguments that
/// arrived, never a declared number. After an error it is of no more use: the bytes have no meaning any longer.
#[derive(Debug)]
pub struct RequestScanner {
    limits: RequestLimits,
    phase: Phase,
    /// The next byte to read, from the front of the buffer.
    pos: usize,
    /// Up to here an unfinished line holds no line end.
    searched: usize,
    args_declared: usize,
    args_left: usize,
    /// Payload bytes of the current bulk at and behind `pos`.
    bulk_left: usize,
    streaming: bool,
    args: Vec<ArgRange>,
    inline_args: Vec<Vec<u8>>,
}

impl RequestScanner {
    /// A scanner that stands before a connection's first byte.
    #[must_use]
    pub fn new(limits: RequestLimits) -> Self {
        Self {
            limits,
            phase: Phase::Start,
            pos: 0,
            searched: 0,
            args_declared: 0,
            args_left: 0,
            bulk_left: 0,
            streaming: false,
            args: Vec::new(),
            inline_args: Vec::new(),
        }
    }

    /// From the next header line on other limits apply: the client has authenticated, or has been RESET.
    pub fn set_limits(&mut self, limits: RequestLimits) {
        self.limits = limits;
    }

    /// Looks for the end of the frame that `buf` begins with. `buf` holds what the last call held, and maybe more.
    /// `Some`: the frame is whole, the caller takes its bytes off, and the scanner stands before the next one. `None`: more
    /// bytes are needed. Not to be called between a [`stream`](Self::stream) and its `done`.
    ///
    /// # Errors
    ///
    /// [`ProtocolError`]: answer with it and close.
    #[inline]
    pub fn scan(&mut self, buf: &[u8]) -> Result<Option<ScannedFrame>, ProtocolError> {
        debug_assert!(!self.streaming, "a frame that is being streamed is not kept, so cannot be scanned");
        let fresh = self.phase == Phase::Start;
        match self.begin(buf) {
            Phase::Start => Ok(None),
            Phase::Inline => self.scan_inline(buf),
            Phase::Count if fresh && short::is_within(&self.limits) => match short::scan(buf, &mut self.args) {
                Some(len) => {
                    self.phase = Phase::Start;
                    Ok(Some(ScannedFrame { kind: FrameKind::Array, len }))
                }
                None => {
                    self.args.clear();
                    self.scan_array(buf)
                }
            },
            _ => self.scan_array(buf),
        }
    }

    /// A whole short request at the front of `buf`, as nearly all are, which [begins](ShortHead::begins) so: its length, and how
    /// many arguments there are in `args`. Where it is another, not whole or faulty this is None, and [`scan`](Self::scan) tells
    /// which. Nothing is remembered: the caller takes its bytes off, and the scanner stands before the next frame, as it did
    /// before this one.
    #[inline(always)]
    pub fn short(&self, buf: &[u8], head: &ShortHead, args: &mut ShortArgs) -> Option<(usize, usize)> {
        if self.phase != Phase::Start || !short::is_within(&self.limits) {
            return None;
        }
        head.scan(buf, args)
    }

    /// The arguments of the frame that [`scan`](Self::scan) returned last, until it is called again; while a frame is
    /// incomplete, those of its arguments that are whole. Empty for inline requests.
    #[must_use]
    #[inline]
    pub fn args(&self) -> &[ArgRange] {
        &self.args
    }

    /// The unquoted arguments of an inline request, until [`scan`](Self::scan) is called again. Else empty.
    #[must_use]
    pub fn inline_args(&self) -> &[Vec<u8>] {
        &self.inline_args
    }

    /// How much of the incomplete frame, from the front of the buffer, needs no second look: whoever [streams](Self::stream) it
    /// must give that and more.
    #[must_use]
    pub fn looked_at(&self) -> usize {
        self.pos.max(self.searched)
    }

    /// What is known of the frame that is incomplete, to decide whether to keep or to stream it.
    #[must_use]
    pub fn pending(&self) -> Pending {
        let args_complete = self.args_declared - self.args_left;
        // What a bulk takes at the least: `$0\r\n\r\n`.
        let more = |bulks: usize| bulks.saturating_mul(6);
        let bytes_at_least = match self.phase {
            Phase::Start => return Pending::default(),
            Phase::Inline => self.searched + 1,
            Phase::Count => b"*0\r\n".len(),
            Phase::BulkHead => self.pos.saturating_add(more(self.args_left)),
            Phase::Payload => {
                self.pos.saturating_add(self.bulk_left).saturating_add(2).saturating_add(more(self.args_left - 1))
            }
        };
        Pending { args_declared: self.args_declared, args_complete, bytes_at_least }
    }

    /// For a frame too large to keep: how many bytes at the front of `buf` may be forwarded now. The caller takes them off;
    /// the next call's `buf` begins behind them. May begin at any point of an incomplete frame, which is then streamed to
    /// its end; from then on its arguments' places are not kept. After `done` the scanner stands before the next frame.
    ///
    /// Header lines and inline requests are taken whole, payloads as they come.
    ///
    /// # Errors
    ///
    /// [`ProtocolError`]: as for scan. What was taken is then part of a frame that will never be whole, so the upstream
    /// connection that it went to must be closed too.
    pub fn stream(&mut self, buf: &[u8]) -> Result<Streamed, ProtocolError> {
        match self.begin(buf) {
            Phase::Start => return Ok(Streamed { take: 0, done: false }),
            Phase::Inline => {
                let frame = self.scan_inline(buf)?;
                return Ok(Streamed { take: frame.map_or(0, |frame| frame.len), done: frame.is_some() });
            }
            _ => {}
        }
        if !self.streaming {
            self.streaming = true;
            self.args = Vec::new();
        }
        if self.phase == Phase::Count && !self.read_count(buf)? {
            return Ok(Streamed { take: 0, done: false });
        }
        while self.args_left > 0 {
            if self.phase == Phase::BulkHead && !self.read_bulk_head(buf)? {
                break;
            }
            let here = self.bulk_left.min(buf.len().saturating_sub(self.pos));
            self.pos += here;
            self.bulk_left -= here;
            if self.bulk_left > 0 || !self.read_bulk_end(buf, self.pos)? {
                break;
            }
        }
        let take = self.pos;
        let done = self.args_left == 0;
        if done {
            self.reset();
        } else {
            self.pos = 0;
            self.searched = self.searched.saturating_sub(take);
        }
        Ok(Streamed { take, done })
    }

    /// Tells a new frame's kind by its first byte, and lets go of the last frame's arguments.
    #[inline]
    fn begin(&mut self, buf: &[u8]) -> Phase {
        if self.phase == Phase::Start {
            self.args.clear();
            if self.args.capacity() > ARGS_KEPT_MAX {
                self.args = Vec::new();
            }
            if !self.inline_args.is_empty() {
                self.inline_args = Vec::new();
            }
            match buf.first() {
                None => {}
                Some(b'*') => self.phase = Phase::Count,
                Some(_) => self.phase = Phase::Inline,
            }
        }
        self.phase
    }

    /// The frame is over. What its arguments were stays until the next one begins.
    #[inline]
    fn reset(&mut self) {
        self.phase = Phase::Start;
        self.pos = 0;
        self.searched = 0;
        self.args_declared = 0;
        self.streaming = false;
    }

    #[inline]
    fn scan_array(&mut self, buf: &[u8]) -> Result<Option<ScannedFrame>, ProtocolError> {
        let mut kind = FrameKind::Array;
        if self.phase == Phase::Count {
            if !self.read_count(buf)? {
                return Ok(None);
            }
            if self.args_left == 0 {
                kind = FrameKind::Empty;
            }
            self.args.reserve(self.args_left.min(ARGS_RESERVED_MAX));
        }
        while self.args_left > 0 {
            if self.phase == Phase::BulkHead && !self.read_bulk_head(buf)? {
                return Ok(None);
            }
            let (start, end) = (self.pos, self.pos.saturating_add(self.bulk_left));
            if !self.read_bulk_end(buf, end)? {
                return Ok(None);
            }
            self.args.push(ArgRange { start, end });
        }
        let len = self.pos;
        self.reset();
        Ok(Some(ScannedFrame { kind, len }))
    }

    /// Reads `*n\r\n`. False: it is not all there.
    #[inline]
    fn read_count(&mut self, buf: &[u8]) -> Result<bool, ProtocolError> {
        let Some((count, next)) = self.read_number(buf, Fault::MultibulkLength, Fault::MultibulkLine)? else {
            return Ok(false);
        };
        let count = usize::try_from(count).unwrap_or(0);
        if count > self.limits.args_max {
            let unauth = self.limits.args_max <= UNAUTH_ARGS_MAX && count <= ARGS_MAX;
            return Err(ProtocolError(if unauth { Fault::UnauthMultibulkLength } else { Fault::MultibulkLength }));
        }
        self.pos = next;
        self.args_declared = count;
        self.args_left = count;
        self.phase = Phase::BulkHead;
        Ok(true)
    }

    /// Reads `$n\r\n`. False: it is not all there.
    #[inline]
    fn read_bulk_head(&mut self, buf: &[u8]) -> Result<bool, ProtocolError> {
        match buf.get(self.pos) {
            None => return Ok(false),
            Some(b'$') => {}
            Some(other) => return Err(ProtocolError(Fault::ExpectedDollar(*other))),
        }
        let Some((len, next)) = self.read_number(buf, Fault::BulkLength, Fault::BulkLine)? else { return Ok(false) };
        let len = usize::try_from(len).map_err(|_| ProtocolError(Fault::BulkLength))?;
        if len > self.limits.bulk_bytes_max {
            let unauth = self.limits.bulk_bytes_max <= UNAUTH_BULK_BYTES_MAX && len <= BULK_BYTES_MAX;
            return Err(ProtocolError(if unauth { Fault::UnauthBulkLength } else { Fault::BulkLength }));
        }
        self.pos = next;
        self.bulk_left = len;
        self.phase = Phase::Payload;
        Ok(true)
    }

    /// Reads the CRLF at `end`, which closes a bulk. False: it is not all there.
    #[inline]
    fn read_bulk_end(&mut self, buf: &[u8], end: usize) -> Result<bool, ProtocolError> {
        match buf.get(end..).unwrap_or_default() {
            [b'\r', b'\n', ..] => {
                self.pos = end + 2;
                self.args_left -= 1;
                self.phase = Phase::BulkHead;
                Ok(true)
            }
            [] | [b'\r'] => Ok(false),
            _ => Err(ProtocolError(Fault::BulkEnd)),
        }
    }

    /// The number behind the type byte at `pos`, and where its line ends. `None`: the line is not all there.
    #[inline]
    fn read_number(&mut self, buf: &[u8], bad: Fault, too_big: Fault) -> Result<Option<(i64, usize)>, ProtocolError> {
        let from = self.pos + 1;
        match number::line(buf.get(from..).unwrap_or_default()) {
            Number::Whole { value, len } => Ok(Some((value, from + len))),
            Number::Partial => Ok(None),
            Number::Bad => self.bad_line(buf, bad, too_big),
        }
    }

    /// A header line that is no number: Redis says so only at its CR, and says something else where none comes.
    #[cold]
    fn bad_line(&mut self, buf: &[u8], bad: Fault, too_big: Fault) -> Result<Option<(i64, usize)>, ProtocolError> {
        let from = self.searched.max(self.pos);
        let to = buf.len().min(self.pos + HEADER_BYTES_MAX + 1);
        if memchr(b'\r', buf.get(from..to).unwrap_or_default()).is_some() {
            return Err(ProtocolError(bad));
        }
        if buf.len() - self.pos > HEADER_BYTES_MAX {
            return Err(ProtocolError(too_big));
        }
        self.searched = to;
        Ok(None)
    }

    #[cold]
    fn scan_inline(&mut self, buf: &[u8]) -> Result<Option<ScannedFrame>, ProtocolError> {
        let to = buf.len().min(self.limits.inline_bytes_max.saturating_add(1));
        let newline = match memchr2(b'\n', 0, buf.get(self.searched..to).unwrap_or_default()) {
            Some(at) => self.searched + at,
            None if buf.len() > self.limits.inline_bytes_max => return Err(ProtocolError(Fault::InlineTooBig)),
            None => {
                self.searched = to;
                return Ok(None);
            }
        };
        if buf[newline] == 0 {
            return Err(ProtocolError(Fault::InlineNul));
        }
        let line = &buf[..newline];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        inline::split(line, &mut self.inline_args).map_err(|_| ProtocolError(Fault::InlineQuotes))?;
        let kind = if self.inline_args.is_empty() { FrameKind::Empty } else { FrameKind::Inline };
        self.reset();
        Ok(Some(ScannedFrame { kind, len: newline + 1 }))
    }
}
