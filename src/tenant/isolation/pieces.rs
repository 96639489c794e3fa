//! Large requests: what becomes of one of which only the first arguments are here, and its encoding piece by piece, so that no
//! more of it is ever at hand than what goes on next.

use super::KeySpace;
use super::plan::{Change, Edit, Plan, Tail};
use super::request::places_keys;
use super::simple::KeyPlaces;
use super::table::{Treatment, find};
use crate::command::{Args, CommandTable, NAME_BYTES_MAX, upper_case};
use crate::resp::limits::{ARGS_MAX, BULK_BYTES_MAX};
use crate::resp::{number, write};
use bytes::BytesMut;
use std::iter::Peekable;
use std::vec;

/// What is to be changed in a request, while it goes by. Made for one request, from its first byte on.
#[derive(Debug)]
pub struct Pieces {
    prefix: Box<[u8]>,
    edits: Edits,
    tail: Vec<Tail>,
    /// The argument whose header is next; None: the request's own is.
    next: Option<usize>,
    /// How many there are.
    count: usize,
    /// Bytes of the argument's payload that are still to come, its line end among them.
    left: usize,
    what: Payload,
}

#[derive(Debug)]
enum Edits {
    /// The prefix before each of these.
    Keys { first: usize, last: usize, step: usize },
    /// In rising order, with their texts.
    Listed(Peekable<vec::IntoIter<Edit>>, Vec<Vec<u8>>),
}

/// What becomes of the payload that goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Payload {
    Kept,
    Dropped,
    /// The prefix goes into it, so many bytes on.
    PrefixAfter(usize),
}

/// With its prefix an argument is longer than any may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

impl Pieces {
    /// As it is.
    #[must_use]
    pub fn unchanged() -> Self {
        Self::new(Edits::Listed(Vec::new().into_iter().peekable(), Vec::new()), Vec::new(), &[])
    }

    /// The prefix before each of these arguments.
    pub(super) fn keys(first: usize, last: usize, step: usize, space: &KeySpace) -> Self {
        Self::new(Edits::Keys { first, last, step }, Vec::new(), space.prefix())
    }

    /// What a parser has found. `edits` are in rising order.
    pub(super) fn listed(edits: Vec<Edit>, texts: Vec<Vec<u8>>, tail: Vec<Tail>, space: &KeySpace) -> Self {
        Self::new(Edits::Listed(edits.into_iter().peekable(), texts), tail, space.prefix())
    }

    fn new(edits: Edits, tail: Vec<Tail>, prefix: &[u8]) -> Self {
        Self { prefix: prefix.into(), edits, tail, next: None, count: 0, left: 0, what: Payload::Kept }
    }

    /// Of a command by what COMMAND and the table say of its keys. None: all of it must be seen first.
    fn of_begun(args: &Args<'_>, declared: usize, space: &KeySpace, commands: &CommandTable) -> Option<Self> {
        let mut upper = [0; NAME_BYTES_MAX];
        let upper = upper_case(args.get(0)?, &mut upper)?;
        match find(upper)?.treatment {
            Treatment::Passed => Some(Self::unchanged()),
            Treatment::Keys(first, last, step) if places_keys(upper, None, commands, (first, last, step)) => {
                let (first, last) = KeyPlaces::of(upper, space, commands)?.within(declared)?;
                Some(Self::keys(first, last, step, space))
            }
            _ => None,
        }
    }

    /// The next bytes of the request as they go on: header lines whole, payloads as they come, none behind its end.
    ///
    /// # Errors
    /// It is not to go on; what went before is a part of a request that will never be whole.
    pub fn write(&mut self, mut bytes: &[u8], out: &mut BytesMut) -> Result<(), TooLong> {
        while !bytes.is_empty() {
            if self.left == 0 {
                let used = self.header(bytes, out)?;
                bytes = &bytes[used..];
                continue;
            }
            let mut here = self.left.min(bytes.len());
            match &mut self.what {
                Payload::Kept => out.extend_from_slice(&bytes[..here]),
                Payload::Dropped => {}
                Payload::PrefixAfter(more) => {
                    here = here.min(*more);
                    out.extend_from_slice(&bytes[..here]);
                    *more -= here;
                    if *more == 0 {
                        out.extend_from_slice(&self.prefix);
                        self.what = Payload::Kept;
                    }
                }
            }
            self.left -= here;
            bytes = &bytes[here..];
            if self.left == 0 && self.next == Some(self.count) {
                self.end(out);
            }
        }
        Ok(())
    }

