//! A whole run: clients, warm-up, measurement, report.

use crate::client::Client;
use crate::cpu;
use crate::options::{Kind, Options};
use crate::work::{Tally, Work, load_scripts, prepare};
use rustix::event::epoll::{self, CreateFlags, EventFlags};
use rustix::io::Errno;
use rustix::time::Timespec;
use serde_json::{Map, Value, json};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// Bytes read at a time.
const SCRATCH_BYTES: usize = 256 * 1024;
/// A run without an event for so long has failed.
const SILENCE: Timespec = Timespec { tv_sec: 15, tv_nsec: 0 };

/// Does what the options say; the report is JSON.
pub fn run(options: &Options) -> Result<Value, String> {
    prepare(options)?;
    let mut load = Load::open(options)?;
    match options.kind {
        Kind::Get | Kind::Set => load.begin(vec![Work::keys(options)]),
        Kind::Hold => return load.hold(Work::keys(options)),
        Kind::Answer => return Err("answers, and is no load".to_owned()),
        Kind::Reserve => {
            let script = if options.plain { Some(load_scripts(options.addr, options.kind)?.0) } else { None };
            let mut works = vec![Work::reserve(&options.sku, script.as_deref())];
            if options.beside_clients > 0 {
                works.push(Work::reserve(&options.beside_sku, None));
            }
            load.begin(works);
        }
        Kind::Commit | Kind::Rollback => return end_reservations(options, load),
    }
    load.turn_until(|load, now| now >= load.begun + Duration::from_secs_f64(options.warmup))?;
    let measured = load.measure(options)?;
    let end = load.begun + Duration::from_secs_f64(options.seconds);
    load.turn_until(|load, now| now >= end || load.works[0].tally.all() >= options.requests)?;
    measured.report(load)
}

/// Reserves first, and measures how those reservations are ended.
fn end_reservations(options: &Options, mut load: Load) -> Result<Value, String> {
    let scripts = if options.plain { Some(load_scripts(options.addr, options.kind)?) } else { None };
    load.begin(vec![Work::reserve(&options.sku, scripts.as_ref().map(|scripts| &scripts.0[..])).keeping_ids()]);
    load.turn_until(|load, _| load.works[0].tally.all() >= options.requests)?;
    load.drain()?;
    let reserved = load.works.remove(0);
    if reserved.tally.fine < options.requests {
        return Err(format!("could not reserve: {}", reserved.tally.json()));
    }
    let all = reserved.tally.fine;
    let script = scripts.as_ref().map(|scripts| &scripts.1[..]);
    load.begin(vec![Work::ending(options.kind, reserved, options.shuffle, script)]);
    let measured = load.measure(options)?;
    load.turn_until(|load, _| load.works[0].tally.all() >= all)?;
    measured.report(load)
}

struct Load {
    clients: Vec<Client>,
    /// One for each group of clients.
    works: Vec<Work>,
    poller: OwnedFd,
    scratch: Vec<u8>,
    begun: Instant,
    /// Clients send no further pipeline.
    is_ending: bool,
    /// Of pipelines of the first group, in microseconds, and of those beside it.
    latencies: [Vec<f32>; 2],
}

/// Where the measurement began.
struct Measured {
    begun: Instant,
    cpu: Vec<(String, u32, f64)>,
    own_cpu: f64,
    done: Vec<u64>,
}

impl Load {
    fn open(options: &Options) -> Result<Self, String> {
        let poller = epoll::create(CreateFlags::CLOEXEC).map_err(|error| error.to_string())?;
        let all = options.clients + options.beside_clients;
        let mut clients = Vec::with_capacity(all);
        for token in 0..all {
            let beside = token >= options.clients;
            let pipeline = if beside { options.beside_pipeline } else { options.pipeline };
            clients.push(Client::open(options.addr, &poller, token as u64, usize::from(beside), pipeline)?);
        }
        Ok(Self {
            clients,
            works: Vec::new(),
            poller,
            scratch: vec![0; SCRATCH_BYTES],
            begun: Instant::now(),
            is_ending: false,
            latencies: [Vec::with_capacity(1 << 20), Vec::new()],
        })
    }

    fn begin(&mut self, works: Vec<Work>) {
        self.works = works;
        self.is_ending = false;
        self.begun = Instant::now();
    }

