//! Attacks by the bytes of names, identifiers and requests.

use super::{errors, unmarked_args};
use crate::common::resp::encode;
use crate::common::{Reply, words};
use crate::isolation::world::{MARK, World};

pub fn reservations(world: &mut World, protocol: u8) {
    let id = world.rival_reservation.clone();
    let mut acme = world.acme(protocol);
    // One of the same form that nobody has.
    let digit = |byte: u8| if byte == b'0' { b'1' } else { b'0' };
    let mut unknown = id.clone().into_bytes();
    let at = unknown.iter().rposition(u8::is_ascii_digit).expect("a digit");
    unknown[at] = digit(unknown[at]);
    let unknown = String::from_utf8(unknown).expect("text");
    for command in ["INV.GET", "INV.COMMIT", "INV.ROLLBACK"] {
        let theirs = acme.all_of(&[words(&format!("{command} {id}"))]);
        let nobodys = acme.all_of(&[words(&format!("{command} {unknown}"))]);
        let text = |bytes: Vec<u8>, id: &str| String::from_utf8_lossy(&bytes).replace(id, "ID");
        assert_eq!(text(theirs, &id), text(nobodys, &unknown), "{command}");
    }
    let theirs = acme.all_of(&[words(&format!("INV.EXTEND {id} 100000"))]);
    let nobodys = acme.all_of(&[words(&format!("INV.EXTEND {unknown} 100000"))]);
    assert_eq!(String::from_utf8_lossy(&theirs), String::from_utf8_lossy(&nobodys));
    let mut rival = world.rival(protocol);
    let still = rival.call(&format!("INV.GET {id}"));
    assert!(still.error_word().is_empty(), "{still:?}");
}

pub fn hostile_skus(world: &mut World, protocol: u8) {
    let mut acme = world.acme(protocol);
    let skus: [&[u8]; 9] = [
        b"}:x",
        b"{rival/0}",
        b"a:b",
        b"a\0b",
        b"a\r\nb",
        b"rival/0}:stock",
        b"../rival",
        b"",
        b"inv1:{rival/0}:stock",
    ];
    for sku in skus {
        for (command, rest) in
            [("INV.STOCK", None), ("INV.SETSTOCK", Some("5")), ("INV.RESERVE", Some("1")), ("INV.ISPROTECTED", None)]
        {
            let mut request = vec![command.as_bytes().to_vec(), sku.to_vec()];
            request.extend(rest.map(|rest| rest.as_bytes().to_vec()));
            unmarked_args(&mut acme, &request);
        }
    }
}

pub fn hostile_keys(world: &mut World, protocol: u8) {
    let mut acme = world.acme(protocol);
    let keys: [&[u8]; 10] = [
        b"",
        b":",
        b"::",
        b"\r\n",
        b"\0",
        b"}",
        b"{}rival:s",
        b"\r\n*2\r\n$3\r\nGET\r\n$7\r\nrival:s\r\n",
        b"acme:s",
        b"../rival:s",
    ];
    for key in keys {
        let set = acme.args(&[b"SET".as_slice(), key, b"own"]);
        assert!(set.is_ok(), "{}: {set:?}", key.escape_ascii());
        assert_eq!(acme.args(&[b"GET".as_slice(), key]).text(), "own");
        let found = acme.args(&[b"COPY".as_slice(), key, b"copied", b"REPLACE"]);
        assert_eq!(found, Reply::Int(1));
        let list = acme.call("KEYS *");
        assert!(list.items().contains(&Reply::bulk(key)), "{} in {list:?}", key.escape_ascii());
        acme.args(&[b"DEL".as_slice(), key, b"copied"]);
    }
}

pub fn inline_requests(world: &mut World, protocol: u8) {
    let mut acme = world.acme(protocol);
    for line in [
        "GET rival:s",
        "get \"rival:s\"",
        "GET 'rival:s'",
        "GET \"\\x72ival:s\"",
        "KEYS *",
        "CONFIG GET *",
        "EVAL \"return redis.call('GET','rival:s')\" 0",
    ] {
        acme.conn().send(format!("{line}\r\n").as_bytes());
        let reply = acme.conn().raw();
        assert!(memchr::memmem::find(&reply, MARK.as_bytes()).is_none(), "{line}: {}", reply.escape_ascii());
        assert!(
            !line.to_lowercase().starts_with("get") || Reply::is_nil(&crate::common::resp::decode(&reply).0),
            "{line}"
        );
    }
}

pub fn split_requests(world: &mut World, protocol: u8) {
    let mut acme = world.acme(protocol);
    for line in ["GET rival:s", "MGET rival:s s", "CONFIG GET maxmemory", "SUBSCRIBE c"] {
        let bytes = encode(&words(line));
        for byte in &bytes {
            acme.conn().send(&[*byte]);
        }
        let reply = acme.conn().raw();
        assert!(memchr::memmem::find(&reply, MARK.as_bytes()).is_none(), "{line}: {}", reply.escape_ascii());
    }
}

pub fn smuggled_request(world: &mut World, protocol: u8) {
    let mut acme = world.acme(protocol);
    let inner = encode(&["FLUSHALL"]);
    assert!(acme.args(&[b"SET".as_slice(), b"s", &inner]).is_ok());
    assert!(acme.args(&[b"SET".as_slice(), &inner, b"v"]).is_ok());
    acme.args(&[b"DEL".as_slice(), &inner]);
    // Lengths that are not what comes: a protocol error and the end, or one request that is as it says.
    for bytes in [
        b"*2\r\n$3\r\nGET\r\n$5\r\nrival:s\r\n".as_slice(),
        b"*2\r\n$3\r\nGET\r\n$3\r\nsxx*2\r\n$3\r\nGET\r\n$7\r\nrival:s\r\n",
        b"*2\r\n$+3\r\nGET\r\n$7\r\nrival:s\r\n",
        b"*02\r\n$3\r\nGET\r\n$7\r\nrival:s\r\n",
        b"*2\r\n$3\r\nGET\r\n$7\nrival:s\r\n",
        b"*1\r\n$3\r\nGET\r\n$7\r\nrival:s\r\n",
        b"*-1\r\n*0\r\n\r\n",
    ] {
        acme.renew();
        acme.conn().send(bytes);
        let reply = acme.all_of(&[]);
        assert!(memchr::memmem::find(&reply, MARK.as_bytes()).is_none(), "{}", reply.escape_ascii());
    }
}

pub fn letters(world: &mut World, protocol: u8) {
    let mut acme = world.acme(protocol);
    errors(
        &mut acme,
        &["config get *", "CoNfIg GeT *", "flushall", "dEbUg object s", "script|flush", "config|get *", "client|list"],
    );
    let odd: [&[&[u8]]; 5] = [
        &[b"CONFIG\0", b"GET", b"*"],
        &[b"", b"s"],
        &[b"GET\r\n", b"rival:s"],
        &[b" GET", b"rival:s"],
        &[b"CONFIG", b"GET\0", b"*"],
    ];
    for request in odd {
        let reply = acme.args(request);
        assert!(matches!(reply, Reply::Error(_)), "{request:?}: {reply:?}");
    }
    assert!(acme.call("gEt rival:s").is_nil());
}
