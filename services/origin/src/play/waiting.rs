//! Viewers that wait for a camera which streams because they watch.

use super::{Missing, Play};
use crate::auth::viewing::Admitted;
use crate::auth::wish::Wish;
use crate::live::stream::Stream;
use sightline_signal::report::WantedState;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// How often whoever waits asks again: it lengthens the lease, and finds the stream where another origin has it.
const ASK_INTERVAL: Duration = Duration::from_secs(1);

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
}

impl Play {
    /// Lets someone watch by a connection of its own, as [`Self::begin`] does; a camera that starts for its viewers is waited for.
    pub(crate) async fn begin_or_wait(&self, wish: Wish<'_>) -> Result<(Arc<Stream>, Admitted), Missing> {
        let admitted = self.viewing.begin(wish).map_err(Missing::Right)?;
        Ok((self.find_or_wait(wish.playback, wish.address).await?, admitted))
    }

    /// A stream, for someone who has the right to it; a camera that starts for its viewers is waited for.
    pub(crate) async fn find_or_wait(&self, playback: &str, address: IpAddr) -> Result<Arc<Stream>, Missing> {
        if let Some(stream) = self.hub.find(playback) {
            self.join(&stream, address);
            return Ok(stream);
        }
        match self.wait(playback, address, self.start_wait).await {
            Awaited::Here => self.hub.find(playback).ok_or(Missing::Stream),
            Awaited::Nowhere => Err(Missing::Stream),
            Awaited::Offline => Err(Missing::Offline),
            Awaited::Elsewhere(url) => Err(Missing::Elsewhere(url)),
            Awaited::NotStarted(waited) => Err(Missing::NotStarted(waited)),
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
    }

    /// Waits for a stream's first picture, if the cloud says that it is on its way.
    pub(crate) async fn wait(&self, playback: &str, address: IpAddr, limit: Duration) -> Awaited {
        let Some(wanted) = &self.wanted else { return Awaited::Nowhere };
        let mut begun = self.hub.watch_begun();
        let waiting = async {
            let mut is_starting = false;
            loop {
                begun.borrow_and_update();
                if let Some(stream) = self.hub.find(playback).filter(|stream| stream.is_published()) {
                    first_picture(&stream).await;
                    return Awaited::Here;
                }
                let answer = wanted.ask(playback, address).await;
                match answer.state {
                    WantedState::Starting => is_starting = true,
                    WantedState::Elsewhere => return Awaited::Elsewhere(answer.http_url),
                    // A cloud that is away for a moment does not end what has begun.
                    _ if is_starting => {}
                    WantedState::Offline => return Awaited::Offline,
                    WantedState::Unknown | WantedState::NotOnDemand => return Awaited::Nowhere,
                }
                tokio::select! {
                    changed = begun.changed() => if changed.is_err() { return Awaited::Nowhere },
                    () = tokio::time::sleep(ASK_INTERVAL) => {}
                }
            }
        };
        match tokio::time::timeout(limit, waiting).await {
            Ok(awaited) => awaited,
            Err(_) => {
                wanted.gave_up(playback, limit).await;
                Awaited::NotStarted(limit)
            }
        }
    }
}

/// Cameras that have fallen asleep under their viewers are asked for: the word that someone watches may have come too late, or was lost.
/// Runs until the shutdown.
pub(crate) async fn call_back(play: Arc<Play>, shutdown: CancellationToken) {
    if play.wanted.is_none() {
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

/// Until a stream has a picture to begin with, or is over.
async fn first_picture(stream: &Stream) {
    let mut head = stream.watch();
    loop {
        head.borrow_and_update();
        if stream.last_key_frame().is_some() {
            return;
        }
        tokio::select! {
            () = stream.ended.cancelled() => return,
            changed = head.changed() => if changed.is_err() { return },
        }
    }
}
