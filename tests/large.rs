//! Large requests and replies of an isolated tenant: they go on piece by piece, nothing of them is at hand more than once, and they
//! are what they would be in one go.

mod common;

use common::resp::encode;
use common::tenants::{TWO, Tenanted, text, two, word};
use common::{Conn, Redis, Reply, SOON, until, words};
use std::io::ErrorKind;

const MIB: usize = 1024 * 1024;

/// With so small a bound for what is kept whole that all of these are large.
fn start(redis: &Redis, of_acme: &str) -> Tenanted {
    Tenanted::start_with(redis, &two(of_acme), &["session.request_stream_bytes=1024"], |_| {})
}

/// The most memory that it ever had, in MiB.
fn peak_mib(tenants: &Tenanted) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", tenants.sidecar.pid())).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") / 1024
}

/// Bytes that the upstream has read so far.
fn read_upstream(redis: &Redis) -> usize {
    let stats = redis.conn().call("INFO stats").text();
    let line = stats.lines().find_map(|line| line.strip_prefix("total_net_input_bytes:")).expect("a line");
    line.trim().parse().expect("a number")
}

fn int(number: usize) -> Reply {
    Reply::Int(number as i64)
}

#[test]
fn a_large_value_reaches_the_upstream_before_all_of_it_has_come() {
    let redis = Redis::start();
    let tenants = Tenanted::start(&redis, &two(""));
    let (mut acme, mut other) = (tenants.acme(), tenants.acme());
    let before = read_upstream(&redis);
    acme.send(format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n", 20 * MIB).as_bytes());
    acme.send(&vec![b'v'; 10 * MIB]);
    until("the first half is upstream", SOON, || (read_upstream(&redis) >= before + 10 * MIB).then_some(()));
    // It has a connection of its own: others of its tenant do not wait for it.
    assert_eq!(text(&mut other, &["SET", "other", "x"]), "+OK\r\n");
    assert_eq!(text(&mut other, &["GET", "k"]), "$-1\r\n");
    acme.send(&vec![b'v'; 10 * MIB]);
    acme.send(b"\r\n");
    acme.reply().expect_ok();
    assert_eq!(redis.conn().call("STRLEN acme:k"), int(20 * MIB));
    assert_eq!(redis.conn().call("KEYS *").items().len(), 2);
}

#[test]
fn a_large_request_takes_no_memory_and_one_that_must_be_seen_whole_takes_it_once() {
    let redis = Redis::start();
    let tenants = Tenanted::start(&redis, &two(""));
    let (mut acme, value) = (tenants.acme(), vec![b'v'; 40 * MIB]);
    acme.send(&encode(&[b"SET".as_slice(), b"k", &value]));
    acme.reply().expect_ok();
    acme.send(&encode(&[b"MSET".as_slice(), b"a", &value[..20 * MIB], b"b", &value[..19 * MIB]]));
    acme.reply().expect_ok();
    // None of them large by itself.
    let some: Vec<&[u8]> =
        [b"MSET".as_slice()].into_iter().chain([b"k".as_slice(), &value[..MIB / 2]].repeat(60)).collect();
    acme.send(&encode(&some));
    acme.reply().expect_ok();
    let peak = peak_mib(&tenants);
    assert!(peak < 35, "{peak} MiB for requests of 40");
    // Where its names are is told by other arguments, or by the name itself.
    acme.send(&encode(&[b"PUBLISH".as_slice(), b"c", &value]));
    assert_eq!(acme.reply(), int(0));
    let peak = peak_mib(&tenants);
    assert!(peak < 75, "{peak} MiB for a request of 40");
    assert_eq!(redis.conn().call("STRLEN acme:b"), int(19 * MIB));
}

#[test]
fn large_replies_that_must_be_looked_into_take_little_memory() {
    let redis = Redis::start();
    let settings = ["session.output_pause_bytes=1048576"];
    let tenants = Tenanted::start_with(&redis, &two(""), &settings, |_| {});
    let (mut direct, value) = (redis.conn(), vec![b'v'; 40 * MIB]);
    let set = |conn: &mut Conn, command: &[&[u8]]| {
        conn.send(&encode(&[command, &[&value[..]]].concat()));
        drop(conn.raw());
    };
    set(&mut direct, &[b"SET", b"acme:k"]);
    set(&mut direct, &[b"RPUSH", b"acme:l"]);
    set(&mut direct, &[b"XADD", b"acme:s", b"1-1", b"f"]);
    for resp3 in [false, true] {
        let mut acme = if resp3 { tenants.conn3_as("acme", "acme-secret") } else { tenants.acme() };
        acme.call("MULTI").expect_ok();
        for line in ["GET k", "INCR l", "LLEN l"] {
            assert_eq!(acme.call(line), Reply::Simple("QUEUED".into()));
        }
        let replies = acme.call("EXEC");
        let [got, refused, len] = replies.items() else { panic!("{replies:?}") };
        assert!(*got == Reply::bulk(&value) && *len == int(1));
        assert!(matches!(refused, Reply::Error(line) if line.starts_with("WRONGTYPE")), "{refused:?}");
        let entries = acme.call("XREAD BLOCK 1 STREAMS s 0");
        let stream = match &entries {
            Reply::Map(pairs) => vec![pairs[0].0.clone(), pairs[0].1.clone()],
            entries => entries.items()[0].items().to_vec(),
        };
        assert_eq!(stream[0], Reply::bulk("s"));
        assert_eq!(stream[1].items()[0].items()[1].items()[1], Reply::bulk(&value));
        let popped = acme.call("BLPOP l 1");
        assert_eq!(popped.items(), [Reply::bulk("l"), Reply::bulk(&value)]);
        set(&mut direct, &[b"RPUSH", b"acme:l"]);
    }
    let peak = peak_mib(&tenants);
    assert!(peak < 40, "{peak} MiB for replies of 40");
}

/// A word of so many bytes.
fn long(byte: u8, len: usize) -> Vec<u8> {
    vec![byte; len]
}

#[test]
fn large_requests_of_all_forms_do_what_small_ones_do() {
    let redis = Redis::start();
    let tenants = start(&redis, "");
    let mut direct = redis.conn();
    for (resp3, len) in [(false, 2000), (true, 3000), (false, 300_000), (true, 2_000_000)] {
        let mut acme = if resp3 { tenants.conn3_as("acme", "acme-secret") } else { tenants.acme() };
        let (value, key) = (long(b'v', len), long(b'k', len));
        let ask = |conn: &mut Conn, request: &[&[u8]]| {
            conn.send(&encode(request));
            conn.reply()
        };
        direct.call("FLUSHALL").expect_ok();
        ask(&mut acme, &[b"SET", b"a", &value]).expect_ok();
        assert_eq!(ask(&mut direct, &[b"GET", b"acme:a"]), Reply::bulk(&value));
        // The key is what is large.
        ask(&mut acme, &[b"set", &key, b"1"]).expect_ok();
        assert_eq!(ask(&mut direct, &[b"GET", &[b"acme:", &key[..]].concat()]), Reply::bulk("1"));
        assert_eq!(ask(&mut acme, &[b"EXISTS", &key, b"a", &key]), int(3));
        // Many keys, each behind the prefix.
        let count = (len / 20).min(3000);
        let keys: Vec<String> = (0..count).map(|at| format!("{at:0>width$}", width = len / count)).collect();
        let set = [b"MSET".to_vec()].into_iter().chain(keys.iter().flat_map(|key| [key.clone().into(), b"x".to_vec()]));
        acme.send(&encode(&set.collect::<Vec<_>>()));
        acme.reply().expect_ok();
        let of_keys = |name: &str| encode(&[&[name.to_owned()], &keys[..]].concat());
        acme.send(&of_keys("MGET"));
        assert_eq!(acme.reply().items(), vec![Reply::bulk("x"); keys.len()]);
        assert_eq!(direct.call("DBSIZE"), int(keys.len() + 2));
        acme.send(&of_keys("DEL"));
        assert_eq!(acme.reply(), int(keys.len()));
        // What must be seen whole.
        let mut listener = tenants.acme();
        assert_eq!(listener.call("SUBSCRIBE c").items().len(), 3);
        assert_eq!(ask(&mut acme, &[b"PUBLISH", b"c", &value]), int(1));
        assert_eq!(listener.reply().items()[1..], [Reply::bulk("c"), Reply::bulk(&value)]);
        let union = [b"ZUNION".to_vec(), keys.len().to_string().into()];
        acme.send(&encode(&union.into_iter().chain(keys.iter().map(|key| key.clone().into())).collect::<Vec<_>>()));
        assert_eq!(acme.reply().items(), []);
        let read = words("XREAD STREAMS").into_iter().chain(keys.iter().map(|key| key.clone().into()));
        acme.send(&encode(&read.chain(keys.iter().map(|_| b"0".to_vec())).collect::<Vec<_>>()));
        assert!(acme.reply().is_nil());
        assert_eq!(ask(&mut acme, &[b"ECHO", &value]), Reply::bulk(&value));
        assert_eq!(ask(&mut acme, &[b"PING", &value]), Reply::bulk(&value));
        // Errors do not show the prefix, and what is refused is refused.
        let refused = ask(&mut acme, &[b"GET", &key, b"more"]);
        refused.expect_error("ERR");
        ask(&mut acme, &[b"LPUSH", b"a", &value]).expect_error("WRONGTYPE");
        ask(&mut acme, &[b"EVAL", &value, b"0"]).expect_error("NOPERM");
        ask(&mut acme, &[b"CONFIG", b"SET", b"dir", &value]).expect_error("NOPERM");
        ask(&mut acme, &[b"NOSUCH", &value]).expect_error("ERR");
        let id = acme.call("CLIENT ID").int().to_string();
        for request in [
            &[b"COMMAND".as_slice(), b"COUNT", &value][..],
            &[b"INFO", &value],
            &[b"ACL", b"WHOAMI", &value],
            &[b"KEYS", &value],
            &[b"CLIENT", b"TRACKING", b"ON", b"REDIRECT", id.as_bytes(), b"BCAST", b"PREFIX", &value],
        ] {
            assert!(matches!(ask(&mut acme, request), Reply::Error(_)), "{:?}", common::show(request[0]));
        }
        // In a pipeline, in order, and in a transaction.
        let set = encode(&[b"SET".as_slice(), b"p", &value]);
        let publish = encode(&[b"PUBLISH".as_slice(), b"nobody", &value]);
        let small = encode(&words("APPEND p x"));
        acme.send(&[&set[..], &small, &publish, &small, &set, &publish, &small].concat());
        let replies: Vec<Reply> = (0..7).map(|_| acme.reply()).collect();
        let (ok, one, two) = (Reply::ok(), int(len + 1), int(len + 2));
        assert_eq!(replies, [ok.clone(), one.clone(), int(0), two, ok, int(0), one]);
        let multi =
            [encode(&words("MULTI")), set, publish, encode(&words("STRLEN p")), encode(&words("EXEC"))].concat();
        acme.send(&multi);
        let replies: Vec<Reply> = (0..5).map(|_| acme.reply()).collect();
        assert_eq!(replies[4].items(), [Reply::ok(), int(0), int(len)]);
        assert!(replies[1..4].iter().all(|reply| *reply == Reply::Simple("QUEUED".into())), "{replies:?}");
        // A watched key among many guards the transaction.
        let some = keys.iter().take(1000).cloned();
        acme.send(&encode(&["WATCH".to_owned()].into_iter().chain(some).collect::<Vec<_>>()));
        acme.reply().expect_ok();
        direct.call(&format!("SET acme:{} x", keys[keys.len() / 4])).expect_ok();
        acme.call("MULTI").expect_ok();
        assert_eq!(acme.call("SET w x"), Reply::Simple("QUEUED".into()));
        assert!(acme.call("EXEC").is_nil());
        // As many channels as fit no small request.
        acme.send(&of_keys("SUBSCRIBE"));
        for (at, key) in keys.iter().enumerate() {
            let reply = acme.reply();
            let words = match &reply {
                Reply::Push(words) => words,
                reply => reply.items(),
            };
            assert_eq!(words[1..], [Reply::bulk(key), int(at + 1)]);
        }
        assert_eq!(direct.call(&format!("PUBLISH acme:{} x", keys[0])), int(1));
    }
}

#[test]
fn a_client_that_says_no_more_behind_a_large_request_gets_its_reply() {
    let redis = Redis::start();
    let tenants = start(&redis, "");
    let value = vec![b'v'; 3 * MIB];
    for request in [&[b"SET".as_slice(), b"k", &value][..], &[b"PUBLISH", b"c", &value], &[b"KEYS", &value]] {
        let mut acme = tenants.acme();
        acme.send(&encode(request));
        acme.half_close();
        assert!(!acme.raw().is_empty());
        acme.expect_close();
    }
    assert_eq!(redis.conn().call("STRLEN acme:k"), int(3 * MIB));
}

#[test]
fn half_a_large_request_does_nothing() {
    let redis = Redis::start();
    let tenants = Tenanted::start(&redis, &two(""));
    for name in ["SET", "PUBLISH", "MSET"] {
        let mut acme = tenants.acme();
        let before = read_upstream(&redis);
        acme.send(format!("*3\r\n${}\r\n{name}\r\n$1\r\nk\r\n$3000000\r\n", name.len()).as_bytes());
        acme.send(&vec![b'v'; 2_000_000]);
        if name != "PUBLISH" {
            until("a part is upstream", SOON, || (read_upstream(&redis) > before + 1_000_000).then_some(()));
        }
        drop(acme);
    }
    let mut acme = tenants.acme();
    assert_eq!(text(&mut acme, &["EXISTS", "k"]), ":0\r\n");
    assert_eq!(text(&mut acme, &["SET", "k", "v"]), "+OK\r\n");
}

#[test]
fn a_large_request_is_one_of_those_that_may_be() {
    let redis = Redis::start();
    let value = "v".repeat(10_000);
    let tenants = start(&redis, "pinned_max = 1\nrequest_bytes_max = 20_000\ndeny = [\"append\"]");
    let (mut one, mut two) = (tenants.acme(), tenants.acme());
    assert_eq!(word(&mut one, &["APPEND", "k", &value]), "-NOPERM");
    assert_eq!(word(&mut one, &["SET", "k", &"v".repeat(30_000)]), "-OVERLOADED");
    assert_eq!(text(&mut one, &["WATCH", "k"]), "+OK\r\n");
    for request in [["SET", "k", &value], ["PUBLISH", "k", &value]] {
        let refused = text(&mut two, &request);
        assert!(refused.starts_with("-OVERLOADED ") && refused.contains("pinned_max"), "{refused}");
        assert_eq!(text(&mut two, &["GET", "k"]), "$-1\r\n");
    }
    assert_eq!(text(&mut one, &["SET", "k", &value]), "+OK\r\n");
    assert_eq!(text(&mut one, &["UNWATCH"]), "+OK\r\n");
    until("the connection is given back", SOON, || (word(&mut two, &["SET", "k", &value]) == "+OK").then_some(()));
    // What guards a transaction, and cannot, takes its client with it.
    assert_eq!(text(&mut one, &["WATCH", "k"]), "+OK\r\n");
    assert_eq!(word(&mut two, &["WATCH", &value]), "-OVERLOADED");
    two.expect_close();
    // Its rate counts each once, however often it had to wait.
    let tenants = start(&redis, "requests_per_second = 1\nrequests_burst = 100");
    let mut acme = tenants.acme();
    let pipeline: Vec<u8> =
        (0..20).flat_map(|_| [encode(&["GET", "k"]), encode(&["SET", "k", &value])]).flatten().collect();
    acme.send(&pipeline);
    assert!((0..40).all(|_| !acme.raw().starts_with(b"-")));
}

#[test]
fn what_a_part_of_a_large_reply_begins_with_is_no_error() {
    let redis = Redis::start();
    let tenants = Tenanted::start(&redis, &two(""));
    for before in [&["PING"][..], &["SUBSCRIBE", "channel"]] {
        let mut acme = tenants.conn3_as("acme", "acme-secret");
        drop(text(&mut acme, before));
        for value in ["!", "-ERR acme:x "] {
            let value = value.repeat(1_000_000 / value.len());
            acme.call_args(&["SET", "k", &value]).expect_ok();
            acme.call_args(&["DEL", "l"]);
            assert_eq!(acme.call_args(&["RPUSH", "l", &value]), int(1));
            let asked = [&["GET", "k"][..], &["ECHO", "next"], &["LRANGE", "l", "0", "-1"], &["ECHO", "last"]];
            acme.send(&asked.map(encode).concat());
            let bulk = || Reply::Bulk(value.clone().into_bytes());
            assert!(acme.reply() == bulk(), "{before:?}");
            assert_eq!(acme.reply().text(), "next");
            assert!(acme.reply() == Reply::Array(vec![bulk()]), "{before:?}");
            assert_eq!(acme.reply().text(), "last");
        }
    }
}

#[test]
fn a_request_that_proves_too_large_ends_its_client_though_nothing_more_comes() {
    let redis = Redis::start();
    for passthrough in ["isolated", "full"] {
        let limits = format!("request_bytes_max = 20000000\npassthrough = \"{passthrough}\"");
        let tenants = Tenanted::start(&redis, &two(&limits));
        let part = format!("$1\r\nk\r\n$20000\r\n{}\r\n", "v".repeat(20_000));
        let request = format!("*3001\r\n$4\r\nMSET\r\n{}", part.repeat(1500));
        for _ in 0..3 {
            let mut acme = tenants.acme();
            let _ = acme.try_send(request.as_bytes());
            let end = std::iter::repeat_with(|| acme.try_raw()).find_map(Result::err).expect("it ends").kind();
            assert!(matches!(end, ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset), "{passthrough}: {end}");
        }
        assert_eq!(redis.conn().call("EXISTS acme:k k"), int(0));
    }
}

#[test]
fn who_must_go_in_the_middle_of_a_large_request_goes() {
    let redis = Redis::start();
    let tenants = Tenanted::start(&redis, &two(""));
    let mut acme = tenants.acme();
    let before = read_upstream(&redis);
    acme.send(format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n", 3 * MIB).as_bytes());
    acme.send(&vec![b'v'; 2 * MIB]);
    until("a part is upstream", SOON, || (read_upstream(&redis) > before + MIB).then_some(()));
    let (head, _) = TWO.split_once("[[tenants]]").expect("two");
    let rival = TWO.rsplit_once("[[tenants]]").expect("two").1;
    tenants.becomes(&format!("{head}[[tenants]]{rival}"), "ok");
    acme.expect_close();
    assert_eq!(redis.conn().call("EXISTS acme:k"), int(0));
}
