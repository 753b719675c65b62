//! The stream that ffmpeg writes for us: Matroska (RFC 9559) with raw pictures and AAC, read as it comes.

use bytes::Bytes;
use sightline_media::{Frame, MediaTime, Track, TrackConfig, TrackId, aac::AudioConfig};
use std::io::{self, Read};

use crate::picture::Picture;

/// The longest element but pictures that is read: a track's description.
const ELEMENT_BYTES_MAX: u64 = 1 << 20;
/// The most pixels of a picture: 8192 x 8192.
const PIXELS_MAX: u64 = 1 << 26;

pub(super) const EBML: u32 = 0x1a45_dfa3;
pub(super) const SEGMENT: u32 = 0x1853_8067;
pub(super) const INFO: u32 = 0x1549_a966;
pub(super) const TIMESTAMP_SCALE: u32 = 0x002a_d7b1;
pub(super) const TRACKS: u32 = 0x1654_ae6b;
pub(super) const TRACK_ENTRY: u32 = 0xae;
pub(super) const TRACK_NUMBER: u32 = 0xd7;
pub(super) const DEFAULT_DURATION: u32 = 0x0023_e383;
pub(super) const VIDEO: u32 = 0xe0;
pub(super) const PIXEL_WIDTH: u32 = 0xb0;
pub(super) const PIXEL_HEIGHT: u32 = 0xba;
pub(super) const CODEC_PRIVATE: u32 = 0x63a2;
pub(super) const CODEC_ID: u32 = 0x86;
pub(super) const AUDIO: u32 = 0xe1;
pub(super) const SAMPLING_FREQUENCY: u32 = 0xb5;
pub(super) const CHANNELS: u32 = 0x9f;
pub(super) const TRACK_TYPE: u32 = 0x83;
pub(super) const CLUSTER: u32 = 0x1f43_b675;
pub(super) const TIMESTAMP: u32 = 0xe7;
pub(super) const SIMPLE_BLOCK: u32 = 0xa3;
pub(super) const BLOCK_GROUP: u32 = 0xa0;
pub(super) const BLOCK: u32 = 0xa1;

/// What the stream holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Header {
    pub(super) size: (usize, usize),
    /// Pictures a second; `None`: they come as they come.
    pub(super) fps: Option<f64>,
    pub(super) audio: Option<AudioConfig>,
    video_number: u64,
    audio_number: u64,
}

impl Header {
    pub(super) fn track(&self) -> Option<Track> {
        self.audio.clone().map(|config| Track { id: TrackId::AUDIO, config: TrackConfig::Aac(config) })
    }
}

/// What comes out.
#[derive(Debug)]
pub enum Item {
    /// A picture, and when it is shown.
    Picture(Picture, MediaTime),
    /// A frame of AAC.
    Sound(Frame<Bytes>),
}

/// Reads elements one after another.
pub(super) struct Reader<R> {
    input: R,
    header: Header,
    /// Nanoseconds of a unit of time.
    scale_ns: u64,
    cluster: u64,
}

fn broken(problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("ffmpeg's stream can't be read: {problem}"))
}

