//! A server that does nothing but read and answer: what the system calls of one side cost on this machine.
//!
//! A proxy does the same for its clients and has an upstream beside, so that none can cost less for each request.

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use std::collections::HashMap;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

const LISTENER: u64 = 0;
const READ_BYTES: usize = 64 * 1024;

/// Answers GET with a value of so many bytes, SET with OK, anything else with PONG, until it is killed. A request must come in one
/// piece, as the load sends it.
pub fn serve(addr: SocketAddr, value_bytes: usize) -> io::Result<serde_json::Value> {
    let value = format!("${value_bytes}\r\n{}\r\n", "x".repeat(value_bytes));
    let listener = TcpListener::bind(addr)?;
    listener.set_nonblocking(true)?;
    let poller = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&poller, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    let mut clients: HashMap<u64, TcpStream> = HashMap::new();
    let (mut last, mut input, mut output) = (LISTENER, vec![0; READ_BYTES], Vec::new());
    let mut events: Vec<Event> = Vec::with_capacity(1024);
    loop {
        events.clear();
        match epoll::wait(&poller, rustix::buffer::spare_capacity(&mut events), None) {
            Err(rustix::io::Errno::INTR) => continue,
            other => other?,
        };
        for event in &events {
            let token = event.data.u64();
            if token == LISTENER {
                while let Ok((client, _)) = listener.accept() {
                    client.set_nodelay(true)?;
                    client.set_nonblocking(true)?;
                    last += 1;
                    epoll::add(&poller, &client, EventData::new_u64(last), EventFlags::IN | EventFlags::ET)?;
                    clients.insert(last, client);
                }
                continue;
            }
            let Some(client) = clients.get_mut(&token) else { continue };
            match client.read(&mut input) {
                Ok(read @ 1..) => {
                    output.clear();
                    answer(&input[..read], value.as_bytes(), &mut output);
                    client.write_all(&output)?;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                _ => {
                    clients.remove(&token);
                }
            }
        }
    }
}

/// One reply for each request that begins in `input`, told apart by how many words it has. No key or value has a `*`.
fn answer(input: &[u8], value: &[u8], output: &mut Vec<u8>) {
    for begin in memchr::memchr_iter(b'*', input) {
        output.extend_from_slice(match input.get(begin + 1) {
            Some(b'2') => value,
            Some(b'3') => b"+OK\r\n",
            _ => b"+PONG\r\n",
        });
    }
}
