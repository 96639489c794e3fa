//! What an isolated tenant asks of all its keys: KEYS, DBSIZE, RANDOMKEY, FLUSHDB, answered from a SCAN of its own, a page at a
//! time; and its SCAN, in the same turns ([`super::walks`]).

use super::core::{Core, On, Step, Wait, Waiting};
use super::rewritten::{request, rewrite};
use super::walks::Walker;
use crate::command::{self, Args};
use crate::metrics::{ErrorKind, Refused, Route};
use crate::resp::{Proto, ReplyQueue, decode_reply, write};
use crate::tenant::Walk;
use crate::tenant::isolation::{Back, KeySpace, Own};
use crate::upstream::link::state::Watch;
use crate::upstream::links::SharedLink;
use bytes::{Bytes, BytesMut};
use redis_protocol::resp3::types::BytesFrame;
use std::collections::HashSet;
use std::future::poll_fn;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

/// Keys that the upstream looks at for one page: a tenth of a millisecond of its time.
const PAGE: &[u8] = b"1000";
const IN_MULTI: &[u8] = b"-NOPERM what speaks of all keys or channels is not served inside MULTI for this tenant; EXEC will abort this transaction\r\n";

const TOO_MANY_WALKS: &[u8] =
    b"-OVERLOADED too many of this tenant's clients ask for all keys at once (KEYS, SCAN, DBSIZE, RANDOMKEY, FLUSHDB); this was not sent\r\n";

/// Makes the answer to one request of several questions upstream.
pub(super) type Task = Pin<Box<dyn Future<Output = BytesMut>>>;

/// A page, or the upstream's refusal.
type Page = Result<(Vec<u8>, Vec<Bytes>), BytesMut>;

impl Core {
    pub(super) fn ask_about_keys(&mut self, own: Own) -> Step {
        let (proto, walker) = match self.walker() {
            Ok(walker) => walker,
            Err(step) => return step,
        };
        let space = self.room.tenant.space.clone();
        let task: Task = match own {
            Own::DbSize => Box::pin(count(walker, space)),
            Own::RandomKey => Box::pin(random(walker, space, proto)),
            Own::FlushDb => Box::pin(flush(walker, space)),
            Own::Session => return Step::Done,
        };
        self.wait_for_task(task)
    }

    /// KEYS, with this pattern upstream.
    pub(super) fn ask_for_keys(&mut self, pattern: Vec<u8>) -> Step {
        let (_, walker) = match self.walker() {
            Ok(walker) => walker,
            Err(step) => return step,
        };
        let space = self.room.tenant.space.clone();
        self.wait_for_task(Box::pin(keys(walker, space, pattern)))
    }

    /// SCAN, in the upstream's words: one page.
    pub(super) fn ask_for_page(&mut self, frame: BytesMut, back: Back) -> Step {
        let (proto, walker) = match self.walker() {
            Ok(walker) => walker,
            Err(step) => return step,
        };
        let space = self.room.tenant.space.clone();
        self.wait_for_task(Box::pin(async move { back.apply(&walker.ask(&frame).await, &space, proto) }))
    }

    /// What asks for pages, as the sidecar's own user: the tenant's need not have the right to SCAN, which its scripts must not
    /// have.
    fn walker(&mut self) -> Result<(Proto, Walker), Step> {
        let proto = self.may_ask()?;
        let live = &self.room.tenant.live;
        let Some(counted) = Walk::new(live) else {
            return Err(self.refuse_walk());
        };
        let link = self.context.links.shared(&self.context.links.first_greeting(Proto::Resp2));
        let (live, pages) = (std::sync::Arc::clone(live), self.context.pages.clone());
        Ok((proto, Walker { link, live, pages, _counted: counted }))
    }

    fn refuse_walk(&mut self) -> Step {
        self.room.own.metrics.refused(Refused::Overloaded).increment(1);
        self.refuse(ErrorKind::Overloaded, TOO_MANY_WALKS)
    }

