//! From a source to encoded frames, on a thread of its own.

mod encoding;
mod live;
mod shortfall;

use bytes::Bytes;
use sightline_capture::{
    Opened, Picture, Source, SourceError, Transport, clip::Clip, clock, ffmpeg, live::LiveSource, open_file, scene::Scene,
    stdin::AccessUnits,
};
use sightline_h264::Decoder;
use sightline_media::{
    Frame, Instant, MediaTime, Track, TrackId,
    annexb::{Arrival, Intake},
};
use sightline_motion::{Detector, Watch, Zone};
use sightline_signal::{ErrorCode, Settings};
use std::{
    cell::{Cell, RefCell},
    sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError},
    time::{Duration, Instant as StdInstant},
};

use crate::{encoder::OpenEncoder, fit::exceeds, order::EncoderOrder};
use encoding::{Encoding, Own};

/// Frames that may wait for the pusher's loop, which takes them at once unless it hangs: a second's worth.
const FRAMES_WAITING_MAX: usize = 32;
/// Orders that may wait for the encoder's thread.
const ORDERS_WAITING_MAX: usize = 16;
/// How much later than the rest of the program the thread with the encoder gets the processor: what reads the camera and what feeds the link
/// must not wait for it. Five steps are a third of the share of those that want it, too.
const ENCODER_NICENESS: i32 = 5;

/// What the thread hands to the loop.
#[derive(Debug)]
pub enum PipelineEvent {
    /// What the next frames of a track need first.
    Track(Box<Track>),
    /// A frame and when it was captured.
    Frame(Frame<Bytes>, Instant),
    /// Something moves, and did not yet at that time.
    Motion(Instant),
    /// The camera behind the agent is gone; the source goes on trying.
    Lost {
        /// Why.
        code: ErrorCode,
        /// Tries in a row that failed.
        attempts: u32,
        /// The delay before the next one.
        next_retry: Duration,
    },
    /// The source is over: a pipe ended, or one round was all that was asked for.
    Ended,
    /// The source or the encoder failed for good.
    Failed(Failure),
}

/// What can't go on.
#[derive(Clone, Debug)]
pub struct Failure {
    /// [`ErrorCode::SourceLost`]: there will be no other picture. Otherwise the next start may go better.
    pub code: ErrorCode,
    /// What, where and the fix.
    pub problem: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.problem)
    }
}

/// The loop's end of the thread.
pub struct Pipeline {
    pub events: tokio::sync::mpsc::Receiver<PipelineEvent>,
    orders: SyncSender<EncoderOrder>,
}

/// What a pipeline runs.
#[derive(Clone, Debug)]
pub struct Plan {
    pub source: Source,
    /// The preset; `None`: a file's own numbers, where it can be passed through.
    pub limits: Option<Settings>,
    pub keyframe_interval_sec: f32,
    /// Drawn into the test scene.
    pub title: String,
    /// End after one round of a file.
    pub plays_once: bool,
    /// How an RTSP camera's media travels.
    pub rtsp_transport: Transport,
    /// A camera that refuses from the start (password, path, codec) is tried again too, because there is a cloud that hears of it. Otherwise
    /// it ends the source.
    pub is_patient: bool,
    /// Looks for motion in what it makes.
    pub motion: Option<MotionPlan>,
    /// What encodes.
    pub open_encoder: OpenEncoder,
}

/// How it looks for motion.
#[derive(Clone, Debug)]
pub struct MotionPlan {
    /// 0 to 1.
    pub sensitivity: f32,
    /// Where it counts; none: everywhere.
    pub zones: Vec<Zone>,
}

/// What the source turned out to be.
enum Input {
    Scene {
        has_grain: bool,
    },
    PassThrough(Clip),
    /// Above the preset, and brought down to it.
    ReEncode(Clip),
    Ffmpeg(std::path::PathBuf),
    Stdin,
    Live(LiveSource),
}

impl std::fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pipeline").finish_non_exhaustive()
    }
}

impl Pipeline {
    /// Looks at the source and starts its thread. Also gives the numbers that the stream will have at most.
    pub fn start(plan: Plan, default: Settings) -> Result<(Self, Settings), SourceError> {
        let (input, settings) = choose(&plan, default)?;
        let (event_sender, events) = tokio::sync::mpsc::channel(FRAMES_WAITING_MAX);
        let (orders, orders_receiver) = std::sync::mpsc::sync_channel(ORDERS_WAITING_MAX);
        let watch = plan.motion.as_ref().map(|motion| Watch::new(Detector::new(motion.sensitivity, motion.zones.clone())));
        let worker = Worker {
            full: plan.limits.unwrap_or(default),
            plan,
            events: event_sender,
            orders: orders_receiver,
            has_camera_given: Cell::new(false),
            watch: RefCell::new(watch),
        };
        // With several cameras the log says whose it is.
        let span = tracing::Span::current();
        let spawned = std::thread::Builder::new().name("capture".into()).spawn(move || span.in_scope(|| worker.run(input)));
        if let Err(error) = spawned {
            return Err(SourceError::Thread(error));
        }
        Ok((Self { events, orders }, settings))
    }

