//! What could be counted: a tenant's figures do not move with what another does.

use super::super::common::words;
use super::client::Client;
use super::world::{MARK, World};

/// What tells how much there is of something.
const FIGURES: &[&str] = &[
    "DBSIZE",
    "INFO server",
    "INFO keyspace",
    "INFO clients",
    "INFO memory",
    "INFO stats",
    "INFO commandstats",
    "CLIENT LIST",
    "PUBSUB NUMPAT",
    "PUBSUB CHANNELS",
    "PUBSUB NUMSUB c",
    "PUBSUB SHARDCHANNELS",
    "KEYS *",
    "SCAN 0 COUNT 10000",
    "SLOWLOG LEN",
    "SLOWLOG GET",
    "LATENCY LATEST",
    "MEMORY STATS",
    "MEMORY DOCTOR",
    "MEMORY MALLOC-STATS",
    "LASTSAVE",
    "ACL LOG",
    "ACL USERS",
    "ACL LIST",
    "SCRIPT EXISTS e0e1f9fabfc9d4800c877a703b823ac0578ff8db",
    "FUNCTION LIST",
    "FUNCTION STATS",
    "ROLE",
    "COMMAND COUNT",
    "INV.STOCK s",
    "CLIENT TRACKINGINFO",
    "CLUSTER INFO",
    "CONFIG GET *",
    "MODULE LIST",
];

/// Without what is the client's own or moves with time.
fn told(acme: &mut Client, figures: &[&str]) -> Vec<String> {
    let mut all = Vec::new();
    for line in figures {
        let bytes = acme.all_of(&[words(line)]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let steady = |line: &&str| !line.contains("uptime_in") && !line.starts_with('$') && !line.starts_with('=');
        let mut lines: Vec<String> = text.lines().filter(steady).map(without_times).collect();
        // A hash table that grows has another order.
        lines.sort();
        all.push(format!("{line}: {}", lines.join("|")));
    }
    all
}

/// A row of CLIENT LIST without what its client just did.
fn without_times(line: &str) -> String {
    const MOVE: &[&str] = &[
        "age=",
        "idle=",
        "qbuf",
        "argv-mem=",
        "multi-mem=",
        "tot-mem=",
        "rbs=",
        "rbp=",
        "obl=",
        "oll=",
        "omem=",
        "tot-net",
        "tot-cmds",
    ];
    let keep = |field: &&str| !MOVE.iter().any(|begin| field.starts_with(begin));
    line.split(' ').filter(keep).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_tenants_figures_do_not_move_with_what_another_does() {
    assert_steady(FIGURES);
}

#[test]
fn the_sidecars_own_figures_do_not_move_either() {
    assert_steady(&["INFO inventory", "INFO", "INFO all", "INFO everything"]);
}

fn assert_steady(figures: &[&str]) {
    let mut world = World::new();
    world.plant_own();
    for protocol in [2, 3] {
        let mut acme = world.acme(protocol);
        told(&mut acme, figures);
        let before = told(&mut acme, figures);
        let mut rival = world.rival(protocol);
        rival.call("CLIENT SETNAME other");
        let mut subscribed = world.rival(protocol);
        subscribed.call(&format!("SUBSCRIBE {MARK}-{protocol}"));
        subscribed.call("PSUBSCRIBE c*");
        let sets: Vec<_> = (0..200).map(|at| words(&format!("SET {MARK}-{protocol}-{at} v"))).collect();
        rival.all_of(&sets);
        rival.all_of(&[words("SCRIPT LOAD \"return 1\""), words("INV.SETSTOCK s 77"), words("GET"), words("nonsense")]);
        rival.all_of(&[vec![b"SCRIPT".to_vec(), b"LOAD".to_vec(), b"return 1".to_vec()]]);
        let after = told(&mut acme, figures);
        for (before, after) in before.iter().zip(&after) {
            assert_eq!(before, after);
        }
    }
}

#[test]
fn random_keys_and_sizes_are_of_the_tenants_own() {
    let mut world = World::new();
    world.plant_own();
    let own = world.direct.call("KEYS acme:*").items().len() as i64;
    let mut acme = world.acme(2);
    assert_eq!(acme.call("DBSIZE").int(), own);
    assert_eq!(acme.call("KEYS *").items().len() as i64, own);
    for _ in 0..200 {
        let key = acme.call("RANDOMKEY").text();
        assert!(!key.contains(MARK) && !key.contains(':') && !key.contains('{'), "{key}");
    }
    let (mut cursor, mut found) = ("0".to_owned(), Vec::new());
    loop {
        let page = acme.call(&format!("SCAN {cursor} COUNT 3"));
        found.extend(page.items()[1].items().iter().map(super::super::common::Reply::text));
        cursor = page.items()[0].text();
        if cursor == "0" {
            break;
        }
    }
    found.sort();
    found.dedup();
    assert_eq!(found.len() as i64, own, "{found:?}");
    assert!(found.iter().all(|key| !key.contains(':')), "{found:?}");
}
