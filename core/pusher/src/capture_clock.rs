//! When pictures were captured, by the cloud's clock: a camera's own may be wrong by years, and ages are told by those who watch.
//!
//! The cloud's answer to a request says what its clock showed. That was some time between the question and the answer, so half of what lies between them is
//! the most that the estimate can be wrong by; it grows with time, as no two clocks run alike. Without a cloud the shell's clock is taken as it is.

use core::time::Duration;
use sightline_media::{CaptureMark, Instant, WallTime, capture_mark::NUMBERS};

/// How far two clocks drift apart, in millionths: twice what crystals of cameras are specified for.
const DRIFT_PPM: u64 = 50;

/// The estimate, and the count of pictures.
#[derive(Debug, Default)]
pub(crate) struct CaptureClock {
    known: Option<Known>,
    /// When the cloud was asked.
    asked_at: Instant,
    sent: u64,
    is_paused: bool,
}

/// What a clock showed.
#[derive(Clone, Copy, Debug)]
struct Known {
    at: Instant,
    wall: WallTime,
    /// `None`: the shell's own, which no one has compared.
    error_ms: Option<u32>,
}

impl Known {
    fn error_ms(&self, now: Instant) -> Option<u32> {
        let drift_ms = now.since(self.at).as_micros() as u64 / 1_000 * DRIFT_PPM / 1_000_000;
        Some(self.error_ms?.saturating_add(u32::try_from(drift_ms).unwrap_or(u32::MAX)))
    }
}

impl CaptureClock {
    /// The cloud is asked.
    pub(crate) const fn ask(&mut self, now: Instant) {
        self.asked_at = now;
    }

    /// What the cloud's clock showed, in milliseconds since 1970. It may have answered the first of several questions of one id.
    pub(crate) fn hear(&mut self, now: Instant, unix_ms: i64) {
        let half = now.since(self.asked_at) / 2;
        let error_ms = u32::try_from(half.as_millis()).unwrap_or(u32::MAX).saturating_add(1);
        let is_worse = self.known.and_then(|known| known.error_ms(now)).is_some_and(|known_ms| known_ms < error_ms);
        if !is_worse {
            let wall = WallTime::from_unix_micros(unix_ms.saturating_mul(1_000));
            self.known = Some(Known { at: self.asked_at + half, wall, error_ms: Some(error_ms) });
        }
    }

    /// What the shell's clock shows. The cloud's word goes before it.
    pub(crate) fn see_own(&mut self, now: Instant, wall: WallTime) {
        if self.known.is_none_or(|known| known.error_ms.is_none()) {
            self.known = wall.is_set().then_some(Known { at: now, wall, error_ms: None });
        }
    }

    /// Whether what comes next is not of the present.
    pub(crate) const fn pause(&mut self, is_paused: bool) {
        self.is_paused = is_paused;
    }

    /// The next picture's mark; `None` where its time is not known. `dropped`: how many were left out so far, whose numbers are missing.
    pub(crate) fn mark(&mut self, captured_at: Instant, dropped: u64) -> Option<CaptureMark> {
        let number = (self.sent.wrapping_add(dropped) % u64::from(NUMBERS)) as u32;
        self.sent += 1;
        let known = self.known.filter(|_| !self.is_paused)?;
        let micros = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        let since = micros(captured_at.since(known.at)).saturating_sub(micros(known.at.since(captured_at)));
        Some(CaptureMark {
            captured: WallTime::from_unix_micros(known.wall.unix_micros.saturating_add(since)),
            clock_error_ms: known.error_ms(captured_at).map(|error| u16::try_from(error).unwrap_or(u16::MAX)),
            number,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON_MS: i64 = 1_795_000_000_000;

    fn at(ms: u64) -> Instant {
        Instant::from_micros(ms * 1_000)
    }

    fn told(clock: &mut CaptureClock, ms: u64) -> Option<(i64, Option<u16>)> {
        clock.mark(at(ms), 0).map(|mark| (mark.captured.unix_millis() - NOON_MS, mark.clock_error_ms))
    }

    #[test]
    fn the_cloud_s_clock_counts_from_the_middle_of_question_and_answer_whatever_the_camera_s_own_shows() {
        let mut clock = CaptureClock::default();
        assert_eq!(told(&mut clock, 0), None, "nobody knows the time");
        clock.see_own(at(0), WallTime::from_unix_micros(5));
        assert_eq!(told(&mut clock, 0), None, "a clock that was never set says nothing");
        clock.see_own(at(0), WallTime::from_unix_micros(NOON_MS * 1_000));
        assert_eq!(told(&mut clock, 40), Some((40, None)));
        clock.ask(at(1_000));
        clock.hear(at(1_080), NOON_MS + 90_000);
        assert_eq!(told(&mut clock, 1_040), Some((90_000, Some(41))));
        assert_eq!(told(&mut clock, 1_000), Some((89_960, Some(41))), "a picture of before");
        clock.see_own(at(2_000), WallTime::from_unix_micros(NOON_MS * 1_000));
        assert_eq!(told(&mut clock, 2_040), Some((91_000, Some(41))), "its own no longer counts");
    }

    #[test]
    fn a_worse_estimate_replaces_a_better_one_only_once_that_has_drifted() {
        let mut clock = CaptureClock::default();
        clock.ask(at(0));
        clock.hear(at(20), NOON_MS);
        clock.ask(at(10_000));
        clock.hear(at(12_000), NOON_MS + 5_000);
        assert_eq!(told(&mut clock, 12_010), Some((12_000, Some(11))));
        // 50 millionths of 6 hours are 1.08 s.
        let later = 6 * 3_600_000;
        clock.ask(at(later));
        clock.hear(at(later + 2_000), NOON_MS);
        assert_eq!(told(&mut clock, later + 1_000), Some((0, Some(1_001))));
    }

    #[test]
    fn what_was_left_out_is_missing_in_the_numbers() {
        let mut clock = CaptureClock::default();
        clock.see_own(at(0), WallTime::from_unix_micros(NOON_MS * 1_000));
        assert_eq!(clock.mark(at(0), 0).unwrap().number, 0);
        clock.pause(true);
        assert_eq!(clock.mark(at(1), 3), None);
        clock.pause(false);
        assert_eq!(clock.mark(at(2), 3).unwrap().number, 5);
    }
}
