//! Files that are sent as they are: H.264 and AAC in MP4 (plain and fragmented), FLV, or Annex B.
//!
//! A file is indexed once and its samples are read as they are due: the access units that go out are the file's, byte for byte.

use bytes::Bytes;
use shiguredo_mp4::{
    BaseBox as _, Encode as _,
    boxes::SampleEntry,
    demux::{DemuxError, Fmp4FileDemuxer, Input, Mp4FileDemuxer, Mp4FileKind, Mp4FileKindDetector, RequiredInput},
};
use sightline_media::{
    Frame, MediaTime, Track, TrackConfig, TrackId, aac,
    annexb::{self, AccessUnit, Arrival, Intake},
    avc,
};
use std::{
    fs::File,
    io::{BufReader, Read as _, Seek as _, SeekFrom},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use crate::error::{BOX_BYTES_MAX, ClipError, SAMPLE_BYTES_MAX, SAMPLES_MAX, SourceError};
use crate::stdin::AccessUnits;

/// The frame rate of an Annex B file that does not say its own.
const ANNEX_B_FPS_DEFAULT: u32 = 25;

/// One sample in the file.
#[derive(Clone, Copy, Debug)]
struct Sample {
    offset: u64,
    bytes: u32,
    track: TrackId,
    dts: MediaTime,
    pts: MediaTime,
    is_keyframe: bool,
}

/// An indexed file.
#[derive(Debug)]
pub struct Clip {
    path: PathBuf,
    file: File,
    tracks: Vec<Track>,
    samples: Vec<Sample>,
    is_annex_b: bool,
}

/// What a clip is like: to be held against a preset.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Character {
    pub width: u32,
    pub height: u32,
    pub fps: f64,
    pub bitrate_bps: u32,
}

impl Clip {
    /// Indexes a file; `None` where its container or its video codec is not one of ours.
    pub fn open(path: &Path) -> Result<Option<Self>, SourceError> {
        let failed = |error| SourceError::Open { path: path.to_owned(), error };
        let mut file = File::open(path).map_err(failed)?;
        let mut head = Vec::new();
        file.by_ref().take(16).read_to_end(&mut head).map_err(failed)?;
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        let mut clip = Self { path: path.to_owned(), file, tracks: Vec::new(), samples: Vec::new(), is_annex_b: false };
        let is_read = match head.as_slice() {
            [b'F', b'L', b'V', 1, ..] => clip.index_flv(),
            [_, _, _, _, b'f', b't', b'y', b'p', ..] => clip.index_mp4(),
            [0, 0, 1, nal, ..] | [0, 0, 0, 1, nal, ..] if matches!(nal & 0x9f, 6 | 7 | 9) => clip.index_annex_b(),
            _ => return Ok(None),
        };
        let is_ours = is_read.map_err(|problem| clip.broken(problem))?;
        if !is_ours {
            return Ok(None);
        }
        if !clip.samples.iter().any(|sample| sample.track == TrackId::VIDEO && sample.is_keyframe) {
            return Err(clip.broken(ClipError::NoKeyframe));
        }
        // A decoder starts at a key frame: what comes before the first is of no use.
        let first = clip.samples.iter().position(|sample| sample.track == TrackId::VIDEO && sample.is_keyframe).unwrap_or(0);
        clip.samples.drain(..first);
        Ok(Some(clip))
    }

    fn broken(&self, problem: ClipError) -> SourceError {
        SourceError::Broken { path: self.path.clone(), problem }
    }

    /// Its tracks.
    pub fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    /// How many samples.
    pub fn sample_count(&self) -> usize {
        self.samples.len()
    }

    /// How long one round lasts: to one frame after the last.
    pub fn duration(&self) -> MediaTime {
        let first = self.samples.first().map_or(MediaTime::ZERO, |sample| sample.dts);
        let ends = self.tracks.iter().map(|track| {
            let mut times = self.samples.iter().rev().filter(|sample| sample.track == track.id).map(|sample| sample.dts);
            let last = times.next().unwrap_or(first);
            let step = times.next().map_or(MediaTime::from_millis(40), |before| last - before);
            last + step - first
        });
        ends.max().unwrap_or(MediaTime::ZERO).max(MediaTime::from_millis(1))
    }

