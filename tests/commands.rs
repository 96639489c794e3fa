//! Every inventory command and every error of it, as the bytes that a client sends and sees.

mod common;
mod commands {
    mod arguments;
    mod refusals;
}

use std::time::{SystemTime, UNIX_EPOCH};

use common::resp::encode;
use common::{Conn, Redis, Reply, Sidecar, Stock, show, stock, words};

const CLOCK: &str = "test:clock";

struct Rig {
    redis: Redis,
    sidecar: Sidecar,
    now: i64,
}

impl Rig {
    /// A standing clock, so that every answer is known to the millisecond.
    fn new() -> Self {
        let redis = Redis::start();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as i64;
        redis.set_clock(CLOCK, now);
        let sidecar = Sidecar::start_with_clock(&redis.url(), CLOCK, &[]);
        Self { redis, sidecar, now }
    }

    fn advance(&mut self, ms: i64) {
        self.now += ms;
        self.redis.set_clock(CLOCK, self.now);
    }

    /// Everything that the inventory stores, byte for byte.
    fn stored(&self) -> Vec<(Vec<u8>, Reply)> {
        let mut upstream = self.redis.conn();
        let mut keys: Vec<Vec<u8>> = upstream
            .call("KEYS inv1:*")
            .items()
            .iter()
            .map(|key| match key {
                Reply::Bulk(key) => key.clone(),
                other => panic!("a key: {other:?}"),
            })
            .collect();
        keys.sort();
        keys.into_iter()
            .map(|key| {
                let dump = upstream.call_args(&[b"DUMP".as_slice(), &key]);
                (key, dump)
            })
            .collect()
    }
}

/// `line`, typed, answers exactly `wanted`, where `\n` stands for CR LF.
#[track_caller]
fn says(conn: &mut Conn, line: &str, wanted: &str) {
    conn.send_args(&words(line));
    let got = conn.raw();
    let wanted = wanted.replace('\n', "\r\n");
    assert!(got == wanted.as_bytes(), "{line}: wanted {}, got {}", show(wanted.as_bytes()), show(&got));
}

#[test]
fn the_life_of_a_reservation_in_resp2_byte_for_byte() {
    let mut rig = Rig::new();
    let mut conn = rig.sidecar.conn();
    let c = &mut conn;
    let expires = rig.now + 300_000;
    says(c, "INV.SETSTOCK tee 10", "+OK\n");
    says(c, "INV.SETSTOCK tee 10 NX", "$-1\n");
    says(c, "INV.SETSTOCK mug 10 XX", "$-1\n");
    says(c, "INV.ADDSTOCK tee 5", ":15\n");
    says(c, "INV.ADDSTOCK tee -5", ":10\n");
    says(c, "INV.RESERVE tee 4 ID order-17", "$10\n0-order-17\n");
    says(
        c,
        "INV.GET 0-order-17",
        &format!(
            "*14\n$2\nid\n$10\n0-order-17\n$3\nsku\n$3\ntee\n$8\nquantity\n:4\n$5\nstate\n$4\nopen\n$10\nexpires_ms\n:{expires}\n$8\ncustomer\n$-1\n$9\nreference\n$-1\n"
        ),
    );
    says(
        c,
        "INV.STOCK tee",
        "*14\n$3\nsku\n$3\ntee\n$5\ntotal\n:10\n$9\navailable\n:6\n$8\nreserved\n:4\n$9\ncommitted\n:0\n$9\nprotected\n:0\n$5\nlimit\n$-1\n",
    );
    says(c, "INV.EXTEND 0-order-17 EX 60", &format!(":{}\n", rig.now + 60_000));
    says(c, "INV.COMMIT 0-order-17 REF invoice-9", "+OK\n");
    says(c, "INV.COMMIT 0-order-17 REF invoice-9", "+OK\n");
    says(
        c,
        "INV.GET 0-order-17",
        &format!(
            "*14\n$2\nid\n$10\n0-order-17\n$3\nsku\n$3\ntee\n$8\nquantity\n:4\n$5\nstate\n$9\ncommitted\n$10\nexpires_ms\n:{}\n$8\ncustomer\n$-1\n$9\nreference\n$9\ninvoice-9\n",
            rig.now + 60_000
        ),
    );
    says(c, "INV.STOCK nope", "$-1\n");
    says(
        c,
        "INV.STOCK nope tee",
        "*2\n$-1\n*14\n$3\nsku\n$3\ntee\n$5\ntotal\n:10\n$9\navailable\n:6\n$8\nreserved\n:0\n$9\ncommitted\n:4\n$9\nprotected\n:0\n$5\nlimit\n$-1\n",
    );
    says(c, "INV.GET 0-nope", "$-1\n");
    says(c, "INV.PROTECT tee hat", ":2\n");
    says(c, "INV.PROTECT tee", ":0\n");
    says(c, "INV.ISPROTECTED tee", ":1\n");
    says(c, "INV.ISPROTECTED tee nope hat", "*3\n:1\n:0\n:1\n");
    says(c, "INV.UNPROTECT tee nope", ":1\n");
    says(c, "INV.ISPROTECTED tee", ":0\n");
    says(c, "INV.RESERVE tee 1 PX 10 ID brief", "$7\n0-brief\n");
    says(c, "INV.ROLLBACK 0-brief", "+OK\n");
    says(c, "INV.ROLLBACK 0-brief", "+OK\n");
    says(c, "INV.REAP", ":0\n");
    rig.advance(1);
    says(c, "INV.REAP COUNT 10", ":0\n");
}

