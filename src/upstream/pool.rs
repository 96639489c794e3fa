//! The pool of connections that batches travel on: bb8 with a manager that makes a connection ready for scripts and knows
//! when one is broken.

use super::engine::{Engine, command_table};
use super::target::Target;
use crate::command::CommandTable;
use crate::config::Address;
use crate::error::{Kind, UpstreamError};
use crate::metrics::{ConnectionKind, Metrics};
use arc_swap::ArcSwap;
use bb8_redis::bb8::{self, ErrorSink, ManageConnection};
use bb8_redis::redis::aio::{MultiplexedConnection, SendError};
use bb8_redis::redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo, Pipeline, ProtocolVersion, PushInfo, PushKind,
    RedisConnectionInfo, RedisError, Value, cmd,
};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// A connection older than this is replaced when it is free: addresses change, and a balancer's do silently.
const MAX_LIFETIME: Duration = Duration::from_secs(30 * 60);

/// What a connection must load and check before it is used.
#[derive(Debug, Clone)]
pub struct Fitting {
    /// The script's text: for an engine that reads `#!lua`, and for one that does not.
    pub script_with_flags: Arc<str>,
    /// See above.
    pub script_plain: Arc<str>,
    /// The hash that remembers the namespace's number of cells, in field `cells`.
    pub meta_key: String,
    /// The number of cells of the configuration.
    pub cells: u16,
}

/// What connections learn of the upstream, shared by all workers.
#[derive(Default)]
pub struct Knowledge {
    /// Its commands.
    pub commands: Arc<ArcSwap<CommandTable>>,
    /// None before the first connection.
    pub engine: ArcSwap<Option<Engine>>,
    /// Pooled connections that were given up and not made anew yet.
    lost: AtomicUsize,
    failed: Notify,
    last_error: Mutex<Option<UpstreamError>>,
}

impl Knowledge {
    /// The error of the last attempt to connect.
    #[must_use]
    pub fn last_error(&self) -> Option<UpstreamError> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// When an attempt to connect fails. Cancel safe.
    pub async fn connect_failed(&self) {
        self.failed.notified().await;
    }
}

/// Makes connections; see the module.
pub struct Manager {
    client: Client,
    target: Target,
    fitting: Fitting,
    knowledge: Arc<Knowledge>,
    metrics: Metrics,
}

/// A pooled connection: scripts are loaded, and it knows whether it may be used again.
pub struct PoolConnection {
    connection: MultiplexedConnection,
    sha: String,
    script: Arc<str>,
    broken: bool,
    closed: Arc<AtomicBool>,
    knowledge: Arc<Knowledge>,
    metrics: Metrics,
}

/// The pool of one worker.
pub type Pool = bb8::Pool<Manager>;

/// An error of the redis crate by its word: the crate has one kind for OOM, MISCONF, NOREPLICAS and BUSY.
#[must_use]
pub fn classify(error: &RedisError) -> UpstreamError {
    match error.code() {
        Some(code) if !error.is_io_error() => {
            UpstreamError::from_reply(&format!("{code} {}", error.detail().unwrap_or_default()))
        }
        _ if error.kind() == bb8_redis::redis::ErrorKind::AuthenticationFailed => {
            let said = error.detail().map_or_else(String::new, |detail| format!(" ({detail})"));
            UpstreamError::new(Kind::Auth, format!("it refuses the user name or the password of upstream.url{said}"))
        }
        _ if error.is_timeout() => UpstreamError::new(Kind::Timeout, error.to_string()),
        _ => UpstreamError::new(Kind::Io, error.to_string()),
    }
}

impl Manager {
    /// # Errors
    /// Where the target cannot be expressed to the redis crate.
    pub fn new(
        target: &Target,
        fitting: Fitting,
        knowledge: &Arc<Knowledge>,
        metrics: &Metrics,
    ) -> Result<Self, UpstreamError> {
        let address = match &target.address {
            Address::Tcp { host, port } => ConnectionAddr::Tcp(host.clone(), *port),
            Address::Unix(path) => ConnectionAddr::Unix(path.clone()),
        };
        // RESP3, for only there the crate tells of a connection that is lost while nobody uses it.
        let mut settings = RedisConnectionInfo::default()
            .set_protocol(ProtocolVersion::RESP3)
            .set_db(i64::from(target.db))
            .set_skip_set_lib_name();
        if let Some(username) = &target.username {
            settings = settings.set_username(username);
        }
        if let Some(password) = &target.password {
            settings = settings.set_password(password.expose());
        }
        let info = address.into_connection_info().map_err(|error| classify(&error))?.set_redis_settings(settings);
        let client = Client::open(info).map_err(|error| classify(&error))?;
        Ok(Self { client, target: target.clone(), fitting, knowledge: Arc::clone(knowledge), metrics: metrics.clone() })
    }

    /// A pool of at most `size` connections, each made when it is first needed.
    #[must_use]
    pub fn into_pool(self, size: u32, patience: Duration) -> Pool {
        let sink = Sink(Arc::clone(&self.knowledge));
        bb8::Pool::builder()
            .max_size(size)
            .test_on_check_out(false)
            // The batcher has a back-off of its own, and must know of a failure at once.
            .retry_connection(false)
            .connection_timeout(patience)
            .idle_timeout(None)
            .max_lifetime(MAX_LIFETIME)
            .error_sink(Box::new(sink))
            .build_unchecked(self)
    }

