//! Codecs that cameras and encoders send by Enhanced RTMP, beside H.264 and AAC: the record that their decoder wants is
//! kept byte for byte, and only what the containers must know is read from it.

use crate::Codec;
use crate::bits::BitReader;
use alloc::sync::Arc;

/// The longest record kept, in bytes: x265 puts its settings as text into the `hvcC`, about 2 KB.
pub const RECORD_BYTES_MAX: usize = 16 * 1024;

/// A decoder's configuration: `hvcC` (ISO/IEC 14496-15 §8.3.3.1), `av1C` (AV1 in ISOBMFF §2.3.3), `vpcC` (VP9 in ISOBMFF),
/// an Opus ID header (RFC 7845 §5.1), FLAC's `fLaC` with STREAMINFO; empty for AC-3, E-AC-3 and MP3, whose frames say all.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    codec: Codec,
    record: Arc<[u8]>,
    size: Option<(u32, u32)>,
}

/// Why a record was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecordError {
    /// It ends before its fields do.
    Truncated,
    /// It is longer than [`RECORD_BYTES_MAX`].
    TooLong,
    /// Its version or its magic is not the codec's.
    Version,
    /// The parameter sets in it give no picture size.
    Picture,
}

impl core::fmt::Display for RecordError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Truncated => "the decoder configuration is shorter than its fields",
            Self::TooLong => "the decoder configuration is longer than 16 KiB",
            Self::Version => "the decoder configuration has another codec's version or magic",
            Self::Picture => "the decoder configuration gives no picture size",
        })
    }
}

impl core::error::Error for RecordError {}

impl Config {
    /// Reads a record as E-RTMP's sequence start carries it.
    ///
    /// A VP9 record knows no picture size: add it with [`Config::with_size`] from the first key frame.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub fn parse(codec: Codec, record: &[u8]) -> Result<Self, RecordError> {
        if record.len() > RECORD_BYTES_MAX {
            return Err(RecordError::TooLong);
        }
        let size = match codec {
            Codec::Hevc => {
                // Drafts of the standard wrote version 0, and some cameras still do.
                let &[0 | 1, ..] = record else { return Err(RecordError::Version) };
                let sps = hevc_sps(record).ok_or(RecordError::Truncated)?;
                Some(hevc_size(sps).ok_or(RecordError::Picture)?)
            }
            Codec::Av1 => {
                let &[0x81, _, _, _, ref units @ ..] = record else { return Err(RecordError::Version) };
                Some(av1_size(units).ok_or(RecordError::Picture)?)
            }
            Codec::Vp9 => {
                vp9_record(record).ok_or(RecordError::Truncated)?;
                None
            }
            Codec::Opus if !record.is_empty() && !record.starts_with(b"OpusHead") => return Err(RecordError::Version),
            Codec::Flac => {
                flac_stream_info(record).ok_or(RecordError::Version)?;
                None
            }
            Codec::H264 | Codec::Aac | Codec::Opus | Codec::Ac3 | Codec::Eac3 | Codec::Mp3 => None,
        };
        Ok(Self { codec, record: record.into(), size })
    }

    /// The same with a picture size.
    #[must_use]
    pub fn with_size(self, size: (u32, u32)) -> Self {
        Self { size: Some(size), ..self }
    }

    /// How the track is coded.
    #[must_use]
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// The record, byte for byte.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.record
    }

    /// Width and height of the pictures after cropping, in luma samples.
    #[must_use]
    pub fn size(&self) -> Option<(u32, u32)> {
        self.size
    }

    /// Bytes of the length before each NAL unit of HEVC; 4 for all else, which has no NAL units.
    #[must_use]
    pub fn length_bytes(&self) -> usize {
        match (self.codec, self.record.get(21)) {
            (Codec::Hevc, Some(&lengths)) => usize::from(lengths & 3) + 1,
            _ => 4,
        }
    }

    /// The same, for samples whose NAL units stand behind lengths of four bytes.
    #[must_use]
    pub fn with_long_lengths(mut self) -> Self {
        if self.length_bytes() != 4 {
            let mut record = self.record.to_vec();
            if let Some(lengths) = record.get_mut(21) {
                *lengths |= 3;
            }
            self.record = record.into();
        }
        self
    }

    /// `profile, level, bit depth and the rest` of a `vpcC`, without the full box's version and flags, which some muxers put before it.
    #[must_use]
    pub fn vp9_fields(&self) -> Option<&[u8]> {
        if self.codec == Codec::Vp9 { vp9_record(&self.record) } else { None }
    }

    /// HEVC's VPS, SPS and PPS, and what else of its record comes before the first picture, as NAL units; none for other codecs.
    pub fn hevc_parameter_sets(&self) -> impl Iterator<Item = &[u8]> {
        let record: &[u8] = if self.codec == Codec::Hevc { &self.record } else { &[] };
        hevc_sets(record).map(|(_, set)| set)
    }

    /// FLAC's STREAMINFO block, 34 bytes.
    #[must_use]
    pub fn flac_stream_info(&self) -> Option<&[u8]> {
        if self.codec == Codec::Flac { flac_stream_info(&self.record) } else { None }
    }
}

