//! The one place where the origin reads clocks.

use sightline_media::{Instant, WallTime};

/// Monotonic time since the origin's start, and the wall's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: std::time::Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { start: std::time::Instant::now() }
    }

    pub(crate) fn now(self) -> Instant {
        Instant::from_micros(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// What the system's clock showed at the start, for libraries that have no time of their own.
    pub(crate) fn began(self) -> std::time::Instant {
        self.start
    }

    /// When an instant is, for a timer.
    pub(crate) fn at(self, instant: Instant) -> tokio::time::Instant {
        tokio::time::Instant::from_std(self.start + std::time::Duration::from_micros(instant.as_micros()))
    }

    #[expect(clippy::unused_self, reason = "time comes through the clock, so that one place reads it")]
    pub(crate) fn wall(self) -> WallTime {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        WallTime::from_unix_micros(i64::try_from(now.as_micros()).unwrap_or(i64::MAX))
    }
}
