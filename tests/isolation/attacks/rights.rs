//! Attacks on scripts, on administration, on other clients, and on who one is.

use super::{errors, refused, unmarked, unmarked_args};
use crate::common::resp::encode;
use crate::common::{Conn, Reply, SOON, until, words};
use crate::isolation::client::{Client, Request};
use crate::isolation::world::{MARK, World};

pub fn scripts(world: &mut World, protocol: u8) {
    let mut acme = world.acme(protocol);
    for script in [
        "return redis.call('GET', 'rival:s')",
        "return redis.call('SCAN', '0')",
        "return redis.call('KEYS', '*')",
        "return redis.call('FLUSHALL')",
        "return redis.pcall('CONFIG', 'GET', '*')",
        "return {redis.pcall('GET', 'rival:l')}",
        "redis.setresp(3); return redis.call('HGETALL', 'rival:h')",
        "return redis.sha1hex('x') .. redis.call('GET', 'ri' .. 'val:s')",
        "#!lua flags=allow-cross-slot-keys\nreturn redis.call('GET', 'rival:s')",
        "_G.x = 1",
    ] {
        for request in [vec!["EVAL", script, "0"], vec!["EVAL", script, "1", "s"], vec!["EVAL_RO", script, "0"]] {
            let request: Request = request.iter().map(|word| word.as_bytes().to_vec()).collect();
            unmarked_args(&mut acme, &request);
        }
        unmarked_args(&mut acme, &vec![b"SCRIPT".to_vec(), b"LOAD".to_vec(), script.as_bytes().to_vec()]);
    }
    let library =
        b"#!lua name=x\nredis.register_function('f', function() return redis.call('GET', 'rival:s') end)".to_vec();
    let loaded = acme.args(&[b"FUNCTION".to_vec(), b"LOAD".to_vec(), library]);
    assert_eq!(loaded.error_word(), "NOPERM", "{loaded:?}");
    refused(
        &mut acme,
        &[
            "SCRIPT FLUSH",
            "SCRIPT KILL",
            "SCRIPT DEBUG YES",
            "FUNCTION FLUSH",
            "FUNCTION LIST",
            "FUNCTION DUMP",
            "FUNCTION KILL",
        ],
    );
    errors(
        &mut acme,
        &["FCALL f 0", "FCALL_RO f 0", "SCRIPT SHOW e0e1f9fabfc9d4800c877a703b823ac0578ff8db", "SCRIPT NONSENSE"],
    );
}

pub fn foreign_scripts(world: &mut World, protocol: u8) {
    let sha = world.rival_script.clone();
    let mut acme = world.acme(protocol);
    for sha in [sha.clone(), sha.to_uppercase()] {
        let lines = [
            format!("EVALSHA {sha} 0"),
            format!("EVALSHA_RO {sha} 0"),
            format!("EVALSHA {sha} 1 s"),
            format!("SCRIPT SHOW {sha}"),
        ];
        for line in &lines {
            unmarked(&mut acme, &[line]);
        }
        let there = acme.call(&format!("SCRIPT EXISTS {sha}"));
        assert!(matches!(&there, Reply::Error(_)) || there == Reply::Array(vec![Reply::Int(0)]), "{there:?}");
        // And so does one that never was.
        let (known, unknown) =
            (acme.call(&format!("EVALSHA {sha} 0")), acme.call(&format!("EVALSHA {} 0", "f".repeat(40))));
        assert_eq!(known, unknown);
    }
}

pub fn administration(world: &mut World, protocol: u8) {
    let mut acme = world.acme(protocol);
    refused(
        &mut acme,
        &[
            "MONITOR",
            "CONFIG GET *",
            "CONFIG SET maxmemory 1",
            "CONFIG RESETSTAT",
            "CONFIG REWRITE",
            "DEBUG OBJECT s",
            "DEBUG SLEEP 0",
            "DEBUG JMAP",
            "SHUTDOWN NOSAVE",
            "REPLICAOF NO ONE",
            "SLAVEOF NO ONE",
            "FAILOVER",
            "SAVE",
            "BGSAVE",
            "BGREWRITEAOF",
            "LASTSAVE",
            "SLOWLOG GET",
            "SLOWLOG RESET",
            "LATENCY LATEST",
            "LATENCY HISTOGRAM",
            "MEMORY STATS",
            "MEMORY MALLOC-STATS",
            "MEMORY DOCTOR",
            "MEMORY PURGE",
            "ACL LIST",
            "ACL LOG",
            "ACL SETUSER x on",
            "MODULE LIST",
            "MODULE LOAD x",
            "CLUSTER NODES",
            "CLUSTER RESET",
            "SYNC",
            "PSYNC ? -1",
            "REPLCONF listening-port 1",
            "FLUSHALL",
            "FLUSHDB",
            "FLUSHALL ASYNC",
            "PFDEBUG ENCODING p",
            "ROLE",
            "PUBSUB NUMPAT",
            "CLIENT NONSENSE",
            "OBJECT NONSENSE s",
        ],
    );
    errors(&mut acme, &["NONSENSE s"]);
    // Not the upstream's user.
    let user = acme.call("ACL WHOAMI");
    assert!(user == Reply::bulk("acme") || user.error_word() == "NOPERM", "{user:?}");
    unmarked(
        &mut acme,
        &[
            "INFO",
            "INFO all",
            "INFO everything",
            "INFO keyspace commandstats clients",
            "COMMAND",
            "COMMAND DOCS",
            "LOLWUT",
            "TIME",
        ],
    );
}

