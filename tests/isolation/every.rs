//! Every command and subcommand of the upstream's own COMMAND, as it should be and with the other tenant's names, lies and words of
//! other commands in each place; alone and inside MULTI, on both protocols.

use std::collections::BTreeSet;

use super::super::common::{Reply, words};
use super::super::differential::case::words_of;
use super::client::{Client, Request, text};
use super::world::{MARK, World};

/// Valid calls, as the differential test has them.
const VALID: &str = include_str!("../differential/commands.resp");

/// What only an attacker would say, beside `rival:` in front of what stands there.
const HOSTILE: &[&str] =
    &["*", "rival:*", "-1", "+1", "01", "9223372036854775808", "STREAMS", "STORE", "GET", "BY", "}", "acme:s", ""];

/// Numbers that may be a time to wait: not alone where that would be waited for.
const LIES: &[&str] = &["0", "2", "99"];

/// Not asked: they say nothing more, or all that follows is not a reply; and a wrong password is answered late, and has attacks of
/// its own.
const SILENT: &[&str] = &["CLIENT REPLY", "QUIT", "AUTH", "HELLO"];

fn upper(request: &Request) -> (String, String) {
    let word = |at: usize| request.get(at).map(|word| String::from_utf8_lossy(word).to_uppercase()).unwrap_or_default();
    (word(0), format!("{} {}", word(0), word(1)))
}

fn is_silent(request: &Request) -> bool {
    let (name, both) = upper(request);
    SILENT.contains(&name.as_str()) || SILENT.contains(&both.as_str())
}

fn waits(request: &Request) -> bool {
    let name = upper(request).0;
    name.starts_with("BL")
        || name.starts_with("BR")
        || name.starts_with("BZ")
        || name.starts_with("WAIT")
        || name.starts_with("XREAD")
}

/// The calls of the table, and for what it does not have as many words as it takes.
fn calls(world: &mut World) -> Vec<Request> {
    let mut calls: Vec<Request> = VALID
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| words_of(line.trim().trim_start_matches(['?', '^'])).expect("words"))
        .collect();
    let there: BTreeSet<String> = calls.iter().flat_map(|call| <[String; 2]>::from(upper(call))).collect();
    let table = world.direct.call("COMMAND");
    let entries = table.items().iter().flat_map(|entry| {
        let subcommands = entry.items().get(9).map_or(&[][..], Reply::items);
        std::iter::once(entry).chain(subcommands)
    });
    for entry in entries {
        let (name, arity) = (entry.items()[0].text().to_uppercase().replace('|', " "), entry.items()[1].int());
        let own = words(&name);
        let least = usize::try_from(arity.unsigned_abs()).expect("an arity").saturating_sub(own.len());
        if !there.contains(&name) {
            calls.push([own.clone(), words(&"s ".repeat(least))].concat());
            calls.push([own, words(&"s ".repeat(least + 2))].concat());
        }
    }
    for line in [
        "MONITOR",
        "SHUTDOWN NOSAVE",
        "SYNC",
        "PSYNC ? -1",
        "REPLCONF ACK 0",
        "KEYS *",
        "SCAN 0",
        "INFO",
        "INFO all",
        "INFO keyspace",
        "CLIENT LIST",
        "CLIENT LIST TYPE normal",
        "COMMAND COUNT",
        "FLUSHALL",
        "FLUSHDB",
        "PUBSUB CHANNELS *",
        "PUBSUB NUMPAT",
        "SORT l BY rival:* GET rival:*",
        "SORT l BY nosort GET # GET s",
        "SUBSCRIBE c __keyevent@0__:set",
        "PSUBSCRIBE *",
        "PSUBSCRIBE __key*__:*",
        "DEBUG OBJECT s",
        "OBJECT FREQ s",
        "MEMORY USAGE s",
        "MEMORY DOCTOR",
        "INV.STOCK s",
        "INV.GET s",
        "INV.RESERVE s 1",
        "INV.COMMIT s",
        "INV.ROLLBACK s",
        "INV.SETSTOCK s 1",
        "INV.ADDSTOCK s 1",
        "INV.EXTEND s 100",
        "INV.REAP",
        "INV.HELP",
        "INV.PROTECT s",
        "INV.ISPROTECTED s",
    ] {
        calls.push(words(line));
    }
    calls
}

