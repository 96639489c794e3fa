//! An isolated tenant's requests, judged: the table against four engines' own lists, and literal requests.

mod common;

use common::judged::{ENGINES, Tenant, listed, row_of, show};
use common::{Redis, Reply, words};
use inventory_sentinel::command::{Args, CommandFacts, CommandTable};
use inventory_sentinel::resp::ArgRange;
use inventory_sentinel::tenant::isolation::table::{ROWS, Treatment};
use inventory_sentinel::tenant::isolation::{Isolation, KeySpace, Verdict, judge};
use std::collections::BTreeMap;
use std::fmt::Write as _;

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
                    assert_eq!((command.keys, command.movable), ((0, 0, 0), false), "{}", command.name);
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
fn a_namespace_that_means_something_else_upstream_cannot_be_isolated() {
    for (namespace, reserved) in [
        ("inv1", true),
        ("inv2", true),
        ("inv", true),
        ("inv15", true),
        ("__redis__", true),
        ("inventory", false),
        ("inv1a", false),
        ("acme", false),
        ("INV1", false),
        ("_", false),
    ] {
        assert_eq!(KeySpace::is_reserved(namespace), reserved, "{namespace}");
        let tenant = Tenant { space: KeySpace::new(namespace), ..Tenant::trusted() };
        for request in ["GET {acme/0}:stock", "PUBLISH invalidate x", "TIME", "DBSIZE"] {
            let refused = matches!(tenant.judge(&words(request)), Verdict::Refused(_));
            assert_eq!(refused, reserved, "{namespace}: {request}");
        }
    }
}

#[test]
fn what_would_be_drawn_for_long_is_refused() {
    for request in
        ["LOLWUT 100", "LOLWUT 40 1000", "lolwut version 6 1000 1000", "LOLWUT VERSION 5 66 8 100", "LOLWUT VERSIO 5"]
    {
        let said = show(&Tenant::new().judge(&words(request)));
        assert!(said.starts_with("-NOPERM") && said.contains("picture"), "{request}: {said}");
    }
}

#[test]
fn what_would_be_compared_for_long_is_refused() {
    let tenant = Tenant::new();
    for pattern in ["a*".repeat(17), "a".repeat(1025)] {
        for request in ["KEYS ?", "SCAN 0 MATCH ?", "PSUBSCRIBE x ?", "PUBSUB CHANNELS ?"] {
            let said = show(&tenant.judge(&words(&request.replace('?', &pattern))));
            assert!(said.contains("the pattern"), "{said}");
        }
    }
    let most = "a*".repeat(16);
    check(&tenant, &[(&format!("KEYS {most}"), &format!("KEYS acme:{most} / Keys"))]);
}

#[test]
fn a_name_that_the_prefix_makes_too_long_is_refused() {
    let tenant = Tenant::new();
    let most = inventory_sentinel::resp::limits::BULK_BYTES_MAX;
    let said = show(&tenant.judge(&[b"GET".to_vec(), vec![b'k'; most]]));
    assert_eq!(said, "-ERR 'get' is too long once its names bear the tenant's prefix");
    let said = show(&tenant.judge(&vec![b"SCAN".to_vec(); inventory_sentinel::resp::limits::ARGS_MAX]));
    assert!(said.starts_with("-ERR"), "{said}");
}

#[test]
fn a_word_with_a_nul_is_no_word_although_the_server_reads_it_as_one() {
    let tenant = Tenant::trusted();
    for request in [
        "SORT k STORE~ d",
        "SORT k BY~ w_*",
        "GEORADIUS k 1 1 1 m STORE~ d",
        "COPY a b DB~ 1",
        "XREAD STREAMS~ a 0",
        "SCAN 0 MATCH~ *",
        "CLIENT TRACKING ON BCAST~",
        "CLIENT TRACKING ON PREFIX~ a BCAST",
        "OBJECT FREQ~ k",
        "SORT_RO k GET~ *",
    ] {
        let request: Vec<Vec<u8>> = words(&request.replace('~', "\0"));
        let said = show(&tenant.judge(&request));
        assert!(said.starts_with('-'), "{said}");
    }
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

/// What the table says of each command and subcommand that an engine has.
fn printed() -> String {
    let mut engines: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (engine, list) in ENGINES {
        for command in listed(list) {
            engines.entry(command.name.to_ascii_uppercase()).or_default().push(engine);
        }
    }
    // 6.2 does not list subcommands, and later engines have some that none of these has.
    for row in ROWS {
        engines.entry(row.name.to_owned()).or_default();
        if let Treatment::Container(rows) = row.treatment {
            for sub in rows {
                engines.entry(format!("{}|{}", row.name, sub.name)).or_default();
            }
        }
    }
    let mut out = String::from(
        "# What becomes of an isolated tenant's commands\n\n\
         Printed from `src/tenant/isolation/rows.rs` by `PRINT_ISOLATION=1 cargo test --test judgement`, which checks that it is up to\n\
         date. *Passed*: as it came, for it names no key and no channel. *Rewritten*: its keys, channels and patterns get the\n\
         tenant's prefix; where they are (first, last from the end where negative, step), or that a parser of its own finds\n\
         them. *Own*: the sidecar answers, or knows the way. *Refused*: `-NOPERM`. A command or subcommand that is not here is\n\
         refused. The engines are those of which it was checked; 6.2 has subcommands too, but does not list them.\n\n\
         | command | subcommand | treatment | why | engines |\n| --- | --- | --- | --- | --- |\n",
    );
    for (name, engines) in &engines {
        let (row, own) = row_of(name).expect("a row");
        let (command, sub) = name.split_once('|').unwrap_or((name, ""));
        let treatment = match row.treatment {
            Treatment::Container(_) if sub.is_empty() => "by subcommand".to_owned(),
            Treatment::Container(_) => "refused".to_owned(),
            Treatment::Passed => "passed".to_owned(),
            Treatment::Keys(first, last, step) => format!("rewritten: {first} {last} {step}"),
            Treatment::Parsed(_) => "rewritten: parsed".to_owned(),
            Treatment::Own(_) => "own".to_owned(),
            Treatment::Refused => "refused".to_owned(),
        };
        let why = if sub.is_empty() && treatment == "by subcommand" { "" } else { row.why };
        let why = if own || treatment == "refused" || treatment == "passed" { why } else { "" };
        let engines = if engines.len() == ENGINES.len() { "all".to_owned() } else { engines.join(", ") };
        writeln!(out, "| {command} | {sub} | {treatment} | {why} | {engines} |").expect("a string");
    }
    out
}

#[test]
fn the_printed_table_is_what_the_code_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/isolation.md");
    let printed = printed();
    if std::env::var_os("PRINT_ISOLATION").is_some() {
        std::fs::write(path, &printed).expect("config/isolation.md");
    }
    let kept = std::fs::read_to_string(path).expect("config/isolation.md");
    assert!(kept == printed, "config/isolation.md is out of date: PRINT_ISOLATION=1 cargo test --test judgement");
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
