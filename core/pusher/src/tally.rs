//! The figures of a session. One set of counters; every published number is computed from it, so that they can't disagree.

use core::time::Duration;
use sightline_media::Instant;
use sightline_signal::{FinalMetrics, LatencyKind, RunningMetrics};

/// Counts what was sent since the session began.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    began_at: Instant,
    frames: u64,
    bytes: u64,
    offered: u64,
    interval: Interval,
}

/// The same since the last report.
#[derive(Clone, Copy, Debug)]
struct Interval {
    began_at: Instant,
    frames: u64,
    bytes: u64,
    offered: u64,
    /// From a frame's capture until the link had all of it.
    queued: Mean,
    /// Until the far end had acknowledged all of it.
    acknowledged: Mean,
}

/// A mean latency.
#[derive(Clone, Copy, Debug)]
struct Mean {
    sum: Duration,
    count: u32,
}

impl Mean {
    const fn new() -> Self {
        Self { sum: Duration::ZERO, count: 0 }
    }

    fn add(&mut self, latency: Duration) {
        self.sum += latency;
        self.count += 1;
    }

    fn get(self) -> Option<Duration> {
        self.sum.checked_div(self.count)
    }
}

impl Interval {
    const fn new(began_at: Instant) -> Self {
        Self { began_at, frames: 0, bytes: 0, offered: 0, queued: Mean::new(), acknowledged: Mean::new() }
    }
}

impl Tally {
    pub(crate) const fn new(now: Instant) -> Self {
        Self { began_at: now, frames: 0, bytes: 0, offered: 0, interval: Interval::new(now) }
    }

    /// A frame of video was offered to the queue.
    pub(crate) const fn offer(&mut self) {
        self.offered += 1;
        self.interval.offered += 1;
    }

    /// All bytes of a frame of video went out, `latency` after its capture.
    pub(crate) fn sent(&mut self, bytes: usize, latency: Duration) {
        self.frames += 1;
        self.bytes += bytes as u64;
        self.interval.frames += 1;
        self.interval.bytes += bytes as u64;
        self.interval.queued.add(latency);
    }

    /// The far end has a frame of video, `latency` after its capture.
    pub(crate) fn acknowledged(&mut self, latency: Duration) {
        self.interval.acknowledged.add(latency);
    }

    /// Bytes that are no video: counted in the rate, not as frames.
    pub(crate) const fn sent_other(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        self.interval.bytes += bytes as u64;
    }

    /// The figures since the last call, and of the whole session.
    pub(crate) fn report(&mut self, now: Instant, dropped: u64, queue_age: Duration, target_latency: Duration) -> RunningMetrics {
        let interval = core::mem::replace(&mut self.interval, Interval::new(now));
        let secs = now.since(interval.began_at).as_secs_f32();
        let rate = |count: f32| if secs > 0.0 { count / secs } else { 0.0 };
        let freshness = (1.0 - queue_age.as_secs_f32() / target_latency.as_secs_f32().max(0.001)).clamp(0.0, 1.0);
        let delivered = if interval.offered == 0 { 1.0 } else { (interval.frames as f32 / interval.offered as f32).min(1.0) };
        let (latency, latency_kind) = match interval.acknowledged.get() {
            Some(latency) => (latency, LatencyKind::Ack),
            None => (interval.queued.get().unwrap_or(queue_age), LatencyKind::Queue),
        };
        RunningMetrics {
            fps: rate(interval.frames as f32),
            bitrate_kbps: rate(interval.bytes as f32 * 8.0 / 1000.0),
            total_frames: self.frames,
            dropped_frames: dropped,
            latency_ms: u32::try_from(latency.as_millis()).unwrap_or(u32::MAX),
            latency_kind,
            network_quality: freshness * delivered,
            stream_duration_ms: self.duration_ms(now),
        }
    }

    fn duration_ms(&self, now: Instant) -> u64 {
        u64::try_from(now.since(self.began_at).as_millis()).unwrap_or(u64::MAX)
    }

    /// The whole session.
    pub(crate) fn finish(&self, now: Instant, dropped: u64) -> FinalMetrics {
        let duration_ms = self.duration_ms(now);
        let per_ms = |count: f64| if duration_ms > 0 { count / duration_ms as f64 } else { 0.0 };
        FinalMetrics {
            total_frames_sent: self.frames,
            total_bytes_sent: self.bytes,
            stream_duration_ms: duration_ms,
            average_fps: per_ms(self.frames as f64 * 1000.0) as f32,
            // Bits over milliseconds are kilobits over seconds.
            average_bitrate_kbps: per_ms(self.bytes as f64 * 8.0) as f32,
            dropped_frames: dropped,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_are_what_they_say() {
        // The seed's own figures: 15,728,640 bytes in 50 s are 2516.6 kbit/s, not the 2010.2 that it prints.
        let mut tally = Tally::new(Instant::ZERO);
        for _ in 0..1250 {
            tally.offer();
            tally.sent(0, Duration::from_millis(20));
        }
        tally.sent_other(15_728_640);
        let last = tally.finish(Instant::from_micros(50_000_000), 8);
        assert_eq!((last.total_frames_sent, last.total_bytes_sent, last.stream_duration_ms), (1250, 15_728_640, 50_000));
        assert!((last.average_fps - 25.0).abs() < 0.01 && (last.average_bitrate_kbps - 2516.6).abs() < 0.05, "{last:?}");
    }
}
