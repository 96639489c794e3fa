//! Channels and patterns, and what lists them.
//!
//! A keyspace channel names its key behind `__keyspace@0__:`, and there the prefix belongs. A keyevent channel names an event
//! and tells the key in its messages: it stays as it is, and who passes messages on looks at the key. All else is an
//! ordinary channel. What a pattern matches beyond what is written out in it, an attacker chooses: only patterns that begin
//! with the literal head of such a channel are taken for one.

use super::Back;
use super::plan::Plan;
use super::refusal::Refusal;
use super::request::Isolation;
use crate::command::Args;

const KEYSPACE: &[u8] = b"__keyspace@";
const KEYEVENT: &[u8] = b"__keyevent@";
const HEAD_END: &[u8] = b"__:";
/// Where RESP2 clients are told of invalidations: each only of its own (CLIENT TRACKING … REDIRECT).
const INVALIDATE: &[u8] = b"__redis__:invalidate";

/// A pattern of a channel is compared with each message of everybody's, and one of a key with all of the tenant's keys: what
/// takes long to compare slows all.
const PATTERN_BYTES_MAX: usize = 1024;
/// See above; each asterisk may have the engine go back and try again.
const ASTERISKS_MAX: usize = 16;
/// SCAN looks at so many keys in one go, whoever's they are, and nothing else runs meanwhile. It is a hint: more calls are the
/// answer to a smaller one.
const SCAN_COUNT_MAX: i64 = 1000;
const SCAN_COUNT_MAX_TEXT: &[u8] = b"1000";

/// Where the prefix goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Before this byte.
    At(usize),
    /// Nowhere: it is the same for all, and who passes messages on decides by what they say.
    Nowhere,
}

/// `__keyspace@<db>__:` and what is behind it; the database is digits alone.
fn behind_head<'n>(name: &'n [u8], head: &[u8], any_db: bool) -> Option<&'n [u8]> {
    let behind = name.strip_prefix(head)?;
    let digits = behind.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let behind = match digits {
        0 if any_db => behind.strip_prefix(b"*")?,
        0 => return None,
        digits => &behind[digits..],
    };
    behind.strip_prefix(HEAD_END)
}

/// Of a channel that is subscribed to by its name.
#[must_use]
pub fn channel_place(name: &[u8]) -> Place {
    if let Some(key) = behind_head(name, KEYSPACE, false) {
        return Place::At(name.len() - key.len());
    }
    if name == INVALIDATE || behind_head(name, KEYEVENT, false).is_some() {
        return Place::Nowhere;
    }
    Place::At(0)
}

/// Of a pattern. The database of an event may be `*`, as most clients write it: whatever it matches begins with
/// `__keyevent@`, where no tenant can publish. Of a keyspace channel it may not, for `*` would reach into the key.
#[must_use]
pub fn pattern_place(pattern: &[u8]) -> Place {
    if let Some(key) = behind_head(pattern, KEYSPACE, false) {
        return Place::At(pattern.len() - key.len());
    }
    if behind_head(pattern, KEYEVENT, true).is_some() {
        return Place::Nowhere;
    }
    Place::At(0)
}

/// Is what comes by this channel, or by what matches this pattern, told of everybody's keys, for whoever passes it on to choose?
#[must_use]
pub fn is_everybodys(name: &[u8], is_pattern: bool) -> bool {
    let place = if is_pattern { pattern_place(name) } else { channel_place(name) };
    place == Place::Nowhere && name != INVALIDATE
}

/// Is it one that is compared quickly?
fn modest(pattern: Option<&[u8]>) -> Result<(), Refusal> {
    let pattern = pattern.unwrap_or_default();
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(Refusal::NotAllowed("the pattern is too long"));
    }
    if pattern.iter().filter(|&&byte| byte == b'*').count() > ASTERISKS_MAX {
        return Err(Refusal::NotAllowed("the pattern has too many asterisks"));
    }
    Ok(())
}

fn place_all(args: &Args<'_>, plan: &mut Plan, place: fn(&[u8]) -> Place) {
    for (at, name) in args.from(0).enumerate().skip(1) {
        if let Place::At(offset) = place(name) {
            plan.inner(at, offset);
        }
    }
}

