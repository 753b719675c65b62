//! Where the thread that reads a camera puts what it sees. It never waits: a camera can't be held up.

use bytes::Bytes;
use sightline_media::{Frame, Track};
use sightline_signal::ErrorCode;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{SyncSender, TrySendError},
    },
    time::{Duration, Instant},
};

use crate::picture::Picture;

/// For DNS, TCP, authentication and the camera's answers until it plays. Cheap cameras take four seconds; past ten they have crashed.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// From playing to the first picture that decoding can start at: cameras with a key frame each ten seconds exist.
pub(crate) const FIRST_FRAME_TIMEOUT: Duration = Duration::from_secs(15);
/// Without a picture for this long the camera counts as gone. The slowest preset of a camera is a picture a second.
pub(crate) const SILENCE_TIMEOUT: Duration = Duration::from_secs(10);
/// Pictures, JPEG or raw, that may wait to be encoded: an older one is of no use.
pub(crate) const PICTURES_WAITING_MAX: usize = 2;

/// What a camera gave.
#[derive(Debug)]
pub enum SourceEvent {
    /// What the next frames of a track need first.
    Track(Box<Track>),
    /// A coded frame, and when it came. The first after a gap is a key frame.
    Frame(Frame<Bytes>, Instant),
    /// A JPEG picture, and when it came.
    Picture(Bytes, Instant),
    /// A raw picture, and when it was captured.
    Pixels(Picture, Instant),
    /// The camera is gone, or was never there; the next try follows after the delay.
    Lost {
        /// Why.
        trouble: Trouble,
        /// Tries in a row that failed.
        attempts: u32,
        /// The delay before the next one.
        next_retry: Duration,
    },
}

/// Why a camera gives no pictures. Holds no secret.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{problem}")]
pub struct Trouble {
    /// As it is reported.
    pub code: ErrorCode,
    pub problem: String,
    /// Trying again does not help before someone changes a setting, here or in the camera.
    pub is_refusal: bool,
}

impl Trouble {
    /// It may be over at the next try.
    pub fn passing(problem: impl Into<String>) -> Self {
        Self { code: ErrorCode::SourceLost, problem: problem.into(), is_refusal: false }
    }

    /// Someone must change something.
    pub fn refusal(problem: impl Into<String>) -> Self {
        Self { code: ErrorCode::SourceLost, problem: problem.into(), is_refusal: true }
    }

    /// What it gives is nothing that is read here.
    pub fn format(problem: impl Into<String>) -> Self {
        Self { code: ErrorCode::FrameFormatUnsupported, problem: problem.into(), is_refusal: true }
    }
}

/// Where the reading thread puts what it sees. Never waits: a camera can't be held up.
pub(crate) struct Outlet {
    sender: SyncSender<SourceEvent>,
    pictures_waiting: Arc<AtomicUsize>,
    /// To be put before the next frame.
    tracks: Vec<Track>,
    /// After a frame did not fit, nothing passes before the next key frame.
    needs_keyframe: bool,
    has_given: bool,
}

impl std::fmt::Debug for Outlet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outlet").finish_non_exhaustive()
    }
}

impl Outlet {
    pub(crate) fn new(sender: SyncSender<SourceEvent>, pictures_waiting: Arc<AtomicUsize>) -> Self {
        Self { sender, pictures_waiting, tracks: Vec::new(), needs_keyframe: true, has_given: false }
    }

    /// What the frames after it need first.
    pub(crate) fn track(&mut self, track: Track) {
        self.tracks.retain(|waiting| waiting.id != track.id);
        self.tracks.push(track);
    }

    /// `follows_loss`: frames before it are missing.
    pub(crate) fn frame(&mut self, frame: Frame<Bytes>, at: Instant, follows_loss: bool) -> Result<(), Trouble> {
        let is_video = frame.track == sightline_media::TrackId::VIDEO;
        self.needs_keyframe |= is_video && follows_loss;
        if self.needs_keyframe && !(is_video && frame.is_keyframe) {
            return Ok(());
        }
        while let Some(track) = self.tracks.first() {
            if !self.put(SourceEvent::Track(Box::new(track.clone())))? {
                self.needs_keyframe = true;
                return Ok(());
            }
            self.tracks.remove(0);
        }
        self.needs_keyframe = !self.put(SourceEvent::Frame(frame, at))?;
        self.has_given |= is_video;
        Ok(())
    }

    pub(crate) fn picture(&mut self, jpeg: Bytes, at: Instant) -> Result<(), Trouble> {
        self.put_picture(SourceEvent::Picture(jpeg, at))
    }

    pub(crate) fn pixels(&mut self, picture: Picture, at: Instant) -> Result<(), Trouble> {
        self.put_picture(SourceEvent::Pixels(picture, at))
    }

    fn put_picture(&mut self, seen: SourceEvent) -> Result<(), Trouble> {
        self.has_given = true;
        // One is counted before it is there to be taken: the count is never below what waits.
        if self.pictures_waiting.fetch_add(1, Ordering::Relaxed) >= PICTURES_WAITING_MAX || !self.put(seen)? {
            self.pictures_waiting.fetch_sub(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Whether this connection gave a picture.
    pub(crate) fn has_given(&self) -> bool {
        self.has_given
    }

    /// False: the queue is full.
    fn put(&self, seen: SourceEvent) -> Result<bool, Trouble> {
        match self.sender.try_send(seen) {
            Ok(()) => Ok(true),
            Err(TrySendError::Full(_)) => Ok(false),
            Err(TrySendError::Disconnected(_)) => Err(Trouble::passing("nobody takes its pictures any more")),
        }
    }

    /// A connection begins: nothing passes before its first key frame.
    pub(crate) fn begin(&mut self) {
        (self.needs_keyframe, self.has_given) = (true, false);
    }

    /// Waits until it fits: for what must not be lost. False: the receiver is gone.
    pub(crate) async fn deliver(&self, mut seen: SourceEvent) -> bool {
        loop {
            match self.sender.try_send(seen) {
                Ok(()) => return true,
                Err(TrySendError::Disconnected(_)) => return false,
                Err(TrySendError::Full(back)) => seen = back,
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sightline_media::{MediaTime, TrackId};

    fn frame(track: TrackId, is_keyframe: bool) -> Frame<Bytes> {
        Frame { track, dts: MediaTime::ZERO, pts: MediaTime::ZERO, is_keyframe, is_disposable: false, payload: Bytes::new() }
    }

    #[test]
    fn after_a_full_queue_or_a_loss_nothing_passes_before_a_key_frame() {
        let (sender, seen) = std::sync::mpsc::sync_channel(2);
        let mut outlet = Outlet::new(sender, Arc::default());
        let now = Instant::now();
        let mut put = |track, is_keyframe, follows_loss| outlet.frame(frame(track, is_keyframe), now, follows_loss).unwrap();
        put(TrackId::AUDIO, true, false);
        put(TrackId::VIDEO, false, false);
        assert!(seen.try_recv().is_err(), "nothing before the first key frame");
        put(TrackId::VIDEO, true, false);
        put(TrackId::VIDEO, false, false);
        put(TrackId::VIDEO, false, false);
        assert_eq!(seen.try_iter().count(), 2);
        put(TrackId::VIDEO, false, false);
        put(TrackId::VIDEO, true, false);
        put(TrackId::VIDEO, false, true);
        assert_eq!(seen.try_iter().count(), 1, "the key frame alone");
    }
}
