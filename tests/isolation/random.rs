//! Requests by chance, out of the words of each command's own grammar and the other tenant's names; MONITOR is the witness.

use super::super::common::{Dice, Reply, words};
use super::client::{Request, text};
use super::world::{MARK, World};

/// What stands for an argument of a type, hostile and not.
const NAMES: &[&str] = &[
    "s",
    "l",
    "set",
    "h",
    "z",
    "x",
    "geo",
    "rival:s",
    "rival:l",
    "rival:set",
    "rival:h",
    "rival:z",
    "rival:x",
    "rival:geo",
    "acme:s",
    "rival:*",
    "*",
    "",
    "{rival:s}",
    "inv1:{rival/0}:stock",
    "__keyevent@0__:set",
    "__keyspace@0__:rival:s",
    "2:s",
];
const NUMBERS: &[&str] =
    &["0", "1", "2", "3", "-1", "+1", "01", "1.5", "9223372036854775807", "9223372036854775808", ""];
const OTHERS: &[&str] = &[
    "v", "f1", "a", "1-1", "$", ">", "-", "+", "(1", "[b", "g", "c", "nosort", "#", "km", "LEFT", "MIN", "rival:s",
    "STREAMS", "STORE", "GET", "BY", "KEYS", "DB",
];

/// They wait, or what comes back is no longer one reply a request.
const NOT_ALONE: &[&str] = &["client", "multi", "quit", "wait", "waitaof", "monitor", "sync", "psync"];

struct Grammar {
    name: String,
    arguments: Vec<Reply>,
}

/// Every command's, out of COMMAND DOCS.
fn grammars(world: &mut World) -> Vec<Grammar> {
    let docs = world.direct.call("COMMAND DOCS");
    // Before 7.0 there is none.
    if matches!(docs, Reply::Error(_)) {
        return Vec::new();
    }
    let mut all = Vec::new();
    let mut open: Vec<(String, Reply)> = pairs(&docs).into_iter().map(|(name, doc)| (name.text(), doc)).collect();
    while let Some((name, doc)) = open.pop() {
        let fields = pairs(&doc);
        let field =
            |wanted: &str| fields.iter().find(|(name, _)| name.text() == wanted).map(|(_, value)| value.clone());
        if let Some(subcommands) = field("subcommands") {
            open.extend(pairs(&subcommands).into_iter().map(|(name, doc)| (name.text(), doc)));
        }
        let arguments = field("arguments").map_or(Vec::new(), |arguments| arguments.items().to_vec());
        all.push(Grammar { name: name.replace('|', " "), arguments });
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

fn pairs(reply: &Reply) -> Vec<(Reply, Reply)> {
    match reply {
        Reply::Map(pairs) => pairs.clone(),
        Reply::Array(flat) => flat.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect(),
        other => panic!("{other:?}"),
    }
}

fn pick<'w>(dice: &mut Dice, words: &[&'w str]) -> &'w str {
    words[dice.below(words.len() as u64) as usize]
}

/// Some words for an argument of the grammar; now and then another's, or none.
fn say(argument: &Reply, dice: &mut Dice, depth: usize, out: &mut Vec<Vec<u8>>) {
    let fields = pairs(argument);
    let field = |wanted: &str| fields.iter().find(|(name, _)| name.text() == wanted).map(|(_, value)| value.clone());
    let flags: Vec<String> = field("flags").map_or(Vec::new(), |flags| flags.items().iter().map(Reply::text).collect());
    let has = |flag: &str| flags.iter().any(|other| other == flag);
    if has("optional") && dice.below(3) == 0 {
        return;
    }
    let times = if has("multiple") { 1 + dice.below(3) } else { 1 };
    for time in 0..times {
        if let Some(token) = field("token").filter(|_| time == 0 || has("multiple_token")) {
            out.push(token.text().into_bytes());
        }
        let inner = field("arguments").map_or(Vec::new(), |inner| inner.items().to_vec());
        match field("type").expect("a type").text().as_str() {
            "pure-token" => {}
            "oneof" if depth < 6 => say(&inner[dice.below(inner.len() as u64) as usize], dice, depth + 1, out),
            "block" if depth < 6 => inner.iter().for_each(|inner| say(inner, dice, depth + 1, out)),
            "key" | "pattern" => out.push(pick(dice, NAMES).as_bytes().to_vec()),
            "integer" | "double" | "unix-time" => out.push(pick(dice, NUMBERS).as_bytes().to_vec()),
            _ => {
                let words = if dice.below(3) == 0 { NAMES } else { OTHERS };
                out.push(pick(dice, words).as_bytes().to_vec());
            }
        }
    }
}

fn request(grammar: &Grammar, dice: &mut Dice) -> Request {
    let mut request = words(&grammar.name);
    let own = request.len();
    for argument in &grammar.arguments {
        say(argument, dice, 0, &mut request);
    }
    // A word too many, too few, twice, or in another's place.
    for _ in 0..dice.below(3) {
        let at = own + dice.below((request.len() - own + 1) as u64) as usize;
        let words = if dice.below(2) == 0 { NAMES } else { OTHERS };
        let word = pick(dice, words).as_bytes().to_vec();
        match dice.below(4) {
            0 => request.insert(at, word),
            1 if at < request.len() => drop(request.remove(at)),
            2 if at < request.len() => request[at] = word,
            3 if at < request.len() => request.insert(at, request[at].clone()),
            _ => {}
        }
    }
    request
}

#[test]
fn nothing_said_by_chance_reaches_another_tenant() {
    let number = |name: &str, usual: u64| std::env::var(name).map_or(usual, |text| text.parse().expect("a number"));
    let (rounds, first) = (number("ISOLATION_ROUNDS", 20), number("ISOLATION_SEED", 1));
    let mut world = World::new();
    let grammars = grammars(&mut world);
    assert!(grammars.is_empty() || grammars.len() > 300, "{} grammars", grammars.len());
    world.plant_own();
    let before = world.others();
    for seed in first..first + rounds {
        let mut dice = Dice::new(seed);
        let mut acme = world.acme(if seed % 2 == 0 { 2 } else { 3 });
        world.plant_own();
        for grammar in &grammars {
            let request = request(grammar, &mut dice);
            let name = grammar.name.split(' ').next().expect("a name");
            let waits = name.starts_with('b') || name.starts_with("xread") || NOT_ALONE.contains(&name);
            // A wrong password is answered late, and has attacks of its own.
            if matches!(name, "auth" | "hello") {
                continue;
            }
            // Among subscriptions a message may come in the middle of EXEC's reply.
            let subscribes = name.contains("subscribe");
            let requests = match dice.below(2) {
                0 if !waits => vec![request],
                _ if subscribes || name == "client" || name == "wait" => continue,
                _ => vec![words("MULTI"), request, words("EXEC"), words("DISCARD")],
            };
            let seen = acme.all_of(&requests);
            let said: Vec<String> = requests.iter().map(text).collect();
            let said = said.join("; ");
            assert!(
                memchr::memmem::find(&seen, MARK.as_bytes()).is_none(),
                "ISOLATION_SEED={seed}: {said} tells {}",
                seen.escape_ascii()
            );
            if std::env::var_os("ISOLATION_EACH").is_some() {
                world.assert_untouched(&before, &said);
            }
            if subscribes {
                acme.renew();
            }
        }
        world.assert_untouched(&before, &format!("ISOLATION_SEED={seed}"));
    }
}