pub fn clients(world: &mut World, protocol: u8) {
    let mut rival = world.rival(protocol);
    rival.call(&format!("CLIENT SETNAME {MARK}-name"));
    let id = rival.call("CLIENT ID").int();
    let mut acme = world.acme(protocol);
    for kind in ["", " TYPE normal", " TYPE pubsub", &format!(" ID {id}"), &format!(" ID {id} 1 2 3 4 5 6 7")] {
        let line = format!("CLIENT LIST{kind}");
        unmarked(&mut acme, &[&line]);
        let bytes = acme.all_of(&[words(&line)]);
        let row = format!("id={id} ");
        assert!(memchr::memmem::find(&bytes, row.as_bytes()).is_none(), "{line}: {}", bytes.escape_ascii());
    }
    // Its own clients of before may be killed, and one that was dropped is there for a moment more.
    until("it is its tenant's only client", SOON, || {
        (acme.call("CLIENT LIST").text().lines().filter(|row| !row.is_empty()).count() == 1).then_some(())
    });
    for line in [
        format!("CLIENT KILL ID {id}"),
        "CLIENT KILL TYPE normal SKIPME yes".into(),
        "CLIENT KILL TYPE pubsub".into(),
        "CLIENT KILL USER rival".into(),
        "CLIENT KILL MAXAGE 0 SKIPME yes".into(),
        format!("CLIENT UNBLOCK {id}"),
        format!("CLIENT UNBLOCK {id} ERROR"),
    ] {
        let reply = acme.call(&line);
        assert!(matches!(reply, Reply::Error(_) | Reply::Int(0)), "{line}: {reply:?}");
    }
    let reply = acme.call("CLIENT PAUSE 60000 ALL");
    rival.conn().patience(std::time::Duration::from_secs(5));
    assert_eq!(rival.call("GET busy-s").error_word(), "", "after {reply:?}");
    acme.call("CLIENT UNPAUSE");
    unmarked(&mut acme, &["CLIENT INFO", "CLIENT GETREDIR", "CLIENT GETNAME", "CLIENT NO-EVICT on"]);
    assert_eq!(rival.call("CLIENT GETNAME").text(), format!("{MARK}-name"), "it is still there");
}

pub fn tracking(world: &mut World, protocol: u8) {
    let mut rival = world.rival(protocol);
    let id = rival.call("CLIENT ID").int();
    let mut acme = world.acme(protocol);
    errors(
        &mut acme,
        &[&format!("CLIENT TRACKING ON REDIRECT {id}"), &format!("CLIENT TRACKING ON REDIRECT {id} BCAST")],
    );
    for line in [
        "CLIENT TRACKING ON BCAST PREFIX rival:",
        "CLIENT TRACKING ON BCAST",
        "CLIENT TRACKING ON BCAST PREFIX inv1:",
        "CLIENT TRACKING ON NOLOOP",
    ] {
        acme.renew();
        acme.call(line);
        acme.call("GET rival:s");
        acme.call(&format!("GET {MARK}:s"));
        rival.all_of(&[
            words("SET busy-tracked 1"),
            words(&format!("SET busy-{MARK} 2")),
            words("DEL busy-tracked"),
            words(&format!("DEL busy-{MARK}")),
        ]);
        unmarked(&mut acme, &["CLIENT TRACKINGINFO", "GET n", "PING x"]);
    }
}

pub fn credentials(world: &mut World, protocol: u8) {
    for line in [
        "AUTH rival acme-secret",
        "AUTH acme rival-secret",
        "AUTH default acme-secret",
        "AUTH acme-secret",
        "AUTH default rival-secret",
        "AUTH rival",
        "AUTH RIVAL rival-secret",
        "AUTH rival rival-secre",
        "AUTH rival rival-secrett",
        "AUTH acme2 acme-secret",
    ] {
        let mut conn = Conn::open(&world.sidecar.listen);
        let reply = conn.call(line);
        assert!(matches!(reply, Reply::Error(_)), "{line}: {reply:?}");
        assert_eq!(conn.call("GET s").error_word(), "NOAUTH", "after {line}");
        assert_eq!(conn.call("INV.STOCK s").error_word(), "NOAUTH", "after {line}");
        assert_eq!(conn.call(&format!("HELLO {protocol}")).error_word(), "NOAUTH", "after {line}");
    }
    let mut conn = Conn::open(&world.sidecar.listen);
    for line in
        ["GET s", "PING", "INFO", "CLIENT LIST", "SUBSCRIBE c", "COMMAND", "EVAL x 0", "MULTI", "CLIENT ID", "SELECT 0"]
    {
        assert_eq!(conn.call(line).error_word(), "NOAUTH", "{line}");
    }
}