/// The first SPS of an `hvcC`.
fn hevc_sps(record: &[u8]) -> Option<&[u8]> {
    hevc_sets(record).find(|&(kind, _)| kind == NAL_SPS).map(|(_, set)| set)
}

/// The NAL units in the arrays of an `hvcC`, each with its array's type, as far as the record goes (ISO/IEC 14496-15 §8.3.3.1.2).
pub(crate) fn hevc_sets(record: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = record.get(23..).unwrap_or_default();
    let (mut kind, mut left) = (0, 0);
    let mut arrays = record.get(22).copied().unwrap_or(0);
    core::iter::from_fn(move || {
        while left == 0 {
            arrays = arrays.checked_sub(1)?;
            let &[of, high, low, ref units @ ..] = rest else { return None };
            (kind, left, rest) = (of & 0x3f, u16::from_be_bytes([high, low]), units);
        }
        left -= 1;
        let (length, units) = rest.split_first_chunk::<2>()?;
        let (set, units) = units.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        rest = units;
        Some((kind, set))
    })
}

/// `SPS_NUT` (H.265 Table 7-1).
const NAL_SPS: u8 = 33;

fn hevc_size(sps: &[u8]) -> Option<(u32, u32)> {
    hevc_sps_fields(sps).map(|fields| fields.size)
}

/// What an SPS of H.265 says first.
pub(crate) struct HevcSps {
    pub(crate) id: u32,
    /// After cropping.
    pub(crate) size: (u32, u32),
    /// How many sub-layers there are.
    pub(crate) sub_layers: u8,
    /// `sps_temporal_id_nesting_flag`.
    pub(crate) is_nested: bool,
    /// General profile, tier and level.
    pub(crate) profile: [u8; PROFILE_BYTES],
    pub(crate) chroma_format: u8,
    /// Above eight bits.
    pub(crate) more_depth_luma: u8,
    /// The same of chroma.
    pub(crate) more_depth_chroma: u8,
}

/// `general_profile_space` to `general_level_idc` (H.265 §7.3.3).
const PROFILE_BYTES: usize = 12;

/// H.265 §7.3.2.2.1 up to the bit depths; `sps` is a NAL unit.
pub(crate) fn hevc_sps_fields(sps: &[u8]) -> Option<HevcSps> {
    let mut bits = BitReader::rbsp(sps.get(2..)?);
    // Each is of fewer bits than eight.
    let small = |value: u32| u8::try_from(value).unwrap_or_default();
    bits.bits(4)?;
    let more_layers = bits.bits(3)?;
    let is_nested = bits.bit()?;
    let mut profile = [0; PROFILE_BYTES];
    for byte in &mut profile {
        *byte = small(bits.bits(8)?);
    }
    skip_sub_layers(&mut bits, more_layers)?;
    let id = bits.unsigned_exp_golomb()?;
    let chroma_format = bits.unsigned_exp_golomb().filter(|&format| format <= 3)?;
    if chroma_format == 3 {
        bits.bit()?;
    }
    let (width, height) = (bits.unsigned_exp_golomb()?, bits.unsigned_exp_golomb()?);
    let (unit_x, unit_y) = match chroma_format {
        1 => (2, 2),
        2 => (2, 1),
        _ => (1, 1),
    };
    let (mut crop_x, mut crop_y) = (0_u32, 0_u32);
    if bits.bit()? {
        crop_x = bits.unsigned_exp_golomb()?.checked_add(bits.unsigned_exp_golomb()?)?.checked_mul(unit_x)?;
        crop_y = bits.unsigned_exp_golomb()?.checked_add(bits.unsigned_exp_golomb()?)?.checked_mul(unit_y)?;
    }
    let size = picture(width.checked_sub(crop_x)?, height.checked_sub(crop_y)?)?;
    // An SPS that is cut behind its size was always taken, and eight bits are what nearly all have.
    let depth = |bits: &mut BitReader<'_>| bits.unsigned_exp_golomb().filter(|&more| more <= 8).map_or(0, small);
    let (more_depth_luma, more_depth_chroma) = (depth(&mut bits), depth(&mut bits));
    let (sub_layers, chroma_format) = (small(more_layers + 1), small(chroma_format));
    Some(HevcSps { id, size, sub_layers, is_nested, profile, chroma_format, more_depth_luma, more_depth_chroma })
}

