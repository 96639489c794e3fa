//! What is refused for what is stored: each word, and that it changes nothing.

use crate::Rig;
use crate::common::{Reply, show, words};

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
    let tail = |reply: &Reply| reply.error().split_once(" requested=").map(|(_, tail)| tail.to_string());
    let reply = conn.call("INV.RESERVE tee 9");
    assert_eq!(tail(&reply).as_deref(), Some("9 available=7 retry_ms=5000"), "{reply:?}");
    rig.advance(1);
    let reply = conn.call("INV.RESERVE tee 8 ID again");
    assert_eq!(tail(&reply).as_deref(), Some("8 available=7 retry_ms=4999"), "{reply:?}");
    conn.call("INV.ROLLBACK 0-open").expect_ok();
    let reply = conn.call("INV.RESERVE tee 10");
    assert_eq!(tail(&reply).as_deref(), Some("10 available=9"), "{reply:?}");
}
