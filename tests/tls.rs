//! TLS on both sides, with certificates of the test's own: who is let in, who is not and in which words, and what becomes of
//! files that change while clients are there.

mod common;
mod tls {
    pub mod certs;
    mod changing;
    pub mod client;
    pub mod server;
    mod traffic;
    mod upstream;
}

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use common::resp::encode;
use common::sidecar::run_to_end;
use common::tenants::{TWO, Tenanted};
use common::{Redis, Reply, SOON, Sidecar, figure, until};
use tls::certs::{Authority, Files};
use tls::client::{Client, VERSIONS};

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

fn handshakes(sidecar: &Sidecar, result: &str) -> f64 {
    figure(sidecar, &format!("inventory_sentinel_tls_handshakes_total{{result=\"{result}\"}} "))
}

fn wait_logged(sidecar: &Sidecar, part: &str) {
    until(&format!("{part:?} is logged"), SOON, || {
        sidecar.log_lines().iter().any(|line| line.contains(part)).then_some(())
    });
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
