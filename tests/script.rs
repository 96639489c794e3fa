//! The script's own contract (lua/lib/input.lua), asked directly: what the batcher relies on and no client can bring about.

mod common;

use common::{Conn, Dice, Redis, Reply};
use inventory_sentinel::inventory::{keys, script};

const CLOCK: &str = "clock";
const NOW: i64 = 1_000_000;

struct Script {
    conn: Conn,
    sha: String,
}

impl Script {
    fn new(redis: &Redis) -> Self {
        redis.set_clock(CLOCK, NOW);
        let mut conn = redis.conn();
        let sha = conn.call_args(&["SCRIPT", "LOAD", &script::source(false, Some(CLOCK))]).text();
        Self { conn, sha }
    }

    /// One call; `settle_max`, the batch's name and attempt, then the operations as words.
    fn call(&mut self, settle_max: u32, batch: &str, attempt: u32, operations: &str) -> Reply {
        let mut args = vec!["EVALSHA".to_owned(), self.sha.clone(), "9".to_owned()];
        args.extend(keys::cell_keys("t", 0));
        args.extend(["60000", "60000"].map(str::to_owned));
        args.extend([settle_max.to_string(), batch.to_owned(), attempt.to_string(), "RCBEGSTAPUQLX".to_owned()]);
        args.extend(operations.split_ascii_whitespace().map(|word| word.trim_matches('~').to_owned()));
        self.conn.call_args(&args)
    }

    fn results(&mut self, settle_max: u32, batch: &str, attempt: u32, operations: &str) -> Vec<Reply> {
        self.call(settle_max, batch, attempt, operations).items()[2].items().to_vec()
    }

    /// One call of a namespace of its own; `letters` not empty: not the easy way.
    fn call_words(&mut self, namespace: &str, batch: (&str, &str), letters: &str, operations: &[Vec<u8>]) -> Reply {
        let mut args: Vec<Vec<u8>> = vec![b"EVALSHA".to_vec(), self.sha.clone().into(), b"9".to_vec()];
        args.extend(keys::cell_keys(namespace, 0).map(String::into_bytes));
        let (batch, attempt) = batch;
        args.extend(["60000", "60000", "1000", batch, attempt, letters].map(|word| word.as_bytes().to_vec()));
        args.extend_from_slice(operations);
        self.conn.call_args(&args)
    }

    /// All that one key of the namespace holds.
    fn stored(&mut self, namespace: &str, part: usize) -> Reply {
        let name = &keys::cell_keys(namespace, 0)[part];
        match self.conn.call_args(&["TYPE", name]) {
            Reply::Simple(kind) if kind == "zset" => self.conn.call_args(&["ZRANGE", name, "0", "-1", "WITHSCORES"]),
            Reply::Simple(kind) if kind == "hash" => {
                let fields = self.conn.call_args(&["HGETALL", name]).items().to_vec();
                let mut pairs: Vec<_> = fields.chunks(2).map(|pair| format!("{pair:?}")).collect();
                pairs.sort();
                Reply::bulk(pairs.join(" "))
            }
            other => other,
        }
    }

    /// Commands that the upstream has executed so far, those inside scripts too.
    fn commands_called(&mut self) -> u64 {
        let text = self.conn.call("INFO commandstats").text();
        let calls = text.lines().filter_map(|line| line.split("calls=").nth(1)?.split(',').next());
        calls.map(|calls| calls.parse::<u64>().expect("a number")).sum()
    }

    /// available, reserved, committed
    fn stock(&mut self, sku: &str) -> String {
        let Reply::Bulk(bytes) = self.conn.call_args(&["HGET", &keys::cell_keys("t", 0)[0], sku]) else {
            panic!("{sku}")
        };
        let numbers: Vec<_> =
            bytes.chunks(8).map(|number| i64::from_be_bytes(number.try_into().expect("8 bytes")).to_string()).collect();
        numbers[..3].join(" ")
    }
}

