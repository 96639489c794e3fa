//! The life of a link: it connects, is driven, is lost, and connects again where it is shared. It owns what becomes of the
//! requests of a connection that is no more.

use super::driver::Driver;
use super::state::Effect;
use super::{Link, Scratch, Sharing, State, is_script};
use crate::error::{Kind, UpstreamError};
use crate::metrics::{ErrorKind, ErrorOrigin};
use crate::upstream::refusal::Reader;
use crate::upstream::stream::{Stream, greet, id_in};
use bytes::{Buf, BytesMut};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

impl Link {
    /// A client's own user's, and none of its clients is there any more.
    fn is_deserted(&self) -> bool {
        self.inner.borrow().slots.is_empty() && self.members.borrow().iter().all(|member| member.strong_count() == 0)
    }

    /// The user is no more, or has another password: its connections were ended, and so are the clients behind them.
    fn end_members(&self) {
        for client in self.members.borrow_mut().drain(..).filter_map(|member| member.upgrade()) {
            client.break_off();
        }
        self.close();
    }

    /// It goes as a tenant's own upstream user: who its clients are the sidecar says, whatever becomes of that user.
    fn is_of_tenants_user(&self) -> bool {
        self.reader() == Reader::TenantWithUser
    }

    /// The log names the user that the upstream refuses, or takes again.
    fn tell_of_user(&self, refused: Option<&UpstreamError>) {
        if let (true, Some(credentials)) = (self.is_of_tenants_user(), &self.greeting.identity) {
            let (users, user) = (&self.target.tenants, String::from_utf8_lossy(credentials.user()));
            match refused {
                None => users.taken(&user),
                // What it may not do is another matter.
                Some(error) if error.kind == Kind::Auth && !error.detail.starts_with("NOPERM") => {
                    users.refused(&user, error);
                }
                Some(_) => {}
            }
        }
    }

    fn count_errors(&self, kind: ErrorKind, count: usize) {
        (0..count).for_each(|_| self.metrics.error(ErrorOrigin::Upstream, kind));
    }

    fn set_state(&self, state: State) {
        let mut inner = self.inner.borrow_mut();
        if !matches!(inner.state, State::Closed) {
            inner.state = state;
        }
        inner.waiters.drain(..).for_each(Waker::wake);
    }

    /// No connection could be made: what waits for one was never sent.
    fn refuse_all(&self, error: &UpstreamError) {
        let slots = {
            let mut inner = self.inner.borrow_mut();
            inner.out = BytesMut::new();
            inner.scripts = 0;
            std::mem::take(&mut inner.slots)
        };
        let line = self.reader().refusal(error);
        for slot in slots {
            self.count_errors(ErrorKind::Unavailable, slot.owed.count());
            slot.owed.complete_each(line.as_bytes());
        }
    }

    /// The connection is lost. What was written may have been executed; a request of which a byte is missing was not; one
    /// of which no byte was written is kept for the next connection, where there will be one.
    fn lose(&self, error: &UpstreamError, mid_reply: bool) {
        let (lost, keep) = {
            let mut guard = self.inner.borrow_mut();
            let inner = &mut *guard;
            let end = inner.written + inner.out.len() as u64;
            let mut lost = Vec::new();
            while let Some(slot) = inner.slots.front() {
                if slot.start >= inner.written && !self.is_exclusive() {
                    break;
                }
                let Some(slot) = inner.slots.pop_front() else { break };
                let slot_end = inner.slots.front().map_or(end, |next| next.start);
                lost.push((slot, slot_end <= inner.written));
            }
            let keep_from = inner.slots.front().map_or(end, |slot| slot.start);
            let drop_bytes = (keep_from - inner.written) as usize;
            inner.out.advance(drop_bytes);
            inner.written = keep_from;
            inner.scripts = inner.slots.iter().filter(|slot| is_script(&slot.watch)).count();
            (lost, inner.slots.len())
        };
        for (index, (mut slot, whole)) in lost.into_iter().enumerate() {
            let ends = slot.watch.as_ref().is_some_and(|watch| watch.effect == Effect::End);
            if ends || self.input_ended() || (index == 0 && mid_reply && !slot.is_rewritten()) {
                if slot.owed.count() == 1 {
                    slot.owed.break_off();
                    continue;
                }
                slot.owed.split(1).break_off();
            }
            let count = slot.owed.count();
            if whole || count > 1 {
                self.count_errors(ErrorKind::Uncertain, count);
                slot.owed.complete_each(self.reader().uncertain(error).as_bytes());
            } else {
                self.count_errors(ErrorKind::Unavailable, count);
                slot.owed.complete_each(self.reader().unavailable(error).as_bytes());
            }
        }
        if keep > 0 {
            tracing::debug!(requests = keep, "requests wait for the next connection");
        }
    }
}

