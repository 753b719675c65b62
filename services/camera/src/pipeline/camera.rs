//! Cameras: H.264 that fits the preset is passed through; H.264 above it, JPEG and raw pictures are decoded, scaled down, thinned out and encoded.

use bytes::Bytes;
use openh264::formats::YUVSource as _;
use sightline_media::{Frame, MediaTime, Track, TrackId, avc};
use sightline_pusher::EncoderAction;
use sightline_signal::{ErrorCode, Settings};
use std::{
    sync::mpsc::TryRecvError,
    time::{Duration, Instant as StdInstant},
};

use super::{Encoding, Made, Stop, Worker, exceeds, scaled_into, to_annex_b};
use crate::{
    clock,
    picture::{Picture, Scaler},
    source::{
        clip::Character,
        jpeg,
        live::{Camera, Live, Seen, Trouble},
        v4l2::modes::Wanted,
    },
};

/// How long a silent camera lets an order wait.
const ORDERS_INTERVAL: Duration = Duration::from_millis(50);
/// Over how long a camera's frame rate and bit rate are measured: two usual groups of pictures.
const MEASURED: MediaTime = MediaTime::from_millis(4_000);
/// Broken JPEG pictures in a row before the log says so, and then each so many: a camera with bad memory gives one now and then.
const BROKEN_PICTURES_SAID: u32 = 25;
/// A frame rate that is this many times another is worth opening the encoder again: it spends its bits by the picture.
const FPS_RATIO: f64 = 1.5;

impl Worker {
    /// Runs until told to stop; a camera that is lost is waited for.
    pub(super) fn run_camera(&self, camera: &Camera, settings: Settings) -> Stop {
        let start = StdInstant::now();
        let wanted = Wanted { settings, is_limit: self.plan.limits.is_some() };
        let live = match Live::open(camera.clone(), wanted, start) {
            Ok(live) => live,
            Err(problem) => return self.fail_with(ErrorCode::EncoderOutOfResources, problem.to_string()),
        };
        let mut run = Run {
            worker: self,
            camera,
            settings,
            start,
            tracks: Vec::new(),
            rate: Rate::default(),
            measured: None,
            recoding: None,
            broken_pictures: 0,
        };
        loop {
            let taken = run.obey().and_then(|()| match live.next(ORDERS_INTERVAL) {
                Ok(Some(seen)) => run.take(seen),
                Ok(None) => Ok(()),
                Err(problem) => Err(self.fail(problem)),
            });
            if let Err(stop) = taken {
                return stop;
            }
        }
    }
}

/// From one start to the next stop.
struct Run<'a> {
    worker: &'a Worker,
    camera: &'a Camera,
    settings: Settings,
    start: StdInstant,
    tracks: Vec<Track>,
    rate: Rate,
    /// Pictures and bits a second, once they are known.
    measured: Option<(f64, f64)>,
    recoding: Option<Recoding<'a>>,
    broken_pictures: u32,
}

/// What is encoded here.
struct Recoding<'a> {
    encoding: Encoding<'a>,
    scaler: Scaler,
    /// Of the camera's pictures.
    size: (u32, u32),
    decoder: Option<openh264::decoder::Decoder>,
    picture: Picture,
    annex_b: Vec<u8>,
}

impl<'a> Run<'a> {
    /// Follows the orders that wait.
    fn obey(&mut self) -> Result<(), Stop> {
        loop {
            let order = match self.worker.orders.try_recv() {
                Ok(order) => order,
                Err(TryRecvError::Empty) => return Ok(()),
                Err(TryRecvError::Disconnected) => return Err(Stop::Finished),
            };
            if let EncoderAction::Start(settings) | EncoderAction::Change(settings) = order {
                self.settings = settings;
            }
            match &mut self.recoding {
                Some(recoding) => recoding.encoding.obey(order)?,
                // What the camera encoded can only be stopped.
                None if matches!(order, EncoderAction::Stop) => return Err(Stop::Paused),
                None => {}
            }
        }
    }

    fn take(&mut self, seen: Seen) -> Result<(), Stop> {
        match seen {
            Seen::Track(track) => self.take_track(*track),
            Seen::Frame(frame, at) if frame.track == TrackId::VIDEO => self.take_video(frame, at),
            Seen::Frame(frame, at) => self.tell(Made::Frame(frame, clock::from_std(at))),
            Seen::Picture(jpeg, at) => self.take_jpeg(&jpeg, at),
            Seen::Pixels(picture, at) => self.take_pixels(picture, at),
            Seen::Lost { trouble, attempts, next_retry } => self.lose(&trouble, attempts, next_retry),
        }
    }

    fn tell(&self, made: Made) -> Result<(), Stop> {
        if self.worker.tell(made) { Ok(()) } else { Err(Stop::Finished) }
    }

