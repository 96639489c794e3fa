//! Every inventory command and every error of it, as the bytes that a client sends and sees.

mod common;

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

/// Prepares `tee` (10 units: 2 in `open`, 1 sold in `sold`, 1 rolled back in `back`, 1 expired in `late`, all of own IDs)
/// and `full` (2^53-1 units).
fn prepare(rig: &mut Rig) {
    let mut conn = rig.sidecar.conn();
    for line in [
        "INV.SETSTOCK tee 10",
        "INV.RESERVE tee 1 PX 100 ID late",
        "INV.RESERVE tee 2 PX 5100 ID open",
        "INV.RESERVE tee 1 ID sold",
        "INV.COMMIT 0-sold REF invoice-1",
        "INV.RESERVE tee 1 ID back",
        "INV.ROLLBACK 0-back",
        "INV.SETSTOCK full 9007199254740991",
        "INV.ADDSTOCK tee 1 ID lorry-1",
        "INV.ADDSTOCK tee -1",
    ] {
        let reply = conn.call(line);
        assert!(!matches!(reply, Reply::Error(_)), "{line}: {reply:?}");
    }
    rig.advance(100);
    conn.call("INV.REAP").int();
}

#[test]
fn every_refusal_has_its_word_and_changes_nothing() {
    let mut rig = Rig::new();
    prepare(&mut rig);
    let long = "x".repeat(513);
    let cases: Vec<(String, &str)> = [
        ("INV.RESERVE nope 1", "UNKNOWNSKU"),
        ("INV.ADDSTOCK nope -1", "UNKNOWNSKU"),
        ("INV.RESERVE tee 8", "INSUFFICIENTSTOCK"),
        ("INV.RESERVE tee 8 ID fresh", "INSUFFICIENTSTOCK"),
        ("INV.ADDSTOCK tee -8", "INSUFFICIENTSTOCK"),
        ("INV.SETSTOCK tee 1", "BELOWRESERVED"),
        ("INV.ADDSTOCK full 1", "OVERFLOW"),
        ("INV.SETSTOCK tee 9007199254740991", "OVERFLOW"),
        ("INV.COMMIT 0-nope", "NOTFOUND"),
        ("INV.ROLLBACK 0-nope", "NOTFOUND"),
        ("INV.EXTEND 0-nope EX 5", "NOTFOUND"),
        // Not an id of this sidecar's making, a cell that is not, another's way to write a cell.
        ("INV.COMMIT open", "NOTFOUND"),
        ("INV.COMMIT 1-open", "NOTFOUND"),
        ("INV.COMMIT 00-open", "NOTFOUND"),
        ("INV.COMMIT -open", "NOTFOUND"),
        ("INV.COMMIT 0-", "NOTFOUND"),
        ("INV.COMMIT 99999999999999999999-open", "NOTFOUND"),
        ("INV.COMMIT 0-late", "EXPIRED"),
        ("INV.EXTEND 0-late EX 5", "EXPIRED"),
        ("INV.RESERVE tee 1 PX 100 ID late", "EXPIRED"),
        ("INV.COMMIT 0-sold", "ALREADYCOMMITTED"),
        ("INV.COMMIT 0-sold REF invoice-2", "ALREADYCOMMITTED"),
        ("INV.ROLLBACK 0-sold", "ALREADYCOMMITTED"),
        ("INV.EXTEND 0-sold EX 5", "ALREADYCOMMITTED"),
        ("INV.RESERVE tee 1 ID sold", "ALREADYCOMMITTED"),
        ("INV.COMMIT 0-back", "ROLLEDBACK"),
        ("INV.EXTEND 0-back EX 5", "ROLLEDBACK"),
        ("INV.RESERVE tee 1 ID back", "ROLLEDBACK"),
        ("INV.RESERVE tee 3 ID open", "CONFLICT"),
        ("INV.RESERVE full 2 ID open", "CONFLICT"),
        ("INV.RESERVE tee 2 ID sold", "CONFLICT"),
        ("INV.RESERVE tee 2 ID back", "CONFLICT"),
        ("INV.RESERVE tee 2 ID late", "CONFLICT"),
        ("INV.ADDSTOCK tee 2 ID lorry-1", "CONFLICT"),
        ("INV.ADDSTOCK full 1 ID lorry-1", "CONFLICT"),
        ("INV.EXTEND 0-open EX 86400", "INVALIDTTL"),
    ]
    .map(|(line, word)| (line.to_string(), word))
    .into_iter()
    .chain([
        (format!("INV.RESERVE {long} 1"), "ERR"),
        (format!("INV.SETSTOCK {long} 1"), "ERR"),
        (format!("INV.ADDSTOCK {long} 1"), "ERR"),
        (format!("INV.STOCK tee {long}"), "ERR"),
        (format!("INV.PROTECT {long}"), "ERR"),
        (format!("INV.ISPROTECTED {long}"), "ERR"),
        (format!("INV.RESERVE tee 1 ID {long}"), "ERR"),
        (format!("INV.ADDSTOCK tee 1 ID {long}"), "ERR"),
        (format!("INV.COMMIT 0-open REF {long}"), "ERR"),
    ])
    .collect();
    for protocol in [2, 3] {
        let mut conn = if protocol == 2 { rig.sidecar.conn() } else { rig.sidecar.conn3() };
        let before = rig.stored();
        for (line, word) in &cases {
            conn.send_args(&words(line));
            let bytes = conn.raw();
            assert!(
                bytes.starts_with(format!("-{word} ").as_bytes()) && bytes.ends_with(b"\r\n"),
                "{}: wanted -{word} …, got {}",
                show(line.as_bytes()),
                show(&bytes)
            );
            assert!(rig.stored() == before, "{} changed what is stored", show(line.as_bytes()));
        }
    }
}

