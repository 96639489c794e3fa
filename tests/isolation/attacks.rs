//! Attacks written by hand, each under the claim that it tries to break. All are played on both protocols; what each leaves behind
//! is judged as in `world`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::super::common::resp::encode;
use super::super::common::{Conn, Reply, words};
use super::client::{Client, Request};
use super::world::{MARK, World};

type Attack = fn(&mut World, u8);

const ATTACKS: &[(&str, Attack)] = &[
    ("a number of keys that lies moves no key out of its place", numkeys_lies),
    ("a consumer named STREAMS does not hide the keys", consumer_named_streams),
    ("the last of two STOREs is not left as it is", stores_twice),
    ("SORT reads no key by a pattern", sort_patterns),
    ("a question for the keys of a command tells and touches none of another's", getkeys),
    ("commands of many keys have all of them moved", many_keys),
    ("no key moves to another database or server", other_databases),
    ("a script reaches nothing, whoever wrote it", scripts),
    ("a script of another's does not exist", foreign_scripts),
    ("administration is refused", administration),
    ("clients of another's can be neither seen nor touched", clients),
    ("tracking follows no prefix of another's and goes to no client of another's", tracking),
    ("a cursor of another's and a glob of everything give own keys only", scans),
    ("a glob that would end the prefix gives nothing", hostile_globs),
    ("a reservation of another's is as unknown as one that never was", reservations),
    ("a SKU with the separators of key names stays in its place", hostile_skus),
    ("a key with the separators of key names stays in its place", hostile_keys),
    ("an inline request is judged as any other", inline_requests),
    ("a request byte by byte is judged as a whole one", split_requests),
    ("a request within an argument is no request", smuggled_request),
    ("the password of one is not the name of another", credentials),
    ("a refused change of identity changes nothing", refused_greeting),
    ("RESET ends the identity", reset),
    ("MULTI changes neither identity nor rights", transactions),
    ("a namespace that begins another's opens nothing of it", beginning),
    ("a command renamed by its letters is the same command", letters),
    ("blocked pops of foreign keys wait for own ones", blocked),
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

fn numkeys_lies(world: &mut World, protocol: u8) {
    let mut acme = world.acme(protocol);
    let counts = [
        "-1",
        "+1",
        "01",
        "0",
        "2",
        "3",
        "1000000",
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551617",
        "1 ",
        " 1",
        "0x1",
        "1.0",
        "",
    ];
    for count in counts {
        for (before, behind) in [
            ("ZUNION", "rival:z rival:z2 WITHSCORES"),
            ("ZINTER", "rival:z WEIGHTS rival:z2"),
            ("ZDIFFSTORE d", "rival:z rival:z2"),
            ("ZUNIONSTORE rival:d", "rival:z AGGREGATE SUM"),
            ("SINTERCARD", "rival:set LIMIT rival:set2"),
            ("LMPOP", "rival:l LEFT COUNT rival:l"),
            ("ZMPOP", "rival:z MIN"),
            ("BLMPOP 0.001", "rival:l LEFT"),
            ("BZMPOP 0.001", "rival:z MAX"),
            ("EVAL x", "rival:s"),
            ("EVALSHA_RO x", "rival:s"),
            ("FCALL f", "rival:s"),
            ("XREADGROUP GROUP g c COUNT", "STREAMS rival:x >"),
            ("MSETEX", "rival:s v rival:n v"),
        ] {
            let mut request = words(before);
            request.push(count.as_bytes().to_vec());
            request.extend(words(behind));
            unmarked_args(&mut acme, &request);
        }
    }
}

fn consumer_named_streams(world: &mut World, protocol: u8) {
    let mut acme = world.acme(protocol);
    unmarked(
        &mut acme,
        &[
            "XREADGROUP GROUP STREAMS STREAMS STREAMS rival:x 0",
            "XREADGROUP GROUP g STREAMS STREAMS rival:x >",
            "XREADGROUP GROUP STREAMS rival:x STREAMS rival:x 0",
            "XREADGROUP GROUP g c COUNT STREAMS rival:x 0",
            "XREADGROUP STREAMS rival:x STREAMS GROUP g c",
            "XREADGROUP STREAMS rival:x > GROUP g c",
            "XREAD COUNT STREAMS STREAMS rival:x 0",
            "XREAD STREAMS rival:x STREAMS 0 0",
            "XREAD STREAMS STREAMS rival:x 0 0",
            "XREAD STREAMS rival:x rival:x 0",
            "XREAD STREAMS rival:x",
            "XREAD BLOCK 1 STREAMS rival:x 0",
        ],
    );
}

fn stores_twice(world: &mut World, protocol: u8) {
    let mut acme = world.acme(protocol);
    unmarked(
        &mut acme,
        &[
            "SORT l ALPHA STORE a STORE rival:s",
            "SORT l STORE rival:s STORE a",
            "SORT l ALPHA STORE",
            "SORT STORE rival:s STORE rival:n",
            "GEORADIUS geo 15 37 200 km STORE a STORE rival:s",
            "GEORADIUS geo 15 37 200 km STORE a STOREDIST rival:s",
            "GEORADIUSBYMEMBER geo Palermo 200 km STOREDIST a STORE rival:s",
            "GEORADIUS geo 15 37 200 km COUNT STORE rival:s",
            "GEORADIUS_RO geo 15 37 200 km STORE rival:s",
            "SET rival:s v GET STORE rival:n",
        ],
    );
}

fn sort_patterns(world: &mut World, protocol: u8) {
    let mut acme = world.acme(protocol);
    acme.call("DEL refs");
    acme.call("RPUSH refs rival:s s n");
    unmarked(
        &mut acme,
        &[
            "SORT refs BY * GET *",
            "SORT refs ALPHA GET *",
            "SORT refs BY nosort GET *",
            "SORT refs BY nosort GET # GET rival:h->f1",
            "SORT refs BY rival:* GET #",
            "SORT refs BY rival:s",
            "SORT_RO refs BY nosort GET rival:*",
            "SORT_RO refs GET *",
            "SORT refs LIMIT 0 BY GET *",
            "SORT refs STORE BY GET *",
        ],
    );
    errors(&mut acme, &["SORT refs ALPHA GET *", "SORT refs BY rival:* ALPHA", "SORT_RO refs BY w* ALPHA"]);
    assert_eq!(acme.call("SORT refs BY nosort GET #").items().len(), 3);
}

fn getkeys(world: &mut World, protocol: u8) {
    let mut acme = world.acme(protocol);
    unmarked(
        &mut acme,
        &[
            "COMMAND GETKEYS GET rival:s",
            "COMMAND GETKEYS COMMAND GETKEYS GET rival:s",
            "COMMAND GETKEYSANDFLAGS SET rival:s v",
            "COMMAND GETKEYS EVAL x 2 rival:s rival:n",
            "COMMAND GETKEYS SORT l STORE rival:s",
            "COMMAND LIST FILTERBY PATTERN *",
            "COMMAND GETKEYS",
        ],
    );
    let keys = acme.call("COMMAND GETKEYS GET k");
    assert!(matches!(&keys, Reply::Error(_)) || keys == Reply::Array(vec![Reply::bulk("k")]), "{keys:?}");
}

fn many_keys(world: &mut World, protocol: u8) {
    let mut acme = world.acme(protocol);
    unmarked(
        &mut acme,
        &[
            "MGET s rival:s rival:n",
            "MSET a 1 rival:s 2",
            "MSETNX a 1 rival:s 2",
            "DEL s rival:s",
            "UNLINK rival:s rival:l",
            "EXISTS rival:s",
            "TOUCH rival:s",
            "BITOP OR d rival:s rival:n",
            "BITOP NOT rival:s s",
            "PFMERGE d rival:p",
            "PFCOUNT rival:p p",
            "SDIFFSTORE rival:set rival:set2",
            "RENAME s rival:s",
            "RENAME rival:s s",
            "RENAMENX rival:s stolen",
            "COPY rival:s stolen",
            "COPY s rival:s REPLACE",
            "LMOVE rival:l l LEFT LEFT",
            "RPOPLPUSH rival:l l",
            "SMOVE rival:set set 1",
            "LCS rival:s s",
            "OBJECT ENCODING rival:s",
            "OBJECT IDLETIME rival:s",
            "OBJECT FREQ rival:s",
            "MEMORY USAGE rival:s",
            "DUMP rival:s",
            "XINFO STREAM rival:x FULL",
            "XINFO GROUPS rival:x",
            "XINFO CONSUMERS rival:x g",
            "XGROUP DESTROY rival:x g",
            "XGROUP CREATE rival:new g 0 MKSTREAM",
            "GEOSEARCHSTORE rival:geo geo FROMLONLAT 15 37 BYRADIUS 1 km",
            "ZRANGESTORE rival:z z 0 -1",
        ],
    );
    acme.call("DEL stolen rival:s");
    for line in ["EXISTS rival:s", "COPY rival:s stolen", "TOUCH rival:s"] {
        assert_eq!(acme.call(line), Reply::Int(0), "{line}");
    }
}

fn other_databases(world: &mut World, protocol: u8) {
    let mut acme = world.acme(protocol);
    refused(&mut acme, &["MOVE s 1", "SWAPDB 0 1", "COPY s t DB 1", "MIGRATE 127.0.0.1 6379 s 0 100"]);
    errors(
        &mut acme,
        &[
            "SELECT 1",
            "SELECT -1",
            "SELECT 00",
            "COPY s t REPLACE DB 1",
            "COPY s t db 0x1",
            "MIGRATE 127.0.0.1 6379 \"\" 0 100 KEYS rival:s",
            "RESTORE-ASKING r 0 bad",
        ],
    );
    assert_eq!(acme.call("GET n").text(), "5");
}

fn scripts(world: &mut World, protocol: u8) {
    let mut acme = world.acme(protocol);
    for script in [
        "return redis.call('GET', 'rival:s')",
        "return redis.call('SCAN', '0')",
        "return redis.call('KEYS', '*')",
        "return redis.call('FLUSHALL')",
        "return redis.pcall('CONFIG', 'GET', '*')",
        "return {redis.pcall('GET', 'rival:l')}",
        "redis.setresp(3); return redis.call('HGETALL', 'rival:h')",
        "return redis.sha1hex('x') .. redis.call('GET', 'ri' .. 'val:s')",
        "#!lua flags=allow-cross-slot-keys\nreturn redis.call('GET', 'rival:s')",
        "_G.x = 1",
    ] {
        for request in [vec!["EVAL", script, "0"], vec!["EVAL", script, "1", "s"], vec!["EVAL_RO", script, "0"]] {
            let request: Request = request.iter().map(|word| word.as_bytes().to_vec()).collect();
            unmarked_args(&mut acme, &request);
        }
        unmarked_args(&mut acme, &vec![b"SCRIPT".to_vec(), b"LOAD".to_vec(), script.as_bytes().to_vec()]);
    }
    let library =
        b"#!lua name=x\nredis.register_function('f', function() return redis.call('GET', 'rival:s') end)".to_vec();
    let loaded = acme.args(&[b"FUNCTION".to_vec(), b"LOAD".to_vec(), library]);
    assert_eq!(loaded.error_word(), "NOPERM", "{loaded:?}");
    refused(
        &mut acme,
        &[
            "SCRIPT FLUSH",
            "SCRIPT KILL",
            "SCRIPT DEBUG YES",
            "FUNCTION FLUSH",
            "FUNCTION LIST",
            "FUNCTION DUMP",
            "FUNCTION KILL",
        ],
    );
    errors(
        &mut acme,
        &["FCALL f 0", "FCALL_RO f 0", "SCRIPT SHOW e0e1f9fabfc9d4800c877a703b823ac0578ff8db", "SCRIPT NONSENSE"],
    );
}

fn foreign_scripts(world: &mut World, protocol: u8) {
    let sha = world.rival_script.clone();
    let mut acme = world.acme(protocol);
    for sha in [sha.clone(), sha.to_uppercase()] {
        let lines = [
            format!("EVALSHA {sha} 0"),
            format!("EVALSHA_RO {sha} 0"),
            format!("EVALSHA {sha} 1 s"),
            format!("SCRIPT SHOW {sha}"),
        ];
        for line in &lines {
            unmarked(&mut acme, &[line]);
        }
        let there = acme.call(&format!("SCRIPT EXISTS {sha}"));
        assert!(matches!(&there, Reply::Error(_)) || there == Reply::Array(vec![Reply::Int(0)]), "{there:?}");
        // And so does one that never was.
        let (known, unknown) =
            (acme.call(&format!("EVALSHA {sha} 0")), acme.call(&format!("EVALSHA {} 0", "f".repeat(40))));
        assert_eq!(known, unknown);
    }
}

fn administration(world: &mut World, protocol: u8) {
    let mut acme = world.acme(protocol);
    refused(
        &mut acme,
        &[
            "MONITOR",
            "CONFIG GET *",
            "CONFIG SET maxmemory 1",
            "CONFIG RESETSTAT",
            "CONFIG REWRITE",
            "DEBUG OBJECT s",
            "DEBUG SLEEP 0",
            "DEBUG JMAP",
            "SHUTDOWN NOSAVE",
            "REPLICAOF NO ONE",
            "SLAVEOF NO ONE",
            "FAILOVER",
            "SAVE",
            "BGSAVE",
            "BGREWRITEAOF",
            "LASTSAVE",
            "SLOWLOG GET",
            "SLOWLOG RESET",
            "LATENCY LATEST",
            "LATENCY HISTOGRAM",
            "MEMORY STATS",
            "MEMORY MALLOC-STATS",
            "MEMORY DOCTOR",
            "MEMORY PURGE",
            "ACL LIST",
            "ACL LOG",
            "ACL SETUSER x on",
            "MODULE LIST",
            "MODULE LOAD x",
            "CLUSTER NODES",
            "CLUSTER RESET",
            "SYNC",
            "PSYNC ? -1",
            "REPLCONF listening-port 1",
            "FLUSHALL",
            "FLUSHDB",
            "FLUSHALL ASYNC",
            "PFDEBUG ENCODING p",
            "ROLE",
            "PUBSUB NUMPAT",
            "CLIENT NONSENSE",
            "OBJECT NONSENSE s",
        ],
    );
    errors(&mut acme, &["NONSENSE s"]);
    // Not the upstream's user.
    let user = acme.call("ACL WHOAMI");
    assert!(user == Reply::bulk("acme") || user.error_word() == "NOPERM", "{user:?}");
    unmarked(
        &mut acme,
        &[
            "INFO",
            "INFO all",
            "INFO everything",
            "INFO keyspace commandstats clients",
            "COMMAND",
            "COMMAND DOCS",
            "LOLWUT",
            "TIME",
        ],
    );
}

fn clients(world: &mut World, protocol: u8) {
    let mut rival = world.rival(protocol);
    rival.call(&format!("CLIENT SETNAME {MARK}-name"));
    let id = rival.call("CLIENT ID").int();
    let mut acme = world.acme(protocol);
    for kind in ["", " TYPE normal", " TYPE pubsub", &format!(" ID {id}"), &format!(" ID {id} 1 2 3 4 5 6 7")] {
        let line = format!("CLIENT LIST{kind}");
        unmarked(&mut acme, &[&line]);
        let bytes = acme.all_of(&[words(&line)]);
        let row = format!("id={id} ");
        assert!(memchr::memmem::find(&bytes, row.as_bytes()).is_none(), "{line}: {}", bytes.escape_ascii());
    }
    for line in [
        format!("CLIENT KILL ID {id}"),
        "CLIENT KILL TYPE normal SKIPME yes".into(),
        "CLIENT KILL TYPE pubsub".into(),
        "CLIENT KILL USER rival".into(),
        "CLIENT KILL MAXAGE 0 SKIPME yes".into(),
        format!("CLIENT UNBLOCK {id}"),
        format!("CLIENT UNBLOCK {id} ERROR"),
    ] {
        let reply = acme.call(&line);
        assert!(matches!(reply, Reply::Error(_) | Reply::Int(0)), "{line}: {reply:?}");
    }
    let reply = acme.call("CLIENT PAUSE 60000 ALL");
    rival.conn().patience(std::time::Duration::from_secs(5));
    assert_eq!(rival.call("GET busy-s").error_word(), "", "after {reply:?}");
    acme.call("CLIENT UNPAUSE");
    unmarked(&mut acme, &["CLIENT INFO", "CLIENT GETREDIR", "CLIENT GETNAME", "CLIENT NO-EVICT on"]);
    assert_eq!(rival.call("CLIENT GETNAME").text(), format!("{MARK}-name"), "it is still there");
}

fn tracking(world: &mut World, protocol: u8) {
    let mut rival = world.rival(protocol);
    let id = rival.call("CLIENT ID").int();
    let mut acme = world.acme(protocol);
    errors(
        &mut acme,
        &[&format!("CLIENT TRACKING ON REDIRECT {id}"), &format!("CLIENT TRACKING ON REDIRECT {id} BCAST")],
    );
    for line in [
        "CLIENT TRACKING ON BCAST PREFIX rival:",
        "CLIENT TRACKING ON BCAST",
        "CLIENT TRACKING ON BCAST PREFIX inv1:",
        "CLIENT TRACKING ON NOLOOP",
    ] {
        acme.renew();
        acme.call(line);
        acme.call("GET rival:s");
        acme.call(&format!("GET {MARK}:s"));
        rival.all_of(&[
            words("SET busy-tracked 1"),
            words(&format!("SET busy-{MARK} 2")),
            words("DEL busy-tracked"),
            words(&format!("DEL busy-{MARK}")),
        ]);
        unmarked(&mut acme, &["CLIENT TRACKINGINFO", "GET n", "PING x"]);
    }
}

fn scans(world: &mut World, protocol: u8) {
    let mut cursors = vec!["0".to_owned(), "1".into(), "18446744073709551615".into(), "4611686018427387904".into()];
    let page = world.direct.call("SCAN 0 MATCH rival:* COUNT 2");
    cursors.push(page.items()[0].text());
    let mut acme = world.acme(protocol);
    for cursor in &cursors {
        for rest in [
            "",
            " COUNT 1000",
            " MATCH * COUNT 1000",
            " MATCH rival:* COUNT 1000",
            " COUNT 1000 TYPE string",
            " MATCH a* MATCH *",
            " COUNT 1000 MATCH ?????:*",
        ] {
            unmarked(&mut acme, &[&format!("SCAN {cursor}{rest}")]);
        }
    }
    for cursor in ["-1", "x", "18446744073709551616", "+0", "00"] {
        unmarked(&mut acme, &[&format!("SCAN {cursor} COUNT 1000")]);
    }
    for _ in 0..100 {
        unmarked_args(&mut acme, &words("RANDOMKEY"));
    }
}

fn hostile_globs(world: &mut World, protocol: u8) {
    let mut acme = world.acme(protocol);
    let long = format!("{}x", "*?".repeat(20));
    let globs = [
        "*", "?*", "[a-z]*", "[^a]*", "\\*", "\\", "[", "[!-~]*", "]*", "**", "../*", "rival:*", "*rival*", "}*", "{*",
        &long,
    ];
    for glob in globs {
        let scan: Request =
            ["SCAN", "0", "MATCH", glob, "COUNT", "1000"].iter().map(|word| word.as_bytes().to_vec()).collect();
        unmarked_args(&mut acme, &scan);
        unmarked(
            &mut acme,
            &[&format!("KEYS {glob}"), &format!("PUBSUB CHANNELS {glob}"), &format!("PUBSUB SHARDCHANNELS {glob}")],
        );
    }
    unmarked_args(&mut acme, &vec![b"KEYS".to_vec(), b"\0*".to_vec()]);
    unmarked_args(&mut acme, &vec![b"KEYS".to_vec(), b"\r\n*".to_vec()]);
}

fn reservations(world: &mut World, protocol: u8) {
    let id = world.rival_reservation.clone();
    let mut acme = world.acme(protocol);
    // One of the same form that nobody has.
    let digit = |byte: u8| if byte == b'0' { b'1' } else { b'0' };
    let mut unknown = id.clone().into_bytes();
    let at = unknown.iter().rposition(u8::is_ascii_digit).expect("a digit");
    unknown[at] = digit(unknown[at]);
    let unknown = String::from_utf8(unknown).expect("text");
    for command in ["INV.GET", "INV.COMMIT", "INV.ROLLBACK"] {
        let theirs = acme.all_of(&[words(&format!("{command} {id}"))]);
        let nobodys = acme.all_of(&[words(&format!("{command} {unknown}"))]);
        let text = |bytes: Vec<u8>, id: &str| String::from_utf8_lossy(&bytes).replace(id, "ID");
        assert_eq!(text(theirs, &id), text(nobodys, &unknown), "{command}");
    }
    let theirs = acme.all_of(&[words(&format!("INV.EXTEND {id} 100000"))]);
    let nobodys = acme.all_of(&[words(&format!("INV.EXTEND {unknown} 100000"))]);
    assert_eq!(String::from_utf8_lossy(&theirs), String::from_utf8_lossy(&nobodys));
    let mut rival = world.rival(protocol);
    let still = rival.call(&format!("INV.GET {id}"));
    assert!(still.error_word().is_empty(), "{still:?}");
}

fn hostile_skus(world: &mut World, protocol: u8) {
    let mut acme = world.acme(protocol);
    let skus: [&[u8]; 9] = [
        b"}:x",
        b"{rival/0}",
        b"a:b",
        b"a\0b",
        b"a\r\nb",
        b"rival/0}:stock",
        b"../rival",
        b"",
        b"inv1:{rival/0}:stock",
    ];
    for sku in skus {
        for (command, rest) in
            [("INV.STOCK", None), ("INV.SETSTOCK", Some("5")), ("INV.RESERVE", Some("1")), ("INV.ISPROTECTED", None)]
        {
            let mut request = vec![command.as_bytes().to_vec(), sku.to_vec()];
            request.extend(rest.map(|rest| rest.as_bytes().to_vec()));
            unmarked_args(&mut acme, &request);
        }
    }
}

fn hostile_keys(world: &mut World, protocol: u8) {
    let mut acme = world.acme(protocol);
    let keys: [&[u8]; 10] = [
        b"",
        b":",
        b"::",
        b"\r\n",
        b"\0",
        b"}",
        b"{}rival:s",
        b"\r\n*2\r\n$3\r\nGET\r\n$7\r\nrival:s\r\n",
        b"acme:s",
        b"../rival:s",
    ];
    for key in keys {
        let set = acme.args(&[b"SET".as_slice(), key, b"own"]);
        assert!(set.is_ok(), "{}: {set:?}", key.escape_ascii());
        assert_eq!(acme.args(&[b"GET".as_slice(), key]).text(), "own");
        let found = acme.args(&[b"COPY".as_slice(), key, b"copied", b"REPLACE"]);
        assert_eq!(found, Reply::Int(1));
        let list = acme.call("KEYS *");
        assert!(list.items().contains(&Reply::bulk(key)), "{} in {list:?}", key.escape_ascii());
        acme.args(&[b"DEL".as_slice(), key, b"copied"]);
    }
}

fn inline_requests(world: &mut World, protocol: u8) {
    let mut acme = world.acme(protocol);
    for line in [
        "GET rival:s",
        "get \"rival:s\"",
        "GET 'rival:s'",
        "GET \"\\x72ival:s\"",
        "KEYS *",
        "CONFIG GET *",
        "EVAL \"return redis.call('GET','rival:s')\" 0",
    ] {
        acme.conn().send(format!("{line}\r\n").as_bytes());
        let reply = acme.conn().raw();
        assert!(memchr::memmem::find(&reply, MARK.as_bytes()).is_none(), "{line}: {}", reply.escape_ascii());
        assert!(
            !line.to_lowercase().starts_with("get") || Reply::is_nil(&super::super::common::resp::decode(&reply).0),
            "{line}"
        );
    }
}

fn split_requests(world: &mut World, protocol: u8) {
    let mut acme = world.acme(protocol);
    for line in ["GET rival:s", "MGET rival:s s", "CONFIG GET maxmemory", "SUBSCRIBE c"] {
        let bytes = encode(&words(line));
        for byte in &bytes {
            acme.conn().send(&[*byte]);
        }
        let reply = acme.conn().raw();
        assert!(memchr::memmem::find(&reply, MARK.as_bytes()).is_none(), "{line}: {}", reply.escape_ascii());
    }
}

fn smuggled_request(world: &mut World, protocol: u8) {
    let mut acme = world.acme(protocol);
    let inner = encode(&["FLUSHALL"]);
    assert!(acme.args(&[b"SET".as_slice(), b"s", &inner]).is_ok());
    assert!(acme.args(&[b"SET".as_slice(), &inner, b"v"]).is_ok());
    acme.args(&[b"DEL".as_slice(), &inner]);
    // Lengths that are not what comes: a protocol error and the end, or one request that is as it says.
    for bytes in [
        b"*2\r\n$3\r\nGET\r\n$5\r\nrival:s\r\n".as_slice(),
        b"*2\r\n$3\r\nGET\r\n$3\r\nsxx*2\r\n$3\r\nGET\r\n$7\r\nrival:s\r\n",
        b"*2\r\n$+3\r\nGET\r\n$7\r\nrival:s\r\n",
        b"*02\r\n$3\r\nGET\r\n$7\r\nrival:s\r\n",
        b"*2\r\n$3\r\nGET\r\n$7\nrival:s\r\n",
        b"*1\r\n$3\r\nGET\r\n$7\r\nrival:s\r\n",
        b"*-1\r\n*0\r\n\r\n",
    ] {
        acme.renew();
        acme.conn().send(bytes);
        let reply = acme.all_of(&[]);
        assert!(memchr::memmem::find(&reply, MARK.as_bytes()).is_none(), "{}", reply.escape_ascii());
    }
}

fn credentials(world: &mut World, protocol: u8) {
    for line in [
        "AUTH rival acme-secret",
        "AUTH acme rival-secret",
        "AUTH default acme-secret",
        "AUTH acme-secret",
        "AUTH default rival-secret",
        "AUTH rival",
        "AUTH RIVAL rival-secret",
        "AUTH rival rival-secre",
        "AUTH rival rival-secrett",
        "AUTH acme2 acme-secret",
    ] {
        let mut conn = Conn::open(&world.sidecar.listen);
        let reply = conn.call(line);
        assert!(matches!(reply, Reply::Error(_)), "{line}: {reply:?}");
        assert_eq!(conn.call("GET s").error_word(), "NOAUTH", "after {line}");
        assert_eq!(conn.call("INV.STOCK s").error_word(), "NOAUTH", "after {line}");
        assert_eq!(conn.call(&format!("HELLO {protocol}")).error_word(), "NOAUTH", "after {line}");
    }
    let mut conn = Conn::open(&world.sidecar.listen);
    for line in
        ["GET s", "PING", "INFO", "CLIENT LIST", "SUBSCRIBE c", "COMMAND", "EVAL x 0", "MULTI", "CLIENT ID", "SELECT 0"]
    {
        assert_eq!(conn.call(line).error_word(), "NOAUTH", "{line}");
    }
}

fn refused_greeting(world: &mut World, protocol: u8) {
    let mut acme = world.acme(protocol);
    acme.call("SET s mine");
    for line in [
        "AUTH rival acme-secret".to_owned(),
        format!("HELLO {protocol} AUTH rival acme-secret"),
        "HELLO 4 AUTH rival rival-secret".into(),
        format!("HELLO {protocol} AUTH rival"),
        format!("HELLO {protocol} SETNAME x AUTH rival wrong"),
        format!("HELLO {protocol} AUTH rival rival-secret NONSENSE"),
    ] {
        let reply = acme.call(&line);
        assert!(matches!(reply, Reply::Error(_)), "{line}: {reply:?}");
        assert_eq!(acme.call("GET s").text(), "mine", "after {line}");
    }
}

fn reset(world: &mut World, protocol: u8) {
    let mut acme = world.acme(protocol);
    assert_eq!(acme.call("RESET"), Reply::Simple("RESET".into()));
    for line in ["GET s", "INV.STOCK s", "SUBSCRIBE c", "MULTI", "INFO"] {
        assert_eq!(acme.call(line).error_word(), "NOAUTH", "{line}");
    }
    acme.renew();
    acme.conn().send(&[encode(&words("SUBSCRIBE c")), encode(&words("RESET")), encode(&words("GET s"))].concat());
    let seen: Vec<Reply> = (0..3).map(|_| acme.conn().reply()).collect();
    assert_eq!(seen[2].error_word(), "NOAUTH", "{seen:?}");
    acme.renew();
    acme.conn().send(&[encode(&words("MULTI")), encode(&words("RESET")), encode(&words("GET s"))].concat());
    let seen: Vec<Reply> = (0..3).map(|_| acme.conn().reply()).collect();
    assert_eq!(seen[2].error_word(), "NOAUTH", "{seen:?}");
    // Another tenant on the same connection has another space.
    acme.renew();
    acme.call("SET busy-s mine");
    acme.call("RESET");
    acme.call("AUTH acme2 acme2-secret").expect_ok();
    assert!(acme.call("GET busy-s").is_nil());
}

fn transactions(world: &mut World, protocol: u8) {
    let mut acme = world.acme(protocol);
    for line in [
        "AUTH rival rival-secret",
        "AUTH rival wrong",
        "SELECT 1",
        "CONFIG GET *",
        "FLUSHALL",
        "SUBSCRIBE __keyevent@0__:set",
        "KEYS *",
        "SCAN 0",
        "RANDOMKEY",
        "DBSIZE",
        "MONITOR",
        "INFO",
        "CLIENT LIST",
        "SWAPDB 0 1",
        "EVAL \"return 1\" 0",
        "HELLO 3 AUTH rival rival-secret",
        "WATCH rival:s",
        "SCRIPT FLUSH",
    ] {
        acme.renew();
        let bytes = acme.all_of(&[words("MULTI"), words("GET n"), words(line), words("GET rival:s"), words("EXEC")]);
        assert!(memchr::memmem::find(&bytes, MARK.as_bytes()).is_none(), "{line}: {}", bytes.escape_ascii());
        acme.renew();
        assert_eq!(acme.call("GET n").text(), "5", "after {line}");
    }
    // A change of tenant leaves no transaction, no watch and no subscription behind.
    acme.renew();
    acme.call("MULTI");
    acme.call("SET s of-acme");
    let changed = acme.call("AUTH acme2 acme2-secret");
    let ended = acme.call("EXEC");
    let mut other = world.acme(protocol);
    let key = other.call("GET s");
    assert!(matches!(changed, Reply::Error(_) | Reply::Simple(_)), "{changed:?}");
    assert!(key == Reply::bulk("of-acme") || matches!(ended, Reply::Error(_)), "{changed:?} {ended:?} {key:?}");
    assert_eq!(world.direct.call("EXISTS acme2:s").int(), 0);
}

fn beginning(world: &mut World, protocol: u8) {
    let mut acme = world.acme(protocol);
    unmarked(
        &mut acme,
        &["KEYS 2*", "KEYS *2:*", "SCAN 0 MATCH 2:* COUNT 1000", "GET 2:s", "KEYS acme2:*", "PSUBSCRIBE 2:*"],
    );
    acme.renew();
    let mut other = Client::open(&world.sidecar.listen, "acme2", "acme2-secret", protocol);
    other.call("SET busy-two 1");
    assert!(acme.call("GET 2:busy-two").is_nil());
    assert_eq!(acme.call("EXISTS busy-two :busy-two 2:busy-two acme2:busy-two"), Reply::Int(0));
    assert_eq!(other.call("DEL busy-two"), Reply::Int(1));
}

fn letters(world: &mut World, protocol: u8) {
    let mut acme = world.acme(protocol);
    errors(
        &mut acme,
        &["config get *", "CoNfIg GeT *", "flushall", "dEbUg object s", "script|flush", "config|get *", "client|list"],
    );
    let odd: [&[&[u8]]; 5] = [
        &[b"CONFIG\0", b"GET", b"*"],
        &[b"", b"s"],
        &[b"GET\r\n", b"rival:s"],
        &[b" GET", b"rival:s"],
        &[b"CONFIG", b"GET\0", b"*"],
    ];
    for request in odd {
        let reply = acme.args(request);
        assert!(matches!(reply, Reply::Error(_)), "{request:?}: {reply:?}");
    }
    assert!(acme.call("gEt rival:s").is_nil());
}

fn blocked(world: &mut World, protocol: u8) {
    let mut acme = world.acme(protocol);
    unmarked(
        &mut acme,
        &[
            "BLPOP rival:l 0.001",
            "BRPOP nothing rival:l 0.001",
            "BLMOVE rival:l l LEFT LEFT 0.001",
            "BRPOPLPUSH rival:l l 0.001",
            "BZPOPMIN rival:z 0.001",
            "BZPOPMAX nothing rival:z 0.001",
        ],
    );
    assert_eq!(acme.call("BLPOP nothing l 1").items()[0], Reply::bulk("l"));
    assert_eq!(acme.call("BZPOPMIN nothing z 1").items()[0], Reply::bulk("z"));
    acme.conn().send(&encode(&words("BLPOP busy-waited 10")));
    let mut rival = world.rival(protocol);
    rival.call("RPUSH busy-waited foreign");
    world.acme(protocol).call("RPUSH busy-waited own");
    let popped = acme.conn().reply();
    assert_eq!(popped.items(), [Reply::bulk("busy-waited"), Reply::bulk("own")]);
    rival.call("DEL busy-waited");
}
