//! From a source to encoded frames, on a thread of its own.

mod decoded_pipe;
mod encoding;
mod files;
mod live;
mod pipe_pace;
mod piped;
mod shortfall;
mod transcoder;

use sightline_capture::{
    Opened, Picture, Source, SourceError, Transport,
    clip::{Character, Clip},
    clock,
    ffmpeg::{self, Size},
    live::LiveSource,
    open_file,
    scene::Scene,
};
use sightline_media::{Frame, Instant, Track};
use sightline_motion::{Detector, Watch, Zone};
use sightline_signal::{ErrorCode, Settings};
use std::{
    cell::{Cell, RefCell},
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, SyncSender, TrySendError},
    time::Duration,
};

use crate::{encoder::OpenEncoder, fit::exceeds, order::EncoderOrder};
use encoding::{Encoding, Own};
use files::Film;
use piped::Piped;

/// How long a source that gives nothing lets an order wait.
const ORDERS_INTERVAL: Duration = Duration::from_millis(50);
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
    Frame(Frame<bytes::Bytes>, Instant),
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
    /// The most pictures a second that there are, where the source tells before it begins: a file does.
    pub source_fps: Option<u32>,
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
    PassThrough(Film),
    /// Passed through where the server takes H.265.
    Hevc {
        film: Film,
        /// What is encoded where it does not fits these.
        asked: Settings,
        /// Once it was asked for.
        foreign: Option<Foreign>,
    },
    /// Above the preset, and brought down to it.
    ReEncode(Film),
    Ffmpeg(Foreign),
    Stdin(Piped),
    Live(LiveSource),
}

impl Input {
    /// Pictures a second, where they are known before it begins.
    fn fps(&self) -> Option<f64> {
        match self {
            Self::PassThrough(film) | Self::Hevc { film, .. } | Self::ReEncode(film) => Some(film.fps()),
            Self::Ffmpeg(foreign) => foreign.fps,
            Self::Scene { .. } | Self::Stdin(_) | Self::Live(_) => None,
        }
    }
}

/// Whole pictures a second: 29.97 are 30, and a file's own rounding is none of ours.
fn at_most(fps: f64) -> u32 {
    /// Less than any standard rate is from the next whole one.
    const ROUNDING: f64 = 0.05;
    ((fps - ROUNDING).ceil() as u32).max(1)
}

/// A file that ffmpeg reads.
struct Foreign {
    path: PathBuf,
    /// What is in it that is not read here.
    what: String,
    /// Of its first pictures.
    size: (usize, usize),
    fps: Option<f64>,
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
        let source_fps = input.fps().map(at_most);
        let (event_sender, events) = tokio::sync::mpsc::channel(FRAMES_WAITING_MAX);
        let (orders, orders_receiver) = std::sync::mpsc::sync_channel(ORDERS_WAITING_MAX);
        let watch = plan.motion.as_ref().map(|motion| Watch::new(Detector::new(motion.sensitivity, motion.zones.clone())));
        let worker = Worker {
            full: plan.limits.unwrap_or(default),
            plan,
            events: event_sender,
            orders: orders_receiver,
            has_camera_given: Cell::new(false),
            takes_hevc: Cell::new(true),
            watch: RefCell::new(watch),
        };
        // With several cameras the log says whose it is.
        let span = tracing::Span::current();
        let spawned = std::thread::Builder::new().name("capture".into()).spawn(move || span.in_scope(|| worker.run(input)));
        if let Err(error) = spawned {
            return Err(SourceError::Thread(error));
        }
        Ok((Self { events, orders, source_fps }, settings))
    }

    /// A pipeline that an application feeds: the sender of its events, and the receiver of its orders.
    pub fn fed() -> (Self, tokio::sync::mpsc::Sender<PipelineEvent>, Receiver<EncoderOrder>) {
        let (event_sender, events) = tokio::sync::mpsc::channel(FRAMES_WAITING_MAX);
        let (orders, orders_receiver) = std::sync::mpsc::sync_channel(ORDERS_WAITING_MAX);
        (Self { events, orders, source_fps: None }, event_sender, orders_receiver)
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
        Source::Stdin => (Input::Stdin(Piped::default()), limits),
        // It may not be there yet: it is asked when the stream begins.
        Source::Rtsp(url) => (Input::Live(LiveSource::Rtsp(url.clone(), plan.rtsp_transport)), limits),
        Source::Mjpeg(url) => (Input::Live(LiveSource::Mjpeg(url.clone())), limits),
        Source::V4l2(camera) => (Input::Live(LiveSource::V4l2(camera.clone())), limits),
        Source::File(path) => return choose_file(path, plan.limits, limits),
    })
}

