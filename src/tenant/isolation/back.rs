//! The way back: a reply of the upstream's as the tenant is to see it. What has not the form that it must have is withheld,
//! never shown as it is.

mod error;
mod info;
mod parts;
#[cfg(test)]
mod tests;

pub(super) use error::inside as error_inside;
pub use parts::Parts;

use super::scripts::{Sha, hex};
use super::{KeySpace, push};
use crate::resp::{Proto, values, write};
use bytes::BytesMut;

/// What is to be made of the reply to a request that was rewritten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Back {
    /// Nothing; but an error loses the prefix wherever it quotes it. So it is with all others.
    AsIs,
    /// Null, or an array whose first element is a key: BLPOP, LMPOP, BZPOPMIN …
    FirstIsKey,
    /// Null, or streams by key, an array of pairs or in RESP3 a map: XREAD, XREADGROUP.
    Streams,
    /// An array of keys; those that are not the tenant's are left out: KEYS.
    Keys,
    /// A cursor and an array of keys, as in KEYS: SCAN.
    Scan,
    /// An array of channels, as in KEYS: PUBSUB CHANNELS, SHARDCHANNELS.
    Channels,
    /// Channel, count, channel, count …: PUBSUB NUMSUB, SHARDNUMSUB.
    ChannelCounts,
    /// CLIENT TRACKINGINFO, for its prefixes.
    TrackingInfo,
    /// SCRIPT EXISTS: 0 where the tenant has not sent the script itself.
    ScriptExists(Vec<bool>),
    /// SCRIPT LOAD: the name of the script as the tenant sent it.
    ScriptName(Sha),
    /// INFO: only the lines that say nothing of other tenants.
    Info,
}

impl Back {
    /// The reply, one whole frame, in the protocol that it is written in, as the tenant is to see it.
    #[must_use]
    pub fn apply(self, reply: &[u8], space: &KeySpace, _proto: Proto) -> BytesMut {
        let reply = without_attributes(reply);
        if self == Self::AsIs || values::is_error(reply) {
            return values::exchange_errors(reply, |error| error_inside(error, space));
        }
        // In MULTI it is queued, whatever it is.
        if reply == b"+QUEUED\r\n" {
            return BytesMut::from(reply);
        }
        let told = match self {
            Self::AsIs => None,
            Self::FirstIsKey => first_is_key(reply, space),
            Self::Streams => streams(reply, space),
            Self::Keys => names(reply, |key| space.inside(key).map(BytesMut::from)),
            Self::Scan => scan(reply, space),
            Self::Channels => names(reply, |channel| push::channel(channel, space)),
            Self::ChannelCounts => channel_counts(reply, space),
            Self::TrackingInfo => tracking_info(reply, space),
            Self::ScriptExists(sent) => script_exists(reply, &sent),
            Self::ScriptName(sha) => script_name(reply, &sha),
            Self::Info => info::inside(reply),
        };
        told.unwrap_or_else(withheld)
    }
}

/// In place of what is not understood: one value, so that all others stay in their places.
fn withheld() -> BytesMut {
    BytesMut::from(&b"-ERR the upstream's reply has an unknown form and is withheld\r\n"[..])
}

/// What it says of the reply beside it (how often keys are read, for one) is for nobody here.
fn without_attributes(mut reply: &[u8]) -> &[u8] {
    while let Some(behind) = values::behind_attribute(reply) {
        reply = behind;
    }
    reply
}

fn first_is_key(reply: &[u8], space: &KeySpace) -> Option<BytesMut> {
    if values::is_null(reply) {
        return Some(BytesMut::from(reply));
    }
    let mut opened = values::open(reply).filter(|opened| opened.kind == b'*')?;
    let key = space.inside(values::bulk(opened.values.next()?)?)?;
    let mut out = BytesMut::with_capacity(reply.len());
    out.extend_from_slice(opened.header);
    write::bulk(&mut out, key);
    out.extend_from_slice(opened.values.rest());
    Some(out)
}

