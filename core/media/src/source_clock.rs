//! One clock for a live source: its own times as long as they agree with the time that passes here, and the time that passes where they do not.
//!
//! Cameras and encoders send times that step back, begin anew at each round of a file, run at another rate than is announced, stand still, or count from
//! another zero for the sound than for the pictures. What is given out holds whatever comes in:
//!
//! - decoding times of a track rise strictly, by a millisecond at least (RTMP's unit, so that FLV and MP4 carry the same times);
//! - no picture is shown before it is decoded, nor later than reordering needs;
//! - a step of the source's clock leaves a frame's gap, sound and pictures step together;
//! - what runs too fast, too slow or not at all follows the time that passes.
//!
//! A link that stalls and catches up is none of this: times that follow one another without a step stay as they are, however late they come.

mod lane;

use crate::time::{Instant, MediaTime};
use crate::track::TrackId;
use lane::{Lane, Outcome};

/// The least distance between the last frame of one connection and the first of the next, in ticks: 1/30 s.
const GAP_TICKS_MIN: i64 = MediaTime::TICKS_PER_SECOND / 30;
/// How far apart the first frames of sound and picture may be without one of them counting from another zero: 3 s.
const SKEW_TICKS_MAX: i64 = 3 * MediaTime::TICKS_PER_SECOND;

/// What was wrong with a source's times, and was set right.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Fault {
    /// They stepped, back or ahead, or began anew.
    Step,
    /// Sound and pictures count from different zeros.
    Origins,
    /// They run at another rate than time does, or stand still.
    Rate,
}

impl Fault {
    /// For the log and the counts.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Step => "times that step or begin anew",
            Self::Origins => "sound and pictures whose times begin apart",
            Self::Rate => "times that run at another rate than time does",
        }
    }
}

/// A frame's place in time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Placed {
    /// When it is decoded.
    pub dts: MediaTime,
    /// When it is shown.
    pub pts: MediaTime,
    /// What was wrong with its times.
    pub fault: Option<Fault>,
}

/// The clock of one source, over all its connections.
#[derive(Clone, Debug, Default)]
pub struct SourceClock {
    /// Pictures, and sound.
    lanes: [Lane; 2],
    /// What both tracks' times were moved by at the last step of either, and how often there was one.
    base: i64,
    steps: u32,
    /// The latest time given, and when.
    latest: Option<(i64, i64)>,
}

impl SourceClock {
    /// The first frame gets the time that has passed since `start`; by default it keeps its own.
    #[must_use]
    pub fn since(start: Instant) -> Self {
        Self { latest: Some((0, ticks(start))), ..Self::default() }
    }

    /// The next frame comes from another connection: its times have nothing to do with those before.
    pub fn change_source(&mut self) {
        self.lanes.iter_mut().for_each(Lane::forget_source);
    }

    /// Gives a frame its place. `dts` and `pts` are the source's, `now` is when it came.
    pub fn place(&mut self, track: TrackId, dts: MediaTime, pts: MediaTime, now: Instant) -> Placed {
        let (source, now) = (dts.ticks_90k, ticks(now));
        let [pictures, sound] = &mut self.lanes;
        let (lane, other) = if track == TrackId::VIDEO { (pictures, &*sound) } else { (sound, &*pictures) };
        let mut fault = None;
        let dts = match lane.advance(source, now) {
            Outcome::First => {
                let is_alone = !other.is_placed() && (lane.has_given() || other.has_given());
                let expected = self.latest.map_or(source, |(latest, at)| {
                    // The time that passed, so that the stream stays as long as it was watched.
                    latest.saturating_add(now.saturating_sub(at).max(if is_alone { GAP_TICKS_MIN } else { 0 }))
                });
                let beside = other.offset().map(|offset| source.saturating_add(offset));
                let is_beside = beside.is_some_and(|beside| beside.abs_diff(expected) <= SKEW_TICKS_MAX.unsigned_abs());
                fault = (other.is_placed() && !is_beside).then_some(Fault::Origins);
                lane.begin(source, beside.filter(|_| is_beside).unwrap_or(expected), now)
            }
            Outcome::Next(dts) => dts,
            Outcome::Rate(dts) => {
                fault = Some(Fault::Rate);
                dts
            }
            Outcome::Step { alone } => {
                fault = Some(Fault::Step);
                self.step(track, source, alone, now)
            }
        };
        let [pictures, sound] = &mut self.lanes;
        let lane = if track == TrackId::VIDEO { pictures } else { sound };
        let shown = lane.composition((pts - MediaTime::from_ticks(source)).ticks_90k);
        if self.latest.is_none_or(|(latest, _)| dts >= latest) {
            self.latest = Some((dts, now));
        }
        Placed { dts: MediaTime::from_ticks(dts), pts: MediaTime::from_ticks(dts.saturating_add(shown)), fault }
    }

    /// A track's times stepped. Where the other track has stepped since, this one steps as far, so that sound and picture keep their distance; else it goes on
    /// at `alone`, and the other follows when it comes to its own step.
    fn step(&mut self, track: TrackId, source: i64, alone: i64, now: i64) -> i64 {
        let [pictures, sound] = &mut self.lanes;
        let lane = if track == TrackId::VIDEO { pictures } else { sound };
        let beside = source.saturating_add(self.base).saturating_add(lane.skew);
        if lane.steps_seen != self.steps && lane.may_go_on_at(beside, alone) {
            lane.steps_seen = self.steps;
            return lane.move_to(source, beside, now);
        }
        self.base = alone.saturating_sub(source).saturating_sub(lane.skew);
        self.steps = self.steps.wrapping_add(1);
        lane.steps_seen = self.steps;
        lane.move_to(source, alone, now)
    }
}

fn ticks(at: Instant) -> i64 {
    MediaTime::from_micros(i64::try_from(at.as_micros()).unwrap_or(i64::MAX)).ticks_90k
}

#[cfg(test)]
mod tests;
