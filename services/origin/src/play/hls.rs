//! HLS of a stream, made while someone asks for it. A playlist of a minute takes many times the memory of all else that a stream
//! needs, and few streams of a fleet are watched, fewer by HLS.

use super::Play;
use crate::clock::Clock;
use crate::live::packet::Packet;
use crate::live::stream::Stream;
use crate::live::tap::{Next, Tap};
use sightline_hls::{Lookup, Muxer, Run, Wait};
use sightline_media::Instant;
use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long segments are made after the last request: twenty playlists of a player that has stalled, or its user's pause.
const IDLE: Duration = Duration::from_secs(60);
/// How long the first request for a playlist may wait for its first segment: a group of pictures of a camera that saves, within what
/// players wait for an answer.
const FIRST_SEGMENT_WAIT: Duration = Duration::from_secs(10);
/// How long a request waits for what it names, in target durations (RFC 8216bis §6.2.5.2).
const WAIT_TARGETS: u32 = 3;
/// How long a playlist of a stream that is over stays, with its end, in target durations.
const LINGER_TARGETS: u32 = 2;
/// How often playlists that have lingered are looked for.
const FORGET_INTERVAL: Duration = Duration::from_secs(1);

/// The playlist of a stream.
pub(super) struct Playlist(Mutex<State>);

struct State {
    muxer: Muxer,
    /// The last request; `None` while no segments are made.
    asked: Option<Instant>,
    /// The configuration that the muxer has.
    config_id: u64,
    /// When the stream was over.
    ended_at: Option<Instant>,
}

impl Playlist {
    fn new(config: sightline_hls::Config, clock: Clock) -> Self {
        // No number and no name of it is one of a playlist before: not of this stream, and not of an origin that ran before this one.
        let first_sequence = u64::try_from(clock.wall().unix_secs()).unwrap_or_default();
        let mark = (RandomState::new().hash_one(first_sequence) >> 32) as u32;
        let muxer = Muxer::new(config, Run { first_sequence, mark });
        Self(Mutex::new(State { muxer, asked: None, config_id: 0, ended_at: None }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Someone asked. True when a tap is to be attached: no segments were made so far.
    fn wake(&self, now: Instant) -> bool {
        let mut state = self.state();
        let was_idle = state.asked.replace(now).is_none();
        if was_idle {
            // Whoever asked waits for it.
            state.muxer.end_segment_early();
        }
        was_idle
    }

    fn text(&self, is_delta: bool) -> Option<String> {
        self.state().muxer.playlist(is_delta)
    }

    fn wait_for(&self, (sequence, part): (u64, Option<u64>)) -> Wait {
        self.state().muxer.wait_for(sequence, part)
    }

    fn lookup(&self, name: &str) -> Lookup {
        self.state().muxer.lookup(name)
    }

    fn wait_max(&self) -> Duration {
        (self.state().muxer.target_duration() * WAIT_TARGETS).max(FIRST_SEGMENT_WAIT)
    }

    fn end(&self, now: Instant) {
        let mut state = self.state();
        state.muxer.end();
        state.ended_at = Some(now);
    }

    /// Whether the stream is over, and its last viewers may still ask.
    fn lingers(&self, now: Instant) -> bool {
        let state = self.state();
        state.ended_at.is_some_and(|ended| now.since(ended) < state.muxer.target_duration() * LINGER_TARGETS)
    }
}

/// Feeds a playlist, until nobody asks for it or the stream is over.
struct PlaylistTap {
    playlist: Arc<Playlist>,
    clock: Clock,
    /// It left by itself: the stream goes on.
    has_left: bool,
}

impl Tap for PlaylistTap {
    fn handle_packet(&mut self, packet: &Arc<Packet>, now: Instant) -> Next {
        let mut state = self.playlist.state();
        if state.asked.is_none_or(|asked| now.since(asked) >= IDLE) {
            state.asked = None;
            state.muxer.clear();
            self.has_left = true;
            return Next::Leave;
        }
        if state.config_id != packet.config.id {
            state.config_id = packet.config.id;
            if let Err(error) = state.muxer.set_tracks(&packet.config.tracks) {
                tracing::warn!(%error, "the stream can't be offered as HLS");
            }
        }
        state.muxer.push(&packet.frame, packet.captured.at);
        Next::Stay
    }

    fn handle_takeover(&mut self) {
        self.playlist.state().muxer.discontinue();
    }
}

impl Drop for PlaylistTap {
    fn drop(&mut self) {
        if !self.has_left {
            self.playlist.end(self.clock.now());
        }
    }
}

/// Playlists that were asked for, by playback id: of a stream that is over the last viewers learn it from there.
#[derive(Default)]
pub(crate) struct Recent(Mutex<HashMap<String, Arc<Playlist>>>);

impl Recent {
    fn playlists(&self) -> MutexGuard<'_, HashMap<String, Arc<Playlist>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, playback: &str, playlist: &Arc<Playlist>) {
        let mut playlists = self.playlists();
        if !playlists.get(playback).is_some_and(|kept| Arc::ptr_eq(kept, playlist)) {
            playlists.insert(playback.to_owned(), playlist.clone());
        }
    }

    fn ended(&self, playback: &str, now: Instant) -> Option<Arc<Playlist>> {
        self.playlists().get(playback).filter(|playlist| playlist.lingers(now)).cloned()
    }

    /// A stream that is there holds its playlist, too.
    fn forget(&self, now: Instant) {
        self.playlists().retain(|_, playlist| Arc::strong_count(playlist) > 1 || playlist.lingers(now));
    }
}

/// Lets playlists go that have lingered. Runs until the shutdown.
pub(crate) async fn forget_ended(play: Arc<Play>, shutdown: CancellationToken) {
    let mut interval = tokio::time::interval(FORGET_INTERVAL);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = interval.tick() => play.recent.forget(play.clock.now()),
        }
    }
}

