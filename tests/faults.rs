//! What goes wrong around a sale: caches flushed, processes killed, clients that vanish, frames that are none, giants,
//! crowds, and an end under load.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use common::resp::encode;
use common::{Conn, Dice, Fault, FaultProxy, Redis, Reply, SOON, Sidecar, Stock, assert_account, stock, until, words};

/// What one buyer of a load saw acknowledged.
#[derive(Default, Clone, Copy, Debug)]
struct Seen {
    reserved: i64,
    committed: i64,
    /// Commits of which nobody could say what became.
    uncertain: i64,
}

/// Buyers that reserve and commit units of `tee` one by one until told to stop. They open a new connection when theirs
/// ends, and take `-UNCERTAIN`, `-UNAVAILABLE` and `-OVERLOADED` for what they are.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    buyers: Vec<std::thread::JoinHandle<Seen>>,
}

impl Load {
    fn start(addr: &str, buyers: usize) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let buyers = (0..buyers)
            .map(|_| {
                let (addr, stop, done) = (addr.to_string(), Arc::clone(&stop), Arc::clone(&done));
                std::thread::spawn(move || buy(&addr, &stop, &done))
            })
            .collect();
        Self { stop, done, buyers }
    }

    /// Waits until `more` further commits were acknowledged.
    fn wait_more(&self, more: usize) {
        let goal = self.done.load(Ordering::SeqCst) + more;
        until("the load goes on", SOON * 2, || (self.done.load(Ordering::SeqCst) >= goal).then_some(()));
    }

    fn finish(self) -> Seen {
        self.stop.store(true, Ordering::SeqCst);
        let mut sum = Seen::default();
        for buyer in self.buyers {
            let seen = buyer.join().expect("a buyer");
            sum.reserved += seen.reserved;
            sum.committed += seen.committed;
            sum.uncertain += seen.uncertain;
        }
        sum
    }
}

fn buy(addr: &str, stop: &AtomicBool, done: &AtomicUsize) -> Seen {
    let mut seen = Seen::default();
    let mut conn = None;
    while !stop.load(Ordering::SeqCst) {
        let Some(live) = conn.as_mut() else {
            conn = Conn::try_open(addr).ok();
            if conn.is_none() {
                common::pause();
            }
            continue;
        };
        match buy_one(live, &mut seen) {
            Ok(true) => _ = done.fetch_add(1, Ordering::SeqCst),
            Ok(false) => common::pause(),
            Err(_) => conn = None,
        }
    }
    seen
}

/// One purchase: `Ok(true)` where it was acknowledged.
fn buy_one(conn: &mut Conn, seen: &mut Seen) -> std::io::Result<bool> {
    let unknown = |reply: &Reply| ["UNCERTAIN", "UNAVAILABLE", "OVERLOADED", "LOADING"].contains(&reply.error_word());
    let reply = conn.try_call("INV.RESERVE tee 1 EX 600")?;
    if unknown(&reply) {
        return Ok(false);
    }
    let Reply::Bulk(_) = &reply else { panic!("INV.RESERVE: {reply:?}") };
    seen.reserved += 1;
    let commit = format!("INV.COMMIT {}", reply.text());
    seen.uncertain += 1;
    let reply = conn.try_call(&commit)?;
    match reply.error_word() {
        "UNCERTAIN" => return Ok(false),
        "UNAVAILABLE" | "OVERLOADED" | "LOADING" => {
            seen.uncertain -= 1;
            return Ok(false);
        }
        _ => reply.expect_ok(),
    }
    seen.uncertain -= 1;
    seen.committed += 1;
    Ok(true)
}

const SUPPLY: i64 = 1_000_000;

