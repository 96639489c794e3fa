//! What Redis itself holds, read from its own socket and not through the sidecar: the witness of the account.
//!
//! Owns one connection, made anew where it broke. Never writes.

use std::time::Duration;

use bb8_redis::redis::aio::MultiplexedConnection;
use bb8_redis::redis::{self, AsyncConnectionConfig, RedisResult};
use tokio::time::{Instant, sleep, timeout};

use super::account::Stock;
use super::plan::Sku;
use crate::inventory::keys::cell_keys;

/// For the server to answer on this machine, or to come back after a crash.
const PATIENCE: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_millis(50);
/// A live view does not wait for a server that is away.
const GLANCE: Duration = Duration::from_millis(80);

/// Reads the stock of the sale's SKUs.
pub(super) struct Ledger {
    client: redis::Client,
    connection: Option<MultiplexedConnection>,
    command: redis::Cmd,
    names: Vec<String>,
}

impl Ledger {
    /// `socket` is the upstream's; the namespace has one cell.
    ///
    /// # Errors
    /// A path that makes no address.
    pub(super) fn new(socket: &str, namespace: &str, skus: &[Sku]) -> Result<Self, String> {
        let client = redis::Client::open(format!("redis+unix://{socket}")).map_err(|error| error.to_string())?;
        let names: Vec<String> = skus.iter().map(|sku| sku.name.clone()).collect();
        let [stock, ..] = cell_keys(namespace, 0);
        let mut command = redis::cmd("HMGET");
        command.arg(stock).arg(&names);
        Ok(Self { client, connection: None, command, names })
    }

    /// All SKUs at one instant, in the order of the sale. Asks again while the server is away.
    ///
    /// # Errors
    /// A server that stays away, or a field that is no stock.
    ///
    /// # Cancel safety
    /// Dropped, it loses its connection at most.
    pub(super) async fn read(&mut self) -> Result<Vec<Stock>, String> {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.ask().await {
                Ok(records) => return self.parse(&records),
                Err(error) if Instant::now() > until => return Err(format!("the stock cannot be read: {error}")),
                Err(_) => sleep(AGAIN).await,
            }
        }
    }

    /// The same, if it is to be had at once.
    ///
    /// # Cancel safety
    /// As [`Ledger::read`].
    pub(super) async fn glance(&mut self) -> Option<Vec<Stock>> {
        let records = timeout(GLANCE, self.ask()).await.ok()?.ok()?;
        self.parse(&records).ok()
    }

    async fn ask(&mut self) -> RedisResult<Vec<Option<Vec<u8>>>> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let config = AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
                self.client.get_multiplexed_async_connection_with_config(&config).await?
            }
        };
        let records = self.command.query_async(&mut connection).await?;
        self.connection = Some(connection);
        Ok(records)
    }

    fn parse(&self, records: &[Option<Vec<u8>>]) -> Result<Vec<Stock>, String> {
        let stocks = self.names.iter().zip(records).map(|(name, record)| {
            let stock = record.as_deref().and_then(Stock::parse);
            stock.ok_or_else(|| format!("{name}: Redis holds {record:?}, which is no stock"))
        });
        stocks.collect()
    }
}
