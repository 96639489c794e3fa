//! The way back against a real server: what is told of the replies of one that has the tenant's keys behind a prefix, and others
//! beside them, is what one says that has the tenant's keys alone.

use bytes::BytesMut;
use inventory_sentinel::resp::Proto;
use inventory_sentinel::tenant::isolation::{Back, KeySpace, push};

use super::super::common::resp::encode;
use super::super::common::{Conn, Redis, show, words};

/// `@` is the prefix, or nothing.
const OWN: &[&str] = &[
    "RPUSH @l a b c d e f",
    "ZADD @z 1 a 2 b 3 c 4 d",
    "XADD @x 1-1 f v",
    "XADD @x 2-1 f w",
    "XGROUP CREATE @x g 0",
    "SET @s acme:v",
];
const FOREIGN: &[&str] = &[
    "SET rival:s v",
    "SET acme2:s v",
    "RPUSH rival:l a",
    "SET s v",
    "SET inv1:{acme/0}:stock v",
    "SET other:acme:s v",
];

/// Requests, and what is made of their replies.
fn table() -> Vec<(&'static str, Back)> {
    vec![
        ("BLPOP @none @l 1", Back::FirstIsKey),
        ("BRPOP @l 1", Back::FirstIsKey),
        ("BLPOP @none 0.01", Back::FirstIsKey),
        ("LMPOP 2 @none @l LEFT COUNT 2", Back::FirstIsKey),
        ("LMPOP 1 @none LEFT", Back::FirstIsKey),
        ("BLMPOP 1 1 @l RIGHT", Back::FirstIsKey),
        ("ZMPOP 1 @z MIN", Back::FirstIsKey),
        ("ZMPOP 1 @none MIN", Back::FirstIsKey),
        ("BZMPOP 1 1 @z MAX", Back::FirstIsKey),
        ("BZPOPMIN @z 1", Back::FirstIsKey),
        ("BZPOPMAX @none 0.01", Back::FirstIsKey),
        ("LMPOP 1 @s LEFT", Back::FirstIsKey),
        ("XREAD STREAMS @x @none 0 0", Back::Streams),
        ("XREAD STREAMS @none 0", Back::Streams),
        ("XREAD BLOCK 10 STREAMS @none 0", Back::Streams),
        ("XREADGROUP GROUP g c COUNT 1 STREAMS @x >", Back::Streams),
        ("XREADGROUP GROUP g c STREAMS @x 0", Back::Streams),
        ("XREADGROUP GROUP nobody c STREAMS @x >", Back::Streams),
        ("XREADGROUP GROUP g c STREAMS @none >", Back::Streams),
        ("XPENDING @none g", Back::AsIs),
        ("XINFO GROUPS @none", Back::AsIs),
        ("XAUTOCLAIM @none g c 0 0", Back::AsIs),
        ("INCR @s", Back::AsIs),
        ("GET @s", Back::AsIs),
        ("KEYS @s*", Back::Keys),
        ("KEYS @nothing*", Back::Keys),
        ("SCAN 0 MATCH @s* COUNT 1000", Back::Scan),
        ("SCAN 0 MATCH @nothing* COUNT 1000", Back::Scan),
        ("SCAN x MATCH @s*", Back::Scan),
        ("PUBSUB CHANNELS @*", Back::Channels),
        ("PUBSUB SHARDCHANNELS @*", Back::Channels),
        ("PUBSUB NUMSUB @c @d", Back::ChannelCounts),
        ("PUBSUB NUMSUB", Back::ChannelCounts),
        ("PUBSUB SHARDNUMSUB @c", Back::ChannelCounts),
        ("CLIENT TRACKINGINFO", Back::TrackingInfo),
        (
            "SCRIPT EXISTS e0e1f9fabfc9d4800c877a703b823ac0578ff8db ffffffffffffffffffffffffffffffffffffffff",
            Back::ScriptExists(vec![false, true]),
        ),
    ]
}

fn says(redis: &Redis, protocol: u8) -> Conn {
    let mut conn = redis.conn();
    conn.call(&format!("HELLO {protocol}"));
    conn
}

fn ask(conn: &mut Conn, line: &str, prefix: &str) -> Vec<u8> {
    conn.send(&encode(&words(&line.replace('@', prefix))));
    conn.raw()
}

