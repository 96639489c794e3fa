//! What becomes of an isolated tenant's request. Default is refusal: only what is listed goes on, see [`table`](super::table).

pub use super::scripts::Scripts;

use super::pieces::Pieces;
use super::plan::{Plan, encode_keys};
use super::refusal::{Refusal, shown};
use super::table::{Row, Treatment, find, find_sub};
use super::{Back, KeySpace};
use crate::command::{Args, CommandTable, NAME_BYTES_MAX, upper_case};
use crate::resp::ArgRange;
use bytes::BytesMut;

/// What a judgement depends on, beside the request.
pub struct Isolation<'a> {
    /// Where the tenant's keys are.
    pub space: &'a KeySpace,
    /// What the upstream says of its commands.
    pub commands: &'a CommandTable,
    /// The scripts that this tenant sent; what it sends now is added.
    pub scripts: &'a Scripts,
    /// The tenant has an upstream user of its own, which holds scripts to its keys.
    pub own_user: bool,
    /// FLUSHDB and FLUSHALL are allowed, and mean the tenant's own keys.
    pub flushdb: bool,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Verdict {
    /// It names no key and no channel: as it came, and so does its reply.
    Passed,
    /// Encoded anew, each key and channel in the tenant's space.
    Rewritten {
        /// The request.
        frame: BytesMut,
        /// Where its arguments are.
        ranges: Vec<ArgRange>,
        /// What is to be made of the reply.
        back: Back,
    },
    /// The same piece by piece, of a request that was judged so.
    InPieces(Box<Pieces>, Back),
    /// The session answers it or knows the way.
    Own(Own),
    /// With this line, `-…\r\n`; nothing is sent.
    Refused(String),
}

/// What is the session's to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Own {
    /// The sidecar's own commands and what speaks of its clients: AUTH, HELLO, QUIT, RESET, SELECT, CLIENT …
    Session,
    /// `RANDOMKEY`
    RandomKey,
    /// `DBSIZE`
    DbSize,
    /// `FLUSHDB`, `FLUSHALL`
    FlushDb,
}

/// The judgement of one whole request outside of subscriptions, in or out of MULTI.
#[must_use]
pub fn judge(args: &Args<'_>, isolation: &Isolation<'_>) -> Verdict {
    judge_for(args, isolation, Sending::Whole)
}

/// The same of one so large that it is not to be encoded in one go.
#[must_use]
pub fn judge_in_pieces(args: &Args<'_>, isolation: &Isolation<'_>) -> Verdict {
    judge_for(args, isolation, Sending::InPieces)
}

/// How what is rewritten goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sending {
    Whole,
    InPieces,
}

fn judge_for(args: &Args<'_>, isolation: &Isolation<'_>, sending: Sending) -> Verdict {
    if isolation.space.is_anothers() {
        return Verdict::Refused(
            "-NOPERM this tenant's namespace is a reserved name: it cannot be isolated\r\n".to_owned(),
        );
    }
    let mut upper = [0; NAME_BYTES_MAX];
    let upper = args.get(0).and_then(|name| upper_case(name, &mut upper));
    let Some((upper, row)) = upper.and_then(|upper| Some((upper, find(upper)?))) else {
        return Verdict::Refused(unlisted(args, upper, isolation.commands));
    };
    // Redis names a subcommand in errors; what is asked for below is of the row's own.
    let (row, sub) = match row.treatment {
        Treatment::Container(rows) => match container(row, rows, args) {
            Ok(found) => (found, args.get(1)),
            Err(refusal) => return Verdict::Refused(refusal),
        },
        _ => (row, None),
    };
    treat(row, upper, sub, args, isolation, sending)
        .unwrap_or_else(|refusal| Verdict::Refused(refusal.line(args.get(0).unwrap_or_default(), sub)))
}

