//! Requests and what must come back for each; bytes that are sent in pieces, replies that are held against what was asked.

use std::collections::VecDeque;
use std::io;

use super::super::common::resp::encode;
use super::super::common::{Conn, Dice, Reply, show};

/// A burst that has so many bytes gets no further request. It is sent whole though the sidecar may read no more of it while its
/// replies are not read, so both ends must be able to hold it.
pub const BURST_BYTES_MAX: usize = 100_000;

/// What must come back.
#[derive(Debug, Clone)]
pub enum Wanted {
    Is(Reply),
    /// Nothing, in whatever form the command has for it.
    Nil,
    /// An error that begins with the one and tells the other.
    Error(&'static str, String),
    /// A map with these fields among its own.
    Fields(Vec<(&'static str, Reply)>),
    /// An array of these.
    Items(Vec<Wanted>),
    /// Any of these.
    Either(Vec<Wanted>),
    /// Any number.
    Count,
}

impl Wanted {
    pub fn bulk(text: impl AsRef<[u8]>) -> Self {
        Self::Is(Reply::bulk(text))
    }

    pub fn int(number: i64) -> Self {
        Self::Is(Reply::Int(number))
    }

    pub fn ok() -> Self {
        Self::Is(Reply::ok())
    }

    pub fn simple(line: &str) -> Self {
        Self::Is(Reply::Simple(line.into()))
    }

    pub fn is(&self, reply: &Reply) -> bool {
        match (self, reply) {
            (Self::Is(wanted), _) => wanted == reply,
            (Self::Nil, _) => reply.is_nil(),
            (Self::Error(begin, tells), Reply::Error(line)) => line.starts_with(begin) && line.contains(tells),
            (Self::Fields(fields), Reply::Map(_) | Reply::Array(_)) => {
                fields.iter().all(|(name, wanted)| reply.field(name) == *wanted)
            }
            (Self::Items(wanted), Reply::Array(items)) => {
                wanted.len() == items.len() && wanted.iter().zip(items).all(|(wanted, item)| wanted.is(item))
            }
            (Self::Either(wanted), _) => wanted.iter().any(|wanted| wanted.is(reply)),
            (Self::Count, Reply::Int(_)) => true,
            _ => false,
        }
    }
}

/// A request that is under way.
pub struct Asked {
    /// As it was written, where it is to be shown.
    pub text: String,
    pub wanted: Wanted,
    /// What it adds to its client's count where it is executed.
    pub adds: i64,
    /// Where it ends among the bytes of its burst.
    end: usize,
}

/// Requests that are sent one behind the other.
#[derive(Default)]
pub struct Burst {
    pub bytes: Vec<u8>,
    /// Each has one reply.
    replies: VecDeque<Asked>,
    /// What comes by itself, RESP3 alone.
    pushes: VecDeque<Asked>,
    pub requests: usize,
}

impl Burst {
    pub fn ask<A: AsRef<[u8]>>(&mut self, request: &[A], wanted: Wanted) {
        self.ask_all(request, vec![wanted]);
    }

    /// A request with so many replies, or none.
    pub fn ask_all<A: AsRef<[u8]>>(&mut self, request: &[A], wanted: Vec<Wanted>) {
        self.raw(&encode(request), wanted, 0);
    }

    /// One that adds to the client's count.
    pub fn count<A: AsRef<[u8]>>(&mut self, request: &[A], wanted: Wanted, adds: i64) {
        self.raw(&encode(request), vec![wanted], adds);
    }

    pub fn raw(&mut self, bytes: &[u8], wanted: Vec<Wanted>, adds: i64) {
        self.bytes.extend_from_slice(bytes);
        self.requests += 1;
        let (text, end) = (show(&bytes[..bytes.len().min(100)]), self.bytes.len());
        self.replies.extend(wanted.into_iter().map(|wanted| Asked { text: text.clone(), wanted, adds, end }));
    }

    /// The first of which something is still owed.
    pub fn next(&self) -> String {
        let next = self.replies.front().or(self.pushes.front());
        next.map_or(String::new(), |asked| format!("{} is not answered", asked.text))
    }

    /// What the last request brings as a push.
    pub fn pushed(&mut self, wanted: Wanted) {
        self.pushes.push_back(Asked { text: "a push".into(), wanted, adds: 0, end: self.bytes.len() });
    }
}

/// How a burst ended where it did not go well.
pub enum Failed {
    /// The connection ended.
    Lost(io::Error),
    /// This is not what had to come.
    Wrong(String),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Lost(error)
    }
}

/// Sends a burst in pieces and hears its replies, at times before all of it is sent. What comes is given to `hear`, which says
/// whether it is right; where it fails the burst still has what was not answered.
pub fn play(
    conn: &mut Conn,
    dice: &mut Dice,
    burst: &mut Burst,
    mut hear: impl FnMut(&Asked, &Reply) -> bool,
) -> Result<(), Failed> {
    let in_one = dice.below(2) == 0;
    let mut at = 0;
    while at < burst.bytes.len() {
        let left = burst.bytes.len() - at;
        let most = [1, 2, 7, 30, 100, 1000, 5000][dice.below(7) as usize];
        let piece = if in_one { left } else { left.min(most) };
        conn.try_send(&burst.bytes[at..at + piece])?;
        at += piece;
        // What was sent is then taken by itself, and what of it is no whole request waits for its rest.
        if at < burst.bytes.len() && dice.below(4) == 0 {
            hear_until(conn, burst, at, &mut hear)?;
        }
    }
    hear_until(conn, burst, at, &mut hear)
}

/// All that requests bring which end there, or before.
fn hear_until(
    conn: &mut Conn,
    burst: &mut Burst,
    end: usize,
    hear: &mut impl FnMut(&Asked, &Reply) -> bool,
) -> Result<(), Failed> {
    let is_owed = |all: &VecDeque<Asked>| all.front().is_some_and(|asked| asked.end <= end);
    while is_owed(&burst.replies) || is_owed(&burst.pushes) {
        let reply = conn.try_reply()?;
        let is_push = matches!(reply, Reply::Push(_));
        let from = if is_push { &mut burst.pushes } else { &mut burst.replies };
        let Some(asked) = from.front() else { return Err(Failed::Wrong(format!("nobody asked for {reply:?}"))) };
        if !hear(asked, &reply) {
            return Err(Failed::Wrong(format!("{} wants {:?} and got {reply:?}", asked.text, asked.wanted)));
        }
        from.pop_front();
    }
    Ok(())
}

/// What the requests add to the count that are not answered.
pub fn unanswered(burst: &Burst) -> i64 {
    burst.replies.iter().map(|asked| asked.adds).sum()
}
