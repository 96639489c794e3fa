//! `INV.STOCK`: what there is.

use super::{Command, Context, Keys, Request, Which, grammar};
use crate::command::Args;
use crate::inventory::operation::{Expect, ScriptArgs, ScriptOperation};
use crate::inventory::reply::Refusal;
use crate::metrics::Operation;

pub static COMMAND: Command = Command {
    name: "INV.STOCK",
    operation: Some(Operation::Stock),
    arity: -2,
    grammar: "sku [sku ...]",
    summary: "For each: sku, total, available, reserved, committed, protected, limit; or null. One SKU: the map itself.",
    since: "0.1.0",
    flags: &["readonly", "noscript", "fast"],
    keys: Some(Keys { which: Which::All, flags: &["RO", "access"] }),
    parse,
};

fn parse(args: &Args<'_>, context: &Context<'_>) -> Result<Request, Refusal> {
    let operations = grammar::by_cell(args.from(1), context.tenant)?
        .into_iter()
        .map(|(cell, skus)| {
            let mut script = ScriptArgs::new(b'S');
            script.push_number(skus.len());
            skus.iter().for_each(|(_, sku)| script.push(sku));
            ScriptOperation::script(Operation::Stock, cell, script, Expect::Stocks(skus))
        })
        .collect();
    Ok(Request::Operations(operations))
}
