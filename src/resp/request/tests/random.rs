//! The request scanner against a naive reader of whole buffers, however the bytes are split.

use super::*;
use crate::resp::cuts::sorted_cuts;
use proptest::collection::vec;
use proptest::prelude::*;

/// The oracle: reads all of `bytes` at once, with the standard library and no state.
fn naive(limits: RequestLimits, bytes: &[u8]) -> Read {
    let mut frames = Vec::new();
    let mut rest = bytes;
    loop {
        match naive_frame(limits, rest) {
            Ok(Some(frame)) => {
                rest = &rest[frame.1..];
                frames.push(frame);
            }
            Ok(None) => return (frames, None),
            Err(error) => return (frames, Some(error)),
        }
    }
}

fn naive_frame(limits: RequestLimits, buf: &[u8]) -> Result<Option<Frame>, String> {
    let find = |buf: &[u8], byte: u8| buf.iter().position(|b| *b == byte);
    let Some(first) = buf.first() else { return Ok(None) };
    if *first != b'*' {
        let max = limits.inline_bytes_max;
        let end = match (find(buf, b'\n'), find(buf, 0)) {
            (end, Some(nul)) if nul <= max && end.is_none_or(|end| nul < end) => {
                return Err("NUL in inline request".into());
            }
            (Some(end), _) if end <= max => end,
            _ if buf.len() > max => return Err("too big inline request".into()),
            _ => return Ok(None),
        };
        let line = if end > 0 && buf[end - 1] == b'\r' { &buf[..end - 1] } else { &buf[..end] };
        let mut args = Vec::new();
        inline::split(line, &mut args).map_err(|_| "unbalanced quotes in request".to_owned())?;
        let kind = if args.is_empty() { FrameKind::Empty } else { FrameKind::Inline };
        return Ok(Some((kind, end + 1, args)));
    }
    let number = |at: usize, words: &str| {
        let Some(cr) = find(&buf[at..], b'\r') else { return Ok(None) };
        let text = String::from_utf8_lossy(&buf[at + 1..at + cr]).into_owned();
        let value: i64 = text.parse().map_err(|_| words.to_owned())?;
        if value.to_string() != text || buf.get(at + cr + 1).is_some_and(|byte| *byte != b'\n') {
            return Err(words.to_owned());
        }
        Ok(buf.get(at + cr + 1).map(|_| (value, at + cr + 2)))
    };
    let Some((count, mut at)) = number(0, "invalid multibulk length")? else { return Ok(None) };
    if count > limits.args_max as i64 {
        return Err("invalid multibulk length".into());
    }
    let mut args = Vec::new();
    for _ in 0..count {
        match buf.get(at) {
            None => return Ok(None),
            Some(b'$') => {}
            Some(b'\r' | b'\n' | 0) => return Err("expected '$', got ' '".into()),
            Some(other) => return Err(format!("expected '$', got '{}'", char::from(*other))),
        }
        let Some((len, start)) = number(at, "invalid bulk length")? else { return Ok(None) };
        if len < 0 || len > BULK_BYTES_MAX as i64 {
            return Err("invalid bulk length".into());
        }
        if len > limits.bulk_bytes_max as i64 {
            // The small limits of these tests are below those of a client before AUTH.
            return Err("unauthenticated bulk length".into());
        }
        let end = start + len as usize;
        for (offset, want) in [(0, b'\r'), (1, b'\n')] {
            match buf.get(end + offset) {
                None => return Ok(None),
                Some(got) if *got == want => {}
                Some(_) => return Err("expected CRLF after bulk".into()),
            }
        }
        args.push(buf[start..end].to_vec());
        at = end + 2;
    }
    Ok(Some((if count > 0 { FrameKind::Array } else { FrameKind::Empty }, at, args)))
}

