//! The scripts that a tenant sent, by their SHA-1: the upstream has one script cache for all.

use super::wrap;
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

/// How many are remembered; then the oldest is forgotten, its EVALSHA is NOSCRIPT, and the client sends it again.
const SCRIPTS_MAX: usize = 2048;

/// A script's name.
pub type Sha = [u8; 20];

/// The SHA-1s of the scripts that a tenant sent through this sidecar. Shared by the tenant's sessions, those of other workers
/// too.
#[derive(Debug, Default)]
pub struct Scripts {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// By the name that the tenant knows, the one that the upstream knows: of what is sent in its place (see [`wrap`]).
    names: HashMap<Sha, Sha>,
    by_age: VecDeque<Sha>,
}

impl Scripts {
    /// The tenant sent this text: its name.
    pub fn sent(&self, script: &[u8]) -> Sha {
        let sha = sha1(script);
        if self.upstream(&sha).is_some() {
            return sha;
        }
        let upstream = sha1(&wrap::wrapped(script));
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.names.insert(sha, upstream).is_some() {
            return sha;
        }
        known.by_age.push_back(sha);
        if known.by_age.len() > SCRIPTS_MAX
            && let Some(oldest) = known.by_age.pop_front()
        {
            known.names.remove(&oldest);
        }
        sha
    }

    /// What the upstream calls the script of this name; None: the tenant has not sent it.
    #[must_use]
    pub fn upstream(&self, sha: &Sha) -> Option<Sha> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).names.get(sha).copied()
    }
}

/// 40 hexadecimal digits, as Redis writes them.
#[must_use]
pub fn hex(sha: &Sha) -> String {
    sha.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// 40 hexadecimal digits in any case.
#[must_use]
pub fn sha_of_hex(hex: &[u8]) -> Option<Sha> {
    let mut sha = Sha::default();
    let (pairs, []) = hex.as_chunks::<2>() else { return None };
    if pairs.len() != sha.len() {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    for (byte, [high, low]) in sha.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(sha)
}

/// As RFC 3174 has it. It names scripts as Redis does, and guards nothing: Redis itself runs what a SHA-1 names.
#[must_use]
pub fn sha1(data: &[u8]) -> Sha {
    let mut state = [0x6745_2301, 0xEFCD_AB89, 0x98BA_DCFE, 0x1032_5476, 0xC3D2_E1F0];
    let (blocks, rest) = data.as_chunks::<64>();
    blocks.iter().for_each(|block| compress(&mut state, block));
    let mut last = [0; 128];
    last[..rest.len()].copy_from_slice(rest);
    last[rest.len()] = 0x80;
    let len = if rest.len() < 56 { 64 } else { 128 };
    last[len - 8..len].copy_from_slice(&(data.len() as u64 * 8).to_be_bytes());
    let (blocks, _) = last[..len].as_chunks::<64>();
    blocks.iter().for_each(|block| compress(&mut state, block));
    let mut sha = Sha::default();
    for (bytes, word) in sha.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *bytes = word.to_be_bytes();
    }
    sha
}

fn compress(state: &mut [u32; 5], block: &[u8; 64]) {
    let mut words = [0_u32; 80];
    for (word, bytes) in words.iter_mut().zip(block.as_chunks::<4>().0) {
        *word = u32::from_be_bytes(*bytes);
    }
    for at in 16..80 {
        words[at] = (words[at - 3] ^ words[at - 8] ^ words[at - 14] ^ words[at - 16]).rotate_left(1);
    }
    let [mut a, mut b, mut c, mut d, mut e] = *state;
    for (at, word) in words.iter().enumerate() {
        let (mix, constant) = match at {
            0..20 => ((b & c) | (!b & d), 0x5A82_7999),
            20..40 => (b ^ c ^ d, 0x6ED9_EBA1),
            40..60 => ((b & c) | (b & d) | (c & d), 0x8F1B_BCDC),
            _ => (b ^ c ^ d, 0xCA62_C1D6_u32),
        };
        let next = a.rotate_left(5).wrapping_add(mix).wrapping_add(e).wrapping_add(constant).wrapping_add(*word);
        (e, d, c, b, a) = (d, c, b.rotate_left(30), a, next);
    }
    for (sum, word) in state.iter_mut().zip([a, b, c, d, e]) {
        *sum = sum.wrapping_add(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_named_as_redis_names_it() {
        for (text, sha) in [
            (String::new(), "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
            ("return 1".to_owned(), "e0e1f9fabfc9d4800c877a703b823ac0578ff8db"),
            ("a".repeat(1_000_000), "34aa973cd4c4daa4f61eeb2bdbad27316534016f"),
            (
                "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq".to_owned(),
                "84983e441c3bd26ebaae4aa1f95129e5e54670f1",
            ),
        ] {
            assert_eq!(hex(&sha1(text.as_bytes())), sha);
        }
    }

    #[test]
    fn what_was_sent_is_known_in_any_case_and_the_oldest_is_forgotten() {
        let scripts = Scripts::default();
        scripts.sent(b"return 1");
        let upper = sha_of_hex(b"E0E1F9FABFC9D4800C877A703B823AC0578FF8DB").unwrap();
        assert_eq!(scripts.upstream(&upper), Some(sha1(&wrap::wrapped(b"return 1"))));
        assert_eq!(scripts.upstream(&sha1(b"return 2")), None);
        for number in 0..SCRIPTS_MAX {
            scripts.sent(format!("return -{number}").as_bytes());
        }
        assert!(scripts.upstream(&upper).is_none() && scripts.upstream(&sha1(b"return -0")).is_some());
        assert_eq!(scripts.known.lock().unwrap().names.len(), SCRIPTS_MAX);
        assert_eq!(sha_of_hex(b"e0e1"), None);
        assert_eq!(sha_of_hex(&[b'g'; 40]), None);
    }
}
