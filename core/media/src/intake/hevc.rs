//! H.265's record, `hvcC` (ISO/IEC 14496-15 §8.3.3.1), made of parameter sets.

use alloc::vec::Vec;

use crate::coded;

/// `NAL_unit_type` of VPS, SPS and PPS (H.265 Table 7-1), with `array_completeness`.
const VIDEO: u8 = 0x80 | 32;
const SEQUENCE: u8 = 0x80 | 33;
const PICTURE: u8 = 0x80 | 34;

/// The parameter sets of a record. One that was taken is whole up to its SPS; what is cut behind it is missed.
pub(super) fn sets_of(record: &[u8]) -> Vec<Vec<u8>> {
    coded::hevc_sets(record).map(|(_, set)| set.to_vec()).collect()
}

/// `sps_seq_parameter_set_id` (§7.3.2.2.1).
pub(super) fn sps_id(unit: &[u8]) -> Option<u32> {
    coded::hevc_sps_fields(unit).map(|fields| fields.id)
}

/// A record of these sets, for lengths of four bytes.
pub(super) fn record<'a>(
    videos: impl Iterator<Item = &'a [u8]>,
    sequence: &[u8],
    pictures: impl Iterator<Item = &'a [u8]>,
) -> Option<Vec<u8>> {
    let fields = coded::hevc_sps_fields(sequence)?;
    let mut record = Vec::from([1]);
    record.extend(fields.profile);
    // No segmentation, no parallelism, no frame rate is said: the reserved bits are ones.
    record.extend([0xf0, 0, 0xfc, 0xfc | fields.chroma_format, 0xf8 | fields.more_depth_luma, 0xf8 | fields.more_depth_chroma, 0, 0]);
    record.extend([(fields.sub_layers << 3) | (u8::from(fields.is_nested) << 2) | 3, 3]);
    put(VIDEO, &videos.collect::<Vec<_>>(), &mut record)?;
    put(SEQUENCE, &[sequence], &mut record)?;
    put(PICTURE, &pictures.collect::<Vec<_>>(), &mut record)?;
    Some(record)
}

/// An array; none of no sets.
fn put(kind: u8, sets: &[&[u8]], record: &mut Vec<u8>) -> Option<()> {
    if sets.is_empty() {
        return None;
    }
    record.push(kind);
    record.extend(u16::try_from(sets.len()).ok()?.to_be_bytes());
    for set in sets {
        record.extend(u16::try_from(set.len()).ok()?.to_be_bytes());
        record.extend_from_slice(set);
    }
    Some(())
}
