//! Keeps the recordings of many devices, a directory each, within their rules.

use crate::retention::ClockTrust;
use jiff::Timestamp;
use sightline_recording::{KeepRules, KeptFile, Removed, name, to_remove};
use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// How much the recordings below a directory may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kept {
    /// By age and size.
    pub rules: KeepRules,
    /// So many hundredths of the disk stay free.
    pub free_percent: u8,
}

/// Looks now and then.
pub struct Keeper {
    dir: PathBuf,
    kept: Kept,
    trust: ClockTrust,
    is_copied: Option<IsCopied>,
}

/// Whether the store that recordings are copied to has this one.
pub type IsCopied = Arc<dyn Fn(&Path) -> bool + Send + Sync>;

/// What a look has found and done.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Looked {
    /// Of all files that are left.
    pub bytes: u64,
    /// The oldest of them.
    pub oldest: Option<Timestamp>,
    /// Files that were removed, and why.
    pub removed: Vec<(PathBuf, Removed)>,
}

/// A recording: an MP4, an FLV, or both of one name.
#[derive(Debug, Default)]
struct Found {
    bytes: u64,
    files: Vec<PathBuf>,
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper").field("dir", &self.dir).field("kept", &self.kept).finish_non_exhaustive()
    }
}

impl Keeper {
    /// Of the recordings in the directories below `dir`.
    #[must_use]
    pub fn new(dir: PathBuf, kept: Kept) -> Self {
        Self { dir, kept, trust: ClockTrust::default(), is_copied: None }
    }

    /// The same where recordings are copied to a store.
    #[must_use]
    pub fn with_copies(self, is_copied: IsCopied) -> Self {
        Self { is_copied: Some(is_copied), ..self }
    }

    fn is_uncopied(&self, files: &[PathBuf]) -> bool {
        let mut copied = files.iter().filter(|file| file.extension().is_some_and(|ending| ending == name::MP4));
        self.is_copied.as_ref().is_some_and(|is_copied| copied.any(|file| !is_copied(file)))
    }

    /// Removes what has to go, the oldest first. `uptime` never jumps: of a clock that does, nothing is removed for its age for hours.
    ///
    /// # Errors
    /// The directory can't be read.
    pub fn look(&mut self, now: Timestamp, uptime: Duration) -> io::Result<Looked> {
        let mut all = Vec::new();
        for device in std::fs::read_dir(&self.dir)? {
            let device = device?;
            if device.file_type()?.is_dir() {
                let found = recordings(&device.path())?;
                let last = found.keys().next_back().cloned();
                all.extend(found.into_iter().map(|((began, stem), found)| {
                    let is_newest = last.as_ref() == Some(&(began, stem));
                    let is_uncopied = self.is_uncopied(&found.files);
                    (KeptFile { began, bytes: found.bytes, is_newest, is_uncopied }, found.files)
                }));
            }
        }
        let files: Vec<KeptFile> = all.iter().map(|(file, _)| *file).collect();
        let newest = files.iter().map(|file| file.began).max();
        let trusted_now = self.trust.look(now, uptime, newest).then_some(now);
        let (free, total) = space(&self.dir).unwrap_or((u64::MAX, 0));
        let rules = KeepRules { free_min_bytes: total / 100 * u64::from(self.kept.free_percent), ..self.kept.rules };
        let gone = to_remove(&files, &rules, trusted_now, free);
        let mut looked = Looked { bytes: files.iter().map(|file| file.bytes).sum(), ..Looked::default() };
        for &(place, why) in &gone {
            let Some((file, paths)) = all.get(place) else { continue };
            looked.bytes = looked.bytes.saturating_sub(file.bytes);
            for path in paths {
                crate::retention::remove(path, why.words());
                looked.removed.push((path.clone(), why));
            }
        }
        let stays = |place: &usize| gone.iter().all(|(removed, _)| removed != place);
        looked.oldest = files.iter().enumerate().filter(|(place, _)| stays(place)).map(|(_, file)| file.began).min();
        Ok(looked)
    }
}

/// The recordings of a device, oldest first.
fn recordings(dir: &Path) -> io::Result<BTreeMap<(Timestamp, String), Found>> {
    let mut found: BTreeMap<(Timestamp, String), Found> = BTreeMap::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let file = entry.file_name();
        let Some((stem, ending)) = file.to_str().and_then(|file| file.rsplit_once('.')) else { continue };
        let Some(began) = name::began(&format!("{stem}.{}", name::MP4)) else { continue };
        if ![name::MP4, name::FLV].contains(&ending) {
            continue;
        }
        // It may have been removed meanwhile.
        let Ok(metadata) = entry.metadata() else { continue };
        let recording = found.entry((began, stem.to_owned())).or_default();
        recording.bytes += metadata.len();
        recording.files.push(entry.path());
    }
    Ok(found)
}

/// What a disk has left for whoever is not root, and in all, in bytes.
fn space(dir: &Path) -> io::Result<(u64, u64)> {
    let space = rustix::fs::statvfs(dir)?;
    Ok((space.f_bavail.saturating_mul(space.f_frsize), space.f_blocks.saturating_mul(space.f_frsize)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::SignedDuration;
    use sightline_media::WallTime;

    #[test]
    fn old_recordings_go_with_what_belongs_to_them_and_what_is_no_recording_stays() {
        let dir = tempfile::tempdir().unwrap();
        let now = Timestamp::now();
        let write = |device: &str, hours_ago: i64, endings: &[&str]| {
            let at = now.saturating_sub(SignedDuration::from_hours(hours_ago)).unwrap();
            let stem = name::stem(WallTime::from_unix_micros(at.as_microsecond()));
            std::fs::create_dir_all(dir.path().join(device)).unwrap();
            for ending in endings {
                std::fs::write(dir.path().join(device).join(format!("{stem}-7.{ending}")), [0; 1000]).unwrap();
            }
        };
        write("cam-1", 30, &["mp4", "flv", "txt"]);
        write("cam-1", 20, &["mp4", "flv"]);
        write("cam-1", 1, &["mp4"]);
        // The only one of a camera that is off: whatever its age, it stays.
        write("cam-2", 50, &["mp4"]);
        std::fs::write(dir.path().join("cam-1").join("notes.mp4"), "mine").unwrap();
        let count = || std::fs::read_dir(dir.path().join("cam-1")).unwrap().count();
        let rules = |hours: i64, bytes: u64| KeepRules {
            age_max: Some(SignedDuration::from_hours(hours)),
            bytes_max: Some(bytes),
            free_min_bytes: 0,
        };
        let keeper = |rules| Keeper::new(dir.path().to_owned(), Kept { rules, free_percent: 0 });
        let looked = keeper(rules(100, 1 << 20)).look(now, Duration::ZERO).unwrap();
        assert_eq!((looked.bytes, looked.removed.len(), count()), (6_000, 0, 7));
        let looked = keeper(rules(24, 1 << 20)).look(now, Duration::ZERO).unwrap();
        assert_eq!((looked.bytes, looked.removed.len(), count()), (4_000, 2, 5), "{looked:?}");
        assert!(looked.removed.iter().all(|(_, why)| *why == Removed::Age));
        let looked = keeper(rules(100, 2_500)).look(now, Duration::ZERO).unwrap();
        assert_eq!((looked.bytes, looked.removed.len(), count()), (2_000, 2, 3), "{looked:?}");
        // A clock that has just been set forward by a year removes nothing for its age.
        let later = now.saturating_add(SignedDuration::from_hours(24 * 365)).unwrap();
        assert_eq!(keeper(rules(0, 1 << 20)).look(later, Duration::ZERO).unwrap().removed, []);
    }
}
