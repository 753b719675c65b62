//! How much a publisher sends.

use sightline_media::Instant;
use std::time::Duration;

/// Rates are counted over windows of this length: a report's interval.
const RATE_WINDOW: Duration = Duration::from_secs(sightline_signal::report::REPORT_INTERVAL_SEC);

/// Pictures and bytes of the present window, and the rates of the last one.
#[derive(Debug, Default)]
pub(crate) struct Rate {
    began: Instant,
    frames: u32,
    bytes: u64,
    fps: f64,
    kbps: f64,
}

impl Rate {
    /// Pictures a second and kbit/s. They fall to zero when nothing comes: a frozen source is not shown at its last rate.
    pub(crate) fn at(&self, now: Instant) -> (f64, f64) {
        let passed = now.since(self.began);
        if passed >= 2 * RATE_WINDOW {
            (0.0, 0.0)
        } else if passed >= RATE_WINDOW {
            // The window is over, and no frame has closed it.
            let seconds = passed.as_secs_f64();
            (f64::from(self.frames) / seconds, self.bytes as f64 * 8.0 / 1000.0 / seconds)
        } else {
            (self.fps, self.kbps)
        }
    }

    pub(crate) fn count(&mut self, is_picture: bool, bytes: usize, now: Instant) {
        let passed = now.since(self.began);
        if passed >= RATE_WINDOW {
            let seconds = passed.as_secs_f64();
            // After a pause the window says nothing.
            let is_recent = passed < 2 * RATE_WINDOW;
            self.fps = if is_recent { f64::from(self.frames) / seconds } else { 0.0 };
            self.kbps = if is_recent { self.bytes as f64 * 8.0 / 1000.0 / seconds } else { 0.0 };
            (self.began, self.frames, self.bytes) = (now, 0, 0);
        }
        self.frames += u32::from(is_picture);
        self.bytes += bytes as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_fall_to_zero_when_nothing_comes() {
        let at = |millis: u64| Instant::from_micros(millis * 1000);
        let mut rate = Rate::default();
        for number in 0..=100 {
            rate.count(true, 1000, at(number * 40));
        }
        let (fps, kbps) = rate.at(at(4000));
        assert!((fps - 25.0).abs() < 0.5 && (kbps - 200.0).abs() < 4.0, "{fps} {kbps}");
        assert!(rate.at(at(6000)).0 < 1.0, "one picture in two seconds");
        assert_eq!(rate.at(at(8000)), (0.0, 0.0));
        rate.count(true, 1000, at(60_000));
        assert_eq!(rate.at(at(60_100)), (0.0, 0.0), "after a pause nothing is known yet");
    }
}
