//! An isolated tenant's requests, judged: the table against four engines' own lists, and literal requests.

mod common;
mod judgement {
    mod refusals;
    mod table;
}

use common::judged::{Tenant, show};
use common::words;
use inventory_sentinel::command::{Args, CommandFacts, CommandTable};
use inventory_sentinel::resp::ArgRange;
use inventory_sentinel::tenant::isolation::{Isolation, judge};

fn check(tenant: &Tenant, cases: &[(&str, &str)]) {
    for (request, expected) in cases {
        assert_eq!(show(&tenant.judge(&words(request))), *expected, "{request}");
    }
}

#[test]
fn an_upstream_that_places_keys_elsewhere_is_not_trusted_with_them() {
    let mut tenant = Tenant::new();
    let mut facts = CommandFacts::default();
    facts.add("get", (2, 2, 1), false, ["@read"]);
    facts.add("set", (1, 1, 1), true, ["@write"]);
    facts.add("object|freq", (3, 3, 1), false, ["@read"]);
    tenant.commands = CommandTable::from_flags(vec![]).with_facts(facts);
    let why = "this upstream's COMMAND places its keys elsewhere";
    for (request, name) in [("GET k", "get"), ("SET k v", "set"), ("OBJECT freq k", "object|freq")] {
        let expected = format!("-NOPERM '{name}' is not for an isolated tenant: {why}");
        assert_eq!(show(&tenant.judge(&words(request))), expected);
    }
    check(&tenant, &[("DEL k", "DEL acme:k"), ("OBJECT encoding k", "OBJECT encoding acme:k")]);
}

