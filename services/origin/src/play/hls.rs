//! HLS of a stream, made while someone asks for it. A playlist of a minute takes many times the memory of all else that a stream
//! needs, and few streams of a fleet are watched, fewer by HLS.

use super::Play;
use crate::live::packet::Packet;
use crate::live::stream::Stream;
use crate::live::tap::{Next, Tap};
use bytes::Bytes;
use sightline_hls::Muxer;
use sightline_media::Instant;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long segments are made after the last request: twenty playlists of a player that has stalled, or its user's pause.
const IDLE: Duration = Duration::from_secs(60);
/// How long the first request for a playlist may wait for its first segment: a group of pictures of a camera that saves, within what
/// players wait for an answer.
const FIRST_SEGMENT_WAIT: Duration = Duration::from_secs(10);

/// The playlist of a stream.
pub(super) struct Playlist(Mutex<State>);

struct State {
    muxer: Muxer,
    /// The last request; `None` while no segments are made.
    asked: Option<Instant>,
    /// The configuration that the muxer has.
    config_id: u64,
}

impl Playlist {
    fn new(config: sightline_hls::Config) -> Self {
        Self(Mutex::new(State { muxer: Muxer::new(config), asked: None, config_id: 0 }))
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

    fn text(&self) -> Option<String> {
        let state = self.state();
        state.muxer.is_playable().then(|| state.muxer.playlist())
    }

    pub(super) fn init(&self, number: u64) -> Option<Bytes> {
        self.state().muxer.init(number)
    }

    pub(super) fn segment(&self, sequence: u64) -> Option<Bytes> {
        self.state().muxer.segment(sequence)
    }
}

/// Feeds a playlist, until nobody asks for it.
struct PlaylistTap(Arc<Playlist>);

impl Tap for PlaylistTap {
    fn handle_packet(&mut self, packet: &Arc<Packet>, now: Instant) -> Next {
        let mut state = self.0.state();
        if state.asked.is_none_or(|asked| now.since(asked) >= IDLE) {
            state.asked = None;
            state.muxer.clear();
            return Next::Leave;
        }
        if state.config_id != packet.config.id {
            state.config_id = packet.config.id;
            if let Err(error) = state.muxer.set_tracks(&packet.config.tracks) {
                tracing::warn!(%error, "the stream can't be offered as HLS");
            }
        }
        state.muxer.push(&packet.frame);
        Next::Stay
    }

    fn handle_takeover(&mut self) {
        self.0.state().muxer.discontinue();
    }
}

/// The playlist of a stream, which may be empty.
pub(super) fn playlist_of(play: &Play, stream: &Stream) -> Arc<Playlist> {
    stream.extensions.get_or_make(|| Playlist::new(play.hls))
}

/// The playlist as text, as soon as it has a segment: segments are made from the first request on.
pub(super) async fn first_playlist(play: &Play, stream: &Arc<Stream>) -> Option<String> {
    let playlist = playlist_of(play, stream);
    let mut head = stream.watch();
    let first = async {
        loop {
            head.borrow_and_update();
            let now = play.clock.now();
            if playlist.wake(now) {
                stream.attach(Box::new(PlaylistTap(playlist.clone())), now);
            }
            if let Some(text) = playlist.text() {
                return Some(text);
            }
            if !stream.is_published() {
                return None;
            }
            head.changed().await.ok()?;
        }
    };
    tokio::time::timeout(FIRST_SEGMENT_WAIT, first).await.ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
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
        let playlist = Arc::new(Playlist::new(sightline_hls::Config::default()));
        let mut tap = PlaylistTap(playlist.clone());
        let at = |second: u64| Instant::from_micros(second * SECOND);
        assert_eq!(tap.handle_packet(&packet(9), at(9)), Next::Leave, "no one asked");
        assert_eq!(playlist.text(), None);
        assert!(playlist.wake(at(10)));
        assert_eq!(tap.handle_packet(&packet(9), at(10)), Next::Stay);
        tap.handle_packet(&packet(11), at(11));
        assert!(playlist.text().unwrap().contains("seg-0.m4s"), "the first does not wait for its full length");
        assert!(!playlist.wake(at(20)));
        tap.handle_packet(&packet(79), at(79));
        assert!(playlist.text().is_some());
        assert_eq!(tap.handle_packet(&packet(80), at(80)), Next::Leave);
        assert_eq!(playlist.text(), None);
        assert!(playlist.wake(at(90)));
        tap.handle_packet(&packet(90), at(90));
        tap.handle_packet(&packet(91), at(91));
        let text = playlist.text().unwrap();
        assert!(text.contains("#EXT-X-DISCONTINUITY\n") && !text.contains("seg-0.m4s"), "{text}");
    }
}
