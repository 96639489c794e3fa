//! An isolated tenant's random requests, judged, with a real server as the oracle: whatever a hostile client sends, no key that
//! the server sees is another's.

#![allow(clippy::print_stdout, reason = "a seed that fails is to be had again")]

mod common;

use common::judged::Tenant;
use common::resp::encode;
use common::{Redis, Reply, words};
use inventory_sentinel::resp::{ArgRange, FrameKind, RequestLimits, RequestScanner};
use inventory_sentinel::tenant::isolation::Verdict;
use inventory_sentinel::tenant::isolation::table::{ROWS, Treatment};

const PREFIX: &[u8] = b"acme:";

/// What a hostile client puts anywhere: names of others, options' words, numbers.
fn word(random: &mut fastrand::Rng) -> Vec<u8> {
    const WORDS: [&str; 78] = [
        "zeta:k",
        "zeta:k",
        "zeta:s",
        "zeta:l",
        "zeta:z",
        "zeta:h",
        "zeta:x",
        "{zeta:k}",
        "acme:k",
        "acme:",
        "k",
        "l",
        "s",
        "z",
        "h",
        "x",
        "",
        "0",
        "1",
        "2",
        "3",
        "10",
        "-1",
        "+1",
        "01",
        "1.5",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "STORE",
        "STOREDIST",
        "BY",
        "GET",
        "#",
        "*",
        "nosort",
        "LIMIT",
        "ASC",
        "ALPHA",
        "COUNT",
        "ANY",
        "WITHDIST",
        "MATCH",
        "TYPE",
        "string",
        "STREAMS",
        "streams",
        "GROUP",
        "NOACK",
        "BLOCK",
        "$",
        ">",
        "0-0",
        "m",
        "KEYS",
        "LEFT",
        "RIGHT",
        "MIN",
        "MAX",
        "WEIGHTS",
        "AGGREGATE",
        "SUM",
        "WITHSCORES",
        "REPLACE",
        "DB",
        "XX",
        "NX",
        "EX",
        "FIELDS",
        "AND",
        "NOT",
        "DIFF",
        "ON",
        "BCAST",
        "PREFIX",
        "FROMMEMBER",
        "BYRADIUS",
        "LADDR",
    ];
    if random.u8(..) < 6 {
        return b"\r\n$6\r\nzeta:k\r\n\0".to_vec();
    }
    WORDS[random.usize(..WORDS.len())].as_bytes().to_vec()
}

/// Requests whose form is right more often than by chance alone.
fn shaped(random: &mut fastrand::Rng) -> Vec<Vec<u8>> {
    const FORMS: [&str; 24] = [
        "SORT ? ? ? ? ? STORE ?",
        "SORT ? BY nosort STORE ? ? ?",
        "GEORADIUS ? 1 1 1 m ? ? ? ?",
        "GEORADIUS ? 1 1 1 m STORE ? ? ?",
        "GEORADIUSBYMEMBER ? ? 1 m ? ? STORE ?",
        "XREADGROUP GROUP ? ? ? STREAMS ? ?",
        "XREADGROUP GROUP ? ? STREAMS ? ? > >",
        "XREAD ? ? STREAMS ? 0",
        "XREAD COUNT ? STREAMS ? ? 0 0",
        "ZUNIONSTORE ? 2 ? ? ? ? ?",
        "ZINTERSTORE ? ? ? ? ?",
        "ZDIFF 2 ? ? ?",
        "ZUNION ? ? ? ?",
        "LMPOP ? ? ? LEFT",
        "BLMPOP 0.01 ? ? ? LEFT",
        "ZMPOP 1 ? MIN ? ?",
        "SINTERCARD 2 ? ? LIMIT ?",
        "EVAL return{} ? ? ?",
        "COPY ? ? ? ?",
        "BITOP AND ? ? ?",
        "GEOSEARCHSTORE ? ? FROMMEMBER ? BYRADIUS 1 m",
        "ZRANGESTORE ? ? 0 -1 ?",
        "MEMORY USAGE ? ? ?",
        "XGROUP CREATE ? ? $ ?",
    ];
    let form = FORMS[random.usize(..FORMS.len())];
    words(form).into_iter().map(|part| if part == b"?" { word(random) } else { part }).collect()
}

/// Any command of the table, any arguments.
fn any_request(random: &mut fastrand::Rng) -> Vec<Vec<u8>> {
    if random.bool() {
        return shaped(random);
    }
    let row = &ROWS[random.usize(..ROWS.len())];
    let mut request = vec![row.name.as_bytes().to_vec()];
    if let Treatment::Container(rows) = row.treatment {
        request.push(rows[random.usize(..rows.len())].name.as_bytes().to_vec());
    }
    let more = random.usize(..8);
    request.extend((0..more).map(|_| word(random)));
    request
}

/// Of a rewritten request: its arguments, as a server reads them, are those of `ranges`; those that are not prefixed are as
/// they came, and what is more stands at the end.
fn arguments(request: &[Vec<u8>], frame: &[u8], ranges: &[ArgRange]) -> Vec<Vec<u8>> {
    let mut scanner = RequestScanner::new(RequestLimits::default());
    let found = scanner.scan(frame).expect("a request").expect("a whole one");
    assert_eq!((found.kind, found.len), (FrameKind::Array, frame.len()));
    assert_eq!(scanner.args(), ranges);
    let args: Vec<Vec<u8>> = ranges.iter().map(|range| range.of(frame).to_vec()).collect();
    for (before, after) in request.iter().zip(&args) {
        let strips = |arg: &[u8]| (0..=arg.len()).any(|at| [&arg[..at], PREFIX, &arg[at..]].concat() == *after);
        let bounded = after == b"10000" && request[0] == b"SCAN";
        // A head stands before a script.
        let scripts = ["EVAL", "EVAL_RO", "SCRIPT"].iter().any(|name| request[0].eq_ignore_ascii_case(name.as_bytes()));
        let headed = scripts && after.starts_with(b"local redis, ") && after.ends_with(before);
        // What stores nothing goes by another name.
        let reading = [&before.to_ascii_uppercase(), b"_RO".as_slice()].concat() == *after && before.len() > 8;
        assert!(before == after || strips(before) || bounded || headed || reading, "{request:?} became {args:?}");
    }
    assert!((request.len()..=request.len() + 2).contains(&args.len()));
    args
}

