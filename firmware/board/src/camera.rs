//! Cameras with their encoders; and one that is a clip in memory.

use core::cell::Cell;
use sightline_media::{Frame, MediaTime, Track, TrackConfig, TrackId, annexb};
use sightline_pusher::EncoderAction;

/// A camera and its encoder: pictures stay behind it, coded frames come out, in AVCC form.
pub trait Camera {
    /// A coded frame where it lies. Its buffer goes back to the encoder when this is dropped, which may be a second later.
    type Lent: AsRef<[u8]>;

    /// What it makes, once that is known: for H.264 from its first parameter sets on. It does not change.
    fn track(&self) -> Option<&Track>;

    /// Carries out what the pusher asks of the encoder.
    fn order(&mut self, now_micros: u64, order: EncoderAction);

    /// When the next frame is due, if that is known: the loop looks then, and whenever it turns.
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

/// An encoder's output buffer: an access unit in Annex B form, while nobody has it.
struct Buffer {
    unit: Cell<Option<&'static mut [u8]>>,
    is_keyframe: Cell<bool>,
}

/// The buffers of a clip's encoder: as many as the clip has access units.
pub struct Buffers([Buffer; UNITS_MAX]);

impl Default for Buffers {
    fn default() -> Self {
        Self::new()
    }
}

impl Buffers {
    /// Empty ones.
    #[must_use]
    pub const fn new() -> Self {
        Self([const { Buffer { unit: Cell::new(None), is_keyframe: Cell::new(false) } }; UNITS_MAX])
    }
}

/// An access unit in AVCC form in the buffer that it was encoded into, which goes back when this is dropped.
pub struct Lent {
    unit: &'static mut [u8],
    /// Behind what is not sent.
    from: usize,
    home: &'static Buffer,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        self.unit.get(self.from..).unwrap_or_default()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let unit = core::mem::take(&mut self.unit);
        // An encoder would write another unit there; this one is as it wrote it.
        annexb::put_start_codes(unit.get_mut(self.from..).unwrap_or_default());
        self.home.unit.set(Some(unit));
    }
}

/// What is known of a clip, once it is loaded.
pub struct Clip {
    track: Option<Track>,
    frame_micros: u64,
    /// The next unit, and when it is due; `None`: it does not run.
    next: Option<(usize, u64)>,
}

/// A recorded clip as camera and encoder: given out in its own time, over and over, as an encoder lends its buffers, and made ready to be sent as an encoder's
/// output is, each time. What it is asked for by way of bit rate it can't do; a key frame is the clip's next one.
pub struct ClipCamera {
    clip: &'static mut Clip,
    buffers: &'static [Buffer],
}

impl Default for Clip {
    fn default() -> Self {
        Self::new()
    }
}

impl Clip {
    /// One that is not loaded.
    #[must_use]
    pub const fn new() -> Self {
        Self { track: None, frame_micros: 0, next: None }
    }

    /// Reads a clip's index, and leaves each unit in a buffer.
    ///
    /// # Errors
    /// If it is none: `SLCLIP01`, the number of access units and the frames a second; then offset and length of each; then the units, in Annex B form with
    /// start codes of four bytes, the first with parameter sets. Numbers have 32 bits, the least first.
    #[inline(never)]
    pub fn load(&'static mut self, clip: &'static mut [u8], buffers: &'static Buffers) -> Result<ClipCamera, &'static str> {
        let (header, rest) = clip.split_at_mut_checked(HEADER_BYTES).ok_or("no clip")?;
        if header.get(..8) != Some(MAGIC) {
            return Err("no clip: its head is not SLCLIP01");
        }
        let number = |bytes: &[u8], at: usize| {
            bytes.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, |four| u32::from_le_bytes(four) as usize)
        };
        let (count, fps) = (number(header, 8), number(header, 12));
        if count == 0 || fps == 0 {
            return Err("the clip has no unit, or no rate");
        }
        let buffers = buffers.0.get(..count).ok_or("the clip has too many units")?;
        let (index, mut data) = rest.split_at_mut_checked(count * ENTRY_BYTES).ok_or("the clip's index is cut off")?;
        let mut at = 0;
        for (entry, buffer) in index.chunks_exact(ENTRY_BYTES).zip(buffers) {
            let (offset, length) = (number(entry, 0), number(entry, 4));
            // Units lie one behind the other.
            let (unit, after) = data.split_at_mut_checked(offset + length - at).ok_or("the clip is cut off")?;
            let unit = unit.get_mut(offset - at..).ok_or("the clip's index is out of order")?;
            (data, at) = (after, offset + length);
            let found = annexb::lend_avcc(unit).ok_or("an access unit has start codes of three bytes")?;
            buffer.is_keyframe.set(found.is_keyframe);
            if let (Some(config), None) = (found.config(), &self.track) {
                let config = config.map_err(|_| "the clip's parameter sets can't be read")?;
                self.track = Some(Track { id: TrackId::VIDEO, config: TrackConfig::H264(config) });
            }
            annexb::put_start_codes(found.avcc);
            buffer.unit.set(Some(unit));
        }
        if self.track.is_none() {
            return Err("the clip has no parameter sets");
        }
        self.frame_micros = 1_000_000 / fps as u64;
        Ok(ClipCamera { clip: self, buffers })
    }
}

impl ClipCamera {
    /// Runs from the next key frame on.
    fn start(&mut self, now_micros: u64) {
        let (from, due) = self.clip.next.unwrap_or((0, now_micros));
        let count = self.buffers.len();
        let idr = (from..from + count).map(|at| at % count).find(|at| self.buffers[*at].is_keyframe.get()).unwrap_or(0);
        self.clip.next = Some((idr, due));
    }
}

impl Camera for ClipCamera {
    type Lent = Lent;

    fn track(&self) -> Option<&Track> {
        self.clip.track.as_ref()
    }

    fn order(&mut self, now_micros: u64, order: EncoderAction) {
        match order {
            EncoderAction::Start(_) | EncoderAction::Keyframe => self.start(now_micros),
            EncoderAction::Stop => self.clip.next = None,
            // A recording can't be held back: the queue leaves out what is too much.
            EncoderAction::Change(_) | EncoderAction::Pause | EncoderAction::Resume => {}
        }
    }

    fn due(&self) -> Option<u64> {
        self.clip.next.map(|(_, due)| due)
    }

    fn poll(&mut self, now_micros: u64) -> Option<Frame<Lent>> {
        let (at, due) = self.clip.next.filter(|(_, due)| *due <= now_micros)?;
        let home = self.buffers.get(at)?;
        self.clip.next = Some(((at + 1) % self.buffers.len(), due + self.clip.frame_micros));
        // One that is still lent is left out: an encoder without a free buffer makes no frame.
        let unit = home.unit.take()?;
        let length = unit.len();
        let from = annexb::lend_avcc(unit).map_or(length, |lent| length - lent.avcc.len());
        let time = MediaTime::from_micros(due.cast_signed());
        let payload = Lent { unit, from, home };
        Some(Frame { track: TrackId::VIDEO, dts: time, pts: time, is_keyframe: home.is_keyframe.get(), is_disposable: false, payload })
    }
}
