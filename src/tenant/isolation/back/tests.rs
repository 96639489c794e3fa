//! The way back against literal bytes of both protocols, and against random replies.

use super::super::KeySpace;
use super::Back;
use crate::resp::{Proto, ReplyScanner, values};
use bytes::BytesMut;
use proptest::collection::vec;
use proptest::prelude::*;

fn acme() -> KeySpace {
    KeySpace::new("acme")
}

fn told(back: Back, reply: &[u8]) -> String {
    back.apply(reply, &acme(), Proto::Resp2).escape_ascii().to_string()
}

/// Of each back: replies and what becomes of them.
#[track_caller]
fn table(back: &Back, cases: &[(&[u8], &[u8])]) {
    for (reply, expected) in cases {
        assert_eq!(told(back.clone(), reply), expected.escape_ascii().to_string(), "{}", reply.escape_ascii());
    }
}

const WITHHELD: &[u8] = b"-ERR the upstream's reply has an unknown form and is withheld\r\n";

#[test]
fn what_need_not_change_comes_back_as_it_is() {
    for reply in [
        b"+OK\r\n".as_slice(),
        b"+acme:k\r\n",
        b"$6\r\nacme:k\r\n",
        b"*1\r\n$6\r\nacme:k\r\n",
        b"_\r\n",
        b"*2\r\n$3\r\n\n-a\r\n:-1\r\n",
        b"%1\r\n+a\r\n~1\r\n,1.5\r\n",
        b"=7\r\ntxt:a:b\r\n",
    ] {
        table(&Back::AsIs, &[(reply, reply)]);
    }
    table(&Back::AsIs, &[(b"|1\r\n+key-popularity\r\n%1\r\n$7\r\nrival:k\r\n,0.1\r\n:1\r\n", b":1\r\n")]);
}

#[test]
fn an_error_loses_the_prefix_where_a_name_begins() {
    table(
        &Back::AsIs,
        &[
            (b"-WRONGTYPE Operation against a key holding\r\n", b"-WRONGTYPE Operation against a key holding\r\n"),
            (
                b"-NOGROUP No such key 'acme:k' or consumer group 'acme:g'\r\n",
                b"-NOGROUP No such key 'k' or consumer group 'g'\r\n",
            ),
            (b"-ERR at acme:k, acme:l and (acme:m)\r\n", b"-ERR at k, l and (m)\r\n"),
            (b"-acme:k\r\n", b"-k\r\n"),
            // Its own name for something may hold the prefix: only the first is the sidecar's.
            (b"-ERR 'acme:acme:k' 'acme:x:acme:y' 'acme:x acme:y'\r\n", b"-ERR 'acme:k' 'x:acme:y' 'x acme:y'\r\n"),
            // No name begins there.
            (b"-ERR notacme:k\r\n", b"-ERR notacme:k\r\n"),
            (b"-ERR ACME:k acme2:k acme: k\r\n", b"-ERR ACME:k acme2:k acme: k\r\n"),
            (b"-ERR 'acme:\r\n", b"-ERR '\r\n"),
            (b"!16\r\nERR\r\n'acme:k'\r\nx\r\n", b"!11\r\nERR\r\n'k'\r\nx\r\n"),
            (b"*2\r\n-ERR 'acme:k'\r\n*1\r\n!6\r\nacme:k\r\n", b"*2\r\n-ERR 'k'\r\n*1\r\n!1\r\nk\r\n"),
        ],
    );
    for back in [Back::Keys, Back::Info, Back::Streams, Back::ScriptExists(vec![])] {
        table(&back, &[(b"-NOPERM 'acme:k'\r\n", b"-NOPERM 'k'\r\n"), (b"+QUEUED\r\n", b"+QUEUED\r\n")]);
    }
    let script = KeySpace::new("user_script");
    let error = b"-ERR user_script:1: no @user_script: 1\r\n";
    assert!(Back::AsIs.apply(error, &script, Proto::Resp2).ends_with(b" no @user_script: 1\r\n"));
}