#[test]
fn each_request_becomes_what_it_should() {
    let syntax = "-ERR syntax error";
    check(
        &Tenant::new(),
        &[
            ("GET k", "GET acme:k"),
            ("get zeta:k", "get acme:zeta:k"),
            ("GET", "-ERR wrong number of arguments for 'get' command"),
            ("MGET a b a", "MGET acme:a acme:b acme:a"),
            ("MSET a 1 b 2", "MSET acme:a 1 acme:b 2"),
            ("MSET a 1 b", "MSET acme:a 1 acme:b"),
            ("SET k zeta:v EX 5", "SET acme:k zeta:v EX 5"),
            ("RENAME a b", "RENAME acme:a acme:b"),
            ("RENAME a", "RENAME acme:a"),
            ("BITOP AND d a b", "BITOP AND acme:d acme:a acme:b"),
            ("BITOP AND", "-ERR wrong number of arguments for 'bitop' command"),
            ("BLPOP a b 0", "BLPOP acme:a acme:b 0 / FirstIsKey"),
            ("BLPOP 0", "-ERR wrong number of arguments for 'blpop' command"),
            ("LMPOP 2 a b LEFT", "LMPOP 2 acme:a acme:b LEFT / FirstIsKey"),
            ("LMPOP 02 a b LEFT", "-ERR value is not an integer or out of range"),
            ("LMPOP +2 a b LEFT", "-ERR value is not an integer or out of range"),
            ("LMPOP -1 a b LEFT", "-ERR value is not an integer or out of range"),
            ("LMPOP 9223372036854775808 a b LEFT", "-ERR value is not an integer or out of range"),
            ("LMPOP 0 a b LEFT", "-ERR numkeys should be greater than 0"),
            ("LMPOP 4 a b LEFT", syntax),
            ("LMPOP 3 a b LEFT", "LMPOP 3 acme:a acme:b acme:LEFT / FirstIsKey"),
            ("BZMPOP 0 1 a MIN COUNT 2", "BZMPOP 0 1 acme:a MIN COUNT 2 / FirstIsKey"),
            ("SINTERCARD 2 a b LIMIT 1", "SINTERCARD 2 acme:a acme:b LIMIT 1"),
            ("SINTERCARD 3 a b", "-ERR Number of keys can't be greater than number of args"),
            ("ZUNIONSTORE d 2 a b WEIGHTS 1 2", "ZUNIONSTORE acme:d 2 acme:a acme:b WEIGHTS 1 2"),
            ("ZUNION 0 a", "-ERR at least 1 input key is needed for 'zunion' command"),
            ("ZINTER 5 a b", syntax),
            ("XREAD COUNT 1 STREAMS a b 0 0", "XREAD COUNT 1 STREAMS acme:a acme:b 0 0 / Streams"),
            ("XREAD STREAMS STREAMS $", "XREAD STREAMS acme:STREAMS $ / Streams"),
            ("XREAD BLOCK STREAMS STREAMS a 0", "-ERR value is not an integer or out of range"),
            ("XREAD BLOCK -1 COUNT -5 STREAMS a 0", "XREAD BLOCK -1 COUNT -5 STREAMS acme:a 0 / Streams"),
            (
                "XREADGROUP GROUP STREAMS COUNT BLOCK 0 STREAMS a >",
                "XREADGROUP GROUP STREAMS COUNT BLOCK 0 STREAMS acme:a > / Streams",
            ),
            (
                "XREADGROUP GROUP g c NOACK STREAMS a b > >",
                "XREADGROUP GROUP g c NOACK STREAMS acme:a acme:b > > / Streams",
            ),
            ("XREAD GROUP g c STREAMS a 0", syntax),
            ("XREAD COUNT 1 BLOCK 1 a b 0 0", syntax),
            (
                "SORT k BY nosort GET # LIMIT 0 1 ALPHA STORE d",
                "SORT acme:k BY nosort GET # LIMIT 0 1 ALPHA STORE acme:d",
            ),
            ("SORT k LIMIT STORE STORE", "SORT acme:k LIMIT STORE STORE"),
            ("SORT_RO k STORE d", syntax),
            ("SORT k STORE a STORE b", "-NOPERM 'sort' is not for an isolated tenant: STORE may be given once"),
            ("GEORADIUS k 1 1 1 m STORE d", "GEORADIUS acme:k 1 1 1 m STORE acme:d"),
            (
                "GEORADIUS k 1 1 1 m COUNT 1 ANY ASC STOREDIST d",
                "GEORADIUS acme:k 1 1 1 m COUNT 1 ANY ASC STOREDIST acme:d",
            ),
            ("GEORADIUS k 1 1 1 STORE ASC", "-ERR unsupported unit provided. please use M, KM, FT, MI"),
            ("GEORADIUS k 1 1 1 m COUNT STORE ASC", "-ERR value is not an integer or out of range"),
            ("GEORADIUSBYMEMBER k STORE 1 m WITHDIST", "GEORADIUSBYMEMBER acme:k STORE 1 m WITHDIST"),
            ("GEORADIUS_RO k 1 1 1 m STORE d", "GEORADIUS_RO acme:k 1 1 1 m STORE d"),
            ("LOLWUT", "LOLWUT"),
            ("LOLWUT VERSION 5 66 8 12", "LOLWUT VERSION 5 66 8 12"),
            ("COPY a b REPLACE", "COPY acme:a acme:b REPLACE"),
            ("MSETEX 2 a 1 b 2 EX 5", "MSETEX 2 acme:a 1 acme:b 2 EX 5"),
            ("MSETEX 3 a 1 b 2", syntax),
            ("OBJECT encoding k", "OBJECT encoding acme:k"),
            ("OBJECT HELP", "passed"),
            ("MEMORY USAGE k SAMPLES 0", "MEMORY USAGE acme:k SAMPLES 0"),
            ("XGROUP CREATE s g $", "XGROUP CREATE acme:s g $"),
            ("XGROUP", "-ERR wrong number of arguments for 'xgroup' command"),
            ("XGROUP CREATE", "-ERR wrong number of arguments for 'xgroup|create' command"),
            ("XINFO STREAM s FULL", "XINFO STREAM acme:s FULL"),
            ("CLUSTER KEYSLOT k", "CLUSTER KEYSLOT acme:k"),
            ("KEYS *", "KEYS acme:* / Keys"),
            ("SCAN 0", "SCAN 0 MATCH acme:* / Scan"),
            ("SCAN 0 MATCH a* COUNT 5 match b*", "SCAN 0 MATCH acme:a* COUNT 5 match acme:b* / Scan"),
            ("SCAN 0 COUNT 1001 COUNT 1000 COUNT x", "SCAN 0 COUNT 1000 COUNT 1000 COUNT x MATCH acme:* / Scan"),
            ("SCAN 0 COUNT 9223372036854775807 MATCH a", "SCAN 0 COUNT 1000 MATCH acme:a / Scan"),
            ("SCAN 0 TYPE MATCH", "SCAN 0 TYPE MATCH MATCH acme:* / Scan"),
            ("SCAN 0 MATCH", syntax),
            ("PUBLISH c zeta:m", "PUBLISH acme:c zeta:m"),
            ("PUBLISH __keyevent@0__:set zeta:k", "PUBLISH acme:__keyevent@0__:set zeta:k"),
            ("SPUBLISH c m", "SPUBLISH acme:c m"),
            (
                "SUBSCRIBE a __keyspace@0__:k __keyevent@0__:set",
                "SUBSCRIBE acme:a __keyspace@0__:acme:k __keyevent@0__:set",
            ),
            ("SUBSCRIBE", "-ERR wrong number of arguments for 'subscribe' command"),
            ("UNSUBSCRIBE", "UNSUBSCRIBE"),
            ("PUNSUBSCRIBE", "PUNSUBSCRIBE"),
            ("PSUBSCRIBE *", "PSUBSCRIBE acme:*"),
            ("PSUBSCRIBE __key*__:*", "PSUBSCRIBE acme:__key*__:*"),
            ("PSUBSCRIBE __keyevent@*__:expired", "PSUBSCRIBE __keyevent@*__:expired"),
            ("PUBSUB CHANNELS", "PUBSUB CHANNELS acme:* / Channels"),
            ("PUBSUB CHANNELS *", "PUBSUB CHANNELS acme:* / Channels"),
            ("PUBSUB NUMSUB a", "PUBSUB NUMSUB acme:a / ChannelCounts"),
            ("CLIENT TRACKING ON", "CLIENT TRACKING ON"),
            ("CLIENT TRACKING ON BCAST", "CLIENT TRACKING ON BCAST PREFIX acme:"),
            ("CLIENT TRACKING ON PREFIX BCAST PREFIX b", "CLIENT TRACKING ON PREFIX acme:BCAST PREFIX acme:b"),
            ("CLIENT TRACKING ON BCAST PREFIX", syntax),
            ("CLIENT TRACKINGINFO", "CLIENT TRACKINGINFO / TrackingInfo"),
            ("CLIENT LIST", "own Session"),
            ("SELECT 1", "own Session"),
            ("HELLO 3 AUTH a b", "own Session"),
            ("DBSIZE", "own DbSize"),
            ("RANDOMKEY", "own RandomKey"),
            ("INFO all", "INFO all / Info"),
            ("COMMAND GETKEYS GET k", "passed"),
            (
                "SCRIPT EXISTS e0e1f9fabfc9d4800c877a703b823ac0578ff8db",
                "SCRIPT EXISTS e0e1f9fabfc9d4800c877a703b823ac0578ff8db / ScriptExists([false])",
            ),
        ],
    );
}

