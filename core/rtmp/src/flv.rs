//! FLV (Adobe, "Video File Format Specification", version 10.1, annex E): the bodies that RTMP shares, and the framing of files and of HTTP-FLV.

use crate::message::audio::Audio;
use crate::message::enhanced;
use crate::message::video::Video;
use heapless::Vec;
use sightline_media::{Codec, Frame, MediaTime};

/// The longest header of a frame's body: Enhanced RTMP's 8 bytes.
pub const BODY_HEADER_BYTES_MAX: usize = enhanced::HEADER_BYTES_MAX;
/// Bytes of a tag before its body (E.4.1).
pub const TAG_HEADER_BYTES: usize = 11;

/// What a tag holds (E.4.1). The numbers are RTMP's message types too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TagKind {
    /// 8.
    Audio,
    /// 9.
    Video,
    /// 18: metadata.
    Script,
}

impl TagKind {
    /// The tag of a codec's frames.
    #[must_use]
    pub const fn of(codec: Codec) -> Self {
        if codec.is_video() { Self::Video } else { Self::Audio }
    }

    const fn type_id(self) -> u8 {
        match self {
            Self::Audio => 8,
            Self::Video => 9,
            Self::Script => 18,
        }
    }
}

/// The file's header and the first "previous tag size" of zero (E.2, E.3).
#[must_use]
pub const fn file_header(has_video: bool, has_audio: bool) -> [u8; 13] {
    let flags = (if has_video { 1 } else { 0 }) | (if has_audio { 4 } else { 0 });
    [b'F', b'L', b'V', 1, flags, 0, 0, 0, 9, 0, 0, 0, 0]
}

/// A tag's header (E.4.1). `timestamp_ms` wraps at 2^32.
#[must_use]
pub const fn tag_header(kind: TagKind, body_bytes: u32, timestamp_ms: u32) -> [u8; TAG_HEADER_BYTES] {
    let [_, l1, l2, l3] = body_bytes.to_be_bytes();
    let [t0, t1, t2, t3] = timestamp_ms.to_be_bytes();
    [kind.type_id(), l1, l2, l3, t1, t2, t3, t0, 0, 0, 0]
}

/// What follows a tag: its size, header included (E.3).
#[must_use]
pub const fn previous_tag_size(body_bytes: u32) -> [u8; 4] {
    body_bytes.saturating_add(TAG_HEADER_BYTES as u32).to_be_bytes()
}

/// A time as RTMP and FLV carry it: milliseconds modulo 2^32.
#[must_use]
pub const fn timestamp_ms(dts: MediaTime) -> u32 {
    // The low half is the number modulo 2^32, for negative times too.
    (dts.as_millis() & 0xffff_ffff) as u32
}

/// The header before a frame's payload in its message or tag: the legacy one for H.264 and AAC, which every player knows, Enhanced
/// RTMP's for all else.
#[must_use]
pub fn frame_header<P>(frame: &Frame<P>, codec: Codec) -> Vec<u8, BODY_HEADER_BYTES_MAX> {
    // Both rounded down on their own, so that shown times stay in order.
    let millis = frame.pts.as_millis().saturating_sub(frame.dts.as_millis()).clamp(-0x80_0000, 0x7f_ffff);
    let composition_millis = i32::try_from(millis).unwrap_or(0);
    let mut header = Vec::new();
    match codec {
        Codec::H264 => {
            let video = Video::Frame { is_keyframe: frame.is_keyframe, is_disposable: frame.is_disposable, composition_millis };
            // Five bytes fit by construction.
            let _ = header.extend_from_slice(&video.encode().unwrap_or_default());
        }
        Codec::Aac => {
            let _ = header.extend_from_slice(&Audio::Frame.encode().unwrap_or_default());
        }
        Codec::Hevc | Codec::Av1 | Codec::Vp9 | Codec::Opus | Codec::Flac | Codec::Ac3 | Codec::Eac3 | Codec::Mp3 => {
            return enhanced::coded_frame(codec, frame.is_keyframe, frame.is_disposable, composition_millis);
        }
    }
    header
}

/// The header before a track's decoder configuration: the sequence header.
#[must_use]
pub fn sequence_header(codec: Codec) -> Vec<u8, BODY_HEADER_BYTES_MAX> {
    let mut header = Vec::new();
    let _ = match codec {
        Codec::H264 => header.extend_from_slice(&Video::SequenceHeader.encode().unwrap_or_default()),
        Codec::Aac => header.extend_from_slice(&Audio::SequenceHeader.encode().unwrap_or_default()),
        Codec::Hevc | Codec::Av1 | Codec::Vp9 | Codec::Opus | Codec::Flac | Codec::Ac3 | Codec::Eac3 | Codec::Mp3 => {
            return enhanced::sequence_start(codec);
        }
    };
    header
}

#[cfg(feature = "server")]
mod reader;

#[cfg(feature = "server")]
pub use reader::{Event, ReadError, Reader};
#[cfg(feature = "server")]
pub use tags::{frame_parts, frame_tag, metadata_tag, track_tag};

