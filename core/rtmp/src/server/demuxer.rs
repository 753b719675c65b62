//! Audio and video messages into tracks and frames.

use super::clock::Clock;
use crate::message::audio::{self, Audio};
use crate::message::enhanced::{self, Kind, Medium, Packet};
use crate::message::video::{self, Video};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use bytes::{BufMut as _, Bytes, BytesMut};
use sightline_media::{Codec, Frame, MediaTime, Track, TrackConfig, TrackId, aac, avc, coded};

/// What a message was.
#[derive(Debug)]
pub(crate) enum Media {
    Track(Box<Track>),
    Frame(Frame<Bytes>),
    /// Can't be taken.
    Unsupported(&'static str),
    /// Is taken, though no standard allows it.
    Quirk(&'static str),
}

/// Tracks of one stream, both media together: E-RTMP's multitrack allows 256 of each, encoders send up to five.
const TRACKS_MAX: usize = 16;
/// Kinds of trouble that are reported, each once; there are fewer.
const TROUBLES_MAX: usize = 24;

/// What is known of a stream's tracks.
#[derive(Debug, Default)]
pub(crate) struct Demuxer {
    clock: Clock,
    tracks: Vec<Known>,
    told: Vec<&'static str>,
}

#[derive(Debug)]
struct Known {
    id: TrackId,
    config: TrackConfig,
    /// Bytes before each NAL unit, as they come; 4 where there are none.
    length_bytes: usize,
    /// A VP9 track is announced with its first key frame, which says the size.
    is_announced: bool,
}

impl Demuxer {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A video message (type 9).
    pub(crate) fn video<E: From<Media>>(&mut self, timestamp: u32, body: &Bytes, out: &mut VecDeque<E>) {
        match Video::decode(body) {
            Video::Nothing => {}
            Video::Unsupported(_) => self.unsupported("a video codec other than H.264, HEVC, AV1 and VP9", out),
            Video::Enhanced => self.enhanced(Medium::Video, timestamp, body, out),
            Video::UnofficialHevc => {
                self.quirk("HEVC under FLV's codec id 12, from before Enhanced RTMP", out);
                self.legacy_video(Codec::Hevc, Video::decode_as(body), timestamp, body, out);
            }
            kind @ (Video::SequenceHeader | Video::Frame { .. }) => self.legacy_video(Codec::H264, kind, timestamp, body, out),
        }
    }

    fn legacy_video<E: From<Media>>(&mut self, codec: Codec, kind: Video, timestamp: u32, body: &Bytes, out: &mut VecDeque<E>) {
        let body = body.slice(video::HEADER_BYTES.min(body.len())..);
        match kind {
            Video::SequenceHeader => self.config(TrackId::VIDEO, codec, &body, out),
            Video::Frame { is_keyframe, is_disposable, composition_millis } => {
                let dts = self.clock.unwrap(timestamp);
                let pts = dts + MediaTime::from_millis(i64::from(composition_millis));
                self.frame(codec, Frame { track: TrackId::VIDEO, dts, pts, is_keyframe, is_disposable, payload: body }, out);
            }
            Video::Nothing | Video::UnofficialHevc | Video::Enhanced | Video::Unsupported(_) => {}
        }
    }

    /// An audio message (type 8).
    pub(crate) fn audio<E: From<Media>>(&mut self, timestamp: u32, body: &Bytes, out: &mut VecDeque<E>) {
        match Audio::decode(body) {
            Audio::Nothing => {}
            Audio::Unsupported(7 | 8) => self.unsupported("G.711 audio", out),
            Audio::Unsupported(_) => self.unsupported("an audio codec other than AAC, Opus, FLAC, AC-3 and MP3 by FourCC", out),
            Audio::Enhanced => self.enhanced(Medium::Audio, timestamp, body, out),
            Audio::SequenceHeader => self.config(TrackId::AUDIO, Codec::Aac, &body.slice(audio::HEADER_BYTES..), out),
            Audio::Frame => {
                let dts = self.clock.unwrap(timestamp);
                let payload = body.slice(audio::HEADER_BYTES..);
                let frame = Frame { track: TrackId::AUDIO, dts, pts: dts, is_keyframe: true, is_disposable: false, payload };
                self.frame(Codec::Aac, frame, out);
            }
        }
    }

    fn enhanced<E: From<Media>>(&mut self, medium: Medium, timestamp: u32, body: &Bytes, out: &mut VecDeque<E>) {
        let mut time = None;
        let outcome = enhanced::read(medium, body, |packet| {
            let dts = match (packet.kind, time) {
                (Kind::Frame { .. }, None) => *time.insert(self.clock.unwrap(timestamp)),
                (_, time) => time.unwrap_or_default(),
            };
            self.packet(medium, dts, &packet, body, out);
        });
        if outcome.is_err() {
            self.unsupported("an Enhanced RTMP message that can't be read", out);
        }
    }

    fn packet<E: From<Media>>(&mut self, medium: Medium, dts: MediaTime, packet: &Packet<'_>, body: &Bytes, out: &mut VecDeque<E>) {
        let id = if medium == Medium::Video { TrackId::video(packet.track) } else { TrackId::audio(packet.track) };
        let (Some(id), Some(codec)) = (id, packet.codec.filter(|codec| codec.is_video() == (medium == Medium::Video))) else {
            return self.unsupported("an Enhanced RTMP codec that is not known", out);
        };
        match packet.kind {
            Kind::Nothing => {}
            Kind::Unsupported => self.unsupported("an Enhanced RTMP packet type that is not taken", out),
            Kind::SequenceStart => self.config(id, codec, packet.body, out),
            Kind::Frame { is_keyframe, is_disposable, composition_millis } => {
                let dts = MediaTime::from_ticks(dts.ticks_90k + i64::from(packet.nanos) * 9 / 100_000);
                let pts = dts + MediaTime::from_millis(i64::from(composition_millis));
                let payload = body.slice_ref(packet.body);
                self.frame(codec, Frame { track: id, dts, pts, is_keyframe, is_disposable, payload }, out);
            }
        }
    }

    /// A decoder configuration: reported when it is new. Encoders that send it again before every key frame are common and harmless.
    fn config<E: From<Media>>(&mut self, id: TrackId, codec: Codec, record: &[u8], out: &mut VecDeque<E>) {
        let (config, length_bytes) = match codec {
            Codec::H264 => match avc::DecoderConfig::parse(record) {
                // Frames are rewritten below; the track says what they are then.
                Ok(config) => (TrackConfig::H264(config.clone().with_long_lengths()), config.length_bytes()),
                Err(_) => return self.unsupported("an AVC decoder configuration that can't be read", out),
            },
            Codec::Aac => match aac::AudioConfig::parse(record) {
                Ok(config) => (TrackConfig::Aac(config), 4),
                Err(_) => return self.unsupported("an AudioSpecificConfig that can't be read", out),
            },
            Codec::Hevc | Codec::Av1 | Codec::Vp9 | Codec::Opus | Codec::Flac | Codec::Ac3 | Codec::Eac3 | Codec::Mp3 => {
                match coded::Config::parse(codec, record) {
                    Ok(config) => (TrackConfig::Coded(config.clone().with_long_lengths()), config.length_bytes()),
                    Err(_) => return self.unsupported("a decoder configuration that can't be read", out),
                }
            }
        };
        self.set(id, config, length_bytes, codec != Codec::Vp9, out);
    }

    fn set<E: From<Media>>(&mut self, id: TrackId, config: TrackConfig, length_bytes: usize, announces: bool, out: &mut VecDeque<E>) {
        let known = self.tracks.iter().position(|known| known.id == id);
        if let Some(known) = known.and_then(|at| self.tracks.get_mut(at)) {
            let is_same = known.config.codec() == config.codec()
                && known.config.as_bytes() == config.as_bytes()
                && known.length_bytes == length_bytes;
            if is_same && known.is_announced && (!announces || known.config == config) {
                return self.quirk("a sequence header again, unchanged", out);
            }
            *known = Known { id, config, length_bytes, is_announced: announces };
        } else if self.tracks.len() < TRACKS_MAX {
            self.tracks.push(Known { id, config, length_bytes, is_announced: announces });
        } else {
            return self.unsupported("more tracks than sixteen", out);
        }
        if announces && let Some(known) = self.tracks.iter().find(|known| known.id == id) {
            out.push_back(Media::Track(Box::new(Track { id, config: known.config.clone() })).into());
        }
    }

    fn frame<E: From<Media>>(&mut self, codec: Codec, mut frame: Frame<Bytes>, out: &mut VecDeque<E>) {
        let known = |tracks: &[Known]| {
            tracks.iter().find(|known| known.id == frame.track && known.config.codec() == codec).map(|known| known.length_bytes)
        };
        let length_bytes = match known(&self.tracks) {
            Some(length_bytes) => length_bytes,
            // Their frames say all: no sequence start is required.
            None if matches!(codec, Codec::Ac3 | Codec::Eac3 | Codec::Mp3 | Codec::Opus) => {
                self.config(frame.track, codec, &[], out);
                4
            }
            None if codec.is_video() => return self.unsupported("video before its sequence header", out),
            None => return self.unsupported("audio before its sequence header", out),
        };
        if codec == Codec::Vp9 && frame.is_keyframe {
            self.announce_vp9(frame.track, &frame.payload, out);
        }
        // Only VP9 waits for its first key frame, and one whose header can't be read announces nothing.
        if self.tracks.iter().any(|known| known.id == frame.track && !known.is_announced) {
            return self.unsupported("VP9 before a key frame that says its size", out);
        }
        let has_nal_units = matches!(codec, Codec::H264 | Codec::Hevc);
        if has_nal_units && length_bytes != avc::LENGTH_BYTES {
            frame.payload = with_long_lengths(&frame.payload, length_bytes);
        }
        if frame.is_empty() {
            return;
        }
        if codec == Codec::H264 {
            frame.is_disposable |= !frame.is_keyframe && avc::is_disposable(&frame.payload, avc::LENGTH_BYTES);
        }
        out.push_back(Media::Frame(frame).into());
    }

    /// The size comes with the key frame, and may change with one.
    fn announce_vp9<E: From<Media>>(&mut self, id: TrackId, frame: &[u8], out: &mut VecDeque<E>) {
        let Some(size) = coded::vp9_key_frame_size(frame) else { return };
        let config = self.tracks.iter().find(|known| known.id == id).map(|known| known.config.clone());
        if let Some(TrackConfig::Coded(config)) = config {
            self.set(id, TrackConfig::Coded(config.with_size(size)), 4, true, out);
        }
    }

    fn unsupported<E: From<Media>>(&mut self, what: &'static str, out: &mut VecDeque<E>) {
        if self.is_news(what) {
            out.push_back(Media::Unsupported(what).into());
        }
    }

    /// Told once a kind.
    pub(crate) fn quirk<E: From<Media>>(&mut self, what: &'static str, out: &mut VecDeque<E>) {
        if self.is_news(what) {
            out.push_back(Media::Quirk(what).into());
        }
    }

    fn is_news(&mut self, what: &'static str) -> bool {
        let is_news = self.told.len() < TROUBLES_MAX && !self.told.contains(&what);
        if is_news {
            self.told.push(what);
        }
        is_news
    }
}

/// NAL units behind lengths of one, two or three bytes, as a few encoders send them, rewritten to four.
fn with_long_lengths(payload: &[u8], length_bytes: usize) -> Bytes {
    // Each unit grows by at most three bytes and is at least two long, its length included.
    let mut out = BytesMut::with_capacity(payload.len() + payload.len() / 2);
    for nal in avc::NalUnits::new(payload, length_bytes) {
        out.put_u32(u32::try_from(nal.len()).unwrap_or(u32::MAX));
        out.put_slice(nal);
    }
    out.freeze()
}
