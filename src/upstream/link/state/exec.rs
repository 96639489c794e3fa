//! The reply to EXEC, which answers all that the transaction has queued: element by element, as it comes. What need not be
//! looked into goes on at once.

use super::{Event, State, Watch, event, rewritten};
use crate::resp::{ReplyError, ReplyScanner, write};
use bytes::BytesMut;
use std::borrow::Cow;
use std::iter::Peekable;
use std::vec;

/// One that is under way.
pub struct Exec {
    /// What its elements are watched for, by their places.
    marked: Peekable<vec::IntoIter<(usize, Box<Watch>)>>,
    /// Elements that the client does not see.
    hidden: usize,
    /// Its first line was told.
    has_begun: bool,
    scanner: ReplyScanner,
    /// The element that is next.
    place: usize,
    /// A part of it is here, and this is whether it is kept until it is whole.
    kept: Option<bool>,
    /// What is here of it.
    whole: BytesMut,
}

impl Exec {
    /// What it keeps until more comes.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.whole.len()
    }

    /// The next bytes of an array, its first line whole: what the elements say is applied, and what the client is to see of them
    /// is appended; of a push that came in between what `push_shown` says.
    ///
    /// # Errors
    /// It is none.
    pub fn take(
        &mut self,
        state: &mut State,
        bytes: &[u8],
        push_shown: impl Fn(&[u8]) -> Option<Cow<'_, [u8]>>,
        out: &mut BytesMut,
    ) -> Result<(), ReplyError> {
        let mut at = if self.has_begun { 0 } else { self.begin(bytes, out)? };
        while at < bytes.len() {
            let advance = self.scanner.advance(&bytes[at..])?;
            if advance.take == 0 {
                // Whoever gave it has found more of it.
                return Err(ReplyError::BadNumber);
            }
            let part = &bytes[at..at + advance.take];
            at += advance.take;
            let keep = self.kept.unwrap_or_else(|| self.must_be_whole());
            self.kept = (!advance.done).then_some(keep);
            match (keep, advance.done) {
                (false, done) => {
                    out.extend_from_slice(part);
                    if done {
                        self.passed(state);
                    }
                }
                (true, false) => self.whole.extend_from_slice(part),
                (true, true) if self.whole.is_empty() => self.element(state, part, &push_shown, out),
                (true, true) => {
                    let mut whole = std::mem::take(&mut self.whole);
                    whole.extend_from_slice(part);
                    self.element(state, &whole, &push_shown, out);
                }
            }
        }
        Ok(())
    }

    fn begin(&mut self, bytes: &[u8], out: &mut BytesMut) -> Result<usize, ReplyError> {
        let digits = bytes.strip_prefix(b"*").unwrap_or_default();
        let end = memchr::memchr(b'\r', digits).ok_or(ReplyError::BadNumber)?;
        let count = std::str::from_utf8(&digits[..end]).ok().and_then(|digits| digits.parse::<usize>().ok());
        let count = count.ok_or(ReplyError::BadNumber)?;
        self.has_begun = true;
        write::array_header(out, count.saturating_sub(self.hidden));
        Ok(b"*\r\n".len() + end)
    }

    /// Is the element that begins not simply the next part of what the client reads?
    fn must_be_whole(&mut self) -> bool {
        let place = self.place;
        match self.scanner.kind() {
            // What stands before it may be anything.
            None | Some(b'>' | b'-' | b'!') => true,
            Some(_) => {
                let is_told =
                    |(index, watch): &(usize, Box<Watch>)| *index == place && (watch.hidden || watch.rewrite.is_some());
                self.marked.peek().is_some_and(is_told)
            }
        }
    }

    fn passed(&mut self, state: &mut State) {
        if let Some(watch) = self.next_watch() {
            state.apply(watch.effect, self.scanner.kind().unwrap_or_default());
        }
    }

    fn next_watch(&mut self) -> Option<Box<Watch>> {
        let place = self.place;
        self.place += 1;
        self.marked.next_if(|(index, _)| *index == place).map(|(_, watch)| watch)
    }

    /// A whole element, or a push that came in between and is none.
    fn element(
        &mut self,
        state: &mut State,
        bytes: &[u8],
        push_shown: impl Fn(&[u8]) -> Option<Cow<'_, [u8]>>,
        out: &mut BytesMut,
    ) {
        if self.scanner.is_push() && !matches!(event(bytes), Some(Event::Acknowledged(..))) {
            out.extend_from_slice(&push_shown(bytes).unwrap_or_default());
            return;
        }
        let Some(watch) = self.next_watch() else {
            out.extend_from_slice(bytes);
            return;
        };
        state.apply(watch.effect, bytes.first().copied().unwrap_or_default());
        match rewritten(watch.rewrite, watch.error, bytes, state.greeting.proto) {
            _ if watch.hidden => {}
            Some(shown) => out.extend_from_slice(&shown),
            None => out.extend_from_slice(bytes),
        }
    }
}

impl State {
    /// The reply to EXEC begins, an array: the transaction is over.
    pub fn begin_exec(&mut self) -> Exec {
        let marked = std::mem::take(&mut self.marked);
        self.end_transaction();
        Exec {
            hidden: marked.iter().filter(|(_, watch)| watch.hidden).count(),
            marked: marked.into_iter().peekable(),
            has_begun: false,
            scanner: ReplyScanner::new(),
            place: 0,
            kept: None,
            whole: BytesMut::new(),
        }
    }

    /// The whole reply to EXEC: what its elements say is applied, and what the client is to see of it comes back.
    pub fn exec(&mut self, frame: &[u8], push_shown: impl Fn(&[u8]) -> Option<Cow<'_, [u8]>>) -> BytesMut {
        let mut exec = self.begin_exec();
        let mut out = BytesMut::with_capacity(frame.len());
        // It was refused, or a watched key had changed.
        let is_array = frame.starts_with(b"*") && !frame.starts_with(b"*-");
        if !is_array || exec.take(self, frame, push_shown, &mut out).is_err() {
            return BytesMut::from(frame);
        }
        out
    }
}
