//! Replies as they arrive from an upstream: where each ends, so that it can be forwarded as it is. Owns the reply grammar
//! of RESP2 and RESP3; never holds a reply's bytes, never looks into a payload, never recurses.
//!
//! Grammar: <https://github.com/redis/redis-specifications/blob/master/protocol/RESP3.md>. Stricter than most clients:
//! what Redis never sends (`:+5`, a bare CR or LF in a simple string, an unknown type) is an error, for on a connection
//! that many clients share it means that the replies may no longer be whose they seem.

use super::limits::REPLY_DEPTH_MAX;
use memchr::memchr2;

mod decode;
mod error;
mod line;
mod short;
#[cfg(test)]
mod tests;

pub use decode::{DecodeError, decode_reply};
pub use error::ReplyError;

use line::{header, whole};

/// How far [`ReplyScanner::advance`] came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advance {
    /// Bytes at the front of the buffer that belong to the current reply and may be forwarded at once.
    pub take: usize,
    /// The reply ends at `take`.
    pub done: bool,
}

/// What is expected next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// A value's first byte.
    Value,
    /// The rest of a line that may be of any length.
    Line,
    /// So many bytes of a payload. `chunk`: one piece of a streamed string.
    Payload { left: u64, chunk: bool },
    /// The CRLF behind a payload.
    PayloadEnd { chunk: bool },
    /// A streamed string's next chunk.
    Chunk,
}

/// An aggregate that is open, innermost last.
#[derive(Debug, Clone, Copy)]
enum Level {
    /// So many values are to come.
    Values(u64),
    /// So many values of an attribute, which is itself no value: another has to follow.
    Attribute(u64),
    /// So many values of a push inside another reply. `counts`: see [`ReplyScanner::nested_push`].
    Push { left: u64, counts: Option<bool> },
    /// Values until `.`; `odd` where a map's next one is a key's value.
    Open { map: bool, odd: bool },
}

/// Finds where the replies of one upstream connection end. Resumable: a reply costs its own length however it trickles in,
/// and memory is its depth alone.
///
/// An attribute belongs to the reply behind it. A push between replies is a reply of its own, of kind `>`.
#[derive(Debug)]
pub struct ReplyScanner {
    phase: Phase,
    levels: Vec<Level>,
    kind: Option<u8>,
    mid_reply: bool,
    /// An attribute is over and its value is still to come.
    after_attribute: bool,
}

impl Default for ReplyScanner {
    fn default() -> Self {
        Self::new()
    }
}

impl ReplyScanner {
    /// A scanner that stands before a connection's first reply.
    #[must_use]
    pub fn new() -> Self {
        Self { phase: Phase::Value, levels: Vec::new(), kind: None, mid_reply: false, after_attribute: false }
    }

    /// How much of `buf`, which begins behind what was taken before, belongs to the current reply. Never goes past its
    /// end: call again for the next one. Payloads and simple strings are taken as they come, what stands before them
    /// whole; at most 23 bytes are left for the next call, or what an out-of-band push begins with.
    ///
    /// # Errors
    ///
    /// [`ReplyError`]: close the connection. What was taken before may be part of a reply that will never be whole.
    #[inline]
    pub fn advance(&mut self, buf: &[u8]) -> Result<Advance, ReplyError> {
        let (count, take) = self.advance_run(buf, 1);
        if count > 0 {
            return Ok(Advance { take, done: true });
        }
        self.advance_any(buf)
    }

    /// The same, whatever it is.
    fn advance_any(&mut self, buf: &[u8]) -> Result<Advance, ReplyError> {
        let mut pos = 0;
        let done = loop {
            match self.step(&buf[pos..])? {
                Step::Partial => break false,
                Step::Some(used) => pos += used,
                Step::Done(used) => {
                    pos += used;
                    break true;
                }
            }
        };
        self.mid_reply = !done && (self.mid_reply || pos > 0);
        Ok(Advance { take: pos, done })
    }

    /// Takes replies from the front of `buf` that are short, here as a whole and no errors, as nearly all are: at most `most`.
    /// Returns how many, and their length together. Of what is behind them nothing is said: it may be another, or not all
    /// here. None where one is under way.
    #[inline]
    pub fn advance_run(&mut self, buf: &[u8], most: usize) -> (usize, usize) {
        let (mut count, mut at) = (0, 0);
        if !matches!(self.phase, Phase::Value) || !self.levels.is_empty() || self.after_attribute || self.mid_reply {
            return (count, at);
        }
        while count < most
            && let Some(len) = short::scan(&buf[at..])
        {
            self.kind = buf.get(at).copied();
            at += len;
            count += 1;
        }
        (count, at)
    }

    /// The first byte of the reply that is under way, or else of the last one; attributes before it do not count. `None`
    /// while it is not known yet.
    #[must_use]
    pub fn kind(&self) -> Option<u8> {
        self.kind
    }

