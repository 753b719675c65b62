//! Viewers that wait for a stream which comes because they watch: its camera starts, or another origin gives it.

use super::{Missing, Play};
use crate::auth::viewing::Admitted;
use crate::auth::wish::Wish;
use crate::live::stream::Stream;
use crate::pull::SearchError;
use crate::via::Via;
use sightline_signal::report::{WantedAnswer, WantedState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// How often whoever waits asks again: it lengthens the lease, and finds the stream where another origin has it.
const ASK_INTERVAL: Duration = Duration::from_secs(1);

/// A stream of which nothing newer than this came is not new, where an edge does not say what it calls silent.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(5);

/// What an edge asks of a stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EdgeWish<'a> {
    /// The way that its request came by.
    pub(super) via: &'a Via,
    /// What has been silent for longer it does not want.
    pub(super) silence_max: Duration,
}

/// What came of waiting.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Awaited {
    /// It is here.
    Here,
    /// No one has it, or nobody can start it.
    Nowhere,
    /// Its camera has no connection to the cloud.
    Offline,
    /// Another origin has it, at `http://host:port`.
    Elsewhere(String),
    /// Its camera was told to start, and has sent no picture in this time.
    NotStarted(Duration),
    /// It was to come from another origin, and does not.
    Upstream(SearchError),
    /// It is there, or on its way from another origin, and had no picture in this time.
    Silent(Duration),
}

/// Where a stream is that is not here.
enum Whereabouts {
    /// It is on its way from another origin.
    Pulled,
    Said(WantedAnswer),
    Upstream(SearchError),
}

impl Play {
    /// Lets someone watch by a connection of its own, as [`Self::begin`] does; a camera that starts for its viewers is waited for.
    pub(crate) async fn begin_or_wait(&self, wish: Wish<'_>) -> Result<(Arc<Stream>, Admitted), Missing> {
        let admitted = self.viewing.begin(wish).map_err(Missing::Right)?;
        Ok((self.find_or_wait(wish.playback, wish.address).await?, admitted))
    }

    /// Lets an edge pull a stream.
    pub(crate) async fn begin_edge(&self, wish: Wish<'_>, edge: EdgeWish<'_>) -> Result<(Arc<Stream>, Admitted), Missing> {
        let admitted = self.viewing.begin(wish).map_err(Missing::Right)?;
        let stream = self.find_for_edge(wish.playback, wish.address, edge).await?;
        self.join(&stream, wish.address);
        Ok((stream, admitted))
    }

    /// A stream, for someone who has the right to it; a camera that starts for its viewers is waited for.
    pub(crate) async fn find_or_wait(&self, playback: &str, address: IpAddr) -> Result<Arc<Stream>, Missing> {
        if let Some(stream) = self.hub.find(playback) {
            self.join(&stream, address);
            return Ok(stream);
        }
        self.found(playback, self.wait(playback, address, self.start_wait).await)
    }

    fn found(&self, playback: &str, awaited: Awaited) -> Result<Arc<Stream>, Missing> {
        match awaited {
            Awaited::Here => self.hub.find(playback).ok_or(Missing::Stream),
            Awaited::Nowhere => Err(Missing::Stream),
            Awaited::Offline => Err(Missing::Offline),
            Awaited::Elsewhere(url) => Err(Missing::Elsewhere(url)),
            Awaited::NotStarted(waited) => Err(Missing::NotStarted(waited)),
            Awaited::Upstream(why) => Err(Missing::Upstream(why)),
            Awaited::Silent(waited) => Err(Missing::Silent(waited)),
        }
    }

    /// Someone comes to a stream that is there.
    pub(super) fn join(&self, stream: &Arc<Stream>, address: IpAddr) {
        if !stream.is_published() {
            self.hurry(stream, address);
        } else if !stream.is_watched(self.clock.now()) {
            // Its camera may be about to sleep: the cloud is to hear at once that someone watches.
            self.hub.changed.notify_one();
        }
    }

    /// A stream whose publisher has gone a moment ago is played from what is kept of it; its camera may have to start again.
    fn hurry(&self, stream: &Arc<Stream>, address: IpAddr) {
        if let Some(wanted) = self.wanted.clone() {
            let playback = stream.playback.clone();
            self.tasks.spawn(async move { wanted.ask(&playback, address).await });
        }
        if let Some(pulls) = self.pulls.clone() {
            let playback = stream.playback.clone();
            self.tasks.spawn(async move { pulls.want(&playback, address, &Via::default()).await });
        }
    }

    /// Waits for a stream's first picture, if it is on its way: from another origin, or from a camera that starts, as the cloud says.
    pub(crate) async fn wait(&self, playback: &str, address: IpAddr, limit: Duration) -> Awaited {
        self.wait_as(playback, address, None, limit).await
    }

