//! SORT, COPY and MSETEX: keys among options.

use super::super::plan::Plan;
use super::super::refusal::Refusal;
use super::super::request::Isolation;
use super::{count_of_keys, store_once};
use crate::command::Args;

/// `SORT key [BY pattern] [LIMIT offset count] [GET pattern …] [ASC | DESC] [ALPHA] [STORE destination]`
///
/// # Errors
/// A pattern that reads other keys, STORE given twice.
pub fn sort(args: &Args<'_>, _: &Isolation<'_>, plan: &mut Plan) -> Result<(), Refusal> {
    options(args, true, plan)
}

/// The same without STORE.
///
/// # Errors
/// A pattern that reads other keys.
pub fn sort_ro(args: &Args<'_>, _: &Isolation<'_>, plan: &mut Plan) -> Result<(), Refusal> {
    options(args, false, plan)
}

fn options(args: &Args<'_>, may_store: bool, plan: &mut Plan) -> Result<(), Refusal> {
    if args.len() < 2 {
        return Err(Refusal::Arity);
    }
    plan.name(1);
    let mut stores = false;
    let mut at = 2;
    while at < args.len() {
        let left = args.len() - at - 1;
        if ["ASC", "DESC", "ALPHA"].iter().any(|flag| args.is(at, flag)) {
            at += 1;
        } else if args.is(at, "LIMIT") && left >= 2 {
            at += 3;
        } else if args.is(at, "BY") && left >= 1 {
            // Without an asterisk it names no key: Redis sorts nothing then.
            if args.get(at + 1).is_some_and(|pattern| pattern.contains(&b'*')) {
                return Err(Refusal::NotAllowed("BY would read other keys; BY nosort alone is possible"));
            }
            at += 2;
        } else if args.is(at, "GET") && left >= 1 {
            if args.get(at + 1) != Some(b"#") {
                return Err(Refusal::NotAllowed("GET would read other keys; GET # alone is possible"));
            }
            at += 2;
        } else if args.is(at, "STORE") && left >= 1 && may_store {
            store_once(&mut stores, at + 1, plan)?;
            at += 2;
        } else {
            return Err(Refusal::Syntax);
        }
    }
    Ok(())
}

/// `COPY source destination [DB database] [REPLACE]`
///
/// # Errors
/// DB, whichever.
pub fn copy(args: &Args<'_>, _: &Isolation<'_>, plan: &mut Plan) -> Result<(), Refusal> {
    if args.len() < 3 {
        return Err(Refusal::Arity);
    }
    plan.names(1..3);
    for at in 3..args.len() {
        if args.is(at, "DB") && at + 1 < args.len() {
            return Err(Refusal::NotAllowed("a tenant has one database, and DB names another"));
        }
        if !args.is(at, "REPLACE") {
            return Err(Refusal::Syntax);
        }
    }
    Ok(())
}

/// `MSETEX numkeys key value [key value …] …`
///
/// # Errors
/// The number of keys.
pub fn msetex(args: &Args<'_>, _: &Isolation<'_>, plan: &mut Plan) -> Result<(), Refusal> {
    if args.len() < 4 {
        return Err(Refusal::Arity);
    }
    let keys = count_of_keys(args, 1, 2)?;
    plan.names((0..keys).map(|key| 2 + key * 2));
    Ok(())
}
