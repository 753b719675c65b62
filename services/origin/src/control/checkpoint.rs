//! The newest checkpoint of the cloud's audit log, kept out of the cloud's reach. Each report shows it: a cloud whose log no longer holds it was
//! rolled back or rewritten, and says so.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sightline_signal::report::AuditCheckpoint;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// In `data_dir`: the newest one.
const KEPT: &str = "audit-checkpoint.json";
/// And the last one that the cloud's next did not follow: what an inquiry needs.
const LOST: &str = "audit-checkpoint-lost.json";

/// The checkpoint, and its files.
#[derive(Debug)]
pub(crate) struct KeptCheckpoint {
    dir: PathBuf,
    kept: Mutex<Option<AuditCheckpoint>>,
}

impl KeptCheckpoint {
    /// With the one that was kept before.
    pub(crate) fn load(dir: &Path) -> Self {
        let kept = fs::read(dir.join(KEPT)).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Self { dir: dir.to_owned(), kept: Mutex::new(kept) }
    }

    /// What the next report shows.
    pub(crate) fn shown(&self) -> Option<AuditCheckpoint> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes the cloud's newest. One that is not signed is none; one that does not follow the kept one puts that aside. Blocks on the files.
    pub(crate) fn take(&self, newest: &AuditCheckpoint) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.as_ref() == Some(newest) {
            return;
        }
        if !is_signed(newest) {
            tracing::warn!("the cloud's checkpoint of its audit log is not signed by the key that it names: it is not kept");
            return;
        }
        if let Some(before) = kept.as_ref().filter(|before| !follows(newest, before)) {
            tracing::warn!(
                rows = newest.rows,
                rows_kept = before.rows,
                file = %self.dir.join(LOST).display(),
                "the cloud's audit log was rolled back or rewritten, or it is another cloud's: the checkpoint before is kept aside"
            );
            self.write(LOST, before);
        }
        self.write(KEPT, newest);
        *kept = Some(newest.clone());
    }

    fn write(&self, name: &str, checkpoint: &AuditCheckpoint) {
        let path = self.dir.join(name);
        let temporary = path.with_extension("json.new");
        let written = serde_json::to_vec_pretty(checkpoint).map_err(io::Error::other).and_then(|bytes| {
            let mut file = fs::File::create(&temporary)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)
        });
        if let Err(error) = written {
            tracing::warn!(file = %path.display(), %error, "the checkpoint of the cloud's audit log can't be kept");
        }
    }
}

/// Whether one log can have both.
fn follows(newest: &AuditCheckpoint, before: &AuditCheckpoint) -> bool {
    newest.key == before.key && (newest.rows > before.rows || newest.rows == before.rows && newest.hash == before.hash)
}

fn is_signed(checkpoint: &AuditCheckpoint) -> bool {
    let (Ok(key), Ok(signature)) = (URL_SAFE_NO_PAD.decode(&checkpoint.key), URL_SAFE_NO_PAD.decode(&checkpoint.signature)) else {
        return false;
    };
    UnparsedPublicKey::new(&ED25519, key).verify(checkpoint.signed_text().as_bytes(), &signature).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

    fn signed(pair: &Ed25519KeyPair, rows: u64, hash: &str) -> AuditCheckpoint {
        let key = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
        let mut checkpoint = AuditCheckpoint { rows, hash: hash.to_owned(), time: 1, key, signature: String::new() };
        checkpoint.signature = URL_SAFE_NO_PAD.encode(pair.sign(checkpoint.signed_text().as_bytes()).as_ref());
        checkpoint
    }

    #[test]
    fn the_newest_checkpoint_survives_a_restart_and_one_that_does_not_follow_puts_it_aside() {
        let home = tempfile::tempdir().unwrap();
        let pair = Ed25519KeyPair::generate().unwrap();
        let kept = KeptCheckpoint::load(home.path());
        let (first, second) = (signed(&pair, 5, "a"), signed(&pair, 9, "b"));
        kept.take(&first);
        kept.take(&second);
        kept.take(&AuditCheckpoint { rows: 10, ..second.clone() });
        let again = KeptCheckpoint::load(home.path());
        assert_eq!((again.shown(), home.path().join(LOST).exists()), (Some(second.clone()), false), "a wrong signature is none");
        for rolled_back in [signed(&pair, 7, "c"), signed(&pair, 7, "d"), signed(&Ed25519KeyPair::generate().unwrap(), 20, "e")] {
            let before = again.shown().unwrap();
            again.take(&rolled_back);
            let lost: AuditCheckpoint = serde_json::from_slice(&fs::read(home.path().join(LOST)).unwrap()).unwrap();
            assert_eq!((lost, again.shown()), (before, Some(rolled_back)));
        }
    }
}
