//! Which recordings are removed, and why.

use crate::segment::{self, RecordingFile};
use jiff::Timestamp;
use sightline_media::WallTime;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// How much a directory of recordings may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retention {
    /// Files older than this are removed; `None`: none is.
    pub age_max: Option<Duration>,
    /// All files together; the oldest are removed first.
    pub bytes_max: u64,
}

impl Retention {
    /// Removes files by age, then by size. By a clock that was never set, nothing is removed for its age.
    pub(crate) fn apply(&self, dir: &Path, now: Timestamp) {
        let mut files = sizes(dir);
        if let Some(age_max) = self.age_max.filter(|_| WallTime::from_unix_micros(now.as_microsecond()).is_set()) {
            files.retain(|(file, _)| {
                let is_old = file.began < now && now.duration_since(file.began).unsigned_abs() > age_max;
                if is_old {
                    remove(&file.path, "it is older than recording.keep_hours");
                }
                !is_old
            });
        }
        let mut bytes: u64 = files.iter().map(|(_, bytes)| bytes).sum();
        for (file, size) in files {
            if bytes <= self.bytes_max {
                return;
            }
            remove(&file.path, "all recordings are larger than recording.keep_mb");
            bytes = bytes.saturating_sub(size);
        }
    }
}

/// Removes the oldest file for a full disk, unless it is `growing`; true when it did.
pub(crate) fn remove_oldest(dir: &Path, growing: Option<&PathBuf>) -> bool {
    match segment::files(dir).unwrap_or_default().first() {
        Some(file) if growing != Some(&file.path) => {
            remove(&file.path, "the disk is full");
            true
        }
        Some(_) | None => false,
    }
}

/// The recordings of a directory and their sizes, oldest first.
fn sizes(dir: &Path) -> Vec<(RecordingFile, u64)> {
    let files = segment::files(dir).unwrap_or_default();
    files.into_iter().filter_map(|file| file.path.metadata().ok().map(|metadata| (file, metadata.len()))).collect()
}

pub(crate) fn remove(path: &Path, why: &str) {
    match std::fs::remove_file(path) {
        Ok(()) => tracing::info!(file = %path.display(), why, "a recording is removed"),
        Err(error) => tracing::warn!(file = %path.display(), %error, "a recording can't be removed"),
    }
}
