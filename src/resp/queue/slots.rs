//! What is here of a client's replies, in the order of its requests.

use super::super::wakeup::Wakeup;
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;

pub(super) enum Slot {
    /// Nothing of the reply is here yet, or the part that came while others were ahead.
    Waiting(Option<BytesMut>),
    Ready(Bytes),
}

#[derive(Default)]
pub(super) struct Inner {
    pub(super) out: BytesMut,
    /// The number of the request whose reply is next.
    pub(super) head: u64,
    /// The number of the client's next request.
    pub(super) tail: u64,
    /// Of the requests from `head` on, as far as something is here already that is not to be written yet. Nearly always none:
    /// all between `head` and `tail` that have no slot wait.
    pub(super) slots: VecDeque<Slot>,
    /// Bytes kept in `slots`.
    pub(super) held_bytes: usize,
    pub(super) waiting: usize,
    /// Of this request's reply the rest will never come: nothing may stand behind what the client has of it.
    pub(super) cut: Option<u64>,
    pub(super) wakeup: Wakeup,
}

impl Inner {
    /// The slot of that request, which is not answered.
    pub(super) fn slot(&mut self, number: u64) -> Option<&mut Slot> {
        let place = usize::try_from(number.checked_sub(self.head)?).ok().filter(|_| number < self.tail)?;
        self.make_slots(place + 1);
        self.slots.get_mut(place)
    }

    /// The first so many requests have slots.
    pub(super) fn make_slots(&mut self, count: usize) {
        if self.slots.len() < count {
            self.slots.resize_with(count, || Slot::Waiting(None));
        }
    }

    pub(super) fn queued(&self) -> usize {
        (self.tail - self.head) as usize
    }

    /// No more of this request's reply comes than what is here, nor of any behind it.
    pub(super) fn cut_at(&mut self, number: u64) {
        let cut = self.cut.map_or(number, |cut| cut.min(number));
        self.cut = Some(cut);
        let keep = usize::try_from(cut.saturating_sub(self.head)).unwrap_or(usize::MAX).saturating_add(1);
        for slot in self.slots.drain(keep.min(self.slots.len())..) {
            self.held_bytes -= match slot {
                Slot::Waiting(kept) => kept.map_or(0, |kept| kept.len()),
                Slot::Ready(ready) => ready.len(),
            };
        }
    }

    /// The client may not see anything of this request's reply any more, nor of what has none.
    pub(super) fn is_cut(&self, number: u64) -> bool {
        self.cut.is_some_and(|cut| number > cut)
    }

    /// What came early of the replies that are next goes ahead.
    pub(super) fn advance(&mut self) {
        while let Some(slot) = self.slots.front_mut() {
            match slot {
                Slot::Ready(ready) => {
                    self.held_bytes -= ready.len();
                    self.out.extend_from_slice(ready);
                    self.slots.pop_front();
                    self.head += 1;
                }
                Slot::Waiting(kept) => {
                    // It is its turn now: what came early goes ahead, the rest follows as it comes.
                    if let Some(kept) = kept.take() {
                        self.held_bytes -= kept.len();
                        self.out.extend_from_slice(&kept);
                    }
                    break;
                }
            }
        }
    }

    /// Replies for which others must come first: the first one's place has them all.
    pub(super) fn keep(&mut self, number: u64, count: usize, bytes: &[u8]) {
        let Some(slot) = self.slot(number) else { return };
        let ready = match slot {
            Slot::Waiting(Some(kept)) => {
                kept.extend_from_slice(bytes);
                std::mem::take(kept).freeze()
            }
            _ => Bytes::copy_from_slice(bytes),
        };
        *slot = Slot::Ready(ready);
        self.held_bytes += bytes.len();
        for next in 1..count as u64 {
            if let Some(slot) = self.slot(number + next) {
                *slot = Slot::Ready(Bytes::new());
            }
        }
    }
}
