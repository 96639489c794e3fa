//! Several tenants behind one sidecar: who comes in, what each may, and what the limits of one are to others.

mod common;

use common::tenants::{TWO, Tenanted, text, two};
use common::{Conn, Redis};
use std::io::Write;

#[test]
fn who_has_not_said_who_it_is_gets_nothing() {
    let redis = Redis::start();
    let tenanted = Tenanted::start(&redis, TWO);
    let mut conn = tenanted.sidecar.conn();
    for request in [&["PING"][..], &["GET", "k"], &["INV.STOCK", "tee"], &["CLIENT", "ID"], &["NOSUCH"], &["MULTI"]] {
        assert_eq!(text(&mut conn, request), "-NOAUTH Authentication required.\r\n", "{request:?}");
    }
    assert!(text(&mut conn, &["HELLO", "3"]).starts_with("-NOAUTH HELLO must be called"));
    for wrong in [
        &["AUTH", "acme", "rival-secret"][..],
        &["AUTH", "acme", ""],
        &["AUTH", "acme-secret"],
        &["AUTH", "nobody", "acme-secret"],
        &["AUTH", "default", ""],
        &["HELLO", "2", "AUTH", "rival", "acme-secret"],
    ] {
        assert!(text(&mut conn, wrong).starts_with("-WRONGPASS "), "{wrong:?}");
        assert_eq!(text(&mut conn, &["PING"]), "-NOAUTH Authentication required.\r\n");
    }
    assert_eq!(text(&mut conn, &["AUTH", "acme", "acme-secret"]), "+OK\r\n");
    assert_eq!(text(&mut conn, &["PING"]), "+PONG\r\n");
    assert_eq!(text(&mut conn, &["RESET"]), "+RESET\r\n");
    assert_eq!(text(&mut conn, &["PING"]), "-NOAUTH Authentication required.\r\n");
    assert!(tenanted.sidecar.http("/metrics").1.contains("inventory_sentinel_auth_failures_total 6"));
}

#[test]
fn the_same_sku_of_two_tenants_is_two_things() {
    let redis = Redis::start();
    let tenanted = Tenanted::start(&redis, TWO);
    let mut ours = tenanted.acme();
    let mut theirs = tenanted.sidecar.conn();
    assert!(text(&mut theirs, &["HELLO", "2", "AUTH", "rival", "rival-secret"]).starts_with("*"));
    assert_eq!(text(&mut ours, &["INV.SETSTOCK", "tee", "5"]), "+OK\r\n");
    assert_eq!(text(&mut theirs, &["INV.STOCK", "tee"]), "$-1\r\n");
    assert_eq!(text(&mut theirs, &["INV.SETSTOCK", "tee", "1"]), "+OK\r\n");
    let id = text(&mut ours, &["INV.RESERVE", "tee", "5"]);
    let id = id.lines().nth(1).expect("an id");
    let unknown = text(&mut theirs, &["INV.COMMIT", &format!("{}x", &id[..id.len() - 1])]);
    assert_eq!(text(&mut theirs, &["INV.COMMIT", id]), unknown);
    assert!(unknown.starts_with("-NOTFOUND "));
    assert_eq!(text(&mut ours, &["INV.COMMIT", id]), "+OK\r\n");
    let reply = text(&mut theirs, &["INV.RESERVE", "tee", "1"]);
    assert!(reply.starts_with('$'), "{reply}");
}

#[test]
fn a_refused_auth_leaves_a_client_what_it_was() {
    let redis = Redis::start();
    let tenanted = Tenanted::start(&redis, TWO);
    let mut conn = tenanted.acme();
    text(&mut conn, &["INV.SETSTOCK", "tee", "5"]);
    assert!(text(&mut conn, &["AUTH", "rival", "wrong"]).starts_with("-WRONGPASS "));
    assert!(text(&mut conn, &["HELLO", "3", "AUTH", "rival", "wrong"]).starts_with("-WRONGPASS "));
    assert!(text(&mut conn, &["INV.STOCK", "tee"]).contains("available\r\n:5"));
    assert_eq!(text(&mut conn, &["AUTH", "rival", "rival-secret"]), "+OK\r\n");
    assert_eq!(text(&mut conn, &["INV.STOCK", "tee"]), "$-1\r\n");
}

