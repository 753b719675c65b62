//! The list of recordings, and one MP4 of a time range: the recorded H.264, untouched.

use crate::segment::{self, Segment, SegmentError};
use crate::shelf::Shelf;
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use sightline_media::{Frame, MediaTime, TrackId};
use sightline_mp4::Sample;
use sightline_recording::gaps;
use std::{
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

/// A fragment of an export: what a player reads at a time.
const FRAGMENT_TICKS: i64 = 2 * MediaTime::TICKS_PER_SECOND;
/// A longer hole between two files is counted. The export closes every hole.
const GAP: SignedDuration = SignedDuration::from_secs(1);

/// Why recordings can't be listed or exported.
#[derive(Debug, thiserror::Error)]
pub enum RecordingsError {
    /// The directory or a file can't be read or written.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A recording is not what this program writes.
    #[error("{path}: {problem}; move it elsewhere, or name another range")]
    Broken {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        problem: SegmentError,
    },
    /// Nothing was recorded then.
    #[error("nothing is recorded from {from} to {to}; `sightline recordings list` shows what is")]
    Nothing {
        /// Of the range.
        from: Timestamp,
        /// Of the range.
        to: Timestamp,
    },
    /// One MP4 holds one size.
    #[error("the picture's size or coding changes at {at}: export the time before it and the time from it on apart")]
    Changes {
        /// When the first file of the other kind begins.
        at: Timestamp,
    },
}

/// One recorded file.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Recording {
    /// The file.
    pub path: PathBuf,
    /// When its first frame was captured.
    pub start: Timestamp,
    /// The length of its video in milliseconds.
    pub duration_ms: i64,
    /// Of its complete fragments.
    pub bytes: u64,
    /// Complete fragments.
    pub fragments: u32,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
}

/// A file that was passed over, whole or in part: the others are of use without it.
#[derive(Debug)]
pub struct Unreadable {
    /// Which.
    pub path: PathBuf,
    /// What is wrong with it, first.
    pub problem: SegmentError,
}

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.problem)
    }
}

/// What an export holds.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Exported {
    /// When its first frame was captured: a key frame, at or before the time that was asked for.
    pub start: Timestamp,
    /// The length of its video in milliseconds, without the holes.
    pub duration_ms: i64,
    /// Frames of video.
    pub frames: u64,
    /// Of the file.
    pub bytes: u64,
    /// Holes of more than a second between two files, which were closed.
    pub gaps: u32,
    /// Files of the range that can't be read, or not wholly.
    pub unreadable: Vec<String>,
}

/// The recordings in a directory, oldest first, and what of them can't be read. A file without a complete fragment, as one that is just begun, is left out.
///
/// # Errors
/// [`RecordingsError`]
pub fn list(dir: &Path) -> Result<(Vec<Recording>, Vec<Unreadable>), RecordingsError> {
    let recording = |segment: &Segment| {
        let (width, height) = segment.index.tracks.iter().find_map(|track| track.config.size()).unwrap_or((0, 0));
        Recording {
            path: segment.path.clone(),
            start: segment.index.began,
            duration_ms: segment.index.length().as_millis(),
            bytes: segment.index.bytes,
            fragments: u32::try_from(segment.index.places.len()).unwrap_or(u32::MAX),
            width,
            height,
        }
    };
    let mut found = Vec::new();
    let unreadable = visit(dir, (Timestamp::MIN, Timestamp::MAX), usize::MAX, |segment, _| found.push(recording(&segment)))?;
    Ok((found, unreadable))
}

/// Writes what was captured from `from` to `to` into one new file, `out`. It begins with the key frame at or before `from`.
///
/// # Errors
/// [`RecordingsError`]; an `out` that is there already is left as it is.
pub fn export(dir: &Path, from: Timestamp, to: Timestamp, out: &Path) -> Result<Exported, RecordingsError> {
    let clip = Clip::open(dir, from, to)?;
    let written = |error| RecordingsError::File { path: out.to_owned(), error };
    let mut file = File::options().write(true).create_new(true).open(out).map_err(written)?;
    let mut exported = clip.write(&mut file).map_err(written)?;
    file.sync_all().map_err(written)?;
    exported.bytes = file.metadata().map_err(written)?.len();
    Ok(exported)
}

/// A range of recordings that is there, to be written as one MP4. It holds names: a file is read when its turn comes.
#[derive(Debug)]
pub struct Clip {
    shelf: Shelf,
    head: Bytes,
    parts: Vec<Part>,
    from: Timestamp,
    start: Timestamp,
    gaps: u32,
    unreadable: Vec<Unreadable>,
}