fn may_be_none(args: &Args<'_>) -> bool {
    args.get(0).is_some_and(|name| {
        name.len() > 2 && {
            let unsubscribes = |head: &[u8]| head.eq_ignore_ascii_case(b"UN");
            unsubscribes(&name[..2]) || unsubscribes(&name[1..3])
        }
    })
}

/// `SUBSCRIBE`, `UNSUBSCRIBE`
///
/// # Errors
/// No channel is named.
pub fn channels(args: &Args<'_>, _: &Isolation<'_>, plan: &mut Plan) -> Result<(), Refusal> {
    if args.len() < 2 && !may_be_none(args) {
        return Err(Refusal::Arity);
    }
    place_all(args, plan, channel_place);
    Ok(())
}

/// `PSUBSCRIBE`, `PUNSUBSCRIBE`
///
/// # Errors
/// No pattern is named.
pub fn patterns(args: &Args<'_>, _: &Isolation<'_>, plan: &mut Plan) -> Result<(), Refusal> {
    if args.len() < 2 && !may_be_none(args) {
        return Err(Refusal::Arity);
    }
    args.from(1).try_for_each(|pattern| modest(Some(pattern)))?;
    place_all(args, plan, pattern_place);
    Ok(())
}

/// `SUNSUBSCRIBE [channel …]`
///
/// # Errors
/// None.
pub fn shard_channels(args: &Args<'_>, _: &Isolation<'_>, plan: &mut Plan) -> Result<(), Refusal> {
    plan.names(1..args.len());
    Ok(())
}

/// `PUBLISH channel message`. Nobody's event may be made up: such a channel is an ordinary one here.
///
/// # Errors
/// Too few arguments.
pub fn publish(args: &Args<'_>, _: &Isolation<'_>, plan: &mut Plan) -> Result<(), Refusal> {
    let channel = args.get(1).filter(|_| args.len() == 3).ok_or(Refusal::Arity)?;
    match channel_place(channel) {
        Place::At(offset) => plan.inner(1, offset),
        Place::Nowhere => plan.name(1),
    }
    Ok(())
}

/// `PUBSUB CHANNELS [pattern]`, `SHARDCHANNELS`
///
/// # Errors
/// Too many arguments.
pub fn channel_list(args: &Args<'_>, _: &Isolation<'_>, plan: &mut Plan) -> Result<(), Refusal> {
    match args.len() {
        2 => plan.prefix_then(b"*"),
        3 => {
            modest(args.get(2))?;
            plan.name(2);
        }
        _ => return Err(Refusal::Arity),
    }
    plan.back(Back::Channels);
    Ok(())
}

/// `PUBSUB NUMSUB [channel …]`, `SHARDNUMSUB`
///
/// # Errors
/// None.
pub fn channel_counts(args: &Args<'_>, _: &Isolation<'_>, plan: &mut Plan) -> Result<(), Refusal> {
    plan.names(2..args.len());
    plan.back(Back::ChannelCounts);
    Ok(())
}

/// `HSCAN key cursor [MATCH pattern] …`, `SSCAN`, `ZSCAN`
///
/// # Errors
/// Too few arguments; a pattern that takes long to compare.
pub fn element_scan(args: &Args<'_>, _: &Isolation<'_>, plan: &mut Plan) -> Result<(), Refusal> {
    if args.len() < 3 {
        return Err(Refusal::Arity);
    }
    (3..args.len()).filter(|&at| args.is(at, "MATCH")).try_for_each(|at| modest(args.get(at + 1)))?;
    plan.name(1);
    Ok(())
}

/// `KEYS pattern`
///
/// # Errors
/// Not one pattern, or one that takes long.
pub fn keys(args: &Args<'_>, _: &Isolation<'_>, plan: &mut Plan) -> Result<(), Refusal> {
    if args.len() != 2 {
        return Err(Refusal::Arity);
    }
    modest(args.get(1))?;
    plan.name(1);
    plan.back(Back::Keys);
    Ok(())
}

