//! The upstream of a replay: answers each request as it was answered when it was recorded.
//!
//! A request is known by its bytes; a script call by its length and its number of arguments alone, for it bears chance
//! (tokens) and time, and loading a script by its name, for the script may change without its answers being others.

use inventory_sentinel::resp::{ReplyScanner, RequestLimits, RequestScanner};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

pub struct Upstream {
    listener: UnixListener,
    connections: Vec<Connection>,
    replies: BTreeMap<Vec<u8>, Vec<u8>>,
    record: Option<String>,
}

struct Connection {
    stream: UnixStream,
    unread: Vec<u8>,
    scanner: RequestScanner,
    /// Who is asked while recording.
    real: Option<TcpStream>,
}

impl Upstream {
    pub fn listen(socket: &Path, recording: &Path, record: Option<&str>) -> Self {
        let listener = UnixListener::bind(socket).expect("a unix socket");
        listener.set_nonblocking(true).expect("a socket");
        let replies = match (record, std::fs::read(recording)) {
            (None, Ok(text)) => parse(&text),
            (None, Err(error)) => panic!("{}: {error}", recording.display()),
            (Some(_), _) => BTreeMap::new(),
        };
        Self { listener, connections: Vec::new(), replies, record: record.map(str::to_owned) }
    }

    /// Answers what has come.
    pub fn answer(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            stream.set_nonblocking(true).expect("a socket");
            let real = self.record.as_ref().map(|addr| TcpStream::connect(addr).expect("the Redis to record"));
            let scanner = RequestScanner::new(RequestLimits::default());
            self.connections.push(Connection { stream, unread: Vec::new(), scanner, real });
        }
        let replies = &mut self.replies;
        self.connections.retain_mut(|connection| connection.answer(replies));
    }

    /// What may be wrong where replies are missing.
    pub fn hint(&self) -> String {
        let unread: usize = self.connections.iter().map(|connection| connection.unread.len()).sum();
        format!("{} connections upstream, {unread} bytes that are not a whole request", self.connections.len())
    }

    pub fn save(&self, recording: &Path) {
        let mut text = Vec::new();
        for (request, reply) in &self.replies {
            for part in [request, reply] {
                let _ = write!(text, "${}\r\n", part.len());
                text.extend_from_slice(part);
                text.extend_from_slice(b"\r\n");
            }
        }
        std::fs::write(recording, text).expect("the recording is written");
    }
}

impl Connection {
    /// False: it was closed.
    fn answer(&mut self, replies: &mut BTreeMap<Vec<u8>, Vec<u8>>) -> bool {
        let mut chunk = [0; 64 * 1024];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return false,
                Ok(count) => self.unread.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return false,
            }
        }
        let (mut at, mut out) = (0, Vec::new());
        while let Ok(Some(frame)) = self.scanner.scan(&self.unread[at..]) {
            let request = &self.unread[at..at + frame.len];
            let args: Vec<&[u8]> = self.scanner.args().iter().map(|range| range.of(request)).collect();
            let name = name(request, &args);
            if let Some(real) = &mut self.real {
                real.write_all(request).expect("a request");
                replies.insert(name.clone(), without_place(&name, read_reply(real)));
            }
            let reply = replies.get(&name).unwrap_or_else(|| {
                panic!(
                    "the recording has no answer to this, so it is out of date (make recording): {}",
                    name.escape_ascii()
                )
            });
            out.extend_from_slice(reply);
            at += frame.len;
        }
        self.unread.drain(..at);
        self.stream.write_all(&out).is_ok()
    }
}

/// By what a request is known; see the module.
fn name(request: &[u8], args: &[&[u8]]) -> Vec<u8> {
    match args {
        [b"EVALSHA", ..] => format!("EVALSHA of {} arguments in {} bytes", args.len(), request.len()).into_bytes(),
        [b"SCRIPT", what, ..] => [b"SCRIPT ", *what].concat(),
        _ => args.join(&b' '),
    }
}

fn read_reply(from: &mut TcpStream) -> Vec<u8> {
    let (mut reply, mut scanner, mut at) = (Vec::new(), ReplyScanner::new(), 0);
    let mut chunk = [0; 64 * 1024];
    loop {
        let count = from.read(&mut chunk).expect("a reply of the Redis to record");
        assert!(count > 0, "the Redis to record went away");
        reply.extend_from_slice(&chunk[..count]);
        while at < reply.len() {
            let advance = scanner.advance(&reply[at..]).expect("a reply");
            at += advance.take;
            if advance.done {
                return reply;
            }
            if advance.take == 0 {
                break;
            }
        }
    }
}

/// INFO without what it says of the machine that it was recorded on.
fn without_place(name: &[u8], reply: Vec<u8>) -> Vec<u8> {
    if !name.starts_with(b"INFO") {
        return reply;
    }
    let text = String::from_utf8_lossy(&reply);
    let (header, lines) = text.split_once("\r\n").expect("a bulk or verbatim string");
    let (kind, begin) = if header.starts_with('=') { ("=", "txt:") } else { ("$", "") };
    let fields = ["redis_version:", "redis_mode:", "server_name:", "valkey_version:", "run_id:"];
    let kept = lines.lines().filter(|line| fields.iter().any(|field| line.starts_with(field)));
    let kept: String = kept.map(|line| format!("{line}\r\n")).collect();
    format!("{kind}{}\r\n{begin}{kept}\r\n", begin.len() + kept.len()).into_bytes()
}

/// Bulk strings, by twos.
fn parse(mut text: &[u8]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut bulk = move || {
        let end = memchr::memchr(b'\r', text)?;
        let length: usize = std::str::from_utf8(&text[1..end]).ok()?.parse().ok()?;
        let part = text[end + 2..end + 2 + length].to_vec();
        text = &text[end + 2 + length + 2..];
        Some(part)
    };
    std::iter::from_fn(|| Some((bulk()?, bulk()?))).collect()
}
