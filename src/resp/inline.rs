//! Inline requests, the telnet form: how one line is split into arguments. Owns the quoting rules alone; where the line
//! ends is the request scanner's business. Never on the hot path.

/// A quote left open, or a closing quote with something else than a blank behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnbalancedQuotes;

/// Splits `line` (without its line end) into unquoted arguments, which are appended to `args`: Redis's `sdssplitargs`.
///
/// Between double quotes `\xHH`, `\n`, `\r`, `\t`, `\b`, `\a` stand for their byte and `\` before any other byte for that
/// byte; between single quotes only `\'` does. A quote may open in the middle of an argument (`a"b c"` is `ab c`), but
/// must close at its end. The line may not hold a NUL, which ends it in Redis's eyes; the scanner has seen to that.
///
/// # Errors
///
/// [`UnbalancedQuotes`]; `args` then holds the arguments before the one at fault.
pub fn split(line: &[u8], args: &mut Vec<Vec<u8>>) -> Result<(), UnbalancedQuotes> {
    let mut rest = line;
    loop {
        let blanks = rest.iter().take_while(|byte| is_space(**byte)).count();
        rest = &rest[blanks..];
        if rest.is_empty() {
            return Ok(());
        }
        let (arg, used) = argument(rest)?;
        args.push(arg);
        rest = &rest[used..];
    }
}

/// The first argument of `text`, which begins with no blank, and how many bytes it took.
fn argument(text: &[u8]) -> Result<(Vec<u8>, usize), UnbalancedQuotes> {
    let mut arg = Vec::new();
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        match byte {
            // Vertical tab and form feed part arguments only in front of one; Redis's list here is this short too.
            b' ' | b'\n' | b'\r' | b'\t' => break,
            b'"' | b'\'' => {
                at += 1 + quoted(&text[at + 1..], byte, &mut arg)?;
                return match text.get(at) {
                    Some(next) if !is_space(*next) => Err(UnbalancedQuotes),
                    _ => Ok((arg, at)),
                };
            }
            _ => arg.push(byte),
        }
        at += 1;
    }
    Ok((arg, at))
}

/// What stands before the closing `quote` is unquoted into `arg`; how many bytes that took, the closing quote included.
fn quoted(text: &[u8], quote: u8, arg: &mut Vec<u8>) -> Result<usize, UnbalancedQuotes> {
    let mut at = 0;
    loop {
        let (byte, used) = match text.get(at..).unwrap_or_default() {
            [] => return Err(UnbalancedQuotes),
            [first, ..] if *first == quote => return Ok(at + 1),
            [b'\\', b'\'', ..] if quote == b'\'' => (b'\'', 2),
            [b'\\', b'x', high, low, ..] if quote == b'"' && high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                (hex(*high) << 4 | hex(*low), 4)
            }
            [b'\\', escaped, ..] if quote == b'"' => (unescaped(*escaped), 2),
            [first, ..] => (*first, 1),
        };
        arg.push(byte);
        at += used;
    }
}

fn unescaped(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

/// C's `isspace` in the "C" locale. Rust's `is_ascii_whitespace` leaves out the vertical tab.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

#[cfg(test)]
mod tests {
    use super::{UnbalancedQuotes, split};
    use proptest::prelude::*;

    #[test]
    fn lines_split_as_redis_splits_them() {
        let good: &[(&[u8], &[&[u8]])] = &[
            (b"", &[]),
            (b" \t\x0b\x0c\r ", &[]),
            (b"PING", &[b"PING"]),
            (b"  set  a\tb ", &[b"set", b"a", b"b"]),
            (b"PING\rPING", &[b"PING", b"PING"]),
            (b"\x0b\x0cecho a\x0bb", &[b"echo", b"a\x0bb"]),
            (br#"echo "a b""#, &[b"echo", b"a b"]),
            (br#"echo a"b c""#, &[b"echo", b"ab c"]),
            (br#""" ''"#, &[b"", b""]),
            (br#""\x41\x6a\xFf\n\r\t\b\a\\\"\q""#, &[b"Aj\xff\n\r\t\x08\x07\\\"q"]),
            (br#""\x4\xg1\x""#, &[b"x4xg1x"]),
            (br#""it's""#, &[b"it's"]),
            (br#"'a\'b\n"c'"#, &[br#"a'b\n"c"#]),
            (b"'a'\x0b'b'", &[b"a", b"b"]),
            (br"a\x41\n", &[br"a\x41\n"]),
        ];
        for (line, want) in good {
            let mut args = Vec::new();
            assert_eq!(split(line, &mut args), Ok(()), "{:?}", line.escape_ascii().to_string());
            assert_eq!(args, *want, "{:?}", line.escape_ascii().to_string());
        }
        let bad: &[&[u8]] = &[
            b"\"",
            b"'",
            b"\"a",
            b"'a",
            b"\"a\"b",
            b"'a'b",
            b"\"a\"'b'",
            b"a\"",
            b"\"a\\\"",
            b"\"a\\",
            b"'a\\'",
            b"\"\\x4",
        ];
        for line in bad {
            let got = split(line, &mut Vec::new());
            assert_eq!(got, Err(UnbalancedQuotes), "{:?}", line.escape_ascii().to_string());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_come_back_from_quotes(args in proptest::collection::vec(any::<Vec<u8>>(), 0..5)) {
            let mut line = Vec::new();
            for arg in &args {
                line.extend_from_slice(b" \"");
                arg.iter().for_each(|byte| line.extend_from_slice(format!("\\x{byte:02x}").as_bytes()));
                line.push(b'"');
            }
            let mut got = Vec::new();
            prop_assert_eq!(split(&line, &mut got), Ok(()));
            prop_assert_eq!(got, args);
        }

        #[test]
        fn no_line_panics(line: Vec<u8>) {
            let _ = split(&line, &mut Vec::new());
        }
    }
}
