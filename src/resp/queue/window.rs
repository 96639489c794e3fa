//! How many requests of a group of clients (a tenant's) may wait for their replies at once. What an upstream has of one
//! connection it executes before it looks at the next one: so many are what others wait behind.

use super::ReplyQueue;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

/// What a client that has waited may hand over before those that still do. A window is not smaller.
const TURN: usize = 16;

/// A client among those that share its window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Place {
    /// It does not wait.
    #[default]
    Outside,
    /// It waits for others' requests to be answered.
    Waits,
    /// Room for a turn is kept for it: its session was woken.
    Called,
}

/// What a client may do in its window.
#[derive(Default)]
pub(super) struct Turn {
    place: Cell<Place>,
    /// What is left of it.
    left: Cell<usize>,
    /// It stands in the list of its window, whether or not it waits now.
    listed: Cell<bool>,
}

impl Turn {
    pub(super) fn waits(&self) -> bool {
        self.place.get() == Place::Waits
    }
}

/// See the module. It counts always, and bounds those who ask for [room](ReplyQueue::room).
pub struct Window {
    size: Cell<usize>,
    under_way: Cell<usize>,
    /// In the order of coming, each client once; those who do not wait any more are taken out when it is their turn. Where
    /// somebody waits, something is under way or somebody before him is called: the reply, or the end of the turn, calls him.
    waiting: RefCell<VecDeque<Rc<ReplyQueue>>>,
}

impl Default for Window {
    /// Without a bound.
    fn default() -> Self {
        Self { size: Cell::new(usize::MAX), under_way: Cell::default(), waiting: RefCell::default() }
    }
}

impl Window {
    /// From here on so many may be under way. Those who wait see it with the next reply.
    pub fn resize(&self, size: usize) {
        self.size.set(size.max(TURN));
    }

    fn left(&self) -> usize {
        self.size.get().saturating_sub(self.under_way.get())
    }

    /// How many requests this client, whose window it is, may hand over now. Where none, its session is woken when it may.
    pub(super) fn room(&self, client: &Rc<ReplyQueue>) -> usize {
        let (turn, mut waiting) = (&client.turn, self.waiting.borrow_mut());
        let left = self.left();
        match turn.place.get() {
            Place::Waits => return 0,
            Place::Called if left == 0 => {
                // What does not ask for room has taken it.
                turn.place.set(Place::Waits);
                return 0;
            }
            Place::Called => {
                turn.place.set(Place::Outside);
                turn.left.set(TURN);
                take_out(&mut waiting, client);
            }
            Place::Outside => {}
        }
        while let Some(other) = waiting.front().filter(|other| other.turn.place.get() == Place::Outside) {
            other.turn.listed.set(false);
            waiting.pop_front();
        }
        let may = if waiting.is_empty() { left } else { left.min(turn.left.get()) };
        if may == 0 {
            turn.place.set(Place::Waits);
            if !turn.listed.replace(true) {
                waiting.push_back(Rc::clone(client));
            }
        }
        may
    }

    pub(super) fn hand_over(&self, turn: &Turn, count: usize) {
        self.under_way.set(self.under_way.get() + count);
        turn.left.set(turn.left.get().saturating_sub(count));
    }

    pub(super) fn give_back(&self, count: usize) {
        self.under_way.set(self.under_way.get() - count);
        self.let_in();
    }

    /// It has handed over what it wants to for now.
    pub(super) fn end_turn(&self, turn: &Turn) {
        turn.left.set(0);
        turn.place.set(Place::Outside);
        self.let_in();
    }

    /// It is another window's client from here on.
    pub(super) fn leave(&self, client: &ReplyQueue) {
        take_out(&mut self.waiting.borrow_mut(), client);
        self.end_turn(&client.turn);
    }

    /// Those who waited first are called, as many as there is room for a whole turn of each.
    fn let_in(&self) {
        let mut waiting = self.waiting.borrow_mut();
        let mut left = self.left();
        let mut next = 0;
        while left >= TURN
            && let Some(client) = waiting.get(next)
        {
            match client.turn.place.get() {
                Place::Outside => {
                    client.turn.listed.set(false);
                    waiting.remove(next);
                    continue;
                }
                Place::Called => {}
                Place::Waits => {
                    client.turn.place.set(Place::Called);
                    client.wake_session();
                }
            }
            left -= TURN;
            next += 1;
        }
    }
}

