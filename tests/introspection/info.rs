//! INFO with the sidecar's figures.

use crate::common::{Redis, Reply, SOON, Sidecar, until, words};
use crate::{open, raw};

/// The fields of the sidecar's section, which is the last one.
fn figures(info: &Reply) -> Vec<(String, String)> {
    let text = info.text();
    let (before, section) = text.split_once("# Inventory\r\n").unwrap_or_else(|| panic!("no section in {text}"));
    assert!(before.is_empty() || before == "txt:" || before.ends_with("\r\n\r\n"), "{before:?}");
    assert!(section.ends_with("\r\n") && !section.contains('#'), "{section:?}");
    let field = |line: &str| line.split_once(':').map(|(name, value)| (name.to_owned(), value.to_owned()));
    section.lines().map(|line| field(line).unwrap_or_else(|| panic!("{line:?}"))).collect()
}

#[track_caller]
fn figure(info: &Reply, name: &str) -> String {
    let name = format!("inventory_{name}");
    let figures = figures(info);
    figures.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("{name} in {figures:?}")).1.clone()
}

#[test]
fn info_inventory_tells_the_figures_of_all_workers() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &["sidecar.workers=2", "inventory.namespace=shop", "inventory.cells=3"]);
    let (mut one, mut two, mut three) = (sidecar.conn(), sidecar.conn(), sidecar.conn3());
    one.call("INV.SETSTOCK tee 5").expect_ok();
    for quantity in [2, 9] {
        one.call(&format!("INV.RESERVE tee {quantity}"));
        two.call(&format!("INV.RESERVE tee {quantity}"));
    }
    two.call("INV.RESERVE tee 9").expect_error("INSUFFICIENTSTOCK");
    three.call("WATCH k").expect_ok();
    let info = until("all is counted", SOON, || {
        let info = one.call("INFO inventory");
        let counted = figure(&info, "operation_reserve") == "ok=2,refused=3,uncertain=0";
        (counted && figure(&info, "pinned_clients") == "1").then_some(info)
    });
    for (name, value) in [
        ("version", env!("CARGO_PKG_VERSION")),
        ("namespace", "shop"),
        ("cells", "3"),
        ("workers", "2"),
        ("clients", "3"),
        ("upstream_up", "1"),
        ("upstream_pinned", "1"),
        ("operation_setstock", "ok=1,refused=0,uncertain=0"),
        ("operation_commit", "ok=0,refused=0,uncertain=0"),
        ("retries", "0"),
    ] {
        assert_eq!(figure(&info, name), value, "{name}");
    }
    assert!(figure(&info, "batches").parse::<u64>().expect("a number") >= 6);
    assert!(figure(&info, "operations_per_batch").parse::<f64>().expect("a number") >= 1.0);
    assert!(figure(&info, "uptime_in_seconds").parse::<u64>().is_ok());
    // Each field once, and none that the engine has.
    let names: Vec<String> = figures(&info).into_iter().map(|(name, _)| name).collect();
    assert!(names.iter().all(|name| names.iter().filter(|other| *other == name).count() == 1), "{names:?}");
    assert!(names.iter().all(|name| name.starts_with("inventory_")), "{names:?}");
    // As text of its protocol, also from the other worker and inside a transaction.
    assert!(raw(&mut one, "info INVENTORY").starts_with(b"$"));
    assert!(raw(&mut three, "INFO inventory inventory").starts_with(b"="));
    for conn in [&mut one, &mut three] {
        let replies = conn.pipeline(&["MULTI", "INFO inventory", "INFO all", "EXEC"].map(words));
        for info in replies[3].items() {
            assert_eq!(figure(info, "clients"), "3");
        }
    }
}

#[test]
fn info_of_everything_has_the_section_last_and_plain_info_has_it_not() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    for protocol in [2, 3] {
        let (mut direct, mut through) = (open(&redis.addr(), protocol), open(&sidecar.listen, protocol));
        for line in ["INFO all", "INFO everything", "info Everything"] {
            let info = through.call(line);
            figures(&info);
            assert!(info.text().contains("redis_version:") && info.text().contains("cmdstat_"), "{line}");
        }
        for line in ["INFO", "INFO default", "INFO server", "INFO modules", "INFO nope"] {
            assert!(!through.call(line).text().contains("# Inventory"), "{line}");
        }
        // Engines before 7.0 take one section.
        let theirs = direct.call("INFO cluster keyspace");
        for line in ["INFO cluster inventory keyspace", "INFO inventory cluster keyspace INVENTORY"] {
            let ours = through.call(line);
            if let Reply::Error(_) = theirs {
                assert_eq!(ours, theirs, "{line}");
            } else {
                figures(&ours);
                assert!(ours.text().starts_with(&theirs.text()), "{ours:?}");
            }
        }
    }
}

#[test]
fn info_inventory_is_told_while_the_upstream_is_lost() {
    for settings in [&[][..], &["session.pin=always"]] {
        let mut redis = Redis::start();
        let sidecar = Sidecar::start(&redis.url(), settings);
        let mut conn = sidecar.conn();
        redis.kill9();
        let info = until("it is known to be lost", SOON, || {
            let info = conn.call("INFO inventory");
            (figure(&info, "upstream_up") == "0").then_some(info)
        });
        assert_eq!(figure(&info, "clients"), "1");
    }
}