fn streams(reply: &[u8], space: &KeySpace) -> Option<BytesMut> {
    if values::is_null(reply) {
        return Some(BytesMut::from(reply));
    }
    let mut opened = values::open(reply)?;
    let mut out = BytesMut::with_capacity(reply.len());
    out.extend_from_slice(opened.header);
    match opened.kind {
        b'*' => {
            for pair in opened.values.by_ref() {
                out.extend_from_slice(&first_is_key(pair, space).filter(|_| !values::is_null(pair))?);
            }
        }
        b'%' => {
            while let Some(key) = opened.values.next() {
                write::bulk(&mut out, space.inside(values::bulk(key)?)?);
                out.extend_from_slice(opened.values.next()?);
            }
        }
        _ => return None,
    }
    opened.values.is_whole().then_some(out)
}

/// The names of an array or a set that are the tenant's, in its spelling.
fn names(reply: &[u8], inside: impl Fn(&[u8]) -> Option<BytesMut>) -> Option<BytesMut> {
    let mut opened = values::open(reply).filter(|opened| matches!(opened.kind, b'*' | b'~'))?;
    let mut out = values::Filtered::new(opened.kind, reply.len());
    for name in opened.values.by_ref() {
        if let Some(name) = values::bulk(name).and_then(&inside) {
            write::bulk(out.add(), &name);
        }
    }
    opened.values.is_whole().then(|| out.finish())
}

fn scan(reply: &[u8], space: &KeySpace) -> Option<BytesMut> {
    let mut opened = values::open(reply).filter(|opened| opened.kind == b'*' && opened.count == 2)?;
    let (cursor, keys) = (opened.values.next()?, opened.values.next()?);
    if !opened.values.is_whole() || !values::bulk(cursor)?.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let keys = names(keys, |key| space.inside(key).map(BytesMut::from))?;
    Some(join(&[opened.header, cursor, &keys]))
}

fn channel_counts(reply: &[u8], space: &KeySpace) -> Option<BytesMut> {
    let mut opened =
        values::open(reply).filter(|opened| matches!(opened.kind, b'*' | b'%') && opened.count % 2 == 0)?;
    let mut out = values::Filtered::new(opened.kind, reply.len());
    while let Some(channel) = opened.values.next() {
        let count = opened.values.next().filter(|count| count.first() == Some(&b':'))?;
        let Some(channel) = values::bulk(channel).and_then(|channel| push::channel(channel, space)) else { continue };
        write::bulk(out.add(), &channel);
        // An array counts both, a map pairs.
        let room = if opened.kind == b'*' { out.add() } else { out.beside() };
        room.extend_from_slice(count);
    }
    opened.values.is_whole().then(|| out.finish())
}

fn tracking_info(reply: &[u8], space: &KeySpace) -> Option<BytesMut> {
    let mut opened =
        values::open(reply).filter(|opened| matches!(opened.kind, b'*' | b'%') && opened.count % 2 == 0)?;
    let mut out = BytesMut::with_capacity(reply.len());
    out.extend_from_slice(opened.header);
    while let Some(field) = opened.values.next() {
        let value = opened.values.next()?;
        out.extend_from_slice(field);
        match values::bulk(field)? {
            b"prefixes" => out.extend_from_slice(&names(value, |prefix| space.inside(prefix).map(BytesMut::from))?),
            _ => out.extend_from_slice(value),
        }
    }
    opened.values.is_whole().then_some(out)
}

fn script_exists(reply: &[u8], sent: &[bool]) -> Option<BytesMut> {
    let mut opened = values::open(reply).filter(|opened| opened.kind == b'*')?;
    let mut out = BytesMut::with_capacity(reply.len());
    out.extend_from_slice(opened.header);
    for (place, known) in opened.values.by_ref().enumerate() {
        let known = known == b":1\r\n" && sent.get(place).copied().unwrap_or(false);
        out.extend_from_slice(if known { b":1\r\n" } else { b":0\r\n" });
    }
    opened.values.is_whole().then_some(out)
}

fn script_name(reply: &[u8], sha: &Sha) -> Option<BytesMut> {
    values::bulk(reply)?;
    let mut out = BytesMut::new();
    write::bulk(&mut out, hex(sha).as_bytes());
    Some(out)
}

fn join(parts: &[&[u8]]) -> BytesMut {
    let mut out = BytesMut::with_capacity(parts.iter().map(|part| part.len()).sum());
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out
}
