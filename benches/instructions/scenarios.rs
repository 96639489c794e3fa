//! What is counted.

use crate::replay::{Replay, turn};
use inventory_sentinel::command::{Args, CommandTable, route};
use inventory_sentinel::resp::{ReplyScanner, RequestLimits, RequestScanner};
use std::hint::black_box;
use std::path::Path;
use tokio::runtime::LocalRuntime;

/// What is executed within functions of this name is counted, and nothing else.
pub const COUNTED: &str = "counted_by_callgrind";
/// Before it is counted each exchange takes place so often: connections are made, buffers have grown.
const WARMUP: usize = 20;
const ROUNDS: usize = 100;
const LOOPS: usize = 1000;

pub struct Scenario {
    pub name: &'static str,
    /// How many requests its counted part has.
    pub requests: u64,
    pub run: fn(&Path),
}

pub const SCENARIOS: [Scenario; 10] = [
    Scenario { name: "the frame of a request", requests: (LOOPS * 6) as u64, run: |_| frames() },
    Scenario { name: "the end of a reply", requests: (LOOPS * 5) as u64, run: |_| replies() },
    Scenario { name: "the way of a command", requests: (LOOPS * 6) as u64, run: |_| ways() },
    session::<8, 1>("a GET, 8 clients", |path| session_of::<8, 1>(path, GETS)),
    session::<4, 16>("a GET, 4 clients × 16", |path| session_of::<4, 16>(path, GETS)),
    session::<4, 16>("a SET, 4 clients × 16", |path| session_of::<4, 16>(path, SETS)),
    session::<8, 1>("a reservation, 8 clients", |path| session_of::<8, 1>(path, RESERVES)),
    session::<4, 16>("a reservation, 4 clients × 16", |path| session_of::<4, 16>(path, RESERVES)),
    session::<4, 16>("a commit, 4 clients × 16", |path| session_of::<4, 16>(path, COMMITS)),
    session::<4, 16>("a commit of a minted id, 4 clients × 16", commits_of_minted::<4, 16>),
];

const fn session<const CLIENTS: usize, const PIPELINE: usize>(name: &'static str, run: fn(&Path)) -> Scenario {
    Scenario { name, requests: (ROUNDS * CLIENTS * PIPELINE) as u64, run }
}

/// Makes the request of that number.
type Request = fn(usize) -> Vec<u8>;

const GETS: Request = |n| request(&["GET", &format!("key:{n:012}")]);
const SETS: Request = |n| request(&["SET", &format!("key:{n:012}"), &"v".repeat(64)]);
const RESERVES: Request = |_| request(&["INV.RESERVE", "hot", "1"]);
const HELD: Request = |n| request(&["INV.RESERVE", "hot", "1", "ID", &format!("order{n:02}")]);
const COMMITS: Request = |n| request(&["INV.COMMIT", &format!("0-order{n:02}"), "REF", "invoice"]);

fn session_of<const CLIENTS: usize, const PIPELINE: usize>(recording: &Path, of: Request) {
    let mut replay = Replay::start(CLIENTS, recording, None);
    let bytes = pipeline(PIPELINE, of);
    for _ in 0..WARMUP {
        replay.exchange(&bytes, PIPELINE);
    }
    for _ in 0..ROUNDS {
        replay.exchange_by(&bytes, PIPELINE, counted_by_callgrind_turn);
    }
}

fn commits_of_minted<const CLIENTS: usize, const PIPELINE: usize>(recording: &Path) {
    let mut replay = Replay::start(CLIENTS, recording, None);
    for _ in 0..WARMUP {
        reserve_and_commit(&mut replay, PIPELINE, turn);
    }
    for _ in 0..ROUNDS {
        reserve_and_commit(&mut replay, PIPELINE, counted_by_callgrind_turn);
    }
}

/// Each client commits what it has reserved. `turn` is for the commits.
fn reserve_and_commit(replay: &mut Replay, requests: usize, turn: impl Fn(&LocalRuntime)) {
    replay.exchange(&pipeline(requests, RESERVES), requests);
    let commits: Vec<Vec<u8>> = replay.answered().map(commits_of).collect();
    replay.exchange_each(&commits, requests, turn);
}

/// Commits of all ids that were answered.
fn commits_of(answered: &[u8]) -> Vec<u8> {
    let lines = std::str::from_utf8(answered).expect("ids are texts").lines();
    lines.filter(|line| !line.starts_with('$')).flat_map(|id| request(&["INV.COMMIT", id])).collect()
}

