//! Keys behind their number, and pops that say of which key.

use super::super::Back;
use super::super::plan::Plan;
use super::super::refusal::{Refusal, full_name};
use super::super::request::Isolation;
use super::{count, count_of_keys};
use crate::command::Args;

/// `BLPOP key [key …] timeout`
///
/// # Errors
/// No key.
pub fn until_timeout(args: &Args<'_>, _: &Isolation<'_>, plan: &mut Plan) -> Result<(), Refusal> {
    if args.len() < 3 {
        return Err(Refusal::Arity);
    }
    plan.names(1..args.len() - 1);
    plan.back(Back::FirstIsKey);
    Ok(())
}

/// `LMPOP numkeys key [key …] LEFT | RIGHT [COUNT count]`, `ZMPOP`
///
/// # Errors
/// The number of keys.
pub fn counted(args: &Args<'_>, _: &Isolation<'_>, plan: &mut Plan) -> Result<(), Refusal> {
    popping(args, 1, plan)
}

/// `BLMPOP timeout numkeys key [key …] …`, `BZMPOP`
///
/// # Errors
/// The number of keys.
pub fn after_timeout(args: &Args<'_>, _: &Isolation<'_>, plan: &mut Plan) -> Result<(), Refusal> {
    popping(args, 2, plan)
}

fn popping(args: &Args<'_>, at: usize, plan: &mut Plan) -> Result<(), Refusal> {
    // Where and from which end: without it Redis says so.
    if args.len() < at + 3 {
        return Err(Refusal::Arity);
    }
    let keys = count_of_keys(args, at, 1)?;
    plan.names(at + 1..=at + keys);
    plan.back(Back::FirstIsKey);
    Ok(())
}

/// `SINTERCARD numkeys key [key …] [LIMIT limit]`, `ZINTERCARD`
///
/// # Errors
/// The number of keys.
pub fn cardinality(args: &Args<'_>, _: &Isolation<'_>, plan: &mut Plan) -> Result<(), Refusal> {
    if args.len() < 3 {
        return Err(Refusal::Arity);
    }
    let keys = match count(args, 1)? {
        keys if keys > args.len() - 2 => {
            return Err(Refusal::Redis("ERR Number of keys can't be greater than number of args".into()));
        }
        _ => count_of_keys(args, 1, 1)?,
    };
    plan.names(2..2 + keys);
    Ok(())
}

/// `ZUNION numkeys key [key …] …`, `ZINTER`, `ZDIFF`
///
/// # Errors
/// The number of keys.
pub fn combined(args: &Args<'_>, _: &Isolation<'_>, plan: &mut Plan) -> Result<(), Refusal> {
    combination(args, 1, plan)
}

/// `ZUNIONSTORE destination numkeys key [key …] …`, `ZINTERSTORE`, `ZDIFFSTORE`
///
/// # Errors
/// The number of keys.
pub fn combined_store(args: &Args<'_>, _: &Isolation<'_>, plan: &mut Plan) -> Result<(), Refusal> {
    plan.name(1);
    combination(args, 2, plan)
}

fn combination(args: &Args<'_>, at: usize, plan: &mut Plan) -> Result<(), Refusal> {
    if args.len() < at + 2 {
        return Err(Refusal::Arity);
    }
    if count(args, at)? == 0 {
        let name = full_name(args.get(0).unwrap_or_default(), None);
        return Err(Refusal::Redis(format!("ERR at least 1 input key is needed for '{name}' command").into()));
    }
    let keys = count_of_keys(args, at, 1)?;
    plan.names(at + 1..=at + keys);
    Ok(())
}
