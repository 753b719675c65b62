//! One stream's pull: it goes on from one upstream to the next for as long as someone watches.

use super::state::{PullState, PullStates};
use super::upstreams::{Opened, SearchError, Upstreams};
use crate::clock::Clock;
use crate::live::hub::{Hold, Hub};
use crate::live::incidents::Incidents;
use crate::live::stream::{Pull, Superseded};
use crate::via::Via;
use axum::body::Body;
use http_body_util::BodyExt as _;
use sightline_media::Instant;
use sightline_rtmp::flv::{Event, ReadError, Reader};
use sightline_signal::report::OriginIncident;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How often it is looked whether someone watches.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// The first wait where no upstream has a stream that is watched, or one breaks off again and again.
const WAIT_LEAST: Duration = Duration::from_millis(250);
/// The longest: viewers see the next picture so soon after a camera has come back.
const WAIT_MOST: Duration = Duration::from_secs(2);
/// How long the upstreams have to find a stream that is watched and was lost: one that waits for a picture itself, or is off, must not hide
/// that another one has it by now.
const SEARCH_MAX: Duration = Duration::from_secs(2);
/// How long a pull is tried before its first frame, for viewers who wait for it: none of them waits longer (`limits.start_wait_sec`).
const UNBEGUN_MAX: Duration = Duration::from_secs(60);
/// A pull that lasted for this long was no failure: the next upstream is asked at once.
const HEALTHY: Duration = Duration::from_secs(5);

/// What pulls work with.
pub(super) struct Puller {
    pub(super) clock: Clock,
    pub(super) hub: Arc<Hub>,
    pub(super) incidents: Arc<Incidents>,
    pub(super) upstreams: Upstreams,
    pub(super) states: Arc<PullStates>,
    pub(super) linger: Duration,
    pub(super) silence_max: Duration,
    pub(super) tag_bytes_max: u32,
    pub(super) tasks: TaskTracker,
    pub(super) shutdown: CancellationToken,
}

/// Why frames come no more.
enum End {
    /// No one watches, a publisher has the stream, or the origin ends.
    Over,
    /// The upstream is lost.
    Lost(Lost),
}

#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("it ended the stream")]
    Ended,
    #[error("the connection broke: {0}")]
    Broken(String),
    #[error("it sent nothing for {} s", .0.as_secs())]
    Silent(Duration),
    #[error("{0}")]
    Unread(#[from] ReadError),
}

/// One stream's pull.
pub(super) struct Pulling {
    puller: Arc<Puller>,
    playback: String,
    /// The way that the request for it came by.
    via: Via,
    state: Arc<PullState>,
    /// When someone watched last.
    watched_at: Instant,
    has_begun: bool,
}

impl Pulling {
    pub(super) fn new(puller: &Arc<Puller>, playback: &str, via: &Via, state: Arc<PullState>) -> Self {
        let watched_at = puller.clock.now();
        Self { puller: puller.clone(), playback: playback.to_owned(), via: via.clone(), state, watched_at, has_begun: false }
    }

    /// Until no one watches, or the stream is over.
    pub(super) async fn run(mut self, opened: Opened) {
        let puller = self.puller.clone();
        let (mut opened, mut wait) = (opened, Duration::ZERO);
        loop {
            let (began, upstream) = (puller.clock.now(), opened.upstream);
            let End::Lost(lost) = self.feed(opened).await else { break };
            tracing::info!(playback = self.playback, upstream = puller.upstreams.name(upstream), %lost, "an upstream is lost");
            if puller.clock.now().since(began) > HEALTHY {
                wait = Duration::ZERO;
            }
            match self.find_next(upstream, &mut wait).await {
                Some(next) => opened = next,
                None => break,
            }
        }
        puller.states.end(&self.playback);
        puller.hub.end_pulled(&self.playback);
    }

    /// The next upstream that has the stream; `None` where no one waits for it any more.
    async fn find_next(&mut self, lost: usize, wait: &mut Duration) -> Option<Opened> {
        let puller = self.puller.clone();
        loop {
            // At once the first time: viewers are watching.
            tokio::select! {
                () = puller.shutdown.cancelled() => return None,
                () = tokio::time::sleep(*wait) => {}
            }
            *wait = (*wait * 2).clamp(WAIT_LEAST, WAIT_MOST);
            if !self.is_wanted() {
                return None;
            }
            let searched = tokio::select! {
                () = puller.shutdown.cancelled() => return None,
                searched = self.search(lost + 1) => searched,
            };
            match searched {
                Ok(next) => return Some(next),
                // Whoever waits for its first picture asks anew, and hears why.
                Err(_) if !self.has_begun => return None,
                Err(error) => {
                    if self.state.fail(&error.to_string(), puller.clock.wall()) {
                        puller.states.failed();
                        tracing::warn!(playback = self.playback, %error, "no upstream gives a stream that is watched; they are asked again");
                        self.tell("pull_failed", error.to_string());
                    }
                }
            }
        }
    }

