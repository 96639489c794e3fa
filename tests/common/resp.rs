//! A blocking RESP2/RESP3 client: pipelines, raw bytes in and out, a deadline on every read and write.

mod reply;
mod wire;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::{SOON, show, words};
pub use reply::Reply;
use wire::bulk_total;
pub use wire::{decode, encode, reply_end};

/// What a connection goes through on its way to the socket, such as TLS.
pub trait Through: Send {
    fn read(&mut self, tcp: &mut TcpStream, bytes: &mut [u8]) -> std::io::Result<usize>;
    fn write_all(&mut self, tcp: &mut TcpStream, bytes: &[u8]) -> std::io::Result<()>;
    /// Says that nothing more will be sent, before the socket does.
    fn goodbye(&mut self, tcp: &mut TcpStream) -> std::io::Result<()>;
}

/// A client connection. Every read and write fails loudly at its deadline.
pub struct Conn {
    stream: TcpStream,
    through: Option<Box<dyn Through>>,
    buffer: Vec<u8>,
    peer: String,
}

impl Conn {
    #[track_caller]
    pub fn open(addr: &str) -> Self {
        Self::try_open(addr).unwrap_or_else(|error| panic!("connect {addr}: {error}"))
    }

    pub fn try_open(addr: &str) -> std::io::Result<Self> {
        Self::on(TcpStream::connect_timeout(&addr.parse().expect("an address"), SOON)?, addr)
    }

