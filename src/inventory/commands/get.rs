//! `INV.GET`: one reservation.

use super::{Command, Context, Request, grammar};
use crate::command::Args;
use crate::inventory::operation::{Expect, ScriptArgs, ScriptOperation};
use crate::inventory::reply::{Outcome, Refusal};
use crate::metrics::{Operation, Status};

pub static COMMAND: Command = Command {
    name: "INV.GET",
    operation: Some(Operation::Get),
    arity: 2,
    grammar: "id",
    summary: "id, sku, quantity, state (open, committed, rolledback, expired), expires_ms, customer, reference; or null.",
    since: "0.1.0",
    flags: &["readonly", "noscript", "fast"],
    keys: None,
    parse,
};

fn parse(args: &Args<'_>, context: &Context<'_>) -> Result<Request, Refusal> {
    let id = args.get(1).unwrap_or_default();
    let (cell, own) = match grammar::id(id, context.tenant) {
        Err(refusal) if refusal.status == Status::NotFound => return Ok(Request::Answer(Outcome::Nil)),
        other => other?,
    };
    let mut script = ScriptArgs::new(b'G');
    script.push(own);
    let expect = Expect::Found(id.to_vec());
    Ok(Request::One(ScriptOperation::script(Operation::Get, cell, script, expect)))
}
