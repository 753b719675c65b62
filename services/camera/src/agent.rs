//! The loop around the pusher: carries out its actions, and hands it what happened. The recorder, the pre-roll and the triggers see what
//! the source gives before the pusher does.

mod calendar;
mod cloud;
mod connection;
mod discovery;
mod motion_events;
mod stills;
pub(crate) mod supervision;

use bytes::Bytes;
use sightline_capture::{SourceError, clock, tls};
use sightline_claim::ClaimError;
use sightline_encode::{EncoderOrder, Failure, OpenEncoder, Pipeline, PipelineEvent, Plan};
use sightline_media::{Codec, Frame, Instant, Track, TrackId, WallTime};
use sightline_pusher::{Action, Config as PusherConfig, EncoderAction, Input, MotionGate, Pusher, Status, Trigger};
use sightline_signal::{CustomQuality, ErrorCode, Quality, Settings, StatusEvent, StreamState};
use std::{sync::Arc, time::Duration};
use tokio::sync::{mpsc, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    cloud::{
        link::Turn,
        mqtt::{self, Incoming, Mqtt},
        renewal::Renewal,
    },
    config::{
        Config, Problem,
        checked::{Checked, QUEUE_FRAMES_MAX},
        local::{Broker, Local, RtmpsAuthority},
    },
    optional::when_some,
    record::{
        backlog::Backlog,
        preroll::Preroll,
        recorder::{Recorder, RecorderError},
    },
    stream_key,
};
use calendar::Calendar;
use connection::{Connection, ConnectionEvent};
use discovery::{Discovered, Discovery};
use motion_events::{DETECTION_MAX, MotionEvents};
use stills::{Stills, Undecodable};
use supervision::{Order, Supervision};

/// How often the kernel is asked what the far end has acknowledged.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(25);
/// For the stream's and MQTT's goodbyes together.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(6);
/// Frames of a pre-roll that the pusher gets at once: enough for a full write, too few to grow old.
const FEED_FRAMES: usize = 8;
/// Read from the link at once: a server says little.
const READ_BYTES: usize = 4 * 1024;

/// A device agent, ready to run.
pub struct Agent {
    checked: Checked,
    pipeline: Pipeline,
    recorder: Option<Recorder>,
    tls: Option<Arc<rustls::ClientConfig>>,
    broker: Option<(mqtt::Address, Renewal)>,
    supervision: Option<Supervision>,
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agent").field("checked", &self.checked).finish_non_exhaustive()
    }
}

/// How often a file is played.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rounds {
    /// Once; then the source is over.
    Once,
    /// Again and again, in real time.
    Looped,
}

