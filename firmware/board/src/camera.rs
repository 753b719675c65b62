//! Cameras with their encoders; and one that is a clip in memory.

use heapless::Vec;
use sightline_media::{Frame, MediaTime, Track, TrackConfig, TrackId, annexb, avc};
use sightline_pusher::EncoderAction;

/// A camera and its encoder: pictures stay behind it, coded frames come out, in AVCC form.
pub trait Camera {
    /// A coded frame where it lies. Its buffer goes back to the encoder when this is dropped, which may be a second later.
    type Lent: AsRef<[u8]>;

    /// What it makes, once that is known: for H.264 from its first parameter sets on. It does not change.
    fn track(&self) -> Option<&Track>;

    /// Carries out what the pusher asks of the encoder.
    fn order(&mut self, now_micros: u64, order: EncoderAction);

    /// When the next frame is due, if that is known: the loop looks then, and each millisecond.
    fn due(&self) -> Option<u64>;

    /// The next frame, if there is one.
    fn poll(&mut self, now_micros: u64) -> Option<Frame<Self::Lent>>;
}

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

/// A recorded clip as camera and encoder: given out in its own time, over and over, as an encoder lends its buffers. What it is asked for by way of bit
/// rate it can't do; a key frame is the clip's next one.
pub struct Clip {
    units: Vec<Unit, UNITS_MAX>,
    /// Known once a clip is loaded.
    track: Option<Track>,
    frame_micros: u64,
    /// The next unit, and when it is due; `None`: it does not run.
    next: Option<(usize, u64)>,
}

impl Default for Clip {
    fn default() -> Self {
        Self::new()
    }
}

impl Clip {
    /// One without frames.
    #[must_use]
    pub const fn new() -> Self {
        Self { units: Vec::new(), track: None, frame_micros: 0, next: None }
    }

    /// Reads a clip's index, and turns each unit into AVCC form in place.
    ///
    /// # Errors
    /// If it is none: `SLCLIP01`, the number of access units and the frames a second; then offset and length of each; then the units, in Annex B form with
    /// start codes of four bytes, the first with parameter sets. Numbers have 32 bits, the least first.
    #[inline(never)]
    pub fn load(&mut self, clip: &'static mut [u8]) -> Result<(), &'static str> {
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
    fn start(&mut self, now_micros: u64) {
        let due = self.next.map_or(now_micros, |(_, due)| due);
        let from = self.next.map_or(0, |(unit, _)| unit);
        let idr = (from..from + self.units.len()).find(|at| self.units[at % self.units.len()].is_idr).unwrap_or(0);
        self.next = Some((idr % self.units.len(), due));
    }
}

impl Camera for Clip {
    type Lent = &'static [u8];

    fn track(&self) -> Option<&Track> {
        self.track.as_ref()
    }

    fn order(&mut self, now_micros: u64, order: EncoderAction) {
        match order {
            EncoderAction::Start(_) | EncoderAction::Keyframe => self.start(now_micros),
            EncoderAction::Stop => self.next = None,
            // A recording can't be held back: the queue leaves out what is too much.
            EncoderAction::Change(_) | EncoderAction::Pause | EncoderAction::Resume => {}
        }
    }

    fn due(&self) -> Option<u64> {
        self.next.map(|(_, due)| due)
    }

    fn poll(&mut self, now_micros: u64) -> Option<Frame<&'static [u8]>> {
        let (at, due) = self.next.filter(|(_, due)| *due <= now_micros)?;
        let Unit { payload, is_idr } = *self.units.get(at)?;
        self.next = Some(((at + 1) % self.units.len(), due + self.frame_micros));
        let time = MediaTime::from_micros(due.cast_signed());
        Some(Frame { track: TrackId::VIDEO, dts: time, pts: time, is_keyframe: is_idr, is_disposable: false, payload })
    }
}
