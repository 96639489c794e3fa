//! The commands of the inventory: one file each, one row each in [`COMMANDS`].

mod addstock;
mod commit;
mod extend;
mod get;
mod grammar;
mod help;
mod isprotected;
mod protect;
mod reap;
mod reserve;
mod rollback;
mod setstock;
mod stock;

pub use reap::operation as reap_operation;

use super::operation::ScriptOperation;
use super::reply::{Outcome, Refusal};
use crate::command::Args;
use crate::metrics::Operation;
use crate::tenant::Tenant;

/// What a command's grammar is read with.
pub struct Context<'a> {
    /// Whose inventory.
    pub tenant: &'a Tenant,
}

/// What a client asks for, decided as far as that is possible without the upstream.
pub enum Request {
    /// Answered by the sidecar alone.
    Answer(Outcome),
    /// Answered by the upstream.
    One(ScriptOperation),
    /// The same, where several cells may be concerned.
    Operations(Vec<ScriptOperation>),
    /// Answered from the sidecar's memory of protected SKUs where that is fresh, else by the operations.
    Marks(Vec<Vec<u8>>, Vec<ScriptOperation>),
}

/// One command.
pub struct Command {
    /// Upper case.
    pub name: &'static str,
    /// Its label; HELP has none.
    pub operation: Option<Operation>,
    /// Arguments, the name among them: exactly so many, or where negative at least so many.
    pub arity: i32,
    /// What follows the name.
    pub grammar: &'static str,
    /// One line for a person.
    pub summary: &'static str,
    /// The release that brought it.
    pub since: &'static str,
    /// What it does, in the words of Redis's COMMAND. `denyoom`: it makes the upstream hold more; `fast`: its cost does not
    /// grow with the inventory; `noscript`: the upstream does not know it.
    pub flags: &'static [&'static str],
    /// Which of its arguments are SKUs, where it has any.
    pub keys: Option<Keys>,
    /// Reads the arguments, whose number is right.
    pub parse: fn(&Args<'_>, &Context<'_>) -> Result<Request, Refusal>,
}

/// The arguments that are keys.
pub struct Keys {
    /// Where they stand.
    pub which: Which,
    /// What is done to them, in the words of Redis's key specifications.
    pub flags: &'static [&'static str],
}

/// Where a command's SKUs stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The first argument.
    First,
    /// All of them.
    All,
}

impl Command {
    /// Can it be so many arguments, the name among them?
    #[must_use]
    pub fn takes(&self, len: usize) -> bool {
        match self.arity {
            exact if exact >= 0 => len == exact as usize,
            least => len >= least.unsigned_abs() as usize,
        }
    }
}

/// All of them, in the order in which HELP shows them.
pub static COMMANDS: [&Command; 13] = [
    &setstock::COMMAND,
    &addstock::COMMAND,
    &reserve::COMMAND,
    &commit::COMMAND,
    &rollback::COMMAND,
    &extend::COMMAND,
    &get::COMMAND,
    &stock::COMMAND,
    &protect::PROTECT,
    &protect::UNPROTECT,
    &isprotected::COMMAND,
    &reap::COMMAND,
    &help::COMMAND,
];

/// Commands of the grammar that this release does not have yet.
const LATER: [&str; 5] = ["INV.MRESERVE", "INV.LIST", "INV.LIMIT", "INV.CHECK", "INV.EVENTS"];

/// The command of that name, in any case. What a sale consists of is found at once, as nearly all write it.
#[must_use]
pub fn find(name: &[u8]) -> Option<&'static Command> {
    match name {
        b"INV.RESERVE" => Some(&reserve::COMMAND),
        b"INV.COMMIT" => Some(&commit::COMMAND),
        b"INV.ROLLBACK" => Some(&rollback::COMMAND),
        _ => COMMANDS.iter().find(|command| command.name.as_bytes().eq_ignore_ascii_case(name)).copied(),
    }
}

/// Reads a request of the inventory. `args[0]` begins with `INV.`.
///
/// # Errors
/// The refusal that the client gets; nothing was sent upstream.
pub fn parse(args: &Args<'_>, context: &Context<'_>) -> (Option<Operation>, Result<Request, Refusal>) {
    let name = args.get(0).unwrap_or_default();
    let Some(command) = find(name) else { return (None, Err(unknown(name, args))) };
    if !command.takes(args.len()) {
        let name = command.name.to_ascii_lowercase();
        return (command.operation, Err(Refusal::err(format!("wrong number of arguments for '{name}' command"))));
    }
    (command.operation, (command.parse)(args, context))
}

/// As Redis words it.
fn unknown(name: &[u8], args: &Args<'_>) -> Refusal {
    if let Some(later) = LATER.iter().find(|later| later.as_bytes().eq_ignore_ascii_case(name)) {
        return Refusal::err(format!("syntax error, {later} is not supported yet (INV.HELP lists what is)"));
    }
    let shown = |arg: &[u8]| String::from_utf8_lossy(&arg[..arg.len().min(128)]).into_owned();
    let mut beginning = String::new();
    for arg in args.from(1) {
        if beginning.len() >= 128 {
            break;
        }
        beginning.push_str(&format!("'{}' ", shown(arg)));
    }
    Refusal::err(format!("unknown command '{}', with args beginning with: {beginning}", shown(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_file_a_row_and_help() {
        let mut files: Vec<_> = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/inventory/commands"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.retain(|file| file != "mod.rs" && file != "grammar.rs");
        for file in &files {
            let name = format!("INV.{}", file.trim_end_matches(".rs").to_ascii_uppercase());
            assert!(find(name.as_bytes()).is_some(), "{name} has no row");
        }
        // PROTECT and UNPROTECT share a file.
        assert_eq!(files.len() + 1, COMMANDS.len());
        assert!(COMMANDS.iter().all(|command| !command.summary.is_empty() && command.arity != 0));
    }
}
