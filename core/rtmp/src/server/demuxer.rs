//! Audio and video messages into tracks and frames.

use super::clock::Clock;
use crate::message::audio::{self, Audio};
use crate::message::enhanced::{self, Kind, Medium, Packet};
use crate::message::video::{self, Video};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use bytes::Bytes;
use sightline_media::intake::{Assembly, Family, Intake, Mend, Passed, Record, Taken};
use sightline_media::{Codec, Frame, MediaTime, Track, TrackConfig, TrackId, aac, coded};

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
const TROUBLES_MAX: usize = 40;

/// What is known of a stream's tracks.
#[derive(Debug, Default)]
pub(crate) struct Demuxer {
    clock: Clock,
    tracks: Vec<Known>,
    /// Tracks of NAL units, whether their configuration is known or not.
    intakes: Vec<Pictures>,

    /// Of sound without a configuration.
    guess: aac::Guess,
    told: Vec<&'static str>,
}

#[derive(Debug)]
struct Pictures {
    id: TrackId,
    intake: Intake,
    assembly: Assembly<Bytes>,
}

#[derive(Debug)]
struct Known {
    id: TrackId,
    config: TrackConfig,
    /// A VP9 track is announced with its first key frame, which says the size.
    is_announced: bool,
}

impl Demuxer {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Whether a picture waits for slices that may come.
    pub(crate) fn is_holding(&self) -> bool {
        self.intakes.iter().any(|pictures| pictures.assembly.is_holding())
    }

    /// Nothing follows, or nothing for long.
    pub(crate) fn flush<E: From<Media>>(&mut self, out: &mut VecDeque<E>) {
        out.extend(self.intakes.iter_mut().filter_map(|pictures| pictures.assembly.complete()).map(|frame| Media::Frame(frame).into()));
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
        if let Some(family) = Family::of(codec) {
            return self.record(id, family, record, out);
        }
        let config = match codec {
            Codec::Aac => match aac::AudioConfig::of_any_form(record) {
                Ok(config) => TrackConfig::Aac(config),
                Err(_) => return self.unsupported("an AudioSpecificConfig that can't be read", out),
            },
            Codec::H264 | Codec::Hevc | Codec::Av1 | Codec::Vp9 | Codec::Opus | Codec::Flac | Codec::Ac3 | Codec::Eac3 | Codec::Mp3 => {
                match coded::Config::parse(codec, record) {
                    Ok(config) => TrackConfig::Coded(config),
                    Err(_) => return self.unsupported("a decoder configuration that can't be read", out),
                }
            }
        };
        self.set(id, config, codec != Codec::Vp9, out);
    }

    /// The configuration of a track of NAL units. One that can't be read is none: the stream's own parameter sets may serve.
    fn record<E: From<Media>>(&mut self, id: TrackId, family: Family, record: &[u8], out: &mut VecDeque<E>) {
        let Some(Pictures { intake, .. }) = self.pictures(id, family) else { return self.unsupported("more tracks than sixteen", out) };
        match intake.take_record(record) {
            Record::New(config) => self.set(id, *config, true, out),
            Record::Same => self.quirk("a sequence header again, unchanged", out),
            Record::Unread if record.is_empty() => self.quirk("a sequence header of no bytes", out),
            Record::Unread => self.quirk(Mend::RecordOfSets.name(), out),
        }
    }

    fn pictures(&mut self, id: TrackId, family: Family) -> Option<&mut Pictures> {
        let make = || Pictures { id, intake: Intake::new(family), assembly: Assembly::default() };
        let known = self.intakes.iter().position(|pictures| pictures.id == id);
        let at = match known {
            Some(at) => at,
            None if self.intakes.len() < TRACKS_MAX => {
                self.intakes.push(make());
                self.intakes.len() - 1
            }
            None => return None,
        };
        let pictures = self.intakes.get_mut(at)?;
        if pictures.intake.family() != family {
            *pictures = make();
        }
        Some(pictures)
    }

    fn set<E: From<Media>>(&mut self, id: TrackId, config: TrackConfig, announces: bool, out: &mut VecDeque<E>) {
        let known = self.tracks.iter().position(|known| known.id == id);
        if let Some(known) = known.and_then(|at| self.tracks.get_mut(at)) {
            let is_same = known.config.codec() == config.codec() && known.config.as_bytes() == config.as_bytes();
            if is_same && known.is_announced && (!announces || known.config == config) {
                return self.quirk("a sequence header again, unchanged", out);
            }
            *known = Known { id, config, is_announced: announces };
        } else if self.tracks.len() < TRACKS_MAX {
            self.tracks.push(Known { id, config, is_announced: announces });
        } else {
            return self.unsupported("more tracks than sixteen", out);
        }
        if let Some(pictures) = self.intakes.iter_mut().find(|pictures| pictures.id == id) {
            // What waits goes by the configuration before.
            out.extend(pictures.assembly.complete().map(|complete| Media::Frame(complete).into()));
        }
        if announces && let Some(known) = self.tracks.iter().find(|known| known.id == id) {
            out.push_back(Media::Track(Box::new(Track { id, config: known.config.clone() })).into());
        }
    }

    fn frame<E: From<Media>>(&mut self, codec: Codec, frame: Frame<Bytes>, out: &mut VecDeque<E>) {
        match codec {
            Codec::H264 => self.picture(Family::H264, frame, out),
            Codec::Hevc => self.picture(Family::Hevc, frame, out),
            Codec::Aac => self.aac(frame, out),
            Codec::Av1 | Codec::Vp9 | Codec::Opus | Codec::Flac | Codec::Ac3 | Codec::Eac3 | Codec::Mp3 => self.other(codec, frame, out),
        }
    }

