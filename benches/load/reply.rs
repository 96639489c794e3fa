//! The replies that these loads get: lines and bulk strings of RESP2.

/// One reply, as far as the load wants to know it.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply<'b> {
    /// A status or a number, or a bulk string whose bytes are not all here: they are passed over.
    Fine,
    Bulk(&'b [u8]),
    Nil,
    Error(&'b [u8]),
}

/// A bulk string longer than that is passed over as it comes, not kept.
const KEPT_BYTES_MAX: usize = 1024;

/// What is left of one reply between two reads.
#[derive(Default)]
pub struct Replies {
    /// Bytes of a bulk string that are still to come and of no interest.
    skip: usize,
}

impl Replies {
    /// Tells each reply in `bytes`; returns how many bytes it took. The rest is the beginning of the next reply.
    pub fn take(&mut self, bytes: &[u8], mut tell: impl FnMut(Reply<'_>)) -> Result<usize, String> {
        let mut at = 0;
        if self.skip > 0 {
            at = self.skip.min(bytes.len());
            self.skip -= at;
            if self.skip > 0 {
                return Ok(at);
            }
            tell(Reply::Fine);
        }
        while let Some(end) = memchr::memchr(b'\n', &bytes[at..]) {
            let line = &bytes[at..at + end - 1];
            let next = at + end + 1;
            match line.first() {
                Some(b'+' | b':') => tell(Reply::Fine),
                Some(b'-') => tell(Reply::Error(&line[1..])),
                Some(b'$') if line == b"$-1" => tell(Reply::Nil),
                Some(b'$') => {
                    let length = std::str::from_utf8(&line[1..]).ok().and_then(|text| text.parse::<usize>().ok());
                    let length = length.ok_or_else(|| format!("not a length: {}", line.escape_ascii()))?;
                    let here = bytes.len() - next;
                    if here >= length + 2 {
                        tell(Reply::Bulk(&bytes[next..next + length]));
                        at = next + length + 2;
                        continue;
                    }
                    if length <= KEPT_BYTES_MAX {
                        break;
                    }
                    self.skip = length + 2 - here;
                    return Ok(bytes.len());
                }
                _ => return Err(format!("not a reply that was expected: {}", line.escape_ascii())),
            }
            at = next;
        }
        Ok(at)
    }
}
