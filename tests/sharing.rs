//! A thousand ordinary clients over a handful of upstream connections, and a connection of one's own no longer than needed:
//! counted in the upstream's own CLIENT LIST.

mod common;

use common::resp::encode;
use common::{Conn, Redis, Reply, SOON, Sidecar, figure, raise_file_limit, until, upstream_connections, words};

/// `inventory_sentinel_pinned_clients`
fn pinned(sidecar: &Sidecar) -> f64 {
    figure(sidecar, "inventory_sentinel_pinned_clients ")
}

#[track_caller]
fn comes_to_be_unpinned(sidecar: &Sidecar, what: &str) {
    until(what, SOON, || (pinned(sidecar) == 0.0).then_some(()));
}

#[test]
fn a_thousand_clients_with_their_usual_greetings_share_two_links_for_each_user_database_and_protocol() {
    raise_file_limit();
    let redis = Redis::start();
    redis.conn().call_args(&["ACL", "SETUSER", "app", "on", ">secret", "~*", "&*", "+@all"]).expect_ok();
    let sidecar = Sidecar::start(&redis.url(), &["upstream.links=2"]);
    let pool = upstream_connections(&redis);
    // redis-py, node-redis, ioredis and Lettuce greet so.
    let greetings: [&[&str]; 4] = [
        &["CLIENT SETINFO LIB-NAME redis-py", "CLIENT SETINFO LIB-VER 5.0.8"],
        &["HELLO 3 AUTH app secret SETNAME node", "CLIENT SETINFO LIB-NAME node-redis"],
        &["AUTH app secret", "INFO", "CLIENT SETNAME io"],
        &["HELLO 3", "CLIENT SETNAME lettuce", "SELECT 1"],
    ];
    let mut clients: Vec<Conn> = Vec::new();
    for index in 0..1000 {
        let mut conn = sidecar.conn();
        let requests: Vec<_> = greetings[index % greetings.len()].iter().map(|line| words(line)).collect();
        for (reply, request) in conn.pipeline(&requests).iter().zip(&requests) {
            // Engines before 7.2 do not know SETINFO, and clients do not mind.
            let refused = matches!(reply, Reply::Error(_)) && request.get(1).is_none_or(|sub| sub != b"SETINFO");
            assert!(!refused, "{request:?}: {reply:?}");
        }
        clients.push(conn);
    }
    for (index, conn) in clients.iter_mut().enumerate() {
        conn.call(&format!("SET k{index} {index}")).expect_ok();
        assert_eq!(conn.call(&format!("GET k{index}")), Reply::bulk(index.to_string()));
    }
    // (no one, 0, RESP2) (app, 0, RESP3) (app, 0, RESP2) (no one, 0, RESP3) (no one, 1, RESP3): two links each at most;
    // two that wait to be the own one of whoever needs one, and two on which AUTH was proved just now.
    let connections = upstream_connections(&redis) - pool;
    assert!(
        connections <= 14,
        "{connections} connections for 1000 clients:\n{}",
        redis.conn().call("CLIENT LIST").text()
    );
    assert_eq!(figure(&sidecar, "inventory_sentinel_upstream_connections{kind=\"pinned\"} "), 0.0);
    // And they see one another.
    let list = clients[0].call("CLIENT LIST").text();
    assert_eq!(list.lines().count(), 1000);
    assert_eq!(list.lines().filter(|row| row.contains(" name=node ") && row.contains(" user=app ")).count(), 250);
    assert_eq!(list.lines().filter(|row| row.contains(" name=lettuce ") && row.contains(" db=1 ")).count(), 250);
}

