//! What a client gets through the sidecar is what it gets from the upstream directly, byte for byte: the same bytes go to a
//! Redis and, through the sidecar, to an equal one, and what comes back is compared.
//!
//! The cases are in `differential/cases/`; what is masked before the comparison is in `differential/mask.rs`.
//! `DIFFERENTIAL_SHOW=1` prints the known differences too; `DIFFERENTIAL_CASE=words` plays only the cases whose names hold
//! these words.

mod common;

mod differential {
    pub mod case;
    pub mod commands;
    pub mod crowd;
    pub mod mask;
    pub mod pair;
    pub mod play;
    pub mod random;
}

use common::{Conn, Sidecar, words};
use differential::case::{Case, End, parse};
use differential::commands::never_valid;
use differential::crowd::{Client, push, pushes};
use differential::pair::{Pair, engine};
use differential::play::{Difference, Way, compare, compare_beside_others, compare_way, ways, ways_half_closed};
use differential::random::{self, shrink};

/// A difference that is there now. One that is listed and does not differ any more is a fault of this list.
struct Known {
    case: &'static str,
    /// Of the engine, as 702 for 7.2: from this one on, and below that one.
    versions: std::ops::Range<u32>,
    reason: &'static str,
}

const fn known(case: &'static str, reason: &'static str) -> Known {
    Known { case, versions: 0..u32::MAX, reason }
}

const fn known_below(case: &'static str, version: u32, reason: &'static str) -> Known {
    Known { case, versions: 0..version, reason }
}

const fn known_from(case: &'static str, version: u32, reason: &'static str) -> Known {
    Known { case, versions: version..u32::MAX, reason }
}

const WAIT: &str = "refused by design, in words of the sidecar's own";
const SCRIPT_DEBUG: &str = "refused by design, in words of the sidecar's own";
const SETINFO: &str = "the sidecar takes CLIENT SETINFO where the upstream does not know it";
const FRAMES: &str = "by design: refused, for two parsers could disagree on where such a request ends";
const LIBRARY: &str = "the sidecar keeps the library's name and version to itself";

const KNOWN: &[Known] = &[
    known("WAIT", WAIT),
    known("WAIT, blindly", WAIT),
    known("WAITAOF", WAIT),
    known("WAITAOF, blindly", WAIT),
    known("blocking: WAIT", WAIT),
    known_from("blocking: WAITAOF", 702, WAIT),
    known("pubsub: what a subscriber may not say over RESP2", WAIT),
    known("auth: a user who may little", WAIT),
    known_from("SCRIPT DEBUG, blindly", 700, SCRIPT_DEBUG),
    known("script: EVALSHA and SCRIPT", SCRIPT_DEBUG),
    known("script: SCRIPT DEBUG", SCRIPT_DEBUG),
    known_below("CLIENT SETINFO", 702, SETINFO),
    known_below("greeting: redis-py over RESP2", 702, SETINFO),
    known_below("greeting: redis-py over RESP3", 702, SETINFO),
    known_below("greeting: node-redis in one write", 702, SETINFO),
    known_below("greeting: ioredis", 702, SETINFO),
    known_below("greeting: go-redis with a maintenance handshake", 702, SETINFO),
    known_below("greeting: lettuce", 702, SETINFO),
    known_below("greeting: jedis", 702, SETINFO),
    known_below("greeting: StackExchange.Redis", 702, SETINFO),
    known("greeting: CLIENT SETINFO", "and its refusals name the option in lower case"),
    known_from("greeting: CLIENT INFO tells what the client has set", 702, LIBRARY),
    known_from("reset: RESET keeps the library's name", 702, LIBRARY),
    known(
        "greeting: the id in HELLO is the one of CLIENT ID",
        "the id in HELLO is the sidecar's, CLIENT ID an upstream's",
    ),
    known("database: SELECT with what it does not take", "a number above 32 bits is refused in other words"),
    known(
        "greeting: HELLO with what it does not take",
        "a first HELLO that is refused leaves the own connection in RESP2",
    ),
    known("frame: a protocol error behind a subscription", "no error, and replies that were on their way are lost"),
    known_below(
        "reply_mode: CLIENT REPLY SKIP takes an empty request for the one behind it",
        802,
        "an empty request is not passed on",
    ),
    known("frame: an argument that is not followed by a line's end", FRAMES),
    known("frame: a header whose return is followed by something else", FRAMES),
    known("frame: a NUL in an inline request", FRAMES),
    known_from("frame: more arguments than the sidecar takes", 700, "by design: a bound of the sidecar's"),
    known(
        "types: a reply nested deeper than the sidecar follows",
        "by design: a bound of the sidecar's; the link is closed",
    ),
    known("auth: a password is wanted and none is given", "by design: clients have the rights of the sidecar's user"),
    known("transaction: QUIT inside MULTI", "what stands behind QUIT is answered UNCERTAIN"),
    known_from("types: DEBUG PROTOCOL push", 700, "a push on a shared link is nobody's"),
];

