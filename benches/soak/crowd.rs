//! The clients, each a thread with one kind of work; each checks what it is answered, and panics where that is wrong.

use crate::common::{Conn, Dice, Reply, words};
use crate::shop::{SCARCE, SKUS, Shop};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// Requests that are sent at once.
const PIPELINE: usize = 32;

/// All threads of one phase.
pub struct Crowd {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// What each of them has.
struct Member {
    addr: String,
    shop: Arc<Shop>,
    stop: Arc<AtomicBool>,
    number: u64,
}

impl Crowd {
    pub fn start(addr: &str, shop: &Arc<Shop>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let works: [fn(&Member); 10] =
            [seller, seller, seller, passer, passer, subscriber, waiter, transactor, visitor, breaker];
        let threads = (0..).zip(works).map(|(number, work)| {
            let member = Member { addr: addr.to_owned(), shop: Arc::clone(shop), stop: Arc::clone(&stop), number };
            std::thread::spawn(move || work(&member))
        });
        Self { threads: threads.collect(), stop }
    }

    /// One of them has failed: there is no use in waiting for the end.
    pub fn is_broken(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Lets each finish what it is at.
    pub fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("a client failed; what it met is above");
        }
    }
}

impl Member {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    fn conn(&self) -> Conn {
        Conn::open(&self.addr)
    }

    fn dice(&self) -> Dice {
        Dice::new(self.number + 1)
    }
}

/// Reserves, and then sells, gives back, extends or forgets what it holds.
fn seller(me: &Member) {
    let (mut conn, mut dice) = (me.conn(), me.dice());
    while me.goes_on() {
        let skus: Vec<usize> = (0..PIPELINE).map(|_| dice.below(SKUS.len() as u64) as usize).collect();
        let reserve = |&sku: &usize| words(&format!("INV.RESERVE {} 1 PX 30000", SKUS[sku]));
        let replies = conn.pipeline(&skus.iter().map(reserve).collect::<Vec<_>>());
        let mut held = Vec::new();
        for (&sku, reply) in skus.iter().zip(&replies) {
            match reply {
                Reply::Bulk(id) => held.push((sku, String::from_utf8_lossy(id).into_owned())),
                refusal => {
                    assert_eq!((sku, refusal.error_word()), (SCARCE, "INSUFFICIENTSTOCK"), "{refusal:?}");
                }
            }
        }
        let ends: Vec<u64> = held.iter().map(|_| dice.below(8)).collect();
        let requests: Vec<_> = held.iter().zip(&ends).map(|((_, id), end)| words(&end_of(id, *end))).collect();
        for ((&(sku, _), end), reply) in held.iter().zip(&ends).zip(conn.pipeline(&requests)) {
            match end {
                0..=4 => {
                    reply.expect_ok();
                    me.shop.sell(sku);
                }
                5 | 6 => reply.expect_ok(),
                _ => assert!(reply.int() > 0, "{reply:?}"),
            }
        }
        me.shop.count(replies.len() + requests.len());
        // Most of the scarce is sold by now: some more.
        let more = dice.below(8) as i64 + 1;
        assert!(conn.call(&format!("INV.ADDSTOCK {} {more}", SKUS[SCARCE])).int() >= more);
        me.shop.supply(SCARCE, more);
    }
}

/// One of eight ends: mostly sold, sometimes given back, at times left to expire.
fn end_of(id: &str, end: u64) -> String {
    match end {
        0..=3 => format!("INV.COMMIT {id}"),
        4 => format!("INV.COMMIT {id} REF invoice"),
        5 | 6 => format!("INV.ROLLBACK {id}"),
        _ => format!("INV.EXTEND {id} PX 20"),
    }
}

/// Ordinary commands, whose answers it knows; some large.
fn passer(me: &Member) {
    let (mut conn, mut round) = (me.conn(), 0u64);
    let key = format!("passer:{}", me.number);
    conn.call(&format!("DEL {key}:count")).int();
    while me.goes_on() {
        round += 1;
        let mut requests = Vec::new();
        for part in 0..PIPELINE as u64 / 2 {
            let long = if round.is_multiple_of(100) && part == 0 { 100_000 } else { 10 };
            let value = format!("{round:06}:{}", "v".repeat(long));
            requests.push([words(&format!("SET {key}:{part}")), vec![value.into_bytes()]].concat());
            requests.push(words(&format!("GET {key}:{part}")));
        }
        requests.push(words(&format!("INCR {key}:count")));
        let replies = conn.pipeline(&requests);
        for (pair, request) in replies.chunks(2).zip(requests.chunks(2)).take(PIPELINE / 2) {
            pair[0].expect_ok();
            assert_eq!(pair[1], Reply::bulk(&request[0][2]));
        }
        assert_eq!(replies.last(), Some(&Reply::Int(round as i64)));
        me.shop.count(requests.len());
    }
}

