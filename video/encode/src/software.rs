//! openh264 as an encoder of a pipeline, and how fast an encoder is.

use sightline_capture::{Picture, scene::Scene};
use sightline_h264::{Encoder, Planes};
use sightline_media::MediaTime;
use sightline_signal::Settings;

use crate::{
    bitstream::Bitstream,
    encoder::{Encoded, EncoderError, EncoderSource, Opening, VideoEncoder},
};

/// openh264 for one size.
#[derive(Debug)]
pub struct SoftwareEncoder {
    inner: Encoder,
    bitstream: Bitstream,
}

impl SoftwareEncoder {
    /// [`Self::new`] as an [`Opening`].
    ///
    /// # Errors
    /// [`EncoderError::Software`]
    pub fn open(settings: Settings, keyframe_interval_sec: f32) -> Result<Box<dyn VideoEncoder>, EncoderError> {
        Ok(Box::new(Self::new(settings, keyframe_interval_sec)?))
    }

    /// `keyframe_interval_sec`: a key frame at least this often.
    ///
    /// # Errors
    /// [`EncoderError::Software`]
    pub fn new(settings: Settings, keyframe_interval_sec: f32) -> Result<Self, EncoderError> {
        Ok(Self { inner: Encoder::open(settings, keyframe_interval_sec)?, bitstream: Bitstream::default() })
    }
}

impl VideoEncoder for SoftwareEncoder {
    fn follow(&mut self, settings: Settings) -> bool {
        self.inner.follow(settings)
    }

    fn force_keyframe(&mut self) {
        self.inner.force_keyframe();
    }

    fn encode(&mut self, picture: &Picture, time: MediaTime) -> Result<Option<Encoded>, EncoderError> {
        let planes = Planes { planes: picture.planes(), width: picture.width(), height: picture.height() };
        self.bitstream.take(self.inner.encode(planes, time)?, time)
    }
}

/// Pictures of 1280x720 that openh264 encodes a second on one core, measured over about half a second. The demo picks its preset by it.
///
/// # Panics
/// Never: a failing encoder counts as zero.
#[must_use]
pub fn measure_encoder_fps() -> f32 {
    measure(&(SoftwareEncoder::open as Opening))
}

/// The same for any encoder. Each picture of a hardware encoder is waited for, so this is its rate in real time, not its highest throughput.
#[must_use]
pub fn measure(source: &dyn EncoderSource) -> f32 {
    const FRAMES: u32 = 30;
    let settings = Settings { width: 1280, height: 720, fps: 20, bitrate_bps: 1_000_000 };
    let mut scene = Scene::new(1280, 720, "measure");
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
mod tests {
    use super::*;
    use sightline_capture::stamp::Stamp;
    use sightline_h264::Decoder;
    use sightline_media::avc;

    const LOW: Settings = Settings { width: 640, height: 480, fps: 15, bitrate_bps: 500_000 };

    fn run(encoder: &mut SoftwareEncoder, scene: &mut Scene, first: u32, frames: u32, mut each: impl FnMut(u32, &Encoded)) -> usize {
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
        let mut encoder = SoftwareEncoder::new(settings, 2.0).unwrap();
        let mut decoder = Decoder::for_keyframes().unwrap();
        let mut scene = Scene::new(640, 480, "cam-1");
        let (mut decoded, mut readable) = (0, 0);
        run(&mut encoder, &mut scene, 0, 60, |_, encoded| {
            let config = encoded.track.as_ref().and_then(|track| track.config.avc());
            if let Some(picture) = decoder.decode(config, &encoded.frame.payload, avc::LENGTH_BYTES) {
                decoded += 1;
                readable += usize::from(Stamp::read(picture.planes()[0], picture.strides()[0], 640, 480).is_some());
            }
        });
        assert!(decoded > 30 && readable == decoded, "{readable} of {decoded}");
    }

    #[test]
    fn the_bit_rate_follows_at_run_time_both_ways() {
        let mut encoder = SoftwareEncoder::new(LOW, 2.0).unwrap();
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
        let mut encoder = SoftwareEncoder::new(LOW, 2.0).unwrap();
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
        let mut encoder = SoftwareEncoder::new(LOW, 2.0).unwrap();
        assert!(!encoder.follow(Settings { width: 320, ..LOW }));
        assert!(!encoder.follow(Settings { bitrate_bps: 1_000_001, ..LOW }));
    }
}