/// A file with something of the range.
#[derive(Debug)]
struct Part {
    path: PathBuf,
    /// Where clips overlap by their pre-roll, the later one continues.
    until: Timestamp,
}

impl Clip {
    /// Looks for what was captured from `from` to `to`; the clip begins with the key frame at or before `from`.
    ///
    /// # Errors
    /// [`RecordingsError`]
    pub fn open(dir: &Path, from: Timestamp, to: Timestamp) -> Result<Self, RecordingsError> {
        Self::on(Shelf::local(dir), from, to)
    }

    /// The same of what is on a shelf.
    ///
    /// # Errors
    /// [`RecordingsError`]
    pub fn on(shelf: Shelf, from: Timestamp, to: Timestamp) -> Result<Self, RecordingsError> {
        let (mut tracks, mut changes, mut start) = (None, None, None);
        let (mut spans, mut parts) = (Vec::new(), Vec::new());
        let unreadable = visit_on(&shelf, (from, to), usize::MAX, |Segment { path, index, .. }, next_began| {
            if tracks.get_or_insert_with(|| index.tracks.clone()) != &index.tracks {
                changes.get_or_insert(index.began);
            }
            spans.push((index.began, index.wall(index.length())));
            let until = next_began.map_or(to, |next| next.min(to));
            if let Some(first) = index.between(from, until).first() {
                start.get_or_insert(index.wall(first.began));
                parts.push(Part { path, until });
            }
        })?;
        if let Some(at) = changes {
            return Err(RecordingsError::Changes { at });
        }
        let (Some(tracks), Some(start)) = (tracks, start) else { return Err(RecordingsError::Nothing { from, to }) };
        let head = sightline_mp4::init_segment(&tracks)
            .map_err(|error| RecordingsError::File { path: shelf.dir().to_owned(), error: io::Error::other(error) })?;
        let gaps = u32::try_from(gaps(spans, GAP).len()).unwrap_or(u32::MAX);
        Ok(Self { shelf, head, parts, from, start, gaps, unreadable })
    }

    /// Files of the range that can't be read, or not wholly.
    #[must_use]
    pub fn unreadable(&self) -> &[Unreadable] {
        &self.unreadable
    }

    /// When its first picture was captured.
    #[must_use]
    pub fn start(&self) -> Timestamp {
        self.start
    }

    /// Its bytes, a piece at a time.
    #[must_use]
    pub fn into_reader(self) -> ClipReader {
        ClipReader { clip: self, is_begun: false, number: 0, run: None, end: MediaTime::ZERO, sequence: 0, frames: 0 }
    }

    fn write(self, file: &mut File) -> io::Result<Exported> {
        let mut reader = self.into_reader();
        while let Some(piece) = reader.next_piece()? {
            file.write_all(&piece)?;
        }
        let ClipReader { clip, end, frames, .. } = reader;
        let unreadable = clip.unreadable.iter().map(Unreadable::to_string).collect();
        Ok(Exported { start: clip.start, duration_ms: end.as_millis(), frames, bytes: 0, gaps: clip.gaps, unreadable })
    }
}

/// A clip that is read a fragment at a time: as much as one takes is held in memory.
#[derive(Debug)]
pub struct ClipReader {
    clip: Clip,
    is_begun: bool,
    /// The next file.
    number: usize,
    run: Option<Run>,
    /// Where its video ends so far.
    end: MediaTime,
    sequence: u32,
    frames: u64,
}

/// What is played of the present file.
#[derive(Debug)]
struct Run {
    segment: Segment,
    samples: Vec<Sample>,
    at: usize,
    /// From the file's time to the clip's.
    base: MediaTime,
}

impl ClipReader {
    /// The next bytes: what comes before all frames, then a fragment at a time. `None` at the end.
    ///
    /// # Errors
    /// The system's.
    pub fn next_piece(&mut self) -> io::Result<Option<Bytes>> {
        if !std::mem::replace(&mut self.is_begun, true) {
            return Ok(Some(self.clip.head.clone()));
        }
        loop {
            let mut run = match self.run.take() {
                Some(run) => run,
                None => match self.next_run()? {
                    Some(run) => run,
                    None => return Ok(None),
                },
            };
            let (frames, ends_at) = self.gather(&mut run)?;
            if run.at < run.samples.len() {
                self.run = Some(run);
            }
            if !frames.is_empty() {
                self.sequence += 1;
                return sightline_mp4::fragment(self.sequence, &frames, Some(ends_at)).map(Some).map_err(io::Error::other);
            }
        }
    }

