//! A person's client shows through the sidecar what it shows directly: its interactive modes in a terminal, the others by
//! their output.
//!
//! Completion and help of the inventory's commands are in `introspection.rs`.

mod common;

use std::process::Output;

use common::resp::encode;
use common::terminal::run;
use common::{Conn, Redis, Reply, SOON, Sidecar, Terminal, show, until, words};

/// Arguments for RESP2 and RESP3.
const PROTOCOLS: [&[&str]; 2] = [&[], &["-3"]];

/// Lines are typed one by one, directly and through the sidecar: the same is on the screen. Which is given back.
#[track_caller]
fn says_the_same(direct: &mut Terminal, through: &mut Terminal, lines: &[&str]) -> Vec<String> {
    let says = |line: &&str| {
        let (wanted, said) = (direct.says(line), through.says(line));
        assert_eq!(said, wanted, "{line}");
        said
    };
    lines.iter().map(says).collect()
}

#[test]
fn prompts_and_replies_are_those_of_the_upstream() {
    // Each has its own, for what they write would show.
    let (alone, redis) = (Redis::start(), Redis::start());
    let sidecar = Sidecar::start(&redis.url(), &[]);
    for args in PROTOCOLS {
        let (mut direct, mut through) = (Terminal::open(&alone.addr(), args), Terminal::open(&sidecar.listen, args));
        let mut says = |lines: &[&str]| says_the_same(&mut direct, &mut through, lines);
        let said = says(&["MULTI", "SET k v", "GET k", "HSET h f v", "HGETALL h", "EXEC", "GET k"]);
        assert_eq!(said[0], "OK\nADDR(TX)> ");
        assert_eq!(said[1], "QUEUED\nADDR(TX)> ");
        assert!(said[5].starts_with("1) OK\n2) \"v\"\n3) (integer) 1\n4) 1"), "{:?}", said[5]);
        assert_eq!(said[6], "\"v\"\nADDR> ");
        let said =
            says(&["MULTI", "SET k w", "DISCARD", "GET k", "MULTI", "NOPE", "SET k w", "EXEC", "DISCARD", "EXEC"]);
        assert_eq!((&*said[2], &*said[3]), ("OK\nADDR> ", "\"v\"\nADDR> "));
        assert!(said[7].starts_with("(error) EXECABORT"), "{:?}", said[7]);
        let said = says(&["SELECT 3", "MULTI", "SET k three", "SELECT 4", "SET k four", "EXEC", "GET k"]);
        assert_eq!((&*said[0], &*said[2]), ("OK\nADDR[3]> ", "QUEUED\nADDR[3](TX)> "));
        assert_eq!(said[6], "\"four\"\nADDR[4]> ");
        says(&[
            "WATCH k",
            "UNWATCH",
            "SET 'a b' \"\\x00\\n\"",
            "GET 'a b'",
            "3 ECHO x",
            "BLPOP none 0.01",
            "EVAL 'x' 0",
        ]);
        says(&["CLIENT GETNAME", "CLIENT SETNAME me", "CLIENT GETNAME", "CONFIG GET maxmemory", "OBJECT HELP"]);
        says(&[
            "SCAN 0 MATCH h",
            "SADD s 1",
            "SMEMBERS s",
            "ZADD z 1.5 a",
            "ZRANGE z 0 -1 WITHSCORES",
            "DEL h s z k",
            "RESET",
        ]);
        says(&["GET k", "HELLO 9", "GET k", "FLUSHALL"]);
    }
}

