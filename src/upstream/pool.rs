//! The pool of connections that batches travel on: bb8 with a manager that makes a connection ready for scripts and knows
//! when one is broken.

use super::engine::Engine;
use super::knowledge::Knowledge;
use super::target::Target;
use super::wire::{Reply, Wire, answer};
use crate::error::{Kind, UpstreamError};
use crate::metrics::{ConnectionKind, Metrics};
use crate::resp::write;
use bb8_redis::bb8::{self, ErrorSink, ManageConnection};
use bb8_redis::redis::Value;
use bytes::{Bytes, BytesMut};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// A connection older than this is replaced when it is free: addresses change, and a balancer's do silently.
const MAX_LIFETIME: Duration = Duration::from_secs(30 * 60);

/// What a connection must load and check before it is used.
#[derive(Debug, Clone)]
pub struct Fitting {
    /// The script's text: for an engine that reads `#!lua`, and for one that does not.
    pub script_with_flags: Cow<'static, str>,
    /// See above.
    pub script_plain: Cow<'static, str>,
    /// The command that tells the time as the script knows it.
    pub clock: Vec<Cow<'static, str>>,
    /// The namespace without which there is nothing to serve, where there is one: it is checked with each connection.
    pub home: Option<Claim>,
}

/// A namespace keeps the number of cells that it was begun with, for with another one SKUs would be looked for elsewhere.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The hash that remembers the number, in field `cells`.
    pub meta_key: String,
    /// The number of the configuration.
    pub cells: u16,
}

/// Makes connections; see the module.
pub struct Manager {
    target: Target,
    fitting: Fitting,
    knowledge: Arc<Knowledge>,
    metrics: Metrics,
}

/// A pooled connection: scripts are loaded, and it knows whether it may be used again.
pub struct PoolConnection {
    wire: Wire,
    sha: String,
    script: Cow<'static, str>,
    broken: bool,
    knowledge: Arc<Knowledge>,
    metrics: Metrics,
    /// What the upstream is to call it; None once it was told.
    name: Option<Arc<str>>,
}

/// The pool of one worker.
pub type Pool = bb8::Pool<Manager>;

impl Manager {
    /// Makes connections to this target.
    #[must_use]
    pub fn new(target: &Target, fitting: Fitting, knowledge: &Arc<Knowledge>, metrics: &Metrics) -> Self {
        Self { target: target.clone(), fitting, knowledge: Arc::clone(knowledge), metrics: metrics.clone() }
    }

    /// A pool of at most `size` connections, each made when it is first needed; `idle_max`: one that nobody needs is kept so long.
    #[must_use]
    pub fn into_pool(self, size: u32, patience: Duration, idle_max: Option<Duration>) -> Pool {
        let sink = Sink(Arc::clone(&self.knowledge));
        bb8::Pool::builder()
            .max_size(size)
            .test_on_check_out(false)
            // The batcher has a back-off of its own, and must know of a failure at once.
            .retry_connection(false)
            .connection_timeout(patience)
            .idle_timeout(idle_max)
            .max_lifetime(MAX_LIFETIME)
            .error_sink(Box::new(sink))
            .build_unchecked(self)
    }

    /// Of a tenant's user the log tells whether the upstream refuses it; and one that is refused is not tried again at once,
    /// however many ask.
    fn tell_of_user(&self, made: Result<(), &UpstreamError>) {
        let (Some(_), Some(user)) = (self.knowledge.own(), &self.target.username) else { return };
        match made {
            Ok(()) => self.target.tenants.taken(user),
            Err(error) if error.kind == Kind::Auth => {
                self.knowledge.refused(|times| self.target.pause(times));
                self.target.tenants.refused(user, error);
            }
            Err(_) => {}
        }
    }