fn pipeline(requests: usize, of: Request) -> Vec<u8> {
    (0..requests).flat_map(of).collect()
}

/// The worker's part alone: what clients and upstream do is outside.
#[inline(never)]
fn counted_by_callgrind_turn(runtime: &LocalRuntime) {
    turn(black_box(runtime));
}

/// Asks a real Redis all that the scenarios ask, and writes its answers down.
pub fn record(recording: &Path, redis: &str) {
    let mut replay = Replay::start(1, recording, Some(redis));
    replay.exchange(&request(&["INV.SETSTOCK", "hot", "1000000000"]), 1);
    replay.exchange(&pipeline(16, SETS), 16);
    replay.exchange(&pipeline(16, HELD), 16);
    for clients in 1..=8 {
        while replay.clients() < clients {
            replay.connect();
        }
        for (requests, of) in [(1, GETS), (16, GETS), (16, SETS), (1, RESERVES), (16, RESERVES), (16, COMMITS)] {
            for _ in 0..WARMUP {
                replay.exchange(&pipeline(requests, of), requests);
            }
        }
        for _ in 0..WARMUP {
            reserve_and_commit(&mut replay, 16, turn);
        }
    }
    replay.save(recording);
}

fn request(args: &[&str]) -> Vec<u8> {
    let parts: String = args.iter().map(|arg| format!("${}\r\n{arg}\r\n", arg.len())).collect();
    format!("*{}\r\n{parts}", args.len()).into_bytes()
}

/// Requests as they are mixed in life.
fn mixed() -> Vec<Vec<u8>> {
    vec![
        GETS(1),
        SETS(1),
        RESERVES(1),
        request(&["HSET", "basket:1", "sku", "hot", "quantity", "2", "price", "1999"]),
        request(&["MGET", "a", "b", "c", "d", "e", "f", "g", "h"]),
        b"PING\r\n".to_vec(),
    ]
}

fn frames() {
    let (mut scanner, frames) = (RequestScanner::new(RequestLimits::default()), mixed());
    counted_by_callgrind_frames(&mut scanner, &frames);
}

#[inline(never)]
fn counted_by_callgrind_frames(scanner: &mut RequestScanner, frames: &[Vec<u8>]) {
    for _ in 0..LOOPS {
        for frame in frames {
            assert!(matches!(black_box(scanner.scan(black_box(frame))), Ok(Some(_))));
        }
    }
}

fn replies() {
    let value = format!("$64\r\n{}\r\n", "v".repeat(64));
    let items = format!("*10\r\n{}", "$5\r\nhello\r\n".repeat(10));
    let replies =
        [value.as_str(), "+OK\r\n", ":1234\r\n", "$-1\r\n", items.as_str()].map(|text| text.as_bytes().to_vec());
    counted_by_callgrind_replies(&mut ReplyScanner::new(), &replies);
}

#[inline(never)]
fn counted_by_callgrind_replies(scanner: &mut ReplyScanner, replies: &[Vec<u8>]) {
    for _ in 0..LOOPS {
        for reply in replies {
            let mut at = 0;
            while at < reply.len() {
                at +=
                    black_box(scanner.advance(black_box(&reply[at..]))).map_or(usize::MAX / 2, |advance| advance.take);
            }
        }
    }
}

fn ways() {
    let names = ["get", "set", "hset", "mget", "ping", "blpop"];
    let flags = names.map(|name| (name.to_owned(), vec![if name == "blpop" { "blocking" } else { "fast" }.to_owned()]));
    let table = CommandTable::from_flags(flags.to_vec());
    let frames = [
        GETS(1),
        SETS(1),
        RESERVES(1),
        request(&["HSET", "basket:1", "sku", "hot", "quantity", "2", "price", "1999"]),
        request(&["BLPOP", "queue", "0"]),
        request(&["CLIENT", "SETNAME", "shop"]),
    ];
    let mut scanner = RequestScanner::new(RequestLimits::default());
    let args: Vec<_> = frames
        .iter()
        .map(|frame| {
            assert!(scanner.scan(frame).is_ok());
            scanner.args().to_vec()
        })
        .collect();
    let requests: Vec<Args<'_>> = frames.iter().zip(&args).map(|(frame, ranges)| Args::new(frame, ranges)).collect();
    counted_by_callgrind_ways(&requests, &table);
}

#[inline(never)]
fn counted_by_callgrind_ways(requests: &[Args<'_>], table: &CommandTable) {
    for _ in 0..LOOPS {
        for request in requests {
            black_box(route(black_box(request), black_box(table)));
        }
    }
}
