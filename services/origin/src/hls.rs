//! HLS of a stream, made while someone asks for it. A playlist of a minute takes many times the memory of all else that a stream
//! needs, and few streams of a fleet are watched, fewer by HLS.

use crate::ring::StreamConfig;
use bytes::Bytes;
use sightline_hls::Muxer;
use sightline_media::{Frame, Instant};
use std::sync::Arc;
use std::time::Duration;

/// How long segments are made after the last request: twenty playlists of a player that has stalled, or its user's pause.
const IDLE: Duration = Duration::from_secs(60);

/// A stream's muxer, which sleeps.
pub(crate) struct Hls {
    muxer: Muxer,
    /// The last request; `None` while it sleeps.
    asked: Option<Instant>,
}

impl Hls {
    pub(crate) fn new(config: sightline_hls::Config) -> Self {
        Self { muxer: Muxer::new(config), asked: None }
    }

    /// Someone asked. True when the frames since the last key frame are to be given with [`push`](Self::push): it slept.
    pub(crate) fn wake(&mut self, now: Instant) -> bool {
        let slept = self.asked.is_none();
        if slept {
            // Whoever asked waits for it.
            self.muxer.end_segment_early();
        }
        self.asked = Some(now);
        slept
    }

    pub(crate) fn push(&mut self, frame: &Frame<Bytes>, now: Instant) {
        match self.asked {
            Some(asked) if now.since(asked) < IDLE => self.muxer.push(frame),
            Some(_) => {
                self.asked = None;
                self.muxer.clear();
            }
            None => {}
        }
    }

    pub(crate) fn set_config(&mut self, config: &Arc<StreamConfig>) {
        if let Err(error) = self.muxer.set_tracks(&config.tracks) {
            tracing::warn!(%error, "the stream can't be offered as HLS");
        }
    }

    pub(crate) fn discontinue(&mut self) {
        self.muxer.discontinue();
    }

    pub(crate) fn playlist(&self) -> Option<String> {
        self.muxer.is_playable().then(|| self.muxer.playlist())
    }

    pub(crate) fn init(&self, number: u64) -> Option<Bytes> {
        self.muxer.init(number)
    }

    pub(crate) fn segment(&self, sequence: u64) -> Option<Bytes> {
        self.muxer.segment(sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sightline_media::{MediaTime, Track, TrackConfig, TrackId, aac::AudioConfig};

    const SECOND: u64 = 1_000_000;

    fn frame(second: u64) -> Frame<Bytes> {
        let dts = MediaTime::from_millis(i64::try_from(second).unwrap() * 1000);
        Frame { track: TrackId::AUDIO, dts, pts: dts, is_keyframe: true, is_disposable: false, payload: Bytes::from_static(b"sound") }
    }

    #[test]
    fn segments_are_made_from_the_first_request_to_a_minute_after_the_last() {
        let mut hls = Hls::new(sightline_hls::Config::default());
        let track = Track { id: TrackId::AUDIO, config: TrackConfig::Aac(AudioConfig::parse(&[0x12, 0x10]).unwrap()) };
        hls.set_config(&Arc::new(StreamConfig { id: 1, tracks: vec![track], metadata: None, chunk_size: 4096 }));
        let at = |second: u64| Instant::from_micros(second * SECOND);
        hls.push(&frame(0), at(0));
        hls.push(&frame(9), at(9));
        assert_eq!(hls.playlist(), None, "no one asked");
        assert!(hls.wake(at(10)));
        hls.push(&frame(9), at(10));
        hls.push(&frame(11), at(11));
        assert!(hls.playlist().unwrap().contains("seg-0.m4s"), "the first does not wait for its full length");
        assert!(!hls.wake(at(20)));
        hls.push(&frame(79), at(79));
        assert!(hls.playlist().is_some());
        hls.push(&frame(80), at(80));
        assert_eq!(hls.playlist(), None);
        assert!(hls.wake(at(90)));
        hls.push(&frame(90), at(90));
        hls.push(&frame(91), at(91));
        let playlist = hls.playlist().unwrap();
        assert!(playlist.contains("#EXT-X-DISCONTINUITY\n") && !playlist.contains("seg-0.m4s"), "{playlist}");
    }
}
