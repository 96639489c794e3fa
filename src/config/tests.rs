//! What the loader says, word for word, and that the shipped example is the defaults.

mod of_tenants;

use std::collections::BTreeSet;
use std::io::Write as _;

use super::*;

const SHIPPED: &str = include_str!("../../config/sentinel.toml");

/// The faults of a file `f.toml` of this text, one line a fault.
fn faults(text: &str) -> String {
    faults_with(text, &[])
}

fn faults_with(text: &str, overrides: &[(&str, &str)]) -> String {
    match load_text(text, overrides) {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    }
}

pub(super) fn load_text(text: &str, overrides: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let overrides: Vec<_> = overrides.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    load(Some(file.path()), &overrides).map_err(|error| {
        let name = file.path().display().to_string();
        let renamed = |fault: Fault| Fault { place: fault.place.replace(&name, "f.toml"), ..fault };
        ConfigError { faults: error.faults.into_iter().map(renamed).collect() }
    })
}

#[test]
fn the_shipped_example_is_the_defaults_and_shows_every_key() {
    assert_eq!(toml::from_str::<Config>(SHIPPED).unwrap(), Config::default());
    assert_eq!(load_text(SHIPPED, &[]).unwrap(), Config::default());
    let shown: toml::Table = SHIPPED.parse().unwrap();
    let shown: BTreeSet<String> = shown
        .iter()
        .filter(|(table, _)| *table != "tenants")
        .flat_map(|(table, keys)| keys.as_table().unwrap().keys().map(move |key| format!("{table}.{key}")))
        .collect();
    let known: BTreeSet<String> = KEYS.iter().map(|key| format!("{}.{}", key.table, key.name)).collect();
    assert_eq!(shown, known);
}

#[test]
fn the_shipped_example_says_every_bound() {
    for key in KEYS {
        let (before, _) = SHIPPED.split_once(&format!("\n{} = ", key.name)).unwrap();
        let comment: Vec<&str> = before.lines().rev().take_while(|line| line.starts_with('#')).collect();
        assert!(!comment.is_empty(), "{} has no comment", key.name);
        if let Some(bounds) = &key.bounds {
            let said = format!("{}..={}", bounds.start(), bounds.end());
            assert!(comment.iter().any(|line| line.contains(&said)), "{}: {said} is not in its comment", key.name);
        }
    }
}

#[test]
fn no_file_and_no_override_is_the_defaults() {
    assert_eq!(load(None, &[]).unwrap(), Config::default());
    assert_eq!(load_text("", &[]).unwrap(), Config::default());
}

