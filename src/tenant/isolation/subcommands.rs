//! The rows of subcommands, and what rows are made with.

use super::parse::scripts;
use super::request::Own;
use super::table::Row;
use super::table::Treatment::{self, Own as Owned, Parsed, Passed, Refused};
use super::{names, tracking};

pub(super) const fn row(name: &'static str, treatment: Treatment) -> Row {
    Row { name, treatment, why: "" }
}

pub(super) const fn why(name: &'static str, treatment: Treatment, why: &'static str) -> Row {
    Row { name, treatment, why }
}

pub(super) const fn no(name: &'static str, why: &'static str) -> Row {
    Row { name, treatment: Refused, why }
}

pub(super) const SESSION: Treatment = Owned(Own::Session);
pub(super) const SUBKEY: Treatment = Treatment::Keys(2, 2, 1);
pub(super) const OWN_SCRIPT: &str = "only where the tenant has an upstream user of its own";

pub(super) static ACL: &[Row] = &[row("CAT", Passed), row("HELP", Passed), why("WHOAMI", SESSION, "the tenant's name")];

pub(super) static CLIENT: &[Row] = &[
    row("CACHING", Passed),
    row("GETNAME", SESSION),
    row("GETREDIR", SESSION),
    row("HELP", Passed),
    row("ID", SESSION),
    row("INFO", SESSION),
    why("KILL", SESSION, "the tenant's own clients"),
    why("LIST", SESSION, "the tenant's own clients"),
    row("MAINT_NOTIFICATIONS", SESSION),
    row("NO-TOUCH", Passed),
    row("REPLY", SESSION),
    row("SETINFO", SESSION),
    row("SETNAME", SESSION),
    why("TRACKING", Parsed(tracking::tracking), "prefixes are prefixed; BCAST without one gets the tenant's"),
    why("TRACKINGINFO", Parsed(tracking::info), "the reply's prefixes lose the tenant's"),
    why("UNBLOCK", SESSION, "the tenant's own clients"),
];

pub(super) static CLUSTER: &[Row] = &[why("KEYSLOT", Parsed(names::keyslot), "of the prefixed key")];

pub(super) static MEMORY: &[Row] = &[row("HELP", Passed), row("USAGE", SUBKEY)];

pub(super) static OBJECT: &[Row] = &[
    row("ENCODING", SUBKEY),
    row("FREQ", SUBKEY),
    row("HELP", Passed),
    row("IDLETIME", SUBKEY),
    row("REFCOUNT", SUBKEY),
];

pub(super) static PUBSUB: &[Row] = &[
    why("CHANNELS", Parsed(names::channel_list), "the pattern behind the prefix, which is given where there is none"),
    row("HELP", Passed),
    why("NUMSUB", Parsed(names::channel_counts), "the channels prefixed"),
    why(
        "SHARDCHANNELS",
        Parsed(names::channel_list),
        "the pattern behind the prefix, which is given where there is none",
    ),
    why("SHARDNUMSUB", Parsed(names::channel_counts), "the channels prefixed"),
];

pub(super) static SCRIPT: &[Row] = &[
    why("EXISTS", Parsed(scripts::exists), "of scripts that the tenant sent"),
    row("HELP", Passed),
    why("LOAD", Parsed(scripts::load), OWN_SCRIPT),
];

pub(super) static XGROUP: &[Row] = &[
    row("CREATE", SUBKEY),
    row("CREATECONSUMER", SUBKEY),
    row("DELCONSUMER", SUBKEY),
    row("DESTROY", SUBKEY),
    row("HELP", Passed),
    row("SETID", SUBKEY),
];

pub(super) static XINFO: &[Row] =
    &[row("CONSUMERS", SUBKEY), row("GROUPS", SUBKEY), row("HELP", Passed), row("STREAM", SUBKEY)];
