//! Enhanced RTMP v2 (veovera, "Enhanced Audio", "Enhanced Video"): media messages that name their codec by four characters, say
//! times more finely than a millisecond, and carry several tracks. Legacy messages never have the first bit (video) or format 9 (audio).

use crate::wire::signed_24;
use crate::wire::{Fields, u24};
use heapless::Vec;
use sightline_media::Codec;

/// Video's mark that the rest is an enhanced header.
pub(crate) const VIDEO_MARK: u8 = 0x80;
/// Audio's: sound format 9.
pub(crate) const AUDIO_MARK: u8 = 0x90;
/// The longest header written here: mark, FourCC, composition time.
pub(crate) const HEADER_BYTES_MAX: usize = 8;

const FRAME_KEY: u8 = 1;
const FRAME_INTER: u8 = 2;
const FRAME_DISPOSABLE: u8 = 3;
const FRAME_COMMAND: u8 = 5;

const SEQUENCE_START: u8 = 0;
const CODED_FRAMES: u8 = 1;
const SEQUENCE_END: u8 = 2;
const CODED_FRAMES_X: u8 = 3;
/// Video's metadata, audio's channel layout.
const METADATA: u8 = 4;
const MPEG2_TS_SEQUENCE_START: u8 = 5;
const AUDIO_MULTITRACK: u8 = 5;
const VIDEO_MULTITRACK: u8 = 6;
const MOD_EX: u8 = 7;

/// `TimestampOffsetNano`.
const MOD_EX_NANOS: u8 = 0;
/// The largest offset: one nanosecond less than a millisecond.
const NANOS_MAX: u32 = 999_999;

/// 1 is several tracks of one codec.
const ONE_TRACK: u8 = 0;
const MANY_TRACKS_MANY_CODECS: u8 = 2;

/// Pictures or sound.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Medium {
    Video,
    Audio,
}

/// What a packet is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// The decoder configuration follows.
    SequenceStart,
    /// A frame follows.
    Frame { is_keyframe: bool, is_disposable: bool, composition_millis: i32 },
    /// Nothing to decode: the sequence's end, metadata of colours, a channel layout.
    Nothing,
    /// A packet type that is not taken: MPEG-2 TS, or one that is not defined.
    Unsupported,
}

/// One track's part of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Packet<'a> {
    pub(crate) kind: Kind,
    /// `None`: a FourCC that is not known.
    pub(crate) codec: Option<Codec>,
    /// The track's number; 0 where the message names none.
    pub(crate) track: u8,
    /// To be added to the message's timestamp; under a millisecond.
    pub(crate) nanos: u32,
    pub(crate) body: &'a [u8],
}

/// Why a message can't be read on. The connection lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Malformed {
    /// It ends before its fields, or a track's size goes past its end.
    Truncated,
    /// A multitrack message inside a multitrack message, or a multitrack type that does not exist.
    Multitrack,
    /// A `ModEx` time offset of less than three bytes, or of a millisecond or more.
    ModEx,
}

/// The codec of a FourCC.
pub(crate) const fn codec_of(four_cc: [u8; 4]) -> Option<Codec> {
    Some(match &four_cc {
        b"avc1" => Codec::H264,
        b"hvc1" => Codec::Hevc,
        b"av01" => Codec::Av1,
        b"vp09" => Codec::Vp9,
        b"mp4a" => Codec::Aac,
        b"Opus" => Codec::Opus,
        b"fLaC" => Codec::Flac,
        b"ac-3" => Codec::Ac3,
        b"ec-3" => Codec::Eac3,
        b".mp3" => Codec::Mp3,
        _ => return None,
    })
}

/// The FourCC of a codec.
pub(crate) const fn four_cc(codec: Codec) -> [u8; 4] {
    match codec {
        Codec::H264 => *b"avc1",
        Codec::Hevc => *b"hvc1",
        Codec::Av1 => *b"av01",
        Codec::Vp9 => *b"vp09",
        Codec::Aac => *b"mp4a",
        Codec::Opus => *b"Opus",
        Codec::Flac => *b"fLaC",
        Codec::Ac3 => *b"ac-3",
        Codec::Eac3 => *b"ec-3",
        Codec::Mp3 => *b".mp3",
    }
}

/// Reads a message whose first byte has the mark, and hands each track's packet to `take` before it reads the next.
pub(crate) fn read<'a>(medium: Medium, body: &'a [u8], mut take: impl FnMut(Packet<'a>)) -> Result<(), Malformed> {
    let mut fields = Fields::new(body);
    let first = fields.u8().ok_or(Malformed::Truncated)?;
    let frame_type = (first >> 4) & 7;
    let (mut packet_type, nanos) = read_mod_ex(&mut fields, first & 15)?;
    if medium == Medium::Video && frame_type == FRAME_COMMAND && packet_type != METADATA {
        // A seek's begin or end: one byte and no body.
        return Ok(());
    }
    let is_multitrack = packet_type == if medium == Medium::Video { VIDEO_MULTITRACK } else { AUDIO_MULTITRACK };
    let mut layout = None;
    if is_multitrack {
        let byte = fields.u8().ok_or(Malformed::Truncated)?;
        packet_type = byte & 15;
        let is_nested = packet_type == if medium == Medium::Video { VIDEO_MULTITRACK } else { AUDIO_MULTITRACK };
        if is_nested || byte >> 4 > MANY_TRACKS_MANY_CODECS {
            return Err(Malformed::Multitrack);
        }
        layout = Some(byte >> 4);
    }
    let mut codec = None;
    if layout != Some(MANY_TRACKS_MANY_CODECS) {
        codec = codec_of(read_four_cc(&mut fields)?);
    }
    loop {
        if layout == Some(MANY_TRACKS_MANY_CODECS) {
            codec = codec_of(read_four_cc(&mut fields)?);
        }
        let track = if layout.is_some() { fields.u8().ok_or(Malformed::Truncated)? } else { 0 };
        let has_size = layout.is_some_and(|layout| layout != ONE_TRACK);
        let part = if has_size {
            let size = fields.u24().and_then(|size| usize::try_from(size).ok()).ok_or(Malformed::Truncated)?;
            fields.take(size).ok_or(Malformed::Truncated)?
        } else {
            fields.rest()
        };
        let (kind, body) = read_body(medium, packet_type, frame_type, codec, part)?;
        take(Packet { kind, codec, track, nanos, body });
        if !has_size || fields.is_empty() {
            return Ok(());
        }
    }
}

