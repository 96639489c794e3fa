//! COMMAND tells of the inventory's commands as the engine tells of its own, and INFO of the sidecar's figures.
//!
//! What is expected is taken from the engine itself wherever it has something alike, so that this holds for each of them.

mod common;
mod introspection {
    mod docs;
    mod info;
}

use common::resp::{decode, encode};
use common::{Conn, Redis, Reply, SOON, Sidecar, Terminal, show, until, words};

/// Names in small letters and grammars, as INV.HELP has them.
fn commands(conn: &mut Conn) -> Vec<(String, String)> {
    let help = conn.call("INV.HELP");
    let lines = help.items().iter().map(Reply::text).filter(|line| line.starts_with("INV.") && !line.contains('<'));
    let pair = |line: String| {
        let (name, grammar) = line.split_once(' ').unwrap_or((&line, ""));
        (name.to_ascii_lowercase(), grammar.to_owned())
    };
    let commands: Vec<_> = lines.map(pair).collect();
    assert!(commands.len() >= 13, "{commands:?}");
    commands
}

fn names(conn: &mut Conn) -> Vec<String> {
    commands(conn).into_iter().map(|(name, _)| name).collect()
}

fn open(addr: &str, protocol: u8) -> Conn {
    if protocol == 3 { Conn::open3(addr) } else { Conn::open(addr) }
}

fn raw(conn: &mut Conn, line: &str) -> Vec<u8> {
    conn.send_args(&words(line));
    conn.raw()
}

/// The number in the first line, and what is behind it.
fn header(reply: &[u8]) -> (usize, &[u8]) {
    let end = reply.windows(2).position(|pair| pair == b"\r\n").expect("a line");
    (std::str::from_utf8(&reply[1..end]).expect("text").parse().expect("a number"), &reply[end + 2..])
}

/// The values that `bytes` are.
fn values(mut bytes: &[u8]) -> Vec<Reply> {
    let mut values = Vec::new();
    while !bytes.is_empty() {
        let (value, rest) = decode(bytes);
        values.push(value);
        bytes = rest;
    }
    values
}

/// What the sidecar has behind the engine's own values, which must be there byte for byte. The order of a table that the
/// engine is moving changes between two requests, so both are asked until they agree.
fn added(direct: &mut Conn, through: &mut Conn, line: &str) -> Vec<Reply> {
    until("the engine's own part is the same, byte for byte", SOON, || {
        let (theirs, ours) = (raw(direct, line), raw(through, line));
        assert_eq!(theirs[0], ours[0], "{line}: {} {}", show(&theirs), show(&ours));
        let ((their_count, their_values), (our_count, our_values)) = (header(&theirs), header(&ours));
        let added = values(our_values.strip_prefix(their_values)?);
        let each = if theirs[0] == b'%' { 2 } else { 1 };
        assert_eq!(our_count, their_count + added.len() / each, "{line}");
        Some(added)
    })
}

/// The type byte of a value, and of those in it where they are all of one.
fn kind(value: &Reply) -> &'static str {
    match value {
        Reply::Simple(_) => "+",
        Reply::Int(_) => ":",
        Reply::Bulk(_) => "$",
        Reply::Array(_) => "*",
        Reply::Set(_) => "~",
        Reply::Map(_) => "%",
        other => panic!("no part of an entry: {other:?}"),
    }
}

#[test]
fn command_has_all_commands_in_entries_of_the_engines_own_form() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    for protocol in [2, 3] {
        let (mut direct, mut through) = (open(&redis.addr(), protocol), open(&sidecar.listen, protocol));
        let entries = added(&mut direct, &mut through, "COMMAND");
        let names = names(&mut through);
        let named: Vec<String> = entries.iter().map(|entry| entry.items()[0].text()).collect();
        assert_eq!(named, names);
        let like = direct.call("COMMAND INFO get mget incrby time");
        let [get, mget, incrby, time] = like.items() else { panic!("{like:?}") };
        for entry in &entries {
            let kinds = |entry: &Reply| entry.items().iter().map(kind).collect::<Vec<_>>();
            assert_eq!(kinds(entry), kinds(get), "RESP{protocol} {entry:?}");
            for words in [2, 6] {
                assert!(entry.items()[words].items().iter().all(|word| kind(word) == "+"), "{entry:?}");
            }
        }
        let entry = |name: &str| &entries[names.iter().position(|known| known == name).expect("known")].items()[1..];
        // Arity, flags, keys, categories: as for a command that does the same to as many keys.
        let (stock, reserve, help) = (entry("inv.stock"), entry("inv.reserve"), entry("inv.help"));
        assert_eq!((&stock[0], &stock[2..5]), (&mget.items()[1], &mget.items()[3..6]));
        assert_eq!(&reserve[2..5], &incrby.items()[3..6]);
        assert_eq!((&help[0], &help[2..5]), (&Reply::Int(1), &time.items()[3..6]));
        let words = |value: &Reply| value.items().iter().map(Reply::text).collect::<Vec<_>>();
        assert_eq!((words(&reserve[1]), words(&reserve[5])), {
            let list = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
            (list(&["write", "denyoom", "noscript", "fast"]), list(&["@write", "@fast"]))
        });
        if let Some(specs) = mget.items().get(8) {
            assert_eq!((&stock[7], &reserve[7], &help[7]), (specs, &incrby.items()[8], &time.items()[8]));
            assert_eq!(reserve[8], incrby.items()[9], "no subcommands");
        }
    }
}

