//! What becomes of each command: one row a command, and one below it for each subcommand. What has no row is refused.
//!
//! The positions here are compared by tests with what four engines say of themselves (key specs and COMMAND GETKEYS), and at
//! run time with what this upstream's COMMAND says. `config/isolation.md` is printed from [`ROWS`].

use super::plan::Parser;
use super::request::Own;
use crate::command::NameHasher;
use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::LazyLock;

pub use super::rows::ROWS;

/// A command or a subcommand.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// In upper case; a subcommand's without its command's.
    pub name: &'static str,
    /// What becomes of it.
    pub treatment: Treatment,
    /// Why, where that is not plain: of a refusal its second half.
    pub why: &'static str,
}

/// What becomes of a command.
#[derive(Debug, Clone, Copy)]
pub enum Treatment {
    /// It names no key and no channel.
    Passed,
    /// Its keys stand where COMMAND says: first, last (from the end where negative), step.
    Keys(i32, i32, usize),
    /// Its keys, channels and patterns are found by a parser of its own.
    Parsed(Parser),
    /// The session's.
    Own(Own),
    /// Nobody's.
    Refused,
    /// By its subcommand.
    Container(&'static [Row]),
}

static BY_NAME: LazyLock<HashMap<&'static [u8], &'static Row, BuildHasherDefault<NameHasher>>> =
    LazyLock::new(|| ROWS.iter().map(|row| (row.name.as_bytes(), row)).collect());

/// The row of an upper-case name.
#[must_use]
pub fn find(upper: &[u8]) -> Option<&'static Row> {
    BY_NAME.get(upper).copied()
}

/// The row of a subcommand among its command's.
#[must_use]
pub fn find_sub(rows: &'static [Row], name: &[u8]) -> Option<&'static Row> {
    rows.iter().find(|row| row.name.as_bytes().eq_ignore_ascii_case(name))
}
