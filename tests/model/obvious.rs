//! The model: all commands, as obvious as they can be.

use super::history::{Step, Which};
use crate::{MOST, REMEMBER_MS, SKUS, TTL_MAX_MS, TTL_MS};
use std::collections::BTreeMap;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Open,
    Committed,
    RolledBack,
    Expired,
}

#[derive(Debug, Clone)]
pub struct Hold {
    pub sku: usize,
    pub quantity: i64,
    pub state: State,
    pub made: i64,
    pub expires: i64,
    pub reference: Option<usize>,
    /// When it may be forgotten; only for what has ended.
    pub forget: i64,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct OnHand {
    pub available: i64,
    pub reserved: i64,
    pub committed: i64,
}

/// The name of a reservation within the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    Own(usize),
    /// The n-th that the sidecar minted in this history.
    Minted(usize),
}

/// What INV.STOCK tells of one SKU: which, available, reserved, committed, protected.
pub type Told = (usize, i64, i64, i64, i64);

/// What a reply must be.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
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
pub struct Model {
    pub now: i64,
    pub stock: BTreeMap<usize, OnHand>,
    pub holds: BTreeMap<Key, Hold>,
    pub minted: usize,
    pub deliveries: BTreeMap<usize, (usize, i64, i64)>,
    pub protected: [bool; SKUS],
}

impl Model {
    /// What is due at this instant: overdue stock is back, what is old enough is forgotten.
    pub fn settle(&mut self) {
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

    pub fn lacking(&self, sku: usize, requested: i64) -> Answer {
        let open = self.holds.values().filter(|hold| hold.sku == sku && hold.state == State::Open);
        let retry_ms = open.map(|hold| hold.expires - self.now).min();
        Answer::Insufficient { requested, available: self.stock[&sku].available, retry_ms }
    }

    /// `minted` is what the client knows of minted reservations, oldest first.
    pub fn key(which: &Which, minted: usize) -> Option<Key> {
        match *which {
            Which::Own(own) => Some(Key::Own(own)),
            Which::Minted(back) if minted > 0 => Some(Key::Minted(minted - 1 - back % minted)),
            Which::Minted(_) => None,
        }
    }

    pub fn play(&mut self, step: &Step, known_minted: usize) -> Answer {
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

    pub fn find(&mut self, which: &Which, known_minted: usize) -> Option<&mut Hold> {
        self.holds.get_mut(&Self::key(which, known_minted)?)
    }

    pub fn add_stock(&mut self, sku: usize, delta: i64, id: Option<usize>) -> Answer {
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

    pub fn reserve(&mut self, sku: usize, quantity: i64, ttl_ms: i64, id: Option<usize>) -> Answer {
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

    pub fn tell(&self, key: Key) -> Answer {
        self.holds.get(&key).map_or(Answer::Nil, |hold| Answer::Hold {
            key,
            sku: hold.sku,
            quantity: hold.quantity,
            state: hold.state,
            expires: hold.expires,
            reference: hold.reference,
        })
    }

    pub fn tell_stock(&self, sku: usize) -> Option<Told> {
        let stock = self.stock.get(&sku)?;
        Some((sku, stock.available, stock.reserved, stock.committed, i64::from(self.protected[sku])))
    }

    pub fn mark(&mut self, skus: &[usize], protected: bool) -> i64 {
        skus.iter().filter(|sku| std::mem::replace(&mut self.protected[**sku], protected) != protected).count() as i64
    }
}

pub fn ended(state: State) -> &'static str {
    match state {
        State::Open => unreachable!("not ended"),
        State::Committed => "ALREADYCOMMITTED",
        State::RolledBack => "ROLLEDBACK",
        State::Expired => "EXPIRED",
    }
}