#[test]
fn command_info_has_each_name_in_its_place_and_count_counts_all() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    for protocol in [2, 3] {
        let (mut direct, mut through) = (open(&redis.addr(), protocol), open(&sidecar.listen, protocol));
        let entries = added(&mut direct, &mut through, "COMMAND");
        let names = names(&mut through);
        let place = |name: &str| names.iter().position(|known| known == name).expect("known");
        let info = through.call("COMMAND INFO get INV.Reserve nope inv.stock time inv.nope");
        let theirs = direct.call("COMMAND INFO get nope time inv.nope");
        let [get, reserve, nope, stock, time, other] = info.items() else { panic!("{info:?}") };
        assert_eq!([get, nope, time, other].map(Clone::clone).as_slice(), theirs.items());
        assert!(nope.is_nil() && (reserve, stock) == (&entries[place("inv.reserve")], &entries[place("inv.stock")]));
        let alone = through.call("COMMAND INFO inv.reap");
        assert_eq!(alone.items(), [entries[place("inv.reap")].clone()]);
        // Before 7.0 this is no entry at all.
        let all = added(&mut direct, &mut through, "COMMAND INFO");
        let none = direct.call("COMMAND INFO").items().is_empty();
        assert_eq!(all, if none { vec![] } else { entries });
        let count = direct.call("COMMAND COUNT").int() + names.len() as i64;
        assert_eq!(through.call("command count"), Reply::Int(count));
    }
}

/// Does the engine know COMMAND DOCS and LIST?
fn is_new(redis: &Redis) -> bool {
    !matches!(redis.conn().call("COMMAND DOCS get"), Reply::Error(_))
}

#[test]
fn command_list_names_what_its_filter_lets_through() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    let (mut direct, mut through) = (redis.conn(), sidecar.conn());
    let names = names(&mut through);
    if !is_new(&redis) {
        assert_eq!(raw(&mut through, "COMMAND LIST"), raw(&mut direct, "COMMAND LIST"));
        return;
    }
    let mut listed = |line: &str| -> Vec<String> {
        added(&mut direct, &mut through, &format!("COMMAND LIST {line}")).iter().map(Reply::text).collect()
    };
    assert_eq!(listed(""), names);
    assert_eq!(listed("FILTERBY ACLCAT READ"), ["inv.get", "inv.stock", "inv.isprotected"]);
    assert_eq!(listed("filterby aclcat slow"), ["inv.reap", "inv.help"]);
    for none in ["ACLCAT string", "ACLCAT @read", "ACLCAT nonsense", "MODULE inventory", "PATTERN get"] {
        assert_eq!(listed(&format!("FILTERBY {none}")), [""; 0], "{none}");
    }
    assert_eq!(listed("FILTERBY PATTERN INV.*SERVE"), ["inv.reserve"], "case does not matter");
    // The engine's own patterns decide: over keys of these names.
    names.iter().for_each(|name| redis.conn().call(&format!("SET {name} x")).expect_ok());
    let mut dice = common::Dice::new(7);
    let pieces =
        ["inv.", "*", "?", "e", "s", "t", "[", "]", "^", "-", "a", "\\", "o", "[^r-t]", "[a-s]", "re", "stock", "**"];
    let mut patterns: Vec<String> =
        ["*", "inv.*", "*e*e*", "inv.?et", "inv.[f-h]*", "inv.[^g]*t*"].map(str::to_owned).into();
    for _ in 0..400 {
        let piece = |dice: &mut common::Dice| pieces[dice.below(pieces.len() as u64) as usize];
        let middle: String = (0..=dice.below(6)).map(|_| piece(&mut dice)).collect();
        patterns.push(format!(
            "{}{middle}{}",
            ["", "*", "inv."][dice.below(3) as usize],
            ["", "*"][dice.below(2) as usize]
        ));
    }
    let mut matched = 0;
    for pattern in patterns {
        let keys = redis.conn().call(&format!("KEYS {pattern}"));
        let keys: Vec<String> = keys.items().iter().map(Reply::text).collect();
        let expected: Vec<String> = names.iter().filter(|name| keys.contains(name)).cloned().collect();
        assert_eq!(listed(&format!("FILTERBY PATTERN {pattern}")), expected, "{pattern}");
        matched += usize::from(!expected.is_empty());
    }
    assert!(matched > 30, "{matched} patterns match something");
}

