//! The timers that the state machine sets itself. What follows from other parts (the session, the queue, the rate control) is asked of
//! them when it is needed: see [`super::Pusher::poll_timeout`].

use sightline_media::Instant;

/// What a timer is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Timer {
    /// The end of the present state's patience. Each state sets its own.
    Patience,
    /// The end of a start by command that is not renewed.
    Lease,
    /// The next metrics, while streaming.
    Metrics,
}

const TIMERS: usize = 3;

/// When each timer ends; `None`: it does not run.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Timers([Option<Instant>; TIMERS]);

impl Timers {
    const fn index(timer: Timer) -> usize {
        match timer {
            Timer::Patience => 0,
            Timer::Lease => 1,
            Timer::Metrics => 2,
        }
    }

    /// Runs until `at`, whatever it ran to before; `None` stops it.
    pub(super) fn set(&mut self, timer: Timer, at: Option<Instant>) {
        if let Some(slot) = self.0.get_mut(Self::index(timer)) {
            *slot = at;
        }
    }

    /// When it ends, if it runs.
    pub(super) const fn get(&self, timer: Timer) -> Option<Instant> {
        let [patience, lease, metrics] = self.0;
        match timer {
            Timer::Patience => patience,
            Timer::Lease => lease,
            Timer::Metrics => metrics,
        }
    }

    /// True once when it has ended; it is stopped then.
    pub(super) fn take_ended(&mut self, timer: Timer, now: Instant) -> bool {
        let has_ended = self.get(timer).is_some_and(|at| now >= at);
        if has_ended {
            self.set(timer, None);
        }
        has_ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_ends_once() {
        let (mut timers, at) = (Timers::default(), Instant::from_micros(5));
        for timer in [Timer::Patience, Timer::Lease, Timer::Metrics] {
            timers.set(timer, Some(at));
            assert!(!timers.take_ended(timer, Instant::from_micros(4)));
            assert!(timers.take_ended(timer, at) && !timers.take_ended(timer, at));
            assert_eq!(timers.get(timer), None);
        }
    }
}
