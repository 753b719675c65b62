//! Cameras: H.264 that fits the preset is passed through; H.264 above it, JPEG and raw pictures are decoded, scaled down, thinned out and encoded.

use bytes::Bytes;
use sightline_capture::{
    Picture, SourceError, SourceEvent, Trouble,
    clip::Character,
    clock, jpeg,
    live::{Live, LiveSource},
    oddity,
    v4l2::modes::Target,
};
use sightline_h264::Decoder;
use sightline_media::{Codec, Frame, MediaTime, Track, TrackId, avc};
use sightline_signal::{ErrorCode, Settings};
use std::{
    sync::mpsc::TryRecvError,
    time::{Duration, Instant as StdInstant},
};

use super::{
    Encoding, ORDERS_INTERVAL, Own, PipelineEvent, Stop, Worker,
    transcoder::{Ready, Transcoder},
};
use crate::{fit::exceeds, order::EncoderOrder};

/// Over how long a camera's frame rate and bit rate are measured: two usual groups of pictures.
const MEASURED: MediaTime = MediaTime::from_millis(4_000);
/// Log after this many broken pictures in a row, and again after every further batch of that size: a camera with bad memory gives one now and then.
const BROKEN_PICTURES_SAID: u32 = 25;
/// Frames in a row of which no picture is decoded: five seconds of them, or fewer where they come slowly.
const UNDECODED_MAX: u32 = 125;
/// A frame rate that is this many times another is worth opening the encoder again: it spends its bits by the picture.
const FPS_RATIO: f64 = 1.5;

impl Worker {
    /// Runs until it is stopped. A lost camera is waited for.
    pub(super) fn run_live(&self, camera: &LiveSource, settings: Settings) -> Stop {
        let start = StdInstant::now();
        let wanted = Target { settings: self.openable(settings), is_limit: self.plan.limits.is_some() };
        let live = match Live::open(camera.clone(), wanted, start) {
            Ok(live) => live,
            Err(problem) => return self.fail_with(ErrorCode::EncoderOutOfResources, problem.to_string()),
        };
        let mut run = Run::new(self, camera, settings, start);
        loop {
            let taken = run.obey().and_then(|()| match live.next(ORDERS_INTERVAL) {
                Ok(Some(seen)) => run.take(seen),
                Ok(None) => Ok(()),
                Err(problem) => Err(self.fail(problem.to_string())),
            });
            let taken = taken.and_then(|()| run.take_decoded());
            if let Err(stop) = taken {
                return stop;
            }
        }
    }
}

/// From one start to the next stop.
struct Run<'a> {
    worker: &'a Worker,
    camera: &'a LiveSource,
    settings: Settings,
    start: StdInstant,
    tracks: Vec<Track>,
    rate: RateMeter,
    /// Pictures and bits a second, once they are known.
    measured: Option<(f64, f64)>,
    recoding: Option<Recoding<'a>>,
    broken_pictures: u32,
    /// Frames in a row of which no picture was decoded.
    undecoded: u32,
    /// What was logged as unusual of its video.
    told_oddity: Option<&'static str>,
}

/// What is encoded here.
struct Recoding<'a> {
    encoding: Encoding<'a>,
    /// Of the camera's pictures.
    size: (u32, u32),
    decoder: Option<Decoder>,
    /// Where this build's decoder does not read them.
    transcoder: Option<Transcoder>,
    picture: Picture,
}

impl<'a> Run<'a> {
    fn new(worker: &'a Worker, camera: &'a LiveSource, settings: Settings, start: StdInstant) -> Self {
        Self {
            worker,
            camera,
            settings,
            start,
            tracks: Vec::new(),
            rate: RateMeter::default(),
            measured: None,
            recoding: None,
            broken_pictures: 0,
            undecoded: 0,
            told_oddity: None,
        }
    }

    /// Follows the orders that wait.
    fn obey(&mut self) -> Result<(), Stop> {
        loop {
            let order = match self.worker.orders.try_recv() {
                Ok(order) => order,
                Err(TryRecvError::Empty) => return Ok(()),
                Err(TryRecvError::Disconnected) => return Err(Stop::Finished),
            };
            if let EncoderOrder::Start(settings) | EncoderOrder::Change(settings) = order {
                self.settings = settings;
            }
            if let EncoderOrder::Hevc(is_taken) = order {
                self.worker.takes_hevc.set(is_taken);
            }
            match &mut self.recoding {
                Some(recoding) => recoding.encoding.obey(order)?,
                // What the camera encoded can only be stopped.
                None if matches!(order, EncoderOrder::Stop) => return Err(Stop::Paused),
                None => {}
            }
        }
    }

