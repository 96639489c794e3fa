//! Files that change while clients are there.

use std::path::Path;

use super::certs::{Authority, Files};
use super::client::{Client, der};
use super::server::TlsRedis;
use crate::common::{Redis, Reply, SOON, Sidecar, figure, until};
use crate::{HERE, door, listener, start, wait_logged};

fn reloads(sidecar: &Sidecar, side: &str, result: &str) -> f64 {
    figure(sidecar, &format!("inventory_sentinel_tls_reload_total{{side=\"{side}\",result=\"{result}\"}} "))
}

/// Waits until as many changes were taken, and as many not: they are in force a moment before they are counted.
fn wait_reloads(sidecar: &Sidecar, side: &str, (ok, failed): (f64, f64)) {
    until("the change is counted", SOON, || (reloads(sidecar, side, "ok") == ok).then_some(()));
    assert_eq!(reloads(sidecar, side, "failed"), failed);
}

/// The certificate that a new client is shown.
fn shown(client: &Client, sidecar: &Sidecar) -> Vec<u8> {
    client.try_open(&sidecar.listen).expect("TLS").2
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