#[test]
fn a_transaction_with_inventory_commands_shows_their_replies() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    let mut terminal = Terminal::open(&sidecar.listen, &[]);
    assert_eq!(terminal.says("INV.SETSTOCK tee 10"), "OK\nADDR> ");
    assert_eq!(terminal.says("MULTI"), "OK\nADDR(TX)> ");
    for line in ["SET k v", "INV.RESERVE tee 3 ID one", "INV.RESERVE tee 9 ID two", "INV.COMMIT 0-one", "GET k"] {
        assert_eq!(terminal.says(line), "QUEUED\nADDR(TX)> ", "{line}");
    }
    let said = terminal.says("EXEC");
    let shown: Vec<&str> = said.lines().collect();
    assert_eq!((shown[0], shown[1], shown[3], shown[4]), ("1) OK", "2) \"0-one\"", "4) OK", "5) \"v\""), "{said}");
    assert!(shown[2].starts_with("3) (error) INSUFFICIENTSTOCK "), "{said}");
    assert_eq!(shown[5], "ADDR> ");
    for line in ["MULTI", "INV.SETSTOCK tee 99", "DISCARD"] {
        terminal.says(line);
    }
    assert_eq!(terminal.says("DISCARD"), "(error) ERR DISCARD without MULTI\nADDR> ");
    assert_eq!(common::stock(&mut sidecar.conn(), "tee").total(), 10);
}

/// How many clients of the upstream have subscribed to a channel.
fn subscribers(redis: &Redis) -> i64 {
    redis.conn().call("PUBSUB NUMSUB news").items()[1].int()
}

#[test]
fn a_subscriber_sees_what_another_client_publishes_and_goes_on_after_it() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    for args in PROTOCOLS {
        for addr in [redis.addr(), sidecar.listen.clone()] {
            let mut terminal = Terminal::open(&addr, args);
            terminal.types("SUBSCRIBE news\r");
            terminal.wait_for("\nReading messages... (press Ctrl-C to quit");
            terminal.wait_for("1) \"subscribe\"\n2) \"news\"\n3) (integer) 1\n");
            assert_eq!(sidecar.conn().call("PUBLISH news hello"), Reply::Int(1));
            terminal.wait_for("1) \"message\"\n2) \"news\"\n3) \"hello\"\n");
            assert_eq!(redis.conn().call("PUBLISH news again"), Reply::Int(1));
            terminal.wait_for("1) \"message\"\n2) \"news\"\n3) \"again\"\n");
            // From 7.2 on a key brings a prompt.
            if terminal.shows().contains("or any key to type command") {
                terminal.types("x");
                terminal.wait_for("(subscribed mode)> x");
                terminal.types("\x15PING\r");
                until("an answer", SOON, || terminal.shows().to_ascii_lowercase().contains("pong").then_some(()));
            }
            let goes_on = terminal.interrupt();
            until("nobody is subscribed", SOON, || (subscribers(&redis) == 0).then_some(()));
            if !goes_on {
                continue;
            }
            assert_eq!(terminal.says("SET k v"), "OK\nADDR> ");
        }
    }
}

#[test]
fn a_monitor_shows_what_another_client_does_until_it_ends() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    for args in PROTOCOLS {
        for addr in [redis.addr(), sidecar.listen.clone()] {
            let mut terminal = Terminal::open(&addr, args);
            terminal.types("MONITOR\r");
            terminal.wait_for("MONITOR\nOK\n");
            for (mut conn, value) in [(sidecar.conn(), "through"), (redis.conn(), "direct")] {
                conn.call(&format!("SET k {value}")).expect_ok();
                terminal.wait_for(&format!("] \"SET\" \"k\" \"{value}\"\n"));
            }
            if terminal.interrupt() {
                assert_eq!(terminal.says("GET k"), "\"direct\"\nADDR> ");
            }
        }
    }
}

#[test]
fn what_is_pushed_is_shown_where_it_comes() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    let shown = [redis.addr(), sidecar.listen.clone()].map(|addr| {
        let mut terminal = Terminal::open(&addr, &["-3"]);
        assert_eq!(terminal.says("CLIENT TRACKING ON"), "OK\nADDR> ");
        terminal.says("GET k");
        redis.conn().call("SET k v").expect_ok();
        let shown = [terminal.says("GET k"), terminal.says("CLIENT TRACKING OFF")];
        redis.conn().call("DEL k").int();
        shown
    });
    assert_eq!(shown[1], shown[0]);
    assert!(shown[0][0].contains("invalidate") && shown[0][0].contains("\"v\"\n"), "{:?}", shown[0]);
}

