//! The upstream: where it is, and the connections to it.

pub mod check;
pub mod managed;