    /// A picture of NAL units, as its encoder framed it.
    fn picture<E: From<Media>>(&mut self, family: Family, mut frame: Frame<Bytes>, out: &mut VecDeque<E>) {
        if frame.is_empty() {
            return;
        }
        let Some(pictures) = self.pictures(frame.track, family) else { return self.unsupported("more tracks than sixteen", out) };
        let taken = match pictures.intake.take(&frame.payload, frame.is_keyframe) {
            Ok(taken) => taken,
            Err(Passed::NoPicture) => return,
            Err(Passed::NoConfig) => return self.unsupported("video before its sequence header", out),
            Err(Passed::Unreadable) => return self.unsupported("a picture whose NAL units can't be told apart", out),
        };
        let is_continued = pictures.assembly.is_continued(taken.begins_picture, frame.dts);
        if is_continued {
            self.quirk(Mend::SlicesApart.name(), out);
        } else {
            // Before the configuration of what comes.
            out.extend(pictures.assembly.complete().map(|complete| Media::Frame(complete).into()));
        }
        let Taken { config, payload, is_keyframe, is_disposable, begins_picture, mends } = taken;
        mends.iter().for_each(|mend| self.quirk(mend.name(), out));
        if let Some(config) = config {
            self.set(frame.track, config, true, out);
        }
        frame.is_keyframe = is_keyframe;
        frame.is_disposable = (frame.is_disposable || is_disposable) && !is_keyframe;
        if let Some(payload) = payload {
            frame.payload = payload.into();
        }
        let Some(pictures) = self.pictures(frame.track, family) else { return };
        let passed = if is_continued {
            pictures.assembly.go_on(frame, |held, more| [&held[..], more].concat().into())
        } else {
            pictures.assembly.begin(frame, begins_picture)
        };
        out.extend(passed.map(|frame| Media::Frame(frame).into()));
    }

    /// A raw frame, or frames behind ADTS headers, which the standard leaves to files.
    fn aac<E: From<Media>>(&mut self, frame: Frame<Bytes>, out: &mut VecDeque<E>) {
        let mut time = frame.dts;
        let mut has_headers = false;
        for adts in aac::adts_frames(&frame.payload) {
            has_headers = true;
            let Ok(config) = adts.config() else { continue };
            let step = MediaTime::from_timescale(i64::from(aac::SAMPLES_PER_FRAME), config.sample_rate_hz());
            if !self.tracks.iter().any(|known| known.id == frame.track && known.config.codec() == Codec::Aac) {
                self.set(frame.track, TrackConfig::Aac(config), true, out);
            }
            self.push(Codec::Aac, Frame { dts: time, pts: time, payload: frame.payload.slice_ref(adts.payload), ..frame }, out);
            time = time + step;
        }
        if has_headers {
            self.quirk("ADTS headers before AAC frames", out);
        } else {
            self.guess_aac(&frame, out);
            self.push(Codec::Aac, frame, out);
        }
    }

    /// What describes raw frames where nothing else does. The frames before it are lost: half a second of sound.
    fn guess_aac<E: From<Media>>(&mut self, frame: &Frame<Bytes>, out: &mut VecDeque<E>) {
        if frame.track != TrackId::AUDIO || self.tracks.iter().any(|known| known.id == frame.track) {
            return;
        }
        if let Some(config) = self.guess.see(frame.dts, &frame.payload) {
            self.set(frame.track, TrackConfig::Aac(config), true, out);
            self.quirk("AAC without a configuration; its frames and their times say it", out);
        }
    }

    fn other<E: From<Media>>(&mut self, codec: Codec, frame: Frame<Bytes>, out: &mut VecDeque<E>) {
        let is_known = self.tracks.iter().any(|known| known.id == frame.track && known.config.codec() == codec);
        // Their frames say all: no sequence start is required.
        if !is_known && matches!(codec, Codec::Ac3 | Codec::Eac3 | Codec::Mp3 | Codec::Opus) {
            self.config(frame.track, codec, &[], out);
        }
        if codec == Codec::Vp9 && frame.is_keyframe {
            self.announce_vp9(frame.track, &frame.payload, out);
        }
        // Only VP9 waits for its first key frame, and one whose header can't be read announces nothing.
        if self.tracks.iter().any(|known| known.id == frame.track && !known.is_announced) {
            return self.unsupported("VP9 before a key frame that says its size", out);
        }
        self.push(codec, frame, out);
    }

    /// A frame of a track that is announced.
    fn push<E: From<Media>>(&mut self, codec: Codec, frame: Frame<Bytes>, out: &mut VecDeque<E>) {
        let is_known = self.tracks.iter().any(|known| known.id == frame.track && known.config.codec() == codec);
        match (is_known, codec.is_video()) {
            (true, _) if frame.is_empty() => {}
            (true, _) => out.push_back(Media::Frame(frame).into()),
            (false, true) => self.unsupported("video before its sequence header", out),
            (false, false) => self.unsupported("audio before its sequence header", out),
        }
    }

    /// The size comes with the key frame, and may change with one.
    fn announce_vp9<E: From<Media>>(&mut self, id: TrackId, frame: &[u8], out: &mut VecDeque<E>) {
        let Some(size) = coded::vp9_key_frame_size(frame) else { return };
        let config = self.tracks.iter().find(|known| known.id == id).map(|known| known.config.clone());
        if let Some(TrackConfig::Coded(config)) = config {
            self.set(id, TrackConfig::Coded(config.with_size(size)), true, out);
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
