//! What is on its way: bytes and frames that the link took and the far end has not acknowledged, and how fast acknowledgements come.
//!
//! What a kernel *accepted* says nothing about a link: its send buffer grows to megabytes. What the far end *acknowledged* does.

use core::time::Duration;
use heapless::Deque;
use sightline_media::Instant;

/// The acknowledged rate is measured over this long: shorter, and a radio's scheduling grants look like rates; longer, and a cut comes late.
const WINDOW: Duration = Duration::from_millis(800);
/// And over this long after a hole: no longer, because the hole is not to be counted in.
const FRESH_WINDOW: Duration = Duration::from_millis(300);
/// Samples of the acknowledged total within the window.
const SAMPLES: usize = 16;
/// A link's own latency is the least that was seen within one to two of these: routes and cells change.
const BASE_MEMORY: Duration = Duration::from_secs(10);

/// A frame on its way.
#[derive(Clone, Copy, Debug)]
struct OnItsWay {
    /// Bytes handed to the link up to its end.
    end: u64,
    captured_at: Instant,
}

/// One link's flight. Of `FRAMES` frames on their way the age is known, a second's worth; beyond it, frames count with the one before them.
#[derive(Debug, Default)]
pub(crate) struct Flight<const FRAMES: usize> {
    /// Bytes that the link took.
    handed: u64,
    /// Bytes of ours that are acknowledged.
    acknowledged: u64,
    /// What the link counts beyond ours: TLS's handshake and record headers.
    overhead: u64,
    /// The link says what is acknowledged, and how much is not.
    outstanding: Option<u64>,
    frames: Deque<OnItsWay, FRAMES>,
    samples: Deque<(Instant, u64), SAMPLES>,
    base: Base,
    progress_at: Option<Instant>,
}

/// The least latency of the recent past.
#[derive(Debug, Default)]
struct Base {
    since: Option<Instant>,
    present: Option<Duration>,
    before: Option<Duration>,
}

impl Base {
    fn see(&mut self, now: Instant, latency: Duration) {
        if self.since.is_none_or(|since| now.since(since) >= BASE_MEMORY) {
            self.since = Some(now);
            self.before = self.present.take();
        }
        self.present = Some(self.present.map_or(latency, |least| least.min(latency)));
    }

    fn least(&self) -> Duration {
        self.present.into_iter().chain(self.before).min().unwrap_or(Duration::ZERO)
    }
}

impl<const FRAMES: usize> Flight<FRAMES> {
    /// A new link.
    pub(crate) fn new(now: Instant) -> Self {
        Self { progress_at: Some(now), ..Self::default() }
    }

    /// True where the link itself says what is acknowledged; otherwise only the server's RTMP acknowledgements do.
    pub(crate) const fn reports(&self) -> bool {
        self.outstanding.is_some()
    }

    /// When something was last acknowledged, or nothing was to be.
    pub(crate) const fn progress_at(&self) -> Option<Instant> {
        self.progress_at
    }

    /// Bytes of ours that have arrived.
    pub(crate) const fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Bytes that the link took and the far end has not acknowledged.
    pub(crate) const fn unacknowledged(&self) -> u64 {
        self.handed.saturating_sub(self.acknowledged)
    }

    /// Nothing is on its way, as far as the link says.
    pub(crate) fn is_empty(&self) -> bool {
        self.outstanding.unwrap_or(0) == 0
    }

    /// The link took bytes.
    pub(crate) fn hand(&mut self, now: Instant, bytes: usize) {
        self.handed += bytes as u64;
        if bytes > 0 && !self.reports() {
            self.progress_at = Some(now);
        }
    }

    /// There is nothing to acknowledge: silence is no fault.
    pub(crate) const fn rest(&mut self, now: Instant) {
        self.progress_at = Some(now);
    }

    /// The link took a frame's last byte.
    pub(crate) fn hand_frame(&mut self, captured_at: Instant) {
        // Where there is no room the frame is covered by the one before it, which then ends later.
        if self.frames.is_full()
            && let Some(last) = self.frames.back_mut()
        {
            last.end = self.handed;
            return;
        }
        let _ = self.frames.push_back(OnItsWay { end: self.handed, captured_at });
    }

    /// The link reports: `bytes` acknowledged since it came up, TLS included, and `outstanding` not yet.
    pub(crate) fn report(&mut self, now: Instant, bytes: u64, outstanding: u64, mut each: impl FnMut(Duration)) {
        self.outstanding = Some(outstanding);
        if outstanding == 0 {
            // All of it arrived: what the link counts beyond ours is overhead.
            self.overhead = bytes.saturating_sub(self.handed);
        }
        self.acknowledge(now, bytes.saturating_sub(self.overhead).min(self.handed), &mut each);
        if outstanding == 0 {
            self.progress_at = Some(now);
        }
    }

