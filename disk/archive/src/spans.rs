//! When something was recorded, without looking at the same file twice.

use crate::{export::FILE_LENGTH_MAX, segment, shelf::Shelf};
use jiff::Timestamp;
use std::{collections::HashMap, io, path::PathBuf};

/// From a file's first picture to its last one's end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// When it begins.
    pub from: Timestamp,
    /// When it ends.
    pub to: Timestamp,
}

/// What complete files hold is kept: they do not change any more.
#[derive(Debug)]
pub struct Spans {
    ends: HashMap<PathBuf, Timestamp>,
    files_max: usize,
}

impl Spans {
    /// So many files are kept in mind; then all are forgotten, and read again.
    #[must_use]
    pub fn new(files_max: usize) -> Self {
        Self { ends: HashMap::new(), files_max }
    }

    /// The files of a device with something of a range, oldest first. One that can't be read has no time.
    ///
    /// # Errors
    /// The directory can't be read, or the store.
    pub fn of(&mut self, shelf: &Shelf, (from, to): (Timestamp, Timestamp)) -> io::Result<Vec<Span>> {
        let (files, _) = shelf.files(from, to)?;
        let earliest = segment::earliest(&files, from, FILE_LENGTH_MAX);
        let touched = files.into_iter().filter(|file| file.began >= earliest && file.began < to);
        let spans = touched.filter_map(|file| {
            let end = match self.ends.get(&file.path) {
                Some(end) => *end,
                None => self.read(shelf, file.path)?,
            };
            (end > from && end > file.began).then_some(Span { from: file.began, to: end })
        });
        Ok(spans.collect())
    }

    fn read(&mut self, shelf: &Shelf, path: PathBuf) -> Option<Timestamp> {
        let index = shelf.open(&path).ok()?.index;
        let end = index.wall(index.length());
        if index.is_complete {
            if self.ends.len() >= self.files_max {
                self.ends.clear();
            }
            self.ends.insert(path, end);
        }
        Some(end)
    }
}
