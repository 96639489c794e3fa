//! One call of the script: which operations travel together, where that is the same to every client, in what words, and
//! what the answer says of each.

use super::runs::{Run, RunList, Runs};
use super::{Job, Space};
use crate::inventory::id::{LotId, Mint, Minted, Token, minted_ms, token as new_token};
use crate::inventory::operation::{Expect, Work, int, refused};
use crate::inventory::reply::{Insufficient, Outcome, Refusal};
use crate::metrics::Status;
use crate::resp::write::RequestWriter;
use bb8_redis::redis::Value;
use std::rc::Rc;

/// Operations that one result is due for.
enum Group {
    Alone(Member),
    Together(Box<Together>),
}

/// Operations that the script is told of together.
struct Together {
    /// Of those that can be told together the same.
    hash: u64,
    kind: Kind,
    members: Vec<Member>,
    /// Of commits and rollbacks, log by log.
    listed: Vec<Listed>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Reservations; whether their lot was minted for this sending.
    Reserve(LotId, bool),
    Commit,
    RollBack,
}

/// An operation of a group.
#[derive(Clone, Copy)]
struct Member {
    /// In the batch.
    position: u32,
    /// Which of the group's logs, and the place there.
    order: (u16, u16),
}

/// Reservations that a group ends and that are in one log of their lot.
struct Listed {
    lot: LotId,
    index: u8,
    /// The places, a bit each: none twice, so that a second commit of a reservation is told with another token.
    places: u16,
    /// Of the commits; and whether it was minted for this sending.
    token: Token,
    new: bool,
}

/// The operations of one cell, in groups.
pub(super) struct Call {
    /// The namespace.
    pub space: Rc<Space>,
    /// The cell.
    pub cell: u16,
    groups: Vec<Group>,
    /// The one that the last operation joined.
    last: usize,
    /// Each letter of the operations that travel alone, once.
    letters: Vec<u8>,
}

/// What the script's answer says of one operation.
pub(super) enum Answer {
    Outcome(Outcome),
    /// Neither this sending of it did anything nor an earlier one.
    NotExecuted,
}

impl Call {
    /// The operations of a batch, one call for each of their cells. `number` names this sending of it; reservations get their
    /// ids here and commits their tokens, so that they may be sent again.
    pub(super) fn of(jobs: &mut [Job], number: u64, mint: &Mint) -> Vec<Self> {
        let mut calls: Vec<Self> = Vec::with_capacity(1);
        for position in 0..jobs.len() {
            let cell = jobs[position].operation.cell;
            let space = &jobs[position].space;
            let found = calls.iter().position(|call| call.cell == cell && Rc::ptr_eq(&call.space, space));
            let place = found.unwrap_or_else(|| {
                let (space, groups) = (Rc::clone(space), Vec::with_capacity(4));
                calls.push(Self { space, cell, groups, last: 0, letters: Vec::new() });
                calls.len() - 1
            });
            calls[place].add(jobs, position, number, mint);
        }
        for group in calls.iter_mut().flat_map(|call| &mut call.groups) {
            // The script goes through a log once, in its places' order.
            if let Group::Together(group) = group
                && !group.listed.is_empty()
            {
                group.members.sort_unstable_by_key(|member| member.order);
            }
        }
        calls
    }

