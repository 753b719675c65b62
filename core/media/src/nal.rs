//! H.264 and H.265: what a NAL unit is, and what its first fields say. Whoever takes pictures goes by this one reading, with and without an allocator.

use crate::avc::{self, ConfigError, DecoderConfig};
use crate::bits::BitReader;
use crate::track::Codec;

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
pub(crate) enum Role {
    Empty,
    Set,
    Supplement,
    Slice { is_start: bool, is_referred_to: bool },
    Other,
}

/// The beginning of a slice header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slice {
    pub(crate) is_intra: bool,
    pub(crate) pps_id: u32,
}

/// A supplement is looked through so far for a recovery point, in bytes: encoders write it before their settings in words.
const SUPPLEMENT_BYTES_MAX: u32 = 4096;
/// The longest parameter set that is taken for one, in bytes: an SPS with all scaling lists has 500.
pub(crate) const SET_BYTES_MAX: usize = 2048;
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
    pub(crate) const fn kind(self, header: u8) -> u8 {
        match self {
            Self::H264 => header & 0x1f,
            Self::Hevc => (header >> 1) & 0x3f,
        }
    }

    /// Whether it may be a NAL unit: the forbidden bit is 0, the type is one that is used; in H.265 the layer is the base's.
    pub(crate) fn is_sane(self, unit: &[u8]) -> bool {
        match (self, unit) {
            (Self::H264, &[header, ..]) => header & 0x80 == 0 && header & 0x1f != 0,
            (Self::Hevc, &[header, second, ..]) => header & 0x81 == 0 && second & 0xf8 == 0 && second & 7 != 0,
            (_, _) => false,
        }
    }

    pub(crate) fn role(self, unit: &[u8]) -> Role {
        let Some(&header) = unit.first() else { return Role::Empty };
        // Of another layer, or no NAL unit at all: whoever reads what goes on would not take it for one.
        if !self.is_sane(unit) {
            return Role::Other;
        }
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
    pub(crate) fn is_padding(self, unit: &[u8]) -> bool {
        let kind = unit.first().map_or(0, |&header| self.kind(header));
        match self {
            Self::H264 => matches!(kind, 9 | 12),
            Self::Hevc => matches!(kind, 35 | 38),
        }
    }

    /// Whether it is a slice of the base layer.
    pub(crate) fn is_slice(self, unit: &[u8]) -> bool {
        matches!(self.role(unit), Role::Slice { .. })
    }

    /// Whether a slice is the first of its picture (`first_mb_in_slice` is 0, or `first_slice_segment_in_pic_flag` is set).
    pub(crate) fn begins_picture(self, unit: &[u8]) -> bool {
        let at = match self {
            Self::H264 => 1,
            Self::Hevc => 2,
        };
        // One that is cut before it tells is taken for a picture.
        unit.get(at).is_none_or(|&first| first & 0x80 != 0)
    }

    /// Whether a frame in our form holds a slice.
    #[must_use]
    pub fn has_picture(self, payload: &[u8]) -> bool {
        avc::NalUnits::new(payload, avc::LENGTH_BYTES).any(|unit| matches!(self.role(unit), Role::Slice { .. }))
    }

    /// Whether the first slice of a frame in our form is the first of its picture.
    #[must_use]
    pub fn begins_with_picture(self, payload: &[u8]) -> bool {
        let mut units = avc::NalUnits::new(payload, avc::LENGTH_BYTES);
        units.find(|unit| matches!(self.role(unit), Role::Slice { .. })).is_none_or(|slice| self.begins_picture(slice))
    }

    /// The first fields of a slice (H.264 §7.3.3, H.265 §7.3.6.1); none of one that does not begin its picture in H.265.
    pub(crate) fn slice(self, unit: &[u8]) -> Option<Slice> {
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
    pub(crate) fn is_recovery_point(self, unit: &[u8]) -> bool {
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

/// What one look over the NAL units of an access unit tells.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Look {
    pub(crate) has_picture: bool,
    /// A decoder can begin at it, by its NAL types.
    pub(crate) is_start: bool,
    pub(crate) is_recovery: bool,
    pub(crate) is_intra: bool,
    pub(crate) is_referred_to: bool,
    /// The first slice is its picture's first.
    pub(crate) begins_picture: bool,
    /// The parameter set that the first slice names.
    pub(crate) pps_id: Option<u32>,
}

impl Look {
    /// Over all of them.
    pub(crate) fn over<'a>(family: Family, units: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut look = Self::default();
        units.for_each(|unit| {
            look.see(family, unit);
        });
        look
    }

    /// The next one. Gives what it is for.
    pub(crate) fn see(&mut self, family: Family, unit: &[u8]) -> Role {
        let role = family.role(unit);
        match role {
            Role::Supplement => self.is_recovery |= family.is_recovery_point(unit),
            Role::Slice { is_start, is_referred_to } => {
                if !self.has_picture {
                    let slice = family.slice(unit);
                    self.begins_picture = family.begins_picture(unit);
                    self.is_intra = slice.is_some_and(|slice| slice.is_intra);
                    self.pps_id = slice.map(|slice| slice.pps_id);
                }
                self.has_picture = true;
                self.is_start |= is_start;
                self.is_referred_to |= is_referred_to;
            }
            Role::Empty | Role::Set | Role::Other => {}
        }
        role
    }

    /// A decoder can begin here: an IDR picture or a recovery point, or (H.265) an IRAP picture.
    pub(crate) const fn is_keyframe(&self) -> bool {
        self.has_picture && (self.is_start || self.is_recovery)
    }

    /// No other picture refers to it.
    pub(crate) const fn is_disposable(&self) -> bool {
        self.has_picture && !self.is_keyframe() && !self.is_referred_to
    }
}

/// The id of an H.264 SPS that can be read.
pub(crate) fn sps_id(unit: &[u8]) -> Option<u32> {
    avc::Picture::parse(unit).ok()?;
    BitReader::rbsp(unit.get(4..)?).unsigned_exp_golomb()
}

/// The id of a PPS and that of its SPS, from behind the NAL unit's header: both standards begin alike (H.264 §7.3.2.2, H.265 §7.3.2.3.1).
pub(crate) fn pps_ids(body: &[u8]) -> Option<(u32, u32)> {
    let mut bits = BitReader::rbsp(body);
    Some((bits.unsigned_exp_golomb()?, bits.unsigned_exp_golomb()?))
}

/// The configuration that an H.264 picture goes by, from the parameter sets beside it: the SPS that the PPS of its first slice belongs to, and all PPS
/// of it; of two with one id the later counts. As the intake has it, and without an allocator. `None`: there are not both.
///
/// # Errors
/// [`ConfigError`]: the sets can't be read.
pub fn config_beside<'a>(units: impl Iterator<Item = &'a [u8]> + Clone) -> Option<Result<DecoderConfig, ConfigError>> {
    let is_set = |unit: &[u8]| unit.len() <= SET_BYTES_MAX && Family::H264.is_sane(unit);
    let is_of = |unit: &[u8], kind: u8| is_set(unit) && unit.first().is_some_and(|header| Family::H264.kind(*header) == kind);
    let of_kind = |kind: u8| units.clone().filter(move |unit| is_of(unit, kind));
    let (sequences, pictures) = (of_kind(7), of_kind(8).filter_map(|unit| Some((pps_ids(unit.get(1..)?)?, unit))));
    let fallback = sequences.clone().next()?;
    pictures.clone().next()?;
    let named = Look::over(Family::H264, units.clone()).pps_id;
    let latest_sequence = |id: u32| sequences.clone().filter(|unit| sps_id(unit) == Some(id)).last();
    let parent = pictures.clone().filter(|((id, _), _)| Some(*id) == named).last().map(|((_, parent), _)| parent);
    let first = sequences.clone().find_map(sps_id);
    // Where none can be read, the error says why.
    let sps = parent.and_then(latest_sequence).or_else(|| latest_sequence(first?)).unwrap_or(fallback);
    let id = sps_id(sps);
    let latest = |wanted: u32| pictures.clone().filter(move |((id, _), _)| *id == wanted).last();
    let is_first = |place: usize, wanted: u32| !pictures.clone().take(place).any(|((id, _), _)| id == wanted);
    let distinct = pictures.clone().enumerate().filter(|(place, ((id, _), _))| is_first(*place, *id));
    let of_it = distinct.filter_map(|(_, ((wanted, _), _))| latest(wanted)).filter(|((_, parent), _)| Some(*parent) == id);
    Some(DecoderConfig::from_parameter_sets(sps, of_it.map(|(_, unit)| unit)))
}
