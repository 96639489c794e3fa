//! What a tenant may ask for, whatever its pass-through: allowed and denied commands and categories, and its rights over the
//! inventory. Pure.
//!
//! A denied command can still be called by a script that the tenant may send: only the upstream's ACL user prevents that.

use crate::command::{Args, CommandFacts, CommandTable, NAME_BYTES_MAX, is_inventory, upper_case};
use crate::config::InventoryRights;
use crate::resp::ArgRange;

/// Always possible, as in Redis: who may not say them could not become somebody who may.
const ALWAYS: [&[u8]; 4] = [b"AUTH", b"HELLO", b"QUIT", b"RESET"];
/// Commands that only read the inventory.
const READS: [&[u8]; 5] = [b"INV.GET", b"INV.STOCK", b"INV.LIST", b"INV.ISPROTECTED", b"INV.HELP"];
/// Commands that change stock or its rules by decree, and not by a sale: not a seller's. PROTECT is among them, for it marks
/// a SKU for all; REAP, for it is the operator's tool (overdue stock comes back without it).
const DECREES: [&[u8]; 6] =
    [b"INV.SETSTOCK", b"INV.ADDSTOCK", b"INV.LIMIT", b"INV.REAP", b"INV.PROTECT", b"INV.UNPROTECT"];
/// Commands that sell.
const SALES: [&[u8]; 5] = [b"INV.RESERVE", b"INV.MRESERVE", b"INV.COMMIT", b"INV.ROLLBACK", b"INV.EXTEND"];
/// The longest `command|subcommand` that is looked at.
const FULL_BYTES_MAX: usize = NAME_BYTES_MAX * 2 + 1;

/// Names and categories, as the configuration lists them: `get`, `client|kill`, `@write`, `@all`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Rule {
    /// Upper case, in order.
    names: Box<[Box<[u8]>]>,
    /// Without `@`.
    categories: Box<[Box<str>]>,
}

/// A tenant's rights. Without lists nothing is allocated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights {
    inventory: InventoryRights,
    /// None: all is allowed.
    allow: Option<Rule>,
    deny: Rule,
}

impl Rights {
    /// Over the inventory.
    #[must_use]
    pub fn inventory(&self) -> InventoryRights {
        self.inventory
    }

    /// From the configuration. An empty `allow` allows all; `deny` goes first.
    #[must_use]
    pub fn new(inventory: InventoryRights, allow: &[String], deny: &[String]) -> Self {
        Self { inventory, allow: (!allow.is_empty()).then(|| Rule::new(allow)), deny: Rule::new(deny) }
    }

    /// Does a judgement by it depend on [`CommandTable::facts`]?
    #[must_use]
    pub fn need_facts(&self) -> bool {
        self.rules().any(|rule| !rule.categories.is_empty())
    }

    /// May the tenant send this request?
    ///
    /// # Errors
    /// The error's line, `-NOPERM …\r\n`.
    pub fn may(&self, args: &Args<'_>, table: &CommandTable) -> Result<(), String> {
        if *self == Self::default() {
            return Ok(());
        }
        let name = args.get(0).unwrap_or_default();
        let mut upper = [0; FULL_BYTES_MAX];
        let (full, command_len) = full_name(args, &mut upper);
        let command = &full[..command_len];
        if ALWAYS.contains(&command) {
            return Ok(());
        }
        if is_inventory(name) && !self.may_inventory(command, args) {
            let rights = if self.inventory == InventoryRights::Read { "read" } else { "sell" };
            return Err(format!(
                "-NOPERM this tenant may not run '{}': its inventory rights are \"{rights}\"\r\n",
                shown(command)
            ));
        }
        let categories = table.facts().map_or((0, None), |facts| (categories(facts, full, command), Some(facts)));
        let allowed = self.allow.as_ref().is_none_or(|rule| rule.has(full, command, categories));
        if allowed && !self.deny.has(full, command, categories) {
            return Ok(());
        }
        // The second word is a subcommand where somebody knows it as one.
        let known = |facts: &CommandFacts| facts.find(full).is_some();
        let listed = self.rules().any(|rule| rule.names.iter().any(|name| **name == *full));
        let name = if listed || table.facts().is_some_and(known) { full } else { command };
        Err(format!("-NOPERM this tenant may not run '{}'\r\n", shown(name)))
    }

