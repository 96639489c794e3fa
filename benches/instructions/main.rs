//! Question: how many instructions does the sidecar execute for one request, and is that more than it was?
//!
//! Counted by valgrind's callgrind, so that no load of the machine makes a difference: of the scanners, of the decision which way
//! a command goes, and of a whole worker between clients and a recorded upstream (../replay). The figures to compare with
//! are in ../instructions.toml; a count that is more than 3 % above its figure fails. Where the compiler or the C library
//! is another than that of the figures, there is nothing to compare and it says so.
//!
//! Commands: `make instructions`; `make instructions-store` writes the figures down; `make recording` asks a real Redis again.
#![allow(missing_docs, reason = "a program, not a library")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "its answer goes to standard output")]

mod figures;
#[path = "../replay/mod.rs"]
mod replay;
mod scenarios;

use figures::Figures;
use scenarios::{SCENARIOS, Scenario};
use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// More than that above its figure, and it fails.
const MARGIN: f64 = 0.03;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let result = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--scenario", name] => return one(name),
        ["--record", redis, ..] => record(redis),
        ["--store", ..] => count_all().and_then(|counts| figures::store(&counts)),
        _ => check(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("instructions: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The recording, in the repository.
fn recording() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/replay/recording.resp")
}

/// Runs one scenario in this process; under valgrind its counted part is counted.
fn one(name: &str) -> ExitCode {
    match SCENARIOS.iter().find(|scenario| scenario.name == name) {
        Some(scenario) => {
            (scenario.run)(&recording());
            ExitCode::SUCCESS
        }
        None => ExitCode::FAILURE,
    }
}

fn record(redis: &str) -> Result<(), String> {
    scenarios::record(&recording(), redis);
    println!("written: {}", recording().display());
    Ok(())
}

fn check() -> Result<(), String> {
    if Command::new("valgrind").arg("--version").output().is_err() {
        return if std::env::var_os("CI").is_some() {
            Err("valgrind is not there (apt-get install valgrind)".into())
        } else {
            println!("instructions: skipped, for valgrind is not there (apt-get install valgrind)");
            Ok(())
        };
    }
    let stored = figures::stored()?;
    let comparable = stored.toolchain == figures::toolchain();
    let counts = count_all()?;
    let mut worse = Vec::new();
    println!("{:52} {:>9} {:>9}", "instructions of", "counted", "stored");
    for (name, count) in &counts {
        let figure = stored.instructions.get(*name).copied();
        let change = figure.map_or(0.0, |figure| *count as f64 / figure as f64 - 1.0);
        let shown = figure.map_or_else(|| "-".to_owned(), |figure| figure.to_string());
        println!("{name:52} {count:>9} {shown:>9} {:>+7.1} %", 100.0 * change);
        if comparable && figure.is_none() {
            worse.push(format!("{name}: no figure is stored"));
        } else if comparable && change > MARGIN {
            worse.push(format!("{name}: {:+.1} %", 100.0 * change));
        } else if comparable && change < -MARGIN {
            println!("  fewer than before: make instructions-store keeps it so");
        }
    }
    if !comparable {
        println!("not compared: the figures are of {}, this is {}", stored.toolchain, figures::toolchain());
    }
    if worse.is_empty() {
        return Ok(());
    }
    Err(format!("more than {} % above the stored figure: {}", 100.0 * MARGIN, worse.join("; ")))
}

/// Counts each scenario in a process of its own.
fn count_all() -> Result<Figures, String> {
    SCENARIOS.iter().map(|scenario| Ok((scenario.name, count(scenario)?))).collect()
}

/// Instructions for each of its requests.
fn count(scenario: &Scenario) -> Result<u64, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("valgrind")
        // Where a variable is longer, the stack begins elsewhere.
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        // The allocator's way of finding memory depends on where the heap's holes happen to be, which is another in each
        // run (a commit: 4,983 or 5,460 instructions of one binary). With long lists of each small size it has no way to find.
        .env("GLIBC_TUNABLES", "glibc.malloc.tcache_count=2000")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(format!("--toggle-collect=*{}*", scenarios::COUNTED))
        .arg(program)
        .args(["--scenario", scenario.name])
        .output()
        .map_err(|error| format!("valgrind: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{}: {}", scenario.name, said.trim()));
    }
    let collected = said.lines().find_map(|line| line.split_once("Collected : "));
    let all: u64 = collected
        .and_then(|(_, count)| count.trim().parse().ok())
        .ok_or_else(|| format!("{}: no count: {}", scenario.name, said.trim()))?;
    if all == 0 {
        return Err(format!("{}: nothing was counted", scenario.name));
    }
    Ok(all / scenario.requests)
}
