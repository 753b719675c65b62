//! Frames that are lent: where they lie, in whose form, and when they are given back.

use core::{
    ffi::c_void,
    sync::atomic::{AtomicU32, Ordering},
};
use heapless::Vec;
use sightline_media::{
    Track, TrackConfig, TrackId,
    annexb::{self, AccessUnit, LentUnit, NalUnits},
    avc::{self, LENGTH_BYTES, NalKind},
    config_beside,
};

use crate::{platform::Platform, types::SightlineError};

/// NAL units of an access unit whose start codes are of three bytes, at most: four slices, with what leads them, twice over.
const NALS_MAX: usize = 24;

/// An access unit in the caller's memory, given back when it is dropped.
pub(crate) struct Lent {
    bytes: *const u8,
    length: usize,
    token: *mut c_void,
    platform: *const Platform,
    count: *const AtomicU32,
}

impl Lent {
    /// # Safety
    /// `bytes` can be read and is not written until `token` is released; `platform` and `count` outlive this.
    #[expect(unsafe_code, reason = "the caller's memory")]
    pub(crate) unsafe fn new(bytes: &[u8], token: *mut c_void, platform: *const Platform, count: *const AtomicU32) -> Self {
        // SAFETY: it outlives this.
        let _ = unsafe { &*count }.fetch_add(1, Ordering::Relaxed);
        Self { bytes: bytes.as_ptr(), length: bytes.len(), token, platform, count }
    }
}

impl AsRef<[u8]> for Lent {
    #[expect(unsafe_code, reason = "the caller's memory")]
    fn as_ref(&self) -> &[u8] {
        // SAFETY: lent until `release`, which comes at this value's end (`new`).
        unsafe { core::slice::from_raw_parts(self.bytes, self.length) }
    }
}

impl Drop for Lent {
    #[expect(unsafe_code, reason = "what outlives it")]
    fn drop(&mut self) {
        // SAFETY: both outlive this (`new`).
        let (platform, count) = unsafe { (&*self.platform, &*self.count) };
        let _ = count.fetch_sub(1, Ordering::Relaxed);
        platform.release(self.token);
    }
}

/// What an access unit was found to be.
pub(crate) struct Unit {
    /// Where the bytes to send are in the caller's memory.
    pub(crate) payload: core::ops::Range<usize>,
    pub(crate) is_keyframe: bool,
    pub(crate) is_disposable: bool,
}

/// The track that parameter sets describe.
pub(crate) fn track(sps: &[u8], pps: &[u8]) -> Result<Track, SightlineError> {
    track_of(avc::DecoderConfig::from_sets(sps, pps))
}

fn track_of(config: Result<avc::DecoderConfig, avc::ConfigError>) -> Result<Track, SightlineError> {
    let config = config.map_err(|_| SightlineError::FrameFormatUnsupported)?;
    Ok(Track { id: TrackId::VIDEO, config: TrackConfig::H264(config) })
}

/// Turns an access unit with start codes into one with lengths, where it lies. `take` is given its track, where it has parameter sets, before a byte changes for
/// good: an error, its or ours, leaves the unit as it was.
pub(crate) fn annex_b_in_place(
    unit: &mut [u8],
    take: impl FnOnce(Option<Track>) -> Result<(), SightlineError>,
) -> Result<Unit, SightlineError> {
    let length = unit.len();
    let taken = |config: Option<Result<avc::DecoderConfig, avc::ConfigError>>, has_picture: bool| {
        let track = config.map(track_of).transpose()?;
        if has_picture { take(track) } else { Err(SightlineError::FrameFormatUnsupported) }
    };
    if let Some(lent) = annexb::lend_avcc(unit) {
        let config = lent.config();
        let LentUnit { avcc, is_keyframe, has_picture, is_disposable, .. } = lent;
        return match taken(config, has_picture) {
            Ok(()) => Ok(Unit { payload: length - avcc.len()..length, is_keyframe, is_disposable }),
            Err(error) => {
                annexb::put_start_codes(avcc);
                Err(error)
            }
        };
    }
    let AccessUnit { is_keyframe, has_picture, is_disposable, .. } = AccessUnit::scan(unit);
    taken(config_beside(NalUnits::new(unit)), has_picture)?;
    let payload = move_to_start(unit).ok_or(SightlineError::FrameFormatUnsupported)?;
    Ok(Unit { payload, is_keyframe, is_disposable })
}

/// The same for start codes of three bytes, whose lengths need a byte more: NAL units move towards the start, over what is not sent. Gives where they are; `None`,
/// and the unit as it was, where there is too little room.
fn move_to_start(unit: &mut [u8]) -> Option<core::ops::Range<usize>> {
    let base = unit.as_ptr().addr();
    let mut nals: Vec<core::ops::Range<usize>, NALS_MAX> = Vec::new();
    for nal in NalUnits::new(unit) {
        if nal.first().is_some_and(|&header| annexb::is_sent(header)) {
            let from = nal.as_ptr().addr() - base;
            nals.push(from..from + nal.len()).ok()?;
        }
    }
    // Each moves towards the start, or stays: so far that none of those before it is in its way. Looked at whole before a byte moves.
    let (mut behind, mut from) = (0, usize::MAX);
    for nal in &nals {
        from = from.min(nal.start.checked_sub(behind + LENGTH_BYTES)?);
        behind += LENGTH_BYTES + nal.len();
    }
    let mut at = from;
    for nal in &nals {
        let length = u32::try_from(nal.len()).ok()?;
        unit.copy_within(nal.clone(), at + LENGTH_BYTES);
        unit.get_mut(at..at + LENGTH_BYTES)?.copy_from_slice(&length.to_be_bytes());
        at += LENGTH_BYTES + nal.len();
    }
    (!nals.is_empty()).then_some(from..at)
}

/// An access unit that has lengths already: its track, where it has parameter sets, and what is sent of it.
pub(crate) fn look_avcc(unit: &[u8]) -> Result<(Option<Track>, Unit), SightlineError> {
    let (mut from, mut at) = (None, 0);
    let mut nals = avc::NalUnits::new(unit, LENGTH_BYTES);
    for nal in &mut nals {
        match NalKind::of(nal.first().copied().unwrap_or(0)) {
            NalKind::Sps | NalKind::Pps | NalKind::Delimiter => {}
            NalKind::Slice | NalKind::Idr | NalKind::Sei | NalKind::Other(_) => from = from.or(Some(at)),
        }
        at += LENGTH_BYTES + nal.len();
    }
    let found = AccessUnit::scan_avcc(unit);
    let from = from.filter(|_| found.has_picture && nals.is_exhausted()).ok_or(SightlineError::FrameFormatUnsupported)?;
    let track = config_beside(avc::NalUnits::new(unit, LENGTH_BYTES)).map(track_of).transpose()?;
    Ok((track, Unit { payload: from..unit.len(), is_keyframe: found.is_keyframe, is_disposable: found.is_disposable }))
}
