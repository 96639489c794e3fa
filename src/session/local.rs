//! What the sidecar answers itself, as Redis would.

use super::core::{Asked, Core, Lane, On, Phase, ReplyMode, Step, Wait, Waiting};
use crate::command::{Args, Hello, Local};
use crate::metrics::{ErrorKind, ErrorOrigin, Route};
use crate::resp::{Proto, ReplyQueue, write};
use crate::upstream::link::state::Watch;
use crate::upstream::refusal::Reader;
use crate::upstream::stream::{Credentials, Greeting, with_id};
use bytes::{Bytes, BytesMut};
use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

const LOST: &[u8] = b"-UNAVAILABLE the connection to the upstream was lost; this did nothing\r\n";
/// The sidecar's figures are read as text: it takes as long as so many requests more.
const TURNS_FOR_INFO: u32 = 31;
const BAD_NAME: &str = "ERR Client names cannot contain spaces, newlines or special characters.";

impl Core {
    pub(super) fn answer(&mut self, local: Local, args: &Args<'_>) -> Step {
        match local {
            Local::Select => return self.select(args.get(1).unwrap_or_default()),
            Local::Hello => return self.hello(args),
            Local::Auth => return self.auth(args),
            Local::Reset => return self.reset(),
            Local::ClientReply => return self.client_reply(args),
            Local::Quit => self.phase = Phase::Finishing,
            _ => {}
        }
        self.count(Route::Local);
        if let Some(answer) = self.answer_of(local, args) {
            self.push(&answer);
        }
        Step::Done
    }

    /// The answer to a command that changes nothing but what the sidecar keeps of the client. None: it does more than that.
    pub(super) fn answer_of(&mut self, local: Local, args: &Args<'_>) -> Option<BytesMut> {
        let mut out = BytesMut::new();
        match local {
            Local::Ping if args.len() == 1 => write::simple(&mut out, "PONG"),
            Local::Ping => write::bulk(&mut out, args.get(1).unwrap_or_default()),
            Local::Quit => write::simple(&mut out, "OK"),
            Local::Info => {
                self.take_turns(TURNS_FOR_INFO);
                self.publish_refused();
                return Some(self.own_info());
            }
            Local::Select | Local::Hello | Local::Auth | Local::Reset | Local::ClientReply => return None,
        }
        Some(out)
    }

    fn client_reply(&mut self, args: &Args<'_>) -> Step {
        let mode = match () {
            () if args.is(2, "ON") => Some(ReplyMode::On),
            () if args.is(2, "OFF") => Some(ReplyMode::Off),
            () if args.is(2, "SKIP") => Some(ReplyMode::SkipNext),
            () => None,
        };
        // A user of the client's own need not have the right to it.
        let greeting = self.greeting();
        if greeting.identity.is_some() {
            let lane = if self.pin.is_some() { Lane::Pinned } else { Lane::Link };
            if !self.enter(lane) {
                return Step::Blocked;
            }
            let here = Rc::new(RefCell::new(None));
            self.ask_here(&[b"CLIENT", b"REPLY", b"ON"], &here);
            self.wait = Some(Wait { greeting, request: Waiting::Replies(mode), on: On::Here(here) });
        } else {
            self.set_replies(mode);
        }
        self.count(Route::Local);
        Step::Done
    }

    /// On the client's way, with the reply put here and not shown to it.
    fn ask_here(&mut self, words: &[&[u8]], here: &Rc<RefCell<Option<BytesMut>>>) {
        let (mut request, here) = (BytesMut::new(), Rc::clone(here));
        write::request(&mut request, words);
        let watch = Watch::rewrite(move |reply, _| {
            *here.borrow_mut() = Some(BytesMut::from(reply));
            BytesMut::new()
        });
        let ticket = self.replies.muted_ticket();
        match &self.pin {
            Some(pin) => pin.send(&request, ticket, watch),
            None => self.shared_link().send(&request, ticket, watch),
        }
    }

    fn set_replies(&mut self, mode: Option<ReplyMode>) {
        match mode {
            Some(ReplyMode::SkipNext) if self.client.replies == ReplyMode::Off => {}
            Some(mode) => self.client.replies = mode,
            None => self.push(b"-ERR syntax error\r\n"),
        }
        if mode == Some(ReplyMode::On) {
            self.push(b"+OK\r\n");
        }
    }

