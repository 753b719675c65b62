//! H.264 as far as it must be understood to be cut into pictures and described: parameter sets by their ids, and how slices begin.

use h264_reader::{
    nal::sps::SeqParameterSet,
    rbsp::{BitRead, BitReader, ByteReader},
};
use sightline_media::{
    annexb,
    avc::{self, ConfigError, DecoderConfig, LENGTH_BYTES, NalKind},
};
use std::collections::BTreeMap;

/// The longest parameter set that is kept: a record that holds it has no more room either.
const SET_BYTES_MAX: usize = avc::DECODER_CONFIG_BYTES_MAX;
/// SPS in a record: its count has five bits.
const SPS_COUNT_MAX: usize = 31;

/// What an SPS says of how its slices begin, and whether a usual decoder reads its pictures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SpsFacts {
    id: u8,
    frame_num_bits: u32,
    has_planes_apart: bool,
    /// Each picture is a frame; otherwise it may be a field, or interlaced.
    is_frames_only: bool,
    /// `pic_order_cnt_type` 0: the bits of the order that slices tell.
    order_bits: Option<u32>,
}

impl SpsFacts {
    /// Reads an SPS, a NAL unit with its header.
    pub(crate) fn parse(nal: &[u8]) -> Option<Self> {
        let mut bits = reader(nal);
        let profile = bits.read::<u8>(8, "profile").ok()?;
        bits.skip(16, "constraints and level").ok()?;
        let id = u8::try_from(bits.read_ue("id").ok()?).ok().filter(|id| *id < 32)?;
        let mut has_planes_apart = false;
        if matches!(profile, 100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 138 | 139 | 134 | 135) {
            has_planes_apart = skip_format(&mut bits)?;
        }
        let frame_num_bits = bits.read_ue("frame_num").ok().filter(|more| *more <= 12)? + 4;
        let order_bits = match bits.read_ue("order type").ok()? {
            0 => Some(bits.read_ue("order").ok().filter(|more| *more <= 12)? + 4),
            1 => {
                bits.read_bool("delta_pic_order_always_zero").ok()?;
                bits.read_se("offset_for_non_ref_pic").ok()?;
                bits.read_se("offset_for_top_to_bottom_field").ok()?;
                for _ in 0..bits.read_ue("cycle").ok().filter(|cycle| *cycle <= 255)? {
                    bits.read_se("offset_for_ref_frame").ok()?;
                }
                None
            }
            _ => None,
        };
        bits.read_ue("reference frames").ok()?;
        bits.read_bool("gaps").ok()?;
        bits.read_ue("width").ok()?;
        bits.read_ue("height").ok()?;
        let is_frames_only = bits.read_bool("frames only").ok()?;
        Some(Self { id, frame_num_bits, has_planes_apart, is_frames_only, order_bits })
    }
}

fn reader(nal: &[u8]) -> BitReader<ByteReader<&[u8]>> {
    BitReader::new(ByteReader::skipping_h264_header(nal))
}

/// Chroma format, depths and scaling lists (H.264 §7.3.2.1.1). True: each colour plane is coded apart.
fn skip_format(bits: &mut impl BitRead) -> Option<bool> {
    let chroma_format = bits.read_ue("chroma format").ok()?;
    let has_planes_apart = chroma_format == 3 && bits.read_bool("planes apart").ok()?;
    bits.read_ue("luma depth").ok()?;
    bits.read_ue("chroma depth").ok()?;
    bits.read_bool("bypass").ok()?;
    if bits.read_bool("scaling matrix").ok()? {
        for list in 0..if chroma_format == 3 { 12 } else { 8 } {
            if bits.read_bool("scaling list").ok()? {
                let (mut last, mut next) = (8_i64, 8_i64);
                for _ in 0..if list < 6 { 16 } else { 64 } {
                    if next != 0 {
                        next = (last + i64::from(bits.read_se("scale").ok()?) + 256) % 256;
                    }
                    last = if next == 0 { last } else { next };
                }
            }
        }
    }
    Some(has_planes_apart)
}

/// How many pictures are decoded before one that is shown earlier, as an SPS has it; `None`: it does not say.
pub(crate) fn reordered(config: &DecoderConfig) -> Option<u32> {
    let sps = config.parameter_sets().next().and_then(|nal| SeqParameterSet::from_bits(reader(nal)).ok())?;
    sps.vui_parameters?.bitstream_restrictions.map(|restrictions| restrictions.max_num_reorder_frames)
}

/// How a picture's first slice begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SliceHead {
    frame_num: u32,
    /// One of the two fields of a frame: whether it is the bottom one.
    field: Option<bool>,
    is_idr: bool,
    /// `pic_order_cnt_lsb`, and how many bits it has.
    pub(crate) order: Option<(u32, u32)>,
}

