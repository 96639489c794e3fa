//! What arguments may be: bounds, forms, how many; and the words of what they may not be.

use crate::common::{Reply, Stock, show, stock};
use crate::{Rig, says};

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
        assert!(reply.error().starts_with("ERR syntax error"), "{line}: {reply:?}");
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
        assert!(reply.error().contains(name), "{line}: {reply:?}");
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
