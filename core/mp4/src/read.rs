//! The index of a recorded file, box by box: the caller reads the bytes.

use crate::ReadError;
use alloc::{string::ToString as _, vec::Vec};
use shiguredo_mp4::{
    Decode as _, Encode,
    boxes::{DopsBox, MoofBox, MoovBox, SampleEntry, TrakBox, VisualSampleEntryFields},
};
use sightline_media::{Codec, MediaTime, Track, TrackConfig, TrackId, aac, avc, coded};

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
        Some(SampleEntry::Avc1(entry)) => TrackConfig::H264(
            avc::DecoderConfig::parse(&record(&entry.avcc_box)?).map_err(|error| ReadError::Config { reason: error.to_string() })?,
        ),
        Some(SampleEntry::Mp4a(entry)) => {
            let record = entry.esds_box.es.dec_config_descr.dec_specific_info.as_ref().map_or(&[][..], |info| &info.payload);
            TrackConfig::Aac(aac::AudioConfig::parse(record).map_err(|error| ReadError::Config { reason: error.to_string() })?)
        }
        Some(SampleEntry::Hvc1(entry)) => coded(Codec::Hevc, &record(&entry.hvcc_box)?, Some(&entry.visual))?,
        Some(SampleEntry::Av01(entry)) => coded(Codec::Av1, &record(&entry.av1c_box)?, Some(&entry.visual))?,
        Some(SampleEntry::Vp09(entry)) => coded(Codec::Vp9, &record(&entry.vpcc_box)?, Some(&entry.visual))?,
        Some(SampleEntry::Opus(entry)) => coded(Codec::Opus, &opus_header(&entry.dops_box), None)?,
        Some(SampleEntry::Flac(entry)) => {
            let block = entry.dfla_box.metadata_blocks.first().map_or(&[][..], |block| &block.block_data);
            let length = u8::try_from(block.len()).map_err(|_| ReadError::Codec)?;
            coded(Codec::Flac, &[&b"fLaC"[..], &[FLAC_LAST_STREAM_INFO, 0, 0, length], block].concat(), None)?
        }
        Some(_) | None => return Err(ReadError::Codec),
    };
    Ok(Track { id, config })
}

/// The header of a `STREAMINFO` block that no other follows (FLAC §8.1).
const FLAC_LAST_STREAM_INFO: u8 = 0x80;

/// What a configuration box holds.
fn record(of: &impl Encode) -> Result<Vec<u8>, ReadError> {
    let whole = of.encode_to_vec().map_err(|error| ReadError::Config { reason: error.to_string() })?;
    Ok(whole.get(BOX_HEADER_BYTES..).unwrap_or_default().to_vec())
}

/// VP9's record has no size: the sample entry has it.
fn coded(codec: Codec, record: &[u8], visual: Option<&VisualSampleEntryFields>) -> Result<TrackConfig, ReadError> {
    let config = coded::Config::parse(codec, record).map_err(|error| ReadError::Config { reason: error.to_string() })?;
    Ok(TrackConfig::Coded(match visual {
        Some(visual) if config.size().is_none() => config.with_size((visual.width.into(), visual.height.into())),
        _ => config,
    }))
}

/// The ID header that an Opus stream of one or two channels begins with (RFC 7845 §5.1).
fn opus_header(dops: &DopsBox) -> Vec<u8> {
    let mut header = b"OpusHead\x01".to_vec();
    header.push(dops.output_channel_count);
    header.extend(dops.pre_skip.to_le_bytes());
    header.extend(dops.input_sample_rate.to_le_bytes());
    header.extend(dops.output_gain.to_le_bytes());
    header.push(0);
    header
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

    /// A track of each kind that [`crate::holds`] takes.
    fn coded_tracks() -> Vec<Track> {
        // x265's of a 1280x720 picture, its SEI left out.
        const HVCC: &[u8] = &[
            1, 1, 0x60, 0, 0, 0, 0x90, 0, 0, 0, 0, 0, 0x5d, 0xf0, 0, 0xfc, 0xfd, 0xf8, 0xf8, 0, 0, 0x0f, 1, 0xa1, 0, 1, 0, 0x2a, 0x42,
            0x01, 0x01, 0x01, 0x60, 0, 0, 3, 0, 0x90, 0, 0, 3, 0, 0, 3, 0, 0x5d, 0xa0, 0x02, 0x80, 0x80, 0x2d, 0x16, 0x59, 0x59, 0xa4,
            0x93, 0x2b, 0xc0, 0x5a, 0x70, 0x80, 0, 0, 0x1f, 0x48, 0, 3, 0x0d, 0x40, 0x40,
        ];
        // libaom's of a 640x360 picture.
        const AV1C: &[u8] = &[0x81, 4, 0x0c, 0, 0x0a, 0x0a, 0, 0, 0, 0x02, 0x4c, 0x44, 0xff, 0x59, 0xb8, 0];
        let flac = [&b"fLaC\x80\0\0\x22"[..], &[7; 34]].concat();
        let opus = b"OpusHead\x01\x02\x38\x01\x80\xbb\0\0\0\0\0";
        let track = |id, codec, record: &[u8]| (id, coded::Config::parse(codec, record).unwrap());
        let vp9 = coded::Config::parse(Codec::Vp9, &[1, 0, 0, 0, 0, 21, 0x82, 2, 2, 2, 0, 0]).unwrap().with_size((320, 180));
        [
            track(TrackId::VIDEO, Codec::Hevc, HVCC),
            track(TrackId::VIDEO, Codec::Av1, AV1C),
            (TrackId::VIDEO, vp9),
            track(TrackId::AUDIO, Codec::Opus, opus),
            track(TrackId::AUDIO, Codec::Flac, &flac),
        ]
        .map(|(id, config)| Track { id, config: TrackConfig::Coded(config) })
        .to_vec()
    }

    #[test]
    fn every_codec_that_is_written_reads_back() {
        let mut read = alloc::collections::BTreeSet::new();
        for track in coded_tracks().into_iter().chain([samples::video_track(), samples::audio_track()]) {
            let init = init_segment(core::slice::from_ref(&track)).unwrap();
            let ftyp = BoxHeader::parse(init[..8].try_into().unwrap(), init.len() as u64).unwrap();
            let moov = usize::try_from(ftyp.bytes).unwrap();
            assert_eq!(read_tracks(&init[moov..], ftyp.bytes), Ok(alloc::vec![track.clone()]));
            read.insert(alloc::format!("{:?}", track.config.codec()));
        }
        let all =
            [Codec::H264, Codec::Hevc, Codec::Av1, Codec::Vp9, Codec::Aac, Codec::Opus, Codec::Flac, Codec::Ac3, Codec::Eac3, Codec::Mp3];
        let held = all.into_iter().filter(|codec| crate::holds(*codec)).map(|codec| alloc::format!("{codec:?}"));
        assert_eq!(read, held.collect(), "each that recordings hold was tried");
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
