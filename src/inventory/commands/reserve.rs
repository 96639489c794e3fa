//! `INV.RESERVE`: takes stock for a while.

use super::{Command, Context, Keys, Request, Which, grammar};
use crate::command::Args;
use crate::inventory::id::{cell_of, join, token};
use crate::inventory::operation::{Expect, Name, ScriptArgs, ScriptOperation, Work};
use crate::inventory::reply::Refusal;
use crate::metrics::Operation;

pub static COMMAND: Command = Command {
    name: "INV.RESERVE",
    operation: Some(Operation::Reserve),
    arity: -3,
    grammar: "sku quantity [EX seconds | PX milliseconds] [ID id]",
    summary: "Takes the quantity from what is available, or fails and takes nothing. The reservation's id.",
    since: "0.1.0",
    flags: &["write", "denyoom", "noscript", "fast"],
    keys: Some(Keys { which: Which::First, flags: &["RW", "access", "update"] }),
    parse,
};

fn parse(args: &Args<'_>, context: &Context<'_>) -> Result<Request, Refusal> {
    let sku = grammar::name(args.get(1).unwrap_or_default(), "SKU")?;
    let quantity = grammar::quantity(args.get(2).unwrap_or_default())?;
    let (mut ttl_ms, mut own) = (None, None);
    let mut index = 3;
    while let Some(option) = args.get(index) {
        if args.is(index, "CUSTOMER") || args.is(index, "UPTO") {
            return Err(grammar::later(if args.is(index, "UPTO") { "UPTO" } else { "CUSTOMER" }));
        }
        let Some(value) = args.get(index + 1) else { return Err(grammar::syntax()) };
        if ttl_ms.is_none() && (args.is(index, "EX") || args.is(index, "PX")) {
            ttl_ms = Some(grammar::ttl(option, value, context.tenant)?);
        } else if own.is_none() && args.is(index, "ID") {
            own = Some(grammar::name(value, "id")?);
        } else {
            return Err(grammar::syntax());
        }
        index += 2;
    }
    let cell = cell_of(sku, context.tenant.cells);
    let ttl_ms = ttl_ms.unwrap_or(context.tenant.reservation_ttl_ms);
    let Some(own) = own else {
        let work = Work::Reserve { sku: Name::new(sku), quantity, ttl_ms, minted: None };
        return Ok(Request::One(ScriptOperation { operation: Operation::Reserve, cell, work }));
    };
    let mut script = ScriptArgs::new(b'R');
    script.push(own);
    script.push(&token());
    script.push(sku);
    script.push_number(quantity);
    script.push_number(ttl_ms);
    let expect = Expect::Reserved(join(cell, own));
    Ok(Request::One(ScriptOperation::script(Operation::Reserve, cell, script, expect)))
}
