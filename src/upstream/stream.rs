//! One byte stream to the upstream or from a client, TCP or unix, and the greeting that makes a connection usable.

use super::target::Target;
use crate::config::Address;
use crate::error::{Kind, UpstreamError};
use crate::resp::{Proto, ReplyScanner, write};
use bytes::{Bytes, BytesMut};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// Seconds of silence after which the kernel asks whether the peer is still there.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// A greeting's replies are a few hundred bytes.
const GREETING_REPLY_BYTES_MAX: usize = 64 * 1024;

/// A TCP or unix stream.
pub enum Stream {
    /// TCP, with `TCP_NODELAY`.
    Tcp(TcpStream),
    /// Unix.
    Unix(UnixStream),
}

impl Stream {
    /// Connects once; the name is resolved anew each time, so a changed address is found.
    ///
    /// # Errors
    /// `Connect`, with the address in its words.
    pub async fn connect(address: &Address, timeout: Duration) -> Result<Self, UpstreamError> {
        let attempt = async {
            match address {
                Address::Tcp { host, port } => {
                    TcpStream::connect((host.as_str(), *port)).await.and_then(Self::from_tcp)
                }
                Address::Unix(path) => UnixStream::connect(path).await.map(Self::Unix),
            }
        };
        match tokio::time::timeout(timeout, attempt).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(UpstreamError::new(Kind::Connect, format!("{address}: {error}"))),
            Err(_) => Err(UpstreamError::new(Kind::Connect, format!("{address}: no connection within {timeout:?}"))),
        }
    }

    /// Sets what every TCP connection here has: no delay, keepalive.
    ///
    /// # Errors
    /// The socket's.
    pub fn from_tcp(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        socket2::SockRef::from(&stream)
            .set_tcp_keepalive(&socket2::TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE))?;
        Ok(Self::Tcp(stream))
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// What a client has set on its connection, and an upstream connection of its own must therefore have too.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Greeting {
    /// RESP2 or RESP3.
    pub proto: Proto,
    /// The selected database.
    pub db: u32,
    /// `CLIENT SETNAME`, empty for none.
    pub name: Vec<u8>,
    /// Say nothing: the client is about to say who it is, and until then the upstream may refuse all else.
    pub silent: bool,
}

impl Greeting {
    /// What is to be said once the client has said who it is: all but who it is.
    #[must_use]
    pub fn follow_ups(&self) -> Vec<BytesMut> {
        let mut requests = Vec::new();
        let mut request = |args: &[&[u8]]| {
            let mut out = BytesMut::new();
            write::request(&mut out, args);
            requests.push(out);
        };
        if self.proto == Proto::Resp3 {
            request(&[b"HELLO", b"3"]);
        }
        if self.db != 0 {
            request(&[b"SELECT", itoa::Buffer::new().format(self.db).as_bytes()]);
        }
        if !self.name.is_empty() {
            request(&[b"CLIENT", b"SETNAME", &self.name]);
        }
        requests
    }
}

/// Sends the greeting and waits for it to be accepted. Returns the reply to HELLO as it came.
///
/// # Errors
/// `Auth` for refused credentials, `Reply` for any other refusal (its words are the reply's), `Io` and `Timeout`.
pub async fn greet(
    stream: &mut Stream,
    target: &Target,
    greeting: &Greeting,
    timeout: Duration,
) -> Result<Bytes, UpstreamError> {
    if greeting.silent {
        return Ok(Bytes::new());
    }
    let mut out = BytesMut::new();
    let mut replies_due = 1;
    let version: &[u8] = if greeting.proto == Proto::Resp3 { b"3" } else { b"2" };
    if target.password.is_some() || target.username.is_some() {
        let user = target.username.as_deref().unwrap_or("default");
        // A user without a password (nopass) takes any.
        let password = target.password.as_ref().map_or("", |password| password.expose());
        write::request(&mut out, &[b"HELLO", version, b"AUTH", user.as_bytes(), password.as_bytes()]);
    } else {
        write::request(&mut out, &[b"HELLO", version]);
    }
    if greeting.db != 0 {
        write::request(&mut out, &[b"SELECT", itoa::Buffer::new().format(greeting.db).as_bytes()]);
        replies_due += 1;
    }
    if !greeting.name.is_empty() {
        write::request(&mut out, &[b"CLIENT", b"SETNAME", &greeting.name]);
        replies_due += 1;
    }
    let exchange = async {
        stream.write_all(&out).await?;
        read_replies(stream, replies_due).await
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
    for reply in &replies {
        if reply.first() == Some(&b'-') {
            let line = String::from_utf8_lossy(reply);
            return Err(UpstreamError::from_reply(line.trim_start_matches('-').trim_end()));
        }
    }
    Ok(replies.into_iter().next().unwrap_or_default())
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
            // An error ends the greeting: upstream may have closed already.
            if replies.last().is_some_and(|reply| reply.first() == Some(&b'-')) {
                break;
            }
            continue;
        }
        if buf.len() > GREETING_REPLY_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the reply to the greeting is too long"));
        }
        if stream.read_buf(&mut buf).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(replies)
}
