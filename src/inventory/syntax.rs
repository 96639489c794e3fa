//! A command's grammar, as HELP prints it, as a tree: what COMMAND DOCS tells of its arguments. Owns the reading of that one
//! notation; never looks at a request.
//!
//! A word in capitals is a token, and a word in small letters behind it is its value; any other word in small letters is a
//! value by itself. `[ ]` may be left out, `a | b` is one of them (each side one token with its value, or one value),
//! `sku [sku ...]` is one value or more.

/// One argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    /// What it is.
    pub kind: Kind,
    /// It may be left out.
    pub optional: bool,
    /// There may be more of it.
    pub multiple: bool,
}

/// What an argument is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A word that stands as it is.
    Token(String),
    /// What the client fills in, behind its token where it has one.
    Value {
        /// In front of it.
        token: Option<String>,
        /// What it is called.
        name: String,
    },
    /// One of these.
    OneOf(Vec<Argument>),
    /// All of these together.
    Block(Vec<Argument>),
}

impl Argument {
    fn of(kind: Kind) -> Self {
        Self { kind, optional: false, multiple: false }
    }

    /// A name for it: its own, or made of those of its parts.
    #[must_use]
    pub fn name(&self) -> String {
        let joined = |parts: &[Self], by: &str| parts.iter().map(Self::name).collect::<Vec<_>>().join(by);
        match &self.kind {
            Kind::Token(token) => token.to_ascii_lowercase(),
            Kind::Value { name, .. } => name.clone(),
            Kind::OneOf(parts) => joined(parts, "-or-"),
            Kind::Block(parts) => joined(parts, "-"),
        }
    }

    /// Its type, as COMMAND DOCS calls it.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match &self.kind {
            Kind::Token(_) => "pure-token",
            Kind::Value { name, .. } => match name.as_str() {
                "sku" => "key",
                "quantity" | "delta" | "seconds" | "milliseconds" | "n" => "integer",
                _ => "string",
            },
            Kind::OneOf(_) => "oneof",
            Kind::Block(_) => "block",
        }
    }
}

