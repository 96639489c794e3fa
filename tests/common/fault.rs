//! A proxy in front of a Redis that goes wrong on demand. It handles one request at a time per connection and decides by
//! what is in a request, never by time, so that a fault strikes where the test says and nowhere else.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

use super::resp::reply_end;
use super::{SOON, until};

/// What happens to a request that bears the needle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The upstream runs it and answers; the connection ends before a byte of the answer is passed on.
    CutAfterAnswer,
    /// The connection ends before a byte of the request is passed on.
    CutBefore,
    /// The upstream runs it and answers; the answer is held back until [`FaultProxy::release`].
    Stall,
    /// The answer is passed on byte by byte.
    Trickle,
    /// The request is not passed on; this error line is its answer.
    Refuse(&'static str),
}

struct Armed {
    needle: Vec<u8>,
    fault: Fault,
    /// How many requests it still strikes.
    left: usize,
    /// How many matching requests pass unharmed first.
    skip: usize,
}

#[derive(Default)]
struct State {
    armed: Vec<Armed>,
    /// How often a fault struck.
    struck: usize,
    released: bool,
    closed: bool,
    streams: Vec<TcpStream>,
    threads: Vec<JoinHandle<()>>,
}

type Shared = Arc<(Mutex<State>, Condvar)>;

pub struct FaultProxy {
    addr: String,
    shared: Shared,
    acceptor: Option<JoinHandle<()>>,
}

impl FaultProxy {
    pub fn start(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("an address").to_string();
        let shared = Shared::default();
        let (upstream, state) = (upstream.to_string(), Arc::clone(&shared));
        let acceptor = std::thread::spawn(move || {
            for client in listener.incoming() {
                let mut locked = state.0.lock().expect("state");
                if locked.closed {
                    return;
                }
                let Ok(client) = client else { continue };
                let Ok(redis) = TcpStream::connect(&upstream) else {
                    let _ = client.shutdown(Shutdown::Both);
                    continue;
                };
                for stream in [&client, &redis] {
                    let _ = stream.set_nodelay(true);
                    locked.streams.push(stream.try_clone().expect("a clone"));
                }
                let state = Arc::clone(&state);
                locked.threads.push(std::thread::spawn(move || {
                    let _ = serve(&client, &redis, &state);
                    let _ = client.shutdown(Shutdown::Both);
                    let _ = redis.shutdown(Shutdown::Both);
                }));
            }
        });
        Self { addr, shared, acceptor: Some(acceptor) }
    }

    pub fn addr(&self) -> String {
        self.addr.clone()
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.addr)
    }

    /// Strikes the next `times` EVALSHA requests that contain `needle`.
    pub fn arm(&self, needle: &str, fault: Fault, times: usize) {
        self.arm_from(needle, fault, times, 0);
    }

    /// The same, after `skip` of them have passed.
    pub fn arm_from(&self, needle: &str, fault: Fault, times: usize, skip: usize) {
        let armed = Armed { needle: needle.as_bytes().to_vec(), fault, left: times, skip };
        self.shared.0.lock().expect("state").armed.push(armed);
    }

    pub fn disarm(&self) {
        self.shared.0.lock().expect("state").armed.clear();
    }

    /// How often a fault struck so far.
    pub fn struck(&self) -> usize {
        self.shared.0.lock().expect("state").struck
    }

    pub fn wait_struck(&self, times: usize) {
        until("the fault strikes", SOON, || (self.struck() >= times).then_some(()));
    }

    /// Lets go of every answer that is held back, now and later.
    pub fn release(&self) {
        self.shared.0.lock().expect("state").released = true;
        self.shared.1.notify_all();
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        {
            let mut state = self.shared.0.lock().expect("state");
            state.closed = true;
            for stream in state.streams.drain(..) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
        self.shared.1.notify_all();
        // Wakes the acceptor, which then sees that it is over.
        let _ = TcpStream::connect(&self.addr);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        let threads = std::mem::take(&mut self.shared.0.lock().expect("state").threads);
        for thread in threads {
            let _ = thread.join();
        }
    }
}

/// One connection: a request, its answer, the next.
fn serve(mut client: &TcpStream, mut redis: &TcpStream, shared: &Shared) -> std::io::Result<()> {
    let (mut requests, mut answers) = (Vec::new(), Vec::new());
    loop {
        let request = take(client, &mut requests, request_end)?;
        let fault = strike(shared, &request);
        if fault == Some(Fault::CutBefore) {
            return Ok(());
        }
        if let Some(Fault::Refuse(line)) = fault {
            client.write_all(format!("-{line}\r\n").as_bytes())?;
            continue;
        }
        redis.write_all(&request)?;
        let answer = take(redis, &mut answers, reply_end)?;
        match fault {
            Some(Fault::CutAfterAnswer) => return Ok(()),
            Some(Fault::Trickle) => {
                for byte in answer {
                    client.write_all(&[byte])?;
                }
            }
            Some(Fault::Stall) => {
                let state = shared.0.lock().expect("state");
                drop(shared.1.wait_while(state, |state| !state.released && !state.closed).expect("state"));
                client.write_all(&answer)?;
            }
            Some(Fault::CutBefore | Fault::Refuse(_)) | None => client.write_all(&answer)?,
        }
    }
}

/// Which fault this request meets, if any; counts it.
fn strike(shared: &Shared, request: &[u8]) -> Option<Fault> {
    if !contains(request, b"EVALSHA") && !contains(request, b"evalsha") {
        return None;
    }
    let mut state = shared.0.lock().expect("state");
    let armed = state.armed.iter_mut().find(|armed| armed.left > 0 && contains(request, &armed.needle))?;
    if armed.skip > 0 {
        armed.skip -= 1;
        return None;
    }
    armed.left -= 1;
    let fault = armed.fault;
    state.struck += 1;
    Some(fault)
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    needle.is_empty() || haystack.windows(needle.len()).any(|window| window == needle)
}

/// Reads until `end` finds a whole frame in the buffer, and takes it out.
fn take(mut from: &TcpStream, buffer: &mut Vec<u8>, end: fn(&[u8]) -> Option<usize>) -> std::io::Result<Vec<u8>> {
    loop {
        if let Some(end) = end(buffer) {
            let rest = buffer.split_off(end);
            return Ok(std::mem::replace(buffer, rest));
        }
        let mut chunk = [0; 16 * 1024];
        match from.read(&mut chunk)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            count => buffer.extend_from_slice(&chunk[..count]),
        }
    }
}

/// Where the first whole request ends: an array of bulk strings has the shape of a reply, anything else is a line.
fn request_end(bytes: &[u8]) -> Option<usize> {
    match bytes.first()? {
        b'*' => reply_end(bytes),
        _ => bytes.iter().position(|byte| *byte == b'\n').map(|at| at + 1),
    }
}
