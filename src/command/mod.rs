//! What is this command and which way does it go? Pure: names and arguments in, a [`Route`] out; never does I/O.
//!
//! What is known of commands comes from the upstream's own COMMAND reply ([`CommandTable`]), corrected by one short list of
//! exceptions ([`exception`]).

mod exceptions;
mod facts;
pub mod glob;
mod names;
mod table;

pub use exceptions::{Exception, Hello, exception};
pub use facts::{CommandFacts, Fact};
pub use names::ShortName;
pub use table::CommandTable;
pub(crate) use table::NameHasher;

use crate::resp::ArgRange;

/// The longest name that is looked at; Redis's own longest is far below.
pub(crate) const NAME_BYTES_MAX: usize = 64;

/// Why a client gets a connection of its own; each is a state that the upstream keeps by connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pin {
    /// MULTI, WATCH: until EXEC, DISCARD, UNWATCH.
    Transaction,
    /// May wait in the upstream: until its reply, and the client's end must end the wait.
    Blocking,
    /// WAIT, WAITAOF: as blocking, and they speak of the connection's own writes.
    Wait,
    /// The SUBSCRIBE and UNSUBSCRIBE family: until there is no subscription.
    Subscription,
    /// MONITOR, replication, the script debugger: replies are no longer one a request.
    Raw,
    /// Its success is the end of the connection.
    Ending,
    /// CLIENT TRACKING, NO-EVICT, NO-TOUCH, READONLY: until it is taken back.
    State,
    /// Neither the exceptions nor the upstream's COMMAND know it: until its reply, where that is an error.
    Unknown,
}

/// Which way a command goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// `INV.*`.
    Inventory,
    /// Answered by the sidecar.
    Local(Local),
    /// Asked of the upstream, in other words where need be; the client gets what is made of the reply.
    Rewritten(Rewritten),
    /// Stateless: over a shared link.
    Link,
    /// Stateless, and may run for ever: over a link, where others can evade it.
    Script,
    /// Over a connection of the client's own.
    Pin(Pin),
    /// Refused with this line, nothing sent.
    Refuse(&'static str),
}

/// Commands that the sidecar answers itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Local {
    /// `PING [message]`: by the upstream where that can be reached.
    Ping,
    /// `QUIT`
    Quit,
    /// `RESET`
    Reset,
    /// `SELECT n`
    Select,
    /// `HELLO [2|3 [AUTH user password] [SETNAME name]]`
    Hello,
    /// `AUTH [user] password`
    Auth,
    /// `CLIENT REPLY ON|OFF|SKIP`
    ClientReply,
    /// `INFO inventory`
    Info,
}

/// Commands that speak of the upstream's clients, commands or figures, and are to speak of the sidecar's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rewritten {
    /// `CLIENT ID`
    ClientId,
    /// `CLIENT GETNAME`
    ClientGetName,
    /// `CLIENT SETNAME name`
    ClientSetName,
    /// `CLIENT SETINFO LIB-NAME|LIB-VER value`
    ClientSetInfo,
    /// `CLIENT INFO`
    ClientInfo,
    /// `CLIENT LIST [filters]`
    ClientList,
    /// `CLIENT KILL addr:port`, `CLIENT KILL filters`
    ClientKill,
    /// `CLIENT UNBLOCK id [TIMEOUT|ERROR]`
    ClientUnblock,
    /// `CLIENT GETREDIR`, `CLIENT TRACKINGINFO`
    ClientRedirect,
    /// `CLIENT PAUSE`, `CLIENT UNPAUSE`
    ClientPause,
    /// `MODULE LOAD`, `LOADEX`, `UNLOAD`
    Module,
    /// `COMMAND`
    Command(About),
    /// `INFO` of the upstream's sections.
    Info {
        /// The sidecar's own is asked for too.
        own: bool,
    },
}

