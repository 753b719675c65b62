//! OpenH264's encoder, with a bit rate, a frame rate and key frames that follow at run time.

use openh264::{
    OpenH264API,
    encoder::{BitRate, Complexity, EncoderConfig, FrameRate, IntraFramePeriod, Profile, RateControlMode, UsageType},
    formats::YUVSlices,
};
use sightline_media::MediaTime;
use sightline_signal::Settings;

/// The software encoder of this build, for people.
pub const ENCODER_BUILD: &str = env!("SIGHTLINE_ENCODER_BUILD");

/// openh264 refuses any rate above the one it was opened with, and half-applies it (measured with 2.6). So it is opened at this multiple of the target, and
/// lowered after its first frame: before that it takes no rate at all.
const CEILING_OVER_TARGET: u32 = 2;

/// Why a picture was not encoded.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// It does not open: too large a picture, or too little memory.
    #[error("openh264 can't be opened: {0}")]
    Open(String),
    /// openh264 refused a picture.
    #[error("openh264: {0}")]
    Library(#[from] openh264::Error),
}

/// A picture in planar YUV 4:2:0, BT.601 video range, without padding. Sides are even.
#[derive(Clone, Copy, Debug)]
pub struct Planes<'a> {
    /// Y, U and V; the latter two half as wide and high.
    pub planes: [&'a [u8]; 3],
    /// In pixels.
    pub width: usize,
    /// In pixels.
    pub height: usize,
}

/// An encoder for one size.
pub struct Encoder {
    inner: openh264::encoder::Encoder,
    settings: Settings,
    ceiling_bps: u32,
    is_warm: bool,
    annex_b: Vec<u8>,
    feedback: Feedback,
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Corrects the bit rate by what the encoder makes: openh264 stays 10 % under its target on a noisy scene, and exceeds it on others.
struct Feedback {
    /// The rate that openh264 is given, as a multiple of the wanted one.
    factor: f64,
    /// Pictures between two corrections: a key-frame interval, so that each holds one key frame.
    interval: u32,
    pictures: u32,
    bytes: usize,
}

impl Feedback {
    /// A scene too simple for its rate raises the factor no further: the next, richer scene would exceed the rate by as much.
    const FACTORS: std::ops::RangeInclusive<f64> = 0.7..=1.25;
    /// The share of an error that one correction removes.
    const GAIN: f64 = 0.6;

    fn new(interval: u32) -> Self {
        Self { factor: 1.0, interval: interval.max(1), pictures: 0, bytes: 0 }
    }

    /// Counts a picture of this many bytes; zero where it was left out. True when the factor has changed.
    fn see(&mut self, bytes: usize, wanted: Settings) -> bool {
        self.pictures += 1;
        self.bytes += bytes;
        if self.pictures < self.interval {
            return false;
        }
        let made_bps = self.bytes as f64 * 8.0 / f64::from(self.pictures) * f64::from(wanted.fps);
        (self.pictures, self.bytes) = (0, 0);
        let off = (f64::from(wanted.bitrate_bps) / made_bps.max(1.0)).clamp(0.5, 2.0);
        let before = self.factor;
        self.factor = (before * off.powf(Self::GAIN)).clamp(*Self::FACTORS.start(), *Self::FACTORS.end());
        (self.factor - before).abs() > 0.01
    }
}

impl Encoder {
    /// Opens one. `keyframe_interval_sec`: a key frame at least this often.
    ///
    /// # Errors
    /// [`EncodeError::Open`]
    pub fn open(settings: Settings, keyframe_interval_sec: f32) -> Result<Self, EncodeError> {
        let ceiling_bps = settings.bitrate_bps.saturating_mul(CEILING_OVER_TARGET);
        let interval = (settings.fps as f32 * keyframe_interval_sec).round().max(1.0) as u32;
        let config = EncoderConfig::new()
            .bitrate(BitRate::from_bps(ceiling_bps))
            .max_frame_rate(FrameRate::from_hz(settings.fps as f32))
            .rate_control_mode(RateControlMode::Bitrate)
            .usage_type(UsageType::CameraVideoRealTime)
            .profile(Profile::Baseline)
            .complexity(Complexity::Medium)
            .intra_frame_period(IntraFramePeriod::from_num_frames(interval))
            .num_threads(1)
            .skip_frames(true);
        let inner = openh264::encoder::Encoder::with_api_config(OpenH264API::from_source(), config)
            .map_err(|error| EncodeError::Open(error.to_string()))?;
        Ok(Self { inner, settings, ceiling_bps, is_warm: false, annex_b: Vec::new(), feedback: Feedback::new(interval) })
    }

    #[expect(unsafe_code, reason = "the wrapper has no setter for the bit rate at run time (openh264-rs pull request 80)")]
    fn apply_bitrate(&mut self) -> bool {
        let asked = (f64::from(self.settings.bitrate_bps) * self.feedback.factor).min(f64::from(self.ceiling_bps));
        let bitrate = asked as i32;
        let mut info = openh264_sys2::SBitrateInfo { iLayer: openh264_sys2::SPATIAL_LAYER_ALL, iBitrate: bitrate };
        // SAFETY: the encoder is initialised (it has encoded a frame); the option takes an SBitrateInfo, and is given one that outlives the call.
        let code = unsafe { self.inner.raw_api().set_option(openh264_sys2::ENCODER_OPTION_BITRATE, (&raw mut info).cast()) };
        code == 0
    }

    /// Follows new numbers of the same size and frame rate, up to a ceiling. False: open another encoder for them.
    pub fn follow(&mut self, settings: Settings) -> bool {
        if (settings.width, settings.height, settings.fps) != (self.settings.width, self.settings.height, self.settings.fps)
            || settings.bitrate_bps > self.ceiling_bps
        {
            return false;
        }
        if settings.bitrate_bps != self.settings.bitrate_bps {
            // Bytes made at another rate say nothing about this one.
            (self.feedback.pictures, self.feedback.bytes) = (0, 0);
        }
        self.settings = settings;
        !self.is_warm || self.apply_bitrate()
    }

    /// Makes the next frame an IDR.
    pub fn force_keyframe(&mut self) {
        if self.is_warm {
            self.inner.force_intra_frame();
        }
    }

    /// Encodes one picture into Annex B, with the parameter sets before each key frame. Empty: the rate control left the picture out.
    ///
    /// # Errors
    /// [`EncodeError`]
    pub fn encode(&mut self, picture: Planes<'_>, time: MediaTime) -> Result<&[u8], EncodeError> {
        let source =
            YUVSlices::new(picture.planes.into(), (picture.width, picture.height), (picture.width, picture.width / 2, picture.width / 2));
        let at = openh264::Timestamp::from_millis(u64::try_from(time.as_millis()).unwrap_or(0));
        self.annex_b.clear();
        // openh264 opens with its first picture.
        let is_warm = self.is_warm;
        let refused = |error: openh264::Error| {
            if is_warm {
                return EncodeError::Library(error);
            }
            EncodeError::Open(format!("{}x{}: {error}; take a smaller size", picture.width, picture.height))
        };
        self.inner.encode_at(&source, at).map_err(refused)?.write_vec(&mut self.annex_b);
        if !self.is_warm {
            self.is_warm = true;
            if !self.apply_bitrate() {
                tracing::warn!(bitrate_bps = self.settings.bitrate_bps, "openh264 did not take its bit rate");
            }
        }
        if self.feedback.see(self.annex_b.len(), self.settings) && !self.apply_bitrate() {
            tracing::warn!(bitrate_bps = self.settings.bitrate_bps, "openh264 did not take its bit rate");
        }
        Ok(&self.annex_b)
    }
}
