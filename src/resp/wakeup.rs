//! Whom to wake when something changed, once for each time it looked.

use std::task::Waker;

/// A task's waker that is kept from poll to poll: to wake it twice costs no more than once.
#[derive(Default)]
pub struct Wakeup {
    waker: Option<Waker>,
    woken: bool,
}

impl Wakeup {
    /// It looks now, and is to be woken when something changes from here on.
    pub fn register(&mut self, waker: &Waker) {
        self.woken = false;
        match &mut self.waker {
            Some(known) if known.will_wake(waker) => {}
            other => *other = Some(waker.clone()),
        }
    }

    /// Something changed.
    pub fn wake(&mut self) {
        if !std::mem::replace(&mut self.woken, true)
            && let Some(waker) = &self.waker
        {
            waker.wake_by_ref();
        }
    }

    /// There is nobody to wake any more.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}