    /// On a connection that is there.
    pub fn on(stream: TcpStream, addr: &str) -> std::io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SOON))?;
        stream.set_write_timeout(Some(SOON))?;
        Ok(Self { stream, through: None, buffer: Vec::new(), peer: addr.into() })
    }

    /// The same, from here on through this.
    pub fn through(mut self, through: impl Through + 'static) -> Self {
        self.through = Some(Box::new(through));
        self
    }

    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        match &mut self.through {
            Some(through) => through.read(&mut self.stream, bytes),
            None => self.stream.read(bytes),
        }
    }

    /// The same, having said HELLO 3.
    #[track_caller]
    pub fn open3(addr: &str) -> Self {
        let mut conn = Self::open(addr);
        let hello = conn.call("HELLO 3");
        assert!(matches!(hello, Reply::Map(_)), "HELLO 3: {hello:?}");
        conn
    }

    pub fn patience(&mut self, patience: Duration) {
        self.stream.set_read_timeout(Some(patience)).expect("a timeout");
        self.stream.set_write_timeout(Some(patience)).expect("a timeout");
    }

    /// What the kernel takes for it before it is read is bounded by this. Below what it has offered the peer already (64 KiB) it
    /// throws away what comes, which is sent again later and later while nobody reads: a minute and more on a busy machine.
    pub fn receive_buffer(&mut self, bytes: usize) {
        socket2::SockRef::from(&self.stream).set_recv_buffer_size(bytes).expect("a buffer");
    }

    /// So many bytes are sent without the peer reading any.
    pub fn send_buffer(&self, bytes: usize) {
        socket2::SockRef::from(&self.stream).set_send_buffer_size(bytes).expect("a buffer");
    }

    /// Bytes of the peer's that the kernel holds, of either end: not taken by the one, or not read by this one.
    pub fn in_kernel(&self) -> usize {
        let [own, peer] =
            [self.stream.local_addr(), self.stream.peer_addr()].map(|addr| row_addr(addr.expect("an address")));
        let table = std::fs::read_to_string("/proc/net/tcp").expect("the kernel's table");
        let queue = |of: &str, to: &str, at: usize| {
            let row = table.lines().map(|row| row.split_whitespace().collect::<Vec<_>>());
            let row = row.into_iter().find(|row| row[1] == of && row[2] == to).expect("a row");
            usize::from_str_radix(row[4].split(':').nth(at).expect("two queues"), 16).expect("a number")
        };
        queue(&peer, &own, 0) + queue(&own, &peer, 1)
    }

    pub fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match &mut self.through {
            Some(through) => through.write_all(&mut self.stream, bytes),
            None => self.stream.write_all(bytes),
        }
    }

    #[track_caller]
    pub fn send(&mut self, bytes: &[u8]) {
        if let Err(error) = self.try_send(bytes) {
            panic!("send {} to {}: {error}", show(bytes), self.peer);
        }
    }

    #[track_caller]
    pub fn send_args<A: AsRef<[u8]>>(&mut self, args: &[A]) {
        self.send(&encode(args));
    }

    /// The bytes of the next whole reply; `Err` at a closed connection or the deadline.
    pub fn try_raw(&mut self) -> std::io::Result<Vec<u8>> {
        let mut next_look = 1;
        loop {
            if self.buffer.len() >= next_look {
                if let Some(end) = reply_end(&self.buffer) {
                    let rest = self.buffer.split_off(end);
                    return Ok(std::mem::replace(&mut self.buffer, rest));
                }
                // A bulk string says how long it is: one of 100 MB is not scanned again at every read.
                let bulk = (self.buffer.first() == Some(&b'$')).then(|| bulk_total(&self.buffer)).flatten();
                next_look = bulk.unwrap_or(self.buffer.len() + 1);
            }
            let mut chunk = [0; 64 * 1024];
            match self.read(&mut chunk) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.buffer.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    #[track_caller]
    pub fn raw(&mut self) -> Vec<u8> {
        match self.try_raw() {
            Ok(bytes) => bytes,
            Err(error) => panic!("no reply from {}: {error}; so far: {}", self.peer, show(&self.buffer)),
        }
    }

    pub fn try_reply(&mut self) -> std::io::Result<Reply> {
        self.try_raw().map(|bytes| decode(&bytes).0)
    }

    #[track_caller]
    pub fn reply(&mut self) -> Reply {
        decode(&self.raw()).0
    }

    /// Sends a line of words, as typed, and gives its reply.
    #[track_caller]
    pub fn call(&mut self, line: &str) -> Reply {
        self.call_args(&words(line))
    }

    pub fn try_call(&mut self, line: &str) -> std::io::Result<Reply> {
        self.try_send(&encode(&words(line)))?;
        self.try_reply()
    }

    #[track_caller]
    pub fn call_args<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Reply {
        self.send_args(args);
        self.reply()
    }

    /// Sends all in one write, then reads as many replies.
    #[track_caller]
    pub fn pipeline<A: AsRef<[u8]>>(&mut self, requests: &[Vec<A>]) -> Vec<Reply> {
        let bytes: Vec<u8> = requests.iter().flat_map(|args| encode(args)).collect();
        self.send(&bytes);
        requests.iter().map(|_| self.reply()).collect()
    }

    /// Sends bytes and demands exactly these bytes back.
    #[track_caller]
    pub fn exchange(&mut self, bytes: &[u8], wanted: &[u8]) {
        self.send(bytes);
        self.expect(wanted);
    }

    /// Demands that exactly these bytes come next.
    #[track_caller]
    pub fn expect(&mut self, wanted: &[u8]) {
        while self.buffer.len() < wanted.len() {
            let mut chunk = [0; 4096];
            match self.read(&mut chunk) {
                Ok(0) => break,
                Ok(count) => self.buffer.extend_from_slice(&chunk[..count]),
                Err(error) => {
                    panic!("wanted {}, got {} and then {error}", show(wanted), show(&self.buffer));
                }
            }
            if !wanted.starts_with(&self.buffer[..self.buffer.len().min(wanted.len())]) {
                break;
            }
        }
        let length = self.buffer.len().min(wanted.len());
        assert!(self.buffer[..length] == *wanted, "wanted {}, got {}", show(wanted), show(&self.buffer));
        self.buffer.drain(..length);
    }

    /// Whatever is there, or comes next.
    #[track_caller]
    pub fn read_some(&mut self) -> Vec<u8> {
        if self.buffer.is_empty() {
            let mut chunk = [0; 4096];
            let count = self.stream.read(&mut chunk).expect("more");
            assert!(count > 0, "closed");
            self.buffer.extend_from_slice(&chunk[..count]);
        }
        std::mem::take(&mut self.buffer)
    }

    /// What is left of the line that comes next, without its end.
    #[track_caller]
    pub fn rest_of_line(&mut self) -> String {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let line = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
                self.buffer.drain(..end + 2);
                return line;
            }
            let mut chunk = [0; 4096];
            let count = self.read(&mut chunk).expect("the rest of a line");
            assert!(count > 0, "closed within a line: {}", show(&self.buffer));
            self.buffer.extend_from_slice(&chunk[..count]);
        }
    }

    /// Demands that the peer closes, with nothing more said.
    #[track_caller]
    pub fn expect_close(&mut self) {
        assert!(self.buffer.is_empty(), "wanted a close, got {}", show(&self.buffer));
        let mut chunk = [0; 4096];
        match self.read(&mut chunk) {
            Ok(0) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Ok(count) => panic!("wanted a close, got {}", show(&chunk[..count])),
            Err(error) => panic!("wanted a close, got {error}"),
        }
    }

    /// Says that nothing more will be sent.
    pub fn half_close(&mut self) {
        if let Some(through) = &mut self.through {
            through.goodbye(&mut self.stream).expect("a goodbye");
        }
        self.close_sending();
    }

    /// The same without the goodbye of what it goes through.
    pub fn close_sending(&mut self) {
        self.stream.shutdown(std::net::Shutdown::Write).expect("shutdown");
    }

    /// Ends the connection with a reset instead of an orderly close.
    pub fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).expect("linger");
        drop(self.stream);
    }
}

/// As /proc/net/tcp writes it.
fn row_addr(addr: std::net::SocketAddr) -> String {
    let std::net::SocketAddr::V4(addr) = addr else { panic!("{addr} is not of IPv4") };
    format!("{:08X}:{:04X}", u32::from_le_bytes(addr.ip().octets()), addr.port())
}
