//! Controls of an encoder of the machine. Drivers differ in which they have: a missing optional one is skipped, and logged once.

use sightline_signal::Settings;
use std::{
    collections::BTreeSet,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use sightline_capture::videodev::{CONTROL_BITRATE, CONTROL_REPEAT_SETS, Control, ControlDescription, G_CTRL, QUERYCTRL, S_CTRL, call};

const CODEC_BASE: u32 = 0x0099_0900;
const B_FRAMES: u32 = CODEC_BASE + 202;
const GOP_SIZE: u32 = CODEC_BASE + 203;
const BITRATE_MODE: u32 = CODEC_BASE + 206;
const BITRATE: u32 = CONTROL_BITRATE;
const BITRATE_PEAK: u32 = CODEC_BASE + 208;
const FRAME_RC_ENABLE: u32 = CODEC_BASE + 215;
const HEADER_MODE: u32 = CODEC_BASE + 216;
const FORCE_KEY_FRAME: u32 = CODEC_BASE + 229;
const H264_I_PERIOD: u32 = CODEC_BASE + 358;
const H264_LEVEL: u32 = CODEC_BASE + 359;
const H264_PROFILE: u32 = CODEC_BASE + 363;
const PREPEND_SETS: u32 = CODEC_BASE + 644;
const MIN_BUFFERS_FOR_OUTPUT: u32 = 0x0098_0900 + 40;

const FLAG_DISABLED: u32 = 1;
const MODE_VBR: i32 = 0;
const MODE_CBR: i32 = 1;
const HEADER_WITH_FIRST_FRAME: i32 = 1;
const PROFILE_BASELINE: i32 = 0;
const PROFILE_CONSTRAINED_BASELINE: i32 = 1;
/// Any one second has at most this many halves of the mean rate (specification §1.1).
const PEAK_HALVES: i32 = 3;

/// Macroblocks of a picture and in a second that a level allows, and the menu's number for it: 3.0 and above.
const LEVELS: [(u64, u64, i32); 8] = [
    (1_620, 40_500, 8),
    (3_600, 108_000, 9),
    (5_120, 216_000, 10),
    (8_192, 245_760, 11),
    (8_704, 522_240, 13),
    (22_080, 589_824, 14),
    (36_864, 983_040, 15),
    (36_864, 2_073_600, 16),
];

/// The least level for a size and a rate.
fn level_of(settings: Settings) -> i32 {
    let blocks = u64::from(settings.width.div_ceil(16)) * u64::from(settings.height.div_ceil(16));
    let rate = blocks * u64::from(settings.fps);
    let fits = LEVELS.iter().find(|(size, speed, _)| blocks <= *size && rate <= *speed);
    fits.or(LEVELS.last()).map_or(8, |(_, _, level)| *level)
}

/// What was said to be missing, so that an encoder that is opened at each step of the ladder says it once.
static SAID: Mutex<BTreeSet<(PathBuf, &'static str)>> = Mutex::new(BTreeSet::new());

/// The controls of one open encoder.
pub(super) struct Controls<'a> {
    file: &'a File,
    path: &'a Path,
}

impl<'a> Controls<'a> {
    pub(super) const fn of(file: &'a File, path: &'a Path) -> Self {
        Self { file, path }
    }

    /// Sets every control that the driver has, and returns the names of the missing ones.
    pub(super) fn begin(&self, settings: Settings, keyframe_interval: u32) -> Vec<&'static str> {
        let interval = i32::try_from(keyframe_interval).unwrap_or(i32::MAX);
        let profile = self.set(H264_PROFILE, PROFILE_CONSTRAINED_BASELINE).or_else(|_| self.set(H264_PROFILE, PROFILE_BASELINE));
        // Both where both are: drivers differ in which they follow.
        let period = [self.set(GOP_SIZE, interval), self.set(H264_I_PERIOD, interval)];
        let repeats = [self.set(CONTROL_REPEAT_SETS, 1), self.set(PREPEND_SETS, 1)];
        let told = [
            ("rate control of frames", self.set(FRAME_RC_ENABLE, 1).is_ok()),
            ("bit rate mode", self.set(BITRATE_MODE, MODE_VBR).or_else(|_| self.set(BITRATE_MODE, MODE_CBR)).is_ok()),
            ("bit rate", self.set_bitrate(settings.bitrate_bps).is_ok()),
            ("profile", profile.is_ok()),
            ("level", self.set(H264_LEVEL, level_of(settings)).is_ok()),
            ("key-frame interval", period.iter().any(Result::is_ok)),
            ("B-frames", self.set(B_FRAMES, 0).is_ok()),
            ("header mode", self.set(HEADER_MODE, HEADER_WITH_FIRST_FRAME).is_ok()),
            ("repeated parameter sets", repeats.iter().any(Result::is_ok)),
            ("forced key frame", self.has(FORCE_KEY_FRAME)),
        ];
        let missing: Vec<&'static str> = told.into_iter().filter(|(_, is_told)| !is_told).map(|(name, _)| name).collect();
        let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
        let news: Vec<&str> = missing.iter().copied().filter(|name| said.insert((self.path.to_owned(), name))).collect();
        if !news.is_empty() {
            tracing::info!(encoder = %self.path.display(), missing = news.join(", "), "the encoder's driver has no control for all that is wanted of it");
        }
        missing
    }

    /// A bit rate, from the next picture on. The peak is set on the side where it is never below the rate.
    pub(super) fn set_bitrate(&self, bitrate_bps: u32) -> io::Result<()> {
        let rate = i32::try_from(bitrate_bps).unwrap_or(i32::MAX / 2);
        let peak = rate.saturating_mul(PEAK_HALVES) / 2;
        let raises = self.get(BITRATE).is_none_or(|now| now < rate);
        if raises {
            let _ = self.set(BITRATE_PEAK, peak);
        }
        self.set(BITRATE, rate)?;
        if !raises {
            let _ = self.set(BITRATE_PEAK, peak);
        }
        Ok(())
    }

    /// The next picture becomes a key frame.
    pub(super) fn force_keyframe(&self) -> io::Result<()> {
        self.set(FORCE_KEY_FRAME, 1)
    }

    /// The fewest buffers of raw pictures that it works with.
    pub(super) fn output_buffers_min(&self) -> u32 {
        self.get(MIN_BUFFERS_FOR_OUTPUT).and_then(|count| u32::try_from(count).ok()).unwrap_or(1)
    }

    fn describe(&self, id: u32) -> Option<ControlDescription> {
        let mut answer = ControlDescription { id, ..Default::default() };
        call(self.file, QUERYCTRL, &mut answer).ok()?;
        (answer.flags & FLAG_DISABLED == 0).then_some(answer)
    }

    fn has(&self, id: u32) -> bool {
        self.describe(id).is_some()
    }

    fn get(&self, id: u32) -> Option<i32> {
        let mut control = Control { id, value: 0 };
        call(self.file, G_CTRL, &mut control).ok()?;
        Some(control.value)
    }

    /// The nearest that the driver takes.
    fn set(&self, id: u32, value: i32) -> io::Result<()> {
        let known = self.describe(id).ok_or(io::ErrorKind::Unsupported)?;
        let value = value.clamp(known.minimum, known.maximum.max(known.minimum));
        call(self.file, S_CTRL, &mut Control { id, value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_those_of_table_a_1() {
        let level = |width, height, fps| level_of(Settings { width, height, fps, bitrate_bps: 1_000_000 });
        // 3.0, 3.1, 4.0, 4.2, 5.1, and the highest for what is above all.
        assert_eq!([level(640, 480, 15), level(1280, 720, 30), level(1920, 1080, 30)], [8, 9, 11]);
        assert_eq!([level(1920, 1080, 60), level(3840, 2160, 30), level(8192, 8192, 60)], [13, 15, 16]);
    }
}
