//! From pictures to H.264: what every encoder does, and openh264, with a bit rate, a frame rate and key frames that follow at run time.

mod bitstream;
pub(crate) mod choice;
pub(crate) mod guard;
pub(crate) mod v4l2_m2m;
mod watchdog;

use bytes::Bytes;
use openh264::{
    OpenH264API,
    encoder::{BitRate, Complexity, Encoder, EncoderConfig, FrameRate, IntraFramePeriod, Profile, RateControlMode, UsageType},
    formats::YUVSlices,
};
use sightline_media::{Frame, MediaTime, Track, avc};
use sightline_signal::{ErrorCode, Settings};
use std::path::{Path, PathBuf};

use crate::picture::Picture;
use bitstream::Bitstream;
pub(crate) use bitstream::frame_of;
pub(crate) use choice::{EncoderSource, OpenEncoder, Opening};

/// Why there is no frame.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EncoderError {
    /// It can't be opened: too large a picture, too little memory.
    #[error("openh264 can't be opened: {0}")]
    Open(String),
    /// openh264 refused.
    #[error("openh264: {0}")]
    Library(#[from] openh264::Error),
    /// What it made has no readable parameter sets.
    #[error("the encoder made parameter sets that can't be read: {0}")]
    ParameterSets(#[from] avc::ConfigError),
    /// It made a key frame, and never said what a decoder needs for it.
    #[error("the encoder made a key frame without parameter sets")]
    NoParameterSets,
    /// One of the machine can't be opened, or not for these numbers.
    #[error("encoder {path} can't be opened: {problem}")]
    DeviceOpen {
        /// Its device.
        path: PathBuf,
        /// Why, and where.
        problem: String,
    },
    /// One of the machine failed at its work.
    #[error("encoder {path}: {problem}")]
    Device {
        /// Its device.
        path: PathBuf,
        /// Why, and where.
        problem: String,
    },
}

impl EncoderError {
    fn device_open(path: &Path, problem: String) -> Self {
        Self::DeviceOpen { path: path.to_owned(), problem }
    }

    /// As it is reported.
    pub(crate) const fn code(&self) -> ErrorCode {
        match self {
            Self::Open(_) | Self::DeviceOpen { .. } => ErrorCode::EncoderOutOfResources,
            Self::Library(_) | Self::ParameterSets(_) | Self::NoParameterSets | Self::Device { .. } => ErrorCode::EncoderFailed,
        }
    }
}

/// From pictures of one size to H.264.
pub(crate) trait VideoEncoder {
    /// Follows new numbers where it can. Otherwise false: open another one.
    fn follow(&mut self, settings: Settings) -> bool;
    /// The next frame will be an IDR.
    fn force_keyframe(&mut self);
    /// Encodes one picture. `None`: the rate control left it out.
    fn encode(&mut self, picture: &Picture, time: MediaTime) -> Result<Option<Encoded>, EncoderError>;
    /// Another frame that is ready: one with a queue may give none of one picture, and two of the next.
    fn take(&mut self) -> Option<Encoded> {
        None
    }
    /// No more pictures: what is still in it.
    fn finish(&mut self) -> Vec<Encoded> {
        Vec::new()
    }
}

/// What one picture became.
#[derive(Debug)]
pub(crate) struct Encoded {
    /// Other parameter sets than before: to be sent first.
    pub(crate) track: Option<Track>,
    /// The access unit.
    pub(crate) frame: Frame<Bytes>,
}

/// One encoder for one size.
pub(crate) struct H264Encoder {
    inner: Encoder,
    settings: Settings,
    ceiling_bps: u32,
    is_warm: bool,
    annex_b: Vec<u8>,
    bitstream: Bitstream,
    feedback: Feedback,
}

/// openh264 refuses any rate above the one it was opened with, and half-applies it (measured with 2.6): it is opened at
/// this multiple of the target, and lowered after its first frame, because before that it takes no rate at all.
const CEILING_OVER_TARGET: u32 = 2;

/// What the encoder makes is measured, never trusted: openh264 stays 10 % under what it is asked for on a noisy scene, and goes over it on others.
struct Feedback {
    /// What is asked for, as a multiple of what is wanted.
    factor: f64,
    /// Pictures between two corrections: a key-frame interval, so that each holds one key frame.
    interval: u32,
    pictures: u32,
    bytes: usize,
}

impl Feedback {
    /// A scene that is too simple for its rate asks for no more than this: the next one that is not would go over by as much.
    const FACTORS: std::ops::RangeInclusive<f64> = 0.7..=1.25;
    /// Of what is off, so much is corrected at once.
    const GAIN: f64 = 0.6;

    fn new(interval: u32) -> Self {
        Self { factor: 1.0, interval: interval.max(1), pictures: 0, bytes: 0 }
    }

    /// A picture became so many bytes; none where it was left out. True when the factor has changed.
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

impl H264Encoder {
    /// [`Self::new`] as an [`Opening`].
    pub(crate) fn open(settings: Settings, keyframe_interval_sec: f32) -> Result<Box<dyn VideoEncoder>, EncoderError> {
        Ok(Box::new(Self::new(settings, keyframe_interval_sec)?))
    }

    /// `keyframe_interval_sec`: a key frame at least this often.
    pub(crate) fn new(settings: Settings, keyframe_interval_sec: f32) -> Result<Self, EncoderError> {
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
        let inner = Encoder::with_api_config(OpenH264API::from_source(), config).map_err(|error| EncoderError::Open(error.to_string()))?;
        Ok(Self {
            inner,
            settings,
            ceiling_bps,
            is_warm: false,
            annex_b: Vec::new(),
            bitstream: Bitstream::default(),
            feedback: Feedback::new(interval),
        })
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
}

impl VideoEncoder for H264Encoder {
    // The same size, and a rate under the ceiling.
    fn follow(&mut self, settings: Settings) -> bool {
        if (settings.width, settings.height, settings.fps) != (self.settings.width, self.settings.height, self.settings.fps)
            || settings.bitrate_bps > self.ceiling_bps
        {
            return false;
        }
        if settings.bitrate_bps != self.settings.bitrate_bps {
            // What was made under another rate says nothing of this one.
            (self.feedback.pictures, self.feedback.bytes) = (0, 0);
        }
        self.settings = settings;
        !self.is_warm || self.apply_bitrate()
    }

    fn force_keyframe(&mut self) {
        if self.is_warm {
            self.inner.force_intra_frame();
        }
    }

    fn encode(&mut self, picture: &Picture, time: MediaTime) -> Result<Option<Encoded>, EncoderError> {
        let source = YUVSlices::new(
            picture.planes().into(),
            (picture.width(), picture.height()),
            (picture.width(), picture.width() / 2, picture.width() / 2),
        );
        let at = openh264::Timestamp::from_millis(u64::try_from(time.as_millis()).unwrap_or(0));
        self.annex_b.clear();
        // It is opened with its first picture.
        let is_warm = self.is_warm;
        let refused = |error: openh264::Error| {
            if is_warm {
                return EncoderError::Library(error);
            }
            EncoderError::Open(format!("{}x{}: {error}; take a smaller size", picture.width(), picture.height()))
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
        self.bitstream.take(&self.annex_b, time)
    }
}

/// Which software encoder this build has, for people.
pub const ENCODER_BUILD: &str = env!("SIGHTLINE_ENCODER_BUILD");

/// Pictures a second that one core encodes at 1280x720, over about half a second: what a preset is picked by.
///
/// # Panics
/// Never: a failing encoder counts as zero.
#[must_use]
pub fn measure_encoder_fps() -> f32 {
    measure(&(H264Encoder::open as Opening))
}

/// The same of any encoder. One of the machine is waited for after each picture, so this is what it does in real time, and not the most that it could.
pub(crate) fn measure(source: &dyn EncoderSource) -> f32 {
    const FRAMES: u32 = 30;
    let settings = Settings { width: 1280, height: 720, fps: 20, bitrate_bps: 1_000_000 };
    let mut scene = crate::scene::Scene::new(1280, 720, "measure");
    let Ok(mut encoder) = source.open(settings, 2.0) else { return 0.0 };
    let start = std::time::Instant::now();
    for index in 0..FRAMES {
        let picture = scene.paint(u64::from(index) * 50);
        if encoder.encode(picture, MediaTime::from_millis(i64::from(index) * 50)).is_err() {
            return 0.0;
        }
    }
    FRAMES as f32 / start.elapsed().as_secs_f32()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{scene::Scene, stamp::Stamp};
    use sightline_media::{TrackConfig, TrackId};

    /// Fails on each picture.
    pub(crate) struct Broken;
    /// Takes pictures and gives nothing.
    pub(crate) struct Silent;
    /// Gives 20 KiB a picture, whatever its rate.
    pub(crate) struct Wasteful;

    macro_rules! faulty {
        ($name:ident, $picture:pat, $time:pat, $encoded:expr) => {
            impl $name {
                pub(crate) fn open(_: Settings, _: f32) -> Result<Box<dyn VideoEncoder>, EncoderError> {
                    Ok(Box::new(Self))
                }
            }

            impl VideoEncoder for $name {
                fn follow(&mut self, _: Settings) -> bool {
                    true
                }
                fn force_keyframe(&mut self) {}
                fn encode(&mut self, $picture: &Picture, $time: MediaTime) -> Result<Option<Encoded>, EncoderError> {
                    $encoded
                }
            }
        };
    }

    faulty!(Broken, _, _, Err(EncoderError::Library(openh264::Error::msg("injected"))));
    faulty!(Silent, _, _, Ok(None));
    faulty!(Wasteful, _, time, {
        let payload = Bytes::from(vec![0; 20 * 1024]);
        let frame = Frame { track: TrackId::VIDEO, dts: time, pts: time, is_keyframe: false, is_disposable: false, payload };
        Ok(Some(Encoded { track: None, frame }))
    });

    const LOW: Settings = Settings { width: 640, height: 480, fps: 15, bitrate_bps: 500_000 };

    fn run(encoder: &mut H264Encoder, scene: &mut Scene, first: u32, frames: u32, mut each: impl FnMut(u32, &Encoded)) -> usize {
        let mut bytes = 0;
        for index in first..first + frames {
            let picture = scene.paint(1_795_364_000_000 + u64::from(index) * 67);
            if let Some(encoded) = encoder.encode(picture, MediaTime::from_millis(i64::from(index) * 67)).unwrap() {
                bytes += encoded.frame.payload.len();
                each(index, &encoded);
            }
        }
        bytes
    }

    #[test]
    fn the_stamp_survives_the_lowest_bit_rate() {
        let settings = Settings { bitrate_bps: 150_000, ..LOW };
        let mut encoder = H264Encoder::new(settings, 2.0).unwrap();
        let mut decoder = openh264::decoder::Decoder::new().unwrap();
        let mut scene = Scene::new(640, 480, "cam-1");
        let (mut decoded, mut readable) = (0, 0);
        run(&mut encoder, &mut scene, 0, 60, |_, encoded| {
            let mut annex_b = Vec::new();
            if let Some(Track { config: TrackConfig::H264(config), .. }) = &encoded.track {
                config.parameter_sets().for_each(|set| annex_b.extend_from_slice(&[&[0, 0, 0, 1], set].concat()));
            }
            avc::NalUnits::new(&encoded.frame.payload, 4).for_each(|nal| annex_b.extend_from_slice(&[&[0, 0, 0, 1], nal].concat()));
            if let Some(picture) = decoder.decode(&annex_b).unwrap() {
                use openh264::formats::YUVSource as _;
                decoded += 1;
                readable += usize::from(Stamp::read(picture.y(), picture.strides().0, 640, 480).is_some());
            }
        });
        assert!(decoded > 30 && readable == decoded, "{readable} of {decoded}");
    }

    #[test]
    fn the_bit_rate_follows_at_run_time_both_ways() {
        let mut encoder = H264Encoder::new(LOW, 2.0).unwrap();
        let mut scene = Scene::new(640, 480, "cam-1");
        let kbps = |bytes: usize, frames: u32| bytes as f64 * 8.0 / f64::from(frames) * 15.0 / 1000.0;
        run(&mut encoder, &mut scene, 0, 30, |_, _| {});
        let normal = kbps(run(&mut encoder, &mut scene, 30, 150, |_, _| {}), 150);
        assert!(encoder.follow(Settings { bitrate_bps: 200_000, ..LOW }));
        run(&mut encoder, &mut scene, 180, 30, |_, _| {});
        let low = kbps(run(&mut encoder, &mut scene, 210, 150, |_, _| {}), 150);
        assert!(encoder.follow(LOW));
        run(&mut encoder, &mut scene, 360, 30, |_, _| {});
        let back = kbps(run(&mut encoder, &mut scene, 390, 150, |_, _| {}), 150);
        assert!(low < 240.0 && back > low * 1.5 && (normal - back).abs() < normal * 0.35, "{normal:.0} -> {low:.0} -> {back:.0} kbit/s");
    }

    #[test]
    fn a_key_frame_comes_when_it_is_asked_for_and_every_interval() {
        let mut encoder = H264Encoder::new(LOW, 2.0).unwrap();
        let mut scene = Scene::new(640, 480, "cam-1");
        let mut keyframes = Vec::new();
        run(&mut encoder, &mut scene, 0, 10, |index, encoded| keyframes.extend(encoded.frame.is_keyframe.then_some(index)));
        encoder.force_keyframe();
        run(&mut encoder, &mut scene, 10, 50, |index, encoded| keyframes.extend(encoded.frame.is_keyframe.then_some(index)));
        assert_eq!(keyframes[..2], [0, 10]);
        assert!(keyframes[2] <= 40, "{keyframes:?}");
    }

    #[test]
    fn another_size_or_a_rate_above_the_ceiling_wants_another_encoder() {
        let mut encoder = H264Encoder::new(LOW, 2.0).unwrap();
        assert!(!encoder.follow(Settings { width: 320, ..LOW }));
        assert!(!encoder.follow(Settings { bitrate_bps: 1_000_001, ..LOW }));
    }
}
