//! One call of the script: which operations travel together, where that is the same to every client, in what words, and
//! what the answer says of each.

use super::{Job, Space};
use crate::inventory::id::{LotId, Mint, Minted, minted_ms};
use crate::inventory::operation::{Work, int, refused, text};
use crate::inventory::reply::{Insufficient, Outcome, Refusal};
use crate::metrics::Status;
use crate::resp::write::RequestWriter;
use bb8_redis::redis::Value;
use std::rc::Rc;

/// Reservations of one lot: more make a reservation cheaper, fewer a commit that comes alone, which reads and writes the lot.
/// Redis's time, us, of a batch of 128: reserved in lots of 8, 16, 32, 128: 0.77 0.38 0.28 0.18; committed one of each lot:
/// 3.9 3.7 4.8 14.
const LOT_MAX: usize = 16;

/// Operations that the script is told of together.
struct Group {
    /// Of those that can be told together the same.
    hash: u64,
    kind: Kind,
    /// Positions in the batch.
    members: Vec<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Reservations; whether their lot was minted for this sending.
    Reserve(LotId, bool),
    Commit(LotId),
    RollBack(LotId),
    Alone,
}

/// The operations of one cell, in groups.
pub(super) struct Call {
    /// The namespace.
    pub space: Rc<Space>,
    /// The cell.
    pub cell: u16,
    groups: Vec<Group>,
}

/// What the script's answer says of one operation.
pub(super) enum Answer {
    Outcome(Outcome),
    /// Neither this sending of it did anything nor an earlier one.
    NotExecuted,
}

impl Call {
    /// The operations of a batch, one call for each of their cells. `number` names this sending of it; reservations get their
    /// ids here, so that they may be sent again.
    pub(super) fn of(jobs: &mut [Job], number: u64, mint: &Mint) -> Vec<Self> {
        let mut calls: Vec<Self> = Vec::with_capacity(1);
        for position in 0..jobs.len() {
            let cell = jobs[position].operation.cell;
            let space = &jobs[position].space;
            let found = calls.iter().position(|call| call.cell == cell && Rc::ptr_eq(&call.space, space));
            let place = found.unwrap_or_else(|| {
                calls.push(Self { space: Rc::clone(space), cell, groups: Vec::with_capacity(4) });
                calls.len() - 1
            });
            calls[place].add(jobs, position, number, mint);
        }
        for group in calls.iter_mut().flat_map(|call| &mut call.groups) {
            // In their places' order the script goes through a lot once.
            if let Kind::Commit(_) | Kind::RollBack(_) = group.kind {
                group.members.sort_by_key(|&position| match &jobs[position].operation.work {
                    Work::Commit(minted, _) | Work::RollBack(minted) => minted.place,
                    _ => 0,
                });
            }
        }
        calls
    }

    fn add(&mut self, jobs: &mut [Job], position: usize, number: u64, mint: &Mint) {
        let (earlier, rest) = jobs.split_at_mut(position);
        let job = &mut rest[0];
        // A client's next operation may not be told before its last one.
        let first = job.client.as_ref().map_or(0, |client| client.last_group(number)) as usize;
        let hash = hash(&job.operation.work);
        let fits = |group: &Group| {
            group.hash == hash
                && match (&job.operation.work, group.kind) {
                    (Work::Reserve { minted: Some(minted), .. }, Kind::Reserve(lot, false)) => minted.lot == lot,
                    (Work::Reserve { minted: None, sku, ttl_ms, .. }, Kind::Reserve(_, true))
                        if group.members.len() < LOT_MAX =>
                    {
                        matches!(&earlier[group.members[0]].operation.work,
                            Work::Reserve { sku: other, ttl_ms: other_ttl_ms, .. } if **sku == **other && ttl_ms == other_ttl_ms)
                    }
                    (Work::Commit(minted, _), Kind::Commit(lot)) | (Work::RollBack(minted), Kind::RollBack(lot)) => {
                        minted.lot == lot
                    }
                    _ => false,
                }
        };
        let found = (first..self.groups.len()).rev().find(|&index| fits(&self.groups[index]));
        let index = found.unwrap_or_else(|| {
            let kind = match &job.operation.work {
                Work::Reserve { minted: Some(minted), .. } => Kind::Reserve(minted.lot, false),
                Work::Reserve { minted: None, .. } => Kind::Reserve(mint.lot(), true),
                Work::Commit(minted, _) => Kind::Commit(minted.lot),
                Work::RollBack(minted) => Kind::RollBack(minted.lot),
                Work::Script(..) => Kind::Alone,
            };
            self.groups.push(Group { hash, kind, members: Vec::new() });
            self.groups.len() - 1
        });
        if let Some(client) = &job.client {
            client.join_group(number, index as u32);
        }
        let group = &mut self.groups[index];
        if let (Kind::Reserve(lot, true), Work::Reserve { minted, .. }) = (group.kind, &mut job.operation.work) {
            *minted = Some(Minted { lot, place: group.members.len() as u16 + 1 });
        }
        group.members.push(position);
    }

