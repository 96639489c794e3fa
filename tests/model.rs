//! Random histories of all commands against a small obvious model, one by one and in bursts that fall into one batch:
//! the same answers, and the same account in Redis, after each step.
//!
//! `MODEL_CASES=n` runs more histories, `MODEL_SEED=n` repeats a run; a failure prints its seed and the shortest history
//! that still fails.

mod common;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use common::{Conn, Redis, Reply, Sidecar, account, words};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

const CLOCK: &str = "test:clock";
const TTL_MS: i64 = 5_000;
const TTL_MAX_MS: i64 = 20_000;
const REMEMBER_MS: i64 = 30_000;
const MOST: i64 = (1 << 53) - 1;
const SKUS: usize = 3;

// ---------------------------------------------------------------- histories

#[derive(Debug, Clone)]
enum Step {
    Advance(i64),
    SetStock { sku: usize, quantity: i64, unless: Option<&'static str>, force: bool },
    AddStock { sku: usize, delta: i64, id: Option<usize> },
    Reserve { sku: usize, quantity: i64, ttl_ms: Option<i64>, id: Option<usize> },
    Commit { which: Which, reference: Option<usize> },
    Rollback(Which),
    Extend { which: Which, ttl_ms: i64 },
    Get(Which),
    Stock(Vec<usize>),
    Protect(Vec<usize>),
    Unprotect(Vec<usize>),
    IsProtected(Vec<usize>),
    Reap,
}

/// A reservation as a client names it: by its own ID, or the n-th newest of those that the sidecar minted.
#[derive(Debug, Clone)]
enum Which {
    Own(usize),
    Minted(usize),
}

fn which() -> impl Strategy<Value = Which> {
    prop_oneof![3 => (0..4usize).prop_map(Which::Own), 2 => (0..4usize).prop_map(Which::Minted)]
}

fn some_skus() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(0..SKUS, 1..4)
}

fn ttl_ms() -> impl Strategy<Value = i64> {
    prop_oneof![4 => 1..8_000i64, 2 => (TTL_MAX_MS - 1_500)..=TTL_MAX_MS, 1 => Just(TTL_MAX_MS + 1), 1 => 1..4i64]
}

/// A reservation; where it bears a client's own ID, mostly with what that ID stands for, so that retries are common.
fn reserve() -> impl Strategy<Value = Step> {
    let id = prop::option::weighted(0.7, 0..4usize);
    (0..SKUS, 1..5i64, prop::option::of(ttl_ms()), id, prop::bool::weighted(0.7)).prop_map(
        |(sku, quantity, ttl_ms, id, usual)| match id {
            Some(own) if usual => Step::Reserve { sku: own % SKUS, quantity: 1 + own as i64 % 2, ttl_ms, id },
            _ => Step::Reserve { sku, quantity, ttl_ms, id },
        },
    )
}

/// Begins with stock of all SKUs but one, lest half of the history be about unknown ones.
fn history() -> impl Strategy<Value = Vec<Step>> {
    (prop::collection::vec(4..12i64, SKUS - 1), prop::collection::vec(step(), 1..80)).prop_map(|(stocks, steps)| {
        let set = |(sku, quantity)| Step::SetStock { sku, quantity, unless: None, force: false };
        stocks.into_iter().enumerate().map(set).chain(steps).collect()
    })
}

