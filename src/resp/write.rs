//! Replies that the sidecar makes itself, and requests that it sends. Owns how a value is written in either protocol;
//! never decides what is said, never flushes.

use bytes::{BufMut, BytesMut};

/// The protocol that a connection speaks, as settled by `HELLO`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Proto {
    /// Until HELLO says otherwise.
    Resp2,
    /// Since `HELLO 3`.
    Resp3,
}

/// `+s`: a status. CR, LF and NUL become blanks, for none of them may stand in a line.
pub fn simple(out: &mut BytesMut, s: &str) {
    line(out, b'+', s);
}

/// `-line`: an error, its word first. `line` comes without the `-`. CR, LF and NUL become blanks, so that what a client
/// sent may be quoted in it.
pub fn error(out: &mut BytesMut, line_text: &str) {
    line(out, b'-', line_text);
}

/// `:value`.
pub fn integer(out: &mut BytesMut, value: i64) {
    header(out, b':', value);
}

/// `$n` and `data`, any bytes.
pub fn bulk(out: &mut BytesMut, data: &[u8]) {
    out.reserve(data.len() + HEADER_BYTES + 2);
    header(out, b'$', data.len());
    out.put_slice(data);
    out.put_slice(b"\r\n");
}

/// Arguments of a request as they go upstream, counted while they are written.
#[derive(Debug, Clone, Default)]
pub struct RequestWriter {
    args: u32,
    body: Vec<u8>,
}

impl RequestWriter {
    /// None yet; room for so many bytes.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self { args: 0, body: Vec::with_capacity(bytes) }
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> usize {
        self.args as usize
    }

    /// All of them, as they are written.
    #[must_use]
    pub fn written(&self) -> &[u8] {
        &self.body
    }

    /// One more argument.
    pub fn arg(&mut self, arg: &[u8]) -> &mut Self {
        self.args += 1;
        self.body.reserve(arg.len() + HEADER_BYTES + 2);
        // Most are short, and of their headers each byte is known.
        match u8::try_from(arg.len()) {
            Ok(len @ ..10) => self.body.extend_from_slice(&[b'$', b'0' + len, b'\r', b'\n']),
            Ok(len @ ..100) => {
                self.body.extend_from_slice(&[b'$', b'0' + len / 10, b'0' + len % 10, b'\r', b'\n']);
            }
            _ => {
                self.body.push(b'$');
                self.body.extend_from_slice(itoa::Buffer::new().format(arg.len()).as_bytes());
                self.body.extend_from_slice(b"\r\n");
            }
        }
        self.body.extend_from_slice(arg);
        self.body.extend_from_slice(b"\r\n");
        self
    }

    /// All of `other`'s.
    pub fn args(&mut self, other: &Self) {
        self.args += other.args;
        self.body.extend_from_slice(&other.body);
    }

    /// One more, a number.
    pub fn number(&mut self, number: impl itoa::Integer) -> &mut Self {
        self.arg(itoa::Buffer::new().format(number).as_bytes())
    }

    /// Appends the request.
    pub fn finish(&self, out: &mut BytesMut) {
        out.reserve(self.body.len() + HEADER_BYTES);
        header(out, b'*', self.args);
        out.extend_from_slice(&self.body);
    }
}

/// `$n`: the beginning of a bulk string, whose data and line's end the caller writes.
pub fn bulk_header(out: &mut BytesMut, len: usize) {
    out.reserve(len + HEADER_BYTES + 2);
    header(out, b'$', len);
}

/// `=n`, the three letters of its kind, `:` and `data`: a text over RESP3.
pub fn verbatim(out: &mut BytesMut, kind: &str, data: &[u8]) {
    header(out, b'=', data.len() + kind.len() + 1);
    out.put_slice(kind.as_bytes());
    out.put_u8(b':');
    out.put_slice(data);
    out.put_slice(b"\r\n");
}

/// `!n` and `text`: an error over RESP3 whose text may hold any bytes.
pub fn blob_error(out: &mut BytesMut, text: &[u8]) {
    header(out, b'!', text.len());
    out.put_slice(text);
    out.put_slice(b"\r\n");
}

/// What is not there: `_`, in RESP2 `$-1`.
pub fn null(out: &mut BytesMut, proto: Proto) {
    out.put_slice(match proto {
        Proto::Resp2 => b"$-1\r\n",
        Proto::Resp3 => b"_\r\n",
    });
}

/// An array that is not there (an aborted EXEC, a BLPOP that timed out): `_`, in RESP2 `*-1`.
pub fn null_array(out: &mut BytesMut, proto: Proto) {
    out.put_slice(match proto {
        Proto::Resp2 => b"*-1\r\n",
        Proto::Resp3 => b"_\r\n",
    });
}

/// `*n`; the n values are for the caller to write.
pub fn array_header(out: &mut BytesMut, n: usize) {
    header(out, b'*', n);
}

/// `%n_pairs`, in RESP2 an array of twice as many; the keys and values are for the caller to write.
pub fn map_header(out: &mut BytesMut, proto: Proto, n_pairs: usize) {
    match proto {
        Proto::Resp2 => header(out, b'*', n_pairs * 2),
        Proto::Resp3 => header(out, b'%', n_pairs),
    }
}

/// `~n`, in RESP2 an array; the n values are for the caller to write.
pub fn set_header(out: &mut BytesMut, proto: Proto, n: usize) {
    match proto {
        Proto::Resp2 => header(out, b'*', n),
        Proto::Resp3 => header(out, b'~', n),
    }
}

