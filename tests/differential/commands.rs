//! Every command of the upstream's own COMMAND, with too few arguments, as few as it takes, too many, and as it should be.

use std::collections::{BTreeMap, BTreeSet};

use super::super::common::{Reply, words};
use super::case::{By, Case, words_of};
use super::pair::Pair;

/// Not asked, and why. A name with a blank behind it is that command with whatever arguments.
const NOT_ASKED: &[(&str, &str)] = &[
    ("SHUTDOWN", "ends the upstream"),
    ("SYNC ", "replication is refused by design"),
    ("PSYNC ", "replication is refused by design"),
    ("REPLCONF ", "replication is refused by design"),
    ("MONITOR", "shows what the sidecar itself does; has a test of its own"),
    ("PFSELFTEST", "takes seconds of the engine and says OK"),
    ("COMMAND", "lists the inventory's commands too"),
    ("COMMAND COUNT", "counts the inventory's commands too"),
    ("COMMAND LIST", "lists the inventory's commands too"),
    ("COMMAND DOCS", "lists the inventory's commands too"),
    ("COMMAND INFO", "lists the inventory's commands too"),
    ("INFO", "has a section of the sidecar's"),
    ("CLIENT LIST", "without a filter shows the sidecar's connections, or its clients"),
    ("HOST:", "Redis closes and throws earlier replies away; a case of frame.resp"),
    ("POST", "Redis closes and throws earlier replies away; a case of frame.resp"),
    ("INFO s", "a section that does not exist, which the sidecar's may be"),
];

/// Replies that two equal servers do not have in common, whatever the arguments.
const BY_TYPES: &[(&str, &str)] = &[
    ("DBSIZE", "in database 0 it counts the inventory's keys too"),
    ("TIME", "the time"),
    ("LASTSAVE", "a time"),
    ("RANDOMKEY", "chance"),
    ("SPOP", "chance"),
    ("SRANDMEMBER", "chance"),
    ("HRANDFIELD", "chance"),
    ("ZRANDMEMBER", "chance"),
    ("VRANDMEMBER", "chance"),
    ("LOLWUT", "chance"),
    ("ACL GENPASS", "chance"),
    ("CLIENT ID", "a number of the server's own"),
    ("MEMORY STATS", "figures of the process"),
    ("MEMORY MALLOC-STATS", "figures of the process"),
    ("MEMORY DOCTOR", "judges the process"),
    ("MEMORY PURGE", "depends on the allocator"),
    ("LATENCY DOCTOR", "judges the process"),
    ("LATENCY HISTOGRAM", "figures of the process"),
    ("SLOWLOG GET", "figures of the process"),
    ("SLOWLOG LEN", "figures of the process"),
    ("ROLE", "the replication offset"),
];

/// Replies whose order a hash table decides.
const BY_ELEMENTS: &[&str] = &["KEYS", "SCAN", "ACL CAT", "COMMAND DOCS", "COMMAND INFO"];

/// Commands of which no call is valid here, and why.
const NEVER_VALID: &[(&str, &str)] = &[
    ("CLUSTER ", "no cluster"),
    ("ASKING", "no cluster"),
    ("READONLY", "no cluster"),
    ("READWRITE", "no cluster"),
    ("MODULE LOAD", "no module to load"),
    ("MODULE LOADEX", "no module to load"),
    ("MODULE UNLOAD", "no module to unload"),
    ("ACL LOAD", "no file of users"),
    ("ACL SAVE", "no file of users"),
    ("CONFIG REWRITE", "no file of settings"),
    ("SCRIPT KILL", "no script runs"),
    ("FUNCTION KILL", "no function runs"),
    ("FUNCTION RESTORE", "its payload is the engine's own"),
    ("SHUTDOWN", "what is valid ends the upstream; ABORT has nothing to abort"),
    ("FAILOVER", "no replica"),
    ("OBJECT FREQ", "no LFU"),
    ("MIGRATE", "no other server"),
    ("SCRIPT DEBUG", "refused by design"),
    ("WAITAOF", "no append-only file"),
    ("PFSELFTEST", "takes seconds of the engine"),
    ("SYNC", "not asked"),
    ("PSYNC", "not asked"),
    ("REPLCONF", "not asked"),
    ("MONITOR", "not asked"),
    ("INFO", "not asked"),
    ("CLIENT LIST", "not asked without a filter"),
    ("COMMAND", "not asked"),
    ("COMMAND COUNT", "not asked"),
    ("LATENCY GRAPH", "nothing was slow"),
    ("HOST:", "not asked"),
    ("POST", "not asked"),
    ("QUIT", "its reply is the last"),
];

/// Keys of each type, with nothing in them that depends on the time or on chance.
const KEYS: &str = "\
SET s value
SET n 5
SET f 1.5
SET e v EX 100000
EXPIREAT e 33177117420
RPUSH l a b c d
SADD set 1 2 3
SADD set2 2 3 4
HSET h f1 v1 f2 2
ZADD z 1 a 2 b 3 c
ZADD z2 2 b 9 d
XADD x 1-1 f v
XADD x 2-1 f v
XADD x 3-1 f v
XGROUP CREATE x g 0
XREADGROUP GROUP g c COUNT 1 STREAMS x >
GEOADD geo 13.361389 38.115556 Palermo 15.087269 37.502669 Catania
SETBIT bit 7 1
PFADD p a b c";