#[test]
fn a_connection_of_ones_own_goes_back_when_its_state_is_over() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    let mut conn = sidecar.conn();
    let mut other = sidecar.conn();
    for (begin, end) in [
        (vec!["MULTI", "SET k v"], vec!["EXEC"]),
        (vec!["MULTI"], vec!["DISCARD"]),
        (vec!["WATCH k"], vec!["UNWATCH"]),
        (vec!["WATCH k", "MULTI", "SET k w"], vec!["EXEC"]),
        (vec!["CLIENT TRACKING ON"], vec!["CLIENT TRACKING OFF"]),
        (vec!["CLIENT NO-EVICT ON"], vec!["CLIENT NO-EVICT OFF"]),
        (vec!["WATCH k", "SELECT 1"], vec!["RESET"]),
    ] {
        if begin[0] == "CLIENT NO-EVICT ON" && matches!(redis.conn().call("CLIENT NO-EVICT OFF"), Reply::Error(_)) {
            continue; // not known before 7.0
        }
        for line in &begin {
            assert!(!matches!(conn.call(line), Reply::Error(_)), "{line}");
        }
        assert_eq!(pinned(&sidecar), 1.0, "{begin:?}");
        for line in &end {
            assert!(!matches!(conn.call(line), Reply::Error(_)), "{line}");
        }
        comes_to_be_unpinned(&sidecar, end[0]);
        assert_eq!(conn.call("PING"), Reply::Simple("PONG".into()));
    }
    // Subscriptions: until all of them are acknowledged to be gone.
    for (begin, end) in
        [("SUBSCRIBE a b", "UNSUBSCRIBE"), ("PSUBSCRIBE a* b*", "PUNSUBSCRIBE a* b*"), ("SUBSCRIBE a", "RESET")]
    {
        conn.send(&encode(&words(begin)));
        (1..begin.split(' ').count()).for_each(|_| drop(conn.reply()));
        assert_eq!(pinned(&sidecar), 1.0, "{begin}");
        assert_eq!(other.call("PUBLISH a1 x"), Reply::Int(i64::from(begin.starts_with('P'))));
        if begin.starts_with('P') {
            assert_eq!(conn.reply().items()[3], Reply::bulk("x"));
        }
        conn.send(&encode(&words(end)));
        let acknowledged = if end == "RESET" { 1 } else { begin.split(' ').count() - 1 };
        (0..acknowledged).for_each(|_| drop(conn.reply()));
        comes_to_be_unpinned(&sidecar, end);
        conn.call("SET k v").expect_ok();
    }
    // A command that waits: until its reply.
    conn.send(&encode(&words("BLPOP list 0")));
    until("the pop waits", SOON, || {
        redis.conn().call("INFO clients").text().contains("blocked_clients:1").then_some(())
    });
    assert_eq!(pinned(&sidecar), 1.0);
    other.call("RPUSH list x").int();
    assert_eq!(conn.reply().items()[1], Reply::bulk("x"));
    comes_to_be_unpinned(&sidecar, "BLPOP");
    // All of that took but one connection, which is warm for the next.
    assert_eq!(figure(&sidecar, "inventory_sentinel_pins_total{reason=\"transaction\"} "), 5.0);
    let total = redis.conn().call("INFO stats").text();
    let received = total.lines().find_map(|line| line.strip_prefix("total_connections_received:")).expect("a count");
    assert!(received.trim().parse::<u32>().expect("a number") < 40, "{received}");
}

#[test]
fn a_client_gone_leaves_nothing_of_its_state_to_the_next_one_of_its_connection() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &["upstream.pinned_max=1"]);
    for leave in [
        &["WATCH k"][..],
        &["MULTI", "SET k gone"],
        &["SUBSCRIBE news"],
        &["HELLO 3", "SUBSCRIBE news"],
        &["CLIENT TRACKING ON BCAST", "SET k tracked"],
        &["WATCH k", "SELECT 3"],
        &["WATCH k", "HELLO 3"],
    ] {
        let mut gone = sidecar.conn();
        for line in leave {
            gone.call(line);
        }
        drop(gone);
        // Only one may have its own: the next one gets the same.
        let mut next = until("a connection of one's own", SOON, || {
            let mut next = sidecar.conn();
            (!matches!(next.call("WATCH other"), Reply::Error(_))).then_some(next)
        });
        redis.conn().call("SET k changed").expect_ok();
        redis.conn().call("PUBLISH news x").int();
        let replies = next.pipeline(&["MULTI", "GET k", "EXEC", "PING"].map(words));
        assert_eq!(replies[2], Reply::Array(vec![Reply::bulk("changed")]), "after {leave:?}");
        assert_eq!(replies[3], Reply::Simple("PONG".into()), "after {leave:?}");
    }
}

