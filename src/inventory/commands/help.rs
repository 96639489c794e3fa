//! `INV.HELP`: all commands, for a person.

use super::{COMMANDS, Command, Request};
use crate::inventory::reply::Outcome;

pub static COMMAND: Command = Command {
    name: "INV.HELP",
    operation: None,
    arity: 1,
    grammar: "",
    summary: "This help.",
    since: "0.1.0",
    flags: &["noscript", "loading", "stale"],
    keys: None,
    parse: |_, _| Ok(Request::Answer(Outcome::Lines(lines()))),
};

fn lines() -> Vec<String> {
    let mut lines = vec!["INV.<command> [<arg> ...]. Commands are:".to_owned()];
    for command in COMMANDS {
        lines.push(format!("{} {}", command.name, command.grammar).trim_end().to_owned());
        lines.push(format!("    {}", command.summary));
    }
    lines.push(
        "Errors begin with a word (INSUFFICIENTSTOCK, NOTFOUND, EXPIRED, ...); key=value pairs end the line."
            .to_owned(),
    );
    lines
}
