//! `INV.ISPROTECTED`: asked on every checkout, so answered from memory while that is fresh.

use super::{Command, Context, Keys, Request, Which, grammar};
use crate::command::Args;
use crate::inventory::operation::{Expect, ScriptArgs, ScriptOperation};
use crate::inventory::reply::Refusal;
use crate::metrics::Operation;

pub static COMMAND: Command = Command {
    name: "INV.ISPROTECTED",
    operation: Some(Operation::IsProtected),
    arity: -2,
    grammar: "sku [sku ...]",
    summary: "1 or 0, an array of them for several.",
    since: "0.1.0",
    flags: &["readonly", "noscript", "fast"],
    keys: Some(Keys { which: Which::All, flags: &["RO"] }),
    parse,
};

fn parse(args: &Args<'_>, context: &Context<'_>) -> Result<Request, Refusal> {
    let by_cell = grammar::by_cell(args.from(1), context.tenant)?;
    let operations = by_cell
        .into_iter()
        .map(|(cell, skus)| {
            let mut script = ScriptArgs::new(b'Q');
            script.push_number(skus.len());
            skus.iter().for_each(|(_, sku)| script.push(sku));
            let places = skus.into_iter().map(|(place, _)| place).collect();
            ScriptOperation::script(Operation::IsProtected, cell, script, Expect::Marks(places))
        })
        .collect();
    Ok(Request::Marks(args.from(1).map(<[u8]>::to_vec).collect(), operations))
}