    async fn wait_as(&self, playback: &str, address: IpAddr, edge: Option<EdgeWish<'_>>, limit: Duration) -> Awaited {
        let (nobody, via) = (Via::default(), edge.map(|edge| edge.via));
        let via = via.unwrap_or(&nobody);
        let mut begun = self.hub.watch_begun();
        let mut is_starting = false;
        let waiting = async {
            loop {
                begun.borrow_and_update();
                if let Some(stream) = self.hub.find(playback).filter(|stream| stream.is_published()) {
                    self.first_picture(&stream, edge).await;
                    return Awaited::Here;
                }
                match self.whereabouts(playback, address, via).await {
                    Whereabouts::Pulled => {}
                    Whereabouts::Said(WantedAnswer { state: WantedState::Starting, .. }) => is_starting = true,
                    Whereabouts::Said(WantedAnswer { state: WantedState::Elsewhere, http_url }) => return Awaited::Elsewhere(http_url),
                    // A cloud that is away for a moment does not end what has begun.
                    Whereabouts::Said(_) if is_starting => {}
                    Whereabouts::Said(WantedAnswer { state: WantedState::Offline, .. }) => return Awaited::Offline,
                    Whereabouts::Said(_) => return Awaited::Nowhere,
                    Whereabouts::Upstream(why) => return Awaited::Upstream(why),
                }
                tokio::select! {
                    changed = begun.changed() => if changed.is_err() { return Awaited::Nowhere },
                    () = tokio::time::sleep(ASK_INTERVAL) => {}
                }
            }
        };
        let waited = tokio::time::timeout(limit, waiting).await;
        match (waited, &self.wanted) {
            (Ok(awaited), _) => awaited,
            (Err(_), Some(wanted)) if is_starting => {
                wanted.gave_up(playback, limit).await;
                Awaited::NotStarted(limit)
            }
            (Err(_), _) => Awaited::Silent(limit),
        }
    }

    /// Other origins are asked first, where there are any: what the cloud says is where else a stream is.
    async fn whereabouts(&self, playback: &str, address: IpAddr, via: &Via) -> Whereabouts {
        let pulled = match &self.pulls {
            Some(pulls) => pulls.want(playback, address, via).await,
            None => Err(SearchError::Nowhere),
        };
        match (pulled, &self.wanted) {
            (Ok(()), _) => Whereabouts::Pulled,
            (Err(SearchError::Nowhere), Some(wanted)) => Whereabouts::Said(wanted.ask(playback, address).await),
            (Err(why), _) => Whereabouts::Upstream(why),
        }
    }

    /// A stream that an edge asks for. What it gets must be new: it has shown its viewers what was before, and asks others if there is
    /// nothing. What came by the edge itself is not here.
    pub(crate) async fn find_for_edge(&self, playback: &str, address: IpAddr, edge: EdgeWish<'_>) -> Result<Arc<Stream>, Missing> {
        let found = self.hub.find(playback).filter(|stream| stream.is_published());
        let awaited = match found {
            Some(stream) if leads_back(&stream, edge.via) => Awaited::Upstream(SearchError::Loop("the stream comes from there".to_owned())),
            Some(stream) if stream.is_fresh(self.clock.now(), edge.silence_max) => return Ok(stream),
            _ => self.wait_as(playback, address, Some(edge), self.start_wait).await,
        };
        let stream = self.found(playback, awaited)?;
        let is_good = !leads_back(&stream, edge.via) && stream.is_fresh(self.clock.now(), edge.silence_max);
        if is_good { Ok(stream) } else { Err(Missing::Stream) }
    }

    /// Until a stream has a picture to begin with, or is over; for an edge, a new one.
    async fn first_picture(&self, stream: &Stream, edge: Option<EdgeWish<'_>>) {
        let mut head = stream.watch();
        loop {
            head.borrow_and_update();
            let is_there = match edge {
                None => stream.last_key_frame().is_some(),
                Some(edge) => !stream.is_published() || stream.is_fresh(self.clock.now(), edge.silence_max),
            };
            if is_there {
                return;
            }
            tokio::select! {
                () = stream.ended.cancelled() => return,
                changed = head.changed() => if changed.is_err() { return },
            }
        }
    }
}

fn leads_back(stream: &Stream, via: &Via) -> bool {
    stream.pull().is_some_and(|pull| pull.path.meets(via))
}

/// Cameras that have fallen asleep under their viewers are asked for: the word that someone watches may have come too late, or was lost.
/// Runs until the shutdown.
pub(crate) async fn call_back(play: Arc<Play>, shutdown: CancellationToken) {
    if play.wanted.is_none() && play.pulls.is_none() {
        return;
    }
    let mut interval = tokio::time::interval(ASK_INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = interval.tick() => play.hub.missed().iter().for_each(|stream| play.hurry(stream, IpAddr::V6(Ipv6Addr::UNSPECIFIED))),
        }
    }
}
