//! One connection of the load: sends a pipeline, takes its replies, sends the next.

use crate::reply::Replies;
use crate::work::Work;
use rustix::event::epoll::{self, EventData, EventFlags};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Instant;

pub struct Client {
    stream: TcpStream,
    token: u64,
    /// Which of the loads that run side by side it is part of.
    pub group: usize,
    pipeline: usize,
    out: Vec<u8>,
    written: usize,
    /// Asks to be told when it can write.
    is_full: bool,
    replies: Replies,
    /// The beginning of a reply whose end is not here yet.
    rest: Vec<u8>,
    /// Replies that it waits for.
    pub waiting: usize,
    sent: Instant,
    /// Replies that came.
    pub done: u64,
}

impl Client {
    pub fn open(addr: SocketAddr, poller: &OwnedFd, token: u64, group: usize, pipeline: usize) -> Result<Self, String> {
        let stream = TcpStream::connect(addr).map_err(|error| format!("connect {addr}: {error}"))?;
        let ready = stream.set_nodelay(true).and_then(|()| stream.set_nonblocking(true));
        ready.map_err(|error| error.to_string())?;
        epoll::add(poller, &stream, EventData::new_u64(token), EventFlags::IN).map_err(|error| error.to_string())?;
        Ok(Self {
            stream,
            token,
            group,
            pipeline,
            out: Vec::new(),
            written: 0,
            is_full: false,
            replies: Replies::default(),
            rest: Vec::new(),
            waiting: 0,
            sent: Instant::now(),
            done: 0,
        })
    }

    /// Sends the next pipeline.
    pub fn send(&mut self, work: &mut Work, poller: &OwnedFd) -> Result<(), String> {
        self.out.clear();
        self.written = 0;
        while self.waiting < self.pipeline && work.write(&mut self.out) {
            self.waiting += 1;
        }
        self.sent = Instant::now();
        self.flush(poller)
    }

    /// Writes what is left of it.
    pub fn flush(&mut self, poller: &OwnedFd) -> Result<(), String> {
        while self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(format!("write: {error}")),
            }
        }
        let is_full = self.written < self.out.len();
        if is_full != self.is_full {
            self.is_full = is_full;
            let flags = if is_full { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
            epoll::modify(poller, &self.stream, EventData::new_u64(self.token), flags)
                .map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Takes what came. Some: the pipeline is answered, and took so many microseconds.
    pub fn receive(&mut self, scratch: &mut [u8], work: &mut Work) -> Result<Option<f32>, String> {
        let kept = self.rest.len();
        scratch[..kept].copy_from_slice(&self.rest);
        let count = match self.stream.read(&mut scratch[kept..]) {
            Ok(0) => return Err("the connection was closed".into()),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(format!("read: {error}")),
        };
        let bytes = &scratch[..kept + count];
        let mut came = 0;
        let taken = self.replies.take(bytes, |reply| {
            came += 1;
            work.note(&reply);
        })?;
        self.rest.clear();
        self.rest.extend_from_slice(&bytes[taken..]);
        self.done += came as u64;
        self.waiting = self.waiting.checked_sub(came).ok_or("more replies than requests")?;
        Ok((self.waiting == 0 && came > 0).then(|| self.sent.elapsed().as_secs_f32() * 1e6))
    }
}
