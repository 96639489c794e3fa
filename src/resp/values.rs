//! A whole reply, value by value, without looking deeper: for those who tell part of it otherwise. Borrows, never copies; asks
//! nothing of what it is given but bytes, and never recurses.

use super::{ReplyScanner, number, write};
use bytes::{Buf, BytesMut};
use memchr::memmem;

/// An array, a set, a map or a push.
#[derive(Debug)]
pub struct Opened<'a> {
    /// Its type byte.
    pub kind: u8,
    /// Its first line.
    pub header: &'a [u8],
    /// How many values it says it has, a map two a pair.
    pub count: usize,
    /// Its values.
    pub values: Values<'a>,
}

/// Opens one. None: it is another value, or one of unknown length, which Redis never sends.
#[must_use]
pub fn open(value: &[u8]) -> Option<Opened<'_>> {
    let kind = *value.first()?;
    if !matches!(kind, b'*' | b'~' | b'%' | b'>') {
        return None;
    }
    let (number, used) = header(value)?;
    let count = if kind == b'%' { number.checked_mul(2)? } else { number };
    let (header, rest) = value.split_at(used);
    Some(Opened { kind, header, count, values: Values { scanner: ReplyScanner::new(), rest, left: count } })
}

/// The values of an aggregate, each whole. Ends early where the bytes do not hold what was announced.
#[derive(Debug)]
pub struct Values<'a> {
    scanner: ReplyScanner,
    rest: &'a [u8],
    left: usize,
}

impl<'a> Values<'a> {
    /// What stands behind the values that were taken.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether all were there and nothing stands behind them.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.left == 0 && self.rest.is_empty()
    }
}

impl<'a> Iterator for Values<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.left == 0 {
            return None;
        }
        let end = self.scanner.advance(self.rest).ok().filter(|advance| advance.done)?.take;
        let (value, rest) = self.rest.split_at(end);
        if !comes_in_between(value) {
            self.left -= 1;
        }
        self.rest = rest;
        Some(value)
    }
}

/// Whether this is a push that is no value of the aggregate in which it stands. As the [`ReplyScanner`] judges, or the two would
/// count differently.
#[must_use]
pub fn comes_in_between(value: &[u8]) -> bool {
    let kind = match value.first() {
        Some(b'>') => open(value).and_then(|mut push| push.values.next()).and_then(bulk),
        _ => None,
    };
    // message, pmessage, smessage, invalidate.
    matches!(
        kind.map(|kind| (kind.len(), kind.first())),
        Some((7, Some(b'm')) | (8, Some(b'p' | b's')) | (10, Some(b'i')))
    )
}

/// The content of a bulk string that is the whole value. None: it is another.
#[must_use]
pub fn bulk(value: &[u8]) -> Option<&[u8]> {
    if value.first() == Some(&b'$') { payload(value) } else { None }
}

/// The content of whatever is written with its length: a bulk string, a verbatim one with its kind, an error.
#[must_use]
pub fn payload(value: &[u8]) -> Option<&[u8]> {
    if !matches!(value.first(), Some(b'$' | b'=' | b'!')) {
        return None;
    }
    let (len, used) = header(value)?;
    let (payload, end) = value.get(used..)?.split_at_checked(len)?;
    (end == b"\r\n").then_some(payload)
}

/// What stands behind an attribute. None: the value does not begin with one.
#[must_use]
pub fn behind_attribute(value: &[u8]) -> Option<&[u8]> {
    if value.first() != Some(&b'|') {
        return None;
    }
    let (pairs, used) = header(value)?;
    let mut values = Values { scanner: ReplyScanner::new(), rest: &value[used..], left: pairs.checked_mul(2)? };
    values.by_ref().for_each(drop);
    (values.left == 0).then_some(values.rest)
}

/// Whether it is one of the nulls of either protocol.
#[must_use]
pub fn is_null(value: &[u8]) -> bool {
    matches!(value, b"_\r\n" | b"$-1\r\n" | b"*-1\r\n")
}

/// Whether it is an error of either protocol.
#[must_use]
pub fn is_error(value: &[u8]) -> bool {
    matches!(value.first(), Some(b'-' | b'!'))
}

/// An aggregate that is written while nobody knows yet how many values it will have.
#[derive(Debug)]
pub struct Filtered {
    kind: u8,
    count: usize,
    out: BytesMut,
}

/// A type byte, 20 digits and a line end.
const HEADER_BYTES: usize = 23;

impl Filtered {
    /// Of this kind (a map counts pairs), with room for so many bytes.
    #[must_use]
    pub fn new(kind: u8, room: usize) -> Self {
        let mut out = BytesMut::with_capacity(HEADER_BYTES + room);
        out.resize(HEADER_BYTES, 0);
        Self { kind, count: 0, out }
    }

    /// One more value or pair, which the caller writes.
    pub fn add(&mut self) -> &mut BytesMut {
        self.count += 1;
        &mut self.out
    }