/// H.265 §7.3.3, behind what is said of all layers.
fn skip_sub_layers(bits: &mut BitReader<'_>, sub_layers: u32) -> Option<()> {
    let skip = |bits: &mut BitReader<'_>, count: u32| (0..count).try_for_each(|_| bits.bit().map(|_| ()));
    let mut present = 0;
    for _ in 0..sub_layers {
        // A sub-layer's profile is 88 bits, its level 8.
        present += if bits.bit()? { 88 } else { 0 };
        present += if bits.bit()? { 8 } else { 0 };
    }
    if sub_layers > 0 {
        skip(bits, 2 * (8 - sub_layers))?;
    }
    skip(bits, present)
}

/// The sequence header among `configOBUs` (AV1 §5.3, §5.5).
fn av1_size(mut units: &[u8]) -> Option<(u32, u32)> {
    loop {
        let (&header, mut rest) = units.split_first()?;
        if header & 4 != 0 {
            rest = rest.get(1..)?;
        }
        let length = if header & 2 != 0 { leb128(&mut rest)? } else { rest.len() };
        let (unit, after) = rest.split_at_checked(length)?;
        if (header >> 3) & 15 == OBU_SEQUENCE_HEADER {
            return av1_sequence_size(unit);
        }
        units = after;
    }
}

const OBU_SEQUENCE_HEADER: u8 = 1;

