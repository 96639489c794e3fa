//! One client's operations take effect in its order, however they fall into batches.

mod common;

use common::{Redis, Reply, Sidecar, words};

#[test]
fn a_clients_operations_take_effect_in_its_order_over_many_batches_in_flight() {
    let redis = Redis::start();
    // A batch for each operation, and eight connections for them to overtake each other on.
    let sidecar = Sidecar::start(&redis.url(), &["inventory.batch_ops_max=1", "upstream.pool_size=8"]);
    let mut conn = sidecar.conn();
    conn.call("INV.SETSTOCK sku 1000").expect_ok();
    let mut requests = Vec::new();
    for i in 0..100 {
        for line in ["INV.RESERVE sku 1 ID", "INV.COMMIT", "INV.COMMIT", "INV.GET"] {
            let id = if line.ends_with("ID") { format!("o{i}") } else { format!("0-o{i}") };
            requests.push(words(&format!("{line} {id}")));
        }
    }
    for replies in conn.pipeline(&requests).chunks(4) {
        assert!(replies[0].text().starts_with("0-o"), "{:?}", replies[0]);
        replies[1].expect_ok();
        replies[2].expect_error("ALREADYCOMMITTED");
        assert_eq!(replies[3].field("state"), Reply::bulk("committed"));
    }
}

#[test]
fn many_clients_keep_their_own_order_at_once() {
    let redis = Redis::start();
    let settings = ["inventory.batch_ops_max=3", "upstream.pool_size=4", "inventory.cells=4"];
    let sidecar = Sidecar::start(&redis.url(), &settings);
    sidecar.conn().call("INV.SETSTOCK sku 100000").expect_ok();
    std::thread::scope(|scope| {
        for client in 0..16 {
            let sidecar = &sidecar;
            scope.spawn(move || {
                let mut conn = sidecar.conn();
                for round in 0..10 {
                    let own = format!("c{client}-{round}");
                    let id = conn.call(&format!("INV.RESERVE sku 1 ID {own}")).text();
                    let requests: Vec<_> = [
                        format!("INV.EXTEND {id} PX 60000"),
                        format!("SET {own} 1"),
                        format!("INV.ROLLBACK {id}"),
                        format!("INCR {own}"),
                        format!("INV.COMMIT {id}"),
                        "PING".to_owned(),
                        format!("INV.GET {id}"),
                        format!("GET {own}"),
                    ]
                    .iter()
                    .map(|line| words(line))
                    .collect();
                    let replies = conn.pipeline(&requests);
                    assert!(replies[0].int() > 0);
                    replies[1].expect_ok();
                    replies[2].expect_ok();
                    assert_eq!(replies[3], Reply::Int(2));
                    replies[4].expect_error("ROLLEDBACK");
                    assert_eq!(replies[5].text(), "PONG");
                    assert_eq!(replies[6].field("state"), Reply::bulk("rolledback"));
                    assert_eq!(replies[7], Reply::bulk("2"));
                }
            });
        }
    });
}

#[test]
fn what_a_client_resets_is_over_upstream_before_its_next_command() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    let lines = ["HELLO 3", "SUBSCRIBE a", "RESET", "PUBLISH a x"];
    std::thread::scope(|scope| {
        for client in 0..8 {
            let mut conn = sidecar.conn();
            scope.spawn(move || {
                for round in 0..200 {
                    // A channel of its own, that nobody else could be subscribed to.
                    let requests = lines.map(|line| words(&line.replace(" a", &format!(" c{client}"))));
                    assert_eq!(conn.pipeline(&requests)[3], Reply::Int(0), "{client}, {round}");
                }
            });
        }
    });
}

#[test]
fn a_client_is_shown_with_the_last_command_that_was_taken_off_whatever_begins_behind_it() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    let (mut conn, mut other) = (sidecar.conn(), sidecar.conn());
    let id = conn.call("CLIENT ID").int();
    let mut shown = || other.call(&format!("CLIENT LIST ID {id}")).text();
    for (begun, rest) in [("*3\r\n$6\r\nINCRBY\r\n$1\r\nn\r\n$1\r\n", "1\r\n"), ("*2\r\n$3\r\nGET\r\n$2\r\n", "kk\r\n")]
    {
        let before = "*3\r\n$3\r\nset\r\n$1\r\nk\r\n$1\r\nv\r\n*2\r\n$4\r\nMGET\r\n$1\r\nk\r\n";
        conn.send(&[before.as_bytes(), begun.as_bytes()].concat());
        assert_eq!((conn.reply(), conn.reply()), (Reply::ok(), Reply::Array(vec![Reply::bulk("v")])));
        assert!(shown().contains(" cmd=mget "), "{}", shown());
        conn.send(rest.as_bytes());
        conn.reply();
    }
    assert!(shown().contains(" cmd=get "), "{}", shown());
}
