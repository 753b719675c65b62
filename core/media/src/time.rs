//! The three times. They are three types so that none is ever subtracted from another (`docs/time.md`).

use core::ops::{Add, AddAssign, Sub};
use core::time::Duration;

/// A point on the shell's monotonic clock, in microseconds since a start that only that shell knows.
///
/// Good for waits and ages within one process. Never sent to a peer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Instant {
    micros: u64,
}

impl Instant {
    /// The clock's start.
    pub const ZERO: Self = Self { micros: 0 };

    /// The instant `micros` microseconds after the clock's start.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self { micros }
    }

    /// Microseconds since the clock's start.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.micros
    }

    /// The time that has passed since `earlier`; zero if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.micros.saturating_sub(earlier.micros))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;
    fn add(self, wait: Duration) -> Self {
        let micros = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX);
        Self { micros: self.micros.saturating_add(micros) }
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, wait: Duration) {
        *self = *self + wait;
    }
}

/// A point on a stream's own timeline, in ticks of 1/90,000 s. RTMP's milliseconds times 90 are exact.
///
/// Its zero means nothing by itself; only differences within one stream do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct MediaTime {
    /// Ticks of 1/90,000 s; may be negative.
    pub ticks_90k: i64,
}

impl MediaTime {
    /// The timeline's zero.
    pub const ZERO: Self = Self { ticks_90k: 0 };
    /// Ticks in a second.
    pub const TICKS_PER_SECOND: i64 = 90_000;

    /// From ticks of 1/90,000 s.
    #[must_use]
    pub const fn from_ticks(ticks_90k: i64) -> Self {
        Self { ticks_90k }
    }

    /// From milliseconds; exact. Saturates.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self { ticks_90k: millis.saturating_mul(90) }
    }

    /// From microseconds, rounded to the nearest tick. Saturates.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self { ticks_90k: micros.saturating_mul(9).saturating_add(50).div_euclid(100) }
    }

    /// From `count` units of 1/`timescale` s, rounded to the nearest tick; zero if `timescale` is 0.
    #[must_use]
    pub fn from_timescale(count: i64, timescale: u32) -> Self {
        if timescale == 0 {
            return Self::ZERO;
        }
        let scale = i128::from(timescale);
        let ticks = (i128::from(count) * 90_000 + scale / 2).div_euclid(scale);
        Self { ticks_90k: i64::try_from(ticks).unwrap_or(if ticks < 0 { i64::MIN } else { i64::MAX }) }
    }

    /// Milliseconds, rounded down (towards earlier).
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.ticks_90k.div_euclid(90)
    }

    /// Microseconds, rounded down.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.ticks_90k.saturating_mul(100).div_euclid(9)
    }
}

impl Add for MediaTime {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { ticks_90k: self.ticks_90k.saturating_add(other.ticks_90k) }
    }
}

impl Sub for MediaTime {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self { ticks_90k: self.ticks_90k.saturating_sub(other.ticks_90k) }
    }
}

/// A point in civil time, in microseconds since 1970-01-01T00:00:00Z. A camera's may be wrong by years.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct WallTime {
    /// Microseconds since the Unix epoch; may be negative.
    pub unix_micros: i64,
}

impl WallTime {
    /// 2026-11-01, when this was written. A clock that shows less was never set, or lost its battery.
    pub const CLOCK_SET_MIN: Self = Self::from_unix_micros(1_793_491_200_000_000);

    /// Whether the clock that gave this time was ever set.
    #[must_use]
    pub fn is_set(self) -> bool {
        self.unix_micros >= Self::CLOCK_SET_MIN.unix_micros
    }

    /// From microseconds since the Unix epoch.
    #[must_use]
    pub const fn from_unix_micros(unix_micros: i64) -> Self {
        Self { unix_micros }
    }

    /// Whole seconds since the Unix epoch, rounded down.
    #[must_use]
    pub const fn unix_secs(self) -> i64 {
        self.unix_micros.div_euclid(1_000_000)
    }

    /// Whole milliseconds since the Unix epoch, rounded down.
    #[must_use]
    pub const fn unix_millis(self) -> i64 {
        self.unix_micros.div_euclid(1_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_survive_the_90_khz_clock() {
        for millis in [-1, 0, 1, 40, 0x7fff_ffff, 0xffff_ffff_i64] {
            assert_eq!(MediaTime::from_millis(millis).as_millis(), millis);
        }
    }

    #[test]
    fn a_film_timescale_rounds_to_the_nearest_tick() {
        // 24000/1001 fps: one frame is 1001 units of 1/24000 s = 3753.75 ticks.
        assert_eq!(MediaTime::from_timescale(1001, 24_000).ticks_90k, 3754);
        assert_eq!(MediaTime::from_timescale(4 * 1001, 24_000).ticks_90k, 15_015);
        assert_eq!(MediaTime::from_timescale(7, 0), MediaTime::ZERO);
    }

    #[test]
    fn an_instant_never_runs_negative() {
        assert_eq!(Instant::ZERO.since(Instant::from_micros(5)), Duration::ZERO);
        assert_eq!(Instant::from_micros(u64::MAX) + Duration::MAX, Instant::from_micros(u64::MAX));
    }
}
