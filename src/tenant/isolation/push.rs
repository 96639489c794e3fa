//! What the upstream sends unasked: messages, invalidations, and the acknowledgements of subscriptions. What is not recognised
//! for sure is not shown.

#[cfg(test)]
mod tests;

use super::{KeySpace, back::error_inside};
use crate::resp::{values, write};
use bytes::BytesMut;

/// Over RESP2 a client that redirects its invalidations to itself reads them on this channel. Who else publishes there is not
/// believed: a message has a text, an invalidation an array or null.
const INVALIDATIONS: &[u8] = b"__redis__:invalidate";

/// One whole frame (a RESP3 push, or in RESP2 the array of a message or an acknowledgement) as the tenant is to see it. None:
/// it is not to see it.
///
/// An error, and RESP2's answer to PING among subscriptions, may come in the same place and are told as elsewhere.
#[must_use]
pub fn inside(frame: &[u8], space: &KeySpace) -> Option<BytesMut> {
    if values::is_error(frame) {
        return Some(error_inside(frame, space));
    }
    let mut opened = values::open(frame).filter(|opened| matches!(opened.kind, b'*' | b'>') && opened.count <= 4)?;
    let mut words: [&[u8]; 4] = [b""; 4];
    for (word, value) in words.iter_mut().zip(opened.values.by_ref()) {
        *word = value;
    }
    if !opened.values.is_whole() {
        return None;
    }
    let kind = values::bulk(words[0])?;
    let mut out = BytesMut::with_capacity(frame.len());
    out.extend_from_slice(opened.header);
    out.extend_from_slice(words[0]);
    match (kind, &words[1..opened.count]) {
        (b"message" | b"smessage", [channel, payload]) => message(values::bulk(channel)?, payload, space, &mut out)?,
        (b"pmessage", [pattern, channel, payload]) => {
            write::bulk(&mut out, &subscribed(values::bulk(pattern)?, space)?);
            message(values::bulk(channel)?, payload, space, &mut out)?;
        }
        (
            b"subscribe" | b"unsubscribe" | b"psubscribe" | b"punsubscribe" | b"ssubscribe" | b"sunsubscribe",
            [channel, count],
        ) if count.first() == Some(&b':') => {
            match values::bulk(channel) {
                Some(channel) => write::bulk(&mut out, &subscribed(channel, space)?),
                None if values::is_null(channel) => out.extend_from_slice(channel),
                None => return None,
            }
            out.extend_from_slice(count);
        }
        (b"invalidate", [keys]) if opened.kind == b'>' => out.extend_from_slice(&invalidated(keys, space)?),
        (b"pong", [_]) if opened.kind == b'*' => out.extend_from_slice(words[1]),
        _ => return None,
    }
    Some(out)
}

/// A channel that bears the tenant's name, in its own spelling: `acme:c`, and of keyspace events `__keyspace@0__:acme:k`, where the
/// key keeps its place.
pub(super) fn channel(channel: &[u8], space: &KeySpace) -> Option<BytesMut> {
    if let Some(name) = space.inside(channel) {
        return Some(BytesMut::from(name));
    }
    let (before, key) = event_channel(channel, b"__keyspace@")?;
    let key = space.inside(key)?;
    let mut out = BytesMut::with_capacity(before.len() + key.len());
    out.extend_from_slice(before);
    out.extend_from_slice(key);
    Some(out)
}

/// What the client itself subscribed to, a channel or a pattern. The channels that are everybody's are called the same inside.
fn subscribed(name: &[u8], space: &KeySpace) -> Option<BytesMut> {
    let shared = name == INVALIDATIONS || name.starts_with(b"__key");
    channel(name, space).or_else(|| shared.then(|| BytesMut::from(name)))
}

/// A message's channel and payload. None: it is of something that is not the tenant's.
fn message(name: &[u8], payload: &[u8], space: &KeySpace, out: &mut BytesMut) -> Option<()> {
    if let Some(name) = channel(name, space) {
        values::bulk(payload)?;
        write::bulk(out, &name);
        out.extend_from_slice(payload);
        return Some(());
    }
    write::bulk(out, name);
    if name == INVALIDATIONS {
        out.extend_from_slice(&invalidated(payload, space)?);
    } else {
        // The event is in the channel's name, the key is the message.
        event_channel(name, b"__keyevent@").filter(|(_, event)| is_event(event))?;
        write::bulk(out, space.inside(values::bulk(payload)?)?);
    }
    Some(())
}

/// Redis's own are words; any other may have been somebody's to choose.
fn is_event(event: &[u8]) -> bool {
    !event.is_empty() && event.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
}

/// The keys that changed; null: all did, by FLUSHALL. None: none of them is the tenant's.
fn invalidated(keys: &[u8], space: &KeySpace) -> Option<BytesMut> {
    if values::is_null(keys) {
        return Some(BytesMut::from(keys));
    }
    let mut opened = values::open(keys).filter(|opened| opened.kind == b'*')?;
    let mut out = values::Filtered::new(b'*', keys.len());
    for key in opened.values.by_ref() {
        if let Some(key) = values::bulk(key).and_then(|key| space.inside(key)) {
            write::bulk(out.add(), key);
        }
    }
    (opened.values.is_whole() && out.count() > 0).then(|| out.finish())
}

/// `__keyspace@0__:` and what stands behind it. The database may be a glob where this is a pattern.
fn event_channel<'n>(name: &'n [u8], begin: &[u8]) -> Option<(&'n [u8], &'n [u8])> {
    let rest = name.strip_prefix(begin)?;
    let end = begin.len() + memchr::memmem::find(rest, b"__:")? + b"__:".len();
    Some(name.split_at(end))
}
