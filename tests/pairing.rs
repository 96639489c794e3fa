//! Each reply is the one to its request: random pipelines of many clients, whose every reply tells which request it answers, so
//! that one too many, one too few, or another client's is seen at once.
//!
//! `PAIRING_SEED` is another course of events, `PAIRING_REQUESTS` a longer one; `make attack` is a long one.

mod common;

mod pairing {
    pub mod asked;
    pub mod blocks;
    pub mod inventory;
    pub mod killed;
    pub mod laggard;
    pub mod model;
    pub mod player;
    pub mod scene;
    pub mod single;
}