    /// A pipeline that an application feeds: the sender of its events, and the receiver of its orders.
    pub fn fed() -> (Self, tokio::sync::mpsc::Sender<PipelineEvent>, Receiver<EncoderOrder>) {
        let (event_sender, events) = tokio::sync::mpsc::channel(FRAMES_WAITING_MAX);
        let (orders, orders_receiver) = std::sync::mpsc::sync_channel(ORDERS_WAITING_MAX);
        (Self { events, orders }, event_sender, orders_receiver)
    }

    /// Orders the encoder. An order that does not fit is lost: the thread hangs, and the next order says the same.
    pub fn order(&self, action: EncoderOrder) {
        if let Err(TrySendError::Full(action)) = self.orders.try_send(action) {
            tracing::warn!(?action, "the encoder's thread does not take its orders");
        }
    }
}

fn choose(plan: &Plan, default: Settings) -> Result<(Input, Settings), SourceError> {
    let limits = plan.limits.unwrap_or(default);
    Ok(match &plan.source {
        Source::Test { has_grain } => (Input::Scene { has_grain: *has_grain }, limits),
        Source::Stdin => (Input::Stdin, limits),
        // It may not be there yet: it is asked when the stream begins.
        Source::Rtsp(url) => (Input::Live(LiveSource::Rtsp(url.clone(), plan.rtsp_transport)), limits),
        Source::Mjpeg(url) => (Input::Live(LiveSource::Mjpeg(url.clone())), limits),
        Source::V4l2(camera) => (Input::Live(LiveSource::V4l2(camera.clone())), limits),
        Source::File(path) => match open_file(path)? {
            Opened::Ffmpeg(path) => (Input::Ffmpeg(path), limits),
            Opened::Clip(clip) => {
                let own = clip.character();
                let fits = plan.limits.is_none_or(|limits| !exceeds(own, limits));
                tracing::info!(
                    width = own.width,
                    height = own.height,
                    fps = own.fps,
                    bitrate_bps = own.bitrate_bps,
                    passed_through = fits,
                    "source file"
                );
                if fits {
                    let settings = Settings {
                        width: own.width,
                        height: own.height,
                        fps: (own.fps.round() as u32).max(1),
                        bitrate_bps: own.bitrate_bps.max(50_000),
                    };
                    (Input::PassThrough(clip), settings)
                } else {
                    let settings = Own::of(own).within(limits);
                    (Input::ReEncode(clip), settings)
                }
            }
        },
    })
}

/// The thread's own side.
struct Worker {
    plan: Plan,
    /// What is wanted of the source where the link lets it through.
    full: Settings,
    events: tokio::sync::mpsc::Sender<PipelineEvent>,
    orders: Receiver<EncoderOrder>,
    /// Whether the camera ever gave a picture: its settings were right then.
    has_camera_given: Cell<bool>,
    /// Looks for motion. Only this thread has it.
    watch: RefCell<Option<Watch>>,
}

/// Why a run is over.
enum Stop {
    /// The loop is gone, or the source has ended: nothing more to do.
    Finished,
    /// Told to stop; another start may come.
    Paused,
}

impl Worker {
    fn run(self, input: Input) {
        // Of this thread alone, as Linux has it. Where it may not, nothing is lost but the order.
        if let Err(error) = rustix::process::nice(ENCODER_NICENESS) {
            tracing::debug!(%error, "the encoder's thread keeps its priority");
        }
        while let Some(settings) = self.wait_for_start() {
            let stopped = match &input {
                Input::Scene { has_grain } => self.encode_scene(settings, *has_grain),
                Input::PassThrough(clip) => self.pass_through(clip),
                Input::ReEncode(clip) => self.re_encode(clip, settings),
                Input::Ffmpeg(path) => self.encode_ffmpeg(path, settings),
                Input::Stdin => self.pass_stdin(),
                Input::Live(camera) => self.run_live(camera, settings),
            };
            if matches!(stopped, Stop::Finished) {
                return;
            }
        }
    }

    fn wait_for_start(&self) -> Option<Settings> {
        loop {
            match self.orders.recv().ok()? {
                EncoderOrder::Start(settings) => return Some(settings),
                EncoderOrder::Change(_) | EncoderOrder::Keyframe | EncoderOrder::Pause | EncoderOrder::Resume | EncoderOrder::Stop => {}
            }
        }
    }