    /// Size, rate and bit rate of its video.
    pub fn character(&self) -> Character {
        let (width, height) = self.tracks.iter().find_map(|track| track.config.size()).unwrap_or((0, 0));
        let video = self.samples.iter().filter(|sample| sample.track == TrackId::VIDEO);
        let (frames, bytes) = video.fold((0_u32, 0_u64), |(frames, bytes), sample| (frames + 1, bytes + u64::from(sample.bytes)));
        let seconds = self.duration().ticks_90k as f64 / 90_000.0;
        let bitrate = bytes as f64 * 8.0 / seconds;
        Character { width, height, fps: f64::from(frames) / seconds, bitrate_bps: bitrate.min(f64::from(u32::MAX)) as u32 }
    }

    /// The sample of a number, at its time within the round that begins at zero.
    pub fn read(&self, index: usize) -> std::io::Result<Frame<Bytes>> {
        let sample = self.samples[index % self.samples.len()];
        let first = self.samples[0].dts;
        let mut bytes = vec![0; sample.bytes as usize];
        self.file.read_exact_at(&mut bytes, sample.offset)?;
        if self.is_annex_b {
            let mut avcc = vec![0; AccessUnit::scan(&bytes).avcc_bytes];
            let written = annexb::write_avcc(&bytes, &mut avcc).unwrap_or(0);
            avcc.truncate(written);
            bytes = avcc;
        }
        let is_disposable = sample.track == TrackId::VIDEO && avc::is_disposable(&bytes, self.length_bytes());
        Ok(Frame {
            track: sample.track,
            dts: sample.dts - first,
            pts: sample.pts - first,
            is_keyframe: sample.is_keyframe,
            is_disposable,
            payload: Bytes::from(bytes),
        })
    }

    /// Bytes of the length before each NAL unit.
    pub fn length_bytes(&self) -> usize {
        self.tracks.iter().find_map(|track| track.config.avc()).map_or(avc::LENGTH_BYTES, avc::DecoderConfig::length_bytes)
    }

    fn set_track(&mut self, id: TrackId, config: TrackConfig) {
        if !self.tracks.iter().any(|track| track.id == id) {
            self.tracks.push(Track { id, config });
        }
    }

    fn push(&mut self, sample: Sample) -> Result<(), ClipError> {
        if sample.bytes > SAMPLE_BYTES_MAX {
            return Err(ClipError::SampleTooLong { offset: sample.offset, bytes: sample.bytes });
        }
        if self.samples.len() >= SAMPLES_MAX {
            return Err(ClipError::TooManySamples);
        }
        self.samples.push(sample);
        Ok(())
    }

    fn index_annex_b(&mut self) -> Result<bool, ClipError> {
        let mut units = AccessUnits::new(BufReader::new(self.file.try_clone()?));
        let mut intake = Intake::default();
        let (mut offset, mut ticks) = (0_u64, 90_000 / i64::from(ANNEX_B_FPS_DEFAULT));
        while let Some(stream) = units.next_unit()? {
            let unit = if self.tracks.is_empty() {
                let Arrival { track, unit } = intake.take(&stream).map_err(|source| ClipError::Avc { offset, source })?;
                if let Some(track) = track {
                    let rate = track.config.avc().and_then(|config| config.picture().frames_per_kilosecond);
                    ticks = rate.map_or(ticks, |rate| 90_000_000 / i64::from(rate));
                    self.tracks.push(track);
                }
                unit
            } else {
                AccessUnit::scan(&stream)
            };
            if unit.has_picture {
                let time = MediaTime::from_ticks(ticks * self.samples.len() as i64);
                let bytes = u32::try_from(stream.len()).unwrap_or(u32::MAX);
                self.push(Sample { offset, bytes, track: TrackId::VIDEO, dts: time, pts: time, is_keyframe: unit.is_idr })?;
            }
            offset += stream.len() as u64;
        }
        self.is_annex_b = true;
        Ok(!self.tracks.is_empty())
    }

    /// FLV (Adobe's specification, version 10.1, Annex E).
    fn index_flv(&mut self) -> Result<bool, ClipError> {
        let mut input = BufReader::new(self.file.try_clone()?);
        // The header says its own length; four bytes of "previous tag size" follow it.
        let mut offset = 9 + 4_u64;
        input.seek(SeekFrom::Start(offset))?;
        let mut header = [0; 11];
        while input.read_exact(&mut header).is_ok() {
            let [kind, size0, size1, size2, time0, time1, time2, time3, _, _, _] = header;
            let bytes = u32::from_be_bytes([0, size0, size1, size2]);
            let millis = i64::from(u32::from_be_bytes([time3, time0, time1, time2]));
            let mut body = vec![0; bytes as usize];
            if input.read_exact(&mut body).is_err() {
                // A recording that was cut short ends here.
                break;
            }
            let is_ours = match kind {
                9 => self.index_flv_video(&body, offset + 11, millis)?,
                8 => self.index_flv_audio(&body, offset + 11, millis)?,
                _ => true,
            };
            if !is_ours {
                return Ok(false);
            }
            offset += 11 + u64::from(bytes) + 4;
            input.seek_relative(4)?;
        }
        Ok(!self.tracks.is_empty())
    }

