//! A buyer's way to the sidecar: an ordinary Redis client over TCP, and what it makes of an answer.
//!
//! Owns one connection, made anew where it breaks, and takes the time of each question. Never decides whether to ask again.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bb8_redis::redis::aio::MultiplexedConnection;
use bb8_redis::redis::{self, AsyncConnectionConfig, Cmd, FromRedisValue, Pipeline, RedisError, RedisResult};
use tokio::sync::OnceCell;

use super::tally::{Asked, Tally};

/// Longer than the sidecar takes to say that it does not know (`operation_deadline_ms`).
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer<T> {
    Done(T),
    /// A decision: the error's word and what follows it.
    Refused(String, String),
    /// It was never sent upstream, or could not be: ask again.
    NotNow,
    /// It may have been done or not: ask the same again.
    Unknown,
}

/// One connection, shared by the buyers who come in over it.
pub(super) struct Client {
    client: redis::Client,
    /// Empty until it is first needed, and again after it broke.
    connection: RefCell<Rc<OnceCell<MultiplexedConnection>>>,
    tally: Arc<Tally>,
}

impl Client {
    pub(super) fn new(sidecar: SocketAddr, tally: &Arc<Tally>) -> RedisResult<Self> {
        let client = redis::Client::open(format!("redis://{sidecar}"))?;
        Ok(Self { client, connection: RefCell::default(), tally: Arc::clone(tally) })
    }

    /// Connects, so that the first buyer need not.
    pub(super) async fn connect(&self) -> RedisResult<()> {
        let cell = Rc::clone(&self.connection.borrow());
        self.connected(&cell).await.map(drop)
    }

    /// Asks once. The time counts where there was an answer of any kind.
    pub(super) async fn ask<T: FromRedisValue>(&self, asked: Asked, command: &Cmd) -> Answer<T> {
        self.timed(asked, async |connection| command.query_async(connection).await).await
    }

    /// Asks several things in one go.
    pub(super) async fn ask_all<T: FromRedisValue>(&self, asked: Asked, commands: &Pipeline) -> Answer<T> {
        self.timed(asked, async |connection| commands.query_async(connection).await).await
    }

    async fn timed<T>(
        &self,
        asked: Asked,
        ask: impl AsyncFnOnce(&mut MultiplexedConnection) -> RedisResult<T>,
    ) -> Answer<T> {
        let cell = Rc::clone(&self.connection.borrow());
        let mut connection = match self.connected(&cell).await {
            Ok(connection) => connection,
            Err(_) => {
                self.tally.errors.add(1);
                return Answer::NotNow;
            }
        };
        let asked_at = Instant::now();
        let result = ask(&mut connection).await;
        let answer = match result {
            Ok(value) => Answer::Done(value),
            Err(error) => {
                if error.is_unrecoverable_error() {
                    self.forget(&cell);
                }
                read(&error)
            }
        };
        match answer {
            Answer::Done(_) | Answer::Refused(..) => self.tally.took(asked, asked_at.elapsed()),
            Answer::NotNow | Answer::Unknown => self.tally.errors.add(1),
        }
        answer
    }

    /// All who wait for the same connection wait for one attempt.
    async fn connected(&self, cell: &OnceCell<MultiplexedConnection>) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(RESPONSE_TIMEOUT));
        let connect = || self.client.get_multiplexed_async_connection_with_config(&config);
        cell.get_or_try_init(connect).await.cloned()
    }

    /// The first who sees that it broke makes room for a new one.
    fn forget(&self, broken: &Rc<OnceCell<MultiplexedConnection>>) {
        let mut current = self.connection.borrow_mut();
        if Rc::ptr_eq(&current, broken) {
            *current = Rc::default();
        }
    }
}

fn read<T>(error: &RedisError) -> Answer<T> {
    match error.code() {
        Some("UNAVAILABLE" | "OVERLOADED" | "LOADING") => Answer::NotNow,
        Some("UNCERTAIN") | None => Answer::Unknown,
        Some(word) => Answer::Refused(word.to_owned(), error.detail().unwrap_or_default().to_owned()),
    }
}

/// `… name=123 …` in what follows an error's word.
pub(super) fn number_in(detail: &str, name: &str) -> Option<u64> {
    let mut words = detail.split_ascii_whitespace();
    words.find_map(|word| word.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bb8_redis::redis::{ErrorKind, make_extension_error};

    fn answer(word: &str) -> Answer<()> {
        read(&make_extension_error(word.to_owned(), Some("why".to_owned())))
    }

    #[test]
    fn only_a_decision_is_final() {
        for word in ["UNAVAILABLE", "OVERLOADED", "LOADING"] {
            assert_eq!(answer(word), Answer::NotNow, "{word}");
        }
        assert_eq!(answer("UNCERTAIN"), Answer::Unknown);
        assert_eq!(read::<()>(&RedisError::from((ErrorKind::Io, "broken"))), Answer::Unknown);
        for word in ["INSUFFICIENTSTOCK", "EXPIRED", "NOTFOUND"] {
            assert_eq!(answer(word), Answer::Refused(word.to_owned(), "why".to_owned()));
        }
    }

    #[test]
    fn a_number_is_found_by_its_name() {
        let detail = "fewer are available requested=2 available=0 retry_ms=117";
        assert_eq!((number_in(detail, "retry_ms"), number_in(detail, "available")), (Some(117), Some(0)));
        assert_eq!((number_in(detail, "retry"), number_in("retry_ms=x", "retry_ms")), (None, None));
    }
}
