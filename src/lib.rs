//! inventory-sentinel
pub mod config;
pub mod error;
pub mod metrics;
pub mod resp;
