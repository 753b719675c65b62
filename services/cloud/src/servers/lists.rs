//! Lists that every origin keeps whole: it names the version that it has, and gets another one where there is one.

use serde::Serialize;
use sha2::{Digest as _, Sha256};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// How old what origins are told may be: each of them asks every two seconds.
const AGE_MAX: Duration = Duration::from_secs(1);

/// A list as it was last read from the database.
#[derive(Debug)]
pub(crate) struct List<T> {
    read: Mutex<Option<(Instant, u64, T)>>,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self { read: Mutex::default() }
    }
}

impl<T: Clone + Serialize> List<T> {
    /// The list with its version, where an origin's is another one.
    pub(crate) async fn other_than<E>(&self, version: u64, read: impl AsyncFnOnce() -> Result<T, E>) -> Result<Option<(u64, T)>, E> {
        let mut kept = self.read.lock().await;
        let (read_at, newest, list) = match kept.take().filter(|(read_at, ..)| read_at.elapsed() < AGE_MAX) {
            Some(fresh) => fresh,
            None => {
                let list = read().await?;
                (Instant::now(), version_of(&list), list)
            }
        };
        let answer = (newest != version).then(|| (newest, list.clone()));
        *kept = Some((read_at, newest, list));
        Ok(answer)
    }
}

/// Of what is in it: another process may have changed it. Never 0, which an origin without a list has; exact as a number of JSON.
fn version_of(list: &impl Serialize) -> u64 {
    let hash = Sha256::digest(serde_json::to_vec(list).unwrap_or_default());
    hash.iter().take(6).fold(0_u64, |number, byte| number << 8 | u64::from(*byte)) | 1
}
