//! One byte stream to the upstream or from a client, TCP, unix or TLS, and the greeting that makes a connection usable.

mod greeting;

pub use greeting::{Credentials, Greeting, GreetingPart, Identity, greet, id_in, with_id};

use super::target::Target;
use crate::config::Address;
use crate::error::{Kind, UpstreamError};
use crate::tls::TlsStream;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// Seconds of silence after which the kernel asks whether the peer is still there.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// A TCP, unix or TLS stream.
pub enum Stream {
    /// TCP, with `TCP_NODELAY`.
    Tcp(TcpStream),
    /// Unix.
    Unix(UnixStream),
    /// TLS over TCP. Boxed: it is a hundred times larger than the others.
    Tls(Box<TlsStream>),
}

impl Stream {
    /// Connects once, the handshake of TLS included; the name is resolved anew each time, so a changed address is found.
    ///
    /// # Errors
    /// `Connect`, with the address in its words.
    pub async fn connect(target: &Target) -> Result<Self, UpstreamError> {
        let (address, timeout, mut step) = (&target.address, target.connect_timeout, "no connection");
        let attempt = async {
            let stream = match address {
                Address::Tcp { host, port } => Self::from_tcp(TcpStream::connect((host.as_str(), *port)).await?)?,
                Address::Unix(path) => Self::Unix(UnixStream::connect(path).await?),
            };
            match (&target.tls, stream) {
                (Some(tls), Self::Tcp(stream)) => {
                    step = "TLS: no handshake";
                    Ok(Self::Tls(Box::new(tls.connect(stream).await?)))
                }
                (_, stream) => Ok::<_, io::Error>(stream),
            }
        };
        let done = tokio::time::timeout(timeout, attempt).await;
        let what = match done {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("{step} within {timeout:?}"),
        };
        Err(UpstreamError::new(Kind::Connect, format!("{address}: {what}")))
    }

    /// There is something to read, if only its end.
    #[must_use]
    pub fn has_input(&self) -> bool {
        let mut byte = [0];
        let read = match self {
            Self::Tcp(stream) => stream.try_read(&mut byte),
            Self::Unix(stream) => stream.try_read(&mut byte),
            Self::Tls(stream) => return stream.has_input(),
        };
        !matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
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
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, buf),
        }
    }

    /// Only TLS takes bytes that are not sent yet; then it must be asked until it is ready.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(_) | Self::Unix(_) => Poll::Ready(Ok(())),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }
}