    /// Hands something over that others coded, and looks for motion in its key frames; false when the loop is gone.
    fn tell(&self, event: PipelineEvent) -> bool {
        let moves_since = match (&mut *self.watch.borrow_mut(), &event) {
            (Some(watch), PipelineEvent::Track(track)) => {
                watch.set_track(track);
                None
            }
            (Some(watch), PipelineEvent::Frame(frame, at)) => watch.look_at_coded(frame, *at),
            (Some(_) | None, _) => None,
        };
        self.hand_over(event) && moves_since.is_none_or(|since| self.hand_over(PipelineEvent::Motion(since)))
    }

    /// Looks for motion in a picture that is about to be encoded here.
    fn look(&self, picture: &Picture, at: Instant) -> bool {
        let moves_since = match &mut *self.watch.borrow_mut() {
            Some(watch) => watch.look(picture.planes()[0], (picture.width(), picture.width(), picture.height()), at),
            None => None,
        };
        moves_since.is_none_or(|since| self.hand_over(PipelineEvent::Motion(since)))
    }

    /// Hands something over; false when the loop is gone.
    fn hand_over(&self, event: PipelineEvent) -> bool {
        self.events.blocking_send(event).is_ok()
    }

    /// The source is over, by a failure.
    fn fail(&self, problem: String) -> Stop {
        self.tell(PipelineEvent::Failed(Failure { code: ErrorCode::SourceLost, problem }));
        Stop::Finished
    }

    /// What the source gives can't be encoded: with a cloud, a command may start it again.
    fn fail_with(&self, code: ErrorCode, problem: String) -> Stop {
        if self.tell(PipelineEvent::Failed(Failure { code, problem })) && self.plan.is_patient { Stop::Paused } else { Stop::Finished }
    }

    // ---- pictures that are encoded here -------------------------------------------------------------------------------

    fn encode_scene(&self, settings: Settings, has_grain: bool) -> Stop {
        let make = if has_grain { Scene::with_grain } else { Scene::new };
        let mut scene = make(settings.width as usize, settings.height as usize, &self.plan.title);
        let mut size = (settings.width, settings.height);
        let mut encoding = Encoding::drawn(self, settings);
        loop {
            let current = match encoding.wait() {
                Ok(settings) => settings,
                Err(stop) => return stop,
            };
            if size != (current.width, current.height) {
                size = (current.width, current.height);
                scene = make(size.0 as usize, size.1 as usize, &self.plan.title);
            }
            let unix_ms = u64::try_from(clock::wall().unix_millis()).unwrap_or(0);
            if let Err(stop) = encoding.encode(scene.paint(unix_ms)) {
                return stop;
            }
        }
    }

    /// What a source is opened with: a start may come while the link is slow, and the size must be able to come back.
    fn openable(&self, asked: Settings) -> Settings {
        let Settings { width, height, fps, .. } = self.full;
        Settings { width: asked.width.max(width), height: asked.height.max(height), fps: asked.fps.max(fps), ..asked }
    }

    fn encode_ffmpeg(&self, path: &std::path::Path, settings: Settings) -> Stop {
        let mut decoder = match ffmpeg::Decoder::start(path, self.openable(settings)) {
            Ok(decoder) => decoder,
            Err(error) => return self.fail(error.to_string()),
        };
        let (width, height) = decoder.size;
        let own = Own { size: (width as u32, height as u32), fps: Some(decoder.fps) };
        let mut encoding = Encoding::of(self, settings, own);
        let mut picture = Picture::new(width, height);
        let mut due = 0.0_f64;
        loop {
            if let Err(stop) = encoding.wait() {
                return stop;
            }
            due += encoding.stride();
            let mut has_picture = false;
            while due >= 1.0 || !has_picture {
                // The pipe is ahead of us: reading it late keeps the real time.
                if !decoder.read(&mut picture) {
                    return self.fail(format!("source {}: ffmpeg ended: {}", path.display(), decoder.last_words()));
                }
                due -= 1.0;
                has_picture = true;
            }
            if let Err(stop) = encoding.encode(&picture) {
                return stop;
            }
        }
    }

