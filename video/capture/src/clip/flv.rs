//! FLV (Adobe's specification, version 10.1, Annex E), with H.264 in the header of Enhanced RTMP as well.

use sightline_media::{
    MediaTime, TrackId, annexb,
    avc::{self, NalKind},
};
use std::{
    fs::File,
    io::{BufReader, Read as _, Seek as _, SeekFrom},
};

use super::{
    index::{Coding, Index, Sample, SharedClock},
    sound::Sound,
};
use crate::{
    error::ClipError,
    h264::{self, Sets},
};

/// The header that a body of video begins with.
enum VideoHeader {
    /// Parameter sets follow after so many bytes.
    Config(usize),
    /// A picture follows after so many bytes, shown later than decoded by so many milliseconds.
    Picture(usize, i64),
    /// Nothing of use.
    Other,
    /// Another codec.
    Foreign(String),
}

/// Reads the tags one after another.
pub(crate) struct Reader<'a> {
    index: &'a mut Index,
    clock: SharedClock,
    video: Option<u16>,
    length_bytes: usize,
    has_idr: bool,
    sound: Sound,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(index: &'a mut Index) -> Self {
        Self { index, clock: SharedClock::default(), video: None, length_bytes: avc::LENGTH_BYTES, has_idr: false, sound: Sound::default() }
    }

    /// `Some`: what is in it that is not read here.
    pub(crate) fn read(mut self, file: &File) -> Result<Option<String>, ClipError> {
        let mut input = BufReader::new(file.try_clone()?);
        let mut head = [0; 9];
        input.seek(SeekFrom::Start(0))?;
        input.read_exact(&mut head)?;
        // The header says its own length; four bytes of "previous tag size" follow it.
        let [_, _, _, _, _, header_bytes @ ..] = head;
        let mut offset = u64::from(u32::from_be_bytes(header_bytes).max(9)) + 4;
        input.seek(SeekFrom::Start(offset))?;
        let mut header = [0; 11];
        while input.read_exact(&mut header).is_ok() {
            let [kind, size0, size1, size2, time0, time1, time2, time3, _, _, _] = header;
            let bytes = u32::from_be_bytes([0, size0, size1, size2]);
            let millis = i64::from(i32::from_be_bytes([time3, time0, time1, time2]));
            let mut body = vec![0; bytes as usize];
            if input.read_exact(&mut body).is_err() {
                // A recording that was cut short ends here.
                break;
            }
            match kind {
                9 => {
                    if let Some(foreign) = self.read_video(&body, offset + 11, millis)? {
                        return Ok(Some(foreign));
                    }
                }
                8 => self.read_audio(&body, offset + 11, millis)?,
                _ => {}
            }
            offset += 11 + u64::from(bytes) + 4;
            input.seek_relative(4)?;
        }
        self.sound.end(self.index);
        Ok(None)
    }

    fn read_video(&mut self, body: &[u8], offset: u64, millis: i64) -> Result<Option<String>, ClipError> {
        let is_marked = body.first().is_some_and(|first| (first >> 4) & 7 == 1);
        match video_header(body) {
            VideoHeader::Foreign(codec) => return Ok(Some(codec)),
            VideoHeader::Other => {}
            VideoHeader::Config(at) => self.configure(body.get(at..).unwrap_or_default())?,
            VideoHeader::Picture(at, shift) => {
                let data = body.get(at..).unwrap_or_default();
                let (is_keyframe, is_annex_b) = self.look(data, is_marked);
                self.has_idr |= is_keyframe;
                let time = self.clock.place(MediaTime::from_millis(millis));
                let coding = match self.video {
                    Some(coding) => coding,
                    // The pictures may bring their parameter sets.
                    None => self.index.coding(Coding::Video(None, self.length_bytes))?,
                };
                self.index.push(Sample {
                    offset: offset + at as u64,
                    bytes: u32::try_from(data.len()).unwrap_or(u32::MAX),
                    track: TrackId::VIDEO,
                    coding,
                    dts: time,
                    pts: time + MediaTime::from_millis(shift),
                    is_keyframe,
                    is_hidden: false,
                    keeps_sets: is_annex_b,
                })?;
            }
        }
        Ok(None)
    }

    /// Whether decoding can start at a picture, and whether it is in Annex B form: muxers' flags are wrong now and then.
    fn look(&self, data: &[u8], is_marked: bool) -> (bool, bool) {
        if h264::is_annex_b(data, self.length_bytes) {
            return (annexb::AccessUnit::scan(data).is_keyframe, true);
        }
        let has = |wanted: NalKind| {
            avc::NalUnits::new(data, self.length_bytes).any(|nal| nal.first().is_some_and(|&header| NalKind::of(header) == wanted))
        };
        // Streams that are refreshed in steps have no IDR picture: there the muxer's word counts, with what marks such a point.
        (has(NalKind::Idr) || (is_marked && !self.has_idr && (has(NalKind::Sps) || has(NalKind::Sei))), false)
    }

    /// The sequence header: a record, or parameter sets in Annex B form, or nothing of use.
    fn configure(&mut self, record: &[u8]) -> Result<(), ClipError> {
        let config = avc::DecoderConfig::parse(record).ok().or_else(|| {
            let mut sets = Sets::default();
            annexb::NalUnits::new(record).for_each(|nal| {
                sets.see(nal);
            });
            sets.config().map(|(config, _)| config)
        });
        if let Some(config) = config {
            self.length_bytes = config.length_bytes();
            self.video = Some(self.index.coding(Coding::Video(Some(Box::new(config)), self.length_bytes))?);
        }
        Ok(())
    }

    fn read_audio(&mut self, body: &[u8], offset: u64, millis: i64) -> Result<(), ClipError> {
        let &[first, packet, ref data @ ..] = body else { return Ok(()) };
        if first >> 4 != 10 {
            self.index.foreign_sound = Some(audio_name(first >> 4).to_owned());
            return Ok(());
        }
        let offset = offset + 2;
        if packet == 0 {
            return self.sound.configure(data, offset, self.index);
        }
        let time = self.clock.place(MediaTime::from_millis(millis));
        self.sound.take(data, offset, time, self.index)
    }
}

