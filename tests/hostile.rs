//! What a hostile tenant asks for that would cost all others much: it is refused, bounded or done in turns; and what it could
//! learn of others by the way.

mod common;

use common::resp::encode;
use common::tenants::{Tenanted, text, two, word};
use common::{Conn, Redis, Reply, SOON, Sidecar, until, words};
use rustix::process::{Pid, Signal, kill_process};
use std::io::Write;
use std::net::TcpStream;
use std::time::Instant;

fn signal(sidecar: &Sidecar, signal: Signal) {
    kill_process(Pid::from_raw(sidecar.pid() as i32).expect("a pid"), signal).expect("a signal");
}

/// A request of so many words.
fn long(first: &[&str], word: &str, count: usize) -> Vec<u8> {
    let words: Vec<&str> = first.iter().copied().chain(std::iter::repeat_n(word, count)).collect();
    encode(&words)
}

fn line(conn: &mut Conn, request: &[u8]) -> String {
    conn.send(request);
    String::from_utf8(conn.raw()).expect("a line")
}

#[test]
fn what_is_kept_of_a_client_or_answered_by_far_more_is_refused_where_it_is_long() {
    let redis = Redis::start();
    let tenants = Tenanted::start(&redis, &two(""));
    let (mut acme, name) = (tenants.acme(), "n".repeat(1024));
    let longer = format!("{name}n");
    assert_eq!(text(&mut acme, &["CLIENT", "SETNAME", &name]), "+OK\r\n");
    for request in [
        &["CLIENT", "SETNAME", &longer][..],
        &["client", "setinfo", "LIB-NAME", &longer],
        &["HELLO", "3", "SETNAME", &longer],
        &["HELLO", "2", "AUTH", "acme", "acme-secret", "SETNAME", &longer],
    ] {
        assert!(text(&mut acme, request).starts_with("-ERR the name is too long"), "{request:?}");
    }
    assert_eq!(text(&mut acme, &["CLIENT", "GETNAME"]), format!("$1024\r\n{name}\r\n"));
    for request in [
        long(&["COMMAND", "INFO"], "inv.get", 1023),
        long(&["COMMAND", "DOCS"], "command", 1023),
        long(&["CLIENT", "LIST", "ID"], "1", 1022),
    ] {
        assert!(line(&mut acme, &request).starts_with("-ERR too many arguments"));
    }
    acme.send(&long(&["COMMAND", "INFO"], "inv.get", 1022));
    assert_eq!(acme.reply().items().len(), 1022);
    let prefixes = |count: usize| -> Vec<u8> {
        let prefixes = (0..count).flat_map(|at| [b"PREFIX".to_vec(), format!("p{at:03}").into_bytes()]);
        encode(&words("CLIENT TRACKING ON BCAST").into_iter().chain(prefixes).collect::<Vec<_>>())
    };
    assert!(line(&mut acme, &prefixes(65)).starts_with("-NOPERM"));
    assert_eq!(line(&mut acme, &prefixes(64)), "+OK\r\n");
}

#[test]
fn inv_commands_of_one_transaction_are_bounded_for_each_is_a_whole_script_upstream() {
    let redis = Redis::start();
    let tenants = Tenanted::start_with(&redis, &two(""), &["inventory.client_ops_max=8"], |_| {});
    let mut acme = tenants.acme();
    for round in 0..3 {
        acme.call("MULTI").expect_ok();
        for _ in 0..8 {
            assert_eq!(acme.call("INV.GET 0-x"), Reply::Simple("QUEUED".into()), "{round}");
        }
        if round == 1 {
            acme.call("INV.GET 0-x").expect_error("OVERLOADED");
            acme.call("EXEC").expect_error("EXECABORT");
        } else {
            assert_eq!(acme.call("EXEC").items().len(), 8);
        }
    }
}