    fn lose(&mut self, trouble: &Trouble, attempts: u32, next_retry: Duration) -> Result<(), Stop> {
        let has_given = self.worker.has_camera_given.get();
        if trouble.is_refusal && !has_given && !self.worker.plan.is_patient {
            return Err(self.worker.fail_with(trouble.code, format!("source {}: {trouble}", self.camera)));
        }
        let (code, retry_secs) = (trouble.code, next_retry.as_secs());
        tracing::warn!(camera = %self.camera, problem = %trouble, attempts, retry_secs, "{code}: the camera gives no pictures");
        self.rate = Rate::default();
        self.tell(Made::Lost { code, attempts, next_retry })
    }

    // ---- H.264 --------------------------------------------------------------------------------------------------------

    fn take_track(&mut self, track: Track) -> Result<(), Stop> {
        if self.tracks.contains(&track) {
            return Ok(());
        }
        let is_video = track.id == TrackId::VIDEO;
        self.tracks.retain(|known| known.id != track.id);
        self.tracks.push(track.clone());
        if is_video {
            // Whether it still fits is seen at its first key frame.
            (self.recoding, self.measured) = (None, None);
            self.rate = Rate::default();
            return Ok(());
        }
        self.tell(Made::Track(Box::new(track)))
    }

    fn take_video(&mut self, frame: Frame<Bytes>, at: StdInstant) -> Result<(), Stop> {
        self.worker.has_camera_given.set(true);
        if frame.is_keyframe {
            self.measured = self.rate.measure(frame.dts).or(self.measured);
            self.decide()?;
        }
        self.rate.count(frame.dts, frame.payload.len());
        if self.recoding.is_some() { self.recode_video(&frame) } else { self.tell(Made::Frame(frame, clock::from_std(at))) }
    }

    /// At a key frame: pass it through, or encode it again from here on?
    fn decide(&mut self) -> Result<(), Stop> {
        if self.recoding.is_some() {
            return Ok(());
        }
        let Some(track) = self.tracks.iter().find(|track| track.id == TrackId::VIDEO).cloned() else { return Ok(()) };
        let (width, height) = track.config.size().unwrap_or((0, 0));
        let said = track.config.avc().and_then(|config| config.picture().frames_per_kilosecond);
        let fps = self.measured.map_or(said.map_or(0.0, |rate| f64::from(rate) / 1000.0), |(fps, _)| fps);
        let own = Character { width, height, fps, bitrate_bps: self.measured.map_or(0, |(_, bps)| bps as u32) };
        if !self.worker.plan.limits.is_some_and(|limits| exceeds(own, limits)) {
            return self.tell(Made::Track(Box::new(track)));
        }
        tracing::info!(width, height, fps, bitrate_bps = own.bitrate_bps, "the camera is above the preset: it is encoded again");
        // Flushing after each access unit would tear pictures out of the order that B-frames need.
        let config = openh264::decoder::DecoderConfig::new().flush_after_decode(openh264::decoder::Flush::NoFlush);
        match openh264::decoder::Decoder::with_api_config(openh264::OpenH264API::from_source(), config) {
            Ok(decoder) => {
                let fps = if fps > 0.0 { (fps.round() as u32).max(1).min(self.settings.fps) } else { self.settings.fps };
                self.begin_recoding((width, height), fps).decoder = Some(decoder);
                Ok(())
            }
            Err(error) => Err(self.worker.fail_with(ErrorCode::EncoderOutOfResources, format!("openh264's decoder: {error}"))),
        }
    }

