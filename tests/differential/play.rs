//! Plays a case against one side and writes down what comes back, then compares what came back from both.

use std::collections::{BTreeMap, HashMap};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};

use super::super::common::resp::{encode, reply_end};
use super::super::common::show;
use super::case::{By, Case, End, Replies, Send, Step, What};
use super::mask::{hello_id, mask, shape, sorted};
use super::pair::{Pair, Remote, Side};

/// How a case is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The next step when the replies of the one before are here.
    Steps,
    /// All in one write, and only then is anything read.
    AtOnce,
    /// A byte a write, and then a byte a read.
    Bytes,
    /// All in one write, then the sending side is closed; then all is read.
    HalfClosed,
}

/// What one connection got.
#[derive(Debug, Default)]
struct Got {
    frames: Vec<Frame>,
    /// What stands behind the last whole reply, and how it ended.
    rest: Vec<u8>,
    end: &'static str,
}

#[derive(Debug)]
struct Frame {
    bytes: Vec<u8>,
    by: By,
    /// What was sent before it.
    after: String,
}

type Transcript = BTreeMap<char, Got>;

/// A difference, as a person reads it.
pub struct Difference {
    pub case: String,
    pub how: String,
    pub report: String,
}

/// Plays `case` in these ways and in each of its protocols, on both sides. None where the engine has not what it needs.
pub fn compare(pair: &mut Pair, case: &Case, ways: &[Way], known: bool) -> Option<Vec<Difference>> {
    let mut differences = Vec::new();
    if !case.needs.iter().all(|command| pair.direct().knows(command)) {
        return None;
    }
    for protocol in &case.protocols {
        for way in ways.iter().copied() {
            differences.extend(compare_way(pair, case, way, *protocol, known).0);
        }
    }
    Some(differences)
}

/// The ways to send it to a server that reads on.
pub fn ways(case: &Case) -> Vec<Way> {
    // A byte a write of something large would take long and say nothing new.
    const SMALL: usize = 4096;
    let Some(bytes) = case.in_one_piece() else { return vec![Way::Steps] };
    let mut ways = vec![Way::Steps, Way::AtOnce];
    if bytes.len() <= SMALL {
        ways.push(Way::Bytes);
    }
    ways
}

/// The ways to send it so that its sending side is closed before its replies are here.
pub fn ways_half_closed(case: &Case) -> Vec<Way> {
    match case.end {
        End::Half => ways(case),
        End::Quit if !case.not_half_closed && case.in_one_piece().is_some() => vec![Way::HalfClosed],
        End::Quit | End::Closed => Vec::new(),
    }
}

/// Plays it in one way and protocol. Also gives how many replies of the direct side were no errors.
pub fn compare_way(pair: &mut Pair, case: &Case, way: Way, protocol: u8, known: bool) -> (Option<Difference>, usize) {
    pair.prepare(&case.setup);
    let how = format!("RESP{protocol} {way:?}");
    let direct = play(case, way, protocol, &mut pair.direct());
    must_have_spoken(&direct, case, &how);
    let through = play(case, way, protocol, &mut pair.through(known));
    let found = difference(&direct, &through).map(|report| Difference { case: case.name.clone(), how, report });
    let fine = direct.values().flat_map(|got| &got.frames).filter(|frame| frame.bytes[0] != b'-').count();
    (found, fine)
}

/// The same beside others, on servers as others leave them.
pub fn compare_beside_others(sides: &mut [Remote; 2], case: &Case, way: Way, protocol: u8) -> Option<Difference> {
    let how = format!("RESP{protocol} {way:?}");
    let [direct, through] = sides;
    let direct = play(case, way, protocol, &mut direct.side());
    must_have_spoken(&direct, case, &how);
    let through = play(case, way, protocol, &mut through.side());
    difference(&direct, &through).map(|report| Difference { case: case.name.clone(), how, report })
}

/// A case that awaits what Redis does not say is a faulty case.
fn must_have_spoken(direct: &Transcript, case: &Case, how: &str) {
    for (conn, got) in direct {
        let frames = got.frames.iter().map(|frame| format!("{}: {}", show(frame.after.as_bytes()), show(&frame.bytes)));
        let told = || frames.collect::<Vec<_>>().join("\n");
        assert!(
            got.end != SILENT,
            "{} ({how}): {conn} awaits in vain behind\n{}\n{}",
            case.name,
            told(),
            show(&got.rest)
        );
    }
}

