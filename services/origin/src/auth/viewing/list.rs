//! The playback keys of the installation: by what they hash to, and in a file, so that a restart works while the cloud is down.

use aws_lc_rs::digest::{SHA256, digest};
use sightline_signal::report::{PlaybackKey, PlaybackKeys};
use std::collections::HashMap;
use std::path::PathBuf;

/// Keys that are kept: a megabyte or two.
const KEYS_MAX: usize = 10_000;

pub(super) struct KeyList {
    file: PathBuf,
    version: u64,
    by_hash: HashMap<String, PlaybackKey>,
}

impl KeyList {
    /// With the keys of the file, if there is one.
    pub(super) fn load(file: PathBuf) -> Self {
        let mut list = Self { file, version: 0, by_hash: HashMap::new() };
        match std::fs::read(&list.file).map(|bytes| serde_json::from_slice::<PlaybackKeys>(&bytes)) {
            Ok(Ok(keys)) => list.set(keys),
            Ok(Err(error)) => {
                tracing::warn!(file = %list.file.display(), %error, "the cached playback keys can't be read; the cloud's replace them");
            }
            Err(_) => {}
        }
        list
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// The key of a secret. Found by its hash: how long that takes says nothing about the secret.
    pub(super) fn find(&self, secret: &str) -> Option<&PlaybackKey> {
        self.by_hash.get(&hex(digest(&SHA256, secret.as_bytes()).as_ref()))
    }

    pub(super) fn has(&self, id: &str) -> bool {
        self.by_hash.values().any(|key| key.id == id)
    }

    /// Takes another list, and writes it to the file if it differs.
    pub(super) fn replace(&mut self, keys: PlaybackKeys) {
        if keys.version == self.version {
            return;
        }
        let temporary = self.file.with_extension("json.new");
        let written = serde_json::to_vec(&keys)
            .map_err(std::io::Error::other)
            .and_then(|bytes| std::fs::write(&temporary, bytes))
            .and_then(|()| std::fs::rename(&temporary, &self.file));
        if let Err(error) = written {
            tracing::warn!(file = %self.file.display(), %error, "the playback keys can't be cached: a restart will need the cloud");
        }
        self.set(keys);
    }

    fn set(&mut self, PlaybackKeys { version, keys }: PlaybackKeys) {
        self.version = version;
        self.by_hash = keys.into_iter().take(KEYS_MAX).map(|key| (key.sha256.to_ascii_lowercase(), key)).collect();
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
