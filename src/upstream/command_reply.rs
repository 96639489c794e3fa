//! The reply to COMMAND, some 100 to 200 kB of nested arrays, of which a name, a flag and a length matter: read where it lies,
//! for a tree of its values is ten times as large and each start makes it.

use crate::command::{CommandFacts, CommandTable};

/// What the upstream says of its commands, from the bytes of its reply in RESP2 or RESP3; with `facts` also what tenants' rights
/// and isolation need. None: it is another reply, or not whole.
#[must_use]
pub fn command_table_of(reply: &[u8], facts: bool) -> Option<CommandTable> {
    let mut at = Cursor { bytes: reply, at: 0 };
    let (mut table, mut facts) = (CommandTable::new(), facts.then(CommandFacts::default));
    for _ in 0..at.items(b"*")? {
        let start = at.at;
        match at.command(facts.as_mut(), true) {
            Some((name, is_blocking, has_subcommands)) => {
                table.add(name, is_blocking);
                if has_subcommands {
                    table.add_container(name);
                }
            }
            None => {
                at.at = start;
                at.skip()?;
            }
        }
    }
    Some(match facts {
        Some(facts) => table.with_facts(facts),
        None => table,
    })
}

/// Fields of a command behind its flags.
const CATEGORIES: usize = 3;
const SUBCOMMANDS: usize = 6;

/// Reads a reply from front to back.
struct Cursor<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Cursor<'b> {
    /// The type and the rest of a header line.
    fn header(&mut self) -> Option<(u8, &'b [u8])> {
        let rest = self.bytes.get(self.at..)?;
        let (kind, line) = rest.get(..memchr::memchr(b'\r', rest)?)?.split_first()?;
        self.at += line.len() + 3;
        Some((*kind, line))
    }

    /// How many items the array, or whatever is one of `kinds`, has that begins here.
    fn items(&mut self, kinds: &[u8]) -> Option<usize> {
        let (kind, line) = self.header()?;
        if kinds.contains(&kind) { number(line) } else { None }
    }

    /// A bulk or a simple string.
    fn word(&mut self) -> Option<&'b [u8]> {
        match self.header()? {
            (b'$', line) => {
                let word = self.bytes.get(self.at..self.at.checked_add(number(line)?)?)?;
                self.at += word.len() + 2;
                Some(word)
            }
            (b'+', line) => Some(line),
            _ => None,
        }
    }

    /// Steps over one value with all that is in it. None: it is not whole.
    fn skip(&mut self) -> Option<()> {
        let mut left = 1_usize;
        while left > 0 {
            let (kind, line) = self.header()?;
            left -= 1;
            match kind {
                b'$' | b'=' | b'!' => {
                    // A null has no bytes.
                    if let Some(len) = number(line) {
                        self.at = self.at.checked_add(len)?.checked_add(2)?;
                    }
                }
                b'*' | b'~' | b'>' => left = left.checked_add(number(line).unwrap_or(0))?,
                b'%' => left = left.checked_add(number(line)?.checked_mul(2)?)?,
                _ => {}
            }
        }
        (self.at <= self.bytes.len()).then_some(())
    }

    /// An integer; 0 for what is none.
    fn integer(&mut self) -> Option<i32> {
        if let Some((b':', line)) = (Cursor { ..*self }).header() {
            self.skip()?;
            return Some(std::str::from_utf8(line).ok()?.parse().unwrap_or(i32::MAX));
        }
        self.skip()?;
        Some(0)
    }

    /// The words of an array or a set; none where it is neither.
    fn words(&mut self) -> Option<Vec<&'b [u8]>> {
        let start = self.at;
        let Some(count) = self.items(b"*~") else {
            self.at = start;
            self.skip()?;
            return Some(Vec::new());
        };
        let mut words = Vec::new();
        for _ in 0..count {
            words.push(self.word()?);
        }
        Some(words)
    }

    /// A command's name, whether it may wait, and whether it has subcommands. None: it is of another form. `outer`: it may have
    /// some.
    fn command(&mut self, facts: Option<&mut CommandFacts>, outer: bool) -> Option<(&'b [u8], bool, bool)> {
        let fields = self.items(b"*")?.checked_sub(3)?;
        let name = self.word()?;
        self.skip()?; // its arity
        let (mut is_blocking, mut movable) = (false, false);
        for _ in 0..self.items(b"*~")? {
            let flag = self.word()?;
            is_blocking |= flag == b"blocking";
            movable |= flag == b"movablekeys";
        }
        let mut has_subcommands = false;
        let Some(facts) = facts else {
            for field in 0..fields {
                // From 7.0 on; with an empty list for those that have none.
                if field == SUBCOMMANDS {
                    let ahead = &mut Cursor { ..*self };
                    has_subcommands = ahead.items(b"*~").is_some_and(|count| count > 0);
                }
                self.skip()?;
            }
            return Some((name, is_blocking, has_subcommands));
        };
        let (mut keys, mut categories) = ([0; 3], Vec::new());
        let mut subcommands = None;
        for field in 0..fields {
            match (field, keys.get_mut(field)) {
                (_, Some(key)) => *key = self.integer()?,
                (CATEGORIES, _) => categories = self.words()?,
                (SUBCOMMANDS, _) => {
                    subcommands = Some(Cursor { ..*self });
                    self.skip()?;
                }
                _ => self.skip()?,
            }
        }
        let text = String::from_utf8_lossy;
        let categories: Vec<_> = categories.into_iter().map(text).collect();
        facts.add(&text(name), keys.into(), movable, categories.iter().map(AsRef::as_ref));
        if let Some(mut at) = subcommands.filter(|_| outer) {
            let count = at.items(b"*~").unwrap_or(0);
            has_subcommands = count > 0;
            for _ in 0..count {
                let start = at.at;
                if at.command(Some(facts), false).is_none() {
                    at.at = start;
                    at.skip()?;
                }
            }
        }
        Some((name, is_blocking, has_subcommands))
    }
}

