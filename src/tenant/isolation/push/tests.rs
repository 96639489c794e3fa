//! What comes unasked, in literal bytes of both protocols, and at random.

use super::super::KeySpace;
use super::inside;
use crate::resp::ReplyScanner;
use proptest::collection::vec;
use proptest::prelude::*;

/// A frame of bulks; `:n` is a number, `~` null.
fn frame(kind: char, words: &[&str]) -> Vec<u8> {
    let mut out = format!("{kind}{}\r\n", words.len());
    for word in words {
        match *word {
            "~" if kind == '>' => out.push_str("_\r\n"),
            "~" => out.push_str("$-1\r\n"),
            number if number.starts_with(':') => out.push_str(&format!("{number}\r\n")),
            keys if keys.starts_with('[') => {
                let keys: Vec<&str> = keys[1..].split_terminator(',').collect();
                out.push_str(&String::from_utf8(frame('*', &keys)).expect("text"));
            }
            text => out.push_str(&format!("${}\r\n{text}\r\n", text.len())),
        }
    }
    out.into_bytes()
}

#[track_caller]
fn check(kind: char, words: &[&str], expected: Option<&[&str]>) {
    let told = inside(&frame(kind, words), &KeySpace::new("acme"));
    let show = |bytes: &[u8]| bytes.escape_ascii().to_string();
    assert_eq!(told.as_deref().map(show), expected.map(|words| show(&frame(kind, words))), "{kind} {words:?}");
}

#[test]
fn messages_bear_the_tenants_own_names() {
    for kind in ['*', '>'] {
        check(kind, &["message", "acme:c", "acme:x"], Some(&["message", "c", "acme:x"]));
        check(kind, &["smessage", "acme:c", "x"], Some(&["smessage", "c", "x"]));
        check(kind, &["pmessage", "acme:*", "acme:c", "x"], Some(&["pmessage", "*", "c", "x"]));
        check(kind, &["message", "acme:\r\n:1", "\r\n"], Some(&["message", "\r\n:1", "\r\n"]));
        check(kind, &["message", "acme:", ""], Some(&["message", "", ""]));
        // Another's, whatever it looks like.
        check(kind, &["message", "rival:c", "x"], None);
        check(kind, &["message", "acme2:c", "x"], None);
        check(kind, &["smessage", "ACME:c", "x"], None);
        check(kind, &["pmessage", "acme:*", "rival:c", "x"], None);
        check(kind, &["pmessage", "rival:*", "acme:c", "x"], None);
        check(kind, &["message", "__sentinel__:hello", "x"], None);
        // Its own channel may be called like one of the upstream's.
        check(kind, &["message", "acme:__keyevent@0__:set", "x"], Some(&["message", "__keyevent@0__:set", "x"]));
        check(
            kind,
            &["message", "acme:__keyspace@0__:rival:x", "x"],
            Some(&["message", "__keyspace@0__:rival:x", "x"]),
        );
    }
}

#[test]
fn keyspace_events_are_of_the_tenants_keys() {
    for kind in ['*', '>'] {
        check(kind, &["message", "__keyspace@0__:acme:k", "set"], Some(&["message", "__keyspace@0__:k", "set"]));
        check(kind, &["message", "__keyspace@0__:rival:k", "set"], None);
        check(kind, &["message", "__keyspace@0__:rival__:acme:k", "set"], None);
        check(kind, &["message", "__keyevent@0__:set", "acme:k"], Some(&["message", "__keyevent@0__:set", "k"]));
        check(kind, &["message", "__keyevent@0__:set", "rival:k"], None);
        check(kind, &["message", "__keyevent@0__:set", "inv1:{acme/0}:stock"], None);
        check(kind, &["message", "__keyevent@0__:", "acme:k"], None);
        check(kind, &["message", "__keyevent@0__:rival:SECRET", "acme:k"], None);
        check(kind, &["message", "__subkeyevent@0__:hset", "acme:k"], None);
        check(
            kind,
            &["pmessage", "__keyspace@*__:acme:*", "__keyspace@0__:acme:k", "del"],
            Some(&["pmessage", "__keyspace@*__:*", "__keyspace@0__:k", "del"]),
        );
        let event = ["pmessage", "__keyevent@*__:*", "__keyevent@0__:del"];
        check(kind, &[&event[..], &["acme:k"]].concat(), Some(&[&event[..], &["k"]].concat()));
        check(kind, &[&event[..], &["rival:k"]].concat(), None);
        check(kind, &["pmessage", "__key*__:*", "__keyspace@0__:rival:k", "del"], None);
    }
}