impl SliceHead {
    /// Whether a picture is the second field of the frame that this one's field began.
    pub(crate) fn is_completed_by(self, second: Self) -> bool {
        let (Some(first), Some(other)) = (self.field, second.field) else { return false };
        // The second field of an IDR picture is none itself, or both are (H.264 §7.4.1.2.4).
        first != other && self.frame_num == second.frame_num && (self.is_idr || !second.is_idr)
    }

    pub(crate) fn is_field(self) -> bool {
        self.field.is_some()
    }
}

/// The parameter sets of a stream as far as it has come.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sets {
    sps: BTreeMap<u8, (Vec<u8>, SpsFacts)>,
    /// Each with the SPS that it belongs to.
    pps: BTreeMap<u8, (Vec<u8>, u8)>,
    /// What the last picture goes by: SPS and PPS.
    active: Option<(u8, u8)>,
}

impl Sets {
    /// Those of a record.
    pub(crate) fn of(config: &DecoderConfig) -> Self {
        let mut sets = Self::default();
        config.parameter_sets().for_each(|nal| {
            sets.see(nal);
        });
        sets
    }

    /// Takes a NAL unit; only parameter sets that can be read change something. Whether it is one that is not the same as before.
    pub(crate) fn see(&mut self, nal: &[u8]) -> bool {
        if nal.len() > SET_BYTES_MAX {
            return false;
        }
        match nal.first().map(|&header| NalKind::of(header)) {
            Some(NalKind::Sps) => {
                let facts = SpsFacts::parse(nal).filter(|_| avc::Picture::parse(nal).is_ok());
                facts.is_some_and(|facts| self.sps.insert(facts.id, (nal.to_vec(), facts)).is_none_or(|(known, _)| known != nal))
            }
            Some(NalKind::Pps) => {
                let mut bits = reader(nal);
                let (Ok(id), Ok(sps)) = (bits.read_ue("id"), bits.read_ue("sps")) else { return false };
                let (Ok(id), Ok(sps)) = (u8::try_from(id), u8::try_from(sps)) else { return false };
                self.pps.insert(id, (nal.to_vec(), sps)).is_none_or(|(known, _)| known != nal)
            }
            _ => false,
        }
    }

    /// A picture's first slice: from now on its sets are the ones in use. `None`: there are no such sets.
    pub(crate) fn begin_picture(&mut self, nal: &[u8]) -> Option<SliceHead> {
        let mut bits = reader(nal);
        bits.read_ue("first macroblock").ok()?;
        bits.read_ue("kind").ok()?;
        let pps = u8::try_from(bits.read_ue("pps").ok()?).ok()?;
        let (_, sps) = self.pps.get(&pps)?;
        let (_, facts) = self.sps.get(sps)?;
        self.active = Some((*sps, pps));
        if facts.has_planes_apart {
            bits.skip(2, "plane").ok()?;
        }
        let frame_num = read_bits(&mut bits, facts.frame_num_bits)?;
        let mut field = None;
        if !facts.is_frames_only && bits.read_bool("field").ok()? {
            field = Some(bits.read_bool("bottom").ok()?);
        }
        let is_idr = nal.first().is_some_and(|&header| NalKind::of(header) == NalKind::Idr);
        if is_idr {
            bits.read_ue("idr id").ok()?;
        }
        let order = facts.order_bits.and_then(|count| Some((read_bits(&mut bits, count)?, count)));
        Some(SliceHead { frame_num, field, is_idr, order })
    }

    /// The record for what comes: the sets in use first, all others where there is room for them. The flag: there was none, and
    /// they have to stay with the pictures.
    pub(crate) fn config(&self) -> Option<(DecoderConfig, bool)> {
        let (sps, pps) = self.active.or_else(|| {
            let (pps, (_, sps)) = self.pps.iter().find(|(_, (_, sps))| self.sps.contains_key(sps))?;
            Some((*sps, *pps))
        })?;
        let own = |wanted: u8| self.pps.iter().filter(move |(_, (_, sps))| *sps == wanted).map(|(id, _)| *id);
        let first = std::iter::once(sps).chain(self.sps.keys().copied().filter(|id| *id != sps));
        let all = self.record(first, self.pps.keys().copied());
        let fewer = || self.record(std::iter::once(sps), own(sps));
        let least = || self.record(std::iter::once(sps), std::iter::once(pps));
        match all {
            Ok(config) => Some((config, false)),
            Err(_) => fewer().or_else(|_| least()).ok().map(|config| (config, true)),
        }
    }