/// Why an agent can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting can't be used.
    #[error(transparent)]
    Config(#[from] Problem),
    /// Another process runs this camera.
    #[error("state_dir: {0}")]
    Claim(#[from] ClaimError),
    /// The source can't be used.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The recorder can't start.
    #[error("recording: {0}")]
    Recorder(#[from] RecorderError),
    /// Starting it panicked: a fault of this program.
    #[error("the start failed: {0}")]
    Panicked(tokio::task::JoinError),
}

/// How a run ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It was stopped, or the source is over.
    Stopped,
    /// It gave up: what failed last.
    GaveUp(ErrorCode),
    /// The source or the encoder failed.
    Failed(String),
}

/// What a person at the terminal may want to see.
#[derive(Clone, Debug)]
pub enum StreamEvent {
    /// The state changed.
    Status(Status),
    /// What goes to the cloud as a status event.
    Event(Box<StatusEvent>),
}

impl Agent {
    /// Checks everything and opens the source.
    ///
    /// # Errors
    /// [`StartError`]; nothing has been sent anywhere.
    pub fn start(config: &Config, rounds: Rounds) -> Result<Self, StartError> {
        Self::begin(config.checked()?, rounds)
    }

    /// The same with settings that were checked.
    pub(crate) fn begin(checked: Checked, rounds: Rounds) -> Result<Self, StartError> {
        let open_encoder = checked.local.encoder.source();
        Self::begin_with(checked, rounds, open_encoder)
    }

    fn begin_with(mut checked: Checked, rounds: Rounds, open_encoder: OpenEncoder) -> Result<Self, StartError> {
        if let Some(server) = checked.pusher.server.as_mut().filter(|server| server.name.is_empty()) {
            server.name = stream_key::own(checked.local.state_dir.as_deref())?;
        }
        let default = checked.pusher.wanted();
        let plan = Plan {
            source: checked.local.source.clone(),
            limits: checked.limits,
            keyframe_interval_sec: checked.settable.stream.keyframe_interval_sec,
            title: checked.local.device.as_str().to_owned(),
            plays_once: rounds == Rounds::Once,
            rtsp_transport: checked.local.rtsp_transport,
            is_patient: checked.local.cloud.broker.is_some() || checked.recorder.is_some(),
            motion: checked.motion.as_ref().map(|motion| motion.detector.clone()),
            open_encoder,
        };
        let is_free = checked.limits.is_none();
        let (pipeline, settings) = Pipeline::start(plan, default)?;
        if is_free && settings != default {
            adopt(&mut checked.pusher, settings);
        }
        if let Some(fps) = pipeline.source_fps {
            bound_by_source(&mut checked.pusher, fps);
        }
        Self::assemble(checked, pipeline)
    }

    /// Around a source that is there.
    pub(crate) fn assemble(checked: Checked, pipeline: Pipeline) -> Result<Self, StartError> {
        let RtmpsAuthority { key, file } = &checked.local.rtmps_ca;
        let tls = file.as_deref().map(|ca| tls::client_config(ca, None)).transpose();
        let tls = tls.map_err(|error| Problem { key, problem: error.to_string() })?;
        let broker = broker(&checked.local)?;
        let recorder = checked.recorder.clone().map(Recorder::start).transpose()?;
        Ok(Self { checked, pipeline, recorder, tls, broker, supervision: None })
    }

    /// Tells someone what comes from afar, and does what that one says.
    pub(crate) fn supervise(&mut self, supervision: Supervision) {
        if let Some((broker, _)) = &mut self.broker {
            broker.takes_settings = true;
        }
        self.supervision = Some(supervision);
    }

    /// Runs until `stop` is cancelled, the source is over, or it gives up. A stream that runs is ended cleanly.
    pub async fn run(self, stop: CancellationToken, events: Option<mpsc::Sender<StreamEvent>>) -> Outcome {
        self.run_controlled(stop, events, None).await
    }

    /// The same; `controls` are what an application wants of it.
    pub(crate) async fn run_controlled(
        self,
        stop: CancellationToken,
        events: Option<mpsc::Sender<StreamEvent>>,
        controls: Option<Controls>,
    ) -> Outcome {
        let tasks = TaskTracker::new();
        let mqtt_stop = CancellationToken::new();
        let mqtt = self.broker.map(|(address, renewal)| mqtt::start(address, Some(renewal), &tasks, mqtt_stop.clone()));
        let local = &self.checked.local;
        let discovery = local.cloud.https.clone().map(|endpoint| Discovery::new(endpoint, local.device_files()));
        let seed = random_seed();
        // Where there is no cloud, no command can start it.
        let starts_by_hand = controls.is_none() && mqtt.is_none() && self.checked.pusher.trigger == Trigger::Manual;
        let backlog = Backlog::new(self.checked.preroll_bytes());
        let motion = self.checked.motion.map(|motion| MotionEvents {
            gate: MotionGate::new(motion.gate),
            preroll: Preroll::new(motion.preroll + DETECTION_MAX, motion.preroll_bytes),
            lead: motion.preroll,
            starts_stream: motion.starts_stream,
            awaits_stream: false,
        });
        let pusher = Box::new(Pusher::new(self.checked.pusher, seed));
        let mut running = Running {
            idle: (self.recorder.is_some() || motion.is_some()).then(|| pusher.settings()),
            pusher,
            pipeline: self.pipeline,
            recorder: self.recorder,
            motion,
            calendar: self.checked.schedule.map(Calendar::new),
            is_triggered: false,
            backlog,
            is_past: false,
            stills: Stills::default(),
            mqtt,
            discovery,
            events,
            controls,
            supervision: self.supervision,
            connection: Connection::new(self.tls, self.checked.timeouts),
            is_stopping: false,
            is_draining: false,
            coded: None,
            last_error: None,
            outcome: None,
        };
        if starts_by_hand {
            running.pusher.handle(clock::now(), Input::Start);
        }
        let (outcome, recorder) = running.run(stop).await;
        if let Some(recorder) = recorder {
            tasks.spawn_blocking(|| recorder.finish());
        }
        mqtt_stop.cancel();
        tasks.close();
        let _ = tokio::time::timeout(SHUTDOWN_TIMEOUT, tasks.wait()).await;
        outcome
    }
}

/// The pusher's wish as the pipeline takes it.
const fn as_order(action: EncoderAction) -> EncoderOrder {
    match action {
        EncoderAction::Start(settings) => EncoderOrder::Start(settings),
        EncoderAction::Change(settings) => EncoderOrder::Change(settings),
        EncoderAction::Keyframe => EncoderOrder::Keyframe,
        EncoderAction::Pause => EncoderOrder::Pause,
        EncoderAction::Resume => EncoderOrder::Resume,
        EncoderAction::Stop => EncoderOrder::Stop,
    }
}

/// The broker of a device that has a cloud.
fn broker(local: &Local) -> Result<Option<(mqtt::Address, Renewal)>, Problem> {
    let Some(Broker { host, port }) = local.cloud.broker.clone() else { return Ok(None) };
    let renewal = Renewal::open(&local.device_files())
        .map_err(|error| Problem { key: "mqtt.ca, mqtt.cert, mqtt.key", problem: error.to_string() })?;
    let address = mqtt::Address {
        host,
        port,
        device: local.device.clone(),
        keep_alive_sec: local.cloud.keep_alive_sec,
        takes_settings: false,
        is_up: Arc::default(),
        renews: true,
        tls: renewal.tls(),
    };
    Ok(Some((address, renewal)))
}

/// A source with numbers of its own is a custom quality.
fn adopt(config: &mut PusherConfig, settings: Settings) {
    if let Ok(custom) = CustomQuality::new(settings, settings.fps) {
        config.quality = Quality::Custom;
        config.custom = Some(custom);
        config.source_fps_max = config.source_fps_max.max(settings.fps);
    }
}

/// No more pictures than the source gives: numbers in the file that ask for more are said and lowered, those of commands are refused.
fn bound_by_source(config: &mut PusherConfig, source_fps: u32) {
    let wanted = config.wanted();
    config.source_fps_max = source_fps;
    if wanted.fps > source_fps {
        tracing::warn!(
            asked = wanted.fps,
            source_fps,
            "the source gives fewer pictures a second than are asked for: there are no more of them"
        );
        if config.quality == Quality::Custom {
            config.custom = CustomQuality::new(Settings { fps: source_fps, ..wanted }, source_fps).ok();
        }
    }
}

/// Ids and jitter need to differ between starts, not to be secret.
pub(crate) fn random_seed() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(std::process::id())
}

