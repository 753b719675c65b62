//! Token buckets: how often one device may ask.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Above this many buckets the full ones are dropped: a full bucket limits nobody.
const BUCKETS_BEFORE_SWEEP: usize = 10_000;

/// A bucket per key: `burst` at once, then one per `refill`.
#[derive(Debug)]
pub(crate) struct RateLimit<K> {
    burst: f64,
    refill: Duration,
    buckets: Mutex<HashMap<K, (f64, Instant)>>,
}

impl<K: Eq + Hash> RateLimit<K> {
    pub(crate) fn new(burst: u32, refill: Duration) -> Self {
        Self { burst: f64::from(burst), refill, buckets: Mutex::default() }
    }

    /// Takes one; if there is none, the wait until there is.
    pub(crate) fn take(&self, key: K, now: Instant) -> Result<(), Duration> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() > BUCKETS_BEFORE_SWEEP {
            buckets.retain(|_, (left, at)| self.level(*left, *at, now) < self.burst);
        }
        let (left, at) = buckets.entry(key).or_insert((self.burst, now));
        let level = self.level(*left, *at, now);
        (*left, *at) = (level, now);
        if level < 1.0 {
            return Err(self.refill.mul_f64(1.0 - level));
        }
        *left = level - 1.0;
        Ok(())
    }

    /// Gives one back: what it was taken for turned out to be harmless.
    pub(crate) fn give_back(&self, key: &K) {
        if let Some((left, _)) = self.buckets.lock().unwrap_or_else(PoisonError::into_inner).get_mut(key) {
            *left = (*left + 1.0).min(self.burst);
        }
    }

    fn level(&self, left: f64, at: Instant, now: Instant) -> f64 {
        (left + now.saturating_duration_since(at).as_secs_f64() / self.refill.as_secs_f64()).min(self.burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_one_per_interval() {
        let limit = RateLimit::new(3, Duration::from_secs(1));
        let start = Instant::now();
        for _ in 0..3 {
            assert_eq!(limit.take("a", start), Ok(()));
        }
        assert!(limit.take("a", start).is_err_and(|wait| wait <= Duration::from_secs(1)));
        assert_eq!(limit.take("b", start), Ok(()), "others are not held up");
        assert_eq!(limit.take("a", start + Duration::from_millis(1001)), Ok(()));
    }
}