    fn index_flv_video(&mut self, body: &[u8], offset: u64, millis: i64) -> Result<bool, ClipError> {
        let &[first, packet, cts0, cts1, cts2, ref data @ ..] = body else { return Ok(true) };
        if first & 0x8f != 7 {
            // Another codec, or an enhanced header: not ours to read here.
            return Ok(false);
        }
        match packet {
            0 => {
                let config = avc::DecoderConfig::parse(data).map_err(|source| ClipError::Avc { offset, source })?;
                self.set_track(TrackId::VIDEO, TrackConfig::H264(config));
            }
            1 => {
                // SI24, signed.
                let shift = i64::from(i32::from_be_bytes([cts0, cts1, cts2, 0]) >> 8);
                let (dts, pts) = (MediaTime::from_millis(millis), MediaTime::from_millis(millis + shift));
                let bytes = u32::try_from(data.len()).unwrap_or(u32::MAX);
                self.push(Sample { offset: offset + 5, bytes, track: TrackId::VIDEO, dts, pts, is_keyframe: first >> 4 == 1 })?;
            }
            _ => {}
        }
        Ok(true)
    }

    fn index_flv_audio(&mut self, body: &[u8], offset: u64, millis: i64) -> Result<bool, ClipError> {
        let &[first, packet, ref data @ ..] = body else { return Ok(true) };
        if first >> 4 != 10 {
            return Ok(true);
        }
        if packet == 0 {
            let config = aac::AudioConfig::parse(data).map_err(|source| ClipError::Aac { offset, source })?;
            self.set_track(TrackId::AUDIO, TrackConfig::Aac(config));
        } else {
            let time = MediaTime::from_millis(millis);
            let bytes = u32::try_from(data.len()).unwrap_or(u32::MAX);
            self.push(Sample { offset: offset + 2, bytes, track: TrackId::AUDIO, dts: time, pts: time, is_keyframe: true })?;
        }
        Ok(true)
    }

    fn index_mp4(&mut self) -> Result<bool, ClipError> {
        let mut detector = Mp4FileKindDetector::default();
        self.feed(|input| {
            if let Some(input) = input {
                detector.handle_input(input);
            }
            detector.required_input()
        })?;
        match detector.file_kind()? {
            Some(Mp4FileKind::FragmentedMp4) => {
                /// Boxes in a row without a sample: a file of nothing else is not worth reading on.
                const EMPTY_BOXES_MAX: u32 = 100_000;
                let (mut demuxer, mut empty_boxes) = (Fmp4FileDemuxer::new(), 0);
                loop {
                    // It asks for a box at a time.
                    self.feed(|input| {
                        if let Some(input) = input {
                            demuxer.handle_input(input);
                        }
                        demuxer.required_input()
                    })?;
                    match demuxer.next_sample() {
                        Ok(Some(sample)) if !self.index_mp4_sample(&sample)? => return Ok(false),
                        Ok(Some(_)) => empty_boxes = 0,
                        Ok(None) => break,
                        Err(DemuxError::InputRequired(_)) if empty_boxes < EMPTY_BOXES_MAX => empty_boxes += 1,
                        // Offsets that count from the file's start, as old muxers write them, are not read here: ffmpeg's turn.
                        Err(_) => return Ok(false),
                    }
                }
            }
            Some(Mp4FileKind::Mp4) => {
                let mut demuxer = Mp4FileDemuxer::new();
                self.feed(|input| {
                    if let Some(input) = input {
                        demuxer.handle_input(input);
                    }
                    demuxer.required_input()
                })?;
                demuxer.tracks()?;
                loop {
                    let sample = demuxer.next_sample()?;
                    let Some(sample) = sample else { break };
                    if !self.index_mp4_sample(&sample)? {
                        return Ok(false);
                    }
                }
            }
            _ => return Ok(false),
        }
        Ok(self.tracks.iter().any(|track| track.id == TrackId::VIDEO))
    }

