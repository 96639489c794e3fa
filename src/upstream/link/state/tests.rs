//! What a connection remembers, by the replies that it gave.

use super::*;
use std::borrow::Cow;

fn state() -> State {
    State::new(Greeting { identity: None, proto: Proto::Resp2, db: 0, selected_as: None, lane: 0 })
}

fn queue(state: &mut State, watch: Option<Box<Watch>>) {
    let mut watch = watch;
    assert!(state.queue(b'+', &mut watch) && watch.is_none());
}

#[test]
fn in_a_transaction_it_is_the_reply_in_execs_that_counts() {
    let mut state = state();
    state.apply(Effect::Multi, b'+');
    queue(&mut state, None);
    queue(&mut state, Watch::effect(Effect::Select(3)));
    queue(&mut state, Watch::hidden(None));
    queue(&mut state, Watch::rewrite(|element, _| BytesMut::from([element, b":9\r\n"].concat().as_slice())));
    queue(&mut state, Watch::effect(Effect::Select(99)));
    assert!((state.greeting.db, state.in_multi, state.has_marks(), state.is_clean()) == (0, true, true, false));
    let shown = state.exec(b"*5\r\n*2\r\n:1\r\n:2\r\n+OK\r\n:7\r\n:8\r\n-ERR range\r\n", |push| Some(push.into()));
    assert_eq!(&shown[..], b"*4\r\n*2\r\n:1\r\n:2\r\n+OK\r\n:8\r\n:9\r\n-ERR range\r\n".as_slice());
    assert!((state.greeting.db, state.is_clean()) == (3, true));
}

#[test]
fn however_execs_reply_comes_it_is_what_it_is_whole() {
    let begun = || {
        let mut state = state();
        state.apply(Effect::Multi, b'+');
        let told = Rc::new(|error: &[u8], _: Proto| BytesMut::from([b"-told ", &error[1..]].concat().as_slice()));
        let guarded = || Some(Box::new(Watch { error: Some(told.clone()), ..*Watch::nothing() }));
        queue(&mut state, None);
        queue(&mut state, guarded());
        queue(&mut state, Watch::hidden(None));
        queue(&mut state, Watch::effect(Effect::Select(3)));
        queue(&mut state, guarded());
        queue(&mut state, Watch::rewrite(|element, _| BytesMut::from(format!("${}\r\n", element.len()).as_str())));
        queue(&mut state, guarded());
        state
    };
    let frame = b"*7\r\n*2\r\n$3\r\n-\r\n\r\n:2\r\n$4\r\n-ERR\r\n-hidden\r\n+OK\r\n-ERR x\r\n*2\r\n:1\r\n$2\r\nab\r\n\
        >3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nx\r\n!3\r\nERR\r\n";
    let expected =
        b"*6\r\n*2\r\n$3\r\n-\r\n\r\n:2\r\n$4\r\n-ERR\r\n+OK\r\n-told ERR x\r\n$16\r\n>shown\r\n-told 3\r\nERR\r\n";
    fn shown(_: &[u8]) -> Option<Cow<'_, [u8]>> {
        Some(b">shown\r\n".as_slice().into())
    }
    for size in 1..=frame.len() {
        let (mut state, mut scanner, mut out) = (begun(), crate::resp::ReplyScanner::new(), BytesMut::new());
        let mut exec = state.begin_exec();
        let (mut at, mut read) = (0, 0);
        while at < frame.len() {
            read = (read + size).min(frame.len());
            let part = scanner.advance(&frame[at..read]).expect("a reply").take;
            if part > 0 {
                exec.take(&mut state, &frame[at..at + part], shown, &mut out).expect("an array");
            }
            at += part;
        }
        assert_eq!(out.escape_ascii().to_string(), expected.escape_ascii().to_string(), "{size} at a time");
        assert!((state.greeting.db, state.is_clean()) == (3, true));
    }
    assert_eq!(&begun().exec(frame, shown)[..], expected);
}

#[test]
fn what_a_transaction_watched_for_ends_with_it() {
    for reply in [b"*-1\r\n".as_slice(), b"-EXECABORT x\r\n", b"_\r\n"] {
        let mut state = state();
        state.apply(Effect::Watch, b'+');
        state.apply(Effect::Multi, b'+');
        queue(&mut state, Watch::effect(Effect::Keep(Kept::TRACKING)));
        assert_eq!(&state.exec(reply, |push| Some(push.into()))[..], reply);
        assert!(state.is_clean());
    }
    let mut state = state();
    state.apply(Effect::Watch, b'+');
    state.apply(Effect::Exec, b'-');
    assert!(state.watching, "EXEC without MULTI is an error and no more");
}

#[test]
fn acknowledgements_tell_how_many_subscriptions_there_are() {
    let mut subscriptions = Subscriptions::default();
    for (frame, expected) in [
        (b"*3\r\n$9\r\nsubscribe\r\n$3\r\na:1\r\n:1\r\n".as_slice(), (1, 0, 0)),
        (b"*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n", (2, 0, 0)),
        (b">3\r\n$10\r\npsubscribe\r\n$1\r\n*\r\n:3\r\n", (2, 1, 0)),
        (b"*3\r\n$10\r\nssubscribe\r\n$1\r\ns\r\n:1\r\n", (2, 1, 1)),
        (b"*3\r\n$11\r\nunsubscribe\r\n$1\r\nb\r\n:2\r\n", (1, 1, 1)),
        (b"*3\r\n$11\r\nunsubscribe\r\n$3\r\nnot\r\n:2\r\n", (1, 1, 1)),
        (b"*3\r\n$12\r\npunsubscribe\r\n$1\r\n*\r\n:1\r\n", (1, 0, 1)),
        (b"*3\r\n$12\r\nsunsubscribe\r\n$1\r\ns\r\n:0\r\n", (1, 0, 0)),
        (b"*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n", (0, 0, 0)),
    ] {
        let Some(Event::Acknowledged(family, count)) = event(frame) else { panic!("{frame:?}") };
        subscriptions.note(family, count);
        assert_eq!((subscriptions.channels, subscriptions.patterns, subscriptions.shards), expected);
    }
    assert_eq!(event(b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n"), Some(Event::Message));
    for other in [b"*2\r\n$4\r\npong\r\n$0\r\n\r\n".as_slice(), b"*0\r\n", b":1\r\n", b"*1\r\n:1\r\n"] {
        assert_eq!(event(other), None);
    }
}
