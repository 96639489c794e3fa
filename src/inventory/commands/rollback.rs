//! `INV.ROLLBACK`: gives back what a reservation holds.

use super::{Command, Context, Request, grammar};
use crate::command::Args;
use crate::inventory::id::Minted;
use crate::inventory::operation::{Expect, ScriptArgs, ScriptOperation, Work};
use crate::inventory::reply::Refusal;
use crate::metrics::Operation;

pub static COMMAND: Command = Command {
    name: "INV.ROLLBACK",
    operation: Some(Operation::Rollback),
    arity: 2,
    grammar: "id",
    summary: "Gives back what the reservation holds; again, or after it expired, nothing more. OK.",
    since: "0.1.0",
    flags: &["write", "noscript", "fast"],
    keys: None,
    parse,
};

fn parse(args: &Args<'_>, context: &Context<'_>) -> Result<Request, Refusal> {
    let (cell, own) = grammar::id(args.get(1).unwrap_or_default(), context.tenant)?;
    if let Some(minted) = Minted::parse(own) {
        let work = Work::RollBack(minted);
        return Ok(Request::One(ScriptOperation { operation: Operation::Rollback, cell, work }));
    }
    let mut script = ScriptArgs::new(b'B');
    script.push(own);
    Ok(Request::One(ScriptOperation::script(Operation::Rollback, cell, script, Expect::Done)))
}