#[test]
fn the_life_of_a_reservation_in_resp3_byte_for_byte() {
    let rig = Rig::new();
    let mut conn = rig.sidecar.conn3();
    let c = &mut conn;
    let expires = rig.now + 300_000;
    says(c, "INV.SETSTOCK tee 10", "+OK\n");
    says(c, "INV.SETSTOCK tee 10 NX", "_\n");
    says(c, "INV.SETSTOCK mug 10 XX", "_\n");
    says(c, "INV.ADDSTOCK tee 5", ":15\n");
    says(c, "INV.RESERVE tee 4 ID order-17", "$10\n0-order-17\n");
    says(
        c,
        "INV.GET 0-order-17",
        &format!(
            "%7\n$2\nid\n$10\n0-order-17\n$3\nsku\n$3\ntee\n$8\nquantity\n:4\n$5\nstate\n$4\nopen\n$10\nexpires_ms\n:{expires}\n$8\ncustomer\n_\n$9\nreference\n_\n"
        ),
    );
    let tee = "%7\n$3\nsku\n$3\ntee\n$5\ntotal\n:15\n$9\navailable\n:11\n$8\nreserved\n:4\n$9\ncommitted\n:0\n$9\nprotected\n:0\n$5\nlimit\n_\n";
    says(c, "INV.STOCK tee", tee);
    says(c, "INV.STOCK nope", "_\n");
    says(c, "INV.STOCK nope tee nope", &format!("*3\n_\n{tee}_\n"));
    says(c, "INV.GET 0-nope", "_\n");
    says(c, "INV.COMMIT 0-order-17", "+OK\n");
    says(c, "INV.ISPROTECTED tee nope", "*2\n:0\n:0\n");
    says(c, "INV.REAP", ":0\n");
}

#[test]
fn a_connection_changes_its_protocol_in_the_middle_of_a_pipeline() {
    let rig = Rig::new();
    let mut conn = rig.sidecar.conn();
    let replies = conn.pipeline(&[
        words("INV.GET 0-x"),
        words("HELLO 3"),
        words("INV.GET 0-x"),
        words("HELLO 2"),
        words("INV.GET 0-x"),
    ]);
    assert_eq!(replies[0], Reply::NilBulk);
    assert!(matches!(replies[1], Reply::Map(_)), "{:?}", replies[1]);
    assert_eq!(replies[2], Reply::Null);
    assert!(matches!(replies[3], Reply::Array(_)), "{:?}", replies[3]);
    assert_eq!(replies[4], Reply::NilBulk);
}

