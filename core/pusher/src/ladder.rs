//! When the bit rate alone is not enough: fewer pictures, then smaller ones (specification §1.6).
//!
//! At a small share of its rate a preset's picture falls apart into blocks. The same bits for half the pictures, or a quarter of the
//! pixels, show more.

use core::time::Duration;
use sightline_media::Instant;
use sightline_signal::Settings;

/// A rung.
#[derive(Clone, Copy, Debug)]
struct Rung {
    /// Taken below this share of the target's bit rate.
    below: f32,
    /// Of the frame rate.
    fps: f32,
    /// Of each side.
    size: f32,
}

const fn rung(below: f32, fps: f32, size: f32) -> Rung {
    Rung { below, fps, size }
}

/// From the top. Bits for a pixel stay above a third of the preset's until the last rung.
const RUNGS: [Rung; 5] =
    [rung(f32::INFINITY, 1.0, 1.0), rung(0.42, 0.67, 1.0), rung(0.26, 0.5, 0.75), rung(0.15, 0.5, 0.5), rung(0.08, 0.34, 0.5)];
/// The rate must be low for so long: a single cut is no reason for another size.
const DOWN_AFTER: Duration = Duration::from_secs(3);
/// It must be high again for so long, because each size begins with a key frame.
const UP_AFTER: Duration = Duration::from_secs(8);
/// And so much above the rung's own share.
const UP_MARGIN: f32 = 1.3;
/// Slower than this is no moving picture.
const FPS_MIN: u32 = 5;
/// Narrower than this shows nothing.
const WIDTH_MIN: u32 = 160;

/// The encoder's present step.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ladder {
    rung: usize,
    /// Since when the rate asks for another rung.
    since: Option<Instant>,
}

impl Ladder {
    /// Begins on the rung of a link that was tried before the stream. `share`: of the target's bit rate.
    pub(crate) fn begin_at(&mut self, share: f32) {
        *self = Self { rung: Self::default().wanted(share), since: None };
    }

    /// True when the rung has changed. `share`: of the target's bit rate.
    pub(crate) fn tick(&mut self, now: Instant, share: f32) -> bool {
        let wanted = self.wanted(share);
        if wanted == self.rung {
            self.since = None;
            return false;
        }
        let since = *self.since.get_or_insert(now);
        if now.since(since) < if wanted > self.rung { DOWN_AFTER } else { UP_AFTER } {
            return false;
        }
        self.since = None;
        // One rung at a time: what the next one brings is seen first.
        self.rung = if wanted > self.rung { self.rung + 1 } else { self.rung - 1 };
        true
    }

    fn wanted(&self, share: f32) -> usize {
        let lowest = RUNGS.iter().rposition(|rung| share < rung.below).unwrap_or(0);
        let margin = RUNGS.get(self.rung).map_or(f32::INFINITY, |rung| rung.below * UP_MARGIN);
        if lowest < self.rung && share < margin { self.rung } else { lowest }
    }

    /// What is asked of the encoder. Sides stay even, and as large as the least; never above the target.
    pub(crate) fn apply(self, target: Settings) -> Settings {
        let Some(rung) = RUNGS.get(self.rung).filter(|_| self.rung > 0) else { return target };
        let scaled = |value: u32, share: f32| (value as f32 * share + 0.5) as u32;
        let narrowest = (WIDTH_MIN as f32 / target.width.max(1) as f32).min(1.0);
        let size = rung.size.max(narrowest);
        let side = |side: u32| (scaled(side, size / 2.0) * 2).clamp(2, side.max(2));
        Settings {
            width: side(target.width),
            height: side(target.height),
            fps: scaled(target.fps, rung.fps).max(FPS_MIN.min(target.fps)),
            ..target
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HIGH: Settings = Settings { width: 1920, height: 1080, fps: 25, bitrate_bps: 2_000_000 };

    fn run(ladder: &mut Ladder, from_secs: u64, secs: u64, share: f32) -> std::vec::Vec<usize> {
        let seen = (from_secs * 10..(from_secs + secs) * 10).map(|tenth| {
            ladder.tick(Instant::from_micros(tenth * 100_000), share);
            ladder.rung
        });
        seen.collect()
    }

    #[test]
    fn it_steps_down_in_seconds_and_up_in_more_of_them() {
        let mut ladder = Ladder::default();
        assert!(run(&mut ladder, 0, 2, 0.2).iter().all(|rung| *rung == 0), "a cut alone changes nothing");
        run(&mut ladder, 2, 10, 0.2);
        assert_eq!(ladder.rung, 2);
        let low = ladder.apply(HIGH);
        assert_eq!((low.width, low.height, low.fps), (1440, 810, 13));
        assert!(run(&mut ladder, 12, 5, 1.0).iter().all(|rung| *rung == 2));
        run(&mut ladder, 17, 20, 1.0);
        assert_eq!(ladder.apply(HIGH), HIGH);
    }

    #[test]
    fn a_rate_at_a_rung_s_edge_does_not_make_it_swing() {
        let mut ladder = Ladder::default();
        run(&mut ladder, 0, 10, 0.41);
        let shares = [0.40, 0.44, 0.5, 0.43];
        let seen = (0..60).flat_map(|second| run(&mut ladder, 10 + second, 1, shares[second as usize % 4])).collect::<std::vec::Vec<_>>();
        assert!(seen.iter().all(|rung| *rung == 1), "{seen:?}");
    }

    #[test]
    fn what_is_small_already_is_not_made_smaller() {
        let small = Settings { width: 160, height: 120, fps: 5, bitrate_bps: 100_000 };
        assert_eq!(Ladder { rung: 4, since: None }.apply(small), small);
        let odd = Ladder { rung: 2, since: None }.apply(Settings { width: 640, height: 358, ..HIGH });
        assert_eq!((odd.width % 2, odd.height % 2), (0, 0));
    }
}
