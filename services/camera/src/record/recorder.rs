//! The camera's own recorder: fragmented MP4 on its disk, whatever the stream does (specification §1.4).
//!
//! The agent's loop hands frames over; a [`Cutter`] gathers them into fragments, which a thread of its own writes and syncs one at a
//! time. A power cut at any byte leaves every fragment before it readable. A disk that is slow, full or gone costs recordings, never
//! the stream.

use bytes::Bytes;
use jiff::Timestamp;
use sightline_archive::{Durability, Formats, Plan, Retention, Stem, Writer};
use sightline_claim::{Claim, ClaimError};
use sightline_media::{Frame, MediaTime, StreamConfig, Track, WallTime};
use sightline_recording::{AfterLoss, Cutter, Fragment, KeyFrames, Piece, Rules};
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread::JoinHandle,
    time::Duration,
};

/// Fragments that may wait for the disk: what a card that erases a block takes, and a pre-roll at once. Then frames are lost up to the next
/// key frame.
const FRAGMENTS_WAITING_MAX: usize = 32;
/// A fragment is cut before it takes more than this, whatever its length: it is held in memory.
const FRAGMENT_BYTES_MAX: usize = 8 << 20;
/// A hole in the video's time that is longer begins another file: the source was gone.
const GAP_MAX: MediaTime = MediaTime::from_millis(5_000);

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
    /// Files older than this are removed; `None`: none is.
    pub(crate) age_max: Option<Duration>,
    /// All files together; the oldest are removed first.
    pub(crate) bytes_max: u64,
}

/// Why the recorder does not start.
#[derive(Debug, thiserror::Error)]
pub enum RecorderError {
    /// The directory can't be made.
    #[error("{}: {source}; set recording.dir to a directory that this program may write", dir.display())]
    Dir {
        /// The directory.
        dir: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Another process records there.
    #[error("recording.dir: {0}")]
    Claim(#[from] ClaimError),
    /// The system gives no thread.
    #[error("the recorder's thread: {0}")]
    Thread(std::io::Error),
}

/// The loop's end of the recorder.
pub(crate) struct Recorder {
    plan: RecorderPlan,
    cutter: Cutter,
    config: Arc<StreamConfig>,
    queue: Option<SyncSender<Piece>>,
    thread: Option<JoinHandle<()>>,
    /// The thread could not write: it has closed its file.
    has_failed: Arc<AtomicBool>,
    /// False between events.
    is_on: bool,
}

impl Recorder {
    /// Repairs what a power cut left, and starts the thread.
    ///
    /// # Errors
    /// [`RecorderError`]
    pub(crate) fn start(plan: RecorderPlan) -> Result<Self, RecorderError> {
        sightline_archive::make_private_dir(&plan.dir).map_err(|source| RecorderError::Dir { dir: plan.dir.clone(), source })?;
        let claim = match Claim::take(&plan.dir, "recorder") {
            Ok(claim) => Some(claim),
            // The recorder before this one still writes its last fragment.
            Err(error) if error.is_own() => None,
            Err(error) => return Err(error.into()),
        };
        let (queue, pieces) = sync_channel(FRAGMENTS_WAITING_MAX);
        let has_failed = Arc::new(AtomicBool::new(false));
        let writing = WriterThread {
            _claim: claim,
            writer: Writer::new(files(&plan)),
            dir: plan.dir.clone(),
            has_failed: has_failed.clone(),
            is_failing: false,
        };
        let span = tracing::Span::current();
        let thread = std::thread::Builder::new()
            .name("recorder".into())
            .spawn(move || span.in_scope(|| writing.run(&pieces)))
            .map_err(RecorderError::Thread)?;
        Ok(Self {
            is_on: plan.mode == Mode::Continuous,
            cutter: Cutter::new(rules(&plan)),
            config: Arc::default(),
            plan,
            queue: Some(queue),
            thread: Some(thread),
            has_failed,
        })
    }

    /// What the next frames of a track need.
    pub(crate) fn set_track(&mut self, track: &Track) {
        if self.config.tracks.contains(track) {
            return;
        }
        let config = Arc::make_mut(&mut self.config);
        config.id += 1;
        config.tracks.retain(|known| known.id != track.id);
        config.tracks.push(track.clone());
        config.tracks.sort_by_key(|known| known.id);
    }

    /// Whether it records motion only, and so needs [`Self::begin`] and [`Self::end`].
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
        self.end_file();
    }

    /// The newest frame and when it was captured. Never waits.
    pub(crate) fn push(&mut self, frame: &Frame<Bytes>, captured_at: WallTime) {
        if !self.is_on {
            return;
        }
        if self.has_failed.swap(false, Ordering::Relaxed) {
            self.end_file();
        }
        self.cutter.handle_frame(frame, &self.config, captured_at);
        self.hand_over();
    }

    fn end_file(&mut self) {
        self.cutter.end_file();
        self.hand_over();
    }

    /// Gives the thread what the cutter made.
    fn hand_over(&mut self) {
        while let Some(piece) = self.cutter.poll_piece() {
            let Some(queue) = &self.queue else { return };
            if let Err(TrySendError::Full(Piece::Append(lost))) = queue.try_send(piece) {
                tracing::warn!(dir = %self.plan.dir.display(), "the disk is too slow: the recording loses frames up to the next key frame");
                self.cutter.lose(lost);
            }
        }
    }

    /// Writes what is left, and waits for the disk.
    pub(crate) fn finish(mut self) {
        self.end_file();
        drop(self.queue.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the recorder's thread ended by a bug");
        }
    }
}

fn rules(plan: &RecorderPlan) -> Rules {
    Rules {
        fragment_length_max: media_time(plan.fragment),
        fragment_bytes_max: FRAGMENT_BYTES_MAX,
        file_length_max: Some(media_time(plan.segment)),
        gap_max: Some(GAP_MAX),
        key_frames: KeyFrames::AfterHalf,
        needs_video: true,
        after_loss: AfterLoss::NewFile,
    }
}

fn files(plan: &RecorderPlan) -> Plan {
    Plan {
        dir: plan.dir.clone(),
        stem: Stem::FirstFrame,
        formats: Formats { flv: false, mp4: true },
        durability: Durability::EachFragment,
        retention: Some(Retention { age_max: plan.age_max, bytes_max: plan.bytes_max }),
    }
}

fn media_time(length: Duration) -> MediaTime {
    MediaTime::from_micros(i64::try_from(length.as_micros()).unwrap_or(i64::MAX))
}

/// The recorder's thread.
struct WriterThread {
    _claim: Option<Claim>,
    writer: Writer,
    dir: PathBuf,
    has_failed: Arc<AtomicBool>,
    is_failing: bool,
}

impl WriterThread {
    /// Runs until the loop's end is gone.
    fn run(mut self, pieces: &Receiver<Piece>) {
        self.writer.repair(Timestamp::now());
        while let Ok(piece) = pieces.recv() {
            match piece {
                Piece::Append(fragment) => self.append(&fragment),
                Piece::EndFile => self.writer.end_file(),
            }
        }
    }

    fn append(&mut self, fragment: &Fragment) {
        match self.writer.append(fragment, Timestamp::now()) {
            Ok(()) if std::mem::take(&mut self.is_failing) => tracing::info!(dir = %self.dir.display(), "recording again"),
            Ok(()) => {}
            Err(error) => {
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::error!(dir = %self.dir.display(), %error, "nothing is recorded; the recorder tries again at each key frame");
                }
                self.writer.end_file();
                self.has_failed.store(true, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests;
