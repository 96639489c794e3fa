//! Who a client is, where tenants are told apart: by its listener, or by AUTH and HELLO … AUTH, which the sidecar answers
//! itself. No password of a tenant's ever goes upstream.

use super::core::{Core, On, Phase, Step, Wait, Waiting};
use super::dispatch::Seldom;
use crate::command::{Args, Hello, Local};
use crate::metrics::{ErrorKind, ErrorOrigin, Gauge, Refused, Route};
use crate::resp::Proto;
use crate::tenant::{Admitted, Tenant, Tenants};
use crate::upstream::stream::Greeting;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;

/// Hashes that are worked out at once: each takes a core and as much memory as it demands.
static HASHING: Semaphore = Semaphore::const_new(1);
/// They are worked out with less right to a core than who serves those that have come in.
const NICE: i32 = 5;
/// Of many one a second is told.
static NO_THREAD_TOLD: Seldom = Seldom::new();
/// The answer to a wrong password is held back so many times `auth_failure_ms` at the most.
const SLOWEST: u32 = 10;
/// So many wrong passwords, and the client is closed.
const FAILURES_MAX: u32 = 16;
/// Bytes of a password or a name: before it is known who a client is little of it is kept.
const WORD_BYTES_MAX: usize = 16 * 1024;

const WRONG: &[u8] = b"-WRONGPASS invalid username-password pair or user is disabled.\r\n";
const NO_HELLO: &[u8] = b"-NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time\r\n";
const NOT_LOOKED: &[u8] = b"-OVERLOADED the sidecar could not look at the password now; it may be right\r\n";
const IN_MULTI: &[u8] = b"-ERR AUTH is not served inside MULTI; EXEC will abort this transaction\r\n";
const HAS_STATE: &[u8] = b"-ERR a connection that has subscriptions, WATCH or CLIENT TRACKING cannot become another user's: RESET it first\r\n";
const TOO_MANY: &[u8] = b"-OVERLOADED this tenant has as many clients as it may have (clients_max)\r\n";

/// Says in the end who it is.
pub(super) type Proof = Pin<Box<dyn Future<Output = Result<Arc<Tenant>, Unproved>>>>;

/// It is nobody.
pub(super) enum Unproved {
    /// With this name, which was wrong, or the password was.
    Wrong(String),
    /// The password could not be looked at, which says nothing of it.
    NotLooked,
}

impl Core {
    /// A client that has said nothing yet, or has said RESET.
    pub(super) fn come_in(&mut self) {
        let rooms = &self.context.rooms;
        self.generation = rooms.generation();
        let tenants = rooms.tenants();
        self.told_apart = tenants.are_told_apart();
        let first = tenants.first(self.entry.door.tenant.as_deref());
        // A listener's tenant that has a password must still say it.
        let first = first.filter(|tenant| tenant.password.is_none());
        if !first.is_some_and(|tenant| self.admit(tenant)) {
            self.leave_room();
            if first.is_some() {
                self.push(TOO_MANY);
                self.phase = Phase::Finishing;
            }
        }
        self.client.greeting = self.home_greeting(Proto::Resp2);
    }

    fn leave_room(&mut self) {
        self.publish_refused();
        self.room = Rc::clone(self.context.rooms.nobody());
        self.follow_window();
        (self.admitted, self.is_gated) = (None, true);
        self.context.clients.must_say(&self.entry, self.context.settings.unknown_max);
        self.context.clients.become_tenants(&self.entry, &self.room.tenant.name, self.entry.key);
    }

    /// What requests go upstream as, where the client has set nothing else.
    pub(super) fn home_greeting(&self, proto: Proto) -> Greeting {
        let lane = if self.told_apart && self.is_known() { self.context.rooms.lane(&self.room) } else { 0 };
        Greeting { identity: self.room.identity.clone(), lane, ..self.context.links.first_greeting(proto) }
    }

    /// It is this tenant's from here on; false: that has as many clients as it may have, and nothing has changed.
    fn admit(&mut self, tenant: &Arc<Tenant>) -> bool {
        let is_counted = self.admitted.is_some() && self.room.tenant.name == tenant.name;
        let room = self.context.rooms.of(tenant);
        if !is_counted {
            let silent = Gauge::noop();
            let figure = if self.told_apart { room.own.metrics.clients() } else { &silent };
            let Some(admitted) = Admitted::new(tenant, figure) else {
                room.own.metrics.refused(Refused::Overloaded).increment(1);
                return false;
            };
            self.admitted = Some(admitted);
        }
        // What was done so far was another's.
        self.publish();
        self.room = room;
        self.follow_window();
        self.link = None;
        self.is_gated = self.told_apart;
        if !is_counted {
            if self.told_apart {
                self.context.clients.has_said(&self.entry);
            }
            let id = if self.told_apart { tenant.live.next_client() } else { self.entry.key };
            self.context.clients.become_tenants(&self.entry, &tenant.name, id);
        }
        true
    }