#[test]
fn an_error_tells_neither_the_upstreams_user_nor_its_addresses() {
    table(
        &Back::AsIs,
        &[
            (
                b"-NOPERM User up-7 has no permissions to run the 'get' command\r\n",
                b"-NOPERM this user has no permissions to run the 'get' command\r\n",
            ),
            (
                b"-NOPERM ACL failure in script: User x has no permissions to access the 'acme:k' key\r\n",
                b"-NOPERM ACL failure in script: this user has no permissions to access the 'k' key\r\n",
            ),
            (b"-ERR User x is gone, User\r\n", b"-ERR User x is gone, User\r\n"),
            (b"-MOVED 12 10.0.0.7:6379\r\n", b"-CLUSTERDOWN the upstream does not serve this itself\r\n"),
            (b"-ASK 12 10.0.0.7:6379\r\n", b"-CLUSTERDOWN the upstream does not serve this itself\r\n"),
            (b"-REDIRECT 10.0.0.7:6379\r\n", b"-CLUSTERDOWN the upstream does not serve this itself\r\n"),
        ],
    );
}

#[test]
fn the_first_element_is_a_key() {
    table(
        &Back::FirstIsKey,
        &[
            (b"*-1\r\n", b"*-1\r\n"),
            (b"$-1\r\n", b"$-1\r\n"),
            (b"_\r\n", b"_\r\n"),
            (b"*2\r\n$6\r\nacme:k\r\n$6\r\nacme:v\r\n", b"*2\r\n$1\r\nk\r\n$6\r\nacme:v\r\n"),
            (b"*3\r\n$8\r\nacme:\r\nk\r\n$1\r\nm\r\n,1.5\r\n", b"*3\r\n$3\r\n\r\nk\r\n$1\r\nm\r\n,1.5\r\n"),
            (b"*2\r\n$5\r\nacme:\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n", b"*2\r\n$0\r\n\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n"),
            (b"*2\r\n$7\r\nrival:k\r\n$1\r\nv\r\n", WITHHELD),
            (b"*2\r\n$7\r\nacme2:k\r\n$1\r\nv\r\n", WITHHELD),
            (b"*0\r\n", WITHHELD),
            (b":1\r\n", WITHHELD),
        ],
    );
}

#[test]
fn streams_are_by_key_in_both_protocols() {
    let entries = "*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$6\r\nacme:f\r\n$1\r\nv\r\n";
    let pairs = |a: &str, b: &str| format!("*2\r\n*2\r\n{a}{entries}*2\r\n{b}{entries}").into_bytes();
    let map = |a: &str, b: &str| format!("%2\r\n{a}{entries}{b}{entries}").into_bytes();
    let (outside, inside) = (["$6\r\nacme:k\r\n", "$10\r\nacme:rival\r\n"], ["$1\r\nk\r\n", "$5\r\nrival\r\n"]);
    table(
        &Back::Streams,
        &[
            (&pairs(outside[0], outside[1]), &pairs(inside[0], inside[1])),
            (&map(outside[0], outside[1]), &map(inside[0], inside[1])),
            (&pairs(outside[0], "$7\r\nrival:k\r\n"), WITHHELD),
            (&map(outside[0], "$7\r\nrival:k\r\n"), WITHHELD),
            (b"*1\r\n*-1\r\n", WITHHELD),
            (b"*-1\r\n", b"*-1\r\n"),
            (b"_\r\n", b"_\r\n"),
            (b"$-1\r\n", b"$-1\r\n"),
        ],
    );
}

#[test]
fn keys_are_the_tenants_own() {
    let keys: (&[u8], &[u8]) = (
        b"*5\r\n$6\r\nacme:k\r\n$7\r\nrival:k\r\n$7\r\nacme2:k\r\n$7\r\nacme:\r\n\r\n$23\r\ninv1:{acme/0}:stock0000\r\n",
        b"*2\r\n$1\r\nk\r\n$2\r\n\r\n\r\n",
    );
    table(&Back::Keys, &[keys, (b"~1\r\n$7\r\nrival:k\r\n", b"~0\r\n"), (b"*0\r\n", b"*0\r\n"), (b":1\r\n", WITHHELD)]);
    let page = |keys: &[u8]| [b"*2\r\n$2\r\n17\r\n", keys].concat();
    table(
        &Back::Scan,
        &[
            (&page(keys.0), &page(keys.1)),
            (&page(b"*0\r\n"), &page(b"*0\r\n")),
            (b"*2\r\n$7\r\nrival:k\r\n*0\r\n", WITHHELD),
            (b"*3\r\n$1\r\n0\r\n*0\r\n*0\r\n", WITHHELD),
            (b"*-1\r\n", WITHHELD),
        ],
    );
}

