//! The process's clocks, as values for the core.

use sightline_media::{Instant, WallTime};
use std::sync::LazyLock;

static START: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);

/// Now, on this process's monotonic clock.
pub fn now() -> Instant {
    from_std(std::time::Instant::now())
}

/// Converts a point of the standard library's clock; zero for anything before the process first read it.
pub fn from_std(at: std::time::Instant) -> Instant {
    let elapsed = at.saturating_duration_since(*START);
    // One microsecond more: no real event is at zero, which means "at once".
    Instant::from_micros(u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX).saturating_add(1))
}

/// Converts back to the standard library's clock.
pub fn to_std(at: Instant) -> std::time::Instant {
    *START + std::time::Duration::from_micros(at.as_micros())
}

/// Civil time, as the system has it.
pub fn wall() -> WallTime {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    WallTime::from_unix_micros(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
}
