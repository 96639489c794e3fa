//! What a connection is subscribed to, and the frames that tell it.

/// The three kinds of subscriptions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// `SUBSCRIBE`
    Channel,
    /// `PSUBSCRIBE`
    Pattern,
    /// `SSUBSCRIBE`
    Shard,
}

/// What a connection is subscribed to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Subscriptions {
    pub(super) channels: usize,
    pub(super) patterns: usize,
    pub(super) shards: usize,
}

impl Subscriptions {
    /// To nothing.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// Of one kind.
    #[must_use]
    pub fn of(self, family: Family) -> usize {
        match family {
            Family::Channel => self.channels,
            Family::Pattern => self.patterns,
            Family::Shard => self.shards,
        }
    }

    /// An acknowledgement came, with the number of subscriptions that it tells: of channels and patterns together, or of
    /// shard channels.
    pub(super) fn note(&mut self, family: Family, count: usize) {
        match family {
            Family::Channel => self.channels = count.saturating_sub(self.patterns),
            Family::Pattern => self.patterns = count.saturating_sub(self.channels),
            Family::Shard => self.shards = count,
        }
    }
}

/// A frame that is no plain reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A published message.
    Message,
    /// An acknowledgement, with the number of subscriptions that it tells.
    Acknowledged(Family, usize),
}

/// What kind of event this frame is: an array or a push whose first element says so. None: none.
#[must_use]
pub fn event(frame: &[u8]) -> Option<Event> {
    let mut lines = frame.split(|&byte| byte == b'\n');
    let (_, _, name) = (lines.next()?, lines.next()?, lines.next()?);
    let family = match name.strip_suffix(b"\r")? {
        b"message" | b"pmessage" | b"smessage" => return Some(Event::Message),
        b"subscribe" | b"unsubscribe" => Family::Channel,
        b"psubscribe" | b"punsubscribe" => Family::Pattern,
        b"ssubscribe" | b"sunsubscribe" => Family::Shard,
        _ => return None,
    };
    let count = frame.strip_suffix(b"\r\n")?.rsplit(|&byte| byte == b':').next()?;
    Some(Event::Acknowledged(family, std::str::from_utf8(count).ok()?.parse().ok()?))
}
