//! The order of replies, whoever answers when.

use super::ticket::LOST;
use super::*;

fn taken(queue: &ReplyQueue) -> Vec<u8> {
    let mut got = Vec::new();
    let _ = queue.with_ready(|ready| {
        got.extend_from_slice(ready);
        Ok::<_, ()>(ready.len())
    });
    got
}

#[test]
fn replies_leave_in_the_order_of_their_requests() {
    let queue = ReplyQueue::new(1 << 20);
    let (first, second) = (queue.ticket(), queue.ticket());
    queue.push(b"third ");
    let fourth = queue.ticket();
    second.complete(b"second ");
    fourth.part(b"fou");
    assert_eq!(taken(&queue), b"");
    first.part(b"fi");
    assert_eq!(taken(&queue), b"fi");
    first.complete(b"rst ");
    assert_eq!(taken(&queue), b"first second third fou"[2..].to_vec());
    fourth.complete(b"rth");
    assert_eq!((taken(&queue), queue.waiting(), queue.unsent_bytes()), (b"rth".to_vec(), 0, 0));
}

#[test]
fn a_run_is_of_one_client_in_its_order_and_only_where_it_is_its_turn() {
    let (queue, other) = (ReplyQueue::new(1 << 20), ReplyQueue::new(1 << 20));
    let (first, second, third) = (queue.ticket(), queue.ticket(), queue.ticket());
    let (gap, fifth, sixth, muted) = (queue.ticket(), queue.ticket(), queue.ticket(), queue.muted_ticket());
    let mut run = Run::begin(first);
    assert!(run.takes(&second) && !run.takes(&third) && !run.takes(&other.ticket()));
    run.take(second);
    assert!(run.takes(&third) && !run.takes(&fifth));
    run.take(third);
    let early = Run::begin(fifth);
    assert!(!early.takes(&sixth));
    early.complete(b"5");
    run.complete(b"123");
    assert_eq!((taken(&queue), queue.waiting(), queue.queued()), (b"123".to_vec(), 3, 4));
    gap.complete(b"4");
    let run = Run::begin(sixth);
    assert!(!run.takes(&muted));
    run.complete(b"6");
    Run::begin(muted).complete(b"7");
    assert_eq!((taken(&queue), queue.waiting(), queue.queued()), (b"456".to_vec(), 0, 0));
    // Of those that were asked for together some are answered before others, whoever's turn it is.
    let before = queue.ticket();
    let mut early = queue.run(3);
    queue.push(b"D");
    early.complete_first(2, b"BB");
    assert_eq!((early.count(), taken(&queue), queue.waiting(), queue.queued()), (1, Vec::new(), 2, 5));
    before.complete(b"A");
    assert_eq!((taken(&queue), queue.waiting(), queue.queued()), (b"ABB".to_vec(), 1, 2));
    early.first().part(b"c");
    early.complete(b"C");
    assert_eq!((taken(&queue), queue.waiting(), queue.queued()), (b"cCD".to_vec(), 0, 0));
    // One that is dropped owes each of its requests an answer.
    drop(queue.run(2));
    assert_eq!((taken(&queue), queue.waiting(), queue.queued()), (LOST.repeat(2), 0, 0));
    let mut run = Run::begin(queue.ticket());
    run.take(queue.ticket());
    drop(run);
    assert_eq!((taken(&queue), queue.waiting(), queue.queued()), (LOST.repeat(2), 0, 0));
}

#[test]
fn a_ticket_that_is_dropped_keeps_the_order() {
    let queue = ReplyQueue::new(1 << 20);
    let (first, second) = (queue.ticket(), queue.ticket());
    second.complete(b"+OK\r\n");
    drop(first);
    let got = taken(&queue);
    assert!(got.starts_with(b"-UNCERTAIN ") && got.ends_with(b"\r\n+OK\r\n"), "{got:?}");
}

#[test]
fn a_client_that_takes_nothing_is_told_apart_at_its_limit() {
    let queue = ReplyQueue::new(10);
    queue.push(b"0123456789");
    assert!(!queue.overflowed());
    let ticket = queue.ticket();
    ticket.complete(b"x");
    assert!(queue.overflowed());
}

#[test]
fn nothing_stands_behind_a_reply_that_was_broken_off() {
    for early in [false, true] {
        let queue = ReplyQueue::new(1 << 20);
        let (first, second, third, others) = (queue.ticket(), queue.ticket(), queue.ticket(), queue.run(2));
        let mut first = Some(first);
        let mut answer_first = || first.take().map(|first| first.complete(b"first "));
        if early {
            third.part(b"early");
            queue.push(b"local");
        } else {
            answer_first();
        }
        second.part(b"$5\r\nab");
        second.break_off();
        third.part(b"x");
        third.complete(b"third");
        others.complete(b"others");
        queue.push(b"local");
        queue.push_unasked(b"push");
        assert!(queue.broken_off());
        answer_first();
        assert_eq!(taken(&queue), b"first $5\r\nab");
        assert_eq!((queue.waiting(), queue.unsent_bytes()), (0, 0));
    }
}
