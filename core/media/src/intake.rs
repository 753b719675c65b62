//! The one intake: coded pictures as other people's encoders frame them, into ours.
//!
//! What comes may be framed by lengths of any size, by start codes, or by both; its parameter sets may stand in a record, in the stream, in both and in neither
//! of the forms that the standards allow; its container's key-frame flag may lie. What goes out is an access unit in AVCC form with lengths of four
//! bytes, a key frame where a decoder can begin, and the track before the first frame that needs it.

mod assembly;
mod framing;
mod hevc;
mod kind;
mod sets;

use alloc::boxed::Box;
use alloc::vec::Vec;

pub use crate::nal::Family;
pub use assembly::Assembly;
use framing::Framing;
use sets::Sets;

use crate::nal::{Look, Role};
use crate::track::TrackConfig;

/// Frames at a stream's beginning in which start codes are looked for within every NAL unit: who writes them writes them from the start, and a look
/// through every byte of every picture would cost what the rest of the way costs.
const FRAMES_LOOKED_THROUGH: u8 = 50;

/// What was not as the standards want it, and was set right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mend {
    /// The record holds NAL units behind start codes or lengths, not the fields of a record.
    RecordOfSets,
    /// There is no record; the sets of the stream serve.
    SetsInBand,
    /// Other sets in the stream than in the record, without another record.
    SetsChanged,
    /// Start codes where lengths belong.
    StartCodes,
    /// Lengths of another size than the record says.
    OtherLengths,
    /// Start codes within a NAL unit: several stand behind one length.
    StartCodesWithin,
    /// NAL units of no bytes.
    EmptyUnits,
    /// The last NAL unit ends early; what came before it is taken.
    CutShort,
    /// The slices of a picture come in frames of their own. Seen by who knows their times.
    SlicesApart,
    /// The container calls a picture a key frame that none can begin with.
    FalseKeyFrame,
    /// The container does not say that a picture is a key frame.
    KeyFrameUnsaid,
}

impl Mend {
    /// For the log and the counts.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RecordOfSets => "a decoder configuration that is no record, but the sets alone",
            Self::SetsInBand => "no decoder configuration; the parameter sets in the stream serve",
            Self::SetsChanged => "parameter sets that change in the stream alone",
            Self::StartCodes => "start codes where the lengths of NAL units belong",
            Self::OtherLengths => "NAL units behind lengths of another size than the configuration says",
            Self::StartCodesWithin => "start codes within NAL units",
            Self::EmptyUnits => "NAL units of no bytes",
            Self::CutShort => "a picture that is cut short",
            Self::SlicesApart => "pictures whose slices come in messages of their own",
            Self::FalseKeyFrame => "pictures called key frames that are none",
            Self::KeyFrameUnsaid => "key frames that are not called so",
        }
    }
}

/// What was mended in one frame: few, each once.
pub type Mends = heapless::Vec<Mend, 8>;

/// What a record was.
#[derive(Debug)]
pub enum Record {
    /// Another configuration than before.
    New(Box<TrackConfig>),
    /// The one that is known.
    Same,
    /// None that can be read; what sets were found in it are kept, and the stream's may serve.
    Unread,
}

/// A frame, set right.
#[derive(Debug)]
pub struct Taken {
    /// Another configuration: to be announced before this frame.
    pub config: Option<TrackConfig>,
    /// The payload in our form; `None` where it came in it, byte for byte.
    pub payload: Option<Vec<u8>>,
    /// A decoder can begin here: an IDR picture, a recovery point, or (H.265) an IRAP picture.
    pub is_keyframe: bool,
    /// No other picture refers to it (H.264's `nal_ref_idc`; H.265's is not read).
    pub is_disposable: bool,
    /// Its first slice is the first of its picture. Otherwise it may belong to the frame before: see [`Assembly`].
    pub begins_picture: bool,
    /// What was not as it should be.
    pub mends: Mends,
}