#[test]
fn nobody_is_told_of_a_key_that_another_client_read() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &["upstream.pinned_max=1"]);
    let tracking = |sidecar: &Sidecar| {
        until("a connection of one's own", SOON, || {
            let mut conn = sidecar.conn();
            conn.call("HELLO 3");
            (!matches!(conn.call("CLIENT TRACKING ON"), Reply::Error(_))).then_some(conn)
        })
    };
    for end in ["CLIENT TRACKING OFF", "RESET", "(it goes)"] {
        let mut first = tracking(&sidecar);
        first.call("GET secret");
        if end != "(it goes)" {
            first.call(end);
            comes_to_be_unpinned(&sidecar, end);
        }
        drop(first);
        let mut second = tracking(&sidecar);
        redis.conn().call("SET secret changed").expect_ok();
        assert_eq!(second.call("PING"), Reply::Simple("PONG".into()), "after {end}");
    }
}

#[test]
fn a_monitor_is_acknowledged_first_however_soon_after_the_greeting_it_is_asked_for() {
    let redis = Redis::start();
    redis.conn().call("ACL SETUSER app on >secret ~* &* +@all").expect_ok();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    let mut monitors = Vec::new();
    for greeting in [
        &["HELLO 3"][..],
        &["HELLO 3", "CLIENT SETNAME me", "SELECT 1"],
        &["HELLO 3 AUTH app secret SETNAME me"],
        &["AUTH app secret", "CLIENT SETNAME me", "SELECT 1"],
        &["PING"],
    ] {
        for round in 0..51 {
            let mut conn = sidecar.conn();
            let hello = greeting.iter().map(|line| encode(&words(line))).collect::<Vec<_>>().concat();
            let monitor = encode(&["MONITOR"]);
            let greeted = |conn: &mut Conn| {
                for line in greeting {
                    let reply = conn.reply();
                    assert!(!matches!(reply, Reply::Error(_)), "{line}: {reply:?}");
                    assert_eq!(matches!(reply, Reply::Map(_)), line.starts_with("HELLO"), "{line}: {reply:?}");
                }
            };
            match round % 3 {
                // In one write, in two, and when the greeting is answered.
                0 => conn.send(&[hello, monitor].concat()),
                1 => [hello, monitor].iter().for_each(|bytes| conn.send(bytes)),
                _ => {
                    conn.send(&hello);
                    greeted(&mut conn);
                    conn.send(&monitor);
                }
            }
            if round % 3 != 2 {
                greeted(&mut conn);
            }
            assert_eq!(conn.reply(), Reply::ok(), "{greeting:?}, {round}");
            // What is left is monitored, and nothing of a greeting.
            sidecar.conn().call(&format!("SET k {round}")).expect_ok();
            until("the command is shown", SOON, || {
                let line = conn.reply();
                assert!(matches!(line, Reply::Simple(_)), "{greeting:?}, {round}: {line:?}");
                line.text().ends_with(&format!("\"SET\" \"k\" \"{round}\"")).then_some(())
            });
            // Some stay, so that it is not always the same connection.
            if round % 4 == 0 {
                monitors.push(conn);
            }
        }
    }
}

#[test]
fn one_too_many_with_a_connection_of_its_own_is_told_so_and_nothing_of_its_transaction_happens() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &["upstream.pinned_max=1"]);
    let (mut one, mut two) = (sidecar.conn(), sidecar.conn());
    one.call("WATCH k").expect_ok();
    two.call("BLPOP list 1").expect_error("OVERLOADED");
    two.call("SET k before").expect_ok();
    two.send(&["MULTI", "SET k during", "EXEC"].map(|line| encode(&words(line))).concat());
    two.reply().expect_error("OVERLOADED");
    two.expect_close();
    assert_eq!(one.call("GET k"), Reply::bulk("before"));
    one.call("UNWATCH").expect_ok();
    comes_to_be_unpinned(&sidecar, "UNWATCH");
    sidecar.conn().call("MULTI").expect_ok();
}

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

#[test]
fn a_pause_holds_up_who_writes_and_nobody_else_and_ends_when_it_is_told_to() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &["upstream.links=1"]);
    let (mut writer, mut reader) = (sidecar.conn(), sidecar.conn());
    reader.call("SET k v").expect_ok();
    reader.call("CLIENT PAUSE 60000 WRITE").expect_ok();
    writer.send(&encode(&words("SET k w")));
    until("the write waits", SOON, || {
        redis.conn().call("INFO clients").text().contains("blocked_clients:1").then_some(())
    });
    assert_eq!(reader.call("GET k"), Reply::bulk("v"));
    reader.call("CLIENT UNPAUSE").expect_ok();
    writer.reply().expect_ok();
    assert_eq!(reader.call("GET k"), Reply::bulk("w"));
    comes_to_be_unpinned(&sidecar, "CLIENT UNPAUSE");
    reader.call("CLIENT PAUSE x").expect_error("ERR");
}

