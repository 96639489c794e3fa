//! Commands whose way the upstream's COMMAND does not tell: what a connection remembers, what the sidecar answers, what
//! cannot go through it.

use super::{Args, Local, Pin, Route};

/// One command's way, or how to find it.
pub enum Exception {
    /// Whatever its arguments.
    Always(Route),
    /// By its arguments.
    Depends(fn(&Args<'_>) -> Route),
}

const REPLICATION: &str =
    "-ERR replication commands are not served through the sidecar; connect to the upstream directly\r\n";
const WAIT: &str = "-ERR WAIT and WAITAOF speak of the writes of their own connection, and this client's writes share one: set session.pin = \"always\" for clients that use them\r\n";
const MAINT_NOTIFICATIONS: &str = "-ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP.\r\n";
const SCRIPT_DEBUG: &str = "-ERR SCRIPT DEBUG is not served through the sidecar; connect to the upstream directly\r\n";

const TRANSACTION: Exception = Exception::Always(Route::Pin(Pin::Transaction));
const BLOCKING: Exception = Exception::Always(Route::Pin(Pin::Blocking));
const STREAM: Exception = Exception::Always(Route::Pin(Pin::Stream));
const STATE: Exception = Exception::Always(Route::Pin(Pin::State));
const LINK: Exception = Exception::Always(Route::Link);

/// The exception for an upper-case name.
#[must_use]
pub fn exception(upper: &[u8]) -> Option<&'static Exception> {
    Some(match upper {
        b"MULTI" | b"EXEC" | b"DISCARD" | b"WATCH" | b"UNWATCH" => &TRANSACTION,
        b"BLPOP" | b"BRPOP" | b"BLMOVE" | b"BRPOPLPUSH" | b"BLMPOP" | b"BZPOPMIN" | b"BZPOPMAX" | b"BZMPOP" => {
            &BLOCKING
        }
        b"XREAD" | b"XREADGROUP" => &Exception::Depends(stream_read),
        b"SUBSCRIBE" | b"PSUBSCRIBE" | b"SSUBSCRIBE" | b"UNSUBSCRIBE" | b"PUNSUBSCRIBE" | b"SUNSUBSCRIBE"
        | b"MONITOR" => &STREAM,
        b"PUBLISH" | b"SPUBLISH" | b"PUBSUB" => &LINK,
        b"AUTH" | b"RESET" | b"READONLY" | b"READWRITE" | b"ASKING" => &STATE,
        b"CLIENT" => &Exception::Depends(client),
        b"HELLO" => &Exception::Depends(hello),
        b"SELECT" => &Exception::Depends(|args| exactly(args, 2, Local::Select)),
        b"QUIT" => &Exception::Always(Route::Local(Local::Quit)),
        b"PING" => &Exception::Depends(|args| if args.len() <= 2 { Route::Local(Local::Ping) } else { Route::Link }),
        b"SYNC" | b"PSYNC" | b"REPLCONF" => &Exception::Always(Route::Refuse(REPLICATION)),
        b"WAIT" | b"WAITAOF" => &Exception::Always(Route::Refuse(WAIT)),
        b"SCRIPT" => {
            &Exception::Depends(|args| if args.is(1, "DEBUG") { Route::Refuse(SCRIPT_DEBUG) } else { Route::Link })
        }
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
    match args.len() {
        2 if sub("GETNAME") => Route::Local(Local::ClientGetName),
        3 if sub("SETNAME") => Route::Local(Local::ClientSetName),
        4 if sub("SETINFO") => Route::Local(Local::ClientSetInfo),
        _ if sub("REPLY") => Route::Pin(Pin::Stream),
        _ if sub("TRACKING") || sub("CACHING") || sub("NO-EVICT") || sub("NO-TOUCH") => Route::Pin(Pin::State),
        // They speak of connections by the upstream's ids, the asking one's among them: it needs one that is its own.
        _ if sub("ID") || sub("INFO") || sub("LIST") || sub("KILL") || sub("UNBLOCK") => Route::Pin(Pin::State),
        _ if sub("GETREDIR") || sub("TRACKINGINFO") => Route::Pin(Pin::State),
        // Asked by recent clients of every server, and refused by most; where it is known it would speak of a link.
        _ if sub("MAINT_NOTIFICATIONS") => Route::Refuse(MAINT_NOTIFICATIONS),
        // For the whole server, or an error: any connection may ask.
        _ => Route::Link,
    }
}

fn hello(args: &Args<'_>) -> Route {
    let version = args.len() == 1 || args.is(1, "2") || args.is(1, "3");
    let named = args.len() == 4 && args.is(2, "SETNAME");
    if version && (args.len() <= 2 || named) { Route::Local(Local::Hello) } else { Route::Pin(Pin::State) }
}
