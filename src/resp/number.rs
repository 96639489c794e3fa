//! Strict decimal numbers of the wire. Owns what a number is; never decides what a bad one means.

/// What stands at the front of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Number {
    /// A number and its CRLF: `len` bytes together.
    Whole { value: i64, len: usize },
    /// A number so far; more bytes are needed. Never said of more than 21 bytes.
    Partial,
    /// No continuation makes this a number.
    Bad,
}

/// Reads a number and its CRLF as Redis's `string2ll` does: an optional `-`, digits, no blank, no `+`, no leading zero,
/// no `-0`, nothing past 64 bits. Stricter than Redis in one thing: the byte after CR must be LF. Looks at no more than
/// 22 bytes, so calling it again on a line that trickles in is cheap.
#[inline]
pub(crate) fn line(buf: &[u8]) -> Number {
    // Lengths and counts are mostly short.
    match buf {
        [a @ b'0'..=b'9', b'\r', b'\n', ..] => return Number::Whole { value: i64::from(a - b'0'), len: 3 },
        [a @ b'1'..=b'9', b @ b'0'..=b'9', b'\r', b'\n', ..] => {
            return Number::Whole { value: i64::from(a - b'0') * 10 + i64::from(b - b'0'), len: 4 };
        }
        _ => {}
    }
    let negative = buf.first() == Some(&b'-');
    let digits = if negative { &buf[1..] } else { buf };
    let mut value: u64 = 0;
    let mut at = 0;
    loop {
        match digits.get(at) {
            // Nineteen digits fit a u64 whatever they are; the sign's own limit is looked at below.
            Some(&digit @ b'0'..=b'9') if at < 19 => {
                // A zero can only be the whole number: neither `05` nor `-0`.
                if (at == 1 && value == 0) || (negative && at == 0 && digit == b'0') {
                    return Number::Bad;
                }
                value = value * 10 + u64::from(digit - b'0');
                at += 1;
            }
            Some(b'\r') if at > 0 => break,
            Some(_) => return Number::Bad,
            None => return Number::Partial,
        }
    }
    let value = if negative { 0i64.checked_sub_unsigned(value) } else { i64::try_from(value).ok() };
    match (value, digits.get(at + 1)) {
        (None, _) => Number::Bad,
        (Some(value), Some(b'\n')) => Number::Whole { value, len: usize::from(negative) + at + 2 },
        (Some(_), Some(_)) => Number::Bad,
        (Some(_), None) => Number::Partial,
    }
}

/// The header of a bulk of at most 9999 bytes, `$n` and its CRLF, at the front of `buf`: the number, and the header's length. None:
/// it is another, or not all here.
#[inline(always)]
pub(super) fn short_bulk(buf: &[u8]) -> Option<(usize, usize)> {
    match buf {
        [b'$', a, b'\r', b'\n', ..] if a.is_ascii_digit() => Some((digit(*a), 4)),
        [b'$', a @ b'1'..=b'9', b, b'\r', b'\n', ..] if b.is_ascii_digit() => Some((digit(*a) * 10 + digit(*b), 5)),
        _ => match longer_bulk(buf) {
            0 => None,
            both => Some((both >> 3, both & 7)),
        },
    }
}

/// The number of three or four digits and the length of the header, which is below 8, in one word: so it fits a register. 0: it is
/// none.
#[inline(never)]
fn longer_bulk(buf: &[u8]) -> usize {
    let (len, digits) = match buf {
        [b'$', digits @ ..] if digits.get(3..5) == Some(b"\r\n") => (3, digits),
        [b'$', digits @ ..] if digits.get(4..6) == Some(b"\r\n") => (4, digits),
        _ => return 0,
    };
    let digits = &digits[..len];
    if digits[0] == b'0' || !digits.iter().all(u8::is_ascii_digit) {
        return 0;
    }
    digits.iter().fold(0, |sum, byte| sum * 10 + digit(*byte)) << 3 | (1 + len + 2)
}

#[inline]
fn digit(byte: u8) -> usize {
    usize::from(byte & 15)
}

/// Do these two bytes stand there?
#[inline(always)]
pub(super) fn ends_at(buf: &[u8], at: usize) -> bool {
    buf.get(at..).and_then(<[u8]>::first_chunk) == Some(b"\r\n")
}

#[cfg(test)]
mod tests {
    use super::{Number, line, short_bulk};
    use proptest::prelude::*;

    #[test]
    fn numbers_are_read_as_redis_reads_them() {
        for good in ["0", "1", "-1", "10", "1048576", "9223372036854775807", "-9223372036854775808"] {
            let text = format!("{good}\r\nrest");
            let want = Number::Whole { value: good.parse().unwrap(), len: good.len() + 2 };
            assert_eq!(line(text.as_bytes()), want, "{good}");
            for cut in 0..good.len() + 2 {
                assert_eq!(line(&text.as_bytes()[..cut]), Number::Partial, "{good} cut at {cut}");
            }
        }
        for bad in ["", "+5", "05", "00", "-0", "-01", "-", "--1", "1-", " 1", "1 ", "0x1", "1.0", "\0", "1\0"] {
            assert_eq!(line(format!("{bad}\r\n").as_bytes()), Number::Bad, "{bad:?}");
        }
        for bad in ["9223372036854775808", "-9223372036854775809", "9999999999999999999", "99999999999999999999"] {
            assert_eq!(line(format!("{bad}\r\n").as_bytes()), Number::Bad, "{bad:?}");
        }
        for bad in ["1\rx", "1\n", "1\r\r\n", "\r\n", "\n"] {
            assert_eq!(line(bad.as_bytes()), Number::Bad, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn short_headers_are_read_as_lines_are(
            text in prop_oneof!["[$*][0-9]{1,5}\r\n[a-z]{0,9}", "[$]?[-+0-9a\r\n]{0,9}", "[$][0-9]{1,4}"],
        ) {
            let want = match line(text.as_bytes().get(1..).unwrap_or_default()) {
                Number::Whole { value: value @ 0..=9999, len } if text.starts_with('$') => Some((value as usize, 1 + len)),
                _ => None,
            };
            prop_assert_eq!(short_bulk(text.as_bytes()), want);
        }

        #[test]
        fn every_number_comes_back(value: i64) {
            let text = format!("{value}\r\n");
            prop_assert_eq!(line(text.as_bytes()), Number::Whole { value, len: text.len() });
        }
    }
}
