//! Attacks on where keys stand in a request, and on what lists them.

use super::{errors, refused, unmarked, unmarked_args};
use crate::common::resp::encode;
use crate::common::{Reply, words};
use crate::isolation::client::Request;
use crate::isolation::world::World;

pub fn numkeys_lies(world: &mut World, protocol: u8) {
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
            ("BLMPOP 0.01", "rival:l LEFT"),
            ("BZMPOP 0.01", "rival:z MAX"),
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

pub fn consumer_named_streams(world: &mut World, protocol: u8) {
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

pub fn stores_twice(world: &mut World, protocol: u8) {
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

pub fn sort_patterns(world: &mut World, protocol: u8) {
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

pub fn getkeys(world: &mut World, protocol: u8) {
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

pub fn many_keys(world: &mut World, protocol: u8) {
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

pub fn other_databases(world: &mut World, protocol: u8) {
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

pub fn scans(world: &mut World, protocol: u8) {
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

pub fn hostile_globs(world: &mut World, protocol: u8) {
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

pub fn blocked(world: &mut World, protocol: u8) {
    let mut acme = world.acme(protocol);
    unmarked(
        &mut acme,
        &[
            "BLPOP rival:l 0.01",
            "BRPOP nothing rival:l 0.01",
            "BLMOVE rival:l l LEFT LEFT 0.01",
            "BRPOPLPUSH rival:l l 0.01",
            "BZPOPMIN rival:z 0.01",
            "BZPOPMAX nothing rival:z 0.01",
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
