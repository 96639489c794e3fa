//! TLS on both sides, with certificates of the test's own: who is let in, who is not and in which words, and what becomes of
//! files that change while clients are there.

mod common;
mod tls {
    pub mod certs;
    pub mod client;
}

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use common::redis::free_port;
use common::resp::encode;
use common::sidecar::run_to_end;
use common::tenants::{TWO, Tenanted};
use common::{Redis, Reply, SOON, Sidecar, figure, until, words};
use tls::certs::{Authority, Files, Pair};
use tls::client::{Client, VERSIONS, der};

const HERE: &str = "127.0.0.1";

/// Settings that make the listener speak TLS with `server.pem` and `server.key`.
fn listener(files: &Files) -> Vec<String> {
    vec![
        format!("listen.tls_cert={}", files.name("server.pem")),
        format!("listen.tls_key={}", files.name("server.key")),
        "log.level=debug".to_owned(),
    ]
}

fn start(url: &str, settings: &[String]) -> Sidecar {
    Sidecar::start(url, &settings.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The sidecar over a plain Redis, and what its clients need.
fn door() -> (Redis, Sidecar, Files, Authority) {
    let (redis, files, authority) = (Redis::start(), Files::new(), Authority::new());
    files.put_pair("server", &authority.issue(HERE));
    let sidecar = start(&redis.url(), &listener(&files));
    (redis, sidecar, files, authority)
}

/// A Redis that speaks TLS too, as `server`, and demands certificates of `clients`.
struct TlsRedis {
    redis: Redis,
    port: u16,
    files: Files,
}

impl TlsRedis {
    fn start(authority: &Authority, server: &Pair) -> Self {
        let (files, port) = (Files::new(), free_port());
        files.put_pair("redis", server);
        files.put("ca.pem", &authority.pem);
        files.put_pair("client", &authority.issue("client"));
        let [cert, key, ca] = ["redis.pem", "redis.key", "ca.pem"].map(|name| files.name(name));
        let port_said = port.to_string();
        let redis = Redis::with(&[
            "--save",
            "",
            "--appendonly",
            "no",
            "--tls-port",
            &port_said,
            "--tls-cert-file",
            &cert,
            "--tls-key-file",
            &key,
            "--tls-ca-cert-file",
            &ca,
            "--tls-auth-clients",
            "yes",
        ]);
        Self { redis, port, files }
    }

    fn url(&self) -> String {
        format!("rediss://{HERE}:{}", self.port)
    }

    /// Settings with which it can be reached.
    fn settings(&self) -> Vec<String> {
        [("tls_ca", "ca.pem"), ("tls_cert", "client.pem"), ("tls_key", "client.key")]
            .map(|(key, file)| format!("upstream.{key}={}", self.files.name(file)))
            .to_vec()
    }
}

fn handshakes(sidecar: &Sidecar, result: &str) -> f64 {
    figure(sidecar, &format!("inventory_sentinel_tls_handshakes_total{{result=\"{result}\"}} "))
}

fn reloads(sidecar: &Sidecar, side: &str, result: &str) -> f64 {
    figure(sidecar, &format!("inventory_sentinel_tls_reload_total{{side=\"{side}\",result=\"{result}\"}} "))
}

/// Waits until as many changes were taken, and as many not: they are in force a moment before they are counted.
fn wait_reloads(sidecar: &Sidecar, side: &str, (ok, failed): (f64, f64)) {
    until("the change is counted", SOON, || (reloads(sidecar, side, "ok") == ok).then_some(()));
    assert_eq!(reloads(sidecar, side, "failed"), failed);
}

fn wait_logged(sidecar: &Sidecar, part: &str) {
    until(&format!("{part:?} is logged"), SOON, || {
        sidecar.log_lines().iter().any(|line| line.contains(part)).then_some(())
    });
}

/// The certificate that a new client is shown.
fn shown(client: &Client, sidecar: &Sidecar) -> Vec<u8> {
    client.try_open(&sidecar.listen).expect("TLS").2
}

#[test]
fn both_versions_of_tls_are_spoken_and_the_unix_socket_stays_plain() {
    let (redis, files, authority) = (Redis::start(), Files::new(), Authority::new());
    files.put_pair("server", &authority.issue(HERE));
    let mut settings = listener(&files);
    settings.push(format!("listen.unix={}", files.name("sock")));
    let sidecar = start(&redis.url(), &settings);
    for version in VERSIONS {
        let client = Client::new(&authority.pem).speaking(version);
        let (mut conn, spoken, _) = client.try_open(&sidecar.listen).expect("TLS");
        assert_eq!(spoken, version.version);
        assert_eq!(conn.call("PING"), Reply::Simple("PONG".into()));
        conn.call("INV.SETSTOCK sku 5").expect_ok();
        assert!(conn.call("INV.RESERVE sku 1").text().len() > 8);
        assert_eq!(conn.call("HELLO 3").field("proto"), Reply::Int(3));
        assert!(conn.call("CLIENT LIST").text().contains(&format!(" laddr={} ", sidecar.listen)));
    }
    assert_eq!(handshakes(&sidecar, "ok"), 2.0);
    let mut plain = std::os::unix::net::UnixStream::connect(files.path("sock")).expect("the socket");
    plain.write_all(b"PING\r\n").expect("a request");
    let mut pong = [0; 7];
    plain.read_exact(&mut pong).expect("a reply");
    assert_eq!(&pong, b"+PONG\r\n");
}

#[test]
fn a_client_must_show_a_certificate_of_the_authority_where_one_is_demanded() {
    let (redis, files, authority) = (Redis::start(), Files::new(), Authority::new());
    let clients = Authority::new();
    files.put_pair("server", &authority.issue(HERE));
    files.put("clients.pem", &clients.pem);
    let mut settings = listener(&files);
    settings.push(format!("listen.tls_client_ca={}", files.name("clients.pem")));
    let sidecar = start(&redis.url(), &settings);
    for version in VERSIONS {
        let client = Client::new(&authority.pem).speaking(version);
        let right = client.clone().with(&clients.issue("me"));
        assert_eq!(right.open(&sidecar.listen).call("PING"), Reply::Simple("PONG".into()));
        for (client, told, logged) in [
            (client.clone(), "CertificateRequired", "it shows no certificate"),
            (
                client.clone().with(&authority.issue("me")),
                "UnknownCA",
                "of none of the authorities (listen.tls_client_ca)",
            ),
            (
                client.clone().with(&clients.issue_until("me", 2010)),
                "CertificateExpired",
                "its certificate has expired, ",
            ),
        ] {
            let before = handshakes(&sidecar, "failed");
            let refused = client.refused(&sidecar.listen);
            assert!(refused.contains(told), "{version:?}: {refused}");
            until("it is counted", SOON, || (handshakes(&sidecar, "failed") == before + 1.0).then_some(()));
            wait_logged(&sidecar, logged);
        }
    }
}

#[test]
fn an_upstream_is_reached_over_tls_by_every_way() {
    let authority = Authority::new();
    let upstream = TlsRedis::start(&authority, &authority.issue(HERE));
    let sidecar = start(&upstream.url(), &upstream.settings());
    let mut conn = sidecar.conn();
    conn.call("SET k v").expect_ok();
    assert_eq!(conn.call("GET k"), Reply::bulk("v"));
    conn.call("INV.SETSTOCK sku 5").expect_ok();
    let id = conn.call("INV.RESERVE sku 2").text();
    conn.call(&format!("INV.COMMIT {id}"));
    conn.call("MULTI").expect_ok();
    conn.call("INCR n");
    assert_eq!(conn.call("EXEC"), Reply::Array(vec![Reply::Int(1)]));
    // Nothing of it goes to the plain port.
    let list = upstream.redis.conn().call("CLIENT LIST").text();
    let plain = list.lines().filter(|row| row.contains(&format!(" laddr={} ", upstream.redis.addr()))).count();
    assert_eq!(plain, 1, "{list}");
    let mut args = vec!["check".to_owned(), "--connect".to_owned(), "--upstream".to_owned(), upstream.url()];
    args.extend(upstream.settings().into_iter().flat_map(|setting| ["--set".to_owned(), setting]));
    let (status, out, err) = run_to_end(&args.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(status, Some(0), "{err}");
    assert!(out.contains("upstream    rediss://") && out.contains("round trip"), "{out}");
}

#[test]
fn an_upstream_that_is_not_the_right_one_is_refused_in_words() {
    let (authority, other) = (Authority::new(), Authority::new());
    let right = TlsRedis::start(&authority, &authority.issue(HERE));
    let expired = TlsRedis::start(&authority, &authority.issue_until(HERE, 2010));
    let elsewhere = TlsRedis::start(&authority, &authority.issue("redis.example"));
    let set = |upstream: &TlsRedis, change: &[(&str, String)]| {
        let mut settings = upstream.settings();
        for (key, value) in change {
            settings.retain(|setting| !setting.starts_with(&format!("{key}=")));
            if !value.is_empty() {
                settings.push(format!("{key}={value}"));
            }
        }
        settings
    };
    let files = Files::new();
    files.put("other.pem", &other.pem);
    files.put_pair("other", &other.issue("client"));
    files.put_pair("old", &authority.issue_until("client", 2010));
    files.put("other.pem.ca", &other.pem);
    let none = String::new;
    let plain = format!("rediss://{}", right.redis.addr());
    // It may take what it gets for the beginning of a line, and say nothing at all.
    let soon = set(&right, &[("upstream.connect_timeout_ms", "200".to_owned())]);
    let cases = [
        (
            right.url(),
            set(&right, &[("upstream.tls_ca", files.name("other.pem.ca"))]),
            "its certificate is not trusted",
        ),
        (expired.url(), expired.settings(), "its certificate has expired, "),
        (elsewhere.url(), elsewhere.settings(), "its certificate is for redis.example, not for 127.0.0.1"),
        (
            right.url(),
            set(&right, &[("upstream.tls_cert", none()), ("upstream.tls_key", none())]),
            "it demands a client certificate (upstream.tls_cert)",
        ),
        (
            right.url(),
            set(
                &right,
                &[("upstream.tls_cert", files.name("other.pem")), ("upstream.tls_key", files.name("other.key"))],
            ),
            "it does not trust the authority of our certificate",
        ),
        (
            right.url(),
            set(&right, &[("upstream.tls_cert", files.name("old.pem")), ("upstream.tls_key", files.name("old.key"))]),
            "it says that our certificate has expired",
        ),
        (plain, soon, "TLS: "),
    ];
    // Side by side: an operation is tried until its deadline.
    std::thread::scope(|scope| {
        for (url, mut settings, said) in cases {
            settings.push("log.level=debug".to_owned());
            scope.spawn(move || {
                let sidecar = Sidecar::launch(&url, &settings.iter().map(String::as_str).collect::<Vec<_>>());
                let mut conn = sidecar.conn();
                for request in ["GET k", "INV.STOCK sku", "BLPOP q 1"] {
                    let Reply::Error(line) = conn.call(request) else { panic!("{request}: answered by {url}") };
                    assert!(line.starts_with("UNAVAILABLE "), "{request}: {line}");
                    assert!(line.contains(said), "{request}: wanted {said:?} in {line}");
                }
                wait_logged(&sidecar, said);
            });
        }
    });
    // Under the name that it has it is the right one.
    let named = set(&elsewhere, &[("upstream.tls_server_name", "redis.example".to_owned())]);
    assert_eq!(start(&elsewhere.url(), &named).conn().call("PING"), Reply::Simple("PONG".into()));
}

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

#[test]
fn changed_files_serve_new_clients_and_old_ones_go_on() {
    let (_redis, sidecar, files, authority) = door();
    let client = Client::new(&authority.pem);
    let mut old = client.open(&sidecar.listen);
    let next = authority.issue(HERE);
    files.put_pair("server", &next);
    until("the new certificate is shown", SOON, || (shown(&client, &sidecar) == der(&next)).then_some(()));
    assert_eq!(old.call("PING"), Reply::Simple("PONG".into()));
    wait_reloads(&sidecar, "listener", (1.0, 0.0));
}

#[test]
fn a_swapped_link_as_of_a_mounted_secret_is_seen() {
    let (redis, files, authority) = (Redis::start(), Files::new(), Authority::new());
    let pairs = [authority.issue(HERE), authority.issue(HERE)];
    for (name, pair) in ["..one", "..two"].iter().zip(&pairs) {
        std::fs::create_dir(files.path(name)).expect("a directory");
        files.put_pair(&format!("{name}/server"), pair);
    }
    files.link("..data", Path::new("..one"));
    files.link("server.pem", Path::new("..data/server.pem"));
    files.link("server.key", Path::new("..data/server.key"));
    let sidecar = start(&redis.url(), &listener(&files));
    let client = Client::new(&authority.pem);
    assert!(shown(&client, &sidecar) == der(&pairs[0]));
    let mut old = client.open(&sidecar.listen);
    files.link("..data", Path::new("..two"));
    until("the new certificate is shown", SOON, || (shown(&client, &sidecar) == der(&pairs[1])).then_some(()));
    assert_eq!(old.call("PING"), Reply::Simple("PONG".into()));
    wait_reloads(&sidecar, "listener", (1.0, 0.0));
}

#[test]
fn files_that_are_of_no_use_leave_what_was_and_are_told_once() {
    let (_redis, sidecar, files, authority) = door();
    let client = Client::new(&authority.pem);
    let first = shown(&client, &sidecar);
    let other = authority.issue(HERE);
    let said = |part: &str| sidecar.log_lines().iter().filter(|line| line.contains(part)).count();
    let bad: [(&str, String, &str); 4] = [
        ("server.key", other.key.clone(), "is not the key of the certificate"),
        ("server.pem", other.cert[..other.cert.len() / 2].to_owned(), "is cut off"),
        ("server.pem", String::new(), "there is no certificate in it"),
        ("server.key", "no PEM".to_owned(), "there is no private key"),
    ];
    for (at, (name, text, why)) in bad.iter().enumerate() {
        // The rest of the pair as it was at the start of a round would be right.
        files.put(name, text);
        let failed = (at + 1) as f64;
        until(why, SOON, || (reloads(&sidecar, "listener", "failed") >= failed).then_some(()));
        assert!(shown(&client, &sidecar) == first);
    }
    std::fs::remove_file(files.path("server.key")).expect("removed");
    until("it is gone", SOON, || (reloads(&sidecar, "listener", "failed") >= 5.0).then_some(()));
    assert!(shown(&client, &sidecar) == first);
    files.put_pair("server", &other);
    until("the right ones are taken", SOON, || (shown(&client, &sidecar) == der(&other)).then_some(()));
    wait_reloads(&sidecar, "listener", (1.0, 5.0));
    // The last of the log's lines, so the others are there.
    wait_logged(&sidecar, "new connections use them");
    assert_eq!(said("are of no use"), 5, "{:?}", sidecar.log_lines());
    assert_eq!(said("is not the key of the certificate"), 1);
}

#[test]
fn a_changed_certificate_of_ours_is_shown_to_the_upstream() {
    let authority = Authority::new();
    let upstream = TlsRedis::start(&authority, &authority.issue(HERE));
    upstream.files.put_pair("client", &authority.issue_until("client", 2010));
    let sidecar = Sidecar::launch(&upstream.url(), &upstream.settings().iter().map(String::as_str).collect::<Vec<_>>());
    sidecar.conn().call("GET k").expect_error("UNAVAILABLE");
    upstream.files.put_pair("client", &authority.issue("client"));
    sidecar.wait_ready();
    assert_eq!(sidecar.conn().call("ECHO k"), Reply::bulk("k"));
    wait_reloads(&sidecar, "upstream", (1.0, 0.0));
}

#[test]
fn a_plain_client_on_the_tls_port_is_closed_and_others_feel_nothing() {
    let (_redis, sidecar, _files, authority) = door();
    let mut other = Client::new(&authority.pem).open(&sidecar.listen);
    for request in [b"PING\r\n".to_vec(), encode(&["SET", "k", "v"]), vec![b'x'; 100_000]] {
        let mut plain = TcpStream::connect(&sidecar.listen).expect("connected");
        plain.set_read_timeout(Some(SOON)).expect("a timeout");
        let _ = plain.write_all(&request);
        let mut answer = Vec::new();
        // An alert of TLS at most, which begins with 21.
        let _ = plain.read_to_end(&mut answer);
        assert!(answer.first().is_none_or(|byte| *byte == 21), "{answer:?}");
        assert_eq!(other.call("GET k"), Reply::NilBulk);
    }
    until("they are counted", SOON, || (handshakes(&sidecar, "not_tls") == 3.0).then_some(()));
    wait_logged(&sidecar, "what it says is not TLS");
    until("they are gone", SOON, || (figure(&sidecar, "inventory_sentinel_clients ") == 1.0).then_some(()));
}

#[test]
fn a_handshake_that_stalls_is_ended_and_holds_nobody_up() {
    let (redis, files, authority) = (Redis::start(), Files::new(), Authority::new());
    files.put_pair("server", &authority.issue(HERE));
    let mut settings = listener(&files);
    settings.push("listen.handshake_ms=1000".to_owned());
    let sidecar = start(&redis.url(), &settings);
    let mut silent: Vec<TcpStream> = Vec::new();
    for beginning in [&b""[..], b"\x16\x03", b"\x16\x03\x01\x02\x00\x01"].iter().cycle().take(60) {
        let mut stream = TcpStream::connect(&sidecar.listen).expect("connected");
        stream.set_read_timeout(Some(SOON)).expect("a timeout");
        stream.write_all(beginning).expect("sent");
        silent.push(stream);
    }
    // There is one worker, and it has them all.
    let mut conn = Client::new(&authority.pem).open(&sidecar.listen);
    assert_eq!(conn.call("PING"), Reply::Simple("PONG".into()));
    for mut stream in silent {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.is_empty(), "{rest:?}");
    }
    until("they are counted", SOON, || (handshakes(&sidecar, "timeout") == 60.0).then_some(()));
    until("they are gone", SOON, || (figure(&sidecar, "inventory_sentinel_clients ") == 1.0).then_some(()));
    assert_eq!(conn.call("PING"), Reply::Simple("PONG".into()));
    // One that just looks whether the port is there.
    drop(TcpStream::connect(&sidecar.listen).expect("connected"));
    until("it is counted", SOON, || (handshakes(&sidecar, "gone") == 1.0).then_some(()));
}

#[test]
fn who_says_nothing_before_tls_keeps_no_place_from_those_who_do() {
    let (redis, files, authority) = (Redis::start(), Files::new(), Authority::new());
    files.put_pair("server", &authority.issue(HERE));
    let mut settings = listener(&files);
    settings.extend(["listen.handshake_ms=600000".to_owned(), "listen.clients_max=8".to_owned()]);
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let tenants = Tenanted::start_with(&redis, TWO, &settings, |_| {});
    let silent: Vec<TcpStream> =
        (0..40).map(|_| TcpStream::connect(&tenants.sidecar.listen).expect("connected")).collect();
    let client = Client::new(&authority.pem);
    let mut conn = until("it comes in", SOON, || client.try_open(&tenants.sidecar.listen).ok()).0;
    conn.call("AUTH acme acme-secret").expect_ok();
    drop(silent);
}

#[test]
fn files_that_are_of_no_use_are_an_error_at_the_start() {
    let (files, authority) = (Files::new(), Authority::new());
    let (one, two) = (authority.issue(HERE), authority.issue(HERE));
    files.put_pair("one", &one);
    files.put_pair("two", &two);
    files.put("cut.pem", &one.cert[..one.cert.len() / 2]);
    files.put("empty.pem", "");
    files.put("ca.pem", &authority.pem);
    for (cert, key, ca, said) in [
        ("none.pem", "one.key", "", "listen.tls_cert: {dir}/none.pem: No such file or directory"),
        ("one.pem", "none.key", "", "listen.tls_key: {dir}/none.key: No such file or directory"),
        ("cut.pem", "one.key", "", "listen.tls_cert: {dir}/cut.pem: is cut off"),
        ("empty.pem", "one.key", "", "listen.tls_cert: {dir}/empty.pem: there is no certificate in it"),
        ("one.pem", "one.pem", "", "listen.tls_key: {dir}/one.pem: there is no private key"),
        ("one.pem", "two.key", "", "listen.tls_key: {dir}/two.key: is not the key of the certificate in {dir}/one.pem"),
        ("one.pem", "one.key", "empty.pem", "listen.tls_client_ca: {dir}/empty.pem: there is no certificate in it"),
    ] {
        let mut settings =
            vec![format!("listen.tls_cert={}", files.name(cert)), format!("listen.tls_key={}", files.name(key))];
        if !ca.is_empty() {
            settings.push(format!("listen.tls_client_ca={}", files.name(ca)));
        }
        let said = said.replace("{dir}", files.path("").display().to_string().trim_end_matches('/'));
        for command in ["run", "check"] {
            let mut args = vec![command, "--listen", "127.0.0.1:0", "--admin", ""];
            args.extend(settings.iter().flat_map(|setting| ["--set", setting]));
            let (status, _, err) = run_to_end(&args);
            assert_eq!(status, Some(1), "{command}: {err}");
            assert!(err.contains(&said), "{command}: wanted {said:?} in {err}");
        }
    }
}

#[test]
fn redis_py_lives_the_life_cycle_over_tls() {
    let clients = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    let python = clients.join(".venv/bin/python");
    assert!(python.exists(), "{} is missing: run `make test`, or tests/clients/setup.sh", python.display());
    let (_redis, sidecar, files, authority) = door();
    files.put("ca.pem", &authority.pem);
    let (host, port) = sidecar.listen.rsplit_once(':').expect("host:port");
    let ran = Command::new(python)
        .args(["life_cycle.py", host, port, &files.name("ca.pem")])
        .current_dir(clients)
        .stdin(Stdio::null())
        .output()
        .expect("it runs");
    assert!(ran.status.success(), "{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
}
