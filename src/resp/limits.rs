//! The bounds of the wire, each with its source. Owns numbers alone; who enforces one is said beside it.

/// Arguments of one request. Redis up to 6.2 refuses more; 7.0 and later allow 2^31-1, which no client sends and which
/// would let six bytes an argument hold sixteen of ours for as long as the frame lasts.
pub const ARGS_MAX: usize = 1_048_576;

/// Bytes of one bulk argument: Redis's `proto-max-bulk-len` as it ships.
pub const BULK_BYTES_MAX: usize = 512 * 1024 * 1024;

/// Bytes of an inline request before its newline: Redis's `PROTO_INLINE_MAX_SIZE`.
pub const INLINE_BYTES_MAX: usize = 64 * 1024;

/// Bytes of a `*…` or `$…` line of a request before its CR: Redis applies `PROTO_INLINE_MAX_SIZE` here too. Nothing
/// longer than 20 digits is ever accepted; this is only when waiting for the line's end is given up.
pub const HEADER_BYTES_MAX: usize = 64 * 1024;

/// Arguments of a request before AUTH, where the tenant asks for one: as Redis since 6.2.6.
pub const UNAUTH_ARGS_MAX: usize = 10;

/// Bytes of one bulk before AUTH: as Redis since 6.2.6.
pub const UNAUTH_BULK_BYTES_MAX: usize = 16 * 1024;

/// Bytes of an inline request before AUTH, which is split into arguments as one after it is: as those of a bulk.
pub const UNAUTH_INLINE_BYTES_MAX: usize = 16 * 1024;

/// How deep a reply that passes through may nest: a level costs the scanner 24 bytes. Commands nest a handful of levels; a
/// script of Redis 7 gets to some thousands before it meets the limit of its own stack.
pub const REPLY_DEPTH_MAX: usize = 100_000;
/// How deep a reply may nest that is looked into: low enough for the recursive decoder behind
/// [`decode_reply`](super::decode_reply) to be safe on a thread's usual 2 MiB of stack (a test runs it on far less).
pub const DECODE_DEPTH_MAX: usize = 128;

/// Argument ranges reserved on the word of a header alone: a page. More room follows arguments that arrived.
pub const ARGS_RESERVED_MAX: usize = 256;

/// Argument ranges (and inline arguments) whose room is kept from one request to the next, so that a client's one giant
/// request does not hold 16 MiB for as long as it stays connected.
pub const ARGS_KEPT_MAX: usize = 1024;
