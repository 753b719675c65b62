//! What a stream is made of.

use crate::{aac, avc};

/// A track's number within its stream.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct TrackId(pub u8);

impl TrackId {
    /// The one video track of a camera.
    pub const VIDEO: Self = Self(0);
    /// The one audio track of a camera.
    pub const AUDIO: Self = Self(1);

    /// The video track that Enhanced RTMP's multitrack messages call `number`: even ids. `None` past 127.
    #[must_use]
    pub const fn video(number: u8) -> Option<Self> {
        if number < 128 { Some(Self(number * 2)) } else { None }
    }

    /// The audio track that Enhanced RTMP's multitrack messages call `number`: odd ids. `None` past 127.
    #[must_use]
    pub const fn audio(number: u8) -> Option<Self> {
        if number < 128 { Some(Self(number * 2 + 1)) } else { None }
    }

    /// True for the first video or audio track: the one that a message without a track number belongs to.
    #[must_use]
    pub const fn is_default(self) -> bool {
        self.0 < 2
    }
}

/// How a track is coded.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Codec {
    /// H.264 / AVC, access units in AVCC form.
    H264,
    /// H.265 / HEVC, access units with a length of four bytes before each NAL unit.
    Hevc,
    /// AV1, temporal units in the low-overhead format (AV1 in ISOBMFF §2.4).
    Av1,
    /// VP9, frames or superframes.
    Vp9,
    /// AAC, raw frames.
    Aac,
    /// Opus packets.
    Opus,
    /// FLAC frames.
    Flac,
    /// AC-3 frames.
    Ac3,
    /// E-AC-3 frames.
    Eac3,
    /// MPEG-1 layer III frames.
    Mp3,
}

impl Codec {
    /// Pictures, not sound.
    #[must_use]
    pub const fn is_video(self) -> bool {
        match self {
            Self::H264 | Self::Hevc | Self::Av1 | Self::Vp9 => true,
            Self::Aac | Self::Opus | Self::Flac | Self::Ac3 | Self::Eac3 | Self::Mp3 => false,
        }
    }

    /// Its name as people write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::H264 => "H.264",
            Self::Hevc => "HEVC",
            Self::Av1 => "AV1",
            Self::Vp9 => "VP9",
            Self::Aac => "AAC",
            Self::Opus => "Opus",
            Self::Flac => "FLAC",
            Self::Ac3 => "AC-3",
            Self::Eac3 => "E-AC-3",
            Self::Mp3 => "MP3",
        }
    }
}

/// What a decoder must know before the first frame.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(clippy::large_enum_variant, reason = "no allocator here to box it; a stream has two of these")]
pub enum TrackConfig {
    /// The `AVCDecoderConfigurationRecord`.
    H264(avc::DecoderConfig),
    /// The `AudioSpecificConfig`.
    Aac(aac::AudioConfig),
    /// Any other codec's record. Cameras of ours send none; servers pass it on.
    #[cfg(feature = "alloc")]
    Coded(crate::coded::Config),
}

impl TrackConfig {
    /// How the track is coded.
    #[must_use]
    pub fn codec(&self) -> Codec {
        match self {
            Self::H264(_) => Codec::H264,
            Self::Aac(_) => Codec::Aac,
            #[cfg(feature = "alloc")]
            Self::Coded(config) => config.codec(),
        }
    }

    /// The record, byte for byte.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::H264(config) => config.as_bytes(),
            Self::Aac(config) => config.as_bytes(),
            #[cfg(feature = "alloc")]
            Self::Coded(config) => config.as_bytes(),
        }
    }

    /// The H.264 configuration, if it is one.
    #[must_use]
    pub fn avc(&self) -> Option<&avc::DecoderConfig> {
        if let Self::H264(config) = self { Some(config) } else { None }
    }

    /// Width and height of the pictures after cropping, in luma samples; `None` for sound.
    #[must_use]
    pub fn size(&self) -> Option<(u32, u32)> {
        match self {
            Self::H264(config) => Some((config.picture().width, config.picture().height)),
            Self::Aac(_) => None,
            #[cfg(feature = "alloc")]
            Self::Coded(config) => config.size(),
        }
    }
}

/// One track of a stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Track {
    /// Its number; frames name it.
    pub id: TrackId,
    /// What its decoder must know.
    pub config: TrackConfig,
}
