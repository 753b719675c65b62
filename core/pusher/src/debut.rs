//! The first moments of a stream, measured: `stream_started` says what is really sent, not what the encoder was asked for.

use core::time::Duration;
use sightline_media::{Instant, TrackId};

/// Measured over this long: a second has enough pictures for a rate, and whoever waits for the event waits no longer.
const MEASURED_OVER: Duration = Duration::from_secs(1);
/// A source that gives no two pictures by then is told of without a rate.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was sent since the server took the stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Debut {
    began_at: Instant,
    first_at: Option<Instant>,
    last_at: Instant,
    frames: u32,
    bytes: u64,
}

/// Frames and thousands of bits a second.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Measured {
    pub(crate) fps: f32,
    pub(crate) bitrate_kbps: f32,
}

impl Debut {
    pub(crate) const fn new(now: Instant) -> Self {
        Self { began_at: now, first_at: None, last_at: now, frames: 0, bytes: 0 }
    }

    /// A frame went out.
    pub(crate) fn sent(&mut self, now: Instant, track: TrackId, bytes: usize) {
        self.bytes += bytes as u64;
        if track == TrackId::VIDEO {
            self.first_at.get_or_insert(now);
            self.last_at = now;
            self.frames += 1;
        }
    }

    /// When it is over, at the latest.
    pub(crate) fn ends_at(&self) -> Instant {
        self.began_at + if self.frames < 2 { PATIENCE } else { MEASURED_OVER }
    }

    /// The figures; `None` where there were no two pictures, or all came at once.
    pub(crate) fn measured(&self) -> Option<Measured> {
        let span = self.last_at.since(self.first_at?).as_secs_f32();
        if self.frames < 2 || span < 0.1 {
            return None;
        }
        let fps = (self.frames - 1) as f32 / span;
        // The last picture has its time, too.
        Some(Measured { fps, bitrate_kbps: self.bytes as f32 * 8.0 / 1000.0 * fps / self.frames as f32 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_of_pictures_gives_their_rate_and_a_single_one_none() {
        let at = |ms: u64| Instant::from_micros(ms * 1000);
        let mut debut = Debut::new(at(0));
        debut.sent(at(300), TrackId::VIDEO, 5000);
        assert_eq!((debut.measured(), debut.ends_at()), (None, at(5000)));
        for picture in 1..=14 {
            debut.sent(at(300 + picture * 50), TrackId::VIDEO, 5000);
        }
        let measured = debut.measured().unwrap();
        assert!((measured.fps - 20.0).abs() < 0.01 && (measured.bitrate_kbps - 800.0).abs() < 1.0, "{measured:?}");
        assert_eq!(debut.ends_at(), at(1000));
    }
}