/// `>n`, in RESP2 an array; the n values are for the caller to write.
pub fn push_header(out: &mut BytesMut, proto: Proto, n: usize) {
    match proto {
        Proto::Resp2 => header(out, b'*', n),
        Proto::Resp3 => header(out, b'>', n),
    }
}

/// A whole request: an array of bulks, as every server reads it.
pub fn request(out: &mut BytesMut, args: &[&[u8]]) {
    out.reserve(HEADER_BYTES + args.iter().map(|arg| arg.len() + HEADER_BYTES + 2).sum::<usize>());
    header(out, b'*', args.len());
    for arg in args {
        header(out, b'$', arg.len());
        out.put_slice(arg);
        out.put_slice(b"\r\n");
    }
}

/// A type byte, 20 digits and a line end: no header is longer.
const HEADER_BYTES: usize = 23;

/// A type byte and a number: `kind`, `n`.
pub(crate) fn header(out: &mut BytesMut, kind: u8, n: impl itoa::Integer) {
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(n).as_bytes();
    out.reserve(digits.len() + 3);
    out.put_u8(kind);
    out.put_slice(digits);
    out.put_slice(b"\r\n");
}

fn line(out: &mut BytesMut, kind: u8, text: &str) {
    out.reserve(text.len() + 3);
    out.put_u8(kind);
    let from = out.len();
    out.put_slice(text.as_bytes());
    for byte in &mut out[from..] {
        if matches!(byte, b'\r' | b'\n' | 0) {
            *byte = b' ';
        }
    }
    out.put_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::{FrameKind, ReplyScanner, RequestLimits, RequestScanner};
    use proptest::prelude::*;

    fn written(write: impl FnOnce(&mut BytesMut)) -> String {
        let mut out = BytesMut::new();
        write(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn every_value_is_written_as_the_protocol_says() {
        use Proto::{Resp2, Resp3};
        let requests = [&b"x"[..], &[b'x'; 9], &[b'x'; 10], &[b'x'; 99], &[b'x'; 100], &[b'x'; 300], b""];
        let mut writer = RequestWriter::default();
        requests.iter().for_each(|arg| _ = writer.arg(arg));
        let (mut twice, mut half) = (RequestWriter::with_capacity(7), RequestWriter::default());
        requests[..3].iter().for_each(|arg| _ = twice.arg(arg));
        requests[3..].iter().for_each(|arg| _ = half.arg(arg));
        twice.args(&half);
        assert_eq!((writer.count(), twice.count()), (7, 7));
        let request_of_seven = written(|out| request(out, &requests));
        assert_eq!(written(|out| writer.finish(out)), request_of_seven);
        assert_eq!(written(|out| twice.finish(out)), request_of_seven);
        let cases = [
            (written(|out| simple(out, "OK")), "+OK\r\n"),
            (written(|out| simple(out, "a\r\nb\0c")), "+a  b c\r\n"),
            (written(|out| error(out, "ERR no such 'é\r\n+OK\r\n\0'")), "-ERR no such 'é  +OK   '\r\n"),
            (written(|out| integer(out, i64::MIN)), ":-9223372036854775808\r\n"),
            (written(|out| integer(out, 0)), ":0\r\n"),
            (written(|out| bulk(out, b"")), "$0\r\n\r\n"),
            (written(|out| bulk(out, b"a\r\nb")), "$4\r\na\r\nb\r\n"),
            (written(|out| null(out, Resp2)), "$-1\r\n"),
            (written(|out| null(out, Resp3)), "_\r\n"),
            (written(|out| null_array(out, Resp2)), "*-1\r\n"),
            (written(|out| null_array(out, Resp3)), "_\r\n"),
            (written(|out| array_header(out, 0)), "*0\r\n"),
            (written(|out| map_header(out, Resp2, 3)), "*6\r\n"),
            (written(|out| map_header(out, Resp3, 3)), "%3\r\n"),
            (written(|out| set_header(out, Resp2, 3)), "*3\r\n"),
            (written(|out| set_header(out, Resp3, 3)), "~3\r\n"),
            (written(|out| push_header(out, Resp2, 3)), "*3\r\n"),
            (written(|out| push_header(out, Resp3, 3)), ">3\r\n"),
            (written(|out| request(out, &[b"GET", b""])), "*2\r\n$3\r\nGET\r\n$0\r\n\r\n"),
        ];
        for (got, want) in cases {
            assert_eq!(got, want);
        }
    }

    proptest! {
        #[test]
        fn a_line_is_one_reply_whatever_is_quoted_in_it(text: String) {
            let mut out = BytesMut::new();
            error(&mut out, &text);
            let found = ReplyScanner::new().advance(&out).unwrap();
            prop_assert!(found.done);
            prop_assert_eq!(found.take, out.len());
        }

        #[test]
        fn a_request_reads_back(args in proptest::collection::vec(any::<Vec<u8>>(), 1..9)) {
            let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            let mut out = BytesMut::new();
            request(&mut out, &args);
            let mut scanner = RequestScanner::new(RequestLimits::default());
            let frame = scanner.scan(&out).unwrap().unwrap();
            prop_assert_eq!(frame.kind, FrameKind::Array);
            prop_assert_eq!(frame.len, out.len());
            let got: Vec<&[u8]> = scanner.args().iter().map(|arg| arg.of(&out)).collect();
            prop_assert_eq!(got, args);
        }
    }
}
