//! How a source's own numbers meet a preset's.

use sightline_capture::clip::Character;
use sightline_signal::{FIT_TOLERANCE, Settings};

/// Whether video that others encoded is above a preset's numbers.
#[must_use]
pub fn exceeds(own: Character, limits: Settings) -> bool {
    own.width > limits.width
        || own.height > limits.height
        || own.fps > f64::from(limits.fps) * FIT_TOLERANCE
        || f64::from(own.bitrate_bps) > f64::from(limits.bitrate_bps) * FIT_TOLERANCE
}

/// A preset's numbers with the size of a source, scaled down into it where it is larger; never up. Sides are even.
#[must_use]
pub fn scaled_into((width, height): (u32, u32), limits: Settings) -> Settings {
    let fit = |limit: u32, side: u32| f64::from(limit) / f64::from(side.max(1));
    let scale = fit(limits.width, width).min(fit(limits.height, height)).min(1.0);
    let even = |side: u32| ((f64::from(side) * scale / 2.0).round() as u32 * 2).max(2);
    Settings { width: even(width), height: even(height), ..limits }
}
