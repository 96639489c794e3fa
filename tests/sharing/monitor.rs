//! MONITOR shows what clients send, and nothing of the sidecar's greetings.

use crate::common::resp::encode;
use crate::common::{Conn, Redis, Reply, SOON, Sidecar, until, words};
use crate::pinned;

#[test]
fn a_monitor_is_acknowledged_first_however_soon_after_the_greeting_it_is_asked_for() {
    let redis = Redis::start();
    redis.conn().call("ACL SETUSER app on >secret ~* &* +@all").expect_ok();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    let mut monitors = Vec::new();
    for greeting in [
        &["HELLO 3"][..],
        &["HELLO 3", "CLIENT SETNAME me", "SELECT 1"],
        &["HELLO 3 AUTH app secret SETNAME me"],
        &["AUTH app secret", "CLIENT SETNAME me", "SELECT 1"],
        &["PING"],
    ] {
        for round in 0..51 {
            let mut conn = sidecar.conn();
            let hello = greeting.iter().map(|line| encode(&words(line))).collect::<Vec<_>>().concat();
            let monitor = encode(&["MONITOR"]);
            let greeted = |conn: &mut Conn| {
                for line in greeting {
                    let reply = conn.reply();
                    assert!(!matches!(reply, Reply::Error(_)), "{line}: {reply:?}");
                    assert_eq!(matches!(reply, Reply::Map(_)), line.starts_with("HELLO"), "{line}: {reply:?}");
                }
            };
            match round % 3 {
                // In one write, in two, and when the greeting is answered.
                0 => conn.send(&[hello, monitor].concat()),
                1 => [hello, monitor].iter().for_each(|bytes| conn.send(bytes)),
                _ => {
                    conn.send(&hello);
                    greeted(&mut conn);
                    conn.send(&monitor);
                }
            }
            if round % 3 != 2 {
                greeted(&mut conn);
            }
            assert_eq!(conn.reply(), Reply::ok(), "{greeting:?}, {round}");
            // What is left is monitored, and nothing of a greeting.
            sidecar.conn().call(&format!("SET k {round}")).expect_ok();
            until("the command is shown", SOON, || {
                let line = conn.reply();
                assert!(matches!(line, Reply::Simple(_)), "{greeting:?}, {round}: {line:?}");
                line.text().ends_with(&format!("\"SET\" \"k\" \"{round}\"")).then_some(())
            });
            // Some stay, so that it is not always the same connection.
            if round % 4 == 0 {
                monitors.push(conn);
            }
        }
    }
}

#[test]
fn a_monitor_shows_what_clients_send_and_not_how_the_sidecar_greets() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    // The first client of all, so that nothing is greeted yet: all that others need is to be there before.
    let mut monitor = sidecar.conn();
    monitor.call("MONITOR").expect_ok();
    let (mut ordinary, mut waiting) = (sidecar.conn(), sidecar.conn());
    ordinary.call("SET k v").expect_ok();
    assert_eq!(waiting.call("GET k"), Reply::bulk("v"));
    // Each with a connection of its own: the second one is there, the other is the first one's again.
    waiting.exchange(&encode(&words("BLPOP none 0.01")), b"*-1\r\n");
    waiting.call("WATCH k").expect_ok();
    drop(waiting);
    comes_to_be_unpinned_but(&sidecar, 1.0);
    ordinary.call("SET k w").expect_ok();
    ordinary.call("SET end 1").expect_ok();
    let mut shown = Vec::new();
    while shown.last().is_none_or(|last| last != "\"SET\" \"end\" \"1\"") {
        let line = monitor.reply().text();
        let (_, request) = line.split_once("] ").unwrap_or_else(|| panic!("{line}"));
        // The sidecar's own inventory is looked after all the time.
        if !request.starts_with("\"EVALSHA\"") && !line.contains(" lua] ") {
            shown.push(request.to_owned());
        }
    }
    let sent = ["SET k v", "GET k", "BLPOP none 0.01", "WATCH k", "SET k w", "SET end 1"];
    let sent = sent.map(|line| line.split(' ').map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(" "));
    assert_eq!(shown, sent);
    // When nobody looks there are spare ones again.
    drop(monitor);
    until("spare connections are made again", SOON, || {
        let (_, text) = sidecar.http("/metrics");
        let warm = "inventory_sentinel_upstream_connections{kind=\"warm\"} ";
        text.lines().find_map(|line| line.strip_prefix(warm)).is_some_and(|count| count != "0").then_some(())
    });
}

#[track_caller]
fn comes_to_be_unpinned_but(sidecar: &Sidecar, left: f64) {
    until("the others are unpinned", SOON, || (pinned(sidecar) == left).then_some(()));
}