#[test]
fn a_refusal_for_lack_of_stock_says_what_was_asked_what_is_there_and_when_to_come_again() {
    let mut rig = Rig::new();
    prepare(&mut rig);
    let mut conn = rig.sidecar.conn();
    let tail = |reply: &Reply| reply.text().split_once(" requested=").map(|(_, tail)| tail.to_string());
    let reply = conn.call("INV.RESERVE tee 9");
    assert_eq!(tail(&reply).as_deref(), Some("9 available=7 retry_ms=5000"), "{reply:?}");
    rig.advance(1);
    let reply = conn.call("INV.RESERVE tee 8 ID again");
    assert_eq!(tail(&reply).as_deref(), Some("8 available=7 retry_ms=4999"), "{reply:?}");
    conn.call("INV.ROLLBACK 0-open").expect_ok();
    let reply = conn.call("INV.RESERVE tee 10");
    assert_eq!(tail(&reply).as_deref(), Some("10 available=9"), "{reply:?}");
}

#[test]
fn quantities_are_strict_decimals_within_their_bounds() {
    let rig = Rig::new();
    let mut conn = rig.sidecar.conn();
    conn.call("INV.SETSTOCK tee 9007199254740991").expect_ok();
    let before = rig.stored();
    let never = [
        "+1",
        "-1",
        "01",
        "1.5",
        "1e3",
        "0x10",
        "abc",
        "1_000",
        "18446744073709551617",
        "99999999999999999999",
        "9007199254740992",
    ];
    for bad in never.iter().chain(&["0", "2147483648"]) {
        let reply = conn.call(&format!("INV.RESERVE tee {bad}"));
        assert_eq!(reply.error_word(), "INVALIDAMOUNT", "RESERVE {bad}: {reply:?}");
    }
    for bad in never {
        let reply = conn.call(&format!("INV.SETSTOCK tee {bad}"));
        assert_eq!(reply.error_word(), "INVALIDAMOUNT", "SETSTOCK {bad}: {reply:?}");
    }
    for bad in never.iter().filter(|bad| **bad != "-1").chain(&["0", "-0", "--1", "-9007199254740992"]) {
        let reply = conn.call(&format!("INV.ADDSTOCK tee {bad}"));
        assert_eq!(reply.error_word(), "INVALIDAMOUNT", "ADDSTOCK {bad}: {reply:?}");
    }
    for bad in ["", " 1", "1 ", "1\0", "\u{661}"] {
        for command in ["INV.RESERVE", "INV.SETSTOCK", "INV.ADDSTOCK"] {
            let reply = conn.call_args(&[command, "tee", bad]);
            assert_eq!(reply.error_word(), "INVALIDAMOUNT", "{command} {bad:?}: {reply:?}");
        }
    }
    assert!(rig.stored() == before);
    assert_eq!(conn.call("INV.RESERVE tee 2147483647 ID a"), Reply::bulk("0-a"));
    assert_eq!(conn.call("INV.ADDSTOCK tee -9007197107257344"), Reply::Int(0));
    assert_eq!(stock(&mut conn, "tee"), Stock { available: 0, reserved: 2_147_483_647, committed: 0 });
    conn.call("INV.SETSTOCK none 0").expect_ok();
    assert_eq!(stock(&mut conn, "none"), Stock::default());
    conn.call("INV.SETSTOCK all 9007199254740991").expect_ok();
    assert_eq!(stock(&mut conn, "all").available, 9_007_199_254_740_991);
    assert_eq!(conn.call("INV.ADDSTOCK all -9007199254740991"), Reply::Int(0));
    assert_eq!(conn.call("INV.ADDSTOCK all 9007199254740991"), Reply::Int(9_007_199_254_740_991));
}

