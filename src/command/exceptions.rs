//! Commands whose way the upstream's COMMAND does not tell: what a connection remembers, what the sidecar answers, what
//! cannot go through it.

use super::{About, Args, Local, Pin, Rewritten, Route};
use crate::resp::Proto;

/// One command's way, or how to find it.
pub enum Exception {
    /// Whatever its arguments.
    Always(Route),
    /// By its arguments.
    Depends(fn(&Args<'_>) -> Route),
}

const MAINT_NOTIFICATIONS: &str = "-ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP.\r\n";

const TRANSACTION: Exception = Exception::Always(Route::Pin(Pin::Transaction));
const BLOCKING: Exception = Exception::Always(Route::Pin(Pin::Blocking));
const SUBSCRIPTION: Exception = Exception::Always(Route::Pin(Pin::Subscription));
const UNKNOWN_ROUTE: Route = Route::Pin(Pin::Unknown);
const UNKNOWN: Exception = Exception::Always(UNKNOWN_ROUTE);
const STATE: Exception = Exception::Always(Route::Pin(Pin::State));
const RAW: Exception = Exception::Always(Route::Pin(Pin::Raw));
const SCRIPT: Exception = Exception::Always(Route::Script);
const LINK: Exception = Exception::Always(Route::Link);

/// The exception for an upper-case name.
#[must_use]
pub fn exception(upper: &[u8]) -> Option<&'static Exception> {
    Some(match upper {
        b"MULTI" | b"WATCH" => &TRANSACTION,
        // Without MULTI or WATCH an error or nothing: any connection may say so.
        b"EXEC" | b"DISCARD" | b"UNWATCH" => &LINK,
        b"BLPOP" | b"BRPOP" | b"BLMOVE" | b"BRPOPLPUSH" | b"BLMPOP" | b"BZPOPMIN" | b"BZPOPMAX" | b"BZMPOP" => {
            &BLOCKING
        }
        b"XREAD" | b"XREADGROUP" => &Exception::Depends(stream_read),
        b"SUBSCRIBE" | b"PSUBSCRIBE" | b"SSUBSCRIBE" | b"UNSUBSCRIBE" | b"PUNSUBSCRIBE" | b"SUNSUBSCRIBE" => {
            &SUBSCRIPTION
        }
        b"MONITOR" | b"SYNC" | b"PSYNC" | b"REPLCONF" => &RAW,
        b"PUBLISH" | b"SPUBLISH" | b"PUBSUB" => &LINK,
        // DEBUG PROTOCOL may push, and a push is nobody's on a link.
        b"DEBUG" => &STATE,
        b"SHUTDOWN" => &Exception::Always(Route::Pin(Pin::Ending)),
        b"EVAL" | b"EVALSHA" | b"EVAL_RO" | b"EVALSHA_RO" | b"FCALL" | b"FCALL_RO" => &SCRIPT,
        b"READONLY" => &STATE,
        b"READWRITE" => &LINK,
        b"ASKING" => &UNKNOWN,
        b"RESET" => &Exception::Depends(|args| exactly(args, 1, Local::Reset)),
        b"AUTH" => &Exception::Depends(|args| match args.len() {
            2 | 3 => Route::Local(Local::Auth),
            _ => Route::Link,
        }),
        b"CLIENT" => &Exception::Depends(client),
        b"COMMAND" => &Exception::Depends(command),
        b"MODULE" => &Exception::Depends(module),
        b"INFO" => &Exception::Depends(info),
        b"HELLO" => &Exception::Depends(hello),
        b"SELECT" => &Exception::Depends(|args| exactly(args, 2, Local::Select)),
        b"QUIT" => &Exception::Always(Route::Local(Local::Quit)),
        b"PING" => &Exception::Depends(|args| if args.len() <= 2 { Route::Local(Local::Ping) } else { Route::Link }),
        b"WAIT" | b"WAITAOF" => &Exception::Always(Route::Pin(Pin::Wait)),
        b"SCRIPT" => &Exception::Depends(|args| if args.is(1, "DEBUG") { Route::Pin(Pin::Raw) } else { Route::Link }),
        _ => return None,
    })
}

/// Another number of arguments is an error, and the upstream words it.
fn exactly(args: &Args<'_>, len: usize, local: Local) -> Route {
    if args.len() == len { Route::Local(local) } else { Route::Link }
}

fn stream_read(args: &Args<'_>) -> Route {
    // BLOCK is an option, and options end at STREAMS; a group and its consumer may bear any name.
    let mut index = 1;
    while index < args.len() && !args.is(index, "STREAMS") {
        if args.is(index, "BLOCK") {
            return Route::Pin(Pin::Blocking);
        }
        index += match () {
            () if args.is(index, "COUNT") => 2,
            () if args.is(index, "GROUP") => 3,
            () => 1,
        };
    }
    Route::Link
}

fn client(args: &Args<'_>) -> Route {
    let sub = |word| args.is(1, word);
    let off = args.len() == 3 && args.is(2, "OFF");
    match args.len() {
        2 if sub("GETNAME") => Route::Rewritten(Rewritten::ClientGetName),
        3 if sub("SETNAME") => Route::Rewritten(Rewritten::ClientSetName),
        4 if sub("SETINFO") => Route::Rewritten(Rewritten::ClientSetInfo),
        3 if sub("REPLY") => Route::Local(Local::ClientReply),
        // Where it is not on, to turn it off changes nothing.
        _ if (sub("TRACKING") || sub("NO-EVICT") || sub("NO-TOUCH")) && !off => Route::Pin(Pin::State),
        2 if sub("ID") => Route::Rewritten(Rewritten::ClientId),
        2 if sub("INFO") => Route::Rewritten(Rewritten::ClientInfo),
        2 if sub("GETREDIR") || sub("TRACKINGINFO") => Route::Rewritten(Rewritten::ClientRedirect),
        _ if sub("LIST") => Route::Rewritten(Rewritten::ClientList),
        n if n > 2 && sub("KILL") => Route::Rewritten(Rewritten::ClientKill),
        _ if sub("PAUSE") || sub("UNPAUSE") => Route::Rewritten(Rewritten::ClientPause),
        3 | 4 if sub("UNBLOCK") => Route::Rewritten(Rewritten::ClientUnblock),
        // Asked by recent clients of every server, and refused by most; where it is known it would speak of a link.
        _ if sub("MAINT_NOTIFICATIONS") => Route::Refuse(MAINT_NOTIFICATIONS),
        // Of a connection that has not been told anything: any may ask.
        _ if sub("HELP") || sub("TRACKING") || sub("NO-EVICT") || sub("NO-TOUCH") || sub("CACHING") => Route::Link,
        // An error, or what a later engine knows (CAPA, IMPORT-SOURCE): the connection may remember it.
        _ => UNKNOWN_ROUTE,
    }
}

fn command(args: &Args<'_>) -> Route {
    let sub = |word| args.is(1, word);
    Route::Rewritten(Rewritten::Command(match args.len() {
        1 => About::All,
        2 if sub("COUNT") => About::Count,
        _ if sub("LIST") => About::List,
        _ if sub("INFO") => About::Info,
        _ if sub("DOCS") => About::Docs,
        _ if sub("GETKEYS") => About::Keys,
        _ if sub("GETKEYSANDFLAGS") => About::KeysAndFlags,
        // Help for a person, or an error.
        _ => return Route::Link,
    }))
}

fn module(args: &Args<'_>) -> Route {
    let changes = ["LOAD", "LOADEX", "UNLOAD"].iter().any(|word| args.is(1, word));
    if changes { Route::Rewritten(Rewritten::Module) } else { Route::Link }
}

/// The sidecar's section is named, or all are asked for. Where none is, or the default ones, it is left out as a module's.
fn info(args: &Args<'_>) -> Route {
    let sections = 1..args.len();
    let own = |at| args.is(at, "inventory");
    match () {
        () if args.len() > 1 && sections.clone().all(own) => Route::Local(Local::Info),
        () => {
            let own = sections.clone().any(|at| own(at) || args.is(at, "all") || args.is(at, "everything"));
            Route::Rewritten(Rewritten::Info { own })
        }
    }
}

fn hello(args: &Args<'_>) -> Route {
    if args.len() == 1 || Hello::parse(args).is_some() { Route::Local(Local::Hello) } else { UNKNOWN_ROUTE }
}

/// A whole `HELLO`.
pub struct Hello<'a> {
    /// The protocol that it asks for.
    pub proto: Option<Proto>,
    /// User and password.
    pub auth: Option<(&'a [u8], &'a [u8])>,
    /// The name that it sets.
    pub name: Option<&'a [u8]>,
}

impl<'a> Hello<'a> {
    /// None where it is one that Redis refuses, in its own words.
    #[must_use]
    pub fn parse(args: &Args<'a>) -> Option<Self> {
        let proto = match args.get(1) {
            None => None,
            Some(b"2") => Some(Proto::Resp2),
            Some(b"3") => Some(Proto::Resp3),
            Some(_) => return None,
        };
        let mut hello = Self { proto, auth: None, name: None };
        let mut at = 2;
        while at < args.len() {
            if args.is(at, "AUTH") {
                hello.auth = Some((args.get(at + 1)?, args.get(at + 2)?));
                at += 3;
            } else if args.is(at, "SETNAME") {
                hello.name = Some(args.get(at + 1)?);
                at += 2;
            } else {
                return None;
            }
        }
        Some(hello)
    }
}