    /// Gives a demuxer the parts of the file that it asks for, until it asks no more.
    fn feed(&self, mut demuxer: impl FnMut(Option<Input<'_>>) -> Option<RequiredInput>) -> Result<(), ClipError> {
        let file_bytes = self.file.metadata()?.len();
        let mut required = demuxer(None);
        while let Some(RequiredInput { position, size }) = required {
            let left = file_bytes.saturating_sub(position);
            let wanted = size.map_or(left, |size| left.min(size as u64));
            if wanted > BOX_BYTES_MAX {
                return Err(ClipError::BoxTooLong { offset: position, bytes: wanted });
            }
            let mut data = vec![0; usize::try_from(wanted).unwrap_or(0)];
            self.file.read_exact_at(&mut data, position).map_err(|source| ClipError::Read { offset: position, source })?;
            required = demuxer(Some(Input { position, data: &data }));
        }
        Ok(())
    }

    fn index_mp4_sample(&mut self, sample: &shiguredo_mp4::demux::Sample<'_>) -> Result<bool, ClipError> {
        use shiguredo_mp4::TrackKind;
        let track = match sample.track.kind {
            TrackKind::Video => TrackId::VIDEO,
            TrackKind::Audio => TrackId::AUDIO,
            TrackKind::Subtitle => return Ok(true),
        };
        match sample.sample_entry {
            Some(SampleEntry::Avc1(entry)) => {
                let record = entry.avcc_box.encode_to_vec()?;
                let header_bytes = entry.avcc_box.box_type().as_bytes().len() + 4;
                let config = avc::DecoderConfig::parse(&record[header_bytes..])?;
                self.set_track(track, TrackConfig::H264(config));
            }
            Some(SampleEntry::Mp4a(entry)) => {
                let specific = entry.esds_box.es.dec_config_descr.dec_specific_info.as_ref();
                if let Some(config) = specific.and_then(|info| aac::AudioConfig::parse(&info.payload).ok()) {
                    self.set_track(track, TrackConfig::Aac(config));
                }
            }
            Some(_) if track == TrackId::VIDEO => return Ok(false),
            Some(_) | None => {}
        }
        if !self.tracks.iter().any(|known| known.id == track) {
            return Ok(true);
        }
        let timescale = sample.track.timescale.get();
        let dts = i64::try_from(sample.timestamp)?;
        let pts = dts + sample.composition_time_offset.unwrap_or(0);
        self.push(Sample {
            offset: sample.data_offset,
            bytes: u32::try_from(sample.data_size).unwrap_or(u32::MAX),
            track,
            dts: MediaTime::from_timescale(dts, timescale),
            pts: MediaTime::from_timescale(pts, timescale),
            is_keyframe: sample.keyframe,
        })?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AVCC: &[u8] = &[
        1, 0x64, 0, 0x28, 0xff, 0xe1, 0, 24, 0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44, 0, 0, 3, 0, 4,
        0, 0, 3, 0, 0xc8, 0x3c, 1, 0, 6, 0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0,
    ];

    fn tag(kind: u8, millis: u8, body: &[u8]) -> Vec<u8> {
        let length = u8::try_from(body.len()).unwrap();
        [&[kind, 0, 0, length, 0, 0, millis, 0, 0, 0, 0], body, &[0, 0, 0, length + 11]].concat()
    }

    /// E-RTMP v2, "Enabling AMF3 in FLV": tag 15 holds script data in AMF3.
    #[test]
    fn a_tag_of_amf3_script_data_is_read_past() {
        let picture = [&[0x17, 1, 0, 0, 0][..], &[0, 0, 0, 2, 0x65, 7]].concat();
        let file = [
            b"FLV\x01\x01\0\0\0\x09\0\0\0\0".to_vec(),
            tag(15, 0, b"\0\x02\0\x0aonMetaData\x11\x0a\x0b\x01\x01"),
            tag(9, 0, &[&[0x17, 0, 0, 0, 0][..], AVCC].concat()),
            tag(9, 0, &picture),
            tag(9, 40, &picture),
        ];
        let path = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(path.path(), file.concat()).unwrap();
        let clip = Clip::open(path.path()).unwrap().unwrap();
        assert_eq!((clip.sample_count(), clip.tracks().len()), (2, 1));
        assert_eq!(clip.read(1).unwrap().dts, MediaTime::from_millis(40));
    }
}
