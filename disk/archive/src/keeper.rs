//! Keeps the recordings of many devices, a directory each, within their rules.

use crate::retention::ClockTrust;
use jiff::Timestamp;
use sightline_recording::{Forecast, KeepRules, KeptFile, OwnRules, Removed, forecast, name, to_remove};
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
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

/// Recordings of a device that stay, whatever the rules say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held {
    /// Whose: the name of its directory.
    pub device: String,
    /// From when on.
    pub from: Timestamp,
    /// Up to when.
    pub to: Timestamp,
}

/// What is asked of a look beside the rules of all.
#[derive(Clone, Copy)]
pub struct Wishes<'a> {
    /// What stays; `None`: that is not known just now, so nothing is removed.
    pub held: Option<&'a [Held]>,
    /// The rules of a device, where it has some.
    pub own: &'a dyn Fn(&str) -> Option<OwnRules>,
    /// Whether the store that recordings are copied to has this one; where there is none: true.
    pub is_copied: &'a dyn Fn(&Path) -> bool,
}

impl std::fmt::Debug for Wishes<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wishes").field("held", &self.held).finish_non_exhaustive()
    }
}

/// Looks now and then.
#[derive(Debug)]
pub struct Keeper {
    dir: PathBuf,
    kept: Kept,
    trust: ClockTrust,
}

/// What a look has found and done.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Looked {
    /// Of all files that are left.
    pub bytes: u64,
    /// The oldest of them.
    pub oldest: Option<Timestamp>,
    /// Files that were removed, and why.
    pub removed: Vec<(PathBuf, Removed)>,
    /// What is to be expected.
    pub forecast: Forecast,
}

/// A recording: an MP4, an FLV, or both of one name.
#[derive(Debug, Default)]
struct Found {
    bytes: u64,
    files: Vec<PathBuf>,
}

impl Keeper {
    /// Of the recordings in the directories below `dir`.
    #[must_use]
    pub fn new(dir: PathBuf, kept: Kept) -> Self {
        Self { dir, kept, trust: ClockTrust::default() }
    }

    /// Removes what has to go, the oldest first. `uptime` never jumps: of a clock that does, nothing is removed for its age for hours.
    ///
    /// # Errors
    /// The directory can't be read.
    pub fn look(&mut self, now: Timestamp, uptime: Duration, wishes: &Wishes<'_>) -> io::Result<Looked> {
        let (mut all, mut own) = (Vec::new(), Vec::new());
        for device in std::fs::read_dir(&self.dir)? {
            let device = device?;
            if device.file_type()?.is_dir() {
                let (found, name) = (recordings(&device.path())?, device.file_name());
                let name = name.to_string_lossy();
                let rules = (wishes.own)(&name).map(|rules| {
                    own.push(rules);
                    own.len() - 1
                });
                let held: Vec<&Held> = wishes.held.unwrap_or_default().iter().filter(|held| held.device == name).collect();
                // A file goes on until the next one begins, as far as its name tells.
                let mut ends: Vec<Option<Timestamp>> = found.keys().skip(1).map(|(began, _)| Some(*began)).collect();
                ends.push(None);
                all.extend(found.into_iter().zip(ends).map(|(((began, _), found), ends)| {
                    let is_held = held.iter().any(|held| began < held.to && ends.is_none_or(|ends| ends > held.from));
                    let is_uncopied = found.files.iter().any(|file| !(wishes.is_copied)(file));
                    (KeptFile { began, bytes: found.bytes, is_newest: ends.is_none(), is_uncopied, is_held, own: rules }, found.files)
                }));
            }
        }
        let files: Vec<KeptFile> = all.iter().map(|(file, _)| *file).collect();
        let newest = files.iter().map(|file| file.began).max();
        let trusted_now = self.trust.look(now, uptime, newest).then_some(now);
        let (free, total) = space(&self.dir).unwrap_or((u64::MAX, 0));
        let rules = KeepRules { free_min_bytes: total / 100 * u64::from(self.kept.free_percent), ..self.kept.rules };
        let gone = match wishes.held {
            Some(_) => to_remove(&files, &rules, &own, trusted_now, free),
            None => Vec::new(),
        };
        let forecast = forecast(&files, &rules, now, free);
        let mut looked = Looked { bytes: files.iter().map(|file| file.bytes).sum(), forecast, ..Looked::default() };
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
        let none = Wishes { held: Some(&[]), own: &|_| None, is_copied: &|_| true };
        let looked = keeper(rules(100, 1 << 20)).look(now, Duration::ZERO, &none).unwrap();
        assert_eq!((looked.bytes, looked.removed.len(), count()), (6_000, 0, 7));
        // As long as it is not known what is held, and what is: a file that began before and goes on until then.
        let unknown = Wishes { held: None, ..none };
        assert_eq!(keeper(rules(1, 0)).look(now, Duration::ZERO, &unknown).unwrap().removed, []);
        let ago = |hours| now.saturating_sub(SignedDuration::from_hours(hours)).unwrap();
        let held =
            [("cam-1", 26, 25), ("cam-2", 100, 10)].map(|(device, from, to)| Held { device: device.into(), from: ago(from), to: ago(to) });
        let wishes = Wishes { held: Some(&held), own: &|_| None, is_copied: &|_| true };
        let looked = keeper(rules(24, 1 << 20)).look(now, Duration::ZERO, &wishes).unwrap();
        assert_eq!((looked.removed, looked.forecast.held_bytes), (Vec::new(), 3_000));
        let wishes = Wishes { held: Some(&[]), own: &|device| (device == "cam-1").then(OwnRules::default), is_copied: &|_| true };
        assert_eq!(
            keeper(rules(24, 1 << 20)).look(now, Duration::ZERO, &wishes).unwrap().removed,
            [],
            "a device whose recordings have no end"
        );
        let looked = keeper(rules(24, 1 << 20)).look(now, Duration::ZERO, &none).unwrap();
        assert_eq!((looked.bytes, looked.removed.len(), count()), (4_000, 2, 5), "{looked:?}");
        assert!(looked.removed.iter().all(|(_, why)| *why == Removed::Age));
        let looked = keeper(rules(100, 2_500)).look(now, Duration::ZERO, &none).unwrap();
        assert_eq!((looked.bytes, looked.removed.len(), count()), (2_000, 2, 3), "{looked:?}");
        // A clock that has just been set forward by a year removes nothing for its age.
        let later = now.saturating_add(SignedDuration::from_hours(24 * 365)).unwrap();
        assert_eq!(keeper(rules(0, 1 << 20)).look(later, Duration::ZERO, &none).unwrap().removed, []);
    }
}
