//! Rows of CLIENT LIST and INFO as the upstream's engine writes them, and the filters of CLIENT LIST and KILL. A client with
//! a connection of its own is told of by that one's row, any other by the row of a link, each with what the sidecar knows
//! better.

use super::clients::ClientEntry;
use crate::command::Args;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Which clients.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Filter {
    ids: Option<Vec<u64>>,
    addr: Option<Vec<u8>>,
    laddr: Option<Vec<u8>>,
    user: Option<Vec<u8>>,
    kind: Option<Vec<u8>>,
    skip_me: Option<bool>,
    max_age_seconds: Option<u64>,
}

impl Filter {
    /// Of the arguments from `from` on. None: there is an error in them, or what this does not know; the upstream words it.
    /// `skip_me`: what holds where nothing is said of it.
    #[must_use]
    pub fn parse(args: &Args<'_>, from: usize, skip_me: bool) -> Option<Self> {
        let mut filter = Self { skip_me: Some(skip_me), ..Self::default() };
        let mut at = from;
        while at < args.len() {
            let value = args.get(at + 1)?;
            match () {
                () if args.is(at, "ID") => {
                    let ids = filter.ids.get_or_insert_default();
                    at += 1;
                    ids.push(number(value)?);
                    // CLIENT LIST takes several.
                    while let Some(id) = args.get(at + 1).and_then(number) {
                        ids.push(id);
                        at += 1;
                    }
                    at += 1;
                    continue;
                }
                () if args.is(at, "ADDR") => filter.addr = Some(value.to_vec()),
                () if args.is(at, "LADDR") => filter.laddr = Some(value.to_vec()),
                () if args.is(at, "USER") => filter.user = Some(value.to_vec()),
                () if args.is(at, "TYPE") => {
                    let kind = value.to_ascii_lowercase();
                    if !matches!(&kind[..], b"normal" | b"pubsub" | b"master" | b"primary" | b"slave" | b"replica") {
                        return None;
                    }
                    filter.kind = Some(kind);
                }
                () if args.is(at, "SKIPME") && value.eq_ignore_ascii_case(b"yes") => filter.skip_me = Some(true),
                () if args.is(at, "SKIPME") && value.eq_ignore_ascii_case(b"no") => filter.skip_me = Some(false),
                () if args.is(at, "MAXAGE") => filter.max_age_seconds = Some(number(value).filter(|&age| age > 0)?),
                () => return None,
            }
            at += 2;
        }
        // They are looked for once for each client.
        if let Some(ids) = &mut filter.ids {
            ids.sort_unstable();
        }
        Some(filter)
    }

    /// The words of the same filters but those by id.
    pub fn words<'a>(args: &Args<'a>, from: usize) -> Vec<&'a [u8]> {
        let (mut words, mut at) = (Vec::new(), from);
        while at < args.len() {
            let by_id = args.is(at, "ID");
            if !by_id {
                words.extend(args.get(at));
                words.extend(args.get(at + 1));
            }
            at += 2;
            while by_id && args.get(at).and_then(number).is_some() {
                at += 1;
            }
        }
        words
    }

    /// The old form: by its address, oneself too.
    #[must_use]
    pub fn address(addr: &[u8]) -> Self {
        Self { addr: Some(addr.to_vec()), skip_me: Some(false), ..Self::default() }
    }

    /// Is this client meant, where `me` asks?
    #[must_use]
    pub fn matches(&self, entry: &ClientEntry, me: u64, default_user: &[u8]) -> bool {
        let state = entry.state();
        let user = if state.user.is_empty() { default_user } else { &state.user };
        let is = |wanted: &Option<Vec<u8>>, has: &[u8]| wanted.as_deref().is_none_or(|wanted| wanted == has);
        let kind = if state.subscribed { b"pubsub".as_slice() } else { b"normal" };
        self.ids.as_ref().is_none_or(|ids| ids.binary_search(&entry.id()).is_ok())
            && is(&self.addr, entry.door.addr.as_bytes())
            && is(&self.laddr, entry.door.laddr.as_bytes())
            && is(&self.user, user)
            && is(&self.kind, kind)
            && !(self.skip_me == Some(true) && entry.id() == me)
            && self.max_age_seconds.is_none_or(|age| entry.age().as_secs() >= age)
    }
}

