//! What the sidecar answers itself, as Redis would, for a client without a connection of its own.

use super::core::{Core, Phase, Step, Wait};
use crate::command::{Args, Local};
use crate::error::Kind;
use crate::metrics::Route;
use crate::resp::{Proto, write};
use bytes::{Bytes, BytesMut};
use std::task::{Context, Poll};

const BAD_NAME: &str = "ERR Client names cannot contain spaces, newlines or special characters.";

impl Core {
    pub(super) fn answer(&mut self, local: Local, args: &Args<'_>) -> Step {
        let mut out = BytesMut::new();
        let arg = |index| args.get(index).unwrap_or_default();
        match local {
            Local::Ping if args.len() == 1 => write::simple(&mut out, "PONG"),
            Local::Ping => write::bulk(&mut out, args.get(1).unwrap_or_default()),
            Local::Quit => {
                write::simple(&mut out, "OK");
                self.phase = Phase::Finishing;
            }
            Local::ClientGetName if self.client.name.is_empty() => write::null(&mut out, self.client.proto),
            Local::ClientGetName => write::bulk(&mut out, &self.client.name),
            Local::ClientSetName if is_printable(arg(2)) => {
                self.client.name = arg(2).to_vec();
                write::simple(&mut out, "OK");
            }
            Local::ClientSetName => write::error(&mut out, BAD_NAME),
            Local::ClientSetInfo => set_info(&mut out, arg(2), arg(3)),
            Local::Select => return self.select(arg(1)),
            Local::Hello => return self.hello(args),
        }
        self.count(Route::Local);
        self.replies.push(&out);
        Step::Done
    }

    fn select(&mut self, index: &[u8]) -> Step {
        if self.replies.waiting() > 0 {
            return Step::Blocked;
        }
        self.count(Route::Local);
        let index = strict_integer(index);
        match index.map(u32::try_from) {
            None => self.replies.push(b"-ERR value is not an integer or out of range\r\n"),
            Some(Err(_)) => self.replies.push(b"-ERR DB index is out of range\r\n"),
            Some(Ok(db)) if db == self.client.db => self.replies.push(b"+OK\r\n"),
            Some(Ok(db)) => {
                self.wait = Some(Wait::Select { link: self.context.links.shared(db, self.client.proto), db });
            }
        }
        Step::Done
    }

    fn hello(&mut self, args: &Args<'_>) -> Step {
        if self.replies.waiting() > 0 {
            return Step::Blocked;
        }
        self.count(Route::Local);
        let name = args.get(3);
        if name.is_some_and(|name| !is_printable(name)) {
            self.replies.push(format!("-{BAD_NAME}\r\n").as_bytes());
            return Step::Done;
        }
        let proto = match args.get(1) {
            Some(b"3") => Proto::Resp3,
            Some(_) => Proto::Resp2,
            None => self.client.proto,
        };
        let link = self.context.links.shared(self.client.db, proto);
        self.wait = Some(Wait::Hello { link, proto, name: name.map(<[u8]>::to_vec) });
        Step::Done
    }

    /// Goes on with what waits for a link. Returns whether it was answered.
    pub(super) fn poll_wait(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(wait) = self.wait.take() else { return false };
        let (Wait::Select { link, .. } | Wait::Hello { link, .. }) = &wait;
        match link.poll_up(cx) {
            Poll::Pending => {
                self.wait = Some(wait);
                return false;
            }
            Poll::Ready(Ok(hello)) => match wait {
                Wait::Select { link, db } => {
                    self.client.db = db;
                    self.link = Some(link);
                    self.replies.push(b"+OK\r\n");
                }
                Wait::Hello { link, proto, name } => {
                    self.client.proto = proto;
                    self.link = Some(link);
                    if let Some(name) = name {
                        self.client.name = name;
                    }
                    self.replies.push(&with_id(&hello, self.client.id));
                }
            },
            // The upstream's own refusal, of a database that it does not have or of the greeting.
            Poll::Ready(Err(error)) if matches!(error.kind, Kind::Reply | Kind::Auth) => {
                self.replies.push(format!("-{}\r\n", error.detail.replace(['\r', '\n'], " ")).as_bytes());
            }
            Poll::Ready(Err(error)) => self.refuse_unavailable(&error),
        }
        true
    }
}

/// The upstream's reply to HELLO, with the client's id in place of the link's.
fn with_id(hello: &Bytes, id: u64) -> BytesMut {
    const FIELD: &[u8] = b"$2\r\nid\r\n:";
    let mut out = BytesMut::with_capacity(hello.len() + 20);
    let start = memchr::memmem::find(hello, FIELD).map(|at| at + FIELD.len());
    let end = start.and_then(|start| memchr::memchr(b'\r', &hello[start..]).map(|length| start + length));
    match (start, end) {
        (Some(start), Some(end)) => {
            out.extend_from_slice(&hello[..start]);
            out.extend_from_slice(itoa::Buffer::new().format(id).as_bytes());
            out.extend_from_slice(&hello[end..]);
        }
        _ => out.extend_from_slice(hello),
    }
    out
}

/// As Redis reads an integer: no `+`, no leading zero, no `-0`.
fn strict_integer(text: &[u8]) -> Option<i32> {
    let integer = std::str::from_utf8(text).ok()?.parse::<i32>().ok()?;
    (itoa::Buffer::new().format(integer).as_bytes() == text).then_some(integer)
}

/// As Redis checks names: no blanks, nothing that would break CLIENT LIST.
fn is_printable(name: &[u8]) -> bool {
    name.iter().all(|byte| (b'!'..=b'~').contains(byte))
}

fn set_info(out: &mut BytesMut, option: &[u8], value: &[u8]) {
    let name = String::from_utf8_lossy(option).to_ascii_lowercase();
    if name != "lib-name" && name != "lib-ver" {
        write::error(out, &format!("ERR Unrecognized option '{}'", String::from_utf8_lossy(option)));
    } else if !is_printable(value) {
        write::error(out, &format!("ERR {name} cannot contain spaces, newlines or special characters."));
    } else {
        write::simple(out, "OK");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_sees_its_own_id_in_the_reply_to_hello() {
        let hello = Bytes::from_static(b"%2\r\n$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:12345\r\n$4\r\nmode\r\n$2\r\nxx\r\n");
        assert_eq!(
            &with_id(&hello, 7)[..],
            b"%2\r\n$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:7\r\n$4\r\nmode\r\n$2\r\nxx\r\n".as_slice()
        );
    }
}
