//! The reply scanner against literal bytes of every type, and against generated replies however they are split.

use super::super::cuts::sorted_cuts;
use super::super::limits::DECODE_DEPTH_MAX;
use super::*;
use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use redis_protocol::resp3::types::BytesFrame;

/// A reply as a test compares it: its kind and its length.
type Found = (u8, usize);

/// Feeds `bytes` in pieces that end at `cuts`, as a link does: the replies, the error, and whether one is under way.
fn split(bytes: &[u8], cuts: &[usize]) -> (Vec<Found>, Option<ReplyError>, bool) {
    let mut scanner = ReplyScanner::new();
    let (mut found, mut from, mut len) = (Vec::new(), 0, 0);
    for &cut in cuts.iter().chain([&bytes.len()]) {
        loop {
            let buf = &bytes[from..cut];
            match scanner.advance(buf) {
                Err(error) => return (found, Some(error), scanner.mid_reply()),
                Ok(Advance { take, done }) => {
                    assert!(take <= buf.len());
                    from += take;
                    len += take;
                    assert_eq!(scanner.mid_reply(), !done && len > 0);
                    if !done {
                        assert!(buf.len() - take <= 32, "too much held back: {}", buf.escape_ascii());
                        break;
                    }
                    assert_eq!(scanner.is_push(), scanner.kind() == Some(b'>'));
                    found.push((scanner.kind().expect("a reply that is done has a kind"), len));
                    len = 0;
                }
            }
        }
    }
    (found, None, scanner.mid_reply())
}

fn every_byte(bytes: &[u8]) -> Vec<usize> {
    (0..bytes.len()).collect()
}

#[test]
fn every_type_ends_where_it_should() {
    let replies: &[&str] = &[
        "+OK\r\n",
        "+\r\n",
        "-ERR no\r\n",
        ":0\r\n",
        ":-9223372036854775808\r\n",
        "$5\r\nhello\r\n",
        "$0\r\n\r\n",
        "$2\r\n\r\n\r\n",
        "$-1\r\n",
        "*-1\r\n",
        "*0\r\n",
        "*2\r\n:1\r\n*2\r\n+a\r\n$-1\r\n",
        "_\r\n",
        ",1.5\r\n",
        ",-inf\r\n",
        ",nan\r\n",
        "#t\r\n",
        "#f\r\n",
        "!8\r\nERR a\r\nb\r\n",
        "=7\r\ntxt:a\r\n\r\n",
        "(-3492890328409238509324850943850943825024385\r\n",
        "%0\r\n",
        "%2\r\n+a\r\n:1\r\n+b\r\n*1\r\n_\r\n",
        "~2\r\n:1\r\n:2\r\n",
        "~0\r\n",
        ">0\r\n",
        ">3\r\n+message\r\n+c\r\n+x\r\n",
        "$?\r\n;4\r\nHell\r\n;1\r\no\r\n;0\r\n",
        "$?\r\n;0\r\n",
        "*?\r\n:1\r\n*?\r\n.\r\n.\r\n",
        "~?\r\n:1\r\n.\r\n",
        "%?\r\n+a\r\n:1\r\n.\r\n",
        "%?\r\n.\r\n",
    ];
    let all = replies.concat();
    let want: Vec<Found> = replies.iter().map(|reply| (reply.as_bytes()[0], reply.len())).collect();
    assert_eq!(split(all.as_bytes(), &[]), (want.clone(), None, false));
    assert_eq!(split(all.as_bytes(), &every_byte(all.as_bytes())), (want, None, false));
    for reply in replies {
        for cut in 0..reply.len() {
            let (found, error, _) = split(&reply.as_bytes()[..cut], &[]);
            assert_eq!((found, error), (vec![], None), "{reply:?} cut at {cut}");
        }
    }
}

