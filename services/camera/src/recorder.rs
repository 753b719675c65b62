//! The camera's own recorder: fragmented MP4 on its disk, whatever the stream does (specification §1.4).
//!
//! The loop hands frames over; they gather into fragments, which a thread of its own writes and syncs one at a time. A power cut at any
//! byte leaves every fragment before it readable. A disk that is slow, full or gone costs recordings, never the stream.

mod export;
mod segment;
mod writer;

pub use export::{Exported, Recording, RecordingsError, export, list};

use bytes::Bytes;
use sightline_media::{Frame, MediaTime, Track, TrackId, WallTime};
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{SyncSender, TrySendError, sync_channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use crate::preroll::starts;
use writer::Writer;

/// Fragments that may wait for the disk: what a card that erases a block takes, and a pre-roll at once. Then frames are lost up to the next
/// key frame.
const FRAGMENTS_WAITING_MAX: usize = 32;
/// A fragment is cut before it takes more than this, whatever its length: it is held in memory.
const FRAGMENT_BYTES_MAX: usize = 8 << 20;
/// A hole in the video's time that is longer begins another file: the source was gone.
const GAP_TICKS_MAX: i64 = 5 * MediaTime::TICKS_PER_SECOND;

/// What is recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    /// Everything.
    Continuous,
    /// From the pre-roll of an event to its end.
    Motion,
}

/// How and where it records.
#[derive(Clone, Debug)]
pub(crate) struct RecorderPlan {
    pub(crate) dir: PathBuf,
    pub(crate) mode: Mode,
    /// The longest that a power cut may cost.
    pub(crate) fragment: Duration,
    /// The length of a file.
    pub(crate) segment: Duration,
    /// Files older than this go; `None`: none does.
    pub(crate) age_max: Option<Duration>,
    /// All files together; the oldest go first.
    pub(crate) bytes_max: u64,
}

/// What the thread does next.
enum Job {
    Append(Fragment),
    /// The file is complete.
    End,
}

/// What is appended and synced at a time.
struct Fragment {
    /// Begins a file.
    begins: Option<Beginning>,
    frames: Vec<Frame<Bytes>>,
    bytes: usize,
    /// Where the next one begins.
    ends_at: Option<MediaTime>,
}

/// What a file begins with.
struct Beginning {
    tracks: Vec<Track>,
    /// When its first frame was captured.
    wall: WallTime,
}

/// The loop's end of the recorder.
pub(crate) struct Recorder {
    plan: RecorderPlan,
    queue: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
    /// The thread could not write: the file that it had is closed.
    has_failed: Arc<AtomicBool>,
    tracks: Vec<Track>,
    /// False between events.
    is_on: bool,
    /// The fragment that grows.
    open: Option<Fragment>,
    /// The tracks and the first time of the file that grows.
    file: Option<(Vec<Track>, MediaTime)>,
    last_video: Option<MediaTime>,
    /// Between the last two pictures.
    interval: MediaTime,
}

impl Recorder {
    /// Looks after what a power cut left, and starts the thread.
    ///
    /// # Errors
    /// In words, if the directory can't be made or the thread not started.
    pub(crate) fn start(plan: RecorderPlan) -> Result<Self, String> {
        std::fs::create_dir_all(&plan.dir)
            .map_err(|error| format!("{}: {error}; set recording.dir to a directory that this program may write", plan.dir.display()))?;
        let (queue, jobs) = sync_channel(FRAGMENTS_WAITING_MAX);
        let has_failed = Arc::new(AtomicBool::new(false));
        let writer = Writer::new(plan.clone(), has_failed.clone());
        let span = tracing::Span::current();
        let thread = std::thread::Builder::new()
            .name("recorder".into())
            .spawn(move || span.in_scope(|| writer.run(&jobs)))
            .map_err(|error| format!("the recorder's thread: {error}"))?;
        Ok(Self {
            is_on: plan.mode == Mode::Continuous,
            plan,
            queue: Some(queue),
            thread: Some(thread),
            has_failed,
            tracks: Vec::new(),
            open: None,
            file: None,
            last_video: None,
            interval: MediaTime::ZERO,
        })
    }

    /// What the next frames of a track need.
    pub(crate) fn set_track(&mut self, track: &Track) {
        self.tracks.retain(|known| known.id != track.id);
        self.tracks.push(track.clone());
        self.tracks.sort_by_key(|known| known.id);
    }