    /// The configuration has changed: the client goes on as what its tenant is now, or is closed where there is none.
    pub(super) fn follow_tenants(&mut self) {
        let rooms = &self.context.rooms;
        if self.generation == rooms.generation() {
            return;
        }
        self.generation = rooms.generation();
        let tenants = rooms.tenants();
        self.told_apart = tenants.are_told_apart();
        if !self.is_known() {
            return;
        }
        match tenants.get(&self.room.tenant.name) {
            // As whom its connections go upstream, and what they show of it, is what they were made for.
            Some(now) if is_served_alike(now, &self.room.tenant) => {
                self.room = rooms.of(now);
                self.follow_window();
            }
            _ => {
                tracing::info!(client = self.entry.id(), tenant = %self.room.tenant.name, "closed a client whose tenant is no more, or has changed");
                self.phase = Phase::Finishing;
                self.is_evicted = true;
            }
        }
    }

    /// Has it said who it is, or need not?
    pub(super) fn is_known(&self) -> bool {
        self.admitted.is_some()
    }

    /// AUTH and HELLO, where the sidecar judges passwords. None: it is for others to answer.
    pub(super) fn answer_identity(&mut self, args: &Args<'_>, local: Local) -> Option<Step> {
        let (name, password, request, proto) = match local {
            Local::Auth => {
                let (name, password) = match args.len() {
                    2 => (b"default".as_slice(), args.get(1)?),
                    _ => (args.get(1)?, args.get(2)?),
                };
                (name, password, Waiting::Plain, None)
            }
            Local::Hello => {
                let hello = Hello::parse(args);
                let Some((name, password)) = hello.as_ref().and_then(|hello| hello.auth) else {
                    return (!self.is_known()).then(|| self.refuse(ErrorKind::Refused, NO_HELLO));
                };
                let hello = hello?;
                (name, password, Waiting::Hello { name: hello.name.map(<[u8]>::to_vec) }, hello.proto)
            }
            _ => return None,
        };
        // A library that was given a password alone calls the user so; at a tenant's own door nobody else comes in.
        let door = self.entry.door.tenant.clone();
        let name = door.as_deref().filter(|_| name == b"default").map_or(name, str::as_bytes);
        if self.replies.waiting() > 0 {
            return Some(Step::Blocked);
        }
        if let Some(pin) = &self.pin {
            let (in_multi, clean) = (pin.remembered().in_multi, pin.remembered().is_clean());
            if in_multi {
                return Some(self.refuse_in_multi(IN_MULTI));
            }
            if !clean {
                return Some(self.refuse(ErrorKind::Refused, HAS_STATE));
            }
            let greeting = pin.remembered().greeting.clone();
            self.client.greeting = greeting;
            (self.pin, self.link) = (None, None);
        }
        self.count(Route::Local);
        if name.len() > WORD_BYTES_MAX || password.len() > WORD_BYTES_MAX {
            return Some(self.refuse(ErrorKind::Refused, WRONG));
        }
        let proof = Box::pin(prove(
            self.context.rooms.tenants(),
            self.entry.door.tenant.clone(),
            String::from_utf8_lossy(name).into_owned(),
            password.to_vec(),
            self.context.settings.auth_failure * (1 << self.failures.min(SLOWEST)).min(SLOWEST),
        ));
        let greeting = self.client.greeting.clone();
        let proto = proto.unwrap_or(greeting.proto);
        self.wait = Some(Wait { greeting, request, on: On::Proof(proof, proto) });
        Some(Step::Done)
    }

    /// Counts a wrong name or password. Of many only one a second is told: who writes the log must not be held up by them.
    fn wrong(&self, name: &str) {
        self.context.metrics.auth_failures.increment(1);
        let tenants = self.context.rooms.tenants();
        let named = tenants.get(name).map(|tenant| self.context.rooms.of(tenant));
        let room = named.as_ref().unwrap_or_else(|| self.context.rooms.nobody());
        room.own.metrics.refused(Refused::WrongPass).increment(1);
        let (now, told) = (Instant::now(), &self.context.wrong_told);
        let silent = told.get().map_or(0, |(_, silent)| silent);
        if told.get().is_some_and(|(at, _)| now - at < Duration::from_secs(1)) {
            told.set(told.get().map(|(at, silent)| (at, silent + 1)));
            return;
        }
        told.set(Some((now, 0)));
        let tenant = &*room.tenant.name;
        tracing::info!(client = self.entry.id(), addr = %self.entry.door.addr, tenant, silent, "a wrong name or password");
    }