#[test]
fn an_attribute_belongs_to_the_reply_behind_it() {
    let cases: &[(&str, u8)] = &[
        ("|1\r\n+ttl\r\n:5\r\n$1\r\na\r\n", b'$'),
        ("|0\r\n+OK\r\n", b'+'),
        ("|1\r\n+a\r\n:1\r\n|1\r\n+b\r\n:2\r\n*0\r\n", b'*'),
        ("|1\r\n+a\r\n*1\r\n:1\r\n>1\r\n+x\r\n", b'>'),
        ("*2\r\n|1\r\n+a\r\n:1\r\n:1\r\n:2\r\n", b'*'),
        ("*2\r\n:1\r\n|1\r\n+a\r\n:1\r\n:2\r\n", b'*'),
        ("|1\r\n|1\r\n+k\r\n+v\r\n+a\r\n:1\r\n_\r\n", b'_'),
        ("*?\r\n|1\r\n+a\r\n:1\r\n:1\r\n.\r\n", b'*'),
    ];
    for (reply, kind) in cases {
        let want = (vec![(*kind, reply.len())], None, false);
        assert_eq!(split(reply.as_bytes(), &[]), want, "{reply:?}");
        assert_eq!(split(reply.as_bytes(), &every_byte(reply.as_bytes())), want, "{reply:?}");
    }
    let mut scanner = ReplyScanner::new();
    assert_eq!(scanner.advance(b"+OK\r\n"), Ok(Advance { take: 5, done: true }));
    assert_eq!(scanner.advance(b"|1\r\n+a\r\n:1\r\n"), Ok(Advance { take: 12, done: false }));
    assert_eq!((scanner.kind(), scanner.mid_reply()), (None, true));
}

#[test]
fn a_push_between_replies_is_one_of_its_own() {
    let bytes = "+A\r\n>2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n:1\r\n";
    assert_eq!(split(bytes.as_bytes(), &[]), (vec![(b'+', 4), (b'>', 32), (b':', 4)], None, false));
}

/// The first two are what Redis 7.0.15 sent for `MULTI … EXEC` in RESP3; the others follow their pattern.
#[test]
fn a_message_inside_an_exec_reply_takes_no_place_in_it() {
    let published = "*1\r\n>3\r\n$7\r\nmessage\r\n$1\r\nf\r\n$1\r\nx\r\n:1\r\n";
    let subscribed = "*2\r\n>3\r\n$9\r\nsubscribe\r\n$1\r\nf\r\n:1\r\n+PONG\r\n";
    let patterned = "*1\r\n>3\r\n$10\r\npsubscribe\r\n$1\r\nf\r\n:1\r\n";
    let invalidated = "*1\r\n>2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n+OK\r\n";
    for reply in [published, subscribed, patterned, invalidated] {
        let want = (vec![(b'*', reply.len())], None, false);
        assert_eq!(split(reply.as_bytes(), &[]), want, "{reply:?}");
        assert_eq!(split(reply.as_bytes(), &every_byte(reply.as_bytes())), want, "{reply:?}");
    }
}

#[test]
fn what_is_no_reply_is_refused() {
    use ReplyError::{BadBulkEnd, BadConstant, BadLine, BadNumber, UnexpectedType};
    let cases: &[(&str, ReplyError)] = &[
        ("x", UnexpectedType(b'x')),
        ("\r\n", UnexpectedType(b'\r')),
        (".\r\n", UnexpectedType(b'.')),
        (";1\r\n", UnexpectedType(b';')),
        ("*1\r\n.\r\n", UnexpectedType(b'.')),
        ("%?\r\n+a\r\n.\r\n", UnexpectedType(b'.')),
        ("*?\r\n|1\r\n+a\r\n:1\r\n.\r\n", UnexpectedType(b'.')),
        ("$?\r\n+a\r\n", UnexpectedType(b'+')),
        (":+5\r\n", BadNumber),
        (":05\r\n", BadNumber),
        (":\r\n", BadNumber),
        (":1\rx", BadNumber),
        ("$+5\r\n", BadNumber),
        ("$-2\r\n", BadNumber),
        ("$-0\r\n", BadNumber),
        ("$9223372036854775808\r\n", BadNumber),
        ("!-1\r\n", BadNumber),
        ("=-1\r\n", BadNumber),
        ("*-2\r\n", BadNumber),
        ("%-1\r\n", BadNumber),
        ("~-1\r\n", BadNumber),
        (">-1\r\n", BadNumber),
        (">?\r\n", BadNumber),
        ("|?\r\n", BadNumber),
        ("!?\r\n", BadNumber),
        ("$?\r\n;-1\r\n", BadNumber),
        ("$?x", BadConstant),
        ("*?\n", BadConstant),
        ("_x", BadConstant),
        ("#x", BadConstant),
        ("#tx", BadConstant),
        ("*?\r\n.x", BadConstant),
        ("+a\rb\r\n", BadLine),
        ("-a\nb\r\n", BadLine),
        (",1\n", BadLine),
        ("$1\r\nabc", BadBulkEnd),
        ("$1\r\na\rc", BadBulkEnd),
        ("$0\r\nx", BadBulkEnd),
        ("$?\r\n;1\r\nabc", BadBulkEnd),
    ];
    for (bytes, want) in cases {
        assert_eq!(split(bytes.as_bytes(), &[]).1, Some(*want), "{bytes:?}");
        assert_eq!(split(bytes.as_bytes(), &every_byte(bytes.as_bytes())).1, Some(*want), "{bytes:?}");
    }
}