/// The task of a link; it ends when the link is closed.
pub(super) async fn run(link: Rc<Link>, scratch: Scratch) {
    let _ending = Ending(Rc::clone(&link));
    let mut failures = 0;
    let mut reached = link.target.reached.subscribe();
    loop {
        reached.mark_unchanged();
        let connected = async {
            let mut stream = Stream::connect(&link.target).await?;
            // A client's own connection bears the client's name.
            let name = link.target.name.as_deref().filter(|_| !link.is_exclusive());
            let target = &link.target;
            let hello = greet(&mut stream, target, &link.greeting, name, target.connect_timeout).await?;
            Ok::<_, UpstreamError>((stream, hello))
        };
        let connected = tokio::select! {
            connected = connected => connected,
            () = closed(&link) => break,
        };
        let error = match connected {
            Ok((mut stream, hello)) => {
                link.upstream_id.set(id_in(&hello).unwrap_or_default());
                link.never_up.set(false);
                link.tell_of_user(None);
                {
                    let mut inner = link.inner.borrow_mut();
                    (inner.hello, inner.last_error) = (hello, None);
                }
                link.set_state(State::Up);
                link.count(true);
                let mut driver = Driver::new(&link);
                let error = poll_fn(|cx| driver.poll(cx, &mut stream, &scratch)).await;
                link.count(false);
                link.set_state(State::Connecting);
                let lived = driver.lived;
                link.lose(&error, driver.mid_reply());
                if link.greeting.identity.is_some() && link.is_deserted() {
                    // Who needs it next makes it anew, and is not refused for what happened to this one.
                    link.close();
                }
                if !link.is_exclusive() && !lived {
                    // It greets and hangs up: once more at once would be a storm.
                    tokio::select! {
                        () = tokio::time::sleep(link.target.pause(failures)) => {}
                        () = closed(&link) => break,
                    }
                }
                failures = if lived { 0 } else { failures + 1 };
                if !link.is_exclusive() && !link.is_closed() {
                    link.metrics.reconnects[link.kind()].increment(1);
                    tracing::warn!(upstream = %link.target.address, %error, "a link was lost; connecting again");
                }
                error
            }
            Err(error) => {
                // A tenant's client need say nothing more.
                link.refused.set(error.is_noauth() && link.reader() == Reader::Anybody);
                link.tell_of_user(Some(&error));
                link.inner.borrow_mut().last_error = Some(error.clone());
                link.set_state(State::Down(error.clone()));
                link.refuse_all(&error);
                let is_clients_user = link.greeting.identity.is_some() && !link.is_of_tenants_user();
                if error.kind == Kind::Auth && is_clients_user && !link.never_up.get() {
                    link.end_members();
                } else if !link.is_exclusive() {
                    let pause = link.target.pause(failures);
                    failures += 1;
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        // The sidecar may call itself ready from now on: then ordinary commands are not to be refused.
                        _ = reached.changed() => {}
                        () = closed(&link) => break,
                    }
                    link.set_state(State::Connecting);
                }
                error
            }
        };
        if link.is_closed() {
            break;
        }
        if link.is_exclusive() {
            tracing::debug!(%error, "a pinned connection ended");
            break;
        }
        tracing::debug!(upstream = %link.target.address, %error, "connecting again");
    }
}

/// The end of a link's task, also by a panic: what the link still owes is answered.
struct Ending(Rc<Link>);

impl Drop for Ending {
    fn drop(&mut self) {
        let closed = UpstreamError::new(Kind::Io, "closed");
        self.0.set_state(State::Closed);
        self.0.lose(&closed, false);
        self.0.refuse_all(&closed);
        // Where nothing was ever sent the client's own state is what it was.
        let lost_state = !self.0.never_up.get() || !self.0.refused.get();
        if let Sharing::Exclusive { client, .. } = &self.0.sharing
            && let Some(client) = client.borrow_mut().take()
        {
            if lost_state { client.break_off() } else { client.wake_session() }
        }
    }
}

/// Until the link is closed. Cancel safe: it only looks.
async fn closed(link: &Link) {
    poll_fn(|cx| {
        let mut inner = link.inner.borrow_mut();
        if matches!(inner.state, State::Closed) {
            return Poll::Ready(());
        }
        inner.wakeup.register(cx.waker());
        Poll::Pending
    })
    .await;
}
