//! Reads an FLV that comes without end (HTTP-FLV), in whatever pieces.

use super::TAG_HEADER_BYTES;
use crate::message::data;
use crate::message::properties;
use crate::server::{Demuxer, Media};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use bytes::{Buf as _, BytesMut};
use core::fmt;
use sightline_media::{Frame, Metadata, Track};

/// The file's header, its own length in it (E.2).
const FILE_HEADER_BYTES: usize = 9;
/// The length of what is before each tag (E.3).
const TAG_SIZE_BYTES: usize = 4;
/// A header that announces to be longer is none: nobody has ever put anything there.
const FILE_HEADER_BYTES_MAX: usize = 1024;
/// Says that a tag is encrypted (E.4.1): it is none of ours.
const FILTER: u8 = 0x20;

/// What was in it.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// A track's decoder configuration, when it is new or has changed.
    Track(Box<Track>),
    /// A frame.
    Frame(Frame<bytes::Bytes>),
    /// What it says of itself: the values behind `onMetaData`.
    Metadata(Metadata),
    /// Media that can't be taken, or is taken though no standard allows it. Said once a kind.
    Remark {
        /// What it was.
        what: &'static str,
    },
}

impl From<Media> for Event {
    fn from(media: Media) -> Self {
        match media {
            Media::Track(track) => Self::Track(track),
            Media::Frame(frame) => Self::Frame(frame),
            Media::Unsupported(what) | Media::Quirk(what) => Self::Remark { what },
        }
    }
}

/// Why it can't be read on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReadError {
    /// It does not begin as FLV version 1 does.
    NoFlv,
    /// A tag is longer than the limit.
    TagBytes(u32),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFlv => f.write_str("what comes is no FLV: it does not begin with \"FLV\" and version 1"),
            Self::TagBytes(bytes) => write!(f, "a tag of the FLV is {bytes} bytes long, which is over the limit"),
        }
    }
}

impl core::error::Error for ReadError {}

/// Where reading is.
#[derive(Clone, Copy, Debug)]
enum Part {
    FileHeader,
    /// So many bytes are of no use: the rest of the header, the size of the tag before.
    Skip(usize),
    Tag,
}

/// One file as it comes.
pub struct Reader {
    tag_bytes_max: u32,
    part: Part,
    waiting: BytesMut,
    demuxer: Demuxer,
    events: VecDeque<Event>,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("part", &self.part).finish_non_exhaustive()
    }
}

impl Reader {
    /// Takes tags of so many bytes at most.
    #[must_use]
    pub fn new(tag_bytes_max: u32) -> Self {
        let (waiting, events) = (BytesMut::new(), VecDeque::new());
        Self { tag_bytes_max, part: Part::FileHeader, waiting, demuxer: Demuxer::new(), events }
    }

    /// Takes what came.
    ///
    /// # Errors
    /// It is no FLV: nothing more can be read.
    pub fn handle_bytes(&mut self, bytes: &[u8]) -> Result<(), ReadError> {
        self.waiting.extend_from_slice(bytes);
        while self.read_part()? {}
        Ok(())
    }

    /// Nothing more comes: a picture whose last slice was waited for is whole.
    pub fn handle_end(&mut self) {
        self.demuxer.flush(&mut self.events);
    }

    /// What was in it, one after another.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// False where more bytes are needed.
    fn read_part(&mut self) -> Result<bool, ReadError> {
        match self.part {
            Part::FileHeader => {
                let Some((header, _)) = self.waiting.split_first_chunk::<FILE_HEADER_BYTES>() else { return Ok(false) };
                let [b'F', b'L', b'V', 1, _, length @ ..] = *header else { return Err(ReadError::NoFlv) };
                let length = u32::from_be_bytes(length) as usize;
                if !(FILE_HEADER_BYTES..=FILE_HEADER_BYTES_MAX).contains(&length) {
                    return Err(ReadError::NoFlv);
                }
                self.part = Part::Skip(length + TAG_SIZE_BYTES);
            }
            Part::Skip(bytes) => {
                if self.waiting.len() < bytes {
                    return Ok(false);
                }
                self.waiting.advance(bytes);
                self.part = Part::Tag;
            }
            Part::Tag => return self.read_tag(),
        }
        Ok(true)
    }