    /// Whether it records motion only, and so wants [`Self::begin`] and [`Self::end`].
    pub(crate) fn waits_for_motion(&self) -> bool {
        self.plan.mode == Mode::Motion
    }

    /// An event begins: its pre-roll is handed over next.
    pub(crate) fn begin(&mut self) {
        self.is_on = true;
    }

    /// An event is over.
    pub(crate) fn end(&mut self) {
        self.is_on = false;
        self.finish_file(None);
    }

    /// The newest frame and when it was captured. Never waits.
    pub(crate) fn push(&mut self, frame: &Frame<Bytes>, captured_at: WallTime) {
        if !self.is_on {
            return;
        }
        let starts = starts(frame);
        if self.has_failed.swap(false, Ordering::Relaxed) || self.has_gap(frame) {
            self.finish_file(None);
        }
        let begins = starts
            && self.file.as_ref().is_none_or(|(tracks, began)| *tracks != self.tracks || frame.dts - *began >= ticks(self.plan.segment));
        if begins {
            self.finish_file(Some(frame.dts));
            self.file = Some((self.tracks.clone(), frame.dts));
            let beginning = Beginning { tracks: self.tracks.clone(), wall: captured_at };
            self.open = Some(Fragment { begins: Some(beginning), frames: Vec::new(), bytes: 0, ends_at: None });
        } else if self.open.as_ref().is_some_and(|open| open.is_full(frame, starts, ticks(self.plan.fragment))) {
            self.send(Some(frame.dts));
            if self.file.is_some() {
                self.open = Some(Fragment { begins: None, frames: Vec::new(), bytes: 0, ends_at: None });
            }
        }
        if frame.track == TrackId::VIDEO {
            self.interval = self.last_video.map_or(self.interval, |last| frame.dts - last);
            self.last_video = Some(frame.dts);
        }
        // Sound that was announced late waits for the next file, which knows it.
        let knows = self.file.as_ref().is_some_and(|(tracks, _)| tracks.iter().any(|track| track.id == frame.track));
        if let Some(open) = self.open.as_mut().filter(|_| knows) {
            open.bytes += frame.payload.len();
            open.frames.push(frame.clone());
        }
    }

    /// Whether the video's time jumped, or ran backward: another run of the source.
    fn has_gap(&self, frame: &Frame<Bytes>) -> bool {
        let jump = self.last_video.filter(|_| frame.track == TrackId::VIDEO).map(|last| (frame.dts - last).ticks_90k);
        jump.is_some_and(|ticks| !(0..=GAP_TICKS_MAX).contains(&ticks))
    }

    /// Ends the file that grows; the next key frame begins another.
    fn finish_file(&mut self, ends_at: Option<MediaTime>) {
        if self.file.is_none() {
            return;
        }
        // The last picture lasts as long as the one before it.
        self.send(ends_at.or_else(|| self.last_video.map(|last| last + self.interval)));
        (self.open, self.file, self.last_video) = (None, None, None);
        self.hand_over(Job::End);
    }

    /// Hands the open fragment over, if there is one.
    fn send(&mut self, ends_at: Option<MediaTime>) {
        if let Some(fragment) = self.open.take().filter(|fragment| !fragment.frames.is_empty())
            && !self.hand_over(Job::Append(Fragment { ends_at, ..fragment }))
        {
            tracing::warn!(dir = %self.plan.dir.display(), "the disk is too slow: the recording loses frames up to the next key frame");
            self.file = None;
        }
    }

    fn hand_over(&self, job: Job) -> bool {
        self.queue.as_ref().is_some_and(|queue| !matches!(queue.try_send(job), Err(TrySendError::Full(_))))
    }

    /// Writes what is left, and waits for the disk.
    pub(crate) fn finish(mut self) {
        self.finish_file(None);
        drop(self.queue.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the recorder's thread ended by a bug");
        }
    }
}

impl Fragment {
    /// Whether `frame` is one too many. Key frames cut early: a player jumps to the beginning of a fragment.
    fn is_full(&self, frame: &Frame<Bytes>, starts: bool, most: MediaTime) -> bool {
        let Some(first) = self.frames.first() else { return false };
        let length = frame.dts - first.dts;
        length >= most || (starts && length.ticks_90k * 2 >= most.ticks_90k) || self.bytes + frame.len() > FRAGMENT_BYTES_MAX
    }
}

fn ticks(length: Duration) -> MediaTime {
    MediaTime::from_micros(i64::try_from(length.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
