//! What the request scanner says of a frame: plain values. Never holds a frame's bytes.

/// What one whole frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// An array of bulks, one at the least.
    Array,
    /// A line of arguments, one at the least.
    Inline,
    /// `*0`, `*-1`, a blank line: no command, no reply.
    Empty,
}

/// A whole frame: the first `len` bytes of the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScannedFrame {
    /// What it is.
    pub kind: FrameKind,
    /// Bytes from the frame's first to the LF of its last line.
    pub len: usize,
}

/// Where an argument stands, counted from its frame's first byte. `Copy`, which `Range` is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ArgRange {
    /// Its first byte.
    pub start: usize,
    /// One past its last byte.
    pub end: usize,
}

impl ArgRange {
    /// The argument's bytes in `frame`, which begins at the frame's first byte.
    ///
    /// # Panics
    ///
    /// Where `frame` is shorter than what was scanned.
    #[must_use]
    #[inline]
    pub fn of(self, frame: &[u8]) -> &[u8] {
        &frame[self.start..self.end]
    }

    /// Its length in bytes.
    #[must_use]
    #[inline]
    pub fn len(self) -> usize {
        self.end - self.start
    }

    /// Whether it is the empty string.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }
}

/// What is known of a frame that is not whole. All zero between frames, and of inline requests only the last is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pending {
    /// What its first line says.
    pub args_declared: usize,
    /// How many of them are there, or were streamed.
    pub args_complete: usize,
    /// No frame so begun is shorter. Counted from the front of the buffer: what was streamed counts no more.
    pub bytes_at_least: usize,
}

/// How much of a large frame may be forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Streamed {
    /// Bytes at the front of the buffer that belong to the frame.
    pub take: usize,
    /// The frame ends there.
    pub done: bool,
}