    fn add(&mut self, jobs: &mut [Job], position: usize, number: u64, mint: &Mint) {
        let (earlier, rest) = jobs.split_at_mut(position);
        let job = &mut rest[0];
        // A client's next operation may not be told before its last one. That is in the first group where it is in none other.
        let first = match job.client() {
            Some(client) if self.groups.len() > 1 => client.last_group(number) as usize,
            _ => 0,
        };
        let fits = |group: &Together| match (&job.operation.work, group.kind) {
            (Work::Reserve { minted: Some(minted), .. }, Kind::Reserve(lot, false)) => minted.lot == lot,
            (Work::Reserve { minted: None, sku, ttl_ms, .. }, Kind::Reserve(_, true)) => {
                matches!(&earlier[group.first()].operation.work,
                    Work::Reserve { sku: other, ttl_ms: other_ttl_ms, .. } if **sku == **other && ttl_ms == other_ttl_ms)
            }
            (Work::Commit(..), Kind::Commit) | (Work::RollBack(_), Kind::RollBack) => true,
            _ => false,
        };
        let fits_at = |index: usize, hash: Option<u64>| match self.groups.get(index) {
            Some(Group::Together(group)) => hash.is_none_or(|hash| group.hash == hash) && fits(group),
            _ => false,
        };
        let found = match &job.operation.work {
            Work::Script(..) => None,
            // Of those that it fits into the last one is meant, and what the operation ahead joined was the last one for that.
            _ if first <= self.last && fits_at(self.last, None) => Some(self.last),
            work => {
                let hash = Some(hash(work));
                (first..self.groups.len()).rev().find(|&index| fits_at(index, hash))
            }
        };
        let index = found.unwrap_or(self.groups.len());
        self.last = index;
        if index > 0
            && let Some(client) = job.client()
        {
            client.join_group(number, index as u32);
        }
        let position = position as u32;
        if found.is_none() {
            let kind = match &job.operation.work {
                Work::Reserve { minted: Some(minted), .. } => Kind::Reserve(minted.lot, false),
                Work::Reserve { minted: None, .. } => Kind::Reserve(mint.lot(), true),
                Work::Commit(..) => Kind::Commit,
                Work::RollBack(_) => Kind::RollBack,
                Work::Script(args, _) => {
                    if !self.letters.contains(&args.letter()) {
                        self.letters.push(args.letter());
                    }
                    return self.groups.push(Group::Alone(Member { position, order: (0, 0) }));
                }
            };
            let (hash, members) = (hash(&job.operation.work), Vec::with_capacity(16));
            self.groups.push(Group::Together(Box::new(Together { hash, kind, members, listed: Vec::new() })));
        }
        let Group::Together(group) = &mut self.groups[index] else { return };
        let order = match (group.kind, &mut job.operation.work) {
            (Kind::Reserve(lot, true), Work::Reserve { minted, .. }) => {
                let place = group.members.len() as u16 + 1;
                *minted = Some(Minted { lot, place });
                (0, place)
            }
            (_, Work::Commit(minted, token)) => group.list(minted, Some(token)),
            (_, Work::RollBack(minted)) => group.list(minted, None),
            _ => (0, 0),
        };
        group.members.push(Member { position, order });
    }

    /// Each letter of the operations that travel alone, once.
    pub(super) fn letters(&self) -> &[u8] {
        &self.letters
    }

    /// Among them is what may be the first that its namespace holds.
    pub(super) fn may_begin_namespace(&self) -> bool {
        self.letters.iter().any(|letter| matches!(letter, b'T' | b'A' | b'P'))
    }

    /// Appends the operations in the script's words (lua/ops).
    pub(super) fn write(&self, jobs: &[Job], request: &mut RequestWriter) {
        for group in &self.groups {
            group.write(jobs, request);
        }
    }

    /// How many results are due.
    pub(super) fn len(&self) -> usize {
        self.groups.len()
    }

    /// Positions of the operations, those of each result.
    pub(super) fn members(&self) -> impl Iterator<Item = impl Iterator<Item = usize>> {
        self.groups.iter().map(Group::positions)
    }

    /// Where the `index`-th result says that all of its operations, a sale's, did what they were to do: their positions.
    pub(super) fn done<'a>(
        &'a self,
        index: usize,
        jobs: &[Job],
        result: &Value,
    ) -> Option<impl Iterator<Item = usize> + use<'a>> {
        let group = &self.groups[index];
        let is_of_a_sale = match group {
            Group::Alone(member) => matches!(jobs[member.place()].operation.work, Work::Script(_, Expect::Done)),
            Group::Together(_) => true,
        };
        (int(result) == Some(1) && is_of_a_sale).then(|| group.positions())
    }

    /// What the `index`-th result says of each of its operations, in the order of `members`.
    pub(super) fn answers(
        &self,
        index: usize,
        jobs: &mut [Job],
        result: &Value,
        mut each: impl FnMut(&mut Job, Answer),
    ) {
        let group = match &self.groups[index] {
            Group::Together(group) => group,
            Group::Alone(member) => {
                let job = &mut jobs[member.place()];
                if let Work::Script(_, expect) = &job.operation.work {
                    let outcome = expect.outcome(result);
                    each(job, Answer::Outcome(outcome));
                }
                return;
            }
        };
        match group.kind {
            Kind::Reserve(..) => {
                let (refused, mut runs) = (refused(result), Runs::new(result));
                for position in group.positions() {
                    let job = &mut jobs[position];
                    let Work::Reserve { quantity, minted: Some(minted), .. } = &job.operation.work else { continue };
                    let answer = match &refused {
                        Some(outcome) => Answer::Outcome(outcome.clone()),
                        None => match runs.at(minted.place) {
                            Some(Run::Reserved) => Answer::Outcome(Outcome::Minted(self.cell, *minted)),
                            Some(Run::Refused { available, retry_ms }) => {
                                let requested = i64::from(*quantity);
                                Answer::Outcome(Outcome::Insufficient(Insufficient { requested, available, retry_ms }))
                            }
                            Some(Run::NotExecuted) => Answer::NotExecuted,
                            None => Answer::Outcome(unreadable(result)),
                        },
                    };
                    each(job, answer);
                }
            }
            Kind::Commit | Kind::RollBack => {
                let all = int(result) == Some(1);
                let results: &[Value] = if let Value::Array(results) = result { results } else { &[] };
                for (nth, position) in group.positions().enumerate() {
                    let one = results.get(nth);
                    let outcome = match one {
                        _ if all => Outcome::Ok,
                        Some(one) if int(one) == Some(1) => Outcome::Ok,
                        Some(one) => refused(one).unwrap_or_else(|| unreadable(one)),
                        None => unreadable(result),
                    };
                    each(&mut jobs[position], Answer::Outcome(outcome));
                }
            }
        }
    }
}