    /// A request that the sidecar asks as its own user, and gives back in the tenant's names.
    pub(super) fn ask_as_sidecar(
        &mut self,
        args: &Args<'_>,
        route: command::Route,
        frame: &[u8],
        back: Option<Back>,
    ) -> Step {
        let proto = match self.may_ask() {
            Ok(proto) => proto,
            Err(step) => return step,
        };
        let link = self.context.links.shared(&self.context.links.first_greeting(proto));
        let space = self.room.tenant.space.clone();
        let (asked, rewrite) = match (back, route) {
            (Some(back), _) => (None, Some(rewrite(move |reply, proto| back.apply(reply, &space, proto)))),
            (None, command::Route::Rewritten(which)) => self.rewriting(which, frame, args).unzip(),
            (None, _) => (None, None),
        };
        let request = asked.flatten().unwrap_or_else(|| BytesMut::from(frame));
        let (own, on_error) = (Rc::clone(&self.room.own), Rc::clone(&self.room.on_error));
        self.wait_for_task(Box::pin(async move {
            let reply = ask_frame(&link, &request).await;
            // A list of thousands of clients takes milliseconds: one of them at a time, and others between.
            let _turn = own.lists.acquire().await;
            tokio::task::yield_now().await;
            let told = rewrite.map_or_else(|| reply.clone(), |rewrite| rewrite(&reply, proto));
            // The sidecar's own user is named in what it may not do.
            if told.starts_with(b"-") { on_error(&told, proto) } else { told }
        }))
    }

    /// The protocol of an answer that takes several questions, or None of them can be asked now.
    fn may_ask(&mut self) -> Result<Proto, Step> {
        if self.replies.waiting() > 0 {
            return Err(Step::Blocked);
        }
        let (in_multi, proto) = match &self.pin {
            Some(pin) => (pin.remembered().in_multi, pin.remembered().greeting.proto),
            None => (false, self.client.greeting.proto),
        };
        if in_multi { Err(self.refuse_in_multi(IN_MULTI)) } else { Ok(proto) }
    }

    fn wait_for_task(&mut self, task: Task) -> Step {
        self.count(Route::Link);
        let greeting = self.client.greeting.clone();
        self.wait = Some(Wait { greeting, request: Waiting::Plain, on: On::Task(task) });
        Step::Done
    }
}

async fn ask_frame(link: &SharedLink, frame: &[u8]) -> BytesMut {
    ask_watched(link, frame, None).await
}