    async fn make(&self) -> Result<PoolConnection, UpstreamError> {
        let refused = |error: UpstreamError| {
            if error.is_noauth() && self.target.password.is_none() {
                let detail = format!("{} wants a password, and upstream.url has none", self.target.address);
                return UpstreamError::new(Kind::NoPassword, detail);
            }
            error
        };
        let mut wire = Wire::connect(&self.target).await.map_err(|error| match error.kind {
            Kind::Io | Kind::Timeout => {
                UpstreamError::new(Kind::Connect, format!("{}: {}", self.target.address, error.detail))
            }
            Kind::Connect => error,
            kind => UpstreamError::new(kind, format!("{}: {}", self.target.address, error.detail)),
        })?;
        let known = self.knowledge.own().map(|own| own.engine.load_full());
        let mut questions = BytesMut::new();
        if known.is_none() {
            write::request(&mut questions, &[b"INFO", b"server"]);
        }
        if let Some(home) = &self.fitting.home {
            write::request(&mut questions, &[b"HGET", home.meta_key.as_bytes(), b"cells"]);
        }
        let count = usize::from(known.is_none()) + usize::from(self.fitting.home.is_some());
        let mut replies = wire.exchange(&questions, count).await?.into_iter();
        let mut next = || replies.next().unwrap_or_else(|| Err(UpstreamError::new(Kind::Io, "no reply")));
        let engine = match known {
            Some(known) => known.as_ref().clone().ok_or_else(|| {
                UpstreamError::new(Kind::Connect, format!("{}: it is not known yet what it is", self.target.address))
            })?,
            None => match next().map_err(refused)? {
                Value::BulkString(info) => Engine::from_info(&String::from_utf8_lossy(&info))?,
                _ => Engine::from_info("")?,
            },
        };
        let script =
            if engine.reads_script_flags() { &self.fitting.script_with_flags } else { &self.fitting.script_plain };
        let mut made = PoolConnection {
            wire,
            sha: String::new(),
            script: script.clone(),
            broken: false,
            knowledge: Arc::clone(&self.knowledge),
            metrics: self.metrics.clone(),
            name: self.target.name.clone(),
        };
        self.metrics.upstream_connections[ConnectionKind::Pool].increment(1.0);
        if let Some(home) = &self.fitting.home {
            check(home, &next()?)?;
        }
        let is_new = self.knowledge.engine.load().as_ref().as_ref() != Some(&engine);
        let asks = (is_new && self.knowledge.own().is_none()) || self.knowledge.is_to_be_asked();
        made.load(true, asks).await?;
        self.target.reached.send_modify(|times| *times += 1);
        if self.knowledge.connected() {
            self.metrics.reconnects[ConnectionKind::Pool].increment(1);
        }
        if is_new && self.knowledge.own().is_none() {
            tracing::info!(%engine, upstream = %self.target.address, "the upstream is there");
            self.knowledge.engine.store(Arc::new(Some(engine)));
        }
        Ok(made)
    }
}

impl ManageConnection for Manager {
    /// bb8 moves it a dozen times between those who use it.
    type Connection = Box<PoolConnection>;
    type Error = UpstreamError;

    async fn connect(&self) -> Result<Box<PoolConnection>, UpstreamError> {
        if let Some(error) = self.knowledge.refused_of_late() {
            return Err(error);
        }
        match tokio::time::timeout(self.target.connect_timeout * 2, self.make()).await {
            Ok(made) => {
                self.tell_of_user(made.as_ref().map(|_| ()));
                made.map(Box::new)
            }
            Err(_) => Err(UpstreamError::new(
                Kind::Connect,
                format!("{}: not ready within {:?}", self.target.address, self.target.connect_timeout * 2),
            )),
        }
    }

    async fn is_valid(&self, connection: &mut Box<PoolConnection>) -> Result<(), UpstreamError> {
        connection.wire.ask(&[b"PING"]).await.map(drop)
    }

    fn has_broken(&self, connection: &mut Box<PoolConnection>) -> bool {
        connection.broken || connection.is_closed()
    }
}

impl PoolConnection {
    /// The script's hash on this upstream.
    #[must_use]
    pub fn sha(&self) -> &str {
        &self.sha
    }

