//! Where the upstream is: the URL, parsed once.
//!
//! Owns the URL's grammar and the keeping of its password. Never resolves a name, never connects.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Deserialize;

const DEFAULT_PORT: u16 = 6379;
/// A unix socket's path has 108 bytes in the kernel, the last of them zero.
pub(crate) const SOCKET_PATH_MAX: usize = 107;
const GRAMMAR: &str =
    "redis://[user:password@]host[:port][/db], rediss:// for TLS, redis+unix:///path[?db=n] or managed";

/// `upstream.url`: `redis://[user:password@]host[:port][/db]`, the same with `rediss://` for TLS, `redis+unix:///path[?db=n]` or `managed`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum UpstreamUrl {
    /// The sidecar runs a server of its own.
    Managed,
    /// A server that somebody else runs.
    Server {
        /// Where it listens.
        address: Address,
        /// For AUTH; `None` with a password is the default user.
        username: Option<String>,
        /// For AUTH.
        password: Option<Secret>,
        /// For SELECT.
        db: u32,
        /// Over TLS; only where the address is of TCP.
        tls: bool,
    },
}

/// Where a server listens. Shown as `host:port` (IPv6 in brackets) or as the path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// Over TCP.
    Tcp {
        /// A name or an address; IPv6 without brackets.
        host: String,
        /// Its port.
        port: u16,
    },
    /// A unix socket.
    Unix(PathBuf),
}

/// A word that must not be seen in a log: shown as `***`.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Keeps it.
    #[must_use]
    pub fn new(word: impl Into<String>) -> Self {
        Self(word.into())
    }

    /// The word itself, for the one place that sends it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl UpstreamUrl {
    /// `redis://127.0.0.1:6379`, the default.
    #[must_use]
    pub fn localhost() -> Self {
        Self::plain(Address::Tcp { host: "127.0.0.1".to_owned(), port: DEFAULT_PORT })
    }

    /// A server at this address, without password, database 0.
    #[must_use]
    pub const fn plain(address: Address) -> Self {
        Self::Server { address, username: None, password: None, db: 0, tls: false }
    }
}

impl FromStr for UpstreamUrl {
    type Err = String;

    fn from_str(given: &str) -> Result<Self, String> {
        let fault = |what: &str| format!("{:?}: {what}; it is {GRAMMAR}", redact(given));
        if given == "managed" {
            return Ok(Self::Managed);
        }
        let Some((scheme, rest)) = given.split_once("://") else {
            return Err(fault("no scheme"));
        };
        match scheme {
            "redis" | "rediss" => server(rest, scheme == "rediss").map_err(|what| fault(&what)),
            "redis+unix" | "unix" => socket(rest).map_err(|what| fault(&what)),
            _ => Err(fault(&format!("unknown scheme {scheme:?}"))),
        }
    }
}

impl TryFrom<String> for UpstreamUrl {
    type Error = String;

    fn try_from(given: String) -> Result<Self, String> {
        given.parse()
    }
}

/// Without user and password: for logs and errors.
impl fmt::Display for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Managed => f.write_str("managed"),
            Self::Server { address: address @ Address::Tcp { .. }, db, tls, .. } => {
                let scheme = if *tls { "rediss" } else { "redis" };
                let db = if *db == 0 { String::new() } else { format!("/{db}") };
                write!(f, "{scheme}://{address}{db}")
            }
            Self::Server { address, db: 0, .. } => write!(f, "redis+unix://{address}"),
            Self::Server { address, db, .. } => write!(f, "redis+unix://{address}?db={db}"),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// `[user:password@]host[:port][/db]`
