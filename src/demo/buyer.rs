//! One buyer's story: looks at the page, reserves, pays or does not; or is refused and comes back for what others give back.
//!
//! Owns the order of the questions and when one is asked again. Never makes a connection.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bb8_redis::redis::{self, Cmd, FromRedisValue};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::client::{Answer, Client, number_in};
use super::plan::{Buyer, Payment, Plan, RESERVATION_TTL};
use super::tally::{Asked, Tally};

/// A buyer asks again so long where there is no decision: longer than an upstream that crashed needs to come back.
const PATIENCE: Duration = Duration::from_secs(15);
/// Between two such questions.
const AGAIN: Duration = Duration::from_millis(50);
/// For one who was refused and not told when stock may come back.
const UNTOLD: Duration = Duration::from_millis(300);

/// What all buyers share.
pub(super) struct Shop {
    pub(super) plan: Plan,
    pub(super) tally: Arc<Tally>,
    /// The next buyer's number.
    pub(super) next: Cell<u64>,
    /// Who was refused comes back until then; set when the last one has arrived.
    pub(super) closes: Cell<Option<Instant>>,
    busy: Cell<usize>,
    idle: Notify,
    /// The first answer that nobody should get: it ends the sale's good name, not the sale.
    surprise: RefCell<Option<String>>,
}

impl Shop {
    pub(super) fn new(plan: Plan, tally: &Arc<Tally>) -> Rc<Self> {
        Rc::new(Self {
            plan,
            tally: Arc::clone(tally),
            next: Cell::new(0),
            closes: Cell::new(None),
            busy: Cell::new(0),
            idle: Notify::new(),
            surprise: RefCell::new(None),
        })
    }

    pub(super) fn surprise(&self) -> Option<String> {
        self.surprise.borrow().clone()
    }

    /// Until nobody pays, waits or comes back any more.
    pub(super) async fn empty(&self) {
        while self.busy.get() > 0 {
            self.idle.notified().await;
        }
    }

    /// What goes on beside the connection's next buyer. It ends with the load's runtime at the latest.
    fn aside(self: &Rc<Self>, story: impl Future<Output = ()> + 'static) {
        self.busy.set(self.busy.get() + 1);
        let busy = Busy(Rc::clone(self));
        tokio::task::spawn_local(async move {
            let _busy = busy;
            story.await;
        });
    }

    fn is_open(&self, at: Instant) -> bool {
        self.closes.get().is_none_or(|closes| at < closes)
    }

    fn surprised(&self, command: &str, word: &str, detail: &str) {
        self.surprise.borrow_mut().get_or_insert_with(|| format!("{command} answered {word} {detail}"));
    }
}

/// One story that goes on; dropped also where it panics.
struct Busy(Rc<Shop>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.set(self.0.busy.get() - 1);
        self.0.idle.notify_one();
    }
}

enum Reserved {
    Yes(String),
    /// Try again in so long.
    NotNow(Duration),
    No,
}

/// Up to the first answer; payment and coming back go on aside.
pub(super) async fn visit(shop: &Rc<Shop>, client: &Rc<Client>, buyer: Buyer) {
    let sku = &shop.plan.skus[buyer.sku].name;
    let mut page = redis::pipe();
    page.get(page_key(sku)).incr(views_key(sku), 1);
    // A page that does not come hinders nobody from buying.
    let _: Answer<(Option<String>, u64)> = client.ask_all(Asked::Page, &page).await;
    let mut command = redis::cmd("INV.ISPROTECTED");
    command.arg(sku);
    if let Answer::Done(protected) = client.ask::<i64>(Asked::IsProtected, &command).await
        && (protected == 1) != is_hot(buyer.sku)
    {
        shop.tally.misjudged.add(1);
    }
    let reserved = reserve(shop, client, &buyer).await;
    shop.tally.served.add(1);
    match reserved {
        Reserved::Yes(id) => pay_aside(shop, client, buyer, id),
        Reserved::NotNow(retry) if buyer.returns > 0 => {
            let (of_story, client) = (Rc::clone(shop), Rc::clone(client));
            shop.aside(async move { come_back(&of_story, &client, buyer, retry).await });
        }
        Reserved::NotNow(_) | Reserved::No => {}
    }
}