#[test]
fn a_flushed_script_cache_is_invisible_between_operations() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    let mut conn = sidecar.conn();
    conn.call("INV.SETSTOCK tee 100").expect_ok();
    for _ in 0..10 {
        redis.conn().call("SCRIPT FLUSH").expect_ok();
        let id = conn.call("INV.RESERVE tee 1").text();
        redis.conn().call("SCRIPT FLUSH").expect_ok();
        conn.call(&format!("INV.COMMIT {id}")).expect_ok();
        redis.conn().call("SCRIPT FLUSH").expect_ok();
        assert_eq!(conn.call("INV.REAP"), Reply::Int(0));
    }
    assert_eq!(stock(&mut conn, "tee"), Stock { available: 90, reserved: 0, committed: 10 });
}

#[test]
fn a_script_cache_flushed_over_and_over_during_a_load_is_invisible() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &["sidecar.workers=2"]);
    let mut conn = sidecar.conn();
    conn.call(&format!("INV.SETSTOCK tee {SUPPLY}")).expect_ok();
    let load = Load::start(&sidecar.listen, 16);
    let mut upstream = redis.conn();
    for _ in 0..50 {
        upstream.call("SCRIPT FLUSH").expect_ok();
        load.wait_more(10);
    }
    let seen = load.finish();
    assert_eq!(seen.uncertain, 0, "{seen:?}");
    let tee = assert_account(&mut conn, &mut upstream, "default", "tee", SUPPLY);
    assert_eq!((tee.committed, tee.reserved), (seen.committed, 0), "{seen:?}");
}

#[test]
fn an_upstream_killed_and_restarted_under_load_loses_no_acknowledged_commit_and_oversells_nothing() {
    let mut redis = Redis::durable();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    let mut conn = sidecar.conn();
    conn.call(&format!("INV.SETSTOCK tee {SUPPLY}")).expect_ok();
    let load = Load::start(&sidecar.listen, 8);
    for _ in 0..3 {
        load.wait_more(50);
        redis.kill9();
        redis.restart();
    }
    load.wait_more(50);
    let seen = load.finish();
    sidecar.wait_ready();
    let tee = assert_account(&mut conn, &mut redis.conn(), "default", "tee", SUPPLY);
    assert!(tee.committed >= seen.committed, "an acknowledged commit is lost: {tee:?}, {seen:?}");
    assert!(tee.committed <= seen.committed + seen.uncertain, "a commit nobody asked for: {tee:?}, {seen:?}");
    assert!(tee.committed + tee.reserved >= seen.reserved, "an acknowledged reservation is lost: {tee:?}, {seen:?}");
}

#[test]
fn a_killed_sidecars_acknowledged_operations_stand_and_the_same_id_tells() {
    let redis = Redis::start();
    let mut first = Sidecar::start(&redis.url(), &[]);
    let second = Sidecar::start(&redis.url(), &[]);
    second.conn().call(&format!("INV.SETSTOCK tee {SUPPLY}")).expect_ok();
    first.conn().call("INV.RESERVE tee 5 ID order-17").text();
    let load = Load::start(&first.listen, 8);
    load.wait_more(200);
    first.kill9();
    let seen = load.finish();
    let mut conn = second.conn();
    assert_eq!(conn.call("INV.RESERVE tee 5 ID order-17"), Reply::bulk("0-order-17"));
    let tee = assert_account(&mut conn, &mut redis.conn(), "default", "tee", SUPPLY);
    assert!(tee.committed >= seen.committed && tee.committed <= seen.committed + seen.uncertain, "{tee:?}, {seen:?}");
}

