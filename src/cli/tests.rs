//! The order of the sources, the defaults of the help, and the health client.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use clap::CommandFactory as _;

use super::*;

fn run_args(args: &[&str]) -> ConfigArgs {
    match Cli::try_parse_from([&["inventory-sentinel", "run"], args].concat()).unwrap().command {
        Command::Run(args) => args,
        other => panic!("{other:?}"),
    }
}

fn no_env(_: &str) -> Option<String> {
    None
}

#[test]
fn the_command_line_is_well_formed() {
    Cli::command().debug_assert();
}

#[test]
fn help_says_every_default_and_variable() {
    let help = Cli::command().find_subcommand_mut("run").unwrap().render_long_help().to_string();
    let help = help.split_whitespace().collect::<Vec<_>>().join(" "); // It is wrapped to the terminal.
    let config = Config::default();
    let defaults = [
        config.listen.tcp,
        config.upstream.url.to_string(),
        config.admin.listen,
        config.inventory.namespace,
        config.sidecar.workers.to_string(),
        config.sidecar.data_dir.display().to_string(),
        config.log.level,
        config.log.format.to_string(),
    ];
    for default in defaults {
        assert!(help.contains(&format!("[default: {default}")), "{default} in\n{help}");
    }
    for (flag, variable, _, _) in ConfigArgs::default().rows() {
        assert!(help.contains(flag), "{flag}");
        if let Some(variable) = variable {
            assert!(help.contains(&format!("[env: {variable}]")), "{variable}");
        }
    }
}

#[test]
fn flags_beat_set_beats_environment_beats_file_beats_defaults() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "[inventory]\nnamespace = \"file\"\n[sidecar]\nworkers = 3\n").unwrap();
    let path = file.path().to_str().unwrap();
    let env = |name: &str| match name {
        "INVENTORY_SENTINEL_NAMESPACE" => Some("env".to_owned()),
        "INVENTORY_SENTINEL_LISTEN" => Some(String::new()),
        "INVENTORY_SENTINEL_CONFIG" => Some(path.to_owned()),
        _ => None,
    };
    let set = ["--set", "inventory.namespace=set"];
    let flag = ["--namespace", "123"];
    for (args, namespace) in
        [(vec![], "env"), (set.to_vec(), "set"), ([set, flag].concat(), "123"), ([flag, set].concat(), "123")]
    {
        let config = run_args(&args).load(env).unwrap();
        assert_eq!(config.inventory.namespace, namespace);
        assert_eq!(config.sidecar.workers, 3, "from the file that the environment names");
        assert_eq!(config.listen.tcp, "127.0.0.1:6380", "an empty variable counts as unset");
    }
    assert_eq!(run_args(&["--config", path]).load(no_env).unwrap().inventory.namespace, "file");
    assert_eq!(run_args(&[]).load(no_env).unwrap(), Config::default());
}

#[test]
fn every_flag_sets_its_key() {
    let args = run_args(&[
        "--listen",
        "",
        "--listen-unix",
        "/tmp/s.sock",
        "--upstream",
        "managed",
        "--admin",
        "",
        "--namespace",
        "n",
        "--workers",
        "2",
        "--data-dir",
        "/d",
        "--log-format",
        "json",
        "--log-level",
        "debug",
        "--set",
        "session.pin=always",
    ]);
    let config = args.load(no_env).unwrap();
    assert_eq!((config.listen.tcp.as_str(), config.listen.unix.as_str()), ("", "/tmp/s.sock"));
    assert_eq!(config.upstream.url, UpstreamUrl::Managed);
    assert_eq!((config.admin.listen.as_str(), config.inventory.namespace.as_str()), ("", "n"));
    assert_eq!((config.sidecar.workers, config.sidecar.data_dir), (2, PathBuf::from("/d")));
    assert_eq!((config.log.format, config.log.level.as_str()), (config::LogFormat::Json, "debug"));
    assert_eq!(config.session.pin, config::Pin::Always);
}

#[test]
fn a_fault_names_its_flag_or_variable() {
    let env = |name: &str| (name == "INVENTORY_SENTINEL_ADMIN").then(|| "9121".to_owned());
    let args = run_args(&["--workers", "many", "--set", "inventory.cels=1", "--set", "nonsense"]);
    let faults = args.load(env).unwrap_err().to_string();
    let starts = [
        "--set: inventory.cels: no such key",
        "--set: nonsense: ",
        "--workers: sidecar.workers: \"many\"",
        "INVENTORY_SENTINEL_ADMIN: admin.listen: \"9121\"",
    ];
    assert_eq!(faults.lines().count(), starts.len(), "{faults}");
    for (line, start) in faults.lines().zip(starts) {
        assert!(line.starts_with(start), "{line}");
    }
}

#[test]
fn a_summary_says_what_is_served_and_no_password() {
    let args = run_args(&["--upstream", "redis://u:hunter2@db/2", "--listen-unix", "/s", "--workers", "2"]);
    assert_eq!(
        summary(&args.load(no_env).unwrap()),
        "clients     127.0.0.1:6380 and /s (2 workers, 10000 clients at most)\n\
         upstream    redis://db:6379/2\n\
         admin       127.0.0.1:9121\n\
         inventory   namespace default, 1 cell; a reservation lives 5m, 24h at most"
    );
}

#[test]
fn the_demo_has_the_defaults_it_says() {
    let Command::Demo(options) = Cli::try_parse_from(["inventory-sentinel", "demo"]).unwrap().command else { panic!() };
    assert_eq!((options.buyers, options.connections, options.units, options.skus), (100_000, 200, 10_000, 5));
    assert_eq!((options.keep, options.data_dir, options.seed), (false, None, None));
}

/// Answers one request with these bytes.
fn answering(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 1024];
        let length = stream.read(&mut request).unwrap();
        assert!(request[..length].starts_with(b"GET /healthz HTTP/1.1\r\n"));
        stream.write_all(answer).unwrap();
    });
    address
}

#[test]
fn health_is_what_the_sidecar_answers() {
    let alive = b"HTTP/1.1 200 OK\r\ncontent-length: 19\r\n\r\n{\"status\":\"alive\"}\n";
    assert_eq!(health(&answering(alive)).unwrap(), "{\"status\":\"alive\"}");
    let address = answering(b"HTTP/1.1 503 Service Unavailable\r\n\r\nno\n");
    assert_eq!(health(&address).unwrap_err(), format!("{address}: answered \"HTTP/1.1 503 Service Unavailable\" no"));
    let everywhere = answering(alive).replace("127.0.0.1", "0.0.0.0");
    assert!(health(&everywhere).is_ok(), "all addresses: this machine's own is asked");
}

#[test]
fn nobody_there_is_not_alive() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = health(&free.to_string()).unwrap_err();
    assert!(error.starts_with(&free.to_string()) && error.contains("refused"), "{error}");
    assert!(health("nonsense").is_err());
}

#[test]
fn health_asks_where_it_is_told() {
    let env = |_: &str| Some("[::]:9000".to_owned());
    assert_eq!(HealthArgs { admin: Some("h:1".to_owned()) }.address(env), "h:1");
    assert_eq!(HealthArgs { admin: None }.address(env), "[::]:9000");
    assert_eq!(HealthArgs { admin: None }.address(no_env), "127.0.0.1:9121");
}
