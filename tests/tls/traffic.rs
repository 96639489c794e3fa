//! What goes through TLS comes out whole, and its end is the end that it would have been without.

use super::certs::Authority;
use super::client::{Client, VERSIONS};
use super::server::TlsRedis;
use crate::common::resp::encode;
use crate::common::{Reply, SOON, figure, until, words};
use crate::{HERE, door, listener, start};

#[test]
fn pipelines_large_values_and_messages_pass_through_tls_on_both_sides() {
    let authority = Authority::new();
    let upstream = TlsRedis::start(&authority, &authority.issue(HERE));
    upstream.files.put_pair("server", &authority.issue(HERE));
    let mut settings = upstream.settings();
    settings.extend(listener(&upstream.files));
    let sidecar = start(&upstream.url(), &settings);
    for version in VERSIONS {
        let client = Client::new(&authority.pem).speaking(version);
        let mut conn = client.open(&sidecar.listen);
        conn.call("DEL n").int();
        let pipeline: Vec<Vec<Vec<u8>>> = (0..5_000).map(|_| words("INCR n")).collect();
        let replies = conn.pipeline(&pipeline);
        assert!(replies.iter().zip(1..).all(|(reply, n)| *reply == Reply::Int(n)));
        let value: Vec<u8> = (0..10 * 1024 * 1024_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        conn.call_args(&[b"SET".as_slice(), b"large", &value]).expect_ok();
        assert!(conn.call("GET large") == Reply::Bulk(value.clone()));
        // Several at once, more than any buffer on the way holds.
        let many = conn.pipeline(&[words("GET large"), words("GET large"), words("GET large"), words("GET n")]);
        assert!(many[..3].iter().all(|reply| *reply == Reply::Bulk(value.clone())));
        assert_eq!(many[3], Reply::bulk("5000"));
        let mut subscriber = client.open(&sidecar.listen);
        assert_eq!(subscriber.call("SUBSCRIBE news").items()[2], Reply::Int(1));
        for n in 0..100 {
            assert_eq!(conn.call(&format!("PUBLISH news {n}")), Reply::Int(1));
        }
        conn.call_args(&[b"PUBLISH".as_slice(), b"news", &value]).int();
        for n in 0..100 {
            assert_eq!(subscriber.reply().items()[2], Reply::bulk(n.to_string()));
        }
        assert!(subscriber.reply().items()[2] == Reply::Bulk(value));
        let mut waiting = client.open(&sidecar.listen);
        waiting.send_args(&["BLPOP", "q", "0"]);
        until("it waits", SOON, || {
            upstream.redis.conn().call("INFO clients").text().contains("blocked_clients:1").then_some(())
        });
        conn.call("RPUSH q e").int();
        assert_eq!(waiting.reply().items()[1], Reply::bulk("e"));
    }
}

#[test]
fn a_client_that_reads_late_gets_all_of_a_large_reply_after_it_said_no_more() {
    let (_redis, sidecar, _files, authority) = door();
    for goodbye in [true, false] {
        let mut conn = Client::new(&authority.pem).open(&sidecar.listen);
        let value = vec![b'x'; 8 * 1024 * 1024];
        conn.call_args(&[b"SET".as_slice(), b"large", &value]).expect_ok();
        // What TLS has taken and the socket has not is sent though nothing is to be written or read any more; then a wait.
        conn.send(&[encode(&["GET", "large"]), encode(&["WAIT", "1", "0"])].concat());
        if goodbye {
            conn.half_close();
        } else {
            conn.close_sending();
        }
        assert!(conn.reply() == Reply::Bulk(value));
    }
}

/// What TLS took and the socket did not is sent as soon as there is room, by whatever wakes the session: here it has nothing
/// to write or to read any more, and waits for a reply that does not come.
#[test]
fn what_waits_in_tls_is_sent_while_nothing_else_is_to_be_done() {
    let (redis, sidecar, _files, authority) = door();
    let mut conn = Client::new(&authority.pem).open(&sidecar.listen);
    // What TLS holds at most, 64 KiB, is more than one of them.
    let value = vec![b'x'; 48 * 1024];
    conn.call_args(&[b"SET".as_slice(), b"k", &value]).expect_ok();
    conn.receive_buffer(128 * 1024);
    let out = || figure(&sidecar, "inventory_sentinel_bytes_total{direction=\"client_out\"} ") as usize;
    // Of SET's reply, which may be read before it is counted.
    let before = b"+OK\r\n".len();
    let (request, reply) = (encode(&["GET", "k"]), encode(&[&value])[4..].len());
    let mut asked = 0;
    // One reply more each time, until TLS holds part of one: the kernel has less than was written, and that for good.
    loop {
        conn.send(&request);
        asked += 1;
        until("TLS took it", SOON, || (out() == before + asked * reply).then_some(()));
        if (0..2).all(|_| conn.in_kernel() < asked * reply) {
            break;
        }
    }
    redis.stop();
    conn.send(&request);
    conn.half_close();
    for _ in 0..asked {
        assert!(conn.reply() == Reply::Bulk(value.clone()));
    }
    redis.cont();
    assert!(conn.reply() == Reply::Bulk(value));
    conn.expect_close();
}

#[test]
fn nothing_is_popped_over_tls_for_a_client_that_says_no_more() {
    let authority = Authority::new();
    let upstream = TlsRedis::start(&authority, &authority.issue(HERE));
    upstream.files.put_pair("server", &authority.issue(HERE));
    let mut settings = upstream.settings();
    settings.extend(listener(&upstream.files));
    let sidecar = start(&upstream.url(), &settings);
    let mut direct = upstream.redis.conn();
    for version in VERSIONS {
        for goodbye in [true, false] {
            for before in ["GET x", "INV.STOCK x"] {
                let mut conn = Client::new(&authority.pem).speaking(version).open(&sidecar.listen);
                conn.send(&[encode(&words(before)), encode(&["BLPOP", "q", "0"]), encode(&["GET", "x"])].concat());
                if goodbye {
                    conn.half_close();
                } else {
                    conn.close_sending();
                }
                assert!(conn.reply().is_nil(), "{before}");
                conn.expect_close();
                assert_eq!(direct.call("RPUSH q element"), Reply::Int(1), "{before}");
                assert_eq!(direct.call("LLEN q"), Reply::Int(1), "{before}");
                assert_eq!(direct.call("DEL q"), Reply::Int(1));
            }
        }
    }
}
