//! What nearly all requests of an isolated tenant are: short ones of commands whose keys stand in places that do not depend on
//! other arguments. What becomes of them is what [`judge`](super::judge) says, written to where it goes at once.

use super::KeySpace;
use super::request::places_keys;
use super::table::{Treatment, find};
use crate::command::CommandTable;
use crate::resp::{ArgRange, write};
use bytes::BytesMut;

/// The first key's place among the arguments, the last one's (from the end where negative), and the step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyPlaces(i32, i32, usize);

impl KeyPlaces {
    /// Of a command by its upper-case name. None: what becomes of it is to be judged request by request.
    #[must_use]
    pub fn of(upper: &[u8], space: &KeySpace, commands: &CommandTable) -> Option<Self> {
        if space.is_anothers() {
            return None;
        }
        match find(upper)?.treatment {
            Treatment::Keys(first, last, step)
                if first > 0 && places_keys(upper, None, commands, (first, last, step)) =>
            {
                Some(Self(first, last, step))
            }
            _ => None,
        }
    }

    /// The places of the keys in a request of so many arguments: the first, and the last that may be one. None: it has too
    /// few.
    #[must_use]
    #[inline]
    pub(super) fn within(self, len: usize) -> Option<(usize, usize)> {
        let Self(first, last, _) = self;
        // Positions from the end count from behind the last argument.
        let last = usize::try_from(last).unwrap_or_else(|_| len.saturating_sub(last.unsigned_abs() as usize));
        let first = first as usize;
        (first < len && first <= last).then(|| (first, last.min(len - 1)))
    }

    /// Appends the request with its keys behind the prefix: `frame`, an array of bulks as short as
    /// [`short`](crate::resp::RequestScanner::short) finds them, so that what is not changed is written as it would be written
    /// anew. False, and nothing is appended: it has too few arguments.
    #[must_use]
    pub fn write(self, out: &mut BytesMut, frame: &[u8], args: &[ArgRange], space: &KeySpace) -> bool {
        let Some((first, last)) = self.within(args.len()) else { return false };
        let prefix = space.prefix();
        // What a header grows by too.
        out.reserve(frame.len() + (last - first + 1) * (prefix.len() + 2));
        let mut from = 0;
        let mut at = first;
        while at <= last {
            let header = args[at - 1].end + b"\r\n".len();
            out.extend_from_slice(&frame[from..header]);
            write::bulk_header(out, prefix.len() + args[at].len());
            out.extend_from_slice(prefix);
            from = args[at].start;
            at += self.2;
        }
        out.extend_from_slice(&frame[from..]);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Back, Isolation, Scripts, Verdict, judge, table::ROWS};
    use super::*;
    use crate::command::Args;
    use crate::resp::{RequestLimits, RequestScanner, ShortArgs, ShortHead};
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn judged(args: &Args<'_>, space: &KeySpace, commands: &CommandTable) -> Verdict {
        let scripts = Scripts::default();
        judge(args, &Isolation { space, commands, scripts: &scripts, own_user: false, flushdb: false })
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_is_judged(
            row in any::<prop::sample::Index>(), lower: bool, words in vec(vec(any::<u8>(), 0..120), 0..8),
        ) {
            let row = &ROWS[row.index(ROWS.len())];
            let (space, commands) = (KeySpace::new("acme"), CommandTable::new());
            let name = if lower { row.name.to_ascii_lowercase() } else { row.name.to_owned() };
            let mut frame = BytesMut::new();
            let parts: Vec<&[u8]> = [name.as_bytes()].into_iter().chain(words.iter().map(Vec::as_slice)).collect();
            write::request(&mut frame, &parts);
            let mut args = ShortArgs::default();
            let scanner = RequestScanner::new(RequestLimits::default());
            let found = ShortHead::of(&frame).and_then(|head| scanner.short(&frame, &head, &mut args));
            let Some((len, count)) = found else {
                prop_assert!(name.len() > 8);
                return Ok(());
            };
            prop_assert_eq!(len, frame.len());
            let args = &args[..count];
            let verdict = judged(&Args::new(&frame, args), &space, &commands);
            let Some(places) = KeyPlaces::of(row.name.as_bytes(), &space, &commands) else {
                prop_assert!(!matches!(row.treatment, Treatment::Keys(..)));
                return Ok(());
            };
            let mut out = BytesMut::from(&b"before"[..]);
            match verdict {
                Verdict::Rewritten { frame: expected, back, .. } => {
                    prop_assert!(places.write(&mut out, &frame, args, &space));
                    prop_assert_eq!((&out[6..], back), (&expected[..], Back::AsIs));
                }
                _ => prop_assert!(!places.write(&mut out, &frame, args, &space) && out.len() == 6),
            }
        }
    }

    #[test]
    fn what_the_upstream_places_elsewhere_or_is_anothers_is_judged() {
        let commands = CommandTable::new();
        assert!(KeyPlaces::of(b"GET", &KeySpace::new("acme"), &commands).is_some());
        for name in ["inv1", "__redis__"] {
            assert_eq!(KeyPlaces::of(b"GET", &KeySpace::new(name), &commands), None);
        }
        let mut facts = crate::command::CommandFacts::default();
        facts.add("get", (2, 2, 1), false, []);
        facts.add("set", (1, 1, 1), true, []);
        let commands = CommandTable::new().with_facts(facts);
        for name in ["GET", "SET", "NOSUCH", "FLUSHALL", "SORT"] {
            assert_eq!(KeyPlaces::of(name.as_bytes(), &KeySpace::new("acme"), &commands), None, "{name}");
        }
    }
}