#[test]
fn clients_that_vanish_mid_pipeline_never_shift_the_replies_of_others() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &["upstream.links=1"]);
    sidecar.conn().call(&format!("INV.SETSTOCK tee {SUPPLY}")).expect_ok();
    let stop = Arc::new(AtomicBool::new(false));
    let honest: Vec<_> = (0..4)
        .map(|client| {
            let (mut conn, stop) = (sidecar.conn(), Arc::clone(&stop));
            std::thread::spawn(move || {
                let mut round = 0;
                while !stop.load(Ordering::SeqCst) {
                    round += 1;
                    let id = format!("c{client}-{round}");
                    let replies = conn.pipeline(&[
                        words(&format!("SET {id} {id}")),
                        words(&format!("GET {id}")),
                        words(&format!("INV.RESERVE tee 1 ID {id}")),
                        words(&format!("ECHO {id}")),
                        words(&format!("INV.ROLLBACK 0-{id}")),
                    ]);
                    let wanted =
                        [Reply::ok(), Reply::bulk(&id), Reply::bulk(format!("0-{id}")), Reply::bulk(&id), Reply::ok()];
                    assert_eq!(replies, wanted);
                }
                round
            })
        })
        .collect();
    let mut dice = Dice::new(7);
    for round in 0..200 {
        let mut conn = sidecar.conn();
        let mut bytes = Vec::new();
        for i in 0..20 {
            bytes.extend(match dice.below(4) {
                0 => encode(&words(&format!("GET gone-{round}-{i}"))),
                1 => encode(&words(&format!("INV.RESERVE tee 1 ID gone-{round}-{i}"))),
                2 => encode(&words(&format!("SET gone {}", "x".repeat(5_000)))),
                _ => encode(&words("LRANGE none 0 -1")),
            });
        }
        // Some end within a frame.
        bytes.truncate(bytes.len() - dice.below(30) as usize);
        let _ = conn.try_send(&bytes);
        conn.reset();
    }
    stop.store(true, Ordering::SeqCst);
    for client in honest {
        assert!(client.join().expect("an honest client") > 0);
    }
    assert_account(&mut sidecar.conn(), &mut redis.conn(), "default", "tee", SUPPLY);
}

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
        other => panic!("GET giant: {}", common::show(format!("{other:?}").as_bytes())),
    }
    load.wait_more(10);
    stop.store(true, Ordering::SeqCst);
    assert!(small.join().expect("the small client") > 0);
    assert_eq!(load.finish().uncertain, 0);
}

#[test]
fn a_thousand_clients_share_a_handful_of_upstream_connections() {
    common::raise_file_limit();
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &["upstream.links=2", "upstream.pool_size=2"]);
    sidecar.conn().call(&format!("INV.SETSTOCK tee {SUPPLY}")).expect_ok();
    let mut clients: Vec<_> = (0..1_000).map(|_| sidecar.conn()).collect();
    for (i, client) in clients.iter_mut().enumerate() {
        client.send_args(&words(&format!("SET k{i} {i}")));
        client.send_args(&words(&format!("INV.RESERVE tee 1 ID b{i}")));
        client.send_args(&words(&format!("GET k{i}")));
    }
    for (i, client) in clients.iter_mut().enumerate() {
        client.reply().expect_ok();
        assert_eq!(client.reply(), Reply::bulk(format!("0-b{i}")));
        assert_eq!(client.reply(), Reply::bulk(i.to_string()));
    }
    let upstream = redis.conn().call("CLIENT LIST").text().lines().count();
    assert!(upstream <= 12, "{upstream} upstream connections for 1,000 clients");
    assert_eq!(stock(&mut clients[0], "tee").reserved, 1_000);
}

#[test]
fn one_client_too_many_is_told_so_as_redis_tells_it() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &["listen.clients_max=3"]);
    let mut kept: Vec<_> = (0..3).map(|_| sidecar.conn()).collect();
    for conn in &mut kept {
        conn.call("PING");
    }
    let mut over = sidecar.conn();
    over.expect(b"-ERR max number of clients reached\r\n");
    over.expect_close();
    drop(kept.pop());
    until("a place is free again", SOON, || {
        let reply = Conn::try_open(&sidecar.listen).ok()?.try_call("PING").ok()?;
        (reply == Reply::Simple("PONG".into())).then_some(())
    });
}