/// Why a frame gives none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Passed {
    /// It holds no picture: parameter sets, supplements, a delimiter.
    NoPicture,
    /// Its NAL units can't be told apart.
    Unreadable,
    /// Nothing tells a decoder how to begin yet.
    NoConfig,
}

/// Follows one track's coded pictures.
#[derive(Debug)]
pub struct Intake {
    family: Family,
    length_bytes: usize,
    /// The last record that came, whatever it was: encoders send it again with each key frame.
    record: Vec<u8>,
    sets: Sets,
    has_config: bool,
    /// A recovery point was announced in a message of its own.
    recovery_is_due: bool,
    /// Its NAL units in our form: who gets the pictures next goes by them, as we do.
    recovery: Vec<u8>,
    has_seen_start: bool,
    has_codes_within: bool,
    looked_through: u8,
}

/// What one look over a frame's NAL units tells, and of how they are framed.
#[derive(Debug, Default)]
struct Seen {
    look: Look,
    has_empty: bool,
    has_codes_within: bool,
}

impl Intake {
    /// For one track.
    #[must_use]
    pub fn new(family: Family) -> Self {
        Self {
            family,
            length_bytes: crate::avc::LENGTH_BYTES,
            record: Vec::new(),
            sets: Sets::new(family),
            has_config: false,
            recovery_is_due: false,
            recovery: Vec::new(),
            has_seen_start: false,
            has_codes_within: false,
            looked_through: 0,
        }
    }

    /// How its pictures are coded.
    #[must_use]
    pub const fn family(&self) -> Family {
        self.family
    }

    /// A decoder configuration: an `avcC` or `hvcC` record, or what some encoders send in its place.
    pub fn take_record(&mut self, record: &[u8]) -> Record {
        if self.has_config && record == self.record.as_slice() {
            return Record::Same;
        }
        // A record is some hundred bytes; one that is longer than any is refused below and not kept.
        self.record = record.get(..record.len().min(crate::coded::RECORD_BYTES_MAX)).unwrap_or_default().to_vec();
        if let Some((config, length_bytes)) = self.family.parse(record) {
            self.sets.replace(self.family.sets_of(&config));
            self.length_bytes = length_bytes;
            self.has_config = true;
            return Record::New(Box::new(config));
        }
        if let Some(framing) = Framing::of(record, crate::avc::LENGTH_BYTES, self.family) {
            for nal in framing.units(record) {
                self.sets.learn(nal);
            }
        }
        Record::Unread
    }

    /// One frame's payload. `is_flagged`: the container calls it a key frame.
    ///
    /// # Errors
    /// [`Passed`]: there is no frame to pass on.
    pub fn take(&mut self, payload: &[u8], is_flagged: bool) -> Result<Taken, Passed> {
        let mut mends = Mends::new();
        let framing = Framing::of(payload, self.length_bytes, self.family).ok_or(Passed::Unreadable)?;
        let Seen { look, has_empty, has_codes_within } = self.look(payload, framing);
        if !look.has_picture {
            if look.is_recovery {
                self.recovery_is_due = true;
                self.recovery = framing.recovery_points(payload, self.family);
            }
            return Err(Passed::NoPicture);
        }
        let recovery = core::mem::take(&mut self.recovery);
        let is_keyframe = self.is_start(&look, is_flagged);
        if is_keyframe != is_flagged {
            note(&mut mends, if is_flagged { Mend::FalseKeyFrame } else { Mend::KeyFrameUnsaid });
        }
        let config = if is_keyframe { self.config_for(look.pps_id, &mut mends) } else { None };
        if !self.has_config {
            return Err(Passed::NoConfig);
        }
        match framing {
            Framing::StartCodes => note(&mut mends, Mend::StartCodes),
            Framing::Lengths { bytes, .. } if bytes != self.length_bytes => note(&mut mends, Mend::OtherLengths),
            Framing::Lengths { is_cut: true, .. } => note(&mut mends, Mend::CutShort),
            Framing::Lengths { .. } => {}
        }
        for (is_so, mend) in [(has_codes_within, Mend::StartCodesWithin), (has_empty, Mend::EmptyUnits)] {
            if is_so {
                note(&mut mends, mend);
            }
        }
        let is_ours = framing.is_ours() && !has_codes_within && !has_empty;
        let mut ours = if is_ours { None } else { Some(framing.rewrite(payload, self.family, has_codes_within)) };
        if !recovery.is_empty() && !look.is_recovery {
            let at = ours.as_deref().unwrap_or(payload);
            ours = Some(framing::before_slices(at, &recovery, self.family));
        }
        Ok(Taken {
            config,
            payload: ours,
            is_keyframe,
            is_disposable: !is_keyframe && !look.is_referred_to,
            begins_picture: look.begins_picture,
            mends,
        })
    }