#[test]
fn depth_is_capped() {
    for open in ["*1\r\n", "%1\r\n+k\r\n", "~?\r\n", "|1\r\n", ">1\r\n"] {
        let deepest = open.repeat(REPLY_DEPTH_MAX);
        assert_eq!(split(deepest.as_bytes(), &[]).1, None, "{open:?}");
        let deep = open.repeat(1_000_000);
        assert_eq!(
            split(deep.as_bytes(), &every_byte(&deep.as_bytes()[..5000])).1,
            Some(ReplyError::TooDeep),
            "{open:?}"
        );
    }
}

/// Would not end in anyone's lifetime if a byte's cost grew with what came before it.
#[test]
fn trickling_costs_no_more_than_the_bytes() {
    let filler = "x".repeat(4 << 20);
    for reply in [
        format!("+{filler}\r\n"),
        format!("$4194304\r\n{filler}\r\n"),
        format!("({filler}\r\n"),
        "*1000000\r\n".to_owned() + &":1\r\n".repeat(1_000_000),
    ] {
        assert_eq!(split(reply.as_bytes(), &every_byte(reply.as_bytes())).0, vec![(reply.as_bytes()[0], reply.len())]);
    }
}

#[test]
fn a_declared_count_reserves_nothing() {
    let bytes = "*9223372036854775807\r\n%9223372036854775807\r\n|9223372036854775807\r\n$9223372036854775807\r\nabc";
    let mut scanner = ReplyScanner::new();
    assert_eq!(scanner.advance(bytes.as_bytes()), Ok(Advance { take: bytes.len(), done: false }));
    assert!(scanner.levels.capacity() <= 8);
}

#[test]
fn whole_replies_are_decoded() {
    let decode = |text: &'static str| decode_reply(&Bytes::from_static(text.as_bytes()));
    assert_eq!(decode("$-1\r\n").unwrap(), BytesFrame::Null);
    assert_eq!(decode("*-1\r\n").unwrap(), BytesFrame::Null);
    assert_eq!(decode("_\r\n").unwrap(), BytesFrame::Null);
    let nested = decode("*3\r\n*-1\r\n$5\r\n*-1\r\n\r\n*1\r\n$-1\r\n").unwrap();
    let array = |data| BytesFrame::Array { data, attributes: None };
    let text = BytesFrame::BlobString { data: Bytes::from_static(b"*-1\r\n"), attributes: None };
    assert_eq!(nested, array(vec![BytesFrame::Null, text, array(vec![BytesFrame::Null])]));
    let BytesFrame::Array { data, .. } = decode("*2\r\n$3\r\nfoo\r\n%1\r\n+a\r\n:1\r\n").unwrap() else { panic!() };
    assert!(matches!(&data[..], [BytesFrame::BlobString { data, .. }, BytesFrame::Map { .. }] if data == "foo"));
    assert!(matches!(decode("-ERR x\r\n"), Ok(BytesFrame::SimpleError { data, .. }) if data == "ERR x"));
    assert!(matches!(decode("+OK\r\n+OK\r\n"), Err(DecodeError::NotOneReply)));
    assert!(matches!(decode("+OK"), Err(DecodeError::NotOneReply)));
    assert!(matches!(decode(""), Err(DecodeError::NotOneReply)));
    assert!(matches!(decode("$+1\r\n"), Err(DecodeError::Reply(ReplyError::BadNumber))));
    assert!(matches!(decode("$?\r\n;1\r\na\r\n;0\r\n"), Err(DecodeError::Content(_))));
    assert!(matches!(decode("-\u{e9}\r\n"), Ok(BytesFrame::SimpleError { .. })));
    assert!(decode_reply(&Bytes::from("*1\r\n".repeat(1_000_000))).is_err());
}