fn play(case: &Case, way: Way, protocol: u8, side: &mut Side<'_>) -> Transcript {
    match way {
        Way::Steps => Player { side, protocol, wires: BTreeMap::new(), memory: HashMap::new() }.run(case),
        _ => BTreeMap::from([('A', in_one_piece(case, way, protocol, side))]),
    }
}

/// The requests of one connection, without waiting for replies.
fn in_one_piece(case: &Case, way: Way, protocol: u8, side: &Side<'_>) -> Got {
    let mut bytes = if protocol == 3 { encode(&["HELLO", "3"]) } else { Vec::new() };
    bytes.extend(case.in_one_piece().expect("only such a case is played so"));
    if way != Way::HalfClosed && case.end == End::Quit {
        bytes.extend(encode(&["QUIT"]));
    }
    let mut wire = Wire::open(side);
    if way == Way::Bytes {
        wire.chunk = 1;
        for byte in bytes {
            wire.send(&[byte]);
        }
    } else {
        wire.send(&bytes);
    }
    if way == Way::HalfClosed || case.end == End::Half {
        wire.half_close();
    }
    wire.read_to_end();
    // Which reply stands after which request: known where each step has the replies that it says.
    let mut places = Vec::new();
    if protocol == 3 {
        places.push((By::Bytes, "HELLO 3".to_owned()));
    }
    let mut last = String::new();
    for step in &case.steps {
        let replies = match step {
            Step::Send(send) => {
                last.clone_from(&send.text);
                send.replies
            }
            Step::Await { replies, .. } => *replies,
            _ => continue,
        };
        places.resize(places.len() + replies.count, (replies.by, last.clone()));
    }
    let mut places = places.into_iter();
    while let Some(bytes) = wire.take_frame() {
        let (by, after) = places.next().unwrap_or((By::Bytes, "(the end)".to_owned()));
        wire.got.frames.push(Frame { bytes, by, after });
    }
    wire.finish()
}

/// Plays step by step.
struct Player<'a, 'b> {
    side: &'a mut Side<'b>,
    protocol: u8,
    wires: BTreeMap<char, Wire>,
    memory: HashMap<String, Vec<u8>>,
}

impl Player<'_, '_> {
    fn run(mut self, case: &Case) -> Transcript {
        for step in &case.steps {
            match step {
                Step::Send(send) => self.send(send),
                Step::Await { conn, replies } => self.wire(*conn).read(*replies),
                Step::HalfClose(conn) => self.wire(*conn).half_close(),
                Step::Drop(conn) => {
                    let wire = self.wire(*conn);
                    wire.got.end = "gone";
                    let _ = wire.stream.shutdown(Shutdown::Both);
                }
                Step::Blocked(count) => self.side.wait_blocked(*count),
                Step::Upstream(request) => {
                    let reply = self.side.control.call_args(request);
                    assert_eq!(reply.error_word(), "", "{}: {reply:?}", case.name);
                }
            }
        }
        for wire in self.wires.values_mut().filter(|wire| wire.got.end.is_empty()) {
            match case.end {
                End::Quit => wire.send(&encode(&["QUIT"])),
                End::Half => wire.half_close(),
                End::Closed => {}
            }
            "(the end)".clone_into(&mut wire.after);
            wire.read_to_end();
            while let Some(bytes) = wire.take_frame() {
                wire.note(bytes, By::Bytes);
            }
        }
        self.wires.into_iter().map(|(conn, wire)| (conn, wire.finish())).collect()
    }

    fn wire(&mut self, conn: char) -> &mut Wire {
        let (side, protocol) = (&*self.side, self.protocol);
        self.wires.entry(conn).or_insert_with(|| {
            let mut wire = Wire::open(side);
            if protocol == 3 {
                "HELLO 3".clone_into(&mut wire.after);
                wire.send(&encode(&["HELLO", "3"]));
                wire.read(Replies { count: 1, by: By::Bytes });
            }
            wire
        })
    }

    fn send(&mut self, send: &Send) {
        let bytes = match &send.what {
            What::Words(words) => {
                let recall = |word: &Vec<u8>| {
                    let name = std::str::from_utf8(word).ok().and_then(|word| word.strip_prefix('$'));
                    name.and_then(|name| self.memory.get(name)).unwrap_or(word).clone()
                };
                encode(&words.iter().map(recall).collect::<Vec<_>>())
            }
            What::Raw(bytes) => bytes.clone(),
        };
        let wire = self.wire(send.conn);
        wire.after.clone_from(&send.text);
        wire.send(&bytes);
        wire.read(send.replies);
        if let (Some(name), Some(frame)) = (&send.capture, wire.got.frames.last()) {
            let digits = || frame.bytes.iter().copied().filter(u8::is_ascii_digit).collect();
            let number = hello_id(&frame.bytes).map_or_else(digits, String::into_bytes);
            self.memory.insert(name.clone(), number);
        }
    }
}