#[test]
fn a_fault_names_line_key_value_and_what_is_right() {
    for (text, said) in [
        ("[inventory]\n\n# cells\ncells = 0\n", "f.toml:4: inventory.cells: 0 is not in 1..=1024"),
        ("[inventory]\ncells = 1025", "f.toml:2: inventory.cells: 1025 is not in 1..=1024"),
        ("[sidecar]\nworkers = -1", "f.toml:2: sidecar.workers: -1 is not in 1..=64"),
        ("[sidecar]\nworkers = \"two\"", "f.toml:2: sidecar.workers: \"two\" is not a whole number in 1..=64"),
        ("[sidecar]\nworkers = 1.5", "f.toml:2: sidecar.workers: 1.5 is not a whole number in 1..=64"),
        ("sidecar.workers = 65", "f.toml:1: sidecar.workers: 65 is not in 1..=64"),
        ("\nsidecar = { workers = 65 }", "f.toml:2: sidecar.workers: 65 is not in 1..=64"),
        ("[listen]\ntcp = 6380", "f.toml:2: listen.tcp: 6380 is not a string (write it in quotes)"),
        (
            "[listen]\ntcp = \"6380\"",
            "f.toml:2: listen.tcp: \"6380\": no port; it is host:port, such as \"127.0.0.1:6380\", or \"\" for none",
        ),
        (
            "[listen]\nunix_mode = \"0999\"",
            "f.toml:2: listen.unix_mode: \"0999\" is not an octal mode from \"0000\" to \"0777\", such as \"0700\"",
        ),
        (
            "[listen]\ntcp = \"\"",
            "f.toml:2: listen.tcp: nothing to listen on: listen.tcp and listen.unix are both empty",
        ),
        (
            "[admin]\nlisten = \"localhost:6380\"",
            "f.toml:2: admin.listen: listen.tcp and admin.listen are both \"localhost:6380\"; each needs a port of its own",
        ),
        (
            "[upstream]\nurl = \"redis://localhost:6380\"",
            "f.toml:2: upstream.url: the upstream redis://localhost:6380 is the sidecar's own listener",
        ),
        (
            "[inventory]\nnamespace = \"a:b\"",
            "f.toml:2: inventory.namespace: \"a:b\" is not 1 to 64 of A-Z a-z 0-9 _ -",
        ),
        ("[inventory]\nnamespace = \"\"", "f.toml:2: inventory.namespace: \"\" is not 1 to 64 of A-Z a-z 0-9 _ -"),
        (
            "[inventory]\nreservation_ttl = \"5\"",
            "f.toml:2: inventory.reservation_ttl: \"5\" is not a time: a whole number and one of ms, s, m, h, \
             such as \"300ms\", \"5s\", \"5m\" or \"24h\"",
        ),
        (
            "[inventory]\nreservation_ttl = 300",
            "f.toml:2: inventory.reservation_ttl: 300 is not a string (write it in quotes)",
        ),
        (
            "[inventory]\nreservation_ttl = \"48h\"",
            "f.toml:2: inventory.reservation_ttl: inventory.reservation_ttl (\"48h\") must be at most \
             inventory.reservation_ttl_max (\"24h\")",
        ),
        (
            "[inventory]\nreservation_ttl_max = \"1m\"",
            "f.toml:2: inventory.reservation_ttl_max: inventory.reservation_ttl (\"5m\") must be at most \
             inventory.reservation_ttl_max (\"1m\")",
        ),
        (
            "[inventory]\nremember = \"3s\"",
            "f.toml:2: inventory.remember: inventory.remember (\"3s\") must be at least twice \
             inventory.operation_deadline_ms (2000)",
        ),
        (
            "[inventory]\nqueue_ops_max = 200",
            "f.toml:2: inventory.queue_ops_max: inventory.client_ops_max (256) must be at most \
             inventory.queue_ops_max (200)",
        ),
        (
            "[session]\noutput_close_bytes = 16777216",
            "f.toml:2: session.output_close_bytes: session.output_pause_bytes (16777216) must be less than \
             session.output_close_bytes (16777216)",
        ),
        (
            "[upstream]\nreconnect_min_ms = 3000",
            "f.toml:2: upstream.reconnect_min_ms: upstream.reconnect_min_ms (3000) must be at most \
             upstream.reconnect_max_ms (2000)",
        ),
        ("[listen]\ninsecure = 1", "f.toml:2: listen.insecure: 1 is neither true nor false"),
        ("[listen]\ninsecure = \"yes\"", "f.toml:2: listen.insecure: \"yes\" is neither true nor false"),
        (
            "[listen]\ntcp = \"0.0.0.0:6380\"",
            "f.toml:2: listen.tcp: \"0.0.0.0:6380\" can be reached from other machines and is not guarded: set \
             listen.tls_cert and listen.tls_key, and give [[tenants]] that all have a password; or listen on 127.0.0.1, or \
             say listen.insecure = true",
        ),
        (
            "[listen]\ntcp = \"0.0.0.0:6380\"\ntls_cert = \"c\"\ntls_key = \"k\"",
            "f.toml:2: listen.tcp: \"0.0.0.0:6380\" can be reached from other machines and is not guarded: give [[tenants]] \
             that all have a password; or listen on 127.0.0.1, or say listen.insecure = true",
        ),
        (
            "[listen]\ntls_key = \"k\"",
            "f.toml:2: listen.tls_key: listen.tls_cert and listen.tls_key go together: both or neither",
        ),
        (
            "[upstream]\nurl = \"rediss://db\"\ntls_cert = \"k\"",
            "f.toml:3: upstream.tls_cert: upstream.tls_cert and upstream.tls_key go together: both or neither",
        ),
        (
            "[listen]\ntls_client_ca = \"ca\"",
            "f.toml:2: listen.tls_client_ca: clients show a certificate only where listen.tls_cert and listen.tls_key \
             make the listener speak TLS",
        ),
        (
            "[listen]\ntcp = \"\"\nunix = \"/s\"\ntls_cert = \"c\"\ntls_key = \"k\"",
            "f.toml:4: listen.tls_cert: TLS is for the TCP listeners, and there is none: listen.tcp is empty",
        ),
        (
            "[upstream]\ntls_ca = \"ca\"",
            "f.toml:2: upstream.tls_ca: is for TLS, and upstream.url (redis://127.0.0.1:6379) is not rediss://",
        ),
        ("[session]\npin = \"never\"", "f.toml:2: session.pin: \"never\" is not one of \"auto\", \"always\""),
        (
            "[managed]\nappendfsync = \"no\"",
            "f.toml:2: managed.appendfsync: \"no\" is not one of \"everysec\", \"always\"",
        ),
        ("[log]\nformat = \"xml\"", "f.toml:2: log.format: \"xml\" is not one of \"auto\", \"text\", \"json\""),
        (
            "[log]\nlevel = \"loud\"",
            "f.toml:2: log.level: \"loud\" is not one of \"off\", \"error\", \"warn\", \"info\", \"debug\", \"trace\"",
        ),
        (
            "[log]\nlevl = \"info\"",
            "f.toml:2: log.levl: no such key (did you mean \"level\"?); [log] has format, level",
        ),
        ("[admin]\nquux = 1", "f.toml:2: admin.quux: no such key; [admin] has listen, show_config"),
        (
            "[admin]\ncells = 1",
            "f.toml:2: admin.cells: no such key (did you mean inventory.cells?); [admin] has listen, show_config",
        ),
        (
            "cells = 1",
            "f.toml:1: cells: no such table (did you mean inventory.cells?); there are sidecar, listen, upstream, \
             admin, inventory, session, managed, log and [[tenants]]",
        ),
        (
            "\n[inventroy]\ncells = 1",
            "f.toml:2: inventroy: no such table (did you mean \"inventory\"?); there are sidecar, listen, upstream, \
             admin, inventory, session, managed, log and [[tenants]]",
        ),
        ("log = 5", "f.toml:1: log: is a table: write [log]"),
        ("[sidecar]\nworkers = 1\nworkers = 2", "f.toml:3: not TOML: duplicate key"),
    ] {
        assert_eq!(faults(text), said, "of {text:?}");
    }
}

