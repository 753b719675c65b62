//! Access units for a recorder of the caller's own: looked at and put into FLV's form, without I/O. The bytes of a picture stay where they are.
#![expect(unsafe_code, reason = "the C face: pointers come from outside")]
#![allow(clippy::missing_safety_doc, reason = "the header's contract is in each text, for readers of C")]

use sightline_media::{Codec, Frame, MediaTime, TrackConfig, TrackId};
use sightline_rtmp::flv::{TagKind, file_header, frame_header, previous_tag_size, sequence_header, tag_header};

use crate::{
    lent,
    types::{SIGHTLINE_RECORD_BYTES_MAX, SightlineError, SightlineUnit},
};

/// Bytes of a file's header.
pub const SIGHTLINE_FLV_FILE_HEADER_BYTES: usize = 13;
/// Bytes before an access unit.
pub const SIGHTLINE_FLV_FRAME_HEADER_BYTES: usize = 16;
/// Bytes behind an access unit.
pub const SIGHTLINE_FLV_FRAME_TRAILER_BYTES: usize = 4;
/// The most bytes of a sequence header with all around it.
pub const SIGHTLINE_FLV_SEQUENCE_HEADER_BYTES_MAX: usize = 20 + SIGHTLINE_RECORD_BYTES_MAX;

/// Where the SPS begins in a record that was made of one SPS and one PPS (ISO/IEC 14496-15, 5.3.3.1).
const SPS_OFFSET: usize = 8;
/// Between the sets: the count of PPS, and the length of the one.
const BETWEEN_SETS: usize = 3;

/// Looks at one access unit in Annex B, `length` bytes at `data`, and turns it where it lies into one whose NAL units stand behind their lengths: what
/// `sightline_pusher_push_frame` takes as AVCC, and FLV holds. What is found is written to `unit`. Its bytes begin at `data` + `unit->offset`: without parameter
/// sets, which are in the record, and without delimiters.
///
/// Start codes of three bytes need the room that `sightline_pusher_push_frame` describes. On an error the bytes are as they were. NULL_POINTER,
/// FRAME_FORMAT_UNSUPPORTED: no picture in it, parameter sets that can't be read, or no room.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sightline_unit_read(data: *mut u8, length: usize, unit: *mut SightlineUnit) -> SightlineError {
    if data.is_null() || unit.is_null() {
        return SightlineError::NullPointer;
    }
    // SAFETY: `length` bytes of the caller's, by the contract of C's memory; nobody else looks at them during the call.
    let bytes = unsafe { core::slice::from_raw_parts_mut(data, length) };
    match read(bytes) {
        Ok(found) => {
            // SAFETY: room for one, by the contract of C's memory.
            unsafe { unit.write_unaligned(found) };
            SightlineError::Ok
        }
        Err(error) => error,
    }
}

fn read(bytes: &mut [u8]) -> Result<SightlineUnit, SightlineError> {
    let mut unit = SightlineUnit::default();
    let found = lent::annex_b_in_place(bytes, |track| match track.map(|track| track.config) {
        Some(TrackConfig::H264(config)) => keep_record(&mut unit, &config).ok_or(SightlineError::FrameFormatUnsupported),
        Some(_) | None => Ok(()),
    })?;
    let number = |bytes: usize| u32::try_from(bytes).map_err(|_| SightlineError::FrameFormatUnsupported);
    unit.offset = number(found.payload.start)?;
    unit.length = number(found.payload.len())?;
    unit.is_keyframe = u8::from(found.is_keyframe);
    unit.is_disposable = u8::from(found.is_disposable);
    Ok(unit)
}

fn keep_record(unit: &mut SightlineUnit, config: &sightline_media::avc::DecoderConfig) -> Option<()> {
    let record = config.as_bytes();
    unit.record.get_mut(..record.len())?.copy_from_slice(record);
    unit.record_bytes = u32::try_from(record.len()).ok()?;
    let mut sets = config.parameter_sets().map(<[u8]>::len);
    let (sps, pps) = (sets.next()?, sets.next()?);
    unit.sps_offset = u32::try_from(SPS_OFFSET).ok()?;
    unit.sps_length = u32::try_from(sps).ok()?;
    unit.pps_offset = u32::try_from(SPS_OFFSET + sps + BETWEEN_SETS).ok()?;
    unit.pps_length = u32::try_from(pps).ok()?;
    Some(())
}