fn why_known(case: &str) -> Option<&'static str> {
    let here = |known: &&Known| known.case == case && known.versions.contains(&engine().0);
    KNOWN.iter().find(here).map(|known| known.reason)
}

/// Commands after which the sidecar ends a client at once when that closes its sending side, whatever was on its way: the
/// connection's replies are not one a request, or may never come. Whether anything is lost is a race.
const ENDS_AT_ONCE: &[&str] = &[
    "SUBSCRIBE",
    "PSUBSCRIBE",
    "SSUBSCRIBE",
    "UNSUBSCRIBE",
    "PUNSUBSCRIBE",
    "SUNSUBSCRIBE",
    "MONITOR",
    "CLIENT REPLY",
    "BLPOP",
    "BRPOP",
    "BRPOPLPUSH",
    "BLMOVE",
    "BLMPOP",
    "BZPOPMIN",
    "BZPOPMAX",
    "BZMPOP",
    "XREAD",
    "XREADGROUP",
];

fn may_end_at_once(case: &Case) -> bool {
    case.requests().any(|request| ENDS_AT_ONCE.iter().any(|name| begins_with(request, name)))
}

fn begins_with(request: &[Vec<u8>], name: &str) -> bool {
    let name = words(name);
    request.len() >= name.len() && request.iter().zip(&name).all(|(word, name)| word.eq_ignore_ascii_case(name))
}

/// All that is wrong, told at once.
struct Findings {
    unexpected: Vec<Difference>,
    stale: Vec<String>,
}

impl Findings {
    fn new() -> Self {
        Self { unexpected: Vec::new(), stale: Vec::new() }
    }

    #[allow(clippy::print_stderr, reason = "asked for")]
    fn take(&mut self, case: &str, differences: Vec<Difference>) {
        match why_known(case) {
            None => self.unexpected.extend(differences),
            Some(_) if differences.is_empty() => self.stale.push(case.to_owned()),
            Some(reason) if std::env::var_os("DIFFERENTIAL_SHOW").is_some() => {
                eprintln!("known: {reason}");
                differences.iter().for_each(|difference| eprintln!("{}", tell(difference)));
            }
            Some(_) => {}
        }
    }

    #[track_caller]
    fn settle(self) {
        let told: Vec<String> = self.unexpected.iter().map(tell).collect();
        let (stale, count) = (self.stale, told.len());
        assert!(
            told.is_empty() && stale.is_empty(),
            "on {}: {count} differences\n{}\nlisted in KNOWN and equal: {stale:?}",
            engine().1,
            told.join("\n")
        );
    }
}

fn tell(difference: &Difference) -> String {
    format!("{} ({})\n  {}", difference.case, difference.how, difference.report)
}

fn is_wanted(case: &str) -> bool {
    std::env::var("DIFFERENTIAL_CASE").map_or(true, |words| case.contains(&words))
}

/// Plays a file of cases.
#[track_caller]
fn cases_are_equal(file: &str, text: &str) {
    let mut pair = Pair::start();
    let mut findings = Findings::new();
    for case in parse(file, text).iter().filter(|case| is_wanted(&case.name)) {
        if case.end == End::Half {
            continue;
        }
        let is_known = why_known(&case.name).is_some();
        let Some(differences) = compare(&mut pair, case, &ways(case), is_known) else { continue };
        if !differences.is_empty() {
            // What a difference left behind must not make another.
            pair = Pair::start();
        }
        findings.take(&case.name, differences);
    }
    findings.settle();
}