#[test]
fn an_isolated_tenant_sees_its_own_keys_in_its_own_spelling_and_no_others() {
    let redis = Redis::start();
    let tenanted = Tenanted::start(&redis, TWO);
    let (mut ours, mut theirs) = (tenanted.acme(), tenanted.sidecar.conn());
    text(&mut theirs, &["AUTH", "rival", "rival-secret"]);
    assert_eq!(text(&mut theirs, &["MSET", "k", "theirs", "z", "1"]), "+OK\r\n");
    assert_eq!(text(&mut ours, &["GET", "k"]), "$-1\r\n");
    assert_eq!(text(&mut ours, &["RANDOMKEY"]), "$-1\r\n");
    assert_eq!(text(&mut ours, &["SET", "k", "ours"]), "+OK\r\n");
    assert_eq!(text(&mut ours, &["DBSIZE"]), ":1\r\n");
    assert_eq!(text(&mut ours, &["KEYS", "*"]), "*1\r\n$1\r\nk\r\n");
    assert_eq!(text(&mut ours, &["RANDOMKEY"]), "$1\r\nk\r\n");
    assert_eq!(text(&mut ours, &["SCAN", "0"]), "*2\r\n$1\r\n0\r\n*1\r\n$1\r\nk\r\n");
    assert_eq!(text(&mut ours, &["LPUSH", "l", "1"]), ":1\r\n");
    assert_eq!(text(&mut ours, &["BLPOP", "l", "0"]), "*2\r\n$1\r\nl\r\n$1\r\n1\r\n");
    assert_eq!(text(&mut ours, &["MULTI"]), "+OK\r\n");
    for request in [&["GET", "k"][..], &["RPUSH", "l", "2", "3"], &["BRPOP", "l", "0"]] {
        assert_eq!(text(&mut ours, request), "+QUEUED\r\n");
    }
    assert_eq!(text(&mut ours, &["EXEC"]), "*3\r\n$4\r\nours\r\n:2\r\n*2\r\n$1\r\nl\r\n$1\r\n3\r\n");
    // 6.2 does not have it.
    if !redis.conn().call("COMMAND INFO LMPOP").items()[0].is_nil() {
        assert_eq!(text(&mut ours, &["MULTI"]), "+OK\r\n");
        assert_eq!(text(&mut ours, &["LMPOP", "1", "l", "LEFT"]), "+QUEUED\r\n");
        assert_eq!(text(&mut ours, &["EXEC"]), "*1\r\n*2\r\n$1\r\nl\r\n*1\r\n$1\r\n2\r\n");
    }
    assert_eq!(text(&mut ours, &["SUBSCRIBE", "c"]), "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
    assert_eq!(text(&mut theirs, &["PUBLISH", "c", "x"]), ":0\r\n");
    let mut upstream = redis.conn();
    assert_eq!(text(&mut upstream, &["PUBLISH", "acme:c", "hello"]), ":1\r\n");
    assert_eq!(String::from_utf8_lossy(&ours.raw()), "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$5\r\nhello\r\n");
    assert!(text(&mut theirs, &["FLUSHALL"]).starts_with("-NOPERM "));
    assert!(text(&mut theirs, &["SELECT", "1"]).starts_with("-NOPERM "));
    assert_eq!(text(&mut upstream, &["EXISTS", "acme:k", "rival:k"]), ":2\r\n");
}

#[test]
fn who_says_nothing_does_not_keep_out_those_who_do() {
    let redis = Redis::start();
    let tenants = TWO.replace("[listen]", "[listen]\nclients_max = 16\nauth_timeout_ms = 600000");
    let tenanted = Tenanted::start(&redis, &tenants);
    let mut silent: Vec<Conn> = (0..4).map(|_| tenanted.sidecar.conn()).collect();
    for conn in &mut silent {
        assert!(text(conn, &["PING"]).starts_with("-NOAUTH "));
    }
    let mut ours: Vec<Conn> = (0..4).map(|_| tenanted.sidecar.conn()).collect();
    // Each came in as one too many that had not said who it is.
    for conn in &mut silent {
        conn.expect_close();
    }
    for conn in &mut ours {
        assert_eq!(text(conn, &["AUTH", "acme", "acme-secret"]), "+OK\r\n");
    }
}

#[test]
fn the_ids_of_clients_tell_nothing_of_others() {
    let redis = Redis::start();
    let tenanted = Tenanted::start(&redis, TWO);
    let mut first = tenanted.acme();
    assert_eq!(text(&mut first, &["CLIENT", "ID"]), ":1\r\n");
    let mut theirs = tenanted.sidecar.conn();
    assert!(text(&mut theirs, &["HELLO", "2", "AUTH", "rival", "rival-secret"]).contains("\r\nid\r\n:1\r\n"));
    let mut second = tenanted.acme();
    assert_eq!(text(&mut second, &["CLIENT", "ID"]), ":2\r\n");
    let rows = text(&mut first, &["CLIENT", "LIST"]);
    assert_eq!((rows.matches(" user=acme ").count(), rows.matches("id=").count() >= 2), (2, true), "{rows}");
    assert!(!rows.contains("rival"), "{rows}");
    // The id of another tenant's client is nobody's, and one's own is one's own.
    assert_eq!(text(&mut second, &["CLIENT", "KILL", "ID", "3"]), ":0\r\n");
    assert_eq!(text(&mut second, &["CLIENT", "KILL", "ID", "1"]), ":1\r\n");
    first.expect_close();
    assert_eq!(text(&mut theirs, &["PING"]), "+PONG\r\n");
}

#[test]
fn a_password_in_a_request_that_is_none_does_not_go_upstream() {
    let redis = Redis::start();
    let mut upstream = redis.conn();
    assert_eq!(text(&mut upstream, &["ACL", "SETUSER", "root2", "on", ">deep", "+@all", "~*", "&*"]), "+OK\r\n");
    let tenanted = Tenanted::start(&redis, TWO);
    let mut monitor = redis.conn();
    assert_eq!(text(&mut monitor, &["MONITOR"]), "+OK\r\n");
    for mut conn in [tenanted.sidecar.conn(), tenanted.acme()] {
        for (request, said) in [
            (&["HELLO", "3", "AUTH", "root2", "deep", "JUNK"][..], "-ERR Syntax error in HELLO"),
            (&["HELLO", "3", "AUTH", "root2"], "-ERR Syntax error in HELLO"),
            (&["HELLO", "4", "AUTH", "root2", "deep"], "-NOPROTO "),
            (&["HELLO", "x"], "-ERR Protocol version is not an integer"),
            (&["AUTH"], "-ERR wrong number of arguments for 'auth' command"),
            (&["AUTH", "root2", "deep", "x"], "-ERR syntax error"),
        ] {
            let reply = text(&mut conn, request);
            assert!(reply.starts_with(said), "{request:?}: {reply}");
        }
    }
    let mut ours = tenanted.acme();
    assert_eq!(text(&mut ours, &["SET", "the-end", "1"]), "+OK\r\n");
    loop {
        let line = monitor.rest_of_line();
        assert!(!line.contains("root2") && !line.contains("deep"), "{line}");
        if line.contains("the-end") {
            break;
        }
    }
}

#[test]
fn a_password_that_cannot_be_had_is_said_by_check_and_before_anything_is_bound() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    let text = "[[tenants]]\nname = \"acme\"\npassword_env = \"NOBODY_SETS_THIS\"\n[[tenants]]\nname = \"b\"\npassword = \"x\"\n";
    file.write_all(text.as_bytes()).expect("its text");
    for words in [["check"], ["run"]] {
        let mut command = std::process::Command::new(common::sidecar::PROGRAM);
        let ended = command.args(words).arg("--config").arg(file.path()).output().expect("it runs");
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        let line =
            "tenants.acme.password_env: the environment variable NOBODY_SETS_THIS, which is to hold it, is not set\n";
        assert_eq!((said.as_str(), ended.status.code()), (line, Some(1)), "{words:?}");
    }
}

