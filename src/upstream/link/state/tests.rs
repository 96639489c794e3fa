//! What a connection remembers, by the replies that it gave.

use super::*;

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
