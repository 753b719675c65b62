//! A camera as a source: a thread that keeps the connection to it, and tries again when it is lost.

use bytes::Bytes;
use sightline_media::{Frame, Track};
use sightline_signal::ErrorCode;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError},
    },
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

use crate::{
    address::CameraUrl,
    mjpeg,
    picture::Picture,
    rtsp,
    timeline::Timeline,
    v4l2::{self, V4l2Camera, modes::Target},
};

/// For DNS, TCP, authentication and the camera's answers until it plays. Cheap cameras take four seconds; past ten they have crashed.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// From playing to the first picture that decoding can start at: cameras with a key frame each ten seconds exist.
pub const FIRST_FRAME_TIMEOUT: Duration = Duration::from_secs(15);
/// Without a picture for this long the camera counts as gone. The slowest preset of a camera is a picture a second.
pub const SILENCE_TIMEOUT: Duration = Duration::from_secs(10);
/// For RTSP's TEARDOWN.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(2);
/// The delay after the first failure; doubles with each.
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// The longest delay: a camera that restarts takes half a minute.
const RETRY_DELAY_MAX: Duration = Duration::from_secs(30);
/// Frames that may wait to be passed on or encoded: two seconds of 30 fps with sound. Beyond it the oldest group of pictures is given up.
const FRAMES_WAITING_MAX: usize = 128;
/// Pictures, JPEG or raw, that may wait to be encoded: an older one is of no use.
const PICTURES_WAITING_MAX: usize = 2;

/// Which camera, and how to reach it.
#[derive(Clone, Debug)]
pub enum LiveSource {
    /// RTSP, its RTP in the same connection or over UDP.
    Rtsp(CameraUrl, rtsp::Transport),
    /// MJPEG over HTTP.
    Mjpeg(CameraUrl),
    /// A device of this machine.
    V4l2(V4l2Camera),
}

impl std::fmt::Display for LiveSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rtsp(url, _) | Self::Mjpeg(url) => url.fmt(f),
            Self::V4l2(camera) => write!(f, "{}", camera.path.display()),
        }
    }
}

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
pub struct Outlet {
    sender: SyncSender<SourceEvent>,
    pictures_waiting: Arc<AtomicUsize>,
    /// To be put before the next frame.
    tracks: Vec<Track>,
    /// After a frame found no room, nothing passes before the next key frame.
    needs_keyframe: bool,
    has_given: bool,
}

impl std::fmt::Debug for Outlet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outlet").finish_non_exhaustive()
    }
}

impl Outlet {
    pub fn new(sender: SyncSender<SourceEvent>, pictures_waiting: Arc<AtomicUsize>) -> Self {
        Self { sender, pictures_waiting, tracks: Vec::new(), needs_keyframe: true, has_given: false }
    }

    /// What the frames after it need first.
    pub fn track(&mut self, track: Track) {
        self.tracks.retain(|waiting| waiting.id != track.id);
        self.tracks.push(track);
    }

    /// `follows_loss`: frames before it are missing.
    pub fn frame(&mut self, frame: Frame<Bytes>, at: Instant, follows_loss: bool) -> Result<(), Trouble> {
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

    pub fn picture(&mut self, jpeg: Bytes, at: Instant) -> Result<(), Trouble> {
        self.put_picture(SourceEvent::Picture(jpeg, at))
    }

    pub fn pixels(&mut self, picture: Picture, at: Instant) -> Result<(), Trouble> {
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
    pub fn has_given(&self) -> bool {
        self.has_given
    }

    /// True when there was room.
    fn put(&self, seen: SourceEvent) -> Result<bool, Trouble> {
        match self.sender.try_send(seen) {
            Ok(()) => Ok(true),
            Err(TrySendError::Full(_)) => Ok(false),
            Err(TrySendError::Disconnected(_)) => Err(Trouble::passing("nobody takes its pictures any more")),
        }
    }
}

/// Why a camera is not read.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// The system gives no thread.
    #[error(transparent)]
    Start(std::io::Error),
    /// The reader has panicked.
    #[error("the thread that reads the camera ended")]
    Ended,
}

/// A camera that is being read. Dropped, it hangs up.
pub struct Live {
    seen: Receiver<SourceEvent>,
    pictures_waiting: Arc<AtomicUsize>,
    stop: CancellationToken,
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live").finish_non_exhaustive()
    }
}