    async fn search(&self, first: usize) -> Result<Opened, SearchError> {
        let searching = self.puller.upstreams.search(&self.playback, &self.via, first);
        let late = || SearchError::Failed(format!("no upstream has begun to send it within {} s", SEARCH_MAX.as_secs()));
        tokio::time::timeout(SEARCH_MAX, searching).await.unwrap_or_else(|_| Err(late()))
    }

    /// Whether someone watches the stream, or did a moment ago; a publisher's is none to pull.
    fn is_wanted(&mut self) -> bool {
        let now = self.puller.clock.now();
        match self.puller.hub.find(&self.playback) {
            Some(stream) if stream.is_published() && stream.pull().is_none() => false,
            Some(stream) if stream.is_watched(now) => {
                self.watched_at = now;
                true
            }
            _ if !self.has_begun => now.since(self.watched_at) < UNBEGUN_MAX,
            Some(_) => now.since(self.watched_at) < self.puller.linger,
            // It is over for its viewers.
            None => false,
        }
    }

    /// Takes what an upstream sends.
    async fn feed(&mut self, Opened { upstream, mut body, path }: Opened) -> End {
        let puller = self.puller.clone();
        let mut reader = Reader::new(puller.tag_bytes_max);
        let mut feeding = Feeding { upstream: puller.upstreams.name(upstream).to_owned(), path, hold: None };
        let mut look = tokio::time::interval(LOOK_INTERVAL);
        let mut silent_at = tokio::time::Instant::now() + puller.silence_max;
        loop {
            let stop = feeding.hold.as_ref().map(|hold| hold.stop.clone());
            tokio::select! {
                biased;
                () = puller.shutdown.cancelled() => return End::Over,
                () = async { if let Some(stop) = &stop { stop.cancelled().await } }, if stop.is_some() => return End::Over,
                _ = look.tick() => if !self.is_wanted() { return End::Over },
                () = tokio::time::sleep_until(silent_at) => return End::Lost(Lost::Silent(puller.silence_max)),
                read = read(&mut body) => {
                    let bytes = match read {
                        Ok(Some(bytes)) => bytes,
                        Ok(None) => return End::Lost(Lost::Ended),
                        Err(lost) => return End::Lost(lost),
                    };
                    silent_at = tokio::time::Instant::now() + puller.silence_max;
                    puller.states.receive(bytes.len());
                    if let Err(error) = reader.handle_bytes(&bytes) {
                        return End::Lost(error.into());
                    }
                    while let Some(event) = reader.poll_event() {
                        if self.take(&mut feeding, event).is_err() {
                            return End::Over;
                        }
                    }
                }
            }
        }
    }

    /// The stream begins with the first thing that is known of it.
    fn take(&mut self, feeding: &mut Feeding, event: Event) -> Result<(), Superseded> {
        let (puller, now) = (self.puller.clone(), self.puller.clock.now());
        if feeding.hold.is_none() {
            let pull = Pull { path: feeding.path.clone() };
            feeding.hold = Some(puller.hub.begin_pull(&self.playback, pull).ok_or(Superseded)?);
            self.began(&feeding.upstream);
        }
        let Some(Hold { stream, id, .. }) = &feeding.hold else { return Err(Superseded) };
        match event {
            Event::Track(track) if track.id.is_default() => stream.set_track(*id, *track),
            Event::Frame(frame) if frame.track.is_default() => stream.push(*id, frame, now, puller.clock.wall()).map(drop),
            Event::Metadata(metadata) => stream.set_metadata(*id, metadata),
            Event::Track(_) | Event::Frame(_) => Ok(()),
            Event::Remark { what } => {
                tracing::info!(
                    playback = self.playback,
                    upstream = feeding.upstream,
                    what,
                    "an upstream sends what is not as it should be"
                );
                Ok(())
            }
        }
    }

    fn began(&mut self, upstream: &str) {
        let puller = &self.puller;
        if self.has_begun {
            puller.states.switched();
        } else {
            // From now on it is seen who watches: those who have waited come in a moment.
            self.watched_at = puller.clock.now();
        }
        tracing::info!(playback = self.playback, upstream, again = self.has_begun, "a stream is pulled");
        self.has_begun = true;
        if self.state.comes_from(upstream, puller.clock.wall()) {
            self.tell("pull_resumed", upstream.to_owned());
        }
    }

    fn tell(&self, kind: &str, reason: String) {
        let incident = OriginIncident { kind: kind.to_owned(), playback: self.playback.clone(), reason, ..OriginIncident::default() };
        self.puller.incidents.push(incident);
        self.puller.hub.changed.notify_one();
    }
}

/// Frames of one upstream.
struct Feeding {
    upstream: String,
    path: Via,
    hold: Option<Hold>,
}

/// The next bytes; `None` at the end.
async fn read(body: &mut Body) -> Result<Option<bytes::Bytes>, Lost> {
    loop {
        match body.frame().await {
            None => return Ok(None),
            Some(Err(error)) => return Err(Lost::Broken(error.to_string())),
            Some(Ok(frame)) => {
                if let Ok(bytes) = frame.into_data() {
                    return Ok(Some(bytes));
                }
            }
        }
    }
}
