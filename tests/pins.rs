//! A client that needs a connection of its own gets one for it, not one after the other.

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
