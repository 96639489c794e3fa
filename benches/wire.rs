//! Question: what does the sidecar spend on one request before and after it is on a connection: finding its frame, deciding
//! its way, finding its reply's end, ordering it, reading an inventory command and encoding its operation?
//!
//! Command: `cargo bench --bench wire`
//!
//! Last result (2 shared cores; look at ratios, not at absolutes): in ARCHITECTURE.md, *Measured*.
#![allow(missing_docs, reason = "criterion's macros make functions without any")]

use criterion::{Criterion, criterion_group, criterion_main};
use inventory_sentinel::command::{Args, CommandTable, route};
use inventory_sentinel::inventory::commands::{Context, parse};
use inventory_sentinel::resp::{ReplyQueue, ReplyScanner, RequestLimits, RequestScanner};
use inventory_sentinel::tenant::{Tenants, resolve};
use std::hint::black_box;

const GET: &[u8] = b"*2\r\n$3\r\nGET\r\n$16\r\nkey:000000012345\r\n";
const RESERVE: &[u8] = b"*3\r\n$11\r\nINV.RESERVE\r\n$3\r\nhot\r\n$1\r\n1\r\n";
const VALUE: &[u8] = b"$64\r\n0123456789012345678901234567890123456789012345678901234567890123\r\n";

fn wire(criterion: &mut Criterion) {
    let mut scanner = RequestScanner::new(RequestLimits::default());
    criterion.bench_function("find the frame of a GET", |bench| bench.iter(|| scanner.scan(black_box(GET)).is_ok()));

    let table = CommandTable::from_flags(vec![("get".into(), vec!["readonly".into()])]);
    assert!(scanner.scan(GET).is_ok());
    let ranges = scanner.args().to_vec();
    criterion.bench_function("decide the way of a GET", |bench| {
        bench.iter(|| route(&Args::new(black_box(GET), &ranges), &table));
    });

    let mut replies = ReplyScanner::new();
    criterion
        .bench_function("find the end of a 64 byte reply", |bench| bench.iter(|| replies.advance(black_box(VALUE))));

    let queue = ReplyQueue::new(1 << 30);
    criterion.bench_function("order and hand out a reply", |bench| {
        bench.iter(|| {
            queue.ticket().complete(black_box(VALUE));
            queue.with_ready(|ready| Ok::<_, ()>(ready.len()))
        });
    });

    let tenants = resolve(&inventory_sentinel::config::Config::default(), &Tenants::default()).expect("the defaults");
    let tenant = tenants.first(None).expect("the only one");
    assert!(scanner.scan(RESERVE).is_ok());
    let ranges = scanner.args().to_vec();
    criterion.bench_function("read a reserve and encode its operation", |bench| {
        bench.iter(|| parse(&Args::new(black_box(RESERVE), &ranges), &Context { tenant }).1.is_ok());
    });
}

criterion_group!(benches, wire);
criterion_main!(benches);
