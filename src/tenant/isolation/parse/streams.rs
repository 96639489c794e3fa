//! XREAD and XREADGROUP: names among options that may be called as an option is.

use super::super::Back;
use super::super::plan::Plan;
use super::super::refusal::Refusal;
use super::super::request::Isolation;
use crate::command::Args;

/// `XREAD [COUNT count] [BLOCK ms] STREAMS key [key …] id [id …]`
///
/// # Errors
/// It cannot be read.
pub fn read(args: &Args<'_>, _: &Isolation<'_>, plan: &mut Plan) -> Result<(), Refusal> {
    options(args, 4, false, plan)
}

/// `XREADGROUP GROUP group consumer [COUNT count] [BLOCK ms] [CLAIM ms] [NOACK] STREAMS key [key …] id [id …]`
///
/// # Errors
/// It cannot be read.
pub fn read_group(args: &Args<'_>, _: &Isolation<'_>, plan: &mut Plan) -> Result<(), Refusal> {
    options(args, 7, true, plan)
}

fn options(args: &Args<'_>, least: usize, group: bool, plan: &mut Plan) -> Result<(), Refusal> {
    if args.len() < least {
        return Err(Refusal::Arity);
    }
    let mut at = 1;
    loop {
        let left = args.len().saturating_sub(at + 1);
        at += match () {
            // The same order as in Redis: what follows an option is its value, whatever it is called.
            () if (args.is(at, "BLOCK") || args.is(at, "COUNT")) && left >= 1 => 2,
            () if args.is(at, "STREAMS") && left >= 1 => break,
            () if group && args.is(at, "GROUP") && left >= 2 => 3,
            () if group && args.is(at, "CLAIM") && left >= 1 => 2,
            () if group && args.is(at, "NOACK") => 1,
            () => return Err(Refusal::Syntax),
        };
    }
    let (first, rest) = (at + 1, args.len() - at - 1);
    if rest % 2 != 0 {
        let (name, ids) = if group { ("xreadgroup", "or '>'") } else { ("xread", "'+', or '$'") };
        let text =
            format!("ERR Unbalanced '{name}' list of streams: for each stream key an ID, {ids} must be specified.");
        return Err(Refusal::Redis(text.into()));
    }
    plan.names(first..first + rest / 2);
    plan.back(Back::Streams);
    Ok(())
}