    /// Lets the clients work until `is_over` says so; it is asked after each look for events.
    fn turn_until(&mut self, is_over: impl Fn(&Self, Instant) -> bool) -> Result<(), String> {
        for at in 0..self.clients.len() {
            if self.clients[at].waiting == 0 && !self.is_ending {
                self.send(at)?;
            }
        }
        let mut events = Vec::with_capacity(1024);
        while !is_over(self, Instant::now()) {
            events.clear();
            match epoll::wait(&self.poller, rustix::buffer::spare_capacity(&mut events), Some(&SILENCE)) {
                Err(Errno::INTR) => continue,
                Err(error) => return Err(format!("epoll: {error}")),
                Ok(0) => return Err(format!("silence; {} of {} clients wait", self.waiting(), self.clients.len())),
                Ok(_) => {}
            }
            for event in &events {
                let (at, flags) = (event.data.u64() as usize, event.flags);
                if flags.contains(EventFlags::OUT) {
                    self.clients[at].flush(&self.poller)?;
                }
                if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
                    self.receive(at)?;
                }
            }
        }
        Ok(())
    }

    fn receive(&mut self, at: usize) -> Result<(), String> {
        let client = &mut self.clients[at];
        if let Some(latency) = client.receive(&mut self.scratch, &mut self.works[client.group])? {
            self.latencies[client.group].push(latency);
            if !self.is_ending {
                self.send(at)?;
            }
        }
        Ok(())
    }

    fn send(&mut self, at: usize) -> Result<(), String> {
        let client = &mut self.clients[at];
        client.send(&mut self.works[client.group], &self.poller)
    }

    fn waiting(&self) -> usize {
        self.clients.iter().filter(|client| client.waiting > 0).count()
    }

    /// Takes the replies that are still to come.
    fn drain(&mut self) -> Result<(), String> {
        self.is_ending = true;
        self.turn_until(|load, _| load.waiting() == 0)
    }

    /// From here on.
    fn measure(&mut self, options: &Options) -> Result<Measured, String> {
        self.works.iter_mut().for_each(|work| work.tally = Tally::default());
        self.latencies.iter_mut().for_each(Vec::clear);
        let mut cpu = Vec::new();
        for (name, pid) in &options.watch {
            cpu.push((name.clone(), *pid, cpu::seconds(*pid).ok_or_else(|| format!("{name} ({pid}) is gone"))?));
        }
        self.begun = Instant::now();
        Ok(Measured {
            begun: self.begun,
            cpu,
            own_cpu: cpu::seconds(std::process::id()).unwrap_or_default(),
            done: self.clients.iter().map(|client| client.done).collect(),
        })
    }

    /// Stays with a client each that did one request, until standard input ends.
    #[allow(clippy::print_stdout, reason = "whoever started it waits for the line")]
    fn hold(mut self, work: Work) -> Result<Value, String> {
        self.begin(vec![work]);
        self.is_ending = true;
        for at in 0..self.clients.len() {
            self.send(at)?;
        }
        self.turn_until(|load, _| load.waiting() == 0)?;
        println!("held");
        let _ = std::io::stdin().read(&mut [0]);
        Ok(json!({ "clients": self.clients.len() }))
    }
}

impl Measured {
    fn report(self, mut load: Load) -> Result<Value, String> {
        let seconds = self.begun.elapsed().as_secs_f64();
        let mut cpu = Map::new();
        for (name, pid, before) in &self.cpu {
            let after = cpu::seconds(*pid).ok_or_else(|| format!("{name} ({pid}) is gone"))?;
            cpu.insert(name.clone(), json!(after - before));
        }
        let own = cpu::seconds(std::process::id()).unwrap_or_default() - self.own_cpu;
        let requests: Vec<u64> = load.works.iter().map(|work| work.tally.all()).collect();
        let shares: Vec<u64> = load
            .clients
            .iter()
            .zip(&self.done)
            .filter(|(client, _)| client.group == 0)
            .map(|(client, before)| client.done - before)
            .collect();
        let mean = requests[0] as f64 / shares.len() as f64;
        let share = |count: Option<&u64>| count.map(|&count| count as f64 / mean);
        let (slowest, fastest) = (share(shares.iter().min()), share(shares.iter().max()));
        let [latencies, beside] = &mut load.latencies;
        let mut report = json!({
            "requests": requests[0], "seconds": seconds, "cpu": cpu, "own_cpu": own,
            "slowest_share": slowest, "fastest_share": fastest,
            "p50_us": percentile(latencies, 0.5), "p99_us": percentile(latencies, 0.99),
            "replies": load.works[0].tally.json(),
        });
        if let Some(work) = load.works.get(1) {
            report["beside"] = json!({
                "requests": work.tally.all(), "replies": work.tally.json(), "p99_us": percentile(beside, 0.99),
            });
        }
        // Not measured: but whoever comes next finds nothing of this load under way.
        load.drain()?;
        Ok(report)
    }
}

fn percentile(samples: &mut [f32], part: f64) -> Option<f32> {
    if samples.is_empty() {
        return None;
    }
    let at = ((samples.len() - 1) as f64 * part).round() as usize;
    Some(*samples.select_nth_unstable_by(at, f32::total_cmp).1)
}
