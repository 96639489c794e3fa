//! A case: what one or more connections send, step by step, and how many replies each step has. What the replies are a
//! case does not say; that is what the two sides are compared for. The form of the files is in `cases/README.md`.

use super::super::common::resp::encode;

/// One case of a file.
#[derive(Debug, Clone, Default)]
pub struct Case {
    pub name: String,
    pub steps: Vec<Step>,
    /// The protocols in which it is played.
    pub protocols: Vec<u8>,
    /// Commands that the engine must have.
    pub needs: Vec<String>,
    /// Run on both upstreams before it.
    pub setup: Vec<Vec<Vec<u8>>>,
    /// Played step by step only: another way to send it would change what it is about.
    pub steps_only: bool,
    /// Never with the sending side closed: a wait that the upstream ends for a client that is gone is another claim.
    pub not_half_closed: bool,
    pub end: End,
}

/// How a connection comes to its end, after which all that is left on it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum End {
    /// The client says QUIT.
    #[default]
    Quit,
    /// The client closes its sending side.
    Half,
    /// The server closes, of its own accord.
    Closed,
}

#[derive(Debug, Clone)]
pub enum Step {
    Send(Send),
    /// So many more replies must come.
    Await {
        conn: char,
        replies: Replies,
    },
    /// The client closes its sending side.
    HalfClose(char),
    /// The client goes.
    Drop(char),
    /// So many clients must be waiting in the upstream.
    Blocked(i64),
    /// Asked of the upstream itself, past the sidecar.
    Upstream(Vec<Vec<u8>>),
}

#[derive(Debug, Clone)]
pub struct Send {
    pub conn: char,
    pub what: What,
    pub replies: Replies,
    /// The reply, an integer, or the id in a reply to HELLO, is remembered by this name.
    pub capture: Option<String>,
    /// As it stands in the file, for the report.
    pub text: String,
}

#[derive(Debug, Clone)]
pub enum What {
    /// A request; a word `$name` stands for what was remembered.
    Words(Vec<Vec<u8>>),
    Raw(Vec<u8>),
}

#[derive(Debug, Clone, Copy)]
pub struct Replies {
    pub count: usize,
    pub by: By,
}

/// By what two replies are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Their bytes, masked.
    Bytes,
    /// Their elements in any order: an engine's hash tables have a seed of their own.
    Elements,
    /// Their types alone: two servers do not have the values in common.
    Types,
}

impl Case {
    /// One connection that sends requests from first to last.
    pub fn of_requests(name: &str, requests: &[Vec<Vec<u8>>], by: By) -> Self {
        let step = |words: &Vec<Vec<u8>>| {
            let text = words.iter().map(|word| word.escape_ascii().to_string()).collect::<Vec<_>>().join(" ");
            let replies = Replies { count: 1, by };
            Step::Send(Send { conn: 'A', what: What::Words(words.clone()), replies, capture: None, text })
        };
        let steps = requests.iter().map(step).collect();
        Self { name: name.to_owned(), steps, protocols: vec![2, 3], ..Self::default() }
    }

    /// All that its one connection sends, where it has but one and needs no answer to know what to send.
    pub fn in_one_piece(&self) -> Option<Vec<u8>> {
        if self.steps_only {
            return None;
        }
        let mut bytes = Vec::new();
        for step in &self.steps {
            match step {
                Step::Send(Send { conn: 'A', what, capture: None, .. }) => bytes.extend_from_slice(&what.bytes()),
                Step::Await { conn: 'A', .. } => {}
                _ => return None,
            }
        }
        Some(bytes)
    }
}

impl What {
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Words(words) => encode(words),
            Self::Raw(bytes) => bytes.clone(),
        }
    }
}

/// The cases of a file.
pub fn parse(file: &str, text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix("== ") {
            assert!(!cases.iter().any(|case| case.name.ends_with(name.trim())), "{file}: {name} twice");
            let name = format!("{file}: {}", name.trim());
            cases.push(Case { name, protocols: vec![2, 3], ..Case::default() });
            continue;
        }
        let taken = cases.last_mut().and_then(|case| parse_line(case, line));
        assert!(taken.is_some(), "{file}.resp:{}: {line}", number + 1);
    }
    cases
}

