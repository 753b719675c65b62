//! A stream's last frames, shared by all its viewers. There is no queue per viewer: each has a place in this one ([`Cursor`]), so
//! a frame is kept once and serialised once, and a slow viewer costs a number.

use bytes::{Bytes, BytesMut};
use sightline_media::{Codec, Frame, MediaTime, Track, TrackId};
use sightline_rtmp::flv;
use sightline_rtmp::server::shared;
use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

/// How a viewer is served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wire {
    Rtmp,
    Flv,
}

/// What a stream is made of at a time.
#[derive(Debug)]
pub(crate) struct StreamConfig {
    /// Another for each change; 0 is none.
    pub(crate) id: u64,
    pub(crate) tracks: Vec<Track>,
    /// AMF0, as the publisher sent it.
    pub(crate) metadata: Option<Bytes>,
    pub(crate) chunk_size: u32,
}

impl StreamConfig {
    /// Metadata and sequence headers, as they come before the frame of time `at`.
    fn serialise(&self, wire: Wire, at: MediaTime) -> Bytes {
        let mut out = BytesMut::new();
        if let Some(values) = &self.metadata {
            out.extend_from_slice(&match wire {
                // At zero, whenever the viewer comes: ffmpeg takes a later one for a track of text.
                Wire::Rtmp => shared::metadata_message(values, MediaTime::ZERO, self.chunk_size),
                Wire::Flv => flv::metadata_tag(values, MediaTime::ZERO),
            });
        }
        for track in &self.tracks {
            out.extend_from_slice(&match wire {
                Wire::Rtmp => shared::track_message(track, at, self.chunk_size),
                Wire::Flv => flv::track_tag(track, at),
            });
        }
        out.freeze()
    }

    /// How a track is coded. A frame of a track that was never announced does not get here.
    pub(crate) fn codec_of(&self, id: TrackId) -> Codec {
        let otherwise = if id == TrackId::AUDIO { Codec::Aac } else { Codec::H264 };
        self.tracks.iter().find(|track| track.id == id).map_or(otherwise, |track| track.config.codec())
    }

    pub(crate) fn has(&self, id: TrackId) -> bool {
        self.tracks.iter().any(|track| track.id == id)
    }
}

/// A frame in the ring, with its serialisations: made when the first viewer of a kind needs them, then shared.
#[derive(Debug)]
pub(crate) struct Packet {
    pub(crate) frame: Frame<Bytes>,
    pub(crate) config: Arc<StreamConfig>,
    rtmp: OnceLock<Bytes>,
    flv: OnceLock<Bytes>,
    headers_rtmp: OnceLock<Bytes>,
    headers_flv: OnceLock<Bytes>,
}

impl Packet {
    fn bytes(&self, wire: Wire) -> &Bytes {
        let codec = || self.config.codec_of(self.frame.track);
        match wire {
            Wire::Rtmp => self.rtmp.get_or_init(|| shared::frame_message(&self.frame, codec(), self.config.chunk_size)),
            Wire::Flv => self.flv.get_or_init(|| flv::frame_tag(&self.frame, codec())),
        }
    }

    /// What a viewer needs before this frame if it does not have it.
    fn headers(&self, wire: Wire) -> &Bytes {
        let cell = match wire {
            Wire::Rtmp => &self.headers_rtmp,
            Wire::Flv => &self.headers_flv,
        };
        cell.get_or_init(|| self.config.serialise(wire, self.frame.dts))
    }
}

/// A viewer's place.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Cursor {
    /// The next frame; `None` before the first.
    next: Option<u64>,
    /// The configuration that the viewer was told.
    config: u64,
}

impl Cursor {
    /// The first frame that it still needs; all that there are before its first.
    pub(crate) fn needed_from(self) -> u64 {
        self.next.unwrap_or(0)
    }
}

/// How many frames are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Of the present group of pictures, in bytes.
    pub(crate) gop_bytes: usize,
    /// Of it and those before it, in bytes: how far a viewer may be behind. What no viewer needs any more is not kept.
    pub(crate) window_bytes: usize,
    /// The same in frames.
    pub(crate) window_frames: usize,
}

