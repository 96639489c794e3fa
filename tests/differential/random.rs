//! Random streams of one connection: what state they leave a connection in, they leave it in by chance.

use super::super::common::{Dice, words};
use super::case::{By, Case, Send, Step, What};
use super::pair::engine;

/// Whatever leaves no state. Keys are few, so that types clash and errors are among the replies.
const PLAIN: &[&str] = &[
    "GET a",
    "SET a 1",
    "SET b text",
    "SET a 2 NX GET",
    "SET c",
    "INCR a",
    "INCR b",
    "APPEND b x",
    "DEL a b",
    "DEL q",
    "TYPE q",
    "EXISTS a b c",
    "RPUSH q x y",
    "LPUSH q z",
    "LPOP q",
    "LRANGE q 0 -1",
    "HSET h f v",
    "HGETALL h",
    "HGETALL none",
    "SADD s 1 2 3",
    "SMEMBERS s",
    "ZADD z 1 m 2.5 n",
    "ZRANGE z 0 -1 WITHSCORES",
    "ZSCORE z none",
    "MGET a b none",
    "ECHO hello",
    "ECHO",
    "PING",
    "PING there",
    "NOPE a b",
    "OBJECT NOPE",
    "EVAL return{1,'x',{KEYS[1]},false,true} 1 a",
    "EVAL return{err='MY_own'} 0",
    "EVAL return#ARGV 0 a b",
    "PUBLISH nobody x",
    "PUBSUB NUMSUB ch1",
    "COMMAND GETKEYS GET a",
    "CONFIG GET maxmemory",
    "CLIENT GETNAME",
    "CLIENT SETNAME one",
    "CLIENT SETNAME two",
    "CLIENT NOPE",
    "FLUSHDB",
];

const TRANSACTION: &[&str] =
    &["MULTI", "MULTI", "EXEC", "EXEC", "EXEC", "DISCARD", "WATCH a", "WATCH a b q", "UNWATCH", "WATCH", "MULTI x"];

const DATABASE: &[&str] =
    &["SELECT 0", "SELECT 1", "SELECT 2", "SELECT 99", "SELECT x", "SELECT", "SWAPDB 0 1", "MOVE a 1"];

/// They find something or give up soon. (A millisecond would be none in 6.2, and so for ever.)
const BLOCKING: &[&str] = &[
    "BLPOP q 0.002",
    "BRPOP none q 0.002",
    "BLMOVE q q LEFT RIGHT 0.002",
    "BRPOPLPUSH q r 0.002",
    "BZPOPMIN z 0.002",
    "BLPOP a 0.002",
    "BLPOP q x",
    "XREAD BLOCK 1 STREAMS none $",
];

/// Each UNSUBSCRIBE names its channel: of several the engine chooses the order.
const CHANNELS: &[&str] = &[
    "SUBSCRIBE ch1",
    "SUBSCRIBE ch1 ch2",
    "PSUBSCRIBE ch*",
    "UNSUBSCRIBE ch1",
    "UNSUBSCRIBE ch2",
    "UNSUBSCRIBE ch1 ch2",
    "PUNSUBSCRIBE ch*",
    "PUBLISH ch1 m",
    "PUBLISH ch2 n",
    "SUBSCRIBE",
    "UNSUBSCRIBE ch1 ch2",
    "PUNSUBSCRIBE ch*",
];

/// A HELLO that is refused has its case in `cases/greeting.resp`.
const CONNECTION: &[&str] = &[
    "RESET",
    "RESET",
    "HELLO 2",
    "HELLO 3",
    "HELLO",
    "HELLO 3 SETNAME three",
    "HELLO 2 SETNAME two",
    "HELLO 3 AUTH default any",
    "CLIENT TRACKING ON",
    "CLIENT TRACKING OFF",
    "CLIENT CACHING YES",
    "CLIENT TRACKING ON NOLOOP",
    "CLIENT NO-EVICT ON",
    "CLIENT REPLY ON",
];

/// Not inside MULTI, where Redis itself breaks the protocol.
const SILENCE: &[&str] = &["CLIENT REPLY SKIP", "CLIENT REPLY OFF", "CLIENT REPLY ON"];

/// Nothing at all, and what is one request in other clothes.
const FRAMES: &[&[u8]] =
    &[b"\r\n", b"*0\r\n", b"*-1\r\n", b"  PING  \r\n", b"ECHO \"a b\\r\\n\"\r\n", b"set a 'x y'\n", b"get a\r\n"];

