//! What stands between a tenant's request and its way: has it said who it is, may it, is it too much, and what becomes of
//! its names.

use super::core::{Core, Phase, Step};
use super::pinned::refused_by_upstream;
use crate::command::{Args, Hello, Local, Pin, Route, is_inventory};
use crate::config::Passthrough;
use crate::metrics::{ErrorKind, Refused};
use crate::resp::{ArgRange, write};
use crate::tenant::acl;
use crate::tenant::isolation::{Back, Isolation, Own, Pieces, Verdict, judge, judge_in_pieces};
use crate::upstream::link::state::Watch;
use bytes::BytesMut;
use std::rc::Rc;

const NOAUTH: &[u8] = b"-NOAUTH Authentication required.\r\n";
pub(super) const TOO_OFTEN: &[u8] =
    b"-OVERLOADED this tenant asks more often than it may (requests_per_second); this was not sent\r\n";
pub(super) const TOO_LARGE: &[u8] =
    b"-OVERLOADED the request is larger than this tenant's may be (request_bytes_max); this was not sent\r\n";
const NOT_KNOWN_YET: &str = "-UNAVAILABLE what the upstream's commands are is not known yet; this was not sent\r\n";
const NO_SUBSCRIPTION: &[u8] =
    b"-NOPERM subscriptions inside MULTI are not served for this tenant; EXEC will abort this transaction\r\n";
const OTHER_DATABASE: &[u8] = b"-NOPERM this tenant has one database\r\n";
const LONG_NAME: &[u8] = b"-ERR the name is too long: at most 1024 bytes\r\n";
const LONG_LIST: &[u8] = b"-ERR too many arguments: this tenant's CLIENT and COMMAND may have 1024\r\n";
/// What a client is called is kept for as long as it is connected, and told of it in CLIENT LIST.
const NAME_BYTES_MAX: usize = 1024;
/// What CLIENT and COMMAND say of what they are asked about is many times as long.
const LIST_MAX: usize = 1024;
/// The upstream compares each key that is watched with all that its client watches already: 30,000 take it seconds.
pub(super) const WATCHED_MAX: usize = 1024;
pub(super) const TOO_MANY_WATCHED: &[u8] =
    b"-OVERLOADED a client may watch 1024 keys; this was not sent, and the connection is closed\r\n";
const NO_PASSTHROUGH: &[u8] = b"-NOPERM this tenant has the commands of the inventory alone (see INV.HELP)\r\n";

/// What the gate says of a request.
pub(super) enum Gate {
    /// As it is.
    Open,
    /// In these words; [`Core::back`] is what is made of the reply.
    Rewritten(BytesMut, Vec<ArgRange>),
    /// The same of a large one, which goes on piece by piece.
    InPieces(Box<Pieces>),
    /// It was answered, or must wait.
    Shut(Step),
}

impl Core {
    /// To be asked once for each request, of a client that is gated.
    pub(super) fn gate(&mut self, frame: &[u8], args: &Args<'_>) -> Gate {
        self.back = None;
        let route = self.context.route(args);
        // No password of a tenant's goes upstream, not in a request either that is none: a HELLO that is refused there may have
        // proved a user before.
        if !matches!(route, Route::Local(_))
            && let Some(line) = malformed_identity(args)
        {
            return self.shut(ErrorKind::Refused, line, args);
        }
        if frame.len() > NAME_BYTES_MAX
            && let Some(line) = immodest(args)
        {
            return self.shut(ErrorKind::Refused, line, args);
        }
        if !self.is_known() {
            return match route {
                Route::Local(Local::Auth | Local::Hello) => self.identity(args, route),
                Route::Local(Local::Quit | Local::Reset) => Gate::Open,
                _ => {
                    self.room.own.metrics.refused(Refused::NoAuth).increment(1);
                    Gate::Shut(self.refuse(ErrorKind::Refused, NOAUTH))
                }
            };
        }
        // What is asked again because it had to wait was counted already.
        if !self.is_counted && !self.room.tenant.live.takes_request(&self.room.tenant.limits) {
            return self.shut(ErrorKind::Overloaded, TOO_OFTEN, args);
        }
        let is_new = !std::mem::replace(&mut self.is_counted, true);
        if args.is(0, "WATCH")
            && let Some(step) = self.watches_too_many(args, is_new)
        {
            return Gate::Shut(step);
        }
        if self.room.tenant.limits.request_bytes.is_some_and(|most| frame.len() > most) {
            return self.shut(ErrorKind::Overloaded, TOO_LARGE, args);
        }
        if let Route::Local(Local::Auth | Local::Hello) = route {
            return self.identity(args, route);
        }
        let may = {
            let mut commands = self.context.commands.borrow_mut();
            let (rights, commands) = (&self.room.tenant.rights, commands.load());
            // A category that nobody has told of yet must not let anything through.
            if commands.facts().is_none() && rights.need_facts() {
                Err(NOT_KNOWN_YET.to_owned())
            } else {
                rights.may(args, commands)
            }
        };
        if let Err(line) = may {
            return self.shut(ErrorKind::Refused, line.as_bytes(), args);
        }
        if args.get(0).is_some_and(is_inventory) || route == Route::Local(Local::Info) {
            return Gate::Open;
        }
        match self.room.tenant.passthrough {
            Passthrough::Full => Gate::Open,
            Passthrough::Isolated => self.judged(frame, args, route),
            Passthrough::Off if is_of_every_session(args) => self.judged(frame, args, route),
            Passthrough::Off => self.shut(ErrorKind::Refused, NO_PASSTHROUGH, args),
        }
    }

