//! Two tenants behind one sidecar, and one of them is hostile: it reads nothing of the other's, writes nothing, counts nothing.
//! Each attack is judged by three: what came back (no byte of the other's mark), the other's keys (their DUMPs), and the upstream's
//! MONITOR (no key and no channel outside of the tenant's own).
//!
//! `ISOLATION_ROUNDS` and `ISOLATION_SEED` are for the random attack.

mod common;

#[allow(dead_code, reason = "of the differential test's words only the reader of lines is used here")]
mod differential {
    #[path = "../differential/case.rs"]
    pub mod case;
}

mod isolation {
    pub mod attacks;
    pub mod client;
    pub mod every;
    pub mod figures;
    pub mod pubsub;
    pub mod random;
    pub mod way_back;
    pub mod witness;
    pub mod world;
}