#[test]
fn a_sending_that_arrives_after_the_next_one_was_answered_does_nothing() {
    let redis = Redis::start();
    let mut script = Script::new(&redis);
    script.results(100, "set", 1, "T t1 sku 10 ~ ~");
    // The second sending refuses: nothing was there to take. Then stock comes, and only then the first sending.
    assert_eq!(script.results(100, "late", 2, "A key sku -11 0")[0].items()[0], Reply::bulk("INSUFFICIENTSTOCK"));
    script.results(100, "more", 1, "A key2 sku 5 0");
    assert_eq!(script.call(100, "late", 1, "A key sku -11 0"), Reply::Int(0));
    assert_eq!(script.stock("sku"), "15 0 0");
    // A third sending is not overtaken.
    assert_eq!(script.results(100, "late", 3, "A key sku -11 0")[0].items()[1], Reply::Int(4));
}

#[test]
fn a_call_that_meets_its_limit_answers_a_prefix_and_the_rest_goes_on_in_order() {
    let redis = Redis::start();
    let mut script = Script::new(&redis);
    script.results(100, "set", 1, "T t1 sku 25 ~ ~");
    for i in 0..25 {
        script.results(100, &format!("r{i}"), 1, &format!("R id{i} tok{i} sku 1 10"));
    }
    redis.set_clock(CLOCK, NOW + 10);
    // Nothing is available until all 25 are taken back; the commit behind it must not be decided before it.
    let operations = "R big tokb sku 25 50 C big tokc ~";
    let mut rounds = 0;
    let done = loop {
        let results = script.results(10, &format!("big{rounds}"), 1, operations);
        rounds += 1;
        if !results.is_empty() {
            break results;
        }
        assert!(rounds < 5);
    };
    assert_eq!((rounds, done), (3, vec![Reply::Int(1), Reply::Int(1)]));
    assert_eq!(script.stock("sku"), "0 0 25");
}

#[test]
fn records_are_forgotten_when_their_time_is_over_and_a_reused_id_is_not() {
    let redis = Redis::start();
    let mut script = Script::new(&redis);
    script.results(100, "set", 1, "T t1 sku 10 ~ ~");
    script.results(100, "a", 1, "R one tok1 sku 1 1000 R two tok2 sku 1 1000 B one B two");
    redis.set_clock(CLOCK, NOW + 60_000);
    // `two` is free again and lives on; `one` is forgotten.
    assert_eq!(
        script.results(100, "b", 1, "R two tok3 sku 2 1000 X x1 100"),
        vec![Reply::Int(1), Reply::Array(vec![Reply::Int(0), Reply::Int(0)])]
    );
    let holds = script.conn.call_args(&["HKEYS", &keys::cell_keys("t", 0)[1]]);
    assert_eq!(holds.items(), [Reply::bulk("two")]);
    assert_eq!(script.stock("sku"), "8 2 0");
    // Nothing is left of old tokens but those of this minute.
    redis.set_clock(CLOCK, NOW + 200_000);
    script.results(100, "c", 1, "X x2 100");
    script.results(100, "d", 1, "X x3 100");
    redis.set_clock(CLOCK, NOW + 300_000);
    script.results(100, "e", 1, "X x4 100");
    for key in [1, 2, 3, 4] {
        let name = &keys::cell_keys("t", 0)[key];
        assert_eq!(script.conn.call_args(&["EXISTS", name]), Reply::Int(0), "{name}");
    }
    assert_eq!(script.stock("sku"), "10 0 0");
}

