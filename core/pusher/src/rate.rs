//! The first rate control: on what the far end acknowledged and on the queue's age, never on what the kernel accepted.
//!
//! It cuts fast and once per lag episode, probes up by a share a second, and stays between the floor and the target. Its
//! figures are those of a sketch (specification §1.6, `docs/design/0001-rate-control.md`); their tuning on recorded uplinks
//! is a later step.

use core::time::Duration;
use sightline_media::Instant;

/// Between two decisions.
const TICK: Duration = Duration::from_millis(250);
/// The acknowledged rate is measured over this long.
const WINDOW: Duration = Duration::from_millis(1500);
/// Samples of the acknowledged total within the window.
const SAMPLES: usize = 8;
/// A queue older than this share of the target latency means that the link is slower than the encoder.
const LAG_SHARE: f32 = 0.15;
/// After a cut the queue gets this long to drain before the next one.
const CUT_PAUSE: Duration = Duration::from_millis(1500);
/// Without lag for this long the rate is raised.
const CLEAR: Duration = Duration::from_millis(1500);
/// Raised by this share of the present rate a second.
const PROBE_PER_SECOND: f32 = 0.08;
/// Cut to this share of what the link carried, so that the queue drains.
const CUT_TO_DELIVERED: f32 = 0.85;
/// Never cut below this share of the present rate at once: one stall is not the link's rate.
const CUT_AT_MOST: f32 = 0.5;

/// Decides the encoder's bit rate.
#[derive(Clone, Debug)]
pub struct RateControl {
    target_bps: u32,
    floor_bps: u32,
    present_bps: f32,
    lag_from: Duration,
    acknowledged: heapless::Deque<(Instant, u64), SAMPLES>,
    next_tick: Option<Instant>,
    cut_at: Option<Instant>,
    clear_since: Option<Instant>,
}

impl RateControl {
    /// Starts at the target. The floor is never above it.
    #[must_use]
    pub fn new(target_bps: u32, floor_bps: u32, target_latency: Duration) -> Self {
        Self {
            target_bps,
            floor_bps: floor_bps.min(target_bps),
            present_bps: target_bps as f32,
            lag_from: target_latency.mul_f32(LAG_SHARE),
            acknowledged: heapless::Deque::new(),
            next_tick: None,
            cut_at: None,
            clear_since: None,
        }
    }

    /// The present bit rate.
    #[must_use]
    pub fn bitrate_bps(&self) -> u32 {
        self.present_bps as u32
    }

    /// Another target; the present rate is lowered to it, or probes up to it.
    pub fn set_target(&mut self, target_bps: u32) {
        self.target_bps = target_bps;
        self.floor_bps = self.floor_bps.min(target_bps);
        self.present_bps = self.present_bps.min(target_bps as f32);
    }

    /// A new link: nothing is acknowledged yet; the rate that the last one found is kept.
    pub fn restart(&mut self, now: Instant) {
        self.acknowledged.clear();
        self.next_tick = Some(now + TICK);
        self.cut_at = None;
        self.clear_since = None;
    }

    /// When to call [`Self::tick`].
    #[must_use]
    pub const fn next_tick(&self) -> Option<Instant> {
        self.next_tick
    }

    /// What was acknowledged since the link came up, in bytes.
    pub fn acknowledged(&mut self, now: Instant, bytes: u64) {
        // Samples closer than a window's share replace the newest, so that the ring always spans the window.
        let spacing = WINDOW / (SAMPLES as u32 - 1);
        if self.acknowledged.len() > 1 && self.acknowledged.iter().rev().nth(1).is_some_and(|(at, _)| now.since(*at) < spacing) {
            self.acknowledged.pop_back();
        }
        if self.acknowledged.is_full() {
            self.acknowledged.pop_front();
        }
        let _ = self.acknowledged.push_back((now, bytes));
    }

