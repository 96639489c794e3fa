//! `INV.SETSTOCK`: what is on hand, open reservations among it.

use super::{Command, Context, Keys, Request, Which, grammar};
use crate::command::Args;
use crate::inventory::id::{cell_of, token};
use crate::inventory::number::{STOCK_MAX, unsigned};
use crate::inventory::operation::{Expect, ScriptArgs, ScriptOperation};
use crate::inventory::reply::Refusal;
use crate::metrics::{Operation, Status};

pub static COMMAND: Command = Command {
    name: "INV.SETSTOCK",
    operation: Some(Operation::SetStock),
    arity: -3,
    grammar: "sku quantity [NX | XX] [FORCE]",
    summary: "Sets what is on hand (available + reserved); below what is reserved only with FORCE. OK, or null where NX or XX is not met.",
    since: "0.1.0",
    flags: &["write", "denyoom", "noscript", "fast"],
    keys: Some(Keys { which: Which::First, flags: &["RW", "update"] }),
    parse,
};

fn parse(args: &Args<'_>, context: &Context<'_>) -> Result<Request, Refusal> {
    let sku = grammar::name(args.get(1).unwrap_or_default(), "SKU")?;
    let quantity = args.get(2).and_then(unsigned).filter(|&quantity| quantity <= STOCK_MAX).ok_or_else(|| {
        Refusal::new(Status::InvalidAmount, format!("the quantity must be a whole number from 0 to {STOCK_MAX}"))
    })?;
    let (mut condition, mut force) = ("", "");
    for index in 3..args.len() {
        if condition.is_empty() && args.is(index, "NX") {
            condition = "NX";
        } else if condition.is_empty() && args.is(index, "XX") {
            condition = "XX";
        } else if force.is_empty() && args.is(index, "FORCE") {
            force = "FORCE";
        } else {
            return Err(grammar::syntax());
        }
    }
    let mut script = ScriptArgs::new(b'T');
    script.push(&token());
    script.push(sku);
    script.push_number(quantity);
    script.push(condition.as_bytes());
    script.push(force.as_bytes());
    let cell = cell_of(sku, context.tenant.cells);
    Ok(Request::One(ScriptOperation::script(Operation::SetStock, cell, script, Expect::Set)))
}
