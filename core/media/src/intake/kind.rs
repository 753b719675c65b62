//! H.264 and H.265: what a NAL unit is, and what its first fields say.

use alloc::vec::Vec;

use crate::avc;
use crate::bits::BitReader;
use crate::coded;
use crate::track::{Codec, TrackConfig};

/// Codecs of NAL units.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    /// H.264 / AVC.
    H264,
    /// H.265 / HEVC.
    Hevc,
}

/// What a NAL unit is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    Empty,
    Set,
    Supplement,
    Slice { is_start: bool, is_referred_to: bool },
    Other,
}

/// The beginning of a slice header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slice {
    pub(super) is_intra: bool,
    pub(super) pps_id: u32,
}

/// A supplement is looked through so far for a recovery point, in bytes: encoders write it before their settings in words.
const SUPPLEMENT_BYTES_MAX: u32 = 4096;
/// `recovery_point`, in both standards (H.264 §D.1.8, H.265 §D.2.8).
const RECOVERY_POINT: u32 = 6;

impl Family {
    /// The family of a codec that has NAL units.
    #[must_use]
    pub const fn of(codec: Codec) -> Option<Self> {
        match codec {
            Codec::H264 => Some(Self::H264),
            Codec::Hevc => Some(Self::Hevc),
            Codec::Av1 | Codec::Vp9 | Codec::Aac | Codec::Opus | Codec::Flac | Codec::Ac3 | Codec::Eac3 | Codec::Mp3 => None,
        }
    }

    /// `nal_unit_type`.
    pub(super) const fn kind(self, header: u8) -> u8 {
        match self {
            Self::H264 => header & 0x1f,
            Self::Hevc => (header >> 1) & 0x3f,
        }
    }

    /// Whether it may be a NAL unit: the forbidden bit is 0, the type is one that is used; in H.265 the layer is the base's.
    pub(super) fn is_sane(self, unit: &[u8]) -> bool {
        match (self, unit) {
            (Self::H264, &[header, ..]) => header & 0x80 == 0 && header & 0x1f != 0,
            (Self::Hevc, &[header, second, ..]) => header & 0x81 == 0 && second & 0xf8 == 0 && second & 7 != 0,
            (_, _) => false,
        }
    }

    pub(super) fn role(self, unit: &[u8]) -> Role {
        let Some(&header) = unit.first() else { return Role::Empty };
        match (self, self.kind(header)) {
            (Self::H264, kind @ 1..=5) => Role::Slice { is_start: kind == 5, is_referred_to: header & 0x60 != 0 },
            (Self::H264, 6) | (Self::Hevc, 39) => Role::Supplement,
            (Self::H264, 7 | 8) | (Self::Hevc, 32..=34) => Role::Set,
            // IRAP pictures: BLA, IDR and CRA (H.265 Table 7-1). Which others may be left out hangs on their temporal layer too.
            (Self::Hevc, kind @ 0..=31) => Role::Slice { is_start: (16..=21).contains(&kind), is_referred_to: true },
            (_, _) => Role::Other,
        }
    }

    /// Delimiters and filler, which say nothing between frames.
    pub(super) fn is_padding(self, unit: &[u8]) -> bool {
        let kind = unit.first().map_or(0, |&header| self.kind(header));
        match self {
            Self::H264 => matches!(kind, 9 | 12),
            Self::Hevc => matches!(kind, 35 | 38),
        }
    }

    /// Whether a slice is the first of its picture (`first_mb_in_slice` is 0, or `first_slice_segment_in_pic_flag` is set).
    pub(super) fn begins_picture(self, unit: &[u8]) -> bool {
        let at = match self {
            Self::H264 => 1,
            Self::Hevc => 2,
        };
        // One that is cut before it tells is taken for a picture.
        unit.get(at).is_none_or(|&first| first & 0x80 != 0)
    }

    /// Whether the first slice of a frame in our form is the first of its picture.
    #[must_use]
    pub fn begins_with_picture(self, payload: &[u8]) -> bool {
        let mut units = avc::NalUnits::new(payload, avc::LENGTH_BYTES);
        units.find(|unit| matches!(self.role(unit), Role::Slice { .. })).is_none_or(|slice| self.begins_picture(slice))
    }

    /// The first fields of a slice (H.264 §7.3.3, H.265 §7.3.6.1); none of one that does not begin its picture in H.265.
    pub(super) fn slice(self, unit: &[u8]) -> Option<Slice> {
        let header = *unit.first()?;
        match self {
            Self::H264 => {
                let mut bits = BitReader::rbsp(unit.get(1..)?);
                bits.unsigned_exp_golomb()?;
                let kind = bits.unsigned_exp_golomb()? % 5;
                Some(Slice { is_intra: kind == 2 || kind == 4, pps_id: bits.unsigned_exp_golomb()? })
            }
            Self::Hevc => {
                let mut bits = BitReader::rbsp(unit.get(2..)?);
                if !bits.bit()? {
                    return None;
                }
                let is_irap = (16..=23).contains(&self.kind(header));
                if is_irap {
                    bits.bit()?;
                }
                Some(Slice { is_intra: is_irap, pps_id: bits.unsigned_exp_golomb()? })
            }
        }
    }

    /// Whether a supplement holds a recovery point (H.264 §7.3.2.3.1: messages, each with its type and size in bytes of 255 and a last one).
    pub(super) fn is_recovery_point(self, unit: &[u8]) -> bool {
        let header_bytes = match self {
            Self::H264 => 1,
            Self::Hevc => 2,
        };
        let Some(body) = unit.get(header_bytes..) else { return false };
        let mut bits = BitReader::rbsp(body);
        let mut left = SUPPLEMENT_BYTES_MAX;
        while let Some((kind, size)) = number(&mut bits).zip(number(&mut bits)) {
            if kind == RECOVERY_POINT && size > 0 {
                return true;
            }
            if size >= left || (0..size).any(|_| bits.bits(8).is_none()) {
                return false;
            }
            left -= size;
        }
        false
    }

    /// A record and the size of the lengths that it speaks of.
    pub(super) fn parse(self, record: &[u8]) -> Option<(TrackConfig, usize)> {
        match self {
            Self::H264 => {
                let config = avc::DecoderConfig::parse(record).ok()?;
                let length_bytes = config.length_bytes();
                Some((TrackConfig::H264(config.with_long_lengths()), length_bytes))
            }
            Self::Hevc => {
                let config = coded::Config::parse(Codec::Hevc, record).ok()?;
                let length_bytes = config.length_bytes();
                Some((TrackConfig::Coded(config.with_long_lengths()), length_bytes))
            }
        }
    }

    /// The parameter sets of a configuration.
    pub(super) fn sets_of(self, config: &TrackConfig) -> Vec<Vec<u8>> {
        match config {
            TrackConfig::H264(config) => config.parameter_sets().map(<[u8]>::to_vec).collect(),
            TrackConfig::Coded(config) => super::hevc::sets_of(config.as_bytes()),
            TrackConfig::Aac(_) => Vec::new(),
        }
    }
}

/// A type or size of a supplement's message.
fn number(bits: &mut BitReader<'_>) -> Option<u32> {
    let mut sum = 0_u32;
    loop {
        let byte = bits.bits(8)?;
        sum = sum.checked_add(byte)?;
        if byte != 255 {
            return Some(sum);
        }
    }
}