fn take_out(waiting: &mut VecDeque<Rc<ReplyQueue>>, client: &ReplyQueue) {
    if client.turn.listed.replace(false)
        && let Some(place) = waiting.iter().position(|other| std::ptr::eq(&raw const **other, client))
    {
        waiting.remove(place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};
    use std::task::{Wake, Waker};

    const WINDOW: usize = 64;

    fn window() -> Rc<Window> {
        let window = Rc::new(Window::default());
        window.resize(WINDOW);
        window
    }

    struct Session(usize, Arc<Mutex<VecDeque<usize>>>);

    impl Wake for Session {
        fn wake(self: Arc<Self>) {
            self.1.lock().expect("not poisoned").push_back(self.0);
        }
    }

    /// Clients of one window, each of which wants so many: who hands over when. Sessions run in the order in which they were woken,
    /// and when none is left the first request under way is answered.
    fn order(wanted: &mut [usize]) -> Vec<usize> {
        let window = window();
        let woken = Arc::new(Mutex::new((0..wanted.len()).collect::<VecDeque<_>>()));
        let session = |place| Waker::from(Arc::new(Session(place, Arc::clone(&woken))));
        let clients: Vec<_> = wanted.iter().map(|_| ReplyQueue::new(1 << 20)).collect();
        clients.iter().for_each(|client| client.set_window(Some(&window)));
        let (mut order, mut under_way) = (Vec::new(), VecDeque::new());
        loop {
            let next = woken.lock().expect("not poisoned").pop_front();
            if let Some(place) = next {
                let client = &clients[place];
                client.register(&session(place));
                while wanted[place] > 0 && client.room() > 0 {
                    under_way.push_back(client.ticket());
                    order.push(place);
                    wanted[place] -= 1;
                }
                if wanted[place] == 0 {
                    client.end_turn();
                }
                continue;
            }
            assert!(under_way.len() <= WINDOW, "{}", under_way.len());
            match under_way.pop_front() {
                Some(first) => first.complete(b""),
                None => return order,
            }
        }
    }

    #[test]
    fn no_more_is_under_way_than_may_be_and_nobody_is_forgotten() {
        for wanted in [vec![1000], vec![1; 300], vec![1000, 1, 0, 1000, 7], vec![0, 0]] {
            let mut left = wanted.clone();
            let order = order(&mut left);
            assert_eq!(order.len(), wanted.iter().sum::<usize>(), "{wanted:?}");
            assert_eq!(left.iter().sum::<usize>(), 0);
        }
    }

    #[test]
    fn who_wants_little_comes_before_the_rest_of_who_wants_much() {
        let mut wanted = vec![2000, 2000, 2000];
        wanted.extend([1; 20]);
        let order = order(&mut wanted);
        let last = order.iter().rposition(|&place| place >= 3).expect("one of them");
        assert!(last < WINDOW + 10 * TURN, "the last of them came behind {last}");
        // And who wants much gets as much as others that do.
        let (first, second) = order.split_at(3000);
        for half in [first, second] {
            let shares = [0, 1, 2].map(|client| half.iter().filter(|&&place| place == client).count());
            assert!(shares.iter().all(|share| share.abs_diff(shares[0]) <= WINDOW + TURN), "{shares:?}");
        }
    }

    #[test]
    fn what_waits_counts_where_its_client_is() {
        let (one, other) = (window(), window());
        let client = ReplyQueue::new(1 << 20);
        let before = client.ticket();
        client.set_window(Some(&one));
        let run = client.run(5);
        assert_eq!((one.under_way.get(), client.room()), (6, WINDOW - 6));
        client.set_window(Some(&other));
        before.complete(b"");
        assert_eq!((one.under_way.get(), other.under_way.get()), (0, 5));
        client.close();
        drop(run);
        assert_eq!(other.under_way.get(), 0);
        let waits = client.ticket();
        client.set_window(None);
        assert_eq!((other.under_way.get(), client.room()), (0, usize::MAX));
        drop(waits);
        assert_eq!(other.under_way.get(), 0);
    }

    #[test]
    fn who_is_called_and_does_not_come_keeps_nobody_waiting() {
        let window = window();
        let clients: Vec<_> = (0..10).map(|_| ReplyQueue::new(1 << 20)).collect();
        clients.iter().for_each(|client| client.set_window(Some(&window)));
        let all = clients[0].run(WINDOW as u32);
        assert!(clients.iter().all(|client| client.room() == 0));
        all.complete(b"");
        let places = || clients.iter().map(|client| client.turn.place.get()).collect::<Vec<_>>();
        let (called, waits) = ([Place::Called; WINDOW / TURN], [Place::Waits; 10 - WINDOW / TURN]);
        assert_eq!(places(), [&called[..], &waits[..]].concat());
        clients[0].close();
        clients[1].end_turn();
        clients[2].set_window(None);
        let handed_over = (clients[3].room() == TURN).then(|| clients[3].ticket());
        assert_eq!(
            places()[4..],
            [Place::Called, Place::Called, Place::Called, Place::Waits, Place::Waits, Place::Waits]
        );
        clients[3].end_turn();
        drop(handed_over);
        clients[4..].iter().for_each(|client| client.close());
        assert!(window.waiting.borrow().is_empty() && clients[3].room() == WINDOW);
    }

    #[test]
    fn a_client_stands_in_the_list_once_however_often_it_waits() {
        let (window, other) = (window(), window());
        let clients: Vec<_> = (0..3).map(|_| ReplyQueue::new(1 << 20)).collect();
        clients.iter().for_each(|client| client.set_window(Some(&window)));
        let all = clients[0].run(WINDOW as u32);
        for _ in 0..100 {
            assert!(clients.iter().all(|client| client.room() == 0));
            clients[1..].iter().for_each(|client| client.end_turn());
        }
        assert_eq!(window.waiting.borrow().len(), 3);
        // Where it goes elsewhere it can wait there.
        assert_eq!(clients[2].room(), 0);
        clients[2].set_window(Some(&other));
        let others = clients[1].run(WINDOW as u32);
        clients[1].set_window(Some(&other));
        assert_eq!((clients[2].room(), window.waiting.borrow().len(), other.waiting.borrow().len()), (0, 1, 1));
        drop(others);
        assert_eq!(clients[2].turn.place.get(), Place::Called);
        drop(all);
        assert_eq!(clients[0].turn.place.get(), Place::Called);
    }
}