    /// A header line. It was found whole and good by the scanner, whose number this is.
    fn header(&mut self, bytes: &[u8], out: &mut BytesMut) -> Result<usize, TooLong> {
        let number::Number::Whole { value, len } = number::line(bytes.get(1..).unwrap_or_default()) else {
            return Err(TooLong);
        };
        let value = usize::try_from(value).map_err(|_| TooLong)?;
        let Some(index) = self.next else {
            self.count = value;
            self.next = Some(0);
            if value + self.tail.len() > ARGS_MAX {
                return Err(TooLong);
            }
            write::array_header(out, value + self.tail.len());
            return Ok(1 + len);
        };
        self.next = Some(index + 1);
        self.left = value + b"\r\n".len();
        self.what = Payload::Kept;
        let change = match &mut self.edits {
            Edits::Keys { first, last, step } => {
                let is_key = index >= *first && index <= *last && (index - *first).is_multiple_of(*step);
                is_key.then_some(Change::Prefix(0))
            }
            Edits::Listed(edits, _) => edits.next_if(|edit| edit.arg == index).map(|edit| edit.change),
        };
        match change {
            None => write::header(out, b'$', value),
            Some(Change::Prefix(_)) if value + self.prefix.len() > BULK_BYTES_MAX => return Err(TooLong),
            Some(Change::Prefix(offset)) => {
                write::header(out, b'$', value + self.prefix.len());
                match offset.min(value) {
                    0 => out.extend_from_slice(&self.prefix),
                    offset => self.what = Payload::PrefixAfter(offset),
                }
            }
            Some(Change::Instead(word)) => self.instead(word, out),
            Some(Change::Text(place)) => {
                let text = match &mut self.edits {
                    Edits::Listed(_, texts) => texts.get_mut(place).map(std::mem::take).unwrap_or_default(),
                    Edits::Keys { .. } => Vec::new(),
                };
                self.instead(&text, out);
            }
        }
        Ok(1 + len)
    }

    fn instead(&mut self, word: &[u8], out: &mut BytesMut) {
        write::bulk(out, word);
        self.what = Payload::Dropped;
    }

    fn end(&mut self, out: &mut BytesMut) {
        for tail in self.tail.drain(..) {
            match tail {
                Tail::Word(word) => write::bulk(out, word),
                Tail::Prefix(rest) => write::bulk(out, &[&*self.prefix, rest].concat()),
            }
        }
    }
}

/// What becomes of a request of which these arguments are here, of so many that were `declared`: how it goes on as it comes. Its
/// reply is what [`Back::AsIs`](super::Back::AsIs) makes of it. None: all of it must be seen first.
#[must_use]
pub fn begun(args: &Args<'_>, declared: usize, space: &KeySpace, commands: &CommandTable) -> Option<Pieces> {
    if space.is_anothers() { None } else { Pieces::of_begun(args, declared, space, commands) }
}

