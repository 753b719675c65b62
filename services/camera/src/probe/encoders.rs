//! The encoders of this machine, and one of them tried.

use serde::Serialize;
use sightline_signal::Settings;
use std::path::{Path, PathBuf};

use super::{FormatReport, ProbeError, format_report};
use sightline_capture::v4l2::modes::FourCc;
use sightline_encode::v4l2_m2m::{self, Exercise, H264};

/// An H.264 encoder of this machine.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct EncoderReport {
    /// `/dev/videoN`: what the setting `encoder` takes.
    pub path: PathBuf,
    /// What it calls itself.
    pub name: String,
    /// Its driver in the kernel.
    pub driver: String,
    /// Where it sits.
    pub bus: String,
    /// What it makes, with its sizes.
    pub formats: Vec<FormatReport>,
    /// The raw formats that it takes and that are written here.
    pub raw_formats: Vec<String>,
}

/// The H.264 encoders of this machine, by their devices' numbers. What else converts, decoders and scalers, is left out.
#[must_use]
pub fn encoders() -> Vec<EncoderReport> {
    let report = |found: v4l2_m2m::Found| EncoderReport {
        path: found.path,
        name: found.identity.name,
        driver: found.identity.driver,
        bus: found.identity.bus,
        formats: found.coded.iter().map(|offer| FormatReport { is_read: offer.format == H264, ..format_report(offer) }).collect(),
        raw_formats: found.raw.iter().map(ToString::to_string).collect(),
    };
    v4l2_m2m::find(H264).into_iter().map(report).collect()
}

/// With what an encoder is tried.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trial {
    /// In pixels; even.
    pub width: u32,
    /// In pixels; even.
    pub height: u32,
    /// Four characters of V4L2: `H264`; others for the tests of this machinery.
    pub coded: String,
}

/// What an encoder did with the pictures of the test scene: 60 at 20 a second, a key frame each second and a forced one before the 31st, half of the
/// bit rate from the 41st on, and a drain at the end.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct TrialReport {
    /// `/dev/videoN`.
    pub path: PathBuf,
    /// What it made.
    pub coded: String,
    /// What it was given.
    pub raw_format: String,
    /// Bytes of a line of luma in its memory.
    pub stride: usize,
    /// Lines of luma in its memory.
    pub rows: usize,
    /// Memories of a picture.
    pub memories: usize,
    /// What its driver can't be told.
    pub missing: Vec<&'static str>,
    /// Whether it took another bit rate while it ran.
    pub follows_bitrate: bool,
    /// Pictures that went in.
    pub pictures_in: u32,
    /// Of which picture each frame was made.
    pub frames: Vec<i64>,
    /// Bytes of each frame.
    pub bytes: Vec<usize>,
    /// Those that its driver calls key frames.
    pub keyframes: Vec<i64>,
    /// How each frame begins, in hexadecimal: 24 bytes.
    pub heads: Vec<String>,
    /// Frames that came by the drain at the end.
    pub drained: usize,
    /// From a picture to its frame in milliseconds, in the mean: what its encoding costs in time.
    pub picture_ms: f64,
    /// The longest of them.
    pub picture_ms_max: f64,
}

const TRIAL_PICTURES: u32 = 60;
const TRIAL_FPS: u32 = 20;
const TRIAL_BITRATE_BPS: u32 = 1_000_000;
const TRIAL_FORCED_AT: u32 = 30;
const TRIAL_HALVED_AT: u32 = 40;
const HEAD_BYTES: usize = 24;

/// Tries one. Waits: not for a thread that others wait for.
///
/// # Errors
/// [`ProbeError::Encoder`]: it can't be opened so, or fails.
pub fn try_encoder(path: &Path, trial: &Trial) -> Result<TrialReport, ProbeError> {
    let refused = |problem: String| ProbeError::Encoder { problem };
    let coded: [u8; 4] =
        trial.coded.as_bytes().try_into().map_err(|_| refused(format!("{:?} is no format of four characters: take H264", trial.coded)))?;
    let Trial { width, height, .. } = *trial;
    if width < 2 || height < 2 || width % 2 + height % 2 != 0 {
        return Err(refused(format!("{width}x{height} is no size: take even sides")));
    }
    let settings = Settings { width, height, fps: TRIAL_FPS, bitrate_bps: TRIAL_BITRATE_BPS };
    let exercise = Exercise {
        coded: FourCc(coded),
        settings,
        keyframe_interval: TRIAL_FPS,
        pictures: TRIAL_PICTURES,
        forced_at: TRIAL_FORCED_AT,
        halved_at: TRIAL_HALVED_AT,
    };
    let done = v4l2_m2m::exercise(path, exercise).map_err(|error| refused(error.to_string()))?;
    let head = |frame: &Vec<u8>| frame.iter().take(HEAD_BYTES).map(|byte| format!("{byte:02x}")).collect();
    Ok(TrialReport {
        path: path.to_owned(),
        coded: trial.coded.clone(),
        raw_format: done.raw_format.to_string(),
        stride: done.stride,
        rows: done.rows,
        memories: done.memories,
        missing: done.missing,
        follows_bitrate: done.follows_bitrate,
        pictures_in: TRIAL_PICTURES,
        frames: done.pictures,
        bytes: done.frames.iter().map(Vec::len).collect(),
        keyframes: done.keyframes,
        heads: done.frames.iter().map(head).collect(),
        drained: done.drained,
        picture_ms: done.cost.as_secs_f64() * 1000.0,
        picture_ms_max: done.latency_max.as_secs_f64() * 1000.0,
    })
}
