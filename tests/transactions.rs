//! Commands of the inventory inside a client's own MULTI: queued, executed with its other commands, answered at their place.

mod common;

use common::{Conn, Redis, Reply, Sidecar, assert_account, stock, words};

fn lines(lines: &[&str]) -> Vec<Vec<Vec<u8>>> {
    lines.iter().map(|line| words(line)).collect()
}

/// Sends MULTI, these and EXEC in one write. Returns the replies to these and EXEC's.
fn transaction(conn: &mut Conn, queued: &[&str]) -> (Vec<Reply>, Reply) {
    let mut all = vec!["MULTI"];
    all.extend(queued);
    all.push("EXEC");
    let mut replies = conn.pipeline(&lines(&all));
    let exec = replies.pop().expect("EXEC's reply");
    replies.remove(0).expect_ok();
    (replies, exec)
}

fn queued() -> Reply {
    Reply::Simple("QUEUED".into())
}

#[test]
fn a_reservation_and_ordinary_commands_happen_together_and_are_answered_in_order() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    let mut conn = sidecar.conn();
    conn.call("INV.SETSTOCK tee 10").expect_ok();
    let (told, exec) = transaction(
        &mut conn,
        &[
            "SET order 7",
            "INV.RESERVE tee 4 ID o7",
            "INCR order",
            "INV.COMMIT 0-o7 REF r",
            "INV.RESERVE tee 7 ID o8",
            "GET order",
        ],
    );
    assert_eq!(told, vec![queued(); 6]);
    let items = exec.items();
    assert_eq!(items.len(), 6);
    items[0].expect_ok();
    assert_eq!((&items[1], &items[2], &items[3]), (&Reply::bulk("0-o7"), &Reply::Int(8), &Reply::ok()));
    items[4].expect_error("INSUFFICIENTSTOCK");
    assert_eq!((items[4].error_field("requested"), items[4].error_field("available")), (Some(7), Some(6)));
    assert_eq!(items[5], Reply::bulk("8"));
    let tee = assert_account(&mut conn, &mut redis.conn(), "default", "tee", 10);
    assert_eq!((tee.available, tee.reserved, tee.committed), (6, 0, 4));
}

#[test]
fn every_command_answers_inside_a_transaction_as_outside_over_resp2_and_resp3() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &["inventory.cells=4"]);
    for (mut conn, name) in [(sidecar.conn(), "two"), (sidecar.conn3(), "three")] {
        let tee = format!("tee{{{name}}}");
        let setup = [
            format!("INV.SETSTOCK {tee} 5"),
            format!("INV.SETSTOCK mug-{name} 3"),
            format!("INV.SETSTOCK cap-{name} 3"),
        ];
        setup.iter().for_each(|line| conn.call(line).expect_ok());
        let id = conn.call(&format!("INV.RESERVE {tee} 2 ID a")).text();
        let asked = [
            format!("INV.STOCK {tee} mug-{name} none cap-{name}"),
            format!("INV.GET {id}"),
            "INV.GET 0-nobody".to_owned(),
            format!("INV.PROTECT {tee} mug-{name}"),
            format!("INV.ISPROTECTED {tee} mug-{name} cap-{name}"),
            format!("INV.UNPROTECT {tee} mug-{name}"),
            "INV.HELP".to_owned(),
            "INV.REAP".to_owned(),
            format!("INV.ROLLBACK {id}"),
            format!("INV.SETSTOCK {tee} 9 NX"),
            format!("INV.ADDSTOCK {tee} 1"),
        ];
        let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
        let (told, exec) = transaction(&mut conn, &asked);
        assert_eq!(told, vec![queued(); asked.len()]);
        // The same again outside, from the same state.
        conn.call(&format!("INV.ADDSTOCK {tee} -1"));
        let id = conn.call(&format!("INV.RESERVE {tee} 2 ID b")).text();
        let again: Vec<String> = asked.iter().map(|line| line.replace("-a", "-b")).collect();
        for (line, inside) in again.iter().zip(exec.items()) {
            let mut outside = conn.call(line);
            let mut inside = inside.clone();
            if line.starts_with(&format!("INV.GET {id}")) {
                (outside, inside) = (outside.field("state"), inside.field("state"));
            }
            assert_eq!(inside, outside, "{line}");
        }
    }
}

#[test]
fn what_a_transaction_queued_happens_not_at_all_where_it_is_given_up() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    let mut conn = sidecar.conn();
    conn.call("INV.SETSTOCK tee 10").expect_ok();
    for line in ["MULTI", "INV.RESERVE tee 1", "DISCARD"] {
        assert!(!matches!(conn.call(line), Reply::Error(_)), "{line}");
    }
    // A bad command of the inventory is as any other bad command.
    let (told, exec) = transaction(&mut conn, &["INV.RESERVE tee 1", "INV.RESERVE tee 0", "SET k v"]);
    told[1].expect_error("INVALIDAMOUNT");
    exec.expect_error("EXECABORT");
    // A watched key that changed.
    conn.call("WATCH w").expect_ok();
    redis.conn().call("SET w 1").expect_ok();
    assert!(transaction(&mut conn, &["INV.RESERVE tee 1"]).1.is_nil());
    assert_eq!(stock(&mut conn, "tee").available, 10);
    assert!(redis.conn().call("GET k").is_nil());
}

#[test]
fn the_inventory_is_in_its_own_database_also_inside_a_transaction() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    let mut conn = sidecar.conn();
    conn.call("INV.SETSTOCK tee 10").expect_ok();
    conn.call("SELECT 3").expect_ok();
    let (told, exec) = transaction(&mut conn, &["SET k v", "INV.RESERVE tee 1 ID x", "GET k", "INV.COMMIT 0-x"]);
    assert_eq!(told, vec![queued(); 4]);
    assert_eq!(exec, Reply::Array(vec![Reply::ok(), Reply::bulk("0-x"), Reply::bulk("v"), Reply::ok()]));
    let mut upstream = redis.conn();
    assert_eq!(upstream.call("DBSIZE"), Reply::Int(redis.conn().call("KEYS inv1:*").items().len() as i64));
    upstream.call("SELECT 3").expect_ok();
    assert_eq!(upstream.call("KEYS *"), Reply::Array(vec![Reply::bulk("k")]));
    assert_eq!(conn.call("GET k"), Reply::bulk("v"));
    assert_eq!(stock(&mut conn, "tee").committed, 1);
    // Where the client changes its database meanwhile it could not be told where it is.
    let (told, exec) = transaction(&mut conn, &["SELECT 0", "INV.RESERVE tee 1"]);
    told[1].expect_error("ERR");
    exec.expect_error("EXECABORT");
    assert_eq!(conn.call("GET k"), Reply::bulk("v"));
    // SELECT alone is followed.
    assert_eq!(transaction(&mut conn, &["SELECT 0", "SELECT 99"]).1.items().len(), 2);
    assert!(conn.call("GET k").is_nil());
}

#[test]
fn a_transaction_needs_no_script_to_be_loaded() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    let mut conn = sidecar.conn();
    conn.call("INV.SETSTOCK tee 10").expect_ok();
    let (told, exec) = transaction(&mut conn, &["SCRIPT FLUSH", "INV.RESERVE tee 1 ID x"]);
    assert_eq!((told, exec.items()[1].clone()), (vec![queued(); 2], Reply::bulk("0-x")));
    redis.conn().call("SCRIPT FLUSH").expect_ok();
    assert_eq!(transaction(&mut conn, &["INV.COMMIT 0-x"]).1, Reply::Array(vec![Reply::ok()]));
    assert_eq!(stock(&mut conn, "tee").committed, 1);
}
