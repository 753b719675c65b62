//! H.264: parameter sets and the `AVCDecoderConfigurationRecord` (ISO/IEC 14496-15 §5.3.3.1), called `avcC` after its MP4 box.

mod sps;

use heapless::Vec;

/// The longest `avcC` kept, in bytes: room for a 256-byte SPS with scaling lists and several PPS.
pub const DECODER_CONFIG_BYTES_MAX: usize = 512;

/// Bytes of the length before each NAL unit in the payloads of Sightline's frames.
pub const LENGTH_BYTES: usize = 4;

/// `nal_unit_type` (H.264 Table 7-1), as far as it matters here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NalKind {
    /// A slice of a picture that is not IDR (1), or a data partition (2–4).
    Slice,
    /// A slice of an IDR picture (5).
    Idr,
    /// Supplemental enhancement information (6).
    Sei,
    /// Sequence parameter set (7).
    Sps,
    /// Picture parameter set (8).
    Pps,
    /// Access unit delimiter (9).
    Delimiter,
    /// Anything else.
    Other(u8),
}

impl NalKind {
    /// The kind of a NAL unit by its first byte.
    #[must_use]
    pub const fn of(header: u8) -> Self {
        match header & 0x1f {
            1..=4 => Self::Slice,
            5 => Self::Idr,
            6 => Self::Sei,
            7 => Self::Sps,
            8 => Self::Pps,
            9 => Self::Delimiter,
            other => Self::Other(other),
        }
    }
}

/// What the decoder must know first: SPS and PPS, kept as the `avcC` record, byte for byte.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DecoderConfig {
    record: Vec<u8, DECODER_CONFIG_BYTES_MAX>,
    length_bytes: u8,
    picture: Picture,
}

/// What an SPS says about the pictures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Picture {
    /// Width after cropping, in luma samples.
    pub width: u32,
    /// Height after cropping, in luma samples: 1080, not the 1088 that are coded.
    pub height: u32,
    /// `profile_idc`: 66 Baseline, 77 Main, 100 High.
    pub profile: u8,
    /// `level_idc`: ten times the level.
    pub level: u8,
    /// `chroma_format_idc`: 1 is 4:2:0.
    pub chroma_format: u8,
    /// Bits a luma sample; 8 for every camera so far.
    pub bit_depth_luma: u8,
    /// Bits a chroma sample.
    pub bit_depth_chroma: u8,
    /// Frames in 1,000 s, from the VUI's timing; `None` where it says nothing.
    pub frames_per_kilosecond: Option<u32>,
}

/// Why parameter sets were refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConfigError {
    /// The bytes end before the fields do.
    Truncated,
    /// The record is longer than [`DECODER_CONFIG_BYTES_MAX`], or a set longer than 65,535 bytes.
    TooLong,
    /// `configurationVersion` is not 1.
    Version(u8),
    /// There is no SPS, or no PPS.
    Missing,
    /// A field of the SPS is out of range.
    Sps,
}

impl core::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Truncated => f.write_str("the AVC decoder configuration is shorter than its fields"),
            Self::TooLong => write!(f, "the AVC decoder configuration is longer than {DECODER_CONFIG_BYTES_MAX} bytes"),
            Self::Version(version) => write!(f, "AVC decoder configuration version {version}, only 1 is defined"),
            Self::Missing => f.write_str("the AVC decoder configuration lacks an SPS or a PPS"),
            Self::Sps => f.write_str("a field of the SPS is out of range"),
        }
    }
}

impl core::error::Error for ConfigError {}

impl DecoderConfig {
    /// Makes the record from one SPS and one PPS, each a NAL unit without start code or length.
    ///
    /// # Errors
    /// As [`Self::from_parameter_sets`].
    pub fn from_sets(sps: &[u8], pps: &[u8]) -> Result<Self, ConfigError> {
        Self::from_parameter_sets(sps, core::iter::once(pps))
    }

