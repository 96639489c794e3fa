//! A tenant's connection that takes whatever comes: replies, pushes, errors, a close.

use std::io::ErrorKind;

use super::super::common::resp::encode;
use super::super::common::{Conn, Reply, show};

pub type Request = Vec<Vec<u8>>;

pub struct Client {
    conn: Conn,
    addr: String,
    name: &'static str,
    password: &'static str,
    protocol: u8,
    questions: u64,
}

impl Client {
    pub fn open(addr: &str, name: &'static str, password: &'static str, protocol: u8) -> Self {
        let conn = connect(addr, name, password, protocol);
        Self { conn, addr: addr.to_owned(), name, password, protocol, questions: 0 }
    }

    pub fn conn(&mut self) -> &mut Conn {
        &mut self.conn
    }

    /// A connection as it was in the beginning.
    pub fn renew(&mut self) {
        self.conn = connect(&self.addr, self.name, self.password, self.protocol);
    }

    /// All bytes that these requests bring, up to the answer to a PING behind them or the connection's end.
    #[track_caller]
    pub fn all_of(&mut self, requests: &[Request]) -> Vec<u8> {
        self.questions += 1;
        let question = format!("question-{}", self.questions);
        let mut bytes: Vec<u8> = requests.iter().flat_map(|request| encode(request)).collect();
        bytes.extend(encode(&["PING", &question]));
        let mut seen = Vec::new();
        let mut closed = self.conn.try_send(&bytes).is_err();
        let answer = format!("${}\r\n{question}\r\n", question.len());
        while !closed {
            match self.conn.try_raw() {
                // Among subscriptions of RESP2 it is the second of an array.
                Ok(frame) if frame.ends_with(answer.as_bytes()) => return seen,
                Ok(frame) if frame.starts_with(b"-NOAUTH") => {
                    seen.extend(frame);
                    // Whose turn it is cannot be told from such replies.
                    closed = true;
                }
                Ok(frame) => seen.extend(frame),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    let request: Vec<String> = requests.iter().map(text).collect();
                    panic!("no answer behind {}; so far {}", request.join("; "), show(&seen));
                }
                Err(_) => closed = true,
            }
        }
        self.renew();
        seen
    }

    #[track_caller]
    pub fn call(&mut self, line: &str) -> Reply {
        self.conn.call(line)
    }

    #[track_caller]
    pub fn args<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Reply {
        self.conn.call_args(args)
    }
}

/// A request as a person reads it.
pub fn text(request: &Request) -> String {
    request.iter().map(|word| word.escape_ascii().to_string()).collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn connect(addr: &str, name: &str, password: &str, protocol: u8) -> Conn {
    let mut conn = Conn::open(addr);
    let greeted = conn.call(&format!("HELLO {protocol} AUTH {name} {password}"));
    assert!(matches!(greeted, Reply::Map(_) | Reply::Array(_)), "HELLO: {greeted:?}");
    conn
}
