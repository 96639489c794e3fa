//! Question: how many requests a second does what listens at an address answer, with what latency, and what CPU do the
//! processes behind it spend on each?
//!
//! A load of N clients in one thread, each of which sends a pipeline, waits for its replies and sends the next. It costs less
//! CPU a request than redis-benchmark, knows the ids that were reserved, and reads the CPU of other processes at the
//! edges of what it measures. `make bench` runs it for each of its loads; the command is for example
//! `cargo bench --bench load -- get --addr 127.0.0.1:6380 --clients 50 --pipeline 16`.
#![allow(missing_docs, reason = "a program, not a library")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "its answer goes to standard output")]

mod answer;
mod client;
mod cpu;
mod options;
mod reply;
mod run;
mod work;

use clap::Parser as _;
use options::{Kind, Options};
use std::process::ExitCode;

fn main() -> ExitCode {
    if std::env::args().skip(1).all(|arg| arg == "--bench") {
        println!("load: the generator of `make bench`; it has nothing to do by itself");
        return ExitCode::SUCCESS;
    }
    let options = Options::parse();
    let report = match options.kind {
        Kind::Answer => answer::serve(options.addr, options.value_bytes).map_err(|error| error.to_string()),
        _ => run::run(&options),
    };
    match report {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}