fn server(rest: &str, tls: bool) -> Result<UpstreamUrl, String> {
    if rest.contains(['?', '#']) {
        return Err("it takes no ? or # part (in a password write them %3F and %23)".to_owned());
    }
    // The last @ before the path, for people leave the one in their password as it is.
    let (user, rest) = match rest.rsplit_once('@') {
        Some((user, rest)) => (Some(user), rest),
        None => (None, rest),
    };
    let (authority, db) = rest.split_once('/').unwrap_or((rest, ""));
    let (username, password) = match user {
        None => (None, None),
        Some(user) => {
            let Some((username, password)) = user.split_once(':') else {
                return Err("a user without a password (user:password@, or :password@ for the default user)".to_owned());
            };
            (Some(percent_decoded(username)?).filter(|name| !name.is_empty()), Some(percent_decoded(password)?))
        }
    };
    let (host, port) = host_and_port(authority, Some(DEFAULT_PORT))?;
    if port == 0 {
        return Err("port 0 is nobody's".to_owned());
    }
    let password = password.map(Secret::new);
    Ok(UpstreamUrl::Server { address: Address::Tcp { host, port }, username, password, db: database(db)?, tls })
}

/// `/path[?db=n]`
fn socket(rest: &str) -> Result<UpstreamUrl, String> {
    let (path, query) = rest.split_once('?').unwrap_or((rest, "db=0"));
    let Some(db) = query.strip_prefix("db=") else {
        return Err(format!("{query:?} is not db=n"));
    };
    let path = percent_decoded(path)?;
    if !path.starts_with('/') {
        return Err("the path is not absolute (three slashes: redis+unix:///path)".to_owned());
    }
    if path.len() > SOCKET_PATH_MAX {
        return Err(format!("the path has {} bytes; a unix socket's has {SOCKET_PATH_MAX} at most", path.len()));
    }
    let address = Address::Unix(PathBuf::from(path));
    Ok(UpstreamUrl::Server { address, username: None, password: None, db: database(db)?, tls: false })
}

fn database(given: &str) -> Result<u32, String> {
    if given.is_empty() {
        return Ok(0);
    }
    // Redis keeps the number of databases in an int.
    given
        .parse()
        .ok()
        .filter(|db| *db <= i32::MAX as u32)
        .ok_or_else(|| format!("{given:?} is not a database's number"))
}

/// `host:port` or `[v6]:port`; without a port where one is to fall back on.
pub(super) fn host_and_port(given: &str, default_port: Option<u16>) -> Result<(String, u16), String> {
    let (host, port) = if let Some(rest) = given.strip_prefix('[') {
        let Some((host, port)) = rest.split_once(']') else {
            return Err("an IPv6 address without its closing bracket".to_owned());
        };
        if host.parse::<std::net::Ipv6Addr>().is_err() {
            return Err(format!("[{host}] is not an IPv6 address"));
        }
        (host, port)
    } else {
        let colon = given.find(':').unwrap_or(given.len());
        given.split_at(colon)
    };
    if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err("no host".to_owned());
    }
    let port = match (port.strip_prefix(':'), default_port) {
        (None, Some(default)) if port.is_empty() => default,
        (None, _) => return Err("no port".to_owned()),
        (Some(port), _) if port.contains(':') => return Err("an IPv6 address goes in brackets: [::1]:6379".to_owned()),
        (Some(port), _) => port.parse().map_err(|_| format!("{port:?} is not a port in 0..=65535"))?,
    };
    Ok((host.to_owned(), port))
}

fn percent_decoded(given: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(given.len());
    let mut rest = given.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let hex = |digit: Option<u8>| digit.and_then(|digit| char::from(digit).to_digit(16));
        // The digits are not quoted: they may be a password's.
        let (Some(high), Some(low)) = (hex(rest.next()), hex(rest.next())) else {
            return Err("a % that is not followed by two hex digits (write it %25)".to_owned());
        };
        bytes.push((high * 16 + low) as u8);
    }
    String::from_utf8(bytes).map_err(|_| "what the % signs spell is not UTF-8".to_owned())
}

