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
/// Whoever sends a script has it hashed here twice, and read and compiled upstream, where nobody else is served meanwhile.
const SCRIPT_BYTES_MAX: usize = 256 * 1024;
/// A client asks for the few that it is about to call.
const NAMES_MAX: usize = 1024;
const TOO_LONG: Refusal = Refusal::NotAllowed("the script is too long: at most 256 KiB");
const TOO_MANY: Refusal = Refusal::NotAllowed("too many scripts at once: at most 1024");
const NOSCRIPT: &str = "NOSCRIPT No matching script. Please use EVAL.";

/// `EVAL script numkeys [key …] [argument …]`
///
/// # Errors
/// The number of keys; the tenant has no user of its own; too long a script.
pub fn eval(args: &Args<'_>, isolation: &Isolation<'_>, plan: &mut Plan) -> Result<(), Refusal> {
    keys(args, isolation, plan)?;
    send(args, 1, isolation, plan)?;
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
/// The tenant has no user of its own; too long a script.
pub fn load(args: &Args<'_>, isolation: &Isolation<'_>, plan: &mut Plan) -> Result<(), Refusal> {
    if args.len() != 3 {
        return Err(Refusal::Arity);
    }
    if !isolation.own_user {
        return Err(NO_USER);
    }
    let sha = send(args, 2, isolation, plan)?;
    plan.back(Back::ScriptName(sha));
    Ok(())
}

/// `SCRIPT EXISTS sha1 [sha1 …]`
///
/// # Errors
/// None is named, or too many are.
pub fn exists(args: &Args<'_>, isolation: &Isolation<'_>, plan: &mut Plan) -> Result<(), Refusal> {
    if args.len() < 3 {
        return Err(Refusal::Arity);
    }
    if args.len() - 2 > NAMES_MAX {
        return Err(TOO_MANY);
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
fn send(args: &Args<'_>, at: usize, isolation: &Isolation<'_>, plan: &mut Plan) -> Result<Sha, Refusal> {
    let script = args.get(at).ok_or(Refusal::Arity)?;
    if script.len() > SCRIPT_BYTES_MAX {
        return Err(TOO_LONG);
    }
    plan.text(at, wrap::wrapped(script));
    Ok(isolation.scripts.sent(script))
}

fn upstream(args: &Args<'_>, at: usize, isolation: &Isolation<'_>) -> Option<Sha> {
    isolation.scripts.upstream(&args.get(at).and_then(sha_of_hex)?)
}

#[cfg(test)]
mod tests {
    use super::super::super::{KeySpace, Scripts, Verdict, judge};
    use super::*;
    use crate::command::CommandTable;
    use crate::resp::{RequestLimits, RequestScanner, write};
    use bytes::BytesMut;

    #[test]
    fn what_takes_long_before_anything_is_done_is_refused() {
        let (space, commands, scripts) = (KeySpace::new("acme"), CommandTable::new(), Scripts::default());
        let isolation =
            Isolation { space: &space, commands: &commands, scripts: &scripts, own_user: true, flushdb: false };
        let is_refused = |words: &[&[u8]]| {
            let mut frame = BytesMut::new();
            write::request(&mut frame, words);
            let mut scanner = RequestScanner::new(RequestLimits::default());
            assert!(scanner.scan(&frame).is_ok_and(|found| found.is_some()));
            matches!(judge(&Args::new(&frame, scanner.args()), &isolation), Verdict::Refused(line) if line.contains("too"))
        };
        let script = vec![b' '; SCRIPT_BYTES_MAX + 1];
        let sha: &[u8] = b"e0e1f9fabfc9d4800c877a703b823ac0578ff8db";
        for (at_most, more) in [(true, 0), (false, 1)] {
            let script = &script[..SCRIPT_BYTES_MAX + more];
            assert_eq!(!is_refused(&[b"EVAL", script, b"0"]), at_most);
            assert_eq!(!is_refused(&[b"SCRIPT", b"LOAD", script]), at_most);
            let names = [vec![b"SCRIPT".as_slice(), b"EXISTS"], vec![sha; NAMES_MAX + more]].concat();
            assert_eq!(!is_refused(&names), at_most);
        }
    }
}