type Request = Vec<Vec<u8>>;

/// What is asked of one command.
pub struct Asked {
    /// Upper-case, a subcommand behind its command.
    pub name: String,
    /// The engine's COMMAND has it, and not only its subcommands.
    pub is_callable: bool,
    /// With whatever arguments, as many as it takes or not.
    pub blind: Case,
    /// As it should be; None where the table of valid calls has nothing.
    pub valid: Option<Case>,
}

/// A case for each command and subcommand that the engine has, and for those of the table that it has not.
pub fn cases(pair: &mut Pair, table: &str) -> Vec<Asked> {
    let known = commands(&pair.direct().control.call("COMMAND"));
    let mut valid = valid_calls(table, &known);
    let setup: Vec<_> = KEYS.lines().map(words).collect();
    let containers = containers(&known);
    let mut asked = Vec::new();
    for (name, arity) in known {
        let mut blind = Case::of_requests(&format!("{name}, blindly"), &blind_calls(&name, arity), by_of(&name));
        blind.setup.clone_from(&setup);
        let valid = valid.remove(&name).map(|calls| valid_case(&name, calls, &setup));
        let is_callable = !containers.contains(&name);
        asked.push(Asked { name, is_callable, blind, valid });
    }
    for (name, calls) in valid {
        let blind = Case::of_requests(&format!("{name}, blindly"), &[words(&name)], By::Bytes);
        let valid = Some(valid_case(&name, calls, &setup));
        asked.push(Asked { name, is_callable: false, blind, valid });
    }
    asked
}

fn valid_case(name: &str, calls: Vec<(By, Request)>, setup: &[Request]) -> Case {
    let mut whole = Case::of_requests(name, &[], By::Bytes);
    for (by, request) in calls {
        whole.steps.extend(Case::of_requests(name, &[request], by).steps);
    }
    whole.setup = setup.to_vec();
    whole
}

/// Is it known that no call of it is valid?
pub fn never_valid(name: &str) -> bool {
    is_listed(NEVER_VALID, name)
}

fn is_listed(list: &[(&str, &str)], name: &str) -> bool {
    list.iter().any(|(listed, _)| *listed == name || (listed.ends_with(' ') && format!("{name} ").starts_with(listed)))
}

fn by_of(name: &str) -> By {
    if BY_TYPES.iter().any(|(listed, _)| *listed == name) {
        By::Types
    } else if BY_ELEMENTS.contains(&name) {
        By::Elements
    } else {
        By::Bytes
    }
}

/// Names and arities; a subcommand is `COMMAND SUBCOMMAND`.
fn commands(table: &Reply) -> BTreeMap<String, i64> {
    let mut commands = BTreeMap::new();
    for command in table.items() {
        let fields = command.items();
        commands.insert(fields[0].text().to_uppercase(), fields[1].int());
        for subcommand in fields.get(9).map_or(&[][..], Reply::items) {
            let fields = subcommand.items();
            commands.insert(fields[0].text().to_uppercase().replace('|', " "), fields[1].int());
        }
    }
    commands
}

/// Commands that have subcommands.
fn containers(known: &BTreeMap<String, i64>) -> BTreeSet<String> {
    known.keys().filter_map(|name| name.split_once(' ')).map(|(container, _)| container.to_owned()).collect()
}

/// With no argument, one too few, as few as it takes, one too many; the arguments are a key that holds a string.
fn blind_calls(name: &str, arity: i64) -> Vec<Request> {
    let own = words(name).len();
    let least = usize::try_from(arity.unsigned_abs()).expect("an arity").saturating_sub(own);
    let mut counts = BTreeSet::from([0, least.saturating_sub(1), least]);
    if arity > 0 {
        counts.insert(least + 1);
    }
    counts
        .into_iter()
        .map(|count| format!("{name}{}", " s".repeat(count)))
        .filter(|line| !is_listed(NOT_ASKED, line))
        .map(|line| words(&line))
        .collect()
}

/// The table, by command.
fn valid_calls(table: &str, known: &BTreeMap<String, i64>) -> BTreeMap<String, Vec<(By, Request)>> {
    let mut calls: BTreeMap<String, Vec<_>> = BTreeMap::new();
    let mut name = String::new();
    let containers = containers(known);
    for line in table.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (by, text) = match line.trim_start().split_at(1) {
            ("?", text) => (By::Types, text),
            ("^", text) => (By::Elements, text),
            _ => (By::Bytes, line),
        };
        let request = words_of(text).unwrap_or_else(|| panic!("{line}"));
        if !line.starts_with(' ') {
            let word = |at: usize| request.get(at).map(|word| String::from_utf8_lossy(word).to_uppercase());
            let (first, second) = (word(0).expect("a name"), word(1).unwrap_or_default());
            let both = format!("{first} {second}");
            name = if known.contains_key(&both) || containers.contains(&first) { both } else { first };
        }
        let by = if by == By::Bytes { by_of(&name) } else { by };
        calls.entry(name.clone()).or_default().push((by, request));
    }
    calls
}
