//! The index of a recorded file, box by box: the caller reads the bytes.

use crate::ReadError;
use alloc::{string::ToString as _, vec::Vec};
use shiguredo_mp4::{
    Decode as _, Encode as _,
    boxes::{MoofBox, MoovBox, SampleEntry, TrakBox},
};
use sightline_media::{MediaTime, Track, TrackConfig, TrackId, aac, avc};

/// Size and kind, before the content of a box.
pub const BOX_HEADER_BYTES: usize = 8;

/// What a box begins with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BoxHeader {
    /// Its four characters.
    pub kind: [u8; 4],
    /// The length of the box in bytes, its header included.
    pub bytes: u64,
}

impl BoxHeader {
    /// The header of a box of which `left_bytes` of the file are left; `None` when the box is not complete.
    ///
    /// Recordings have no 64-bit sizes. A size of zero is what some file systems leave of a write that a power cut interrupted.
    #[must_use]
    pub fn parse(header: [u8; BOX_HEADER_BYTES], left_bytes: u64) -> Option<Self> {
        let [size @ .., k0, k1, k2, k3] = header;
        let bytes = u64::from(u32::from_be_bytes(size));
        let is_complete = bytes >= BOX_HEADER_BYTES as u64 && bytes <= left_bytes;
        is_complete.then_some(Self { kind: [k0, k1, k2, k3], bytes })
    }
}

/// One frame in a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sample {
    /// Its track.
    pub track: TrackId,
    /// When it is decoded, from the file's zero.
    pub dts: MediaTime,
    /// How long it is shown.
    pub duration: MediaTime,
    /// Whether a decoder can begin with it.
    pub is_keyframe: bool,
    /// From decoding to showing.
    pub composition: MediaTime,
    /// Where its bytes begin in the file.
    pub offset: u64,
    /// Their number.
    pub bytes: u32,
}

/// The tracks that a whole `moov` box announces.
///
/// # Errors
/// [`ReadError`] for a box that does not decode, or a track that recordings don't have.
pub fn read_tracks(moov: &[u8], offset: u64) -> Result<Vec<Track>, ReadError> {
    let (moov, _) = MoovBox::decode(moov).map_err(|error| ReadError::Box { kind: "moov", offset, reason: error.to_string() })?;
    moov.trak_boxes.iter().map(|trak| track(trak, offset)).collect()
}

fn track(trak: &TrakBox, offset: u64) -> Result<Track, ReadError> {
    let id = track_id(trak.tkhd_box.track_id, offset)?;
    let config = match trak.mdia_box.minf_box.stbl_box.stsd_box.entries.first() {
        Some(SampleEntry::Avc1(entry)) => {
            let record = entry.avcc_box.encode_to_vec().map_err(|error| ReadError::Config { reason: error.to_string() })?;
            let record = record.get(BOX_HEADER_BYTES..).unwrap_or_default();
            TrackConfig::H264(avc::DecoderConfig::parse(record).map_err(|error| ReadError::Config { reason: error.to_string() })?)
        }
        Some(SampleEntry::Mp4a(entry)) => {
            let record = entry.esds_box.es.dec_config_descr.dec_specific_info.as_ref().map_or(&[][..], |info| &info.payload);
            TrackConfig::Aac(aac::AudioConfig::parse(record).map_err(|error| ReadError::Config { reason: error.to_string() })?)
        }
        Some(_) | None => return Err(ReadError::Codec),
    };
    Ok(Track { id, config })
}

fn track_id(mp4_id: u32, offset: u64) -> Result<TrackId, ReadError> {
    u8::try_from(mp4_id.saturating_sub(1)).map(TrackId).map_err(|_| ReadError::Track { offset })
}

/// Appends the frames of a whole `moof` box, which begins at byte `offset` of its file, to `samples`.
///
/// # Errors
/// [`ReadError`] for a box that does not decode or does not give its frames' sizes.
pub fn read_fragment(moof: &[u8], offset: u64, samples: &mut Vec<Sample>) -> Result<(), ReadError> {
    let (moof, _) = MoofBox::decode(moof).map_err(|error| ReadError::Box { kind: "moof", offset, reason: error.to_string() })?;
    for traf in &moof.traf_boxes {
        let track = track_id(traf.tfhd_box.track_id, offset)?;
        let time = traf.tfdt_box.as_ref().map_or(0, |tfdt| tfdt.base_media_decode_time);
        let mut dts = MediaTime::from_ticks(i64::try_from(time).unwrap_or(i64::MAX));
        for trun in &traf.trun_boxes {
            let mut at = offset.saturating_add_signed(i64::from(trun.data_offset.unwrap_or(0)));
            for sample in &trun.samples {
                let bytes = sample.size.ok_or(ReadError::SampleSize { offset })?;
                let duration = MediaTime::from_ticks(i64::from(sample.duration.unwrap_or(0)));
                let composition = MediaTime::from_ticks(sample.composition_time_offset.unwrap_or(0));
                let is_keyframe = sample.flags.is_some_and(|flags| !flags.sample_is_non_sync_sample());
                samples.push(Sample { track, dts, duration, is_keyframe, composition, offset: at, bytes });
                dts = dts + duration;
                at = at.saturating_add(u64::from(bytes));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fragment, init_segment, samples};

    #[test]
    fn what_is_written_reads_back() {
        let init = init_segment(&[samples::video_track(), samples::audio_track()]).unwrap();
        let ftyp = BoxHeader::parse(init[..8].try_into().unwrap(), init.len() as u64).unwrap();
        assert_eq!(ftyp.kind, *b"ftyp");
        let moov = usize::try_from(ftyp.bytes).unwrap();
        let tracks = read_tracks(&init[moov..], ftyp.bytes).unwrap();
        assert_eq!(tracks, [samples::video_track(), samples::audio_track()]);
        let frames = [samples::frame(0, true), samples::frame(1, false)];
        let written = fragment(1, &frames, None).unwrap();
        let moof = BoxHeader::parse(written[..8].try_into().unwrap(), written.len() as u64).unwrap();
        let mut found = Vec::new();
        read_fragment(&written[..usize::try_from(moof.bytes).unwrap()], 1000, &mut found).unwrap();
        for (sample, frame) in found.iter().zip(&frames) {
            let at = usize::try_from(sample.offset - 1000).unwrap();
            assert_eq!(&written[at..][..sample.bytes as usize], &frame.payload[..]);
            assert_eq!((sample.dts, sample.is_keyframe), (frame.dts, frame.is_keyframe));
        }
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn a_box_that_is_cut_short_is_none() {
        let header = *b"\0\0\0\x10moof";
        assert_eq!(BoxHeader::parse(header, 15), None);
        assert_eq!(BoxHeader::parse(header, 16), Some(BoxHeader { kind: *b"moof", bytes: 16 }));
        assert_eq!(BoxHeader::parse([0; 8], 100), None, "zeros of a lost write");
        assert!(matches!(read_fragment(b"\0\0\0\x08moof", 5, &mut Vec::new()), Ok(()) | Err(ReadError::Box { offset: 5, .. })));
    }
}
