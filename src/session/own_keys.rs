//! What an isolated tenant asks of all its keys: DBSIZE, RANDOMKEY, FLUSHDB, answered from a SCAN of its own, a page at a time.

use super::core::{Core, On, Step, Wait, Waiting};
use super::rewritten::request;
use crate::command::Args;
use crate::metrics::Route;
use crate::resp::{Proto, ReplyQueue, decode_reply, write};
use crate::tenant::isolation::{KeySpace, Own};
use crate::upstream::links::SharedLink;
use bytes::{Bytes, BytesMut};
use redis_protocol::resp3::types::BytesFrame;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

/// Keys that the upstream looks at for one page: a tenth of a millisecond of its time.
const PAGE: &[u8] = b"1000";
const IN_MULTI: &[u8] = b"-NOPERM DBSIZE, RANDOMKEY, FLUSHDB and FLUSHALL are not served inside MULTI for this tenant; EXEC will abort this transaction\r\n";

/// Makes the answer to one request of several questions upstream.
pub(super) type Task = Pin<Box<dyn Future<Output = BytesMut>>>;

/// A page, or the upstream's refusal.
type Page = Result<(Vec<u8>, Vec<Bytes>), BytesMut>;

impl Core {
    pub(super) fn ask_about_keys(&mut self, own: Own, args: &Args<'_>) -> Step {
        if self.replies.waiting() > 0 {
            return Step::Blocked;
        }
        let (in_multi, proto) = match &self.pin {
            Some(pin) => (pin.remembered().in_multi, pin.remembered().greeting.proto),
            None => (false, self.client.greeting.proto),
        };
        if in_multi {
            return self.refuse_in_multi(IN_MULTI);
        }
        if args.len() > 1 && matches!(own, Own::DbSize | Own::RandomKey) {
            let name = if own == Own::DbSize { "dbsize" } else { "randomkey" };
            self.push(format!("-ERR wrong number of arguments for '{name}' command\r\n").as_bytes());
            return Step::Done;
        }
        // Its own user need not have the right to SCAN, which its scripts must not have.
        let link = self.context.links.shared(&self.context.links.first_greeting(Proto::Resp2));
        let space = self.room.tenant.space.clone();
        let task: Task = match own {
            Own::DbSize => Box::pin(count(link, space)),
            Own::RandomKey => Box::pin(random(link, space, proto)),
            Own::FlushDb => Box::pin(flush(link, space)),
            Own::Session => return Step::Done,
        };
        self.count(Route::Link);
        let greeting = self.client.greeting.clone();
        self.wait = Some(Wait { greeting, request: Waiting::Plain, on: On::Task(task) });
        Step::Done
    }
}

async fn ask(link: &SharedLink, words: &[&[u8]]) -> BytesMut {
    let replies = ReplyQueue::new(usize::MAX);
    link.send(&request(words), replies.ticket(), None);
    poll_fn(|cx| {
        replies.register(cx.waker());
        if replies.waiting() > 0 { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    BytesMut::from(&replies.take_ready()[..])
}

async fn page(link: &SharedLink, space: &KeySpace, cursor: &[u8]) -> Page {
    let pattern = [space.prefix(), b"*"].concat();
    let reply = ask(link, &[b"SCAN", cursor, b"MATCH", &pattern, b"COUNT", PAGE]).await;
    let reply = reply.freeze();
    let Ok(BytesFrame::Array { data, .. }) = decode_reply(&reply) else { return Err(BytesMut::from(&reply[..])) };
    let (Some(BytesFrame::BlobString { data: cursor, .. }), Some(BytesFrame::Array { data: keys, .. })) =
        (data.first(), data.get(1))
    else {
        return Err(BytesMut::from(&reply[..]));
    };
    let keys = keys.iter().filter_map(|key| match key {
        BytesFrame::BlobString { data, .. } if space.inside(data).is_some() => Some(data.clone()),
        _ => None,
    });
    Ok((cursor.to_vec(), keys.collect()))
}

async fn count(link: SharedLink, space: KeySpace) -> BytesMut {
    let (mut cursor, mut keys) = (b"0".to_vec(), 0);
    loop {
        match page(&link, &space, &cursor).await {
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

/// Each page's keys stand the same chance, so that no second look is needed.
async fn random(link: SharedLink, space: KeySpace, proto: Proto) -> BytesMut {
    let (mut cursor, mut seen, mut chosen) = (b"0".to_vec(), 0_usize, None);
    loop {
        match page(&link, &space, &cursor).await {
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
async fn flush(link: SharedLink, space: KeySpace) -> BytesMut {
    let mut cursor = b"0".to_vec();
    loop {
        match page(&link, &space, &cursor).await {
            Ok((next, found)) => {
                cursor = next;
                let mut words: Vec<&[u8]> = vec![b"UNLINK"];
                words.extend(found.iter().map(|key| &key[..]));
                if words.len() > 1 {
                    let reply = ask(&link, &words).await;
                    if reply.starts_with(b"-") {
                        return reply;
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
