//! The list of recordings, and one MP4 of a time range: the recorded H.264, untouched.

use crate::segment::{self, Segment, SegmentError};
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
}

/// The recordings in a directory, oldest first. A file without a complete fragment, as one that is just begun, is left out.
///
/// # Errors
/// [`RecordingsError`]
pub fn list(dir: &Path) -> Result<Vec<Recording>, RecordingsError> {
    let recording = |segment: &Segment| {
        let (width, height) = segment.index.tracks.iter().find_map(|track| track.config.size()).unwrap_or((0, 0));
        Recording {
            path: segment.path.clone(),
            start: segment.index.began,
            duration_ms: segment.index.length().as_millis(),
            bytes: segment.index.bytes,
            fragments: segment.index.fragments,
            width,
            height,
        }
    };
    Ok(open_all(dir, |_| true)?.iter().map(recording).collect())
}

/// Opens the files whose beginning passes.
fn open_all(dir: &Path, may_matter: impl Fn(Timestamp) -> bool) -> Result<Vec<Segment>, RecordingsError> {
    open_some(dir, may_matter, |_| true, usize::MAX)
}

/// The first so many of them that count.
fn open_some(
    dir: &Path,
    may_matter: impl Fn(Timestamp) -> bool,
    counts: impl Fn(&Segment) -> bool,
    files_max: usize,
) -> Result<Vec<Segment>, RecordingsError> {
    let files = segment::files(dir).map_err(|error| RecordingsError::File { path: dir.to_owned(), error })?;
    let mut found = Vec::new();
    for file in files.into_iter().filter(|file| may_matter(file.began)) {
        // The retention may have removed it meanwhile.
        if !file.path.exists() {
            continue;
        }
        let segment = Segment::open(&file.path).map_err(|problem| RecordingsError::Broken { path: file.path, problem })?;
        if segment.index.fragments > 0 && counts(&segment) {
            found.push(segment);
        }
        if found.len() == files_max {
            break;
        }
    }
    Ok(found)
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

/// A range of recordings that is there, to be written as one MP4.
#[derive(Debug)]
pub struct Clip {
    head: Bytes,
    segments: Vec<Segment>,
    from: Timestamp,
    to: Timestamp,
    start: Timestamp,
    gaps: u32,
}

impl Clip {
    /// Looks for what was captured from `from` to `to`; the clip begins with the key frame at or before `from`.
    ///
    /// # Errors
    /// [`RecordingsError`]
    pub fn open(dir: &Path, from: Timestamp, to: Timestamp) -> Result<Self, RecordingsError> {
        let segments = segments(dir, from, to, usize::MAX)?;
        let Some(first) = segments.first() else { return Err(RecordingsError::Nothing { from, to }) };
        if let Some(other) = segments.iter().find(|segment| segment.index.tracks != first.index.tracks) {
            return Err(RecordingsError::Changes { at: other.index.began });
        }
        let head = sightline_mp4::init_segment(&first.index.tracks)
            .map_err(|error| RecordingsError::File { path: first.path.clone(), error: io::Error::other(error) })?;
        let spans = segments.iter().map(|segment| (segment.index.began, segment.index.wall(segment.index.length())));
        let gaps = u32::try_from(gaps(spans, GAP).len()).unwrap_or(u32::MAX);
        let mut clip = Self { head, segments, from, to, start: from, gaps };
        let first = (0..clip.segments.len()).find_map(|number| {
            let began = clip.run(number)?.first()?.dts;
            Some(clip.segments.get(number)?.index.wall(began))
        });
        clip.start = first.ok_or(RecordingsError::Nothing { from, to })?;
        Ok(clip)
    }

    /// When its first picture was captured.
    #[must_use]
    pub fn start(&self) -> Timestamp {
        self.start
    }

    /// What is played of a file; `None`: nothing of it.
    fn run(&self, number: usize) -> Option<Vec<Sample>> {
        let segment = self.segments.get(number)?;
        // Where clips overlap by their pre-roll, the later one continues.
        let until = self.segments.get(number + 1).map_or(self.to, |next| next.index.began.min(self.to));
        let mut samples = segment.index.between(self.from, until)?;
        samples.sort_by_key(|sample| sample.dts);
        Some(samples)
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
        Ok(Exported { start: clip.start, duration_ms: end.as_millis(), frames, bytes: 0, gaps: clip.gaps })
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
    number: usize,
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
            let Some(mut run) = self.run.take().or_else(|| self.next_run()) else { return Ok(None) };
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
    fn next_run(&mut self) -> Option<Run> {
        while self.number < self.clip.segments.len() {
            let number = self.number;
            self.number += 1;
            if let Some(samples) = self.clip.run(number) {
                let first = samples.iter().filter(|sample| sample.track == TrackId::VIDEO).map(|sample| sample.dts).min();
                return Some(Run { number, samples, at: 0, base: self.end - first.unwrap_or(MediaTime::ZERO) });
            }
        }
        None
    }

    /// The frames of a fragment, and where it ends.
    fn gather(&mut self, run: &mut Run) -> io::Result<(Vec<Frame<Bytes>>, MediaTime)> {
        let mut frames: Vec<Frame<Bytes>> = Vec::new();
        let Some(segment) = self.clip.segments.get(run.number) else { return Ok((frames, self.end)) };
        while let Some(sample) = run.samples.get(run.at) {
            let is_cut = frames.first().is_some_and(|first| (sample.dts + run.base - first.dts).ticks_90k >= FRAGMENT_TICKS);
            if is_cut && sample.track == TrackId::VIDEO {
                return Ok((frames, sample.dts + run.base));
            }
            run.at += 1;
            let frame = segment.read(sample)?;
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
const FILE_LENGTH_MAX: SignedDuration = SignedDuration::from_hours(1);

/// The files with something of a range, oldest first, so many at the most: each is read for its index.
///
/// # Errors
/// [`RecordingsError`]
pub fn segments(dir: &Path, from: Timestamp, to: Timestamp, files_max: usize) -> Result<Vec<Segment>, RecordingsError> {
    let files = segment::files(dir).map_err(|error| RecordingsError::File { path: dir.to_owned(), error })?;
    // Whatever began long before a file that begins before the range is over by then; of those the last may be a long one.
    let long_before = from.saturating_sub(FILE_LENGTH_MAX).unwrap_or(Timestamp::MIN);
    let earliest = files.iter().rev().map(|file| file.began).find(|began| *began <= long_before).unwrap_or(Timestamp::MIN);
    let counts = |segment: &Segment| segment.index.wall(segment.index.length()) > from;
    open_some(dir, |began| began >= earliest && began < to, counts, files_max)
}
