//! `INV.PROTECT` and `INV.UNPROTECT`: a mark on SKUs, with stock or without.

use super::{Command, Context, Keys, Request, Which, grammar};
use crate::command::Args;
use crate::inventory::id::token;
use crate::inventory::operation::{Expect, ScriptArgs, ScriptOperation};
use crate::inventory::reply::Refusal;
use crate::metrics::Operation;

pub static PROTECT: Command = Command {
    name: "INV.PROTECT",
    operation: Some(Operation::Protect),
    arity: -2,
    grammar: "sku [sku ...]",
    summary: "Marks SKUs as protected. How many changed.",
    since: "0.1.0",
    flags: &["write", "denyoom", "noscript", "fast"],
    keys: Some(Keys { which: Which::All, flags: &["RW", "insert"] }),
    parse: |args, context| mark(args, context, true),
};

pub static UNPROTECT: Command = Command {
    name: "INV.UNPROTECT",
    operation: Some(Operation::Unprotect),
    arity: -2,
    grammar: "sku [sku ...]",
    summary: "Takes the mark away. How many changed.",
    since: "0.1.0",
    flags: &["write", "noscript", "fast"],
    keys: Some(Keys { which: Which::All, flags: &["RW", "delete"] }),
    parse: |args, context| mark(args, context, false),
};

fn mark(args: &Args<'_>, context: &Context<'_>, mark: bool) -> Result<Request, Refusal> {
    let (letter, operation) = if mark { (b'P', Operation::Protect) } else { (b'U', Operation::Unprotect) };
    let operations = grammar::by_cell(args.from(1), context.tenant)?
        .into_iter()
        .map(|(cell, skus)| {
            let mut script = ScriptArgs::new(letter);
            script.push(&token());
            script.push_number(skus.len());
            skus.iter().for_each(|(_, sku)| script.push(sku));
            let skus = skus.into_iter().map(|(_, sku)| sku).collect();
            ScriptOperation::script(operation, cell, script, Expect::Marked(skus, mark))
        })
        .collect();
    Ok(Request::Operations(operations))
}
