//! A TLS connection as the rest of the sidecar takes it: an end is an end, and what is written goes out though nobody asks.

use super::words;
use crate::metrics::TlsSide;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// TLS over TCP, after the handshake.
pub struct TlsStream {
    inner: tokio_rustls::TlsStream<TcpStream>,
    side: TlsSide,
}

impl TlsStream {
    pub(super) fn new(inner: tokio_rustls::TlsStream<TcpStream>, side: TlsSide) -> Self {
        Self { inner, side }
    }

    /// There is something to read, if only its end. A connection of which that is true cannot be read from any more.
    #[must_use]
    pub fn has_input(&self) -> bool {
        let (tcp, tls) = self.inner.get_ref();
        let read = tcp.try_read(&mut [0]);
        !tls.wants_read() || !matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    fn wants_write(&self) -> bool {
        self.inner.get_ref().1.wants_write()
    }

    fn told(&self, error: io::Error) -> io::Error {
        words::told(error, self.side)
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // Whoever waits for a reply has its request sent. That it cannot be is said by reading, and better.
        if this.wants_write() {
            let _ = Pin::new(&mut this.inner).poll_flush(cx);
        }
        match Pin::new(&mut this.inner).poll_read(cx, buf) {
            // Without the goodbye of TLS: many clients just close. RESP says itself where a request or a reply ends, so
            // that nothing is taken for whole because it was cut off.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
            Poll::Ready(Err(error)) => Poll::Ready(Err(this.told(error))),
            read => read,
        }
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.inner).poll_write(cx, buf);
        let Poll::Ready(Err(error)) = written else { return written };
        // It has closed: its last words, if there are any, say why.
        let mut rest = [0; 1024];
        match Pin::new(&mut this.inner).poll_read(cx, &mut ReadBuf::new(&mut rest)) {
            Poll::Ready(Err(why)) if words::of(&why).is_some() => Poll::Ready(Err(this.told(why))),
            _ => Poll::Ready(Err(this.told(error))),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.wants_write() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.inner).poll_flush(cx).map_err(|error| words::told(error, this.side))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        Pin::new(&mut this.inner).poll_shutdown(cx).map_err(|error| words::told(error, this.side))
    }
}