#[test]
fn shutdown_ends_the_client_as_it_would_directly() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    let (mut conn, mut other) = (sidecar.conn(), sidecar.conn());
    conn.call("SHUTDOWN SIDEWAYS").expect_error("ERR");
    conn.call("SET k v").expect_ok();
    conn.send(&encode(&words("SHUTDOWN NOSAVE")));
    conn.expect_close();
    until("it is gone", SOON, || (other.call("GET k").error_word() == "UNAVAILABLE").then_some(()));
}

#[test]
fn a_request_too_large_to_be_kept_leaves_its_state_where_it_is_asked_for() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    let mut conn = sidecar.conn();
    let large = vec![b'w'; 4 << 20];
    conn.call_args(&[b"WATCH".as_slice(), b"k", &large]).expect_ok();
    redis.conn().call("SET k changed").expect_ok();
    let replies = conn.pipeline(&["MULTI", "SET k lost", "EXEC"].map(words));
    assert!(replies[2].is_nil(), "{:?}", replies[2]);
    assert_eq!(conn.call("GET k"), Reply::bulk("changed"));
    assert_eq!(pinned(&sidecar), 1.0);
}

#[test]
fn an_endless_script_holds_up_nobody_who_can_evade_it() {
    let redis = Redis::start();
    redis.conn().call("CONFIG SET lua-time-limit 20").expect_ok();
    let sidecar = Sidecar::start(&redis.url(), &["upstream.links=2"]);
    let (mut runs, mut other, mut third) = (sidecar.conn(), sidecar.conn(), sidecar.conn());
    for conn in [&mut runs, &mut other, &mut third] {
        conn.call("GET k");
    }
    runs.send(&encode(&["EVAL", "while true do end", "0"]));
    until("it is told to be busy", SOON, || (other.call("GET k").error_word() == "BUSY").then_some(()));
    assert_eq!(third.call("GET k").error_word(), "BUSY");
    other.call("SCRIPT KILL").expect_ok();
    assert!(matches!(runs.reply(), Reply::Error(_)));
    assert!(third.call("GET k").is_nil());
}

#[test]
fn a_monitor_shows_what_clients_send_and_not_how_the_sidecar_greets() {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    // The first client of all, so that nothing is greeted yet: all that others need is to be there before.
    let mut monitor = sidecar.conn();
    monitor.call("MONITOR").expect_ok();
    let (mut ordinary, mut waiting) = (sidecar.conn(), sidecar.conn());
    ordinary.call("SET k v").expect_ok();
    assert_eq!(waiting.call("GET k"), Reply::bulk("v"));
    // Each with a connection of its own: the second one is there, the other is the first one's again.
    waiting.exchange(&encode(&words("BLPOP none 0.01")), b"*-1\r\n");
    waiting.call("WATCH k").expect_ok();
    drop(waiting);
    comes_to_be_unpinned_but(&sidecar, 1.0);
    ordinary.call("SET k w").expect_ok();
    ordinary.call("SET end 1").expect_ok();
    let mut shown = Vec::new();
    while shown.last().is_none_or(|last| last != "\"SET\" \"end\" \"1\"") {
        let line = monitor.reply().text();
        let (_, request) = line.split_once("] ").unwrap_or_else(|| panic!("{line}"));
        // The sidecar's own inventory is looked after all the time.
        if !request.starts_with("\"EVALSHA\"") && !line.contains(" lua] ") {
            shown.push(request.to_owned());
        }
    }
    let sent = ["SET k v", "GET k", "BLPOP none 0.01", "WATCH k", "SET k w", "SET end 1"];
    let sent = sent.map(|line| line.split(' ').map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(" "));
    assert_eq!(shown, sent);
    // When nobody looks there are spare ones again.
    drop(monitor);
    until("spare connections are made again", SOON, || {
        let (_, text) = sidecar.http("/metrics");
        let warm = "inventory_sentinel_upstream_connections{kind=\"warm\"} ";
        text.lines().find_map(|line| line.strip_prefix(warm)).is_some_and(|count| count != "0").then_some(())
    });
}

#[track_caller]
fn comes_to_be_unpinned_but(sidecar: &Sidecar, left: f64) {
    until("the others are unpinned", SOON, || (pinned(sidecar) == left).then_some(()));
}