#[test]
fn channels_and_their_counts_are_the_tenants_own() {
    table(
        &Back::Channels,
        &[
            (
                b"*5\r\n$6\r\nacme:c\r\n$7\r\nrival:c\r\n$22\r\n__keyspace@0__:rival:k\r\n$18\r\n__keyevent@0__:set\r\n$21\r\n__keyspace@0__:acme:k\r\n",
                b"*2\r\n$1\r\nc\r\n$16\r\n__keyspace@0__:k\r\n",
            ),
            (b"~1\r\n$6\r\nacme:c\r\n", b"~1\r\n$1\r\nc\r\n"),
        ],
    );
    table(
        &Back::ChannelCounts,
        &[
            (b"*4\r\n$6\r\nacme:c\r\n:3\r\n$7\r\nrival:c\r\n:9\r\n", b"*2\r\n$1\r\nc\r\n:3\r\n"),
            (b"%2\r\n$7\r\nrival:c\r\n:9\r\n$6\r\nacme:c\r\n:3\r\n", b"%1\r\n$1\r\nc\r\n:3\r\n"),
            (b"*0\r\n", b"*0\r\n"),
            (b"*1\r\n$6\r\nacme:c\r\n", WITHHELD),
        ],
    );
}

#[test]
fn tracking_info_has_its_prefixes_stripped() {
    table(
        &Back::TrackingInfo,
        &[
            (
                b"*6\r\n$5\r\nflags\r\n*1\r\n$2\r\non\r\n$8\r\nredirect\r\n:0\r\n$8\r\nprefixes\r\n*2\r\n$6\r\nacme:p\r\n$5\r\nacme:\r\n",
                b"*6\r\n$5\r\nflags\r\n*1\r\n$2\r\non\r\n$8\r\nredirect\r\n:0\r\n$8\r\nprefixes\r\n*2\r\n$1\r\np\r\n$0\r\n\r\n",
            ),
            (
                b"%3\r\n$5\r\nflags\r\n~1\r\n$3\r\noff\r\n$8\r\nredirect\r\n:-1\r\n$8\r\nprefixes\r\n*1\r\n$7\r\nrival:p\r\n",
                b"%3\r\n$5\r\nflags\r\n~1\r\n$3\r\noff\r\n$8\r\nredirect\r\n:-1\r\n$8\r\nprefixes\r\n*0\r\n",
            ),
        ],
    );
}

#[test]
fn a_script_exists_where_the_tenant_sent_it() {
    let back = Back::ScriptExists(vec![true, false, true]);
    table(
        &back,
        &[
            (b"*3\r\n:1\r\n:1\r\n:0\r\n", b"*3\r\n:1\r\n:0\r\n:0\r\n"),
            (b"*4\r\n:1\r\n:1\r\n:1\r\n:1\r\n", b"*4\r\n:1\r\n:0\r\n:1\r\n:0\r\n"),
            (b"+x\r\n", WITHHELD),
        ],
    );
}

#[test]
fn info_has_lines_that_say_nothing_of_others() {
    let text = "# Server\r\nredis_version:7.0.15\r\nrun_id:abc\r\ntcp_port:1\r\nredis_mode:standalone\r\n\r\n\
                # Clients\r\nconnected_clients:7\r\n\r\n# Rival\r\nredis_version:x\r\n\r\n\
                # Keyspace\r\ndb0:keys=3,expires=0,avg_ttl=0\r\n";
    let told = "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\n\r\n# Clients\r\n\r\n# Keyspace\r\n";
    let bulk = |text: &str| format!("${}\r\n{text}\r\n", text.len()).into_bytes();
    let verbatim = |text: &str| format!("={}\r\ntxt:{text}\r\n", text.len() + 4).into_bytes();
    table(&Back::Info, &[(&bulk(text), &bulk(told)), (&verbatim(text), &verbatim(told))]);
    table(&Back::Info, &[(b"$0\r\n\r\n", b"$0\r\n\r\n"), (b"*0\r\n", WITHHELD), (b"$-1\r\n", WITHHELD)]);
}