    fn take(&mut self, seen: SourceEvent) -> Result<(), Stop> {
        match seen {
            SourceEvent::Track(track) => self.take_track(*track),
            SourceEvent::Frame(frame, at) if frame.track == TrackId::VIDEO => self.take_video(frame, at),
            SourceEvent::Frame(frame, at) => self.tell(PipelineEvent::Frame(frame, clock::from_std(at))),
            SourceEvent::Picture(jpeg, at) => self.take_jpeg(&jpeg, at),
            SourceEvent::Pixels(picture, at) => self.take_pixels(picture, at),
            SourceEvent::Lost { trouble, attempts, next_retry } => self.lose(&trouble, attempts, next_retry),
        }
    }

    fn tell(&self, event: PipelineEvent) -> Result<(), Stop> {
        if self.worker.tell(event) { Ok(()) } else { Err(Stop::Finished) }
    }

    fn lose(&mut self, trouble: &Trouble, attempts: u32, next_retry: Duration) -> Result<(), Stop> {
        let has_given = self.worker.has_camera_given.get();
        if trouble.is_refusal && !has_given && !self.worker.plan.is_patient {
            return Err(self.worker.fail_with(trouble.code, format!("source {}: {trouble}", self.camera)));
        }
        let (code, retry_secs) = (trouble.code, next_retry.as_secs());
        tracing::warn!(camera = %self.camera, problem = %trouble, attempts, retry_secs, "{code}: the camera gives no pictures");
        self.rate = RateMeter::default();
        self.tell(PipelineEvent::Lost { code, attempts, next_retry })
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
            self.rate = RateMeter::default();
            return Ok(());
        }
        self.tell(PipelineEvent::Track(Box::new(track)))
    }

    fn take_video(&mut self, frame: Frame<Bytes>, at: StdInstant) -> Result<(), Stop> {
        self.worker.has_camera_given.set(true);
        if frame.is_keyframe {
            self.measured = self.rate.measure(frame.dts).or(self.measured);
            self.decide()?;
        }
        self.rate.count(frame.dts, frame.payload.len());
        if self.recoding.is_some() { self.recode_video(&frame, at) } else { self.tell(PipelineEvent::Frame(frame, clock::from_std(at))) }
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
        let oddity = track.config.avc().and_then(oddity);
        let is_above = self.worker.plan.limits.is_some_and(|limits| exceeds(own, limits));
        let is_refused = track.config.codec() == Codec::Hevc && !self.worker.takes_hevc.get();
        if !is_above && !is_refused {
            if let Some(oddity) = oddity.filter(|_| self.told_oddity != oddity) {
                self.told_oddity = Some(oddity);
                tracing::warn!(camera = %self.camera, "its H.264 is unusual ({oddity}): it is passed on as it is, and not every player shows it");
            }
            return self.tell(PipelineEvent::Track(Box::new(track)));
        }
        if oddity.is_some() || track.config.codec() != Codec::H264 {
            return self.transcode(track, own, oddity, is_refused);
        }
        tracing::info!(width, height, fps, bitrate_bps = own.bitrate_bps, "the camera is above the preset: it is encoded again");
        match Decoder::for_stream() {
            Ok(decoder) => {
                self.begin_recoding(Own { size: (width, height), fps: (fps > 0.0).then_some(fps) }).decoder = Some(decoder);
                Ok(())
            }
            Err(error) => Err(self.worker.fail_with(ErrorCode::EncoderOutOfResources, error.to_string())),
        }
    }

    /// Encodes again what ffmpeg decodes. `is_refused`: the server does not take it as it is.
    fn transcode(&mut self, track: Track, own: Character, oddity: Option<&str>, is_refused: bool) -> Result<(), Stop> {
        let Character { width, height, fps, .. } = own;
        let codec = track.config.codec().name();
        match Transcoder::start(&track.config, self.worker.openable(self.settings)) {
            Ok(Some(transcoder)) => {
                let reason = if is_refused { "the server does not take it" } else { "it is above the preset" };
                tracing::info!(codec, width, height, fps, reason, "the camera's pictures are decoded by ffmpeg and encoded as H.264");
                self.begin_recoding(Own { size: (width, height), fps: (fps > 0.0).then_some(fps) }).transcoder = Some(transcoder);
                Ok(())
            }
            Err(SourceError::NeedsFfmpeg { .. }) if is_refused => Err(self.worker.fail_with(
                ErrorCode::FrameFormatUnsupported,
                format!(
                    "source {}: the server does not take its {codec}, and to make H.264 of it needs `ffmpeg`, and there is none on the PATH: install ffmpeg, set the camera to H.264, or take a server that says that it takes {codec}",
                    self.camera
                ),
            )),
            Err(SourceError::NeedsFfmpeg { .. }) | Ok(None) if oddity.is_none() => {
                tracing::warn!(
                    codec,
                    width,
                    height,
                    fps,
                    "the camera is above the preset, and to make it smaller needs `ffmpeg` on the PATH: it is passed through; install ffmpeg, or lower its settings"
                );
                self.tell(PipelineEvent::Track(Box::new(track)))
            }
            Err(SourceError::NeedsFfmpeg { .. }) | Ok(None) => Err(self.cannot_decode(oddity.unwrap_or(codec))),
            Err(error) => Err(self.worker.fail_with(ErrorCode::FrameFormatUnsupported, format!("source {}: {error}", self.camera))),
        }
    }

    /// Encodes what ffmpeg has decoded by now.
    fn take_decoded(&mut self) -> Result<(), Stop> {
        loop {
            let Some(recoding) = &mut self.recoding else { return Ok(()) };
            let Some(transcoder) = &mut recoding.transcoder else { return Ok(()) };
            match transcoder.next() {
                Ready::Picture(picture, time) => {
                    let at = self.start + Duration::from_micros(u64::try_from(time.as_micros()).unwrap_or(0));
                    recoding.encoding.keep_size((picture.width() as u32, picture.height() as u32));
                    recoding.encoding.keep_keyframe_interval();
                    if recoding.encoding.is_due(at) {
                        recoding.encoding.encode_at(&picture, at)?;
                    }
                }
                Ready::Nothing => return Ok(()),
                Ready::Ended => {
                    tracing::warn!(camera = %self.camera, "ffmpeg has ended: another one goes on at the next key frame");
                    self.recoding = None;
                    return Ok(());
                }
                Ready::Failed(problem) => {
                    let problem = format!("source {}: {problem}; set the camera to H.264", self.camera);
                    return Err(self.worker.fail_with(ErrorCode::FrameFormatUnsupported, problem));
                }
            }
        }
    }

    /// The preset asks for what can't be done.
    fn cannot_decode(&self, what: &str) -> Stop {
        let problem = format!(
            "source {}: its H.264 ({what}) can't be decoded here, which the preset asks for: install ffmpeg, set the camera to 8 bits, 4:2:0 and progressive, or to what the preset allows, or leave the preset out",
            self.camera
        );
        self.worker.fail_with(ErrorCode::FrameFormatUnsupported, problem)
    }

    fn begin_recoding(&mut self, own: Own) -> &mut Recoding<'a> {
        let mut encoding = Encoding::of(self.worker, self.settings, own);
        // One media time for sound and picture.
        encoding.start = self.start;
        let size = own.size;
        self.recoding.insert(Recoding { encoding, size, decoder: None, transcoder: None, picture: Picture::new(2, 2) })
    }

    fn recode_video(&mut self, frame: &Frame<Bytes>, at: StdInstant) -> Result<(), Stop> {
        let Some(recoding) = &mut self.recoding else { return Ok(()) };
        if let Some(transcoder) = &mut recoding.transcoder {
            transcoder.put(frame);
            return Ok(());
        }
        let Some(decoder) = &mut recoding.decoder else { return Ok(()) };
        let config = self.tracks.iter().find_map(|track| track.config.avc()).filter(|_| frame.is_keyframe);
        let Some(decoded) = decoder.decode(config, &frame.payload, avc::LENGTH_BYTES) else {
            self.undecoded += 1;
            return if self.undecoded > UNDECODED_MAX { Err(self.cannot_decode("nothing of it is decoded")) } else { Ok(()) };
        };
        self.undecoded = 0;
        // Every frame is decoded, and as many are shown as are asked for.
        if !recoding.encoding.is_due(at) {
            return Ok(());
        }
        let (width, height) = decoded.size();
        recoding.picture.copy_from(decoded.planes(), decoded.strides(), width, height);
        recoding.encoding.encode(&recoding.picture)
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
                tracing::warn!(camera = %self.camera, %problem, pictures, "FRAME_FORMAT_UNSUPPORTED: the camera's pictures can't be decoded");
            }
            if self.broken_pictures == BROKEN_PICTURES_SAID {
                return self.tell(PipelineEvent::Lost {
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

    /// Counts a picture. True: it is to be encoded.
    fn is_picture_due(&mut self, at: StdInstant, bytes: usize) -> bool {
        self.worker.has_camera_given.set(true);
        let time = MediaTime::from_micros(i64::try_from(at.saturating_duration_since(self.start).as_micros()).unwrap_or(i64::MAX));
        self.measured = self.rate.measure(time).or(self.measured);
        self.rate.count(time, bytes);
        self.recoding.as_mut().is_none_or(|recoding| recoding.encoding.is_due(at))
    }

    fn encode_picture(&mut self, picture: Picture, at: StdInstant) -> Result<(), Stop> {
        let size = (picture.width() as u32, picture.height() as u32);
        if self.recoding.as_ref().is_none_or(|recoding| recoding.size != size) {
            self.begin_recoding(Own { size, fps: None });
        }
        let Some(recoding) = &mut self.recoding else { return Ok(()) };
        recoding.picture = picture;
        if let Some((fps, _)) = self.measured {
            recoding.encoding.adapt_fps(fps, FPS_RATIO);
        }
        recoding.encoding.keep_keyframe_interval();
        recoding.encoding.encode_at(&recoding.picture, at)
    }
}

/// Counts what a camera sends.
#[derive(Debug, Default)]
struct RateMeter {
    since: Option<MediaTime>,
    frames: u32,
    bytes: u64,
}

impl RateMeter {
    fn count(&mut self, at: MediaTime, bytes: usize) {
        self.since.get_or_insert(at);
        self.frames += 1;
        self.bytes += bytes as u64;
    }

    /// Frames and bits a second, where enough time has passed up to `now`; then counting starts again.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{encoder::Opening, pipeline::Plan, software::SoftwareEncoder};
    use sightline_capture::{Source, Transport, V4l2Camera, scene::Scene};
    use sightline_media::TrackConfig;
    use std::{
        cell::{Cell, RefCell},
        sync::{
            Arc,
            mpsc::{Receiver, sync_channel},
        },
    };

    const MEDIUM: Settings = Settings { width: 1280, height: 720, fps: 20, bitrate_bps: 1_000_000 };

    /// What came out in a while: sizes that tracks announced, and each frame's time and whether it is a key frame.
    #[derive(Default, Debug)]
    struct Came {
        sizes: Vec<(u32, u32)>,
        frames: Vec<(i64, bool)>,
        /// Decoded by another decoder than the next one's.
        decoded: Vec<(usize, usize)>,
        /// Whether a track came right before the first frame.
        begins_with_track: bool,
    }

    /// A camera of the machine that gives 30 pictures a second, in its own time.
    struct Bench<'a> {
        run: Run<'a>,
        events: tokio::sync::mpsc::Receiver<PipelineEvent>,
        scene: Scene,
        decoder: Decoder,
        tracks: Vec<Track>,
        pictures: u32,
    }

    impl Bench<'_> {
        fn watch(&mut self, seconds: u32) -> Came {
            let mut came = Came::default();
            for _ in 0..seconds * 30 {
                let at = self.run.start + Duration::from_micros(u64::from(self.pictures) * 33_333);
                let picture = self.scene.paint(1_795_364_000_000 + u64::from(self.pictures) * 33).clone();
                self.pictures += 1;
                assert!(self.run.take(SourceEvent::Pixels(picture, at)).is_ok());
                while let Ok(made) = self.events.try_recv() {
                    self.note(made, &mut came);
                }
            }
            came
        }

        fn note(&mut self, made: PipelineEvent, came: &mut Came) {
            match made {
                PipelineEvent::Track(track) => {
                    assert!(matches!(track.config, TrackConfig::H264(_)));
                    came.sizes.extend(track.config.size());
                    came.begins_with_track |= came.frames.is_empty();
                    self.tracks = vec![*track];
                }
                PipelineEvent::Frame(frame, _) => {
                    came.frames.push((frame.pts.as_millis(), frame.is_keyframe));
                    let config = self.tracks.iter().find_map(|track| track.config.avc()).filter(|_| frame.is_keyframe);
                    let decoded = self.decoder.decode(config, &frame.payload, avc::LENGTH_BYTES);
                    came.decoded.extend(decoded.map(|picture| picture.size()));
                }
                PipelineEvent::Motion(_) | PipelineEvent::Lost { .. } | PipelineEvent::Ended | PipelineEvent::Failed(_) => {
                    panic!("{made:?}")
                }
            }
        }
    }

    fn plan(source: Source, limits: Option<Settings>) -> Plan {
        Plan {
            source,
            limits,
            keyframe_interval_sec: 2.0,
            title: "cam-1".to_owned(),
            plays_once: false,
            rtsp_transport: Transport::Tcp,
            is_patient: false,
            motion: None,
            open_encoder: Arc::new(SoftwareEncoder::open as Opening),
        }
    }

    fn worker(plan: Plan, events: tokio::sync::mpsc::Sender<PipelineEvent>, orders: Receiver<EncoderOrder>) -> Worker {
        let (has_camera_given, takes_hevc) = (Cell::new(false), Cell::new(true));
        Worker { plan, full: MEDIUM, events, orders, has_camera_given, takes_hevc, watch: RefCell::new(None) }
    }

    #[test]
    fn a_camera_s_pictures_are_scaled_and_thinned_out_to_what_is_asked_for_and_back() {
        let (event_sender, events) = tokio::sync::mpsc::channel(64);
        let (orders_sender, orders) = sync_channel(4);
        let camera = V4l2Camera { path: "/dev/video0".into(), format: None };
        let plan = plan(Source::V4l2(camera.clone()), Some(MEDIUM));
        let worker = worker(plan, event_sender, orders);
        let camera = LiveSource::V4l2(camera);
        let decoder = Decoder::for_keyframes().unwrap();
        let run = Run::new(&worker, &camera, MEDIUM, StdInstant::now());
        let mut bench = Bench { run, events, scene: Scene::new(1280, 720, "cam-1"), decoder, tracks: Vec::new(), pictures: 0 };

        let full = bench.watch(3);
        assert_eq!(full.sizes, [(1280, 720)]);
        assert!((58..=62).contains(&full.frames.len()), "20 a second of 30: {}", full.frames.len());

        let change = |bench: &mut Bench<'_>, settings: Settings| {
            orders_sender.send(EncoderOrder::Change(settings)).unwrap();
            assert!(bench.run.obey().is_ok());
        };
        change(&mut bench, Settings { width: 640, height: 360, fps: 12, bitrate_bps: 250_000 });
        let low = bench.watch(4);
        assert!(low.begins_with_track && low.frames[0].1, "a key frame with its track first: {low:?}");
        assert_eq!(low.sizes, [(640, 360)]);
        assert!(low.decoded.len() + 1 >= low.frames.len() && low.decoded.iter().all(|size| *size == (640, 360)), "{:?}", low.decoded);
        assert!((46..=50).contains(&low.frames.len()), "12 a second: {}", low.frames.len());
        let gaps: Vec<i64> = low.frames.windows(2).map(|pair| pair[1].0 - pair[0].0).skip(2).collect();
        assert!(gaps.iter().all(|gap| (60..=101).contains(gap)), "evenly, by two or three of the camera's pictures: {gaps:?}");

        change(&mut bench, MEDIUM);
        let back = bench.watch(2);
        assert!(back.begins_with_track && back.frames[0].1 && back.sizes == [(1280, 720)], "{back:?}");
        assert!((38..=42).contains(&back.frames.len()), "{}", back.frames.len());
        let low_last = low.frames.last().unwrap().0;
        assert!(back.frames[0].0 > low_last, "the time goes on");
        // What is asked for in another shape keeps the camera's own.
        change(&mut bench, Settings { width: 640, height: 480, ..MEDIUM });
        assert_eq!(bench.watch(1).sizes, [(640, 360)]);
    }

    /// Source: cisco/openh264#2629.
    #[test]
    fn a_camera_s_h264_that_can_t_be_decoded_here_is_passed_on_or_goes_to_ffmpeg() {
        // x264's, 320x180, High 10.
        const SPS: &[u8] = &[
            0x67, 0x6e, 0x00, 0x0c, 0xa6, 0xcd, 0x94, 0x14, 0x19, 0xf9, 0xf0, 0x11, 0x00, 0x00, 0x03, 0x00, 0x01, 0x00, 0x00, 0x03, 0x00,
            0x32, 0x0f, 0x14, 0x29, 0x96,
        ];
        const PPS: &[u8] = &[0x68, 0xef, 0x8f, 0xcb];
        for limits in [None, Some(Settings { width: 160, height: 90, ..MEDIUM })] {
            let (event_sender, mut events) = tokio::sync::mpsc::channel(64);
            let (_orders_sender, orders) = sync_channel(4);
            let source = Source::Test { has_grain: false };
            let plan = plan(source, limits);
            let worker = worker(plan, event_sender, orders);
            let camera = LiveSource::V4l2(V4l2Camera { path: "/dev/video0".into(), format: None });
            let mut run = Run::new(&worker, &camera, MEDIUM, StdInstant::now());
            let config = TrackConfig::H264(avc::DecoderConfig::from_sets(SPS, PPS).unwrap());
            assert!(run.take(SourceEvent::Track(Box::new(Track { id: TrackId::VIDEO, config }))).is_ok());
            let time = MediaTime::ZERO;
            let payload = Bytes::from_static(&[0, 0, 0, 2, 0x65, 0x88]);
            let frame = Frame { track: TrackId::VIDEO, dts: time, pts: time, is_keyframe: true, is_disposable: false, payload };
            assert!(run.take(SourceEvent::Frame(frame, run.start)).is_ok());
            let is_decoded = run.recoding.as_ref().is_some_and(|recoding| recoding.transcoder.is_some());
            assert_eq!((is_decoded, events.try_recv().is_ok()), (limits.is_some(), limits.is_none()));
        }
    }

    #[test]
    fn a_start_on_a_slow_link_opens_the_camera_as_large_as_the_preset() {
        let (events, _keep) = tokio::sync::mpsc::channel(1);
        let (_orders, orders) = sync_channel(1);
        let plan = Plan {
            source: Source::Test { has_grain: false },
            limits: None,
            keyframe_interval_sec: 2.0,
            title: String::new(),
            plays_once: false,
            rtsp_transport: Transport::Tcp,
            is_patient: false,
            motion: None,
            open_encoder: Arc::new(SoftwareEncoder::open as Opening),
        };
        let worker = Worker {
            plan,
            full: MEDIUM,
            events,
            orders,
            has_camera_given: Cell::new(false),
            takes_hevc: Cell::new(true),
            watch: RefCell::new(None),
        };
        let low = Settings { width: 640, height: 360, fps: 10, bitrate_bps: 200_000 };
        assert_eq!(worker.openable(low), Settings { bitrate_bps: 200_000, ..MEDIUM });
        let larger = Settings { width: 1920, height: 1080, fps: 25, bitrate_bps: 2_000_000 };
        assert_eq!(worker.openable(larger), larger);
    }

    #[test]
    fn rates_are_those_of_the_camera_s_own_time() {
        let mut rate = RateMeter::default();
        for frame in 0..100 {
            rate.count(MediaTime::from_millis(frame * 40), 1_000);
            assert!(frame >= 100 || rate.measure(MediaTime::from_millis(frame * 40)).is_none());
        }
        let (fps, bps) = rate.measure(MediaTime::from_millis(4_000)).unwrap();
        assert!((fps - 25.0).abs() < 0.01 && (bps - 200_000.0).abs() < 1.0, "{fps} {bps}");
        assert!(rate.measure(MediaTime::from_millis(9_000)).is_none());
    }
}