    /// Makes the record from one SPS and the PPS that refer to it, each a NAL unit without start code or length.
    ///
    /// # Errors
    /// [`ConfigError::Sps`] and [`ConfigError::Truncated`] for an SPS that can't be read, [`ConfigError::Missing`] for NAL units of
    /// other types and where there is no PPS, [`ConfigError::TooLong`].
    pub fn from_parameter_sets<'a>(sps: &[u8], mut pictures: impl Iterator<Item = &'a [u8]>) -> Result<Self, ConfigError> {
        Self::of_sets(sps, &mut pictures)
    }

    /// One function whatever the sets come from: a chip has room for one.
    fn of_sets(sps: &[u8], pictures: &mut dyn Iterator<Item = &[u8]>) -> Result<Self, ConfigError> {
        let picture = Picture::parse(sps)?;
        let is = |nal: &[u8], kind| nal.first().is_some_and(|&header| NalKind::of(header) == kind);
        if !is(sps, NalKind::Sps) {
            return Err(ConfigError::Missing);
        }
        let mut record = Vec::new();
        let header = [1, *sps.get(1).ok_or(ConfigError::Truncated)?, *sps.get(2).ok_or(ConfigError::Truncated)?, picture.level, 0xff, 0xe1];
        let mut put = |bytes: &[u8]| record.extend_from_slice(bytes).map_err(|_| ConfigError::TooLong);
        put(&header)?;
        put(&length_of(sps)?)?;
        put(sps)?;
        put(&[0])?;
        let mut count = 0_u8;
        for pps in pictures {
            if !is(pps, NalKind::Pps) {
                return Err(ConfigError::Missing);
            }
            put(&length_of(pps)?)?;
            put(pps)?;
            count = count.checked_add(1).ok_or(ConfigError::TooLong)?;
        }
        if count == 0 {
            return Err(ConfigError::Missing);
        }
        if picture.has_chroma_in_record() {
            put(&[0xfc | picture.chroma_format, 0xf8 | (picture.bit_depth_luma - 8), 0xf8 | (picture.bit_depth_chroma - 8), 0])?;
        }
        // The PPS are counted behind the one SPS.
        if let Some(place) = record.get_mut(header.len() + 2 + sps.len()) {
            *place = count;
        }
        Ok(Self { record, length_bytes: 4, picture })
    }

    /// Reads an `avcC` record as FLV and MP4 carry it.
    ///
    /// # Errors
    /// See [`ConfigError`]. What follows the last PPS (the chroma format of High profile, which old muxers leave out) is kept and not read.
    pub fn parse(record: &[u8]) -> Result<Self, ConfigError> {
        let kept = Vec::from_slice(record).map_err(|_| ConfigError::TooLong)?;
        let &[version, _, _, _, lengths, ..] = record else { return Err(ConfigError::Truncated) };
        if version != 1 {
            return Err(ConfigError::Version(version));
        }
        let sets = Sets::of(record).ok_or(ConfigError::Truncated)?;
        let first = sets.clone().find(|nal| nal.first().is_some_and(|&header| NalKind::of(header) == NalKind::Sps));
        if !sets.clone().any(|nal| nal.first().is_some_and(|&header| NalKind::of(header) == NalKind::Pps)) {
            return Err(ConfigError::Missing);
        }
        let picture = Picture::parse(first.ok_or(ConfigError::Missing)?)?;
        Ok(Self { record: kept, length_bytes: (lengths & 3) + 1, picture })
    }

    /// The same, for samples whose NAL units stand behind lengths of four bytes. Whoever rewrites samples must say so: a decoder
    /// goes by the record.
    #[must_use]
    pub fn with_long_lengths(mut self) -> Self {
        self.length_bytes = 4;
        if let Some(lengths) = self.record.get_mut(4) {
            *lengths |= 3;
        }
        self
    }

    /// The record, byte for byte.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.record
    }

    /// Bytes of the length before each NAL unit in the samples this record came with: 1, 2 or 4.
    #[must_use]
    pub fn length_bytes(&self) -> usize {
        usize::from(self.length_bytes)
    }

    /// What the first SPS says about the pictures.
    #[must_use]
    pub fn picture(&self) -> Picture {
        self.picture
    }

    /// All SPS, then all PPS, as NAL units without length.
    pub fn parameter_sets(&self) -> impl Iterator<Item = &[u8]> {
        Sets::of(&self.record).into_iter().flatten()
    }

    /// The `codecs` parameter of RFC 6381: `avc1.42c01f`.
    #[must_use]
    pub fn rfc6381(&self) -> heapless::String<11> {
        use core::fmt::Write as _;
        let mut name = heapless::String::new();
        if let Some(&[profile, constraints, level]) = self.record.get(1..4).and_then(|three| three.first_chunk::<3>()) {
            // Eleven characters fit by construction.
            let _ = write!(name, "avc1.{profile:02x}{constraints:02x}{level:02x}");
        }
        name
    }
}