/// What an application hands to a running agent, and what it may read.
pub(crate) struct Controls {
    pub(crate) inputs: mpsc::Receiver<Box<Input<'static, Bytes>>>,
    pub(crate) state: watch::Sender<StreamState>,
}

struct Running {
    /// Its queue is some 50 KB: no part of the loop's future, which is moved about.
    pusher: Box<Pusher<Bytes, QUEUE_FRAMES_MAX>>,
    pipeline: Pipeline,
    recorder: Option<Recorder>,
    motion: Option<MotionEvents>,
    calendar: Option<Calendar>,
    /// The last trigger that the pusher got.
    is_triggered: bool,
    backlog: Backlog,
    /// What the pusher got last was of the backlog.
    is_past: bool,
    stills: Stills,
    /// Source and encoder run without a stream, too, for the recorder or to see motion, and then with these numbers.
    idle: Option<Settings>,
    mqtt: Option<Mqtt>,
    /// Where the cloud is asked while the broker is away.
    discovery: Option<Discovery>,
    events: Option<mpsc::Sender<StreamEvent>>,
    controls: Option<Controls>,
    supervision: Option<Supervision>,
    connection: Connection,
    is_stopping: bool,
    /// The source is over: what waits still goes out.
    is_draining: bool,
    /// How the source's pictures are coded.
    coded: Option<Codec>,
    last_error: Option<ErrorCode>,
    outcome: Option<Outcome>,
}

