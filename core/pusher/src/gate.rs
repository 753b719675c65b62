//! From motion that is seen now and then to one event with a beginning and an end (specification §1.2).

use core::time::Duration;
use sightline_media::Instant;

/// How long an event lasts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GateConfig {
    /// An event goes on for this long after the last motion. Default 15 s.
    pub hold: Duration,
    /// No event lasts longer, whatever moves. Default 10 min.
    pub length_max: Duration,
}

impl Default for GateConfig {
    fn default() -> Self {
        Self { hold: Duration::from_secs(15), length_max: Duration::from_secs(600) }
    }
}

/// Opens with motion, and closes when it has been still for the hold, or the longest event is over.
///
/// Motion while it is open makes the event longer; it is never closed for less than the hold after the longest event, so that what always
/// moves (a tree, a street) makes long events with pauses, and no flapping.
#[derive(Clone, Debug)]
pub struct MotionGate {
    config: GateConfig,
    state: GateState,
}

#[derive(Clone, Copy, Debug)]
enum GateState {
    Closed,
    Open {
        since: Instant,
        last_motion: Instant,
    },
    /// After the longest event.
    Resting {
        until: Instant,
    },
}

impl MotionGate {
    /// A closed one.
    #[must_use]
    pub const fn new(config: GateConfig) -> Self {
        Self { config, state: GateState::Closed }
    }

    /// True during an event.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self.state, GateState::Open { .. })
    }

    /// Something moves. `Some(true)`: an event begins.
    pub fn handle_motion(&mut self, now: Instant) -> Option<bool> {
        // What is over is over first: motion after the hold begins another event only once the end of this one was reported.
        if let Some(change) = self.handle_timeout(now) {
            return Some(change);
        }
        match &mut self.state {
            GateState::Closed => {
                self.state = GateState::Open { since: now, last_motion: now };
                Some(true)
            }
            GateState::Open { last_motion, .. } => {
                *last_motion = now;
                None
            }
            GateState::Resting { .. } => None,
        }
    }

    /// Time passed: call it at [`Self::poll_timeout`], or whenever. `Some(false)`: the event is over.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<bool> {
        if self.poll_timeout().is_none_or(|at| now < at) {
            return None;
        }
        match self.state {
            GateState::Open { since, .. } => {
                let is_longest = now.since(since) >= self.config.length_max;
                self.state = if is_longest { GateState::Resting { until: now + self.config.hold } } else { GateState::Closed };
                Some(false)
            }
            GateState::Resting { .. } | GateState::Closed => {
                self.state = GateState::Closed;
                None
            }
        }
    }

    /// When to call [`Self::handle_timeout`], at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            GateState::Closed => None,
            GateState::Open { since, last_motion } => Some((last_motion + self.config.hold).min(since + self.config.length_max)),
            GateState::Resting { until } => Some(until),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{vec, vec::Vec};

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }

    /// Steps of 100 ms; when it opened and closed, in milliseconds.
    fn run(config: GateConfig, until_ms: u64, moves: impl Fn(u64) -> bool) -> Vec<(u64, bool)> {
        let mut gate = MotionGate::new(config);
        let mut changes = Vec::new();
        for millis in (0..until_ms).step_by(100) {
            let mut changed = gate.handle_timeout(at(millis));
            changes.extend(changed.map(|is_open| (millis, is_open)));
            if moves(millis) {
                changed = gate.handle_motion(at(millis));
                changes.extend(changed.map(|is_open| (millis, is_open)));
            }
        }
        changes
    }

    #[test]
    fn an_event_ends_fifteen_seconds_after_the_last_motion() {
        let changes = run(GateConfig::default(), 60_000, |millis| (5_000..=8_000).contains(&millis));
        assert_eq!(changes, [(5_000, true), (23_000, false)]);
    }

    #[test]
    fn motion_within_the_hold_makes_one_event_of_two() {
        let changes = run(GateConfig::default(), 90_000, |millis| millis == 1_000 || millis == 15_900 || millis == 40_000);
        assert_eq!(changes, [(1_000, true), (30_900, false), (40_000, true), (55_000, false)]);
    }

    #[test]
    fn what_always_moves_makes_events_of_ten_minutes_with_a_pause_of_the_hold() {
        let changes = run(GateConfig::default(), 1_300_000, |_| true);
        assert_eq!(changes, [(0, true), (600_000, false), (615_000, true), (1_215_000, false), (1_230_000, true)]);
    }

    #[test]
    fn a_shell_that_slept_through_the_end_is_told_of_it_before_anything_else() {
        let mut gate = MotionGate::new(GateConfig::default());
        assert_eq!((gate.handle_motion(at(0)), gate.poll_timeout()), (Some(true), Some(at(15_000))));
        assert_eq!((gate.handle_motion(at(60_000)), gate.is_open()), (Some(false), false));
        assert_eq!(gate.handle_motion(at(60_100)), Some(true));
    }

    /// Fewer under Miri, where a minute of them takes seconds.
    const MOVES_MAX: usize = if cfg!(miri) { 12 } else { 200 };

    proptest::proptest! {
        #[test]
        fn no_event_is_shorter_than_the_hold_or_longer_than_the_most(moves in proptest::collection::vec(0_u64..40_000, 0..MOVES_MAX)) {
            let config = GateConfig { hold: Duration::from_secs(15), length_max: Duration::from_secs(60) };
            let mut times = vec![];
            let mut sum = 0;
            for step in moves {
                sum += step / 100 * 100;
                times.push(sum);
            }
            let changes = run(config, sum + 100_000, |millis| times.binary_search(&millis).is_ok());
            for pair in changes.windows(2) {
                proptest::prop_assert_ne!(pair[0].1, pair[1].1);
                if pair[0].1 {
                    proptest::prop_assert!((15_000..=60_000).contains(&(pair[1].0 - pair[0].0)), "{:?}", pair);
                }
            }
            proptest::prop_assert!(changes.len() % 2 == 0, "it ends closed: {:?}", changes);
        }
    }
}