    fn begin_recoding(&mut self, size: (u32, u32), fps: u32) -> &mut Recoding<'a> {
        let settings = Settings { fps, ..scaled_into(size, self.settings) };
        let mut encoding = Encoding::new(self.worker, settings, 1.0 / f64::from(fps.max(1)));
        encoding.keeps_size = true;
        // One media time for sound and picture.
        encoding.start = self.start;
        self.recoding.insert(Recoding {
            encoding,
            scaler: Scaler::new(settings.width as usize, settings.height as usize),
            size,
            decoder: None,
            picture: Picture::new(2, 2),
            annex_b: Vec::new(),
        })
    }

    fn recode_video(&mut self, frame: &Frame<Bytes>) -> Result<(), Stop> {
        let Some(recoding) = &mut self.recoding else { return Ok(()) };
        let Some(decoder) = &mut recoding.decoder else { return Ok(()) };
        to_annex_b(&self.tracks, avc::LENGTH_BYTES, frame, &mut recoding.annex_b);
        let Ok(Some(decoded)) = decoder.decode(&recoding.annex_b) else { return Ok(()) };
        // Every frame is decoded, and as many are shown as the preset has.
        if !recoding.encoding.is_due() {
            return Ok(());
        }
        let (width, height) = decoded.dimensions();
        let (y, u, v) = decoded.strides();
        recoding.picture.copy_from([decoded.y(), decoded.u(), decoded.v()], [y, u, v], width, height);
        recoding.encoding.encode(recoding.scaler.scale(&recoding.picture))
    }

    // ---- pictures, JPEG or raw ----------------------------------------------------------------------------------------

    fn take_jpeg(&mut self, jpeg: &[u8], at: StdInstant) -> Result<(), Stop> {
        if !self.is_picture_due(at, jpeg.len()) {
            return Ok(());
        }
        // Its memory is used again.
        let mut picture = self
            .recoding
            .as_mut()
            .map_or_else(|| Picture::new(2, 2), |recoding| std::mem::replace(&mut recoding.picture, Picture::new(2, 2)));
        if let Err(problem) = jpeg::decode(jpeg, &mut picture) {
            self.broken_pictures += 1;
            if self.broken_pictures.is_multiple_of(BROKEN_PICTURES_SAID) {
                let pictures = self.broken_pictures;
                tracing::warn!(camera = %self.camera, problem, pictures, "FRAME_FORMAT_UNSUPPORTED: the camera's pictures can't be decoded");
            }
            if self.broken_pictures == BROKEN_PICTURES_SAID {
                return self.tell(Made::Lost {
                    code: ErrorCode::FrameFormatUnsupported,
                    attempts: self.broken_pictures,
                    next_retry: Duration::ZERO,
                });
            }
            return Ok(());
        }
        self.broken_pictures = 0;
        self.encode_picture(picture, at)
    }

    fn take_pixels(&mut self, picture: Picture, at: StdInstant) -> Result<(), Stop> {
        let bytes = picture.planes().iter().map(|plane| plane.len()).sum();
        if self.is_picture_due(at, bytes) { self.encode_picture(picture, at) } else { Ok(()) }
    }

    /// Counts a picture, and tells whether it is one to encode.
    fn is_picture_due(&mut self, at: StdInstant, bytes: usize) -> bool {
        self.worker.has_camera_given.set(true);
        let time = MediaTime::from_micros(i64::try_from(at.saturating_duration_since(self.start).as_micros()).unwrap_or(i64::MAX));
        self.measured = self.rate.measure(time).or(self.measured);
        self.rate.count(time, bytes);
        self.recoding.as_mut().is_none_or(|recoding| recoding.encoding.is_due())
    }

    fn encode_picture(&mut self, picture: Picture, at: StdInstant) -> Result<(), Stop> {
        let size = (picture.width() as u32, picture.height() as u32);
        if self.recoding.as_ref().is_none_or(|recoding| recoding.size != size) {
            let fps = self.settings.fps;
            self.begin_recoding(size, fps);
        }
        let Some(recoding) = &mut self.recoding else { return Ok(()) };
        recoding.picture = picture;
        if let Some((fps, _)) = self.measured {
            recoding.encoding.adapt_fps(fps.min(f64::from(self.settings.fps)), FPS_RATIO);
        }
        recoding.encoding.keep_keyframe_interval();
        recoding.encoding.encode_at(recoding.scaler.scale(&recoding.picture), at)
    }
}

/// Counts what a camera sends.
#[derive(Debug, Default)]
struct Rate {
    since: Option<MediaTime>,
    frames: u32,
    bytes: u64,
}

impl Rate {
    fn count(&mut self, at: MediaTime, bytes: usize) {
        self.since.get_or_insert(at);
        self.frames += 1;
        self.bytes += bytes as u64;
    }

    /// Frames and bits a second, where enough time has passed up to `now`; then it begins anew.
    fn measure(&mut self, now: MediaTime) -> Option<(f64, f64)> {
        let elapsed = now - self.since?;
        if elapsed < MEASURED {
            return None;
        }
        let seconds = elapsed.ticks_90k as f64 / 90_000.0;
        let rates = (f64::from(self.frames) / seconds, self.bytes as f64 * 8.0 / seconds);
        *self = Self::default();
        Some(rates)
    }
}

impl std::fmt::Display for Camera {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rtsp(url, _) | Self::Mjpeg(url) => url.fmt(f),
            Self::V4l2(camera) => write!(f, "{}", camera.path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_of_the_camera_s_own_time() {
        let mut rate = Rate::default();
        for frame in 0..100 {
            rate.count(MediaTime::from_millis(frame * 40), 1_000);
            assert!(frame >= 100 || rate.measure(MediaTime::from_millis(frame * 40)).is_none());
        }
        let (fps, bps) = rate.measure(MediaTime::from_millis(4_000)).unwrap();
        assert!((fps - 25.0).abs() < 0.01 && (bps - 200_000.0).abs() < 1.0, "{fps} {bps}");
        assert!(rate.measure(MediaTime::from_millis(9_000)).is_none());
    }
}