/// `SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]`. Of several patterns Redis takes the last.
///
/// # Errors
/// It cannot be read.
pub fn scan(args: &Args<'_>, _: &Isolation<'_>, plan: &mut Plan) -> Result<(), Refusal> {
    if args.len() < 2 {
        return Err(Refusal::Arity);
    }
    let mut matches = false;
    let mut at = 2;
    while at < args.len() {
        let is_match = args.is(at, "MATCH");
        if at + 1 == args.len() || !(is_match || args.is(at, "COUNT") || args.is(at, "TYPE")) {
            return Err(Refusal::Syntax);
        }
        if is_match {
            modest(args.get(at + 1))?;
            plan.name(at + 1);
            matches = true;
        }
        let number = args.get(at + 1).and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<i64>().ok());
        if args.is(at, "COUNT") && number.is_some_and(|count| count > SCAN_COUNT_MAX) {
            plan.instead(at + 1, SCAN_COUNT_MAX_TEXT);
        }
        at += 2;
    }
    if !matches {
        plan.word(b"MATCH");
        plan.prefix_then(b"*");
    }
    plan.back(Back::Scan);
    Ok(())
}

/// `CLUSTER KEYSLOT key`: where the key is.
///
/// # Errors
/// Not one key.
pub fn keyslot(args: &Args<'_>, _: &Isolation<'_>, plan: &mut Plan) -> Result<(), Refusal> {
    if args.len() != 3 {
        return Err(Refusal::Arity);
    }
    plan.name(2);
    Ok(())
}

/// `INFO [section …]`
///
/// # Errors
/// None.
pub fn info(_: &Args<'_>, _: &Isolation<'_>, plan: &mut Plan) -> Result<(), Refusal> {
    plan.back(Back::Info);
    Ok(())
}

/// `LOLWUT [VERSION version] [size …]`
///
/// # Errors
/// A size of more than two digits: drawing a thousand by a thousand keeps the upstream from all others for a third of a second.
pub fn lolwut(args: &Args<'_>, _: &Isolation<'_>, _: &mut Plan) -> Result<(), Refusal> {
    let first = if args.is(1, "VERSION") { 3 } else { 1 };
    let is_small = |size: &[u8]| size.len() <= 2;
    if (first..args.len()).all(|at| args.get(at).is_some_and(is_small)) {
        Ok(())
    } else {
        Err(Refusal::NotAllowed("a large picture takes the upstream's time; each size is 99 at most"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_stands_before_the_key_of_a_keyspace_channel_and_before_all_else() {
        for (name, of_channel, of_pattern) in [
            ("news", Place::At(0), Place::At(0)),
            ("", Place::At(0), Place::At(0)),
            ("__keyspace@0__:k", Place::At(15), Place::At(15)),
            ("__keyspace@12__:k*", Place::At(16), Place::At(16)),
            ("__keyspace@0__:", Place::At(15), Place::At(15)),
            ("__keyspace@__:k", Place::At(0), Place::At(0)),
            ("__keyspace@*__:k", Place::At(0), Place::At(0)),
            ("__keyspace@0*__:k", Place::At(0), Place::At(0)),
            ("__keyspace@[0]__:k", Place::At(0), Place::At(0)),
            ("__keyspace@0__", Place::At(0), Place::At(0)),
            ("__KEYSPACE@0__:k", Place::At(0), Place::At(0)),
            ("__keyevent@0__:set", Place::Nowhere, Place::Nowhere),
            ("__keyevent@0__:*", Place::Nowhere, Place::Nowhere),
            ("__keyevent@*__:expired", Place::At(0), Place::Nowhere),
            ("__keyevent@*", Place::At(0), Place::At(0)),
            ("__key*__:*", Place::At(0), Place::At(0)),
            ("*", Place::At(0), Place::At(0)),
            ("?_keyspace@0__:*", Place::At(0), Place::At(0)),
            ("\\__keyspace@0__:*", Place::At(0), Place::At(0)),
            ("__redis__:invalidate", Place::Nowhere, Place::At(0)),
            ("__redis__:*", Place::At(0), Place::At(0)),
        ] {
            assert_eq!(channel_place(name.as_bytes()), of_channel, "{name}");
            assert_eq!(pattern_place(name.as_bytes()), of_pattern, "{name}");
        }
    }
}
