//! The second wall on a real server: the line is taken, the user can do what it must, and reaches nothing of another's.

mod common;

use common::resp::encode;
use common::{Conn, Redis, Reply};
use inventory_sentinel::inventory::{keys, script};
use inventory_sentinel::tenant::acl::{AclSecret, AclTenant, acl_line};
use inventory_sentinel::tenant::isolation::table::{ROWS, Treatment};
use inventory_sentinel::upstream::engine::Engine;

const PASSWORD: &str = "secret";
const PLANTED: [&str; 11] = [
    "SET zeta:string planted",
    "SADD zeta:set planted",
    "RPUSH zeta:list planted",
    "ZADD zeta:zset 1 planted",
    "HSET zeta:hash planted planted",
    "XADD zeta:stream 1-1 planted planted",
    "GEOADD zeta:geo 1 1 planted",
    "HSET inv1:{zeta/0}:stock planted planted",
    "XGROUP CREATE zeta:stream g 0",
    "XGROUP CREATE zeta:stream STREAMS 0",
    "XGROUP CREATE zeta:stream acme:k 0",
];
const NAMES: [&str; 8] = [
    "zeta:string",
    "zeta:set",
    "zeta:list",
    "zeta:zset",
    "zeta:hash",
    "zeta:stream",
    "zeta:geo",
    "inv1:{zeta/0}:stock",
];

fn tenant() -> AclTenant<'static> {
    AclTenant {
        user: "acme",
        secret: AclSecret::Placeholder,
        namespace: "acme",
        db: 0,
        inventory: true,
        scripts: true,
        tracking: false,
    }
}

fn engine(conn: &mut Conn) -> Engine {
    Engine::from_info(&conn.call("INFO server").text()).expect("an engine")
}

/// A server with the user and another tenant's keys.
fn walled(tenant: &AclTenant<'_>) -> (Redis, Conn) {
    let redis = Redis::start();
    let mut admin = redis.conn();
    let line = acl_line(tenant, engine(&mut admin).version).replace("<password>", PASSWORD);
    admin.call(&line).expect_ok();
    PLANTED.iter().for_each(|line| drop(admin.call(line)));
    (redis, admin)
}

fn login(redis: &Redis) -> Conn {
    let mut conn = redis.conn();
    conn.call(&format!("AUTH acme {PASSWORD}")).expect_ok();
    conn
}

fn is_refused(reply: &Reply) -> bool {
    matches!(reply, Reply::Error(line) if line.starts_with("NOPERM") || line.contains("ermission") || line.contains("can't access"))
}

#[test]
fn the_line_is_taken_in_every_form_and_grants_what_its_tenant_sends() {
    for (inventory, scripts, tracking, db) in [(true, true, false, 0), (false, false, true, 0), (true, false, false, 3)]
    {
        let tenant = AclTenant { inventory, scripts, tracking, db, ..tenant() };
        let (redis, mut admin) = walled(&tenant);
        let mut conn = login(&redis);
        conn.call("SET acme:k v").expect_ok();
        assert!(is_refused(&conn.call("GET zeta:string")));
        // The inventory's script goes as EVAL inside MULTI, and whoever may load scripts may as well send them.
        assert_eq!(is_refused(&conn.call_args(&["EVAL", "return 1", "0"])), !(scripts || inventory));
        assert_eq!(is_refused(&conn.call("CLIENT TRACKING ON")), !tracking);
        assert_eq!(is_refused(&conn.call("SELECT 3")), db == 0);
        // The same line again takes back what was granted meanwhile.
        admin.call("ACL SETUSER acme allkeys allchannels +@all").expect_ok();
        let line = acl_line(&tenant, engine(&mut admin).version).replace("<password>", PASSWORD);
        admin.call(&line).expect_ok();
        assert!(is_refused(&login(&redis).call("GET zeta:string")));
    }
}

#[test]
fn the_user_can_run_the_inventorys_script() {
    let (redis, mut admin) = walled(&tenant());
    let flags = engine(&mut admin).reads_script_flags();
    let mut conn = login(&redis);
    let source = script::source(flags, None);
    let loaded = conn.call_args(&["SCRIPT", "LOAD", &source]);
    assert!(matches!(loaded, Reply::Bulk(_)), "{loaded:?}");
    let mut called: Vec<&str> = source.split("call('").skip(1).filter_map(|rest| rest.split('\'').next()).collect();
    called.sort_unstable();
    called.dedup();
    assert!(called.len() > 8 && called.contains(&"HSET"), "{called:?}");
    let key = &keys::cell_keys("acme", 0)[0];
    for command in called {
        let text = "return redis.call(unpack(ARGV))";
        let reply = conn.call_args(&["EVAL", text, "1", key, command, key, "1", "a"]);
        assert!(!is_refused(&reply), "{command}: {reply:?}");
    }
}

