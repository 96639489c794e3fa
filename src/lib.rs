//! inventory-sentinel
pub mod admin;
pub mod cli;
pub mod config;
pub mod error;
pub mod metrics;
pub mod resp;
pub mod upstream;