#[test]
fn a_client_that_may_have_seen_everything_is_closed_where_its_tenant_is_shut_in() {
    let redis = Redis::start();
    let tenanted = Tenanted::start(&redis, &two("passthrough = \"full\""));
    let (mut watching, mut theirs) = (tenanted.acme(), tenanted.rival());
    assert_eq!(text(&mut watching, &["MONITOR"]), "+OK\r\n");
    tenanted.becomes(TWO, "ok");
    watching.expect_close();
    assert_eq!(text(&mut theirs, &["PING"]), "+PONG\r\n");
}

#[test]
fn what_exec_would_answer_too_early_is_refused() {
    let redis = Redis::start();
    let tenanted = Tenanted::start(&redis, &two("acknowledge = \"replicas:1\""));
    let mut ours = tenanted.acme();
    assert_eq!(text(&mut ours, &["MULTI"]), "+OK\r\n");
    assert_eq!(text(&mut ours, &["INV.STOCK", "tee"]), "+QUEUED\r\n");
    let refused = text(&mut ours, &["INV.SETSTOCK", "tee", "5"]);
    assert!(refused.starts_with("-ERR INV commands that change anything"), "{refused}");
    assert!(text(&mut ours, &["EXEC"]).starts_with("-EXECABORT "));
    // Asked for through the sidecar it would be answered when a replica has it, and there is none.
    assert_eq!(text(&mut redis.conn(), &["KEYS", "inv1:{acme/*:stock"]), "*0\r\n");
}

#[test]
fn a_reset_that_leads_to_a_full_tenant_has_one_reply() {
    let redis = Redis::start();
    let open = format!("{TWO}\n[[tenants]]\nname = \"default\"\nclients_max = 1\n");
    let tenanted = Tenanted::start(&redis, &open);
    let mut first = tenanted.acme();
    let mut second = tenanted.sidecar.conn();
    assert_eq!(text(&mut second, &["PING"]), "+PONG\r\n");
    assert!(text(&mut first, &["RESET"]).starts_with("-OVERLOADED "));
    first.expect_close();
}

#[test]
fn a_rule_that_names_nothing_is_told() {
    let redis = Redis::start();
    let tenanted = Tenanted::start(&redis, &two("deny = [\"flushal\", \"@dangerus\", \"get\"]"));
    let line = common::until("the rules are looked at", common::SOON, || tenanted.logged("flushal").pop());
    assert!(line.contains("acme") && line.contains("@dangerus") && line.contains("WARN"), "{line}");
}