/// Names that are the tenant's, another's, or look like either.
fn name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(b"acme:k".to_vec()),
        Just(b"acme:\r\n-rival:\r\n".to_vec()),
        Just(b"rival:SECRET".to_vec()),
        Just(b"acme2:SECRET".to_vec()),
        Just(b"__keyspace@0__:rival:SECRET".to_vec()),
        Just(b"SECRET".to_vec()),
        Just(b"prefixes".to_vec()),
        vec(any::<u8>(), 0..6),
    ]
}

fn reply() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop_oneof![
        6 => name().prop_map(|name| [format!("${}\r\n", name.len()).as_bytes(), &name, b"\r\n"].concat()),
        1 => Just(b":1\r\n".to_vec()),
        1 => Just(b"$1\r\n0\r\n".to_vec()),
        1 => Just(b"*-1\r\n".to_vec()),
        1 => Just(b"-ERR 'acme:k' is\r\n".to_vec()),
        1 => Just(b"+OK\r\n".to_vec()),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        (prop_oneof![Just('*'), Just('~'), Just('%'), Just('>')], vec(inner, 0..6)).prop_map(|(kind, mut values)| {
            if kind == '%' && values.len() % 2 == 1 {
                values.pop();
            }
            let count = if kind == '%' { values.len() / 2 } else { values.len() };
            [format!("{kind}{count}\r\n").into_bytes(), values.concat()].concat()
        })
    })
}

fn back() -> impl Strategy<Value = Back> {
    prop_oneof![
        Just(Back::FirstIsKey),
        Just(Back::Streams),
        Just(Back::Keys),
        Just(Back::Scan),
        Just(Back::Channels),
        Just(Back::ChannelCounts),
        Just(Back::TrackingInfo),
        vec(any::<bool>(), 0..4).prop_map(Back::ScriptExists),
        Just(Back::Info),
        Just(Back::AsIs),
    ]
}

fn is_one_frame(bytes: &[u8]) -> bool {
    ReplyScanner::new().advance(bytes).is_ok_and(|advance| advance.done && advance.take == bytes.len())
}

proptest! {
    #[test]
    fn a_reply_comes_back_as_one_frame_with_no_foreign_name_among_names(reply in reply(), back in back()) {
        // A push among values may be one that is not counted.
        prop_assume!(is_one_frame(&reply));
        let told = back.clone().apply(&reply, &acme(), Proto::Resp3);
        prop_assert!(is_one_frame(&told), "{:?}: {}", back, told.escape_ascii());
        let names_only = matches!(back, Back::Keys | Back::Channels | Back::ChannelCounts | Back::ScriptExists(_));
        if names_only && !values::is_error(&reply) {
            prop_assert!(memchr::memmem::find(&told, b"SECRET").is_none(), "{:?}: {}", back, told.escape_ascii());
        }
    }

    #[test]
    fn nothing_that_need_not_change_does(reply in reply()) {
        let told = Back::AsIs.apply(&reply, &acme(), Proto::Resp3);
        let expected = values::exchange_errors(&reply, |_| BytesMut::from(&b"-ERR 'k' is\r\n"[..]));
        prop_assert_eq!(told, expected);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop_oneof![
        vec(any::<u8>(), 0..40),
        vec(prop_oneof![Just(b'*'), Just(b'%'), Just(b'$'), Just(b'|'), Just(b'1'), Just(b'9'), Just(b'\r'), Just(b'\n')], 0..40),
    ], back in back()) {
        let _ = back.apply(&bytes, &acme(), Proto::Resp2);
    }
}

#[test]
fn depth_costs_no_stack() {
    let deep = [b"*1\r\n".repeat(90_000), b"-ERR 'acme:k'\r\n".to_vec()].concat();
    let told = Back::AsIs.apply(&deep, &acme(), Proto::Resp2);
    assert!(told.ends_with(b"\r\n-ERR 'k'\r\n"));
    assert_eq!(told.len() + b"acme:".len(), deep.len());
    for back in [Back::FirstIsKey, Back::Streams, Back::Keys, Back::Scan, Back::ChannelCounts, Back::TrackingInfo] {
        assert!(is_one_frame(&back.apply(&deep, &acme(), Proto::Resp3)));
    }
}
