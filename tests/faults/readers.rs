//! Clients that do not read, or slowly.

use std::time::Duration;

use crate::common::resp::encode;
use crate::common::{Conn, Redis, Reply, SOON, Sidecar, until};

#[test]
fn a_client_that_does_not_read_stops_nobody_and_grows_no_memory() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(
        &redis.url(),
        &["upstream.links=1", "session.output_pause_bytes=65536", "session.output_close_bytes=1048576"],
    );
    let value = "x".repeat(100_000);
    sidecar.conn().call(&format!("SET big {value}")).expect_ok();
    let mut deaf = sidecar.conn();
    deaf.patience(Duration::from_millis(500));
    let get = encode(&["GET", "big"]);
    // It asks for 100 MB and reads none; whether its own writes block or fail does not matter.
    for _ in 0..1_000 {
        if deaf.try_send(&get).is_err() {
            break;
        }
    }
    let mut other = sidecar.conn();
    for i in 0..100 {
        assert_eq!(other.call(&format!("ECHO {i}")), Reply::bulk(i.to_string()));
        assert_eq!(other.call("STRLEN big"), Reply::Int(100_000));
    }
    let kib = sidecar.resident_kib();
    assert!(kib < 100 * 1024, "{kib} KiB resident for a client that does not read");
}

/// A client that has asked for so many values of 100 kB, all of which are there for it, and has read none; with the
/// sidecar's figure of bytes from the upstream above what these make.
fn one_who_does_not_read(sidecar: &Sidecar, values: usize) -> Conn {
    let value = "x".repeat(100_000);
    sidecar.conn().call(&format!("SET big {value}")).expect_ok();
    let mut conn = sidecar.conn();
    conn.receive_buffer(64 * 1024);
    conn.send(&encode(&["GET", "big"]).repeat(values));
    until("all of it has come from the upstream", SOON, || {
        let bytes = figure(sidecar, "inventory_sentinel_bytes_total{direction=\"upstream_in\"} ");
        (bytes > values as f64 * 100_000.0).then_some(())
    });
    conn
}

fn figure(sidecar: &Sidecar, name: &str) -> f64 {
    let (_, text) = sidecar.http("/metrics");
    text.lines().find_map(|line| line.strip_prefix(name)).map_or(0.0, |count| count.parse().expect("a number"))
}

#[test]
fn a_client_that_reads_slowly_gets_all_it_asked_for() {
    let redis = Redis::start();
    let limits = ["session.output_pause_bytes=65536", "session.output_close_bytes=16777216"];
    let sidecar = Sidecar::start(&redis.url(), &[&limits[..], &["session.output_stall_ms=600000"]].concat());
    let mut slow = one_who_does_not_read(&sidecar, 600);
    for place in 0..600 {
        assert_eq!(slow.reply(), Reply::bulk("x".repeat(100_000)), "{place}");
    }
    assert_eq!(slow.call("ECHO end"), Reply::bulk("end"));
}

#[test]
fn a_client_that_takes_nothing_of_too_much_is_closed_in_the_end_and_others_go_on() {
    let redis = Redis::start();
    let limits = ["session.output_pause_bytes=65536", "session.output_close_bytes=16777216"];
    let others = ["upstream.links=1", "session.output_stall_ms=50"];
    let sidecar = Sidecar::start(&redis.url(), &[limits, others].concat());
    // More than the socket's buffers hold besides, and less than four times the limit.
    let mut deaf = one_who_does_not_read(&sidecar, 450);
    until("it is closed", SOON, || {
        assert_eq!(sidecar.conn().call("ECHO x"), Reply::bulk("x"));
        let closed = figure(&sidecar, "inventory_sentinel_errors_total{origin=\"client\",kind=\"slow_reader\"} ");
        (closed == 1.0).then_some(())
    });
    let got = std::iter::from_fn(|| deaf.try_reply().ok()).count();
    assert!(got < 450, "it got all");
}
