//! The command line's thin end: reads it, calls the library, prints, exits with 0 or 1 (a sale that was interrupted: 130).
//!
//! Owns standard output and the exit status. Never decides anything else.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is the program that talks to a person")]

use std::fmt::Display;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;
use inventory_sentinel::cli::{self, AclArgs, CheckArgs, Cli, Command, ConfigArgs, DemoOptions, HealthArgs};
use inventory_sentinel::config::{self, Config, ShownConfig};
use inventory_sentinel::demo::{self, Unfinished};
use inventory_sentinel::tenant::{self, Tenants};
use inventory_sentinel::upstream::check;
use inventory_sentinel::{app, logging, tls};

/// What shells report of a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(args) => run(&args),
        Command::Check(args) => check(&args),
        Command::Demo(options) => return demo(&options),
        Command::Health(args) => health(&args),
        Command::Acl(args) => acl(&args),
    };
    ended(done, ExitCode::FAILURE)
}

fn ended(done: Result<(), impl Display>, otherwise: ExitCode) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(faults) => {
            eprintln!("{faults}");
            otherwise
        }
    }
}

fn run(args: &ConfigArgs) -> Result<(), String> {
    let config = load(args)?;
    logging::init(&config.log)?;
    let (file, again) = (args.file(env), args.clone());
    app::run(&config, file, Box::new(move || again.load(env)))
}

fn demo(options: &DemoOptions) -> ExitCode {
    let done = demo::run(options);
    let otherwise = if done == Err(Unfinished::Interrupted) { ExitCode::from(INTERRUPTED) } else { ExitCode::FAILURE };
    ended(done, otherwise)
}

fn check(args: &CheckArgs) -> Result<(), String> {
    let config = load(&args.config)?;
    tls::check(&config)?;
    let tenants = tenant::resolve(&config, &Tenants::default())?;
    let mut report = if args.connect { Some(connect(&config)?) } else { None };
    if let Some(report) = &mut report {
        report.warnings.extend(cli::warnings(&config, &tenants, report.redis_version())?);
    }
    println!("ok\n{}", cli::summary(&config));
    if let Some(before) = &args.against {
        let before = match before.split_once("://") {
            Some(_) => cli::running(before)?,
            None => ShownConfig::of(&config::load(Some(Path::new(before)), &[]).map_err(said)?),
        };
        println!("{}", cli::changes(&before, &config));
    }
    if let Some(report) = report {
        println!("{report}");
    }
    Ok(())
}

fn connect(config: &Config) -> Result<check::CheckReport, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(said)?;
    runtime.block_on(check::check_connect(config))
}

fn acl(args: &AclArgs) -> Result<(), String> {
    let config = load(&args.config)?;
    if let Some(note) = cli::acl_note(&config, &args.tenant)? {
        eprintln!("{note}");
    }
    let version = match args.version()? {
        Some(version) => version,
        None => connect(&config)?.redis_version(),
    };
    println!("{}", cli::acl_line(&config, &args.tenant, version)?);
    Ok(())
}

fn health(args: &HealthArgs) -> Result<(), String> {
    println!("{}", cli::health(&args.address(env))?);
    Ok(())
}

fn load(args: &ConfigArgs) -> Result<Config, String> {
    args.load(env).map_err(said)
}

fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[allow(clippy::needless_pass_by_value, reason = "as map_err hands it over")]
fn said(error: impl Display) -> String {
    error.to_string()
}
