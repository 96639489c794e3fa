//! What a client gets through the sidecar is what it gets from the upstream directly, byte for byte: the same bytes go to a
//! Redis and, through the sidecar, to an equal one, and what comes back is compared.
//!
//! The cases are in `differential/cases/`; what is masked before the comparison is in `differential/mask.rs`, and which
//! differences are known in `differential/known.rs`.
//! `DIFFERENTIAL_SHOW=1` prints the known differences too; `DIFFERENTIAL_CASE=words` plays only the cases whose names hold
//! these words.

mod common;

mod differential {
    pub mod case;
    pub mod commands;
    pub mod crowd;
    pub mod known;
    pub mod mask;
    pub mod pair;
    pub mod play;
    pub mod random;
}

use common::resp::encode;
use common::{Conn, Sidecar, words};
use differential::case::{Case, End, parse};
use differential::commands::never_valid;
use differential::crowd::{Client, push, pushes};
use differential::known::{differs_by_chance, why_known};
use differential::pair::{Pair, engine};
use differential::play::{Difference, Way, compare, compare_beside_others, compare_way, ways, ways_half_closed};
use differential::random::{self, shrink};

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
            Some(_) if differences.is_empty() && differs_by_chance(case) => {}
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
    a_client_that_says_no_more_gets_the_same_bytes: "half_closed",
}

#[test]
fn a_client_that_closes_its_sending_side_gets_all_that_it_asked_for() {
    let mut pair = Pair::start();
    let mut findings = Findings::new();
    for case in all_cases().iter().filter(|case| is_wanted(&case.name)) {
        let is_known = why_known(&case.name).is_some();
        let Some(differences) = compare(&mut pair, case, &ways_half_closed(case), is_known) else { continue };
        if !differences.is_empty() {
            pair = Pair::start();
        }
        if case.end == End::Half || !is_known {
            findings.take(&case.name, differences);
        }
    }
    findings.settle();
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

/// A difference that is there now: the client's own connection then owes a reply for ever.
#[test]
fn a_refused_auth_in_a_pipeline_is_answered_in_its_place() {
    let redis = common::Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    redis.conn().call("ACL SETUSER ann on >pw ~* &* +@all").expect_ok();
    let mut conn = sidecar.conn();
    // An own connection, whose replies are written one behind the other.
    conn.call("WATCH k").expect_ok();
    let lines = ["ECHO before", "AUTH ann wrong", "ECHO after", "UNWATCH", "ECHO last"];
    conn.send(&lines.iter().flat_map(|line| encode(&words(line))).collect::<Vec<_>>());
    assert_eq!(conn.reply().text(), "before");
    // From 7.2 on Redis itself swallows the refusal where an earlier reply waits to be written.
    conn.reply().expect_error("WRONGPASS");
    assert_eq!(conn.reply().text(), "after");
    conn.reply().expect_ok();
    assert_eq!(conn.reply().text(), "last");
    conn.call("INV.SETSTOCK sku 1").expect_ok();
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
