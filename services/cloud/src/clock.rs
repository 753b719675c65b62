//! The one place where the cloud reads clocks.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The machine's clocks. A test sets its own ahead instead of waiting; clones share that.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clock {
    #[cfg(test)]
    ahead_ms: std::sync::Arc<std::sync::atomic::AtomicU64>,
}

impl Clock {
    /// Monotonic time.
    pub(crate) fn now(&self) -> Instant {
        Instant::now() + self.ahead()
    }

    /// Seconds since 1970.
    pub(crate) fn unix_secs(&self) -> i64 {
        self.unix_millis().div_euclid(1000)
    }

    /// Milliseconds since 1970.
    pub(crate) fn unix_millis(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + self.ahead();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "only a test's clock is ahead")]
    fn ahead(&self) -> Duration {
        Duration::ZERO
    }

    #[cfg(test)]
    fn ahead(&self) -> Duration {
        Duration::from_millis(self.ahead_ms.load(std::sync::atomic::Ordering::Relaxed))
    }

    /// Lets time pass.
    #[cfg(test)]
    pub(crate) fn advance(&self, by: Duration) {
        let by_ms = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.ahead_ms.fetch_add(by_ms, std::sync::atomic::Ordering::Relaxed);
    }
}