    /// An access unit of an encoder or a device, whose frames have no flags: as [`Self::take`], always in our form, without the parameter sets that the
    /// configuration has.
    ///
    /// # Errors
    /// [`Passed`]: there is no frame to pass on.
    pub fn take_unit(&mut self, unit: &[u8]) -> Result<(Taken, Vec<u8>), Passed> {
        let mut taken = self.take(unit, false)?;
        taken.mends.retain(|mend| !matches!(mend, Mend::KeyFrameUnsaid | Mend::StartCodes | Mend::SetsInBand));
        let ours = taken.payload.take();
        let ours = ours.as_deref().unwrap_or(unit);
        let mut payload = Vec::with_capacity(ours.len());
        for nal in crate::avc::NalUnits::new(ours, crate::avc::LENGTH_BYTES) {
            let is_in_record = self.family.role(nal) == Role::Set && taken.is_keyframe;
            if !is_in_record && !self.family.is_padding(nal) {
                framing::put(nal, &mut payload);
            }
        }
        Ok((taken, payload))
    }

    fn look(&mut self, payload: &[u8], framing: Framing) -> Seen {
        let mut seen = Seen::default();
        let looks_through = self.looked_through < FRAMES_LOOKED_THROUGH;
        self.looked_through = self.looked_through.saturating_add(1);
        for unit in framing.units(payload) {
            let role = self.family.role(unit);
            // A slice's bytes are many, and who has not written start codes within one at the beginning does not later.
            let may_hold_more = framing != Framing::StartCodes
                && (framing::starts_with_code(unit) || self.has_codes_within || looks_through || !matches!(role, Role::Slice { .. }));
            if may_hold_more && framing::holds_several(unit, self.family) {
                seen.has_codes_within = true;
                self.has_codes_within = true;
                for inner in framing::split(unit, self.family) {
                    self.look_at(inner, &mut seen);
                }
            } else {
                self.look_at(unit, &mut seen);
            }
        }
        seen
    }

    fn look_at(&mut self, unit: &[u8], seen: &mut Seen) {
        match seen.look.see(self.family, unit) {
            Role::Empty => seen.has_empty = true,
            Role::Set => self.sets.learn(unit),
            Role::Supplement | Role::Slice { .. } | Role::Other => {}
        }
    }

    /// The coded picture decides. Of encoders that make neither IDR pictures nor recovery points, what is flagged and intra counts.
    fn is_start(&mut self, look: &Look, is_flagged: bool) -> bool {
        let is_recovery = core::mem::take(&mut self.recovery_is_due) || look.is_recovery;
        let is_start = look.is_start || is_recovery;
        self.has_seen_start |= is_start;
        is_start || (is_flagged && look.is_intra && !self.has_seen_start)
    }

    /// The configuration that begins with a key frame, if it is another one than before.
    fn config_for(&mut self, pps_id: Option<u32>, mends: &mut Mends) -> Option<TrackConfig> {
        if !self.sets.select(pps_id) && self.has_config {
            return None;
        }
        let config = self.sets.config()?;
        note(mends, if self.has_config { Mend::SetsChanged } else { Mend::SetsInBand });
        self.has_config = true;
        Some(config)
    }
}

fn note(mends: &mut Mends, mend: Mend) {
    // More than fit can't come: a frame has one of each pair.
    let _ = mends.push(mend);
}

#[cfg(test)]
mod tests;