fn step() -> impl Strategy<Value = Step> {
    let sku = || 0..SKUS;
    let on_hand = prop_oneof![8 => 0..12i64, 2 => (MOST - 3)..=MOST];
    let delta = prop_oneof![6 => 1..6i64, 4 => -6..0i64, 1 => (MOST - 6)..=MOST];
    let unless = prop_oneof![3 => Just(None), 1 => Just(Some("NX")), 1 => Just(Some("XX"))];
    let advance = prop_oneof![
        4 => 0..2_000i64, 4 => 1..4i64, 2 => (TTL_MS - 1)..(TTL_MS + 2), 1 => 9_000..45_000i64
    ];
    prop_oneof![
        5 => advance.prop_map(Step::Advance),
        4 => (sku(), on_hand, unless, prop::bool::weighted(0.3))
            .prop_map(|(sku, quantity, unless, force)| Step::SetStock { sku, quantity, unless, force }),
        3 => (sku(), delta, prop::option::of(0..2usize)).prop_map(|(sku, delta, id)| Step::AddStock { sku, delta, id }),
        12 => reserve(),
        6 => (which(), prop::option::of(0..2usize)).prop_map(|(which, reference)| Step::Commit { which, reference }),
        4 => which().prop_map(Step::Rollback),
        4 => (which(), ttl_ms()).prop_map(|(which, ttl_ms)| Step::Extend { which, ttl_ms }),
        2 => which().prop_map(Step::Get),
        2 => some_skus().prop_map(Step::Stock),
        1 => some_skus().prop_map(Step::Protect),
        1 => some_skus().prop_map(Step::Unprotect),
        1 => some_skus().prop_map(Step::IsProtected),
        1 => Just(Step::Reap),
    ]
}

// ---------------------------------------------------------------- the model

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Committed,
    RolledBack,
    Expired,
}

#[derive(Debug, Clone)]
struct Hold {
    sku: usize,
    quantity: i64,
    state: State,
    made: i64,
    expires: i64,
    reference: Option<usize>,
    /// When it may be forgotten; only for what has ended.
    forget: i64,
}

#[derive(Debug, Clone, Copy, Default)]
struct OnHand {
    available: i64,
    reserved: i64,
    committed: i64,
}

/// The name of a reservation within the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Own(usize),
    /// The n-th that the sidecar minted in this history.
    Minted(usize),
}

/// What INV.STOCK tells of one SKU: which, available, reserved, committed, protected.
type Told = (usize, i64, i64, i64, i64);

/// What a reply must be.
#[derive(Debug, Clone, PartialEq)]
enum Answer {
    Ok,
    Nil,
    Int(i64),
    Ints(Vec<i64>),
    AnyCount,
    /// The id of this reservation.
    Id(Key),
    Error(&'static str),
    Insufficient {
        requested: i64,
        available: i64,
        retry_ms: Option<i64>,
    },
    Hold {
        key: Key,
        sku: usize,
        quantity: i64,
        state: State,
        expires: i64,
        reference: Option<usize>,
    },
    Stocks(Vec<Option<Told>>),
}

#[derive(Default)]
struct Model {
    now: i64,
    stock: BTreeMap<usize, OnHand>,
    holds: BTreeMap<Key, Hold>,
    minted: usize,
    deliveries: BTreeMap<usize, (usize, i64, i64)>,
    protected: [bool; SKUS],
}

impl Model {
    /// What is due at this instant: overdue stock is back, what is old enough is forgotten.
    fn settle(&mut self) {
        for hold in self.holds.values_mut() {
            if hold.state == State::Open && hold.expires <= self.now {
                hold.state = State::Expired;
                // From when it was noticed, which is at once: every reservation is asked for after each advance.
                hold.forget = self.now + REMEMBER_MS;
                let stock = self.stock.get_mut(&hold.sku).expect("a stock");
                stock.reserved -= hold.quantity;
                stock.available += hold.quantity;
            }
        }
        let now = self.now;
        self.holds.retain(|_, hold| hold.state == State::Open || hold.forget > now);
        self.deliveries.retain(|_, (_, _, at)| *at + REMEMBER_MS > now);
    }

    fn lacking(&self, sku: usize, requested: i64) -> Answer {
        let open = self.holds.values().filter(|hold| hold.sku == sku && hold.state == State::Open);
        let retry_ms = open.map(|hold| hold.expires - self.now).min();
        Answer::Insufficient { requested, available: self.stock[&sku].available, retry_ms }
    }

