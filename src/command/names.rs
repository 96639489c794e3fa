//! Short names of commands as numbers, so that to know one again takes a few steps: each request asks.

/// The longest name that is one.
const BYTES_MAX: usize = 8;
/// Every byte of a word.
const ONES: u64 = 0x0101_0101_0101_0101;

/// A command's name of at most eight bytes, in upper case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShortName(u64);

impl ShortName {
    /// None: it is longer, or empty. No two names are the same one but in case.
    #[must_use]
    #[inline]
    pub fn new(name: &[u8]) -> Option<Self> {
        // Below a NUL at the end a shorter name could not be told from it.
        if name.len() > BYTES_MAX || name.last().is_none_or(|&byte| byte == 0) {
            return None;
        }
        let byte = |at: usize| u64::from(name[at]);
        // Two reads that overlap, as a copy of so few bytes is made.
        let word = match (name.first_chunk(), name.last_chunk()) {
            (Some(first), Some(last)) => {
                let shift = 8 * (name.len() - 4);
                u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << shift
            }
            _ => {
                byte(0) | byte(name.len() / 2) << (name.len() / 2 * 8) | byte(name.len() - 1) << ((name.len() - 1) * 8)
            }
        };
        Some(Self(upper_case(word)))
    }

    /// A number below `1 << bits` that others mostly do not have.
    #[must_use]
    #[inline]
    pub fn hash(self, bits: u32) -> usize {
        (self.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (u64::BITS - bits.max(1))) as usize
    }
}

/// All eight bytes at once.
#[inline]
fn upper_case(word: u64) -> u64 {
    const HIGH: u64 = 0x80 * ONES;
    // Without its highest bit no byte carries into the next; what has that bit is no letter.
    let low = word & !HIGH;
    let from_a = low + (0x80 - b'a' as u64) * ONES;
    let above_z = low + (0x7f - b'z' as u64) * ONES;
    let letters = from_a & !above_z & !word & HIGH;
    word - (letters >> 2)
}

/// A set of them.
#[derive(Debug, Clone, Default)]
pub struct ShortNames {
    /// By their hashes, or behind where that place is taken; 0: free, for no name is that.
    places: Box<[u64]>,
    bits: u32,
    len: usize,
}

impl ShortNames {
    /// How many places there are at the least: Redis has some two hundred such names.
    const BITS_MIN: u32 = 9;

    /// Is it one of them?
    #[must_use]
    #[inline]
    pub fn has(&self, name: ShortName) -> bool {
        let mut place = name.hash(self.bits);
        loop {
            match self.places.get(place) {
                Some(&there) if there == name.0 => return true,
                // Some places are always free.
                None | Some(0) => return false,
                Some(_) => place = (place + 1) & (self.places.len() - 1),
            }
        }
    }

    /// One more.
    pub fn insert(&mut self, name: ShortName) {
        if self.has(name) {
            return;
        }
        // Where half of the places are taken the way to a free one gets long.
        if self.len * 2 >= self.places.len() {
            let bits = if self.bits == 0 { Self::BITS_MIN } else { self.bits + 1 };
            let before = std::mem::replace(&mut self.places, vec![0; 1 << bits].into());
            self.bits = bits;
            before.iter().filter(|&&there| there != 0).for_each(|&there| self.put(ShortName(there)));
        }
        self.put(name);
        self.len += 1;
    }

    /// One less.
    pub fn remove(&mut self, name: ShortName) {
        if !self.has(name) {
            return;
        }
        let all = std::mem::take(self);
        all.places
            .iter()
            .filter(|&&there| there != 0 && there != name.0)
            .for_each(|&there| self.insert(ShortName(there)));
    }

    fn put(&mut self, name: ShortName) {
        let place = self.place(name);
        if let Some(there) = self.places.get_mut(place) {
            *there = name.0;
        }
    }

    /// Where it is, or would be.
    #[inline]
    fn place(&self, name: ShortName) -> usize {
        let mut place = name.hash(self.bits);
        // Ends: some places are always free.
        while self.places.get(place).is_some_and(|&there| there != 0 && there != name.0) {
            place = (place + 1) & (self.places.len() - 1);
        }
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    fn name(text: &[u8]) -> Option<ShortName> {
        ShortName::new(text)
    }

    #[test]
    fn names_are_the_same_in_any_case_and_no_others_are() {
        assert_eq!(name(b"get"), name(b"GeT"));
        assert!(name(b"get").is_some() && name(b"getrange").is_some());
        for other in [b"get\0".as_slice(), b"", b"\0", b"getranges", b"\0\0\0\0\0\0\0\0"] {
            assert_eq!(name(other), None);
        }
        for other in [b"ge".as_slice(), b"ge4", b"\0get", b"g\0et", b"ge\xd4", b"ge\xf4", b"ge\x14"] {
            assert_ne!(name(other), name(b"get"), "{}", other.escape_ascii());
        }
        for byte in 0..=255u8 {
            assert_eq!(upper_case(u64::from(byte) * ONES), u64::from(byte.to_ascii_uppercase()) * ONES);
        }
    }

    proptest! {
        #[test]
        fn equal_names_are_equal_bytes_but_for_case(one in "\\PC{0,9}", other in "[a-zA-Z{@`\\[]{1,2}") {
            for (one, other) in [(one.as_bytes(), other.as_bytes()), (other.as_bytes(), one.as_bytes())] {
                if let (Some(a), Some(b)) = (name(one), name(other)) {
                    prop_assert_eq!(a == b, one.eq_ignore_ascii_case(other));
                }
            }
        }

        #[test]
        fn a_set_has_what_was_put_in_and_not_taken_out(
            names in proptest::collection::vec("[a-d]{1,5}", 0..900), gone in proptest::collection::vec("[a-d]{1,5}", 0..20),
        ) {
            let (mut set, mut model) = (ShortNames::default(), HashSet::new());
            prop_assert!(name(b"get").is_some_and(|name| !set.has(name)));
            for text in &names {
                set.insert(name(text.as_bytes()).expect("it is short"));
                model.insert(text.clone());
            }
            for text in &gone {
                set.remove(name(text.as_bytes()).expect("it is short"));
                model.remove(text);
            }
            for text in names.iter().chain(&gone) {
                prop_assert_eq!(name(text.as_bytes()).is_some_and(|name| set.has(name)), model.contains(text));
            }
        }
    }
}