/// The URL without what stands between `://` and the last `@`.
fn redact(given: &str) -> String {
    match (given.split_once("://"), given.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://***@{rest}"),
        (None, Some((_, rest))) => format!("***@{rest}"),
        _ => given.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstream_urls_are_read() {
        let tcp = |host: &str, port| Address::Tcp { host: host.to_owned(), port };
        let with = |address, user: Option<&str>, password: Option<&str>, db| UpstreamUrl::Server {
            address,
            username: user.map(str::to_owned),
            password: password.map(Secret::new),
            db,
            tls: false,
        };
        let over_tls = |url| match url {
            UpstreamUrl::Server { address, username, password, db, .. } => {
                UpstreamUrl::Server { address, username, password, db, tls: true }
            }
            managed => managed,
        };
        for (given, meant, shown) in [
            ("managed", UpstreamUrl::Managed, "managed"),
            ("redis://db", with(tcp("db", 6379), None, None, 0), "redis://db:6379"),
            ("redis://db:7000/3", with(tcp("db", 7000), None, None, 3), "redis://db:7000/3"),
            ("redis://db:7000/", with(tcp("db", 7000), None, None, 0), "redis://db:7000"),
            ("redis://[::1]:7000", with(tcp("::1", 7000), None, None, 0), "redis://[::1]:7000"),
            ("redis://[::1]", with(tcp("::1", 6379), None, None, 0), "redis://[::1]:6379"),
            ("redis://ann:p%40%3a%25@db", with(tcp("db", 6379), Some("ann"), Some("p@:%"), 0), "redis://db:6379"),
            ("redis://:p@ss:w/rd@db:1/2", with(tcp("db", 1), None, Some("p@ss:w/rd"), 2), "redis://db:1/2"),
            ("rediss://db", over_tls(with(tcp("db", 6379), None, None, 0)), "rediss://db:6379"),
            ("rediss://u:p@[::1]:1/2", over_tls(with(tcp("::1", 1), Some("u"), Some("p"), 2)), "rediss://[::1]:1/2"),
            (
                "redis+unix:///run/r.sock",
                with(Address::Unix("/run/r.sock".into()), None, None, 0),
                "redis+unix:///run/r.sock",
            ),
            (
                "redis+unix:///run/r.sock?db=4",
                with(Address::Unix("/run/r.sock".into()), None, None, 4),
                "redis+unix:///run/r.sock?db=4",
            ),
        ] {
            let url: UpstreamUrl = given.parse().unwrap();
            assert_eq!((&url, url.to_string().as_str()), (&meant, shown), "{given}");
        }
    }

    #[test]
    fn a_bad_upstream_url_is_refused_without_showing_its_password() {
        for (given, part) in [
            ("http://u:hunter2@db", "unknown scheme"),
            ("rediss://u:hunter2@", "no host"),
            ("u:hunter2@db:6379", "no scheme"),
            ("redis://u:hunter2@", "no host"),
            ("redis://u:hunter2@db:70000", "not a port"),
            ("redis://u:hunter2@db:0", "port 0"),
            ("redis://u:hunter2@db/x", "not a database's number"),
            ("redis://u:hunter2@db?x=1", "no ? or # part"),
            ("redis://u:hunter2%4@db", "two hex digits"),
            ("redis://hunter2@db", "user without a password"),
            ("redis://u:hunter2@::1:6379", "no host"),
            ("redis://u:hunter2@2001:db8::1", "brackets"),
            ("redis://u:hunter2@[::1", "bracket"),
            ("redis+unix://relative", "not absolute"),
            ("redis+unix:///a?x=1", "not db=n"),
            ("", "no scheme"),
        ] {
            let error = given.parse::<UpstreamUrl>().unwrap_err();
            assert!(error.contains(part) && !error.contains("hunter2"), "{given}: {error}");
        }
        let long = format!("redis+unix:///{}", "x".repeat(107));
        assert!(long.parse::<UpstreamUrl>().unwrap_err().contains("108 bytes"));
    }
}