    /// `minted` is what the client knows of minted reservations, oldest first.
    fn key(which: &Which, minted: usize) -> Option<Key> {
        match *which {
            Which::Own(own) => Some(Key::Own(own)),
            Which::Minted(back) if minted > 0 => Some(Key::Minted(minted - 1 - back % minted)),
            Which::Minted(_) => None,
        }
    }

    fn play(&mut self, step: &Step, known_minted: usize) -> Answer {
        self.settle();
        let now = self.now;
        match step {
            Step::Advance(_) => unreachable!("time is advanced between bursts"),
            Step::SetStock { sku, quantity, unless, force } => {
                let known = self.stock.contains_key(sku);
                if (*unless == Some("NX") && known) || (*unless == Some("XX") && !known) {
                    return Answer::Nil;
                }
                let was = self.stock.get(sku).copied().unwrap_or_default();
                if *quantity < was.reserved && !force {
                    return Answer::Error("BELOWRESERVED");
                }
                if quantity + was.committed > MOST {
                    return Answer::Error("OVERFLOW");
                }
                self.stock.insert(*sku, OnHand { available: quantity - was.reserved, ..was });
                Answer::Ok
            }
            Step::AddStock { sku, delta, id } => self.add_stock(*sku, *delta, *id),
            Step::Reserve { sku, quantity, ttl_ms, id } => self.reserve(*sku, *quantity, ttl_ms.unwrap_or(TTL_MS), *id),
            Step::Commit { which, reference } => {
                let Some(hold) = self.find(which, known_minted) else { return Answer::Error("NOTFOUND") };
                match hold.state {
                    State::Open => {}
                    State::Committed if reference.is_some() && hold.reference == *reference => return Answer::Ok,
                    state => return Answer::Error(ended(state)),
                }
                hold.state = State::Committed;
                hold.reference = *reference;
                hold.forget = now + REMEMBER_MS;
                let (sku, quantity) = (hold.sku, hold.quantity);
                let stock = self.stock.get_mut(&sku).expect("a stock");
                stock.reserved -= quantity;
                stock.committed += quantity;
                Answer::Ok
            }
            Step::Rollback(which) => {
                let Some(hold) = self.find(which, known_minted) else { return Answer::Error("NOTFOUND") };
                match hold.state {
                    State::Open => {}
                    State::Committed => return Answer::Error("ALREADYCOMMITTED"),
                    State::RolledBack | State::Expired => return Answer::Ok,
                }
                hold.state = State::RolledBack;
                hold.forget = now + REMEMBER_MS;
                let (sku, quantity) = (hold.sku, hold.quantity);
                let stock = self.stock.get_mut(&sku).expect("a stock");
                stock.reserved -= quantity;
                stock.available += quantity;
                Answer::Ok
            }
            Step::Extend { which, ttl_ms } => {
                if *ttl_ms > TTL_MAX_MS {
                    return Answer::Error("INVALIDTTL");
                }
                let Some(hold) = self.find(which, known_minted) else { return Answer::Error("NOTFOUND") };
                if hold.state != State::Open {
                    return Answer::Error(ended(hold.state));
                }
                if now + ttl_ms > hold.made + TTL_MAX_MS {
                    return Answer::Error("INVALIDTTL");
                }
                hold.expires = now + ttl_ms;
                Answer::Int(hold.expires)
            }
            Step::Get(which) => match Self::key(which, known_minted) {
                Some(key) => self.tell(key),
                None => Answer::Nil,
            },
            Step::Stock(skus) => Answer::Stocks(skus.iter().map(|sku| self.tell_stock(*sku)).collect()),
            Step::Protect(skus) => Answer::Int(self.mark(skus, true)),
            Step::Unprotect(skus) => Answer::Int(self.mark(skus, false)),
            Step::IsProtected(skus) => {
                let marks: Vec<i64> = skus.iter().map(|sku| i64::from(self.protected[*sku])).collect();
                if let [mark] = marks[..] { Answer::Int(mark) } else { Answer::Ints(marks) }
            }
            Step::Reap => Answer::AnyCount,
        }
    }

