//! The client for a person (redis-cli, or valkey-cli on a machine that has only that): in a terminal of its own, or with
//! its output collected.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::{SOON, until};

/// How long the client may take for all that it was started for.
const PATIENCE: Duration = Duration::from_secs(60);

/// The name of the client.
pub fn program() -> &'static str {
    let there = |name: &str| {
        std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(name).is_file()))
    };
    if !there("redis-cli") && there("valkey-cli") { "valkey-cli" } else { "redis-cli" }
}

/// `args` for the client at `addr`, without what a person has in the home directory.
fn prepare(mut command: Command, addr: &str, args: &[&str]) -> Command {
    let (host, port) = addr.rsplit_once(':').expect("host:port");
    command.args(["-h", host, "-p", port]).args(args);
    command.envs([("TERM", "xterm"), ("REDISCLI_HISTFILE", "/dev/null"), ("REDISCLI_RCFILE", "/dev/null")]);
    command.envs([("VALKEYCLI_HISTFILE", "/dev/null"), ("VALKEYCLI_RCFILE", "/dev/null")]);
    command
}

/// What the client says of these arguments and this standard input; killed, and the test with it, after [`PATIENCE`].
#[track_caller]
pub fn run(addr: &str, args: &[&str], input: &[u8]) -> Output {
    let mut stdin = tempfile::tempfile().expect("a file");
    stdin.write_all(input).and_then(|()| std::io::Seek::rewind(&mut stdin)).expect("its input");
    let [stdout, stderr] = [(); 2].map(|()| tempfile::tempfile().expect("a file"));
    let again = |file: &File| Stdio::from(file.try_clone().expect("a file"));
    let mut child = prepare(Command::new(program()), addr, args)
        .stdin(stdin)
        .stdout(again(&stdout))
        .stderr(again(&stderr))
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}; `make server` installs it", program()));
    let end = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().expect("wait") {
            break Some(status);
        }
        if Instant::now() > end {
            let _ = child.kill();
            let _ = child.wait();
            break None;
        }
        super::pause();
    };
    let [stdout, stderr] = [stdout, stderr].map(|mut file| {
        let mut said = Vec::new();
        std::io::Seek::rewind(&mut file).and_then(|()| file.read_to_end(&mut said)).expect("what it said");
        said
    });
    match status {
        Some(status) => Output { status, stdout, stderr },
        None => panic!("{args:?} did not end: {}{}", stdout.escape_ascii(), stderr.escape_ascii()),
    }
}

/// The client in a terminal of its own.
pub struct Terminal {
    child: Child,
    addr: String,
    keyboard: File,
    screen: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    /// At its prompt.
    pub fn open(addr: &str, args: &[&str]) -> Self {
        let terminal = Self::start(addr, args);
        terminal.prompt();
        terminal
    }

    /// At whatever it does with these arguments.
    pub fn start(addr: &str, args: &[&str]) -> Self {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&keyboard).and_then(|()| unlockpt(&keyboard)).expect("a terminal");
        let name = ptsname(&keyboard, Vec::new()).expect("its name");
        let size = Winsize { ws_row: 50, ws_col: 240, ws_xpixel: 0, ws_ypixel: 0 };
        let line = File::options().read(true).write(true).open(name.to_str().expect("text")).expect("its line");
        tcsetwinsize(&line, size).expect("its size");
        let again = || Stdio::from(line.try_clone().expect("its line"));
        // The terminal is the one that controls the client, so that Ctrl-C is a signal where the client has not taken
        // the keys over. `setsid` becomes the client: the child is no leader of a group.
        let mut command = Command::new("setsid");
        command.args(["-c", program()]);
        let child = prepare(command, addr, args)
            .stdin(again())
            .stdout(again())
            .stderr(again())
            .spawn()
            .unwrap_or_else(|error| panic!("setsid {}: {error}; `make server` installs it", program()));
        let keyboard = File::from(keyboard);
        let screen = Arc::new(Mutex::new(Vec::new()));
        let (mut from, to) = (keyboard.try_clone().expect("a terminal"), Arc::clone(&screen));
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            // Ends with an error when nobody has the line any more.
            while let Ok(count @ 1..) = from.read(&mut chunk) {
                to.lock().expect("the screen").extend_from_slice(&chunk[..count]);
            }
        });
        Self { child, addr: addr.to_owned(), keyboard, screen }
    }

    pub fn types(&mut self, text: &str) {
        self.screen.lock().expect("the screen").clear();
        self.keyboard.write_all(text.as_bytes()).expect("typed");
    }

    /// Types a line at the prompt: what the screen shows behind it until the next prompt, that one included, but for times;
    /// `ADDR` stands for the address.
    pub fn says(&mut self, line: &str) -> String {
        self.types(&format!("{line}\r"));
        self.prompt()
    }

    /// Waits for a prompt: what the screen shows behind the first line, the prompt included, but for times; `ADDR`
    /// stands for the address.
    pub fn prompt(&self) -> String {
        let screen = until(&format!("a prompt of {}", self.addr), SOON, || {
            let screen = self.shows();
            let last = &screen[screen.rfind('\n').map_or(0, |end| end + 1)..];
            // A line that is being typed may end so, but it is not the first one.
            (last.starts_with(&self.addr) && last.ends_with("> ") && last.matches(&self.addr).count() == 1)
                .then_some(screen)
        });
        let behind = screen.split_once('\n').map_or(&*screen, |(_, behind)| behind);
        // What took half a second or longer is told to have.
        let is_time = |line: &str| line.starts_with('(') && line.ends_with("s)\n") && line.contains('.');
        behind.split_inclusive('\n').filter(|line| !is_time(line)).collect::<String>().replace(&self.addr, "ADDR")
    }

    /// The screen since the last key, as [`plain`] shows it.
    pub fn shows(&self) -> String {
        let screen = self.screen.lock().expect("the screen").clone();
        plain(&String::from_utf8_lossy(&screen))
    }

    /// Until the screen shows that, as [`plain`] shows it.
    pub fn wait_for(&self, wanted: &str) {
        until(&format!("{wanted:?} on the screen"), SOON, || self.shows().contains(&plain(wanted)).then_some(()));
    }

    /// Types Ctrl-C: does the client come back to its prompt (true), or end? Before 7.0 it always ends.
    pub fn interrupt(&mut self) -> bool {
        self.types("\x03");
        until("a prompt or the end", SOON, || {
            let ended = self.child.try_wait().expect("wait").is_some();
            if ended { Some(false) } else { self.shows().ends_with(&format!("{}> ", self.addr)).then_some(true) }
        })
    }
}

impl Drop for Terminal {
    #[allow(clippy::print_stderr, reason = "what a failed test shows")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let screen = self.screen.lock().expect("the screen").clone();
            eprintln!("--- the screen\n{}\n---", screen[screen.len().saturating_sub(4000)..].escape_ascii());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Without what sets colours and moves the cursor, and with blanks around `|` nowhere.
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text.chars();
    while let Some(char) = rest.next() {
        if char == '\x1b' {
            // `ESC [ numbers letter`.
            let _ = rest.by_ref().skip(1).find(char::is_ascii_alphabetic);
        } else if char != '\r' {
            out.push(char);
        }
    }
    out.replace(" | ", "|")
}
