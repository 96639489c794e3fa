//! The requests of a load, written one after the other, and what their replies say.

use crate::options::{Kind, Options};
use crate::reply::Reply;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

/// The plain scripts, and the keys that they are given.
const RESERVE: &str = include_str!("../lua/reserve.lua");
const COMMIT: &str = include_str!("../lua/commit.lua");
const ROLLBACK: &str = include_str!("../lua/rollback.lua");
const KEYS: [&str; 3] = ["{s}:st", "{s}:h", "{s}:x"];
/// Digits of a number within a request: as many as a minted id has.
const DIGITS: usize = 22;

/// Requests of one kind.
pub struct Work {
    /// One request, with `digits` in it where it has a number.
    template: Vec<u8>,
    digits: Option<usize>,
    numbers: Numbers,
    /// Of reservations, to be ended.
    ids: Vec<Box<[u8]>>,
    next_id: usize,
    before_id: Vec<u8>,
    keeps_ids: bool,
    pub tally: Tally,
}

enum Numbers {
    Below(u32),
    Counted(u64),
}

/// What came back.
#[derive(Default)]
pub struct Tally {
    pub fine: u64,
    pub refused: u64,
    pub errors: u64,
    pub first_error: Option<String>,
}

impl Tally {
    pub fn all(&self) -> u64 {
        self.fine + self.refused + self.errors
    }

    pub fn json(&self) -> Value {
        json!({ "fine": self.fine, "refused": self.refused, "errors": self.errors, "first_error": self.first_error })
    }
}

impl Work {
    /// GET or SET of keys by chance.
    pub fn keys(options: &Options) -> Self {
        let key = format!("key:{}", "0".repeat(DIGITS));
        let value = "x".repeat(options.value_bytes);
        let template = match options.kind {
            Kind::Set => request(&["SET", &key, &value]),
            _ => request(&["GET", &key]),
        };
        Self::new(template, Numbers::Below(options.keys))
    }

    /// Reservations of `sku`. `sha`: the plain script's, in place of INV.RESERVE.
    pub fn reserve(sku: &str, sha: Option<&str>) -> Self {
        let Some(sha) = sha else {
            return Self::new(request(&["INV.RESERVE", sku, "1"]), Numbers::Counted(0));
        };
        let id = "0".repeat(DIGITS);
        let [stock, holds, expiry] = KEYS;
        let template = request(&["EVALSHA", sha, "3", stock, holds, expiry, "1", "300000", &id]);
        Self::new(template, Numbers::Counted(0))
    }

    fn new(template: Vec<u8>, numbers: Numbers) -> Self {
        let zeros = [b'0'; DIGITS];
        let digits = template.windows(DIGITS).position(|window| window == zeros);
        Self {
            template,
            digits,
            numbers,
            ids: Vec::new(),
            next_id: 0,
            before_id: Vec::new(),
            keeps_ids: false,
            tally: Tally::default(),
        }
    }

    /// The same, remembering the ids that come back.
    pub fn keeping_ids(mut self) -> Self {
        self.keeps_ids = true;
        self
    }

    /// The ends of what `reserved` has reserved, in its order or in none.
    pub fn ending(kind: Kind, reserved: Self, shuffle: bool, sha: Option<&str>) -> Self {
        let name = if kind == Kind::Commit { "INV.COMMIT" } else { "INV.ROLLBACK" };
        let before_id = match sha {
            None => [b"*2\r\n".to_vec(), bulk(name)].concat(),
            Some(sha) => {
                let parts = ["EVALSHA", sha, "3", KEYS[0], KEYS[1], KEYS[2]];
                [b"*7\r\n".to_vec(), parts.map(bulk).concat()].concat()
            }
        };
        let mut ids = reserved.ids;
        if shuffle {
            fastrand::shuffle(&mut ids);
        }
        Self { ids, before_id, ..Self::new(Vec::new(), Numbers::Counted(0)) }
    }