    fn find(&mut self, which: &Which, known_minted: usize) -> Option<&mut Hold> {
        self.holds.get_mut(&Self::key(which, known_minted)?)
    }

    fn add_stock(&mut self, sku: usize, delta: i64, id: Option<usize>) -> Answer {
        if let Some((was_sku, was_delta, _)) = id.and_then(|id| self.deliveries.get(&id)) {
            if (*was_sku, *was_delta) != (sku, delta) {
                return Answer::Error("CONFLICT");
            }
            return Answer::Int(self.stock[&sku].available);
        }
        let known = self.stock.get(&sku).copied();
        if known.is_none() && delta < 0 {
            return Answer::Error("UNKNOWNSKU");
        }
        let was = known.unwrap_or_default();
        if delta < 0 && was.available + delta < 0 {
            return self.lacking(sku, -delta);
        }
        if was.available + was.reserved + was.committed + delta > MOST {
            return Answer::Error("OVERFLOW");
        }
        self.stock.insert(sku, OnHand { available: was.available + delta, ..was });
        if let Some(id) = id {
            self.deliveries.insert(id, (sku, delta, self.now));
        }
        Answer::Int(was.available + delta)
    }

    fn reserve(&mut self, sku: usize, quantity: i64, ttl_ms: i64, id: Option<usize>) -> Answer {
        if ttl_ms > TTL_MAX_MS {
            return Answer::Error("INVALIDTTL");
        }
        if let Some((own, hold)) = id.and_then(|own| Some((own, self.holds.get(&Key::Own(own))?))) {
            return match hold.state {
                _ if (hold.sku, hold.quantity) != (sku, quantity) => Answer::Error("CONFLICT"),
                State::Open => Answer::Id(Key::Own(own)),
                state => Answer::Error(ended(state)),
            };
        }
        let Some(stock) = self.stock.get_mut(&sku) else { return Answer::Error("UNKNOWNSKU") };
        if stock.available < quantity {
            return self.lacking(sku, quantity);
        }
        stock.available -= quantity;
        stock.reserved += quantity;
        let key = id.map_or(Key::Minted(self.minted), Key::Own);
        self.minted += usize::from(id.is_none());
        let expires = self.now + ttl_ms;
        let hold = Hold { sku, quantity, state: State::Open, made: self.now, expires, reference: None, forget: 0 };
        self.holds.insert(key, hold);
        Answer::Id(key)
    }

    fn tell(&self, key: Key) -> Answer {
        self.holds.get(&key).map_or(Answer::Nil, |hold| Answer::Hold {
            key,
            sku: hold.sku,
            quantity: hold.quantity,
            state: hold.state,
            expires: hold.expires,
            reference: hold.reference,
        })
    }

    fn tell_stock(&self, sku: usize) -> Option<Told> {
        let stock = self.stock.get(&sku)?;
        Some((sku, stock.available, stock.reserved, stock.committed, i64::from(self.protected[sku])))
    }

    fn mark(&mut self, skus: &[usize], protected: bool) -> i64 {
        skus.iter().filter(|sku| std::mem::replace(&mut self.protected[**sku], protected) != protected).count() as i64
    }
}

fn ended(state: State) -> &'static str {
    match state {
        State::Open => unreachable!("not ended"),
        State::Committed => "ALREADYCOMMITTED",
        State::RolledBack => "ROLLEDBACK",
        State::Expired => "EXPIRED",
    }
}

// ---------------------------------------------------------------- the real thing

/// One history under way: names of its own, so that many share one upstream.
struct Run {
    case: usize,
    conn: Conn,
    upstream: Conn,
    model: Model,
    /// The ids that the sidecar minted, as the client saw them.
    minted: Vec<String>,
}

type Checked = Result<(), String>;

impl Run {
    fn sku(&self, sku: usize) -> String {
        format!("sku{}.{sku}", self.case)
    }

