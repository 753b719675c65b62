//! Audio and video messages into tracks and frames.

use super::clock::Clock;
use crate::message::audio::{self, Audio};
use crate::message::video::{self, Video};
use alloc::boxed::Box;
use bytes::{BufMut as _, Bytes, BytesMut};
use sightline_media::{Frame, MediaTime, Track, TrackConfig, TrackId, aac, avc};

/// What a message was.
#[derive(Debug)]
pub(crate) enum Media {
    Track(Box<Track>),
    Frame(Frame<Bytes>),
    Unsupported(&'static str),
}

/// What is known of a stream's tracks.
#[derive(Debug, Default)]
pub(crate) struct Demuxer {
    clock: Clock,
    video: Option<Box<avc::DecoderConfig>>,
    audio: Option<Box<aac::AudioConfig>>,
    /// Kinds of trouble that were told, by their words' address: each once.
    told: heapless::Vec<&'static str, TROUBLES_MAX>,
}

/// There are six kinds.
const TROUBLES_MAX: usize = 8;

impl Demuxer {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn video(&mut self, timestamp: u32, body: &Bytes) -> Option<Media> {
        match Video::decode(body) {
            Video::Nothing => None,
            Video::Unsupported(_) => self.tell("a video codec other than H.264, or Enhanced RTMP"),
            Video::SequenceHeader => match avc::DecoderConfig::parse(body.get(video::HEADER_BYTES..)?) {
                Ok(config) if self.video.as_deref() == Some(&config) => None,
                Ok(config) => {
                    self.video = Some(Box::new(config.clone()));
                    // Frames are rewritten below; the track says what they are then.
                    let config = TrackConfig::H264(config.with_long_lengths());
                    Some(Media::Track(Box::new(Track { id: TrackId::VIDEO, config })))
                }
                Err(_) => self.tell("an AVC decoder configuration that can't be read"),
            },
            Video::Frame { is_keyframe, is_disposable, composition_millis } => {
                let dts = self.clock.unwrap(timestamp);
                let Some(config) = &self.video else { return self.tell("video before its sequence header") };
                let payload = body.slice(video::HEADER_BYTES.min(body.len())..);
                let payload =
                    if config.length_bytes() == avc::LENGTH_BYTES { payload } else { with_long_lengths(&payload, config.length_bytes()) };
                if payload.is_empty() {
                    return None;
                }
                let pts = dts + MediaTime::from_millis(i64::from(composition_millis));
                let is_disposable = is_disposable || (!is_keyframe && avc::is_disposable(&payload, avc::LENGTH_BYTES));
                Some(Media::Frame(Frame { track: TrackId::VIDEO, dts, pts, is_keyframe, is_disposable, payload }))
            }
        }
    }

    pub(crate) fn audio(&mut self, timestamp: u32, body: &Bytes) -> Option<Media> {
        match Audio::decode(body) {
            Audio::Nothing => None,
            Audio::Unsupported(_) => self.tell("an audio codec other than AAC"),
            Audio::SequenceHeader => match aac::AudioConfig::parse(body.get(audio::HEADER_BYTES..)?) {
                Ok(config) if self.audio.as_deref() == Some(&config) => None,
                Ok(config) => {
                    self.audio = Some(Box::new(config.clone()));
                    Some(Media::Track(Box::new(Track { id: TrackId::AUDIO, config: TrackConfig::Aac(config) })))
                }
                Err(_) => self.tell("an AudioSpecificConfig that can't be read"),
            },
            Audio::Frame => {
                let dts = self.clock.unwrap(timestamp);
                if self.audio.is_none() {
                    return self.tell("audio before its sequence header");
                }
                let payload = body.slice(audio::HEADER_BYTES.min(body.len())..);
                let frame = Frame { track: TrackId::AUDIO, dts, pts: dts, is_keyframe: true, is_disposable: false, payload };
                (!frame.is_empty()).then_some(Media::Frame(frame))
            }
        }
    }

    fn tell(&mut self, what: &'static str) -> Option<Media> {
        if self.told.contains(&what) || self.told.push(what).is_err() {
            return None;
        }
        Some(Media::Unsupported(what))
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