/// What ended the wait.
enum Woken {
    Stop,
    Cloud(Incoming),
    Pipeline(Option<PipelineEvent>),
    Connection(ConnectionEvent),
    Progress,
    Timeout,
    Control(Box<Input<'static, Bytes>>),
    Order(Order),
    Still(Result<Vec<u8>, Undecodable>),
    Discovered(Discovered),
}

impl Running {
    async fn run(mut self, stop: CancellationToken) -> (Outcome, Option<Recorder>) {
        if let Some(idle) = self.idle {
            self.pipeline.order(EncoderOrder::Start(idle));
        }
        let mut buffer = vec![0; READ_BYTES];
        let mut progress = tokio::time::interval(PROGRESS_INTERVAL);
        progress.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            self.tend(clock::now());
            while let Some(action) = self.pusher.poll_action(clock::wall()) {
                self.act(action);
            }
            self.feed(clock::now());
            if let Some(outcome) = self.finished() {
                return (outcome, self.recorder);
            }
            let timeout = self.poll_timeout();
            let woken = tokio::select! {
                () = stop.cancelled(), if !self.is_stopping => Woken::Stop,
                Some(incoming) = when_some(self.mqtt.as_mut().map(|mqtt| mqtt.incoming.recv())) => Woken::Cloud(incoming),
                event = self.pipeline.events.recv(), if !self.is_draining => Woken::Pipeline(event),
                event = self.connection.next(self.pusher.pending(), &mut buffer) => Woken::Connection(event),
                Some(input) = when_some(self.controls.as_mut().map(|controls| controls.inputs.recv())) => Woken::Control(input),
                Some(order) = when_some(self.supervision.as_mut().map(|supervision| supervision.orders.recv())) => Woken::Order(order),
                Some(still) = self.stills.next() => Woken::Still(still),
                discovered = when_some(self.discovery.as_mut().map(Discovery::next)) => Woken::Discovered(discovered),
                _ = progress.tick(), if self.connection.is_open() => Woken::Progress,
                () = when_some(timeout.map(sleep_until)) => Woken::Timeout,
            };
            self.wake(woken, &buffer);
        }
    }

    fn finished(&mut self) -> Option<Outcome> {
        let state = self.pusher.state();
        if self.is_draining && !self.is_stopping && self.pusher.is_drained() && self.backlog.is_empty() {
            self.is_stopping = true;
            self.pusher.handle(clock::now(), Input::Stop);
            return None;
        }
        let is_at_rest = matches!(state, StreamState::Idle | StreamState::Standby | StreamState::Error);
        if self.is_stopping && is_at_rest {
            return Some(self.outcome.take().unwrap_or(Outcome::Stopped));
        }
        // With a cloud, a command may start it again; a trigger may, too; and a recorder has work without a stream.
        let is_alone = self.controls.is_none() && self.mqtt.is_none() && self.idle.is_none() && self.calendar.is_none();
        (state == StreamState::Error && is_alone).then(|| Outcome::GaveUp(self.last_error.unwrap_or(ErrorCode::ConnectionLost)))
    }

    fn wake(&mut self, woken: Woken, buffer: &[u8]) {
        let now = clock::now();
        match woken {
            Woken::Stop => {
                self.is_stopping = true;
                self.pusher.handle(now, Input::Stop);
            }
            Woken::Cloud(incoming) => self.hear(now, incoming),
            Woken::Pipeline(event) => self.take(now, event),
            Woken::Connection(event) => self.hear_connection(now, event, buffer),
            Woken::Progress => {
                self.report_progress(now);
                self.pusher.handle_timeout(now);
            }
            Woken::Timeout => self.pusher.handle_timeout(now),
            Woken::Control(input) => self.pusher.handle(now, *input),
            Woken::Order(order) => self.obey(now, order),
            Woken::Still(jpeg) => self.hand_out_still(jpeg),
            Woken::Discovered(discovered) => self.hear_discovery(now, discovered),
        }
    }

