//! Requests that belong together, for they change the way that their client goes: transactions, subscriptions, silence, other
//! protocols, the inventory. Each leaves the connection such that ordinary requests may follow.

use super::super::common::{Reply, words};
use super::asked::{Burst, Wanted};
use super::inventory::inventory;
use super::model::Model;

/// Some requests, by chance; mostly one, and mostly one of those that go in runs.
pub fn some(model: &mut Model, burst: &mut Burst) {
    match model.dice.below(200) {
        0..6 => inventory(model, burst),
        6..10 => (0..2 + model.dice.below(6)).for_each(|_| inventory(model, burst)),
        10..13 => transaction(model, burst),
        13..17 => {
            silent(burst, "CLIENT REPLY SKIP");
            silent_single(model, burst);
        }
        17 => {
            silent(burst, "CLIENT REPLY OFF");
            (0..model.dice.below(5)).for_each(|_| silent_single(model, burst));
            burst.ask(&words("CLIENT REPLY ON"), Wanted::ok());
        }
        18 => blocking(model, burst),
        19..21 => subscription(model, burst),
        21..24 => {
            model.proto = model.pick(&[2, 3]);
            let wanted = Wanted::Fields(vec![("proto", Reply::Int(model.proto.into()))]);
            burst.ask(&words(&format!("HELLO {}", model.proto)), wanted);
        }
        24..27 => database(model, burst),
        27..29 => {
            let tag = model.tag();
            burst.ask(&words(&format!("CLIENT SETNAME {tag}")), Wanted::ok());
            burst.ask(&words("CLIENT GETNAME"), Wanted::bulk(tag));
        }
        29 => reset(model, burst),
        30..33 => {
            let tag = model.tag();
            burst.raw(format!("PING {tag}\r\n").as_bytes(), vec![Wanted::bulk(&tag)], 0);
        }
        _ => {
            let single = model.single();
            burst.ask(&single.request, single.wanted);
        }
    }
}

fn silent(burst: &mut Burst, line: &str) {
    burst.ask_all(&words(line), Vec::new());
}

fn silent_single(model: &mut Model, burst: &mut Burst) {
    let request = model.single().request;
    burst.ask_all(&request, Vec::new());
}

fn transaction(model: &mut Model, burst: &mut Burst) {
    let (is_watched, mut is_broken, mut is_refused) = (model.once_in(4), false, false);
    if is_watched {
        let (key, value) = (model.any_key(), model.value());
        burst.ask(&words(&format!("WATCH {}", model.key(key))), Wanted::ok());
        if model.once_in(2) {
            burst.ask(&words(&format!("SET {} {value}", model.key(key))), Wanted::ok());
            model.state.values.insert((model.db, key), value);
            is_broken = true;
        }
    }
    let (before, mut items) = (model.state.clone(), Vec::new());
    burst.ask(&words("MULTI"), Wanted::ok());
    for _ in 0..model.dice.below(5) {
        if model.once_in(8) {
            let (id, wanted) = model.reservation_wanted();
            burst.ask(&words(&format!("INV.GET {id}")), Wanted::simple("QUEUED"));
            items.push(wanted);
            continue;
        }
        let single = model.single();
        if single.is_refused {
            burst.ask(&single.request, single.wanted);
            is_refused = true;
        } else {
            burst.ask(&single.request, Wanted::simple("QUEUED"));
            items.push(single.wanted);
        }
    }
    let wanted = match () {
        () if model.once_in(6) => {
            model.state = before;
            burst.ask(&words("DISCARD"), Wanted::ok());
            return;
        }
        () if is_refused => Wanted::Error("EXECABORT", String::new()),
        () if is_broken => Wanted::Nil,
        () => {
            burst.ask(&words("EXEC"), Wanted::Items(items));
            return;
        }
    };
    model.state = before;
    burst.ask(&words("EXEC"), wanted);
}

fn blocking(model: &mut Model, burst: &mut Burst) {
    let (list, none, tag) = (model.name("list"), model.name("none"), model.tag());
    match model.dice.below(4) {
        0 => burst.ask(&words(&format!("BLPOP {none} 0.002")), Wanted::Nil),
        1 => burst.ask(&words(&format!("XREAD BLOCK 1 STREAMS {none} $")), Wanted::Nil),
        2 => burst.ask(&words(&format!("BLMOVE {none} {list} LEFT RIGHT 0.002")), Wanted::Nil),
        _ => {
            burst.ask(&words(&format!("RPUSH {list} {tag}")), Wanted::int(1));
            let wanted = Wanted::Items(vec![Wanted::bulk(&list), Wanted::bulk(tag)]);
            burst.ask(&words(&format!("BRPOP {none} {list} 0")), wanted);
        }
    }
}

/// What the upstream says of a subscription or a message.
fn told(words: &[&str], count: Option<i64>) -> Vec<Reply> {
    words.iter().map(Reply::bulk).chain(count.map(Reply::Int)).collect()
}

fn subscription(model: &mut Model, burst: &mut Burst) {
    let (one, two, tag) = (model.name("one"), model.name("two"), model.tag());
    let (subscribe, unsubscribe) = (format!("SUBSCRIBE {one} {two}"), format!("UNSUBSCRIBE {one} {two}"));
    let begun = [told(&["subscribe", &one], Some(1)), told(&["subscribe", &two], Some(2))];
    let ended = [told(&["unsubscribe", &one], Some(1)), told(&["unsubscribe", &two], Some(0))];
    if model.proto == 2 {
        let replies = |told: [Vec<Reply>; 2]| told.map(|told| Wanted::Is(Reply::Array(told))).to_vec();
        burst.ask_all(&words(&subscribe), replies(begun));
        burst.ask(&words(&format!("PING {tag}")), Wanted::Is(Reply::Array(told(&["pong", &tag], None))));
        burst.ask_all(&words(&unsubscribe), replies(ended));
        return;
    }
    let pushes = |burst: &mut Burst, told: [Vec<Reply>; 2]| {
        told.into_iter().for_each(|told| burst.pushed(Wanted::Is(Reply::Push(told))));
    };
    silent(burst, &subscribe);
    pushes(burst, begun);
    for _ in 0..model.dice.below(4) {
        let single = model.single();
        burst.ask(&single.request, single.wanted);
    }
    burst.ask(&words(&format!("PUBLISH {two} {tag}")), Wanted::int(1));
    burst.pushed(Wanted::Is(Reply::Push(told(&["message", &two, &tag], None))));
    silent(burst, &unsubscribe);
    pushes(burst, ended);
}

fn database(model: &mut Model, burst: &mut Burst) {
    let db = model.pick(&[0, 0, 1, 2]);
    if model.door.is_isolated() && db != 0 {
        burst.ask(&words(&format!("SELECT {db}")), Wanted::Error("NOPERM", String::new()));
        return;
    }
    model.db = db;
    burst.ask(&words(&format!("SELECT {db}")), Wanted::ok());
}

fn reset(model: &mut Model, burst: &mut Burst) {
    (model.proto, model.db) = (2, 0);
    burst.ask(&words("RESET"), Wanted::simple("RESET"));
    if let Some(auth) = model.door.auth() {
        burst.ask(&words("GET k"), Wanted::Error("NOAUTH", String::new()));
        burst.ask(&auth, Wanted::ok());
    }
}