    /// Whether that reply is a push.
    #[must_use]
    pub fn is_push(&self) -> bool {
        self.kind == Some(b'>')
    }

    /// Whether part of a reply was taken and the rest was not.
    #[must_use]
    pub fn mid_reply(&self) -> bool {
        self.mid_reply
    }

    #[inline]
    fn step(&mut self, buf: &[u8]) -> Result<Step, ReplyError> {
        match self.phase {
            Phase::Value => match buf.first() {
                None => Ok(Step::Partial),
                Some(&byte) => self.value(byte, buf),
            },
            Phase::Line => self.line(buf, 0),
            Phase::Payload { left, chunk } => {
                let here = usize::try_from(left).map_or(buf.len(), |left| left.min(buf.len()));
                let left = left - here as u64;
                if left == 0 {
                    self.phase = Phase::PayloadEnd { chunk };
                } else {
                    self.phase = Phase::Payload { left, chunk };
                    if here == 0 {
                        return Ok(Step::Partial);
                    }
                }
                Ok(Step::Some(here))
            }
            Phase::PayloadEnd { chunk } => match buf {
                [b'\r', b'\n', ..] if chunk => {
                    self.phase = Phase::Chunk;
                    Ok(Step::Some(2))
                }
                [b'\r', b'\n', ..] => Ok(self.value_done(2)),
                [] | [b'\r'] => Ok(Step::Partial),
                _ => Err(ReplyError::BadBulkEnd),
            },
            Phase::Chunk => self.chunk(buf),
        }
    }

    /// A value, or an attribute in front of one, or the end of a streamed aggregate.
    #[inline]
    fn value(&mut self, byte: u8, buf: &[u8]) -> Result<Step, ReplyError> {
        if self.levels.is_empty() {
            self.kind = (byte != b'|').then_some(byte);
        }
        match byte {
            // Doubles and big numbers too: Redis writes a long double with thousands of digits.
            b'+' | b'-' | b',' | b'(' => self.line(buf, 1),
            b':' => match header(buf)? {
                Some((_, used)) => Ok(self.value_done(used)),
                None => Ok(Step::Partial),
            },
            b'$' | b'!' | b'=' => self.bulk(byte, buf),
            b'*' | b'~' | b'%' | b'>' | b'|' => self.aggregate(byte, buf),
            b'_' => self.constant(buf, b"_\r\n"),
            b'#' if buf.get(1) == Some(&b't') => self.constant(buf, b"#t\r\n"),
            b'#' => self.constant(buf, b"#f\r\n"),
            b'.' => self.end(buf),
            other => Err(ReplyError::UnexpectedType(other)),
        }
    }

    /// The rest of a line that begins before `from`, as far as it is there. A CR waits for its LF.
    #[inline]
    fn line(&mut self, buf: &[u8], from: usize) -> Result<Step, ReplyError> {
        let end = memchr2(b'\r', b'\n', &buf[from..]).map_or(buf.len(), |at| from + at);
        match &buf[end..] {
            [b'\r', b'\n', ..] => Ok(self.value_done(end + 2)),
            [] | [b'\r'] => {
                self.phase = Phase::Line;
                Ok(if end == 0 { Step::Partial } else { Step::Some(end) })
            }
            _ => Err(ReplyError::BadLine),
        }
    }

    #[inline]
    fn bulk(&mut self, byte: u8, buf: &[u8]) -> Result<Step, ReplyError> {
        if byte == b'$' && buf.get(1) == Some(&b'?') {
            if !whole(buf, b"$?\r\n")? {
                return Ok(Step::Partial);
            }
            self.phase = Phase::Chunk;
            return Ok(Step::Some(4));
        }
        let Some((len, used)) = header(buf)? else { return Ok(Step::Partial) };
        if len == -1 && byte == b'$' {
            return Ok(self.value_done(used));
        }
        let left = u64::try_from(len).map_err(|_| ReplyError::BadNumber)?;
        if !self.nested_push(left, &buf[used..]) {
            return Ok(Step::Partial);
        }
        // Most bulks are small and whole: spare them the way through two more phases.
        let end = usize::try_from(left).ok().and_then(|left| used.checked_add(left));
        if let Some([b'\r', b'\n', ..]) = end.and_then(|end| buf.get(end..)) {
            return Ok(self.value_done(end.map_or(used, |end| end + 2)));
        }
        self.phase = if left == 0 { Phase::PayloadEnd { chunk: false } } else { Phase::Payload { left, chunk: false } };
        Ok(Step::Some(used))
    }

