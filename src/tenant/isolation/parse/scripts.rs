//! EVAL and SCRIPT: one script cache upstream, of which a tenant knows what it sent itself.

use super::super::Back;
use super::super::plan::Plan;
use super::super::refusal::Refusal;
use super::super::request::Isolation;
use super::super::scripts::sha_of_hex;
use super::count;
use crate::command::Args;

const NO_USER: Refusal =
    Refusal::NotAllowed("a script reaches all keys, and the tenant has no upstream user of its own");
const NOSCRIPT: &str = "NOSCRIPT No matching script. Please use EVAL.";

/// `EVAL script numkeys [key …] [argument …]`
///
/// # Errors
/// The number of keys; the tenant has no user of its own.
pub fn eval(args: &Args<'_>, isolation: &Isolation<'_>, plan: &mut Plan) -> Result<(), Refusal> {
    keys(args, isolation, plan)?;
    remember(args, 1, isolation);
    Ok(())
}

/// `EVALSHA sha1 numkeys [key …] [argument …]`
///
/// # Errors
/// As EVAL; a script that the tenant did not send.
pub fn evalsha(args: &Args<'_>, isolation: &Isolation<'_>, plan: &mut Plan) -> Result<(), Refusal> {
    keys(args, isolation, plan)?;
    if is_known(args, 1, isolation) { Ok(()) } else { Err(Refusal::Redis(NOSCRIPT.into())) }
}

/// `SCRIPT LOAD script`
///
/// # Errors
/// The tenant has no user of its own.
pub fn load(args: &Args<'_>, isolation: &Isolation<'_>, _: &mut Plan) -> Result<(), Refusal> {
    if args.len() != 3 {
        return Err(Refusal::Arity);
    }
    if !isolation.own_user {
        return Err(NO_USER);
    }
    remember(args, 2, isolation);
    Ok(())
}

/// `SCRIPT EXISTS sha1 [sha1 …]`
///
/// # Errors
/// None is named.
pub fn exists(args: &Args<'_>, isolation: &Isolation<'_>, plan: &mut Plan) -> Result<(), Refusal> {
    if args.len() < 3 {
        return Err(Refusal::Arity);
    }
    plan.back(Back::ScriptExists((2..args.len()).map(|at| is_known(args, at, isolation)).collect()));
    Ok(())
}

fn keys(args: &Args<'_>, isolation: &Isolation<'_>, plan: &mut Plan) -> Result<(), Refusal> {
    if args.len() < 3 {
        return Err(Refusal::Arity);
    }
    if !isolation.own_user {
        return Err(NO_USER);
    }
    if args
        .get(2)
        .is_some_and(|number| number.len() > 1 && number[0] == b'-' && number[1..].iter().all(u8::is_ascii_digit))
    {
        return Err(Refusal::Redis("ERR Number of keys can't be negative".into()));
    }
    let keys = count(args, 2)?;
    if keys > args.len() - 3 {
        return Err(Refusal::Redis("ERR Number of keys can't be greater than number of args".into()));
    }
    plan.names(3..3 + keys);
    Ok(())
}

fn remember(args: &Args<'_>, at: usize, isolation: &Isolation<'_>) {
    if let Some(script) = args.get(at) {
        isolation.scripts.sent(script);
    }
}

fn is_known(args: &Args<'_>, at: usize, isolation: &Isolation<'_>) -> bool {
    args.get(at).and_then(sha_of_hex).is_some_and(|sha| isolation.scripts.has(&sha))
}