/// Requests of every command that the user has, the other tenant's names in every position.
fn attacks(name: &str) -> Vec<Vec<String>> {
    let mut attacks = Vec::new();
    let mut add = |words: Vec<&str>| attacks.push(words.into_iter().map(str::to_owned).collect());
    for row in ROWS {
        let heads: Vec<Vec<&str>> = match row.treatment {
            Treatment::Container(rows) => rows.iter().map(|sub| vec![row.name, sub.name]).collect(),
            _ => vec![vec![row.name]],
        };
        for head in heads {
            for fill in ["1", "acme:k"] {
                for len in 1..4 {
                    for at in 0..len {
                        let mut words = head.clone();
                        words.extend((0..len).map(|index| if index == at { name } else { fill }));
                        add(words);
                    }
                }
            }
        }
    }
    for line in [
        "SORT acme:l BY zeta:* GET zeta:* ALPHA",
        "SORT acme:l BY nosort GET zeta:string",
        "SORT acme:l STORE acme:d STORE N",
        "SORT acme:l STORE N STORE acme:d",
        "GEORADIUS acme:g 1 1 9 km STORE acme:d STORE N",
        "GEORADIUS acme:g 1 1 9 km STORE N STORE acme:d",
        "GEORADIUS acme:g 1 1 9 km STORE acme:d STOREDIST N",
        "GEORADIUSBYMEMBER acme:g a 9 km STOREDIST N STORE acme:d",
        "XREAD STREAMS acme:x N 0 0",
        "XREADGROUP GROUP STREAMS c STREAMS N >",
        "XREADGROUP GROUP g STREAMS STREAMS N >",
        "XREADGROUP COUNT 1 GROUP g STREAMS STREAMS N >",
        "XREADGROUP COUNT 1 GROUP g STREAMS STREAMS acme:x N > >",
        "XREADGROUP NOACK GROUP STREAMS c STREAMS acme:x N > >",
        "XREADGROUP NOACK NOACK NOACK GROUP STREAMS acme:k STREAMS N >",
        "XREADGROUP NOACK NOACK GROUP acme:k acme:k STREAMS N >",
        "XREAD COUNT STREAMS STREAMS N 0",
        "XREAD BLOCK 1 BLOCK 1 STREAMS N acme:x 0 0",
        "ZUNIONSTORE acme:d 2 acme:z N",
        "ZUNIONSTORE N 1 acme:z",
        "ZUNION 2 acme:z N",
        "ZDIFF 2 N acme:z WITHSCORES",
        "LMPOP 2 acme:e N LEFT",
        "SINTERCARD 2 N N",
        "COPY N acme:d",
        "COPY N acme:d DB 0 REPLACE",
        "COPY acme:k N REPLACE",
        "BITOP OR acme:d N",
        "MIGRATE 127.0.0.1 1 N 0 10",
        "GEOSEARCHSTORE acme:d N FROMLONLAT 1 1 BYRADIUS 9 km",
        "ZRANGESTORE acme:d N 0 -1",
        "SMOVE N acme:s planted",
        "LMOVE N acme:l LEFT LEFT",
        "XGROUP CREATE N g 0",
        "XINFO STREAM N FULL",
        "OBJECT ENCODING N",
        "MEMORY USAGE N",
        "XAUTOCLAIM N g c 0 0",
        "MSET acme:k v N v",
        "MOVE N 1",
        "SWAPDB 0 1",
        "STRALGO LCS KEYS N N",
        "STRALGO LCS KEYS acme:k N",
        "RESTORE N 0 x REPLACE",
        "DEBUG OBJECT N",
        "MSETEX 2 acme:k v N v",
    ] {
        add(line.split(' ').map(|word| if word == "N" { name } else { word }).collect());
    }
    attacks
}

