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
    io,
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
        let starts = clip.runs().next().map(|(segment, samples)| segment.index.wall(samples[0].dts));
        clip.start = starts.ok_or(RecordingsError::Nothing { from, to })?;
        Ok(clip)
    }

    /// When its first picture was captured.
    #[must_use]
    pub fn start(&self) -> Timestamp {
        self.start
    }

    /// What is played of each file.
    fn runs(&self) -> impl Iterator<Item = (&Segment, Vec<Sample>)> {
        self.segments.iter().enumerate().filter_map(|(index, segment)| {
            // Where clips overlap by their pre-roll, the later one continues.
            let until = self.segments.get(index + 1).map_or(self.to, |next| next.index.began.min(self.to));
            Some((segment, segment.index.between(self.from, until)?))
        })
    }

    /// Writes it, a fragment at a time: as much as one takes is held in memory.
    ///
    /// # Errors
    /// The system's, of reading or of writing.
    pub fn write(&self, file: &mut dyn io::Write) -> io::Result<Exported> {
        let mut output = Output { file, end: MediaTime::ZERO, sequence: 0, frames: 0 };
        output.file.write_all(&self.head)?;
        for (segment, samples) in self.runs() {
            output.append(segment, &samples)?;
        }
        Ok(Exported { start: self.start, duration_ms: output.end.as_millis(), frames: output.frames, bytes: 0, gaps: self.gaps })
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

/// What the export writes to.
struct Output<'a> {
    file: &'a mut dyn io::Write,
    /// Where its video ends.
    end: MediaTime,
    sequence: u32,
    frames: u64,
}

impl Output<'_> {
    /// Appends samples, the first of which comes where the video ended.
    fn append(&mut self, segment: &Segment, samples: &[Sample]) -> io::Result<()> {
        let first = samples.iter().filter(|sample| sample.track == TrackId::VIDEO).map(|sample| sample.dts).min();
        let base = self.end - first.unwrap_or(MediaTime::ZERO);
        let mut by_time = samples.to_vec();
        by_time.sort_by_key(|sample| sample.dts);
        let mut frames: Vec<Frame<Bytes>> = Vec::new();
        for sample in &by_time {
            let is_cut = frames.first().is_some_and(|first| (sample.dts + base - first.dts).ticks_90k >= FRAGMENT_TICKS);
            if is_cut && sample.track == TrackId::VIDEO {
                self.write(&frames, Some(sample.dts + base))?;
                frames.clear();
            }
            let frame = segment.read(sample)?;
            frames.push(Frame { dts: frame.dts + base, pts: frame.pts + base, ..frame });
            if sample.track == TrackId::VIDEO {
                self.end = sample.dts + sample.duration + base;
                self.frames += 1;
            }
        }
        let end = self.end;
        self.write(&frames, Some(end))
    }

    fn write(&mut self, frames: &[Frame<Bytes>], ends_at: Option<MediaTime>) -> io::Result<()> {
        if frames.is_empty() {
            return Ok(());
        }
        self.sequence += 1;
        let fragment = sightline_mp4::fragment(self.sequence, frames, ends_at).map_err(io::Error::other)?;
        self.file.write_all(&fragment)
    }
}