#[test]
fn command_names_and_options_are_case_insensitive_and_skus_are_not() {
    let rig = Rig::new();
    let mut conn = rig.sidecar.conn();
    conn.call("inv.setstock tee 5 nx").expect_ok();
    assert_eq!(conn.call("Inv.Reserve tee 1 pX 1000 iD a"), Reply::bulk("0-a"));
    conn.call("inv.RESERVE TEE 1").expect_error("UNKNOWNSKU");
    conn.call("INV.commit 0-a ref R").expect_ok();
    conn.call("INV.COMMIT 0-a REF r").expect_error("ALREADYCOMMITTED");
    assert_eq!(conn.call("inv.reap count 5"), Reply::Int(0));
}

#[test]
fn inventory_commands_may_come_inline_and_byte_by_byte() {
    let rig = Rig::new();
    let mut conn = rig.sidecar.conn();
    conn.exchange(b"INV.SETSTOCK tee 5\r\n", b"+OK\r\n");
    conn.exchange(b"inv.reserve \"tee\" 1 ID 'a b'\n", b"$5\r\n0-a b\r\n");
    for byte in encode(&["INV.COMMIT", "0-a b"]) {
        conn.send(&[byte]);
    }
    conn.expect(b"+OK\r\n");
}

#[test]
fn an_extension_counts_from_now_and_its_cap_from_the_making() {
    let mut rig = Rig::new();
    let mut conn = rig.sidecar.conn();
    conn.call("INV.SETSTOCK tee 5").expect_ok();
    let made = rig.now;
    conn.call("INV.RESERVE tee 1 ID a PX 86400000").text();
    rig.advance(1_000);
    conn.call("INV.EXTEND 0-a PX 86400000").expect_error("INVALIDTTL");
    conn.call("INV.EXTEND 0-a PX 86399001").expect_error("INVALIDTTL");
    assert_eq!(conn.call("INV.EXTEND 0-a PX 86399000"), Reply::Int(made + 86_400_000));
    assert_eq!(conn.call("INV.EXTEND 0-a PX 1"), Reply::Int(made + 1_001));
}

#[test]
fn help_is_lines_that_tell_of_every_command() {
    let rig = Rig::new();
    for mut conn in [rig.sidecar.conn(), rig.sidecar.conn3()] {
        let help = conn.call("INV.HELP");
        let text: String = help.items().iter().map(|line| line.text() + "\n").collect();
        for name in [
            "SETSTOCK",
            "ADDSTOCK",
            "RESERVE",
            "COMMIT",
            "ROLLBACK",
            "EXTEND",
            "GET",
            "STOCK",
            "PROTECT",
            "UNPROTECT",
            "ISPROTECTED",
            "REAP",
            "HELP",
        ] {
            assert!(text.contains(&format!("INV.{name}")), "INV.{name} is not in {text}");
        }
    }
}

#[test]
fn a_force_below_what_is_reserved_lets_available_go_negative_and_cancels_nothing() {
    let rig = Rig::new();
    let mut conn = rig.sidecar.conn();
    conn.call("INV.SETSTOCK tee 5").expect_ok();
    conn.call("INV.RESERVE tee 4 ID a").text();
    conn.call("INV.SETSTOCK tee 3").expect_error("BELOWRESERVED");
    conn.call("INV.SETSTOCK tee 3 FORCE").expect_ok();
    assert_eq!(stock(&mut conn, "tee"), Stock { available: -1, reserved: 4, committed: 0 });
    let refusal = conn.call("INV.RESERVE tee 1");
    refusal.expect_error("INSUFFICIENTSTOCK");
    assert_eq!(refusal.error_field("available"), Some(-1), "{refusal:?}");
    conn.call("INV.COMMIT 0-a").expect_ok();
    assert_eq!(stock(&mut conn, "tee"), Stock { available: -1, reserved: 0, committed: 4 });
    assert_eq!(conn.call("INV.ADDSTOCK tee 1"), Reply::Int(0));
}

