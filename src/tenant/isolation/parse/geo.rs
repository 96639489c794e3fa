//! GEORADIUS and GEORADIUSBYMEMBER, which may store what they find.

use super::super::plan::Plan;
use super::super::refusal::Refusal;
use super::super::request::Isolation;
use super::store_once;
use crate::command::Args;

/// `GEORADIUS key longitude latitude radius unit …`
///
/// # Errors
/// See [`options`].
pub fn radius(args: &Args<'_>, isolation: &Isolation<'_>, plan: &mut Plan) -> Result<(), Refusal> {
    options(args, 6, b"GEORADIUS_RO", isolation, plan)
}

/// `GEORADIUSBYMEMBER key member radius unit …`
///
/// # Errors
/// See [`options`].
pub fn radius_by_member(args: &Args<'_>, isolation: &Isolation<'_>, plan: &mut Plan) -> Result<(), Refusal> {
    options(args, 5, b"GEORADIUSBYMEMBER_RO", isolation, plan)
}

/// `[WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC | DESC] [STORE key | STOREDIST key]`.
fn options(
    args: &Args<'_>,
    first: usize,
    reading: &'static [u8],
    isolation: &Isolation<'_>,
    plan: &mut Plan,
) -> Result<(), Refusal> {
    const FLAGS: [&str; 6] = ["WITHCOORD", "WITHDIST", "WITHHASH", "ANY", "ASC", "DESC"];
    if args.len() < first {
        return Err(Refusal::Arity);
    }
    // What is no unit Redis refuses, but may take for an option where it looks for keys.
    if !["m", "km", "ft", "mi"].iter().any(|unit| args.is(first - 1, unit)) {
        return Err(Refusal::Redis("ERR unsupported unit provided. please use M, KM, FT, MI".into()));
    }
    plan.name(1);
    let mut stores = false;
    let mut at = first;
    while at < args.len() {
        let followed = at + 1 < args.len();
        if FLAGS.iter().any(|flag| args.is(at, flag)) {
            at += 1;
        } else if args.is(at, "COUNT") && followed {
            // As with the unit.
            if !args.get(at + 1).is_some_and(|count| count.iter().all(u8::is_ascii_digit)) {
                return Err(Refusal::NotInteger);
            }
            at += 2;
        } else if (args.is(at, "STORE") || args.is(at, "STOREDIST")) && followed {
            store_once(&mut stores, at + 1, plan)?;
            at += 2;
        } else {
            return Err(Refusal::Syntax);
        }
    }
    // The tenant's upstream user may not what can store without that being checked (`tenant/acl`).
    if isolation.own_user && !stores {
        plan.instead(0, reading);
    }
    Ok(())
}
