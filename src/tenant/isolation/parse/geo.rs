//! GEORADIUS and GEORADIUSBYMEMBER, which may store what they find.

use super::super::plan::Plan;
use super::super::refusal::Refusal;
use super::super::request::Isolation;
use crate::command::Args;

/// `GEORADIUS key longitude latitude radius unit …`
///
/// # Errors
/// See [`options`].
pub fn radius(args: &Args<'_>, _: &Isolation<'_>, plan: &mut Plan) -> Result<(), Refusal> {
    options(args, 6, plan)
}

/// `GEORADIUSBYMEMBER key member radius unit …`
///
/// # Errors
/// See [`options`].
pub fn radius_by_member(args: &Args<'_>, _: &Isolation<'_>, plan: &mut Plan) -> Result<(), Refusal> {
    options(args, 5, plan)
}

/// `[WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC | DESC] [STORE key | STOREDIST key]`. Of two stores Redis takes
/// the last, and its own check of keys does not see all of them in every version: two are refused.
fn options(args: &Args<'_>, first: usize, plan: &mut Plan) -> Result<(), Refusal> {
    const FLAGS: [&str; 6] = ["WITHCOORD", "WITHDIST", "WITHHASH", "ANY", "ASC", "DESC"];
    if args.len() < first {
        return Err(Refusal::Arity);
    }
    plan.name(1);
    let mut stores = false;
    let mut at = first;
    while at < args.len() {
        let followed = at + 1 < args.len();
        if FLAGS.iter().any(|flag| args.is(at, flag)) {
            at += 1;
        } else if args.is(at, "COUNT") && followed {
            at += 2;
        } else if (args.is(at, "STORE") || args.is(at, "STOREDIST")) && followed {
            if stores {
                return Err(Refusal::NotAllowed("STORE or STOREDIST may be given once"));
            }
            stores = true;
            plan.name(at + 1);
            at += 2;
        } else {
            return Err(Refusal::Syntax);
        }
    }
    Ok(())
}
