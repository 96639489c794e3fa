//! The words of a refusal: Redis's own where it would refuse the request too.

use std::borrow::Cow;

/// No more of what a client sent is shown in an error.
const SHOWN_MAX: usize = 64;

/// Why a request is not sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Too few arguments, or too many.
    Arity,
    /// Redis would not read it.
    Syntax,
    /// A number is none.
    NotInteger,
    /// Redis's own words, its first word among them.
    Redis(Cow<'static, str>),
    /// It would be understood, and is not for the tenant, for this reason.
    NotAllowed(&'static str),
    /// Prefixed it is longer than the upstream takes.
    TooLong,
}

impl Refusal {
    /// The error's line, for the command of this name.
    #[must_use]
    pub fn line(&self, command: &[u8], sub: Option<&[u8]>) -> String {
        let name = full_name(command, sub);
        let text = match self {
            Self::Arity => format!("ERR wrong number of arguments for '{name}' command"),
            Self::Syntax => "ERR syntax error".to_owned(),
            Self::NotInteger => "ERR value is not an integer or out of range".to_owned(),
            Self::Redis(text) => text.to_string(),
            Self::NotAllowed("") => format!("NOPERM '{name}' is not for an isolated tenant"),
            Self::NotAllowed(why) => format!("NOPERM '{name}' is not for an isolated tenant: {why}"),
            Self::TooLong => format!("ERR '{name}' is too long once its names bear the tenant's prefix"),
        };
        format!("-{text}\r\n")
    }
}

/// In lower case, `command|subcommand`, as Redis names it.
#[must_use]
pub fn full_name(command: &[u8], sub: Option<&[u8]>) -> String {
    let mut name = shown(command).to_ascii_lowercase();
    if let Some(sub) = sub {
        name.push('|');
        name.push_str(&shown(sub).to_ascii_lowercase());
    }
    name
}

/// What a client sent, such that it can stand in an error's line.
#[must_use]
pub fn shown(text: &[u8]) -> String {
    let cut = &text[..text.len().min(SHOWN_MAX)];
    let clean = |char: char| if char.is_control() { ' ' } else { char };
    String::from_utf8_lossy(cut).chars().map(clean).collect()
}
