//! INFO for one of many: what client libraries look for before they begin, and nothing that counts, names or times others.

use crate::resp::splice;
use bytes::BytesMut;

/// The fields that an isolated tenant sees, each with who reads it.
///
/// Left out on purpose: all that moves with others' doings (clients, memory, stats, keyspace, commandstats, CPU), what names the
/// machine or the upstream's place (os, tcp_port, run_id, executable, config_file, process_id, master_host, slave0 …), what is
/// loaded into it (modules), and how far it is with what it does (loading_eta_seconds, rdb_bgsave_in_progress, lru_clock).
const FIELDS: &[&[u8]] = &[
    // Version checks: BullMQ, Sidekiq, Celery's kombu, RQ, StackExchange.Redis, redis-py, phpredis.
    b"redis_version",
    b"valkey_version",
    b"valkey_release_stage",
    b"server_name",
    b"dragonfly_version",
    // Whether to behave as in a cluster: ioredis, StackExchange.Redis (`server_mode` is Valkey's word).
    b"redis_mode",
    b"server_mode",
    b"cluster_enabled",
    b"arch_bits",
    // That it was started anew concerns its own scripts and blocked commands too; Sidekiq's and others' pages show it.
    b"uptime_in_seconds",
    b"uptime_in_days",
    // The ready checks of ioredis and node-redis.
    b"loading",
    b"async_loading",
    b"role",
    b"master_link_status",
    // BullMQ and Sidekiq warn unless it is noeviction.
    b"maxmemory_policy",
];

/// The sections whose headers stay, as a client asked for them. Others, a module's, may be named after anything.
const SECTIONS: &[&[u8]] = &[
    b"Server",
    b"Clients",
    b"Memory",
    b"Persistence",
    b"Threads",
    b"Stats",
    b"Replication",
    b"CPU",
    b"Modules",
    b"Commandstats",
    b"Errorstats",
    b"Latencystats",
    b"Cluster",
    b"Keyspace",
];

/// The text, `$…` or `=…`, with these lines alone.
pub fn inside(reply: &[u8]) -> Option<BytesMut> {
    crate::resp::values::payload(reply).filter(|_| matches!(reply.first(), Some(b'$' | b'=')))?;
    Some(splice::edit_text(reply, text))
}

fn text(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    // A section that is left out takes the blank line behind it along.
    let mut shown = true;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let bare = line.trim_ascii_end();
        if let Some(section) = bare.strip_prefix(b"# ") {
            shown = SECTIONS.contains(&section);
        }
        let field = bare.split(|byte| *byte == b':').next().unwrap_or_default();
        let keep = bare.is_empty() || bare.starts_with(b"# ") || FIELDS.contains(&field);
        if shown && keep {
            out.extend_from_slice(line);
        }
    }
    out
}