impl<R: Read> Reader<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, header: Header::default(), scale_ns: 1_000_000, cluster: 0 }
    }

    /// Reads up to the description of the tracks. `needs_pictures`: sound alone is not enough.
    pub(super) fn header(&mut self, needs_pictures: bool) -> io::Result<Header> {
        loop {
            let Some((id, bytes)) = self.element()? else { return Err(io::ErrorKind::UnexpectedEof.into()) };
            match id {
                SEGMENT => {}
                INFO => {
                    let body = self.body(bytes)?;
                    self.scale_ns = elements(&body).find(|(id, _)| *id == TIMESTAMP_SCALE).map_or(self.scale_ns, |(_, body)| number(body));
                }
                TRACKS => {
                    let body = self.body(bytes)?;
                    elements(&body).filter(|(id, _)| *id == TRACK_ENTRY).for_each(|(_, entry)| self.header.see(entry));
                    let (width, height) = self.header.size;
                    let is_even = width.is_multiple_of(2) && height.is_multiple_of(2);
                    let has_pictures = width > 0 && height > 0;
                    if (needs_pictures && !has_pictures) || !is_even || (width as u64).saturating_mul(height as u64) > PIXELS_MAX {
                        return Err(broken("it has no pictures"));
                    }
                    return Ok(self.header.clone());
                }
                _ => self.skip(bytes)?,
            }
        }
    }

    /// The next picture or frame; `None` at the end.
    pub(super) fn next_item(&mut self) -> io::Result<Option<Item>> {
        loop {
            let Some((id, bytes)) = self.element()? else { return Ok(None) };
            match id {
                CLUSTER | BLOCK_GROUP | SEGMENT => {}
                TIMESTAMP => self.cluster = number(&self.body(bytes)?),
                SIMPLE_BLOCK | BLOCK => {
                    if let Some(item) = self.block(bytes)? {
                        return Ok(Some(item));
                    }
                }
                _ => self.skip(bytes)?,
            }
        }
    }

    /// Track number, time from the cluster's on, flags; then the frame.
    fn block(&mut self, bytes: u64) -> io::Result<Option<Item>> {
        let (track, track_bytes) = self.variable(true)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut rest = [0; 3];
        self.input.read_exact(&mut rest)?;
        let units = i64::try_from(self.cluster).unwrap_or(0) + i64::from(i16::from_be_bytes([rest[0], rest[1]]));
        let nanos = units.saturating_mul(i64::try_from(self.scale_ns).unwrap_or(1_000_000));
        let time = MediaTime::from_micros(nanos / 1_000);
        let bytes = bytes.saturating_sub(track_bytes + 3);
        let (width, height) = self.header.size;
        if track == self.header.video_number && width > 0 {
            if bytes != (width * height + width * height / 2) as u64 {
                return Err(broken("its pictures change their size"));
            }
            let mut picture = Picture::new(width, height);
            self.input.read_exact(picture.bytes_mut())?;
            return Ok(Some(Item::Picture(picture, time)));
        }
        if track != self.header.audio_number {
            self.skip(bytes)?;
            return Ok(None);
        }
        let payload = Bytes::from(self.body(bytes)?);
        let (is_keyframe, is_disposable) = (true, false);
        Ok(Some(Item::Sound(Frame { track: TrackId::AUDIO, dts: time, pts: time, is_keyframe, is_disposable, payload })))
    }

    /// An element's id and length; `None` at the end.
    fn element(&mut self) -> io::Result<Option<(u32, u64)>> {
        let Some((id, _)) = self.variable(false)? else { return Ok(None) };
        let Some((bytes, _)) = self.variable(true)? else { return Ok(None) };
        Ok(Some((u32::try_from(id).map_err(|_| broken("an element's id"))?, bytes)))
    }

    /// A number whose first byte tells its length, with or without that mark (RFC 8794 §4), and its bytes. `None` at the end.
    fn variable(&mut self, is_marked_off: bool) -> io::Result<Option<(u64, u64)>> {
        let mut first = [0];
        if let Err(error) = self.input.read_exact(&mut first) {
            return if error.kind() == io::ErrorKind::UnexpectedEof { Ok(None) } else { Err(error) };
        }
        let [first] = first;
        let length = first.leading_zeros();
        if length > 7 {
            return Err(broken("a number's length"));
        }
        let mut value = u64::from(if is_marked_off { first & (0x7f >> length) } else { first });
        for _ in 0..length {
            let mut next = [0];
            self.input.read_exact(&mut next)?;
            value = (value << 8) | u64::from(next[0]);
        }
        Ok(Some((value, u64::from(length) + 1)))
    }

    fn body(&mut self, bytes: u64) -> io::Result<Vec<u8>> {
        if bytes > ELEMENT_BYTES_MAX {
            return Err(broken("an element is too long"));
        }
        let mut body = vec![0; usize::try_from(bytes).unwrap_or(0)];
        self.input.read_exact(&mut body)?;
        Ok(body)
    }

    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        io::copy(&mut (&mut self.input).take(bytes), &mut io::sink()).map(|_| ())
    }
}

