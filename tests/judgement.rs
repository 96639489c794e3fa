//! An isolated tenant's requests, judged: the table against four engines' own lists, literal requests, and random ones with a
//! real server as the oracle.

mod common;

use common::resp::encode;
use common::{Redis, Reply, words};
use inventory_sentinel::command::{Args, CommandFacts, CommandTable};
use inventory_sentinel::resp::{ArgRange, RequestLimits, RequestScanner};
use inventory_sentinel::tenant::isolation::table::{ROWS, Row, Treatment, find, find_sub};
use inventory_sentinel::tenant::isolation::{Back, Isolation, KeySpace, Own, Scripts, Verdict, judge};
use std::collections::BTreeMap;
use std::fmt::Write as _;

const ENGINES: [(&str, &str); 4] = [
    ("Redis 6.2", include_str!("engines/commands/redis-6.2.txt")),
    ("Redis 7.0", include_str!("engines/commands/redis-7.0.txt")),
    ("Redis 8.2", include_str!("engines/commands/redis-8.2.txt")),
    ("Valkey 8.1", include_str!("engines/commands/valkey-8.1.txt")),
];
const PREFIX: &[u8] = b"acme:";

/// What a judgement depends on.
struct Tenant {
    space: KeySpace,
    commands: CommandTable,
    scripts: Scripts,
    own_user: bool,
    flushdb: bool,
}

impl Tenant {
    fn new() -> Self {
        let (space, scripts) = (KeySpace::new("acme"), Scripts::default());
        Self { space, commands: commands_of(ENGINES[1].1), scripts, own_user: false, flushdb: false }
    }

    /// With an upstream user of its own, and FLUSHDB.
    fn trusted() -> Self {
        Self { own_user: true, flushdb: true, ..Self::new() }
    }

    fn judge(&self, request: &[Vec<u8>]) -> Verdict {
        let mut bytes = Vec::new();
        let mut ranges = Vec::new();
        for arg in request {
            ranges.push(ArgRange { start: bytes.len(), end: bytes.len() + arg.len() });
            bytes.extend_from_slice(arg);
        }
        let Self { space, commands, scripts, own_user, flushdb } = self;
        let isolation = Isolation { space, commands, scripts, own_user: *own_user, flushdb: *flushdb };
        judge(&Args::new(&bytes, &ranges), &isolation)
    }
}

fn commands_of(list: &str) -> CommandTable {
    let mut facts = CommandFacts::default();
    let mut flags = Vec::new();
    for command in listed(list) {
        let (first, last, step) = command.keys;
        facts.add(command.name, (first, last, step), command.movable, command.categories.split(','));
        if !command.name.contains('|') {
            flags.push((command.name.to_owned(), Vec::new()));
        }
    }
    CommandTable::from_flags(flags).with_facts(facts)
}

struct Listed<'a> {
    name: &'a str,
    arity: usize,
    keys: (i32, i32, i32),
    movable: bool,
    categories: &'a str,
}

fn listed(list: &str) -> impl Iterator<Item = Listed<'_>> {
    list.lines().map(|line| {
        let fields: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| fields[at].parse::<i32>().expect("a number");
        Listed {
            name: fields[0],
            arity: number(1).unsigned_abs() as usize,
            keys: (number(2), number(3), number(4)),
            movable: fields[5] == "movable",
            categories: fields[6],
        }
    })
}

/// The row of a full name, and whether it is the subcommand's own.
fn row_of(name: &str) -> Option<(&'static Row, bool)> {
    let (command, sub) = name.split_once('|').map_or((name, None), |(command, sub)| (command, Some(sub)));
    let row = find(command.to_ascii_uppercase().as_bytes())?;
    match (row.treatment, sub) {
        (Treatment::Container(rows), Some(sub)) => {
            find_sub(rows, sub.as_bytes()).map(|row| (row, true)).or(Some((row, false)))
        }
        _ => Some((row, sub.is_none())),
    }
}