#[test]
fn times_to_live_are_strict_decimals_from_one_millisecond_to_the_longest() {
    let rig = Rig::new();
    let mut conn = rig.sidecar.conn();
    conn.call("INV.SETSTOCK tee 100").expect_ok();
    conn.call("INV.RESERVE tee 1 ID a").text();
    let before = rig.stored();
    for (unit, bad) in [
        ("EX", "0"),
        ("EX", "-1"),
        ("EX", "+1"),
        ("EX", "01"),
        ("EX", "1.5"),
        ("EX", "abc"),
        ("EX", "86401"),
        ("EX", "9223372036854775807"),
        ("EX", "18446744073709551616"),
        ("PX", "0"),
        ("PX", "86400001"),
        ("PX", "9223372036854775808"),
    ] {
        for line in [format!("INV.RESERVE tee 1 {unit} {bad}"), format!("INV.EXTEND 0-a {unit} {bad}")] {
            let reply = conn.call(&line);
            assert_eq!(reply.error_word(), "INVALIDTTL", "{line}: {reply:?}");
        }
    }
    assert!(rig.stored() == before);
    for (ttl, ms) in [("PX 1", 1), ("PX 86400000", 86_400_000), ("EX 1", 1_000), ("EX 86400", 86_400_000)] {
        let id = conn.call(&format!("INV.RESERVE tee 1 {ttl}")).text();
        assert_eq!(conn.call(&format!("INV.GET {id}")).field("expires_ms"), Reply::Int(rig.now + ms), "{ttl}");
        assert_eq!(conn.call(&format!("INV.EXTEND {id} {ttl}")), Reply::Int(rig.now + ms), "{ttl}");
    }
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
fn names_are_any_bytes_from_one_to_five_hundred_and_twelve() {
    let rig = Rig::new();
    let mut conn = rig.sidecar.conn();
    let every_byte: Vec<u8> = (0..=255u8).collect();
    let longest = vec![b'z'; 512];
    let names: [&[u8]; 9] = [b"a", b" ", b"\0", b"\r\n", b"}", b"{x}y", b"a:b:\xff", &every_byte, &longest];
    for name in names {
        conn.call_args(&[b"INV.SETSTOCK".as_slice(), name, b"5"]).expect_ok();
        let id = conn.call_args(&[b"INV.RESERVE".as_slice(), name, b"2", b"ID", name]);
        let Reply::Bulk(id) = id else { panic!("{}: {id:?}", show(name)) };
        assert!(id == [b"0-".as_slice(), name].concat(), "{}", show(&id));
        let got = conn.call_args(&[b"INV.GET".as_slice(), &id]);
        assert_eq!((got.field("sku"), got.field("id")), (Reply::bulk(name), Reply::bulk(&id)));
        conn.call_args(&[b"INV.EXTEND".as_slice(), &id, b"EX", b"9"]).int();
        conn.call_args(&[b"INV.COMMIT".as_slice(), &id, b"REF", name]).expect_ok();
        assert_eq!(conn.call_args(&[b"INV.GET".as_slice(), &id]).field("reference"), Reply::bulk(name));
        assert_eq!(conn.call_args(&[b"INV.ADDSTOCK".as_slice(), name, b"1", b"ID", name]), Reply::Int(4));
        assert_eq!(conn.call_args(&[b"INV.PROTECT".as_slice(), name]), Reply::Int(1));
        assert_eq!(conn.call_args(&[b"INV.ISPROTECTED".as_slice(), name]), Reply::Int(1));
        let told = conn.call_args(&[b"INV.STOCK".as_slice(), name]);
        assert_eq!((told.field("sku"), told.field("protected")), (Reply::bulk(name), Reply::Int(1)));
        assert_eq!(Stock::of(&told), Stock { available: 4, reserved: 0, committed: 2 });
    }
}

#[test]
fn an_empty_name_is_emptykey_everywhere() {
    let rig = Rig::new();
    let mut conn = rig.sidecar.conn();
    conn.call("INV.SETSTOCK tee 5").expect_ok();
    conn.call("INV.RESERVE tee 1 ID a").text();
    let before = rig.stored();
    let requests: &[&[&str]] = &[
        &["INV.SETSTOCK", "", "1"],
        &["INV.ADDSTOCK", "", "1"],
        &["INV.ADDSTOCK", "tee", "1", "ID", ""],
        &["INV.RESERVE", "", "1"],
        &["INV.RESERVE", "tee", "1", "ID", ""],
        &["INV.COMMIT", ""],
        &["INV.COMMIT", "0-a", "REF", ""],
        &["INV.ROLLBACK", ""],
        &["INV.EXTEND", "", "EX", "5"],
        &["INV.GET", ""],
        &["INV.STOCK", "tee", ""],
        &["INV.PROTECT", ""],
        &["INV.UNPROTECT", "tee", ""],
        &["INV.ISPROTECTED", ""],
    ];
    for request in requests {
        let reply = conn.call_args(request);
        assert_eq!(reply.error_word(), "EMPTYKEY", "{request:?}: {reply:?}");
    }
    assert!(rig.stored() == before);
}

#[test]
fn a_wrong_number_of_arguments_is_worded_as_redis_words_it() {
    let rig = Rig::new();
    for mut conn in [rig.sidecar.conn(), rig.sidecar.conn3()] {
        for line in [
            "INV.SETSTOCK",
            "INV.SETSTOCK tee",
            "INV.ADDSTOCK",
            "INV.ADDSTOCK tee",
            "INV.RESERVE",
            "INV.RESERVE tee",
            "INV.COMMIT",
            "INV.ROLLBACK",
            "INV.EXTEND",
            "INV.EXTEND 0-a",
            "INV.EXTEND 0-a EX",
            "INV.GET",
            "INV.STOCK",
            "INV.PROTECT",
            "INV.UNPROTECT",
            "INV.ISPROTECTED",
            "inv.Reserve tee",
        ] {
            let name = line.split(' ').next().unwrap().to_lowercase();
            says(&mut conn, line, &format!("-ERR wrong number of arguments for '{name}' command\n"));
        }
    }
}

#[test]
fn options_that_are_unknown_doubled_or_not_yet_there_are_syntax_errors() {
    let rig = Rig::new();
    let mut conn = rig.sidecar.conn();
    conn.call("INV.SETSTOCK tee 5").expect_ok();
    conn.call("INV.RESERVE tee 1 ID a").text();
    let before = rig.stored();
    for line in [
        "INV.SETSTOCK tee 1 NX XX",
        "INV.SETSTOCK tee 1 FORCE FORCE",
        "INV.SETSTOCK tee 1 NX NX",
        "INV.SETSTOCK tee 1 WHAT",
        "INV.ADDSTOCK tee 1 ID",
        "INV.ADDSTOCK tee 1 WHAT x",
        "INV.ADDSTOCK tee 1 ID a ID a",
        "INV.RESERVE tee 1 EX",
        "INV.RESERVE tee 1 EX 5 PX 5",
        "INV.RESERVE tee 1 EX 5 EX 5",
        "INV.RESERVE tee 1 ID a ID a",
        "INV.RESERVE tee 1 WHAT",
        "INV.RESERVE tee 1 CUSTOMER ann",
        "INV.RESERVE tee 1 UPTO",
        "INV.RESERVE tee 1 5",
        "INV.COMMIT 0-a QTY 1",
        "INV.COMMIT 0-a RECLAIM",
        "INV.COMMIT 0-a REF",
        "INV.COMMIT 0-a REF r REF r",
        "INV.COMMIT 0-a WHAT",
        "INV.EXTEND 0-a WHAT 5",
        "INV.REAP WHAT",
        "INV.REAP COUNT",
        "INV.REAP COUNT 5 COUNT 5",
    ] {
        let reply = conn.call(line);
        assert!(reply.text().starts_with("ERR syntax error"), "{line}: {reply:?}");
    }
    for line in [
        "INV.REAP COUNT 0",
        "INV.REAP COUNT -1",
        "INV.REAP COUNT x",
        "INV.ROLLBACK 0-a more",
        "INV.GET 0-a more",
        "INV.EXTEND 0-a EX 5 PX 5",
    ] {
        let reply = conn.call(line);
        assert!(matches!(reply, Reply::Error(_)), "{line}: {reply:?}");
    }
    assert!(rig.stored() == before);
}

#[test]
fn commands_that_are_not_there_are_errors_that_name_them_on_one_line() {
    let rig = Rig::new();
    let mut conn = rig.sidecar.conn();
    for line in [
        "INV.MRESERVE ITEMS 1 a 1",
        "INV.LIST tee",
        "INV.LIMIT tee 1",
        "INV.CHECK ALL",
        "INV.EVENTS READ g c",
        "INV.WHAT",
        "inv.",
    ] {
        let reply = conn.call(line);
        assert_eq!(reply.error_word(), "ERR", "{line}: {reply:?}");
        let name = line.split(' ').next().unwrap();
        assert!(reply.text().contains(name), "{line}: {reply:?}");
    }
    for evil in ["INV.WHAT\r\n+OK", "NOPE\r\n+OK", "nope\nx"] {
        conn.call_args(&[evil, "a\r\nb"]).expect_error("ERR");
        assert_eq!(conn.call("ECHO still-in-step"), Reply::bulk("still-in-step"));
    }
    for request in [["INV.RESERVE", "tee", "1", "A\r\n+B"], ["INV.RESERVE", "\r\n+OK", "1\r\n", "UPTO"]] {
        assert!(matches!(conn.call_args(&request), Reply::Error(_)));
        assert_eq!(conn.call("ECHO still-in-step"), Reply::bulk("still-in-step"));
    }
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
        .map(|reply| if reply.is_ok() { "OK".into() } else { reply.text().split(' ').next().unwrap().into() })
        .collect();
    assert_eq!(
        told,
        ["0-a", "INSUFFICIENTSTOCK", "UNKNOWNSKU", "OK", "ALREADYCOMMITTED", "INVALIDAMOUNT", "0-c", "OK", "0-d"]
    );
    assert_eq!(stock(&mut conn, "tee"), Stock { available: 0, reserved: 6, committed: 4 });
}
