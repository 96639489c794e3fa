//! EVAL and SCRIPT: one script cache upstream, of which a tenant knows what it sent itself, and in which the script stands as
//! [`wrap`] has it.

use super::super::Back;
use super::super::plan::Plan;
use super::super::refusal::Refusal;
use super::super::request::Isolation;
use super::super::scripts::{Sha, hex, sha_of_hex};
use super::super::wrap;
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
    send(args, 1, isolation, plan);
    plan.prefix_then(b"");
    Ok(())
}

/// `EVALSHA sha1 numkeys [key …] [argument …]`
///
/// # Errors
/// As EVAL; a script that the tenant did not send.
pub fn evalsha(args: &Args<'_>, isolation: &Isolation<'_>, plan: &mut Plan) -> Result<(), Refusal> {
    keys(args, isolation, plan)?;
    let upstream = upstream(args, 1, isolation).ok_or(Refusal::Redis(NOSCRIPT.into()))?;
    plan.text(1, hex(&upstream).into_bytes());
    plan.prefix_then(b"");
    Ok(())
}

/// `SCRIPT LOAD script`
///
/// # Errors
/// The tenant has no user of its own.
pub fn load(args: &Args<'_>, isolation: &Isolation<'_>, plan: &mut Plan) -> Result<(), Refusal> {
    if args.len() != 3 {
        return Err(Refusal::Arity);
    }
    if !isolation.own_user {
        return Err(NO_USER);
    }
    if let Some(sha) = send(args, 2, isolation, plan) {
        plan.back(Back::ScriptName(sha));
    }
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
    let found: Vec<Option<Sha>> = (2..args.len()).map(|at| upstream(args, at, isolation)).collect();
    for (at, upstream) in found.iter().enumerate() {
        if let Some(upstream) = upstream {
            plan.text(at + 2, hex(upstream).into_bytes());
        }
    }
    plan.back(Back::ScriptExists(found.iter().map(Option::is_some).collect()));
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

/// The script goes as it is to stand in the upstream's cache.
fn send(args: &Args<'_>, at: usize, isolation: &Isolation<'_>, plan: &mut Plan) -> Option<Sha> {
    let script = args.get(at)?;
    plan.text(at, wrap::wrapped(script));
    Some(isolation.scripts.sent(script))
}

fn upstream(args: &Args<'_>, at: usize, isolation: &Isolation<'_>) -> Option<Sha> {
    isolation.scripts.upstream(&args.get(at).and_then(sha_of_hex)?)
}