/// A verdict as the tables below write it.
fn show(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Passed => "passed".to_owned(),
        Verdict::Rewritten { frame, ranges, back } => {
            let args: Vec<String> = ranges.iter().map(|range| common::show(range.of(frame))).collect();
            let back = if *back == Back::AsIs { String::new() } else { format!(" / {back:?}") };
            args.join(" ") + &back
        }
        Verdict::Own(own) => format!("own {own:?}"),
        Verdict::Refused(line) => line.trim_end().to_owned(),
    }
}

fn check(tenant: &Tenant, cases: &[(&str, &str)]) {
    for (request, expected) in cases {
        assert_eq!(show(&tenant.judge(&words(request))), *expected, "{request}");
    }
}

#[test]
fn every_command_of_four_engines_has_a_row() {
    for (engine, list) in ENGINES {
        for command in listed(list) {
            assert!(
                row_of(command.name).is_some(),
                "{engine} has {}, and src/tenant/isolation/rows.rs has no row",
                command.name
            );
        }
    }
    assert!(ROWS.is_sorted_by_key(|row| row.name), "rows.rs is in alphabetical order, and names nothing twice");
}

#[test]
fn the_server_at_hand_has_no_command_without_a_row() {
    let redis = Redis::start();
    let Reply::Array(commands) = redis.conn().call("COMMAND") else { panic!("COMMAND is an array") };
    let mut names = Vec::new();
    collect_names(&commands, &mut names);
    assert!(names.len() > 200);
    for name in names {
        assert!(row_of(&name).is_some(), "no row for {name}");
    }
}

fn collect_names(commands: &[Reply], names: &mut Vec<String>) {
    for command in commands {
        let Reply::Array(fields) = command else { panic!("{command:?}") };
        names.push(fields[0].text());
        if let Some(Reply::Array(subcommands)) = fields.get(9) {
            collect_names(subcommands, names);
        }
    }
}