/// `leb128()`, AV1 §4.10.5.
fn leb128(bytes: &mut &[u8]) -> Option<usize> {
    let mut value = 0_usize;
    for shift in (0..28).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// AV1 §5.5.1 up to the frame size.
fn av1_sequence_size(unit: &[u8]) -> Option<(u32, u32)> {
    let mut bits = BitReader::raw(unit);
    bits.bits(4)?;
    if bits.bit()? {
        bits.bits(5)?;
    } else {
        skip_operating_points(&mut bits)?;
    }
    let (width_bits, height_bits) = (bits.bits(4)? + 1, bits.bits(4)? + 1);
    picture(bits.bits(width_bits)? + 1, bits.bits(height_bits)? + 1)
}

fn skip_operating_points(bits: &mut BitReader<'_>) -> Option<()> {
    let mut delay_bits = None;
    if bits.bit()? {
        bits.bits(32)?;
        bits.bits(32)?;
        if bits.bit()? {
            // uvlc() reads like ue(v).
            bits.unsigned_exp_golomb()?;
        }
        if bits.bit()? {
            delay_bits = Some(bits.bits(5)? + 1);
            bits.bits(32)?;
            bits.bits(10)?;
        }
    }
    let has_display_delay = bits.bit()?;
    for _ in 0..=bits.bits(5)? {
        bits.bits(12)?;
        if bits.bits(5)? > 7 {
            bits.bit()?;
        }
        if let Some(count) = delay_bits
            && bits.bit()?
        {
            bits.bits(count)?;
            bits.bits(count)?;
            bits.bit()?;
        }
        if has_display_delay && bits.bit()? {
            bits.bits(4)?;
        }
    }
    Some(())
}

/// The record's fields, past version 1 and flags 0 where they are: no profile is 1 with a level of 0.
fn vp9_record(record: &[u8]) -> Option<&[u8]> {
    let fields = record.strip_prefix(&[1, 0, 0, 0]).unwrap_or(record);
    (fields.len() >= 8).then_some(fields)
}

/// Width and height that a VP9 key frame says (VP9 §6.2); `None` for other frames.
#[must_use]
pub fn vp9_key_frame_size(frame: &[u8]) -> Option<(u32, u32)> {
    let mut bits = BitReader::raw(frame);
    if bits.bits(2)? != 2 {
        return None;
    }
    let profile = bits.bits(1)? | (bits.bits(1)? << 1);
    if profile == 3 {
        bits.bit()?;
    }
    let (shows_existing, is_inter) = (bits.bit()?, bits.bit()?);
    bits.bits(2)?;
    if shows_existing || is_inter || bits.bits(24)? != 0x49_83_42 {
        return None;
    }
    if profile >= 2 {
        bits.bit()?;
    }
    let is_rgb = bits.bits(3)? == 7;
    if !is_rgb {
        bits.bit()?;
    }
    if profile & 1 == 1 {
        bits.bits(if is_rgb { 1 } else { 3 })?;
    }
    picture(bits.bits(16)? + 1, bits.bits(16)? + 1)
}

/// The STREAMINFO behind `fLaC` (FLAC §7, §8.2).
fn flac_stream_info(record: &[u8]) -> Option<&[u8]> {
    let block = record.strip_prefix(b"fLaC").unwrap_or(record);
    let &[kind, 0, 0, 34, ref body @ ..] = block else { return None };
    if kind & 0x7f == 0 { body.get(..34) } else { None }
}

/// A size that a container can hold.
fn picture(width: u32, height: u32) -> Option<(u32, u32)> {
    let fits = |side: u32| (1..=u32::from(u16::MAX)).contains(&side);
    (fits(width) && fits(height)).then_some((width, height))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    /// What x265 wrote for a 1280x720 picture, its SEI left out.
    const HVCC: &[u8] = &[
        1, 1, 0x60, 0, 0, 0, 0x90, 0, 0, 0, 0, 0, 0x5d, 0xf0, 0, 0xfc, 0xfd, 0xf8, 0xf8, 0, 0, 0x0f, 1, 0xa1, 0, 1, 0, 0x2a, 0x42, 0x01,
        0x01, 0x01, 0x60, 0, 0, 3, 0, 0x90, 0, 0, 3, 0, 0, 3, 0, 0x5d, 0xa0, 0x02, 0x80, 0x80, 0x2d, 0x16, 0x59, 0x59, 0xa4, 0x93, 0x2b,
        0xc0, 0x5a, 0x70, 0x80, 0, 0, 0x1f, 0x48, 0, 3, 0x0d, 0x40, 0x40,
    ];

    #[test]
    fn an_hvcc_of_x265_gives_its_size() {
        let config = Config::parse(Codec::Hevc, HVCC).unwrap();
        assert_eq!((config.size(), config.length_bytes()), (Some((1280, 720)), 4));
        assert_eq!(config.as_bytes(), HVCC);
        for end in 1..HVCC.len() - 20 {
            assert!(Config::parse(Codec::Hevc, &HVCC[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn an_av1c_gives_its_size() {
        // libaom, 640x360: profile 0, level 2.1 (idx 4), no timing info, one operating point.
        let mut bits = Vec::new();
        let mut put = |value: u32, count: u32| bits.extend((0..count).rev().map(|at| (value >> at) & 1));
        for (value, count) in [(0, 3), (0, 1), (0, 1), (0, 1), (0, 1), (0, 5), (0, 12), (4, 5), (9, 4), (8, 4), (639, 10), (359, 9), (0, 5)]
        {
            put(value, count);
        }
        let unit: Vec<u8> =
            bits.chunks(8).map(|byte| byte.iter().enumerate().fold(0, |all, (at, bit)| all | ((*bit as u8) << (7 - at)))).collect();
        let record = [&[0x81, 4, 0x0c, 0, 0x0a, unit.len() as u8][..], &unit].concat();
        assert_eq!(Config::parse(Codec::Av1, &record).unwrap().size(), Some((640, 360)));
        assert_eq!(Config::parse(Codec::Av1, &record[..8]), Err(RecordError::Picture));
        assert_eq!(Config::parse(Codec::Av1, &[1, 2, 3, 4]), Err(RecordError::Version));
    }

    #[test]
    fn a_vp9_key_frame_gives_the_size_that_its_record_lacks() {
        let frame = [0x82, 0x49, 0x83, 0x42, 0x00, 0x27, 0xf0, 0x16, 0x70, 0];
        assert_eq!(vp9_key_frame_size(&frame), Some((640, 360)));
        assert_eq!(vp9_key_frame_size(&[0x86, 0x49, 0x83, 0x42]), None, "an inter frame");
        let bare = [0, 21, 0x82, 2, 2, 2, 0, 0];
        for record in [bare.to_vec(), [&[1, 0, 0, 0][..], &bare].concat()] {
            assert_eq!(Config::parse(Codec::Vp9, &record).unwrap().vp9_fields(), Some(&bare[..]));
        }
    }

    #[test]
    fn audio_records_have_their_magic() {
        let flac = [&b"fLaC\x80\0\0\x22"[..], &[7; 34]].concat();
        assert_eq!(Config::parse(Codec::Flac, &flac).unwrap().flac_stream_info(), Some(&[7; 34][..]));
        assert_eq!(Config::parse(Codec::Flac, &flac[..20]), Err(RecordError::Version));
        assert!(Config::parse(Codec::Opus, b"OpusHead\x01\x02").is_ok() && Config::parse(Codec::Opus, b"").is_ok());
        assert_eq!(Config::parse(Codec::Opus, b"Opus"), Err(RecordError::Version));
        assert_eq!(Config::parse(Codec::Opus, &[0; RECORD_BYTES_MAX + 1]), Err(RecordError::TooLong));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>, start in 0_usize..60) {
            let grafted = [&HVCC[..start], &bytes].concat();
            for codec in [Codec::Hevc, Codec::Av1, Codec::Vp9, Codec::Opus, Codec::Flac] {
                let _ = Config::parse(codec, &bytes);
                let _ = Config::parse(codec, &grafted);
            }
            let _ = Config::parse(Codec::Av1, &[&[0x81, 0, 0, 0][..], &bytes].concat());
            let _ = vp9_key_frame_size(&bytes);
        }
    }
}
