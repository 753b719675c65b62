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
    pub(crate) fps: f64,
    pub(crate) kbps: f64,
}

impl Rate {
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