fn length_of(set: &[u8]) -> Result<[u8; 2], ConfigError> {
    u16::try_from(set.len()).map(u16::to_be_bytes).map_err(|_| ConfigError::TooLong)
}

/// The parameter sets of a record; ends early where the record does.
#[derive(Clone)]
struct Sets<'a> {
    rest: &'a [u8],
    sps_left: u8,
    pps_left: Option<u8>,
}

impl<'a> Sets<'a> {
    fn of(record: &'a [u8]) -> Option<Self> {
        let (&count, rest) = record.get(5..)?.split_first()?;
        Some(Self { rest, sps_left: count & 0x1f, pps_left: None })
    }

    fn take(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.rest.split_first_chunk::<2>()?;
        let (set, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        self.rest = rest;
        Some(set)
    }
}

impl<'a> Iterator for Sets<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.sps_left > 0 {
            self.sps_left -= 1;
            return self.take();
        }
        let left = if let Some(left) = self.pps_left {
            left
        } else {
            let (&count, rest) = self.rest.split_first()?;
            self.rest = rest;
            count
        };
        self.pps_left = Some(left.checked_sub(1)?);
        self.take()
    }
}

impl Picture {
    /// True for the profiles whose record ends with chroma format and bit depths (ISO/IEC 14496-15 §5.3.3.1.2).
    #[must_use]
    pub const fn has_chroma_in_record(&self) -> bool {
        !matches!(self.profile, 66 | 77 | 88)
    }

    /// Reads an SPS (H.264 §7.3.2.1.1 and Annex E), a NAL unit with its header byte.
    ///
    /// # Errors
    /// [`ConfigError::Truncated`]; [`ConfigError::Sps`] for a size over 16,384, a crop larger than the picture, or another kind of NAL unit.
    pub fn parse(sps: &[u8]) -> Result<Self, ConfigError> {
        let (&header, body) = sps.split_first().ok_or(ConfigError::Truncated)?;
        if NalKind::of(header) != NalKind::Sps {
            return Err(ConfigError::Sps);
        }
        sps::read(body)
    }
}

/// The NAL units of an access unit in AVCC form. Ends at the first length that reaches past the end.
#[derive(Clone, Debug)]
pub struct NalUnits<'a> {
    rest: &'a [u8],
    length_bytes: usize,
}

impl<'a> NalUnits<'a> {
    /// Over a payload whose lengths have `length_bytes` bytes (1 to 4).
    #[must_use]
    pub fn new(payload: &'a [u8], length_bytes: usize) -> Self {
        Self { rest: payload, length_bytes: length_bytes.clamp(1, 4) }
    }

    /// True when all of it was read: what remains is not a broken NAL unit.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        self.rest.is_empty()
    }
}

impl<'a> Iterator for NalUnits<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.rest.split_at_checked(self.length_bytes)?;
        let length = length.iter().fold(0_usize, |sum, &byte| (sum << 8) | usize::from(byte));
        let (nal, rest) = rest.split_at_checked(length)?;
        self.rest = rest;
        Some(nal)
    }
}

