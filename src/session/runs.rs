//! Runs: what most pipelines are, and most single requests. Short requests that simply go over the client's link are taken off
//! together, and what is to be asked once for each is asked once for all: nothing that the answer depends on can change while
//! they are taken. Whatever is not so goes the way of [`dispatch`](super::dispatch), which has the rules.

use super::Session;
use super::core::{Core, Lane, ReplyMode, Stage};
use super::simple_ways::SimpleWay;
use crate::command::{CommandTable, ShortName};
use crate::config::Passthrough;
use crate::metrics::Route;
use crate::resp::{ArgRange, ShortArgs, ShortHead};
use std::rc::Rc;

/// Bytes of a run; a link looks for room before each.
const RUN_BYTES_MAX: usize = 64 * 1024;

impl Session {
    /// Takes a run off the front of `bytes`. Returns how many bytes it has; 0: the next request is none for a run.
    #[inline]
    pub(super) fn take_run(&mut self, bytes: &[u8]) -> usize {
        // Whoever sends others pays no more than this for it.
        match bytes {
            [b'*', _, _, _, b'$', b'1'..=b'8', b'\r', ..] => self.take_short(bytes),
            _ => 0,
        }
    }

    fn take_short(&mut self, bytes: &[u8]) -> usize {
        let Some(most) = self.core.run_max() else { return 0 };
        if self.core.is_gated { self.take_gated(bytes, most) } else { self.take_as_it_is(bytes, most) }
    }

    fn take_as_it_is(&mut self, bytes: &[u8], most: u32) -> usize {
        let core = &mut self.core;
        let Some(link) = &core.link else { return 0 };
        let mut commands = core.context.commands.borrow_mut();
        let commands = commands.load();
        let mut args = ShortArgs::default();
        let (mut at, mut count, mut name) = (0, 0, ArgRange::default());
        let mut head = self.simple.known(commands);
        while count < most && at < RUN_BYTES_MAX {
            let rest = &bytes[at..];
            // Mostly it is the same command again.
            if !head.begins(rest) {
                match simple_head(rest, commands) {
                    Some(another) => head = another,
                    None => break,
                }
            }
            let Some((len, _)) = self.scanner.short(rest, &head, &mut args) else { break };
            name = ArgRange { start: at + args[0].start, end: at + args[0].end };
            at += len;
            count += 1;
        }
        if count == 0 {
            return 0;
        }
        let Some(mut writer) = link.begin_run() else { return 0 };
        writer.out().extend_from_slice(&bytes[..at]);
        writer.finish(core.replies.run(count), None);
        self.simple = Simple { by: commands.id(), head };
        core.command.note_simple(name.of(bytes), commands);
        core.counts[Route::Link as usize] += u64::from(count);
        at
    }

    /// The same by the [`gate`](super::gate): each request as the tenant may send it. Runs are all as they came or all
    /// isolated.
    fn take_gated(&mut self, bytes: &[u8], most: u32) -> usize {
        let core = &mut self.core;
        let Some(link) = &core.link else { return 0 };
        let tenant = &*core.room.tenant;
        let mut ways = core.room.simple_ways.borrow_mut();
        let mut commands = core.context.commands.borrow_mut();
        let commands = commands.load();
        let Some(mut writer) = link.begin_run() else { return 0 };
        let bytes_max = tenant.limits.request_bytes.unwrap_or(usize::MAX);
        let most = most.min(1 + core.turns_left());
        let mut args = ShortArgs::default();
        let (mut at, mut count, mut name) = (0, 0, ArgRange::default());
        let (mut head, mut way) = (ShortHead::default(), SimpleWay::Judged);
        while count < most && at < RUN_BYTES_MAX {
            let rest = &bytes[at..];
            if !head.begins(rest) {
                let Some(another) = simple_head(rest, commands) else { break };
                way = ways.of(another.name(rest), tenant, commands);
                head = another;
            }
            let Some((len, args_len)) = self.scanner.short(rest, &head, &mut args) else { break };
            let (frame, args) = (&rest[..len], &args[..args_len]);
            let written = len <= bytes_max
                && match way {
                    SimpleWay::AsItIs => {
                        writer.out().extend_from_slice(frame);
                        true
                    }
                    SimpleWay::Isolated(places) => places.write(writer.out(), frame, args, &tenant.space),
                    SimpleWay::Judged => false,
                };
            if !written {
                break;
            }
            name = ArgRange { start: at + args[0].start, end: at + args[0].end };
            at += len;
            count += 1;
        }
        if count == 0 {
            return 0;
        }
        let on_error = (tenant.passthrough == Passthrough::Isolated).then(|| Rc::clone(&core.room.on_error));
        writer.finish(core.replies.run(count), on_error);
        core.take_turns(count - 1);
        core.command.note_simple(name.of(bytes), commands);
        core.counts[Route::Link as usize] += u64::from(count);
        core.is_counted = false;
        at
    }
}

/// The simple command that a client sent last, as its requests begin.
#[derive(Default)]
pub(super) struct Simple {
    /// The table that knows it; 0: none does.
    by: u64,
    head: ShortHead,
}

impl Simple {
    /// What that table knows to be simple; else nothing begins so.
    #[inline(always)]
    fn known(&self, commands: &CommandTable) -> ShortHead {
        if self.by == commands.id() { self.head } else { ShortHead::default() }
    }
}

/// How the next request begins, if it is a short one that may simply go over a link.
#[inline(never)]
fn simple_head(bytes: &[u8], commands: &CommandTable) -> Option<ShortHead> {
    let head = ShortHead::of(bytes)?;
    let name = ShortName::new(head.name(bytes))?;
    commands.is_simple(name).then_some(head)
}

impl Core {
    /// How many requests a run may have now; None: requests go one by one.
    #[inline]
    fn run_max(&mut self) -> Option<u32> {
        let settings = &self.context.settings;
        let may = self.pin.is_none()
            && matches!(self.stage, Stage::Frames)
            && self.client.replies == ReplyMode::On
            && (!self.is_gated || self.is_known())
            && !self.room.tenant.pin_always
            && !self.context.clients.is_paused();
        let most = settings.pipeline_max.saturating_sub(self.replies.queued());
        if !may || most == 0 || self.link.is_none() || !self.enter(Lane::Link) {
            return None;
        }
        let most = most.min(self.room_upstream());
        if most == 0 {
            return None;
        }
        Some(u32::try_from(most).unwrap_or(u32::MAX))
    }
}
