//! How long to wait after a failure (specification §1.7).

use core::time::Duration;

/// The longest delay of the normal ladder.
const DELAY_MAX: Duration = Duration::from_secs(60);

/// Consecutive failures and the delay they cost: `interval * 2^(n-1)`, at most 60 s, with jitter.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    interval: Duration,
    jitter: f32,
    failures: u32,
    random: u64,
}

impl Backoff {
    /// `jitter` is clamped to 0..=0.9; `seed` may be anything.
    #[must_use]
    pub(crate) fn new(interval: Duration, jitter: f32, seed: u64) -> Self {
        Self { interval, jitter: jitter.clamp(0.0, 0.9), failures: 0, random: seed | 1 }
    }

    /// Consecutive failures so far.
    #[must_use]
    pub(crate) const fn failures(&self) -> u32 {
        self.failures
    }

    /// One more failure; the delay to wait before the next try.
    pub(crate) fn fail(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let doublings = (self.failures - 1).min(16);
        self.jittered(self.interval.saturating_mul(1 << doublings).min(DELAY_MAX))
    }

    /// `delay` drawn from ± the jitter.
    pub(crate) fn jittered(&mut self, delay: Duration) -> Duration {
        // 24 bits are exact in an f32.
        let unit = (self.next_random() >> 40) as f32 / 16_777_216.0;
        delay.mul_f32(1.0 + self.jitter * (2.0 * unit - 1.0))
    }

    /// It works: the next failure is the first.
    pub(crate) const fn reset(&mut self) {
        self.failures = 0;
    }

    /// xorshift64*: for jitter and ids, not for secrets.
    pub(crate) const fn next_random(&mut self) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_twenty_forty_then_a_minute_for_ever() {
        let mut backoff = Backoff::new(Duration::from_secs(10), 0.0, 7);
        let delays: std::vec::Vec<u64> = (0..6).map(|_| backoff.fail().as_secs()).collect();
        assert_eq!(delays, [10, 20, 40, 60, 60, 60]);
        backoff.reset();
        assert_eq!(backoff.fail().as_secs(), 10);
        let later: std::vec::Vec<u64> = (0..100).map(|_| backoff.fail().as_secs()).collect();
        assert!(later[..2] == [20, 40] && later[2..].iter().all(|&delay| delay == 60));
    }

    #[test]
    fn jitter_stays_within_its_share_and_is_not_constant() {
        let mut backoff = Backoff::new(Duration::from_secs(10), 0.2, 42);
        let delays: std::vec::Vec<Duration> = (0..200).map(|_| backoff.jittered(Duration::from_secs(10))).collect();
        assert!(delays.iter().all(|delay| (8.0..=12.0).contains(&delay.as_secs_f32())));
        assert!(delays.iter().any(|delay| delay.as_secs_f32() < 9.0) && delays.iter().any(|delay| delay.as_secs_f32() > 11.0));
    }
}