#[test]
fn samples_of_latency_and_figures_come_until_they_are_ended() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    for (args, wanted) in [
        (&["--latency"][..], " samples)"),
        (&["--latency-history", "-i", "1"], " samples)"),
        (&["--latency-dist", "-i", "1"], "."),
        (&["--stat", "-i", "0.01"], " (+"),
    ] {
        let mut terminal = Terminal::start(&sidecar.listen, args);
        terminal.wait_for(wanted);
        assert!(!terminal.interrupt(), "{args:?}");
    }
    let Output { status, stdout, stderr } = run(&sidecar.listen, &["--latency", "--raw", "-i", "0.2"], b"");
    let text = String::from_utf8(stdout).expect("text");
    // Minimum, maximum, average, number.
    let numbers: Vec<f64> = text.split_whitespace().map(|word| word.parse().expect("a number")).collect();
    assert!(status.success() && numbers.len() == 4 && numbers[3] >= 1.0, "{text} {}", show(&stderr));
}

/// Keys of all types, and of the inventory.
fn fill(redis: &Redis, sidecar: &Sidecar) {
    let mut conn = redis.conn();
    for index in 0..700 {
        let requests = [
            format!("SET string:{index} {}", "x".repeat(index)),
            format!("RPUSH list:{} {index}", index % 7),
            format!("HSET hash:{} f{index} v", index % 9),
            format!("SADD set:{} {index}", index % 11),
            format!("ZADD zset:{} {index} m{index}", index % 13),
            format!("XADD stream:{} * f {index}", index % 5),
        ];
        conn.pipeline(&requests.map(|line| words(&line)));
    }
    let mut conn = sidecar.conn();
    for index in 0..50 {
        conn.call(&format!("INV.SETSTOCK tee{index} 5")).expect_ok();
        conn.call(&format!("INV.RESERVE tee{index} 2 EX 3600"));
    }
}

/// What is said, as text, with its end.
fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}{}", text(&output.stdout), text(&output.stderr), output.status)
}

#[test]
fn scans_of_all_keys_say_the_same_of_the_same_data() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    fill(&redis, &sidecar);
    for (args, wanted) in [
        (&["--bigkeys"][..], "Biggest string found"),
        (&["--bigkeys", "-3"], "Biggest stream found"),
        (&["--memkeys"], "Biggest"),
        (&["--memkeys-samples", "3"], "Biggest"),
        (&["--hotkeys"], ""),
        (&["--scan"], "string:699\n"),
        (&["--scan", "--pattern", "string:1?"], "string:19\n"),
        (&["--scan", "--pattern", "none*"], ""),
        (&["--scan", "--pattern", "hash:*", "-n", "0", "-3"], "hash:8\n"),
    ] {
        // The order is that of a table which the engine may be moving.
        let direct = until(&format!("the same of {args:?}"), SOON, || {
            let (direct, through) = (run(&redis.addr(), args, b""), run(&sidecar.listen, args, b""));
            (said(&direct) == said(&through)).then_some(said(&direct))
        });
        assert!(direct.contains(wanted), "{args:?}: {direct}");
        if args[0] == "--scan" && wanted == "string:19\n" {
            assert_eq!(direct.matches("string:1").count(), 10, "{direct}");
        }
    }
}

#[test]
fn masses_of_requests_are_piped_in_and_their_replies_counted() {
    let (alone, redis) = (Redis::start(), Redis::start());
    let sidecar = Sidecar::start(&redis.url(), &[]);
    let set = |index: usize| encode(&["SET", &format!("key:{index}"), &"v".repeat(index % 100)]);
    let sets: Vec<u8> = (0..10_000).flat_map(set).collect();
    let failing =
        [sets.as_slice(), &encode(&["LPUSH", "key:1", "x"]), b"SET inline \"a b\"\r\n", &set(10_000)].concat();
    for (input, errors, replies) in [(&sets, 0, 10_000), (&failing, 1, 10_003)] {
        let [direct, through] = [&alone.addr(), &sidecar.listen].map(|addr| said(&run(addr, &["--pipe"], input)));
        assert_eq!(through, direct);
        assert!(through.contains(&format!("errors: {errors}, replies: {replies}\n")), "{through}");
    }
    assert_eq!(redis.conn().call("GET inline"), Reply::bulk("a b"));
    for index in 0..=10_000 {
        assert_eq!(redis.conn().call(&format!("STRLEN key:{index}")), Reply::Int(index % 100), "{index}");
    }
    // Transactions and the inventory among them.
    let mut input = encode(&words("INV.SETSTOCK tee 200000"));
    for index in 0..1000 {
        for line in ["MULTI", &format!("SET key:{index} x"), "INV.RESERVE tee 1", "EXEC", "INV.RESERVE tee 2", "PING"] {
            input.extend(encode(&words(line)));
        }
        input.extend(set(index));
    }
    let through = said(&run(&sidecar.listen, &["--pipe"], &input));
    assert!(through.contains("errors: 0, replies: 7001\n"), "{through}");
    assert_eq!(common::stock(&mut sidecar.conn(), "tee").reserved, 3000);
}

