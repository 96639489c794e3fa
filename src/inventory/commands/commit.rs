//! `INV.COMMIT`: sells what a reservation holds.

use super::{Command, Context, Request, grammar};
use crate::command::Args;
use crate::inventory::id::{Minted, token};
use crate::inventory::operation::{Expect, ScriptArgs, ScriptOperation, Work};
use crate::inventory::reply::Refusal;
use crate::metrics::Operation;

pub static COMMAND: Command = Command {
    name: "INV.COMMIT",
    operation: Some(Operation::Commit),
    arity: -2,
    grammar: "id [REF reference]",
    summary: "Sells what the reservation holds, once; again with the same REF it is the same order. OK.",
    since: "0.1.0",
    flags: &["write", "denyoom", "noscript", "fast"],
    keys: None,
    parse,
};

fn parse(args: &Args<'_>, context: &Context<'_>) -> Result<Request, Refusal> {
    let mut reference = None;
    let mut index = 2;
    while index < args.len() {
        match args.get(index + 1) {
            Some(value) if reference.is_none() && args.is(index, "REF") => {
                reference = Some(grammar::name(value, "reference")?);
            }
            _ if args.is(index, "QTY") => return Err(grammar::later("QTY")),
            _ if args.is(index, "RECLAIM") => return Err(grammar::later("RECLAIM")),
            _ => return Err(grammar::syntax()),
        }
        index += 2;
    }
    let (cell, own) = grammar::id(args.get(1).unwrap_or_default(), context.tenant)?;
    if reference.is_none()
        && let Some(minted) = Minted::parse(own)
    {
        let work = Work::Commit(minted, None);
        return Ok(Request::One(ScriptOperation { operation: Operation::Commit, cell, work }));
    }
    let mut script = ScriptArgs::new(b'C');
    script.push(own);
    script.push(&token());
    script.push(reference.unwrap_or_default());
    Ok(Request::One(ScriptOperation::script(Operation::Commit, cell, script, Expect::Done)))
}