    /// May the tenant send the command of this upper-case name, which is none of the inventory's and has no subcommands,
    /// whatever its arguments?
    #[must_use]
    pub fn may_always(&self, upper: &[u8], table: &CommandTable) -> bool {
        let range = [ArgRange { start: 0, end: upper.len() }];
        let is_of_it = |name: &[u8]| name.strip_prefix(upper).is_some_and(|rest| rest.first() == Some(&b'|'));
        let is_looked_into = self.rules().any(|rule| rule.names.iter().any(|name| is_of_it(name)));
        !is_looked_into
            && (!self.need_facts() || table.facts().is_some())
            && self.may(&Args::new(upper, &range), table).is_ok()
    }

    fn may_inventory(&self, command: &[u8], args: &Args<'_>) -> bool {
        let repairs = || args.from(2).any(|arg| arg.eq_ignore_ascii_case(b"REPAIR"));
        let reads = || match command {
            b"INV.CHECK" => !repairs(),
            b"INV.EVENTS" => args.is(1, "PENDING"),
            _ => READS.contains(&command),
        };
        match self.inventory {
            InventoryRights::All => true,
            InventoryRights::Read => reads(),
            // Not a list of what is not allowed alone: a command that is added later is for those who have all rights.
            InventoryRights::Sell => {
                let events = command == b"INV.EVENTS";
                !DECREES.contains(&command) && (reads() || events || SALES.contains(&command))
            }
        }
    }

    /// What the lists name and this upstream does not know, nor the sidecar: to be warned of, for a misspelt denial denies
    /// nothing.
    #[must_use]
    pub fn unknown(&self, table: &CommandTable) -> Vec<String> {
        let facts = table.facts();
        let mut unknown = Vec::new();
        for rule in self.rules() {
            for category in &rule.categories {
                let known = &**category == "all" || facts.is_none_or(|facts| facts.category(category).is_some());
                if !known {
                    unknown.push(format!("@{category}"));
                }
            }
            for name in &rule.names {
                let command = name.split(|&byte| byte == b'|').next().unwrap_or_default();
                let is_full = command.len() < name.len();
                let known = match facts {
                    _ if is_inventory(name) => is_inventory_command(name),
                    // Before 7.0 COMMAND has no subcommands: the command alone can be known.
                    Some(facts) if is_full && table.has_subcommands(&command.to_ascii_lowercase()) => {
                        facts.find(name).is_some()
                    }
                    _ => table.is_empty() || table.knows(command),
                };
                if !known {
                    unknown.push(String::from_utf8_lossy(name).to_ascii_lowercase());
                }
            }
        }
        unknown
    }

    fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.allow.iter().chain([&self.deny])
    }
}

fn is_inventory_command(upper: &[u8]) -> bool {
    [&READS[..], &DECREES, &SALES, &[b"INV.CHECK", b"INV.EVENTS"]].concat().contains(&upper)
}

impl Rule {
    fn new(words: &[String]) -> Self {
        let categories = words.iter().filter_map(|word| word.strip_prefix('@'));
        let mut names: Vec<Box<[u8]>> = words
            .iter()
            .filter(|word| !word.starts_with('@'))
            .map(|word| word.to_ascii_uppercase().into_bytes().into_boxed_slice())
            .collect();
        names.sort_unstable();
        names.dedup();
        Self { names: names.into(), categories: categories.map(|name| name.to_ascii_lowercase().into()).collect() }
    }

    fn has(&self, full: &[u8], command: &[u8], (categories, facts): (u64, Option<&CommandFacts>)) -> bool {
        let named = |name: &[u8]| self.names.binary_search_by(|known| (**known).cmp(name)).is_ok();
        let in_category = |category: &str| {
            category == "all"
                || facts.and_then(|facts| facts.category(category)).is_some_and(|bit| categories & bit != 0)
        };
        named(command) || named(full) || self.categories.iter().any(|category| in_category(category))
    }
}

/// `COMMAND|SUBCOMMAND` in upper case, and how long the command is. The second word is not a subcommand of every command, and
/// does no harm there: no list names it.
fn full_name<'u>(args: &Args<'_>, buffer: &'u mut [u8; FULL_BYTES_MAX]) -> (&'u [u8], usize) {
    let (head, tail) = buffer.split_at_mut(NAME_BYTES_MAX);
    let head: &mut [u8; NAME_BYTES_MAX] = head.try_into().expect("it was split there");
    let name = args.get(0).unwrap_or_default();
    let Some(len) = upper_case(name, head).map(<[u8]>::len) else { return (&[], 0) };
    let mut end = len;
    let mut sub = [0; NAME_BYTES_MAX];
    if let Some(sub) = args.get(1).and_then(|word| upper_case(word, &mut sub))
        && tail.len() > sub.len()
    {
        end = len + 1 + sub.len();
        buffer[len] = b'|';
        buffer[len + 1..end].copy_from_slice(sub);
    }
    (&buffer[..end], len)
}