/// The call, and the call with something hostile in each place: half of the words in one turn, half in the other.
fn variants(call: &Request, alone: bool, turn: usize) -> Vec<Request> {
    let mut all = vec![call.clone()];
    let patient = !alone || !waits(call);
    for at in 1..call.len() {
        let put = |word: Vec<u8>| {
            let mut request = call.clone();
            request[at] = word;
            request
        };
        all.push(put([b"rival:", &call[at][..]].concat()));
        all.extend(HOSTILE.iter().skip((turn + at) % 2).step_by(2).map(|word| put(word.as_bytes().to_vec())));
        if patient {
            all.extend(LIES.iter().map(|word| put(word.as_bytes().to_vec())));
        }
        let mut longer = call.clone();
        longer.insert(at, b"rival:s".to_vec());
        all.push(longer);
    }
    for more in ["rival:s", "STORE rival:d", "MATCH rival:*", "GET rival:*", "DB 0", "STREAMS rival:x 0", "1 rival:s"] {
        if patient {
            all.push([call.clone(), words(more)].concat());
        }
    }
    all
}

/// A wait is a short one.
fn hurried(mut call: Request) -> Request {
    if !waits(&call) {
        return call;
    }
    if let Some(at) = call.iter().position(|word| word.eq_ignore_ascii_case(b"BLOCK"))
        && let Some(time) = call.get_mut(at + 1)
    {
        *time = b"1".to_vec();
    }
    let name = upper(&call).0;
    let time = if matches!(name.as_str(), "BLMPOP" | "BZMPOP") { 1 } else { call.len() - 1 };
    if name.starts_with('B') && call.len() > 1 {
        call[time] = b"0.01".to_vec();
    }
    if name.starts_with("WAIT") {
        let last = call.len() - 1;
        call[last] = b"1".to_vec();
    }
    call
}

fn attack(protocol: u8) {
    let mut world = World::new();
    let calls = calls(&mut world);
    world.plant_own();
    let before = world.others();
    let mut acme = world.acme(protocol);
    let turn = usize::from(protocol);
    for call in &calls {
        world.plant_own();
        acme.renew();
        if is_silent(call) {
            continue;
        }
        for variant in variants(&hurried(call.clone()), true, turn) {
            // MULTI alone would queue what follows.
            let end = if upper(call).0 == "MULTI" { vec![words("DISCARD")] } else { Vec::new() };
            if !is_silent(&variant) {
                unmarked(&mut acme, &[vec![variant], end].concat());
            }
        }
        acme.renew();
        for variant in variants(call, false, turn + 1) {
            if !is_silent(&variant) {
                unmarked(&mut acme, &[words("MULTI"), variant, words("EXEC"), words("DISCARD")]);
            }
        }
        world.assert_untouched(&before, &text(call));
    }
}

#[track_caller]
fn unmarked(acme: &mut Client, requests: &[Request]) {
    let seen = acme.all_of(requests);
    if let Some(at) = memchr::memmem::find(&seen, MARK.as_bytes()) {
        let told = &seen[at.saturating_sub(150)..(at + 50).min(seen.len())];
        let asked: Vec<String> = requests.iter().map(text).collect();
        panic!("{} tells {}", asked.join("; "), told.escape_ascii());
    }
}

#[test]
fn no_command_reaches_another_tenant_over_resp2() {
    attack(2);
}

#[test]
fn no_command_reaches_another_tenant_over_resp3() {
    attack(3);
}
