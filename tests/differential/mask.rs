//! What two equal servers cannot have in common, and nothing else, taken out of replies before they are compared:
//!
//! 1. the connection's `id` in the reply to HELLO;
//! 2. of a line of CLIENT LIST or CLIENT INFO the values that are addresses, ages, sizes and counts of bytes
//!    ([`OF_A_CONNECTION`]); what a client set (name, db, user, resp, flags, redir, lib-name, …) stays;
//! 3. the id in a push that says that the client redirected to is gone.
//!
//! A reply that is nothing but such things (TIME, CLIENT ID, RANDOMKEY) is compared by its [`shape`]; one whose order a
//! hash table decides, with its elements [`sorted`].

use super::super::common::Reply;
use super::super::common::resp::decode;

const HELLO_ID: &str = "$2\r\nid\r\n:";

/// Fields of a CLIENT LIST line that tell of the connection or the moment, not of what the client did.
const OF_A_CONNECTION: &[&str] = &[
    "id",
    "addr",
    "laddr",
    "fd",
    "age",
    "idle",
    "qbuf",
    "qbuf-free",
    "argv-mem",
    "multi-mem",
    "rbs",
    "rbp",
    "obl",
    "oll",
    "omem",
    "tot-mem",
    "tot-net-in",
    "tot-net-out",
    "tot-cmds",
    "events",
    "io-thread",
];

/// The bytes of one reply, masked.
pub fn mask(frame: &[u8]) -> Vec<u8> {
    let contains = |needle: &[u8]| frame.windows(needle.len()).any(|window| window == needle);
    if contains(HELLO_ID.as_bytes()) && contains(b"$5\r\nproto\r\n") {
        return mask_hello(frame);
    }
    if contains(b" addr=") && contains(b" fd=") {
        return mask_clients(frame);
    }
    if frame.starts_with(b">2\r\n$21\r\ntracking-redir-broken\r\n:") {
        return b">2\r\n$21\r\ntracking-redir-broken\r\n:#\r\n".to_vec();
    }
    frame.to_vec()
}

/// A transaction may hold several.
fn mask_hello(frame: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(frame);
    let mut parts = text.split(HELLO_ID);
    let mut masked = parts.next().expect("one at least").to_owned();
    for part in parts {
        let (_, after) = part.split_once("\r\n").expect("a whole line");
        masked += HELLO_ID;
        masked += "#\r\n";
        masked += after;
    }
    masked.into_bytes()
}

/// The connection's id in the reply to HELLO.
pub fn hello_id(frame: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(frame);
    let (id, _) = text.split_once(HELLO_ID)?.1.split_once("\r\n")?;
    Some(id.to_owned())
}

fn mask_clients(frame: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(frame);
    // The masked text has another length than its header says.
    let (header, body) = text.split_once("\r\n").expect("a whole line");
    let kind = header.chars().next().expect("a type");
    let field = |field: &str| match field.split_once('=') {
        Some((name, _)) if OF_A_CONNECTION.contains(&name.trim_start_matches("txt:")) => format!("{name}=#"),
        _ => field.to_owned(),
    };
    let line = |line: &str| line.split(' ').map(field).collect::<Vec<_>>().join(" ");
    format!("{kind}#\r\n{}", body.split('\n').map(line).collect::<Vec<_>>().join("\n")).into_bytes()
}

/// A reply with its elements in an order of our own.
pub fn sorted(frame: &[u8]) -> String {
    in_order(&decode(frame).0)
}

fn in_order(reply: &Reply) -> String {
    let all = |kind: char, items: &mut dyn Iterator<Item = String>| {
        let mut items: Vec<_> = items.collect();
        items.sort();
        format!("{kind}{items:?}")
    };
    match reply {
        Reply::Array(items) => all('*', &mut items.iter().map(in_order)),
        Reply::Set(items) => all('~', &mut items.iter().map(in_order)),
        Reply::Push(items) => all('>', &mut items.iter().map(in_order)),
        Reply::Map(pairs) => {
            all('%', &mut pairs.iter().map(|(key, value)| format!("{} {}", in_order(key), in_order(value))))
        }
        other => format!("{other:?}"),
    }
}

/// The types of a reply, without its values and, in what has no fixed length, without how many.
pub fn shape(frame: &[u8]) -> String {
    of(&decode(frame).0)
}

fn of(reply: &Reply) -> String {
    match reply {
        Reply::Simple(_) => "+".into(),
        // Its words are the same, whatever else is not.
        Reply::Error(line) => format!("-{line}"),
        Reply::Int(_) => ":".into(),
        Reply::Bulk(_) => "$".into(),
        Reply::NilBulk => "$-1".into(),
        Reply::NilArray => "*-1".into(),
        Reply::Null => "_".into(),
        Reply::Bool(_) => "#".into(),
        Reply::Text(kind, _) => kind.to_string(),
        Reply::Array(items) => format!("*{}", kinds(items)),
        Reply::Set(items) => format!("~{}", kinds(items)),
        Reply::Push(items) => format!(">{}", kinds(items)),
        Reply::Map(pairs) => {
            let keys: Vec<_> = pairs.iter().map(|(key, _)| key.clone()).collect();
            let values: Vec<_> = pairs.iter().map(|(_, value)| value.clone()).collect();
            format!("%{}{}", kinds(&keys), kinds(&values))
        }
    }
}

fn kinds(items: &[Reply]) -> String {
    let mut kinds: Vec<_> = items.iter().map(of).collect();
    kinds.sort();
    kinds.dedup();
    format!("({})", kinds.join(" "))
}
