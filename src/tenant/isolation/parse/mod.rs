//! Where the keys are in commands whose COMMAND entry does not tell: exactly as Redis reads them, and stricter where it is
//! lenient. What is not understood is refused.

pub mod geo;
pub mod pop;
pub mod scripts;
pub mod sorting;
pub mod streams;

use super::plan::Plan;
use super::refusal::Refusal;
use crate::command::Args;

/// More digits than this is more than there can be arguments.
const DIGITS_MAX: usize = 9;

/// A number of keys: decimal digits alone, no leading zero. Redis refuses signs and leading zeros too.
///
/// # Errors
/// It is none, or there is no argument.
pub fn count(args: &Args<'_>, at: usize) -> Result<usize, Refusal> {
    let digits = args.get(at).ok_or(Refusal::Arity)?;
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    if !is_number || digits.len() > DIGITS_MAX || (digits[0] == b'0' && digits.len() > 1) {
        return Err(Refusal::NotInteger);
    }
    Ok(digits.iter().fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0')))
}

/// As [`count`], and at least one, and so many arguments follow.
///
/// # Errors
/// In Redis's words.
pub fn count_of_keys(args: &Args<'_>, at: usize, step: usize) -> Result<usize, Refusal> {
    let keys = count(args, at)?;
    if keys == 0 {
        return Err(Refusal::Redis("ERR numkeys should be greater than 0".into()));
    }
    if keys * step > args.len() - at - 1 {
        return Err(Refusal::Syntax);
    }
    Ok(keys)
}

/// The key at `at` is where the result goes. Of two such Redis takes the last, and its own check of keys does not see all of
/// them in every version: two are refused.
fn store_once(stores: &mut bool, at: usize, plan: &mut Plan) -> Result<(), Refusal> {
    if std::mem::replace(stores, true) {
        return Err(Refusal::NotAllowed("STORE may be given once"));
    }
    plan.name(at);
    Ok(())
}