#[test]
fn an_id_that_the_sidecar_mints_is_its_cell_and_twenty_two_characters_and_never_the_same() {
    let rig = Rig::new();
    let mut conn = rig.sidecar.conn();
    conn.call("INV.SETSTOCK tee 1000").expect_ok();
    let mut ids: Vec<String> =
        conn.pipeline(&vec![words("INV.RESERVE tee 1"); 1_000]).iter().map(Reply::text).collect();
    for id in &ids {
        assert!(id.starts_with("0-") && id.len() == 24, "{id}");
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 1_000);
}

#[test]
fn a_namespace_of_several_cells_keeps_each_sku_with_its_reservations() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &["inventory.cells=8"]);
    let mut conn = sidecar.conn();
    let mut cells = std::collections::BTreeSet::new();
    for i in 0..40 {
        conn.call(&format!("INV.SETSTOCK sku-{i} 2")).expect_ok();
        for request in [format!("INV.RESERVE sku-{i} 1 ID order-{i}"), format!("INV.RESERVE sku-{i} 1")] {
            let id = conn.call(&request).text();
            cells.insert(id.split('-').next().expect("a cell").to_string());
            assert_eq!(conn.call(&format!("INV.GET {id}")).field("sku"), Reply::bulk(format!("sku-{i}")));
            conn.call(&format!("INV.COMMIT {id}")).expect_ok();
        }
    }
    assert!(cells.len() > 3, "{cells:?}");
    let names: Vec<String> = (0..40).map(|i| format!("sku-{i}")).collect();
    let all = conn.call(&format!("INV.STOCK {} nope", names.join(" ")));
    assert_eq!(all.items().len(), 41);
    for (name, told) in names.iter().zip(all.items()) {
        assert_eq!(told.field("sku"), Reply::bulk(name));
        assert_eq!(Stock::of(told).total(), 2);
    }
    assert!(all.items()[40].is_nil());
    assert_eq!(conn.call(&format!("INV.PROTECT {}", names.join(" "))), Reply::Int(40));
    assert_eq!(conn.call(&format!("INV.ISPROTECTED {}", names.join(" "))), Reply::Array(vec![Reply::Int(1); 40]));
}

#[test]
fn one_refused_operation_of_a_batch_leaves_the_others_alone() {
    let rig = Rig::new();
    let mut conn = rig.sidecar.conn();
    conn.call("INV.SETSTOCK tee 10").expect_ok();
    let replies = conn.pipeline(&[
        words("INV.RESERVE tee 4 ID a"),
        words("INV.RESERVE tee 7 ID b"),
        words("INV.RESERVE nope 1"),
        words("INV.COMMIT 0-a"),
        words("INV.COMMIT 0-a"),
        words("INV.RESERVE tee 0"),
        words("INV.RESERVE tee 6 ID c"),
        words("INV.ROLLBACK 0-c"),
        words("INV.RESERVE tee 6 ID d"),
    ]);
    let told: Vec<String> = replies
        .iter()
        .map(|reply| match reply.error_word() {
            "" if reply.is_ok() => "OK".to_owned(),
            "" => reply.text(),
            word => word.to_owned(),
        })
        .collect();
    assert_eq!(
        told,
        ["0-a", "INSUFFICIENTSTOCK", "UNKNOWNSKU", "OK", "ALREADYCOMMITTED", "INVALIDAMOUNT", "0-c", "OK", "0-d"]
    );
    assert_eq!(stock(&mut conn, "tee"), Stock { available: 0, reserved: 6, committed: 4 });
}