/// The subcommand's own categories, where it has any: its command's are those of its least.
fn categories(facts: &CommandFacts, full: &[u8], command: &[u8]) -> u64 {
    if is_inventory(command) {
        return inventory_categories(command).filter_map(|name| facts.category(name)).fold(0, |all, bit| all | bit);
    }
    facts.find(full).or_else(|| facts.find(command)).map_or(0, |fact| fact.categories)
}

/// Those that COMMAND says of them, for a rule that names `@write` means these too. INV.CHECK may repair, so it is one that writes.
fn inventory_categories(command: &[u8]) -> impl Iterator<Item = &'static str> {
    let effect = match command {
        b"INV.HELP" => None,
        _ if READS.contains(&command) => Some("read"),
        _ => Some("write"),
    };
    let pace = if matches!(command, b"INV.HELP" | b"INV.REAP") { "slow" } else { "fast" };
    effect.into_iter().chain([pace])
}

/// As Redis names it, printable.
fn shown(upper: &[u8]) -> String {
    let text = String::from_utf8_lossy(upper).to_ascii_lowercase();
    text.chars().take(NAME_BYTES_MAX).map(|char| if char.is_control() { ' ' } else { char }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::commands::COMMANDS;
    use crate::resp::ArgRange;

    fn table() -> CommandTable {
        let mut facts = CommandFacts::default();
        facts.add("get", (1, 1, 1), false, ["@read", "@string"]);
        facts.add("set", (1, 1, 1), false, ["@write", "@string"]);
        facts.add("config", (0, 0, 0), false, ["@slow"]);
        facts.add("config|set", (0, 0, 0), false, ["@admin", "@slow", "@dangerous"]);
        facts.add("config|get", (0, 0, 0), false, ["@admin", "@slow"]);
        facts.add("json.set", (1, 1, 1), false, ["@json"]);
        let names = ["get", "set", "config", "json.set", "client", "auth"];
        let mut table = CommandTable::from_flags(names.iter().map(|name| ((*name).to_owned(), vec![])).collect());
        table.add_container(b"config");
        table.with_facts(facts)
    }

    fn may(rights: &Rights, line: &str) -> bool {
        let mut ranges = Vec::new();
        let mut at = 0;
        for word in line.split(' ') {
            ranges.push(ArgRange { start: at, end: at + word.len() });
            at += word.len() + 1;
        }
        rights.may(&Args::new(line.as_bytes(), &ranges), &table()).is_ok()
    }

    fn rights(allow: &str, deny: &str) -> Rights {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        Rights::new(InventoryRights::All, &words(allow), &words(deny))
    }

    #[test]
    fn a_denial_beats_an_allowance() {
        for (allow, deny, allowed, refused) in [
            ("", "", "GET k;SET k v;NOSUCH", ""),
            ("get", "", "get k;GET", "SET k v;NOSUCH;CONFIG GET x"),
            ("", "Set", "GET k;SET|X", "set k v"),
            ("@string", "set", "GET k", "SET k v;CONFIG GET x"),
            ("@all", "@dangerous", "GET k;CONFIG GET x", "CONFIG SET a b;config set a b"),
            ("", "config|set", "CONFIG GET x;CONFIG", "CONFIG SET a b;CONFIG set"),
            ("config|get", "", "CONFIG GET x", "CONFIG SET a b;CONFIG;GET config|get"),
            ("@read config", "@admin", "GET k;CONFIG HELP", "CONFIG GET x;SET k v"),
            ("@json", "", "JSON.SET k", "GET k"),
            ("get", "auth hello", "AUTH p;HELLO 3;RESET;QUIT", "PING"),
            ("inv.get", "", "INV.GET x", "INV.COMMIT x"),
            ("", "@write", "GET k;INV.GET x;INV.HELP", "SET k v;INV.SETSTOCK s 1;inv.reserve s 1;INV.CHECK s REPAIR"),
            ("@read", "", "GET k;INV.STOCK s", "INV.COMMIT x;INV.HELP"),
            ("@nosuch", "", "", "GET k"),
            ("get", "@all", "AUTH p", "GET k"),
        ] {
            let rights = rights(allow, deny);
            for line in allowed.split(';').filter(|line| !line.is_empty()) {
                assert!(may(&rights, line), "allow {allow:?} deny {deny:?}: {line}");
            }
            for line in refused.split(';').filter(|line| !line.is_empty()) {
                assert!(!may(&rights, line), "allow {allow:?} deny {deny:?}: {line}");
            }
        }
    }

    #[test]
    fn what_may_be_sent_whatever_its_arguments_is_what_no_rule_looks_into() {
        let table = table();
        for (allow, deny, get, set) in [
            ("", "", true, true),
            ("", "set", true, false),
            ("get", "", true, false),
            ("get", "get|k", false, false),
            ("get|k set", "", false, true),
            ("@string", "set", true, false),
            ("", "@string", false, false),
            ("", "getex|k", true, true),
        ] {
            let rights = rights(allow, deny);
            assert_eq!(rights.may_always(b"GET", &table), get, "allow {allow:?} deny {deny:?}");
            assert_eq!(rights.may_always(b"SET", &table), set, "allow {allow:?} deny {deny:?}");
            // Of categories nobody has told yet.
            assert_eq!(rights.may_always(b"GET", &CommandTable::new()), get && !rights.need_facts());
        }
    }

    #[test]
    fn sellers_do_not_decree_and_readers_do_not_sell() {
        let of = |inventory| Rights::new(inventory, &[], &[]);
        for (line, sell, read) in [
            ("INV.SETSTOCK s 1", false, false),
            ("inv.addstock s 1", false, false),
            ("INV.LIMIT s 1", false, false),
            ("INV.REAP", false, false),
            ("INV.PROTECT s", false, false),
            ("INV.UNPROTECT s", false, false),
            ("INV.CHECK ALL REPAIR", false, false),
            ("INV.CHECK s repair", false, false),
            ("INV.CHECK REPAIR", true, true),
            ("INV.RESERVE s 1", true, false),
            ("INV.MRESERVE ITEMS 1 s 1", true, false),
            ("INV.COMMIT i", true, false),
            ("INV.ROLLBACK i", true, false),
            ("INV.EXTEND i EX 1", true, false),
            ("INV.EVENTS READ g", true, false),
            ("INV.EVENTS PENDING g", true, true),
            ("INV.GET i", true, true),
            ("INV.STOCK s", true, true),
            ("INV.LIST s", true, true),
            ("INV.ISPROTECTED s", true, true),
            ("INV.HELP", true, true),
            ("INV.NOSUCH", false, false),
            ("GET k", true, true),
        ] {
            assert!(may(&of(InventoryRights::All), line), "{line}");
            assert_eq!(may(&of(InventoryRights::Sell), line), sell, "{line}");
            assert_eq!(may(&of(InventoryRights::Read), line), read, "{line}");
        }
    }

    #[test]
    fn every_inventory_command_is_placed() {
        for command in COMMANDS {
            assert!(is_inventory_command(command.name.as_bytes()), "{} is in no list of rights", command.name);
        }
    }

    #[test]
    fn an_inventory_commands_categories_are_those_that_command_says() {
        for command in COMMANDS {
            let here: Vec<_> = inventory_categories(command.name.as_bytes()).map(|name| format!("@{name}")).collect();
            assert_eq!(here, command.categories(), "{}", command.name);
        }
    }

    #[test]
    fn what_nobody_knows_is_told() {
        let rights = rights("@string @nosuch get gte config|get config|gte", "inv.get inv.gte @all @json client|x");
        assert_eq!(rights.unknown(&table()), ["@nosuch", "config|gte", "gte", "inv.gte"]);
        assert!(rights.need_facts());
    }

    #[test]
    fn a_thousand_tenants_rights_are_small() {
        let lists: Vec<String> = (0..100).map(|number| format!("client|subcommand{number}")).collect();
        let rights = Rights::new(InventoryRights::Sell, &lists, &lists);
        let heap = |rule: &Rule| rule.names.iter().map(|name| name.len() + 16).sum::<usize>();
        let bytes = size_of::<Rights>() + rights.rules().map(heap).sum::<usize>();
        assert!(bytes < 20_000 && size_of::<Rights>() <= 80, "{bytes} {}", size_of::<Rights>());
    }
}