    fn skus(&self, skus: &[usize]) -> String {
        skus.iter().map(|sku| self.sku(*sku)).collect::<Vec<_>>().join(" ")
    }

    fn id(&self, key: Key) -> String {
        match key {
            Key::Own(own) => format!("0-own{}.{own}", self.case),
            Key::Minted(n) => self.minted.get(n).cloned().unwrap_or_else(|| format!("minted {n}")),
        }
    }

    fn name(&self, which: &Which) -> String {
        Model::key(which, self.minted.len()).map_or("0-never".to_string(), |key| self.id(key))
    }

    fn line(&self, step: &Step) -> String {
        let case = self.case;
        let opt = |name: &str, value: Option<String>| value.map_or(String::new(), |value| format!(" {name} {value}"));
        match step {
            Step::Advance(_) => unreachable!("time is advanced between bursts"),
            Step::SetStock { sku, quantity, unless, force } => format!(
                "INV.SETSTOCK {} {quantity} {} {}",
                self.sku(*sku),
                unless.unwrap_or(""),
                if *force { "FORCE" } else { "" }
            ),
            Step::AddStock { sku, delta, id } => {
                format!("INV.ADDSTOCK {} {delta}{}", self.sku(*sku), opt("ID", id.map(|id| format!("op{case}.{id}"))))
            }
            Step::Reserve { sku, quantity, ttl_ms, id } => format!(
                "INV.RESERVE {} {quantity}{}{}",
                self.sku(*sku),
                opt("PX", ttl_ms.map(|ms| ms.to_string())),
                opt("ID", id.map(|id| format!("own{case}.{id}")))
            ),
            Step::Commit { which, reference } => {
                format!("INV.COMMIT {}{}", self.name(which), opt("REF", reference.map(|r| format!("ref{r}"))))
            }
            Step::Rollback(which) => format!("INV.ROLLBACK {}", self.name(which)),
            Step::Extend { which, ttl_ms } => format!("INV.EXTEND {} PX {ttl_ms}", self.name(which)),
            Step::Get(which) => format!("INV.GET {}", self.name(which)),
            Step::Stock(skus) => format!("INV.STOCK {}", self.skus(skus)),
            Step::Protect(skus) => format!("INV.PROTECT {}", self.skus(skus)),
            Step::Unprotect(skus) => format!("INV.UNPROTECT {}", self.skus(skus)),
            Step::IsProtected(skus) => format!("INV.ISPROTECTED {}", self.skus(skus)),
            Step::Reap => "INV.REAP".into(),
        }
    }

    /// Sends a burst in one write, compares every answer, then the whole account.
    fn burst(&mut self, steps: &[Step]) -> Checked {
        let lines: Vec<String> = steps.iter().map(|step| self.line(step)).collect();
        let known = self.minted.len();
        let wanted: Vec<Answer> = steps.iter().map(|step| self.model.play(step, known)).collect();
        let replies = self.conn.pipeline(&lines.iter().map(|line| words(line)).collect::<Vec<_>>());
        for ((line, wanted), reply) in lines.iter().zip(&wanted).zip(&replies) {
            self.compare(wanted, reply).map_err(|why| format!("{line}: {why}"))?;
        }
        self.account()
    }