/// The last frames.
#[derive(Debug)]
pub(crate) struct Ring {
    limits: Limits,
    packets: VecDeque<Arc<Packet>>,
    /// The number of `packets`' first.
    base: u64,
    bytes: usize,
    last_start: Option<u64>,
}

impl Ring {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, packets: VecDeque::new(), base: 1, bytes: 0, last_start: None }
    }

    /// The number that the next frame will have.
    pub(crate) fn head(&self) -> u64 {
        self.base + self.packets.len() as u64
    }

    /// Where a viewer could begin now.
    pub(crate) fn last_start(&self) -> Option<&Arc<Packet>> {
        self.last_start.and_then(|number| self.get(number))
    }

    fn get(&self, number: u64) -> Option<&Arc<Packet>> {
        usize::try_from(number.checked_sub(self.base)?).ok().and_then(|at| self.packets.get(at))
    }

    /// The frames that a viewer who began now would get.
    pub(crate) fn group(&self) -> impl Iterator<Item = &Arc<Packet>> {
        let start = self.last_start.unwrap_or_else(|| self.head());
        self.packets.iter().skip(usize::try_from(start - self.base).unwrap_or(usize::MAX))
    }

    /// Adds a frame whose time is already the stream's own. Frames before `needed_from` and the last key frame are let go.
    pub(crate) fn push(&mut self, frame: Frame<Bytes>, config: Arc<StreamConfig>, needed_from: u64) {
        let is_video = frame.track == TrackId::VIDEO;
        let can_start = frame.is_keyframe && (is_video || !config.has(TrackId::VIDEO));
        if can_start {
            self.last_start = Some(self.head());
        }
        self.bytes += frame.payload.len();
        self.packets.push_back(Arc::new(Packet {
            frame,
            config,
            rtmp: OnceLock::new(),
            flv: OnceLock::new(),
            headers_rtmp: OnceLock::new(),
            headers_flv: OnceLock::new(),
        }));
        self.trim(needed_from);
    }

    fn trim(&mut self, needed_from: u64) {
        let Limits { gop_bytes, window_bytes, window_frames } = self.limits;
        while self.last_start.is_none_or(|start| self.base < start)
            && self.packets.len() > 1
            && (self.base < needed_from || self.bytes > window_bytes || self.packets.len() > window_frames)
        {
            self.pop();
        }
        // A group of pictures without end: viewers that keep up stay, new ones wait for the next key frame.
        if self.bytes > gop_bytes {
            self.last_start = None;
            while self.bytes > window_bytes && self.packets.len() > 1 {
                self.pop();
            }
        }
    }

    fn pop(&mut self) {
        if let Some(packet) = self.packets.pop_front() {
            self.bytes -= packet.frame.payload.len();
            self.base += 1;
        }
    }

    /// Appends to `out` what comes next for a viewer, about `bytes_max` at most; true when it had to skip to a key frame.
    pub(crate) fn fill(&self, cursor: &mut Cursor, wire: Wire, out: &mut VecDeque<Bytes>, bytes_max: usize) -> bool {
        let mut has_skipped = false;
        let mut next = match cursor.next {
            Some(next) if next >= self.base => next,
            before => {
                let Some(start) = self.last_start else { return false };
                has_skipped = before.is_some();
                start
            }
        };
        let mut filled = 0;
        while filled < bytes_max {
            let Some(packet) = self.get(next) else { break };
            if packet.config.id != cursor.config {
                if wire == Wire::Flv && cursor.config == 0 {
                    let header = flv::file_header(packet.config.has(TrackId::VIDEO), packet.config.has(TrackId::AUDIO));
                    out.push_back(Bytes::copy_from_slice(&header));
                }
                cursor.config = packet.config.id;
                out.push_back(packet.headers(wire).clone());
            }
            let bytes = packet.bytes(wire);
            filled += bytes.len();
            out.push_back(bytes.clone());
            next += 1;
        }
        cursor.next = Some(next);
        has_skipped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sightline_media::{TrackConfig, aac::AudioConfig};

    const LIMITS: Limits = Limits { gop_bytes: 1000, window_bytes: 300, window_frames: 100 };

    fn config(id: u64) -> Arc<StreamConfig> {
        let track = Track { id: TrackId::AUDIO, config: TrackConfig::Aac(AudioConfig::parse(&[0x12, 0x10]).unwrap()) };
        Arc::new(StreamConfig { id, tracks: vec![track], metadata: None, chunk_size: 4096 })
    }

    fn push(ring: &mut Ring, at: i64, is_keyframe: bool) {
        let dts = MediaTime::from_millis(at);
        let payload = Bytes::from(vec![0; 100]);
        ring.push(Frame { track: TrackId::VIDEO, dts, pts: dts, is_keyframe, is_disposable: false, payload }, config(1), 0);
    }

    fn numbers(ring: &Ring, cursor: &mut Cursor) -> (usize, bool) {
        let mut out = VecDeque::new();
        let has_skipped = ring.fill(cursor, Wire::Rtmp, &mut out, usize::MAX);
        (out.len(), has_skipped)
    }

    #[test]
    fn a_viewer_begins_at_the_last_key_frame_with_its_headers() {
        let mut ring = Ring::new(LIMITS);
        let mut cursor = Cursor::default();
        push(&mut ring, 0, false);
        assert_eq!(numbers(&ring, &mut cursor), (0, false));
        push(&mut ring, 40, true);
        push(&mut ring, 80, false);
        assert_eq!(numbers(&ring, &mut cursor), (3, false), "headers and two frames");
        push(&mut ring, 120, false);
        assert_eq!(numbers(&ring, &mut cursor), (1, false));
        assert_eq!(numbers(&ring, &mut cursor), (0, false));
    }

    #[test]
    fn a_viewer_that_is_behind_the_window_skips_to_the_last_key_frame() {
        let mut ring = Ring::new(LIMITS);
        push(&mut ring, 0, true);
        let mut cursor = Cursor::default();
        assert_eq!(numbers(&ring, &mut cursor), (2, false));
        for at in 1..4 {
            push(&mut ring, at * 40, false);
        }
        for at in 4..6 {
            push(&mut ring, at * 40, at == 4);
        }
        assert_eq!(numbers(&ring, &mut cursor), (2, true), "the key frame and the one after it; the headers are the same");
    }

    #[test]
    fn what_no_viewer_needs_goes_with_the_next_key_frame() {
        let mut ring = Ring::new(LIMITS);
        let packet = |at: i64, is_keyframe| {
            let dts = MediaTime::from_millis(at * 40);
            Frame { track: TrackId::VIDEO, dts, pts: dts, is_keyframe, is_disposable: false, payload: Bytes::from_static(b"picture") }
        };
        let mut cursor = Cursor::default();
        for at in 0..4 {
            ring.push(packet(at, at == 0), config(1), cursor.needed_from());
        }
        assert_eq!(numbers(&ring, &mut cursor), (5, false));
        ring.push(packet(4, false), config(1), u64::MAX);
        assert_eq!(ring.packets.len(), 5, "of its own group nothing goes");
        ring.push(packet(5, true), config(1), cursor.needed_from());
        assert_eq!(ring.packets.len(), 2, "the viewer has the first four");
        assert_eq!(numbers(&ring, &mut cursor), (2, false), "and misses nothing");
        ring.push(packet(6, true), config(1), u64::MAX);
        assert_eq!(ring.group().count(), 1);
        assert_eq!(ring.packets.len(), 1);
    }

    #[test]
    fn a_group_of_pictures_without_end_does_not_fill_the_memory() {
        let mut ring = Ring::new(LIMITS);
        push(&mut ring, 0, true);
        for at in 1..100 {
            push(&mut ring, at * 40, false);
            assert!(ring.bytes <= 1000);
        }
        assert_eq!(numbers(&ring, &mut Cursor::default()), (0, false), "new viewers wait");
        push(&mut ring, 4000, true);
        assert_eq!(numbers(&ring, &mut Cursor::default()), (2, false));
    }

    #[test]
    fn an_flv_viewer_is_told_what_there_is() {
        let mut ring = Ring::new(LIMITS);
        push(&mut ring, 0, true);
        let mut out = VecDeque::new();
        ring.fill(&mut Cursor::default(), Wire::Flv, &mut out, usize::MAX);
        assert_eq!(out.len(), 3);
        assert_eq!(out[0][..5], *b"FLV\x01\x04");
    }
}