#[test]
fn what_stores_nothing_goes_as_what_cannot_store_where_the_upstreams_user_may_that_alone() {
    check(
        &Tenant::trusted(),
        &[
            ("georadius k 1 1 1 m COUNT 1", "GEORADIUS_RO acme:k 1 1 1 m COUNT 1"),
            ("GEORADIUSBYMEMBER k STORE 1 m WITHDIST", "GEORADIUSBYMEMBER_RO acme:k STORE 1 m WITHDIST"),
            ("GEORADIUS k 1 1 1 m STORE d", "GEORADIUS acme:k 1 1 1 m STORE acme:d"),
        ],
    );
}

#[test]
fn scripts_are_for_who_has_an_upstream_user_of_its_own() {
    let tenant = Tenant::trusted();
    let sha = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db";
    let unknown = "-NOSCRIPT No matching script. Please use EVAL.";
    let ask = |request: &str| {
        let mut request = words(request);
        for arg in &mut request {
            if arg == b"ONE" {
                *arg = b"return 1".to_vec();
            }
        }
        show(&tenant.judge(&request))
    };
    assert_eq!(ask(&format!("EVALSHA {sha} 0")), unknown);
    assert_eq!(ask("EVALSHA tooshort 0"), unknown);
    // It stands upstream with a head of the sidecar's before it, and so under another name.
    let loaded = ask("SCRIPT LOAD ONE");
    assert!(
        loaded.starts_with("SCRIPT LOAD local redis, ") && loaded.contains(" / ScriptName([224, 225, "),
        "{loaded}"
    );
    let run = ask(&format!("EVALSHA {} 1 k zeta:a", sha.to_uppercase()));
    let name = run.split(' ').nth(1).expect("a name").to_owned();
    assert!(name.len() == 40 && name != sha && run == format!("EVALSHA {name} 1 acme:k zeta:a acme:"), "{run}");
    assert_eq!(ask(&format!("SCRIPT EXISTS {sha} x")), format!("SCRIPT EXISTS {name} x / ScriptExists([true, false])"));
    let run = ask("EVAL other 2 a b c");
    assert!(run.starts_with("EVAL local redis, ") && run.ends_with(" 2 acme:a acme:b c acme:"), "{run}");
    assert_eq!(ask("EVAL other -1 a"), "-ERR Number of keys can't be negative");
    assert_eq!(ask("EVAL other 3 a b"), "-ERR Number of keys can't be greater than number of args");
    for number in ["+1", "01", "1.0", "x", "18446744073709551617", "9223372036854775808"] {
        assert_eq!(ask(&format!("EVAL other {number} a b")), "-ERR value is not an integer or out of range");
    }
    assert_eq!(ask("FLUSHALL ASYNC"), "own FlushDb");
    assert_eq!(ask("FLUSHDB now"), "-ERR syntax error");
    assert!(ask("FCALL f 0").starts_with("-NOPERM"));
}

#[test]
#[allow(clippy::print_stdout, reason = "it is what it is for")]
#[ignore = "prints what a judgement costs; for a quiet machine"]
fn what_a_judgement_costs() {
    let tenant = Tenant::trusted();
    for line in ["GET some:key:1234", "SET some:key:1234 value", "MGET a b c d", "XREAD COUNT 1 STREAMS a 0", "PING"] {
        let request = words(line);
        let bytes = request.concat();
        let mut ranges = Vec::new();
        for arg in &request {
            let start = ranges.last().map_or(0, |range: &ArgRange| range.end);
            ranges.push(ArgRange { start, end: start + arg.len() });
        }
        let Tenant { space, commands, scripts, own_user, flushdb } = &tenant;
        let isolation = Isolation { space, commands, scripts, own_user: *own_user, flushdb: *flushdb };
        let rounds = 1_000_000;
        let began = std::time::Instant::now();
        for _ in 0..rounds {
            std::hint::black_box(judge(&Args::new(&bytes, &ranges), std::hint::black_box(&isolation)));
        }
        println!("{line}: {} ns", began.elapsed().as_nanos() / rounds);
    }
}