#[test]
fn the_deepest_reply_decodes_on_a_small_stack() {
    // The crate takes no aggregate in a set: then the way there is what must not overflow.
    for (open, readable) in [("*1\r\n", true), ("%1\r\n+k\r\n", true), ("~1\r\n", false), (">1\r\n", true)] {
        let deep = Bytes::from(open.repeat(DECODE_DEPTH_MAX) + ":1\r\n");
        // A debug build's stack frames are several times those of a release.
        let decode = std::thread::Builder::new().stack_size(1 << 20).spawn(move || decode_reply(&deep).is_ok());
        assert_eq!(decode.unwrap().join().unwrap(), readable, "{open:?}");
    }
}

/// Any reply, its bytes with it.
fn reply() -> impl Strategy<Value = Vec<u8>> {
    fn sized(kind: char, data: &[u8]) -> Vec<u8> {
        [format!("{kind}{}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat()
    }
    let data = || {
        prop_oneof![
            vec(any::<u8>(), 0..20),
            "[\r\n$*:.0-9]{0,8}".prop_map(String::into_bytes),
            vec(any::<u8>(), 0..900)
        ]
    };
    let leaf = prop_oneof![
        ("[-+,(]", "[^\r\n]{0,20}").prop_map(|(kind, text)| format!("{kind}{text}\r\n").into_bytes()),
        any::<i64>().prop_map(|value| format!(":{value}\r\n").into_bytes()),
        prop_oneof![Just("_\r\n"), Just("#t\r\n"), Just("#f\r\n"), Just("$-1\r\n"), Just("*-1\r\n")]
            .prop_map(|text| text.as_bytes().to_vec()),
        (prop_oneof![Just('$'), Just('!'), Just('=')], data()).prop_map(|(kind, data)| sized(kind, &data)),
        vec(data(), 0..4).prop_map(|chunks| {
            let chunks = chunks.iter().filter(|chunk| !chunk.is_empty()).map(|chunk| sized(';', chunk));
            [b"$?\r\n".to_vec(), chunks.collect::<Vec<_>>().concat(), b";0\r\n".to_vec()].concat()
        }),
    ];
    leaf.prop_recursive(6, 40, 5, |inner| {
        let kind = prop_oneof![Just('*'), Just('~'), Just('%')];
        let pairs = vec((inner.clone(), inner.clone()), 0..3)
            .prop_map(|pairs| (pairs.len(), pairs.into_iter().flat_map(<[_; 2]>::from).collect::<Vec<_>>().concat()));
        prop_oneof![
            (kind, vec(inner.clone(), 0..5), any::<bool>()).prop_map(|(kind, mut values, streamed)| {
                if kind == '%' && values.len() % 2 == 1 {
                    values.pop();
                }
                let count = if kind == '%' { values.len() / 2 } else { values.len() };
                let (head, end) =
                    if streamed { (format!("{kind}?\r\n"), ".\r\n") } else { (format!("{kind}{count}\r\n"), "") };
                [head.into_bytes(), values.concat(), end.as_bytes().to_vec()].concat()
            }),
            (pairs, inner)
                .prop_map(|((count, pairs), value)| [format!("|{count}\r\n").into_bytes(), pairs, value].concat()),
        ]
    })
}

/// As most are.
fn short_reply() -> impl Strategy<Value = Vec<u8>> {
    let value = prop_oneof![
        3 => prop_oneof![vec(any::<u8>(), 0..20), vec(any::<u8>(), 90..1200)]
            .prop_map(|data| [format!("${}\r\n", data.len()).as_bytes(), &data, b"\r\n"].concat()),
        1 => "[+][A-Z]{0,3}\r\n".prop_map(String::into_bytes),
        1 => (-200i64..200_000).prop_map(|value| format!(":{value}\r\n").into_bytes()),
        1 => prop_oneof![Just("+OK\r\n"), Just("$-1\r\n"), Just("_\r\n")].prop_map(|text| text.as_bytes().to_vec()),
    ];
    let array = vec(value.clone(), 0..12)
        .prop_map(|values| [format!("*{}\r\n", values.len()).into_bytes(), values.concat()].concat());
    prop_oneof![4 => value, 1 => array]
}

proptest! {
    #[test]
    fn replies_end_where_they_were_written_to_end(
        replies in vec((reply(), any::<bool>()), 0..5), cuts in vec(any::<prop::sample::Index>(), 0..10),
    ) {
        let replies: Vec<Vec<u8>> = replies
            .into_iter()
            .map(|(reply, push)| if push { [b">1\r\n".to_vec(), reply].concat() } else { reply })
            .collect();
        let all = replies.concat();
        let lens: Vec<usize> = replies.iter().map(Vec::len).collect();
        for cuts in [vec![], sorted_cuts(&cuts, all.len()), every_byte(&all)] {
            let (found, error, mid_reply) = split(&all, &cuts);
            prop_assert_eq!(error, None);
            prop_assert!(!mid_reply);
            prop_assert_eq!(found.iter().map(|found| found.1).collect::<Vec<_>>(), &lens[..]);
            for ((kind, _), reply) in found.iter().zip(&replies) {
                prop_assert!(reply[0] == b'|' || reply[0] == *kind);
            }
        }
    }

    #[test]
    fn short_replies_end_where_any_do(
        replies in vec(prop_oneof![reply(), short_reply()], 0..6),
        spoilt in vec((any::<prop::sample::Index>(), any::<u8>()), 0..2),
        end in any::<prop::sample::Index>(),
        most in 0usize..5,
    ) {
        let mut bytes = replies.concat();
        let len = bytes.len();
        for (at, byte) in spoilt.into_iter().filter(|_| len > 0) {
            bytes[at.index(len)] = byte;
        }
        bytes.truncate(len - end.index(len + 1) / 2);
        let (mut short, mut any) = (ReplyScanner::new(), ReplyScanner::new());
        let (count, taken) = short.advance_run(&bytes, most);
        prop_assert!(count <= most);
        let mut at = 0;
        for _ in 0..count {
            // What a client of an isolated tenant must read otherwise, or what is nobody's reply.
            prop_assert!(!matches!(bytes[at], b'-' | b'!' | b'>' | b'|'));
            let advance = any.advance_any(&bytes[at..]);
            at += advance.map_or(0, |advance| if advance.done { advance.take } else { 0 });
        }
        prop_assert_eq!(at, taken);
        prop_assert_eq!((short.kind(), short.mid_reply()), (any.kind(), any.mid_reply()));
        // Both stand at the same place: what follows is read alike, faults too.
        prop_assert_eq!(short.advance(&bytes[at..]), any.advance_any(&bytes[at..]));
        prop_assert_eq!((short.kind(), short.mid_reply()), (any.kind(), any.mid_reply()));
    }

    #[test]
    fn spoilt_replies_read_the_same_however_they_are_split(
        mut bytes in reply(), spoilt in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4), cuts in vec(any::<prop::sample::Index>(), 0..10),
    ) {
        for (at, byte) in spoilt {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let want = split(&bytes, &[]);
        let (found, error, _) = split(&bytes, &sorted_cuts(&cuts, bytes.len()));
        prop_assert_eq!((&found, error), (&want.0, want.1));
        let (found, error, _) = split(&bytes, &every_byte(&bytes));
        prop_assert_eq!((&found, error), (&want.0, want.1));
        let _ = decode_reply(&Bytes::from(bytes));
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(prop_oneof![any::<u8>(), prop::sample::select(&b"+-:$*_,#!=(%~>|.;?\r\n0123"[..])], 0..60)) {
        let want = split(&bytes, &[]);
        prop_assert_eq!(split(&bytes, &every_byte(&bytes)).1, want.1);
        let _ = decode_reply(&Bytes::from(bytes));
    }
}