/// What becomes of a file. `preset`: what it must fit, where one is asked for; `limits`: what is encoded here fits.
fn choose_file(path: &Path, preset: Option<Settings>, limits: Settings) -> Result<(Input, Settings), SourceError> {
    let clip = match open_file(path, limits)? {
        Opened::Ffmpeg(decoder, what) => return Ok(through_ffmpeg(path, &decoder, what, limits)),
        Opened::Clip(clip) => clip,
    };
    let own = clip.character();
    let fits = preset.is_none_or(|preset| !exceeds(own, preset));
    let Character { width, height, fps, bitrate_bps } = own;
    tracing::info!(width, height, fps, bitrate_bps, passed_through = fits && !clip.hides_pictures(), "source file");
    for remark in clip.remarks() {
        tracing::warn!(path = %path.display(), "source file: {remark}");
    }
    // A preset asks for what players show.
    if let Some(oddity) = clip.oddity().filter(|_| preset.is_some())
        && let Ok(decoder) = ffmpeg::Decoder::start(path, Size::Within(limits), oddity)
    {
        return Ok(through_ffmpeg(path, &decoder, oddity.to_owned(), limits));
    }
    let own_settings = Settings { width, height, fps: (fps.round() as u32).max(1), bitrate_bps: bitrate_bps.max(50_000) };
    if fits && !clip.hides_pictures() {
        if clip.is_hevc() {
            return Ok((Input::Hevc { film: Film::new(clip), asked: limits, foreign: None }, own_settings));
        }
        warn_of_what_players_see(&clip);
        return Ok((Input::PassThrough(Film::new(clip)), own_settings));
    }
    if fits {
        tracing::warn!(path = %path.display(), "source file: its edit list begins between two key frames: it is encoded again");
    }
    // What is encoded for its edit list alone keeps its numbers.
    encoded(clip, if fits { own_settings } else { limits }, fits)
}

/// A clip that can't be sent as it is; `fits`: but for its edit list it could.
fn encoded(clip: Clip, asked: Settings, fits: bool) -> Result<(Input, Settings), SourceError> {
    if files::can_decode(&clip) {
        let settings = Own::of_clip(&clip).within(asked);
        return Ok((Input::ReEncode(Film::new(clip)), settings));
    }
    let what = clip.oddity().unwrap_or("OpenH264 makes no picture of it").to_owned();
    match ffmpeg::Decoder::start(clip.path(), Size::Within(asked), &what) {
        Ok(decoder) => Ok(through_ffmpeg(clip.path(), &decoder, what, asked)),
        Err(SourceError::NeedsFfmpeg { path, what }) if fits => {
            tracing::warn!(path = %path.display(), what, "source file: without ffmpeg it can't be encoded: the pictures that its edit list hides are shown");
            let is_hevc = clip.is_hevc();
            let film = Film::new(clip);
            Ok((if is_hevc { Input::Hevc { film, asked, foreign: None } } else { Input::PassThrough(film) }, asked))
        }
        Err(SourceError::NeedsFfmpeg { path, what }) => Err(SourceError::CantDecode { path, what }),
        Err(error) => Err(error),
    }
}

/// What is passed on as it is may not look as it should.
fn warn_of_what_players_see(clip: &Clip) {
    let path = clip.path().display();
    if let Some(oddity) = clip.oddity() {
        tracing::warn!(%path, "source file: its H.264 is unusual ({oddity}): it is passed on as it is, and not every player shows it");
    }
    if clip.rotation() != 0 {
        let degrees = clip.rotation();
        tracing::warn!(%path, degrees, "source file: its pictures are to be turned, which RTMP can't tell: players show them as they lie; with a lower preset they are encoded upright");
    }
}

/// It is started anew when the stream begins: until then none has to wait.
fn through_ffmpeg(path: &Path, decoder: &ffmpeg::Decoder, what: String, limits: Settings) -> (Input, Settings) {
    let (width, height) = decoder.size();
    tracing::info!(width, height, fps = decoder.fps(), what, has_sound = decoder.sound().is_some(), "source file, read by ffmpeg");
    for remark in decoder.remarks() {
        tracing::warn!(path = %path.display(), "source file: {remark}");
    }
    let own = Own { size: (width as u32, height as u32), fps: decoder.fps() };
    (Input::Ffmpeg(Foreign { path: path.to_owned(), what, size: (width, height), fps: decoder.fps() }), own.within(limits))
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
    /// The far end takes H.265, as far as is known.
    takes_hevc: Cell<bool>,
    /// Looks for motion. Only this thread has it.
    watch: RefCell<Option<Watch>>,
}

/// Why a run is over.
enum Stop {
    /// The loop is gone, or the source has ended: nothing more to do.
    Finished,
    /// Told to stop; another start may come.
    Paused,
    /// The far end does not take the codec.
    Refused,
}

impl Worker {
    fn run(self, mut input: Input) {
        // Of this thread alone, as Linux has it. Where it may not, nothing is lost but the order.
        if let Err(error) = rustix::process::nice(ENCODER_NICENESS) {
            tracing::debug!(%error, "the encoder's thread keeps its priority");
        }
        while let Some(settings) = self.wait_for_start() {
            let stopped = match &mut input {
                Input::Scene { has_grain } => self.encode_scene(settings, *has_grain),
                Input::PassThrough(film) => self.pass_through(film),
                Input::Hevc { film, asked, foreign } => self.run_hevc(film, *asked, foreign, settings),
                Input::ReEncode(film) => self.encode_clip(film, settings),
                Input::Ffmpeg(foreign) => self.encode_ffmpeg(foreign, settings),
                Input::Stdin(piped) => self.run_pipe(piped, settings),
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
                EncoderOrder::Hevc(is_taken) => self.takes_hevc.set(is_taken),
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
}
