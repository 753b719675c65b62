//! The shell's clocks, handed to the core as values.

use sightline_media::{Instant, WallTime};
use std::sync::LazyLock;

static START: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);

/// Now, on this process's monotonic clock.
pub(crate) fn now() -> Instant {
    from_std(std::time::Instant::now())
}

/// A point of the standard library's clock on ours; zero for anything before the process's first look at it.
pub(crate) fn from_std(at: std::time::Instant) -> Instant {
    let elapsed = at.saturating_duration_since(*START);
    // The first microsecond is spent so that no real event is at zero, which means "at once".
    Instant::from_micros(u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX).saturating_add(1))
}

/// When one of ours is due, on the standard library's clock.
pub(crate) fn to_std(at: Instant) -> std::time::Instant {
    *START + std::time::Duration::from_micros(at.as_micros())
}

/// Civil time, as the system has it.
pub(crate) fn wall() -> WallTime {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    WallTime::from_unix_micros(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
}
