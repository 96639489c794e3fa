//! The upstream's MONITOR: which keys and channels the sidecar's commands named.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use super::super::common::{Conn, Redis, Reply, SOON, until};

/// Never sent upstream for a tenant, whatever it asks.
const FORBIDDEN: &[&str] = &[
    "FLUSHALL",
    "FLUSHDB",
    "SWAPDB",
    "MOVE",
    "SHUTDOWN",
    "REPLICAOF",
    "SLAVEOF",
    "MONITOR",
    "MIGRATE",
    "DEBUG",
    "FUNCTION",
    "FCALL",
    "FCALL_RO",
    "SYNC",
    "PSYNC",
    "REPLCONF",
    "SLOWLOG",
    "LATENCY",
    "MODULE",
    "FAILOVER",
    "SAVE",
    "BGSAVE",
    "BGREWRITEAOF",
    "RANDOMKEY",
    "DBSIZE",
    "LASTSAVE",
    "RESTORE-ASKING",
    "PFDEBUG",
    "PFSELFTEST",
    "EVAL",
    "EVAL_RO",
    "CONFIG",
];

/// Their arguments are channels, but for what stands behind so many.
const CHANNELS: &[(&str, usize)] = &[
    ("SUBSCRIBE", usize::MAX),
    ("UNSUBSCRIBE", usize::MAX),
    ("PSUBSCRIBE", usize::MAX),
    ("PUNSUBSCRIBE", usize::MAX),
    ("SSUBSCRIBE", usize::MAX),
    ("SUNSUBSCRIBE", usize::MAX),
    ("PUBLISH", 1),
    ("SPUBLISH", 1),
];

pub struct Witness {
    lines: Arc<Mutex<Vec<Vec<u8>>>>,
    /// The address of the connection past the sidecar.
    direct: Vec<u8>,
    asked: u64,
}

impl Witness {
    pub fn start(redis: &Redis, direct: &mut Conn) -> Self {
        let info = direct.call("CLIENT INFO").text();
        let addr = info.split(' ').find_map(|field| field.strip_prefix("addr=")).expect("an address");
        let mut stream = TcpStream::connect(redis.addr()).expect("a connection");
        stream.write_all(b"MONITOR\r\n").expect("MONITOR");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&lines);
        std::thread::spawn(move || {
            let reader = BufReader::new(stream);
            for line in reader.split(b'\n').map_while(Result::ok) {
                sink.lock().expect("lines").push(line);
            }
        });
        let mut witness = Self { lines, direct: addr.as_bytes().to_vec(), asked: 0 };
        until("MONITOR has begun", SOON, || {
            direct.call("ECHO begin");
            witness.lines.lock().expect("lines").iter().any(|line| line.ends_with(b"\"begin\"\r")).then_some(())
        });
        witness.seen(direct);
        witness
    }

    /// What was executed since the last time, but for what came past the sidecar.
    fn seen(&mut self, direct: &mut Conn) -> Vec<Vec<Vec<u8>>> {
        self.asked += 1;
        let end = format!("that-was-{}", self.asked);
        direct.call(&format!("ECHO {end}"));
        let end = format!("\"{end}\"\r");
        let lines = until("MONITOR shows all", SOON, || {
            let mut lines = self.lines.lock().expect("lines");
            let at = lines.iter().position(|line| line.ends_with(end.as_bytes()))?;
            // The sidecar goes on with what it does in its own time.
            let behind = lines.split_off(at + 1);
            Some(std::mem::replace(&mut *lines, behind))
        });
        let theirs = |line: &&Vec<u8>| memchr::memmem::find(&line[..line.len().min(80)], &self.direct).is_none();
        lines.iter().filter(theirs).filter_map(|line| words_of(line)).collect()
    }

    /// Each command that named what is not acme's. The rival's inventory is looked at by the sidecar itself, in its own time.
    pub fn violations(&mut self, direct: &mut Conn) -> Vec<String> {
        let seen: HashSet<Vec<Vec<u8>>> = self.seen(direct).into_iter().collect();
        let seen: Vec<Vec<Vec<u8>>> = seen.into_iter().collect();
        let mut wrong: Vec<String> = seen.iter().filter(|words| !is_allowed(words)).map(|words| show(words)).collect();
        let questions: Vec<Vec<Vec<u8>>> =
            seen.iter().map(|words| [vec![b"COMMAND".to_vec(), b"GETKEYS".to_vec()], words.clone()].concat()).collect();
        for part in questions.chunks(500) {
            for (question, keys) in part.iter().zip(direct.pipeline(part)) {
                // 6.2 finds one in whatever stands behind OBJECT HELP, which is an error.
                if question.get(3).is_some_and(|word| word.eq_ignore_ascii_case(b"HELP")) {
                    continue;
                }
                // An error: it has none.
                let Reply::Array(keys) = keys else { continue };
                let foreign = keys.iter().find(|key| !matches!(key, Reply::Bulk(key) if is_own(key)));
                // GETKEYS looks for the word from the left, and finds a COUNT that is none: the command itself is an error.
                if foreign == Some(&Reply::bulk("STREAMS"))
                    && question[2].starts_with(b"XREAD")
                    && is_refused(&question[2..])
                {
                    continue;
                }
                if let Some(foreign) = foreign {
                    wrong.push(format!("{foreign:?} in {}", show(&question[2..])));
                }
            }
        }
        wrong
    }
}