    /// The proof is there. Returns whether the client was answered; where not, it waits for what HELLO says.
    pub(super) fn proved(&mut self, proved: Result<Arc<Tenant>, Unproved>, wait: &mut Wait, proto: Proto) -> bool {
        let tenant = match proved {
            Ok(tenant) => tenant,
            Err(Unproved::NotLooked) => {
                self.context.metrics.error(ErrorOrigin::Sidecar, ErrorKind::Overloaded);
                self.push(NOT_LOOKED);
                return true;
            }
            Err(Unproved::Wrong(name)) => {
                self.failures += 1;
                self.wrong(&name);
                self.push(WRONG);
                if self.failures >= FAILURES_MAX {
                    self.phase = Phase::Finishing;
                }
                return true;
            }
        };
        // It may have changed while its password was looked at, or be no more.
        let tenants = self.context.rooms.tenants();
        let Some(tenant) = tenants.get(&tenant.name) else {
            self.push(WRONG);
            return true;
        };
        if !self.admit(tenant) {
            self.context.metrics.error(ErrorOrigin::Client, ErrorKind::Overloaded);
            self.push(TOO_MANY);
            return true;
        }
        self.failures = 0;
        self.client.greeting = self.home_greeting(proto);
        self.publish_client();
        match wait.request {
            Waiting::Hello { .. } => {
                wait.greeting = self.client.greeting.clone();
                wait.on = On::Link(self.context.links.shared(&wait.greeting));
                false
            }
            _ => {
                self.push(b"+OK\r\n");
                true
            }
        }
    }
}

/// May its clients go on with the connections that they have? One that may MONITOR must not where it is shut in now.
fn is_served_alike(now: &Tenant, before: &Tenant) -> bool {
    now.upstream == before.upstream && now.namespace == before.namespace && now.passthrough == before.passthrough
}

/// What takes long, on a thread of its own. None: there is none to be had, or it ended before it had done.
async fn aside(work: impl FnOnce() -> bool + Send + 'static) -> Option<bool> {
    let (answer, answered) = oneshot::channel();
    let work = move || {
        let _ = rustix::process::nice(NICE);
        let _ = answer.send(work());
    };
    if let Err(error) = std::thread::Builder::new().name("password".to_owned()).spawn(work) {
        if NO_THREAD_TOLD.is_due() {
            tracing::error!(%error, "no thread to look at a password on");
        }
        return None;
    }
    answered.await.ok()
}

/// Takes as long for a name that is not there as for a wrong password: `slowness` at the least.
async fn prove(
    tenants: Arc<Tenants>,
    door: Option<Arc<str>>,
    name: String,
    password: Vec<u8>,
    slowness: Duration,
) -> Result<Arc<Tenant>, Unproved> {
    let began = Instant::now();
    let tenant = tenants.get(&name).filter(|tenant| door.as_ref().is_none_or(|door| *door == tenant.name));
    let right = match tenant.map(|tenant| (tenant, &tenant.password)) {
        None => Some(false),
        // By its own listener alone, or by being the one who needs none.
        Some((_, None)) => Some(door.is_some() || tenants.first(None).is_some_and(|first| *first.name == *name)),
        Some((tenant, Some(known))) => match known.quickly(&password) {
            Some(right) => Some(right),
            None => {
                let tenant = Arc::clone(tenant);
                // One tenant's after the other: however many guess at one of them, the others' clients come in.
                let turn_of_tenant = Arc::clone(&tenant.live.hashing).acquire_owned().await;
                let turn = HASHING.acquire().await;
                let verify = move || {
                    let right = tenant.password.as_ref().is_some_and(|known| known.verify(&password));
                    // The turn is over when the hash is, whether or not somebody still waits for it.
                    drop((turn_of_tenant, turn));
                    right
                };
                aside(verify).await
            }
        },
    };
    if let (Some(tenant), Some(true)) = (tenant, right) {
        return Ok(Arc::clone(tenant));
    }
    tokio::time::sleep_until(began + slowness).await;
    Err(if right.is_some() { Unproved::Wrong(name) } else { Unproved::NotLooked })
}
