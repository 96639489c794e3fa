//! An isolated tenant whose requests are judged, and what four engines list of their commands.

use inventory_sentinel::command::{Args, CommandFacts, CommandTable};
use inventory_sentinel::resp::ArgRange;
use inventory_sentinel::tenant::isolation::table::{Row, Treatment, find, find_sub};
use inventory_sentinel::tenant::isolation::{Back, Isolation, KeySpace, Scripts, Verdict, judge};

pub const ENGINES: [(&str, &str); 4] = [
    ("Redis 6.2", include_str!("../engines/commands/redis-6.2.txt")),
    ("Redis 7.0", include_str!("../engines/commands/redis-7.0.txt")),
    ("Redis 8.2", include_str!("../engines/commands/redis-8.2.txt")),
    ("Valkey 8.1", include_str!("../engines/commands/valkey-8.1.txt")),
];
/// What a judgement depends on.
pub struct Tenant {
    pub space: KeySpace,
    pub commands: CommandTable,
    pub scripts: Scripts,
    pub own_user: bool,
    pub flushdb: bool,
}

impl Tenant {
    pub fn new() -> Self {
        let (space, scripts) = (KeySpace::new("acme"), Scripts::default());
        Self { space, commands: commands_of(ENGINES[1].1), scripts, own_user: false, flushdb: false }
    }

    /// With an upstream user of its own, and FLUSHDB.
    pub fn trusted() -> Self {
        Self { own_user: true, flushdb: true, ..Self::new() }
    }

    pub fn judge(&self, request: &[Vec<u8>]) -> Verdict {
        let mut bytes = Vec::new();
        let mut ranges = Vec::new();
        for arg in request {
            ranges.push(ArgRange { start: bytes.len(), end: bytes.len() + arg.len() });
            bytes.extend_from_slice(arg);
        }
        let Self { space, commands, scripts, own_user, flushdb } = self;
        let isolation = Isolation { space, commands, scripts, own_user: *own_user, flushdb: *flushdb };
        judge(&Args::new(&bytes, &ranges), &isolation)
    }
}

pub fn commands_of(list: &str) -> CommandTable {
    let mut facts = CommandFacts::default();
    let mut flags = Vec::new();
    for command in listed(list) {
        let (first, last, step) = command.keys;
        facts.add(command.name, (first, last, step), command.movable, command.categories.split(','));
        if !command.name.contains('|') {
            flags.push((command.name.to_owned(), Vec::new()));
        }
    }
    CommandTable::from_flags(flags).with_facts(facts)
}

pub struct Listed<'a> {
    pub name: &'a str,
    pub keys: (i32, i32, i32),
    pub movable: bool,
    pub categories: &'a str,
}

pub fn listed(list: &str) -> impl Iterator<Item = Listed<'_>> {
    list.lines().map(|line| {
        let fields: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| fields[at].parse::<i32>().expect("a number");
        Listed {
            name: fields[0],
            keys: (number(2), number(3), number(4)),
            movable: fields[5] == "movable",
            categories: fields[6],
        }
    })
}

/// The row of a full name, and whether it is the subcommand's own.
pub fn row_of(name: &str) -> Option<(&'static Row, bool)> {
    let (command, sub) = name.split_once('|').map_or((name, None), |(command, sub)| (command, Some(sub)));
    let row = find(command.to_ascii_uppercase().as_bytes())?;
    match (row.treatment, sub) {
        (Treatment::Container(rows), Some(sub)) => {
            find_sub(rows, sub.as_bytes()).map(|row| (row, true)).or(Some((row, false)))
        }
        _ => Some((row, sub.is_none())),
    }
}

/// A verdict as the tables below write it.
pub fn show(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Passed => "passed".to_owned(),
        Verdict::Rewritten { frame, ranges, back } => {
            let args: Vec<String> = ranges.iter().map(|range| super::show(range.of(frame))).collect();
            let back = if *back == Back::AsIs { String::new() } else { format!(" / {back:?}") };
            args.join(" ") + &back
        }
        Verdict::InPieces(..) => unreachable!("it was not judged so"),
        Verdict::Own(own) => format!("own {own:?}"),
        Verdict::Refused(line) => line.trim_end().to_owned(),
    }
}
