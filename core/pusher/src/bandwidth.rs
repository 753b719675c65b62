//! What the uplink carries, seen before there is a stream: rounds of padding, each twice the last, until one takes long enough to tell.
//!
//! From one round to the next the path's own delay is the same, so that the time that the second took longer is what the link needed for
//! the bytes that it was larger by. A link that is fast enough ends it after a round trip or three; a slow one is not filled with more than
//! a second's worth.

use core::time::Duration;
use sightline_media::Instant;

/// Of what the link carried, so much is for the encoder: the rest is for key frames, for audio, and for a link that has a worse moment.
pub const USABLE_SHARE: f32 = 0.8;
/// Bytes of the first round: what TCP sends without waiting (RFC 6928), and no more than 200 ms of the slowest link that makes sense.
const FIRST_BYTES: u32 = 4 * 1024;
/// Bytes of the last: more than a link of 5 Mbit/s carries in 400 ms.
const LAST_BYTES: u32 = 256 * 1024;
/// A round that takes this much longer than the one before gives the rate: acknowledgements are read every 25 ms, so that it is off by a
/// sixth at most.
const TELLING: Duration = Duration::from_millis(150);
/// Whatever was seen by then has to do: people wait for a picture.
const CHECK_TIMEOUT: Duration = Duration::from_millis(1500);
/// Shorter than two looks, a round's time says little.
const LEAST: Duration = Duration::from_millis(25);

/// A check that runs. Each round's bytes are sent at once, and the next round's when all of them have been acknowledged.
#[derive(Clone, Copy, Debug)]
pub struct BandwidthCheck {
    /// Faster than this need not be known.
    enough_bps: u32,
    started_at: Instant,
    round_bytes: u32,
    round_at: Instant,
    /// The round before: how long it took.
    last: Option<Duration>,
    /// The best that was seen.
    seen_bps: Option<u32>,
}

/// How it goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BandwidthProgress {
    /// Send this many bytes of padding.
    Pad(u32),
    /// It is over: bits a second that the link carries, or at least does; `None` where nothing came back.
    Done(Option<u32>),
}

impl BandwidthCheck {
    /// Begins with a round of [`Self::round_bytes`]. `enough_bps`: a link that is faster need not be known better.
    #[must_use]
    pub const fn new(now: Instant, enough_bps: u32) -> Self {
        Self { enough_bps, started_at: now, round_bytes: FIRST_BYTES, round_at: now, last: None, seen_bps: None }
    }

    /// The present round's.
    #[must_use]
    pub const fn round_bytes(&self) -> u32 {
        self.round_bytes
    }

    /// When [`Self::handle_timeout`] ends it.
    #[must_use]
    pub fn poll_timeout(&self) -> Instant {
        self.started_at + CHECK_TIMEOUT
    }

    /// It took too long. `arrived`: bytes of the present round.
    pub fn handle_timeout(&mut self, now: Instant, arrived: u64) -> Option<BandwidthProgress> {
        if now < self.poll_timeout() {
            return None;
        }
        let arrived = u32::try_from(arrived).unwrap_or(u32::MAX);
        if arrived > 0 {
            self.see(rate_bps(arrived, now.since(self.round_at)));
        }
        Some(BandwidthProgress::Done(self.seen_bps))
    }

    /// All of the present round has arrived.
    pub fn round_arrived(&mut self, now: Instant) -> BandwidthProgress {
        let took = now.since(self.round_at);
        self.see(rate_bps(self.round_bytes, took.max(LEAST)));
        let longer = self.last.map_or(Duration::ZERO, |last| took.saturating_sub(last));
        if longer >= TELLING {
            let bps = rate_bps(self.round_bytes / 2, longer);
            self.seen_bps = Some(bps);
            return BandwidthProgress::Done(self.seen_bps);
        }
        let is_enough = self.seen_bps.is_some_and(|bps| bps >= self.enough_bps);
        if is_enough || self.round_bytes >= LAST_BYTES {
            return BandwidthProgress::Done(self.seen_bps);
        }
        self.last = Some(took);
        self.round_bytes *= 2;
        self.round_at = now;
        BandwidthProgress::Pad(self.round_bytes)
    }

    fn see(&mut self, bps: u32) {
        self.seen_bps = self.seen_bps.max(Some(bps));
    }
}

fn rate_bps(bytes: u32, took: Duration) -> u32 {
    (f64::from(bytes) * 8.0 / took.as_secs_f64().max(0.001)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A link of a rate and a round trip, looked at each 25 ms; returns what was seen, and how long it took.
    fn run(link_bps: f64, round_trip_ms: u64, enough_bps: u32) -> (Option<u32>, Duration) {
        let start = Instant::from_micros(7_000_000);
        let mut check = BandwidthCheck::new(start, enough_bps);
        let (mut round_at, mut now) = (start, start);
        loop {
            now += Duration::from_millis(25);
            let on_the_way = now.since(round_at).saturating_sub(Duration::from_millis(round_trip_ms));
            let arrived = (link_bps / 8.0 * on_the_way.as_secs_f64()) as u64;
            let progress =
                if arrived >= u64::from(check.round_bytes()) { Some(check.round_arrived(now)) } else { check.handle_timeout(now, arrived) };
            match progress {
                Some(BandwidthProgress::Done(seen)) => return (seen, now.since(start)),
                Some(BandwidthProgress::Pad(_)) => round_at = now,
                None => {}
            }
        }
    }

    #[test]
    fn links_slower_than_wanted_are_measured_whatever_their_round_trip() {
        for (link_bps, round_trip_ms) in [(150e3, 40), (400e3, 40), (400e3, 150), (1e6, 20), (1e6, 100), (3e6, 30), (3e6, 80)] {
            let (seen, took) = run(link_bps, round_trip_ms, 5_000_000);
            let share = f64::from(seen.unwrap()) / link_bps;
            assert!((0.7..=1.25).contains(&share), "{link_bps} bit/s, {round_trip_ms} ms: {seen:?} after {took:?}");
        }
    }

    #[test]
    fn a_fast_link_is_not_kept_waiting() {
        let (seen, took) = run(50e6, 2, 5_000_000);
        assert!(seen.unwrap() >= 5_000_000 && took <= Duration::from_millis(150), "{seen:?} after {took:?}");
    }

    #[test]
    fn a_long_way_gives_a_bound_and_silence_nothing() {
        let (seen, took) = run(20e6, 600, 5_000_000);
        assert!(seen.is_some_and(|bps| bps < 20_000_000) && took <= CHECK_TIMEOUT + Duration::from_millis(25), "{seen:?} after {took:?}");
        assert_eq!(run(20e6, 5000, 5_000_000).0, None);
    }
}