/// Requests, and others that the engine itself has the same answer to.
const KEYS: &[(&str, &str)] = &[
    ("GETKEYS INV.RESERVE a 1 ID x", "GETKEYS incrby a 1"),
    ("GETKEYS inv.setstock a 1", "GETKEYS incrby a 1"),
    ("GETKEYS INV.ADDSTOCK a 1", "GETKEYS incrby a 1"),
    ("GETKEYS INV.STOCK a", "GETKEYS mget a"),
    ("GETKEYS INV.STOCK a b a", "GETKEYS mget a b a"),
    ("GETKEYS INV.ISPROTECTED a b", "GETKEYS mget a b"),
    ("GETKEYS INV.PROTECT a b", "GETKEYS mget a b"),
    ("GETKEYS INV.UNPROTECT a b", "GETKEYS mget a b"),
    ("GETKEYS INV.COMMIT x", "GETKEYS ping x"),
    ("GETKEYS INV.COMMIT x REF y", "GETKEYS ping x REF y"),
    ("GETKEYS INV.ROLLBACK x", "GETKEYS ping x"),
    ("GETKEYS INV.EXTEND x EX 1", "GETKEYS ping x EX 1"),
    ("GETKEYS INV.GET", "GETKEYS ping"),
    ("GETKEYS INV.REAP", "GETKEYS ping"),
    ("GETKEYS INV.HELP x y", "GETKEYS ping x y"),
    ("GETKEYS INV.RESERVE", "GETKEYS get"),
    ("GETKEYS INV.RESERVE a", "GETKEYS get a b"),
    ("GETKEYS INV.STOCK", "GETKEYS get"),
    ("GETKEYS INV.NOPE a", "GETKEYS nope a"),
    ("GETKEYSANDFLAGS INV.RESERVE a 1", "GETKEYSANDFLAGS incrby a 1"),
    ("GETKEYSANDFLAGS INV.STOCK a b", "GETKEYSANDFLAGS mget a b"),
    ("GETKEYSANDFLAGS INV.GET x", "GETKEYSANDFLAGS ping x"),
    ("GETKEYSANDFLAGS INV.PROTECT", "GETKEYSANDFLAGS get"),
    ("GETKEYSANDFLAGS INV.NOPE a", "GETKEYSANDFLAGS nope a"),
];

#[test]
fn the_keys_of_an_inventory_command_are_its_skus() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    for protocol in [2, 3] {
        let (mut direct, mut through) = (open(&redis.addr(), protocol), open(&sidecar.listen, protocol));
        for (ours, alike) in KEYS {
            let (ours, alike) =
                (raw(&mut through, &format!("COMMAND {ours}")), raw(&mut direct, &format!("COMMAND {alike}")));
            assert!(ours == alike, "RESP{protocol} {alike:?}: {}, {}", show(&ours), show(&alike));
        }
        let keys = through.call("COMMAND GETKEYS INV.STOCK a b");
        assert_eq!(keys, Reply::Array(vec![Reply::bulk("a"), Reply::bulk("b")]));
    }
}

/// One of each kind, and what is no question at all.
const ASKED: &[&str] = &[
    "COMMAND",
    "COMMAND COUNT",
    "COMMAND LIST",
    "COMMAND LIST FILTERBY PATTERN inv.*",
    "COMMAND INFO",
    "COMMAND INFO inv.get nope",
    "COMMAND DOCS",
    "COMMAND DOCS inv.get",
    "COMMAND GETKEYS inv.stock a b",
    "COMMAND GETKEYS inv.get a",
    "COMMAND GETKEYSANDFLAGS inv.stock a b",
];

