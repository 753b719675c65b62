//! A camera as a source: a thread that keeps the connection to it, and tries again when it is lost.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

use crate::{
    address::CameraUrl,
    mjpeg,
    outlet::{Outlet, SourceEvent},
    rtsp,
    sound::Sound,
    timeline::Timeline,
    v4l2::{self, V4l2Camera, modes::Target},
};

/// For RTSP's TEARDOWN.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(2);
/// The delay after the first failure; doubles with each.
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// The longest delay: a camera that restarts takes half a minute.
const RETRY_DELAY_MAX: Duration = Duration::from_secs(30);
/// Frames that may wait to be passed on or encoded: two seconds of 30 fps with sound. Beyond it the oldest group of pictures is dropped.
const FRAMES_WAITING_MAX: usize = 128;

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
            sound: Sound::default(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(LiveError::Start)?;
        let stopped = stop.clone();
        let run = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = stopped.cancelled() => {}
                    () = reader.run() => {}
                }
                // Without a TEARDOWN a camera goes on sending over UDP for a minute.
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
    sound: Sound,
}

impl Reader {
    async fn run(mut self) {
        let mut failures = 0_u32;
        loop {
            self.outlet.begin();
            self.timeline.reconnect();
            let trouble = match &self.camera {
                LiveSource::Rtsp(url, transport) => {
                    let (outlet, timeline, sound) = (&mut self.outlet, &mut self.timeline, &mut self.sound);
                    let wanted = self.wanted.is_limit.then_some((self.wanted.settings.width, self.wanted.settings.height));
                    rtsp::read(url, *transport, rtsp::Session { group: self.group.clone(), wanted, outlet, timeline, sound }).await
                }
                LiveSource::Mjpeg(url) => mjpeg::read(url, &mut self.outlet).await,
                LiveSource::V4l2(camera) => v4l2::read(camera, self.wanted, self.start, &mut self.outlet).await,
            };
            failures = if self.outlet.has_given() { 1 } else { failures.saturating_add(1) };
            let next_retry = RETRY_DELAY.saturating_mul(1 << (failures - 1).min(16)).min(RETRY_DELAY_MAX);
            if !self.outlet.deliver(SourceEvent::Lost { trouble, attempts: failures, next_retry }).await {
                return;
            }
            tokio::time::sleep(next_retry).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{outlet::PICTURES_WAITING_MAX, picture::Picture};

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