    /// The next file with something of the range. Its first picture comes where the video ended.
    fn next_run(&mut self) -> io::Result<Option<Run>> {
        while let Some(part) = self.clip.parts.get(self.number) {
            self.number += 1;
            let segment = self.clip.shelf.open(&part.path).map_err(io::Error::other)?;
            let samples = segment.samples(self.clip.from, part.until).map_err(io::Error::other)?;
            if !samples.is_empty() {
                let first = samples.iter().filter(|sample| sample.track == segment.index.track()).map(|sample| sample.dts).min();
                let base = self.end - first.unwrap_or(MediaTime::ZERO);
                return Ok(Some(Run { segment, samples, at: 0, base }));
            }
        }
        Ok(None)
    }

    /// The frames of a fragment, and where it ends.
    fn gather(&mut self, run: &mut Run) -> io::Result<(Vec<Frame<Bytes>>, MediaTime)> {
        let mut frames: Vec<Frame<Bytes>> = Vec::new();
        while let Some(sample) = run.samples.get(run.at) {
            let is_cut = frames.first().is_some_and(|first| (sample.dts + run.base - first.dts).ticks_90k >= FRAGMENT_TICKS);
            if is_cut && sample.track == TrackId::VIDEO {
                return Ok((frames, sample.dts + run.base));
            }
            run.at += 1;
            let frame = run.segment.read(sample)?;
            frames.push(Frame { dts: frame.dts + run.base, pts: frame.pts + run.base, ..frame });
            if sample.track == TrackId::VIDEO {
                self.end = sample.dts + sample.duration + run.base;
                self.frames += 1;
            }
        }
        Ok((frames, self.end))
    }
}

/// A file is not looked at for the time before a range unless it began less than this before the range: longer ones begin with the first of them.
pub(crate) const FILE_LENGTH_MAX: SignedDuration = SignedDuration::from_hours(1);

/// Looks at the files with something of a range, oldest first, so many at the most: of each the index is read (40 bytes a fragment), and what `each` does not keep is gone.
/// `each` gets the file, and when the one after it begins. What comes back are the files that were passed over, whole or in part.
///
/// # Errors
/// [`RecordingsError`]: of a file only where none can be read.
pub fn visit(
    dir: &Path,
    (from, to): (Timestamp, Timestamp),
    files_max: usize,
    each: impl FnMut(Segment, Option<Timestamp>),
) -> Result<Vec<Unreadable>, RecordingsError> {
    visit_on(&Shelf::local(dir), (from, to), files_max, each)
}

/// The same of what is on a shelf.
///
/// # Errors
/// [`RecordingsError`]
pub fn visit_on(
    shelf: &Shelf,
    (from, to): (Timestamp, Timestamp),
    files_max: usize,
    mut each: impl FnMut(Segment, Option<Timestamp>),
) -> Result<Vec<Unreadable>, RecordingsError> {
    let (files, unknown) = shelf.files(from, to).map_err(|error| RecordingsError::File { path: shelf.dir().to_owned(), error })?;
    let earliest = segment::earliest(&files, from, FILE_LENGTH_MAX);
    let copies = |error| Unreadable { path: shelf.copies_path(), problem: SegmentError::Io(error) };
    let (mut found, mut unreadable) = (0, Vec::from_iter(unknown.map(copies)));
    for (number, file) in files.iter().enumerate().filter(|(_, file)| file.began >= earliest && file.began < to) {
        if found == files_max {
            break;
        }
        let mut passed_over = |problem| unreadable.push(Unreadable { path: file.path.clone(), problem });
        match shelf.open(&file.path) {
            // The retention may have removed it meanwhile.
            Err(SegmentError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {}
            Err(problem) => passed_over(problem),
            Ok(mut segment) => {
                segment.damage.take().into_iter().for_each(passed_over);
                if !segment.index.places.is_empty() && segment.index.wall(segment.index.length()) > from {
                    found += 1;
                    each(segment, files.get(number + 1).map(|next| next.began));
                }
            }
        }
    }
    match unreadable.pop() {
        Some(Unreadable { path, problem }) if found == 0 => Err(RecordingsError::Broken { path, problem }),
        last => {
            unreadable.extend(last);
            Ok(unreadable)
        }
    }
}