    /// Of a WATCH, which was not looked at before where it `is_new`: the refusal where it is too many keys. What the transaction was
    /// to be guarded by is not, so that is the end of its client.
    fn watches_too_many(&mut self, args: &Args<'_>, is_new: bool) -> Option<Step> {
        let (before, now) = &mut self.watched;
        if is_new {
            *before = *now;
        }
        let is_waiting = self.replies.waiting() > 0;
        if self.pin.as_ref().is_none_or(|pin| !is_waiting && !pin.remembered().watching) {
            *before = 0;
        }
        *now = *before + args.len() - 1;
        if *now <= WATCHED_MAX {
            return None;
        }
        *now = *before;
        if is_waiting {
            // An EXEC among them may end it.
            return Some(Step::Blocked);
        }
        let step = self.refuse_anywhere(ErrorKind::Overloaded, TOO_MANY_WATCHED, args);
        if matches!(step, Step::Done) {
            self.phase = Phase::Finishing;
        }
        Some(step)
    }

    fn identity(&mut self, args: &Args<'_>, route: Route) -> Gate {
        let Route::Local(local) = route else { return Gate::Open };
        match self.answer_identity(args, local) {
            Some(step) => Gate::Shut(step),
            None => Gate::Open,
        }
    }

    fn judged(&mut self, frame: &[u8], args: &Args<'_>, route: Route) -> Gate {
        if let (Route::Pin(Pin::Subscription), Some(pin)) = (route, &self.pin) {
            if self.replies.waiting() > 0 && !self.subscribing {
                return Gate::Shut(Step::Blocked);
            }
            // Acknowledgements inside EXEC's reply cannot be told from what comes behind it.
            if pin.remembered().in_multi {
                return Gate::Shut(self.refuse_in_multi(NO_SUBSCRIPTION));
            }
        }
        let is_large = self.is_large(frame);
        // Of a CLIENT the id in it may have been exchanged, which its own bytes do not have.
        let is_never = || is_for_the_sidecar(args) || args.is(0, "CLIENT") || super::streaming::is_never_large(route);
        if is_large && is_never() {
            return self.shut(ErrorKind::Unsupported, super::streaming::MAY_NOT_BE_LARGE, args);
        }
        let room = Rc::clone(&self.room);
        let tenant = &room.tenant;
        let verdict = {
            let mut commands = self.context.commands.borrow_mut();
            let isolation = Isolation {
                space: &tenant.space,
                commands: commands.load(),
                scripts: &tenant.live.scripts,
                own_user: tenant.upstream.is_some(),
                flushdb: tenant.flushdb,
            };
            if is_large { judge_in_pieces(args, &isolation) } else { judge(args, &isolation) }
        };
        match verdict {
            Verdict::InPieces(pieces, back) => {
                self.back = Some(back);
                Gate::InPieces(pieces)
            }
            Verdict::Own(_) if is_large && !args.is(0, "PING") => {
                self.shut(ErrorKind::Unsupported, super::streaming::MAY_NOT_BE_LARGE, args)
            }
            Verdict::Passed | Verdict::Own(_) if is_large => {
                self.back = Some(Back::AsIs);
                Gate::InPieces(Box::new(Pieces::unchanged()))
            }
            Verdict::Passed if is_for_the_sidecar(args) && tenant.upstream.is_some() => {
                Gate::Shut(self.ask_as_sidecar(args, route, frame, None))
            }
            Verdict::Passed => {
                // Its error may name the upstream's user.
                self.back = (!matches!(route, Route::Rewritten(_))).then_some(Back::AsIs);
                Gate::Open
            }
            // A page at a time: nobody else waits for it.
            Verdict::Rewritten { frame, ranges, .. } if args.is(0, "KEYS") => {
                let pattern = Args::new(&frame, &ranges).get(1).unwrap_or_default().to_vec();
                Gate::Shut(self.ask_for_keys(pattern))
            }
            // It takes the upstream as long, and inside MULTI as many of them as were queued.
            Verdict::Rewritten { frame, back, .. } if args.is(0, "SCAN") => Gate::Shut(self.ask_for_page(frame, back)),
            Verdict::Rewritten { frame, ranges, back } if is_for_the_sidecar(args) && tenant.upstream.is_some() => {
                let args = Args::new(&frame, &ranges);
                Gate::Shut(self.ask_as_sidecar(&args, route, &frame, Some(back)))
            }
            Verdict::Rewritten { frame, ranges, back } => {
                self.back = Some(back);
                Gate::Rewritten(frame, ranges)
            }
            Verdict::Refused(line) => self.shut(ErrorKind::Refused, line.as_bytes(), args),
            Verdict::Own(Own::Session) if args.is(0, "SELECT") && args.len() == 2 => {
                let home = self.context.links.first_greeting(crate::resp::Proto::Resp2).db;
                match super::local::strict_integer(args.get(1).unwrap_or_default()) {
                    Some(db) if db != i64::from(home) => self.shut(ErrorKind::Refused, OTHER_DATABASE, args),
                    _ => Gate::Open,
                }
            }
            // WHOAMI: not the upstream's user. In the order of all else, inside MULTI too.
            Verdict::Own(Own::Session) if args.is(0, "ACL") => {
                let (mut frame, mut ranges) = (BytesMut::new(), Vec::new());
                write::array_header(&mut frame, 2);
                for word in [b"ECHO".as_slice(), tenant.name.as_bytes()] {
                    write::bulk(&mut frame, word);
                    let end = frame.len() - b"\r\n".len();
                    ranges.push(ArgRange { start: end - word.len(), end });
                }
                Gate::Rewritten(frame, ranges)
            }
            Verdict::Own(Own::Session)
                if is_for_the_sidecar(args) && (tenant.upstream.is_some() || self.is_plain_list(args)) =>
            {
                Gate::Shut(self.ask_as_sidecar(args, route, frame, None))
            }
            Verdict::Own(Own::Session) => Gate::Open,
            Verdict::Own(own) => Gate::Shut(self.ask_about_keys(own)),
        }
    }