/// Bytes that are mostly requests: whole ones, a spoilt byte here and there, an end that may be cut off.
fn mostly_requests() -> impl Strategy<Value = Vec<u8>> {
    let arg = prop_oneof![
        vec(any::<u8>(), 0..12),
        vec(any::<u8>(), 0..1500),
        "[a-z\r\n$*0-9]{0,6}".prop_map(String::into_bytes)
    ];
    let array = vec(arg, 1..8).prop_map(|args| {
        let mut out = bytes::BytesMut::new();
        crate::resp::write::request(&mut out, &args.iter().map(Vec::as_slice).collect::<Vec<_>>());
        out.to_vec()
    });
    let inline = "[ a-zA-Z0-9\t\r]{0,12}(\"([a-z \\\\]|\\\\\")*\"|'[a-z]*')? ?\r?\n".prop_map(String::into_bytes);
    let odd = prop_oneof![
        Just(b"*0\r\n".to_vec()),
        Just(b"*-1\r\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"*31\r\n".to_vec()),
        Just(b"*1\r\n$10001\r\n".to_vec()),
        vec(Just(b'a'), 190..210),
        "[*$][-+0-9]{0,22}\r\n".prop_map(String::into_bytes),
    ];
    let pieces = vec(prop_oneof![6 => array, 2 => inline, 1 => odd], 0..6).prop_map(|pieces| pieces.concat());
    (pieces, vec((any::<prop::sample::Index>(), any::<u8>()), 0..2), any::<prop::sample::Index>(), any::<bool>())
        .prop_map(|(mut bytes, spoilt, end, cut)| {
            let empty = bytes.is_empty();
            for (at, byte) in spoilt.into_iter().filter(|_| !empty) {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if cut && !empty {
                bytes.truncate(end.index(bytes.len()));
            }
            bytes
        })
}

proptest! {
    #[test]
    fn any_split_reads_as_the_naive_reader_does(bytes in mostly_requests(), cuts in vec(any::<prop::sample::Index>(), 0..8)) {
        let want = naive(small(), &bytes);
        prop_assert_eq!(&scan_split(small(), &bytes, &[]), &want);
        prop_assert_eq!(&scan_split(small(), &bytes, &sorted_cuts(&cuts, bytes.len())), &want);
        prop_assert_eq!(&scan_split(small(), &bytes, &(0..bytes.len()).collect::<Vec<_>>()), &want);
        if bytes.len() < 300 {
            for cut in 0..bytes.len() {
                prop_assert_eq!(&scan_split(small(), &bytes, &[cut]), &want, "cut at {}", cut);
            }
        }
    }

    #[test]
    fn short_requests_are_what_any_are(bytes in mostly_requests(), from in any::<prop::sample::Index>()) {
        // Most pieces begin somewhere within a request: those of a whole one are among them.
        let scanner = RequestScanner::new(small());
        let mut starts = vec![from.index(bytes.len() + 1), 0];
        for (_, len, _) in naive(small(), &bytes).0 {
            starts.push(starts.last().map_or(0, |start| start + len));
        }
        let mut heads = vec![ShortHead::default()];
        for start in starts {
            let buf = &bytes[start..];
            let of = |args: &[ArgRange]| args.iter().map(|arg| arg.of(buf).to_vec()).collect::<Vec<_>>();
            let mut kept = Vec::new();
            if let Some(len) = short::scan(buf, &mut kept) {
                prop_assert_eq!(naive_frame(small(), buf), Ok(Some((FrameKind::Array, len, of(&kept)))));
            }
            let Some(head) = ShortHead::of(buf) else { continue };
            prop_assert!((1..=8).contains(&head.name(buf).len()));
            let mut args = ShortArgs::default();
            let found = scanner.short(buf, &head, &mut args).map(|(len, count)| (len, of(&args[..count])));
            if let Some((len, args)) = &found {
                prop_assert_eq!(&args[0], head.name(buf));
                prop_assert_eq!(naive_frame(small(), buf), Ok(Some((FrameKind::Array, *len, args.clone()))));
            } else {
                // Whole ones with short arguments are all found.
                prop_assert!(short::scan(buf, &mut kept).is_none());
            }
            heads.push(head);
            for head in heads.iter().filter(|head| head.begins(buf)) {
                let again = scanner.short(buf, head, &mut args).map(|(len, count)| (len, of(&args[..count])));
                prop_assert_eq!((again, head.name(buf)), (found.clone(), ShortHead::of(buf).map_or(b"".as_slice(), |head| head.name(buf))));
            }
        }
    }

    #[test]
    fn streaming_ends_where_scanning_does(
        bytes in mostly_requests(), cuts in vec(any::<prop::sample::Index>(), 0..12), scans in 0usize..4,
    ) {
        let (frames, error) = naive(small(), &bytes);
        let want = (frames.iter().map(|frame| frame.1).collect::<Vec<_>>(), error);
        prop_assert_eq!(&stream_split(small(), &bytes, &sorted_cuts(&cuts, bytes.len()), scans), &want);
        prop_assert_eq!(&stream_split(small(), &bytes, &(0..bytes.len()).collect::<Vec<_>>(), scans), &want);
    }

    #[test]
    fn random_bytes_never_panic(bytes: Vec<u8>, array: bool, cut: prop::sample::Index) {
        let bytes = if array { [b"*2\r\n$".to_vec(), bytes].concat() } else { bytes };
        let cut = cut.index(bytes.len() + 1);
        prop_assert_eq!(scan_split(small(), &bytes, &[cut]), naive(small(), &bytes));
        stream_split(small(), &bytes, &[cut], 1);
    }
}