#[test]
fn every_fault_is_reported_in_the_order_of_the_file() {
    let text = "[log]\nlevl = \"x\"\n[sidecar]\nworkers = 0\n[inventory]\nreservation_ttl = \"48h\"\n";
    let said = faults_with(text, &[("inventory.cells", "no"), ("cells", "1")]);
    let starts: Vec<&str> = said.lines().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(starts, ["f.toml:2", "f.toml:4", "--set", "--set", "f.toml:6"], "{said}");
}

#[test]
fn a_faulty_key_is_not_blamed_twice() {
    let said = faults("[session]\noutput_close_bytes = 1\noutput_pause_bytes = 300000000\n");
    assert_eq!(said, "f.toml:2: session.output_close_bytes: 1 is not in 65536..=17179869184");
}

#[test]
fn what_is_no_toml_names_its_line() {
    let said = faults("[sidecar]\nworkers = \n[admin\n");
    assert!(said.starts_with("f.toml:2: not TOML: ") && said.contains("\nf.toml:3: not TOML: "), "{said}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let said = load(Some("/nowhere/f.toml".as_ref()), &[]).unwrap_err().to_string();
    assert!(said.starts_with("/nowhere/f.toml: cannot be read: No such file"), "{said}");
}

#[test]
fn overrides_beat_the_file_and_later_ones_earlier_ones() {
    let text = "[inventory]\nnamespace = \"file\"\ncells = 2\n";
    let overrides = [
        ("inventory.namespace", "first"),
        ("inventory.namespace", "123"),
        ("inventory.reservation_ttl", "90s"),
        ("listen.unix_mode", "0770"),
        ("listen.tcp", ""),
        ("listen.unix", "\"/run/a b.sock\""),
        ("session.pin", "always"),
    ];
    let config = load_text(text, &overrides).unwrap();
    assert_eq!(config.inventory.namespace, "123", "a number is a name's string");
    assert_eq!(config.inventory.cells, 2);
    assert_eq!(config.inventory.reservation_ttl, Span::from_secs(90));
    assert_eq!(config.listen.unix_mode.get(), 0o770);
    assert_eq!((config.listen.tcp.as_str(), config.listen.unix.as_str()), ("", "/run/a b.sock"));
    assert_eq!(config.session.pin, Pin::Always);
}

#[test]
fn an_overrides_fault_names_its_source() {
    let given = |key: &str, value: &str| Override {
        source: "INVENTORY_SENTINEL_WORKERS".to_owned(),
        key: key.to_owned(),
        value: value.to_owned(),
    };
    for (key, value, said) in [
        ("sidecar.workers", "0", "INVENTORY_SENTINEL_WORKERS: sidecar.workers: 0 is not in 1..=64"),
        ("sidecar.workers", "", "INVENTORY_SENTINEL_WORKERS: sidecar.workers: \"\" is not a whole number in 1..=64"),
        ("workers", "1", "INVENTORY_SENTINEL_WORKERS: workers: is not of the form table.key, such as inventory.cells"),
    ] {
        assert_eq!(load_from(None, &[given(key, value)]).unwrap_err().to_string(), said);
    }
}

#[test]
fn a_password_is_never_shown() {
    let config = load_text("[upstream]\nurl = \"redis://u:hunter2@db\"", &[]).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
    let UpstreamUrl::Server { password: Some(password), .. } = config.upstream.url else { panic!("a server") };
    assert_eq!(password.expose(), "hunter2");
}

#[test]
fn only_a_guarded_listener_may_be_reached_from_other_machines() {
    let with_tls = [("listen.tls_cert", "c"), ("listen.tls_key", "k")];
    for (tcp, within) in [
        ("127.0.0.1:1", true),
        ("127.8.8.8:1", true),
        ("localhost:1", true),
        ("[::1]:1", true),
        ("[::ffff:127.0.0.1]:1", true),
        ("0.0.0.0:1", false),
        ("[::]:1", false),
        ("10.0.0.1:1", false),
        ("sidecar.example:1", false),
    ] {
        let with = |text, more: &[(&str, &str)]| faults_with(text, &[&[("listen.tcp", tcp)], more].concat()).is_empty();
        let tenant = "[[tenants]]\nname = \"a\"\npassword = \"x\"";
        let open = &format!("{tenant}\n[[tenants]]\nname = \"default\"");
        assert!(with(tenant, &with_tls) && with("", &[("listen.insecure", "true")]), "{tcp}");
        for unguarded in [with("", &[]), with("", &with_tls), with(tenant, &[]), with(open, &with_tls)] {
            assert_eq!(unguarded, within, "{tcp}");
        }
    }
}
