//! The greeting that makes a connection usable: who speaks, the protocol, the database.

use super::Stream;
use crate::error::{Kind, UpstreamError};
use crate::resp::{Proto, ReplyScanner, write};
use crate::upstream::target::Target;
use bytes::{Bytes, BytesMut};
use std::io;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Its replies are a few hundred bytes.
const REPLY_BYTES_MAX: usize = 64 * 1024;

/// What a client said of itself: the arguments of its AUTH, a password or a user and a password. Never shown.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Credentials(Vec<Vec<u8>>);

impl Credentials {
    /// The arguments of AUTH, without its name.
    #[must_use]
    pub fn new(args: Vec<Vec<u8>>) -> Self {
        Self(args)
    }

    /// The user whom they name.
    #[must_use]
    pub fn user(&self) -> &[u8] {
        if self.0.len() > 1 { &self.0[0] } else { b"default" }
    }

    /// AUTH with these arguments.
    pub fn write_auth(&self, out: &mut BytesMut) {
        let mut args: Vec<&[u8]> = vec![b"AUTH"];
        args.extend(self.0.iter().map(Vec::as_slice));
        write::request(out, &args);
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials({:?}, …)", String::from_utf8_lossy(self.user()))
    }
}

/// Who is spoken for: None for the sidecar itself, with the credentials of `upstream.url`.
pub type Identity = Option<Rc<Credentials>>;

/// What an upstream connection is made to be before requests go over it. Connections of equal greetings are alike.
#[derive(Debug, Clone)]
pub struct Greeting {
    /// Whose requests it carries.
    pub identity: Identity,
    /// RESP2 or RESP3.
    pub proto: Proto,
    /// The selected database.
    pub db: u32,
    /// Who the client was when it selected it, where that is another: it need not have the right to since. Makes no
    /// difference to what the connection is.
    pub selected_as: Option<Identity>,
    /// Whose requests may share a link: what one has upstream is behind nothing of another's. 0: of whoever is not told apart.
    pub lane: u8,
}

impl PartialEq for Greeting {
    fn eq(&self, other: &Self) -> bool {
        (&self.identity, self.proto, self.db, self.lane) == (&other.identity, other.proto, other.db, other.lane)
    }
}

impl Eq for Greeting {}

impl std::hash::Hash for Greeting {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (&self.identity, self.proto, self.db, self.lane).hash(state);
    }
}

impl Greeting {
    /// The client has proved to be another user; its database stays.
    pub fn become_user(&mut self, credentials: Rc<Credentials>) {
        let before = self.identity.replace(credentials);
        self.selected_as.get_or_insert(before);
    }

    /// The requests that make a connection that says `first`, of the same identity, say this.
    #[must_use]
    pub fn changes_from(&self, first: &Self) -> Vec<BytesMut> {
        let mut requests = Vec::with_capacity(3);
        let mut request = |args: &[&[u8]]| {
            let mut out = BytesMut::new();
            write::request(&mut out, args);
            requests.push(out);
        };
        if self.db != first.db {
            request(&[b"SELECT", itoa::Buffer::new().format(self.db).as_bytes()]);
        }
        if self.proto != first.proto {
            let version: &[u8] = if self.proto == Proto::Resp3 { b"3" } else { b"2" };
            request(&[b"HELLO", version]);
        }
        requests
    }

    /// The requests that make a new connection, or one that was RESET, what this greeting says, and give it this name.
    #[must_use]
    pub fn requests(&self, target: &Target, name: Option<&str>) -> Vec<(GreetingPart, BytesMut)> {
        let mut requests = Vec::with_capacity(5);
        let mut request = |part, args: &[&[u8]]| {
            let mut out = BytesMut::new();
            write::request(&mut out, args);
            requests.push((part, out));
        };
        let version: &[u8] = if self.proto == Proto::Resp3 { b"3" } else { b"2" };
        let mut digits = itoa::Buffer::new();
        let db = digits.format(self.db).as_bytes();
        let named: Vec<&[u8]> = name.map_or_else(Vec::new, |name| vec![b"SETNAME", name.as_bytes()]);
        let auth = |credentials: &Credentials| -> Vec<Vec<u8>> {
            std::iter::once(b"AUTH".to_vec()).chain(credentials.0.iter().cloned()).collect()
        };
        let own = if self.identity.is_none() { GreetingPart::Hello } else { GreetingPart::Own };
        let selects_itself = self.identity.is_some() && self.selected_as.is_none();
        match &self.selected_as {
            Some(Some(credentials)) => {
                let args = auth(credentials);
                request(GreetingPart::Own, &args.iter().map(Vec::as_slice).collect::<Vec<_>>());
            }
            _ if selects_itself => {}
            _ if target.password.is_some() || target.username.is_some() => {
                let user = target.username.as_deref().unwrap_or("default");
                // A user without a password (nopass) takes any.
                let password = target.password.as_ref().map_or("", |password| password.expose());
                let hello = [&[b"HELLO", version, b"AUTH", user.as_bytes(), password.as_bytes()][..], &named].concat();
                request(own, &hello);
            }
            _ if self.identity.is_none() => request(own, &[&[b"HELLO", version][..], &named].concat()),
            _ => {}
        }
        if self.db != 0 && !selects_itself {
            request(GreetingPart::Select, &[b"SELECT", db]);
        }
        if let Some(credentials) = &self.identity {
            let args = auth(credentials);
            request(GreetingPart::Auth, &args.iter().map(Vec::as_slice).collect::<Vec<_>>());
            request(GreetingPart::Hello, &[&[b"HELLO", version][..], &named].concat());
            if self.db != 0 {
                request(GreetingPart::Select, &[b"SELECT", db]);
            }
        }
        requests
    }
}