    /// Each letter of the operations that travel alone, once.
    pub(super) fn letters(&self, jobs: &[Job]) -> Vec<u8> {
        let mut letters: Vec<u8> = Vec::new();
        for group in self.groups.iter().filter(|group| group.kind == Kind::Alone) {
            if let Work::Script(script) = &jobs[group.members[0]].operation.work
                && !letters.contains(&script.0.letter())
            {
                letters.push(script.0.letter());
            }
        }
        letters
    }

    /// Among them is what may be the first that its namespace holds.
    pub(super) fn may_begin_namespace(&self, jobs: &[Job]) -> bool {
        self.letters(jobs).iter().any(|letter| matches!(letter, b'T' | b'A' | b'P'))
    }

    /// Appends the operations in the script's words (lua/ops).
    pub(super) fn write(&self, jobs: &[Job], request: &mut RequestWriter) {
        for group in &self.groups {
            group.write(jobs, request);
        }
    }

    /// The operations.
    pub(super) fn take(&self, slots: &mut [Option<Job>]) -> Vec<(usize, Job)> {
        self.members().flatten().filter_map(|&member| Some((member, slots[member].take()?))).collect()
    }

    /// How many results are due.
    pub(super) fn len(&self) -> usize {
        self.groups.len()
    }

    /// Positions of the operations, those of each result.
    pub(super) fn members(&self) -> impl Iterator<Item = &[usize]> {
        self.groups.iter().map(|group| group.members.as_slice())
    }

    /// What the `index`-th result says of each of its operations, in the order of `members`.
    pub(super) fn answers(
        &self,
        index: usize,
        jobs: &[Option<Job>],
        result: &Value,
        mut each: impl FnMut(usize, Answer),
    ) {
        let group = &self.groups[index];
        let work = |position: usize| jobs[position].as_ref().map(|job| &job.operation.work);
        match group.kind {
            Kind::Alone => {
                let position = group.members[0];
                if let Some(Work::Script(script)) = work(position) {
                    each(position, Answer::Outcome(script.1.outcome(result)));
                }
            }
            Kind::Reserve(..) => {
                let mut runs = Runs::new(result);
                for &position in &group.members {
                    let Some(Work::Reserve { quantity, minted: Some(minted), .. }) = work(position) else { continue };
                    let answer = match refused(result) {
                        Some(outcome) => Answer::Outcome(outcome),
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
                    each(position, answer);
                }
            }
            Kind::Commit(_) | Kind::RollBack(_) => {
                let all = int(result) == Some(1);
                let results: &[Value] = if let Value::Array(results) = result { results } else { &[] };
                for (place, &position) in group.members.iter().enumerate() {
                    let one = results.get(place);
                    let outcome = match one {
                        _ if all => Outcome::Ok,
                        Some(one) if int(one) == Some(1) => Outcome::Ok,
                        Some(one) => refused(one).unwrap_or_else(|| unreadable(one)),
                        None => unreadable(result),
                    };
                    each(position, Answer::Outcome(outcome));
                }
            }
        }
    }
}

impl Group {
    fn write(&self, jobs: &[Job], request: &mut RequestWriter) {
        let works = || self.members.iter().map(|&position| &jobs[position].operation.work);
        match (self.kind, &jobs[self.members[0]].operation.work) {
            (Kind::Reserve(lot, _), Work::Reserve { sku, ttl_ms, .. }) => {
                let mut runs = RunList::default();
                for work in works() {
                    if let Work::Reserve { quantity, minted: Some(minted), .. } = work {
                        runs.push(minted.place, *quantity);
                    }
                }
                request.arg(b"r").arg(&lot).arg(sku).number(*ttl_ms).number(minted_ms(&lot)).arg(&runs.finish());
            }
            (Kind::Commit(lot), _) => {
                let mut list = Vec::with_capacity(self.members.len() * 13);
                for work in works() {
                    if let Work::Commit(minted, token) = work {
                        list.extend_from_slice(&minted.place.to_be_bytes());
                        list.extend_from_slice(token);
                    }
                }
                request.arg(b"c").arg(&lot).arg(&list);
            }
            (Kind::RollBack(lot), _) => {
                let mut list = Vec::with_capacity(self.members.len() * 2);
                for work in works() {
                    if let Work::RollBack(minted) = work {
                        list.extend_from_slice(&minted.place.to_be_bytes());
                    }
                }
                request.arg(b"b").arg(&lot).arg(&list);
            }
            (Kind::Alone | Kind::Reserve(..), work) => {
                if let Work::Script(script) = work {
                    script.0.iter().for_each(|arg| {
                        request.arg(arg);
                    });
                }
            }
        }
    }
}

/// The quantities at a lot's places, as the script reads them.
#[derive(Default)]
struct RunList {
    bytes: Vec<u8>,
    next: u16,
    run: (u16, u32),
}

impl RunList {
    fn push(&mut self, place: u16, quantity: u32) {
        // Places whose operations are answered already.
        let gap = place.saturating_sub(1).saturating_sub(self.next);
        if gap > 0 {
            self.add(gap, 0);
        }
        self.add(1, quantity);
        self.next = place;
    }