/// Writes what an FLV file begins with, for video alone, to `out`: SIGHTLINE_FLV_FILE_HEADER_BYTES. How many bytes were written; 0 where `out` is null or
/// `size` too small.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sightline_flv_file_header(out: *mut u8, size: usize) -> usize {
    // SAFETY: this function's own contract is that of `put`.
    unsafe { put(out, size, &[&file_header(true, false)]) }
}

/// Writes the whole tag of the decoder configuration that `unit` holds to `out`: before a file's first picture, and where it changes. How many bytes were
/// written, SIGHTLINE_FLV_SEQUENCE_HEADER_BYTES_MAX at most; 0 where the unit has no record, a pointer is null, or `size` is too small.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sightline_flv_sequence_header(unit: *const SightlineUnit, timestamp_ms: u32, out: *mut u8, size: usize) -> usize {
    // SAFETY: null, or a unit that lives for the call and is not written during it.
    let Some(unit) = (unsafe { unit.as_ref() }) else { return 0 };
    let record = unit.record.get(..unit.record_bytes as usize).unwrap_or_default();
    if record.is_empty() {
        return 0;
    }
    let header = sequence_header(Codec::H264);
    let Ok(body_bytes) = u32::try_from(header.len() + record.len()) else { return 0 };
    let tag = tag_header(TagKind::Video, body_bytes, timestamp_ms);
    // SAFETY: this function's own contract is that of `put`.
    unsafe { put(out, size, &[&tag, &header, record, &previous_tag_size(body_bytes)]) }
}

/// Writes what comes before the bytes of an access unit: SIGHTLINE_FLV_FRAME_HEADER_BYTES. `dts_ms` wraps at 2^32; `composition_ms`: how much later it is shown
/// than decoded, 0 for an encoder without B-frames. How many bytes were written; 0 where a pointer is null or `size` too small.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sightline_flv_frame_header(
    unit: *const SightlineUnit,
    dts_ms: u32,
    composition_ms: u32,
    out: *mut u8,
    size: usize,
) -> usize {
    // SAFETY: null, or a unit that lives for the call and is not written during it.
    let Some(unit) = (unsafe { unit.as_ref() }) else { return 0 };
    let dts = MediaTime::from_millis(i64::from(dts_ms));
    let frame = Frame {
        track: TrackId::VIDEO,
        dts,
        pts: MediaTime::from_millis(i64::from(dts_ms) + i64::from(composition_ms)),
        is_keyframe: unit.is_keyframe != 0,
        is_disposable: unit.is_disposable != 0,
        payload: (),
    };
    let header = frame_header(&frame, Codec::H264);
    let Some(body_bytes) = body_bytes(unit, header.len()) else { return 0 };
    // SAFETY: this function's own contract is that of `put`.
    unsafe { put(out, size, &[&tag_header(TagKind::Video, body_bytes, dts_ms), &header]) }
}

/// Writes what comes after the bytes of an access unit: SIGHTLINE_FLV_FRAME_TRAILER_BYTES. How many bytes were written; 0 where a pointer is null or `size` too
/// small.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sightline_flv_frame_trailer(unit: *const SightlineUnit, out: *mut u8, size: usize) -> usize {
    // SAFETY: null, or a unit that lives for the call and is not written during it.
    let Some(unit) = (unsafe { unit.as_ref() }) else { return 0 };
    let Some(body_bytes) = body_bytes(unit, FRAME_BODY_HEADER_BYTES) else { return 0 };
    // SAFETY: this function's own contract is that of `put`.
    unsafe { put(out, size, &[&previous_tag_size(body_bytes)]) }
}

/// FLV's own header of an H.264 picture, behind the tag's (E.4.3.1).
const FRAME_BODY_HEADER_BYTES: usize = 5;

/// `None` for a picture that FLV's 24 bits can't tell the length of.
fn body_bytes(unit: &SightlineUnit, header_bytes: usize) -> Option<u32> {
    let bytes = u32::try_from(header_bytes).ok()?.checked_add(unit.length)?;
    (bytes < 1 << 24).then_some(bytes)
}

/// # Safety
/// `out` is null, or can be written for `size` bytes.
unsafe fn put(out: *mut u8, size: usize, parts: &[&[u8]]) -> usize {
    let total: usize = parts.iter().map(|part| part.len()).sum();
    if out.is_null() || size < total {
        return 0;
    }
    let mut at = 0;
    for part in parts {
        // SAFETY: `at` + the part's length is at most `total`, for which there is room.
        unsafe { core::ptr::copy_nonoverlapping(part.as_ptr(), out.add(at), part.len()) };
        at += part.len();
    }
    total
}
