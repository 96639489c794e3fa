//! What the sidecar keeps in memory for a tenant's clients (requests that are not whole or must wait, replies that are not read,
//! transactions) is counted and bounded: whoever would go beyond it is closed, and nobody else feels it.

use super::Session;
use super::core::{Core, Phase};
use crate::metrics::{ErrorKind, ErrorOrigin, Refused};
use crate::tenant::Live;
use bytes::BytesMut;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

const TOO_MUCH: &[u8] =
    b"-OVERLOADED the sidecar keeps as much for this tenant's clients as it may (buffer_bytes_max); the connection is closed\r\n";
/// A client with less is not counted: so most polls have nothing to count.
const FREE_BYTES: usize = 64 * 1024;

/// What of a tenant's bytes is one client's; given back with it.
#[derive(Default)]
pub(super) struct Held {
    of: Option<Arc<Live>>,
    bytes: usize,
}

impl Held {
    /// The client has so many now. False: they are more than before, and all of its tenant's together more than `most`.
    fn become_bytes(&mut self, live: &Arc<Live>, bytes: usize, most: Option<usize>) -> bool {
        if self.of.as_ref().is_some_and(|of| !Arc::ptr_eq(of, live)) {
            self.give_back();
        }
        let before = std::mem::replace(&mut self.bytes, bytes);
        self.of.get_or_insert_with(|| Arc::clone(live));
        let all = live.holds(before, bytes);
        bytes <= before || most.is_none_or(|most| all <= most)
    }

    fn give_back(&mut self) {
        if let Some(live) = self.of.take() {
            live.holds(std::mem::take(&mut self.bytes), 0);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.give_back();
    }
}

impl Core {
    fn held_bytes(&self) -> usize {
        self.replies.unsent_bytes() + self.pin.as_ref().map_or(0, |pin| pin.held_bytes())
    }
}

impl Session {
    /// To be asked whenever the client's bytes may have become more. False: it is to be closed.
    #[inline]
    fn may_hold(&mut self) -> bool {
        let bytes = self.unread.len() + self.core.held_bytes();
        if bytes <= FREE_BYTES && self.held.bytes == 0 {
            return true;
        }
        let tenant = &self.core.room.tenant;
        self.held.become_bytes(&tenant.live, if bytes <= FREE_BYTES { 0 } else { bytes }, tenant.limits.buffer_bytes)
    }

    /// After a poll of the client, which goes on: does it hold too much, and how does it end then?
    pub(super) fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.may_hold() {
            return Poll::Pending;
        }
        let core = &mut self.core;
        core.context.metrics.error(ErrorOrigin::Sidecar, ErrorKind::Overloaded);
        core.room.own.metrics.refused(Refused::Overloaded).increment(1);
        tracing::debug!(client = core.entry.id(), tenant = %core.room.tenant.name, "closed a client: buffer_bytes_max");
        if core.is_raw() || core.replies.waiting() > 0 || core.replies.unsent_bytes() > 0 {
            return Poll::Ready(Err(io::Error::other(
                "its tenant's clients hold more than they may (buffer_bytes_max)",
            )));
        }
        // It reads what it is sent: so it is told.
        (self.unread, self.held) = (BytesMut::new(), Held::default());
        core.push(TOO_MUCH);
        core.phase = Phase::Finishing;
        self.advance(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_holds_counts_for_its_tenant_until_it_leaves() {
        let (acme, other): (Arc<Live>, Arc<Live>) = Default::default();
        let (mut one, mut two) = (Held::default(), Held::default());
        assert!(one.become_bytes(&acme, 60, Some(100)) && two.become_bytes(&acme, 40, Some(100)));
        assert!(!two.become_bytes(&acme, 41, Some(100)), "it is one too many");
        assert!(two.become_bytes(&acme, 41, Some(10)) && two.become_bytes(&acme, 20, Some(10)), "it does not grow");
        // It has become another tenant's client.
        assert!(one.become_bytes(&other, 100, Some(100)) && two.become_bytes(&acme, 100, Some(100)));
        drop((one, two));
        assert_eq!((acme.holds(0, 0), other.holds(0, 0)), (0, 0));
    }
}