    /// Without one more being counted: what comes in between.
    pub fn beside(&mut self) -> &mut BytesMut {
        &mut self.out
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// The whole.
    #[must_use]
    pub fn finish(mut self) -> BytesMut {
        let mut header = BytesMut::with_capacity(HEADER_BYTES);
        write::header(&mut header, self.kind, self.count);
        let from = HEADER_BYTES - header.len();
        self.out[from..HEADER_BYTES].copy_from_slice(&header);
        self.out.advance(from);
        self.out
    }
}

/// The reply with another error wherever `exchange` gives one for one that is in it, however deep.
#[must_use]
pub fn exchange_errors(reply: &[u8], mut exchange: impl FnMut(&[u8]) -> BytesMut) -> BytesMut {
    if is_error(reply) {
        return exchange(reply);
    }
    let aggregate = matches!(reply.first(), Some(b'*' | b'~' | b'%' | b'>' | b'|'));
    // Nearly none has one, and a look for the byte at a line's beginning is all that the others pay.
    if !aggregate || (memmem::find(reply, b"\n-").is_none() && memmem::find(reply, b"\n!").is_none()) {
        return BytesMut::from(reply);
    }
    let mut out = BytesMut::with_capacity(reply.len());
    let mut rest = reply;
    // Nesting does not matter here: a header is a token of its own.
    while let Some(end) = token(rest) {
        let (value, behind) = rest.split_at(end);
        match is_error(value) {
            true => out.extend_from_slice(&exchange(value)),
            false => out.extend_from_slice(value),
        }
        rest = behind;
    }
    out.extend_from_slice(rest);
    out
}

/// How long the value at the front is, or of an aggregate its header. None: there is none.
fn token(bytes: &[u8]) -> Option<usize> {
    if let (b'$' | b'!' | b'=' | b';', Some((len, used))) = (*bytes.first()?, header(bytes)) {
        // The last chunk of a streamed string is its header alone.
        let end = if bytes.starts_with(b";0") { used } else { used.checked_add(len)?.checked_add(2)? };
        return (end <= bytes.len()).then_some(end);
    }
    memmem::find(bytes, b"\r\n").map(|at| at + 2)
}

/// The number behind the type byte, where it is none below zero, and the length of the line.
fn header(value: &[u8]) -> Option<(usize, usize)> {
    match number::line(value.get(1..)?) {
        number::Number::Whole { value, len } => Some((usize::try_from(value).ok()?, 1 + len)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_aggregate_is_its_values() {
        let values = |reply: &'static [u8]| open(reply).map(|opened| opened.values.collect::<Vec<_>>());
        let two: [&[u8]; 2] = [b"$2\r\n\r\n\r\n", b"*1\r\n:1\r\n"];
        assert_eq!(values(b"*2\r\n$2\r\n\r\n\r\n*1\r\n:1\r\n").expect("an array"), two);
        assert_eq!(values(b"%1\r\n$2\r\n\r\n\r\n*1\r\n:1\r\n").expect("a map"), two);
        assert_eq!(values(b"*0\r\n"), Some(vec![]));
        for other in [b"*-1\r\n".as_slice(), b"*?\r\n.\r\n", b"$1\r\na\r\n", b"", b"*", b"%9223372036854775807\r\n"] {
            assert!(open(other).is_none_or(|opened| !opened.values.is_whole()), "{}", other.escape_ascii());
        }
    }

    #[test]
    fn a_push_that_comes_in_between_is_not_counted() {
        let reply = b"*2\r\n:1\r\n>3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nx\r\n:2\r\n";
        let mut opened = open(reply).expect("an array");
        assert_eq!(opened.values.by_ref().count(), 3);
        assert!(opened.values.is_whole());
        assert!(!comes_in_between(b">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n"));
    }

    #[test]
    fn a_bulk_is_its_content() {
        assert_eq!(bulk(b"$2\r\n\r\n\r\n"), Some(b"\r\n".as_slice()));
        for other in
            [b"$-1\r\n".as_slice(), b"$1\r\nab\r\n", b"$3\r\na\r\n", b"$1\r\na\r\n:1\r\n", b"+a\r\n", b"$?\r\n"]
        {
            assert_eq!(bulk(other), None, "{}", other.escape_ascii());
        }
    }

    #[test]
    fn errors_are_exchanged_at_any_depth_and_texts_that_look_like_one_are_not() {
        let no = |_: &[u8]| BytesMut::from(&b"-no\r\n"[..]);
        for (reply, expected) in [
            (b"-ERR x\r\n".as_slice(), b"-no\r\n".as_slice()),
            (b"*2\r\n$8\r\n\r\n-ERR\r\n\r\n*1\r\n!3\r\na\r\n\r\n", b"*2\r\n$8\r\n\r\n-ERR\r\n\r\n*1\r\n-no\r\n"),
            (b"*3\r\n:-1\r\n$-1\r\n-ERR\r\n", b"*3\r\n:-1\r\n$-1\r\n-no\r\n"),
            (b"$5\r\n\r\n-a\n\r\n", b"$5\r\n\r\n-a\n\r\n"),
            (b"*2\r\n-ERR\r\n$?\r\n;1\r\n-\r\n;0\r\n", b"*2\r\n-no\r\n$?\r\n;1\r\n-\r\n;0\r\n"),
        ] {
            assert_eq!(exchange_errors(reply, no), expected, "{}", reply.escape_ascii());
        }
    }

    #[test]
    fn what_is_filtered_bears_the_count_of_what_was_let_through() {
        for count in [0, 9, 10, 1234] {
            let mut filtered = Filtered::new(b'~', 0);
            (0..count).for_each(|_| filtered.add().extend_from_slice(b":1\r\n"));
            let expected = format!("~{count}\r\n{}", ":1\r\n".repeat(count));
            assert_eq!(filtered.count(), count);
            assert_eq!(filtered.finish(), expected.as_bytes());
        }
    }
}
