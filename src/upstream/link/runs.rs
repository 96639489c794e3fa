//! Runs on a shared link: requests of one client that came one after the other, handed over in one piece and kept as one slot,
//! so that what is done for each of them is done once for all.

use super::{Inner, Link, OUT_PAUSE_BYTES, Slot, State};
use crate::resp::{RequestLimits, RequestScanner, Run};
use crate::upstream::link::state::OnError;
use bytes::BytesMut;
use std::cell::RefMut;

impl Link {
    /// Where a run may be written now: not while no connection can be had, nor while too much waits or a script is under way.
    pub fn begin_run(&self) -> Option<RunWriter<'_>> {
        let inner = self.inner.borrow_mut();
        let may = matches!(inner.state, State::Up | State::Connecting)
            && inner.scripts == 0
            && inner.out.len() < OUT_PAUSE_BYTES
            && !self.is_exclusive();
        may.then(|| RunWriter { start: inner.written + inner.out.len() as u64, inner })
    }
}

/// Takes the requests of a run. What was written must be [`finish`](Self::finish)ed.
pub struct RunWriter<'l> {
    inner: RefMut<'l, Inner>,
    start: u64,
}

impl RunWriter<'_> {
    /// Where whole requests are to be appended.
    pub fn out(&mut self) -> &mut BytesMut {
        &mut self.inner.out
    }

    /// These are owed the replies to what was written, as many as it has requests.
    pub fn finish(mut self, owed: Run, on_error: Option<OnError>) {
        self.inner.slots.push_back(Slot { owed, start: self.start, watch: None, on_error });
        self.inner.wakeup.wake();
    }
}

impl Inner {
    /// The slot of the reply that is next, of its own where it was one of a run.
    pub(super) fn pop_slot(&mut self) -> Option<Slot> {
        match self.slots.front_mut() {
            Some(slot) if slot.owed.count() > 1 => Some(slot.split(1, slot.start)),
            _ => self.slots.pop_front(),
        }
    }

    /// Of what waits to be written the first `count` bytes are written, and no more for now: where they end within a run, it
    /// becomes those that are written, the one of which only a part is, and the rest. So it is known of each request whether
    /// it can have been executed.
    pub(super) fn split_partly_written(&mut self, count: usize) {
        let end = self.written + count as u64;
        let behind = self.slots.partition_point(|slot| slot.start < end);
        let run_end = self.slots.get(behind).map_or(self.written + self.out.len() as u64, |next| next.start);
        let Some(place) = behind.checked_sub(1).filter(|_| run_end > end) else { return };
        let slot = &mut self.slots[place];
        // One that begins before is written, or a part of it was and it is one request.
        if slot.owed.count() == 1 || slot.start < self.written {
            return;
        }
        let first = (slot.start - self.written) as usize;
        let (whole, whole_end, cut_end) = requests_until(&self.out[first..], count - first);
        let (written, mut at) = (self.written + first as u64, place);
        if whole > 0 && whole < slot.owed.count() {
            let done = slot.split(whole, written + whole_end as u64);
            self.slots.insert(at, done);
            at += 1;
        }
        if whole_end + first < count && self.slots[at].owed.count() > 1 {
            let cut = self.slots[at].split(1, written + cut_end as u64);
            self.slots.insert(at, cut);
        }
    }
}

impl Slot {
    /// Takes the first so many of its requests off; the rest begins at `rest_start`.
    fn split(&mut self, count: usize, rest_start: u64) -> Self {
        let start = std::mem::replace(&mut self.start, rest_start);
        Self { owed: self.owed.split(count), start, watch: None, on_error: self.on_error.clone() }
    }
}

/// How many whole requests the first `limit` bytes have, where the last of them ends, and where the one behind it does.
fn requests_until(bytes: &[u8], limit: usize) -> (usize, usize, usize) {
    let mut scanner = RequestScanner::new(RequestLimits::default());
    let (mut whole, mut at) = (0, 0);
    while let Ok(Some(frame)) = scanner.scan(&bytes[at..]) {
        if at + frame.len > limit {
            return (whole, at, at + frame.len);
        }
        (whole, at) = (whole + 1, at + frame.len);
    }
    (whole, at, at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::ReplyQueue;
    use bytes::Buf;

    fn inner() -> Inner {
        Inner { state: State::Up, written: 1000, ..Inner::new() }
    }

    fn request(number: usize) -> Vec<u8> {
        format!("*2\r\n$3\r\nGET\r\n$2\r\n{number:02}\r\n").into_bytes()
    }

    /// Where slots begin, and of how many requests they are.
    fn slots(inner: &Inner) -> Vec<(u64, usize)> {
        inner.slots.iter().map(|slot| (slot.start, slot.owed.count())).collect()
    }

    #[test]
    fn wherever_writing_stops_each_request_is_known_to_be_written_partly_written_or_not() {
        let len = request(0).len() as u64;
        for first in 0..=6 * len {
            for second in (first..=6 * len).step_by(7) {
                let queue = ReplyQueue::new(1 << 20);
                let mut inner = inner();
                // One, a run of four, and one more.
                for (place, count) in [(0, 1), (1, 4), (5, 1)] {
                    let start = 1000 + place * len;
                    inner.slots.push_back(Slot { owed: queue.run(count), start, watch: None, on_error: None });
                }
                (0..6).for_each(|number| inner.out.extend_from_slice(&request(number)));
                for upto in [first, second] {
                    let count = (1000 + upto - inner.written) as usize;
                    inner.split_partly_written(count);
                    inner.out.advance(count);
                    inner.written += count as u64;
                    let mut next = 1000;
                    for (start, count) in slots(&inner) {
                        let end = start + count as u64 * len;
                        assert_eq!(start, next, "{:?}", slots(&inner));
                        assert!(count == 1 || end <= inner.written || start >= inner.written, "{:?}", slots(&inner));
                        next = end;
                    }
                    assert_eq!(next, 1000 + 6 * len);
                }
                while let Some(slot) = inner.pop_slot() {
                    assert_eq!(slot.owed.count(), 1);
                    slot.owed.complete(b":1\r\n");
                }
                assert_eq!((queue.waiting(), queue.ready_bytes()), (0, 24));
            }
        }
    }
}
