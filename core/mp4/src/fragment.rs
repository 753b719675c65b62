//! Movie fragments: `moof` and `mdat`.

use crate::{Error, mp4_track_id};
use alloc::{vec, vec::Vec};
use bytes::Bytes;
use shiguredo_mp4::{
    Encode as _, SampleFlags,
    boxes::{MfhdBox, MoofBox, TfdtBox, TfhdBox, TrafBox, TrunBox, TrunSample},
};
use sightline_media::{Frame, MediaTime, TrackId};

/// The duration of a frame that has no successor and no predecessor: 1/25 s.
const FRAME_TICKS_DEFAULT: i64 = 3_600;

/// Size and kind of the `mdat`.
const MDAT_HEADER_BYTES: usize = 8;

/// `moof` and `mdat` of some frames, in decoding order within each track; frames of several tracks may be mixed.
///
/// A frame lasts until the next of its track; the last until `ends_at`, or as long as the one before it.
/// Decode times below zero are written as zero.
///
/// # Errors
/// [`Error::Empty`] without frames, [`Error::TooLarge`].
pub fn fragment(sequence: u32, frames: &[Frame<Bytes>], ends_at: Option<MediaTime>) -> Result<Bytes, Error> {
    fragment_of(sequence, frames, |_| ends_at)
}

/// [`fragment`], whose tracks end each at a time of its own.
///
/// # Errors
/// As [`fragment`].
pub fn fragment_of(sequence: u32, frames: &[Frame<Bytes>], ends_at: impl Fn(TrackId) -> Option<MediaTime>) -> Result<Bytes, Error> {
    Ok(parts_of(sequence, frames, ends_at)?.concat().into())
}

/// [`fragment`] in parts, without a copy of the payloads: the boxes before them, then each.
///
/// # Errors
/// As [`fragment`].
pub fn fragment_parts(sequence: u32, frames: &[Frame<Bytes>], ends_at: Option<MediaTime>) -> Result<Vec<Bytes>, Error> {
    parts_of(sequence, frames, |_| ends_at)
}

fn parts_of(sequence: u32, frames: &[Frame<Bytes>], ends_at: impl Fn(TrackId) -> Option<MediaTime>) -> Result<Vec<Bytes>, Error> {
    let mut track_ids: Vec<TrackId> = frames.iter().map(|frame| frame.track).collect();
    track_ids.sort_unstable();
    track_ids.dedup();
    let mut runs = Vec::with_capacity(track_ids.len());
    let mut payload_bytes = 0_usize;
    for &track in &track_ids {
        let samples: Vec<&Frame<Bytes>> = frames.iter().filter(|frame| frame.track == track).collect();
        runs.push((payload_bytes, run(track, &samples, ends_at(track))?));
        payload_bytes += samples.iter().map(|frame| frame.payload.len()).sum::<usize>();
    }
    if runs.is_empty() {
        return Err(Error::Empty);
    }
    let moof = |runs: &[(usize, TrafBox)]| MoofBox {
        mfhd_box: MfhdBox { sequence_number: sequence },
        traf_boxes: runs.iter().map(|(_, run)| run.clone()).collect(),
        unknown_boxes: Vec::new(),
    };
    // Offsets count from the moof's first byte, and its size does not depend on them.
    let moof_bytes = moof(&runs).encode_to_vec().map_err(|_| Error::TooLarge)?.len();
    for (offset, run) in &mut runs {
        let data_offset = i32::try_from(moof_bytes + MDAT_HEADER_BYTES + *offset).map_err(|_| Error::TooLarge)?;
        for trun in &mut run.trun_boxes {
            trun.data_offset = Some(data_offset);
        }
    }
    let mut head = moof(&runs).encode_to_vec().map_err(|_| Error::TooLarge)?;
    head.extend(u32::try_from(payload_bytes + MDAT_HEADER_BYTES).map_err(|_| Error::TooLarge)?.to_be_bytes());
    head.extend(b"mdat");
    let mut parts = Vec::with_capacity(frames.len() + 1);
    parts.push(head.into());
    for &track in &track_ids {
        parts.extend(frames.iter().filter(|frame| frame.track == track).map(|frame| frame.payload.clone()));
    }
    Ok(parts)
}

