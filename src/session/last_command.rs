//! What CLIENT LIST shows as a client's last command: its name, and its subcommand where it has such.

use crate::command::{Args, CommandTable};

/// Redis's longest name and subcommand together are shorter.
const BYTES_MAX: usize = 40;

/// Noted with each request, made readable where somebody could see that it changed.
pub(super) struct LastCommand {
    /// The name, and behind it the subcommand, as the client wrote them and as far as they fit.
    bytes: [u8; BYTES_MAX],
    name_len: usize,
    sub_len: usize,
    /// The table that knows it to be plain: it has no subcommands and goes over a link, so that its name is all there is to
    /// look at. 0: none does.
    plain_by: u64,
    is_new: bool,
}

impl Default for LastCommand {
    fn default() -> Self {
        Self { bytes: [0; BYTES_MAX], name_len: 0, sub_len: 0, plain_by: 0, is_new: false }
    }
}

impl LastCommand {
    /// Returns whether it is known to go over a link, whatever its arguments.
    #[inline]
    pub(super) fn note(&mut self, args: &Args<'_>, table: &CommandTable) -> bool {
        let name = args.get(0).unwrap_or_default();
        if self.plain_by == table.id() && table.id() != 0 && name == &self.bytes[..self.name_len] {
            return true;
        }
        self.take(name, args.get(1).unwrap_or_default(), table);
        self.plain_by != 0
    }

    fn take(&mut self, name: &[u8], sub: &[u8], table: &CommandTable) {
        let name = &name[..name.len().min(BYTES_MAX)];
        let mut cased = [0; BYTES_MAX];
        let cased = &mut cased[..name.len()];
        cased.copy_from_slice(name);
        cased.make_ascii_lowercase();
        let has_sub = table.has_subcommands(cased);
        cased.make_ascii_uppercase();
        let sub = if has_sub && name.len() + sub.len() <= BYTES_MAX { sub } else { &[] };
        (self.name_len, self.sub_len) = (name.len(), sub.len());
        self.bytes[..name.len()].copy_from_slice(name);
        self.bytes[name.len()..name.len() + sub.len()].copy_from_slice(sub);
        let is_whole = name.len() < BYTES_MAX;
        self.plain_by = if is_whole && !has_sub && table.is_plain(cased) { table.id() } else { 0 };
        self.is_new = true;
    }

    /// It is another than [`write`](Self::write) wrote last.
    pub(super) fn is_new(&self) -> bool {
        self.is_new
    }

    /// As Redis writes it.
    pub(super) fn write(&mut self, out: &mut Vec<u8>) {
        self.is_new = false;
        let (name, rest) = self.bytes.split_at(self.name_len);
        out.clear();
        out.extend(name.iter().map(u8::to_ascii_lowercase));
        if self.sub_len > 0 {
            out.push(b'|');
            out.extend(rest[..self.sub_len].iter().map(u8::to_ascii_lowercase));
        }
    }
}