#[test]
fn a_client_that_does_not_read_stops_nobody_and_grows_no_memory() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(
        &redis.url(),
        &["upstream.links=1", "session.output_pause_bytes=65536", "session.output_close_bytes=1048576"],
    );
    let value = "x".repeat(100_000);
    sidecar.conn().call(&format!("SET big {value}")).expect_ok();
    let mut deaf = sidecar.conn();
    deaf.patience(Duration::from_millis(500));
    let get = encode(&["GET", "big"]);
    // It asks for 100 MB and reads none; whether its own writes block or fail does not matter.
    for _ in 0..1_000 {
        if deaf.try_send(&get).is_err() {
            break;
        }
    }
    let mut other = sidecar.conn();
    for i in 0..100 {
        assert_eq!(other.call(&format!("ECHO {i}")), Reply::bulk(i.to_string()));
        assert_eq!(other.call("STRLEN big"), Reply::Int(100_000));
    }
    let kib = sidecar.resident_kib();
    assert!(kib < 100 * 1024, "{kib} KiB resident for a client that does not read");
}

/// A client that has asked for so many values of 100 kB, all of which are there for it, and has read none; with the
/// sidecar's figure of bytes from the upstream above what these make.
fn one_who_does_not_read(sidecar: &Sidecar, values: usize) -> Conn {
    let value = "x".repeat(100_000);
    sidecar.conn().call(&format!("SET big {value}")).expect_ok();
    let mut conn = sidecar.conn();
    conn.receive_buffer(64 * 1024);
    conn.send(&encode(&["GET", "big"]).repeat(values));
    until("all of it has come from the upstream", SOON, || {
        let bytes = figure(sidecar, "inventory_sentinel_bytes_total{direction=\"upstream_in\"} ");
        (bytes > values as f64 * 100_000.0).then_some(())
    });
    conn
}

fn figure(sidecar: &Sidecar, name: &str) -> f64 {
    let (_, text) = sidecar.http("/metrics");
    text.lines().find_map(|line| line.strip_prefix(name)).map_or(0.0, |count| count.parse().expect("a number"))
}

#[test]
fn a_client_that_reads_slowly_gets_all_it_asked_for() {
    let redis = Redis::start();
    let limits = ["session.output_pause_bytes=65536", "session.output_close_bytes=16777216"];
    let sidecar = Sidecar::start(&redis.url(), &[&limits[..], &["session.output_stall_ms=600000"]].concat());
    let mut slow = one_who_does_not_read(&sidecar, 600);
    for place in 0..600 {
        assert_eq!(slow.reply(), Reply::bulk("x".repeat(100_000)), "{place}");
    }
    assert_eq!(slow.call("ECHO end"), Reply::bulk("end"));
}

#[test]
fn a_client_that_takes_nothing_of_too_much_is_closed_in_the_end_and_others_go_on() {
    let redis = Redis::start();
    let limits = ["session.output_pause_bytes=65536", "session.output_close_bytes=16777216"];
    let others = ["upstream.links=1", "session.output_stall_ms=50"];
    let sidecar = Sidecar::start(&redis.url(), &[limits, others].concat());
    // More than the socket's buffers hold besides, and less than four times the limit.
    let mut deaf = one_who_does_not_read(&sidecar, 450);
    until("it is closed", SOON, || {
        assert_eq!(sidecar.conn().call("ECHO x"), Reply::bulk("x"));
        let closed = figure(&sidecar, "inventory_sentinel_errors_total{origin=\"client\",kind=\"slow_reader\"} ");
        (closed == 1.0).then_some(())
    });
    let got = std::iter::from_fn(|| deaf.try_reply().ok()).count();
    assert!(got < 450, "it got all");
}

#[test]
fn sigterm_under_load_answers_what_is_in_flight_and_exits_zero() {
    let redis = Redis::start();
    let mut sidecar = Sidecar::start(&redis.url(), &["sidecar.drain_ms=3000"]);
    let second = Sidecar::start(&redis.url(), &[]);
    let mut conn = second.conn();
    conn.call(&format!("INV.SETSTOCK tee {SUPPLY}")).expect_ok();
    let load = Load::start(&sidecar.listen, 8);
    load.wait_more(200);
    sidecar.terminate();
    assert_eq!(sidecar.wait().code(), Some(0));
    let seen = load.finish();
    let tee = assert_account(&mut conn, &mut redis.conn(), "default", "tee", SUPPLY);
    assert!(tee.committed >= seen.committed && tee.committed <= seen.committed + seen.uncertain, "{tee:?}, {seen:?}");
}