    fn compare(&mut self, wanted: &Answer, reply: &Reply) -> Checked {
        let same = match wanted {
            Answer::Ok => reply.is_ok(),
            Answer::Nil => reply.is_nil(),
            Answer::Int(number) => *reply == Reply::Int(*number),
            Answer::Ints(numbers) => *reply == Reply::Array(numbers.iter().map(|number| Reply::Int(*number)).collect()),
            Answer::AnyCount => matches!(reply, Reply::Int(0..)),
            Answer::Id(Key::Minted(n)) if *n == self.minted.len() => {
                let fresh = matches!(reply, Reply::Bulk(id) if id.starts_with(b"0-") && id.len() == 24);
                if fresh {
                    self.minted.push(reply.text());
                }
                fresh
            }
            Answer::Id(key) => *reply == Reply::bulk(self.id(*key)),
            Answer::Error(word) => reply.error_word() == *word,
            Answer::Insufficient { requested, available, retry_ms } => {
                reply.error_word() == "INSUFFICIENTSTOCK"
                    && reply.error_field("requested") == Some(*requested)
                    && reply.error_field("available") == Some(*available)
                    && reply.error_field("retry_ms") == *retry_ms
            }
            Answer::Hold { key, sku, quantity, state, expires, reference } => {
                let state = match state {
                    State::Open => "open",
                    State::Committed => "committed",
                    State::RolledBack => "rolledback",
                    State::Expired => "expired",
                };
                matches!(reply, Reply::Array(_) | Reply::Map(_))
                    && reply.field("id") == Reply::bulk(self.id(*key))
                    && reply.field("sku") == Reply::bulk(self.sku(*sku))
                    && reply.field("quantity") == Reply::Int(*quantity)
                    && reply.field("state") == Reply::bulk(state)
                    && reply.field("expires_ms") == Reply::Int(*expires)
                    && reply.field("customer").is_nil()
                    && match reference {
                        Some(r) => reply.field("reference") == Reply::bulk(format!("ref{r}")),
                        None => reply.field("reference").is_nil(),
                    }
            }
            Answer::Stocks(stocks) => match &stocks[..] {
                [one] => self.same_stock(one.as_ref(), reply),
                many => {
                    matches!(reply, Reply::Array(items) if items.len() == many.len()
                        && items.iter().zip(many).all(|(item, one)| self.same_stock(one.as_ref(), item)))
                }
            },
        };
        if same { Ok(()) } else { Err(format!("wanted {wanted:?}, got {reply:?}")) }
    }

    fn same_stock(&self, wanted: Option<&Told>, reply: &Reply) -> bool {
        let Some((sku, available, reserved, committed, protected)) = wanted else { return reply.is_nil() };
        matches!(reply, Reply::Array(_) | Reply::Map(_))
            && reply.field("sku") == Reply::bulk(self.sku(*sku))
            && reply.field("total") == Reply::Int(available + reserved + committed)
            && reply.field("available") == Reply::Int(*available)
            && reply.field("reserved") == Reply::Int(*reserved)
            && reply.field("committed") == Reply::Int(*committed)
            && reply.field("protected") == Reply::Int(*protected)
            && reply.field("limit").is_nil()
    }

    /// What is stored upstream, and what the sidecar tells, of every SKU and every reservation there ever was.
    fn account(&mut self) -> Checked {
        self.model.settle();
        for sku in 0..SKUS {
            let name = self.sku(sku);
            let stored = account::stock_upstream(&mut self.upstream, "default", &name);
            let model = self.model.stock.get(&sku);
            let (Some(stored), Some(model)) = (stored, model) else {
                if stored.is_some() != model.is_some() {
                    return Err(format!("{name}: stored {stored:?}, in the model {model:?}"));
                }
                continue;
            };
            // What is overdue and not yet taken back still stands as reserved, and nothing else differs.
            let overdue = stored.reserved - model.reserved;
            if overdue < 0 || stored.available + overdue != model.available || stored.committed != model.committed {
                return Err(format!("{name}: stored {stored:?}, in the model {model:?}"));
            }
        }
        let keys: Vec<Key> = (0..4).map(Key::Own).chain((0..self.minted.len()).map(Key::Minted)).collect();
        let mut asks: Vec<Vec<Vec<u8>>> = keys.iter().map(|key| words(&format!("INV.GET {}", self.id(*key)))).collect();
        let skus: Vec<usize> = (0..SKUS).collect();
        asks.push(words(&format!("INV.STOCK {}", self.skus(&skus))));
        let replies = self.conn.pipeline(&asks);
        for (key, reply) in keys.iter().zip(&replies) {
            let wanted = self.model.tell(*key);
            self.compare(&wanted, reply).map_err(|why| format!("afterwards {}: {why}", self.id(*key)))?;
        }
        let stocks = Answer::Stocks(skus.iter().map(|sku| self.model.tell_stock(*sku)).collect());
        self.compare(&stocks, replies.last().expect("the stock")).map_err(|why| format!("afterwards the stock: {why}"))
    }
}

