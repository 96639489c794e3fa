//! An upstream over TLS: what reaches it, and what is said of one that is not the right one.

use super::certs::{Authority, Files};
use super::server::TlsRedis;
use crate::common::sidecar::run_to_end;
use crate::common::{Reply, Sidecar};
use crate::{HERE, start, wait_logged};

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
