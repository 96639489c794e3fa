//! An error of the upstream's as the tenant is to see it: its own names, and neither the upstream's user nor its addresses.

use super::super::KeySpace;
use crate::error::without_user;
use bytes::BytesMut;
use memchr::memmem;

/// One error, `-…` or `!…`, in the tenant's spelling.
///
/// What else an error of Redis's can say of others was gone through (its source's `addReplyError*`, 6.2 to 8.2): counts and names
/// of other tenants are in none; that memory is short, a script of somebody's runs or a replica is behind concerns all.
#[must_use]
pub fn inside(error: &[u8], space: &KeySpace) -> BytesMut {
    let text = match error.first() {
        Some(b'-') => error.get(1..).and_then(|text| text.strip_suffix(b"\r\n")),
        Some(b'!') => crate::resp::values::payload(error),
        _ => None,
    };
    let Some(text) = text else { return BytesMut::from(&b"-ERR\r\n"[..]) };
    let text = without_prefix(&without_user(&without_address(text)), space.prefix());
    let mut out = BytesMut::with_capacity(text.len() + 24);
    if error.first() == Some(&b'!') {
        crate::resp::write::blob_error(&mut out, &text);
    } else {
        out.extend_from_slice(b"-");
        out.extend_from_slice(&text);
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// Where the upstream sends elsewhere, the tenant cannot go.
fn without_address(text: &[u8]) -> Vec<u8> {
    let word = text.split(|byte| *byte == b' ').next().unwrap_or_default();
    match word {
        b"MOVED" | b"ASK" | b"REDIRECT" => b"CLUSTERDOWN the upstream does not serve this itself".to_vec(),
        _ => text.to_vec(),
    }
}

/// Without the prefix where a name begins: behind a quotation mark, or alone between blanks and the like. Not within a name, whose
/// own part it may be, and not in what only looks like it (`user_script:1: …` where that is the namespace).
fn without_prefix(text: &[u8], prefix: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut from = 0;
    while let Some(at) = memmem::find(&text[from..], prefix).map(|at| from + at) {
        let behind = at + prefix.len();
        let before = at.checked_sub(1).map(|at| text[at]);
        let quote = before.filter(|byte| matches!(byte, b'\'' | b'"' | b'`'));
        let alone = matches!(before, None | Some(b' ' | b'(' | b'[' | b',' | b'='))
            && text.get(behind).is_some_and(|byte| !matches!(byte, b' ' | b':'));
        out.extend_from_slice(&text[from..at]);
        if quote.is_none() && !alone {
            out.extend_from_slice(prefix);
            from = behind;
            continue;
        }
        // The rest of the name is the tenant's own words.
        let mut ends = text[behind..].iter();
        let len = match quote {
            Some(quote) => ends.position(|byte| *byte == quote),
            None => ends.position(|byte| matches!(byte, b' ' | b')' | b']' | b',')),
        };
        let end = behind + len.unwrap_or(0);
        out.extend_from_slice(&text[behind..end]);
        from = end;
    }
    out.extend_from_slice(&text[from..]);
    out
}
