//! A worker in this process, with clients and an upstream that are driven by hand: nothing moves but where it is told to, so
//! the same requests take the same steps each time. The upstream answers from a recording of a real one.
#![allow(dead_code, reason = "each bench uses its own part of this")]

mod upstream;

use inventory_sentinel::app::{target, worker_parts};
use inventory_sentinel::command::CommandTable;
use inventory_sentinel::config::load;
use inventory_sentinel::listener::{Accepted, AcceptedStream};
use inventory_sentinel::metrics::Metrics;
use inventory_sentinel::resp::{ReplyQueue, ReplyScanner};
use inventory_sentinel::session::{SessionContext, serve};
use inventory_sentinel::tenant::{Tenants, resolve};
use inventory_sentinel::upstream::stream::Stream;
use inventory_sentinel::worker::session_context;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use tokio::runtime::LocalRuntime;
use upstream::Upstream;

/// Turns of the runtime until everything that can go on has: a request needs a few, from task to task.
const TURNS: usize = 6;
/// Steps after which a reply that is not there will never be.
const STEPS_MAX: usize = 100;

/// The worker and all around it.
pub struct Replay {
    runtime: LocalRuntime,
    context: Rc<SessionContext>,
    upstream: Upstream,
    clients: Vec<Client>,
    // Of the upstream's socket.
    _dir: tempfile::TempDir,
}

struct Client {
    stream: UnixStream,
    replies: ReplyScanner,
    rest: Vec<u8>,
    /// All that it was answered in the last exchange.
    answered: Vec<u8>,
    waiting: usize,
}

impl Replay {
    /// With so many clients. `record`: a Redis to ask and to write down, in place of the recording.
    pub fn start(clients: usize, recording: &Path, record: Option<&str>) -> Self {
        let dir = tempfile::TempDir::new().expect("a temporary directory");
        let socket = dir.path().join("upstream");
        let upstream = Upstream::listen(&socket, recording, record);
        let settings = [
            ("upstream.url", format!("redis+unix://{}", socket.display())),
            ("upstream.links", "1".into()),
            // Under valgrind everything takes long, and time is to make no difference.
            ("upstream.connect_timeout_ms", "600000".into()),
            ("inventory.operation_deadline_ms", "600000".into()),
        ];
        let config = load(None, &settings.map(|(key, value)| (key.to_owned(), value))).expect("a configuration");
        let metrics = Metrics::new();
        let mut target = target(&config, None).expect("a target");
        // It says the host, and a recording is for all.
        target.name = None;
        let tenants = resolve(&config, &Tenants::default()).expect("tenants");
        let tenants = tokio::sync::watch::channel(Arc::new(tenants)).1;
        let parts = worker_parts(&config, target, tenants, &metrics, Arc::new(|_| {}));
        // As it is in life some milliseconds after the start.
        let commands = ["get", "set", "del", "incr"].map(|name| (name.to_owned(), Vec::new()));
        parts.knowledge.commands.store(Arc::new(CommandTable::from_flags(commands.to_vec())));
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().build_local(tokio::runtime::LocalOptions::default()).expect("a runtime");
        let context = runtime.block_on(async { Rc::new(session_context(parts, None).expect("a worker")) });
        let mut replay = Self { runtime, context, upstream, clients: Vec::new(), _dir: dir };
        for _ in 0..clients {
            replay.connect();
        }
        replay
    }

    /// How many clients there are.
    pub fn clients(&self) -> usize {
        self.clients.len()
    }

    /// One more client.
    pub fn connect(&mut self) {
        let (mine, theirs) = UnixStream::pair().expect("a pair of sockets");
        mine.set_nonblocking(true).expect("a socket");
        theirs.set_nonblocking(true).expect("a socket");
        let accepted = Accepted { stream: AcceptedStream::Unix(theirs), tenant: None };
        let door = accepted.door();
        let AcceptedStream::Unix(theirs) = accepted.stream else { unreachable!("it is a unix socket") };
        let context = Rc::clone(&self.context);
        self.runtime.block_on(async {
            let stream = tokio::net::UnixStream::from_std(theirs).map(Stream::Unix).expect("a stream");
            let replies = ReplyQueue::new(context.settings.output_close_bytes);
            let entry = context.clients.enter(door);
            tokio::task::spawn_local(serve(context, stream, entry, replies));
        });
        let client =
            Client { stream: mine, replies: ReplyScanner::new(), rest: Vec::new(), answered: Vec::new(), waiting: 0 };
        self.clients.push(client);
    }

    /// Each client sends these bytes, which hold so many requests, and waits for its replies.
    pub fn exchange(&mut self, bytes: &[u8], requests: usize) {
        self.exchange_by(bytes, requests, turn);
    }

    /// The same; `turn` lets the worker go on, and all that the worker does is done within it.
    pub fn exchange_by(&mut self, bytes: &[u8], requests: usize, turn: impl Fn(&LocalRuntime)) {
        self.exchange_each(&vec![bytes; self.clients.len()], requests, turn);
    }

    /// The same, where each client sends bytes of its own.
    pub fn exchange_each(&mut self, bytes: &[impl AsRef<[u8]>], requests: usize, turn: impl Fn(&LocalRuntime)) {
        for (client, bytes) in self.clients.iter_mut().zip(bytes) {
            client.answered.clear();
            client.stream.write_all(bytes.as_ref()).expect("a pipeline that fits the socket");
            client.waiting += requests;
        }
        for _ in 0..STEPS_MAX {
            turn(&self.runtime);
            self.upstream.answer();
            if self.clients.iter_mut().map(Client::take).sum::<usize>() == 0 {
                return;
            }
        }
        panic!("no reply, or not all: {}", self.upstream.hint());
    }

    /// What each client was answered in the last exchange.
    pub fn answered(&self) -> impl Iterator<Item = &[u8]> {
        self.clients.iter().map(|client| &client.answered[..])
    }

    /// Writes the recording down.
    pub fn save(&self, recording: &Path) {
        self.upstream.save(recording);
    }
}

/// Lets the worker go on until it waits for a byte.
pub fn turn(runtime: &LocalRuntime) {
    runtime.block_on(async {
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
        }
    });
}

impl Client {
    /// Takes what came, and says how many replies are still to come.
    fn take(&mut self) -> usize {
        let mut chunk = [0; 64 * 1024];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => panic!("a client was closed"),
                Ok(count) => self.rest.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("a client's connection: {error}"),
            }
        }
        let mut at = 0;
        while at < self.rest.len() {
            let advance = self.replies.advance(&self.rest[at..]).expect("a reply");
            if self.replies.kind() == Some(b'-') {
                panic!("refused: {}", self.rest[at..].escape_ascii());
            }
            at += advance.take;
            self.waiting -= usize::from(advance.done);
            if advance.take == 0 && !advance.done {
                break;
            }
        }
        self.answered.extend(self.rest.drain(..at));
        self.waiting
    }
}