#[test]
fn each_way_back_gives_what_a_server_without_a_prefix_says() {
    let space = KeySpace::new("acme");
    for (protocol, proto) in [(2, Proto::Resp2), (3, Proto::Resp3)] {
        let servers = [Redis::start(), Redis::start()];
        let mut conns = servers.each_ref().map(|redis| says(redis, protocol));
        let prefixes = ["acme:", ""];
        let mut subscribers = servers.each_ref().map(Redis::conn);
        for ((conn, subscriber), prefix) in conns.iter_mut().zip(&mut subscribers).zip(prefixes) {
            for line in OWN {
                ask(conn, line, prefix);
            }
            ask(subscriber, "SUBSCRIBE @c", prefix);
            ask(subscriber, "SSUBSCRIBE @c", prefix);
            let tracking = if protocol == 3 { "CLIENT TRACKING ON BCAST PREFIX @p" } else { "CLIENT TRACKING OFF" };
            ask(conn, tracking, prefix);
        }
        let mut foreign = servers[0].conn();
        FOREIGN.iter().for_each(|line| drop(foreign.call(line)));
        foreign.call_args(&["SCRIPT", "LOAD", "return 1"]);
        let mut rival = servers[0].conn();
        rival.call("SUBSCRIBE rival:c __keyevent@0__:set");
        for (line, back) in table() {
            let [prefixed, plain] = [ask(&mut conns[0], line, "acme:"), ask(&mut conns[1], line, "")];
            let told = back.apply(&prefixed, &space, proto);
            assert!(told == plain, "RESP{protocol} {line}: {}, not {}", show(&told), show(&plain));
        }
        let [prefixed, plain] = [ask(&mut conns[0], "INFO everything", ""), ask(&mut conns[1], "INFO everything", "")];
        let (told, plain) = (Back::Info.apply(&prefixed, &space, proto), String::from_utf8_lossy(&plain).into_owned());
        let told = String::from_utf8_lossy(&told).into_owned();
        let lines: Vec<&str> = told.lines().skip(1).map(|line| line.trim_start_matches("txt:")).collect();
        for wanted in ["role:master", "loading:0", "maxmemory_policy:noeviction", "cluster_enabled:0"] {
            assert!(lines.contains(&wanted), "{wanted} in {told}");
        }
        // Valkey has another word for it.
        assert!(lines.contains(&"redis_mode:standalone") || lines.contains(&"server_mode:standalone"), "{told}");
        let alike = |line: &&str| line.starts_with("uptime") || plain.contains(*line);
        assert!(lines.iter().all(alike), "{told}");
    }
}

/// What a subscriber of either gets, and what it is told of the prefixed one's.
#[test]
fn what_comes_unasked_is_what_a_server_without_a_prefix_sends() {
    let space = KeySpace::new("acme");
    let subscriptions = [
        "SUBSCRIBE @c",
        "PSUBSCRIBE @d* @[x]*",
        "SUBSCRIBE __keyspace@0__:@k",
        "PSUBSCRIBE __keyspace@0__:@m*",
        "SUBSCRIBE __keyevent@0__:set",
        "PSUBSCRIBE __keyevent@*__:d*",
        "SSUBSCRIBE @c",
        "UNSUBSCRIBE @nothing",
    ];
    let ends = [
        "SUNSUBSCRIBE",
        "UNSUBSCRIBE @c",
        "PUNSUBSCRIBE @d* @[x]* __keyspace@0__:@m* __keyevent@*__:d*",
        "PUNSUBSCRIBE",
    ];
    let doings = [
        "PUBLISH @c hello",
        "PUBLISH @dd acme:x",
        "SET @k v",
        "SET @m v",
        "DEL @m",
        "SPUBLISH @c x",
        "SET @o v",
        "PUBLISH @end x",
    ];
    let foreign = ["PUBLISH rival:c x", "SET rival:k v", "DEL rival:k", "SET acme2:k v", "PUBLISH acme2:c x"];
    for protocol in [2, 3] {
        let mut heard: Vec<Vec<Vec<u8>>> = Vec::new();
        for prefix in ["acme:", ""] {
            let redis = Redis::with(&["--save", "", "--notify-keyspace-events", "AKE"]);
            let (mut subscriber, mut actor) = (says(&redis, protocol), redis.conn());
            subscriber.send(&encode(&words(&format!("SUBSCRIBE {prefix}end"))));
            let mut frames = vec![subscriber.raw()];
            for line in &subscriptions {
                let line = line
                    .replace('@', prefix)
                    .replace(&format!("{prefix}0__"), "@0__")
                    .replace(&format!("{prefix}*__"), "@*__");
                subscriber.send(&encode(&words(&line)));
                let count = if line.starts_with("PSUBSCRIBE") { words(&line).len() - 1 } else { 1 };
                frames.extend((0..count).map(|_| subscriber.raw()));
            }
            for line in doings {
                if !prefix.is_empty() {
                    foreign.iter().for_each(|line| drop(actor.call(line)));
                }
                actor.call(&line.replace('@', prefix));
            }
            let last = format!("{prefix}end");
            loop {
                let frame = subscriber.raw();
                let over = memchr::memmem::find(&frame, last.as_bytes()).is_some();
                frames.push(frame);
                if over {
                    break;
                }
            }
            for line in ends {
                let line = line
                    .replace('@', prefix)
                    .replace(&format!("{prefix}0__"), "@0__")
                    .replace(&format!("{prefix}*__"), "@*__");
                subscriber.send(&encode(&words(&line)));
                let count = (words(&line).len() - 1).max(1);
                frames.extend((0..count).map(|_| subscriber.raw()));
            }
            heard.push(frames);
        }
        let told: Vec<BytesMut> = heard[0].iter().filter_map(|frame| push::inside(frame, &space)).collect();
        for (told, plain) in told.iter().zip(&heard[1]) {
            assert!(told == plain, "RESP{protocol}: {}, not {}", show(told), show(plain));
        }
        assert_eq!(told.len(), heard[1].len());
        assert!(heard[0].len() > told.len(), "some were not for it");
    }
}
