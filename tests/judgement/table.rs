//! The table of all commands, held against four engines' own lists, and printed.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::common::judged::{ENGINES, listed, row_of};
use crate::common::{Redis, Reply};
use inventory_sentinel::tenant::isolation::table::{ROWS, Treatment};

#[test]
fn every_command_of_four_engines_has_a_row() {
    for (engine, list) in ENGINES {
        for command in listed(list) {
            assert!(
                row_of(command.name).is_some(),
                "{engine} has {}, and src/tenant/isolation/rows.rs has no row",
                command.name
            );
        }
    }
    assert!(ROWS.is_sorted_by_key(|row| row.name), "rows.rs is in alphabetical order, and names nothing twice");
}

#[test]
fn the_server_at_hand_has_no_command_without_a_row() {
    let redis = Redis::start();
    let Reply::Array(commands) = redis.conn().call("COMMAND") else { panic!("COMMAND is an array") };
    let mut names = Vec::new();
    collect_names(&commands, &mut names);
    assert!(names.len() > 200);
    for name in names {
        assert!(row_of(&name).is_some(), "no row for {name}");
    }
}

fn collect_names(commands: &[Reply], names: &mut Vec<String>) {
    for command in commands {
        let Reply::Array(fields) = command else { panic!("{command:?}") };
        names.push(fields[0].text());
        if let Some(Reply::Array(subcommands)) = fields.get(9) {
            collect_names(subcommands, names);
        }
    }
}

#[test]
fn the_positions_are_the_engines_own() {
    for (engine, list) in ENGINES {
        for command in listed(list) {
            let Some((row, own)) = row_of(command.name) else { continue };
            match row.treatment {
                Treatment::Keys(first, last, step) if own => {
                    let places = (first, last, i32::try_from(step).expect("a step"));
                    assert_eq!((command.keys, command.movable), (places, false), "{engine}: {}", command.name);
                }
                // What has keys upstream is not passed as it came.
                Treatment::Passed => {
                    assert_eq!((command.keys, command.movable), ((0, 0, 0), false), "{}", command.name);
                }
                _ => {}
            }
        }
    }
}

/// What the table says of each command and subcommand that an engine has.
fn printed() -> String {
    let mut engines: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (engine, list) in ENGINES {
        for command in listed(list) {
            engines.entry(command.name.to_ascii_uppercase()).or_default().push(engine);
        }
    }
    // 6.2 does not list subcommands, and later engines have some that none of these has.
    for row in ROWS {
        engines.entry(row.name.to_owned()).or_default();
        if let Treatment::Container(rows) = row.treatment {
            for sub in rows {
                engines.entry(format!("{}|{}", row.name, sub.name)).or_default();
            }
        }
    }
    let mut out = String::from(
        "# What becomes of an isolated tenant's commands\n\n\
         Printed from `src/tenant/isolation/rows.rs` by `PRINT_ISOLATION=1 cargo test --test judgement`, which checks that it is up to\n\
         date. *Passed*: as it came, for it names no key and no channel. *Rewritten*: its keys, channels and patterns get the\n\
         tenant's prefix; where they are (first, last from the end where negative, step), or that a parser of its own finds\n\
         them. *Own*: the sidecar answers, or knows the way. *Refused*: `-NOPERM`. A command or subcommand that is not here is\n\
         refused. The engines are those of which it was checked; 6.2 has subcommands too, but does not list them.\n\n\
         | command | subcommand | treatment | why | engines |\n| --- | --- | --- | --- | --- |\n",
    );
    for (name, engines) in &engines {
        let (row, own) = row_of(name).expect("a row");
        let (command, sub) = name.split_once('|').unwrap_or((name, ""));
        let treatment = match row.treatment {
            Treatment::Container(_) if sub.is_empty() => "by subcommand".to_owned(),
            Treatment::Container(_) => "refused".to_owned(),
            Treatment::Passed => "passed".to_owned(),
            Treatment::Keys(first, last, step) => format!("rewritten: {first} {last} {step}"),
            Treatment::Parsed(_) => "rewritten: parsed".to_owned(),
            Treatment::Own(_) => "own".to_owned(),
            Treatment::Refused => "refused".to_owned(),
        };
        let why = if sub.is_empty() && treatment == "by subcommand" { "" } else { row.why };
        let why = if own || treatment == "refused" || treatment == "passed" { why } else { "" };
        let engines = if engines.len() == ENGINES.len() { "all".to_owned() } else { engines.join(", ") };
        writeln!(out, "| {command} | {sub} | {treatment} | {why} | {engines} |").expect("a string");
    }
    out
}

#[test]
fn the_printed_table_is_what_the_code_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/isolation.md");
    let printed = printed();
    if std::env::var_os("PRINT_ISOLATION").is_some() {
        std::fs::write(path, &printed).expect("config/isolation.md");
    }
    let kept = std::fs::read_to_string(path).expect("config/isolation.md");
    assert!(kept == printed, "config/isolation.md is out of date: PRINT_ISOLATION=1 cargo test --test judgement");
}
