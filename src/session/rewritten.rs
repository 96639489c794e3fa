//! Commands whose answer only the upstream has, but not in the words that are true for this client: what is asked of it, and
//! what is made of its reply. Its refusals (arguments, rights) go to the client as they are.

use super::client_rows::{self, Asking, Filter, number};
use super::clients::{ClientEntry, Clients};
use super::core::Core;
use super::introspection;
use super::local::is_printable;
use crate::command::{Args, Rewritten};
use crate::resp::{Proto, decode_reply, values, write};
use crate::upstream::link::state::Rewrite;
use bytes::{Bytes, BytesMut};
use redis_protocol::resp3::types::BytesFrame;
use std::sync::Arc;
use std::time::Duration;

/// No client has it.
pub(super) const NOBODY: u64 = i64::MAX as u64;

/// What is to be asked, None: the client's own words; and what is made of the reply.
pub(super) type Rewriting = (Option<BytesMut>, Rewrite);

impl Core {
    /// None: the request as it is, and the reply too: an error, or nothing of the sidecar's is in it.
    pub(super) fn rewriting(&self, which: Rewritten, frame: &[u8], args: &Args<'_>) -> Option<Rewriting> {
        let clients = Arc::clone(&self.context.clients);
        let (me, default_user) = (Arc::clone(&self.entry), self.context.default_user.clone());
        let (request_bytes, told_apart) = (frame.len(), self.told_apart);
        match which {
            Rewritten::ClientId => Some((None, rewrite(move |reply, _| id(reply, me.id())))),
            Rewritten::ClientGetName => {
                let rewritten = move |reply: &[u8], proto| {
                    let mut out = BytesMut::new();
                    match &me.state().name {
                        _ if reply.starts_with(b"-") => out.extend_from_slice(reply),
                        name if name.is_empty() => write::null(&mut out, proto),
                        name => write::bulk(&mut out, name),
                    }
                    out
                };
                Some((None, rewrite(rewritten)))
            }
            Rewritten::ClientSetName => {
                // A bad name is for the upstream to refuse; a good one is not the link's, which others share.
                let name = args.get(2).filter(|name| is_printable(name))?.to_vec();
                let rewritten = move |reply: &[u8], _| {
                    if reply.starts_with(b"+") {
                        me.state().name = name;
                    }
                    BytesMut::from(reply)
                };
                Some((Some(request(&[b"CLIENT", b"SETNAME", b""])), rewrite(rewritten)))
            }
            Rewritten::ClientSetInfo => {
                let (is_name, value) = (args.is(2, "LIB-NAME"), args.get(3)?.to_vec());
                let rewritten = move |reply: &[u8], _| {
                    if reply.starts_with(b"+") {
                        let mut state = me.state();
                        *(if is_name { &mut state.lib_name } else { &mut state.lib_ver }) = value;
                    }
                    BytesMut::from(reply)
                };
                Some((None, rewrite(rewritten)))
            }
            Rewritten::Module => {
                let knowledge = Arc::clone(&self.context.knowledge);
                let rewritten = move |reply: &[u8], _| {
                    if reply.starts_with(b"+") {
                        knowledge.doubt_commands();
                    }
                    BytesMut::from(reply)
                };
                Some((None, rewrite(rewritten)))
            }
            Rewritten::Command(about) => introspection::command(about, args),
            Rewritten::Info { own } => Some(self.info(own)),
            Rewritten::ClientInfo => {
                let own = self.pin.is_some();
                let rewritten = move |reply: &[u8], proto| {
                    let asking = Asking { id: me.id(), request_bytes, default_user: &default_user, told_apart };
                    row(reply, proto, own, &me, &asking)
                };
                Some((None, rewrite(rewritten)))
            }
            Rewritten::ClientList => {
                let filter = Filter::parse(args, 2, false)?;
                let rewritten = move |reply: &[u8], proto| {
                    let asking = Asking { id: me.id(), request_bytes, default_user: &default_user, told_apart };
                    list(reply, proto, &clients, &filter, &me, &asking)
                };
                Some((Some(request(&[b"CLIENT", b"LIST"])), rewrite(rewritten)))
            }
            Rewritten::ClientKill => {
                let old = args.len() == 3;
                let filter = if old { Filter::address(args.get(2)?) } else { Filter::parse(args, 2, true)? };
                // The upstream judges rights and words, and finds nobody.
                let mut digits = itoa::Buffer::new();
                let nobody = digits.format(NOBODY).as_bytes();
                let mut words: Vec<&[u8]> = vec![b"CLIENT", b"KILL", b"ID", nobody];
                if !old {
                    let mut rest = Filter::words(args, 2);
                    // A tenant's name need not be a user's upstream, and who is one there is none of its business.
                    for pair in
                        rest.chunks_exact_mut(2).filter(|pair| self.told_apart && pair[0].eq_ignore_ascii_case(b"USER"))
                    {
                        pair[1] = &default_user;
                    }
                    words.extend(rest);
                }
                let probe = request(&words);
                let rewritten = move |reply: &[u8], _| match reply.first() {
                    Some(b':') => kill(&clients, &filter, old, &me, &default_user),
                    _ => BytesMut::from(reply),
                };
                Some((Some(probe), rewrite(rewritten)))
            }
            Rewritten::ClientUnblock => {
                let id = number(args.get(2)?)?;
                let meant = clients.find(&me.tenant(), id);
                let upstream = meant.and_then(|entry| entry.state().upstream_id).unwrap_or(NOBODY);
                let mut digits = itoa::Buffer::new();
                let mut words: Vec<&[u8]> = vec![b"CLIENT", b"UNBLOCK", digits.format(upstream).as_bytes()];
                words.extend(args.from(3));
                Some((Some(request(&words)), rewrite(|reply, _| BytesMut::from(reply))))
            }
            Rewritten::ClientPause => {
                let time = if args.is(1, "PAUSE") { Some(Duration::from_millis(number(args.get(2)?)?)) } else { None };
                let rewritten = move |reply: &[u8], _| {
                    if reply.starts_with(b"+") {
                        clients.pause(time);
                    }
                    BytesMut::from(reply)
                };
                Some((None, rewrite(rewritten)))
            }
            Rewritten::ClientRedirect => {
                let (theirs, ours) = self.redirect?;
                Some((None, rewrite(move |reply, _| with_integer(reply, theirs, ours))))
            }
        }
    }
}

