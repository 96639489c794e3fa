//! What COMMAND and its subcommands say of the inventory's commands, in the form of the upstream's own answers. Pure: it
//! writes values, and never sees a connection.
//!
//! Where RESP3 has a set and where an array is as Redis 6.2 to 8.2 and Valkey 8.1 answer.

use super::commands::{COMMANDS, Command, Keys, Which, find};
use super::syntax::{self, Argument, Kind};
use crate::command::glob;
use crate::resp::{Proto, write};
use bytes::BytesMut;

/// The group of COMMAND DOCS.
const GROUP: &str = "inventory";

impl Command {
    /// As the upstream writes the names of its own.
    #[must_use]
    pub fn lower_name(&self) -> String {
        self.name.to_ascii_lowercase()
    }

    /// Its ACL categories, which follow from its flags as Redis's own do.
    #[must_use]
    pub fn categories(&self) -> Vec<&'static str> {
        let mut categories = Vec::new();
        for (flag, category) in [("write", "@write"), ("readonly", "@read")] {
            if self.flags.contains(&flag) {
                categories.push(category);
            }
        }
        categories.push(if self.flags.contains(&"fast") { "@fast" } else { "@slow" });
        categories
    }
}

/// An entry of COMMAND, of so many fields as the upstream's own have: 7 before Redis 7.0, 10 since.
pub fn write_entry(out: &mut BytesMut, command: &Command, fields: usize, proto: Proto) {
    write::array_header(out, fields);
    for field in 0..fields {
        let (first, last) = match &command.keys {
            None => (0, 0),
            Some(Keys { which: Which::First, .. }) => (1, 1),
            Some(Keys { which: Which::All, .. }) => (1, -1),
        };
        match field {
            0 => write::bulk(out, command.lower_name().as_bytes()),
            1 => write::integer(out, command.arity.into()),
            2 => write_statuses(out, command.flags, proto),
            3 => write::integer(out, first),
            4 => write::integer(out, last),
            5 => write::integer(out, first),
            6 => write_statuses(out, &command.categories(), proto),
            8 => match &command.keys {
                None => write::set_header(out, proto, 0),
                Some(keys) => {
                    write::set_header(out, proto, 1);
                    write_key_spec(out, keys, proto);
                }
            },
            // Tips, subcommands, and what an engine may add.
            _ => write::set_header(out, proto, 0),
        }
    }
}

fn write_statuses(out: &mut BytesMut, words: &[&str], proto: Proto) {
    write::set_header(out, proto, words.len());
    words.iter().for_each(|word| write::simple(out, word));
}

fn write_key_spec(out: &mut BytesMut, keys: &Keys, proto: Proto) {
    let text = |out: &mut BytesMut, text: &str| write::bulk(out, text.as_bytes());
    write::map_header(out, proto, 3);
    text(out, "flags");
    write_statuses(out, keys.flags, proto);
    text(out, "begin_search");
    write::map_header(out, proto, 2);
    text(out, "type");
    text(out, "index");
    text(out, "spec");
    write::map_header(out, proto, 1);
    text(out, "index");
    write::integer(out, 1);
    text(out, "find_keys");
    write::map_header(out, proto, 2);
    text(out, "type");
    text(out, "range");
    text(out, "spec");
    write::map_header(out, proto, 3);
    // Counted from the first key.
    for (name, value) in [("lastkey", if keys.which == Which::All { -1 } else { 0 }), ("keystep", 1), ("limit", 0)] {
        text(out, name);
        write::integer(out, value);
    }
}

/// A name and what COMMAND DOCS tells of it: a pair of the map that it answers.
pub fn write_docs(out: &mut BytesMut, command: &Command, proto: Proto) {
    // A test reads them all.
    let arguments = syntax::parse(command.grammar).unwrap_or_default();
    write::bulk(out, command.lower_name().as_bytes());
    write::map_header(out, proto, if arguments.is_empty() { 3 } else { 4 });
    for (key, value) in [("summary", command.summary), ("since", command.since), ("group", GROUP)] {
        write::bulk(out, key.as_bytes());
        write::bulk(out, value.as_bytes());
    }
    if !arguments.is_empty() {
        write_arguments(out, &arguments, proto);
    }
}

fn write_arguments(out: &mut BytesMut, arguments: &[Argument], proto: Proto) {
    write::bulk(out, b"arguments");
    write::array_header(out, arguments.len());
    arguments.iter().for_each(|argument| write_argument(out, argument, proto));
}