    async fn make(&self) -> Result<PoolConnection, UpstreamError> {
        let closed = Arc::new(AtomicBool::new(false));
        let on_push = {
            let closed = Arc::clone(&closed);
            move |push: PushInfo| {
                if push.kind == PushKind::Disconnection {
                    closed.store(true, Ordering::Relaxed);
                }
                Ok::<_, SendError>(())
            }
        };
        let config = AsyncConnectionConfig::new()
            .set_push_sender(on_push)
            .set_connection_timeout(Some(self.target.connect_timeout))
            .set_response_timeout(None);
        let mut connection =
            self.client.get_multiplexed_async_connection_with_config(&config).await.map_err(|error| {
                let error = classify(&error);
                let kind =
                    if error.kind == Kind::Io || error.kind == Kind::Timeout { Kind::Connect } else { error.kind };
                UpstreamError::new(kind, format!("{}: {}", self.target.address, error.detail))
            })?;
        let info: String =
            cmd("INFO").arg("server").query_async(&mut connection).await.map_err(|error| classify(&error))?;
        let engine = Engine::from_info(&info)?;
        self.check_cells(&mut connection).await?;
        let script =
            if engine.reads_script_flags() { &self.fitting.script_with_flags } else { &self.fitting.script_plain };
        let mut made = PoolConnection {
            connection,
            sha: String::new(),
            script: Arc::clone(script),
            broken: false,
            closed,
            knowledge: Arc::clone(&self.knowledge),
            metrics: self.metrics.clone(),
        };
        self.metrics.upstream_connections[ConnectionKind::Pool].increment(1.0);
        made.load_script().await?;
        *self.knowledge.last_error.lock().unwrap_or_else(PoisonError::into_inner) = None;
        if self.knowledge.lost.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |lost| lost.checked_sub(1)).is_ok() {
            self.metrics.reconnects[ConnectionKind::Pool].increment(1);
        }
        if self.knowledge.engine.load().as_ref().as_ref() != Some(&engine) {
            let reply: Value =
                cmd("COMMAND").query_async(&mut made.connection).await.map_err(|error| classify(&error))?;
            self.knowledge.commands.store(Arc::new(command_table(&reply)));
            tracing::info!(%engine, upstream = %self.target.address, "the upstream is there");
            self.knowledge.engine.store(Arc::new(Some(engine)));
        }
        Ok(made)
    }

    /// A namespace keeps the number of cells it was begun with: with another one SKUs would be looked for elsewhere.
    async fn check_cells(&self, connection: &mut MultiplexedConnection) -> Result<(), UpstreamError> {
        let key = &self.fitting.meta_key;
        let known: Option<u16> =
            cmd("HGET").arg(key).arg("cells").query_async(connection).await.map_err(|error| classify(&error))?;
        let known = match known {
            Some(known) => known,
            None => {
                let () = cmd("HSETNX")
                    .arg(key)
                    .arg("cells")
                    .arg(self.fitting.cells)
                    .query_async(connection)
                    .await
                    .map_err(|error| classify(&error))?;
                cmd("HGET").arg(key).arg("cells").query_async(connection).await.map_err(|error| classify(&error))?
            }
        };
        if known != self.fitting.cells {
            return Err(UpstreamError::new(
                Kind::Unfit,
                format!(
                    "inventory.cells is {}, but this namespace was begun with inventory.cells = {known} ({key})",
                    self.fitting.cells
                ),
            ));
        }
        Ok(())
    }
}

impl ManageConnection for Manager {
    type Connection = PoolConnection;
    type Error = UpstreamError;

    async fn connect(&self) -> Result<PoolConnection, UpstreamError> {
        match tokio::time::timeout(self.target.connect_timeout * 2, self.make()).await {
            Ok(made) => made,
            Err(_) => Err(UpstreamError::new(
                Kind::Connect,
                format!("{}: not ready within {:?}", self.target.address, self.target.connect_timeout * 2),
            )),
        }
    }

    async fn is_valid(&self, connection: &mut PoolConnection) -> Result<(), UpstreamError> {
        cmd("PING").query_async(&mut connection.connection).await.map_err(|error| classify(&error))
    }

    fn has_broken(&self, connection: &mut PoolConnection) -> bool {
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
        self.closed.load(Ordering::Relaxed)
    }

    /// It must not be used again: what was sent on it may still be answered, and the answer would be taken for another's.
    pub fn give_up(&mut self) {
        self.broken = true;
    }

    /// Loads the script, on a new connection or where the upstream has lost it.
    ///
    /// # Errors
    /// The upstream's refusal, or a lost connection.
    pub async fn load_script(&mut self) -> Result<(), UpstreamError> {
        self.sha = cmd("SCRIPT")
            .arg("LOAD")
            .arg(self.script.as_bytes())
            .query_async(&mut self.connection)
            .await
            .map_err(|error| classify(&error))?;
        Ok(())
    }

    /// Sends all and waits for all replies, one for each command.
    ///
    /// # Errors
    /// A lost connection; it must be given up then. An error reply is a value.
    ///
    /// # Cancel safety
    /// Dropped before it is done the connection must be given up.
    pub async fn send(&mut self, pipeline: &Pipeline) -> Result<Vec<Result<Value, UpstreamError>>, UpstreamError> {
        let replies = self
            .connection
            .send_packed_commands(pipeline, 0, pipeline.len())
            .await
            .map_err(|error| classify(&error))?;
        Ok(replies
            .into_iter()
            .map(|reply| match reply {
                Value::ServerError(error) => {
                    Err(UpstreamError::from_reply(&format!("{} {}", error.code(), error.details().unwrap_or_default())))
                }
                value => Ok(value),
            })
            .collect())
    }
}

impl Drop for PoolConnection {
    fn drop(&mut self) {
        if self.broken || self.is_closed() {
            self.knowledge.lost.fetch_add(1, Ordering::Relaxed);
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
        *self.0.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        self.0.failed.notify_waiters();
    }

    fn boxed_clone(&self) -> Box<dyn ErrorSink<UpstreamError>> {
        Box::new(Self(Arc::clone(&self.0)))
    }
}