/// True when an access unit in AVCC form holds an IDR slice.
#[must_use]
pub fn is_idr(payload: &[u8], length_bytes: usize) -> bool {
    NalUnits::new(payload, length_bytes).any(|nal| nal.first().is_some_and(|&header| NalKind::of(header) == NalKind::Idr))
}

/// True when no slice of it is a reference (`nal_ref_idc` is 0 in all): it may be left out.
#[must_use]
pub fn is_disposable(payload: &[u8], length_bytes: usize) -> bool {
    let mut slices = 0;
    for header in NalUnits::new(payload, length_bytes).filter_map(|nal| nal.first()) {
        if matches!(NalKind::of(*header), NalKind::Slice | NalKind::Idr) {
            slices += 1;
            if header & 0x60 != 0 {
                return false;
            }
        }
    }
    slices > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// x264, 1920x1080 at 25 fps, High: 1088 coded lines, cropped.
    const SPS_1080: [u8; 29] = [
        0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x5a, 0x80, 0x80, 0x80, 0xa0, 0x00, 0x00, 0x7d, 0x20, 0x00,
        0x17, 0x70, 0x01, 0xe3, 0x06, 0x32, 0xc0,
    ];
    const PPS: [u8; 6] = [0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0];

    #[test]
    fn an_sps_of_1088_coded_lines_is_1080_high() {
        let picture = Picture::parse(&SPS_1080).unwrap();
        assert_eq!((picture.width, picture.height, picture.profile, picture.level), (1920, 1080, 100, 40));
    }

    #[test]
    fn the_record_is_made_and_read_back() {
        let config = DecoderConfig::from_sets(&SPS_1080, &PPS).unwrap();
        let read = DecoderConfig::parse(config.as_bytes()).unwrap();
        assert_eq!(read, config);
        assert_eq!(read.parameter_sets().collect::<std::vec::Vec<_>>(), [&SPS_1080[..], &PPS[..]]);
        assert_eq!(read.rfc6381(), "avc1.640028");
    }

    #[test]
    fn sets_that_are_none_make_no_record() {
        assert_eq!(DecoderConfig::from_sets(&SPS_1080, &[0x22, 1]), Err(ConfigError::Missing));
        assert_eq!(DecoderConfig::from_sets(&SPS_1080, &[]), Err(ConfigError::Missing));
    }

    #[test]
    fn a_record_for_short_lengths_becomes_one_for_four_bytes() {
        let config = DecoderConfig::from_sets(&SPS_1080, &PPS).unwrap();
        let mut short = config.as_bytes().to_vec();
        short[4] = 0xfd;
        let short = DecoderConfig::parse(&short).unwrap();
        assert_eq!((short.length_bytes(), short.with_long_lengths()), (2, config));
    }

    #[test]
    fn a_record_cut_anywhere_is_refused_and_never_panics() {
        let config = DecoderConfig::from_sets(&SPS_1080, &PPS).unwrap();
        // The last four bytes are High profile's chroma format, which may be left out.
        for cut in 0..config.as_bytes().len() - 4 {
            assert!(DecoderConfig::parse(&config.as_bytes()[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn nal_units_stop_at_a_length_past_the_end() {
        let mut units = NalUnits::new(&[0, 0, 0, 1, 0x65, 0, 0, 0, 9, 0x41], 4);
        assert_eq!(units.next(), Some(&[0x65][..]));
        assert_eq!(units.next(), None);
        assert!(!units.is_exhausted());
    }

    #[test]
    fn a_picture_is_disposable_only_when_no_slice_is_a_reference() {
        assert!(is_disposable(&[0, 0, 0, 1, 0x01], 4));
        assert!(!is_disposable(&[0, 0, 0, 1, 0x01, 0, 0, 0, 1, 0x41], 4));
        assert!(!is_disposable(&[0, 0, 0, 1, 0x06], 4));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: std::vec::Vec<u8>) {
            let _ = Picture::parse(&bytes);
            let _ = DecoderConfig::parse(&bytes);
            let _ = NalUnits::new(&bytes, 4).count();
        }
    }
}
