//! The way back of replies that may be large, while they come.

use super::Back;
use crate::resp::{ReplyScanner, values, write};
use crate::tenant::isolation::KeySpace;
use bytes::BytesMut;

/// One that is under way. Nothing of it is kept but a key that is not whole.
#[derive(Debug)]
pub struct Parts {
    space: KeySpace,
    has_streams: bool,
    is_map: bool,
    next: Next,
    scanner: ReplyScanner,
    key: BytesMut,
}

/// What is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// The reply's first line.
    Reply,
    /// A pair's, of a stream and what is in it.
    Pair,
    Key,
    /// What belongs to it.
    Value,
    /// All that follows is as it is.
    Rest,
}

impl Back {
    /// How a reply is told while it comes, where that is an array or a map: as [`apply`](Self::apply) tells it when it is whole.
    /// None: it must be whole.
    #[must_use]
    pub fn in_parts(&self, space: &KeySpace) -> Option<Parts> {
        let has_streams = match self {
            Self::FirstIsKey => false,
            Self::Streams => true,
            _ => return None,
        };
        let (space, next, scanner) = (space.clone(), Next::Reply, ReplyScanner::new());
        Some(Parts { space, has_streams, is_map: false, next, scanner, key: BytesMut::new() })
    }
}

impl Parts {
    /// The next bytes, lines whole, none behind its end: what the tenant is to see in their place is appended. False: it has not
    /// the form that it must have, and no more of it is to be told.
    #[must_use]
    pub fn tell(&mut self, mut bytes: &[u8], out: &mut BytesMut) -> bool {
        while !bytes.is_empty() {
            let used = match self.next {
                Next::Reply | Next::Pair => self.header(bytes, out),
                Next::Key | Next::Value => self.value(bytes, out),
                Next::Rest => {
                    out.extend_from_slice(bytes);
                    Some(bytes.len())
                }
            };
            match used {
                Some(used) => bytes = &bytes[used..],
                None => return false,
            }
        }
        true
    }

    fn header(&mut self, bytes: &[u8], out: &mut BytesMut) -> Option<usize> {
        let kind = *bytes.first()?;
        if kind != b'*' && (kind != b'%' || self.next == Next::Pair || !self.has_streams) {
            return None;
        }
        let end = memchr::memchr(b'\n', bytes)? + 1;
        // A pair that is null is none.
        if bytes.get(1) == Some(&b'-') {
            return None;
        }
        out.extend_from_slice(&bytes[..end]);
        self.next = match self.next {
            Next::Reply if self.has_streams => {
                self.is_map = kind == b'%';
                if self.is_map { Next::Key } else { Next::Pair }
            }
            _ => Next::Key,
        };
        Some(end)
    }

    fn value(&mut self, bytes: &[u8], out: &mut BytesMut) -> Option<usize> {
        let advance = self.scanner.advance(bytes).ok().filter(|advance| advance.take > 0)?;
        let part = &bytes[..advance.take];
        if self.next == Next::Value {
            out.extend_from_slice(part);
            if advance.done {
                self.next = if self.is_map { Next::Key } else { Next::Pair };
            }
            return Some(advance.take);
        }
        self.key.extend_from_slice(part);
        if advance.done {
            write::bulk(out, self.space.inside(values::bulk(&self.key)?)?);
            self.key.clear();
            self.next = if self.has_streams { Next::Value } else { Next::Rest };
        }
        Some(advance.take)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::Proto;

    /// In parts as a link's scanner gives them, of reads of that size. None: it was not told to its end.
    fn in_parts(back: &Back, reply: &[u8], size: usize) -> Option<BytesMut> {
        let space = KeySpace::new("acme");
        let mut parts = back.in_parts(&space).expect("it can be");
        let (mut scanner, mut out) = (ReplyScanner::new(), BytesMut::new());
        let (mut at, mut read) = (0, 0);
        while at < reply.len() {
            read = (read + size).min(reply.len());
            let advance = scanner.advance(&reply[at..read]).expect("a reply");
            if !parts.tell(&reply[at..at + advance.take], &mut out) {
                return None;
            }
            at += advance.take;
        }
        Some(out)
    }

    #[test]
    fn in_parts_it_is_what_it_is_whole() {
        let space = KeySpace::new("acme");
        let entries = "*2\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\nf\r\n$6\r\nacme:x\r\n*2\r\n$3\r\n1-2\r\n*0\r\n";
        for (back, reply, good) in [
            (Back::FirstIsKey, "*2\r\n$6\r\nacme:l\r\n$6\r\nacme:v\r\n".to_owned(), true),
            (Back::FirstIsKey, "*2\r\n$5\r\nacme:\r\n*2\r\n$1\r\nx\r\n:1\r\n".to_owned(), true),
            (Back::FirstIsKey, "*2\r\n$7\r\nrival:l\r\n$1\r\nv\r\n".to_owned(), false),
            (Back::FirstIsKey, "*2\r\n:1\r\n$1\r\nv\r\n".to_owned(), false),
            (Back::FirstIsKey, "%1\r\n$6\r\nacme:l\r\n$1\r\nv\r\n".to_owned(), false),
            (Back::Streams, format!("*2\r\n*2\r\n$6\r\nacme:s\r\n{entries}*2\r\n$6\r\nacme:t\r\n{entries}"), true),
            (Back::Streams, format!("%2\r\n$6\r\nacme:s\r\n{entries}$6\r\nacme:t\r\n{entries}"), true),
            (Back::Streams, format!("%2\r\n$6\r\nacme:s\r\n{entries}$7\r\nrival:t\r\n{entries}"), false),
            (Back::Streams, format!("*2\r\n*2\r\n$6\r\nacme:s\r\n{entries}*2\r\n$7\r\nrival:t\r\n{entries}"), false),
            (Back::Streams, "*2\r\n*-1\r\n*-1\r\n".to_owned(), false),
            (Back::Streams, "*1\r\n%1\r\n$6\r\nacme:s\r\n*0\r\n".to_owned(), false),
        ] {
            let whole = back.clone().apply(reply.as_bytes(), &space, Proto::Resp3);
            assert_eq!(!whole.starts_with(b"-"), good, "{reply:?}");
            for size in [1, 3, 10, reply.len()] {
                assert_eq!(in_parts(&back, reply.as_bytes(), size), good.then(|| whole.clone()), "{size} of {reply:?}");
            }
        }
        assert!(Back::AsIs.in_parts(&space).is_none() && Back::Keys.in_parts(&space).is_none());
    }
}
