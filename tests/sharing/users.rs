//! Who a client is, upstream and to the others.

use crate::common::resp::encode;
use crate::common::{Conn, Redis, Reply, SOON, Sidecar, until, words};
use crate::{comes_to_be_unpinned, pinned};

#[test]
fn who_asks_for_invalidations_to_go_to_one_who_cannot_have_a_connection_is_told_so() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &["upstream.pinned_max=1"]);
    let (mut watching, mut target, mut asking) = (sidecar.conn(), sidecar.conn(), sidecar.conn());
    let Reply::Int(id) = target.call("CLIENT ID") else { panic!("no id") };
    watching.call("WATCH k").expect_ok();
    for _ in 0..2 {
        let refused = asking.call(&format!("CLIENT TRACKING ON REDIRECT {id}"));
        assert_eq!(refused.error_word(), "OVERLOADED");
    }
    asking.call("SET k v").expect_ok();
    // When one is free it is the target's, and then it is the one who asks that can have none.
    watching.call("UNWATCH").expect_ok();
    comes_to_be_unpinned(&sidecar, "UNWATCH");
    assert_eq!(asking.call(&format!("CLIENT TRACKING ON REDIRECT {id}")).error_word(), "OVERLOADED");
    assert_eq!(pinned(&sidecar), 1.0);
    assert_eq!(target.call("GET k"), Reply::bulk("v"));
}

#[test]
fn that_invalidations_go_nowhere_any_more_is_told_with_the_id_that_the_client_knows() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    let (mut asking, mut target) = (sidecar.conn3(), sidecar.conn());
    let Reply::Int(id) = target.call("CLIENT ID") else { panic!("no id") };
    asking.call(&format!("CLIENT TRACKING ON REDIRECT {id}")).expect_ok();
    assert!(asking.call("GET k").is_nil());
    let mut upstream = redis.conn();
    let rows = upstream.call("CLIENT LIST").text();
    let mut redirects = rows.split([' ', '\n']).filter_map(|field| field.strip_prefix("redir="));
    let redirect = redirects.find(|id| !matches!(*id, "-1" | "0")).expect("who is tracking").to_owned();
    assert_ne!(redirect, id.to_string(), "the ids are to be told apart");
    drop(target);
    until("the target is gone upstream", SOON, || {
        let rows = upstream.call("CLIENT LIST").text();
        (!rows.lines().any(|row| row.starts_with(&format!("id={redirect} ")))).then_some(())
    });
    upstream.call("SET k v").expect_ok();
    asking.expect(format!(">2\r\n$21\r\ntracking-redir-broken\r\n:{id}\r\n").as_bytes());
}

#[test]
fn a_client_is_the_user_it_proved_to_be_and_nobody_else_is() {
    let redis = Redis::start();
    redis.conn().call_args(&["ACL", "SETUSER", "ann", "on", ">one", "~ann:*", "+@all"]).expect_ok();
    let sidecar = Sidecar::start(&redis.url(), &["upstream.links=1"]);
    let (mut ann, mut other) = (sidecar.conn(), sidecar.conn());
    ann.call("AUTH ann two").expect_error("WRONGPASS");
    assert_eq!(ann.call("ACL WHOAMI"), Reply::bulk("default"));
    ann.call("AUTH ann one").expect_ok();
    assert_eq!((ann.call("ACL WHOAMI"), other.call("ACL WHOAMI")), (Reply::bulk("ann"), Reply::bulk("default")));
    ann.call("SET ann:k v").expect_ok();
    ann.call("SET k v").expect_error("NOPERM");
    other.call("SET k v").expect_ok();
    // A failed attempt leaves her who she is, also where a link with the right password is there.
    ann.call("AUTH ann two").expect_error("WRONGPASS");
    assert_eq!(ann.call("ACL WHOAMI"), Reply::bulk("ann"));
    // A password that was changed opens no door, whatever links it opened before.
    redis.conn().call_args(&["ACL", "SETUSER", "ann", "resetpass", ">three"]).expect_ok();
    other.call("AUTH ann one").expect_error("WRONGPASS");
    assert_eq!(other.call("ACL WHOAMI"), Reply::bulk("default"));
    other.call("HELLO 3 AUTH ann three");
    assert_eq!(other.call("ACL WHOAMI"), Reply::bulk("ann"));
    // What needs a connection of its own is hers too.
    ann.call("AUTH ann three").expect_ok();
    assert_eq!(ann.pipeline(&["MULTI", "ACL WHOAMI", "EXEC"].map(words))[2], Reply::Array(vec![Reply::bulk("ann")]));
    ann.send(&encode(&["RESET"]));
    ann.expect(b"+RESET\r\n");
    assert_eq!(ann.call("ACL WHOAMI"), Reply::bulk("default"));
    ann.call("AUTH nobody nothing").expect_error("WRONGPASS");
    ann.call("AUTH x").expect_error("ERR");
}