impl Live {
    /// Starts reading. `wanted` is asked of cameras that can choose; `start` is the zero of the media time of its frames.
    pub fn open(camera: LiveSource, wanted: Target, start: Instant) -> Result<Self, LiveError> {
        let (sender, seen) = std::sync::mpsc::sync_channel(FRAMES_WAITING_MAX);
        let pictures_waiting = Arc::new(AtomicUsize::new(0));
        let stop = CancellationToken::new();
        let group = Arc::new(retina::client::SessionGroup::default());
        let reader = Reader {
            camera,
            wanted,
            start,
            group: group.clone(),
            outlet: Outlet::new(sender, pictures_waiting.clone()),
            timeline: Timeline::new(start),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(LiveError::Start)?;
        let stopped = stop.clone();
        let run = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = stopped.cancelled() => {}
                    () = reader.run() => {}
                }
                // A camera that is not told goes on sending over UDP for a minute.
                let _ = tokio::time::timeout(GOODBYE_TIMEOUT, group.await_teardown()).await;
            });
        };
        let span = tracing::Span::current();
        std::thread::Builder::new().name("camera".into()).spawn(move || span.in_scope(run)).map_err(LiveError::Start)?;
        Ok(Self { seen, pictures_waiting, stop })
    }

    /// What the camera gave; `None`: nothing within the wait.
    pub fn next(&self, wait: Duration) -> Result<Option<SourceEvent>, LiveError> {
        match self.seen.recv_timeout(wait) {
            Ok(seen) => {
                if matches!(seen, SourceEvent::Picture(..) | SourceEvent::Pixels(..)) {
                    self.pictures_waiting.fetch_sub(1, Ordering::Relaxed);
                }
                Ok(Some(seen))
            }
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(LiveError::Ended),
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

struct Reader {
    camera: LiveSource,
    wanted: Target,
    start: Instant,
    group: Arc<retina::client::SessionGroup>,
    outlet: Outlet,
    timeline: Timeline,
}

impl Reader {
    async fn run(mut self) {
        let mut failures = 0_u32;
        loop {
            (self.outlet.needs_keyframe, self.outlet.has_given) = (true, false);
            self.timeline.reconnect();
            let trouble = match &self.camera {
                LiveSource::Rtsp(url, transport) => {
                    rtsp::read(url, *transport, self.group.clone(), &mut self.outlet, &mut self.timeline).await
                }
                LiveSource::Mjpeg(url) => mjpeg::read(url, &mut self.outlet).await,
                LiveSource::V4l2(camera) => v4l2::read(camera, self.wanted, self.start, &mut self.outlet).await,
            };
            failures = if self.outlet.has_given { 1 } else { failures.saturating_add(1) };
            let next_retry = RETRY_DELAY.saturating_mul(1 << (failures - 1).min(16)).min(RETRY_DELAY_MAX);
            if !self.tell(SourceEvent::Lost { trouble, attempts: failures, next_retry }).await {
                return;
            }
            tokio::time::sleep(next_retry).await;
        }
    }

    /// What must not be lost waits for room; false when nobody is there.
    async fn tell(&self, seen: SourceEvent) -> bool {
        let mut seen = seen;
        loop {
            match self.outlet.sender.try_send(seen) {
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
    #[test]
    fn of_pictures_only_the_newest_few_wait() {
        let (sender, seen) = std::sync::mpsc::sync_channel(FRAMES_WAITING_MAX);
        let pictures_waiting = Arc::new(AtomicUsize::new(0));
        let mut outlet = Outlet::new(sender, pictures_waiting.clone());
        let live = Live { seen, pictures_waiting, stop: CancellationToken::new() };
        let mut count = |puts: usize| {
            (0..puts).for_each(|_| outlet.pixels(Picture::new(2, 2), Instant::now()).unwrap());
            std::iter::from_fn(|| live.next(Duration::ZERO).unwrap()).count()
        };
        assert_eq!([count(10), count(1), count(10)], [PICTURES_WAITING_MAX, 1, PICTURES_WAITING_MAX]);
    }
}
