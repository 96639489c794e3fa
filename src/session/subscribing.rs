//! Subscriptions that others pay for: the upstream compares each pattern with the channel of every message, and keyspace events
//! of everybody are sent to each who asks for them. So a tenant has so many and no more.

use super::core::{Core, Step};
use crate::command::Args;
use crate::metrics::{ErrorKind, Refused};
use crate::tenant::Pinned;
use crate::tenant::isolation::is_everybodys;
use crate::upstream::link::state::Family;

const TOO_MANY: &[u8] =
    b"-OVERLOADED this tenant has as many patterns, or subscriptions to keyspace events, as it may have; this was not sent\r\n";

impl Core {
    /// Of an isolated tenant's client, where its tenant would have too many.
    pub(super) fn refuse_subscription(&mut self, args: &Args<'_>) -> Option<Step> {
        if !self.room.tenant.is_isolated() || self.may_subscribe(args) {
            return None;
        }
        self.back = None;
        self.room.own.metrics.refused(Refused::Overloaded).increment(1);
        Some(self.refuse(ErrorKind::Overloaded, TOO_MANY))
    }

    /// May the client, on its own connection, subscribe to these? Of what is no subscription this is true.
    fn may_subscribe(&self, args: &Args<'_>) -> bool {
        let by_pattern = args.is(0, "PSUBSCRIBE");
        if !by_pattern && !args.is(0, "SUBSCRIBE") {
            return true;
        }
        let Some(pin) = &self.pin else { return true };
        let Some(counted) = pin.guard.as_ref().and_then(|guard| guard.downcast_ref::<Pinned>()) else { return true };
        let everybodys = args.from(1).filter(|name| is_everybodys(name, by_pattern)).count() as u64;
        // What replies that are still to come will say of it is not known.
        let known = (self.replies.waiting() == 0).then(|| pin.remembered().subscriptions.of(Family::Pattern) as u64);
        let patterns = if by_pattern { args.len() as u64 - 1 } else { 0 };
        counted.subscribes(known, patterns, everybodys)
    }
}