/// SI24, signed.
fn signed_24(bytes: &[u8]) -> i64 {
    let &[high, middle, low, ..] = bytes else { return 0 };
    i64::from(i32::from_be_bytes([high, middle, low, 0]) >> 8)
}

fn video_header(body: &[u8]) -> VideoHeader {
    let Some(&first) = body.first() else { return VideoHeader::Other };
    if first >> 4 == 5 {
        // A command of the server to its client.
        return VideoHeader::Other;
    }
    if first & 0x80 != 0 {
        // Enhanced RTMP v2, "ExVideoTagHeader".
        return match (first & 0x0f, body.get(1..5)) {
            (0, Some(b"avc1")) => VideoHeader::Config(5),
            (1, Some(b"avc1")) => VideoHeader::Picture(8, body.get(5..).map_or(0, signed_24)),
            (3, Some(b"avc1")) => VideoHeader::Picture(5, 0),
            (_, Some(b"avc1")) | (_, None) => VideoHeader::Other,
            (_, Some(other)) => VideoHeader::Foreign(String::from_utf8_lossy(other).escape_default().to_string()),
        };
    }
    match (first & 0x0f, body.get(1)) {
        (7, Some(0)) => VideoHeader::Config(5),
        (7, Some(1)) => VideoHeader::Picture(5, body.get(2..).map_or(0, signed_24)),
        (7, _) => VideoHeader::Other,
        (2, _) => VideoHeader::Foreign("H.263".to_owned()),
        (4 | 5, _) => VideoHeader::Foreign("VP6".to_owned()),
        (12, _) => VideoHeader::Foreign("HEVC".to_owned()),
        (codec, _) => VideoHeader::Foreign(format!("FLV's codec {codec}")),
    }
}

fn audio_name(format: u8) -> &'static str {
    match format {
        0 | 3 => "PCM",
        2 | 14 => "MP3",
        7 => "G.711 A-law",
        8 => "G.711 µ-law",
        11 => "Speex",
        _ => "another codec",
    }
}
