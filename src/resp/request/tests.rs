//! The request scanner against literal bytes; against random ones in [`random`].

mod random;

use super::*;

/// A frame as a test compares it: what it is, its length, its arguments.
type Frame = (FrameKind, usize, Vec<Vec<u8>>);
/// All frames of some bytes, and the error behind them.
type Read = (Vec<Frame>, Option<String>);

fn small() -> RequestLimits {
    RequestLimits { args_max: 30, bulk_bytes_max: 10_000, inline_bytes_max: 200 }
}

/// Feeds `bytes` in pieces that end at `cuts`, as a session does.
fn scan_split(limits: RequestLimits, bytes: &[u8], cuts: &[usize]) -> Read {
    let mut scanner = RequestScanner::new(limits);
    let (mut frames, mut from) = (Vec::new(), 0);
    for &cut in cuts.iter().chain([&bytes.len()]) {
        loop {
            let buf = &bytes[from..cut];
            match scanner.scan(buf) {
                Err(error) => return (frames, Some(error.to_string())),
                Ok(None) => {
                    // Known to be incomplete, so at the least one byte is to come; unless it is bound for an error.
                    let bytes_at_least = scanner.pending().bytes_at_least;
                    assert!(scanner.phase != Phase::Payload || bytes_at_least > buf.len());
                    break;
                }
                Ok(Some(frame)) => {
                    let args = match frame.kind {
                        FrameKind::Inline => scanner.inline_args().to_vec(),
                        _ => scanner.args().iter().map(|arg| arg.of(buf).to_vec()).collect(),
                    };
                    frames.push((frame.kind, frame.len, args));
                    from += frame.len;
                    assert_eq!(scanner.pending(), Pending::default());
                }
            }
        }
    }
    (frames, None)
}

/// The same bytes, each frame first scanned for `scans` pieces, then streamed: the lengths of frames, and the error.
fn stream_split(limits: RequestLimits, bytes: &[u8], cuts: &[usize], scans: usize) -> (Vec<usize>, Option<String>) {
    let mut scanner = RequestScanner::new(limits);
    let (mut ends, mut from, mut frame_len, mut tries) = (Vec::new(), 0, 0, 0);
    for &cut in cuts.iter().chain([&bytes.len()]) {
        loop {
            let buf = &bytes[from..cut];
            let found = if frame_len == 0 && tries < scans {
                tries += 1;
                scanner
                    .scan(buf)
                    .map(|frame| Streamed { take: frame.map_or(0, |frame| frame.len), done: frame.is_some() })
            } else {
                scanner.stream(buf)
            };
            match found {
                Err(error) => return (ends, Some(error.to_string())),
                Ok(Streamed { take, done }) => {
                    assert!(take <= buf.len());
                    from += take;
                    frame_len += take;
                    if !done {
                        break;
                    }
                    ends.push(frame_len);
                    (frame_len, tries) = (0, 0);
                }
            }
        }
    }
    (ends, None)
}

fn error_of(limits: RequestLimits, bytes: &[u8]) -> String {
    scan_split(limits, bytes, &[]).1.unwrap_or_else(|| panic!("no error: {}", bytes.escape_ascii()))
}

