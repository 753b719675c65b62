//! When the pictures of a pipe are due that say no times: as they come, or at their rate where they come faster than that.

use std::{
    collections::VecDeque,
    time::{Duration, Instant as StdInstant},
};

/// Pictures a second where the stream does not tell.
pub(super) const FPS_DEFAULT: f64 = 25.0;
/// Arrivals that a rate is measured over.
const ARRIVALS: usize = 16;
/// A live source whose pictures wait for longer is faster than its parameter sets say.
const LATE_MAX: Duration = Duration::from_millis(300);
/// More than this times the rate that the stream tells is a file.
const LIVE_RATIO: f64 = 2.0;
/// The distance of pictures that are late, as a share of the usual.
const CATCHING_UP: f64 = 0.8;
/// After a pause of this many pictures it counts as live again until it is shown otherwise.
const PAUSE_PICTURES: u32 = 10;

/// When the pictures of a pipe are due.
pub(super) struct PipePace {
    due: Option<StdInstant>,
    /// They are due as they come.
    is_live: bool,
    /// The writer had to wait for us: it does not write in real time.
    is_file: bool,
    arrivals: VecDeque<StdInstant>,
}

impl PipePace {
    pub(super) const fn new() -> Self {
        Self { due: None, is_live: false, is_file: false, arrivals: VecDeque::new() }
    }

    pub(super) fn due(&mut self, arrived: StdInstant, fps: f64, was_held: bool) -> StdInstant {
        let interval = Duration::from_secs_f64(1.0 / fps.clamp(0.1, 1_000.0));
        if was_held {
            (self.is_file, self.is_live) = (true, false);
        }
        if self.arrivals.back().is_some_and(|last| arrived.saturating_duration_since(*last) > interval * PAUSE_PICTURES) {
            self.arrivals.clear();
            self.is_file = false;
        }
        self.arrivals.push_back(arrived);
        if self.arrivals.len() > ARRIVALS {
            self.arrivals.pop_front();
        }
        let Some(last) = self.due else {
            self.due = Some(arrived);
            return arrived;
        };
        // RTMP counts milliseconds.
        let after_last = last + Duration::from_millis(1);
        let is_real_time = !self.is_file && self.is_slower_than(fps * LIVE_RATIO);
        // What a pause has made late catches up.
        let step = if is_real_time { interval.mul_f64(CATCHING_UP) } else { interval };
        let paced = (last + step).max(arrived);
        self.is_live |= is_real_time && paced.saturating_duration_since(arrived) > LATE_MAX;
        let due = if self.is_live { arrived.max(after_last) } else { paced };
        self.due = Some(due);
        due
    }

    fn is_slower_than(&self, fps: f64) -> bool {
        let (Some(first), Some(last)) = (self.arrivals.front(), self.arrivals.back()) else { return false };
        self.arrivals.len() == ARRIVALS && (ARRIVALS - 1) as f64 <= fps * last.saturating_duration_since(*first).as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long pictures take to go out that come so many a second, and what the last of them waited.
    fn run(fps: f64, told: f64, pictures: u32, held: bool) -> (f64, f64) {
        let (start, mut pace) = (StdInstant::now(), PipePace::new());
        let (mut first, mut last, mut wait) = (None, start, 0.0);
        for index in 0..pictures {
            let arrived = start + Duration::from_secs_f64(f64::from(index) / fps);
            last = pace.due(arrived, told, held && index == 32);
            wait = last.saturating_duration_since(arrived).as_secs_f64();
            first.get_or_insert(last);
        }
        (last.duration_since(first.unwrap()).as_secs_f64(), wait)
    }

    #[test]
    fn a_file_plays_at_its_own_rate_and_a_camera_at_its() {
        let (lasts, _) = run(5_000.0, 25.0, 200, true);
        assert!((lasts - 7.96).abs() < 0.01, "{lasts}");
        for (fps, told) in [(25.0, 25.0), (10.0, 25.0), (30.0, 25.0), (48.0, 25.0)] {
            let (lasts, wait) = run(fps, told, 500, false);
            assert!((lasts - 499.0 / fps).abs() < 0.5 && wait < 0.35, "{fps} of {told}: {lasts} s, {wait} s late");
        }
    }
}