impl Plan {
    /// The same as [`encode`](Self::encode), piece by piece, and what is to be made of the reply.
    pub(super) fn into_pieces(self, space: &KeySpace) -> (Pieces, super::Back) {
        let (edits, texts, tail, back) = self.into_parts();
        (Pieces::listed(edits, texts, tail, space), back)
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::ROWS;
    use super::super::{Back, Isolation, Scripts, Verdict, judge, judge_in_pieces};
    use super::*;
    use crate::resp::{RequestLimits, RequestScanner};
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// The request through it, as the scanner gives it, in reads of these sizes.
    fn through(mut pieces: Pieces, frame: &[u8], sizes: &[usize]) -> BytesMut {
        let mut scanner = RequestScanner::new(RequestLimits::default());
        let (mut out, mut at, mut read) = (BytesMut::new(), 0, 0);
        let mut sizes = sizes.iter().copied().cycle();
        loop {
            read = frame.len().min(read + sizes.next().unwrap_or(1));
            let streamed = scanner.stream(&frame[at..read]).unwrap();
            pieces.write(&frame[at..at + streamed.take], &mut out).unwrap();
            at += streamed.take;
            if streamed.done {
                assert_eq!(at, frame.len());
                return out;
            }
        }
    }

    fn word() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            vec(any::<u8>(), 0..40),
            Just(b"__keyspace@0__:k".to_vec()),
            Just(b"2".to_vec()),
            Just(b"1".to_vec()),
            Just(b"STREAMS".to_vec()),
            Just(b"MATCH".to_vec()),
            Just(b"COUNT".to_vec()),
            Just(b"99999".to_vec()),
        ]
    }

    proptest! {
        #[test]
        fn piece_by_piece_it_is_what_it_is_whole(
            row in any::<prop::sample::Index>(), words in vec(word(), 0..8), sizes in vec(1..90usize, 1..5),
            seen in any::<prop::sample::Index>(),
        ) {
            let row = &ROWS[row.index(ROWS.len())];
            let (space, commands, scripts) = (KeySpace::new("acme"), CommandTable::new(), Scripts::default());
            let isolation =
                Isolation { space: &space, commands: &commands, scripts: &scripts, own_user: true, flushdb: false };
            let mut frame = BytesMut::new();
            let parts: Vec<&[u8]> = [row.name.as_bytes()].into_iter().chain(words.iter().map(Vec::as_slice)).collect();
            write::request(&mut frame, &parts);
            let mut scanner = RequestScanner::new(RequestLimits::default());
            scanner.scan(&frame).unwrap().unwrap();
            let args = Args::new(&frame, scanner.args());
            // By what is here of it.
            let known = Args::new(&frame, &scanner.args()[..=seen.index(scanner.args().len())]);
            let verdict = judge(&args, &isolation);
            if let Some(pieces) = begun(&known, args.len(), &space, &commands) {
                let expected = match &verdict {
                    Verdict::Rewritten { frame, back: Back::AsIs, .. } => frame,
                    Verdict::Passed => &frame,
                    other => panic!("{other:?}"),
                };
                prop_assert_eq!(&through(pieces, &frame, &sizes), expected);
            }
            // By all of it.
            match (judge_in_pieces(&args, &isolation), verdict) {
                (Verdict::InPieces(pieces, back), Verdict::Rewritten { frame: expected, back: expected_back, .. }) => {
                    prop_assert_eq!(&through(*pieces, &frame, &sizes), &expected);
                    prop_assert_eq!(back, expected_back);
                }
                (Verdict::InPieces(..), other) => panic!("{other:?}"),
                (Verdict::Rewritten { .. }, _) => panic!("it was encoded whole"),
                (in_pieces, whole) => prop_assert_eq!(format!("{in_pieces:?}"), format!("{whole:?}")),
            }
        }
    }

    #[test]
    fn what_must_be_seen_whole_is_not_begun() {
        let (space, commands) = (KeySpace::new("acme"), CommandTable::new());
        let begun_of = |words: &[&str], declared| {
            let mut frame = BytesMut::new();
            let parts: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
            write::request(&mut frame, &parts);
            let mut scanner = RequestScanner::new(RequestLimits::default());
            scanner.scan(&frame).unwrap().unwrap();
            begun(&Args::new(&frame, scanner.args()), declared, &space, &commands).is_some()
        };
        for (words, declared, expected) in [
            (&["SET"][..], 3, true),
            (&["set", "k"], 3, true),
            (&["MSET"], 100_001, true),
            (&["ECHO"], 2, true),
            (&["SET"], 1, false),
            (&["XREAD", "STREAMS"], 9, false),
            (&["EVAL", "x"], 9, false),
            (&["CONFIG", "SET"], 9, false),
            (&["CLIENT", "LIST"], 9, false),
            (&["OBJECT", "ENCODING"], 3, false),
            (&["NOSUCH"], 3, false),
            (&["BITOP", "AND"], 2, false),
        ] {
            assert_eq!(begun_of(words, declared), expected, "{words:?}");
        }
        assert!(begun(&Args::new(b"", &[]), 3, &space, &commands).is_none());
    }

    #[test]
    fn an_argument_that_becomes_too_long_is_not_begun() {
        let space = KeySpace::new("acme");
        let header = |len: usize| format!("*2\r\n$3\r\nGET\r\n${len}\r\n").into_bytes();
        let written = |len| Pieces::keys(1, 1, 1, &space).write(&header(len), &mut BytesMut::new());
        assert_eq!((written(BULK_BYTES_MAX - 5), written(BULK_BYTES_MAX - 4)), (Ok(()), Err(TooLong)));
    }
}
