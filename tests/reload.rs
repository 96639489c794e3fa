//! A changed configuration, taken under way: all of it or none, and nobody feels it whom it does not concern.

mod common;

use common::tenants::{PATIENT, TWO, Tenanted, text, two, word};
use common::{Conn, Redis, Reply, SOON, until};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, symlink};

const ZED: &str = "[[tenants]]\nname = \"zed\"\npassword = \"z\"\n";

/// [`TWO`] without its second tenant.
fn without_rival() -> String {
    TWO[..TWO.rfind("[[tenants]]").expect("a second tenant")].to_owned()
}

#[test]
fn a_tenant_comes_and_goes_and_others_connections_are_undisturbed() {
    let redis = Redis::start();
    let tenants = Tenanted::start(&redis, TWO);
    let (mut acme, mut subscribed, mut waiting) = (tenants.acme(), tenants.acme(), tenants.acme());
    acme.call("SET k v").expect_ok();
    acme.call("MULTI").expect_ok();
    acme.send_args(&["INCR", "n"]);
    assert_eq!(acme.raw(), b"+QUEUED\r\n");
    subscribed.send_args(&["SUBSCRIBE", "c"]);
    subscribed.raw();
    waiting.send_args(&["BLPOP", "list", "0"]);
    let mut nobody = tenants.sidecar.conn();
    assert_eq!(word(&mut nobody, &["AUTH", "zed", "z"]), "-WRONGPASS");

    tenants.becomes(&format!("{TWO}{ZED}"), "ok");
    assert_eq!(text(&mut nobody, &["AUTH", "zed", "z"]), "+OK\r\n");
    assert_eq!(text(&mut nobody, &["SET", "k", "zed"]), "+OK\r\n");

    // Of the one who goes: at rest, in a transaction, subscribed, and waiting for what never comes.
    let mut gone: Vec<_> = (0..5).map(|_| tenants.rival()).collect();
    gone[1].call("MULTI").expect_ok();
    gone[2].send_args(&["SUBSCRIBE", "c"]);
    gone[2].raw();
    gone[3].send_args(&["BLPOP", "list", "0"]);
    gone[4].call("WATCH k").expect_ok();
    until("it waits", SOON, || redis.conn().call("CLIENT LIST").text().contains("cmd=blpop").then_some(()));
    tenants.becomes(&format!("{}{ZED}", without_rival()), "ok");
    gone.iter_mut().for_each(Conn::expect_close);
    assert_eq!(word(&mut tenants.sidecar.conn(), &["AUTH", "rival", "rival-secret"]), "-WRONGPASS");

    assert_eq!(acme.call("EXEC").items(), [Reply::Int(1)]);
    assert_eq!(redis.conn().call("PUBLISH acme:c hello"), Reply::Int(1));
    assert_eq!(subscribed.raw(), b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$5\r\nhello\r\n");
    assert_eq!(acme.call("RPUSH list x"), Reply::Int(1));
    assert_eq!(waiting.raw(), b"*2\r\n$4\r\nlist\r\n$1\r\nx\r\n");
    assert_eq!(text(&mut nobody, &["GET", "k"]), "$3\r\nzed\r\n");
    assert_eq!(tenants.logged("closed a client whose tenant is no more").len(), 5);
}

#[test]
fn a_password_limits_and_rights_change_for_those_who_are_there() {
    let redis = Redis::start();
    let tenants = Tenanted::start(&redis, TWO);
    let (mut acme, mut rival) = (tenants.acme(), tenants.rival());
    acme.call("SET k v").expect_ok();
    acme.call("INV.SETSTOCK tee 5").expect_ok();
    let id = acme.call("INV.RESERVE tee 1").text();
    let changed = two("deny = [\"set\"]\ninventory = \"read\"\nclients_max = 1\nrequest_bytes_max = 1024")
        .replace("acme-secret", "another");
    tenants.becomes(&changed, "ok");

    assert_eq!(text(&mut acme, &["SET", "k", "w"]), "-NOPERM this tenant may not run 'set'\r\n");
    assert_eq!(word(&mut acme, &["INV.COMMIT", &id]), "-NOPERM");
    assert_eq!(word(&mut acme, &["GET", &"k".repeat(2000)]), "-OVERLOADED");
    assert_eq!(text(&mut acme, &["GET", "k"]), "$1\r\nv\r\n");
    let mut more = tenants.sidecar.conn();
    assert_eq!(word(&mut more, &["AUTH", "acme", "acme-secret"]), "-WRONGPASS");
    assert_eq!(word(&mut more, &["AUTH", "acme", "another"]), "-OVERLOADED");
    rival.call("SET k v").expect_ok();

    tenants.becomes(TWO, "ok");
    assert_eq!(text(&mut acme, &["INV.COMMIT", &id]), "+OK\r\n");
    assert_eq!(text(&mut more, &["AUTH", "acme", "acme-secret"]), "+OK\r\n");
    assert_eq!(text(&mut more, &["SET", "k", "w"]), "+OK\r\n");
    // Where its names are is another matter: what a client knows of its keys would be of others.
    tenants.becomes(&two("namespace = \"elsewhere\""), "ok");
    acme.expect_close();
    assert_eq!(text(&mut tenants.acme(), &["GET", "k"]), "$-1\r\n");
    let log = tenants.sidecar.log_lines().join("\n");
    assert!(log.contains("tenants.acme.password: changed") && log.contains("tenants.acme.namespace"), "{log}");
    assert!(!log.contains("another\""), "{log}");
}

#[test]
fn a_file_that_is_of_no_use_changes_nothing_at_all() {
    let redis = Redis::start();
    let tenants = Tenanted::start(&redis, TWO);
    let mut acme = tenants.acme();
    let harmless = two("deny = [\"set\"]");
    let broken = [
        format!("{harmless}\n[[tenants]\n"),
        format!("{harmless}no_such_key = 1\n"),
        format!("{harmless}[[tenants]]\nname = \"third\"\n"),
        format!("{harmless}[[tenants]]\nname = \"third\"\npassword_file = \"DIR/missing\"\n"),
        format!("{harmless}[[tenants]]\nname = \"third\"\npassword_env = \"TENANTS_TEST_NOT_SET\"\n"),
        // What a running sidecar cannot take: cells, links, TLS's files, listeners that cannot be had.
        format!("[inventory]\ncells = 2\n{harmless}"),
        format!("[upstream]\nlinks = 3\n{harmless}"),
        two("deny = [\"set\"]\nunix = \"DIR/missing/door\""),
        format!("{harmless}[[tenants]]\nname = \"third\"\nunix = \"DIR/missing/door\"\n"),
        harmless.replace("[listen]", "[listen]\ntls_cert = \"DIR/cert.pem\"\ntls_key = \"DIR/key.pem\""),
        "[listen]\nauth_failure_ms = 1\n".to_owned(),
    ];
    for (at, text_of) in broken.iter().enumerate() {
        tenants.becomes(text_of, "failed");
        let told = || tenants.logged("the changed configuration is not taken");
        let errors = until("it is told once", SOON, || Some(told()).filter(|lines| lines.len() > at));
        assert_eq!(errors.len(), at + 1, "{text_of}\n{errors:?}");
        assert!(errors[at].contains("ERROR"), "{errors:?}");
        assert_eq!(text(&mut acme, &["SET", "k", "v"]), "+OK\r\n", "{text_of}");
        assert_eq!(word(&mut tenants.sidecar.conn(), &["AUTH", "third", ""]), "-WRONGPASS");
    }
    assert_eq!((tenants.reloads("ok"), tenants.reloads("failed")), (0.0, broken.len() as f64));
    let log = tenants.sidecar.log_lines().join("\n");
    assert!(log.contains("inventory.cells: 1 -> 2 (needs a restart)") && log.contains("TENANTS_TEST_NOT_SET"), "{log}");
    tenants.becomes(&harmless, "ok");
    assert_eq!(word(&mut acme, &["SET", "k", "v"]), "-NOPERM");
    tenants.hang_up();
    until("it was read again", SOON, || (tenants.logged("nothing has changed").len() == 1).then_some(()));
}

#[test]
fn a_changed_file_is_seen_by_itself_and_a_password_file_too() {
    let redis = Redis::start();
    let config = format!("{TWO}[[tenants]]\nname = \"third\"\npassword_file = \"DIR/mounted/secret\"\n");
    let tenants = Tenanted::start_with(&redis, &config, &[], |dir| {
        // As a mounted Secret is: a link to a directory that becomes another.
        for (version, word) in [("v1", "one"), ("v2", "two")] {
            std::fs::create_dir(dir.join(version)).expect("a directory");
            std::fs::write(dir.join(version).join("secret"), word).expect("a file");
        }
        symlink("v1", dir.join("mounted")).expect("a link");
    });
    drop(tenants.conn_as("third", "one"));
    symlink("v2", tenants.path("moved")).expect("a link");
    std::fs::rename(tenants.path("moved"), tenants.path("mounted")).expect("moved");
    let mut conn = tenants.sidecar.conn();
    until("the other password is the right one", SOON, || {
        if word(&mut conn, &["AUTH", "third", "two"]) == "+OK" {
            Some(())
        } else {
            conn = tenants.sidecar.conn();
            None
        }
    });
    assert_eq!(word(&mut tenants.sidecar.conn(), &["AUTH", "third", "one"]), "-WRONGPASS");
    until("it is told", SOON, || tenants.logged("a password in a file: changed").pop());

    // The file itself, moved to its place and written in place.
    let denied =
        |word: &str| config.replacen("\"acme-secret\"\n", &format!("\"acme-secret\"\ndeny = [\"{word}\"]\n"), 1);
    let put = |text: String| text.replace("DIR", &tenants.path("").display().to_string());
    let mut acme = tenants.acme();
    std::fs::write(tenants.path("next"), put(denied("set"))).expect("a file");
    std::fs::rename(tenants.path("next"), tenants.path("sentinel.toml")).expect("moved");
    until("SET is denied", SOON, || (word(&mut acme, &["SET", "k", "v"]) == "-NOPERM").then_some(()));
    std::fs::write(tenants.path("sentinel.toml"), put(denied("get"))).expect("a file");
    until("GET is denied", SOON, || (word(&mut acme, &["GET", "k"]) == "-NOPERM").then_some(()));
    assert_eq!((tenants.reloads("ok"), tenants.reloads("failed")), (3.0, 0.0));
}

/// [`TWO`], and a tenant with these listeners of its own.
fn with_doors(name: &str, tcp: &str, mode: &str) -> String {
    format!("{TWO}[[tenants]]\nname = \"{name}\"\ntcp = \"{tcp}\"\nunix = \"DIR/door.sock\"\nunix_mode = \"{mode}\"\n")
}

#[test]
fn listeners_of_tenants_come_and_go_and_one_that_cannot_be_had_changes_nothing() {
    let redis = Redis::start();
    let tenants = Tenanted::start(&redis, TWO);
    let [first, second] = [0; 2].map(|_| format!("127.0.0.1:{}", common::redis::free_port()));
    let socket = tenants.path("door.sock");
    let whose = |address: &str| text(&mut Conn::open(address), &["ACL", "WHOAMI"]);
    let mode = || socket.metadata().map(|found| found.permissions().mode() & 0o777).ok();
    let is_shut = |address: &str| until("nobody listens", SOON, || TcpStream::connect(address).is_err().then_some(()));
    let mut acme = tenants.acme();

    tenants.becomes(&with_doors("door", &first, "0640"), "ok");
    assert_eq!((whose(&first).as_str(), mode()), ("$4\r\ndoor\r\n", Some(0o640)));
    let mut client = Conn::open(&first);
    assert_eq!(text(&mut client, &["SET", "k", "v"]), "+OK\r\n");

    // Another address: who is there goes on.
    tenants.becomes(&with_doors("door", &second, "0600"), "ok");
    is_shut(&first);
    assert_eq!((whose(&second).as_str(), mode()), ("$4\r\ndoor\r\n", Some(0o600)));
    assert_eq!(text(&mut client, &["GET", "k"]), "$1\r\nv\r\n");

    // What somebody else listens on: nothing of it is taken, what else has changed neither.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    let at = taken.local_addr().expect("an address").to_string();
    let changed = format!(
        "{}[[tenants]]\nname = \"free\"\ntcp = \"{first}\"\nunix = \"DIR/free.sock\"\n",
        with_doors("door", &at, "0644").replace("acme-secret", "another")
    );
    tenants.becomes(&changed, "failed");
    assert!(tenants.logged("cannot listen on").len() == 1 && !tenants.path("free.sock").exists());
    is_shut(&first);
    assert_eq!((whose(&second).as_str(), mode()), ("$4\r\ndoor\r\n", Some(0o600)));
    assert_eq!(
        (text(&mut client, &["GET", "k"]), word(&mut tenants.acme(), &["PING"])),
        ("$1\r\nv\r\n".into(), "+PONG".into())
    );

    // Another tenant's from here on.
    tenants.becomes(&with_doors("hatch", &second, "0600"), "ok");
    client.expect_close();
    assert_eq!((whose(&second).as_str(), mode()), ("$5\r\nhatch\r\n", Some(0o600)));
    let mut client = Conn::open(&second);
    assert_eq!(text(&mut client, &["GET", "k"]), "$-1\r\n");

    tenants.becomes(TWO, "ok");
    client.expect_close();
    is_shut(&second);
    until("its socket is gone", SOON, || (!socket.exists()).then_some(()));
    assert_eq!(word(&mut acme, &["PING"]), "+PONG");
}

#[test]
fn check_says_what_would_change_and_what_needs_a_restart() {
    let dir = tempfile::TempDir::new().expect("a directory");
    let path = |name: &str| dir.path().join(name).display().to_string();
    std::fs::write(path("old"), TWO).expect("a file");
    let new = format!("[upstream]\nlinks = 3\n{}{ZED}", two("clients_max = 3").replace("acme-secret", "another"));
    std::fs::write(path("new"), new.replace("rival", "other")).expect("a file");
    let (status, out, err) =
        common::sidecar::run_to_end(&["check", "--config", &path("new"), "--against", &path("old")]);
    assert_eq!(status, Some(0), "{out}{err}");
    for line in [
        "upstream.links: 2 -> 3 (needs a restart)",
        "tenants.acme.clients_max: 0 -> 3",
        "tenants.acme.password: changed",
        "tenants.other: added",
        "tenants.rival: removed",
        "tenants.zed: added",
    ] {
        assert!(out.lines().any(|found| found == format!("change      {line}")), "{line} in\n{out}");
    }
    assert!(!out.contains("another") && !out.contains("secret"), "{out}");
}

/// Two tenants, with every kind of secret that a configuration can hold.
const SECRETIVE: &str = r#"
[listen]
auth_failure_ms = 1

[admin]
show_config = true

[[tenants]]
name = "acme"
password = "acme-secret"
upstream_user = "acme-upstream"
upstream_password = "acme-upstream-secret"

[[tenants]]
name = "rival"
password = "rival-secret"

[[tenants]]
name = "hashed"
password_hash = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$5tXCdHqd6p0MSaPTBPEKXcKyCm3DhHlcRdyqfE+IDQg"

[[tenants]]
name = "filed"
password_file = "DIR/word"

[[tenants]]
name = "named"
password_env = "TENANTS_TEST_PASSWORD"
"#;

#[test]
fn check_compares_with_what_a_sidecar_runs_with() {
    let redis = Redis::start();
    let tenants = Tenanted::start_with(&redis, TWO, &["admin.show_config=true"], |_| {});
    let (upstream, url) = (redis.url(), format!("http://{}/config", tenants.sidecar.admin));
    let path = tenants.path("new").display().to_string();
    let check = |new: &str, url: &str| {
        std::fs::write(&path, new).expect("a file");
        let settings =
            ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--set", "admin.show_config=true", "--set", PATIENT];
        let args = [&["check", "--config", &path, "--upstream", &upstream, "--against", url], &settings[..]].concat();
        let (status, out, err) = common::sidecar::run_to_end(&args);
        assert_eq!(status, Some(0), "{out}{err}");
        assert!(!out.contains("-secret"), "{out}");
        let told = out.lines().filter(|line| ["change", "unknow"].iter().any(|word| line.starts_with(word)));
        told.map(|line| line.split_once(' ').map_or(line, |(_, told)| told.trim()).to_owned()).collect::<Vec<_>>()
    };
    let unknown = ["acme", "rival"].map(|name| format!("tenants.{name}.password: a sidecar tells no secret"));
    let with_unknown =
        |changes: &[&str]| changes.iter().map(|&change| change.to_owned()).chain(unknown.clone()).collect::<Vec<_>>();
    assert_eq!(check(TWO, &url), with_unknown(&["none"]));
    let changed = two("clients_max = 3");
    assert_eq!(check(&changed, &url), with_unknown(&["tenants.acme.clients_max: 0 -> 3"]));
    // What is in force is told, and not what the file has become.
    tenants.becomes(&changed, "ok");
    assert_eq!(check(&changed, &url[..url.len() - "/config".len()]), with_unknown(&["none"]));
    tenants.becomes("[listen]\nauth_failure_ms = 3\n", "failed");
    assert_eq!(check(&changed, &url), with_unknown(&["none"]));
    assert_eq!(
        check(&changed.replace("listen]", "listen]\nhandshake_ms = 77"), &url),
        with_unknown(&["listen.handshake_ms: 5000 -> 77 (needs a restart)"])
    );
    let (status, _, err) = common::sidecar::run_to_end(&["check", "--against", "https://127.0.0.1:1/config"]);
    assert!(status == Some(1) && err.contains("neither a file nor http://"), "{err}");
}

#[test]
fn a_sidecar_tells_its_configuration_on_the_admin_address_alone_where_it_may_and_no_secret() {
    let redis = Redis::start();
    let mut conn = redis.conn();
    conn.call("ACL SETUSER acme-upstream on >acme-upstream-secret ~* &* +@all").expect_ok();
    conn.call("CONFIG SET requirepass upstream-secret").expect_ok();
    let url = redis.url().replace("redis://", "redis://default:upstream-secret@");
    let dir = tempfile::TempDir::new().expect("a directory");
    let at = |name: &str| dir.path().join(name).display().to_string();
    std::fs::write(at("word"), "filed-secret").expect("a file");
    std::fs::write(at("sentinel.toml"), SECRETIVE.replace("DIR", &dir.path().display().to_string())).expect("a file");
    let listen = ["run", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    let mut command = common::sidecar::command(&listen);
    command.env("TENANTS_TEST_PASSWORD", "from the environment");
    command.args(["--config", &at("sentinel.toml"), "--upstream", &url]);
    let sidecar = common::Sidecar::launch_command(command);
    sidecar.wait_ready();
    let (status, told) = sidecar.http("/config");
    assert_eq!(status, 200, "{told}");
    for secret in
        ["-secret", "argon2", "c2FsdHNhbHRzYWx0", "5tXCdHqd6p0MSaPTBPEKXcKyCm3DhHlcRdyqfE", "default:", "from the"]
    {
        assert!(!told.contains(secret), "{secret} in {told}");
    }
    for shown in ["acme-upstream", "/word", "TENANTS_TEST_PASSWORD", "tenants.hashed.password_hash", "127.0.0.1"] {
        assert!(told.contains(shown), "{shown} not in {told}");
    }
    // A client's listener tells nothing of the kind.
    let mut conn = sidecar.conn();
    conn.send(b"GET /config HTTP/1.1\r\n\r\n");
    assert!(String::from_utf8(conn.raw()).expect("a reply of text").starts_with("-NOAUTH"));

    let silent = Tenanted::start(&Redis::start(), TWO);
    let (status, told) = silent.sidecar.http("/config");
    assert!(status == 403 && !told.contains("acme"), "{told}");
    let asked = format!("http://{}/config", silent.sidecar.admin);
    let (status, _, err) = common::sidecar::run_to_end(&["check", "--against", &asked]);
    assert!(status == Some(1) && err.contains("admin.show_config"), "{err}");
}
