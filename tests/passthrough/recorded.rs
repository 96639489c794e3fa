//! A list of ordinary commands, whose replies are the same directly and through the sidecar however they are sent.

use crate::common::resp::encode;
use crate::common::{Conn, Redis, Sidecar, show, words};

/// Ordinary commands in an order that makes sense; each leaves its reply to be compared. None tells the time, a random
/// thing, or a connection's own number.
const RECORDED: &str = "\
PING
PING hello
ECHO hello
SET s value
SET s other NX
SET s third GET
GET s
GET none
GETRANGE s 1 3
SETRANGE s 8 xyz
STRLEN s
APPEND s !
INCR n
INCRBY n 41
INCRBYFLOAT f 1.5
DECR s
MSET a 1 b 2 c 3
MGET a none c
SETEX e 1000 v
PERSIST e
TTL e
TTL none
EXISTS a b none
TYPE a
TYPE none
DEL a none
UNLINK b
LPUSH l 1 2 3
RPUSH l 4
LRANGE l 0 -1
LRANGE none 0 -1
LPOP l
LPOP l 2
LPOP none
LPOP none 2
LPOS l 4
LINDEX l 9
LLEN l
GET l
HSET h f1 v1 f2 v2
HGETALL h
HGETALL none
HGET h none
HMGET h f1 none
HINCRBYFLOAT h x 2.5
HLEN h
HRANDFIELD none 2
SADD set 1 2 3
SMEMBERS set
SMEMBERS none
SISMEMBER set 2
SMISMEMBER set 1 9
SINTER set none
ZADD z 1 one 2.5 two inf three
ZADD z INCR 1 one
ZSCORE z two
ZSCORE z none
ZMSCORE z one none
ZRANGE z 0 -1 WITHSCORES
ZRANGEBYSCORE z (1 +inf
ZRANK z two
ZPOPMIN z
ZPOPMAX z 2
ZPOPMIN none
XADD x 1-1 k v k2 v2
XADD x 2-1 k v
XADD x 1-1 k v
XLEN x
XRANGE x - +
XREAD COUNT 1 STREAMS x 0
XREAD STREAMS none 0
XGROUP CREATE x g 0
XREADGROUP GROUP g c COUNT 1 STREAMS x >
XACK x g 1-1
XPENDING x g
XINFO STREAM x
GEOADD geo 13.361389 38.115556 Palermo 15.087269 37.502669 Catania
GEODIST geo Palermo Catania km
GEOPOS geo Palermo none
GEOSEARCH geo FROMMEMBER Palermo BYRADIUS 200 km ASC WITHCOORD WITHDIST
SETBIT bit 7 1
BITCOUNT bit
BITFIELD bit GET u4 0 INCRBY u8 8 200 OVERFLOW FAIL INCRBY u8 8 200
PFADD p a b c
PFCOUNT p
SORT set DESC
SORT_RO set
SCAN 0 MATCH nothing-is-called-so COUNT 100000
HSCAN h 0
OBJECT ENCODING n
OBJECT HELP
COPY n n2
RENAME n2 n3
RENAME none none2
LCS s s LEN
EVAL return_nothing 0
EVAL return{1,'a',{2,{3,{}}},false,true,'é'} 0
EVAL return{err='MY_own_error'} 0
EVAL return{ok='fine'} 0
EVAL return{double=3.25} 0
EVAL redis.setresp(3);return{true,false,redis.call('hgetall',KEYS[1])} 1 h
EVAL redis.setresp(3);return{map={a=1}} 0
EVAL redis.setresp(3);return{set={a=true}} 0
EVAL redis.setresp(3);return{big_number='12345678901234567890'} 0
EVAL return{verbatim_string={format='txt',string='some'}} 0
EVALSHA ffffffffffffffffffffffffffffffffffffffff 0
SCRIPT EXISTS ffffffffffffffffffffffffffffffffffffffff
COMMAND GETKEYS MSET a 1 b 2
COMMAND INFO get nope
COMMAND DOCS nope
CONFIG GET maxmemory-policy
LATENCY DOCTOR
MEMORY USAGE none
NOPE a b
nope
GET
GET a b
SET a
SET a b WHAT
SET a b EX 0
SETEX a 0 v
INCR s
EXPIRE a x
OBJECT NOPE
XADD x 0-0 a b
HSET h
LPUSH s 1
ZADD z nan a
FLUSHDB
DBSIZE";

type Request = Vec<Vec<u8>>;

/// How the list is sent; gives the bytes of each reply.
type Way = fn(&mut Conn, &[Request]) -> Vec<Vec<u8>>;

/// Replies to the recorded list, each as its bytes, on a fresh connection to `addr`.
fn record(addr: &str, protocol: u8, send: Way) -> Vec<Vec<u8>> {
    let mut conn = if protocol == 3 { Conn::open3(addr) } else { Conn::open(addr) };
    let requests: Vec<_> = RECORDED.lines().map(words).collect();
    send(&mut conn, &requests)
}

fn one_by_one(conn: &mut Conn, requests: &[Request]) -> Vec<Vec<u8>> {
    requests
        .iter()
        .map(|request| {
            conn.send_args(request);
            conn.raw()
        })
        .collect()
}

fn in_one_write(conn: &mut Conn, requests: &[Request]) -> Vec<Vec<u8>> {
    conn.send(&requests.iter().flat_map(|request| encode(request)).collect::<Vec<_>>());
    requests.iter().map(|_| conn.raw()).collect()
}

fn byte_by_byte(conn: &mut Conn, requests: &[Request]) -> Vec<Vec<u8>> {
    for byte in requests.iter().flat_map(|request| encode(request)) {
        conn.send(&[byte]);
    }
    requests.iter().map(|_| conn.raw()).collect()
}

/// Each word in double quotes, so that the line says exactly the same.
fn inline(conn: &mut Conn, requests: &[Request]) -> Vec<Vec<u8>> {
    requests
        .iter()
        .map(|request| {
            let quoted: Vec<String> = request.iter().map(|word| format!("\"{}\"", word.escape_ascii())).collect();
            conn.send(format!("{}\r\n", quoted.join(" ")).as_bytes());
            conn.raw()
        })
        .collect()
}

/// What Redis says to the recorded list, direct, and what it says through the sidecar, sent so.
fn equal_through_the_sidecar(protocol: u8, send: Way) {
    let redis = Redis::start();
    let sidecar = Sidecar::start(&redis.url(), &[]);
    let direct = record(&redis.addr(), protocol, one_by_one);
    redis.conn().call("FLUSHALL").expect_ok();
    let through = record(&sidecar.listen, protocol, send);
    for ((line, direct), through) in RECORDED.lines().zip(&direct).zip(&through) {
        assert!(direct == through, "RESP{protocol} {line}: direct {}, through {}", show(direct), show(through));
    }
}

#[test]
fn the_recorded_list_is_the_same_every_time_it_is_asked_directly() {
    let redis = Redis::start();
    for protocol in [2, 3] {
        let first = record(&redis.addr(), protocol, one_by_one);
        redis.conn().call("FLUSHALL").expect_ok();
        let ways: [Way; 3] = [in_one_write, byte_by_byte, inline];
        for way in ways {
            let again = record(&redis.addr(), protocol, way);
            redis.conn().call("FLUSHALL").expect_ok();
            for ((line, first), again) in RECORDED.lines().zip(&first).zip(&again) {
                assert!(first == again, "RESP{protocol} {line}: {}, then {}", show(first), show(again));
            }
        }
    }
}

#[test]
fn ordinary_replies_are_equal_byte_for_byte_over_resp2() {
    equal_through_the_sidecar(2, one_by_one);
}

#[test]
fn ordinary_replies_are_equal_byte_for_byte_over_resp3() {
    equal_through_the_sidecar(3, one_by_one);
}

#[test]
fn ordinary_replies_of_one_long_pipeline_are_equal_over_resp2_and_resp3() {
    for protocol in [2, 3] {
        equal_through_the_sidecar(protocol, in_one_write);
    }
}

#[test]
fn ordinary_replies_to_requests_sent_one_byte_at_a_time_are_equal_over_resp2_and_resp3() {
    for protocol in [2, 3] {
        equal_through_the_sidecar(protocol, byte_by_byte);
    }
}

#[test]
fn ordinary_replies_to_inline_requests_are_equal_over_resp2_and_resp3() {
    for protocol in [2, 3] {
        equal_through_the_sidecar(protocol, inline);
    }
}
