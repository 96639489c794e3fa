//! Question: what does a whole worker spend on a request, from the bytes of the client to the bytes of its reply, by the way
//! that it goes and by how many come at once? For the inventory that is reading the command, putting it into a batch,
//! encoding the batch, and telling its answers apart.
//!
//! The worker runs in this process between clients and an upstream that answers from a recording (replay/), whose own work is
//! part of the time: look at differences.
//!
//! Command: `cargo bench --bench session`. Last result (2 shared cores): in ARCHITECTURE.md, *Measured*.
#![allow(missing_docs, reason = "criterion's macros make functions without any")]

mod replay;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use replay::Replay;
use std::path::Path;

fn request(args: &[&str]) -> Vec<u8> {
    let parts: String = args.iter().map(|arg| format!("${}\r\n{arg}\r\n", arg.len())).collect();
    format!("*{}\r\n{parts}", args.len()).into_bytes()
}

fn session(criterion: &mut Criterion) {
    let recording = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/replay/recording.resp");
    let requests = [
        ("GET", request(&["GET", "key:000000000000"])),
        ("reserve", request(&["INV.RESERVE", "hot", "1"])),
        ("commit", request(&["INV.COMMIT", "0-order00", "REF", "invoice"])),
    ];
    let mut group = criterion.benchmark_group("session");
    for (name, request) in requests {
        for (clients, pipeline) in [(1, 1), (4, 16)] {
            // Of commits the recording has pipelines alone.
            if name == "commit" && pipeline == 1 {
                continue;
            }
            let mut replay = Replay::start(clients, &recording, None);
            let bytes = request.repeat(pipeline);
            group.throughput(Throughput::Elements((clients * pipeline) as u64));
            group.bench_function(format!("{name}, {clients} × {pipeline}"), |bench| {
                bench.iter(|| replay.exchange(&bytes, pipeline));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, session);
criterion_main!(benches);
