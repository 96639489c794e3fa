//! Asks a running sidecar whether it is alive, so that an image without a shell or curl can have a health check; and what it is
//! configured as.
//!
//! Owns the smallest HTTP client that can. Never waits longer than its time limit.

use crate::config::ShownConfig;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::{Duration, Instant};

/// For the whole exchange; below the 30 s and 10 s at which Docker and Kubernetes commonly give up.
const TIME_LIMIT: Duration = Duration::from_secs(5);
/// An answer is a few hundred bytes.
const ANSWER_MAX: usize = 16 * 1024;
/// A tenant is a kilobyte or two of it.
const CONFIG_MAX: usize = 64 * 1024 * 1024;

/// The body of `GET /healthz` from this admin address, if the answer is 200.
///
/// # Errors
///
/// One line that says why the sidecar does not count as alive.
pub fn health(address: &str) -> Result<String, String> {
    get(address, "/healthz", ANSWER_MAX).map_err(|error| format!("{address}: {error}"))
}

/// What a running sidecar is configured as: `http://host:port`, with `/config` behind it or without.
///
/// # Errors
///
/// One line that says why it is not known.
pub fn running(url: &str) -> Result<ShownConfig, String> {
    let Some(address) = url.strip_prefix("http://") else {
        return Err(format!("--against: {url:?} is neither a file nor http://host:port/config"));
    };
    let (address, path) = address.split_once('/').unwrap_or((address, ""));
    let path = if path.is_empty() { "/config".to_owned() } else { format!("/{path}") };
    let body = get(address, &path, CONFIG_MAX).map_err(|error| format!("{url}: {error}"))?;
    serde_json::from_str(&body).map_err(|error| format!("{url}: it does not tell a configuration: {error}"))
}

fn get(address: &str, path: &str, most: usize) -> Result<String, String> {
    let answer = ask(address, path, most, Instant::now() + TIME_LIMIT).map_err(|error| error.to_string())?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.lines().next().unwrap_or_default();
    match status.split(' ').nth(1) {
        Some("200") => Ok(body.trim_end().to_owned()),
        _ => Err(format!("answered {status:?} {}", body.trim_end())),
    }
}

fn ask(address: &str, path: &str, most: usize, deadline: Instant) -> io::Result<String> {
    let left = || {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::Error::from(io::ErrorKind::TimedOut)) } else { Ok(left) }
    };
    let mut stream = connect(address, left()?)?;
    stream.set_write_timeout(Some(left()?))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    let mut part = [0; 4096];
    while answer.len() < most {
        stream.set_read_timeout(Some(left()?))?;
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(length) => answer.extend_from_slice(&part[..length]),
            // What a socket's time limit is reported as.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(io::ErrorKind::TimedOut.into()),
            Err(error) => return Err(error),
        }
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn connect(address: &str, limit: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::InvalidInput, "no such address");
    let found = address.to_socket_addrs().map_err(|error| match error.kind() {
        io::ErrorKind::InvalidInput => {
            io::Error::new(io::ErrorKind::InvalidInput, "it is host:port, such as 127.0.0.1:9121")
        }
        _ => error,
    })?;
    for found in found {
        match TcpStream::connect_timeout(&reachable(found), limit) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// A sidecar that listens on all addresses is asked on this machine's own.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}
