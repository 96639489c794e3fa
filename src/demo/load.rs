//! The load: all buyers on their connections, on a thread and a runtime of their own, so that what they do and what the
//! sidecar does do not wait for each other.
//!
//! Owns the thread, the shelves before the opening and the order of arrivals. Never looks into Redis by itself.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bb8_redis::redis;
use tokio::sync::oneshot;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, sleep, sleep_until};

use super::buyer::{Shop, is_hot, page_key, views_key, visit};
use super::client::{Answer, Client};
use super::plan::{Plan, RESERVATION_TTL};
use super::tally::{Asked, Tally};

/// After the last arrival: long enough for the last unpaid reservation to expire and its stock to be bought and paid for.
const LAST_ORDERS: Duration = Duration::from_millis(2_200);
/// Reservations of an earlier run in the same data directory have expired by then.
const SHELVES: Duration = Duration::from_millis(RESERVATION_TTL.as_millis() as u64 * 2);
const AGAIN: Duration = Duration::from_millis(50);

/// A load that runs. Dropped, it ends where it stands.
pub(super) struct Load {
    ready: oneshot::Receiver<()>,
    open: Option<oneshot::Sender<()>>,
    done: oneshot::Receiver<Result<Option<String>, String>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Load {
    /// Starts the thread; the shop is closed.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn start(plan: Plan, tally: Arc<Tally>, sidecar: SocketAddr) -> std::io::Result<Self> {
        let (ready_sender, ready) = oneshot::channel();
        let (open, opened) = oneshot::channel();
        let (done_sender, done) = oneshot::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("buyers".to_owned()).spawn(move || {
            let sale = sell(plan, tally, sidecar, ready_sender, opened);
            let until_stopped = async {
                // Every buyer is dropped where he stands: his reservation expires.
                tokio::select! {
                    result = sale => result,
                    _ = stopped => Err("stopped".to_owned()),
                }
            };
            let _ = done_sender.send(LocalSet::new().block_on(&runtime, until_stopped));
        })?;
        Ok(Self { ready, open: Some(open), done, stop: Some(stop), thread: Some(thread) })
    }

    /// Until the shelves are full and all connections are there.
    ///
    /// # Errors
    /// What stands against it.
    pub(super) async fn ready(&mut self) -> Result<(), String> {
        if (&mut self.ready).await.is_ok() { Ok(()) } else { self.done().await.map(drop) }
    }

    /// Lets the buyers in.
    pub(super) fn open(&mut self) {
        if let Some(open) = self.open.take() {
            // A load that has ended says so by itself.
            let _ = open.send(());
        }
    }

    /// Until all buyers have gone: the first answer that nobody should get, if there was one. Cancel safe.
    ///
    /// # Errors
    /// Why there was no sale.
    pub(super) async fn done(&mut self) -> Result<Option<String>, String> {
        (&mut self.done).await.unwrap_or_else(|_| Err("the buyers' thread failed".to_owned()))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn sell(
    plan: Plan,
    tally: Arc<Tally>,
    sidecar: SocketAddr,
    ready: oneshot::Sender<()>,
    opened: oneshot::Receiver<()>,
) -> Result<Option<String>, String> {
    let client = |tally| Client::new(sidecar, tally).map_err(|error| format!("{sidecar}: {error}"));
    // Not counted: no buyer waits for it.
    let uncounted = Arc::new(Tally::new(0));
    stock_shelves(&plan, &client(&uncounted)?).await?;
    let mut clients = Vec::new();
    for _ in 0..plan.connections {
        let client = Rc::new(client(&tally)?);
        client.connect().await.map_err(|error| format!("cannot connect to the sidecar at {sidecar}: {error}"))?;
        clients.push(client);
    }
    let _ = ready.send(());
    if opened.await.is_err() {
        return Err("never opened".to_owned());
    }

    let (shop, opening) = (Shop::new(plan, &tally), Instant::now());
    let mut lines = JoinSet::new();
    for client in clients {
        let shop = Rc::clone(&shop);
        lines.spawn_local(async move { line(&shop, &client, opening).await });
    }
    while let Some(line) = lines.join_next().await {
        line.map_err(|error| format!("a buyer failed: {error}"))?;
    }
    shop.closes.set(Some(Instant::now() + LAST_ORDERS));
    shop.empty().await;
    Ok(shop.surprise())
}

/// One connection's buyers, one after the other; those who pay or wait do it aside.
async fn line(shop: &Rc<Shop>, client: &Rc<Client>, opening: Instant) {
    loop {
        let number = shop.next.get();
        if number >= shop.plan.buyers {
            return;
        }
        shop.next.set(number + 1);
        sleep_until(opening + shop.plan.arrives(number)).await;
        visit(shop, client, shop.plan.buyer(number)).await;
    }
}

async fn stock_shelves(plan: &Plan, client: &Client) -> Result<(), String> {
    let until = Instant::now() + SHELVES;
    for (index, sku) in plan.skus.iter().enumerate() {
        let mut command = redis::cmd("INV.SETSTOCK");
        command.arg(&sku.name).arg(sku.units);
        while let Err(error) = one(client, &command).await {
            if Instant::now() > until {
                return Err(error);
            }
            sleep(AGAIN).await;
        }
        let change = if is_hot(index) { "INV.PROTECT" } else { "INV.UNPROTECT" };
        one(client, redis::cmd(change).arg(&sku.name)).await?;
        let page = format!("<h1>{}</h1><p>Only {} units. Today only.</p>", sku.name, sku.units);
        one(client, redis::cmd("SET").arg(page_key(&sku.name)).arg(page)).await?;
        one(client, redis::cmd("SET").arg(views_key(&sku.name)).arg(0)).await?;
    }
    Ok(())
}

async fn one(client: &Client, command: &redis::Cmd) -> Result<(), String> {
    match client.ask::<redis::Value>(Asked::Page, command).await {
        Answer::Done(_) => Ok(()),
        Answer::Refused(word, detail) => Err(format!("the shelves cannot be filled: {word} {detail}")),
        Answer::NotNow | Answer::Unknown => Err("the shelves cannot be filled: the sidecar does not answer".to_owned()),
    }
}
