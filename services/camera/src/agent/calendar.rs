//! The clock as a trigger: whether a window of the schedule is open.

use jiff::Timestamp;
use sightline_media::Instant;
use std::time::Duration;

use crate::schedule::Schedule;

/// The civil clock is looked at least this often: it may be set without any notice.
const CLOCK_INTERVAL: Duration = Duration::from_secs(5);
/// The least wait for a window's edge: the two clocks do not tick together.
const EDGE_WAIT_MIN: Duration = Duration::from_millis(1);

/// The windows, and whether one is open.
pub(super) struct Calendar {
    schedule: Schedule,
    pub(super) is_open: bool,
    pub(super) look_at: Instant,
}

impl Calendar {
    pub(super) fn new(schedule: Schedule) -> Self {
        Self { schedule, is_open: false, look_at: Instant::ZERO }
    }

    /// Looks at the civil clock where it is time to.
    pub(super) fn look(&mut self, now: Instant, wall: Timestamp) {
        if now < self.look_at {
            return;
        }
        self.is_open = self.schedule.is_open(wall);
        let edge = self.schedule.next_change(wall).map_or(CLOCK_INTERVAL, |edge| edge.duration_since(wall).unsigned_abs());
        self.look_at = now + edge.clamp(EDGE_WAIT_MIN, CLOCK_INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{Day, Window};

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }

    #[test]
    fn a_clock_that_is_set_is_noticed_within_seconds() {
        let all = vec![Day::Mon, Day::Tue, Day::Wed, Day::Thu, Day::Fri, Day::Sat, Day::Sun];
        let noon = Window { days: all, start: "12:00".into(), end: "13:00".into(), tz: "UTC".into() };
        let mut calendar = Calendar::new(Schedule::new(&[noon]).unwrap());
        let wall = |text: &str| text.parse::<Timestamp>().unwrap();
        // Started with the clock of a device that has no battery for it.
        calendar.look(at(0), wall("1970-01-01T00:00:03Z"));
        assert!(!calendar.is_open);
        // NTP sets it into the window; the next look is due soon, whatever the edge was.
        assert!(calendar.look_at <= at(5_000));
        calendar.look(at(5_000), wall("2026-11-23T12:30:00Z"));
        assert!(calendar.is_open);
        // And back, before it.
        calendar.look(at(10_000), wall("2026-11-23T11:59:58Z"));
        assert!(!calendar.is_open && calendar.look_at == at(12_000), "the edge is closer than the next look");
        calendar.look(at(12_000), wall("2026-11-23T12:00:00Z"));
        assert!(calendar.is_open);
    }
}