fn write_argument(out: &mut BytesMut, argument: &Argument, proto: Proto) {
    let (name, type_name) = (argument.name(), argument.type_name());
    let mut texts = vec![("name", name.as_str()), ("type", type_name)];
    let mut parts = None;
    match &argument.kind {
        Kind::Token(token) => texts.extend([("display_text", name.as_str()), ("token", token)]),
        Kind::Value { token, .. } => {
            texts.push(("display_text", &name));
            texts.extend(token.as_deref().map(|token| ("token", token)));
        }
        Kind::OneOf(inner) | Kind::Block(inner) => parts = Some(inner),
    }
    let flags: Vec<&str> = [("optional", argument.optional), ("multiple", argument.multiple)]
        .into_iter()
        .filter_map(|(flag, set)| set.then_some(flag))
        .collect();
    let is_key = type_name == "key";
    let pairs = texts.len() + usize::from(is_key) + usize::from(!flags.is_empty()) + usize::from(parts.is_some());
    write::map_header(out, proto, pairs);
    for (key, value) in texts {
        write::bulk(out, key.as_bytes());
        write::bulk(out, value.as_bytes());
    }
    if is_key {
        write::bulk(out, b"key_spec_index");
        write::integer(out, 0);
    }
    if !flags.is_empty() {
        write::bulk(out, b"flags");
        write_statuses(out, &flags, proto);
    }
    if let Some(parts) = parts {
        write_arguments(out, parts, proto);
    }
}

/// Which commands COMMAND LIST is to name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    /// All.
    All,
    /// Those of an ACL category, which comes without its `@`.
    Category(Vec<u8>),
    /// Those whose name matches.
    Pattern(Vec<u8>),
}

impl Listed {
    /// These of the inventory's.
    pub fn commands(&self) -> impl Iterator<Item = &'static Command> {
        COMMANDS.into_iter().filter(move |command| match self {
            Self::All => true,
            Self::Category(wanted) => {
                command.categories().iter().any(|category| category.as_bytes()[1..].eq_ignore_ascii_case(wanted))
            }
            Self::Pattern(pattern) => glob::matches(pattern, command.lower_name().as_bytes()),
        })
    }
}

/// What COMMAND GETKEYS has to say of a request.
#[derive(Debug, PartialEq, Eq)]
pub enum KeysOf<'a> {
    /// These are its keys, and this is done to them.
    Keys(Vec<&'a [u8]>, &'static [&'static str]),
    /// Its command has none.
    NoKeys,
    /// It has too few arguments, or too many.
    WrongArity,
}

/// Of a whole request. None: it is none of the inventory's.
#[must_use]
pub fn keys_of<'a>(words: &[&'a [u8]]) -> Option<KeysOf<'a>> {
    let command = find(words.first()?)?;
    Some(match &command.keys {
        None => KeysOf::NoKeys,
        Some(_) if !command.takes(words.len()) => KeysOf::WrongArity,
        Some(Keys { which: Which::First, flags }) => KeysOf::Keys(words[1..2].to_vec(), flags),
        Some(Keys { which: Which::All, flags }) => KeysOf::Keys(words[1..].to_vec(), flags),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(listed: &Listed) -> Vec<String> {
        listed.commands().map(Command::lower_name).collect()
    }

    #[test]
    fn a_list_has_what_its_filter_lets_through() {
        assert_eq!(names(&Listed::All).len(), COMMANDS.len());
        assert_eq!(names(&Listed::Category(b"READ".to_vec())), ["inv.get", "inv.stock", "inv.isprotected"]);
        assert_eq!(names(&Listed::Category(b"slow".to_vec())), ["inv.reap", "inv.help"]);
        assert_eq!(names(&Listed::Category(b"@read".to_vec())), [""; 0]);
        assert_eq!(names(&Listed::Pattern(b"*PROTECT".to_vec())), ["inv.protect", "inv.unprotect"]);
    }

    #[test]
    fn flags_are_words_that_redis_has_and_do_not_contradict_each_other() {
        for command in COMMANDS {
            let has = |flag| command.flags.contains(&flag);
            let known = ["write", "readonly", "denyoom", "noscript", "loading", "stale", "fast"];
            assert!(command.flags.iter().all(|flag| known.contains(flag)), "{}", command.name);
            assert!(has("noscript"), "{}: no script upstream can call it", command.name);
            assert_eq!(has("write") || has("readonly"), command.operation.is_some(), "{}", command.name);
            assert!(!(has("readonly") && (has("write") || has("denyoom"))), "{}", command.name);
            if let Some(keys) = &command.keys {
                assert_eq!(keys.flags[0] == "RO", has("readonly"), "{}", command.name);
                assert!(command.grammar.starts_with("sku"), "{}: its keys are its first arguments", command.name);
                assert_eq!(keys.which == Which::All, command.grammar == "sku [sku ...]", "{}", command.name);
            } else {
                assert!(!command.grammar.contains("sku"), "{}", command.name);
            }
        }
    }

    #[test]
    fn the_keys_of_a_request_are_its_skus() {
        let of = |line: &'static str| keys_of(&line.split(' ').map(str::as_bytes).collect::<Vec<_>>());
        assert_eq!(of("inv.reserve a 1 ID x"), Some(KeysOf::Keys(vec![b"a"], &["RW", "access", "update"])));
        assert_eq!(of("INV.STOCK a b"), Some(KeysOf::Keys(vec![b"a", b"b"], &["RO", "access"])));
        assert_eq!(of("INV.STOCK"), Some(KeysOf::WrongArity));
        assert_eq!(of("INV.COMMIT"), Some(KeysOf::NoKeys));
        assert_eq!((of("INV.NOPE a"), of("GET a")), (None, None));
    }
}
