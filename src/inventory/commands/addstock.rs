//! `INV.ADDSTOCK`: more, or less of what is available.

use super::{Command, Context, Keys, Request, Which, grammar};
use crate::command::Args;
use crate::inventory::id::{cell_of, token};
use crate::inventory::number::{STOCK_MAX, signed};
use crate::inventory::operation::{Expect, ScriptArgs, ScriptOperation};
use crate::inventory::reply::Refusal;
use crate::metrics::{Operation, Status};

pub static COMMAND: Command = Command {
    name: "INV.ADDSTOCK",
    operation: Some(Operation::AddStock),
    arity: -3,
    grammar: "sku delta [ID operation-id]",
    summary: "Adds, or takes from what is available; with an ID it happens once. What is available now.",
    since: "0.1.0",
    flags: &["write", "denyoom", "noscript", "fast"],
    keys: Some(Keys { which: Which::First, flags: &["RW", "access", "update"] }),
    parse,
};

fn parse(args: &Args<'_>, context: &Context<'_>) -> Result<Request, Refusal> {
    let sku = grammar::name(args.get(1).unwrap_or_default(), "SKU")?;
    let delta =
        args.get(2).and_then(signed).filter(|delta| *delta != 0 && delta.unsigned_abs() <= STOCK_MAX).ok_or_else(
            || {
                Refusal::new(
                    Status::InvalidAmount,
                    format!("the delta must be a whole number, not 0, from -{STOCK_MAX} to {STOCK_MAX}"),
                )
            },
        )?;
    let own = match args.len() {
        3 => None,
        5 if args.is(3, "ID") => Some(grammar::name(args.get(4).unwrap_or_default(), "operation id")?),
        _ => return Err(grammar::syntax()),
    };
    let mut script = ScriptArgs::new(b'A');
    match own {
        // A letter in front keeps a client's ids and the sidecar's tokens apart.
        Some(own) => script.push(&[b"i", own].concat()),
        None => script.push(&token()),
    }
    script.push(sku);
    script.push_number(delta);
    script.push(if own.is_some() { b"1" } else { b"0" });
    let cell = cell_of(sku, context.tenant.cells);
    Ok(Request::One(ScriptOperation::script(Operation::AddStock, cell, script, Expect::Available)))
}