/// What COMMAND is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// `COMMAND`
    All,
    /// `COMMAND COUNT`
    Count,
    /// `COMMAND LIST [FILTERBY …]`
    List,
    /// `COMMAND INFO [name …]`
    Info,
    /// `COMMAND DOCS [name …]`
    Docs,
    /// `COMMAND GETKEYS name [argument …]`
    Keys,
    /// `COMMAND GETKEYSANDFLAGS name [argument …]`
    KeysAndFlags,
}

impl Local {
    /// A client with a connection of its own has this state there.
    #[must_use]
    pub fn is_the_connections(self) -> bool {
        matches!(self, Self::Ping | Self::Quit | Self::Select | Self::Hello | Self::Auth)
    }
}

/// Is it one of the inventory's?
#[must_use]
pub fn is_inventory(name: &[u8]) -> bool {
    name.len() > 4 && name[..4].eq_ignore_ascii_case(b"INV.")
}

/// Which way the command goes for a client without a connection of its own. `args[0]` is the name.
#[must_use]
pub fn route(args: &Args<'_>, table: &CommandTable) -> Route {
    let Some(name) = args.get(0) else { return Route::Link };
    if ShortName::new(name).is_some_and(|name| table.is_simple(name)) {
        return Route::Link;
    }
    if is_inventory(name) {
        return Route::Inventory;
    }
    table.route(name, args)
}

/// The upper-case name of a command whose way the upstream's COMMAND tells, or will tell where it knows it one day.
#[must_use]
pub fn listed_name(name: &[u8]) -> Option<Box<[u8]>> {
    let mut upper = [0; NAME_BYTES_MAX];
    let upper = upper_case(name, &mut upper)?;
    exception(upper).is_none().then(|| Box::from(upper))
}

/// None: it is longer than any.
#[inline]
pub(crate) fn upper_case<'u>(name: &[u8], upper: &'u mut [u8; NAME_BYTES_MAX]) -> Option<&'u [u8]> {
    let upper = upper.get_mut(..name.len())?;
    for (upper, byte) in upper.iter_mut().zip(name) {
        *upper = byte.to_ascii_uppercase();
    }
    Some(upper)
}

/// A request's arguments, borrowed from wherever they lie.
#[derive(Clone, Copy)]
pub struct Args<'a> {
    bytes: &'a [u8],
    ranges: &'a [ArgRange],
}

