//! Parameter sets in the stream itself.

use alloc::vec::Vec;
use bytes::Bytes;
use sightline_media::{Codec, TrackConfig, avc};

/// `hvcC` up to its arrays (ISO/IEC 14496-15 §8.3.3.1).
const HVCC_HEADER_BYTES: usize = 22;

/// The sets of a configuration, each behind its length of four bytes; empty for codecs that have none.
pub(crate) fn with_lengths(config: &TrackConfig) -> Vec<u8> {
    let mut sets = Vec::new();
    let mut push = |set: &[u8]| {
        sets.extend_from_slice(&u32::try_from(set.len()).unwrap_or_default().to_be_bytes());
        sets.extend_from_slice(set);
    };
    match config {
        TrackConfig::H264(config) => config.parameter_sets().for_each(push),
        TrackConfig::Coded(config) if config.codec() == Codec::Hevc => hevc_sets(config.as_bytes(), &mut push),
        TrackConfig::Coded(_) | TrackConfig::Aac(_) => {}
    }
    sets
}

fn hevc_sets(record: &[u8], push: &mut impl FnMut(&[u8])) {
    let Some((&arrays, mut rest)) = record.get(HVCC_HEADER_BYTES..).and_then(<[u8]>::split_first) else { return };
    for _ in 0..arrays {
        let Some(([_, high, low], behind)) = rest.split_first_chunk::<3>() else { return };
        rest = behind;
        for _ in 0..u16::from_be_bytes([*high, *low]) {
            let Some((length, behind)) = rest.split_first_chunk::<2>() else { return };
            let Some((set, behind)) = behind.split_at_checked(usize::from(u16::from_be_bytes(*length))) else { return };
            push(set);
            rest = behind;
        }
    }
}

/// A key picture with its sets before it, where it has none of its own. `sets`: those of the pictures.
pub(crate) fn put_before(sets: &[u8], codec: Codec, payload: &Bytes) -> Bytes {
    let is_set = |nal: &[u8]| match (codec, nal.first()) {
        (Codec::H264, Some(header)) => matches!(header & 0x1f, 7 | 8),
        (Codec::Hevc, Some(header)) => matches!((header >> 1) & 0x3f, 32..=34),
        _ => false,
    };
    if sets.is_empty() || avc::NalUnits::new(payload, avc::LENGTH_BYTES).any(is_set) {
        return payload.clone();
    }
    [sets, payload].concat().into()
}