#[test]
fn a_lot_is_forgotten_with_its_logs_when_the_last_of_it_was_remembered_long_enough() {
    let redis = Redis::start();
    let mut script = Script::new(&redis);
    script.results(100, "set", 1, "T t1 sku 100 ~ ~");
    let words = |words: &[&[u8]]| words.iter().map(|word| word.to_vec()).collect::<Vec<_>>();
    let (lot, made) = ("0000000000000000000", NOW.to_string());
    let reserve = words(&[b"r", lot.as_bytes(), b"sku", b"1000", made.as_bytes(), &[0, 40, 0, 0, 0, 1]]);
    script.call_words("t", ("a", "1"), "", &reserve);
    let name = &keys::cell_keys("t", 0)[8];
    // The last places of the second sixteen are sold; all others expire.
    let list = [lot.as_bytes(), &[1], b"token000000", &[2, 0xc0, 0]].concat();
    assert_eq!(script.call_words("t", ("b", "1"), "", &words(&[b"c", &list])).items()[2].items(), [Reply::Int(1)]);
    redis.set_clock(CLOCK, NOW + 1000);
    assert_eq!(script.results(100, "c", 1, "X x1 100")[0], Reply::Array(vec![Reply::Int(38), Reply::Int(0)]));
    assert_eq!(script.stock("sku"), "98 0 2");
    assert_eq!(script.conn.call_args(&["HLEN", name]), Reply::Int(4));
    let id = |place: &str| format!("G {lot}{place}");
    let state = |reply: Reply| reply.items().first().cloned();
    redis.set_clock(CLOCK, NOW + 59_999);
    assert_eq!(state(script.results(100, "d", 1, &id("00V"))[0].clone()), Some(Reply::bulk("c")));
    redis.set_clock(CLOCK, NOW + 60_999);
    assert_eq!(state(script.results(100, "e", 1, &id("00U"))[0].clone()), Some(Reply::bulk("x")));
    redis.set_clock(CLOCK, NOW + 61_000);
    assert_eq!(script.results(100, "f", 1, &id("00U"))[0], Reply::Int(0));
    script.results(100, "g", 1, "X x2 100");
    assert_eq!(script.conn.call_args(&["EXISTS", name]), Reply::Int(0));
}

#[test]
fn a_key_of_another_type_fails_the_call_before_anything_is_written() {
    for wrong in 0..9 {
        let redis = Redis::start();
        let mut script = Script::new(&redis);
        let names = keys::cell_keys("t", 0);
        script.conn.call_args(&["SET", &names[wrong], "not ours"]).expect_ok();
        let reply = script.call(100, "a", 1, "T t1 sku 10 ~ ~ R one tok1 sku 1 1000 C one tok2 ~ P t2 1 sku X x1 10");
        if reply.error_word().is_empty() {
            continue; // a key that this batch did not need
        }
        for (index, name) in names.iter().enumerate() {
            // Keys that are written unread are written first, and an entry too many there does no harm.
            let harmless = [2, 3, 4].contains(&index);
            if index != wrong && !harmless {
                assert_eq!(script.conn.call_args(&["EXISTS", name]), Reply::Int(0), "{name} after {}", names[wrong]);
            }
        }
    }
}

#[test]
fn no_sku_is_taken_for_another_in_the_order_of_open_reservations() {
    let redis = Redis::start();
    let mut script = Script::new(&redis);
    // Lengths, colons and digits that could be read as the other's beginning.
    for (index, sku) in ["1", "1:1", "11", "1:", ":1", "3:1", "1:000"].iter().enumerate() {
        script.results(
            100,
            &format!("s{index}"),
            1,
            &format!("T t{index} {sku} 1 ~ ~ R id{index} tok {sku} 1 {}", 100 + index),
        );
    }
    for (index, sku) in ["1", "1:1", "11", "1:", ":1", "3:1", "1:000"].iter().enumerate() {
        let refusal = script.results(100, &format!("q{index}"), 1, &format!("R q{index} tok {sku} 1 10"));
        assert_eq!(refusal[0].items()[3], Reply::Int(100 + index as i64), "{sku}");
    }
}

#[test]
fn a_reaping_comes_to_every_sku_that_is_overdue_and_says_when_more_is_left() {
    let redis = Redis::start();
    let mut script = Script::new(&redis);
    for i in 0..1200 {
        script.results(100, &format!("b{i}"), 1, &format!("T t{i} sku{i} 1 ~ ~ R id{i} tok sku{i} 1 10"));
    }
    redis.set_clock(CLOCK, NOW + 10);
    assert_eq!(script.results(5000, "x1", 1, "X x1 300")[0], Reply::Array(vec![Reply::Int(300), Reply::Int(1)]));
    assert_eq!(script.results(5000, "x2", 1, "X x2 5000")[0], Reply::Array(vec![Reply::Int(900), Reply::Int(0)]));
    for i in [0, 700, 1199] {
        assert_eq!(script.stock(&format!("sku{i}")), "1 0 0");
    }
}