impl Member {
    /// In the batch.
    fn place(&self) -> usize {
        self.position as usize
    }
}

impl Group {
    fn positions(&self) -> impl Iterator<Item = usize> {
        let members = match self {
            Self::Alone(member) => std::slice::from_ref(member),
            Self::Together(group) => &group.members,
        };
        members.iter().map(Member::place)
    }

    fn write(&self, jobs: &[Job], request: &mut RequestWriter) {
        match self {
            Self::Alone(member) => {
                if let Work::Script(args, _) = &jobs[member.place()].operation.work {
                    request.args(args.written());
                }
            }
            Self::Together(group) => group.write(jobs, request),
        }
    }
}

impl Together {
    /// The position of its first operation.
    fn first(&self) -> usize {
        self.members[0].place()
    }

    fn positions(&self) -> impl Iterator<Item = usize> {
        self.members.iter().map(Member::place)
    }

    /// Takes an end of this reservation in; `token` of a commit. Returns where it stands among the others.
    fn list(&mut self, minted: &Minted, token: Option<&mut Option<Token>>) -> (u16, u16) {
        let (index, place) = minted.in_log();
        let bit = 1 << (place - 1);
        let fits = |listed: &Listed| {
            listed.index == index
                && listed.lot == minted.lot
                && listed.places & bit == 0
                && match &token {
                    None => true,
                    Some(None) => listed.new,
                    Some(Some(known)) => listed.token == *known,
                }
        };
        let at = self.listed.iter().rposition(fits).unwrap_or_else(|| {
            let (token, new) = match &token {
                None => (Token::default(), true),
                Some(None) => (new_token(), true),
                Some(Some(known)) => (*known, false),
            };
            self.listed.push(Listed { lot: minted.lot, index, places: 0, token, new });
            self.listed.len() - 1
        });
        self.listed[at].places |= bit;
        if let Some(token) = token {
            *token = Some(self.listed[at].token);
        }
        (at as u16, place)
    }

    fn write(&self, jobs: &[Job], request: &mut RequestWriter) {
        match (self.kind, &jobs[self.first()].operation.work) {
            (Kind::Reserve(lot, _), Work::Reserve { sku, ttl_ms, .. }) => {
                let mut runs = RunList::default();
                for position in self.positions() {
                    if let Work::Reserve { quantity, minted: Some(minted), .. } = &jobs[position].operation.work {
                        runs.push(minted.place, *quantity);
                    }
                }
                request.arg(b"r").arg(&lot).arg(sku).number(*ttl_ms).number(minted_ms(&lot)).arg(&runs.finish());
            }
            (Kind::Commit | Kind::RollBack, _) => {
                let mut list = Vec::with_capacity(self.listed.len() * size_of::<Listed>());
                for listed in &self.listed {
                    listed.write(self.kind == Kind::Commit, &mut list);
                }
                request.arg(if self.kind == Kind::Commit { b"c" } else { b"b" }).arg(&list);
            }
            (Kind::Reserve(..), _) => {}
        }
    }
}

impl Listed {
    /// See COMMITS and ROLLBACKS in lua/lib/format.lua.
    fn write(&self, commits: bool, list: &mut Vec<u8>) {
        list.extend_from_slice(&self.lot);
        list.push(self.index);
        if commits {
            list.extend_from_slice(&self.token);
        }
        list.push(self.places.count_ones() as u8);
        list.extend_from_slice(&self.places.to_be_bytes());
    }
}

fn unreadable(value: &Value) -> Outcome {
    tracing::error!(?value, "the script gave an answer that is not of its contract");
    Outcome::Refused(Refusal::new(Status::Uncertain, "the upstream's answer could not be read"))
}

/// Of works that may be told together the same; of others it is well if it differs.
fn hash(work: &Work) -> u64 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let of = |bytes: &[u8], seed: u64| {
        bytes.chunks(8).fold(seed, |hash, chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            (hash.rotate_left(5) ^ u64::from_le_bytes(word)).wrapping_mul(FACTOR)
        })
    };
    match work {
        Work::Reserve { minted: Some(minted), .. } => of(&minted.lot, 1),
        Work::Reserve { minted: None, sku, ttl_ms, .. } => of(sku, 2 ^ ttl_ms.wrapping_mul(FACTOR)),
        Work::Commit(..) => 3,
        Work::RollBack(_) => 4,
        Work::Script(..) => 0,
    }
}
