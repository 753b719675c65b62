//! How fast a viewer is sent pictures: a key frame, or the group of pictures that a viewer begins with, must not leave as one burst, for the
//! queues on its way are short.

use crate::history::History;
use core::time::Duration;
use sightline_media::Instant;

/// What leaves at once, in bytes: about what home routers' queues hold beside other traffic, and most pictures.
const BURST_BYTES: u64 = 48 * 1024;
/// The least rate behind it, in bytes a second: 8 Mbit/s.
const RATE_MIN: u64 = 1_000_000;
/// How many times the stream's own rate: who begins with two seconds of pictures is live after half of one.
const RATE_OF_STREAM: u64 = 4;
/// Shorter than this a group of pictures says nothing about the stream's rate.
const MEASURED_TICKS_MIN: i64 = 45_000;
/// Ticks in a second.
const TICKS_PER_SECOND: i64 = 90_000;

/// A bucket that time fills.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    /// Negative after a packet that was larger than what was left.
    left: i64,
    at: Instant,
}

impl Bucket {
    pub(crate) fn new(now: Instant) -> Self {
        Self { left: BURST_BYTES.cast_signed(), at: now }
    }

    pub(crate) fn refill(&mut self, history: &History, now: Instant) {
        let passed = now.since(self.at).min(Duration::from_secs(1));
        self.at = now;
        if self.left >= BURST_BYTES.cast_signed() {
            return;
        }
        let micros = u64::try_from(passed.as_micros()).unwrap_or_default();
        let back = rate(history).saturating_mul(micros) / 1_000_000;
        self.left = self.left.saturating_add(back.cast_signed()).min(BURST_BYTES.cast_signed());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.left <= 0
    }

    pub(crate) fn take(&mut self, bytes: usize) {
        self.left -= i64::try_from(bytes).unwrap_or(i64::MAX);
    }
}

/// Bytes a second.
fn rate(history: &History) -> u64 {
    let measured = history.since_start().filter(|(_, ticks)| *ticks >= MEASURED_TICKS_MIN);
    let of_stream = measured.map_or(0, |(bytes, ticks)| bytes.saturating_mul(TICKS_PER_SECOND.unsigned_abs()) / ticks.unsigned_abs());
    of_stream.saturating_mul(RATE_OF_STREAM).max(RATE_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::Payload;
    use bytes::Bytes;

    #[test]
    fn a_large_picture_leaves_over_time_and_small_ones_at_once() {
        let mut history = History::new(1 << 24);
        for at in 0..50 {
            history.push(vec![Payload { bytes: Bytes::from_static(&[0; 20_000]), is_last: true }], at * 3600, at == 0);
        }
        assert_eq!(rate(&history) / 100_000, 20, "four times 4 Mbit/s");
        let at = |millis: u64| Instant::from_micros(millis * 1000);
        let mut bucket = Bucket::new(at(0));
        bucket.take(200_000);
        assert!(bucket.is_empty());
        bucket.refill(&history, at(50));
        assert!(bucket.is_empty());
        bucket.refill(&history, at(100));
        assert!(!bucket.is_empty());
        bucket.refill(&history, at(10_000));
        assert_eq!(bucket.left, BURST_BYTES.cast_signed());
    }
}
