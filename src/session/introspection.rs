//! COMMAND and INFO: the upstream's answer, with the inventory's commands and the sidecar's own figures in it.

use super::core::{Core, SessionContext};
use super::rewritten::{Rewriting, request, rewrite, write_text};
use crate::command::{About, Args};
use crate::inventory::commands::{COMMANDS, Command, find};
use crate::inventory::docs::{KeysOf, Listed, keys_of, write_docs, write_entry};
use crate::metrics::Label;
use crate::resp::{Proto, ReplyQueue, splice, write};
use crate::tenant::Tenant;
use crate::upstream::link::state::Watch;
use bytes::BytesMut;
use std::fmt::Write;
use std::rc::Rc;
use std::sync::Arc;

/// It has an entry wherever COMMAND can be asked, from which the form of entries is seen.
const KNOWN: &[u8] = b"command";

/// What is to be asked, and what is made of the reply. None: the inventory is not concerned.
pub(super) fn command(about: About, args: &Args<'_>) -> Option<Rewriting> {
    match about {
        About::All => Some((None, rewrite(with_entries))),
        About::Info if args.len() == 2 => Some((None, rewrite(with_entries))),
        About::Info => info(args),
        About::Count => Some((None, rewrite(|reply, _| with_count(reply)))),
        About::List => {
            let listed = listed(args)?;
            Some((None, rewrite(move |reply, _| with_names(reply, &listed))))
        }
        About::Docs => {
            let mut named: Vec<&'static Command> = args.from(2).filter_map(find).collect();
            if args.len() == 2 {
                named = COMMANDS.to_vec();
            } else if named.is_empty() {
                return None;
            }
            Some((None, rewrite(move |reply, proto| with_docs(reply, &named, proto))))
        }
        About::Keys => {
            keys(b"GETKEYS", args).map(|(asked, _)| (Some(asked), rewrite(|reply, _| BytesMut::from(reply))))
        }
        About::KeysAndFlags => {
            let (asked, flags) = keys(b"GETKEYSANDFLAGS", args)?;
            Some((Some(asked), rewrite(move |reply, proto| with_key_flags(reply, flags, proto))))
        }
    }
}

/// All entries, and the inventory's behind them. An upstream that answers none (6.2 to `COMMAND INFO`) gets none.
fn with_entries(reply: &[u8], proto: Proto) -> BytesMut {
    let Some(fields) = splice::first(reply).and_then(splice::count) else { return BytesMut::from(reply) };
    let mut entries = BytesMut::new();
    for command in COMMANDS {
        write_entry(&mut entries, command, fields, proto);
    }
    splice::append(reply, COMMANDS.len(), &entries)
}

/// `COMMAND INFO name …`: in the place of a command that the upstream does not know one is asked for that it does.
fn info(args: &Args<'_>) -> Option<Rewriting> {
    let named: Vec<Option<&'static Command>> = args.from(2).map(find).collect();
    if named.iter().all(Option::is_none) {
        return None;
    }
    let mut words: Vec<&[u8]> = vec![b"COMMAND", b"INFO"];
    words.extend(args.from(2).zip(&named).map(|(name, own)| if own.is_some() { KNOWN } else { name }));
    let rewritten = move |reply: &[u8], proto| {
        splice::exchange(reply, |place, value, out| {
            let own = named.get(place).copied().flatten();
            let (Some(command), Some(fields)) = (own, splice::count(value)) else { return false };
            write_entry(out, command, fields, proto);
            true
        })
    };
    Some((Some(request(&words)), rewrite(rewritten)))
}

fn with_count(reply: &[u8]) -> BytesMut {
    let Some(theirs) = integer(reply) else { return BytesMut::from(reply) };
    let mut out = BytesMut::new();
    write::integer(&mut out, theirs + COMMANDS.len() as i64);
    out
}

fn integer(reply: &[u8]) -> Option<i64> {
    std::str::from_utf8(reply.strip_prefix(b":")?.strip_suffix(b"\r\n")?).ok()?.parse().ok()
}

/// None: a filter that lets nothing of the inventory through, or an error.
fn listed(args: &Args<'_>) -> Option<Listed> {
    match args.len() {
        2 => Some(Listed::All),
        5 if args.is(2, "FILTERBY") => {
            let wanted = args.get(4)?.to_vec();
            match () {
                () if args.is(3, "ACLCAT") => Some(Listed::Category(wanted)),
                () if args.is(3, "PATTERN") => Some(Listed::Pattern(wanted)),
                () => None,
            }
        }
        _ => None,
    }
}

fn with_names(reply: &[u8], listed: &Listed) -> BytesMut {
    let (mut names, mut more) = (BytesMut::new(), 0);
    for command in listed.commands() {
        write::bulk(&mut names, command.lower_name().as_bytes());
        more += 1;
    }
    splice::append(reply, more, &names)
}