#[test]
fn the_positions_are_the_engines_own() {
    for (engine, list) in ENGINES {
        for command in listed(list) {
            let Some((row, own)) = row_of(command.name) else { continue };
            match row.treatment {
                Treatment::Keys(first, last, step) if own => {
                    let places = (first, last, i32::try_from(step).expect("a step"));
                    assert_eq!((command.keys, command.movable), (places, false), "{engine}: {}", command.name);
                }
                // What has keys upstream is not passed as it came.
                Treatment::Passed => {
                    assert_eq!((command.keys, command.movable), ((0, 0, 0), false), "{}", command.name)
                }
                _ => {}
            }
        }
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
            ("XREAD BLOCK STREAMS STREAMS a 0", "XREAD BLOCK STREAMS STREAMS acme:a 0 / Streams"),
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
            ("GEORADIUSBYMEMBER k STORE 1 m WITHDIST", "GEORADIUSBYMEMBER acme:k STORE 1 m WITHDIST"),
            ("GEORADIUS_RO k 1 1 1 m STORE d", "GEORADIUS_RO acme:k 1 1 1 m STORE d"),
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
fn what_is_not_for_the_tenant_is_refused() {
    let tenant = Tenant::new();
    for request in [
        "SORT k BY w_*",
        "SORT k GET o_*",
        "SORT_RO k BY *",
        "SORT k GET nothing",
        "COPY a b DB 0",
        "COPY a b REPLACE DB 1",
        "GEORADIUS k 1 1 1 m STORE a STOREDIST b",
        "GEORADIUSBYMEMBER k m 1 m STORE a STORE b",
        "MIGRATE h 1 k 0 1",
        "EVAL x 0",
        "EVALSHA x 0",
        "FCALL f 0",
        "SCRIPT LOAD x",
        "SCRIPT FLUSH",
        "SCRIPT KILL",
        "SCRIPT SHOW x",
        "FUNCTION LIST",
        "DEBUG OBJECT k",
        "CONFIG GET *",
        "MODULE LIST",
        "ACL LIST",
        "ACL SETUSER x",
        "SHUTDOWN",
        "REPLICAOF NO ONE",
        "FAILOVER",
        "CLUSTER NODES",
        "SWAPDB 0 1",
        "MOVE k 1",
        "FLUSHALL",
        "FLUSHDB",
        "MONITOR",
        "SLOWLOG GET",
        "LATENCY LATEST",
        "MEMORY STATS",
        "MEMORY DOCTOR",
        "CLIENT PAUSE 1",
        "CLIENT UNPAUSE",
        "CLIENT NO-EVICT ON",
        "CLIENT CAPA x",
        "CLIENT NOSUCH",
        "PUBSUB NUMPAT",
        "SYNC",
        "PSYNC ? -1",
        "REPLCONF x",
        "OBJECT NOSUCH k",
        "VADD k",
        "RESTORE k 0 x",
        "ROLE",
        "LASTSAVE",
        "STRALGO LCS KEYS a b",
        "PFDEBUG x k",
    ] {
        let said = show(&tenant.judge(&words(request)));
        assert!(said.starts_with("-NOPERM '") && said.contains("is not for an isolated tenant"), "{request}: {said}");
    }
    check(
        &tenant,
        &[
            ("NOSUCH a b", "-ERR unknown command 'NOSUCH', with args beginning with: 'a' 'b' "[..].trim_end()),
            ("CONFIG SET x y", "-NOPERM 'config' is not for an isolated tenant: it concerns the whole server"),
            (
                "CLIENT PAUSE 1",
                "-NOPERM 'client|pause' is not for an isolated tenant: it concerns all clients of the server",
            ),
        ],
    );
}

#[test]
fn what_the_upstream_knows_and_the_table_does_not_is_refused() {
    let mut tenant = Tenant::new();
    tenant.commands = CommandTable::from_flags(vec![("json.set".into(), vec![])]);
    check(
        &tenant,
        &[("JSON.SET k $ 1", "-NOPERM 'json.set' is not for an isolated tenant: where its keys are is not known")],
    );
}

#[test]
fn an_error_is_one_bounded_line_whatever_is_quoted_in_it() {
    let tenant = Tenant::new();
    let nasty = b"x\r\n+OK\r\n\0\x1b[2J".to_vec();
    let long = vec![b'y'; 100_000];
    for request in [
        vec![nasty.clone()],
        vec![long.clone()],
        vec![nasty.clone(), long.clone(), nasty.clone()],
        vec![vec![0xFF; 70]],
        vec![b"CLIENT".to_vec(), nasty.clone()],
        vec![b"CLIENT".to_vec(), long.clone()],
        vec![vec![]],
        vec!["é\u{85}\u{2028}".into()],
        vec![b"NOSUCH".to_vec(), nasty],
        [vec![b"NOSUCH".to_vec()], vec![long; 100]].concat(),
    ] {
        let Verdict::Refused(line) = tenant.judge(&request) else { panic!("{request:?}") };
        let inner = line.strip_prefix('-').and_then(|line| line.strip_suffix("\r\n")).expect("an error's line");
        assert!(!inner.chars().any(char::is_control) && inner.len() < 600, "{line:?}");
    }
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
    assert_eq!(ask("SCRIPT LOAD ONE"), "SCRIPT LOAD return 1");
    assert_eq!(
        ask(&format!("EVALSHA {} 1 k zeta:a", sha.to_uppercase())),
        format!("EVALSHA {} 1 acme:k zeta:a", sha.to_uppercase())
    );
    assert_eq!(ask(&format!("SCRIPT EXISTS {sha} x")), format!("SCRIPT EXISTS {sha} x / ScriptExists([true, false])"));
    assert_eq!(ask("EVAL other 2 a b c"), "EVAL other 2 acme:a acme:b c");
    assert_eq!(ask("EVAL other -1 a"), "-ERR Number of keys can't be negative");
    assert_eq!(ask("EVAL other 3 a b"), "-ERR Number of keys can't be greater than number of args");
    for number in ["+1", "01", "1.0", "x", "18446744073709551617", "9223372036854775808"] {
        assert_eq!(ask(&format!("EVAL other {number} a b")), "-ERR value is not an integer or out of range");
    }
    assert_eq!(ask("FLUSHALL ASYNC"), "own FlushDb");
    assert_eq!(ask("FLUSHDB now"), "-ERR syntax error");
    assert!(ask("FCALL f 0").starts_with("-NOPERM"));
}
