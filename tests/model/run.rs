//! The real thing: a history is played to the sidecar, and what it answers and stores is what the model says.

use super::history::{Step, Which};
use super::obvious::{Answer, Key, Model, State, Told};
use crate::SKUS;
use crate::common::{Conn, Reply, account, words};

/// One history under way: names of its own, so that many share one upstream.
pub struct Run {
    pub case: usize,
    pub conn: Conn,
    pub upstream: Conn,
    pub model: Model,
    /// The ids that the sidecar minted, as the client saw them.
    pub minted: Vec<String>,
}

pub type Checked = Result<(), String>;

impl Run {
    pub fn sku(&self, sku: usize) -> String {
        format!("sku{}.{sku}", self.case)
    }

    pub fn skus(&self, skus: &[usize]) -> String {
        skus.iter().map(|sku| self.sku(*sku)).collect::<Vec<_>>().join(" ")
    }

    pub fn id(&self, key: Key) -> String {
        match key {
            Key::Own(own) => format!("0-own{}.{own}", self.case),
            Key::Minted(n) => self.minted.get(n).cloned().unwrap_or_else(|| format!("minted {n}")),
        }
    }

    pub fn name(&self, which: &Which) -> String {
        Model::key(which, self.minted.len()).map_or("0-never".to_string(), |key| self.id(key))
    }

    pub fn line(&self, step: &Step) -> String {
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
    pub fn burst(&mut self, steps: &[Step]) -> Checked {
        let lines: Vec<String> = steps.iter().map(|step| self.line(step)).collect();
        let known = self.minted.len();
        let wanted: Vec<Answer> = steps.iter().map(|step| self.model.play(step, known)).collect();
        let replies = self.conn.pipeline(&lines.iter().map(|line| words(line)).collect::<Vec<_>>());
        for ((line, wanted), reply) in lines.iter().zip(&wanted).zip(&replies) {
            self.compare(wanted, reply).map_err(|why| format!("{line}: {why}"))?;
        }
        self.account()
    }

    pub fn compare(&mut self, wanted: &Answer, reply: &Reply) -> Checked {
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

    pub fn same_stock(&self, wanted: Option<&Told>, reply: &Reply) -> bool {
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
    pub fn account(&mut self) -> Checked {
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