    fn record(&self, sps: impl Iterator<Item = u8>, pps: impl Iterator<Item = u8>) -> Result<DecoderConfig, ConfigError> {
        let sps: Vec<&[u8]> = sps.filter_map(|id| self.sps.get(&id)).map(|(nal, _)| nal.as_slice()).collect();
        let pps: Vec<&[u8]> = pps.filter_map(|id| self.pps.get(&id)).map(|(nal, _)| nal.as_slice()).collect();
        let (Some(first_sps), Some(first_pps)) = (sps.first(), pps.first()) else { return Err(ConfigError::Missing) };
        let one = DecoderConfig::from_sets(first_sps, first_pps)?;
        if sps.len() == 1 && pps.len() == 1 {
            return Ok(one);
        }
        let pps_count = u8::try_from(pps.len()).map_err(|_| ConfigError::TooLong)?;
        let sps_count = u8::try_from(sps.len()).ok().filter(|count| usize::from(*count) <= SPS_COUNT_MAX).ok_or(ConfigError::TooLong)?;
        let mut record = one.as_bytes().get(..5).ok_or(ConfigError::Truncated)?.to_vec();
        let mut put = |count: u8, sets: &[&[u8]]| {
            record.push(count);
            for set in sets {
                // Not longer than SET_BYTES_MAX.
                record.extend_from_slice(&(set.len() as u16).to_be_bytes());
                record.extend_from_slice(set);
            }
        };
        put(0xe0 | sps_count, &sps);
        put(pps_count, &pps);
        let picture = one.picture();
        if picture.has_chroma_in_record() {
            let depth = |bits: u8| 0xf8 | (bits - 8);
            record.extend_from_slice(&[0xfc | picture.chroma_format, depth(picture.bit_depth_luma), depth(picture.bit_depth_chroma), 0]);
        }
        DecoderConfig::parse(&record)
    }
}

fn read_bits(bits: &mut impl BitRead, count: u32) -> Option<u32> {
    let mut value = 0;
    for _ in 0..count {
        value = (value << 1) | u32::from(bits.read_bool("bit").ok()?);
    }
    Some(value)
}

/// What of a stream's pictures usual decoders don't read; `None`: nothing.
#[must_use]
pub fn oddity(config: &DecoderConfig) -> Option<&'static str> {
    let picture = config.picture();
    let facts = config.parameter_sets().find_map(SpsFacts::parse);
    match picture {
        _ if picture.bit_depth_luma > 8 || picture.bit_depth_chroma > 8 => Some("more than 8 bits a sample"),
        _ if picture.chroma_format == 0 => Some("monochrome"),
        _ if picture.chroma_format == 2 => Some("4:2:2"),
        _ if picture.chroma_format == 3 => Some("4:4:4"),
        _ if facts.is_some_and(|facts| !facts.is_frames_only) => Some("interlaced"),
        _ => None,
    }
}

/// Whether a picture is in Annex B form, though its container promises lengths.
pub(crate) fn is_annex_b(bytes: &[u8], length_bytes: usize) -> bool {
    if !matches!(bytes, [0, 0, 1, ..] | [0, 0, 0, 1, ..]) {
        return false;
    }
    let mut nals = avc::NalUnits::new(bytes, length_bytes);
    while nals.next().is_some() {}
    !nals.is_exhausted()
}

/// Annex B with a length of four bytes before each NAL unit instead. Delimiters and filler are left out; parameter sets, too, unless they are to be kept.
pub(crate) fn to_lengths(stream: &[u8], keeps_sets: bool) -> Vec<u8> {
    let sent = annexb::NalUnits::new(stream).filter(|nal| match nal.first().map(|&header| NalKind::of(header)) {
        Some(NalKind::Sps | NalKind::Pps) => keeps_sets,
        Some(NalKind::Delimiter | NalKind::Other(12)) | None => false,
        Some(_) => true,
    });
    with_lengths(sent, stream.len())
}

/// NAL units, each behind a length of four bytes.
pub(crate) fn with_lengths<'a>(nals: impl Iterator<Item = &'a [u8]>, bytes: usize) -> Vec<u8> {
    let mut written = Vec::with_capacity(bytes + 8 * LENGTH_BYTES);
    for nal in nals {
        written.extend_from_slice(&u32::try_from(nal.len()).unwrap_or(u32::MAX).to_be_bytes());
        written.extend_from_slice(nal);
    }
    written
}

/// Whether a NAL unit is a slice of a picture.
pub(crate) fn is_slice(nal: &[u8]) -> bool {
    nal.first().is_some_and(|&header| matches!(NalKind::of(header), NalKind::Slice | NalKind::Idr))
}
