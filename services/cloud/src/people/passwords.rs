//! Passwords: argon2id, bounded and off the executor.

use crate::secrets::{CryptoError, Secret, random_salt};
use argon2::{
    Algorithm, Argon2, Params, PasswordHash, PasswordVerifier as _, Version,
    password_hash::{PasswordHasher as _, SaltString},
};
use serde::{Deserialize, Deserializer};
use std::{
    fmt,
    sync::{Arc, LazyLock},
    time::Duration,
};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

/// Memory of one hash, in KiB, and passes over it: OWASP's first choice for argon2id.
const MEMORY_KIB: u32 = 19 << 10;
/// See [`MEMORY_KIB`].
const PASSES: u32 = 2;
/// Hashes at once: each takes a core for some 20 ms, and 19 MiB.
const AT_ONCE_MAX: usize = 2;
/// How long a sign-in waits for its turn: whoever waits longer is told that there is a crowd.
const TURN_WAIT: Duration = Duration::from_secs(5);
/// The shortest password, in characters (NIST SP 800-63B).
const CHARS_MIN: usize = 8;
/// The longest: more costs time, and guards nothing.
const BYTES_MAX: usize = 256;

/// A password as someone typed it. `Debug` prints `***`.
#[derive(Clone)]
pub struct Password(Secret<String>);

/// A password that can't be one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a password has at least {CHARS_MIN} characters, and at most {BYTES_MAX} bytes")]
pub struct PasswordError;

impl Password {
    /// Takes what was typed.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Secret::new(text))
    }

    /// Whether it may be set as a new one.
    pub(crate) fn check(&self) -> Result<(), PasswordError> {
        let is_good = self.0.reveal().chars().count() >= CHARS_MIN && self.0.reveal().len() <= BYTES_MAX;
        is_good.then_some(()).ok_or(PasswordError)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

/// A crowd signs in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("too many sign in at once; try again in a few seconds")]
pub(crate) struct Crowded;

/// What a stranger's password is compared with, so that a name that is nobody's takes as long.
static NOBODY: LazyLock<Option<String>> = LazyLock::new(|| hash(&Password::new("nobody's password".to_owned())).ok());

fn hasher() -> Result<Argon2<'static>, CryptoError> {
    let params = Params::new(MEMORY_KIB, PASSES, 1, None).map_err(|_| CryptoError("take the parameters of argon2"))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// What is kept of a password. Blocks for some 20 ms.
pub(crate) fn hash(password: &Password) -> Result<String, CryptoError> {
    let salt = SaltString::encode_b64(&random_salt()?).map_err(|_| CryptoError("write a salt"))?;
    let hashed = hasher()?.hash_password(password.0.reveal().as_bytes(), &salt);
    hashed.map(|hashed| hashed.to_string()).map_err(|_| CryptoError("hash a password"))
}

/// Whether it is the password that `kept` was made of; without one it takes as long. Blocks as [`hash`] does.
fn is_it(password: &Password, kept: Option<&str>) -> bool {
    // Nobody has set a longer one, and to hash a book is work that a stranger chooses.
    if password.0.reveal().len() > BYTES_MAX {
        return false;
    }
    let (is_known, text) = match kept {
        Some(kept) => (true, Some(kept)),
        None => (false, NOBODY.as_deref()),
    };
    let parsed = text.and_then(|text| PasswordHash::new(text).ok());
    let is_right = parsed.is_some_and(|parsed| Argon2::default().verify_password(password.0.reveal().as_bytes(), &parsed).is_ok());
    is_known && is_right
}

/// Hashes and compares, a few at a time.
#[derive(Clone, Debug)]
pub(crate) struct Passwords {
    turns: Arc<Semaphore>,
    turn_wait: Duration,
    tasks: TaskTracker,
}

impl Passwords {
    pub(crate) fn new(tasks: TaskTracker) -> Self {
        // Made before anyone asks: the first stranger's answer takes as long as all others.
        tasks.spawn_blocking(|| LazyLock::force(&NOBODY).is_some());
        Self { turns: Arc::new(Semaphore::new(AT_ONCE_MAX)), turn_wait: TURN_WAIT, tasks }
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Crowded> {
        let turn = tokio::time::timeout(self.turn_wait, Arc::clone(&self.turns).acquire_owned()).await;
        let turn = turn.map_err(|_| Crowded)?.map_err(|_| Crowded)?;
        let done = self.tasks.spawn_blocking(move || {
            let done = work();
            drop(turn);
            done
        });
        done.await.map_err(|_| Crowded)
    }

    /// See [`hash`].
    pub(crate) async fn hash(&self, password: Password) -> Result<Result<String, CryptoError>, Crowded> {
        self.run(move || hash(&password)).await
    }

    /// Whether it is the password that `kept` was made of.
    pub(crate) async fn is_it(&self, password: Password, kept: Option<Secret<String>>) -> Result<bool, Crowded> {
        self.run(move || is_it(&password, kept.as_ref().map(|kept| kept.reveal().as_str()))).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_kept_as_argon2id_and_only_itself_opens() {
        let password = Password::new("correct horse".to_owned());
        let kept = hash(&password).unwrap();
        assert!(kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{kept}");
        assert!(is_it(&password, Some(&kept)) && !is_it(&Password::new("correct horsf".to_owned()), Some(&kept)));
        assert!(!is_it(&password, None) && !is_it(&password, Some("")) && !is_it(&Password::new("x".repeat(257)), Some(&kept)));
        assert!(!is_it(&Password::new("nobody's password".to_owned()), None), "nobody has that one");
        assert_eq!(format!("{password:?}"), "***");
        assert!(Password::new("1234567".to_owned()).check().is_err() && Password::new("12345678".to_owned()).check().is_ok());
    }
    #[tokio::test]
    async fn whoever_waits_too_long_for_a_turn_is_told_that_there_is_a_crowd() {
        let passwords = Passwords { turn_wait: Duration::from_millis(1), ..Passwords::new(TaskTracker::new()) };
        let turns = Arc::clone(&passwords.turns).acquire_many_owned(u32::try_from(AT_ONCE_MAX).unwrap()).await.unwrap();
        let password = || Password::new("a good password".to_owned());
        assert_eq!(passwords.is_it(password(), None).await, Err(Crowded));
        drop(turns);
        let passwords = Passwords { turn_wait: TURN_WAIT, ..passwords };
        assert_eq!(passwords.is_it(password(), None).await, Ok(false));
    }
}