/// A client's id, as an argument tells it.
#[must_use]
pub fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok().filter(|&id| id > 0)
}

/// The text of CLIENT LIST: `rows` are the upstream's, the asking connection's among them.
#[must_use]
pub fn list(rows: &str, clients: &[Arc<ClientEntry>], me: &Asking<'_>) -> String {
    let Some(template) = rows.lines().next() else { return String::new() };
    let rows: HashMap<u64, &str> = rows.lines().filter_map(|row| Some((id_of(row)?, row))).collect();
    let mut out = String::with_capacity(clients.len() * 320);
    for entry in clients {
        let (own, link) = {
            let state = entry.state();
            (state.upstream_id.and_then(|id| rows.get(&id)), state.link_id.and_then(|id| rows.get(&id)))
        };
        row(&mut out, own.or(link).copied().unwrap_or(template), own.is_some(), entry, me);
    }
    out
}

fn id_of(row: &str) -> Option<u64> {
    row.strip_prefix("id=")?.split(' ').next()?.parse().ok()
}

/// Who asks for rows, and with what.
pub struct Asking<'a> {
    /// Its id.
    pub id: u64,
    /// Bytes of the request.
    pub request_bytes: usize,
    /// Whom a client is that has not said so.
    pub default_user: &'a [u8],
    /// Nothing is told that others move.
    pub told_apart: bool,
}

/// One row, with its newline. `own`: `upstream` is that of the client's own connection.
pub fn row(out: &mut String, upstream: &str, own: bool, entry: &ClientEntry, me: &Asking<'_>) {
    let state = entry.state().clone();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let total = |figure: &AtomicU64| figure.load(Ordering::Relaxed).to_string();
    let mut blank = "";
    for field in upstream.trim_end_matches('\n').split(' ') {
        out.push_str(blank);
        blank = " ";
        let Some((key, value)) = field.split_once('=') else {
            out.push_str(field);
            continue;
        };
        let ours = match key {
            "id" => Some(entry.id().to_string()),
            "addr" => Some(entry.door.addr.clone()),
            "laddr" => Some(entry.door.laddr.clone()),
            // The lowest number that is free: it would tell how many connections there are.
            "fd" if me.told_apart => Some(entry.id().to_string()),
            "fd" => Some(entry.door.fd.to_string()),
            "name" => Some(text(&state.name)),
            "age" => Some(entry.age().as_secs().to_string()),
            "idle" => Some(entry.idle().as_secs().to_string()),
            "flags" => Some(flags(value, own, entry.door.unix)),
            "lib-name" => Some(text(&state.lib_name)),
            "lib-ver" => Some(text(&state.lib_ver)),
            "tot-net-in" => Some(total(&entry.traffic.bytes_in)),
            "tot-net-out" => Some(total(&entry.traffic.bytes_out)),
            "tot-cmds" => Some(total(&entry.traffic.requests)),
            // Redis has the request in its buffer while it answers it.
            "qbuf" if entry.id() == me.id => Some(me.request_bytes.to_string()),
            _ if own => None,
            // And that is the command that it executes.
            "cmd" if entry.id() == me.id => None,
            "db" => Some(state.db.to_string()),
            "resp" => Some(state.resp.to_string()),
            "user" => Some(text(if state.user.is_empty() { me.default_user } else { &state.user })),
            "cmd" => Some(text(&state.command)),
            "redir" | "multi" => Some("-1".to_owned()),
            "sub" | "psub" | "ssub" | "watch" | "qbuf" | "argv-mem" | "multi-mem" | "obl" | "oll" | "omem" => {
                Some("0".to_owned())
            }
            // Of a link that others may use too.
            "qbuf-free" | "rbs" | "rbp" | "tot-mem" | "io-thread" if me.told_apart => Some("0".to_owned()),
            "events" => Some("r".to_owned()),
            _ => None,
        };
        out.push_str(key);
        out.push('=');
        out.push_str(ours.as_deref().unwrap_or(value));
    }
    out.push('\n');
}

