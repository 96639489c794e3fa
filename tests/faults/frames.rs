//! Frames that are none, and giants.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::common::resp::encode;
use crate::common::{Conn, Redis, Reply, Sidecar, show};
use crate::{Load, SUPPLY};

#[test]
fn a_malformed_frame_gets_the_earlier_replies_then_its_error_then_the_close() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    sidecar.conn().call("INV.SETSTOCK tee 5").expect_ok();
    let cases: &[(&[u8], &str)] = &[
        (b"*a\r\n", "invalid multibulk length"),
        (b"*+1\r\n", "invalid multibulk length"),
        (b"*01\r\n", "invalid multibulk length"),
        (b"*2147483648\r\n", "invalid multibulk length"),
        (b"*9999999999999999999999\r\n", "invalid multibulk length"),
        (b"*1\r\n:1\r\n", "expected '$', got ':'"),
        (b"*1\r\nPING\r\n", "expected '$', got 'P'"),
        (b"*1\r\n*1\r\n", "expected '$', got '*'"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n$a\r\n", "invalid bulk length"),
        (b"*1\r\n$04\r\n", "invalid bulk length"),
        (b"*1\r\n$+4\r\n", "invalid bulk length"),
        (b"*1\r\n$536870913\r\n", "invalid bulk length"),
        (b"*2\r\n$3\r\nGET\r\n$x\r\n", "invalid bulk length"),
        (b"SET k \"unbalanced\r\n", "unbalanced quotes in request"),
        (b"SET k \"a\"b\r\n", "unbalanced quotes in request"),
    ];
    for (bad, what) in cases {
        // Redis itself says the same, so that the table is not an opinion.
        let wanted = format!("-ERR Protocol error: {what}\r\n");
        let mut direct = redis.conn();
        direct.exchange(bad, wanted.as_bytes());
        direct.expect_close();
        let mut conn = sidecar.conn();
        let mut bytes = encode(&["SET", "k", "v"]);
        bytes.extend(encode(&["GET", "k"]));
        bytes.extend(encode(&["INV.RESERVE", "tee", "99"]));
        bytes.extend_from_slice(bad);
        conn.send(&bytes);
        conn.expect(b"+OK\r\n$1\r\nv\r\n");
        conn.reply().expect_error("INSUFFICIENTSTOCK");
        conn.expect(wanted.as_bytes());
        conn.expect_close();
    }
}

#[test]
fn what_the_sidecar_is_stricter_in_is_a_protocol_error_too() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    // One argument more than the sidecar takes; and two bytes that are no line end, which Redis does not look at.
    for bad in [b"*1048577\r\n".as_slice(), b"*1\r\n$4\r\nPINGxx"] {
        let mut conn = sidecar.conn();
        conn.send(&[encode(&["PING"]), bad.to_vec()].concat());
        conn.expect(b"+PONG\r\n-ERR Protocol error: ");
        conn.rest_of_line();
        conn.expect_close();
    }
}

#[test]
fn too_long_a_line_is_a_protocol_error_as_in_redis() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    let line = vec![b'a'; 65_537];
    for addr in [redis.addr(), sidecar.listen.clone()] {
        let mut conn = Conn::open(&addr);
        conn.exchange(&line, b"-ERR Protocol error: too big inline request\r\n");
    }
    let mut endless_count = b"*".to_vec();
    endless_count.extend(vec![b'1'; 65_536]);
    for addr in [redis.addr(), sidecar.listen.clone()] {
        let mut conn = Conn::open(&addr);
        conn.exchange(&endless_count, b"-ERR Protocol error: too big mbulk count string\r\n");
    }
}

#[test]
fn bytes_that_declare_giants_and_never_send_them_cost_nothing() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    let idle: Vec<_> = (0..50)
        .map(|_| {
            let mut conn = sidecar.conn();
            conn.send(b"*1048576\r\n$536870912\r\nabc");
            conn
        })
        .collect();
    sidecar.conn().call("PING");
    let kib = sidecar.resident_kib();
    assert!(kib < 200 * 1024, "{kib} KiB resident");
    drop(idle);
}

#[test]
fn a_value_of_a_hundred_megabytes_goes_through_while_other_clients_go_on() {
    let redis = Redis::start();
    // On a busy machine a second may pass while the giant has the processor.
    let sidecar = Sidecar::start(&redis.url(), &["upstream.links=1", "inventory.operation_deadline_ms=30000"]);
    sidecar.conn().call(&format!("INV.SETSTOCK tee {SUPPLY}")).expect_ok();
    let value: Vec<u8> = (0..100 * 1024 * 1024u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let load = Load::start(&sidecar.listen, 2);
    let stop = Arc::new(AtomicBool::new(false));
    let small = {
        let (mut conn, stop) = (sidecar.conn(), Arc::clone(&stop));
        std::thread::spawn(move || {
            let mut rounds = 0;
            while !stop.load(Ordering::SeqCst) {
                conn.call(&format!("SET small {rounds}")).expect_ok();
                assert_eq!(conn.call("GET small"), Reply::bulk(rounds.to_string()));
                rounds += 1;
            }
            rounds
        })
    };
    let mut conn = sidecar.conn();
    conn.patience(Duration::from_secs(60));
    conn.call_args(&[b"SET".as_slice(), b"giant", &value]).expect_ok();
    assert_eq!(redis.conn().call("STRLEN giant"), Reply::Int(value.len() as i64));
    load.wait_more(10);
    match conn.call("GET giant") {
        Reply::Bulk(got) => assert!(got == value, "the giant came back changed"),
        other => panic!("GET giant: {}", show(format!("{other:?}").as_bytes())),
    }
    load.wait_more(10);
    stop.store(true, Ordering::SeqCst);
    assert!(small.join().expect("the small client") > 0);
    assert_eq!(load.finish().uncertain, 0);
}

#[test]
fn a_large_request_that_breaks_off_keeps_the_replies_before_it() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &["session.request_stream_bytes=65536"]);
    let mut conn = sidecar.conn();
    conn.send(
        b"*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100000\r\n",
    );
    conn.send(&vec![b'x'; 100_000]);
    conn.send(b"??");
    conn.expect(b":1\r\n:2\r\n-ERR Protocol error: ");
    conn.rest_of_line();
    conn.expect_close();
    assert!(redis.conn().call("GET k").is_nil());
}
