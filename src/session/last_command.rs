//! What CLIENT LIST shows as a client's last command: its name, and its subcommand where it has such.

use crate::command::{Args, CommandTable, is_inventory};

/// Redis's longest name and subcommand together are shorter.
const BYTES_MAX: usize = 40;

/// Noted with each request, made readable where somebody could see that it changed.
pub(super) struct LastCommand {
    /// The name, and behind it the subcommand, as the client wrote them and as far as they fit.
    bytes: [u8; BYTES_MAX],
    name_len: usize,
    sub_len: usize,
    /// The table that was asked about it; None: none was yet.
    by: Option<u64>,
    /// It has subcommands there.
    has_sub: bool,
    /// It goes over a link whatever its arguments.
    goes_by_link: bool,
    /// It is one of the inventory's, so that its name is all there is to look at whatever the upstream knows.
    is_inventory: bool,
    is_new: bool,
}

impl Default for LastCommand {
    fn default() -> Self {
        Self {
            bytes: [0; BYTES_MAX],
            name_len: 0,
            sub_len: 0,
            by: None,
            has_sub: false,
            goes_by_link: false,
            is_inventory: false,
            is_new: false,
        }
    }
}

impl LastCommand {
    /// Is it a command of the inventory's, and the last one again? Then there is nothing to be noted.
    #[inline]
    pub(super) fn is_inventory_again(&self, args: &Args<'_>) -> bool {
        self.is_inventory && args.get(0).unwrap_or_default() == &self.bytes[..self.name_len]
    }

    /// It is a command of the inventory's.
    pub(super) fn is_inventory(&self) -> bool {
        self.is_inventory
    }

    /// Returns whether it is known to go over a link, whatever its arguments.
    #[inline]
    pub(super) fn note(&mut self, args: &Args<'_>, table: &CommandTable) -> bool {
        let name = args.get(0).unwrap_or_default();
        if self.has_sub || !self.is(name, table) {
            self.take(name, args.get(1).unwrap_or_default(), table);
        }
        self.goes_by_link
    }

    /// The same of one that [`is_simple`](CommandTable::is_simple).
    #[inline]
    pub(super) fn note_simple(&mut self, name: &[u8], table: &CommandTable) {
        if !self.is(name, table) {
            self.take(name, &[], table);
        }
    }

    /// It is the same one as the last, and all that is known of that holds.
    #[inline]
    fn is(&self, name: &[u8], table: &CommandTable) -> bool {
        self.by == Some(table.id()) && name == &self.bytes[..self.name_len]
    }

    fn take(&mut self, name: &[u8], sub: &[u8], table: &CommandTable) {
        let name = &name[..name.len().min(BYTES_MAX)];
        self.is_new = true;
        self.is_inventory = is_inventory(name) && name.len() < BYTES_MAX;
        if self.is_inventory {
            (self.name_len, self.sub_len) = (name.len(), 0);
            (self.by, self.has_sub, self.goes_by_link) = (Some(table.id()), false, false);
            return self.bytes[..name.len()].copy_from_slice(name);
        }
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
        self.goes_by_link = is_whole && !has_sub && table.is_plain(cased);
        (self.by, self.has_sub) = (Some(table.id()), has_sub);
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