#[cfg(feature = "server")]
mod tags {
    use super::{TagKind, file_size, frame_header, previous_tag_size, sequence_header, tag_header, timestamp_ms};
    use crate::message::properties;
    use bytes::{BufMut as _, Bytes, BytesMut};
    use sightline_media::{Codec, Frame, MediaTime, Metadata, Track};

    /// A frame as a whole tag, its size behind it: the same bytes for every viewer and for the file. One copy of the payload.
    #[must_use]
    pub fn frame_tag(frame: &Frame<Bytes>, codec: Codec) -> Bytes {
        tag(TagKind::of(codec), timestamp_ms(frame.dts), &frame_header(frame, codec), &frame.payload)
    }

    /// The same in parts, without a copy of the payload: what comes before it, it, and what comes behind it.
    #[must_use]
    pub fn frame_parts(frame: &Frame<Bytes>, codec: Codec) -> [Bytes; 3] {
        let header = frame_header(frame, codec);
        let body_bytes = file_size(header.len() + frame.payload.len());
        let mut head = BytesMut::with_capacity(super::TAG_HEADER_BYTES + header.len());
        head.put_slice(&tag_header(TagKind::of(codec), body_bytes, timestamp_ms(frame.dts)));
        head.put_slice(&header);
        [head.freeze(), frame.payload.clone(), Bytes::copy_from_slice(&previous_tag_size(body_bytes))]
    }

    /// A track's sequence header as a whole tag.
    #[must_use]
    pub fn track_tag(track: &Track, at: MediaTime) -> Bytes {
        let codec = track.config.codec();
        tag(TagKind::of(codec), timestamp_ms(at), &sequence_header(codec), track.config.as_bytes())
    }

    /// Metadata as a whole tag.
    #[must_use]
    pub fn metadata_tag(metadata: &Metadata, at: MediaTime) -> Bytes {
        tag(TagKind::Script, timestamp_ms(at), &properties::write(metadata), &[])
    }

    fn tag(kind: TagKind, timestamp: u32, header: &[u8], payload: &[u8]) -> Bytes {
        let body_bytes = file_size(header.len() + payload.len());
        let mut out = BytesMut::with_capacity(super::TAG_HEADER_BYTES + header.len() + payload.len() + 4);
        out.put_slice(&tag_header(kind, body_bytes, timestamp));
        out.put_slice(header);
        out.put_slice(payload);
        out.put_slice(&previous_tag_size(body_bytes));
        out.freeze()
    }
}

/// A body's size as its field has it. Bodies are at most [`MESSAGE_BYTES_MAX`](crate::MESSAGE_BYTES_MAX).
#[cfg(feature = "server")]
fn file_size(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sightline_media::TrackId;

    #[test]
    #[cfg(feature = "server")]
    fn a_tag_in_parts_is_the_same_tag() {
        use sightline_media::{Codec, Frame, MediaTime};
        for codec in [Codec::H264, Codec::Hevc, Codec::Aac, Codec::Opus] {
            let dts = MediaTime::from_millis(0x0123_4567);
            let track = if codec.is_video() { TrackId::VIDEO } else { TrackId::AUDIO };
            let payload = bytes::Bytes::from_static(b"payload");
            let frame = Frame { track, dts, pts: dts + MediaTime::from_millis(40), is_keyframe: true, is_disposable: false, payload };
            assert_eq!(frame_parts(&frame, codec).concat(), frame_tag(&frame, codec));
        }
    }

    #[test]
    fn headers_of_annex_e() {
        assert_eq!(file_header(true, true), *b"FLV\x01\x05\0\0\0\x09\0\0\0\0");
        assert_eq!(tag_header(TagKind::Video, 0x0001_0203, 0x0405_0607), [9, 1, 2, 3, 5, 6, 7, 4, 0, 0, 0]);
        assert_eq!(previous_tag_size(5), [0, 0, 0, 16]);
    }

    #[test]
    fn times_wrap_and_shown_times_keep_their_order() {
        assert_eq!(timestamp_ms(MediaTime::from_millis(0x1_0000_0005)), 5);
        assert_eq!(timestamp_ms(MediaTime::from_millis(-1)), u32::MAX);
        let frame = Frame {
            track: TrackId::VIDEO,
            dts: MediaTime::from_ticks(89),
            pts: MediaTime::from_ticks(90),
            is_keyframe: false,
            is_disposable: false,
            payload: (),
        };
        assert_eq!(&frame_header(&frame, Codec::H264)[..], [0x27, 1, 0, 0, 1]);
        assert_eq!(&frame_header(&frame, Codec::Aac)[..], [0xaf, 1]);
    }

    #[cfg(feature = "server")]
    #[test]
    fn a_frame_becomes_a_whole_tag() {
        let frame = Frame {
            track: TrackId::AUDIO,
            dts: MediaTime::from_millis(23),
            pts: MediaTime::from_millis(23),
            is_keyframe: true,
            is_disposable: false,
            payload: bytes::Bytes::from_static(&[1, 2, 3]),
        };
        assert_eq!(&frame_tag(&frame, Codec::Aac)[..], [8, 0, 0, 5, 0, 0, 23, 0, 0, 0, 0, 0xaf, 1, 1, 2, 3, 0, 0, 0, 16]);
    }
}