    /// Where `payload` (of `len` bytes, as far as they are there) names a push inside another reply, notes whether that
    /// push counts as one of the other's values. In the reply of EXEC an acknowledgement of `SUBSCRIBE` stands in the
    /// command's own place, while a message comes in between and is not counted (both seen with Redis 7.0.15); an
    /// invalidation answers no command, so it is taken for one of the latter. False: the byte that tells them apart is
    /// not there yet.
    #[inline]
    fn nested_push(&mut self, len: u64, payload: &[u8]) -> bool {
        let Some(Level::Push { counts: counts @ None, .. }) = self.levels.last_mut() else { return true };
        match (len, payload.first()) {
            (7 | 8 | 10, None) => return false,
            // message, pmessage, smessage, invalidate; not (un)subscribe, psubscribe, ssubscribe and their like.
            (7, Some(b'm')) | (8, Some(b'p' | b's')) | (10, Some(b'i')) => *counts = Some(false),
            _ => *counts = Some(true),
        }
        true
    }

    /// A streamed string's next chunk, `;n` and its payload; `;0` is its end.
    fn chunk(&mut self, buf: &[u8]) -> Result<Step, ReplyError> {
        match buf.first() {
            None => return Ok(Step::Partial),
            Some(b';') => {}
            Some(other) => return Err(ReplyError::UnexpectedType(*other)),
        }
        match header(buf)? {
            None => Ok(Step::Partial),
            Some((0, used)) => Ok(self.value_done(used)),
            Some((len, used)) => {
                let left = u64::try_from(len).map_err(|_| ReplyError::BadNumber)?;
                self.phase = Phase::Payload { left, chunk: true };
                Ok(Step::Some(used))
            }
        }
    }

    #[inline]
    fn aggregate(&mut self, byte: u8, buf: &[u8]) -> Result<Step, ReplyError> {
        if matches!(byte, b'*' | b'~' | b'%') && buf.get(1) == Some(&b'?') {
            return match whole(buf, &[byte, b'?', b'\r', b'\n'])? {
                true => self.open(Level::Open { map: byte == b'%', odd: false }, 4),
                false => Ok(Step::Partial),
            };
        }
        let Some((count, used)) = header(buf)? else { return Ok(Step::Partial) };
        if count == -1 && byte == b'*' {
            return Ok(self.value_done(used));
        }
        let count = u64::try_from(count).map_err(|_| ReplyError::BadNumber)?;
        match (byte, count) {
            (b'|', 0) => {
                self.after_attribute = true;
                Ok(Step::Some(used))
            }
            (_, 0) => Ok(self.value_done(used)),
            // Twice an i64 fits a u64.
            (b'|', _) => self.open(Level::Attribute(count * 2), used),
            (b'%', _) => self.open(Level::Values(count * 2), used),
            (b'>', _) if !self.levels.is_empty() => self.open(Level::Push { left: count, counts: None }, used),
            _ => self.open(Level::Values(count), used),
        }
    }

    #[inline]
    fn open(&mut self, level: Level, used: usize) -> Result<Step, ReplyError> {
        if self.levels.len() >= REPLY_DEPTH_MAX {
            return Err(ReplyError::TooDeep);
        }
        self.after_attribute = false;
        self.levels.push(level);
        Ok(Step::Some(used))
    }

    /// The `.` of a streamed aggregate. Not where a map lacks a value, or an attribute the value that it belongs to.
    fn end(&mut self, buf: &[u8]) -> Result<Step, ReplyError> {
        match self.levels.last() {
            Some(Level::Open { map: true, odd: true }) => return Err(ReplyError::UnexpectedType(b'.')),
            Some(Level::Open { .. }) if !self.after_attribute => {}
            _ => return Err(ReplyError::UnexpectedType(b'.')),
        }
        if !whole(buf, b".\r\n")? {
            return Ok(Step::Partial);
        }
        self.levels.pop();
        Ok(self.value_done(3))
    }

    fn constant(&mut self, buf: &[u8], text: &[u8]) -> Result<Step, ReplyError> {
        Ok(if whole(buf, text)? { self.value_done(text.len()) } else { Step::Partial })
    }

    /// A value is over, and with it every aggregate that it was the last of.
    #[inline]
    fn value_done(&mut self, used: usize) -> Step {
        self.phase = Phase::Value;
        self.after_attribute = false;
        while let Some(level) = self.levels.last_mut() {
            match level {
                Level::Open { odd, .. } => {
                    *odd = !*odd;
                    return Step::Some(used);
                }
                Level::Values(left) | Level::Attribute(left) | Level::Push { left, .. } => {
                    *left -= 1;
                    if *left > 0 {
                        return Step::Some(used);
                    }
                }
            }
            match self.levels.pop() {
                Some(Level::Attribute(_)) => {
                    self.after_attribute = true;
                    return Step::Some(used);
                }
                Some(Level::Push { counts: Some(false), .. }) => return Step::Some(used),
                _ => {}
            }
        }
        Step::Done(used)
    }
}

/// How one step went.
enum Step {
    /// Not enough is there.
    Partial,
    /// So many bytes were used.
    Some(usize),
    /// So many bytes were used, and they were the reply's last.
    Done(usize),
}
