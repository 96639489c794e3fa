//! CLIENT TRACKING: a broadcast is held inside the tenant's keys.

use super::Back;
use super::plan::Plan;
use super::refusal::Refusal;
use super::request::Isolation;
use crate::command::Args;

/// The upstream compares each with each other, and with the name of each key that anybody changes.
const PREFIXES_MAX: usize = 64;

/// `CLIENT TRACKING ON | OFF [REDIRECT id] [PREFIX prefix …] [BCAST] [OPTIN] [OPTOUT] [NOLOOP]`. BCAST without a prefix would
/// be told of all keys. REDIRECT's id is the session's to translate.
///
/// # Errors
/// It cannot be read; too many prefixes.
pub fn tracking(args: &Args<'_>, _: &Isolation<'_>, plan: &mut Plan) -> Result<(), Refusal> {
    if args.len() < 3 {
        return Err(Refusal::Arity);
    }
    let (mut broadcasts, mut prefixes) = (false, 0);
    let mut at = 3;
    while at < args.len() {
        let followed = at + 1 < args.len();
        at += match () {
            () if args.is(at, "REDIRECT") && followed => 2,
            () if args.is(at, "BCAST") => {
                broadcasts = true;
                1
            }
            () if args.is(at, "PREFIX") && followed => {
                prefixes += 1;
                plan.name(at + 1);
                2
            }
            () if ["OPTIN", "OPTOUT", "NOLOOP"].iter().any(|flag| args.is(at, flag)) => 1,
            () => return Err(Refusal::Syntax),
        };
    }
    if prefixes > PREFIXES_MAX {
        return Err(Refusal::NotAllowed("too many prefixes: at most 64"));
    }
    if broadcasts && prefixes == 0 {
        plan.word(b"PREFIX");
        plan.prefix_then(b"");
    }
    Ok(())
}

/// `CLIENT TRACKINGINFO`
///
/// # Errors
/// None.
pub fn info(_: &Args<'_>, _: &Isolation<'_>, plan: &mut Plan) -> Result<(), Refusal> {
    plan.back(Back::TrackingInfo);
    Ok(())
}