#[test]
fn acknowledgements_are_in_the_tenants_spelling() {
    for kind in ['*', '>'] {
        for verb in ["subscribe", "unsubscribe", "psubscribe", "punsubscribe", "ssubscribe", "sunsubscribe"] {
            check(kind, &[verb, "acme:c*", ":1"], Some(&[verb, "c*", ":1"]));
            check(kind, &[verb, "~", ":0"], Some(&[verb, "~", ":0"]));
            check(kind, &[verb, "__keyspace@0__:acme:*", ":1"], Some(&[verb, "__keyspace@0__:*", ":1"]));
            check(kind, &[verb, "__keyevent@0__:*", ":1"], Some(&[verb, "__keyevent@0__:*", ":1"]));
            check(kind, &[verb, "__redis__:invalidate", ":1"], Some(&[verb, "__redis__:invalidate", ":1"]));
            check(kind, &[verb, "rival:c", ":1"], None);
            check(kind, &[verb, "acme:c", "1"], None);
        }
    }
}

#[test]
fn invalidations_name_the_tenants_keys_alone() {
    check('>', &["invalidate", "[acme:k,rival:k,acme:l"], Some(&["invalidate", "[k,l"]));
    check('>', &["invalidate", "[rival:k"], None);
    check('>', &["invalidate", "~"], Some(&["invalidate", "~"]));
    check('*', &["invalidate", "[acme:k"], None);
    let channel = "__redis__:invalidate";
    for kind in ['*', '>'] {
        check(kind, &["message", channel, "[rival:k,acme:k"], Some(&["message", channel, "[k"]));
        check(kind, &["message", channel, "~"], Some(&["message", channel, "~"]));
        check(kind, &["message", channel, "acme:k"], None);
        check(kind, &["message", channel, "[rival:k"], None);
    }
}

#[test]
fn what_is_not_recognised_is_not_shown() {
    for (kind, words) in [
        ('>', &["pubsub", "rival:c"][..]),
        ('>', &["tracking-redir-broken", ":7"]),
        ('>', &["message", "acme:c"]),
        ('>', &["message", "acme:c", "x", "rival:y"]),
        ('>', &["message", "acme:c", ":1"]),
        ('*', &["pmessage", "acme:c", "x"]),
        ('>', &["pong", "x"]),
        ('~', &["message", "acme:c", "x"]),
        ('>', &[]),
    ] {
        check(kind, words, None);
    }
    for bytes in [
        b"".as_slice(),
        b"+1700000000.1 [0 127.0.0.1:1] \"get\" \"rival:k\"\r\n",
        b"$7\r\nrival:k\r\n",
        b">3\r\n$7\r\nmessage\r\n$6\r\nacme:c\r\n$1\r\nx\r\n$7\r\nrival:k\r\n",
        b">3\r\n$7\r\nmessage\r\n$6\r\nacme:c\r\n",
        b">3\r\n+message\r\n$6\r\nacme:c\r\n$1\r\nx\r\n",
        b">3\r\n$7\r\nmessage\r\n$6\r\nacme:c\r\n*1\r\n$7\r\nrival:k\r\n",
        b"|1\r\n+a\r\n+b\r\n>3\r\n$7\r\nmessage\r\n$6\r\nacme:c\r\n$1\r\nx\r\n",
    ] {
        assert_eq!(inside(bytes, &KeySpace::new("acme")), None, "{}", bytes.escape_ascii());
    }
    check('*', &["pong", "x"], Some(&["pong", "x"]));
    assert_eq!(inside(b"-ERR 'acme:k'\r\n", &KeySpace::new("acme")).as_deref(), Some(&b"-ERR 'k'\r\n"[..]));
}

proptest! {
    #[test]
    fn nothing_foreign_is_shown_whatever_comes(
        kind in prop_oneof![Just('*'), Just('>')],
        words in vec(prop_oneof![
            Just("message"), Just("pmessage"), Just("smessage"), Just("subscribe"), Just("invalidate"), Just(":1"), Just("~"),
            Just("acme:k"), Just("rival:SECRET"), Just("__keyspace@0__:rival:SECRET"), Just("__keyspace@0__:acme:k"),
            Just("__keyevent@0__:set"), Just("acme2:SECRET"), Just("[acme:k,rival:SECRET"), Just("__redis__:invalidate"),
            Just("__keyevent@0__:SECRET:x"), Just("x"),
        ], 0..6),
    ) {
        let frame = frame(kind, &words);
        if let Some(told) = inside(&frame, &KeySpace::new("acme")) {
            prop_assert!(ReplyScanner::new().advance(&told).is_ok_and(|advance| advance.done && advance.take == told.len()));
            // A message of the tenant's own channel and what it subscribed to itself may say anything.
            let own = words.len() > 2 && matches!(words[words.len() - 2], "acme:k" | "__keyspace@0__:acme:k");
            let asked = words.first() == Some(&"subscribe") || words.first() == Some(&"pmessage");
            if !own && !asked {
                prop_assert!(memchr::memmem::find(&told, b"SECRET").is_none(), "{}", told.escape_ascii());
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop_oneof![
        vec(any::<u8>(), 0..40),
        vec(prop_oneof![Just(b'*'), Just(b'>'), Just(b'$'), Just(b'1'), Just(b'3'), Just(b'\r'), Just(b'\n')], 0..40),
    ]) {
        let _ = inside(&bytes, &KeySpace::new("acme"));
    }
}