    /// A clip above the preset: decoded, scaled down, thinned out, encoded.
    fn re_encode(&self, clip: &Clip, settings: Settings) -> Stop {
        let mut decoder = match Decoder::for_stream() {
            Ok(decoder) => decoder,
            Err(error) => return self.fail_with(ErrorCode::EncoderOutOfResources, error.to_string()),
        };
        let config = clip.tracks().iter().find_map(|track| track.config.avc());
        let mut encoding = Encoding::of(self, settings, Own::of(clip.character()));
        let mut picture = Picture::new(2, 2);
        let (mut due, mut index) = (0.0_f64, 0_usize);
        loop {
            if let Err(stop) = encoding.wait() {
                return stop;
            }
            // Every frame is decoded, and as many are shown as are asked for.
            due += encoding.stride();
            let mut has_picture = false;
            while due >= 1.0 || !has_picture {
                let frame = match clip.read(index) {
                    Ok(frame) => frame,
                    Err(error) => return self.fail(format!("source: {error}")),
                };
                index += 1;
                if index.is_multiple_of(clip.sample_count()) && self.plan.plays_once {
                    if encoding.finish().is_ok() {
                        self.tell(PipelineEvent::Ended);
                    }
                    return Stop::Finished;
                }
                if frame.track != TrackId::VIDEO {
                    continue;
                }
                due -= 1.0;
                let config = config.filter(|_| frame.is_keyframe);
                if let Some(decoded) = decoder.decode(config, &frame.payload, clip.length_bytes()) {
                    let (width, height) = decoded.size();
                    picture.copy_from(decoded.planes(), decoded.strides(), width, height);
                    has_picture = true;
                }
            }
            if let Err(stop) = encoding.encode(&picture) {
                return stop;
            }
        }
    }

    // ---- coded frames that pass through -------------------------------------------------------------------------------

    fn pass_through(&self, clip: &Clip) -> Stop {
        for track in clip.tracks() {
            if !self.tell(PipelineEvent::Track(Box::new(track.clone()))) {
                return Stop::Finished;
            }
        }
        let (start, duration) = (StdInstant::now(), clip.duration());
        let mut skips_to_keyframe = false;
        for index in 0.. {
            let round = i64::try_from(index / clip.sample_count()).unwrap_or(i64::MAX);
            if round > 0 && self.plan.plays_once {
                self.tell(PipelineEvent::Ended);
                return Stop::Finished;
            }
            let mut frame = match clip.read(index) {
                Ok(frame) => frame,
                Err(error) => return self.fail(format!("source: {error}")),
            };
            let base = MediaTime::from_ticks(duration.ticks_90k.saturating_mul(round));
            (frame.dts, frame.pts) = (frame.dts + base, frame.pts + base);
            let due = start + Duration::from_micros(u64::try_from(frame.dts.as_micros()).unwrap_or(0));
            if let Some(stop) = self.obey_until(due) {
                return stop;
            }
            skips_to_keyframe &= !(frame.track == TrackId::VIDEO && frame.is_keyframe);
            if !skips_to_keyframe && !self.tell(PipelineEvent::Frame(frame, clock::from_std(due))) {
                return Stop::Finished;
            }
        }
        Stop::Finished
    }

    /// Waits; what was encoded by others can only be stopped.
    fn obey_until(&self, due: StdInstant) -> Option<Stop> {
        loop {
            let wait = due.saturating_duration_since(StdInstant::now());
            match self.orders.recv_timeout(wait) {
                Ok(EncoderOrder::Stop) => return Some(Stop::Paused),
                Ok(_) => {}
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => return None,
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return Some(Stop::Finished),
            }
        }
    }

    /// Live Annex B: its times are those of arrival.
    fn pass_stdin(&self) -> Stop {
        let mut units = AccessUnits::new(std::io::stdin().lock());
        let start = StdInstant::now();
        let mut intake = Intake::default();
        loop {
            match self.orders.try_recv() {
                Ok(EncoderOrder::Stop) => return Stop::Paused,
                Err(TryRecvError::Disconnected) => return Stop::Finished,
                Ok(_) | Err(TryRecvError::Empty) => {}
            }
            let stream = match units.next_unit() {
                Ok(Some(stream)) => stream,
                Ok(None) => {
                    self.tell(PipelineEvent::Ended);
                    return Stop::Finished;
                }
                Err(error) => return self.fail(format!("source -: {error}")),
            };
            let Arrival { track, unit } = match intake.take(&stream) {
                Ok(arrival) => arrival,
                Err(error) => return self.fail(format!("source -: {error}")),
            };
            if track.is_some_and(|track| !self.tell(PipelineEvent::Track(Box::new(track)))) {
                return Stop::Finished;
            }
            if !unit.has_picture || !intake.has_track() {
                continue;
            }
            let now = StdInstant::now();
            let micros = i64::try_from(now.duration_since(start).as_micros()).unwrap_or(i64::MAX);
            let frame = unit.to_frame(&stream, intake.time_of(MediaTime::from_micros(micros)));
            if !self.tell(PipelineEvent::Frame(frame, clock::from_std(now))) {
                return Stop::Finished;
            }
        }
    }
}
