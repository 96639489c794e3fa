//! Takes frames off what was read, one after the other, and large ones in pieces.

use super::Session;
use super::core::{Lane, Phase, Stage, Step};
use crate::command::Args;
use crate::resp::{ArgRange, FrameKind, RequestLimits, write};
use bytes::BytesMut;
use std::task::Context;

/// In so many bytes the number of arguments, a command's name and a subcommand's are there, where they are some.
const WORDS_BYTES: usize = 512;
/// So much of a large request goes on at once: more than any header line or inline request has.
const PIECE_BYTES: usize = 128 * 1024;

impl Session {
    /// Takes frames off the front of `bytes`, as many as may go. Returns how many bytes it took.
    pub(super) fn take(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> usize {
        let mut at = 0;
        (self.blocked, self.waits_its_turn) = (false, false);
        self.core.now = None;
        if self.core.told_apart {
            self.follow_identity();
        }
        if self.waits_whole {
            self.waits_whole = !self.core.may_go_in_pieces(cx);
            self.blocked = self.waits_whole;
        }
        while !self.waits_whole && at < bytes.len() && self.core.phase != Phase::Finishing && self.core.wait.is_none() {
            if self.core.told_apart && !self.core.takes_turn(cx) {
                self.waits_its_turn = true;
                break;
            }
            let run = self.take_run(&bytes[at..]);
            if run > 0 {
                at += run;
                continue;
            }
            match self.take_next(cx, &bytes[at..]) {
                Some(taken) => {
                    let (frame, rest) = bytes[at..].split_at(taken);
                    self.core.take_turns_for(taken);
                    at += taken + self.core.take_again(frame, rest);
                }
                None => break,
            }
        }
        if self.core.told_apart && !(self.blocked && self.core.replies.waits_for_room()) {
            self.core.replies.end_turn();
        }
        // Of a client that is to be closed nothing more is read.
        if self.core.phase == Phase::Finishing { bytes.len() } else { at }
    }

    /// Before it is known who a client is little of it is read.
    fn follow_identity(&mut self) {
        let known = self.core.is_known();
        if known {
            self.unknown = None;
        }
        self.scanner.set_limits(if known { RequestLimits::default() } else { RequestLimits::UNAUTHENTICATED });
    }

    /// The next frame, or the next bytes of a large one. None: more bytes are needed, or it must wait.
    fn take_next(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Option<usize> {
        match self.core.stage {
            Stage::Frames => {}
            Stage::Broken(_) => return None,
            Stage::Forward(_) | Stage::Drop(_) => return self.take_streamed(cx, bytes),
        }
        let (step, len) = match self.scanner.scan(bytes) {
            Ok(Some(frame)) => {
                let step = match frame.kind {
                    FrameKind::Empty => Step::Done,
                    FrameKind::Array => {
                        let (request, rest) = bytes.split_at(frame.len);
                        self.core.comes_again = self.core.lane == Lane::Inventory && rest.starts_with(request);
                        self.core.is_at_hand = true;
                        self.core.dispatch(cx, request, self.scanner.args())
                    }
                    FrameKind::Inline => {
                        let (request, ranges) = encode(self.scanner.inline_args());
                        (self.core.is_at_hand, self.core.comes_again) = (false, false);
                        self.core.dispatch(cx, &request, &ranges)
                    }
                };
                // It was found good, and goes on from its first byte, a piece at a time.
                let goes_in_pieces = matches!(self.core.stage, Stage::Forward(_));
                (self.streamed, self.kept_whole) = (0, false);
                if matches!(step, Step::Blocked) {
                    self.waits_whole = self.core.is_large(&bytes[..frame.len]);
                    // It was looked at all the same.
                    self.core.take_turns_for(frame.len);
                }
                (step, if goes_in_pieces { 0 } else { frame.len })
            }
            Ok(None) => {
                let pending = self.scanner.pending();
                // What it is, and whether it may be, is told by its name and its subcommand, and they may be still to come: a
                // number of arguments alone can say that it will be large.
                let is_untold = pending.args_complete < pending.args_declared.min(2) && bytes.len() < WORDS_BYTES;
                if pending.bytes_at_least <= self.core.whole_bytes_max() || is_untold {
                    return None;
                }
                let args = Args::new(bytes, self.scanner.args());
                let is_too_large = self.core.is_too_large(pending.bytes_at_least);
                self.kept_whole = !is_too_large && (self.kept_whole || self.core.must_see_whole(&args, pending));
                if self.kept_whole {
                    return None;
                }
                self.streamed = 0;
                (self.core.begin_stream(cx, &args, pending), 0)
            }
            Err(error) => {
                self.core.protocol_error(&error.to_reply());
                return None;
            }
        };
        match step {
            Step::Done => Some(len),
            Step::Blocked => {
                self.blocked = true;
                None
            }
        }
    }

    fn take_streamed(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Option<usize> {
        if !self.core.has_room(cx) {
            return None;
        }
        // What was looked at before it was known to be large goes on with the first piece.
        let bytes = &bytes[..bytes.len().min(self.scanner.looked_at() + PIECE_BYTES)];
        match self.scanner.stream(bytes) {
            Ok(streamed) => {
                self.streamed += streamed.take;
                let left = if streamed.done { 0 } else { self.scanner.pending().bytes_at_least };
                if matches!(self.core.stage, Stage::Forward(_))
                    && self.core.is_too_large(self.streamed.saturating_add(left))
                {
                    self.core.break_too_large();
                    return None;
                }
                self.core.stream_on(&bytes[..streamed.take], streamed.done);
                (streamed.take > 0 || streamed.done).then_some(streamed.take)
            }
            Err(error) => {
                self.core.stage = Stage::Broken(error.to_reply());
                None
            }
        }
    }
}

/// An inline request as an array, which is what goes upstream: one parser alone decides where its arguments end.
pub(super) fn encode(args: &[Vec<u8>]) -> (BytesMut, Vec<ArgRange>) {
    let parts: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
    let mut request = BytesMut::new();
    write::request(&mut request, &parts);
    let mut digits = itoa::Buffer::new();
    let mut at = 1 + digits.format(args.len()).len() + 2;
    let ranges = args
        .iter()
        .map(|arg| {
            let start = at + 1 + digits.format(arg.len()).len() + 2;
            at = start + arg.len() + 2;
            ArgRange { start, end: start + arg.len() }
        })
        .collect();
    (request, ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inline_request_is_encoded_with_its_arguments_where_they_are_said_to_be() {
        let args = vec![b"SET".to_vec(), vec![b'k'; 120], Vec::new()];
        let (request, ranges) = encode(&args);
        let found: Vec<_> = ranges.iter().map(|range| range.of(&request).to_vec()).collect();
        assert_eq!(found, args);
    }
}