/// Names that a client among others has to itself.
const OWN: &[&str] = &["a", "b", "c", "h", "q", "r", "s", "z", "none", "nobody", "ch1", "ch2", "ch*"];

/// What reaches beyond one's own keys.
const SHARED: &[&str] = &["FLUSHDB", "SWAPDB 0 1"];

/// The stream of this seed, of a client that may have names to itself that begin so.
pub fn stream(seed: u64, own: &str) -> Vec<Step> {
    let mut dice = Dice::new(seed);
    for _ in 0..8 {
        // The first throws of neighbouring seeds are alike.
        dice.below(2);
    }
    // A stream is mostly about one or two of them; each is about others.
    let kinds = [PLAIN, TRANSACTION, DATABASE, BLOCKING, CHANNELS, CONNECTION, SILENCE];
    let loved = [dice.below(7) as usize, dice.below(7) as usize];
    let mut steps = Vec::new();
    let (mut in_multi, mut skips) = (false, false);
    let (mut tracked, mut tracking_over) = (false, false);
    for _ in 0..5 + dice.below(45) {
        let kind = match dice.below(10) {
            0..4 => 0,
            4..8 => loved[dice.below(2) as usize],
            8 => dice.below(7) as usize,
            // What CLIENT REPLY SKIP does to an empty request has its case.
            _ if skips => 0,
            _ => {
                let frame = FRAMES[dice.below(FRAMES.len() as u64) as usize];
                if own.is_empty() || !frame.contains(&b' ') {
                    steps.push(step(What::Raw(frame.to_vec())));
                }
                continue;
            }
        };
        // What a client subscribes to inside MULTI goes through byte for byte from then on, as its case shows: what it asks
        // of the sidecar behind it is asked of the upstream.
        // Before 7.0 CLIENT REPLY silences messages too.
        let mixed = kind == 6 && engine().0 < 700;
        let list = if (kind == 4 || kind == 6) && in_multi || mixed { PLAIN } else { kinds[kind] };
        let line = list[dice.below(list.len() as u64) as usize];
        if !own.is_empty() && SHARED.contains(&line) {
            continue;
        }
        // Redis tells who turns tracking on again of what was read before; from the sidecar it has another connection then.
        tracking_over |= tracked && ["RESET", "CLIENT TRACKING OFF"].contains(&line);
        let tracks = line.starts_with("CLIENT TRACKING ON");
        tracked |= tracks;
        if tracks && tracking_over {
            continue;
        }
        if in_multi && line.starts_with("CLIENT REPLY") {
            continue;
        }
        match line {
            "MULTI" => in_multi = true,
            "EXEC" | "DISCARD" | "RESET" => in_multi = false,
            _ => {}
        }
        skips = line == "CLIENT REPLY SKIP";
        let inline = dice.below(8) == 0 && !line.contains('\'');
        let to_own = |word: &str| if OWN.contains(&word) { format!("{own}{word}") } else { word.to_owned() };
        let line = line.split(' ').map(to_own).collect::<Vec<_>>().join(" ");
        let what = if inline { What::Raw(format!("{line}\r\n").into_bytes()) } else { What::Words(words(&line)) };
        steps.push(step(what));
    }
    // Replies may be off, and QUIT alone would then have none to wait for.
    steps.push(step(What::Words(words("RESET"))));
    steps
}

fn step(what: What) -> Step {
    let text = what.bytes().escape_ascii().to_string();
    Step::Send(Send { conn: 'A', what, replies: super::case::Replies { count: 0, by: By::Bytes }, capture: None, text })
}

pub fn case(seed: u64, steps: Vec<Step>) -> Case {
    Case { name: format!("seed {seed}"), steps, protocols: vec![2, 3], ..Case::default() }
}

/// A shorter stream that still differs, as `differs` finds.
pub fn shrink(mut steps: Vec<Step>, mut differs: impl FnMut(&[Step]) -> bool) -> Vec<Step> {
    let mut size = steps.len() / 2;
    while size > 0 {
        let mut at = 0;
        while at + size < steps.len() {
            let mut shorter = steps.clone();
            shorter.drain(at..at + size);
            if differs(&shorter) {
                steps = shorter;
            } else {
                at += size;
            }
        }
        size /= 2;
    }
    steps
}