/// Publishes to itself, and hears all of it in order.
fn subscriber(me: &Member) {
    let (mut hears, mut says) = (Conn::open3(&me.addr), me.conn());
    let mut round = 0u64;
    while me.goes_on() {
        hears.call("SUBSCRIBE news");
        for _ in 0..100 {
            round += 1;
            assert_eq!(says.call(&format!("PUBLISH news {round}")).int(), 1);
            let wanted = ["message".to_owned(), "news".to_owned(), round.to_string()];
            assert_eq!(hears.reply(), Reply::Push(wanted.map(Reply::bulk).to_vec()));
        }
        hears.call("UNSUBSCRIBE news");
        assert_eq!(hears.call("PING").text(), "PONG");
        me.shop.count(103);
    }
}

/// Waits for elements that come while it waits, on a connection of its own that it gives back.
fn waiter(me: &Member) {
    let (mut waits, mut gives) = (me.conn(), me.conn());
    let mut round = 0u64;
    while me.goes_on() {
        round += 1;
        waits.send_args(&["BLPOP", "queue", "10"]);
        gives.call(&format!("RPUSH queue {round}")).int();
        assert_eq!(waits.reply(), Reply::Array(vec![Reply::bulk("queue"), Reply::bulk(round.to_string())]));
        assert!(waits.call("GET nothing").is_nil());
        me.shop.count(3);
    }
}

/// MULTI with both kinds of commands, WATCH, and what it reserved is sold.
fn transactor(me: &Member) {
    let (mut conn, mut round) = (me.conn(), 0i64);
    conn.call("DEL transactions").int();
    while me.goes_on() {
        round += 1;
        let lines = ["WATCH transactions", "MULTI", "INCR transactions", "INV.RESERVE plenty 1 PX 30000", "EXEC"];
        let replies = conn.pipeline(&lines.map(words));
        let items = replies[4].items();
        assert_eq!(items[0], Reply::Int(round));
        conn.call(&format!("INV.COMMIT {}", items[1].text())).expect_ok();
        me.shop.sell(0);
        me.shop.count(lines.len() + 1);
    }
}

/// Comes, asks a little, and goes as one should.
fn visitor(me: &Member) {
    let mut dice = me.dice();
    while me.goes_on() {
        let mut conn = if dice.below(2) == 0 { me.conn() } else { Conn::open3(&me.addr) };
        match dice.below(4) {
            0 => conn.call("SELECT 3").expect_ok(),
            1 => conn.call("CLIENT SETNAME visitor").expect_ok(),
            2 => assert!(!conn.call("INV.STOCK plenty").is_nil()),
            _ => assert!(conn.call("CLIENT ID").int() > 0),
        }
        assert_eq!(conn.call("PING").text(), "PONG");
        me.shop.count(2);
    }
}

/// Breaks off in the middle of everything. What it may have reserved expires. Nobody slows down a client that does not
/// wait for answers, so it asks something each time: without that it would fill any queue.
fn breaker(me: &Member) {
    let (mut asks, mut dice) = (me.conn(), me.dice());
    while me.goes_on() {
        let mut conn = me.conn();
        match dice.below(7) {
            0 => conn.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100\r\nhalf"),
            1 => conn.send_args(&["SUBSCRIBE", "news-of-nobody"]),
            2 => conn.send_args(&["BLPOP", "queue-of-nobody", "30"]),
            3 => conn.send(b"WATCH a\r\nMULTI\r\nINCR b\r\n"),
            4 => conn.send(&b"INV.RESERVE hot 1 PX 200\r\n".repeat(20)),
            5 => conn.send(&b"GET passer:3:0\r\n".repeat(100)),
            _ => conn.send(b"CLIENT TRACKING ON\r\nGET passer:3:0\r\n"),
        }
        // At times it reads a little first.
        if dice.below(2) == 0 {
            let _ = conn.try_send(b"PING\r\n");
        }
        conn.reset();
        assert!(!asks.call("INV.STOCK hot").is_nil());
        me.shop.count(2);
    }
}