#[test]
fn what_the_engine_refuses_stays_refused_in_its_words() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    let malformed = [
        "COMMAND COUNT x",
        "COMMAND LIST x",
        "COMMAND LIST FILTERBY PATTERN",
        "COMMAND LIST FILTERBY NOPE x",
        "COMMAND LIST FILTERBY PATTERN inv.* x",
        "COMMAND GETKEYS",
        "COMMAND GETKEYSANDFLAGS",
        "COMMAND NOPE",
        "COMMAND DOCS nope",
        "COMMAND INFO nope",
    ];
    redis.conn().call("ACL SETUSER some on >pass ~* +@all -command -info").expect_ok();
    let infos = ["INFO", "INFO all", "INFO everything", "INFO server inventory"];
    for protocol in [2, 3] {
        let (mut direct, mut through) = (open(&redis.addr(), protocol), open(&sidecar.listen, protocol));
        for line in malformed {
            assert_eq!(raw(&mut through, line), raw(&mut direct, line), "RESP{protocol} {line}");
        }
        for conn in [&mut direct, &mut through] {
            conn.call("AUTH some pass").expect_ok();
        }
        for line in ASKED.iter().chain(&infos) {
            let (ours, theirs) = (raw(&mut through, line), raw(&mut direct, line));
            assert!(ours == theirs && ours[0] == b'-', "RESP{protocol} {line}: {}, {}", show(&ours), show(&theirs));
        }
    }
}

#[test]
fn the_answers_are_the_same_inside_a_transaction_and_on_an_own_connection() {
    let redis = Redis::start();
    let shared = Sidecar::start(&redis.url(), &[]);
    let pinned = Sidecar::start(&redis.url(), &["session.pin=always"]);
    for protocol in [2, 3] {
        for line in ASKED {
            until("the engine's table is at rest, and all answers are the same", SOON, || {
                let outside = open(&shared.listen, protocol).call(line);
                let own = open(&pinned.listen, protocol).call(line);
                let mut inside = Vec::new();
                for sidecar in [&shared, &pinned] {
                    let mut conn = open(&sidecar.listen, protocol);
                    let replies = conn.pipeline(&["MULTI", "SET k v", line, "GET k", "EXEC"].map(words));
                    assert_eq!(replies[2], Reply::Simple("QUEUED".into()), "{line}");
                    let [set, answer, get] = replies[4].items() else { panic!("{line}: {:?}", replies[4]) };
                    assert_eq!((set, get), (&Reply::ok(), &Reply::bulk("v")), "{line}");
                    inside.push(answer.clone());
                }
                (own == outside && inside.iter().all(|answer| *answer == outside)).then_some(())
            });
        }
    }
}

#[test]
fn redis_cli_completes_hints_and_explains_inventory_commands() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    let mut terminal = Terminal::open(&sidecar.listen, &[]);
    let prompt = format!("{}> ", sidecar.listen);
    // What an engine without COMMAND DOCS lets it know is how many arguments there are, and which are keys.
    let hint =
        if is_new(&redis) { "sku quantity [EX seconds | PX milliseconds] [ID id]" } else { "key arg ...options..." };
    terminal.types("INV.RESERVE ");
    terminal.wait_for(&format!("{prompt}INV.RESERVE {hint}"));
    // Away with the line.
    terminal.types("\x15inv.reser\t");
    terminal.wait_for(&format!("{prompt}INV.RESERVE"));
    terminal.types("\x15help INV.RESERVE\r");
    terminal.wait_for(&format!("\n  INV.RESERVE {hint}\n"));
    if is_new(&redis) {
        terminal.wait_for("summary: Takes the quantity from what is available, or fails and takes nothing.");
        terminal.wait_for("group: inventory");
        terminal.types("help @inventory\r");
        for (name, grammar) in commands(&mut sidecar.conn()) {
            terminal.wait_for(format!("\n  {} {grammar}", name.to_ascii_uppercase()).trim_end());
        }
    }
    terminal.types("INV.SETSTOCK tee 3\r");
    terminal.wait_for("\nOK\n");
}

#[test]
fn a_long_list_of_names_is_answered_whole() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    let mut conn = sidecar.conn();
    let mut request = vec!["COMMAND", "INFO"];
    request.extend(["inv.get", "get", "nope"].iter().cycle().take(30_000));
    conn.send(&encode(&request));
    let reply = conn.reply();
    assert_eq!(reply.items().len(), 30_000);
    for three in reply.items().chunks(3) {
        assert!(three[0].items()[0].text() == "inv.get" && three[1].items()[0].text() == "get" && three[2].is_nil());
    }
}