    fn hear_connection(&mut self, now: Instant, event: ConnectionEvent, buffer: &[u8]) {
        match event {
            ConnectionEvent::Up => self.link_up(now),
            ConnectionEvent::Back => self.pusher.handle(now, Input::NetworkUp),
            ConnectionEvent::Failed(error) => {
                tracing::warn!(%error, "no connection to the server");
                self.pusher.handle(now, Input::LinkClosed(Some(error.code)));
            }
            ConnectionEvent::Link(Turn::Wrote(bytes)) => self.pusher.consumed(now, bytes),
            ConnectionEvent::Link(Turn::Read(bytes)) => self.pusher.handle(now, Input::LinkBytes(&buffer[..bytes])),
            ConnectionEvent::Link(Turn::Closed) => self.pusher.handle(now, Input::LinkClosed(None)),
        }
    }

    fn link_up(&mut self, now: Instant) {
        self.pusher.handle(now, Input::LinkUp);
        self.report_progress(now);
    }

    /// What the far end has acknowledged.
    fn report_progress(&mut self, now: Instant) {
        if let Some(progress) = self.connection.progress() {
            let (bytes, outstanding) = (progress.acknowledged, progress.outstanding);
            self.pusher.handle(now, Input::Acknowledged { bytes, outstanding });
        }
    }

    fn take(&mut self, now: Instant, event: Option<PipelineEvent>) {
        match event {
            Some(PipelineEvent::Track(track)) => self.take_track(now, *track),
            Some(PipelineEvent::Frame(frame, captured_at)) => self.take_frame(now, frame, captured_at),
            Some(PipelineEvent::Motion(since)) => {
                let change = self.motion.as_mut().and_then(|motion| motion.gate.handle_motion(now));
                self.change_event(now, change, since);
            }
            Some(PipelineEvent::Lost { code, attempts, next_retry }) => {
                self.pusher.handle(now, Input::SourceLost { code, attempts, next_retry })
            }
            Some(PipelineEvent::Ended) => self.is_draining = true,
            Some(PipelineEvent::Failed(failure)) => self.fail(now, &failure),
            None => self.is_draining = true,
        }
    }

    fn take_track(&mut self, now: Instant, track: Track) {
        self.stills.set_track(&track);
        if let Some(recorder) = &mut self.recorder {
            recorder.set_track(&track);
        }
        if let Some(motion) = &mut self.motion
            && motion.preroll.set_track(&track)
        {
            // Frames of the old configuration can't follow the new one.
            self.backlog.clear();
        }
        if track.id == TrackId::VIDEO {
            self.coded = Some(track.config.codec());
            if self.is_withheld() {
                return;
            }
        }
        self.pusher.handle(now, Input::Track(track));
    }

    fn take_frame(&mut self, now: Instant, frame: Frame<Bytes>, captured_at: Instant) {
        self.stills.see(&frame, captured_at);
        if let Some(recorder) = &mut self.recorder {
            recorder.push(&frame, wall_of(captured_at, now));
        }
        if let Some(motion) = &mut self.motion {
            motion.preroll.push(&frame, captured_at);
        }
        if frame.track == TrackId::VIDEO && self.is_withheld() {
            return;
        }
        if self.backlog.is_empty() {
            if frame.track == TrackId::VIDEO && frame.is_keyframe {
                // Where there is no cloud, this is the clock that pictures are marked by; it may have been set in between.
                self.pusher.handle(now, Input::Clock(clock::wall()));
            }
            if self.is_past && self.pusher.is_drained() {
                self.is_past = false;
                self.pusher.handle(now, Input::Past(false));
            }
            self.pusher.handle(now, Input::Frame(frame, captured_at));
        } else {
            self.backlog.push(frame, captured_at);
        }
    }

    /// Whether the pictures are of a codec that the server does not take. Where the source runs for others, too, the order to make another of them holds from
    /// its next key frame on.
    fn is_withheld(&self) -> bool {
        self.pusher.is_streaming() && self.coded.is_some_and(|codec| !self.pusher.takes(codec))
    }