    /// The client is new again, but for its id.
    fn reset(&mut self) -> Step {
        if self.replies.waiting() > 0 {
            return Step::Blocked;
        }
        // What its own connection remembers is gone before the client is told so, a subscription before others publish.
        let has_state = self.pin.as_ref().is_some_and(|pin| !pin.is_closed() && !pin.remembered().is_clean());
        if has_state && !std::mem::replace(&mut self.resetting, true) && self.enter(Lane::Pinned) {
            if let Some(pin) = &self.pin {
                pin.reset(&self.home_greeting(Proto::Resp2), &self.replies);
            }
            return Step::Blocked;
        }
        self.resetting = false;
        self.count(Route::Local);
        (self.pin, self.link) = (None, None);
        self.come_in();
        if self.phase == Phase::Finishing {
            // It was told that it cannot come in: that is its reply.
            return Step::Done;
        }
        self.entry.state().name.clear();
        // SKIP is for this request, OFF is over with it.
        if self.client.replies != ReplyMode::Skip {
            self.client.replies = ReplyMode::On;
        }
        self.publish_client();
        self.push(b"+RESET\r\n");
        Step::Done
    }

    fn select(&mut self, index: &[u8]) -> Step {
        if self.replies.waiting() > 0 {
            return Step::Blocked;
        }
        self.count(Route::Local);
        match strict_integer(index).map(|index| (i32::try_from(index), u32::try_from(index))) {
            None => self.push(b"-ERR value is not an integer or out of range\r\n"),
            Some((Err(_), _)) => {
                self.push(b"-ERR value is out of range, value must between -2147483648 and 2147483647\r\n");
            }
            Some((Ok(_), Err(_))) => self.push(b"-ERR DB index is out of range\r\n"),
            Some((Ok(_), Ok(db))) if db == self.client.greeting.db => self.push(b"+OK\r\n"),
            Some((Ok(_), Ok(db))) => {
                let greeting = Greeting { db, selected_as: None, ..self.client.greeting.clone() };
                self.wait_for(greeting, Waiting::Plain, false);
            }
        }
        Step::Done
    }

    fn hello(&mut self, args: &Args<'_>) -> Step {
        if self.replies.waiting() > 0 {
            return Step::Blocked;
        }
        self.count(Route::Local);
        let Some(hello) = Hello::parse(args) else { return Step::Done };
        if hello.name.is_some_and(|name| !is_printable(name)) {
            self.push(format!("-{BAD_NAME}\r\n").as_bytes());
            return Step::Done;
        }
        let mut greeting = self.client.greeting.clone();
        greeting.proto = hello.proto.unwrap_or(greeting.proto);
        if let Some((user, password)) = hello.auth {
            greeting.become_user(Rc::new(Credentials::new(vec![user.to_vec(), password.to_vec()])));
        }
        let name = hello.name.map(<[u8]>::to_vec);
        self.wait_for(greeting, Waiting::Hello { name }, hello.auth.is_some());
        Step::Done
    }

    fn auth(&mut self, args: &Args<'_>) -> Step {
        if self.replies.waiting() > 0 {
            return Step::Blocked;
        }
        self.count(Route::Local);
        let credentials = Credentials::new(args.from(1).map(<[u8]>::to_vec).collect());
        let mut greeting = self.client.greeting.clone();
        greeting.become_user(Rc::new(credentials));
        self.wait_for(greeting, Waiting::Plain, true);
        Step::Done
    }

    /// Nothing more of this client is taken until the upstream agrees.
    fn wait_for(&mut self, greeting: Greeting, request: Waiting, credentials: bool) {
        let on = if credentials { On::Nothing } else { On::Link(self.context.links.shared(&greeting)) };
        self.wait = Some(Wait { greeting, request, on });
    }