pub fn refused_greeting(world: &mut World, protocol: u8) {
    let mut acme = world.acme(protocol);
    acme.call("SET s mine");
    for line in [
        "AUTH rival acme-secret".to_owned(),
        format!("HELLO {protocol} AUTH rival acme-secret"),
        "HELLO 4 AUTH rival rival-secret".into(),
        format!("HELLO {protocol} AUTH rival"),
        format!("HELLO {protocol} SETNAME x AUTH rival wrong"),
        format!("HELLO {protocol} AUTH rival rival-secret NONSENSE"),
    ] {
        let reply = acme.call(&line);
        assert!(matches!(reply, Reply::Error(_)), "{line}: {reply:?}");
        assert_eq!(acme.call("GET s").text(), "mine", "after {line}");
    }
}

pub fn reset(world: &mut World, protocol: u8) {
    let mut acme = world.acme(protocol);
    assert_eq!(acme.call("RESET"), Reply::Simple("RESET".into()));
    for line in ["GET s", "INV.STOCK s", "SUBSCRIBE c", "MULTI", "INFO"] {
        assert_eq!(acme.call(line).error_word(), "NOAUTH", "{line}");
    }
    acme.renew();
    acme.conn().send(&[encode(&words("SUBSCRIBE c")), encode(&words("RESET")), encode(&words("GET s"))].concat());
    let seen: Vec<Reply> = (0..3).map(|_| acme.conn().reply()).collect();
    assert_eq!(seen[2].error_word(), "NOAUTH", "{seen:?}");
    acme.renew();
    acme.conn().send(&[encode(&words("MULTI")), encode(&words("RESET")), encode(&words("GET s"))].concat());
    let seen: Vec<Reply> = (0..3).map(|_| acme.conn().reply()).collect();
    assert_eq!(seen[2].error_word(), "NOAUTH", "{seen:?}");
    // Another tenant on the same connection has another space.
    acme.renew();
    acme.call("SET busy-s mine");
    acme.call("RESET");
    acme.call("AUTH acme2 acme2-secret").expect_ok();
    assert!(acme.call("GET busy-s").is_nil());
}

pub fn transactions(world: &mut World, protocol: u8) {
    let mut acme = world.acme(protocol);
    for line in [
        "AUTH rival rival-secret",
        "AUTH rival wrong",
        "SELECT 1",
        "CONFIG GET *",
        "FLUSHALL",
        "SUBSCRIBE __keyevent@0__:set",
        "KEYS *",
        "SCAN 0",
        "RANDOMKEY",
        "DBSIZE",
        "MONITOR",
        "INFO",
        "CLIENT LIST",
        "SWAPDB 0 1",
        "EVAL \"return 1\" 0",
        "HELLO 3 AUTH rival rival-secret",
        "WATCH rival:s",
        "SCRIPT FLUSH",
    ] {
        acme.renew();
        let bytes = acme.all_of(&[words("MULTI"), words("GET n"), words(line), words("GET rival:s"), words("EXEC")]);
        assert!(memchr::memmem::find(&bytes, MARK.as_bytes()).is_none(), "{line}: {}", bytes.escape_ascii());
        acme.renew();
        assert_eq!(acme.call("GET n").text(), "5", "after {line}");
    }
    // A change of tenant leaves no transaction, no watch and no subscription behind.
    acme.renew();
    acme.call("MULTI");
    acme.call("SET s of-acme");
    let changed = acme.call("AUTH acme2 acme2-secret");
    let ended = acme.call("EXEC");
    let mut other = world.acme(protocol);
    let key = other.call("GET s");
    assert!(matches!(changed, Reply::Error(_) | Reply::Simple(_)), "{changed:?}");
    assert!(key == Reply::bulk("of-acme") || matches!(ended, Reply::Error(_)), "{changed:?} {ended:?} {key:?}");
    assert_eq!(world.direct.call("EXISTS acme2:s").int(), 0);
}

pub fn beginning(world: &mut World, protocol: u8) {
    let mut acme = world.acme(protocol);
    unmarked(
        &mut acme,
        &["KEYS 2*", "KEYS *2:*", "SCAN 0 MATCH 2:* COUNT 1000", "GET 2:s", "KEYS acme2:*", "PSUBSCRIBE 2:*"],
    );
    acme.renew();
    let mut other = Client::open(&world.sidecar.listen, "acme2", "acme2-secret", protocol);
    other.call("SET busy-two 1");
    assert!(acme.call("GET 2:busy-two").is_nil());
    assert_eq!(acme.call("EXISTS busy-two :busy-two 2:busy-two acme2:busy-two"), Reply::Int(0));
    assert_eq!(other.call("DEL busy-two"), Reply::Int(1));
}
