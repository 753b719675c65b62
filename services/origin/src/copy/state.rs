//! What is copied and what waits, as the recorder, the keeper, the sender and whoever watches know it.

use sightline_bucket::Reason;
use sightline_media::Instant;
use sightline_recording::{Behind, Copies, CopyFailure, name};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Of one origin.
#[derive(Debug, Default)]
pub(crate) struct CopyState {
    copies: Mutex<Copies>,
    /// There is more to copy.
    pub(super) more: Notify,
    files: AtomicU64,
    bytes: AtomicU64,
    failures: [AtomicU64; Reason::ALL.len()],
    lost: AtomicU64,
    expired: AtomicU64,
    /// Nobody answers: reading is of no use either.
    is_away: AtomicBool,
}

/// What a recording is called in the store; `None`: it is none that is copied.
pub(super) fn key(path: &Path) -> Option<String> {
    let (file, device) = (path.file_name()?.to_str()?, path.parent()?.file_name()?.to_str()?);
    name::began(file).map(|_| format!("{device}/{file}"))
}

impl CopyState {
    fn copies(&self) -> MutexGuard<'_, Copies> {
        self.copies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Copies) -> T) -> T {
        act(&mut self.copies())
    }

    fn growing(&self, path: &Path) {
        if let Some(key) = key(path) {
            self.copies().handle_growing(&key);
        }
    }

    /// Blocks on the disk.
    pub(super) fn complete(&self, path: &Path) {
        let Some(key) = key(path) else { return };
        match path.metadata() {
            Ok(metadata) => self.copies().handle_complete(&key, metadata.len()),
            Err(_) => _ = self.copies().handle_gone(&key),
        }
        self.more.notify_one();
    }

    /// Whether the store has a local file.
    pub(crate) fn is_copied(&self, path: &Path) -> bool {
        key(path).is_none_or(|key| self.copies().is_copied(&key))
    }

    /// A local file was removed for room, or by hand. True: the store does not have it.
    pub(crate) fn gone(&self, path: &Path) -> bool {
        let is_lost = key(path).is_some_and(|key| self.copies().handle_gone(&key));
        self.lost.fetch_add(is_lost.into(), Ordering::Relaxed);
        is_lost
    }

    /// Whether the store fails.
    pub(super) fn is_failing(&self) -> bool {
        self.copies().is_failing()
    }

    /// Whether nobody answered when it was last asked to take something.
    pub(super) fn is_away(&self) -> bool {
        self.is_away.load(Ordering::Relaxed)
    }

    /// The store did what was asked. True: it had failed before.
    pub(super) fn answers(&self) -> bool {
        self.is_away.store(false, Ordering::Relaxed);
        self.copies().handle_store_answers()
    }

    /// True: the store had failed before.
    pub(super) fn copied(&self, bytes: u64) -> bool {
        self.is_away.store(false, Ordering::Relaxed);
        self.files.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.copies().handle_copied()
    }

    /// True: the store fails, and did not before.
    pub(super) fn failed(&self, reason: Reason, now: Instant) -> bool {
        self.failures[reason as usize].fetch_add(1, Ordering::Relaxed);
        self.is_away.store(reason == Reason::Away, Ordering::Relaxed);
        let failure = match reason {
            Reason::File | Reason::Differs => CopyFailure::File,
            Reason::Away | Reason::Key | Reason::Bucket | Reason::Clock | Reason::Refused => CopyFailure::Store,
        };
        self.copies().handle_failed(failure, now)
    }

    pub(super) fn expired(&self) {
        self.expired.fetch_add(1, Ordering::Relaxed);
    }

    /// In the text format of Prometheus.
    pub(crate) fn metrics(&self, now_unix_secs: i64) -> String {
        let (Behind { files, bytes, oldest }, is_failing) = self.with(|copies| (copies.behind(), copies.is_failing()));
        let behind_secs = oldest.map_or(0, |oldest| u64::try_from(now_unix_secs - oldest.as_second()).unwrap_or(0));
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let mut text = String::new();
        for (name, kind, help, value) in [
            ("sightline_origin_store_up", "gauge", "Whether the store did what it was last asked.", u64::from(!is_failing)),
            ("sightline_origin_copied_files_total", "counter", "Recordings that the store has taken.", count(&self.files)),
            ("sightline_origin_copied_bytes_total", "counter", "Their bytes.", count(&self.bytes)),
            ("sightline_origin_copies_behind_files", "gauge", "Complete recordings that the store does not have yet.", files),
            ("sightline_origin_copies_behind_bytes", "gauge", "Their bytes.", bytes),
            ("sightline_origin_copies_behind_seconds", "gauge", "How long ago the oldest of them began.", behind_secs),
            ("sightline_origin_copies_lost_total", "counter", "Recordings that went before the store had them.", count(&self.lost)),
            ("sightline_origin_copies_removed_total", "counter", "Copies that were removed for their age.", count(&self.expired)),
        ] {
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
        }
        text.push_str(
            "# HELP sightline_origin_copy_failures_total Tries that failed, by why.\n# TYPE sightline_origin_copy_failures_total counter\n",
        );
        for reason in Reason::ALL {
            let _ = writeln!(
                text,
                "sightline_origin_copy_failures_total{{reason=\"{}\"}} {}",
                reason.name(),
                count(&self.failures[reason as usize])
            );
        }
        text
    }
}

/// The files that one recording writes: those that it writes no more are complete.
#[derive(Debug, Default)]
pub(crate) struct OpenFiles {
    copies: Option<Arc<CopyState>>,
    files: Vec<PathBuf>,
}

impl OpenFiles {
    pub(crate) fn new(copies: Option<Arc<CopyState>>) -> Self {
        Self { copies, files: Vec::new() }
    }

    /// Those that it writes now. Blocks on the disk.
    pub(crate) fn turn(&mut self, now: Vec<PathBuf>) {
        let before = std::mem::replace(&mut self.files, now);
        let Some(copies) = &self.copies else { return };
        self.files.iter().filter(|file| !before.contains(file)).for_each(|file| copies.growing(file));
        before.iter().filter(|file| !self.files.contains(file)).for_each(|file| copies.complete(file));
    }
}

impl Drop for OpenFiles {
    fn drop(&mut self) {
        self.turn(Vec::new());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_waits_for_its_copy_from_its_end_on_however_it_ends_and_flv_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let files = ["20251009T085320.123Z-7.mp4", "20251009T085320.123Z-7.flv", "20251009T085820.123Z-7.mp4"];
        let path = |number: usize| dir.path().join("cam-1").join(files[number]);
        std::fs::create_dir_all(dir.path().join("cam-1")).unwrap();
        files.iter().for_each(|file| std::fs::write(dir.path().join("cam-1").join(file), "x").unwrap());
        let state = Arc::<CopyState>::default();
        state.with(Copies::handle_all_compared);
        let mut open = OpenFiles::new(Some(state.clone()));
        open.turn(vec![path(0), path(1)]);
        assert_eq!((state.is_copied(&path(0)), state.with(|copies| copies.behind().files)), (false, 0));
        open.turn(vec![path(2)]);
        assert_eq!((state.is_copied(&path(0)), state.is_copied(&path(1)), state.with(|copies| copies.behind().files)), (false, true, 1));
        drop(open);
        assert_eq!(state.with(|copies| copies.behind().files), 2);
        assert!(state.gone(&path(0)) && state.metrics(0).contains("sightline_origin_copies_lost_total 1\n"));
    }
}