/// What one request of a greeting is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GreetingPart {
    /// Credentials before a client's last ones: they may have changed since, and need not be right.
    Own,
    /// A client's.
    Auth,
    /// The protocol; its reply is what clients get.
    Hello,
    /// The database. A client's own user need not have the right to select it, where the client did so before it became
    /// that user; and before it nobody may have. One of two must do.
    Select,
}

/// Sends the greeting and waits for it to be accepted. Returns the reply to HELLO as it came.
///
/// # Errors
/// `Auth` for refused credentials, `Reply` for any other refusal (its words are the reply's), `Io` and `Timeout`.
pub async fn greet(
    stream: &mut Stream,
    target: &Target,
    greeting: &Greeting,
    name: Option<&str>,
    timeout: Duration,
) -> Result<Bytes, UpstreamError> {
    let requests = greeting.requests(target, name);
    let exchange = async {
        if greeting.identity.is_none() {
            let bytes: Vec<u8> = requests.iter().flat_map(|(_, request)| request.iter().copied()).collect();
            stream.write_all(&bytes).await?;
            return read_replies(stream, requests.len()).await;
        }
        // One by one: from 7.2 on a refused AUTH is not answered while an earlier reply waits to be written.
        let mut replies = Vec::with_capacity(requests.len());
        for (_, request) in &requests {
            stream.write_all(request).await?;
            replies.extend(read_replies(stream, 1).await?);
        }
        Ok(replies)
    };
    let replies = match tokio::time::timeout(timeout, exchange).await {
        Ok(Ok(replies)) => replies,
        Ok(Err(error)) => return Err(UpstreamError::new(Kind::Io, format!("{}: {error}", target.address))),
        Err(_) => {
            return Err(UpstreamError::new(
                Kind::Timeout,
                format!("{}: no greeting within {timeout:?}", target.address),
            ));
        }
    };
    let (mut hello, mut selected, mut not_selected) = (Bytes::new(), false, None);
    for ((part, _), reply) in requests.iter().zip(replies) {
        let refused = (reply.first() == Some(&b'-')).then(|| {
            let line = String::from_utf8_lossy(&reply);
            UpstreamError::from_reply(line.trim_start_matches('-').trim_end())
        });
        match (part, refused) {
            (GreetingPart::Own, _) => {}
            (GreetingPart::Select, Some(error)) => not_selected = Some(error),
            (GreetingPart::Select, None) => selected = true,
            (_, Some(error)) => return Err(error),
            (GreetingPart::Hello, None) => hello = reply,
            (GreetingPart::Auth, None) => {}
        }
    }
    match not_selected {
        Some(error) if !selected => Err(error),
        _ => Ok(hello),
    }
}

/// The connection's id in the upstream's reply to HELLO.
#[must_use]
pub fn id_in(hello: &[u8]) -> Option<u64> {
    let (start, end) = id_place(hello)?;
    std::str::from_utf8(&hello[start..end]).ok()?.parse().ok()
}

/// The reply to HELLO with another id in it.
#[must_use]
pub fn with_id(hello: &[u8], id: u64) -> BytesMut {
    let mut out = BytesMut::with_capacity(hello.len() + 20);
    match id_place(hello) {
        Some((start, end)) => {
            out.extend_from_slice(&hello[..start]);
            out.extend_from_slice(itoa::Buffer::new().format(id).as_bytes());
            out.extend_from_slice(&hello[end..]);
        }
        None => out.extend_from_slice(hello),
    }
    out
}

fn id_place(hello: &[u8]) -> Option<(usize, usize)> {
    const FIELD: &[u8] = b"$2\r\nid\r\n:";
    let start = memchr::memmem::find(hello, FIELD)? + FIELD.len();
    Some((start, start + memchr::memchr(b'\r', &hello[start..])?))
}

async fn read_replies(stream: &mut Stream, count: usize) -> io::Result<Vec<Bytes>> {
    let (mut replies, mut buf, mut at) = (Vec::with_capacity(count), BytesMut::new(), 0);
    let mut scanner = ReplyScanner::new();
    while replies.len() < count {
        let advance = scanner
            .advance(&buf[at..])
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
        at += advance.take;
        if advance.done {
            replies.push(buf.split_to(at).freeze());
            at = 0;
            continue;
        }
        if buf.len() > REPLY_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the reply to the greeting is too long"));
        }
        let ended = match stream.read_buf(&mut buf).await {
            Ok(0) => io::ErrorKind::UnexpectedEof.into(),
            Ok(_) => continue,
            Err(error) => error,
        };
        // Where it closed after an error, that is why.
        if replies.iter().any(|reply: &Bytes| reply.first() == Some(&b'-')) {
            return Ok(replies);
        }
        return Err(ended);
    }
    Ok(replies)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_in_the_reply_to_hello_is_found_and_can_be_another() {
        let hello = b"%2\r\n$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:12345\r\n$4\r\nmode\r\n$2\r\nxx\r\n";
        assert_eq!(id_in(hello), Some(12345));
        assert_eq!(
            &with_id(hello, 7)[..],
            b"%2\r\n$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:7\r\n$4\r\nmode\r\n$2\r\nxx\r\n".as_slice()
        );
        assert_eq!((id_in(b"+OK\r\n"), &with_id(b"+OK\r\n", 7)[..]), (None, b"+OK\r\n".as_slice()));
    }
}