/// Reads a grammar.
///
/// # Errors
/// What is wrong with it, for whoever writes one.
pub fn parse(grammar: &str) -> Result<Vec<Argument>, String> {
    let spaced = grammar.replace('[', " [ ").replace(']', " ] ").replace('|', " | ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut reader = Reader { words: &words, at: 0 };
    let arguments = reader.sequence()?;
    match reader.peek() {
        None => Ok(arguments),
        Some(word) => Err(format!("{grammar:?}: {word:?} stands alone")),
    }
}

struct Reader<'a> {
    words: &'a [&'a str],
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.words.get(self.at).copied()
    }

    fn takes(&mut self, word: &str) -> bool {
        let found = self.peek() == Some(word);
        self.at += usize::from(found);
        found
    }

    /// Arguments until a `]`, or the end.
    fn sequence(&mut self) -> Result<Vec<Argument>, String> {
        let mut arguments: Vec<Argument> = Vec::new();
        while let Some(word) = self.peek().filter(|word| *word != "]") {
            if word == "[" {
                if !self.repeats(&mut arguments)? {
                    arguments.push(self.optional()?);
                }
                continue;
            }
            let mut parts = vec![self.item()?];
            while self.takes("|") {
                parts.push(self.item()?);
            }
            arguments.push(match <[Argument; 1]>::try_from(parts) {
                Ok([only]) => only,
                Err(parts) => Argument::of(Kind::OneOf(parts)),
            });
        }
        Ok(arguments)
    }

    /// `[sku ...]` behind `sku`: that one may be several.
    fn repeats(&mut self, before: &mut [Argument]) -> Result<bool, String> {
        let Some(end) = self.words[self.at..].iter().position(|word| *word == "]") else {
            return Err("a [ without its ]".to_owned());
        };
        let inside = &self.words[self.at + 1..self.at + end];
        if inside.last() != Some(&"...") {
            return Ok(false);
        }
        match before.last_mut() {
            Some(Argument { kind: Kind::Value { token: None, name }, multiple, .. })
                if inside == [name.as_str(), "..."] =>
            {
                *multiple = true;
                self.at += end + 1;
                Ok(true)
            }
            _ => Err(format!("{inside:?} repeats something else than the value before it")),
        }
    }

    fn optional(&mut self) -> Result<Argument, String> {
        self.at += 1;
        let inside = self.sequence()?;
        if !self.takes("]") {
            return Err("a [ without its ]".to_owned());
        }
        let argument = match <[Argument; 1]>::try_from(inside) {
            Ok([only]) if !only.optional => only,
            Ok(_) => return Err("[ ] within [ ]".to_owned()),
            Err(several) if several.is_empty() => return Err("nothing within [ ]".to_owned()),
            Err(several) => Argument::of(Kind::Block(several)),
        };
        Ok(Argument { optional: true, ..argument })
    }

    /// A token, with its value where it has one; or a value.
    fn item(&mut self) -> Result<Argument, String> {
        let small = |word: &&str| word.starts_with(|first: char| first.is_ascii_lowercase());
        let Some(word) = self.peek() else { return Err("it ends too soon".to_owned()) };
        if !word.starts_with(|first: char| first.is_ascii_alphabetic()) {
            return Err(format!("{word:?} is no word"));
        }
        self.at += 1;
        if small(&word) {
            return Ok(Argument::of(Kind::Value { token: None, name: word.to_owned() }));
        }
        let Some(name) = self.peek().filter(small) else { return Ok(Argument::of(Kind::Token(word.to_owned()))) };
        self.at += 1;
        Ok(Argument::of(Kind::Value { token: Some(word.to_owned()), name: name.to_owned() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::commands::COMMANDS;

    /// As it was written.
    fn print(arguments: &[Argument]) -> String {
        arguments.iter().map(print_one).collect::<Vec<_>>().join(" ")
    }

    fn print_one(argument: &Argument) -> String {
        let text = match &argument.kind {
            Kind::Token(token) => token.clone(),
            Kind::Value { token: Some(token), name } => format!("{token} {name}"),
            Kind::Value { token: None, name } if argument.multiple => format!("{name} [{name} ...]"),
            Kind::Value { token: None, name } => name.clone(),
            Kind::OneOf(parts) => parts.iter().map(print_one).collect::<Vec<_>>().join(" | "),
            Kind::Block(parts) => print(parts),
        };
        if argument.optional { format!("[{text}]") } else { text }
    }

    #[test]
    fn every_grammar_reads_and_prints_back() {
        for command in COMMANDS {
            let arguments = parse(command.grammar).unwrap_or_else(|error| panic!("{}: {error}", command.name));
            assert_eq!(print(&arguments), command.grammar, "{}: {arguments:?}", command.name);
            let needed = 1 + arguments.iter().filter(|argument| !argument.optional).map(least).sum::<i32>();
            assert_eq!(needed, command.arity.abs(), "{}: what must be there is its arity", command.name);
            let open = arguments.iter().any(|argument| argument.optional || argument.multiple);
            assert_eq!(open, command.arity < 0, "{}: what may be more is its arity", command.name);
        }
    }

    /// So many words at least.
    fn least(argument: &Argument) -> i32 {
        match &argument.kind {
            Kind::Token(_) | Kind::Value { token: None, .. } => 1,
            Kind::Value { token: Some(_), .. } => 2,
            Kind::OneOf(parts) => parts.iter().map(least).min().unwrap_or_default(),
            Kind::Block(parts) => parts.iter().map(least).sum(),
        }
    }

    #[test]
    fn a_grammar_is_read_as_it_is_meant() {
        let value = |token: Option<&str>, name: &str| {
            Argument::of(Kind::Value { token: token.map(str::to_owned), name: name.to_owned() })
        };
        let ttl = Argument::of(Kind::OneOf(vec![value(Some("EX"), "seconds"), value(Some("PX"), "milliseconds")]));
        assert_eq!(parse("id EX seconds | PX milliseconds").unwrap(), [value(None, "id"), ttl.clone()]);
        assert_eq!(parse("[EX seconds | PX milliseconds]").unwrap(), [Argument { optional: true, ..ttl.clone() }]);
        assert_eq!(parse("sku [sku ...]").unwrap(), [Argument { multiple: true, ..value(None, "sku") }]);
        assert_eq!(parse("[A b C]").unwrap()[0].type_name(), "block");
        assert_eq!((ttl.name().as_str(), ttl.type_name()), ("seconds-or-milliseconds", "oneof"));
        assert_eq!(parse("").unwrap(), []);
    }

    #[test]
    fn what_is_no_grammar_is_told() {
        for bad in ["[a", "a]", "a |", "| a", "[]", "a [b ...]", "[a ...]", "[[a]]", "a | [b]"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