async fn come_back(shop: &Rc<Shop>, client: &Rc<Client>, buyer: Buyer, mut retry: Duration) {
    for _ in 0..buyer.returns {
        let at = Instant::now() + retry + buyer.returns_late;
        if !shop.is_open(at) {
            return;
        }
        tokio::time::sleep_until(at).await;
        shop.tally.returned.add(1);
        match reserve(shop, client, &buyer).await {
            Reserved::Yes(id) => return pay_aside(shop, client, buyer, id),
            Reserved::NotNow(next) => retry = next,
            Reserved::No => return,
        }
    }
}

async fn reserve(shop: &Shop, client: &Client, buyer: &Buyer) -> Reserved {
    let mut command = redis::cmd("INV.RESERVE");
    command.arg(&shop.plan.skus[buyer.sku].name).arg(buyer.quantity).arg("PX").arg(RESERVATION_TTL.as_millis() as u64);
    // Asked again after UNCERTAIN it is a new reservation; the other one, if there is one, expires by itself.
    match until_decided(client, Asked::Reserve, &command).await.0 {
        Answer::Done(id) => {
            shop.tally.skus[buyer.sku].reserved.add(buyer.quantity);
            Reserved::Yes(id)
        }
        Answer::Refused(word, detail) if word == "INSUFFICIENTSTOCK" => {
            shop.tally.refused.add(1);
            Reserved::NotNow(number_in(&detail, "retry_ms").map_or(UNTOLD, Duration::from_millis))
        }
        Answer::Refused(word, detail) => {
            shop.surprised("INV.RESERVE", &word, &detail);
            Reserved::No
        }
        Answer::NotNow | Answer::Unknown => Reserved::No,
    }
}

fn pay_aside(shop: &Rc<Shop>, client: &Rc<Client>, buyer: Buyer, id: String) {
    let (of_story, client) = (Rc::clone(shop), Rc::clone(client));
    shop.aside(async move { pay(&of_story, &client, &buyer, &id).await });
}

async fn pay(shop: &Shop, client: &Client, buyer: &Buyer, id: &str) {
    let (of_sku, quantity) = (&shop.tally.skus[buyer.sku], buyer.quantity);
    let (asked, command) = match buyer.payment {
        Payment::NeverAnswers => {
            sleep(RESERVATION_TTL).await;
            return of_sku.expired.add(quantity);
        }
        Payment::Succeeds => {
            let mut command = redis::cmd("INV.COMMIT");
            command.arg(id).arg("REF").arg(format!("order-{}-{}", shop.plan.seed, buyer.number));
            (Asked::Commit, command)
        }
        Payment::Fails => {
            let mut command = redis::cmd("INV.ROLLBACK");
            command.arg(id);
            (Asked::Rollback, command)
        }
    };
    sleep(buyer.payment_takes).await;
    // The same again, with the same REF, does nothing twice: that is how one finds out what became of it.
    let (answer, maybe_done) = until_decided::<String>(client, asked, &command).await;
    match answer {
        Answer::Done(_) if asked == Asked::Commit => {
            of_sku.sold.add(quantity);
            shop.tally.bought.add(1);
        }
        Answer::Done(_) => of_sku.rolled_back.add(quantity),
        // Too late, where the machine or the upstream was slow: its stock is back.
        Answer::Refused(word, _) if word == "EXPIRED" => of_sku.expired.add(quantity),
        Answer::Refused(word, detail) => {
            shop.surprised(asked.words(), &word, &detail);
        }
        Answer::NotNow | Answer::Unknown if asked == Asked::Commit && maybe_done => of_sku.uncertain.add(quantity),
        Answer::NotNow | Answer::Unknown => of_sku.expired.add(quantity),
    }
}

/// Asks until there is a decision or patience ends; and whether one of the questions may have been heeded unseen.
async fn until_decided<T: FromRedisValue>(client: &Client, asked: Asked, command: &Cmd) -> (Answer<T>, bool) {
    let (until, mut maybe_done) = (Instant::now() + PATIENCE, false);
    loop {
        let answer = client.ask(asked, command).await;
        maybe_done |= matches!(answer, Answer::Unknown);
        if matches!(answer, Answer::Done(_) | Answer::Refused(..)) || Instant::now() > until {
            return (answer, maybe_done);
        }
        sleep(AGAIN).await;
    }
}

/// The first SKU, which most want, is the protected one.
pub(super) fn is_hot(sku: usize) -> bool {
    sku == 0
}

pub(super) fn page_key(sku: &str) -> String {
    format!("page:{sku}")
}

pub(super) fn views_key(sku: &str) -> String {
    format!("views:{sku}")
}
