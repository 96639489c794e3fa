//! Question: what CPU does redis-server spend on one reservation, and on its end, by the plain layout one at a time and by the
//! sidecar's script and layout in batches?
//!
//! The times are CPU of the redis-server process (the scheduler's nanoseconds, user and system), not of the clock: reading,
//! the script, and answering. One client sends pipelines, which travel as batches; the plain script goes by as many EVALSHA in
//! one write.
//!
//! Command: `cargo bench --bench script`. Last result (2 shared cores): in ARCHITECTURE.md, *Measured*.
#![allow(missing_docs, reason = "criterion's macros make functions without any")]

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "load/cpu.rs"]
mod cpu;

use common::{Conn, Redis, Reply, Sidecar, words};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::time::Duration;

const PLAIN: &str = include_str!("lua/reserve.lua");
const STOCK: &str = "1000000000";

/// What the server spends on `iterations` of `work`.
fn spent(server: u32, iterations: u64, mut work: impl FnMut()) -> Duration {
    let before = cpu::seconds(server).expect("redis-server");
    for _ in 0..iterations {
        work();
    }
    Duration::from_secs_f64(cpu::seconds(server).expect("redis-server") - before)
}

fn script(criterion: &mut Criterion) {
    let redis = Redis::start();
    let mut direct = redis.conn();
    let info = direct.call("INFO server").text();
    let pid = info.lines().find_map(|line| line.strip_prefix("process_id:")?.parse().ok()).expect("a process id");
    let sidecar = Sidecar::start(&redis.url(), &[]);
    let mut through = sidecar.conn();
    let mut group = criterion.benchmark_group("script");
    group.sample_size(20).measurement_time(Duration::from_secs(3));

    let sha = direct.call_args(&["SCRIPT", "LOAD", PLAIN]).text();
    for batch in [1, 32] {
        direct.call("FLUSHALL").expect_ok();
        direct.call(&format!("HSET plain:stock avail {STOCK}")).int();
        let mut id = 0u64;
        group.throughput(Throughput::Elements(batch));
        group.bench_function(format!("plain, {batch} × EVALSHA"), |bench| {
            bench.iter_custom(|iterations| {
                spent(pid, iterations, || {
                    let call = |_| {
                        id += 1;
                        words(&format!("EVALSHA {sha} 3 plain:stock plain:holds plain:due 1 300000 {id:022}"))
                    };
                    exchange(&mut direct, &(0..batch).map(call).collect::<Vec<_>>());
                })
            });
        });
    }

    for batch in [1, 32, 128] {
        direct.call("FLUSHALL").expect_ok();
        through.call(&format!("INV.SETSTOCK hot {STOCK}")).expect_ok();
        let reserve: Vec<_> = (0..batch).map(|_| words("INV.RESERVE hot 1")).collect();
        group.throughput(Throughput::Elements(batch));
        group.bench_function(format!("reserve, a batch of {batch}"), |bench| {
            bench.iter_custom(|iterations| spent(pid, iterations, || drop(exchange(&mut through, &reserve))));
        });
        for end in ["COMMIT", "ROLLBACK"] {
            group.bench_function(format!("reserve and {}, batches of {batch}", end.to_lowercase()), |bench| {
                bench.iter_custom(|iterations| {
                    spent(pid, iterations, || {
                        let held = exchange(&mut through, &reserve);
                        let ends = held.iter().map(|id| words(&format!("INV.{end} {}", id.text())));
                        exchange(&mut through, &ends.collect::<Vec<_>>());
                    })
                });
            });
        }
    }
    group.finish();
}

fn exchange(conn: &mut Conn, requests: &[Vec<Vec<u8>>]) -> Vec<Reply> {
    let replies = conn.pipeline(requests);
    assert!(replies.iter().all(|reply| reply.error_word().is_empty() && !reply.is_nil()), "{:?}", replies.first());
    replies
}

criterion_group!(benches, script);
criterion_main!(benches);