impl Header {
    fn see(&mut self, entry: &[u8]) {
        let field = |wanted: u32| elements(entry).find(|(id, _)| *id == wanted).map(|(_, body)| body);
        let track = field(TRACK_NUMBER).map_or(0, number);
        if let Some(video) = field(VIDEO) {
            let side = |wanted| elements(video).find(|(id, _)| *id == wanted).map_or(0, |(_, body)| number(body));
            self.video_number = track;
            self.size = (side(PIXEL_WIDTH) as usize, side(PIXEL_HEIGHT) as usize);
            let nanos = field(DEFAULT_DURATION).map_or(0, number);
            self.fps = (nanos > 0).then(|| 1e9 / nanos as f64).filter(|fps| (0.01..1_000.0).contains(fps));
        } else if let Some(config) = field(CODEC_PRIVATE).and_then(|info| AudioConfig::parse(info).ok()) {
            (self.audio_number, self.audio) = (track, Some(config));
        }
    }
}

fn number(body: &[u8]) -> u64 {
    body.iter().take(8).fold(0, |value, &byte| (value << 8) | u64::from(byte))
}

/// The elements of one that was read as a whole.
fn elements(mut body: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    std::iter::from_fn(move || {
        let mut variable = |is_marked_off: bool| {
            let first = *body.first()?;
            let length = first.leading_zeros() as usize + 1;
            let field = body.get(..length).filter(|_| length <= 8)?;
            body = body.get(length..)?;
            let mark = if is_marked_off { 0xff_u64 >> length } else { 0xff };
            Some(
                field
                    .iter()
                    .enumerate()
                    .fold(0_u64, |value, (at, &byte)| (value << 8) | (u64::from(byte) & if at == 0 { mark } else { 0xff })),
            )
        };
        let id = u32::try_from(variable(false)?).ok()?;
        let bytes = usize::try_from(variable(true)?).ok()?;
        let (found, rest) = body.split_at_checked(bytes)?;
        body = rest;
        Some((id, found))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A segment of unknown length, as on a pipe, with a picture of 2x2 and a frame of sound.
    fn stream() -> Vec<u8> {
        let element = |id: &[u8], body: &[u8]| [id, &[0x80 | u8::try_from(body.len()).unwrap()], body].concat();
        let video = element(&[0xe0], &[element(&[0xb0], &[2]), element(&[0xba], &[2])].concat());
        let tracks = [
            element(&[0xae], &[element(&[0xd7], &[1]), element(&[0x23, 0xe3, 0x83], &40_000_000_u32.to_be_bytes()), video].concat()),
            element(&[0xae], &[element(&[0xd7], &[2]), element(&[0x63, 0xa2], &[0x12, 0x08])].concat()),
        ];
        let cluster = [
            element(&[0xe7], &[100]),
            element(&[0xa3], &[&[0x82, 0, 5, 0x80][..], &[7, 8, 9]].concat()),
            element(&[0xa3], &[&[0x81, 0xff, 0xff, 0x80][..], &[1, 2, 3, 4, 5, 6]].concat()),
        ];
        [
            element(&[0x1a, 0x45, 0xdf, 0xa3], &[]),
            vec![0x18, 0x53, 0x80, 0x67, 0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            element(&[0x16, 0x54, 0xae, 0x6b], &tracks.concat()),
            element(&[0x1f, 0x43, 0xb6, 0x75], &cluster.concat()),
        ]
        .concat()
    }

    #[test]
    fn pictures_and_sound_come_out_with_their_times() {
        let bytes = stream();
        let mut reader = Reader::new(&bytes[..]);
        let header = reader.header(true).unwrap();
        assert_eq!((header.size, header.fps), ((2, 2), Some(25.0)));
        assert_eq!(header.audio.unwrap().sample_rate_hz(), 44_100);
        assert!(
            matches!(reader.next_item().unwrap(), Some(Item::Sound(frame)) if frame.dts.as_millis() == 105 && frame.payload[..] == [7, 8, 9])
        );
        let Some(Item::Picture(picture, time)) = reader.next_item().unwrap() else { panic!("no picture") };
        assert_eq!((time.as_millis(), picture.planes()), (99, [&[1, 2, 3, 4][..], &[5], &[6]]));
        assert!(reader.next_item().unwrap().is_none());
    }

    #[test]
    fn a_stream_that_is_cut_anywhere_ends_and_never_panics() {
        let bytes = stream();
        for cut in 0..bytes.len() {
            let mut reader = Reader::new(&bytes[..cut]);
            if reader.header(true).is_ok() {
                while let Ok(Some(_)) = reader.next_item() {}
            }
        }
    }
}
