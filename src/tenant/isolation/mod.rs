//! A tenant shut into its own key space: what becomes of a request ([`request`]), of its reply ([`back`]) and of what the
//! upstream sends unasked ([`push`]). Pure: bytes in, bytes out.
//!
//! The rewriting is the convenience; the upstream's ACL user of the tenant is the second wall.

pub mod back;
mod names;
mod parse;
mod pieces;
mod plan;
pub mod push;
mod refusal;
pub mod request;
mod rows;
mod scripts;
mod simple;
mod subcommands;
pub mod table;
mod tracking;
mod wrap;

pub use back::Back;
pub use names::is_everybodys;
pub use pieces::{Pieces, TooLong, begun};
pub use request::{Isolation, Own, Scripts, Verdict, judge, judge_in_pieces};
pub use simple::KeyPlaces;

use bytes::BytesMut;

/// Where a tenant's ordinary keys and channels live upstream: all of its names behind `<namespace>:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySpace {
    prefix: Box<[u8]>,
}

impl KeySpace {
    /// Of a namespace, `[A-Za-z0-9_-]{1,64}`: no prefix begins another, and none has a character that a glob knows.
    #[must_use]
    pub fn new(namespace: &str) -> Self {
        let mut prefix = namespace.as_bytes().to_vec();
        prefix.push(b':');
        Self { prefix: prefix.into_boxed_slice() }
    }

    /// What stands before each name.
    #[must_use]
    pub fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    /// Is this namespace's prefix one that the sidecar or the upstream gives a meaning of its own? `inv1:` begins the keys of
    /// every tenant's inventory (and `inv2:` may begin those of a later layout), `__redis__:` the channel of invalidations. No
    /// tenant can be isolated there.
    #[must_use]
    pub fn is_reserved(namespace: &str) -> bool {
        let layout = namespace.strip_prefix("inv").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()));
        layout || namespace == "__redis__"
    }

    /// Does [`Self::is_reserved`] say so of this one?
    fn is_anothers(&self) -> bool {
        let namespace = self.prefix.strip_suffix(b":").unwrap_or_default();
        matches!(namespace.first(), Some(b'i' | b'_')) && std::str::from_utf8(namespace).is_ok_and(Self::is_reserved)
    }

    /// The name as the upstream knows it.
    #[must_use]
    pub fn outside(&self, name: &[u8]) -> BytesMut {
        let mut out = BytesMut::with_capacity(self.prefix.len() + name.len());
        out.extend_from_slice(&self.prefix);
        out.extend_from_slice(name);
        out
    }

    /// The tenant's name of what the upstream knows as this; None: it is not the tenant's.
    #[must_use]
    pub fn inside<'n>(&self, name: &'n [u8]) -> Option<&'n [u8]> {
        name.strip_prefix(&*self.prefix)
    }
}