#[test]
fn faults_have_redis_words() {
    let cases: &[(&[u8], &str)] = &[
        (b"*\r\n", "invalid multibulk length"),
        (b"*+5\r\n", "invalid multibulk length"),
        (b"*05\r\n", "invalid multibulk length"),
        (b"*-0\r\n", "invalid multibulk length"),
        (b"*1 \r\n", "invalid multibulk length"),
        (b"*abc\r\n", "invalid multibulk length"),
        (b"*1\rx$4\r\nPING\r\n", "invalid multibulk length"),
        (b"*\0\r\n", "invalid multibulk length"),
        (b"*1048577\r\n", "invalid multibulk length"),
        (b"*3000000000\r\n", "invalid multibulk length"),
        (b"*9223372036854775808\r\n", "invalid multibulk length"),
        (b"*1\r\nPING\r\n", "expected '$', got 'P'"),
        (b"*1\r\n*1\r\n", "expected '$', got '*'"),
        (b"*1\r\n\r\n", "expected '$', got ' '"),
        (b"*1\r\n\n", "expected '$', got ' '"),
        (b"*1\r\n\0", "expected '$', got ' '"),
        (b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\nfooz\r\n", "expected '$', got 'f'"),
        (b"*1\r\n$\r\n", "invalid bulk length"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n$04\r\nPING\r\n", "invalid bulk length"),
        (b"*1\r\n$+4\r\nPING\r\n", "invalid bulk length"),
        (b"*1\r\n$blabla\r\n", "invalid bulk length"),
        (b"*1\r\n$4\rxPING\r\n", "invalid bulk length"),
        (b"*1\r\n$536870913\r\n", "invalid bulk length"),
        (b"*1\r\n$2000000000\r\n", "invalid bulk length"),
        (b"*1\r\n$4\r\nPINGxx", "expected CRLF after bulk"),
        (b"*1\r\n$4\r\nPING\rx", "expected CRLF after bulk"),
        (b"*1\r\n$3\r\nPING\r\n", "expected CRLF after bulk"),
        (b"*1\r\n$4\r\nPINGx", "expected CRLF after bulk"),
        (b"\"foo\"bar\r\n", "unbalanced quotes in request"),
        (b"set \"\"\"test\"\"\" test\r\n", "unbalanced quotes in request"),
        (b"PING\0\r\n", "NUL in inline request"),
    ];
    for (bytes, words) in cases {
        assert_eq!(error_of(RequestLimits::default(), bytes), *words, "{}", bytes.escape_ascii());
        for cut in 0..bytes.len() {
            let scanned = scan_split(RequestLimits::default(), bytes, &[cut]);
            assert_eq!(scanned.1.as_deref(), Some(*words), "{} cut at {cut}", bytes.escape_ascii());
            let streamed = stream_split(RequestLimits::default(), bytes, &[cut], 0);
            assert_eq!(streamed.1.as_deref(), Some(*words), "{} cut at {cut}", bytes.escape_ascii());
        }
    }
}

#[test]
fn before_auth_limits_are_small_and_say_so() {
    let error = |bytes: &[u8]| error_of(RequestLimits::UNAUTHENTICATED, bytes);
    assert_eq!(error(b"*11\r\n"), "unauthenticated multibulk length");
    assert_eq!(error(b"*1048577\r\n"), "invalid multibulk length");
    assert_eq!(error(b"*1\r\n$16385\r\n"), "unauthenticated bulk length");
    assert_eq!(error(b"*1\r\n$536870913\r\n"), "invalid bulk length");
    assert_eq!(scan_split(RequestLimits::UNAUTHENTICATED, b"*10\r\n$16384\r\n", &[]), (vec![], None));
    let mut scanner = RequestScanner::new(RequestLimits::UNAUTHENTICATED);
    scanner.set_limits(RequestLimits::default());
    assert_eq!(scanner.scan(b"*11\r\n"), Ok(None));
}

#[test]
fn lines_without_an_end_are_given_up_at_64_kib() {
    for (start, byte, words) in [
        (&b"*"[..], b'1', "too big mbulk count string"),
        (b"*1\r\n$", b'1', "too big bulk count string"),
        (b"*1\r\n$1\r\na\r\n*1\r\n$0\r\n\r\n*", b'x', "too big mbulk count string"),
        (b"", b'a', "too big inline request"),
    ] {
        // What comes before the line at fault: everything up to its own type byte.
        let before = start.len() - usize::from(!start.is_empty());
        let mut bytes = start.to_vec();
        bytes.resize(before + 65536, byte);
        let one_by_one: Vec<usize> = (0..=bytes.len()).collect();
        for cuts in [&[][..], &one_by_one] {
            let limits = RequestLimits { args_max: 30, bulk_bytes_max: 3000, inline_bytes_max: 65536 };
            assert_eq!(scan_split(limits, &bytes, cuts).1, None, "{words}");
            let longer = [&bytes[..], &[byte]].concat();
            assert_eq!(scan_split(limits, &longer, cuts).1.as_deref(), Some(words));
        }
    }
}

#[test]
fn an_error_reply_is_one_line_whatever_byte_is_quoted() {
    for byte in 0..=255u8 {
        if byte == b'$' {
            continue;
        }
        let error = RequestScanner::new(RequestLimits::default()).scan(&[b"*1\r\n", &[byte][..]].concat()).unwrap_err();
        let quoted = if matches!(byte, 0 | b'\r' | b'\n') { b' ' } else { byte };
        let want = [b"-ERR Protocol error: expected '$', got '", &[quoted][..], b"'\r\n"].concat();
        assert_eq!(error.to_reply(), want);
    }
    let error = RequestScanner::new(RequestLimits::default()).scan(b"*x\r\n").unwrap_err();
    assert_eq!(&error.to_reply()[..], b"-ERR Protocol error: invalid multibulk length\r\n");
}

#[test]
fn frames_without_a_command_are_empty() {
    for bytes in ["*0\r\n", "*-1\r\n", "*-5\r\n", "*-9223372036854775808\r\n", "\r\n", "\n", "  \t \r\n"] {
        let want = (vec![(FrameKind::Empty, bytes.len(), vec![])], None);
        assert_eq!(scan_split(RequestLimits::default(), bytes.as_bytes(), &[]), want, "{bytes:?}");
        assert_eq!(stream_split(RequestLimits::default(), bytes.as_bytes(), &[], 0), (vec![bytes.len()], None));
    }
}

#[test]
fn a_pending_frame_tells_what_it_will_take() {
    let mut scanner = RequestScanner::new(RequestLimits::default());
    let pending =
        |args_declared, args_complete, bytes_at_least| Pending { args_declared, args_complete, bytes_at_least };
    let bytes = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000000\r\n";
    for (cut, want) in [
        (0, pending(0, 0, 0)),
        (2, pending(0, 0, 4)),
        (4, pending(3, 0, 22)),
        (8, pending(3, 0, 25)),
        (13, pending(3, 1, 25)),
        (20, pending(3, 2, 26)),
        (30, pending(3, 2, 1_000_032)),
    ] {
        assert_eq!(scanner.scan(&bytes[..cut]), Ok(None));
        assert_eq!(scanner.pending(), want, "at {cut}");
        assert_eq!(scanner.args().len(), want.args_complete);
    }
    assert_eq!(scanner.args()[0].of(bytes), b"SET");
    assert_eq!(scanner.stream(bytes), Ok(Streamed { take: 30, done: false }));
    assert_eq!(scanner.stream(b"abc"), Ok(Streamed { take: 3, done: false }));
    assert_eq!(scanner.pending(), pending(3, 2, 1_000_002 - 3));
    assert!(scanner.args().is_empty());
}

#[test]
fn memory_follows_what_arrived_and_is_let_go() {
    let mut scanner = RequestScanner::new(RequestLimits::default());
    assert_eq!(scanner.scan(b"*1048576\r\n$536870912\r\n"), Ok(None));
    assert!(scanner.args.capacity() <= 2 * ARGS_RESERVED_MAX);
    let mut scanner = RequestScanner::new(RequestLimits::default());
    let big = [b"*5000\r\n".to_vec(), b"$0\r\n\r\n".repeat(5000)].concat();
    assert_eq!(scanner.scan(&big).unwrap().unwrap().len, big.len());
    assert_eq!(scanner.args().len(), 5000);
    assert!(scanner.scan(b"PING\n").unwrap().is_some());
    assert!(scanner.args.capacity() <= ARGS_KEPT_MAX);
}

#[test]
fn a_short_request_is_whole_and_has_few_short_arguments() {
    let short = |limits, bytes: &[u8]| {
        let mut args = ShortArgs::default();
        let found = ShortHead::of(bytes).and_then(|head| RequestScanner::new(limits).short(bytes, &head, &mut args));
        found.map(|(len, count)| (len, args[..count].iter().map(|arg| arg.of(bytes).to_vec()).collect::<Vec<_>>()))
    };
    let get = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n".as_slice();
    let args = vec![b"GET".to_vec(), b"k".to_vec()];
    assert_eq!(short(RequestLimits::default(), &get.repeat(2)), Some((get.len(), args)));
    assert_eq!(short(RequestLimits { args_max: 8, ..RequestLimits::default() }, get), None);
    assert_eq!(short(RequestLimits { bulk_bytes_max: 9998, ..RequestLimits::default() }, get), None);
    for cut in 0..get.len() {
        assert_eq!(short(RequestLimits::default(), &get[..cut]), None);
    }
    let long = [b"*1\r\n$10000\r\n".to_vec(), vec![b'x'; 10000], b"\r\n".to_vec()].concat();
    assert_eq!(short(RequestLimits::default(), b"*1\r\n$3\r\nabcd\r\n"), None);
    for other in ["PING\r\n", "*0\r\n", "*-1\r\n", "*01\r\n$0\r\n\r\n", "*1\r\n$00\r\n\r\n", "*1\r\n$-1\r\n"] {
        assert_eq!(short(RequestLimits::default(), other.as_bytes()), None, "{other:?}");
    }
    assert_eq!(short(RequestLimits::default(), &long), None);
    assert_eq!(short(RequestLimits::default(), &[b"*10\r\n".to_vec(), b"$0\r\n\r\n".repeat(10)].concat()), None);
    // In the middle of a request nothing begins.
    let mut scanner = RequestScanner::new(RequestLimits::default());
    assert_eq!(scanner.scan(b"*2\r\n"), Ok(None));
    let head = ShortHead::of(get).expect("it begins as a short one");
    assert_eq!(scanner.short(get, &head, &mut ShortArgs::default()), None);
    // One that begins so is told from one that does not.
    for (other, same) in [("GET\r\n$2\r\nkk\r\n", true), ("get\r\n$1\r\nk\r\n", false), ("GEX\r\n$1\r\nk\r\n", false)] {
        assert_eq!(head.begins(format!("*2\r\n$3\r\n{other}").as_bytes()), same, "{other:?}");
    }
    assert!(!head.begins(b"*3\r\n$3\r\nGET\r\n$1\r\nk\r\n") && !head.begins(&get[..15]) && head.begins(&get[..16]));
    assert!(!ShortHead::default().begins(&[0; 16]) || ShortHead::default().name(&[0; 16]).is_empty());
}

#[test]
fn browsers_are_told_by_their_first_word() {
    for yes in [&b"POST"[..], b"post", b"Host:", b"HOST:", b"post\0x"] {
        assert!(is_security_violation(yes), "{}", yes.escape_ascii());
    }
    for no in [&b""[..], b"GET", b"Host", b"POSTS", b"PING", b"HGET", b"\0POST"] {
        assert!(!is_security_violation(no), "{}", no.escape_ascii());
    }
}