/// The playlist of a stream, which may be empty.
fn playlist_of(play: &Play, stream: &Stream) -> Arc<Playlist> {
    stream.extensions.get_or_make(|| Playlist::new(play.hls, play.clock))
}

/// What a player asks of a playlist.
#[derive(Clone, Copy, Default, Debug, serde::Deserialize)]
pub(super) struct Question {
    /// The number of the segment that it is to have.
    #[serde(rename = "_HLS_msn")]
    sequence: Option<u64>,
    /// The part of it, from zero.
    #[serde(rename = "_HLS_part")]
    part: Option<u64>,
    #[serde(rename = "_HLS_skip", default)]
    skip: Skip,
}

/// Whether a delta will do.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Deserialize)]
enum Skip {
    #[default]
    No,
    #[serde(rename = "YES", alias = "v2")]
    Yes,
}

/// What a request for a playlist gets.
pub(super) enum Answer {
    Text(String),
    /// Not yet: ask again.
    Later,
    /// What it asks for makes no sense.
    Wrong(&'static str),
}

/// The playlist, as soon as it has what is asked for: segments are made from the first request on.
pub(super) async fn playlist(play: &Play, stream: &Arc<Stream>, question: Question) -> Answer {
    let playlist = playlist_of(play, stream);
    play.recent.keep(&stream.playback, &playlist);
    let wanted = match (question.sequence, question.part) {
        (None, Some(_)) => return Answer::Wrong("_HLS_part needs _HLS_msn"),
        (sequence, part) => sequence.map(|sequence| (sequence, part)),
    };
    let answer = async {
        let mut head = stream.watch();
        loop {
            head.borrow_and_update();
            let now = play.clock.now();
            if playlist.wake(now) {
                let tap = PlaylistTap { playlist: playlist.clone(), clock: play.clock, has_left: false };
                stream.attach(Box::new(tap), now);
            }
            let wait = wanted.map_or(Wait::Over, |wanted| playlist.wait_for(wanted));
            match (wait, playlist.text(question.skip == Skip::Yes)) {
                (Wait::TooFar, Some(_)) => return Answer::Wrong("_HLS_msn is more than one segment ahead"),
                (Wait::Over, Some(text)) => return Answer::Text(text),
                _ if !stream.is_published() => return Answer::Later,
                _ => {}
            }
            tokio::select! {
                () = stream.ended.cancelled() => return Answer::Later,
                changed = head.changed() => if changed.is_err() { return Answer::Later },
            }
        }
    };
    tokio::time::timeout(playlist.wait_max(), answer).await.unwrap_or(Answer::Later)
}

/// A file of the playlist; one that was hinted at as soon as it is there.
pub(super) async fn file(play: &Play, stream: &Arc<Stream>, name: &str) -> Lookup {
    let playlist = playlist_of(play, stream);
    let found = async {
        let mut head = stream.watch();
        loop {
            head.borrow_and_update();
            let found = playlist.lookup(name);
            if found != Lookup::Soon {
                return found;
            }
            tokio::select! {
                () = stream.ended.cancelled() => return Lookup::Gone,
                changed = head.changed() => if changed.is_err() { return Lookup::Gone },
            }
        }
    };
    tokio::time::timeout(playlist.wait_max(), found).await.unwrap_or(Lookup::Gone)
}

/// The playlist of a stream that was over a moment ago.
pub(super) fn last_playlist(play: &Play, playback: &str) -> Option<String> {
    play.recent.ended(playback, play.clock.now())?.text(false)
}

/// A file of it.
pub(super) fn last_file(play: &Play, playback: &str, name: &str) -> Lookup {
    play.recent.ended(playback, play.clock.now()).map_or(Lookup::Gone, |playlist| playlist.lookup(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use sightline_media::{Frame, MediaTime, StreamConfig, Track, TrackConfig, TrackId, aac::AudioConfig};

    const SECOND: u64 = 1_000_000;

    fn packet(second: u64) -> Arc<Packet> {
        let dts = MediaTime::from_millis(i64::try_from(second).unwrap() * 1000);
        let frame =
            Frame { track: TrackId::AUDIO, dts, pts: dts, is_keyframe: true, is_disposable: false, payload: Bytes::from_static(b"sound") };
        let track = Track { id: TrackId::AUDIO, config: TrackConfig::Aac(AudioConfig::parse(&[0x12, 0x10]).unwrap()) };
        Arc::new(Packet::new(frame, Arc::new(StreamConfig { id: 1, tracks: vec![track], metadata: None })))
    }

    #[test]
    fn segments_are_made_from_the_first_request_to_a_minute_after_the_last() {
        let clock = Clock::start();
        let playlist = Arc::new(Playlist::new(sightline_hls::Config::default(), clock));
        let mut tap = PlaylistTap { playlist: playlist.clone(), clock, has_left: false };
        let at = |second: u64| Instant::from_micros(second * SECOND);
        assert_eq!(tap.handle_packet(&packet(9), at(9)), Next::Leave, "no one asked");
        assert_eq!(playlist.text(false), None);
        assert!(playlist.wake(at(10)));
        assert_eq!(tap.handle_packet(&packet(9), at(10)), Next::Stay);
        tap.handle_packet(&packet(11), at(11));
        let first = playlist.text(false).unwrap();
        assert_eq!(first.matches("#EXTINF").count(), 1, "the first does not wait for its full length: {first}");
        assert!(!playlist.wake(at(20)));
        tap.handle_packet(&packet(79), at(79));
        assert!(playlist.text(false).is_some());
        assert_eq!(tap.handle_packet(&packet(80), at(80)), Next::Leave);
        assert_eq!(playlist.text(false), None);
        assert!(playlist.wake(at(90)));
        tap.handle_packet(&packet(90), at(90));
        tap.handle_packet(&packet(91), at(91));
        let text = playlist.text(false).unwrap();
        let name = first.lines().find(|line| line.starts_with("seg-")).unwrap();
        assert!(text.contains("#EXT-X-DISCONTINUITY\n") && !text.contains(name), "{text}");
    }

    #[test]
    fn a_stream_that_is_over_has_its_end_in_the_playlist_for_two_target_durations() {
        let (clock, recent) = (Clock::start(), Recent::default());
        let playlist = Arc::new(Playlist::new(sightline_hls::Config::default(), clock));
        recent.keep("p", &playlist);
        playlist.wake(clock.now());
        let mut tap = PlaylistTap { playlist: playlist.clone(), clock, has_left: false };
        (0..8).for_each(|second| _ = tap.handle_packet(&packet(second), clock.now()));
        assert!(recent.ended("p", clock.now()).is_none(), "it goes on");
        drop(tap);
        drop(playlist);
        let (now, target) = (clock.now(), Duration::from_secs(3));
        assert!(recent.ended("p", now).unwrap().text(false).unwrap().ends_with("#EXT-X-ENDLIST\n"));
        recent.forget(now);
        assert!(recent.ended("p", now + target).is_some() && recent.ended("p", now + target * 2).is_none());
        recent.forget(now + target * 2);
        assert!(recent.playlists().is_empty());
    }
}
