//! Channels, patterns, keyspace events and invalidations between two tenants of one upstream.

use super::super::common::resp::encode;
use super::super::common::{Reply, words};
use super::client::Client;
use super::world::{MARK, World};

/// All that the rival can do to be heard.
fn be_loud(world: &World, protocol: u8) {
    let mut rival = world.rival(protocol);
    let lines: Vec<Vec<Vec<u8>>> = [
        format!("PUBLISH c {MARK}"),
        format!("PUBLISH {MARK} x"),
        format!("PUBLISH acme:c {MARK}"),
        format!("PUBLISH __keyspace@0__:s {MARK}"),
        format!("PUBLISH __keyspace@0__:acme:s {MARK}"),
        format!("PUBLISH __keyevent@0__:set {MARK}"),
        format!("PUBLISH __keyevent@0__:set acme:{MARK}"),
        format!("PUBLISH __redis__:invalidate {MARK}"),
        format!("SPUBLISH c {MARK}"),
        format!("SET {MARK}-loud 1"),
        format!("RENAME {MARK}-loud {MARK}-louder"),
        format!("DEL {MARK}-louder"),
    ]
    .iter()
    .map(|line| words(line))
    .collect();
    rival.all_of(&lines);
}

/// What of it reaches a client that subscribed so.
#[track_caller]
fn hear(world: &World, protocol: u8, subscribe: &str) -> Vec<u8> {
    let mut acme = world.acme(protocol);
    let mut bytes = acme.all_of(&[words(subscribe)]);
    be_loud(world, protocol);
    bytes.extend(acme.all_of(&[]));
    assert!(memchr::memmem::find(&bytes, MARK.as_bytes()).is_none(), "{subscribe}: {}", bytes.escape_ascii());
    bytes
}

const SUBSCRIPTIONS: &[&str] = &[
    "SUBSCRIBE c rival:c acme:c",
    "SUBSCRIBE __keyspace@0__:s __keyspace@0__:rival:s __keyevent@0__:set __keyevent@0__:del __keyevent@0__:rename_from",
    "SUBSCRIBE __redis__:invalidate __sentinel__:hello",
    "PSUBSCRIBE *",
    "PSUBSCRIBE ?* [a-z]* \\* rival:* *:* **",
    "PSUBSCRIBE __key*__:*",
    "PSUBSCRIBE __keyspace@0__:*",
    "PSUBSCRIBE __keyspace@*__:*",
    "PSUBSCRIBE __keyevent@0__:*",
    "PSUBSCRIBE __keyevent@*__:*",
    "PSUBSCRIBE __keyevent@0__:*et __keyspace@0__:*loud*",
    "PSUBSCRIBE _*_key* [_]* ?_key*",
    "SSUBSCRIBE c rival:c",
];

#[test]
fn no_subscription_hears_another_tenant() {
    let mut world = World::new();
    world.plant_own();
    let before = world.others();
    for protocol in [2, 3] {
        for subscribe in SUBSCRIPTIONS {
            hear(&world, protocol, subscribe);
        }
    }
    // The rival's own doings are in the same MONITOR, so its word is not asked here.
    assert_eq!(world.others(), before);
}

/// A client's replies and messages, one after the other.
fn next(client: &mut Client) -> Vec<Reply> {
    match client.conn().reply() {
        Reply::Push(words) | Reply::Array(words) => words,
        other => panic!("{other:?}"),
    }
}

fn bulks(words: &[&str]) -> Vec<Reply> {
    words.iter().map(Reply::bulk).collect()
}

#[test]
fn a_tenants_own_messages_come_in_its_own_spelling() {
    let world = World::new();
    for protocol in [2, 3] {
        let mut acme = world.acme(protocol);
        acme.conn().send(&encode(&words("SUBSCRIBE c")));
        assert_eq!(next(&mut acme), [&bulks(&["subscribe", "c"])[..], &[Reply::Int(1)]].concat());
        acme.conn().send(&encode(&words("PSUBSCRIBE d*")));
        assert_eq!(next(&mut acme), [&bulks(&["psubscribe", "d*"])[..], &[Reply::Int(2)]].concat());
        let mut other = world.acme(protocol);
        be_loud(&world, protocol);
        assert_eq!(other.call("PUBLISH c hello"), Reply::Int(1));
        assert_eq!(next(&mut acme), bulks(&["message", "c", "hello"]));
        assert_eq!(other.call("PUBLISH dd acme:x"), Reply::Int(1));
        assert_eq!(next(&mut acme), bulks(&["pmessage", "d*", "dd", "acme:x"]));
        assert_eq!(other.call("PUBSUB CHANNELS").items(), bulks(&["c"]));
        assert_eq!(
            other.call("PUBSUB NUMSUB c d").items(),
            [Reply::bulk("c"), Reply::Int(1), Reply::bulk("d"), Reply::Int(0)]
        );
        acme.conn().send(&encode(&words("UNSUBSCRIBE")));
        assert_eq!(next(&mut acme), [&bulks(&["unsubscribe", "c"])[..], &[Reply::Int(1)]].concat());
    }
}

#[test]
fn keyspace_events_are_of_the_tenants_own_keys() {
    let world = World::new();
    for protocol in [2, 3] {
        let mut acme = world.acme(protocol);
        acme.conn().send(&encode(&words("SUBSCRIBE __keyspace@0__:k __keyevent@0__:set")));
        for (count, channel) in ["__keyspace@0__:k", "__keyevent@0__:set"].iter().enumerate() {
            assert_eq!(
                next(&mut acme),
                [&bulks(&["subscribe", channel])[..], &[Reply::Int(count as i64 + 1)]].concat()
            );
        }
        be_loud(&world, protocol);
        world.acme(protocol).call("SET k v");
        let heard = [next(&mut acme), next(&mut acme)];
        assert!(heard.contains(&bulks(&["message", "__keyspace@0__:k", "set"])), "{heard:?}");
        assert!(heard.contains(&bulks(&["message", "__keyevent@0__:set", "k"])), "{heard:?}");
    }
}

#[test]
fn invalidations_name_the_tenants_own_keys() {
    let world = World::new();
    let mut acme = world.acme(3);
    acme.call("CLIENT TRACKING ON BCAST").expect_ok();
    be_loud(&world, 3);
    world.acme(3).call("SET k v");
    assert_eq!(next(&mut acme), [Reply::bulk("invalidate"), Reply::Array(bulks(&["k"]))]);
}

/// Redis 7.0 writes a message to the client that publishes it into the middle of EXEC's reply.
#[test]
fn a_message_within_the_reply_of_exec_is_told_as_any_other() {
    let world = World::new();
    let mut acme = world.acme(3);
    acme.conn().send(&encode(&words("SUBSCRIBE c __keyevent@0__:set")));
    acme.conn().raw();
    acme.conn().raw();
    let lines = ["MULTI", "PUBLISH c hello", "SET k v", "ECHO x", "EXEC"];
    acme.conn().send(&lines.iter().flat_map(|line| encode(&words(line))).collect::<Vec<u8>>());
    acme.conn().send(&encode(&["ECHO", "the end"]));
    let mut bytes = Vec::new();
    while memchr::memmem::find(&bytes, b"the end").is_none() {
        bytes.extend(acme.conn().read_some());
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    assert!(!text.contains("acme:"), "{text:?}");
    assert!(text.contains("$1\r\nc\r\n$5\r\nhello\r\n") && text.contains("$1\r\nk\r\n"), "{text:?}");
}