/// What outlives a history: the clock never goes back, names are never used twice.
struct World {
    redis: Redis,
    sidecar: Sidecar,
    clock: i64,
    case: usize,
}

impl World {
    fn advance(&mut self, ms: i64) {
        self.clock += ms;
        self.redis.set_clock(CLOCK, self.clock);
    }

    fn play(&mut self, history: &[Step], bursts: bool) -> Checked {
        self.case += 1;
        self.advance(1);
        let conn = if bursts { self.sidecar.conn3() } else { self.sidecar.conn() };
        let model = Model { now: self.clock, ..Model::default() };
        let mut run = Run { case: self.case, conn, upstream: self.redis.conn(), model, minted: Vec::new() };
        for part in history.split_inclusive(|step| !bursts || matches!(step, Step::Advance(_))) {
            let (steps, advance) = match part.split_last() {
                Some((Step::Advance(ms), steps)) => (steps, *ms),
                _ => (part, 0),
            };
            if !steps.is_empty() {
                run.burst(steps)?;
            }
            if advance > 0 {
                self.advance(advance);
                run.model.now = self.clock;
                run.account().map_err(|why| format!("after {advance} ms: {why}"))?;
            }
        }
        self.finish(&mut run)
    }

    /// After the longest time to live and a reap nothing is open, and available = total - committed.
    fn finish(&mut self, run: &mut Run) -> Checked {
        self.advance(TTL_MAX_MS);
        run.model.now = self.clock;
        let mut reaps = 0..100;
        while reaps.next().is_some() && run.conn.call("INV.REAP").int() > 0 {}
        run.account().map_err(|why| format!("at the end: {why}"))?;
        let open = account::open_upstream(&mut run.upstream, "default");
        let skus: Vec<String> = (0..SKUS).map(|sku| run.sku(sku)).collect();
        let stored = skus.iter().filter_map(|sku| account::stock_upstream(&mut run.upstream, "default", sku));
        let reserved: i64 = stored.map(|stock| stock.reserved).sum();
        if (open, reserved) == (0, 0) { Ok(()) } else { Err(format!("at the end {open} open, {reserved} reserved")) }
    }
}

#[test]
fn random_histories_answer_and_account_as_the_model_does_one_by_one_and_in_bursts() {
    let env = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64;
    let seed = env("MODEL_SEED").unwrap_or(wall);
    println!("MODEL_SEED={seed}");
    let redis = Redis::start();
    // A clock behind the wall's: an id minted by the wall's clock is then never too old for it.
    let clock = wall as i64 - 30 * 86_400_000;
    redis.set_clock(CLOCK, clock);
    let sidecar = Sidecar::start_with_clock(
        &redis.url(),
        CLOCK,
        &[
            &format!("inventory.reservation_ttl=\"{TTL_MS}ms\""),
            &format!("inventory.reservation_ttl_max=\"{TTL_MAX_MS}ms\""),
            &format!("inventory.remember=\"{REMEMBER_MS}ms\""),
        ],
    );
    let world = RefCell::new(World { redis, sidecar, clock, case: 0 });
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config =
        Config { cases: env("MODEL_CASES").unwrap_or(256) as u32, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let outcome = runner.run(&history(), |history| {
        let mut world = world.borrow_mut();
        world.play(&history, false).map_err(|why| TestCaseError::fail(format!("one by one: {why}")))?;
        world.play(&history, true).map_err(|why| TestCaseError::fail(format!("in bursts: {why}")))
    });
    if let Err(failure) = outcome {
        panic!("MODEL_SEED={seed}: {failure}");
    }
}
