//! AAC-LC that nobody has described: its frames and their times say what a decoder has to know.

use super::{AudioConfig, SAMPLE_RATES_HZ, SAMPLES_PER_FRAME};
use crate::MediaTime;

/// Frames looked at: half a second of them, over which a millisecond more or less is no other rate.
const FRAMES_LOOKED_AT: u32 = 24;
/// How far the times may be off, in percent of the rate: neighbours in the table are 8 apart.
const TOLERANCE_PERCENT: i64 = 3;

/// Looks at raw frames without a configuration.
#[derive(Clone, Debug, Default)]
pub struct Guess {
    first: Option<MediaTime>,
    steps: u32,
    channels: u8,
}

impl Guess {
    /// A frame, and its time. Gives the configuration once enough has come that agrees.
    pub fn see(&mut self, time: MediaTime, frame: &[u8]) -> Option<AudioConfig> {
        self.channels = channels_of(frame).unwrap_or(self.channels);
        let Some(first) = self.first else {
            self.first = Some(time);
            return None;
        };
        self.steps += 1;
        if self.steps < FRAMES_LOOKED_AT {
            return None;
        }
        let config = rate(time - first, self.steps).and_then(|rate| AudioConfig::low_complexity(rate, self.channels));
        (self.first, self.steps) = (Some(time), 0);
        config
    }
}

/// How many channels a raw frame has, where it tells: its first element is a single one or a pair (ISO/IEC 14496-3 §4.4.2.1).
#[must_use]
pub fn channels_of(frame: &[u8]) -> Option<u8> {
    match frame.first()? >> 5 {
        0 => Some(1),
        1 => Some(2),
        _ => None,
    }
}

/// The rate at which so many frames last this long.
fn rate(lasts: MediaTime, frames: u32) -> Option<u32> {
    let samples = i64::from(frames) * i64::from(SAMPLES_PER_FRAME);
    let measured = samples.saturating_mul(90_000).checked_div(lasts.ticks_90k)?;
    SAMPLE_RATES_HZ.into_iter().find(|&rate| {
        let rate = i64::from(rate);
        (measured - rate).abs().saturating_mul(100) <= rate * TOLERANCE_PERCENT
    })
}