fn with_docs(reply: &[u8], named: &[&'static Command], proto: Proto) -> BytesMut {
    let mut docs = BytesMut::new();
    named.iter().for_each(|command| write_docs(&mut docs, command, proto));
    // RESP2 counts names and values.
    let each = if reply.first() == Some(&b'%') { 1 } else { 2 };
    splice::append(reply, named.len() * each, &docs)
}

/// The same question of a command of the upstream's with the same keys, or the same fault, so that it answers in its own
/// words. And what is done to the keys.
fn keys(subcommand: &[u8], args: &Args<'_>) -> Option<(BytesMut, &'static [&'static str])> {
    let asked: Vec<&[u8]> = args.from(2).collect();
    let mut words: Vec<&[u8]> = vec![b"COMMAND", subcommand];
    let mut done: &[&str] = &[];
    match keys_of(&asked)? {
        KeysOf::Keys(keys, flags) => {
            words.push(b"mget");
            words.extend(keys);
            done = flags;
        }
        KeysOf::NoKeys => {
            words.push(b"ping");
            words.extend(&asked[1..]);
        }
        // As many words as COMMAND itself must have.
        KeysOf::WrongArity if asked.len() == 1 => words.push(b"get"),
        KeysOf::WrongArity => words.extend([b"get".as_slice(), b"key", b"key"]),
    }
    Some((request(&words), done))
}

/// `[[key, flags], …]` with these flags.
fn with_key_flags(reply: &[u8], flags: &[&str], proto: Proto) -> BytesMut {
    splice::exchange(reply, |_, pair, out| {
        out.extend_from_slice(&splice::exchange(pair, |place, _, out| {
            if place == 1 {
                write::set_header(out, proto, flags.len());
                flags.iter().for_each(|flag| write::simple(out, flag));
            }
            place == 1
        }));
        true
    })
}

impl Core {
    /// Where the sidecar has no rights of its own upstream, a client that has proved to have some asks for the upstream's
    /// commands, for all. The client does not wait for it.
    pub(super) fn learn_commands(&mut self) {
        let knowledge = Arc::clone(&self.context.knowledge);
        if self.client.greeting.identity.is_none() || !knowledge.lacks_password() || !knowledge.is_to_be_asked() {
            return;
        }
        knowledge.asking();
        let learn = move |reply: &[u8], _| {
            knowledge.learn(reply);
            BytesMut::new()
        };
        let nobody = ReplyQueue::new(usize::MAX);
        self.shared_link().send(&request(&[b"COMMAND"]), nobody.ticket(), Watch::rewrite(learn));
    }

    /// The answer to INFO of nothing but the sidecar's own section.
    pub(super) fn own_info(&self) -> BytesMut {
        write_text(&section(&self.context, &self.room.tenant, self.told_apart), self.greeting().proto)
    }

    /// INFO of the upstream's sections: its clients are the sidecar's in place of the sidecar's connections. `own`: the
    /// sidecar's section comes last.
    pub(super) fn info(&self, own: bool) -> Rewriting {
        let (context, tenant, told_apart) = (Rc::clone(&self.context), Arc::clone(&self.room.tenant), self.told_apart);
        let rewritten = move |reply: &[u8], _| {
            splice::edit_text(reply, |before| {
                let figures = context.metrics.figures(&tenant.namespace);
                let mut text = with_clients(before, figures.clients, figures.connections());
                if own {
                    // A blank line stands between two sections.
                    text.extend_from_slice(if before.is_empty() { b"" } else { b"\r\n" });
                    text.extend_from_slice(section(&context, &tenant, told_apart).as_bytes());
                }
                text
            })
        };
        (None, rewrite(rewritten))
    }
}

/// `connected_clients` with the sidecar's `clients` in place of its upstream `connections`.
fn with_clients(info: &[u8], clients: u64, connections: u64) -> Vec<u8> {
    const FIELD: &[u8] = b"\nconnected_clients:";
    let place = memchr::memmem::find(info, FIELD).map(|at| at + FIELD.len());
    let Some((start, len)) = place.and_then(|at| Some((at, memchr::memchr(b'\r', &info[at..])?))) else {
        return info.to_vec();
    };
    let theirs = std::str::from_utf8(&info[start..start + len]).ok().and_then(|text| text.parse::<u64>().ok());
    let Some(theirs) = theirs else { return info.to_vec() };
    let count = theirs.saturating_sub(connections) + clients;
    [&info[..start], count.to_string().as_bytes(), &info[start + len..]].concat()
}

/// `# Inventory` and its fields, each with the prefix that a module's would have, for clients read all sections into one
/// table. Where tenants are told apart, nothing that others move.
fn section(context: &SessionContext, tenant: &Tenant, told_apart: bool) -> String {
    let figures = context.metrics.figures(&tenant.namespace);
    let mut out = "# Inventory\r\n".to_owned();
    let mut field = |name: &str, value: &dyn std::fmt::Display| {
        let _ = write!(out, "inventory_{name}:{value}\r\n");
    };
    field("version", &env!("CARGO_PKG_VERSION"));
    field("uptime_in_seconds", &figures.uptime.as_secs());
    field("namespace", &tenant.namespace);
    field("cells", &tenant.cells);
    if told_apart {
        field("clients", &tenant.live.clients());
    } else {
        field("workers", &context.workers);
        field("clients", &figures.clients);
        field("pinned_clients", &figures.pinned_clients);
        field("upstream_up", &u8::from(figures.upstream_up));
        field("upstream_links", &figures.links);
        field("upstream_pinned", &figures.pinned);
        field("upstream_warm", &figures.warm);
        field("upstream_pool", &figures.pool);
        field("queue_operations", &figures.queue_operations);
        field("batches", &figures.batches);
        field("operations_per_batch", &format_args!("{:.2}", figures.operations_per_batch()));
        field("retries", &figures.retries);
    }
    field("reservations_expired", &figures.reservations_expired);
    for (operation, ended) in &figures.operations {
        let name = format!("operation_{}", operation.word());
        field(&name, &format_args!("ok={},refused={},uncertain={}", ended.ok, ended.refused, ended.uncertain));
    }
    out
}