/// The reply; `watch` sees it also where nobody waits for it any more.
pub(super) async fn ask_watched(link: &SharedLink, frame: &[u8], watch: Option<Box<Watch>>) -> BytesMut {
    let replies = ReplyQueue::new(usize::MAX);
    link.send(frame, replies.ticket(), watch);
    poll_fn(|cx| {
        replies.register(cx.waker());
        if replies.waiting() > 0 { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    BytesMut::from(&replies.take_ready()[..])
}

async fn page(walker: &Walker, space: &KeySpace, cursor: &[u8]) -> Page {
    page_of(walker, space, cursor, &[space.prefix(), b"*"].concat()).await
}

/// `pattern` is one of the upstream's names.
async fn page_of(walker: &Walker, space: &KeySpace, cursor: &[u8], pattern: &[u8]) -> Page {
    let reply = walker.ask(&request(&[b"SCAN", cursor, b"MATCH", pattern, b"COUNT", PAGE])).await;
    let reply = reply.freeze();
    let refused = || Err(refusal(&reply, space));
    let Ok(BytesFrame::Array { data, .. }) = decode_reply(&reply) else { return refused() };
    let (Some(BytesFrame::BlobString { data: cursor, .. }), Some(BytesFrame::Array { data: keys, .. })) =
        (data.first(), data.get(1))
    else {
        return refused();
    };
    let keys = keys.iter().filter_map(|key| match key {
        BytesFrame::BlobString { data, .. } if space.inside(data).is_some() => Some(data.clone()),
        _ => None,
    });
    Ok((cursor.to_vec(), keys.collect()))
}

/// The upstream's refusal of what the sidecar asked as its own user.
fn refusal(reply: &[u8], space: &KeySpace) -> BytesMut {
    Back::AsIs.apply(reply, space, Proto::Resp2)
}

async fn count(walker: Walker, space: KeySpace) -> BytesMut {
    let _turn = walker.begin().await;
    let (mut cursor, mut keys) = (b"0".to_vec(), 0);
    loop {
        match page(&walker, &space, &cursor).await {
            Ok((next, found)) => (cursor, keys) = (next, keys + found.len() as i64),
            Err(refusal) => return refusal,
        }
        if cursor == b"0" {
            break;
        }
    }
    let mut out = BytesMut::new();
    write::integer(&mut out, keys);
    out
}

/// SCAN may tell a key twice, and KEYS does not. Others have their turn between the keys of one page and the next, also where
/// the answer is put together.
async fn keys(walker: Walker, space: KeySpace, pattern: Vec<u8>) -> BytesMut {
    let _turn = walker.begin().await;
    let (mut cursor, mut seen) = (b"0".to_vec(), Seen::default());
    loop {
        match page_of(&walker, &space, &cursor, &pattern).await {
            Ok((next, found)) => {
                cursor = next;
                found.into_iter().for_each(|key| seen.insert(key));
            }
            Err(refusal) => return refusal,
        }
        if cursor == b"0" {
            break;
        }
    }
    let mut out = BytesMut::new();
    write::array_header(&mut out, seen.parts.iter().map(HashSet::len).sum());
    for part in seen.parts {
        let mut keys = part.iter().filter_map(|key| space.inside(key)).peekable();
        while keys.peek().is_some() {
            keys.by_ref().take(KEYS_A_TURN).for_each(|key| write::bulk(&mut out, key));
            tokio::task::yield_now().await;
        }
    }
    out
}

/// Keys of an answer that are written before others have their turn.
const KEYS_A_TURN: usize = 1000;
const PARTS: usize = 256;

/// Keys, each once. In parts, for a set that grows moves all that it has.
struct Seen {
    parts: Vec<HashSet<Bytes>>,
    by: RandomState,
}

impl Default for Seen {
    fn default() -> Self {
        Self { parts: vec![HashSet::new(); PARTS], by: RandomState::new() }
    }
}

impl Seen {
    fn insert(&mut self, key: Bytes) {
        let part = self.by.hash_one(&key) as usize % PARTS;
        self.parts[part].insert(key);
    }
}

/// Each page's keys stand the same chance, so that no second look is needed.
async fn random(walker: Walker, space: KeySpace, proto: Proto) -> BytesMut {
    let _turn = walker.begin().await;
    let (mut cursor, mut seen, mut chosen) = (b"0".to_vec(), 0_usize, None);
    loop {
        match page(&walker, &space, &cursor).await {
            Ok((next, found)) => {
                cursor = next;
                for key in found {
                    seen += 1;
                    if fastrand::usize(..seen) == 0 {
                        chosen = Some(key);
                    }
                }
            }
            Err(refusal) => return refusal,
        }
        if cursor == b"0" {
            break;
        }
    }
    let mut out = BytesMut::new();
    match chosen.as_deref().and_then(|key| space.inside(key)) {
        Some(key) => write::bulk(&mut out, key),
        None => write::null(&mut out, proto),
    }
    out
}

/// Keys that others of the tenant make meanwhile may stay, as they may come right after a FLUSHDB.
async fn flush(walker: Walker, space: KeySpace) -> BytesMut {
    let _turn = walker.begin().await;
    let mut cursor = b"0".to_vec();
    loop {
        match page(&walker, &space, &cursor).await {
            Ok((next, found)) => {
                cursor = next;
                let mut words: Vec<&[u8]> = vec![b"UNLINK"];
                words.extend(found.iter().map(|key| &key[..]));
                if words.len() > 1 {
                    let reply = walker.ask(&request(&words)).await;
                    if reply.starts_with(b"-") {
                        return refusal(&reply, &space);
                    }
                }
            }
            Err(refusal) => return refusal,
        }
        if cursor == b"0" {
            return BytesMut::from(&b"+OK\r\n"[..]);
        }
    }
}