    /// The encoder follows the stream; but where others need it, it runs on without one.
    fn order(&mut self, order: EncoderAction) {
        if matches!(order, EncoderAction::Start(_)) {
            // Before the source begins with pictures that this server does not take.
            self.pipeline.order(EncoderOrder::Hevc(self.pusher.takes(Codec::Hevc)));
        }
        let Some(idle) = self.idle else {
            self.pipeline.order(as_order(order));
            return;
        };
        let order = match order {
            EncoderAction::Start(settings) if self.begins_with_preroll() => EncoderOrder::Change(settings),
            EncoderAction::Stop => EncoderOrder::Change(idle),
            // A recording has no hole because a link has one: what the link can't take, the pusher's queue leaves out.
            EncoderAction::Pause | EncoderAction::Resume => return,
            EncoderAction::Start(_) | EncoderAction::Change(_) | EncoderAction::Keyframe => as_order(order),
        };
        self.pipeline.order(order);
    }

    /// A stream that motion started begins with what came before it.
    fn begins_with_preroll(&mut self) -> bool {
        let Some(motion) = self.motion.as_mut().filter(|motion| motion.awaits_stream) else { return false };
        motion.awaits_stream = false;
        self.backlog.load(&motion.preroll, clock::now());
        motion.preroll.release();
        !self.backlog.is_empty()
    }

    /// Hands the pusher the past as the link takes it.
    fn feed(&mut self, now: Instant) {
        if !self.pusher.is_streaming() {
            self.backlog.clear();
        }
        if !self.is_past && !self.backlog.is_empty() {
            self.is_past = true;
            self.pusher.handle(now, Input::Past(true));
        }
        while !self.backlog.is_empty() && self.pusher.is_drained() {
            for _ in 0..FEED_FRAMES {
                let Some(frame) = self.backlog.pop(now) else { break };
                self.pusher.handle(now, Input::Frame(frame, now));
            }
        }
    }

    /// A source that is over is the end, once what it gave has gone out. What can't be encoded may be encoded after another command, which
    /// only a cloud can send.
    fn fail(&mut self, now: Instant, failure: &Failure) {
        tracing::error!(code = failure.code.as_str(), problem = failure.problem, "the source or the encoder failed");
        if failure.code == ErrorCode::SourceLost {
            self.pusher.handle(now, Input::SourceLost { code: failure.code, attempts: 0, next_retry: Duration::ZERO });
            self.is_draining = true;
        } else {
            self.pusher.handle(now, Input::Failed(failure.code));
            self.is_stopping = self.mqtt.is_none();
        }
        if self.is_draining || self.is_stopping {
            self.outcome = Some(Outcome::Failed(failure.to_string()));
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Signal(message) => self.send(message),
            Action::Dial { url } => {
                if self.connection.dial(url) {
                    self.link_up(clock::now());
                }
            }
            Action::HangUp => {
                use StreamState::{Connecting, Reconnecting, Requesting};
                self.connection.hang_up(matches!(self.pusher.state(), Connecting | Reconnecting | Requesting));
            }
            Action::Encoder(order) => {
                if !matches!(order, EncoderAction::Change(_)) {
                    tracing::debug!(?order, "encoder");
                }
                self.order(order);
            }
            Action::Status(status) => {
                if let Some(controls) = &self.controls {
                    controls.state.send_replace(status.state);
                }
                if let Some(error) = status.error {
                    self.last_error = Some(error);
                }
                // Rounded up, as `next_retry_in_sec` is.
                let retry_secs = status.next_retry.map(|delay| delay.as_millis().div_ceil(1000));
                tracing::info!(state = status.state.name(), error = status.error.map(ErrorCode::as_str), retry_secs, "stream");
                self.show(StreamEvent::Status(status));
            }
        }
    }
}

/// The civil time of an instant that has just been.
fn wall_of(at: Instant, now: Instant) -> WallTime {
    let ago_micros = i64::try_from(now.since(at).as_micros()).unwrap_or(i64::MAX);
    WallTime::from_unix_micros(clock::wall().unix_micros.saturating_sub(ago_micros))
}

async fn sleep_until(at: Instant) {
    tokio::time::sleep_until(clock::to_std(at).into()).await;
}

#[cfg(test)]
mod fault_tests;
