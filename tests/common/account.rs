//! The account of a SKU, as the sidecar tells it and as it stands in Redis.

use super::{Conn, Reply};

/// What is there of one SKU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stock {
    pub available: i64,
    pub reserved: i64,
    pub committed: i64,
}

impl Stock {
    pub fn total(self) -> i64 {
        self.available + self.reserved + self.committed
    }

    /// From a map of INV.STOCK.
    #[track_caller]
    pub fn of(reply: &Reply) -> Self {
        let field = |name| reply.field(name).int();
        let stock = Self { available: field("available"), reserved: field("reserved"), committed: field("committed") };
        assert_eq!(field("total"), stock.total(), "total = available + reserved + committed in {reply:?}");
        stock
    }
}

/// What INV.STOCK says of one SKU.
#[track_caller]
pub fn stock(conn: &mut Conn, sku: &str) -> Stock {
    Stock::of(&conn.call(&format!("INV.STOCK {sku}")))
}

/// What the upstream's own hash says of one SKU of a one-cell namespace; None for an unknown one.
#[track_caller]
pub fn stock_upstream(upstream: &mut Conn, namespace: &str, sku: &str) -> Option<Stock> {
    match upstream.call(&format!("HGET inv1:{{{namespace}/0}}:stock {sku}")) {
        Reply::NilBulk => None,
        Reply::Bulk(bytes) => {
            let numbers: Vec<i64> =
                bytes.chunks(8).map(|number| i64::from_be_bytes(number.try_into().expect("8 bytes"))).collect();
            let [available, reserved, committed, _] = numbers[..] else { panic!("four numbers: {bytes:?}") };
            Some(Stock { available, reserved, committed })
        }
        other => panic!("HGET: {other:?}"),
    }
}

/// How many reservations stand open upstream.
#[track_caller]
pub fn open_upstream(upstream: &mut Conn, namespace: &str) -> i64 {
    upstream.call(&format!("ZCARD inv1:{{{namespace}/0}}:open")).int()
}

/// Both tellings agree, nothing is below zero, and the total is what was supplied. What clients that are gone have asked
/// for may still be under way: the tellings are compared where the stored one is the same before and after the other.
#[track_caller]
pub fn assert_account(conn: &mut Conn, upstream: &mut Conn, namespace: &str, sku: &str, supplied: i64) -> Stock {
    let mut stored = || stock_upstream(upstream, namespace, sku).expect("a stock record");
    let mut before = stored();
    let mut tries = 0;
    let told = loop {
        let told = stock(conn, sku);
        let after = stored();
        if before == after {
            break told;
        }
        before = after;
        tries += 1;
        assert!(tries < 10_000, "the account of {sku} does not come to rest: {after:?}");
    };
    assert_eq!(told, before, "INV.STOCK and the stored account of {sku}");
    assert!(told.available >= 0 && told.reserved >= 0 && told.committed >= 0, "{sku}: {told:?}");
    assert_eq!(told.total(), supplied, "{sku}: {told:?}");
    told
}