#[test]
fn a_client_keeps_its_database_when_it_becomes_a_user_who_could_not_select_it() {
    let redis = Redis::start();
    let mut admin = redis.conn();
    admin
        .call_args(&["ACL", "SETUSER", "few", "on", ">secret", "~*", "-@all", "+get", "+set", "+multi", "+exec"])
        .expect_ok();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    let mut conn = sidecar.conn();
    conn.call("CONFIG SET requirepass owner").expect_ok();
    conn.call("AUTH owner").expect_ok();
    conn.call("SELECT 9").expect_ok();
    conn.call("AUTH few secret").expect_ok();
    conn.call("SELECT 3").expect_error("NOPERM");
    conn.call("SET k nine").expect_ok();
    // The same holds of a connection of its own.
    assert_eq!(conn.pipeline(&["MULTI", "GET k", "EXEC"].map(words))[2], Reply::Array(vec![Reply::bulk("nine")]));
    admin.call("SELECT 9").expect_ok();
    assert_eq!(admin.call("GET k"), Reply::bulk("nine"));
}

#[test]
fn client_commands_speak_of_the_sidecars_own_clients() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &["sidecar.workers=2"]);
    let mut conns: Vec<Conn> = (0..4).map(|_| sidecar.conn()).collect();
    let ids: Vec<i64> = conns.iter_mut().map(|conn| conn.call("CLIENT ID").int()).collect();
    assert_eq!(conns[0].call("CLIENT LIST").text().lines().count(), 4);
    let row = conns[1].call("CLIENT INFO").text();
    assert!(row.starts_with(&format!("id={} ", ids[1])), "{row}");
    // One that waits is woken by its id, which is not the upstream's.
    conns[1].send(&encode(&words("BLPOP list 0")));
    until("it waits", SOON, || {
        let woken = conns[0].call(&format!("CLIENT UNBLOCK {} ERROR", ids[1])).int();
        (woken == 1).then_some(())
    });
    conns[1].reply().expect_error("UNBLOCKED");
    assert_eq!(conns[0].call(&format!("CLIENT UNBLOCK {}", ids[2])), Reply::Int(0));
    // Whoever is killed is gone, whatever worker it is with; nobody else is.
    assert_eq!(conns[0].call(&format!("CLIENT KILL ID {}", ids[2])), Reply::Int(1));
    conns[2].expect_close();
    conns[0].call("CLIENT KILL 1.2.3.4:5").expect_error("ERR");
    conns[3].call("CLIENT KILL ID x").expect_error("ERR");
    conns[3].call(&format!("CLIENT KILL ID {} SKIPME no", ids[3])).int();
    conns[3].expect_close();
    assert_eq!(conns[1].call("PING"), Reply::Simple("PONG".into()));
    // Invalidations go where they are told to.
    conns[0].call(&format!("CLIENT TRACKING ON REDIRECT {}", ids[1])).expect_ok();
    assert_eq!(conns[0].call("CLIENT GETREDIR"), Reply::Int(ids[1]));
    assert_eq!(conns[0].call("CLIENT TRACKINGINFO").field("redirect"), Reply::Int(ids[1]));
    conns[1].call("SUBSCRIBE __redis__:invalidate");
    conns[0].call("GET k");
    redis.conn().call("SET k v").expect_ok();
    assert_eq!(conns[1].reply().items()[2], Reply::Array(vec![Reply::bulk("k")]));
    conns[0].call("CLIENT TRACKING ON REDIRECT 999").expect_error("ERR");
}