macro_rules! cases {
    ($($claim:ident: $file:literal,)*) => {
        $(#[test]
        fn $claim() {
            cases_are_equal($file, include_str!(concat!("differential/cases/", $file, ".resp")));
        })*

        fn all_cases() -> Vec<Case> {
            [$(parse($file, include_str!(concat!("differential/cases/", $file, ".resp")))),*].concat()
        }
    };
}

cases! {
    greetings_of_usual_clients_get_the_same_bytes: "greeting",
    odd_and_faulty_frames_get_the_same_bytes: "frame",
    transactions_get_the_same_bytes: "transaction",
    databases_are_the_same_databases: "database",
    waiting_commands_get_the_same_bytes: "blocking",
    subscribers_get_the_same_bytes: "pubsub",
    reset_leaves_what_redis_leaves: "reset",
    replies_that_were_turned_off_stay_off: "reply_mode",
    tracking_clients_get_the_same_bytes: "tracking",
    scripts_get_the_same_bytes: "script",
    every_type_of_reply_comes_as_the_same_bytes: "types",
    what_the_upstream_tells_of_its_commands_is_the_same: "command",
    users_have_the_same_rights: "auth",
}

#[test]
fn a_client_that_closes_its_sending_side_gets_all_that_it_asked_for() {
    let mut pair = Pair::start();
    let mut findings = Findings::new();
    let mut lost = 0;
    for case in all_cases().iter().filter(|case| is_wanted(&case.name)) {
        let (is_known, may_end) = (why_known(&case.name).is_some(), may_end_at_once(case));
        let ways = ways_half_closed(case);
        let Some(differences) = compare(&mut pair, case, &ways, is_known || may_end) else { continue };
        let differs = !differences.is_empty();
        if differs {
            pair = Pair::start();
        }
        if may_end {
            lost += usize::from(differs);
        } else if case.end == End::Half || !is_known {
            findings.take(&case.name, differences);
        }
    }
    findings.settle();
    assert!(lost > 0 || !is_wanted(""), "nothing was lost: ENDS_AT_ONCE and its reason are not true any more");
}

#[test]
fn every_command_of_the_upstream_gets_the_same_bytes() {
    let mut pair = Pair::start();
    let mut findings = Findings::new();
    let mut without_a_valid_call = Vec::new();
    let asked = differential::commands::cases(&mut pair, include_str!("differential/commands.resp"));
    for asked in asked.iter().filter(|asked| is_wanted(&asked.name)) {
        let mut fine = 0;
        for case in [Some(&asked.blind), asked.valid.as_ref()].into_iter().flatten() {
            let is_known = why_known(&case.name).is_some();
            let mut differences = Vec::new();
            for protocol in [2, 3] {
                let (difference, answered) = compare_way(&mut pair, case, Way::AtOnce, protocol, is_known);
                differences.extend(difference);
                // The last one answers QUIT; a command that needs no argument is valid even so.
                fine = fine.max(answered.saturating_sub(usize::from(protocol) - 1));
            }
            if !differences.is_empty() {
                pair = Pair::start();
            }
            findings.take(&case.name, differences);
        }
        if fine == 0 && asked.is_callable && !never_valid(&asked.name) {
            without_a_valid_call.push(&asked.name);
        }
    }
    findings.settle();
    assert!(without_a_valid_call.is_empty(), "no call of {without_a_valid_call:?} on {} is valid", engine().1);
}

/// `DIFFERENTIAL_SEED` and `DIFFERENTIAL_ROUNDS`, where they are set: to try others than the usual ones, or one again.
fn seed_and_rounds(seed: u64, rounds: u64) -> (u64, u64) {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    (number("DIFFERENTIAL_SEED").unwrap_or(seed), number("DIFFERENTIAL_ROUNDS").unwrap_or(rounds))
}

