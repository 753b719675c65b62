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
    let files = segment::files(dir).map_err(|error| RecordingsError::File { path: dir.to_owned(), error })?;
    let mut found = Vec::new();
    for file in files.into_iter().filter(|file| may_matter(file.began)) {
        // The retention may have removed it meanwhile.
        if !file.path.exists() {
            continue;
        }
        let segment = Segment::open(&file.path).map_err(|problem| RecordingsError::Broken { path: file.path, problem })?;
        if segment.index.fragments > 0 {
            found.push(segment);
        }
    }
    Ok(found)
}

/// Writes what was captured from `from` to `to` into one new file, `out`. It begins with the key frame at or before `from`.
///
/// # Errors
/// [`RecordingsError`]; an `out` that is there already is left as it is.
pub fn export(dir: &Path, from: Timestamp, to: Timestamp, out: &Path) -> Result<Exported, RecordingsError> {
    let mut segments = open_all(dir, |began| began < to)?;
    segments.retain(|segment| segment.index.wall(segment.index.length()) > from);
    let Some(first) = segments.first() else { return Err(RecordingsError::Nothing { from, to }) };
    if let Some(other) = segments.iter().find(|segment| segment.index.tracks != first.index.tracks) {
        return Err(RecordingsError::Changes { at: other.index.began });
    }
    let written = |error| RecordingsError::File { path: out.to_owned(), error };
    let head = sightline_mp4::init_segment(&first.index.tracks).map_err(|error| written(io::Error::other(error)))?;
    let file = File::options().write(true).create_new(true).open(out).map_err(written)?;
    let mut output = Output { file, end: MediaTime::ZERO, sequence: 0, frames: 0 };
    output.file.write_all(&head).map_err(written)?;
    let spans = segments.iter().map(|segment| (segment.index.began, segment.index.wall(segment.index.length())));
    let gaps = u32::try_from(gaps(spans, GAP).len()).unwrap_or(u32::MAX);
    let mut start = None;
    for (index, segment) in segments.iter().enumerate() {
        // Where clips overlap by their pre-roll, the later one continues.
        let until = segments.get(index + 1).map_or(to, |next| next.index.began.min(to));
        let Some(samples) = segment.index.between(from, until) else { continue };
        start.get_or_insert_with(|| segment.index.wall(samples[0].dts));
        output.append(segment, &samples).map_err(written)?;
    }
    let Some(start) = start else { return Err(RecordingsError::Nothing { from, to }) };
    output.file.sync_all().map_err(written)?;
    let bytes = output.file.metadata().map_err(written)?.len();
    Ok(Exported { start, duration_ms: output.end.as_millis(), frames: output.frames, bytes, gaps })
}

/// The file that the export writes.
struct Output {
    file: File,
    /// Where its video ends.
    end: MediaTime,
    sequence: u32,
    frames: u64,
}

impl Output {
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
