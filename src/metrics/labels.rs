//! The labels of the metrics: closed sets, so that a handle is found by an index and no client can mint a series.
//!
//! Owns the words. Never holds a handle.

/// A closed set of label values.
pub trait Label: Copy + 'static {
    /// The label's name.
    const NAME: &'static str;
    /// All values, in the order of their indices.
    const ALL: &'static [Self];

    /// The value as it stands in the metrics.
    fn word(self) -> &'static str;

    /// Its place in [`Label::ALL`].
    fn index(self) -> usize;
}

macro_rules! labels {
    ($( $(#[$doc:meta])* pub enum $Name:ident as $label:literal { $( $(#[$value_doc:meta])* $Value:ident = $word:literal, )+ } )+) => { $(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $Name { $( $(#[$value_doc])* $Value, )+ }

        impl Label for $Name {
            const NAME: &'static str = $label;
            const ALL: &'static [Self] = &[$( Self::$Value ),+];

            fn word(self) -> &'static str {
                match self { $( Self::$Value => $word, )+ }
            }

            fn index(self) -> usize {
                self as usize
            }
        }
    )+ };
}

labels! {
    /// What was asked of the inventory.
    pub enum Operation as "operation" {
        /// INV.SETSTOCK
        SetStock = "setstock",
        /// INV.ADDSTOCK
        AddStock = "addstock",
        /// INV.RESERVE
        Reserve = "reserve",
        /// INV.COMMIT
        Commit = "commit",
        /// INV.ROLLBACK
        Rollback = "rollback",
        /// INV.EXTEND
        Extend = "extend",
        /// INV.GET
        Get = "get",
        /// INV.STOCK
        Stock = "stock",
        /// INV.PROTECT
        Protect = "protect",
        /// INV.UNPROTECT
        Unprotect = "unprotect",
        /// INV.ISPROTECTED
        IsProtected = "isprotected",
        /// INV.REAP and the reaper
        Reap = "reap",
    }

    /// What became of an operation: `ok`, or the first word of its error in snake case.
    pub enum Status as "status" {
        /// Done.
        Ok = "ok",
        /// INSUFFICIENTSTOCK
        InsufficientStock = "insufficient_stock",
        /// NOTFOUND
        NotFound = "not_found",
        /// EXPIRED
        Expired = "expired",
        /// ALREADYCOMMITTED
        AlreadyCommitted = "already_committed",
        /// ROLLEDBACK
        RolledBack = "rolled_back",
        /// INVALIDAMOUNT
        InvalidAmount = "invalid_amount",
        /// INVALIDTTL
        InvalidTtl = "invalid_ttl",
        /// EMPTYKEY
        EmptyKey = "empty_key",
        /// UNKNOWNSKU
        UnknownSku = "unknown_sku",
        /// CONFLICT
        Conflict = "conflict",
        /// LIMIT
        Limit = "limit",
        /// BELOWRESERVED
        BelowReserved = "below_reserved",
        /// OVERFLOW
        Overflow = "overflow",
        /// CROSSCELL
        CrossCell = "cross_cell",
        /// UNCERTAIN
        Uncertain = "uncertain",
        /// OVERLOADED
        Overloaded = "overloaded",
        /// UNAVAILABLE
        Unavailable = "unavailable",
        /// NOPERM
        NoPerm = "no_perm",
        /// NOAUTH
        NoAuth = "no_auth",
        /// ERR and any other word
        Err = "err",
    }

    /// The way a client's request went.
    pub enum Route as "route" {
        /// Answered by the sidecar itself.
        Local = "local",
        /// Over a shared link.
        Link = "link",
        /// Over the client's own upstream connection.
        Pinned = "pinned",
        /// Into the batcher.
        Inventory = "inventory",
    }

    /// Why a client got a connection of its own.
    pub enum PinReason as "reason" {
        /// MULTI, WATCH.
        Transaction = "transaction",
        /// A command that may wait.
        Blocking = "blocking",
        /// SUBSCRIBE and its like.
        Subscription = "subscription",
        /// MONITOR, replication, the script debugger.
        Raw = "raw",
        /// CLIENT TRACKING and other state of a connection.
        State = "state",
        /// A command that the upstream's COMMAND does not know.
        Unknown = "unknown",
        /// A request too large to be kept.
        Large = "large",
        /// By the configuration.
        Always = "always",
    }

    /// What an upstream connection is for.
    pub enum ConnectionKind as "kind" {
        /// Shared by clients.
        Link = "link",
        /// One client's own.
        Pinned = "pinned",
        /// Ready to be the next client's own.
        Warm = "warm",
        /// For inventory batches.
        Pool = "pool",
    }

    /// Which way bytes went, seen from the sidecar.
    pub enum Direction as "direction" {
        /// Read from clients.
        ClientIn = "client_in",
        /// Written to clients.
        ClientOut = "client_out",
        /// Read from the upstream.
        UpstreamIn = "upstream_in",
        /// Written to the upstream.
        UpstreamOut = "upstream_out",
    }

    /// Where TLS is spoken.
    pub enum TlsSide as "side" {
        /// With clients.
        Listener = "listener",
        /// With the upstream.
        Upstream = "upstream",
    }

    /// What became of a changed configuration, or of changed files of TLS.
    pub enum Reload as "result" {
        /// New connections use them.
        Ok = "ok",
        /// They are of no use, and what was before stays.
        Failed = "failed",
    }

    /// Why a tenant's request was refused.
    pub enum Refused as "reason" {
        /// It may not.
        NoPerm = "noperm",
        /// It is over a limit.
        Overloaded = "overloaded",
        /// Its client has not said who it is.
        NoAuth = "noauth",
        /// It named the tenant with a wrong password.
        WrongPass = "wrongpass",
    }

    /// How a client's TLS handshake ended.
    pub enum TlsHandshake as "result" {
        /// Well.
        Ok = "ok",
        /// One of the two refused the other.
        Failed = "failed",
        /// The client took too long.
        Timeout = "timeout",
        /// What the client says is not TLS.
        NotTls = "not_tls",
        /// The client closed.
        Gone = "gone",
    }

    /// Whose doing an error was.
    pub enum ErrorOrigin as "origin" {
        /// A client's.
        Client = "client",
        /// The upstream's, or the way there.
        Upstream = "upstream",
        /// The sidecar's own.
        Sidecar = "sidecar",
    }

    /// What an error was.
    pub enum ErrorKind as "kind" {
        /// Bytes that are no RESP.
        Protocol = "protocol",
        /// A command that is malformed.
        Syntax = "syntax",
        /// Too much is queued, or a limit is reached.
        Overloaded = "overloaded",
        /// The upstream cannot be reached.
        Unavailable = "unavailable",
        /// Sent, and no answer.
        Uncertain = "uncertain",
        /// A connection broke.
        Io = "io",
        /// Somebody took too long.
        Timeout = "timeout",
        /// The upstream refused the connection or the handshake, or the sidecar a client.
        Refused = "refused",
        /// A client that does not read what it asked for.
        SlowReader = "slow_reader",
        /// A command that the sidecar does not pass on.
        Unsupported = "unsupported",
    }
}
