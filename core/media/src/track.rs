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
}

/// How a track is coded.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Codec {
    /// H.264 / AVC, access units in AVCC form.
    H264,
    /// AAC, raw frames.
    Aac,
}

/// What a decoder must know before the first frame.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(clippy::large_enum_variant, reason = "no allocator here to box it; a stream has two of these")]
pub enum TrackConfig {
    /// The `AVCDecoderConfigurationRecord`.
    H264(avc::DecoderConfig),
    /// The `AudioSpecificConfig`.
    Aac(aac::AudioConfig),
}

impl TrackConfig {
    /// How the track is coded.
    #[must_use]
    pub fn codec(&self) -> Codec {
        match self {
            Self::H264(_) => Codec::H264,
            Self::Aac(_) => Codec::Aac,
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