    /// CLIENT LIST over a link, which has many replies at once: it is made in turns.
    fn is_plain_list(&self, args: &Args<'_>) -> bool {
        args.is(1, "LIST") && self.pin.is_none()
    }

    fn shut(&mut self, kind: ErrorKind, line: &[u8], args: &Args<'_>) -> Gate {
        Gate::Shut(self.refuse_anywhere(kind, line, args))
    }

    /// A refusal in the place that the request has, whatever state the client's own connection is in.
    pub(super) fn refuse_anywhere(&mut self, kind: ErrorKind, line: &[u8], args: &Args<'_>) -> Step {
        let in_multi = match &self.pin {
            None => false,
            Some(pin) if pin.raw.get() => {
                pin.send_more(&refused_by_upstream(args));
                return Step::Done;
            }
            // Whether it is inside MULTI is known when all replies are here.
            Some(_) if self.replies.waiting() > 0 => return Step::Blocked,
            Some(pin) => pin.remembered().in_multi,
        };
        let reason = if kind == ErrorKind::Overloaded { Refused::Overloaded } else { Refused::NoPerm };
        self.room.own.metrics.refused(reason).increment(1);
        if in_multi { self.refuse_in_multi(line) } else { self.refuse(kind, line) }
    }

    /// Puts the way back of the request's names into what its reply is watched for.
    pub(super) fn with_way_back(&mut self, watch: Option<Box<Watch>>) -> Option<Box<Watch>> {
        let Some(back) = self.back.take() else { return watch };
        let room = Rc::clone(&self.room);
        let mut watch = watch.unwrap_or_else(Watch::nothing);
        match back {
            // Only an error has to be looked into.
            Back::AsIs => watch.error = Some(Rc::clone(&room.on_error)),
            back => {
                // What the reply says of the sidecar's own comes behind what it says in the tenant's spelling.
                let own = watch.rewrite.take();
                watch.in_parts = match back {
                    Back::FirstIsKey if own.is_none() => Some(Rc::clone(&room.first_is_key)),
                    Back::Streams if own.is_none() => Some(Rc::clone(&room.streams)),
                    _ => None,
                };
                watch.rewrite = Some(Box::new(move |reply, proto| {
                    let told = back.apply(reply, &room.tenant.space, proto);
                    if let Some(own) = own { own(&told, proto) } else { told }
                }));
            }
        }
        Some(watch)
    }
}

