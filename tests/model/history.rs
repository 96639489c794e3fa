//! Random histories of all commands.

use crate::{MOST, SKUS, TTL_MAX_MS, TTL_MS};
use proptest::prelude::*;

#[derive(Debug, Clone)]
pub enum Step {
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
pub enum Which {
    Own(usize),
    Minted(usize),
}

pub fn which() -> impl Strategy<Value = Which> {
    prop_oneof![3 => (0..4usize).prop_map(Which::Own), 2 => (0..4usize).prop_map(Which::Minted)]
}

pub fn some_skus() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(0..SKUS, 1..4)
}

pub fn ttl_ms() -> impl Strategy<Value = i64> {
    prop_oneof![4 => 1..8_000i64, 2 => (TTL_MAX_MS - 1_500)..=TTL_MAX_MS, 1 => Just(TTL_MAX_MS + 1), 1 => 1..4i64]
}

/// A reservation; where it bears a client's own ID, mostly with what that ID stands for, so that retries are common.
pub fn reserve() -> impl Strategy<Value = Step> {
    let id = prop::option::weighted(0.7, 0..4usize);
    (0..SKUS, 1..5i64, prop::option::of(ttl_ms()), id, prop::bool::weighted(0.7)).prop_map(
        |(sku, quantity, ttl_ms, id, usual)| match id {
            Some(own) if usual => Step::Reserve { sku: own % SKUS, quantity: 1 + own as i64 % 2, ttl_ms, id },
            _ => Step::Reserve { sku, quantity, ttl_ms, id },
        },
    )
}

/// Begins with stock of all SKUs but one, lest half of the history be about unknown ones.
pub fn history() -> impl Strategy<Value = Vec<Step>> {
    (prop::collection::vec(4..12i64, SKUS - 1), prop::collection::vec(step(), 1..80)).prop_map(|(stocks, steps)| {
        let set = |(sku, quantity)| Step::SetStock { sku, quantity, unless: None, force: false };
        stocks.into_iter().enumerate().map(set).chain(steps).collect()
    })
}

pub fn step() -> impl Strategy<Value = Step> {
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