#[test]
fn subscriptions_that_others_pay_for_are_bounded() {
    let redis = Redis::start();
    let tenants = Tenanted::start(&redis, &two(""));
    let (mut one, mut two, mut rival) = (tenants.acme(), tenants.acme(), tenants.rival());
    let patterns = |from: usize, count: usize| -> Vec<u8> {
        let names = (from..from + count).map(|at| format!("p{at}*"));
        encode(&std::iter::once("PSUBSCRIBE".to_owned()).chain(names).collect::<Vec<_>>())
    };
    let acknowledged = |conn: &mut Conn, count: usize| (0..count).for_each(|_| drop(conn.raw()));
    one.send(&patterns(0, 1000));
    acknowledged(&mut one, 1000);
    assert!(line(&mut two, &patterns(0, 25)).starts_with("-OVERLOADED"));
    // It is no client with subscriptions then.
    assert_eq!(text(&mut two, &["SET", "k", "v"]), "+OK\r\n");
    rival.send(&patterns(0, 25));
    acknowledged(&mut rival, 25);
    one.send(b"*1\r\n$12\r\nPUNSUBSCRIBE\r\n");
    acknowledged(&mut one, 1000);
    drop(one);
    until("its patterns are free", SOON, || {
        let taken = line(&mut two, &patterns(0, 25));
        (!taken.starts_with("-OVERLOADED")).then(|| acknowledged(&mut two, 24))
    });
    let events = |count: usize| long(&["SUBSCRIBE"], "__keyevent@0__:set", count);
    let mut three = tenants.acme();
    three.send(&events(16));
    acknowledged(&mut three, 16);
    let mut four = tenants.acme();
    assert!(line(&mut four, &events(1)).starts_with("-OVERLOADED"));
    assert!(line(&mut four, &long(&["SUBSCRIBE"], "__keyspace@0__:k", 1)).starts_with("*3\r\n"));
    assert!(line(&mut rival, &events(1)).starts_with("*3\r\n"));
}

#[test]
fn what_client_list_says_of_a_connection_tells_nothing_of_how_many_there_are() {
    let redis = Redis::start();
    let tenants = Tenanted::start(&redis, &two(""));
    let fd = |conn: &mut Conn| -> u64 {
        let info = conn.call("CLIENT INFO").text();
        let field = info.split(' ').find_map(|field| field.strip_prefix("fd=")).expect("a descriptor");
        field.parse().expect("a number")
    };
    let (mut one, _rivals) = (tenants.acme(), (0..20).map(|_| tenants.rival()).collect::<Vec<_>>());
    let mut two = tenants.acme();
    assert_eq!(fd(&mut two) - fd(&mut one), 1);
}

#[test]
fn large_requests_of_one_tenant_leave_another_its_turn() {
    let redis = Redis::start();
    // Both see the figures of the one namespace: how far the first was when the second had its turn.
    let config = two("").replace("\"rival-secret\"\n", "\"rival-secret\"\nnamespace = \"acme\"\n");
    let tenants = Tenanted::start(&redis, &config);
    let (mut acme, mut rival) = (tenants.acme(), tenants.rival());
    let refused = |info: &str| -> usize {
        let line = info.lines().find_map(|line| line.strip_prefix("inventory_operation_reserve:")).expect("a line");
        let field = line.split(',').find_map(|field| field.strip_prefix("refused=")).expect("a field");
        field.parse().expect("a number")
    };
    // As many as a socket takes of whom nobody reads.
    let requests = encode(&["INV.RESERVE", &"s".repeat(4 * 1024), "1"]).repeat(30);
    // All of it is there when the sidecar looks.
    signal(&tenants.sidecar, Signal::STOP);
    let stat = format!("/proc/{}/stat", tenants.sidecar.pid());
    until("it stands still", SOON, || std::fs::read_to_string(&stat).ok()?.contains(") T ").then_some(()));
    acme.send(&requests);
    rival.send_args(&["INFO", "inventory"]);
    signal(&tenants.sidecar, Signal::CONT);
    let before = refused(&rival.reply().text());
    assert!((0..30).all(|_| acme.raw().starts_with(b"-ERR the SKU is too long")));
    assert_eq!(refused(&rival.call("INFO inventory").text()), 30);
    assert!(before <= 20, "{before} of 30 large requests came before another tenant's small one");
}

#[test]
fn what_comes_in_turns_by_many_connections_comes_all() {
    let redis = Redis::start();
    let tenants = Tenanted::start(&redis, &two(""));
    let (mut acme, mut rival, message) = (tenants.acme(), tenants.rival(), "m".repeat(1000));
    let mut subscribers: Vec<Conn> = (0..20).map(|_| tenants.acme()).collect();
    for conn in &mut subscribers {
        assert_eq!(conn.call("SUBSCRIBE c").items().len(), 3);
    }
    // Of each connection more than one round has for all of them.
    for at in 0..500 {
        assert_eq!(acme.call_args(&["PUBLISH", "c", &format!("{at}{message}")]), Reply::Int(20));
        assert_eq!(text(&mut rival, &["PING"]), "+PONG\r\n");
    }
    for conn in &mut subscribers {
        for at in 0..500 {
            assert_eq!(conn.reply().items()[2], Reply::bulk(format!("{at}{message}")));
        }
    }
    // A large reply by a connection of a client's own.
    let value = "v".repeat(4_000_000);
    assert_eq!(text(&mut acme, &["SET", "k", &value]), "+OK\r\n");
    acme.call("WATCH k").expect_ok();
    acme.send(&encode(&["GET", "k"]).repeat(4));
    assert!((0..4).all(|_| acme.reply() == Reply::bulk(&value)));
}