    /// The upstream closed it, or the network did.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.wire.is_closed()
    }

    /// It must not be used again: what was sent on it may still be answered, and the answer would be taken for another's.
    pub fn give_up(&mut self) {
        self.broken = true;
    }

    /// To be done before what may be the namespace's first write. It is not written before, so that a sidecar that nobody asks for
    /// an inventory leaves nothing upstream.
    ///
    /// # Errors
    /// `Unfit`: it was begun with another number. The upstream's refusal, or a lost connection.
    pub async fn claim_cells(&mut self, claim: &Claim) -> Result<(), UpstreamError> {
        let cells = claim.cells.to_string();
        self.wire.ask(&[b"HSETNX", claim.meta_key.as_bytes(), b"cells", cells.as_bytes()]).await?;
        self.check_cells(claim).await
    }

    /// To be done before anything else is asked of the namespace.
    ///
    /// # Errors
    /// As [`claim_cells`](Self::claim_cells).
    pub async fn check_cells(&mut self, claim: &Claim) -> Result<(), UpstreamError> {
        check(claim, &self.wire.ask(&[b"HGET", claim.meta_key.as_bytes(), b"cells"]).await?)
    }

    /// Loads the script, on a new connection or where the upstream has lost it.
    ///
    /// # Errors
    /// The upstream's refusal, or a lost connection.
    pub async fn load_script(&mut self) -> Result<(), UpstreamError> {
        self.load(true, false).await
    }

    /// Asks for the upstream's commands; from then on all workers know them.
    ///
    /// # Errors
    /// The upstream's refusal, or a lost connection.
    ///
    /// # Cancel safety
    /// Dropped before it is done the connection must be given up.
    pub async fn ask_commands(&mut self) -> Result<(), UpstreamError> {
        self.load(false, true).await
    }

    /// Loads the script, asks for the commands, or both in one go.
    async fn load(&mut self, script: bool, commands: bool) -> Result<(), UpstreamError> {
        let mut requests = BytesMut::new();
        // With what a new connection says anyhow. Whether it may be called so makes no difference to what it does.
        let mut named = self.name.take().map(|name| {
            write::request(&mut requests, &[b"CLIENT", b"SETNAME", name.as_bytes()]);
        });
        let count = usize::from(named.is_some()) + usize::from(script) + usize::from(commands);
        if script {
            write::request(&mut requests, &[b"SCRIPT", b"LOAD", self.script.as_bytes()]);
        }
        if commands {
            self.knowledge.asking();
            write::request(&mut requests, &[b"COMMAND"]);
        }
        let (sha, knowledge, mut is_script) = (&mut self.sha, &self.knowledge, script);
        let read = |reply: &Bytes| {
            if named.take().is_some() {
                return Ok(());
            }
            if !std::mem::take(&mut is_script) {
                if reply.first() == Some(&b'-') {
                    return answer(reply).map(drop);
                }
                knowledge.learn(reply);
                return Ok(());
            }
            match answer(reply)? {
                Value::BulkString(loaded) => *sha = String::from_utf8_lossy(&loaded).into_owned(),
                _ => return Err(UpstreamError::new(Kind::Reply, "SCRIPT LOAD was not answered by a hash")),
            }
            Ok(())
        };
        self.wire.exchange_read(&requests, count, read).await?;
        if commands {
            self.wire.shrink();
        }
        Ok(())
    }

    /// Sends all and waits for so many replies, one for each request.
    ///
    /// # Errors
    /// A lost connection; it must be given up then. An error reply is a value.
    ///
    /// # Cancel safety
    /// Dropped before it is done the connection must be given up.
    pub async fn send(&mut self, requests: &[u8], count: usize) -> Result<Vec<Reply>, UpstreamError> {
        self.wire.exchange(requests, count).await
    }
}

/// What HGET says of a namespace's cells.
pub(super) fn check(claim: &Claim, known: &Value) -> Result<(), UpstreamError> {
    let Value::BulkString(known) = known else { return Ok(()) };
    let (known, ours) = (String::from_utf8_lossy(known).into_owned(), claim.cells.to_string());
    if known == ours {
        return Ok(());
    }
    Err(UpstreamError::new(
        Kind::Unfit,
        format!(
            "inventory.cells is {ours}, but this namespace was begun with inventory.cells = {known} ({})",
            claim.meta_key
        ),
    ))
}

impl Drop for PoolConnection {
    fn drop(&mut self) {
        if self.broken || self.is_closed() {
            self.knowledge.lost();
        }
        self.metrics.upstream_connections[ConnectionKind::Pool].decrement(1.0);
    }
}

/// bb8 tells of a failed attempt to connect here, and to nobody who waits.
struct Sink(Arc<Knowledge>);

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sink")
    }
}

impl ErrorSink<UpstreamError> for Sink {
    fn sink(&self, error: UpstreamError) {
        tracing::debug!(%error, "no pooled connection");
        self.0.failed(error);
    }

    fn boxed_clone(&self) -> Box<dyn ErrorSink<UpstreamError>> {
        Box::new(Self(Arc::clone(&self.0)))
    }
}