#[test]
fn sigterm_lets_a_pipeline_that_was_already_read_be_answered_whole() {
    let redis = Redis::start();
    let proxy = FaultProxy::start(&redis.addr());
    let mut sidecar = Sidecar::start(&proxy.url(), &["sidecar.drain_ms=5000"]);
    let mut conn = sidecar.conn();
    conn.call("INV.SETSTOCK tee 100").expect_ok();
    // The answer to the first batch is held back: by then the pipeline, one write, has been read.
    proxy.arm("tee", Fault::Stall, 1);
    let requests: Vec<_> = (0..50).map(|i| words(&format!("INV.RESERVE tee 1 ID b{i}"))).collect();
    conn.send(&requests.iter().flat_map(|args| encode(args)).collect::<Vec<_>>());
    proxy.wait_struck(1);
    sidecar.terminate();
    proxy.release();
    for i in 0..50 {
        assert_eq!(conn.reply(), Reply::bulk(format!("0-b{i}")));
    }
    conn.expect_close();
    assert_eq!(sidecar.wait().code(), Some(0));
}

#[test]
fn an_upstream_absent_at_start_leaves_the_sidecar_alive_not_ready_and_it_recovers_by_itself() {
    let mut redis = Redis::durable();
    redis.kill9();
    let mut sidecar = Sidecar::launch(&redis.url(), &["inventory.operation_deadline_ms=300"]);
    assert_eq!(sidecar.http("/healthz").0, 200);
    let (status, body) = sidecar.http("/readyz");
    assert_eq!(status, 503, "{body}");
    let reason: serde_json::Value = serde_json::from_str(&body).expect("a JSON body");
    assert!(reason.is_object() && body.len() > 10, "a reason: {body}");
    let mut conn = sidecar.conn();
    assert_eq!(conn.call("PING"), Reply::Simple("PONG".into()));
    conn.call("INV.SETSTOCK tee 1").expect_error("UNAVAILABLE");
    conn.call("GET k").expect_error("UNAVAILABLE");
    redis.restart();
    sidecar.wait_ready();
    conn.call("INV.SETSTOCK tee 1").expect_ok();
    assert_eq!(conn.call("GET k"), Reply::NilBulk);
    assert!(sidecar.is_running());
}

#[test]
fn an_element_is_not_popped_for_a_client_that_is_gone_whatever_it_sent_behind() {
    for behind in [b"*2\r\n$3\r\nGET\r\n$1\r\nx\r\n".to_vec(), b"*2\r\n$9\r\nINV.STOCK\r\n$1\r\nx\r\n".repeat(4000)] {
        let redis = Redis::start();
        let sidecar = Sidecar::start(&redis.url(), &[]);
        let mut upstream = redis.conn();
        let mut conn = sidecar.conn();
        conn.send(b"*3\r\n$5\r\nBLPOP\r\n$1\r\nq\r\n$1\r\n0\r\n");
        until("the client waits", SOON, || {
            (upstream.call("INFO clients").text().contains("blocked_clients:1")).then_some(())
        });
        conn.send(&behind);
        drop(conn);
        until("nobody waits", SOON, || {
            (upstream.call("INFO clients").text().contains("blocked_clients:0")).then_some(())
        });
        assert_eq!(upstream.call("RPUSH q element"), Reply::Int(1));
        assert_eq!(upstream.call("LLEN q"), Reply::Int(1));
    }
}