fn parse_line(case: &mut Case, line: &str) -> Option<()> {
    if let Some(attribute) = line.strip_prefix("@ ") {
        let (name, value) = attribute.split_once(' ').unwrap_or((attribute, ""));
        match name {
            "resp" => case.protocols = vec![value.parse().ok()?],
            "needs" => case.needs.push(value.to_owned()),
            "setup" => case.setup.push(words_of(value)?),
            "steps" => case.steps_only = true,
            "not-half" => case.not_half_closed = true,
            "end" => {
                case.end = match value {
                    "half" => End::Half,
                    "closed" => End::Closed,
                    _ => return None,
                }
            }
            _ => return None,
        }
        return Some(());
    }
    if let Some(count) = line.strip_prefix("blocked ") {
        case.steps.push(Step::Blocked(count.parse().ok()?));
        return Some(());
    }
    if let Some(words) = line.strip_prefix("upstream ") {
        case.steps.push(Step::Upstream(words_of(words)?));
        return Some(());
    }
    let conn = line.chars().next().filter(char::is_ascii_uppercase)?;
    let (mark, rest) = (line.chars().nth(1)?, line.get(2..)?);
    let (head, payload) = rest.split_once(' ').unwrap_or((rest, ""));
    let count = || if head.is_empty() { Some(1) } else { head.parse().ok() };
    let text = line.to_owned();
    let send =
        |what, by, count, capture| Some(Step::Send(Send { conn, what, replies: Replies { count, by }, capture, text }));
    let step = match mark {
        ':' => send(What::Words(words_of(payload)?), By::Bytes, count()?, None)?,
        '^' => send(What::Words(words_of(payload)?), By::Elements, count()?, None)?,
        '?' => send(What::Words(words_of(payload)?), By::Types, count()?, None)?,
        '=' => send(What::Words(words_of(payload)?), By::Types, 1, Some(head.to_owned()))?,
        '~' => send(What::Raw(unescape(payload.as_bytes())?), By::Bytes, count()?, None)?,
        '<' => Step::Await { conn, replies: Replies { count: count()?, by: By::Bytes } },
        '|' => Step::HalfClose(conn),
        '!' => Step::Drop(conn),
        _ => return None,
    };
    case.steps.push(step);
    Some(())
}

/// A line's words; one in double quotes may hold blanks.
pub fn words_of(line: &str) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() {
        let (word, behind) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let end = closing_quote(quoted)?;
                (&quoted[..end], &quoted[end + 1..])
            }
            None => rest.split_at(rest.find(' ').unwrap_or(rest.len())),
        };
        words.push(unescape(word.as_bytes())?);
        rest = behind.trim_start();
    }
    Some(words)
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    })
}

/// `\r`, `\n`, `\t`, `\0`, `\xHH`, `\` before anything else for that; `{x*5}` for xxxxx.
fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < text.len() {
        match text[at..] {
            [b'\\', b'x', high, low, ..] => {
                let hex = [high, low];
                out.push(u8::from_str_radix(std::str::from_utf8(&hex).ok()?, 16).ok()?);
                at += 4;
            }
            [b'\\', byte, ..] => {
                out.push(match byte {
                    b'r' => b'\r',
                    b'n' => b'\n',
                    b't' => b'\t',
                    b'0' => 0,
                    other => other,
                });
                at += 2;
            }
            [b'{', byte, b'*', b'0'..=b'9', ..] => {
                let end = at + text[at..].iter().position(|byte| *byte == b'}')?;
                let times: usize = std::str::from_utf8(&text[at + 3..end]).ok()?.parse().ok()?;
                out.resize(out.len() + times, byte);
                at = end + 1;
            }
            [byte, ..] => {
                out.push(byte);
                at += 1;
            }
            [] => break,
        }
    }
    Some(out)
}
