//! Where segments and parts end: at key frames as long as the promised lengths allow it.

use core::time::Duration;
use sightline_media::MediaTime;

const SECOND: i64 = MediaTime::TICKS_PER_SECOND;
/// A segment's length is rounded to the nearest second before it is held against the target (RFC 8216 §4.3.3.1).
const ROUNDING_TICKS: i64 = SECOND * 49 / 100;
/// A segment waits for its key frame up to this many times the wanted length.
const TARGET_MULTIPLE_MAX: i64 = 2;
/// The target of parts, in tenths of their usual length: room for cameras that are not on time to the millisecond. A part must not be
/// shorter than 85 % of the target.
const PART_TARGET_TENTHS: i64 = 11;
/// What a part has of its target at least, in percent (RFC 8216bis §4.4.4.9), as far as whole pictures allow.
const PART_PERCENT_MIN: i64 = 85;
/// Pictures that are further apart are a hole, not a rate.
const INTERVAL_TICKS_MAX: i64 = 5 * SECOND;
/// A camera that is not on time to the millisecond is one for about this many frames more.
const FORGETS_IN: i64 = 16;
/// Of a stream whose frames have no times to go by yet: 25 a second.
const INTERVAL_DEFAULT_TICKS: i64 = SECOND / 25;

/// A length in ticks.
pub(crate) fn ticks(duration: Duration) -> i64 {
    MediaTime::from_micros(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)).ticks_90k
}

/// What is promised in every playlist from the first on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Targets {
    pub(crate) segment_secs: i64,
    pub(crate) part_ticks: i64,
}

/// Watches the frames that time the stream: its pictures, or its sound where there are none.
#[derive(Debug)]
pub(crate) struct Pace {
    segment_ticks_min: i64,
    part_ticks: i64,
    targets: Option<Targets>,
    last: Option<MediaTime>,
    last_key: Option<MediaTime>,
    /// Between the last two key frames.
    group_ticks: i64,
    /// Between the last two frames.
    last_ticks: i64,
    /// The longest between two frames of late; one that is not followed by another is a hole.
    interval_ticks: i64,
}

impl Pace {
    pub(crate) fn new(segment_duration_min: Duration, part_duration: Duration) -> Self {
        Self {
            segment_ticks_min: ticks(segment_duration_min).max(SECOND),
            part_ticks: ticks(part_duration).max(1),
            targets: None,
            last: None,
            last_key: None,
            group_ticks: 0,
            last_ticks: INTERVAL_DEFAULT_TICKS,
            interval_ticks: INTERVAL_DEFAULT_TICKS,
        }
    }

    pub(crate) const fn targets(&self) -> Option<Targets> {
        self.targets
    }

    /// Times no longer follow those before.
    pub(crate) const fn forget(&mut self) {
        (self.last, self.last_key) = (None, None);
    }

    /// The next frame is there.
    pub(crate) fn see(&mut self, dts: MediaTime, is_key: bool) {
        if let Some(last) = self.last.replace(dts) {
            let interval = (dts - last).ticks_90k;
            if (1..=INTERVAL_TICKS_MAX).contains(&interval) {
                let interval = interval.min(core::mem::replace(&mut self.last_ticks, interval));
                self.interval_ticks = interval.max(self.interval_ticks - (self.interval_ticks - interval) / FORGETS_IN);
            }
        }
        if is_key && let Some(key) = self.last_key.replace(dts) {
            self.group_ticks = (dts - key).ticks_90k.max(0);
        }
    }

    /// Fixes what is promised, by a first segment of so many ticks and frames.
    pub(crate) fn promise(&mut self, segment_ticks: i64, frames: i64) -> Targets {
        if let Some(targets) = self.targets {
            return targets;
        }
        let group = segment_ticks.max(1);
        let groups = self.segment_ticks_min.div_ceil_ticks(group);
        let secs_min = self.segment_ticks_min.div_ceil_ticks(SECOND);
        let segment_secs = group
            .saturating_mul(groups)
            .saturating_sub(ROUNDING_TICKS)
            .div_ceil_ticks(SECOND)
            .clamp(secs_min, secs_min * TARGET_MULTIPLE_MAX);
        let interval = if frames > 0 { (group / frames).max(1) } else { self.interval_ticks };
        let frames_of_part = (self.part_ticks.saturating_add(interval / 2) / interval).max(1);
        let part_ticks = frames_of_part.saturating_mul(interval).saturating_mul(PART_TARGET_TENTHS) / 10;
        let targets = Targets { segment_secs, part_ticks };
        self.targets = Some(targets);
        targets
    }