pub(super) fn rewrite(rewrite: impl FnOnce(&[u8], Proto) -> BytesMut + 'static) -> Rewrite {
    Box::new(rewrite)
}

pub(super) fn request(args: &[&[u8]]) -> BytesMut {
    let mut out = BytesMut::new();
    write::request(&mut out, args);
    out
}

/// The text of a bulk or of a verbatim string. None: it is an error, or what nobody expected.
fn text(reply: &[u8]) -> Option<String> {
    match decode_reply(&Bytes::copy_from_slice(reply)).ok()? {
        BytesFrame::BlobString { data, .. } | BytesFrame::VerbatimString { data, .. } => {
            Some(String::from_utf8_lossy(&data).into_owned())
        }
        _ => None,
    }
}

/// A text as Redis gives it: a verbatim string over RESP3.
pub(super) fn write_text(text: &str, proto: Proto) -> BytesMut {
    let mut out = BytesMut::with_capacity(text.len() + 32);
    match proto {
        Proto::Resp2 => write::bulk(&mut out, text.as_bytes()),
        Proto::Resp3 => write::verbatim(&mut out, "txt", text.as_bytes()),
    }
    out
}

fn id(reply: &[u8], id: u64) -> BytesMut {
    if !reply.starts_with(b":") {
        return BytesMut::from(reply);
    }
    let mut out = BytesMut::new();
    write::integer(&mut out, id as i64);
    out
}

fn row(reply: &[u8], proto: Proto, own: bool, me: &ClientEntry, asking: &Asking<'_>) -> BytesMut {
    let Some(upstream) = text(reply) else { return BytesMut::from(reply) };
    let mut out = String::new();
    client_rows::row(&mut out, &upstream, own, me, asking);
    write_text(&out, proto)
}

fn list(
    reply: &[u8],
    proto: Proto,
    clients: &Clients,
    filter: &Filter,
    me: &ClientEntry,
    asking: &Asking<'_>,
) -> BytesMut {
    let Some(rows) = text(reply) else { return BytesMut::from(reply) };
    let mut meant = clients.of(&me.tenant());
    meant.retain(|entry| filter.matches(entry, asking.id, asking.default_user));
    write_text(&client_rows::list(&rows, &meant, asking), proto)
}

fn kill(clients: &Clients, filter: &Filter, old: bool, me: &ClientEntry, default_user: &[u8]) -> BytesMut {
    let mut killed = 0;
    for entry in clients.of(&me.tenant()) {
        if filter.matches(&entry, me.id(), default_user) {
            // Who kills itself is told so first.
            entry.kill(entry.key == me.key);
            killed += 1;
        }
    }
    let mut out = BytesMut::new();
    match (old, killed) {
        (true, 0) => write::error(&mut out, "ERR No such client"),
        (true, _) => write::simple(&mut out, "OK"),
        (false, count) => write::integer(&mut out, count),
    }
    out
}

/// The reply with another number in it, where that is the reply or one of its fields; not within a text that looks like it.
fn with_integer(reply: &[u8], theirs: u64, ours: u64) -> BytesMut {
    let (theirs, ours) = (format!(":{theirs}\r\n"), format!(":{ours}\r\n"));
    let told = |value: &[u8]| if value == theirs.as_bytes() { BytesMut::from(ours.as_bytes()) } else { value.into() };
    let Some(opened) = values::open(reply).filter(|opened| matches!(opened.kind, b'*' | b'%')) else {
        return told(reply);
    };
    let mut out = BytesMut::from(opened.header);
    opened.values.for_each(|value| out.extend_from_slice(&told(value)));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_clients_number_is_told_where_it_stands_by_itself() {
        for (reply, told) in [
            (&b":9\r\n"[..], &b":10\r\n"[..]),
            (b":19\r\n", b":19\r\n"),
            (b"-ERR :9\r\n", b"-ERR :9\r\n"),
            (b"+QUEUED\r\n", b"+QUEUED\r\n"),
            (
                b"%2\r\n$8\r\nredirect\r\n:9\r\n$8\r\nprefixes\r\n*1\r\n$3\r\nx:9\r\n",
                b"%2\r\n$8\r\nredirect\r\n:10\r\n$8\r\nprefixes\r\n*1\r\n$3\r\nx:9\r\n",
            ),
            (b"*2\r\n$8\r\nredirect\r\n:9\r\n", b"*2\r\n$8\r\nredirect\r\n:10\r\n"),
        ] {
            assert_eq!(&with_integer(reply, 9, 10)[..], told);
        }
    }
}
