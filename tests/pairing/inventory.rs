//! The inventory's commands among the others: each client sells a SKU of its own.

use super::super::common::{Reply, words};
use super::asked::{Burst, Wanted};
use super::model::{Model, STOCK};

/// What a client needs before anything else.
pub fn stock_up(model: &Model, burst: &mut Burst) {
    for (sku, stock) in [("sku", STOCK), ("empty", 0)] {
        burst.ask(&words(&format!("INV.SETSTOCK {} {stock}", model.name(sku))), Wanted::ok());
    }
}

/// One request, by chance.
pub fn inventory(model: &mut Model, burst: &mut Burst) {
    let (sku, empty, tag) = (model.name("sku"), model.name("empty"), model.tag());
    let held = if model.state.held.is_empty() { None } else { Some(model.dice.below(model.state.held.len() as u64)) };
    let (line, wanted) = match (model.dice.below(14), held) {
        (0, Some(held)) => {
            model.state.committed += 1;
            (format!("INV.COMMIT {}", model.state.held.swap_remove(held as usize)), Wanted::ok())
        }
        (1, Some(held)) => (format!("INV.ROLLBACK {}", model.state.held.swap_remove(held as usize)), Wanted::ok()),
        (2..4, Some(_)) => {
            let (id, wanted) = model.reservation_wanted();
            (format!("INV.GET {id}"), wanted)
        }
        (4..6, _) => {
            let (reserved, committed) = (model.state.held.len() as i64, model.state.committed);
            let fields =
                [("available", STOCK - reserved - committed), ("reserved", reserved), ("committed", committed)];
            let mut fields: Vec<_> = fields.map(|(name, number)| (name, Reply::Int(number))).to_vec();
            fields.push(("sku", Reply::bulk(&sku)));
            (format!("INV.STOCK {sku}"), Wanted::Fields(fields))
        }
        (6, _) => (format!("INV.STOCK {tag}"), Wanted::Nil),
        (7, _) => (format!("INV.RESERVE {sku} 0"), Wanted::Error("INVALIDAMOUNT", String::new())),
        (8, _) => ("INV.GET".to_owned(), Wanted::Error("ERR wrong number of arguments for 'inv.get'", String::new())),
        (9, _) => (format!("INV.ROLLBACK 0-{tag}"), Wanted::Error("NOTFOUND", String::new())),
        (10, _) => (format!("INV.ISPROTECTED {sku}"), Wanted::int(0)),
        (11, _) => (format!("INV.RESERVE {empty} 7"), Wanted::Error("INSUFFICIENTSTOCK", "requested=7".into())),
        _ => {
            model.state.held.push(format!("0-{tag}"));
            (format!("INV.RESERVE {sku} 1 ID {tag}"), Wanted::bulk(format!("0-{tag}")))
        }
    };
    burst.ask(&words(&line), wanted);
}

impl Model {
    /// A reservation to ask for, and what is told of it.
    pub fn reservation_wanted(&mut self) -> (String, Wanted) {
        if self.state.held.is_empty() {
            return (format!("0-{}", self.tag()), Wanted::Nil);
        }
        let id = self.state.held[self.dice.below(self.state.held.len() as u64) as usize].clone();
        let fields = vec![("id", Reply::bulk(&id)), ("state", Reply::bulk("open")), ("quantity", Reply::Int(1))];
        (id, Wanted::Fields(fields))
    }
}
