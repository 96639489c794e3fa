//! A whole reply with something added or exchanged, the rest byte for byte as it came. A reply of another kind, an error
//! above all, stays as it is.

use super::{ReplyScanner, number, write};
use bytes::BytesMut;

/// An array, a set or a map, with what stands behind its header.
struct Aggregate<'a> {
    kind: u8,
    count: usize,
    rest: &'a [u8],
}

fn aggregate(reply: &[u8]) -> Option<Aggregate<'_>> {
    let (count, used) = header(reply)?;
    let kind = *reply.first()?;
    matches!(kind, b'*' | b'~' | b'%').then(|| Aggregate { kind, count, rest: &reply[used..] })
}

/// The number behind the type byte, and the length of the line.
fn header(reply: &[u8]) -> Option<(usize, usize)> {
    match number::line(reply.get(1..)?) {
        number::Number::Whole { value, len } => Some((usize::try_from(value).ok()?, 1 + len)),
        _ => None,
    }
}

/// How many values it has, of an array or a set. None: it is neither.
#[must_use]
pub fn count(value: &[u8]) -> Option<usize> {
    aggregate(value).filter(|aggregate| aggregate.kind != b'%').map(|aggregate| aggregate.count)
}

/// The first value of an array or a set, and all behind it. None: there is none.
#[must_use]
pub fn first(reply: &[u8]) -> Option<&[u8]> {
    aggregate(reply).filter(|aggregate| aggregate.count > 0).map(|aggregate| aggregate.rest)
}

/// With `more` values (of a map: pairs) at the end, which `tail` is.
#[must_use]
pub fn append(reply: &[u8], more: usize, tail: &[u8]) -> BytesMut {
    let Some(Aggregate { kind, count, rest }) = aggregate(reply) else { return BytesMut::from(reply) };
    let mut out = BytesMut::with_capacity(reply.len() + tail.len() + 8);
    write::header(&mut out, kind, count + more);
    out.extend_from_slice(rest);
    out.extend_from_slice(tail);
    out
}

/// An array with other values where `exchange` writes one for that place, having seen the one that is there; it returns
/// whether it did.
#[must_use]
pub fn exchange(reply: &[u8], mut exchange: impl FnMut(usize, &[u8], &mut BytesMut) -> bool) -> BytesMut {
    let Some(Aggregate { kind: b'*', count, mut rest }) = aggregate(reply) else { return BytesMut::from(reply) };
    let mut out = BytesMut::with_capacity(reply.len());
    write::header(&mut out, b'*', count);
    let mut scanner = ReplyScanner::new();
    for place in 0..count {
        let end = match scanner.advance(rest) {
            Ok(advance) if advance.done => advance.take,
            // It was found whole before.
            _ => break,
        };
        let (value, behind) = rest.split_at(end);
        if !exchange(place, value, &mut out) {
            out.extend_from_slice(value);
        }
        rest = behind;
    }
    out.extend_from_slice(rest);
    out
}

/// A bulk or a verbatim text with another content.
#[must_use]
pub fn edit_text(reply: &[u8], edit: impl FnOnce(&[u8]) -> Vec<u8>) -> BytesMut {
    let kind = reply.first().copied().unwrap_or_default();
    let (Some((len, used)), b'$' | b'=') = (header(reply), kind) else { return BytesMut::from(reply) };
    let Some(payload) = reply.get(used..used + len) else { return BytesMut::from(reply) };
    // The kind of a verbatim text, `txt:`.
    let (kept, before) = payload.split_at(if kind == b'=' { payload.len().min(4) } else { 0 });
    let text = edit(before);
    let mut out = BytesMut::with_capacity(text.len() + 32);
    write::header(&mut out, kind, kept.len() + text.len());
    out.extend_from_slice(kept);
    out.extend_from_slice(&text);
    out.extend_from_slice(b"\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_added_behind_those_that_are_there() {
        for (reply, expected) in [
            (b"*1\r\n:1\r\n".as_slice(), b"*2\r\n:1\r\n:9\r\n".as_slice()),
            (b"*0\r\n", b"*1\r\n:9\r\n"),
            (b"~9\r\n", b"~10\r\n:9\r\n"),
            (b"-ERR *1\r\n", b"-ERR *1\r\n"),
            (b"*-1\r\n", b"*-1\r\n"),
            (b"$1\r\na\r\n", b"$1\r\na\r\n"),
        ] {
            assert_eq!(&append(reply, 1, b":9\r\n")[..], expected);
        }
    }

    #[test]
    fn values_are_exchanged_in_their_places() {
        let reply = b"*3\r\n$1\r\na\r\n*2\r\n:1\r\n:2\r\n_\r\n";
        let nine = |place, value: &[u8], out: &mut BytesMut| {
            assert!(place != 1 || count(value) == Some(2));
            out.extend_from_slice(if place == 1 { b":9\r\n" } else { b"" });
            place == 1
        };
        assert_eq!(&exchange(reply, nine)[..], b"*3\r\n$1\r\na\r\n:9\r\n_\r\n");
        assert_eq!(&exchange(b"-ERR x\r\n", |_, _, _| true)[..], b"-ERR x\r\n");
        assert_eq!((count(b"*2\r\n"), count(b"$-1\r\n"), count(b"%2\r\n")), (Some(2), None, None));
        assert_eq!((first(b"*1\r\n:1\r\n"), first(b"*0\r\n")), (Some(b":1\r\n".as_slice()), None));
    }

    #[test]
    fn a_text_of_either_protocol_gets_another_content() {
        let more = |before: &[u8]| [before, format!("{}!", before.len()).as_bytes()].concat();
        assert_eq!(&edit_text(b"$2\r\nab\r\n", more)[..], b"$4\r\nab2!\r\n");
        assert_eq!(&edit_text(b"=6\r\ntxt:ab\r\n", more)[..], b"=8\r\ntxt:ab2!\r\n");
        assert_eq!(&edit_text(b"$-1\r\n", more)[..], b"$-1\r\n");
        assert_eq!(&edit_text(b"-ERR\r\n", more)[..], b"-ERR\r\n");
    }
}