#[test]
fn random_streams_get_the_same_bytes() {
    let (first, rounds) = seed_and_rounds(1, 500);
    let mut pair = Pair::start();
    for seed in first..first + rounds {
        let (protocol, way) = (2 + (seed % 2) as u8, if seed % 5 == 0 { Way::Bytes } else { Way::AtOnce });
        let steps = random::stream(seed, "");
        let play =
            |pair: &mut Pair, steps: Vec<_>| compare_way(pair, &random::case(seed, steps), way, protocol, false).0;
        let Some(found) = play(&mut pair, steps.clone()) else { continue };
        let shorter = shrink(steps, |steps| play(&mut Pair::start(), steps.to_vec()).is_some());
        let last = play(&mut Pair::start(), shorter.clone());
        let last = last.as_ref().map_or_else(|| "equal in the end: now and then".to_owned(), tell);
        let sent = random::case(seed, shorter).in_one_piece().expect("one connection");
        panic!(
            "on {}, DIFFERENTIAL_SEED={seed} DIFFERENTIAL_ROUNDS=1: {}\nshorter: {last}\n  sent: {}",
            engine().1,
            tell(&found),
            common::show(&sent)
        );
    }
}

#[test]
fn random_streams_of_many_clients_at_once_get_the_same_bytes() {
    const CLIENTS: u64 = 8;
    let (first, rounds) = seed_and_rounds(1_000_000, 40);
    let pair = Pair::start();
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let mut sides = pair.remotes();
            scope.spawn(move || {
                for seed in (first..first + rounds).map(|seed| seed + client * 1000) {
                    let case = random::case(seed, random::stream(seed, &format!("c{client}-")));
                    let found = compare_beside_others(&mut sides, &case, Way::AtOnce, 2 + (seed % 2) as u8);
                    let sent = || common::show(&case.in_one_piece().expect("one connection"));
                    assert!(
                        found.is_none(),
                        "client {client}, {}\n  sent: {}",
                        found.iter().map(tell).collect::<String>(),
                        sent()
                    );
                }
            });
        }
    });
}

#[test]
fn of_many_clients_at_once_each_gets_its_own_replies_in_its_own_order() {
    const CLIENTS: u64 = 12;
    let (seed, rounds) = seed_and_rounds(1, 15);
    let redis = common::Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &["upstream.links=1"]);
    let mut conn = sidecar.conn();
    for client in 0..CLIENTS {
        conn.call(&format!("INV.SETSTOCK c{client} 1000000")).expect_ok();
    }
    let (tell, told) = pushes();
    std::thread::scope(|scope| {
        let sidecar = &sidecar;
        scope.spawn(move || push(sidecar, &told));
        for number in 0..CLIENTS {
            let tell = tell.clone();
            scope.spawn(move || {
                let mut client = Client::new(sidecar, number, seed, tell);
                for _ in 0..rounds {
                    client.round();
                }
            });
        }
        drop(tell);
    });
}

/// The lines that MONITOR shows of what a client says about a key of its own, without time and address.
fn monitored(addr: &str) -> Vec<String> {
    let (mut monitor, mut client) = (Conn::open(addr), Conn::open(addr));
    monitor.call("MONITOR").expect_ok();
    client.call("SET marker v").expect_ok();
    client.call_args(&["APPEND", "marker", "a b\r\n\"\\\0\u{e9}"]);
    client.call("SELECT 2").expect_ok();
    client.call("EVAL return(redis.call('get',KEYS[1])) 1 marker");
    client.call("NOPE marker");
    client.call("PING marker");
    client.call("ECHO marker-is-the-last");
    let mut lines = Vec::new();
    loop {
        let line = monitor.reply().text();
        let (head, command) = line.split_once("] \"").expect("a line of MONITOR");
        let (_, place) = head.split_once('[').expect("a line of MONITOR");
        let (db, place) = place.split_once(' ').expect("a line of MONITOR");
        let place = if place == "lua" { "lua" } else { "#" };
        if command.contains("marker") {
            lines.push(format!("[{db} {place}] \"{command}"));
        }
        if command.contains("marker-is-the-last") {
            break;
        }
    }
    // It stops where Redis stops: at once, and the connection is an ordinary one again.
    monitor.send_args(&["RESET"]);
    while monitor.reply().text() != "RESET" {}
    client.call("SET marker w").expect_ok();
    assert_eq!(monitor.call("ECHO back").text(), "back");
    lines
}

#[test]
fn monitor_shows_the_same_lines_of_the_same_requests() {
    let pair = Pair::start();
    let direct = monitored(&pair.direct.addr());
    assert!(direct.len() >= 6, "{direct:?}");
    assert_eq!(monitored(&pair.sidecar.listen), direct);
}