/// Seeds are printed, and `SEED` repeats one.
fn seeded() -> fastrand::Rng {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("SEED={seed}");
    fastrand::Rng::with_seed(seed)
}

#[test]
fn every_key_that_the_server_sees_in_a_rewritten_request_is_the_tenants() {
    let redis = Redis::start();
    let mut conn = redis.conn();
    let tenant = Tenant::trusted();
    let mut random = seeded();
    let mut asked = 0;
    for _ in 0..30_000 {
        let request = any_request(&mut random);
        let verdict = tenant.judge(&request);
        let (args, rewritten) = match &verdict {
            Verdict::Passed => (request.clone(), false),
            Verdict::Rewritten { frame, ranges, .. } => (arguments(&request, frame, ranges), true),
            _ => continue,
        };
        // Redis looks for the first STREAMS here, whatever it is; it is the group's or the consumer's name where there are two.
        let streams = args.iter().filter(|arg| arg.eq_ignore_ascii_case(b"STREAMS")).count();
        if request[0] == b"XREADGROUP" && streams > 1 {
            continue;
        }
        // 6.2 calls what follows HELP a key.
        if request.get(1).is_some_and(|sub| sub == b"HELP") {
            continue;
        }
        conn.send_args(&[&[b"COMMAND".to_vec(), b"GETKEYS".to_vec()], &args[..]].concat());
        let Reply::Array(keys) = conn.reply() else { continue };
        asked += 1;
        // Redis 7.0 and later call a shard channel a key here, and it is prefixed as one.
        for key in keys {
            let Reply::Bulk(key) = key else { panic!("{key:?}") };
            assert!(rewritten && key.starts_with(PREFIX), "{request:?} became {args:?}: {key:?} is a key");
        }
    }
    assert!(asked > 5_000, "{asked} requests alone had keys");
}

#[test]
fn no_request_that_is_executed_touches_a_key_of_anothers() {
    let redis = Redis::start();
    let mut conn = redis.conn();
    let planted = [
        "SET zeta:k planted",
        "SADD zeta:s planted",
        "RPUSH zeta:l planted",
        "ZADD zeta:z 1 planted",
        "HSET zeta:h planted planted",
        "XADD zeta:x 1-1 planted planted",
        "GEOADD {zeta:k} 1 1 planted",
        "XGROUP CREATE zeta:x zeta:k 0",
        "SET k planted",
        "SET {k} planted",
    ];
    planted.iter().for_each(|line| drop(conn.call(line)));
    let names = ["zeta:k", "zeta:s", "zeta:l", "zeta:z", "zeta:h", "zeta:x", "{zeta:k}", "k", "{k}"];
    let own = [
        "SET acme:k 1",
        "SADD acme:s a",
        "RPUSH acme:l a b c",
        "ZADD acme:z 1 a",
        "HSET acme:h f v",
        "XADD acme:x 1-1 f v",
    ];
    let all = |conn: &mut common::Conn| names.map(|name| conn.call(&format!("DUMP {name}")));
    let before = all(&mut conn);
    let tenant = Tenant::trusted();
    let mut random = seeded();
    // What leaves one reply a request and keeps the connection as it is.
    let leave_out = [
        "SUBSCRIBE",
        "UNSUBSCRIBE",
        "PSUBSCRIBE",
        "PUNSUBSCRIBE",
        "SSUBSCRIBE",
        "SUNSUBSCRIBE",
        "CLIENT",
        "MULTI",
        "EXEC",
        "DISCARD",
        "WAIT",
        "WAITAOF",
        "WATCH",
        "COMMAND",
    ];
    for round in 0..12_000 {
        let request = any_request(&mut random);
        if leave_out.iter().any(|name| request[0].eq_ignore_ascii_case(name.as_bytes())) {
            continue;
        }
        if round % 50 == 0 {
            own.iter().for_each(|line| drop(conn.call(line)));
        }
        let args = match tenant.judge(&request) {
            Verdict::Passed => request.clone(),
            Verdict::Rewritten { frame, ranges, .. } => arguments(&request, &frame, &ranges),
            _ => continue,
        };
        // In a transaction nothing waits.
        conn.send(&[encode(&["MULTI"]), encode(&args), encode(&["EXEC"])].concat());
        let reply = [conn.reply(), conn.reply(), conn.reply()];
        let echoes = request.iter().any(|arg| arg == b"planted");
        let shown = format!("{reply:?}");
        let is_about_keys = !["ECHO", "INFO", "LOLWUT"].iter().any(|name| request[0] == name.as_bytes());
        assert!(echoes || !is_about_keys || !shown.contains("planted"), "{request:?} became {args:?}: {shown}");
    }
    assert_eq!(all(&mut conn), before);
    let mut strangers: Vec<String> =
        conn.call("KEYS *").items().iter().map(Reply::text).filter(|key| !key.starts_with("acme:")).collect();
    strangers.sort();
    let mut expected: Vec<String> = names.map(str::to_owned).to_vec();
    expected.retain(|name| name != "{k}" || before[8] != Reply::NilBulk);
    expected.sort();
    assert_eq!(strangers, expected);
}