const SILENT: &str = "silence";

/// A connection that takes whatever happens on it as something to write down.
struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
    chunk: usize,
    after: String,
    got: Got,
}

impl Wire {
    fn open(side: &Side<'_>) -> Self {
        let stream = TcpStream::connect(&side.addr).expect("a connection");
        stream.set_nodelay(true).expect("nodelay");
        stream.set_read_timeout(Some(side.patience)).expect("a timeout");
        stream.set_write_timeout(Some(side.patience)).expect("a timeout");
        Self { stream, buffer: Vec::new(), chunk: 64 * 1024, after: String::new(), got: Got::default() }
    }

    /// A peer that has closed is found out by reading.
    fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    fn half_close(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Waits for so many replies, or the end.
    fn read(&mut self, replies: Replies) {
        for _ in 0..replies.count {
            loop {
                if let Some(bytes) = self.take_frame() {
                    self.note(bytes, replies.by);
                    break;
                }
                if !self.got.end.is_empty() {
                    return;
                }
                self.fill();
            }
        }
    }

    fn read_to_end(&mut self) {
        while self.got.end.is_empty() {
            self.fill();
        }
    }

    fn fill(&mut self) {
        let mut chunk = vec![0; self.chunk];
        match self.stream.read(&mut chunk) {
            Ok(0) => self.got.end = "closed",
            Ok(count) => self.buffer.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                self.got.end = SILENT;
            }
            // A server that closes with bytes unread resets; what it said before was read.
            Err(_) => self.got.end = "closed",
        }
    }

    fn take_frame(&mut self) -> Option<Vec<u8>> {
        let end = reply_end(&self.buffer)?;
        let rest = self.buffer.split_off(end);
        Some(std::mem::replace(&mut self.buffer, rest))
    }

    fn note(&mut self, bytes: Vec<u8>, by: By) {
        self.got.frames.push(Frame { bytes, by, after: self.after.clone() });
    }

    fn finish(mut self) -> Got {
        self.got.rest = self.buffer;
        self.got
    }
}

/// What is not equal, on each connection; where one has more replies than the other the first place alone.
fn difference(direct: &Transcript, through: &Transcript) -> Option<String> {
    const TOLD_MAX: usize = 5;
    let mut report = Vec::new();
    for (conn, direct) in direct {
        let through = &through[conn];
        let places = direct.frames.len().max(through.frames.len());
        let differs = |at: &usize| match (direct.frames.get(*at), through.frames.get(*at)) {
            (Some(direct), Some(through)) => !equal(direct, through),
            _ => true,
        };
        let told = if direct.frames.len() == through.frames.len() { TOLD_MAX } else { 1 };
        let tell = |got: &Got, at: usize| match got.frames.get(at) {
            Some(frame) => show(&frame.bytes),
            None => format!("{} {}", show(&got.rest), got.end),
        };
        for at in (0..places).filter(differs).take(told) {
            let after = direct.frames.get(at).or(through.frames.get(at)).map_or("", |frame| &frame.after);
            let place = format!("{conn}, reply {}, after `{}`", at + 1, show(after.as_bytes()));
            report.push(format!("{place}\n    direct:  {}\n    through: {}", tell(direct, at), tell(through, at)));
        }
        if (0..places).find(differs).is_none() && (direct.rest != through.rest || direct.end != through.end) {
            let tell = |got: &Got| format!("{} {}", show(&got.rest), got.end);
            report.push(format!("{conn}, at its end\n    direct:  {}\n    through: {}", tell(direct), tell(through)));
        }
    }
    (!report.is_empty()).then(|| report.join("\n  "))
}

fn equal(direct: &Frame, through: &Frame) -> bool {
    if direct.bytes == through.bytes {
        return true;
    }
    match direct.by {
        By::Bytes => mask(&direct.bytes) == mask(&through.bytes),
        By::Elements => sorted(&direct.bytes) == sorted(&through.bytes),
        By::Types => shape(&direct.bytes) == shape(&through.bytes),
    }
}
