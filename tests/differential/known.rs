//! What is not equal now, case by case, each with its reason. An entry that does not differ any more is a fault of this list,
//! and so is a difference that it does not name.

use super::pair::engine;

/// A difference that is there now. One that is listed and does not differ any more is a fault of this list.
struct Known {
    case: &'static str,
    /// Of the engine, as 702 for 7.2: from this one on, and below that one.
    versions: std::ops::Range<u32>,
    reason: &'static str,
}

const fn known(case: &'static str, reason: &'static str) -> Known {
    Known { case, versions: 0..u32::MAX, reason }
}

const fn known_below(case: &'static str, version: u32, reason: &'static str) -> Known {
    Known { case, versions: 0..version, reason }
}

const fn known_from(case: &'static str, version: u32, reason: &'static str) -> Known {
    Known { case, versions: version..u32::MAX, reason }
}

const WAIT: &str = "refused by design, in words of the sidecar's own";
const FRAMES: &str = "by design: refused, for two parsers could disagree on where such a request ends";

const KNOWN: &[Known] = &[
    known("transaction: WAIT inside MULTI", WAIT),
    known_below(
        "reply_mode: CLIENT REPLY SKIP takes an empty request for the one behind it",
        802,
        "an empty request is not passed on",
    ),
    known_below(
        "greeting: HELLO with what it does not take",
        702,
        "the name in a HELLO that is refused for what stands behind it is not kept",
    ),
    known_below("greeting: go-redis with a maintenance handshake", 700, "refused in the words of later engines"),
    known_below("reply_mode: SUBSCRIBE while replies are off", 700, "CLIENT REPLY does not silence acknowledgements"),
    known("auth: ACL", "the link of a user who was deleted tries once more to be that user, and ACL LOG tells of it"),
    known("frame: an argument that is not followed by a line's end", FRAMES),
    known("frame: a header whose return is followed by something else", FRAMES),
    known("frame: a NUL in an inline request", FRAMES),
    known_from("frame: more arguments than the sidecar takes", 700, "by design: a bound of the sidecar's"),
    known(
        "auth: a password is wanted and none is given",
        "by design: clients have the rights of the sidecar's links, which were there before the password",
    ),
];

/// Why this case differs, where it is known to.
pub fn why_known(case: &str) -> Option<&'static str> {
    let here = |known: &&Known| known.case == case && known.versions.contains(&engine().0);
    KNOWN.iter().find(here).map(|known| known.reason)
}

/// Whether it differs depends on which of two connections is served first.
pub fn differs_by_chance(case: &str) -> bool {
    case == "auth: ACL"
}
