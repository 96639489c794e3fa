//! What is to be changed in a request, and its encoding: all of its arguments anew, as bulk strings, so that nothing of how
//! the client wrote it goes on.

use super::refusal::Refusal;
use super::request::Isolation;
use super::{Back, KeySpace};
use crate::command::Args;
use crate::resp::limits::{ARGS_MAX, BULK_BYTES_MAX};
use crate::resp::{ArgRange, write};
use bytes::{BufMut, BytesMut};

/// Finds a command's keys, channels and patterns.
pub type Parser = fn(&Args<'_>, &Isolation<'_>, &mut Plan) -> Result<(), Refusal>;

/// The longest request that is sent: Redis closes a connection whose unread input is longer (`client-query-buffer-limit`, as
/// it ships), and a link has other clients too.
const FRAME_BYTES_MAX: usize = 1024 * 1024 * 1024 - 64 * 1024;
/// `$`, digits and two line ends, of an argument as long as any.
const BULK_OVERHEAD: usize = 16;

/// What a request becomes.
#[derive(Debug, Default)]
pub struct Plan {
    edits: Vec<Edit>,
    texts: Vec<Vec<u8>>,
    tail: Vec<Tail>,
    back: Option<Back>,
}

/// What becomes of one argument.
#[derive(Debug, Clone, Copy)]
pub(super) struct Edit {
    pub(super) arg: usize,
    pub(super) change: Change,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Change {
    /// The prefix is put into it, before this byte.
    Prefix(usize),
    /// Another takes its place.
    Instead(&'static [u8]),
    /// The text of this number does.
    Text(usize),
}

/// An argument more, at the end.
#[derive(Debug, Clone, Copy)]
pub(super) enum Tail {
    Word(&'static [u8]),
    /// The prefix, and this.
    Prefix(&'static [u8]),
}

impl Plan {
    /// A key, a channel or a pattern: the prefix goes before it.
    pub fn name(&mut self, arg: usize) {
        self.inner(arg, 0);
    }

    /// All of them.
    pub fn names(&mut self, args: impl IntoIterator<Item = usize>) {
        args.into_iter().for_each(|arg| self.name(arg));
    }

    /// The prefix goes into it, before that byte.
    pub fn inner(&mut self, arg: usize, offset: usize) {
        self.edits.push(Edit { arg, change: Change::Prefix(offset) });
    }

    /// This takes its place.
    pub fn instead(&mut self, arg: usize, word: &'static [u8]) {
        self.edits.push(Edit { arg, change: Change::Instead(word) });
    }

    /// This does, made for this request.
    pub fn text(&mut self, arg: usize, text: Vec<u8>) {
        self.edits.push(Edit { arg, change: Change::Text(self.texts.len()) });
        self.texts.push(text);
    }

    /// A word more at the end.
    pub fn word(&mut self, word: &'static [u8]) {
        self.tail.push(Tail::Word(word));
    }

    /// The prefix at the end, and this behind it.
    pub fn prefix_then(&mut self, rest: &'static [u8]) {
        self.tail.push(Tail::Prefix(rest));
    }

    /// What is to be made of the reply; where nothing is said, as it is.
    pub fn back(&mut self, back: Back) {
        self.back = Some(back);
    }

    /// What it consists of: edits in rising order, their texts, arguments more, and what is to be made of the reply.
    pub(super) fn into_parts(mut self) -> (Vec<Edit>, Vec<Vec<u8>>, Vec<Tail>, Back) {
        self.sort();
        (self.edits, self.texts, self.tail, self.back.unwrap_or(Back::AsIs))
    }

    fn sort(&mut self) {
        self.edits.sort_unstable_by_key(|edit| edit.arg);
        debug_assert!(self.edits.windows(2).all(|two| two[0].arg < two[1].arg), "an argument is prefixed once");
    }

    /// The request as it is to be sent.
    ///
    /// # Errors
    /// It has become too long.
    pub fn encode(mut self, args: &Args<'_>, space: &KeySpace) -> Result<(BytesMut, Vec<ArgRange>, Back), Refusal> {
        self.sort();
        let (frame, ranges) = encode(args, space, self.edits.iter().copied(), &self.tail, &self.texts)?;
        Ok((frame, ranges, self.back.unwrap_or(Back::AsIs)))
    }
}

/// The request with the prefix before each of these arguments, in rising order.
///
/// # Errors
/// It has become too long.
pub fn encode_keys(
    args: &Args<'_>,
    space: &KeySpace,
    keys: impl Iterator<Item = usize>,
) -> Result<(BytesMut, Vec<ArgRange>), Refusal> {
    encode(args, space, keys.map(|arg| Edit { arg, change: Change::Prefix(0) }), &[], &[])
}

#[inline]
fn encode(
    args: &Args<'_>,
    space: &KeySpace,
    mut edits: impl Iterator<Item = Edit>,
    tail: &[Tail],
    texts: &[Vec<u8>],
) -> Result<(BytesMut, Vec<ArgRange>), Refusal> {
    let prefix = space.prefix();
    let count = args.len() + tail.len();
    // As if each were prefixed: too much for a request of many values, and never too little.
    let texts_len: usize = texts.iter().map(Vec::len).sum();
    let most = args.bytes() + texts_len + count * (BULK_OVERHEAD + prefix.len()) + BULK_OVERHEAD * 2;
    if count > ARGS_MAX || most > FRAME_BYTES_MAX {
        return Err(Refusal::TooLong);
    }
    let mut frame =
        BytesMut::with_capacity(most.min(args.bytes() + texts_len + count * BULK_OVERHEAD + prefix.len() * 4 + 64));
    let mut ranges = Vec::with_capacity(count);
    write::array_header(&mut frame, count);
    let mut next = edits.next();
    for (index, arg) in args.from(0).enumerate() {
        match next {
            Some(Edit { arg: at, change: Change::Prefix(offset) }) if at == index => {
                if arg.len() + prefix.len() > BULK_BYTES_MAX {
                    return Err(Refusal::TooLong);
                }
                let (before, behind) = arg.split_at(offset.min(arg.len()));
                put(&mut frame, &mut ranges, before, prefix, behind);
                next = edits.next();
            }
            Some(Edit { arg: at, change: Change::Instead(word) }) if at == index => {
                put(&mut frame, &mut ranges, word, b"", b"");
                next = edits.next();
            }
            Some(Edit { arg: at, change: Change::Text(number) }) if at == index => {
                let text = texts.get(number).map(Vec::as_slice).unwrap_or_default();
                if text.len() > BULK_BYTES_MAX {
                    return Err(Refusal::TooLong);
                }
                put(&mut frame, &mut ranges, text, b"", b"");
                next = edits.next();
            }
            _ => put(&mut frame, &mut ranges, arg, b"", b""),
        }
    }
    debug_assert!(next.is_none(), "an edit of an argument that is not there");
    for tail in tail {
        match tail {
            Tail::Word(word) => put(&mut frame, &mut ranges, word, b"", b""),
            Tail::Prefix(rest) => put(&mut frame, &mut ranges, prefix, rest, b""),
        }
    }
    Ok((frame, ranges))
}

#[inline]
fn put(frame: &mut BytesMut, ranges: &mut Vec<ArgRange>, one: &[u8], two: &[u8], three: &[u8]) {
    let len = one.len() + two.len() + three.len();
    write::bulk_header(frame, len);
    let start = frame.len();
    for part in [one, two, three] {
        frame.put_slice(part);
    }
    ranges.push(ArgRange { start, end: start + len });
    frame.put_slice(b"\r\n");
}