fn number(line: &[u8]) -> Option<usize> {
    std::str::from_utf8(line).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Args, Fact, Pin, Route, route};
    use crate::resp::ArgRange;

    fn way(table: &CommandTable, name: &str) -> Route {
        route(&Args::new(name.as_bytes(), &[ArgRange { start: 0, end: name.len() }]), table)
    }

    #[test]
    fn names_flags_and_subcommands_are_read_and_all_else_is_stepped_over() {
        let resp2 = b"*5\r\n\
            *10\r\n$3\r\nGet\r\n:2\r\n*2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n*1\r\n+@read\r\n*0\r\n\
            *1\r\n*2\r\n$5\r\nflags\r\n*2\r\n*-1\r\n$-1\r\n*0\r\n\
            *6\r\n+my.wait\r\n:-2\r\n*2\r\n+blocking\r\n+movablekeys\r\n:1\r\n:-2\r\n:1\r\n\
            *10\r\n$6\r\nconfig\r\n:-2\r\n*0\r\n:0\r\n:0\r\n:0\r\n*0\r\n*0\r\n*0\r\n*2\r\n*2\r\n$10\r\nconfig|get\r\n:-3\r\n\
            *7\r\n$10\r\nconfig|get\r\n:-3\r\n*0\r\n:0\r\n:0\r\n:0\r\n*2\r\n+@admin\r\n+@slow\r\n\
            $9\r\nno\r\narray\r\n*2\r\n$3\r\nodd\r\n:1\r\n";
        let resp3 = b"*1\r\n*10\r\n$7\r\nmy.wait\r\n:-2\r\n~1\r\n+blocking\r\n:1\r\n:1\r\n:1\r\n~1\r\n+@x\r\n*0\r\n\
            *1\r\n%2\r\n$5\r\nflags\r\n~1\r\n+RO\r\n=7\r\ntxt:a\r\n\r\n_\r\n*1\r\n:1\r\n";
        let table = command_table_of(resp2, false).unwrap();
        assert_eq!((table.len(), table.has_subcommands(b"config"), table.has_subcommands(b"get")), (3, true, false));
        assert_eq!((way(&table, "get"), way(&table, "MY.WAIT")), (Route::Link, Route::Pin(Pin::Blocking)));
        assert_eq!(way(&table, "unheard"), Route::Pin(Pin::Unknown));
        let table = command_table_of(resp3, false).unwrap();
        assert_eq!((way(&table, "my.wait"), table.has_subcommands(b"my.wait")), (Route::Pin(Pin::Blocking), true));
        for cut in 1..resp2.len() {
            assert!(command_table_of(&resp2[..cut], cut % 2 == 0).is_none(), "{cut}");
        }
        // What one of those who want more is to know, and those who do not are not told.
        assert!(table.facts().is_none());
        let facts = command_table_of(resp2, true).unwrap();
        let facts = facts.facts().unwrap();
        let of = |name: &str| facts.find(name.as_bytes()).copied();
        let bit = |name| facts.category(name).unwrap();
        assert_eq!(of("GET"), Some(Fact { keys: (1, 1, 1), movable: false, categories: bit("read") }));
        assert_eq!(of("MY.WAIT"), Some(Fact { keys: (1, -2, 1), movable: true, categories: 0 }));
        assert_eq!(
            of("CONFIG|GET"),
            Some(Fact { keys: (0, 0, 0), movable: false, categories: bit("admin") | bit("slow") })
        );
        assert_eq!((facts.len(), of("NO")), (4, None));
        let huge = b"*1\r\n*99999999999999\r\n$1\r\n";
        for other in [b"-ERR no\r\n".as_slice(), b"$1\r\nx\r\n", b"*-1\r\n", b":1\r\n", huge] {
            assert!(command_table_of(other, false).is_none());
        }
    }
}
