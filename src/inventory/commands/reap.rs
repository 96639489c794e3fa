//! `INV.REAP`: gives back now what the reaper would within a second.

use super::{Command, Context, Request, grammar};
use crate::command::Args;
use crate::inventory::batcher::SETTLE_MAX;
use crate::inventory::id::token;
use crate::inventory::number::unsigned;
use crate::inventory::operation::{Expect, ScriptArgs, ScriptOperation};
use crate::inventory::reply::Refusal;
use crate::metrics::{Operation, Status};

pub static COMMAND: Command = Command {
    name: "INV.REAP",
    operation: Some(Operation::Reap),
    arity: -1,
    grammar: "[COUNT n]",
    summary: "Gives back the stock of at most n (at most 1000 a call) expired reservations. How many there were.",
    since: "0.1.0",
    flags: &["write", "noscript"],
    keys: None,
    parse,
};

fn parse(args: &Args<'_>, context: &Context<'_>) -> Result<Request, Refusal> {
    let count = match args.len() {
        1 => SETTLE_MAX,
        3 if args.is(1, "COUNT") => args
            .get(2)
            .and_then(unsigned)
            .filter(|&count| count > 0)
            .ok_or_else(|| Refusal::new(Status::InvalidAmount, "COUNT must be a whole number from 1 on"))?,
        _ => return Err(grammar::syntax()),
    };
    Ok(Request::Operations(operations(count.min(SETTLE_MAX), context.tenant.cells)))
}

/// One for each cell, `count` reservations in all at the most. Of more cells than that each call takes others.
fn operations(count: u64, cells: u16) -> Vec<ScriptOperation> {
    let (each, rest) = (count / u64::from(cells), count % u64::from(cells));
    let first = fastrand::u16(..cells);
    (0..cells)
        .map(|index| ((first + index) % cells, each + u64::from(u64::from(index) < rest)))
        .filter(|(_, count)| *count > 0)
        .map(|(cell, count)| operation(cell, count))
        .collect()
}

/// `count` reservations of this cell at the most.
pub fn operation(cell: u16, count: u64) -> ScriptOperation {
    let mut script = ScriptArgs::new(b'X');
    script.push(&token());
    script.push_number(count);
    ScriptOperation::script(Operation::Reap, cell, script, Expect::Reaped)
}
