//! The terminal: lines drawn over the ones before, and the cursor given back however it ends.
//!
//! Owns standard output while the sale runs. A reader who is gone hinders nothing.

use std::io::{self, IsTerminal as _, Write as _};

use super::figures::Look;

const HIDE_CURSOR: &str = "\x1b[?25l";
const SHOW_CURSOR: &str = "\x1b[?25h";
const TO_END_OF_LINE: &str = "\x1b[K";
const TO_END_OF_SCREEN: &str = "\x1b[J";
/// Where the terminal does not say.
const USUAL_SIZE: (usize, usize) = (80, 24);

/// A view that is drawn in place.
pub(super) struct Screen {
    look: Look,
    drawn: usize,
}

/// The look of standard output, and whether one can draw in place there.
pub(super) fn output() -> (Look, bool) {
    if !io::stdout().is_terminal() {
        return (Look::PLAIN, false);
    }
    let look = Look::of_terminal(|name| std::env::var(name).ok());
    (look, std::env::var_os("TERM").is_some_and(|term| term != "dumb"))
}

/// Writes lines as they are.
pub(super) fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
}

impl Screen {
    pub(super) fn new(look: Look) -> Self {
        let _ = io::stdout().write_all(HIDE_CURSOR.as_bytes());
        Self { look, drawn: 0 }
    }

    pub(super) fn look(&self) -> Look {
        self.look
    }

    /// Columns and rows, as they are now.
    pub(super) fn size() -> (usize, usize) {
        match rustix::termios::tcgetwinsize(io::stdout()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
            _ => USUAL_SIZE,
        }
    }

    /// Draws these lines over the ones before, in one write.
    pub(super) fn draw(&mut self, lines: &[String]) {
        let mut text = String::new();
        if self.drawn > 0 {
            text.push_str(&format!("\r\x1b[{}A", self.drawn));
        }
        for line in lines {
            text.push_str(line);
            text.push_str(TO_END_OF_LINE);
            text.push_str("\r\n");
        }
        text.push_str(TO_END_OF_SCREEN);
        self.drawn = lines.len();
        let mut out = io::stdout().lock();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let mut out = io::stdout().lock();
        let _ = out.write_all(SHOW_CURSOR.as_bytes()).and_then(|()| out.flush());
    }
}