/// A lot's id, and how many places it has.
type Lot = (String, u16);

/// Operations of lots as they come, in words of the script; and whether one of them was sent before.
fn lot_operations(dice: &mut Dice, made: &mut Vec<Lot>) -> (Vec<Vec<u8>>, bool) {
    let (mut words, mut sent_before): (Vec<Vec<u8>>, _) = (Vec::new(), false);
    for _ in 0..1 + dice.below(3) {
        let known = dice.below(made.len() as u64 + 1) as usize;
        if dice.below(2) == 0 || known == made.len() {
            let again = dice.below(8) == 0 && known < made.len();
            sent_before |= again;
            let lot = if again { made[known].0.clone() } else { format!("{:019}", made.len()) };
            let (mut runs, mut places) = (Vec::new(), 0);
            // Now and then more than one log is for.
            let count_max = if dice.below(3) == 0 { 40 } else { 5 };
            for _ in 0..1 + dice.below(3) {
                let count = 1 + dice.below(count_max) as u16;
                let quantity = dice.below(if sent_before { 4 } else { 3 }) as u32 + u32::from(!sent_before);
                runs.extend_from_slice(&count.to_be_bytes());
                runs.extend_from_slice(&quantity.to_be_bytes());
                places += count;
            }
            let (sku, ttl) = (format!("sku{}", dice.below(2)), 5 + dice.below(30));
            words.extend([b"r".to_vec(), lot.clone().into(), sku.into(), ttl.to_string().into()]);
            words.extend([format!("{NOW}").into(), runs]);
            if !again {
                made.push((lot, places));
            }
        } else {
            let commit = dice.below(2) == 0;
            let mut list = Vec::new();
            for _ in 0..1 + dice.below(3) {
                list_some(dice, made, commit, &mut list);
            }
            words.extend([if commit { b"c".to_vec() } else { b"b".to_vec() }, list]);
        }
    }
    (words, sent_before)
}

/// Names some reservations of which the ends are in one log, or all.
fn list_some(dice: &mut Dice, made: &[Lot], commit: bool, list: &mut Vec<u8>) {
    let (lot, places) = &made[dice.below(made.len() as u64) as usize];
    let index = dice.below(u64::from(places.div_ceil(16))) as u8;
    let in_lot = (places - u16::from(index) * 16).min(16) as u8;
    let mask: u16 = match dice.below(3) {
        0 => (1u32 << in_lot).wrapping_sub(1) as u16,
        1 => 1 << dice.below(u64::from(in_lot)),
        _ => (0..1 + dice.below(6)).fold(0, |mask, _| mask | 1 << dice.below(u64::from(in_lot + 2).min(16))),
    };
    list.extend_from_slice(lot.as_bytes());
    list.push(index);
    if commit {
        list.extend_from_slice(format!("token{:06}", dice.below(1_000_000)).as_bytes());
    }
    list.push(mask.count_ones() as u8);
    list.extend_from_slice(&mask.to_be_bytes());
}

