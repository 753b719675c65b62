//! Logs when the machine can't keep up with the frame rate that is wanted.

use std::time::{Duration, Instant};

/// Pictures are counted over this long: a machine that stumbles once is none that can't keep up.
const WINDOW: Duration = Duration::from_secs(5);
/// It is logged at most this often.
const SAID_INTERVAL: Duration = Duration::from_secs(30);
/// The share of the wanted pictures below which it is logged: a camera's own rate is not exact either.
const SHARE_MIN: f64 = 0.9;

/// Counts pictures, and the times that one came late because the one before took too long.
#[derive(Debug)]
pub(super) struct Shortfall {
    since: Instant,
    pictures: u32,
    slips: u32,
    said_at: Option<Instant>,
}

impl Shortfall {
    pub(super) const fn new(now: Instant) -> Self {
        Self { since: now, pictures: 0, slips: 0, said_at: None }
    }

    /// Nothing was to be encoded for a while.
    pub(super) const fn rest(&mut self, now: Instant) {
        (self.since, self.pictures, self.slips) = (now, 0, 0);
    }

    /// The machine was late.
    pub(super) const fn slip(&mut self) {
        self.slips += 1;
    }

    /// A picture was encoded, or left out by the rate control.
    pub(super) fn count(&mut self, now: Instant, fps_wanted: u32) {
        if let Some(fps) = self.measure(now, fps_wanted) {
            tracing::warn!(
                fps = (fps * 10.0).round() / 10.0,
                fps_wanted,
                "this machine can't encode as many pictures as are wanted: take a lower quality, or end what else runs on it"
            );
        }
    }

    /// The frame rate, when it is to be logged.
    fn measure(&mut self, now: Instant, fps_wanted: u32) -> Option<f64> {
        self.pictures += 1;
        let span = now.saturating_duration_since(self.since);
        if span < WINDOW {
            return None;
        }
        let fps = f64::from(self.pictures) / span.as_secs_f64();
        let is_late = self.slips > 0 && fps < f64::from(fps_wanted) * SHARE_MIN;
        self.rest(now);
        if !is_late || self.said_at.is_some_and(|said| now.saturating_duration_since(said) < SAID_INTERVAL) {
            return None;
        }
        self.said_at = Some(now);
        Some(fps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pictures a second that are made of 20, each with a slip or without: what is said within a minute, by its second.
    fn run(fps: u64, slips: bool) -> Vec<(u64, u64)> {
        let start = Instant::now();
        let mut shortfall = Shortfall::new(start);
        let said = (1..=60 * fps).filter_map(|index| {
            if slips {
                shortfall.slip();
            }
            let at = Duration::from_micros(index * 1_000_000 / fps);
            shortfall.measure(start + at, 20).map(|fps| (at.as_secs(), fps.round() as u64))
        });
        said.collect()
    }

    #[test]
    fn a_machine_that_is_too_slow_is_said_so_each_half_minute() {
        assert_eq!(run(8, true), [(5, 8), (35, 8)]);
    }

    #[test]
    fn neither_a_slow_camera_nor_a_stumble_is_a_slow_machine() {
        assert_eq!(run(8, false), []);
        assert_eq!(run(20, true), []);
    }
}
