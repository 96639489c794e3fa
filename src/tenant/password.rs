//! How a client proves that it is a tenant. Never keeps a password, never logs one.

use argon2::{Argon2, PasswordHash, PasswordVerifier};
use blake2::{Blake2b512, Digest};
use std::fmt;
use std::sync::{Mutex, PoisonError};
use subtle::ConstantTimeEq;

type Sum = [u8; 64];

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
        let parsed = PasswordHash::new(hash).map_err(|error| format!("not an Argon2id hash: {error}"))?;
        if parsed.algorithm != argon2::ARGON2ID_IDENT || parsed.hash.is_none() {
            return Err("not an Argon2id hash: it is $argon2id$v=19$m=…,t=…,p=…$salt$hash".to_owned());
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
        let params = argon2::Params::new(64, 1, 1, None).unwrap();
        let hasher = Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
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
    fn nothing_of_it_is_shown() {
        assert_eq!(format!("{:?}{:?}", Password::plain("secret"), hashed()), "******");
    }
}