    /// How far apart frames are.
    pub(crate) const fn interval_ticks(&self) -> i64 {
        self.interval_ticks
    }

    /// Whether a segment of so many ticks is longer than promised.
    pub(crate) fn is_too_long_a_segment(&self, ticks: i64) -> bool {
        ticks > self.segment_ticks_max()
    }

    /// How long a segment may be.
    pub(crate) fn segment_ticks_max(&self) -> i64 {
        let secs = self.targets.map_or(self.segment_ticks_min / SECOND * TARGET_MULTIPLE_MAX, |targets| targets.segment_secs);
        secs * SECOND + ROUNDING_TICKS
    }

    /// Whether a segment that has so many ticks ends before a frame that decoding can begin at.
    pub(crate) fn ends_at_key(&self, ticks: i64) -> bool {
        ticks >= self.segment_ticks_min || ticks.saturating_add(self.group_ticks) > self.segment_ticks_max()
    }

    /// Whether it ends before any frame: with one more it would be longer than promised.
    pub(crate) fn ends_anyway(&self, ticks: i64) -> bool {
        ticks.saturating_add(self.interval_ticks) > self.segment_ticks_max()
    }

    /// Whether a part of so many ticks is longer than promised.
    pub(crate) fn is_too_long(&self, ticks: i64) -> bool {
        self.targets.is_some_and(|targets| ticks > targets.part_ticks)
    }

    /// Whether a part that has so many ticks ends before the next frame.
    pub(crate) fn ends_part(&self, ticks: i64) -> bool {
        match self.targets {
            Some(targets) => {
                ticks.saturating_mul(100) >= targets.part_ticks.saturating_mul(PART_PERCENT_MIN)
                    && ticks.saturating_add(self.interval_ticks) > targets.part_ticks
            }
            None => ticks >= self.part_ticks,
        }
    }
}

/// Whole numbers of a unit.
trait DivCeil {
    fn div_ceil_ticks(self, unit: i64) -> i64;
}

impl DivCeil for i64 {
    fn div_ceil_ticks(self, unit: i64) -> i64 {
        (self.saturating_add(unit - 1)).div_euclid(unit).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn promised(group_ms: i64, frames: i64) -> (i64, i64) {
        let mut pace = Pace::new(Duration::from_secs(3), Duration::from_millis(200));
        let targets = pace.promise(group_ms * 90, frames);
        (targets.segment_secs, targets.part_ticks / 90)
    }

    #[test]
    fn targets_are_made_of_whole_groups_of_pictures_and_whole_pictures() {
        assert_eq!(promised(2_000, 50), (4, 220), "two groups, five pictures");
        assert_eq!(promised(2_040, 51), (4, 220), "a camera that is not on time");
        assert_eq!(promised(1_000, 30), (3, 220));
        assert_eq!(promised(5_000, 50), (5, 220), "ten pictures a second: two");
        assert_eq!(promised(12_000, 12), (6, 1_100), "no segment is as long as twelve seconds; one picture a second is a part");
        assert_eq!(promised(1, 1).0, 3);
    }

    #[test]
    fn a_segment_ends_at_a_key_frame_rather_than_at_its_longest() {
        let mut pace = Pace::new(Duration::from_secs(3), Duration::from_millis(200));
        pace.promise(2_000 * 90, 50);
        let at = MediaTime::from_millis;
        for (millis, is_key) in [(0, true), (2_500, true)] {
            pace.see(at(millis), is_key);
        }
        // Groups are longer now: another one would not fit.
        assert!(pace.ends_at_key(2_500 * 90));
        assert!(!pace.ends_anyway(4_400 * 90) && pace.ends_anyway(4_480 * 90));
    }
}