/// Reads past the extensions before the packet type, and gives that type and the time offset.
fn read_mod_ex(fields: &mut Fields<'_>, mut packet_type: u8) -> Result<(u8, u32), Malformed> {
    let mut nanos = 0;
    // Each turn takes three bytes or more: the message's length bounds them.
    while packet_type == MOD_EX {
        let mut size = usize::from(fields.u8().ok_or(Malformed::Truncated)?) + 1;
        if size == 256 {
            size = usize::from(fields.u16().ok_or(Malformed::Truncated)?) + 1;
        }
        let data = fields.take(size).ok_or(Malformed::Truncated)?;
        let next = fields.u8().ok_or(Malformed::Truncated)?;
        packet_type = next & 15;
        if next >> 4 == MOD_EX_NANOS {
            nanos = Fields::new(data).u24().filter(|&nanos| nanos <= NANOS_MAX).ok_or(Malformed::ModEx)?;
        }
    }
    Ok((packet_type, nanos))
}

fn read_four_cc(fields: &mut Fields<'_>) -> Result<[u8; 4], Malformed> {
    fields.u32().map(u32::to_be_bytes).ok_or(Malformed::Truncated)
}

fn read_body(medium: Medium, packet_type: u8, frame_type: u8, codec: Option<Codec>, part: &[u8]) -> Result<(Kind, &[u8]), Malformed> {
    let frame = |composition_millis| match medium {
        Medium::Video => {
            Kind::Frame { is_keyframe: frame_type == FRAME_KEY, is_disposable: frame_type == FRAME_DISPOSABLE, composition_millis }
        }
        Medium::Audio => Kind::Frame { is_keyframe: true, is_disposable: false, composition_millis },
    };
    Ok(match (medium, packet_type) {
        (_, SEQUENCE_START) => (Kind::SequenceStart, part),
        (_, CODED_FRAMES) if has_composition_time(codec) => {
            let mut fields = Fields::new(part);
            let composition_millis = fields.u24().map(signed_24).ok_or(Malformed::Truncated)?;
            (frame(composition_millis), fields.rest())
        }
        (_, CODED_FRAMES) | (Medium::Video, CODED_FRAMES_X) => (frame(0), part),
        (_, SEQUENCE_END | METADATA) => (Kind::Nothing, part),
        (Medium::Video, MPEG2_TS_SEQUENCE_START) | (_, _) => (Kind::Unsupported, part),
    })
}

/// Codecs whose coded frames begin with a composition time.
fn has_composition_time(codec: Option<Codec>) -> bool {
    matches!(codec, Some(Codec::H264 | Codec::Hevc))
}

/// The header before a decoder configuration.
pub(crate) fn sequence_start(codec: Codec) -> Vec<u8, HEADER_BYTES_MAX> {
    let mark = if codec.is_video() { VIDEO_MARK | (FRAME_KEY << 4) } else { AUDIO_MARK };
    header(mark | SEQUENCE_START, codec)
}

/// The header before a frame.
pub(crate) fn coded_frame(codec: Codec, is_keyframe: bool, is_disposable: bool, composition_millis: i32) -> Vec<u8, HEADER_BYTES_MAX> {
    if !codec.is_video() {
        return header(AUDIO_MARK | CODED_FRAMES, codec);
    }
    let frame_type = if is_keyframe {
        FRAME_KEY
    } else if is_disposable {
        FRAME_DISPOSABLE
    } else {
        FRAME_INTER
    };
    let mark = VIDEO_MARK | (frame_type << 4);
    if !has_composition_time(Some(codec)) {
        return header(mark | CODED_FRAMES, codec);
    }
    if composition_millis == 0 {
        return header(mark | CODED_FRAMES_X, codec);
    }
    let mut bytes = header(mark | CODED_FRAMES, codec);
    // Eight bytes fit by construction.
    let _ = bytes.extend_from_slice(&u24(composition_millis.cast_unsigned()));
    bytes
}

fn header(first: u8, codec: Codec) -> Vec<u8, HEADER_BYTES_MAX> {
    let mut bytes = Vec::new();
    // Five bytes fit by construction.
    let _ = bytes.push(first);
    let _ = bytes.extend_from_slice(&four_cc(codec));
    bytes
}

#[cfg(test)]
#[path = "enhanced_tests.rs"]
mod tests;