#[test]
fn the_easy_way_does_and_says_what_the_long_way_does() {
    let redis = Redis::start();
    let mut script = Script::new(&redis);
    let mut easy = 0;
    for seed in 0..300 {
        let mut dice = Dice::new(seed);
        let (mut lots, mut now) = (Vec::new(), NOW);
        let stock = if seed % 2 == 0 { "40" } else { "400" };
        let ways = ["easy", "long"].map(|way| format!("{way}{seed}"));
        redis.set_clock(CLOCK, now);
        for way in &ways {
            for sku in ["sku0", "sku1"] {
                let set = ["T", "t1", sku, stock, "", ""].map(|word| word.as_bytes().to_vec());
                script.call_words(way, ("set", "1"), "T", &set);
            }
        }
        for step in 0..30 {
            let (operations, sent_before) = lot_operations(&mut dice, &mut lots);
            let (batch, attempt) = (step.to_string(), if sent_before { "2" } else { "1" });
            now += dice.below(6) as i64;
            redis.set_clock(CLOCK, now);
            let before = script.commands_called();
            let short = script.call_words(&ways[0], (&batch, attempt), "", &operations);
            easy += u32::from(script.commands_called() - before < 12);
            let long = script.call_words(&ways[1], (&batch, attempt), "G", &operations);
            assert_eq!(short.error_word(), "", "seed {seed}, step {step}: {operations:?}");
            assert_eq!(short, long, "seed {seed}, step {step}: {operations:?}");
            for part in 0..9 {
                let stored = ways.clone().map(|way| script.stored(&way, part));
                assert_eq!(stored[0], stored[1], "seed {seed}, step {step}, {operations:?}");
            }
        }
    }
    assert!(easy > 100, "{easy} calls may have gone the easy way");
}

/// What is asked of both ways alike, which differ in the letters that they are told of: of one the script defines nothing.
fn ask_both(script: &mut Script, ways: &[String; 2], batch: &str, letter: &str, args: &[&str]) -> (Reply, u64) {
    let words: Vec<Vec<u8>> = [&[letter], args].concat().iter().map(|word| word.as_bytes().to_vec()).collect();
    let before = script.commands_called();
    let short = script.call_words(&ways[0], (batch, "1"), letter, &words);
    let called = script.commands_called() - before;
    let long = script.call_words(&ways[1], (batch, "1"), &format!("{letter}G"), &words);
    assert_eq!(short, long, "{batch}: {letter} {args:?}");
    for part in 0..9 {
        let stored = ways.clone().map(|way| script.stored(&way, part));
        assert_eq!(stored[0], stored[1], "{batch}: {letter} {args:?}");
    }
    (short, called)
}

#[test]
fn where_nothing_is_to_be_done_it_is_said_as_the_long_way_says_it() {
    let redis = Redis::start();
    let mut script = Script::new(&redis);
    let (mut idle, mut taken) = (0, 0);
    for seed in 0..20 {
        let mut dice = Dice::new(seed);
        let (mut now, mut known) = (NOW, "0".to_owned());
        let ways = ["idle", "long"].map(|way| format!("{way}{seed}"));
        redis.set_clock(CLOCK, now);
        ask_both(&mut script, &ways, "set", "T", &["t1", "sku", "1000", "", ""]);
        for step in 0..40 {
            let (batch, id) = (step.to_string(), format!("id{step}"));
            match dice.below(6) {
                0 => {
                    let ttl = (10 + dice.below(60_000)).to_string();
                    ask_both(&mut script, &ways, &batch, "R", &[&id, "token", "sku", "1", &ttl]);
                }
                1 => drop(ask_both(&mut script, &ways, &batch, "P", &[&id, "1", &format!("sku{}", dice.below(3))])),
                2 => now += [1, 10, 20_000][dice.below(3) as usize],
                _ => {}
            }
            redis.set_clock(CLOCK, now);
            let (reaped, called) =
                ask_both(&mut script, &ways, &format!("x{step}"), "X", &[&format!("x{step}"), "100"]);
            taken += i64::from(reaped.items()[2].items()[0].items()[0] != Reply::Int(0));
            // The clock's GET, two looks, the call itself and what counts them.
            idle += i64::from(called <= 5);
            let (listed, _) = ask_both(&mut script, &ways, &format!("l{step}"), "L", &[&known]);
            let Reply::Int(version) = listed.items()[2].items()[0].items()[0] else { panic!("{listed:?}") };
            if dice.below(2) == 0 {
                known = version.to_string();
            }
        }
    }
    assert!(idle > 400 && taken > 25, "{idle} {taken}");
}
