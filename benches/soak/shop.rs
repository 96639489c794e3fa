//! The account that the crowd keeps by itself.

use crate::common::Conn;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// All but the last have plenty; of that one some are refused.
pub const SKUS: [&str; 4] = ["plenty", "hot", "tickets", "scarce"];
/// Its place.
pub const SCARCE: usize = 3;
const PLENTY: i64 = 1_000_000_000;
const FEW: i64 = 100;

#[derive(Default)]
pub struct Shop {
    sold: [AtomicI64; SKUS.len()],
    supplied: [AtomicI64; SKUS.len()],
    requests: AtomicU64,
}

impl Shop {
    /// Sets the stock.
    pub fn open(conn: &mut Conn) -> Self {
        let shop = Self::default();
        for (sku, name) in SKUS.iter().enumerate() {
            let quantity = if sku == SCARCE { FEW } else { PLENTY };
            conn.call(&format!("INV.SETSTOCK {name} {quantity}")).expect_ok();
            shop.supply(sku, quantity);
        }
        shop
    }

    /// A commit was acknowledged.
    pub fn sell(&self, sku: usize) {
        self.sold[sku].fetch_add(1, Ordering::Relaxed);
    }

    pub fn sold(&self, sku: usize) -> i64 {
        self.sold[sku].load(Ordering::Relaxed)
    }

    /// Stock was added.
    pub fn supply(&self, sku: usize, quantity: i64) {
        self.supplied[sku].fetch_add(quantity, Ordering::Relaxed);
    }

    pub fn supplied(&self, sku: usize) -> i64 {
        self.supplied[sku].load(Ordering::Relaxed)
    }

    pub fn count(&self, requests: usize) {
        self.requests.fetch_add(requests as u64, Ordering::Relaxed);
    }

    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}