/// What Redis says to an AUTH or a HELLO that is none; None: it is another command.
fn malformed_identity(args: &Args<'_>) -> Option<&'static [u8]> {
    let is_number = |word: &[u8]| std::str::from_utf8(word).is_ok_and(|word| word.parse::<i64>().is_ok());
    if args.is(0, "AUTH") {
        let line: &[u8] = match args.len() {
            1 => b"-ERR wrong number of arguments for 'auth' command\r\n",
            _ => b"-ERR syntax error\r\n",
        };
        return Some(line);
    }
    args.is(0, "HELLO").then(|| match args.get(1) {
        Some(version) if !is_number(version) => {
            b"-ERR Protocol version is not an integer or out of range\r\n".as_slice()
        }
        Some(version) if !matches!(version, b"2" | b"3") => b"-NOPROTO unsupported protocol version\r\n",
        _ => b"-ERR Syntax error in HELLO\r\n",
    })
}

/// A name that would be kept and is too long for it, or a list that would be answered by one far longer.
fn immodest(args: &Args<'_>) -> Option<&'static [u8]> {
    let client = args.is(0, "CLIENT");
    if (client || args.is(0, "COMMAND")) && args.len() > LIST_MAX {
        return Some(LONG_LIST);
    }
    let is_long = |name: &[u8]| name.len() > NAME_BYTES_MAX;
    let is_too_long = match () {
        () if args.is(0, "HELLO") => Hello::parse(args).and_then(|hello| hello.name).is_some_and(is_long),
        () if client && (args.is(1, "SETNAME") || args.is(1, "SETINFO")) => args.from(2).any(is_long),
        () => false,
    };
    is_too_long.then_some(LONG_NAME)
}

/// What the tenant's own upstream user must not have the right to, for scripts of the tenant's could do it too, and would see
/// what is not the tenant's.
pub(super) fn is_for_the_sidecar(args: &Args<'_>) -> bool {
    let of_clients = || ["LIST", "KILL", "UNBLOCK"].iter().any(|name| args.is(1, name));
    acl::SIDECARS.iter().any(|name| args.is(0, name)) || args.is(0, "CLIENT") && of_clients()
}

/// Commands that speak of the connection, or make a transaction of the inventory's.
fn is_of_every_session(args: &Args<'_>) -> bool {
    let names = [
        "PING", "ECHO", "HELLO", "AUTH", "RESET", "QUIT", "SELECT", "CLIENT", "COMMAND", "INFO", "MULTI", "EXEC",
        "DISCARD",
    ];
    // Invalidations name keys, and a tenant without ordinary commands has none.
    let hears_of_keys = args.is(0, "CLIENT") && (args.is(1, "TRACKING") || args.is(1, "CACHING"));
    names.iter().any(|name| args.is(0, name)) && !hears_of_keys
}