fn treat(
    row: &Row,
    upper: &[u8],
    sub: Option<&[u8]>,
    args: &Args<'_>,
    isolation: &Isolation<'_>,
    sending: Sending,
) -> Result<Verdict, Refusal> {
    match row.treatment {
        Treatment::Passed => Ok(Verdict::Passed),
        Treatment::Keys(first, last, step) => {
            if !places_keys(upper, sub, isolation.commands, (first, last, step)) {
                return Err(Refusal::NotAllowed("this upstream's COMMAND places its keys elsewhere"));
            }
            // Positions from the end count from behind the last argument.
            let len = args.len();
            let last = usize::try_from(last).unwrap_or_else(|_| len.saturating_sub(last.unsigned_abs() as usize));
            let first = first as usize;
            if first >= len || first > last {
                return Err(Refusal::Arity);
            }
            if sending == Sending::InPieces {
                let pieces = Pieces::keys(first, last.min(len - 1), step, isolation.space);
                return Ok(Verdict::InPieces(Box::new(pieces), Back::AsIs));
            }
            let keys = (first..=last.min(len - 1)).step_by(step);
            let (frame, ranges) = encode_keys(args, isolation.space, keys)?;
            Ok(Verdict::Rewritten { frame, ranges, back: Back::AsIs })
        }
        Treatment::Parsed(parse) => {
            let mut plan = Plan::default();
            parse(args, isolation, &mut plan)?;
            if sending == Sending::InPieces {
                let (pieces, back) = plan.into_pieces(isolation.space);
                return Ok(Verdict::InPieces(Box::new(pieces), back));
            }
            let (frame, ranges, back) = plan.encode(args, isolation.space)?;
            Ok(Verdict::Rewritten { frame, ranges, back })
        }
        Treatment::Own(own) => own_way(own, args, isolation),
        Treatment::Refused | Treatment::Container(_) => Err(Refusal::NotAllowed(row.why)),
    }
}

/// Does the upstream's COMMAND say so too, as far as it is known?
pub(super) fn places_keys(
    upper: &[u8],
    sub: Option<&[u8]>,
    commands: &CommandTable,
    places: (i32, i32, usize),
) -> bool {
    let Some(facts) = commands.facts() else { return true };
    let fact = match sub {
        None => facts.find(upper),
        Some(sub) => facts.find(&[upper, b"|", &sub.to_ascii_uppercase()].concat()),
    };
    fact.is_none_or(|fact| fact.places_keys(places))
}

fn own_way(own: Own, args: &Args<'_>, isolation: &Isolation<'_>) -> Result<Verdict, Refusal> {
    match own {
        Own::Session => {}
        Own::DbSize | Own::RandomKey if args.len() != 1 => return Err(Refusal::Arity),
        Own::DbSize | Own::RandomKey => {}
        Own::FlushDb if !isolation.flushdb => {
            return Err(Refusal::NotAllowed("its configuration does not allow it (flushdb)"));
        }
        Own::FlushDb => {
            let is_known = args.len() == 1 || args.len() == 2 && (args.is(1, "ASYNC") || args.is(1, "SYNC"));
            if !is_known {
                return Err(Refusal::Syntax);
            }
        }
    }
    Ok(Verdict::Own(own))
}

/// The subcommand's row.
fn container(row: &Row, rows: &'static [Row], args: &Args<'_>) -> Result<&'static Row, String> {
    let command = args.get(0).unwrap_or_default();
    let Some(name) = args.get(1) else { return Err(Refusal::Arity.line(command, None)) };
    find_sub(rows, name).ok_or_else(|| Refusal::NotAllowed(row.why).line(command, Some(name)))
}

/// No row. What the upstream does not know either is called as Redis calls it, so that clients that try find out.
fn unlisted(args: &Args<'_>, upper: Option<&[u8]>, commands: &CommandTable) -> String {
    let name = args.get(0).unwrap_or_default();
    if upper.is_some_and(|upper| commands.knows(upper)) {
        return Refusal::NotAllowed("where its keys are is not known").line(name, None);
    }
    let mut begin = String::new();
    for arg in args.from(1) {
        if begin.len() >= 128 {
            break;
        }
        begin.push_str(&format!("'{}' ", shown(arg)));
    }
    format!("-ERR unknown command '{}', with args beginning with: {begin}\r\n", shown(name))
}