    fn read_tag(&mut self) -> Result<bool, ReadError> {
        let Some((header, _)) = self.waiting.split_first_chunk::<TAG_HEADER_BYTES>() else { return Ok(false) };
        let [kind, l1, l2, l3, t1, t2, t3, t0, _, _, _] = *header;
        let body_bytes = u32::from_be_bytes([0, l1, l2, l3]);
        if body_bytes > self.tag_bytes_max {
            return Err(ReadError::TagBytes(body_bytes));
        }
        let tag_bytes = TAG_HEADER_BYTES + body_bytes as usize;
        if self.waiting.len() < tag_bytes {
            return Ok(false);
        }
        let mut body = self.waiting.split_to(tag_bytes).freeze();
        body.advance(TAG_HEADER_BYTES);
        self.part = Part::Skip(TAG_SIZE_BYTES);
        let timestamp = u32::from_be_bytes([t0, t1, t2, t3]);
        match kind {
            8 => self.demuxer.audio(timestamp, &body, &mut self.events),
            9 => self.demuxer.video(timestamp, &body, &mut self.events),
            18 => {
                // What can't be read says nothing.
                if let Ok(Some(metadata)) = data::Metadata::decode(&body) {
                    self.events.push_back(Event::Metadata(properties::read(metadata.values)));
                }
            }
            kind if kind & FILTER != 0 => self.demuxer.quirk("an encrypted tag of FLV", &mut self.events),
            _ => {}
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flv;
    use alloc::vec;
    use alloc::vec::Vec;
    use bytes::Bytes;
    use proptest::prelude::*;
    use sightline_media::{Codec, MediaTime, Property, TrackConfig, TrackId, aac::AudioConfig, avc, coded};

    const TAG_BYTES_MAX: u32 = 1 << 20;

    fn frame(track: TrackId, millis: i64, shown_later: i64, payload: &[u8]) -> Frame<Bytes> {
        let dts = MediaTime::from_millis(millis);
        let pts = dts + MediaTime::from_millis(shown_later);
        Frame { track, dts, pts, is_keyframe: true, is_disposable: false, payload: Bytes::copy_from_slice(payload) }
    }

    /// A stream as viewers get it, and what is in it.
    fn made() -> (Vec<u8>, Vec<Event>) {
        let sps = [0x67, 66, 0xc0, 30, 0xda, 0x02, 0x80, 0xbf, 0xe5];
        let video = Track {
            id: TrackId::VIDEO,
            config: TrackConfig::H264(avc::DecoderConfig::from_sets(&sps, &[0x68, 0xce, 0x38, 0x80]).unwrap()),
        };
        let sound = Track { id: TrackId::AUDIO, config: TrackConfig::Aac(AudioConfig::parse(&[0x12, 0x10]).unwrap()) };
        let opus = Track { id: TrackId::AUDIO, config: TrackConfig::Coded(coded::Config::parse(Codec::Opus, &[]).unwrap()) };
        let metadata = Metadata { properties: vec![("encoder".into(), Property::Text("x".into()))] };
        // A mark of the time of capture: user data, before the picture.
        let picture = [0, 0, 0, 6, 6, 5, 2, 1, 2, 0x80, 0, 0, 0, 5, 0x65, 0x88, 0x84, 0, 0x10];
        let later = i64::from(u32::MAX) - 20;
        let pictures = [frame(TrackId::VIDEO, later, 0, &picture), frame(TrackId::VIDEO, later + 40, 80, &picture)];
        let (aac, coded) = (frame(TrackId::AUDIO, later + 41, 0, b"sound"), frame(TrackId::AUDIO, later + 61, 0, b"\xfcopus"));
        let wire = [
            &flv::file_header(true, true)[..],
            &flv::metadata_tag(&metadata, MediaTime::ZERO),
            &flv::track_tag(&video, pictures[0].dts),
            &flv::track_tag(&sound, pictures[0].dts),
            &flv::frame_tag(&pictures[0], Codec::H264),
            &flv::frame_tag(&pictures[1], Codec::H264),
            &flv::frame_tag(&aac, Codec::Aac),
            &flv::track_tag(&opus, coded.dts),
            &flv::frame_tag(&coded, Codec::Opus),
        ]
        .concat();
        let [first, second] = pictures.map(Event::Frame);
        let (aac, coded) = (Event::Frame(aac), Event::Frame(coded));
        let tracks = [video, sound, opus].map(|track| Event::Track(Box::new(track)));
        let [video, sound, opus] = tracks;
        (wire, vec![Event::Metadata(metadata), video, sound, first, second, aac, opus, coded])
    }

    fn read(pieces: &[&[u8]]) -> Result<Vec<Event>, ReadError> {
        let mut reader = Reader::new(TAG_BYTES_MAX);
        for piece in pieces {
            reader.handle_bytes(piece)?;
        }
        reader.handle_end();
        Ok(core::iter::from_fn(|| reader.poll_event()).collect())
    }

    #[test]
    fn all_that_a_viewer_is_sent_is_read_with_its_times_wherever_the_pieces_are_cut() {
        let (wire, events) = made();
        assert_eq!(read(&[&wire]).unwrap(), events);
        for cut in 0..wire.len() {
            let (before, after) = wire.split_at(cut);
            assert_eq!(read(&[before, after]).unwrap(), events, "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = wire.chunks(1).collect();
        assert_eq!(read(&bytes).unwrap(), events);
    }

    #[test]
    fn what_is_no_flv_and_a_tag_that_is_too_long_are_told_at_once() {
        assert_eq!(read(&[b"<html>...."]), Err(ReadError::NoFlv));
        assert_eq!(read(&[b"FLV\x01\x05\xff\0\0\x09"]), Err(ReadError::NoFlv));
        let long = [&flv::file_header(true, true)[..], &flv::tag_header(flv::TagKind::Video, TAG_BYTES_MAX + 1, 0)].concat();
        assert_eq!(read(&[&long]), Err(ReadError::TagBytes(TAG_BYTES_MAX + 1)));
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_told(bytes in proptest::collection::vec(any::<u8>(), 0..300), cut in 0_usize..300) {
            let wire = [&flv::file_header(true, true)[..], &bytes].concat();
            let (before, after) = wire.split_at(cut.min(wire.len()));
            let whole = read(&[&wire]);
            prop_assert_eq!(read(&[before, after]), whole);
        }
    }
}