    /// Goes on with what waits for a link. Returns whether it was answered.
    pub(super) fn poll_wait(&mut self, cx: &mut Context<'_>) -> bool {
        // Looked at before it is taken out: each poll comes by here, and it is large.
        let answered = self.wait.is_some() && self.poll_answer(cx);
        if answered {
            self.request_is_over();
        }
        answered
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(mut wait) = self.wait.take() else { return false };
        if let On::Proof(proof, proto) = &mut wait.on {
            let proto = *proto;
            let Poll::Ready(tenant) = proof.as_mut().poll(cx) else {
                self.wait = Some(wait);
                return false;
            };
            if self.proved(tenant, &mut wait, proto) {
                return true;
            }
        }
        if let On::Task(task) = &mut wait.on {
            let Poll::Ready(answer) = task.as_mut().poll(cx) else {
                self.wait = Some(wait);
                return false;
            };
            self.push(&answer);
            return true;
        }
        let agreed = match &mut wait.on {
            On::Here(here) => match here.take() {
                Some(line) if line.starts_with(b"-") => Poll::Ready(Err(line)),
                Some(line) => Poll::Ready(Ok(line.freeze())),
                None if self.replies.waiting() > 0 => Poll::Pending,
                None => Poll::Ready(Err(BytesMut::from(LOST))),
            },
            On::Link(link) => link.poll_up(cx).map_err(|error| match wait.request {
                // Of HELLO it says more.
                Waiting::Hello { .. } if error.is_noauth() && link.reader() == Reader::Anybody => {
                    BytesMut::from(format!("-{error}\r\n").as_bytes())
                }
                _ => BytesMut::from(link.reader().refusal(&error).as_bytes()),
            }),
            on => self.poll_proof(cx, on, &wait.greeting),
        };
        let hello = match agreed {
            Poll::Pending => {
                self.wait = Some(wait);
                return false;
            }
            Poll::Ready(Ok(hello)) => hello,
            Poll::Ready(Err(line)) => {
                if line.starts_with(b"-UNAVAILABLE") {
                    self.context.metrics.error(ErrorOrigin::Upstream, ErrorKind::Unavailable);
                }
                self.push(&line);
                return true;
            }
        };
        if let Waiting::Replies(mode) = wait.request {
            self.set_replies(mode);
            return true;
        }
        self.client.greeting = wait.greeting;
        self.link = match wait.on {
            On::Link(link) => {
                if self.client.greeting.identity.is_some() {
                    link.join(&self.replies);
                }
                Some(link)
            }
            On::Nothing | On::Prover { .. } | On::Here(_) | On::Proof(..) | On::Task(_) => None,
        };
        self.publish_client();
        self.learn_commands();
        match wait.request {
            Waiting::Plain | Waiting::Replies(_) => self.push(b"+OK\r\n"),
            Waiting::Hello { name } => {
                if let Some(name) = name {
                    self.entry.state().name = name;
                }
                self.push(&with_id(&hello, self.entry.id()));
            }
        }
        true
    }

    /// The upstream's reply to HELLO where it takes the credentials, or else its refusal.
    fn poll_proof(&self, cx: &mut Context<'_>, on: &mut On, greeting: &Greeting) -> Poll<Result<Bytes, BytesMut>> {
        if let On::Prover { link, next: Some(_), .. } = on
            && link.is_closed()
        {
            // A warm one that the upstream had closed: it proves nothing.
            *on = On::Nothing;
        }
        if let On::Nothing = on {
            let replies = ReplyQueue::new(usize::MAX);
            let link = ready!(self.context.links.prover(&replies, greeting, cx));
            let next = link.is_up().then_some(Asked::Nothing);
            *on = On::Prover { link, replies, next };
        }
        let On::Prover { link, replies, next } = on else { return Poll::Pending };
        let hello = match ready!(link.poll_up(cx)) {
            Ok(hello) => hello,
            Err(error) => return Poll::Ready(Err(BytesMut::from(link.reader().refusal(&error).as_bytes()))),
        };
        let (Some(asked), Some(credentials)) = (next, &greeting.identity) else { return Poll::Ready(Ok(hello)) };
        loop {
            replies.register(cx.waker());
            if replies.waiting() > 0 {
                return Poll::Pending;
            }
            let reply = replies.take_ready();
            if reply.starts_with(b"-") {
                return Poll::Ready(Err(BytesMut::from(&reply[..])));
            }
            let mut request = BytesMut::new();
            *asked = match asked {
                Asked::Nothing => {
                    credentials.write_auth(&mut request);
                    Asked::Auth
                }
                // It may have been made for another protocol.
                Asked::Auth => {
                    let version: &[u8] = if greeting.proto == Proto::Resp3 { b"3" } else { b"2" };
                    write::request(&mut request, &[b"HELLO", version]);
                    Asked::Hello
                }
                Asked::Hello => return Poll::Ready(Ok(reply)),
            };
            link.send(&request, replies.ticket(), None);
        }
    }
}

/// As Redis reads an integer: no `+`, no leading zero, no `-0`.
pub(super) fn strict_integer(text: &[u8]) -> Option<i64> {
    let integer = std::str::from_utf8(text).ok()?.parse::<i64>().ok()?;
    (itoa::Buffer::new().format(integer).as_bytes() == text).then_some(integer)
}

/// As Redis checks names: no blanks, nothing that would break CLIENT LIST.
pub(super) fn is_printable(name: &[u8]) -> bool {
    name.iter().all(|byte| (b'!'..=b'~').contains(byte))
}