    /// Writes one more request; false: there is none.
    pub fn write(&mut self, out: &mut Vec<u8>) -> bool {
        if !self.before_id.is_empty() {
            let Some(id) = self.ids.get(self.next_id) else { return false };
            self.next_id += 1;
            out.extend_from_slice(&self.before_id);
            let _ = write!(out, "${}\r\n", id.len());
            out.extend_from_slice(id);
            out.extend_from_slice(b"\r\n");
            return true;
        }
        let start = out.len();
        out.extend_from_slice(&self.template);
        if let Some(at) = self.digits {
            let mut number = match &mut self.numbers {
                Numbers::Below(bound) => u64::from(fastrand::u32(..*bound)),
                Numbers::Counted(count) => {
                    *count += 1;
                    *count
                }
            };
            for digit in out[start + at..start + at + DIGITS].iter_mut().rev() {
                if number == 0 {
                    break;
                }
                *digit = b'0' + (number % 10) as u8;
                number /= 10;
            }
        }
        true
    }

    /// Takes one reply into account.
    pub fn note(&mut self, reply: &Reply<'_>) {
        match reply {
            Reply::Bulk(id) => {
                self.tally.fine += 1;
                if self.keeps_ids {
                    self.ids.push((*id).into());
                }
            }
            Reply::Fine => self.tally.fine += 1,
            Reply::Nil => self.tally.refused += 1,
            Reply::Error(line) if line.starts_with(b"INSUFFICIENTSTOCK") => self.tally.refused += 1,
            Reply::Error(line) => {
                self.tally.errors += 1;
                self.tally.first_error.get_or_insert_with(|| line.escape_ascii().to_string());
            }
        }
    }
}

/// The hashes of the plain scripts that a kind of load needs: of the reservation, and of its end.
pub fn load_scripts(addr: SocketAddr, kind: Kind) -> Result<(String, String), String> {
    let mut ask = Asker::open(addr)?;
    let reserve = ask.ask(&["SCRIPT", "LOAD", RESERVE])?;
    let end = ask.ask(&["SCRIPT", "LOAD", if kind == Kind::Commit { COMMIT } else { ROLLBACK }])?;
    Ok((reserve, end))
}

/// Makes the upstream what the load needs: stock, keys.
pub fn prepare(options: &Options) -> Result<(), String> {
    let mut ask = Asker::open(options.addr)?;
    if let Some(stock) = options.stock {
        let stock = stock.to_string();
        if options.plain {
            ask.ask(&["HSET", KEYS[0], "avail", &stock, "held", "0", "sold", "0"])?;
        } else {
            ask.ask(&["INV.SETSTOCK", &options.sku, &stock])?;
            if options.beside_clients > 0 && options.beside_sku != options.sku {
                ask.ask(&["INV.SETSTOCK", &options.beside_sku, &stock])?;
            }
        }
    }
    if options.fill {
        let value = "x".repeat(options.value_bytes);
        for key in 0..options.keys {
            ask.ask(&["SET", &format!("key:{key:0DIGITS$}"), &value])?;
        }
    }
    Ok(())
}

/// One connection, one question at a time.
struct Asker(TcpStream);

impl Asker {
    fn open(addr: SocketAddr) -> Result<Self, String> {
        let stream = TcpStream::connect(addr).map_err(|error| format!("{addr}: {error}"))?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        Ok(Self(stream))
    }

    /// The reply's text; an error reply is an error.
    fn ask(&mut self, args: &[&str]) -> Result<String, String> {
        self.0.write_all(&request(args)).map_err(|error| error.to_string())?;
        let mut reply = vec![0; 4096];
        let length = self.0.read(&mut reply).map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&reply[..length]).into_owned();
        if text.starts_with('-') || text.is_empty() {
            return Err(format!("{} was answered {text:?}", args[0]));
        }
        Ok(text.lines().last().unwrap_or_default().to_owned())
    }
}

fn request(args: &[&str]) -> Vec<u8> {
    let parts: Vec<Vec<u8>> = args.iter().copied().map(bulk).collect();
    [format!("*{}\r\n", args.len()).into_bytes(), parts.concat()].concat()
}

fn bulk(arg: &str) -> Vec<u8> {
    format!("${}\r\n{arg}\r\n", arg.len()).into_bytes()
}