#[test]
fn connections_that_one_tenant_gave_back_do_not_keep_out_anothers() {
    common::raise_file_limit();
    let redis = Redis::start();
    let tenants = Tenanted::start(&redis, &two(""));
    let mut flood: Vec<Conn> = (0..40).map(|_| tenants.acme()).collect();
    flood.iter_mut().for_each(|conn| conn.call("WATCH k").expect_ok());
    flood.iter_mut().for_each(|conn| conn.call("UNWATCH").expect_ok());
    let mut rival = tenants.rival();
    let mut transaction = || {
        rival.call("WATCH k").expect_ok();
        rival.call("UNWATCH").expect_ok();
    };
    transaction();
    transaction();
    let mut direct = redis.conn();
    let mut made = || {
        let stats = direct.call("INFO stats").text();
        let line = stats.lines().find_map(|line| line.strip_prefix("total_connections_received:")).expect("a line");
        line.trim().parse::<u64>().expect("a number")
    };
    let before = made();
    (0..10).for_each(|_| transaction());
    assert_eq!(made(), before, "it has its connection again each time");
}

#[test]
fn keys_that_are_watched_are_bounded_for_the_upstream_compares_each_with_all() {
    let redis = Redis::start();
    for passthrough in ["isolated", "full"] {
        let tenants = Tenanted::start(&redis, &two(&format!("passthrough = \"{passthrough}\"")));
        let mut acme = tenants.acme();
        let watch = |count: usize| long(&["WATCH"], "k", count);
        for round in 0..3 {
            assert_eq!(line(&mut acme, &watch(1000)), "+OK\r\n");
            assert_eq!(line(&mut acme, &watch(24)), "+OK\r\n");
            if round == 0 {
                acme.call("UNWATCH").expect_ok();
            } else {
                // In one pipeline what ends it counts too.
                let transaction = ["MULTI", "EXEC"].map(|name| encode(&[name])).concat();
                acme.send(&[&transaction[..], &watch(1000), &transaction].concat());
                let replies: Vec<_> = (0..5).map(|_| acme.reply()).collect();
                assert!(replies[2] == Reply::ok() && replies[4].items().is_empty(), "{replies:?}");
            }
        }
        assert_eq!(line(&mut acme, &watch(1000)), "+OK\r\n");
        // What it was to guard is not executed without it.
        acme.send(&[&watch(25)[..], &encode(&["SET", "unguarded", "x"])].concat());
        acme.reply().expect_error("OVERLOADED");
        acme.expect_close();
        let mut acme = tenants.acme();
        acme.send(&[&long(&["WATCH"], &"k".repeat(2000), 1025)[..], &encode(&["SET", "unguarded", "x"])].concat());
        acme.reply().expect_error("OVERLOADED");
        acme.expect_close();
        assert_eq!(redis.conn().call("EXISTS unguarded acme:unguarded"), Reply::Int(0));
    }
}

#[test]
fn many_clients_that_speak_http_are_told_of_once_a_second() {
    let redis = Redis::start();
    let tenants = Tenanted::start(&redis, &two(""));
    let began = Instant::now();
    for _ in 0..100 {
        let mut stream = TcpStream::connect(&tenants.sidecar.listen).expect("a connection");
        stream.write_all(b"POST / HTTP/1.1\r\n").expect("a request");
        let mut rest = Vec::new();
        let _ = std::io::Read::read_to_end(&mut stream, &mut rest);
        assert_eq!(rest, b"");
    }
    let told = tenants.logged("speaks HTTP").len();
    assert!((1..=1 + began.elapsed().as_secs() as usize + 1).contains(&told), "{told} lines");
}

#[test]
fn before_auth_an_inline_request_is_small_too() {
    let redis = Redis::start();
    let tenants = Tenanted::start(&redis, &two(""));
    let mut conn = tenants.sidecar.conn();
    let inline = format!("{}\r\n", "a ".repeat(8 * 1024 - 1));
    assert_eq!(line(&mut conn, inline.as_bytes()), "-NOAUTH Authentication required.\r\n");
    assert_eq!(word(&mut conn, &["AUTH", "acme", "acme-secret"]), "+OK");
    let inline = format!("ECHO {}\r\n", "a".repeat(60_000));
    assert!(line(&mut conn, inline.as_bytes()).starts_with("$60000\r\n"));
    let mut conn = tenants.sidecar.conn();
    assert!(line(&mut conn, "a ".repeat(9 * 1024).as_bytes()).starts_with("-ERR Protocol error: too big inline"));
    conn.expect_close();
}