fn run(track: TrackId, samples: &[&Frame<Bytes>], ends_at: Option<MediaTime>) -> Result<TrafBox, Error> {
    let mut trun_samples = Vec::with_capacity(samples.len());
    let mut ticks_before = FRAME_TICKS_DEFAULT;
    for (index, frame) in samples.iter().enumerate() {
        let next = samples.get(index + 1).map(|next| next.dts).or(ends_at);
        let ticks = next.map(|next| (next - frame.dts).ticks_90k).filter(|&ticks| ticks > 0).unwrap_or(ticks_before);
        ticks_before = ticks;
        trun_samples.push(TrunSample {
            duration: Some(u32::try_from(ticks).unwrap_or(u32::MAX)),
            size: Some(u32::try_from(frame.payload.len()).map_err(|_| Error::TooLarge)?),
            flags: Some(sample_flags(frame.is_keyframe)),
            composition_time_offset: Some((frame.pts - frame.dts).ticks_90k),
        });
    }
    let first = samples.first().ok_or(Error::Empty)?;
    Ok(TrafBox {
        tfhd_box: TfhdBox {
            track_id: mp4_track_id(track),
            base_data_offset: None,
            sample_description_index: None,
            default_sample_duration: None,
            default_sample_size: None,
            default_sample_flags: None,
            duration_is_empty: false,
            default_base_is_moof: true,
        },
        tfdt_box: Some(TfdtBox { version: 1, base_media_decode_time: u64::try_from(first.dts.ticks_90k).unwrap_or(0) }),
        trun_boxes: vec![TrunBox { data_offset: Some(0), first_sample_flags: None, samples: trun_samples }],
        unknown_boxes: Vec::new(),
    })
}

/// ISO/IEC 14496-12 §8.8.3.1: `sample_depends_on` 2 (on none) for a key frame, else 1 and `sample_is_non_sync_sample`.
fn sample_flags(is_keyframe: bool) -> SampleFlags {
    SampleFlags::new(if is_keyframe { 0x0200_0000 } else { 0x0101_0000 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init_segment;
    use crate::samples::{audio_track, frame, video_track};

    #[test]
    fn a_library_that_is_not_ours_reads_every_sample_back() {
        let frames: Vec<Frame<Bytes>> = (0..50).map(|index| frame(index, index % 25 == 0)).collect();
        let mut file = init_segment(&[video_track()]).unwrap().to_vec();
        file.extend(fragment(1, &frames[..25], Some(frames[25].dts)).unwrap());
        file.extend(fragment(2, &frames[25..], None).unwrap());
        let length = file.len() as u64;
        let read = re_mp4::Mp4::read(std::io::Cursor::new(&file), length).unwrap();
        let track = &read.tracks()[&1];
        assert_eq!((track.width, track.height), (1920, 1080));
        assert_eq!(track.samples.len(), 50);
        for (index, (sample, frame)) in track.samples.iter().zip(&frames).enumerate() {
            assert_eq!(&file[sample.offset as usize..][..sample.size as usize], &frame.payload[..], "sample {index}");
            assert_eq!((sample.decode_timestamp, sample.is_sync), (frame.dts.ticks_90k, frame.is_keyframe), "sample {index}");
        }
    }

    #[test]
    fn two_tracks_share_one_fragment() {
        let mut frames: Vec<Frame<Bytes>> = (0..4).map(|index| frame(index, index == 0)).collect();
        frames.insert(1, Frame { track: TrackId::AUDIO, payload: Bytes::from_static(b"aac"), ..frame(0, true) });
        let mut file = init_segment(&[video_track(), audio_track()]).unwrap().to_vec();
        file.extend(fragment(1, &frames, None).unwrap());
        let length = file.len() as u64;
        let read = re_mp4::Mp4::read(std::io::Cursor::new(&file), length).unwrap();
        let sample = &read.tracks()[&2].samples[0];
        assert_eq!(&file[sample.offset as usize..][..sample.size as usize], b"aac");
    }

    #[test]
    fn nothing_makes_nothing() {
        assert_eq!(init_segment(&[]), Err(Error::Empty));
        assert_eq!(fragment(1, &[], None), Err(Error::Empty));
    }
}