    /// The server acknowledges by RTMP: `bytes` since the connection began.
    pub(crate) fn acknowledged_by_server(&mut self, now: Instant, bytes: u64, mut each: impl FnMut(Duration)) {
        if !self.reports() {
            self.acknowledge(now, bytes.min(self.handed), &mut each);
        }
    }

    /// `each` is given the latency, from its capture, of each frame that has arrived.
    fn acknowledge(&mut self, now: Instant, bytes: u64, each: &mut impl FnMut(Duration)) {
        if bytes > self.acknowledged {
            self.acknowledged = bytes;
            self.progress_at = Some(now);
        }
        while let Some(arrived) = self.frames.front().filter(|frame| frame.end <= self.acknowledged) {
            let latency = now.since(arrived.captured_at);
            self.base.see(now, latency);
            each(latency);
            self.frames.pop_front();
        }
        self.sample(now);
    }

    fn sample(&mut self, now: Instant) {
        // Samples closer than their share of the window replace the newest, so that the ring always spans it.
        let spacing = WINDOW / (SAMPLES as u32 - 1);
        if self.samples.len() > 1 && self.samples.iter().rev().nth(1).is_some_and(|(at, _)| now.since(*at) < spacing) {
            self.samples.pop_back();
        }
        if self.samples.is_full() {
            self.samples.pop_front();
        }
        let _ = self.samples.push_back((now, self.acknowledged));
    }

    /// Bits a second that were acknowledged over the window; `None` before it is half full.
    pub(crate) fn delivered_bps(&self, now: Instant) -> Option<f32> {
        self.delivered_within(now, WINDOW)
    }

    /// The same over the last moments: what a link carries that has just come back.
    pub(crate) fn fresh_bps(&self, now: Instant) -> Option<f32> {
        self.delivered_within(now, FRESH_WINDOW)
    }

    fn delivered_within(&self, now: Instant, window: Duration) -> Option<f32> {
        let (_, last_bytes) = self.samples.back()?;
        let (since, first_bytes) = self.samples.iter().find(|(at, _)| now.since(*at) <= window)?;
        let span = now.since(*since);
        (span >= window / 2).then(|| last_bytes.saturating_sub(*first_bytes) as f32 * 8.0 / span.as_secs_f32())
    }

    /// When the oldest frame on its way was captured.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.frames.front().map(|frame| frame.captured_at)
    }

    /// The latency that the link has without any queue, from capture to acknowledgement.
    pub(crate) fn base(&self) -> Duration {
        self.base.least()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }

    #[test]
    fn a_frame_has_arrived_when_its_last_byte_is_acknowledged_whatever_tls_adds() {
        let mut flight = Flight::<32>::new(at(0));
        let mut latencies = std::vec::Vec::new();
        // A handshake of 3,000 bytes that are not ours.
        flight.report(at(10), 3000, 0, |_| {});
        flight.hand(at(20), 5000);
        flight.hand_frame(at(5));
        flight.report(at(40), 7000, 1022, |latency| latencies.push(latency));
        assert!(latencies.is_empty() && flight.unacknowledged() == 1000 && flight.oldest() == Some(at(5)));
        flight.report(at(65), 8022, 0, |latency| latencies.push(latency));
        assert_eq!((latencies.as_slice(), flight.unacknowledged()), (&[Duration::from_millis(60)][..], 0));
        assert_eq!(flight.base(), Duration::from_millis(60));
    }

    #[test]
    fn the_rate_is_what_was_acknowledged_within_the_window() {
        let mut flight = Flight::<32>::new(at(0));
        for step in 0..100 {
            flight.hand(at(step * 25), 2500);
            flight.report(at(step * 25), step * 2500, 2500, |_| {});
        }
        let rate = flight.delivered_bps(at(99 * 25)).unwrap();
        assert!((rate - 800_000.0).abs() < 30_000.0, "{rate}");
        let later = flight.delivered_bps(at(99 * 25 + 600)).unwrap();
        assert!(later < 400_000.0, "silence lowers it: {later}");
    }

    #[test]
    fn a_link_s_own_latency_is_forgotten_in_time() {
        let mut base = Base::default();
        base.see(at(0), Duration::from_millis(50));
        base.see(at(11_000), Duration::from_millis(400));
        assert_eq!(base.least(), Duration::from_millis(50));
        base.see(at(22_000), Duration::from_millis(300));
        assert_eq!(base.least(), Duration::from_millis(300));
    }
}
