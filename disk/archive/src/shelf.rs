//! The recordings of a device, wherever they are: in its directory, and as copies elsewhere.

use crate::segment::{self, RecordingFile, Segment, SegmentError};
use crate::source::Source;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The copies of a device's recordings. Asking blocks.
pub trait Copied: Send + Sync + fmt::Debug {
    /// The names of those that begin in a span of time.
    ///
    /// # Errors
    /// The store's.
    fn names(&self, from: Timestamp, to: Timestamp) -> io::Result<Vec<String>>;

    /// The bytes of one.
    ///
    /// # Errors
    /// The store's; `NotFound`: it is not there.
    fn open(&self, name: &str) -> io::Result<Arc<dyn Source>>;
}

/// Copies are looked for from so long before a range on: they are files of five minutes, and their clocks may have stepped.
const FILE_LENGTH_MAX: SignedDuration = SignedDuration::from_hours(1);

/// Files that begin no further apart than this follow each other: five minutes, up to the next key frame.
const FILE_DISTANCE_MAX: SignedDuration = SignedDuration::from_secs(330);

/// Whether local files follow each other over a whole range, by their begins in order: then no store is asked what else there is.
fn is_covered(began: impl Iterator<Item = Timestamp>, from: Timestamp, to: Timestamp) -> bool {
    let mut covered = None;
    for began in began.take_while(|began| *began < to) {
        if covered.is_some_and(|until| began > until && began > from) || (covered.is_none() && began > from) {
            return false;
        }
        covered = began.checked_add(FILE_DISTANCE_MAX).ok();
        if began <= from && covered.is_some_and(|until| until < from) {
            covered = None;
        }
    }
    covered.is_some_and(|until| until >= to)
}

/// Where a device's recordings are.
#[derive(Clone, Debug)]
pub struct Shelf {
    dir: PathBuf,
    copies: Option<Arc<dyn Copied>>,
}

impl Shelf {
    /// In its directory alone.
    #[must_use]
    pub fn local(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), copies: None }
    }

    /// In its directory, and as copies.
    #[must_use]
    pub fn with_copies(dir: PathBuf, copies: Arc<dyn Copied>) -> Self {
        Self { dir, copies: Some(copies) }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The recordings that may have something of a range, oldest first, and others. One that is in the directory, too, is there once.
    /// Besides, why copies could not be looked for: what is here is shown while the store is away.
    pub(crate) fn files(&self, from: Timestamp, to: Timestamp) -> io::Result<(Vec<RecordingFile>, Option<io::Error>)> {
        let local = segment::files(&self.dir);
        let Some(copies) = &self.copies else { return Ok((local?, None)) };
        let mut all: BTreeSet<RecordingFile> = match local {
            Ok(local) => local.into_iter().collect(),
            // All of it is elsewhere.
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeSet::new(),
            Err(error) => return Err(error),
        };
        if is_covered(all.iter().map(|file| file.began), from, to) {
            return Ok((all.into_iter().collect(), None));
        }
        let earliest = from.saturating_sub(FILE_LENGTH_MAX).unwrap_or(Timestamp::MIN);
        let unknown = match copies.names(earliest, to) {
            Ok(names) => {
                all.extend(names.iter().filter_map(|name| {
                    let path = self.dir.join(name);
                    Some(RecordingFile { began: segment::began(&path)?, path })
                }));
                None
            }
            Err(error) => Some(error),
        };
        Ok((all.into_iter().collect(), unknown))
    }

    /// What stands for the copies where they can't be looked for.
    pub(crate) fn copies_path(&self) -> PathBuf {
        self.dir.join("copies in the store")
    }

    /// A recording: what is in the directory, else its copy.
    pub(crate) fn open(&self, path: &Path) -> Result<Segment, SegmentError> {
        match (Segment::open(path), &self.copies) {
            (Err(SegmentError::Io(error)), Some(copies)) if error.kind() == io::ErrorKind::NotFound => {
                let name = path.file_name().and_then(|name| name.to_str()).ok_or(SegmentError::Name)?;
                Segment::read_from(path, copies.open(name)?)
            }
            (opened, _) => opened,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_store_is_asked_where_local_files_follow_each_other_and_one_is_asked_where_time_is_missing() {
        let at = |minute: i64| Timestamp::from_second(1_760_000_000 + minute * 60).unwrap();
        let covered = |minutes: &[i64], from, to| is_covered(minutes.iter().map(|minute| at(*minute)), at(from), at(to));
        assert!(covered(&[0, 5, 10, 15], 6, 18));
        assert!(covered(&[-300, 0, 5, 10, 15], 6, 18), "a file that was held of another time says nothing");
        assert!(covered(&[0, 5, 10, 15], 16, 17));
        for (minutes, from, to) in
            [(&[0, 5, 15][..], 6, 18), (&[5, 10], 2, 9), (&[0, 5], 2, 30), (&[], 0, 1), (&[-300, 10, 15], 6, 18), (&[0], 30, 40)]
        {
            assert!(!covered(minutes, from, to), "{minutes:?} {from} {to}");
        }
    }
}
