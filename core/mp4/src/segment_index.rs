//! The index of a file that is complete: a `sidx` (ISO/IEC 14496-12 §8.16.3) in a place that was kept free for it in front of the first fragment.

use crate::{BOX_HEADER_BYTES, TIMESCALE, mp4_track_id};
use alloc::{vec, vec::Vec};
use bytes::Bytes;
use shiguredo_mp4::{
    Decode as _, Encode as _,
    boxes::{SidxBox, SidxReference},
};
use sightline_media::{MediaTime, TrackId};

/// Entries of an index: twice the fragments of two seconds in five minutes. What has more names several fragments in one.
const ENTRIES_MAX: usize = 300;
/// A `sidx` without its entries, in its first version.
const HEAD_BYTES: usize = 32;
const ENTRY_BYTES: usize = 12;
/// What is kept free: the fullest index, and the header of the box that fills up what a shorter one leaves.
const ROOM_BYTES: usize = HEAD_BYTES + ENTRIES_MAX * ENTRY_BYTES + BOX_HEADER_BYTES;

/// A fragment, or a run of them, in a file's order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IndexEntry {
    /// Its length.
    pub bytes: u64,
    /// From its first picture to the next entry's.
    pub duration: MediaTime,
    /// Whether a decoder can begin with it.
    pub is_start: bool,
}

/// A `free` box, to stand behind the `moov`: [`segment_index`] fits into it.
#[must_use]
pub fn index_room() -> Bytes {
    let mut room = vec![0; ROOM_BYTES];
    put_header(&mut room, ROOM_BYTES, *b"free");
    room.into()
}

/// The bytes of the box that takes the place of [`index_room`], as long as that. `None`: there is nothing to tell, or a size does not fit.
#[must_use]
pub fn segment_index(track: TrackId, entries: &[IndexEntry]) -> Option<Bytes> {
    let entries = merged(entries);
    let index_bytes = HEAD_BYTES + entries.len() * ENTRY_BYTES;
    let references = entries.iter().map(reference).collect::<Option<Vec<_>>>()?;
    if references.is_empty() {
        return None;
    }
    let first_offset = u64::try_from(ROOM_BYTES - index_bytes).ok()?;
    let index =
        SidxBox { reference_id: mp4_track_id(track), timescale: TIMESCALE.get(), earliest_presentation_time: 0, first_offset, references };
    let mut bytes = index.encode_to_vec().ok().filter(|bytes| bytes.len() == index_bytes)?;
    let left = ROOM_BYTES - index_bytes;
    bytes.resize(ROOM_BYTES, 0);
    put_header(bytes.get_mut(index_bytes..)?, left, *b"free");
    Some(bytes.into())
}

/// What a whole `sidx` box says: where the first entry begins, counted from the end of the box, and the entries. `None`: it is none of ours.
#[must_use]
pub fn read_segment_index(sidx: &[u8]) -> Option<(u64, Vec<IndexEntry>)> {
    let (index, _) = SidxBox::decode(sidx).ok()?;
    let is_ours = index.timescale == TIMESCALE.get() && index.references.iter().all(|reference| !reference.reference_type);
    let entry = |reference: &SidxReference| IndexEntry {
        bytes: reference.referenced_size.into(),
        duration: MediaTime::from_ticks(reference.subsegment_duration.into()),
        is_start: reference.starts_with_sap,
    };
    (is_ours && !index.references.is_empty()).then(|| (index.first_offset, index.references.iter().map(entry).collect()))
}

fn put_header(at: &mut [u8], bytes: usize, kind: [u8; 4]) {
    let size = u32::try_from(bytes).unwrap_or(0).to_be_bytes();
    at.iter_mut().zip(size.iter().chain(&kind)).for_each(|(to, from)| *to = *from);
}

/// No more than there is room for: neighbours are named together until they fit.
fn merged(entries: &[IndexEntry]) -> Vec<IndexEntry> {
    let mut entries = entries.to_vec();
    while entries.len() > ENTRIES_MAX {
        let pair = |pair: &[IndexEntry]| IndexEntry {
            bytes: pair.iter().map(|entry| entry.bytes).sum(),
            duration: pair.iter().fold(MediaTime::ZERO, |all, entry| all + entry.duration),
            is_start: pair.first().is_some_and(|entry| entry.is_start),
        };
        entries = entries.chunks(2).map(pair).collect();
    }
    entries
}

fn reference(entry: &IndexEntry) -> Option<SidxReference> {
    Some(SidxReference {
        reference_type: false,
        referenced_size: u32::try_from(entry.bytes).ok().filter(|bytes| *bytes <= u32::MAX >> 1)?,
        subsegment_duration: u32::try_from(entry.duration.ticks_90k).ok()?,
        starts_with_sap: entry.is_start,
        sap_type: entry.is_start.into(),
        sap_delta_time: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BoxHeader;

    fn entries(count: u64) -> Vec<IndexEntry> {
        (0..count)
            .map(|number| IndexEntry { bytes: 1_000 + number, duration: MediaTime::from_millis(2_000), is_start: number % 2 == 0 })
            .collect()
    }

    #[test]
    fn an_index_fills_the_room_that_was_kept_for_it_and_reads_back() {
        let room = index_room();
        for count in [1, 2, 150, 299, 300] {
            let written = segment_index(TrackId::VIDEO, &entries(count)).unwrap();
            assert_eq!(written.len(), room.len(), "{count}");
            let sidx = BoxHeader::parse(written[..8].try_into().unwrap(), written.len() as u64).unwrap();
            let end = usize::try_from(sidx.bytes).unwrap();
            let free = BoxHeader::parse(written[end..][..8].try_into().unwrap(), (written.len() - end) as u64).unwrap();
            assert_eq!((sidx.kind, free.kind, sidx.bytes + free.bytes), (*b"sidx", *b"free", room.len() as u64), "{count}");
            assert_eq!(read_segment_index(&written[..end]), Some((free.bytes, entries(count))), "{count}");
        }
        assert_eq!(segment_index(TrackId::VIDEO, &[]), None);
        let huge = IndexEntry { bytes: 1 << 31, ..entries(1)[0] };
        assert_eq!(segment_index(TrackId::VIDEO, &[huge]), None);
    }

    #[test]
    fn what_has_more_fragments_than_there_is_room_for_names_several_in_one() {
        let all = entries(1_801);
        let written = segment_index(TrackId::VIDEO, &all).unwrap();
        let (_, read) = read_segment_index(&written).unwrap();
        assert!(read.len() <= ENTRIES_MAX && read.len() > ENTRIES_MAX / 2, "{}", read.len());
        let sum = |entries: &[IndexEntry]| {
            entries.iter().map(|entry| (entry.bytes, entry.duration.ticks_90k)).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1))
        };
        assert_eq!(sum(&read), sum(&all));
    }

    #[test]
    fn what_is_no_index_of_ours_is_none() {
        assert_eq!(read_segment_index(&index_room()), None);
        assert_eq!(read_segment_index(b""), None);
        // What a power cut leaves, where the box's name was written and its content was not.
        let mut torn = index_room().to_vec();
        put_header(&mut torn, ROOM_BYTES, *b"sidx");
        assert_eq!(read_segment_index(&torn), None);
    }
}