#[test]
fn an_element_is_not_popped_for_a_client_that_said_all_and_left_before_its_turn_to_wait() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    let mut upstream = redis.conn();
    // The first is under way elsewhere when the client is found to be gone, and only then does the other wait.
    for before in ["GET x", "INV.STOCK x"] {
        let mut conn = sidecar.conn();
        conn.send(&[encode(&words(before)), encode(&["BLPOP", "q", "0"]), encode(&["GET", "x"])].concat());
        conn.half_close();
        assert!(conn.reply().is_nil(), "{before}");
        conn.expect_close();
        assert_eq!(upstream.call("RPUSH q element"), Reply::Int(1), "{before}");
        assert_eq!(upstream.call("LLEN q"), Reply::Int(1), "{before}");
        assert_eq!(upstream.call("DEL q"), Reply::Int(1));
    }
}

#[test]
fn a_client_that_left_its_wait_behind_is_not_kept_by_an_upstream_that_does_not_answer() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &["upstream.reply_timeout_ms=1000"]);
    let mut conn = sidecar.conn();
    conn.send(&encode(&["BLPOP", "q", "0"]));
    until("the client waits", SOON, || {
        redis.conn().call("INFO clients").text().contains("blocked_clients:1").then_some(())
    });
    redis.stop();
    conn.half_close();
    conn.expect_close();
    redis.cont();
}

#[test]
fn a_client_that_leaves_in_the_middle_of_a_large_request_leaves_nothing_behind() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &["upstream.pinned_max=3"]);
    for _ in 0..10 {
        let mut conn = sidecar.conn();
        conn.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$10000000\r\n");
        conn.send(&vec![b'x'; 100_000]);
        drop(conn);
        // Each of them needs one of the three; the next can have it soon.
        until("a connection is free again", SOON, || sidecar.conn().call("MULTI").is_ok().then_some(()));
    }
    assert!(redis.conn().call("GET k").is_nil());
    let mut upstream = redis.conn();
    until("no connection is left over", SOON, || {
        (upstream.call("CLIENT LIST").text().lines().count() <= 7).then_some(())
    });
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

#[test]
fn an_operation_is_answered_also_where_the_lost_script_cannot_be_loaded_again() {
    let redis = Redis::start();
    let proxy = FaultProxy::start(&redis.addr());
    let sidecar = Sidecar::start(&proxy.url(), &["inventory.operation_deadline_ms=1000"]);
    sidecar.conn().call("INV.SETSTOCK sku 10").expect_ok();
    proxy.arm("SCRIPT", Fault::Stall, 2);
    redis.conn().call("SCRIPT FLUSH").expect_ok();
    let mut conn = sidecar.conn();
    until("the inventory serves again", SOON, || conn.call("INV.RESERVE sku 1").text().starts_with("0-").then_some(()));
}

#[test]
fn an_upstream_that_is_lost_while_nobody_uses_it_makes_no_outcome_uncertain() {
    let mut redis = Redis::start();
    let sidecar =
        Sidecar::start(&redis.url(), &["inventory.operation_deadline_ms=300", "inventory.reap_interval_ms=1000"]);
    let mut conn = sidecar.conn();
    conn.call("INV.SETSTOCK sku 10").expect_ok();
    redis.kill9();
    until("the sidecar has seen it", SOON, || {
        (sidecar.http("/metrics").1.contains("upstream_connections{kind=\"pool\"} 0")).then_some(())
    });
    conn.call("INV.RESERVE sku 1").expect_error("UNAVAILABLE");
}

#[test]
fn a_stopping_sidecar_does_not_wait_for_a_client_that_may_wait_for_ever() {
    let redis = Redis::start();
    let mut sidecar = Sidecar::start(&redis.url(), &["sidecar.drain_ms=600000"]);
    let mut conn = sidecar.conn();
    conn.send(b"*3\r\n$5\r\nBLPOP\r\n$1\r\nq\r\n$1\r\n0\r\n");
    let mut upstream = redis.conn();
    until("the client waits", SOON, || {
        (upstream.call("INFO clients").text().contains("blocked_clients:1")).then_some(())
    });
    sidecar.terminate();
    assert!(sidecar.wait().success());
}