    fn add(&mut self, count: u16, quantity: u32) {
        if self.run.0 > 0 && self.run.1 == quantity {
            self.run.0 += count;
        } else {
            self.end_run();
            self.run = (count, quantity);
        }
    }

    fn end_run(&mut self) {
        if self.run.0 > 0 {
            self.bytes.extend_from_slice(&self.run.0.to_be_bytes());
            self.bytes.extend_from_slice(&self.run.1.to_be_bytes());
        }
    }

    fn finish(mut self) -> Vec<u8> {
        self.end_run();
        self.bytes
    }
}

/// What became of a lot's place.
#[derive(Clone, Copy)]
enum Run {
    Reserved,
    Refused { available: i64, retry_ms: i64 },
    NotExecuted,
}

/// Reads the answer to `r`, place after place.
struct Runs<'a> {
    /// None: all are reserved.
    rest: Option<&'a [Value]>,
    /// Behind the last reserved place of the run at hand, and behind its last refused one.
    ends: (u64, u64),
    refused: Run,
}

impl<'a> Runs<'a> {
    fn new(result: &'a Value) -> Self {
        let rest = match result {
            Value::Array(values) => Some(values.as_slice()),
            _ if int(result) == Some(1) => None,
            _ => Some(&[Value::Nil][..]),
        };
        Self { rest, ends: (1, 1), refused: Run::NotExecuted }
    }

    /// None: the answer is not of the contract's form. Places must ascend.
    fn at(&mut self, place: u16) -> Option<Run> {
        let place = u64::from(place);
        let Some(mut rest) = self.rest else { return Some(Run::Reserved) };
        while place >= self.ends.1 {
            let [reserved, refused, available, retry_ms, behind @ ..] = rest else {
                return rest.is_empty().then_some(Run::Reserved);
            };
            let count = |value| int(value).and_then(|count| u64::try_from(count).ok());
            let reserved_end = self.ends.1 + count(reserved)?;
            self.ends = (reserved_end, reserved_end + count(refused)?);
            self.refused = match (int(available), text(available)) {
                (Some(available), _) => Run::Refused { available, retry_ms: int(retry_ms)? },
                (None, Some(b"again")) => Run::NotExecuted,
                _ => return None,
            };
            rest = behind;
            self.rest = Some(rest);
        }
        Some(if place < self.ends.0 { Run::Reserved } else { self.refused })
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
        Work::Commit(minted, _) => of(&minted.lot, 3),
        Work::RollBack(minted) => of(&minted.lot, 4),
        Work::Script(..) => 0,
    }
}
