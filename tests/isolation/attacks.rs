//! Attacks written by hand, each under the claim that it tries to break. All are played on both protocols; what each leaves behind
//! is judged as in `world`.

mod keys;
mod rights;
mod wire;

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::super::common::{Reply, words};
use super::client::{Client, Request};
use super::world::{MARK, World};

type Attack = fn(&mut World, u8);

const ATTACKS: &[(&str, Attack)] = &[
    ("a number of keys that lies moves no key out of its place", keys::numkeys_lies),
    ("a consumer named STREAMS does not hide the keys", keys::consumer_named_streams),
    ("the last of two STOREs is not left as it is", keys::stores_twice),
    ("SORT reads no key by a pattern", keys::sort_patterns),
    ("a question for the keys of a command tells and touches none of another's", keys::getkeys),
    ("commands of many keys have all of them moved", keys::many_keys),
    ("no key moves to another database or server", keys::other_databases),
    ("a script reaches nothing, whoever wrote it", rights::scripts),
    ("a script of another's does not exist", rights::foreign_scripts),
    ("administration is refused", rights::administration),
    ("clients of another's can be neither seen nor touched", rights::clients),
    ("tracking follows no prefix of another's and goes to no client of another's", rights::tracking),
    ("a cursor of another's and a glob of everything give own keys only", keys::scans),
    ("a glob that would end the prefix gives nothing", keys::hostile_globs),
    ("a reservation of another's is as unknown as one that never was", wire::reservations),
    ("a SKU with the separators of key names stays in its place", wire::hostile_skus),
    ("a key with the separators of key names stays in its place", wire::hostile_keys),
    ("an inline request is judged as any other", wire::inline_requests),
    ("a request byte by byte is judged as a whole one", wire::split_requests),
    ("a request within an argument is no request", wire::smuggled_request),
    ("the password of one is not the name of another", rights::credentials),
    ("a refused change of identity changes nothing", rights::refused_greeting),
    ("RESET ends the identity", rights::reset),
    ("MULTI changes neither identity nor rights", rights::transactions),
    ("a namespace that begins another's opens nothing of it", rights::beginning),
    ("a command renamed by its letters is the same command", wire::letters),
    ("blocked pops of foreign keys wait for own ones", keys::blocked),
];

fn play(protocol: u8) {
    let mut world = World::new();
    world.plant_own();
    let before = world.others();
    let mut broken = Vec::new();
    for (claim, attack) in ATTACKS {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            attack(&mut world, protocol);
            world.assert_untouched(&before, claim);
        }));
        if let Err(panic) = outcome {
            let why = panic.downcast_ref::<String>().cloned();
            let why = why.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default();
            broken.push(format!("{claim}: {why}"));
        }
        world.plant_own();
    }
    assert!(broken.is_empty(), "over RESP{protocol}:\n{}", broken.join("\n"));
}

#[test]
fn attacks_over_resp2() {
    play(2);
}

#[test]
fn attacks_over_resp3() {
    play(3);
}

/// Whatever comes back has no byte of the rival's.
#[track_caller]
fn unmarked(acme: &mut Client, lines: &[&str]) {
    for line in lines {
        unmarked_args(acme, &words(line));
        let bytes = acme.all_of(&[words("MULTI"), words(line), words("EXEC"), words("DISCARD")]);
        assert!(memchr::memmem::find(&bytes, MARK.as_bytes()).is_none(), "{line} in MULTI: {}", bytes.escape_ascii());
    }
}

#[track_caller]
fn unmarked_args(acme: &mut Client, request: &Request) {
    let bytes = acme.all_of(std::slice::from_ref(request));
    let told = memchr::memmem::find(&bytes, MARK.as_bytes());
    assert!(told.is_none(), "{}: {}", super::client::text(request), bytes.escape_ascii());
}

#[track_caller]
fn refused(acme: &mut Client, lines: &[&str]) {
    for line in lines {
        let reply = acme.call(line);
        assert_eq!(reply.error_word(), "NOPERM", "{line}: {reply:?}");
    }
}

/// Some error of whoever's, and nothing done.
#[track_caller]
fn errors(acme: &mut Client, lines: &[&str]) {
    for line in lines {
        let reply = acme.call(line);
        assert!(matches!(reply, Reply::Error(_)), "{line}: {reply:?}");
    }
}
