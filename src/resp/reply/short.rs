//! The way of nearly all replies: a short bulk, a number, a line, or an array of a few of them, here as a whole. Says nothing of
//! others: what is wrong with them, if anything, is the scanner's to say.

use crate::resp::number::{self, Number};
use memchr::memchr2;

/// The length of the short reply that `buf` begins with. None: it is another, or not all here.
#[inline(always)]
pub(super) fn scan(buf: &[u8]) -> Option<usize> {
    match buf.first()? {
        b'$' => bulk(buf),
        b'*' => array(buf),
        _ => line_or_number(buf),
    }
}

/// What is no aggregate, no error and nothing out of band.
#[inline]
fn value(buf: &[u8]) -> Option<usize> {
    match buf.first()? {
        b'$' => bulk(buf),
        _ => line_or_number(buf),
    }
}

#[inline(never)]
fn line_or_number(buf: &[u8]) -> Option<usize> {
    match buf.first()? {
        b'+' if buf.starts_with(b"+OK\r\n") => Some(5),
        b'+' => line(buf),
        b':' => match number::line(&buf[1..]) {
            Number::Whole { len, .. } => Some(1 + len),
            Number::Partial | Number::Bad => None,
        },
        b'_' => buf.starts_with(b"_\r\n").then_some(3),
        _ => None,
    }
}

/// A bulk of at most 9999 bytes.
#[inline(always)]
fn bulk(buf: &[u8]) -> Option<usize> {
    let Some((len, head)) = number::short_bulk(buf) else { return null(buf) };
    let end = head + len;
    number::ends_at(buf, end).then_some(end + 2)
}

#[inline(never)]
fn null(buf: &[u8]) -> Option<usize> {
    buf.starts_with(b"$-1\r\n").then_some(5)
}

/// A simple string. Neither a CR nor an LF may be in it.
fn line(buf: &[u8]) -> Option<usize> {
    let end = 1 + memchr2(b'\r', b'\n', &buf[1..])?;
    number::ends_at(buf, end).then_some(end + 2)
}

/// An array of at most 99 values that are no aggregates.
#[inline(never)]
fn array(buf: &[u8]) -> Option<usize> {
    let digit = |byte: u8| usize::from(byte & 15);
    let (count, mut at) = match buf {
        [b'*', a @ b'0'..=b'9', b'\r', b'\n', ..] => (digit(*a), 4),
        [b'*', a @ b'1'..=b'9', b @ b'0'..=b'9', b'\r', b'\n', ..] => (digit(*a) * 10 + digit(*b), 5),
        _ => return None,
    };
    for _ in 0..count {
        at += value(buf.get(at..)?)?;
    }
    Some(at)
}
