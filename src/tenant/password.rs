//! How a client proves that it is a tenant. Never keeps a password, never logs one.

use argon2::{Argon2, Params, PasswordHash, PasswordVerifier, Version};
use blake2::{Blake2b512, Digest};
use std::fmt;
use std::sync::{Mutex, PoisonError};
use subtle::ConstantTimeEq;

type Sum = [u8; 64];

/// What a hash may demand of each attempt, kibibytes and passes over them: anybody who can connect may try, and where the memory
/// cannot be had the process ends. Twice as much as the largest of what RFC 9106 recommends is no use to anybody.
const MEMORY_MAX_KIB: u32 = 2 * 1024 * 1024;
const PASSES_MAX: u32 = 64;

/// See the module. Shown as `***`.
pub enum Password {
    /// The sum of the password itself.
    Plain(Sum),
    /// Its Argon2id hash; and the sum of what it was proved with last, for a pool of clients says the same for each connection.
    Argon2id(String, Mutex<Option<Sum>>),
}

impl Password {
    /// Of the word itself.
    #[must_use]
    pub fn plain(word: &str) -> Self {
        Self::Plain(sum(word.as_bytes()))
    }

    /// Of its Argon2id hash.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn argon2id(hash: &str) -> Result<Self, String> {
        let form = "not an Argon2id hash, whose form is $argon2id$v=19$m=…,t=…,p=…$salt$hash";
        let malformed = |why: &dyn fmt::Display| format!("{form}: {why}");
        let parsed = PasswordHash::new(hash).map_err(|error| malformed(&error))?;
        if parsed.algorithm != argon2::ARGON2ID_IDENT || parsed.hash.is_none() {
            return Err(form.to_owned());
        }
        // What the library would say of each attempt, and nobody would hear.
        if parsed.version.is_some_and(|version| Version::try_from(version).is_err()) {
            return Err(malformed(&"of versions there are v=19 and v=16"));
        }
        let mut salt = [0; argon2::RECOMMENDED_SALT_LEN * 4];
        let salt = parsed.salt.map(|given| given.decode_b64(&mut salt).map_or(0, <[u8]>::len));
        if salt.is_none_or(|length| length < argon2::MIN_SALT_LEN) {
            return Err(malformed(&"the salt is too short"));
        }
        let params = Params::try_from(&parsed).map_err(|error| malformed(&error))?;
        if params.m_cost() > MEMORY_MAX_KIB || params.t_cost() > PASSES_MAX {
            return Err(format!(
                "the hash demands m={},t={} of each attempt; m, in kibibytes, may be {MEMORY_MAX_KIB} at most, t {PASSES_MAX}",
                params.m_cost(),
                params.t_cost()
            ));
        }
        Ok(Self::Argon2id(hash.to_owned(), Mutex::default()))
    }

    /// Whether it is this, where that is told in a moment. Takes the same time whatever is wrong.
    #[must_use]
    pub fn quickly(&self, word: &[u8]) -> Option<bool> {
        match self {
            Self::Plain(known) => Some(known.ct_eq(&sum(word)).into()),
            Self::Argon2id(_, last) => {
                let last = last.lock().unwrap_or_else(PoisonError::into_inner);
                let is_last = last.as_ref().is_some_and(|known| known.ct_eq(&sum(word)).into());
                is_last.then_some(true)
            }
        }
    }

    /// Whether it is this. Of a hash it takes tens of milliseconds and as much memory as the hash demands: not to be done
    /// where others wait.
    #[must_use]
    pub fn verify(&self, word: &[u8]) -> bool {
        if let Some(known) = self.quickly(word) {
            return known;
        }
        let Self::Argon2id(hash, last) = self else { return false };
        let Ok(parsed) = PasswordHash::new(hash) else { return false };
        let right = Argon2::default().verify_password(word, &parsed).is_ok();
        if right {
            *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(sum(word));
        }
        right
    }
}

fn sum(word: &[u8]) -> Sum {
    Blake2b512::digest(word).into()
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `printf secret | argon2 saltsalt -id -t 1 -m 8 -p 1 -e`
    fn hashed() -> Password {
        use argon2::password_hash::{PasswordHasher, SaltString};
        let salt = SaltString::from_b64("c2FsdHNhbHQ").unwrap();
        let params = Params::new(64, 1, 1, None).unwrap();
        let hasher = Argon2::new(argon2::Algorithm::Argon2id, Version::V0x13, params);
        Password::argon2id(&hasher.hash_password(b"secret", &salt).unwrap().to_string()).unwrap()
    }

    #[test]
    fn only_the_word_itself_is_right() {
        for password in [Password::plain("secret"), hashed()] {
            assert!(!password.verify(b"Secret") && !password.verify(b"") && !password.verify(b"secret\0"));
            assert!(password.verify(b"secret") && password.verify(b"secret") && !password.verify(b"secre"));
        }
    }

    #[test]
    fn a_hash_is_worked_out_once_for_the_same_word() {
        let password = hashed();
        assert_eq!(password.quickly(b"secret"), None);
        assert!(password.verify(b"secret"));
        assert_eq!((password.quickly(b"secret"), password.quickly(b"other")), (Some(true), None));
    }

    #[test]
    fn a_hash_that_no_word_could_ever_match_is_none() {
        let right = "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$RdescudvJCsgt3ub+b27SwMwIuDPqzqZKFrSzzVnl4g";
        assert!(Password::argon2id(right).is_ok());
        for (part, other, said) in [
            ("$argon2id$", "$argon2i$", "whose form is"),
            ("$RdescudvJCsgt3ub+b27SwMwIuDPqzqZKFrSzzVnl4g", "", "whose form is"),
            ("m=64", "m=9999999999", "whose form is"),
            ("m=64", "m=7", "whose form is"),
            ("t=1", "t=0", "whose form is"),
            ("v=19", "v=18", "there are v=19 and v=16"),
            ("c2FsdHNhbHQ", "short", "the salt is too short"),
            ("m=64", "m=2097153", "the hash demands m=2097153,t=1"),
            ("t=1", "t=65", "the hash demands m=64,t=65"),
        ] {
            let hash = right.replace(part, other);
            let found = Password::argon2id(&hash).expect_err(&hash);
            assert!(found.contains(said), "{hash}: {found}");
        }
    }

    #[test]
    fn nothing_of_it_is_shown() {
        assert_eq!(format!("{:?}{:?}", Password::plain("secret"), hashed()), "******");
    }
}
