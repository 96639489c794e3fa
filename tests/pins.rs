//! A client that needs a connection of its own gets one for it, not one after the other, and for no longer than it is there.

mod common;

use common::resp::encode;
use common::{Conn, Redis, Reply, Sidecar, figure, until, words};

/// As many connections as wait for their next clients, and one more.
const WARM: usize = 33;

#[test]
fn a_request_that_waits_for_its_connections_greeting_keeps_that_connection() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    // So many others wait that no further one is kept.
    let mut others: Vec<Conn> = (0..WARM).map(|_| sidecar.conn()).collect();
    others.iter_mut().for_each(|conn| conn.call("WATCH k").expect_ok());
    others.iter_mut().for_each(|conn| conn.call("UNWATCH").expect_ok());
    until("they are given back", common::SOON, || {
        (figure(&sidecar, "inventory_sentinel_pinned_clients ") == 0.0).then_some(())
    });

    // What is sent ahead of its first request: database and protocol, and a name. Each of these waits until that is answered.
    for (reason, line) in [("subscription", "SUBSCRIBE channel"), ("raw", "MONITOR")] {
        let mut conn = sidecar.conn3();
        conn.call("SELECT 9").expect_ok();
        conn.call(&format!("CLIENT SETNAME {reason}")).expect_ok();
        conn.send(&encode(&words(line)));
        assert!(!matches!(conn.reply(), Reply::Error(_)), "{line}");
        let pins = figure(&sidecar, &format!("inventory_sentinel_pins_total{{reason=\"{reason}\"}} "));
        assert_eq!(pins, 1.0, "connections for one {line}");
    }
}

#[test]
fn a_large_request_that_was_cut_off_before_it_could_begin_keeps_no_connection() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &["session.request_stream_bytes=1024"]);
    let mut conn = sidecar.conn();
    conn.call("SET k v").expect_ok();
    let before = figure(&sidecar, "inventory_sentinel_bytes_total{direction=\"client_in\"} ");

    // The client's end is here before the reply that the large request has to wait for.
    redis.stop();
    let large = encode(&["SET", "k", &"x".repeat(4000)]);
    let sent = [&encode(&["GET", "k"])[..], &large[..3000]].concat();
    conn.send(&sent);
    conn.half_close();
    until("all of it is read", common::SOON, || {
        let read = figure(&sidecar, "inventory_sentinel_bytes_total{direction=\"client_in\"} ");
        (read >= before + sent.len() as f64).then_some(())
    });
    redis.cont();

    assert_eq!(conn.reply(), Reply::bulk("v"));
    conn.expect_close();
    assert_eq!(figure(&sidecar, "inventory_sentinel_pinned_clients "), 0.0);
    assert_eq!(redis.conn().call("GET k"), Reply::bulk("v"));
}