    /// Bits a second that the far end acknowledged over the window; `None` before it is half full.
    #[must_use]
    pub fn delivered_bps(&self, now: Instant) -> Option<f32> {
        let (_, last_bytes) = self.acknowledged.back()?;
        let (since, first_bytes) = self.acknowledged.iter().find(|(at, _)| now.since(*at) <= WINDOW)?;
        let span = now.since(*since);
        (span >= WINDOW / 2).then(|| last_bytes.saturating_sub(*first_bytes) as f32 * 8.0 / span.as_secs_f32())
    }

    /// Decides, if it is time; the new rate where it changed by more than 2 %.
    pub fn tick(&mut self, now: Instant, queue_age: Duration) -> Option<u32> {
        if self.next_tick.is_none_or(|at| now < at) {
            return None;
        }
        self.next_tick = Some(now + TICK);
        let before = self.present_bps;
        if queue_age >= self.lag_from {
            self.clear_since = None;
            if self.cut_at.is_none_or(|at| now.since(at) >= CUT_PAUSE) {
                self.cut_at = Some(now);
                let delivered = self.delivered_bps(now).unwrap_or(before * CUT_AT_MOST);
                self.present_bps = (delivered * CUT_TO_DELIVERED).clamp(before * CUT_AT_MOST, before * 0.95);
            }
        } else if queue_age < self.lag_from / 3 {
            let since = *self.clear_since.get_or_insert(now);
            if now.since(since) >= CLEAR {
                self.present_bps += before * PROBE_PER_SECOND * TICK.as_secs_f32();
            }
        } else {
            self.clear_since = None;
        }
        self.present_bps = self.present_bps.clamp(self.floor_bps as f32, self.target_bps as f32);
        let share = (self.present_bps - before).abs() / before.max(1.0);
        (share > 0.02 || (before as u32 != self.target_bps && self.bitrate_bps() == self.target_bps) || self.probed(before))
            .then(|| self.bitrate_bps())
    }

    /// Small steps up add up: they are told as they happen.
    fn probed(&self, before: f32) -> bool {
        self.present_bps > before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A link of `capacity` kbit/s under an encoder that does as it is told; returns the rate and the worst queue age.
    fn run(control: &mut RateControl, start_ms: u64, seconds: u64, capacity_kbps: f32) -> (u32, f32) {
        let (mut queue_bits, mut acknowledged, mut worst) = (0.0_f32, 0.0_f32, 0.0_f32);
        for step in 0..seconds * 25 {
            let now = Instant::from_micros((start_ms + step * 40) * 1000);
            queue_bits += control.bitrate_bps() as f32 * 0.04;
            let carried = queue_bits.min(capacity_kbps * 1000.0 * 0.04);
            queue_bits -= carried;
            acknowledged += carried / 8.0;
            control.acknowledged(now, acknowledged as u64);
            let age = queue_bits / (capacity_kbps * 1000.0);
            worst = worst.max(age);
            control.tick(now, Duration::from_secs_f32(age));
        }
        (control.bitrate_bps(), worst)
    }

    #[test]
    fn a_link_at_half_the_rate_is_found_and_left_again() {
        let mut control = RateControl::new(2_000_000, 150_000, Duration::from_secs(3));
        control.restart(Instant::ZERO);
        let (rate, worst) = run(&mut control, 0, 30, 1000.0);
        assert!((600_000..1_100_000).contains(&rate), "{rate}");
        assert!(worst < 3.0, "{worst} s");
        control.restart(Instant::from_micros(30_000_000));
        let (rate, _) = run(&mut control, 30_000, 30, 10_000.0);
        assert_eq!(rate, 2_000_000);
    }

    #[test]
    fn it_never_leaves_its_bounds() {
        let mut control = RateControl::new(1_000_000, 150_000, Duration::from_secs(3));
        control.restart(Instant::ZERO);
        let (rate, _) = run(&mut control, 0, 60, 20.0);
        assert_eq!(rate, 150_000);
    }
}