/// A link's own flags are nobody's; of a client's own connection only that it is a unix socket.
fn flags(upstream: &str, own: bool, unix: bool) -> String {
    let mut flags: String = if own { upstream.replace(['U', 'N'], "") } else { String::new() };
    if unix {
        flags.push('U');
    }
    if flags.is_empty() { "N".to_owned() } else { flags }
}

#[cfg(test)]
mod tests {
    use super::super::clients::{Clients, Door};
    use super::*;
    use crate::resp::ArgRange;

    fn filter(line: &str, from: usize) -> Option<Filter> {
        let mut ranges = Vec::new();
        let mut at = 0;
        for word in line.split(' ') {
            ranges.push(ArgRange { start: at, end: at + word.len() });
            at += word.len() + 1;
        }
        Filter::parse(&Args::new(line.as_bytes(), &ranges), from, true)
    }

    fn matching(filter: &Filter, clients: &Clients) -> Vec<u64> {
        clients.all().iter().filter(|entry| filter.matches(entry, 1, b"default")).map(|entry| entry.id()).collect()
    }

    #[test]
    fn filters_are_met_all_at_once() {
        let clients = Clients::default();
        for port in 1..=3 {
            let entry = clients.enter(Door { addr: format!("1.1.1.1:{port}"), ..Door::default() });
            entry.state().subscribed = port == 3;
        }
        for (line, expected) in [
            ("CLIENT KILL ID 2", vec![2]),
            ("CLIENT LIST ID 3 2 9", vec![2, 3]),
            ("CLIENT KILL TYPE normal", vec![2]),
            ("CLIENT KILL TYPE normal SKIPME no", vec![1, 2]),
            ("CLIENT KILL type PubSub", vec![3]),
            ("CLIENT KILL ADDR 1.1.1.1:2 ID 3", vec![]),
            ("CLIENT KILL USER default", vec![2, 3]),
            ("CLIENT KILL USER bob", vec![]),
            ("CLIENT KILL MAXAGE 1000", vec![]),
        ] {
            assert_eq!(matching(&filter(line, 2).expect(line), &clients), expected, "{line}");
        }
        for bad in
            ["CLIENT KILL ID", "CLIENT KILL ID x", "CLIENT KILL TYPE x", "CLIENT KILL SKIPME maybe", "CLIENT KILL NO 1"]
        {
            assert_eq!(filter(bad, 2), None, "{bad}");
        }
    }

    #[test]
    fn a_row_tells_what_the_sidecar_knows_in_the_engines_own_form() {
        let clients = Clients::default();
        let entry =
            clients.enter(Door { addr: "1.1.1.1:5".into(), laddr: "1.1.1.2:6".into(), fd: 9, ..Door::default() });
        *entry.state() = super::super::clients::ClientState {
            name: b"ann".to_vec(),
            db: 2,
            resp: 3,
            command: b"get".to_vec(),
            ..Default::default()
        };
        let upstream = "id=77 addr=x:1 laddr=y:2 fd=8 name= age=100 idle=50 flags=PU db=0 sub=1 multi=3 cmd=client|list user=default redir=7 resp=2";
        let me = Asking { id: 9, request_bytes: 26, default_user: b"bob", told_apart: false };
        let shown = list(&format!("{upstream}\n"), &clients.all(), &me);
        assert_eq!(
            shown,
            "id=1 addr=1.1.1.1:5 laddr=1.1.1.2:6 fd=9 name=ann age=0 idle=0 flags=N db=2 sub=0 multi=-1 cmd=get user=bob redir=-1 resp=3\n"
        );
        let apart = Asking { told_apart: true, ..me };
        let shown =
            list("id=5 fd=8 qbuf-free=20474 rbs=16384 rbp=16384 tot-mem=37760 events=r\n", &clients.all(), &apart);
        assert_eq!(shown, "id=1 fd=1 qbuf-free=0 rbs=0 rbp=0 tot-mem=0 events=r\n");
        entry.state().upstream_id = Some(77);
        let shown = list(upstream, &clients.all(), &me);
        assert_eq!(
            shown,
            "id=1 addr=1.1.1.1:5 laddr=1.1.1.2:6 fd=9 name=ann age=0 idle=0 flags=P db=0 sub=1 multi=3 cmd=client|list user=default redir=7 resp=2\n"
        );
    }
}
