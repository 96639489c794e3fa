//! `INV.EXTEND`: sets when a reservation expires.

use super::{Command, Context, Request, grammar};
use crate::command::Args;
use crate::inventory::id::token;
use crate::inventory::operation::{Expect, ScriptArgs, ScriptOperation};
use crate::inventory::reply::Refusal;
use crate::metrics::Operation;

pub static COMMAND: Command = Command {
    name: "INV.EXTEND",
    operation: Some(Operation::Extend),
    arity: 4,
    grammar: "id EX seconds | PX milliseconds",
    summary: "Sets the expiry to so long from now, at most reservation_ttl_max from the making. Unix ms at which it now expires.",
    since: "0.1.0",
    flags: &["write", "denyoom", "noscript", "fast"],
    keys: None,
    parse,
};

fn parse(args: &Args<'_>, context: &Context<'_>) -> Result<Request, Refusal> {
    if !args.is(2, "EX") && !args.is(2, "PX") {
        return Err(grammar::syntax());
    }
    let ttl_ms = grammar::ttl(args.get(2).unwrap_or_default(), args.get(3).unwrap_or_default(), context.tenant)?;
    let (cell, own) = grammar::id(args.get(1).unwrap_or_default(), context.tenant)?;
    let mut script = ScriptArgs::new(b'E');
    script.push(own);
    script.push(&token());
    script.push_number(ttl_ms);
    script.push_number(context.tenant.reservation_ttl_max_ms);
    Ok(Request::One(ScriptOperation::script(Operation::Extend, cell, script, Expect::ExpiresAt)))
}
