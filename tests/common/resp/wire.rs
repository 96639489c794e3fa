//! RESP2 and RESP3 as bytes, written and read.

use super::super::show;
use super::Reply;

/// One request, encoded as an array of bulk strings.
pub fn encode<A: AsRef<[u8]>>(args: &[A]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        let arg = arg.as_ref();
        out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// Where the first whole reply in `bytes` ends, or None where more must come.
pub fn reply_end(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    let mut open = 1usize;
    while open > 0 {
        let line = bytes[at..].windows(2).position(|pair| pair == b"\r\n")? + at;
        let kind = bytes[at];
        let digits = &bytes[at + 1..line];
        let number = || std::str::from_utf8(digits).ok()?.parse::<i64>().ok();
        at = line + 2;
        open -= 1;
        match kind {
            b'$' | b'=' | b'!' => {
                let length = number().expect("a length");
                if length >= 0 {
                    at += length as usize + 2;
                    if bytes.len() < at {
                        return None;
                    }
                }
            }
            b'*' | b'~' | b'>' => open += number().expect("a count").max(0) as usize,
            b'%' => open += 2 * number().expect("a count") as usize,
            b'|' => open += 2 * number().expect("a count") as usize + 1,
            b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(' => {}
            other => panic!("not a reply: {:?} in {}", other as char, show(bytes)),
        }
    }
    Some(at)
}

/// Decodes one whole reply from the start of `bytes`; gives what is left.
pub fn decode(bytes: &[u8]) -> (Reply, &[u8]) {
    let line_end = bytes.windows(2).position(|pair| pair == b"\r\n").expect("a whole line");
    let line = &bytes[1..line_end];
    let text = || String::from_utf8_lossy(line).into_owned();
    let number = || text().parse::<i64>().unwrap_or_else(|_| panic!("no number: {}", show(bytes)));
    let mut rest = &bytes[line_end + 2..];
    let many = |count: i64, rest: &mut &[u8]| -> Vec<Reply> {
        let mut replies = Vec::new();
        for _ in 0..count.max(0) {
            let reply;
            (reply, *rest) = decode(rest);
            replies.push(reply);
        }
        replies
    };
    let reply = match bytes[0] {
        b'+' => Reply::Simple(text()),
        b'-' => Reply::Error(text()),
        b':' => Reply::Int(number()),
        b'_' => Reply::Null,
        b'#' => Reply::Bool(line == b"t"),
        b',' | b'(' => Reply::Text(bytes[0] as char, line.to_vec()),
        b'$' if number() < 0 => Reply::NilBulk,
        b'*' if number() < 0 => Reply::NilArray,
        b'$' | b'=' | b'!' => {
            let length = number() as usize;
            let body = rest[..length].to_vec();
            rest = &rest[length + 2..];
            match bytes[0] {
                b'$' => Reply::Bulk(body),
                b'!' => Reply::Error(String::from_utf8_lossy(&body).into_owned()),
                _ => Reply::Text('=', body),
            }
        }
        b'*' => Reply::Array(many(number(), &mut rest)),
        b'~' => Reply::Set(many(number(), &mut rest)),
        b'>' => Reply::Push(many(number(), &mut rest)),
        b'%' => {
            let flat = many(2 * number(), &mut rest);
            Reply::Map(flat.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect())
        }
        other => panic!("not a reply: {:?}", other as char),
    };
    (reply, rest)
}

/// The whole length of the bulk string at the start of `bytes`, where its header is there.
pub(super) fn bulk_total(bytes: &[u8]) -> Option<usize> {
    let line = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    let length: usize = std::str::from_utf8(&bytes[1..line]).ok()?.parse().ok()?;
    Some(line + 2 + length + 2)
}