impl<'a> Args<'a> {
    /// `ranges` lie within `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8], ranges: &'a [ArgRange]) -> Self {
        Self { bytes, ranges }
    }

    /// How many, the name among them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Of all of them together.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.ranges.iter().map(|range| range.end - range.start).sum()
    }

    /// There is not even a name.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        self.ranges.get(index).map(|range| range.of(self.bytes))
    }

    /// Is that argument there, and this word in any case?
    #[must_use]
    pub fn is(&self, index: usize, word: &str) -> bool {
        self.get(index).is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()))
    }

    /// All from `index` on.
    pub fn from(&self, index: usize) -> impl Iterator<Item = &'a [u8]> {
        let bytes = self.bytes;
        self.ranges.iter().skip(index).map(move |range| range.of(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routed(line: &str) -> Route {
        let mut ranges = Vec::new();
        let mut at = 0;
        for word in line.split(' ') {
            ranges.push(ArgRange { start: at, end: at + word.len() });
            at += word.len() + 1;
        }
        let table =
            CommandTable::from_flags(vec![("get".into(), vec![]), ("foo.block".into(), vec!["blocking".into()])]);
        route(&Args::new(line.as_bytes(), &ranges), &table)
    }

    #[test]
    fn each_command_goes_its_way() {
        for (line, expected) in [
            ("GET k", Route::Link),
            ("get k", Route::Link),
            ("inv.reserve sku 1", Route::Inventory),
            ("PING", Route::Local(Local::Ping)),
            ("PING a b", Route::Link),
            ("multi", Route::Pin(Pin::Transaction)),
            ("BLPOP k 0", Route::Pin(Pin::Blocking)),
            ("XREAD COUNT 1 STREAMS s 0", Route::Link),
            ("XREAD COUNT 1 block 0 STREAMS s 0", Route::Pin(Pin::Blocking)),
            ("XREADGROUP GROUP g c BLOCK 5 STREAMS s >", Route::Pin(Pin::Blocking)),
            ("XREAD STREAMS block 0", Route::Link),
            ("XREADGROUP COUNT 1 GROUP STREAMS c BLOCK 0 STREAMS s >", Route::Pin(Pin::Blocking)),
            ("XREADGROUP GROUP BLOCK BLOCK COUNT 1 STREAMS s >", Route::Link),
            ("SUBSCRIBE c", Route::Pin(Pin::Subscription)),
            ("MONITOR", Route::Pin(Pin::Raw)),
            ("CLIENT REPLY OFF", Route::Local(Local::ClientReply)),
            ("CLIENT TRACKING ON", Route::Pin(Pin::State)),
            ("CLIENT SETNAME x", Route::Rewritten(Rewritten::ClientSetName)),
            ("CLIENT NO-EVICT ON", Route::Pin(Pin::State)),
            ("CLIENT ID", Route::Rewritten(Rewritten::ClientId)),
            ("CLIENT KILL ID 7", Route::Rewritten(Rewritten::ClientKill)),
            ("EVAL x 0", Route::Script),
            ("PSYNC ? -1", Route::Pin(Pin::Raw)),
            ("SCRIPT DEBUG YES", Route::Pin(Pin::Raw)),
            ("SCRIPT LOAD x", Route::Link),
            ("WAIT 1 0", Route::Pin(Pin::Wait)),
            ("CLIENT PAUSE 10", Route::Rewritten(Rewritten::ClientPause)),
            ("CLIENT SETNAME", Route::Pin(Pin::Unknown)),
            ("CLIENT CAPA redirect", Route::Pin(Pin::Unknown)),
            ("CLIENT TRACKING OFF", Route::Link),
            ("AUTH p", Route::Local(Local::Auth)),
            ("HELLO 3", Route::Local(Local::Hello)),
            ("HELLO 3 AUTH u p", Route::Local(Local::Hello)),
            ("HELLO 3 SETNAME me AUTH u p", Route::Local(Local::Hello)),
            ("HELLO 3 AUTH u", Route::Pin(Pin::Unknown)),
            ("EXEC", Route::Link),
            ("HELLO 3 SETNAME me", Route::Local(Local::Hello)),
            ("foo.block k", Route::Pin(Pin::Blocking)),
            ("foo.unknown k", Route::Pin(Pin::Unknown)),
            ("SELECT 3", Route::Local(Local::Select)),
            ("COMMAND", Route::Rewritten(Rewritten::Command(About::All))),
            ("command docs inv.get", Route::Rewritten(Rewritten::Command(About::Docs))),
            ("COMMAND INFO", Route::Rewritten(Rewritten::Command(About::Info))),
            ("COMMAND GETKEYS INV.GET x", Route::Rewritten(Rewritten::Command(About::Keys))),
            ("MODULE loadex /x.so", Route::Rewritten(Rewritten::Module)),
            ("MODULE LIST", Route::Link),
            ("COMMAND COUNT x", Route::Link),
            ("COMMAND HELP", Route::Link),
            ("INFO", Route::Rewritten(Rewritten::Info { own: false })),
            ("INFO server", Route::Rewritten(Rewritten::Info { own: false })),
            ("INFO Inventory", Route::Local(Local::Info)),
            ("INFO server inventory", Route::Rewritten(Rewritten::Info { own: true })),
            ("INFO everything", Route::Rewritten(Rewritten::Info { own: true })),
        ] {
            assert_eq!(routed(line), expected, "{line}");
        }
    }
}
