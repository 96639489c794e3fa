//! What the sidecar answers itself, as Redis would.

use super::core::{Core, Phase, Proof, ReplyMode, Step, Wait, Waiting};
use crate::command::{Args, Hello, Local};
use crate::metrics::Route;
use crate::resp::{Proto, ReplyQueue, write};
use crate::upstream::stream::{Credentials, Greeting, with_id};
use bytes::BytesMut;
use std::rc::Rc;
use std::task::{Context, Poll};

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
        let arg = |index| args.get(index).unwrap_or_default();
        match local {
            Local::Ping if args.len() == 1 => write::simple(&mut out, "PONG"),
            Local::Ping => write::bulk(&mut out, args.get(1).unwrap_or_default()),
            Local::Quit => write::simple(&mut out, "OK"),
            Local::ClientGetName => match &self.entry.state().name {
                name if name.is_empty() => write::null(&mut out, self.greeting().proto),
                name => write::bulk(&mut out, name),
            },
            Local::ClientSetName if is_printable(arg(2)) => {
                self.entry.state().name = arg(2).to_vec();
                write::simple(&mut out, "OK");
            }
            Local::ClientSetName => write::error(&mut out, BAD_NAME),
            Local::Info => return Some(self.own_info()),
            Local::Select | Local::Hello | Local::Auth | Local::Reset | Local::ClientReply => return None,
        }
        Some(out)
    }

    fn client_reply(&mut self, args: &Args<'_>) -> Step {
        self.count(Route::Local);
        match () {
            () if args.is(2, "ON") => {
                self.client.replies = ReplyMode::On;
                self.push(b"+OK\r\n");
            }
            () if args.is(2, "OFF") => self.client.replies = ReplyMode::Off,
            () if args.is(2, "SKIP") => {
                if self.client.replies != ReplyMode::Off {
                    self.client.replies = ReplyMode::SkipNext;
                }
            }
            () => self.push(b"-ERR syntax error\r\n"),
        }
        Step::Done
    }

    /// The client is new again, but for its id. What its own connection remembers goes with that.
    fn reset(&mut self) -> Step {
        if self.replies.waiting() > 0 {
            return Step::Blocked;
        }
        self.count(Route::Local);
        (self.pin, self.link) = (None, None);
        self.client.greeting = self.context.links.first_greeting(Proto::Resp2);
        self.entry.state().name.clear();
        self.client.replies = ReplyMode::On;
        self.publish_client();
        self.push(b"+RESET\r\n");
        Step::Done
    }

    fn select(&mut self, index: &[u8]) -> Step {
        if self.replies.waiting() > 0 {
            return Step::Blocked;
        }
        self.count(Route::Local);
        match strict_integer(index).map(u32::try_from) {
            None => self.push(b"-ERR value is not an integer or out of range\r\n"),
            Some(Err(_)) => self.push(b"-ERR DB index is out of range\r\n"),
            Some(Ok(db)) if db == self.client.greeting.db => self.push(b"+OK\r\n"),
            Some(Ok(db)) => {
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

    /// Nothing more of this client is taken until a link is what it is to be.
    fn wait_for(&mut self, greeting: Greeting, request: Waiting, credentials: bool) {
        let link = self.context.links.shared(&greeting);
        let proof = if credentials && link.is_up() { Proof::Wanted } else { Proof::Given };
        self.wait = Some(Wait { link, greeting, request, proof });
    }

    /// Goes on with what waits for a link. Returns whether it was answered.
    pub(super) fn poll_wait(&mut self, cx: &mut Context<'_>) -> bool {
        let answered = self.poll_answer(cx);
        if answered {
            self.request_is_over();
        }
        answered
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(mut wait) = self.wait.take() else { return false };
        let hello = match wait.link.poll_up(cx) {
            Poll::Pending => {
                self.wait = Some(wait);
                return false;
            }
            Poll::Ready(Ok(hello)) => hello,
            Poll::Ready(Err(error)) => {
                self.refuse_unconnected(&error);
                return true;
            }
        };
        if let (Proof::Wanted, Some(credentials)) = (&wait.proof, &wait.greeting.identity) {
            // The link has these credentials already, so whatever the answer it stays what it is.
            let (asked, mut auth) = (ReplyQueue::new(usize::MAX), BytesMut::new());
            credentials.write_auth(&mut auth);
            wait.link.send(&auth, asked.ticket(), None);
            wait.proof = Proof::Asked(asked);
        }
        if let Proof::Asked(asked) = &wait.proof {
            asked.register(cx.waker());
            if asked.waiting() > 0 {
                self.wait = Some(wait);
                return false;
            }
            let mut reply = BytesMut::new();
            let _ = asked.with_ready(|ready| {
                reply.extend_from_slice(ready);
                Ok::<_, std::convert::Infallible>(ready.len())
            });
            if !reply.starts_with(b"+") {
                self.push(&reply);
                return true;
            }
        }
        self.client.greeting = wait.greeting;
        self.link = Some(wait.link);
        self.publish_client();
        match wait.request {
            Waiting::Plain => self.push(b"+OK\r\n"),
            Waiting::Hello { name } => {
                if let Some(name) = name {
                    self.entry.state().name = name;
                }
                self.push(&with_id(&hello, self.entry.id));
            }
        }
        true
    }
}

/// As Redis reads an integer: no `+`, no leading zero, no `-0`.
pub(super) fn strict_integer(text: &[u8]) -> Option<i32> {
    let integer = std::str::from_utf8(text).ok()?.parse::<i32>().ok()?;
    (itoa::Buffer::new().format(integer).as_bytes() == text).then_some(integer)
}

/// As Redis checks names: no blanks, nothing that would break CLIENT LIST.
fn is_printable(name: &[u8]) -> bool {
    name.iter().all(|byte| (b'!'..=b'~').contains(byte))
}