#[test]
fn no_command_reaches_anothers_key_alone_or_from_a_script() {
    let (redis, mut admin) = walled(&tenant());
    for line in ["SET acme:k v", "RPUSH acme:l string set", "GEOADD acme:g 1 1 a", "ZADD acme:z 1 a"] {
        admin.call(line);
    }
    let dumps = |admin: &mut Conn| NAMES.map(|name| admin.call(&format!("DUMP {name}")));
    let before = dumps(&mut admin);
    let all = admin.call("DBSIZE").int();
    let mut conn = login(&redis);
    let text = "local reply = redis.pcall(unpack(ARGV)) if type(reply) == 'table' and reply.err then return reply end \
                return cjson.encode({reply})";
    // What the connection would remember, or waits, or is no reply of one request.
    let leave_out = [
        "SUBSCRIBE",
        "PSUBSCRIBE",
        "SSUBSCRIBE",
        "UNSUBSCRIBE",
        "PUNSUBSCRIBE",
        "SUNSUBSCRIBE",
        "MULTI",
        "EXEC",
        "DISCARD",
        "QUIT",
        "RESET",
        "AUTH",
        "HELLO",
        "CLIENT",
        "MONITOR",
        "SYNC",
        "PSYNC",
        "WAIT",
        "WAITAOF",
        "SHUTDOWN",
        "REPLCONF",
        "HOST:",
        "POST",
        "ECHO",
        "PING",
    ];
    for name in NAMES {
        for words in attacks(name) {
            if leave_out.contains(&words[0].as_str()) {
                continue;
            }
            let script = [vec!["EVAL".to_owned(), text.to_owned(), "0".to_owned()], words.clone()].concat();
            for request in [words, script] {
                // What is refused when it is queued aborts the transaction.
                let sent = [encode(&["MULTI"]), encode(&request), encode(&["EXEC"])].concat();
                conn.send(&sent);
                let replies = [conn.reply(), conn.reply(), conn.reply()];
                let shown = format!("{replies:?}");
                let quoted = request.iter().any(|word| word.contains("planted"));
                assert!(quoted || !shown.contains("planted"), "{request:?}: {shown}");
            }
        }
    }
    assert_eq!(dumps(&mut admin), before);
    let strangers = |admin: &mut Conn| {
        admin.call("KEYS *").items().iter().map(Reply::text).filter(|key| !key.starts_with("acme:")).count()
    };
    assert_eq!(strangers(&mut admin), NAMES.len());
    assert!(all > 0);
}

#[test]
fn what_counts_or_lists_all_keys_is_refused_and_from_a_script_too() {
    let (redis, _) = walled(&tenant());
    let mut conn = login(&redis);
    for line in [
        "KEYS *",
        "SCAN 0",
        "RANDOMKEY",
        "DBSIZE",
        "FLUSHDB",
        "FLUSHALL",
        "INFO",
        "PUBSUB CHANNELS",
        "CONFIG GET dir",
        "ACL LIST",
        "CLIENT LIST",
        "CLIENT KILL ID 1",
        "CLIENT PAUSE 1",
        "CLIENT TRACKING ON BCAST",
        "SCRIPT FLUSH",
        "MONITOR",
        "SLOWLOG GET",
        "MEMORY STATS",
        "LATENCY LATEST",
        "CLUSTER NODES",
        "SELECT 1",
        "MODULE LIST",
        "COMMAND",
    ] {
        assert!(is_refused(&conn.call(line)), "{line}");
        let words: Vec<&str> =
            ["EVAL", "return redis.call(unpack(ARGV))", "0"].into_iter().chain(line.split(' ')).collect();
        assert!(matches!(conn.call_args(&words), Reply::Error(_)), "{line}");
    }
}

#[test]
fn no_channel_of_anothers_is_heard_or_spoken_on() {
    let (redis, mut admin) = walled(&tenant());
    let mut conn = login(&redis);
    let new_enough = engine(&mut admin).version >= (7, 0, 0);
    for line in [
        "SUBSCRIBE zeta:c",
        "PSUBSCRIBE *",
        "PSUBSCRIBE zeta:*",
        "PSUBSCRIBE ?cme:*",
        "PUBLISH zeta:c m",
        "SUBSCRIBE __keyspace@0__:zeta:string",
        "SUBSCRIBE __keyevent@0__:set",
        "PSUBSCRIBE __key*",
        "PUBLISH __keyspace@0__:zeta:k set",
        "SUBSCRIBE __keyspace@0__:zeta:__:acme:k",
        "PUBLISH __keyevent@0__:set acme:k",
    ] {
        assert!(is_refused(&conn.call(line)), "{line}");
    }
    if new_enough {
        assert!(is_refused(&conn.call("SPUBLISH zeta:c m")) && is_refused(&conn.call("SSUBSCRIBE zeta:c")));
        assert_eq!(conn.call("SPUBLISH acme:c m").int(), 0);
    }
    let from_script = conn.call_args(&["EVAL", "return redis.call('PUBLISH', 'zeta:c', 'm')", "0"]);
    assert!(matches!(from_script, Reply::Error(_)), "{from_script:?}");
    assert_eq!(conn.call("PUBLISH acme:c m").int(), 0);
    for line in ["SUBSCRIBE acme:c", "SUBSCRIBE __keyspace@0__:acme:k", "PSUBSCRIBE acme:*"] {
        let reply = conn.call(line);
        assert!(matches!(&reply, Reply::Array(items) if items.len() == 3), "{line}: {reply:?}");
    }
    // Redis compares a pattern with those of the user letter by letter: another, however narrow, is not his.
    assert!(is_refused(&conn.call("PSUBSCRIBE acme:news.*")));
}