/// XREAD and XREADGROUP with a COUNT or BLOCK that is no number.
fn is_refused(words: &[Vec<u8>]) -> bool {
    words.windows(2).any(|pair| {
        (pair[0].eq_ignore_ascii_case(b"COUNT") || pair[0].eq_ignore_ascii_case(b"BLOCK"))
            && pair[1].eq_ignore_ascii_case(b"STREAMS")
    })
}

fn show(words: &[Vec<u8>]) -> String {
    words.iter().map(|word| word.escape_ascii().to_string()).collect::<Vec<_>>().join(" ").chars().take(300).collect()
}

/// Keys named `busy-` are what others do meanwhile: no attacker says that name. The inventories of others are looked at by the
/// sidecar itself, in its own time.
fn is_own(key: &[u8]) -> bool {
    let others = [b"rival:busy-".as_slice(), b"acme2:busy-", b"inv1:{rival/", b"inv1:{acme2/"];
    key.starts_with(b"acme:") || key.starts_with(b"inv1:{acme/") || others.iter().any(|begin| key.starts_with(begin))
}

fn is_allowed(words: &[Vec<u8>]) -> bool {
    let name = String::from_utf8_lossy(&words[0]).to_uppercase();
    // Nobody listens: the sidecar makes the upstream write something, so that WAIT means what came before.
    if words == [b"SPUBLISH".as_slice(), b"inventory-sentinel", b""] {
        return true;
    }
    // The inventory's own script: whole where it is part of a transaction; 6.2 knows no `#!lua`.
    if name == "EVAL"
        && let Some(script) = words.get(1)
        && script.strip_prefix(b"#!lua\n").unwrap_or(script).starts_with(b"-- One call decides one batch")
    {
        return true;
    }
    if let Some((_, count)) = CHANNELS.iter().find(|(listed, _)| *listed == name) {
        return words[1..].iter().take(*count).all(|channel| is_own_channel(channel));
    }
    let second = words.get(1).map(|word| String::from_utf8_lossy(word).to_uppercase()).unwrap_or_default();
    match name.as_str() {
        "KEYS" => words.get(1).is_none_or(|pattern| pattern.starts_with(b"acme:")),
        "SCAN" => words.windows(2).any(|pair| pair[0].eq_ignore_ascii_case(b"MATCH") && pair[1].starts_with(b"acme:")),
        "PUBSUB" => match second.as_str() {
            "CHANNELS" | "SHARDCHANNELS" => words.get(2).is_some_and(|pattern| pattern.starts_with(b"acme:")),
            "NUMSUB" | "SHARDNUMSUB" => words[2..].iter().all(|channel| is_own_channel(channel)),
            other => other == "HELP",
        },
        "ACL" => matches!(second.as_str(), "CAT" | "HELP"),
        "SCRIPT" => !matches!(second.as_str(), "FLUSH" | "KILL" | "DEBUG"),
        // What is no number the upstream refuses in its own words.
        "SELECT" => second == "0" || second.parse::<i64>().map(|db| db.to_string()) != Ok(second.clone()),
        "CLUSTER" => second == "KEYSLOT" && words.get(2).is_some_and(|key| key.starts_with(b"acme:")),
        "CLIENT" => !matches!(second.as_str(), "PAUSE" | "NO-EVICT"),
        name => !FORBIDDEN.contains(&name),
    }
}

fn is_own_channel(channel: &[u8]) -> bool {
    let all = [b"acme:".as_slice(), b"__keyspace@0__:acme:", b"__keyevent@0__:", b"__redis__:invalidate"];
    all.iter().any(|begin| channel.starts_with(begin))
}

/// The words of a line of MONITOR's: `+time [db address] "word" …`.
fn words_of(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut rest = &line[memchr::memmem::find(line, b"] ")? + 2..];
    let mut words = Vec::new();
    while let Some(quoted) = rest.strip_prefix(b"\"") {
        let (mut word, mut at) = (Vec::new(), 0);
        while *quoted.get(at)? != b'"' {
            let (byte, used) = match quoted[at..] {
                [b'\\', b'x', a, b, ..] => (u8::from_str_radix(std::str::from_utf8(&[a, b]).ok()?, 16).ok()?, 4),
                [b'\\', escaped, ..] => {
                    let byte = match escaped {
                        b'n' => b'\n',
                        b'r' => b'\r',
                        b't' => b'\t',
                        b'a' => 7,
                        b'b' => 8,
                        other => other,
                    };
                    (byte, 2)
                }
                [byte, ..] => (byte, 1),
                [] => return None,
            };
            word.push(byte);
            at += used;
        }
        words.push(word);
        rest = quoted[at + 1..].trim_ascii_start();
    }
    (!words.is_empty()).then_some(words)
}

#[test]
fn a_line_of_monitor_is_read_back() {
    let line = b"+1.2 [0 lua] \"get\" \"a\\\"\\r\\n\\x00 b\"\r";
    assert_eq!(words_of(line), Some(vec![b"get".to_vec(), b"a\"\r\n\0 b".to_vec()]));
}
