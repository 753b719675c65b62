//! Whether an encoder still does its work: what it makes is measured, never trusted. Knows no clock; one encoder, from its opening on.

use sightline_signal::Settings;
use std::time::Duration;

/// Without a frame for so long, though pictures come, an encoder hangs. A rate control that leaves out pictures goes on within a second.
const SILENCE_MAX: Duration = Duration::from_secs(3);
/// Output is measured over this long: a key frame and what follows it.
const WINDOW: Duration = Duration::from_secs(2);
/// So many times its rate is no overshoot of a busy scene: the rate control is broken.
const OVERSHOOT_MAX: f64 = 8.0;

/// What is wrong.
#[derive(Clone, Copy, PartialEq, Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// Pictures go in, and nothing comes out.
    #[error("no frame for {} s", SILENCE_MAX.as_secs())]
    Silent,
    /// Far too much comes out.
    #[error("{times:.0} times its bit rate")]
    Overshoot {
        /// Made, beside what was asked for.
        times: f64,
    },
}

/// The watch over one encoder.
#[derive(Debug)]
pub(crate) struct Watchdog {
    last_frame_at: Duration,
    window_from: Duration,
    window_bytes: usize,
    /// The highest rate that was wanted in the window: one that has just been lowered takes a moment.
    window_bps: u32,
}

impl Watchdog {
    /// `at`: since the run began, as in all calls.
    pub(crate) const fn new(at: Duration) -> Self {
        Self { last_frame_at: at, window_from: at, window_bytes: 0, window_bps: 0 }
    }

    /// Starts the watch again after a while without pictures.
    pub(crate) const fn rest(&mut self, at: Duration) {
        *self = Self::new(at);
    }

    /// A picture went in and `bytes` came out; `None` where it was left out.
    ///
    /// # Errors
    /// The encoder is to be opened again.
    pub(crate) fn see(&mut self, at: Duration, bytes: Option<usize>, wanted: Settings) -> Result<(), Fault> {
        match bytes {
            Some(bytes) => {
                self.last_frame_at = at;
                self.window_bytes += bytes;
            }
            None if at.saturating_sub(self.last_frame_at) >= SILENCE_MAX => return Err(Fault::Silent),
            None => {}
        }
        self.window_bps = self.window_bps.max(wanted.bitrate_bps);
        let span = at.saturating_sub(self.window_from);
        if span < WINDOW {
            return Ok(());
        }
        let times = self.window_bytes as f64 * 8.0 / span.as_secs_f64() / f64::from(self.window_bps.max(1));
        (self.window_from, self.window_bytes, self.window_bps) = (at, 0, 0);
        if times >= OVERSHOOT_MAX { Err(Fault::Overshoot { times }) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: Settings = Settings { width: 640, height: 480, fps: 25, bitrate_bps: 800_000 };

    /// Frames of some size, 25 a second; the first fault and when it was seen.
    fn run(bytes: impl Fn(u64) -> Option<usize>) -> Option<(u64, Fault)> {
        let mut watchdog = Watchdog::new(Duration::ZERO);
        (0..1000_u64).find_map(|frame| {
            let at = Duration::from_millis(frame * 40);
            watchdog.see(at, bytes(frame), WANTED).err().map(|fault| (frame * 40, fault))
        })
    }

    #[test]
    fn a_normal_encoder_with_large_key_frames_and_gaps_is_left_alone() {
        assert_eq!(run(|frame| Some(if frame % 50 == 0 { 60_000 } else { 3_000 })), None);
        assert_eq!(run(|frame| (frame % 25 == 0).then_some(80_000)), None, "one frame a second is a frame a second");
    }

    #[test]
    fn silence_is_seen_after_three_seconds() {
        assert_eq!(run(|frame| (frame < 100).then_some(4_000)), Some((3960 + 3000, Fault::Silent)));
    }

    #[test]
    fn eight_times_the_rate_is_seen_within_two_seconds() {
        let (at, fault) = run(|frame| Some(if frame < 100 { 4_000 } else { 40_000 })).unwrap();
        assert!(at <= 8_100 && matches!(fault, Fault::Overshoot { times } if times >= 8.0), "{at} {fault:?}");
    }
}
