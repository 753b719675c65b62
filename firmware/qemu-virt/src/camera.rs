//! The camera: a clip that the loader has put into memory, given out in its own time, as a chip's encoder lends its buffers.

use heapless::Vec;
use sightline_media::{Frame, MediaTime, Track, TrackConfig, TrackId, annexb, avc};

/// At the clip's start: `SLCLIP01`, the number of access units and the frames a second; then offset and length of each; little-endian.
const MAGIC: &[u8; 8] = b"SLCLIP01";
const HEADER_BYTES: usize = 16;
const ENTRY_BYTES: usize = 8;
/// The longest clip, in access units.
const UNITS_MAX: usize = 640;

/// An access unit in AVCC form, where it lies.
#[derive(Clone, Copy)]
struct Unit {
    payload: &'static [u8],
    is_idr: bool,
}

pub(crate) struct Camera {
    units: Vec<Unit, UNITS_MAX>,
    /// Known once a clip is loaded.
    pub(crate) track: Option<Track>,
    frame_micros: u64,
    /// The next unit, and when it is due; `None`: it does not run.
    next: Option<(usize, u64)>,
    pub(crate) frames: u32,
}

impl Camera {
    /// One without a clip.
    pub(crate) const fn new() -> Self {
        Self { units: Vec::new(), track: None, frame_micros: 0, next: None, frames: 0 }
    }

    /// Reads the clip's index, and turns each unit into AVCC form in place.
    #[inline(never)]
    pub(crate) fn load(&mut self, clip: &'static mut [u8]) -> Result<(), &'static str> {
        let (header, rest) = clip.split_at_mut_checked(HEADER_BYTES).ok_or("no clip")?;
        if header.get(..8) != Some(MAGIC) {
            return Err("no clip: its head is not SLCLIP01");
        }
        let number = |bytes: &[u8], at: usize| {
            bytes.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, |four| u32::from_le_bytes(four) as usize)
        };
        let (count, fps) = (number(header, 8), number(header, 12));
        if count == 0 || fps == 0 || count > UNITS_MAX {
            return Err("the clip has no unit, no rate, or too many units");
        }
        let (index, mut data) = rest.split_at_mut_checked(count * ENTRY_BYTES).ok_or("the clip's index is cut off")?;
        let mut at = 0;
        for entry in index.chunks_exact(ENTRY_BYTES) {
            let (offset, length) = (number(entry, 0), number(entry, 4));
            // Units lie one behind the other.
            let (unit, after) = data.split_at_mut_checked(offset + length - at).ok_or("the clip is cut off")?;
            let unit = unit.get_mut(offset - at..).ok_or("the clip's index is out of order")?;
            (data, at) = (after, offset + length);
            let scanned = annexb::AccessUnit::scan(unit);
            let is_idr = scanned.is_idr;
            if let (Some(sps), Some(pps), None) = (scanned.sps, scanned.pps, &self.track) {
                let config = avc::DecoderConfig::from_sets(sps, pps).map_err(|_| "the clip's parameter sets can't be read")?;
                self.track = Some(Track { id: TrackId::VIDEO, config: TrackConfig::H264(config) });
            }
            let payload = annexb::lend_avcc(unit).ok_or("an access unit has start codes of three bytes")?;
            let _ = self.units.push(Unit { payload, is_idr });
        }
        if self.track.is_none() {
            return Err("the clip has no parameter sets");
        }
        self.frame_micros = 1_000_000 / fps as u64;
        Ok(())
    }

    /// Runs from the next key frame on.
    pub(crate) fn start(&mut self, now_micros: u64) {
        let due = self.next.map_or(now_micros, |(_, due)| due);
        let from = self.next.map_or(0, |(unit, _)| unit);
        let idr = (from..from + self.units.len()).find(|at| self.units[at % self.units.len()].is_idr).unwrap_or(0);
        self.next = Some((idr % self.units.len(), due));
    }

    pub(crate) fn stop(&mut self) {
        self.next = None;
    }

    /// When the next frame is due.
    pub(crate) fn due(&self) -> Option<u64> {
        self.next.map(|(_, due)| due)
    }

    /// The next frame, if it is time.
    pub(crate) fn poll(&mut self, now_micros: u64) -> Option<Frame<&'static [u8]>> {
        let (at, due) = self.next.filter(|(_, due)| *due <= now_micros)?;
        let unit = *self.units.get(at)?;
        self.next = Some(((at + 1) % self.units.len(), due + self.frame_micros));
        self.frames += 1;
        let time = MediaTime::from_micros(due.cast_signed());
        let Unit { payload, is_idr } = unit;
        Some(Frame { track: TrackId::VIDEO, dts: time, pts: time, is_keyframe: is_idr, is_disposable: false, payload })
    }
}