/// The file that `--rdb` leaves, and what is said.
fn dump(addr: &str) -> (Vec<u8>, String) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let path = file.path().to_str().expect("text");
    let output = run(addr, &["--rdb", path], b"");
    (std::fs::read(path).expect("the dump"), said(&output).replace(path, "FILE"))
}

#[test]
fn a_dump_comes_whole() {
    let redis = Redis::with(&["--save", "", "--repl-diskless-sync-delay", "0"]);
    let sidecar = Sidecar::start(&redis.url(), &[]);
    fill(&redis, &sidecar);
    let (file, said) = dump(&sidecar.listen);
    assert!(said.contains("Transfer finished with success"), "{said}");
    assert!(dump(&redis.addr()).1.contains("Transfer finished with success"));
    // A server that starts with it has what was there.
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("through.rdb");
    std::fs::write(&path, file).expect("written");
    let other =
        Redis::with(&["--save", "", "--dbfilename", "through.rdb", "--dir", dir.path().to_str().expect("text")]);
    let digest = |conn: &mut Conn| conn.call("DEBUG DIGEST");
    assert_eq!(digest(&mut other.conn()), digest(&mut redis.conn()));
}

#[test]
fn single_commands_and_scripts_print_the_same_in_every_form() {
    let (alone, redis) = (Redis::start(), Redis::start());
    for redis in [&alone, &redis] {
        redis.conn().call("ACL SETUSER app on >secret ~* &* +@all").expect_ok();
    }
    let sidecar = Sidecar::start(&redis.url(), &[]);
    let script = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(script.path(), "redis.call('SET', KEYS[1], ARGV[1]) return {KEYS[1], redis.call('GET', KEYS[1])}")
        .expect("written");
    let script = script.path().to_str().expect("text");
    let lines = b"SET a 1\nGET a\nMULTI\nGET a\nEXEC\nSELECT 2\nGET a\nNOPE\n";
    for (args, input) in [
        (&["HSET", "h", "f", "v"][..], &b""[..]),
        (&["HGETALL", "h"], b""),
        (&["-3", "HGETALL", "h"], b""),
        (&["--csv", "HGETALL", "h"], b""),
        (&["--no-raw", "-3", "HGETALL", "h"], b""),
        (&["--json", "HGETALL", "h"], b""),
        (&["-x", "SET", "large"], &[b'x'; 3_000_000]),
        (&["STRLEN", "large"], b""),
        (&["-r", "5", "INCR", "n"], b""),
        (&["-n", "3", "--user", "app", "--pass", "secret", "--no-auth-warning", "ACL", "WHOAMI"], b""),
        (&["-3", "-n", "3", "--user", "app", "--pass", "secret", "--no-auth-warning", "SET", "k", "v"], b""),
        (&["--user", "app", "--pass", "wrong", "--no-auth-warning", "GET", "k"], b""),
        (&["-e", "NOPE", "x"], b""),
        (&["--eval", script, "key", ",", "argument"], b""),
        (&[], lines),
        (&["-3"], lines),
    ] {
        let [direct, through] =
            [&alone.addr(), &sidecar.listen].map(|addr| said(&run(addr, args, input)).replace(addr, "ADDR"));
        assert_eq!(through, direct, "{args:?}");
    }
    assert_eq!(redis.conn().call("STRLEN large"), Reply::Int(3_000_000));
}
