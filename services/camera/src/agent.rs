//! The loop around the pusher: carries out its actions, and tells it what happened. The recorder, the pre-roll and the triggers see what
//! the source gives before the pusher does.

mod events;
mod stills;
pub(crate) mod supervision;

use bytes::Bytes;
use sightline_media::{Frame, Instant, Track, WallTime};
use sightline_pusher::{Action, Config as PusherConfig, EncoderAction, FromDevice, Input, MotionGate, Pusher, Status, ToDevice, Trigger};
use sightline_signal::{Command, CustomQuality, ErrorCode, Quality, Response, Settings, StatusEvent, StreamState, Text, topic::Topic};
use std::{future::pending, pin::Pin, sync::Arc, time::Duration};
use tokio::sync::{mpsc, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    clock,
    config::{Checked, Config, Problem},
    encoder::OpenEncoder,
    link::{self, DialError, Link, Turn},
    mqtt::{self, Incoming, Mqtt, Outgoing},
    pipeline::{Failure, Made, Pipeline, Plan},
    preroll::Preroll,
    recorder::{Recorder, RecorderError},
    source::SourceError,
};
use events::{Backlog, Calendar, DETECTION_MAX, MotionEvents};
use stills::Stills;
use supervision::{Order, Supervision, Told, order};

/// Frames that may wait for the link: three seconds at 30 fps, and what a burst of audio adds.
const QUEUE_FRAMES: usize = 128;
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
    broker: Option<mqtt::Address>,
    supervision: Option<Supervision>,
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agent").field("checked", &self.checked).finish_non_exhaustive()
    }
}

/// Why an agent can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting can't be used.
    #[error(transparent)]
    Config(#[from] Problem),
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
    /// It was told to stop, or the source is over.
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
    /// Checks everything and opens the source. `plays_once`: end after one round of a file.
    ///
    /// # Errors
    /// [`StartError`]; nothing has been sent anywhere.
    pub fn start(config: &Config, plays_once: bool) -> Result<Self, StartError> {
        Self::start_with(config, plays_once, config.checked()?.encoder.source())
    }

    fn start_with(config: &Config, plays_once: bool, open_encoder: OpenEncoder) -> Result<Self, StartError> {
        let mut checked = config.checked()?;
        let default = checked.pusher.wanted();
        let plan = Plan {
            source: checked.source.clone(),
            limits: checked.limits,
            keyframe_interval_sec: config.stream.keyframe_interval_sec,
            title: config.device_id.clone(),
            plays_once,
            rtsp_transport: checked.rtsp_transport,
            is_patient: !config.mqtt.url.is_empty() || checked.recorder.is_some(),
            motion: checked.motion.as_ref().map(|motion| motion.detector.clone()),
            open_encoder,
        };
        let is_free = checked.limits.is_none();
        let (pipeline, settings) = Pipeline::start(plan, default)?;
        if is_free && settings != default {
            adopt(&mut checked.pusher, settings);
        }
        Self::assemble(config, checked, pipeline)
    }

    /// Around a source that is there.
    pub(crate) fn assemble(config: &Config, checked: Checked, pipeline: Pipeline) -> Result<Self, StartError> {
        let has_own_ca = !config.stream.ca.as_os_str().is_empty();
        let (key, ca) = if has_own_ca { ("stream.ca", &config.stream.ca) } else { ("mqtt.ca", &config.mqtt.ca) };
        let tls = (!ca.as_os_str().is_empty()).then(|| link::tls_config(ca, None)).transpose();
        let tls = tls.map_err(|problem| Problem { key, problem })?;
        let broker = if config.mqtt.url.is_empty() || checked.pusher.server.is_some() {
            None
        } else {
            let (host, port) = mqtt::parse_url(&config.mqtt.url).map_err(|problem| Problem { key: "mqtt.url", problem })?;
            let tls = mqtt::load_tls(&config.mqtt.ca, &config.mqtt.cert, &config.mqtt.key)
                .map_err(|problem| Problem { key: "mqtt.ca, mqtt.cert, mqtt.key", problem })?;
            Some(mqtt::Address {
                host,
                port,
                device: checked.pusher.device.clone(),
                keep_alive_sec: config.mqtt.keep_alive_sec,
                takes_settings: false,
                tls,
            })
        };
        let recorder = checked.recorder.clone().map(Recorder::start).transpose()?;
        Ok(Self { checked, pipeline, recorder, tls, broker, supervision: None })
    }

    /// Tells someone what comes from afar, and does what that one says.
    pub(crate) fn supervise(&mut self, supervision: Supervision) {
        if let Some(broker) = &mut self.broker {
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
        let mqtt = self.broker.map(|address| mqtt::start(address, &tasks, mqtt_stop.clone()));
        let seed = random_seed();
        let starts_by_hand = controls.is_none() && self.checked.pusher.server.is_some() && self.checked.pusher.trigger == Trigger::Manual;
        let motion = self.checked.motion.map(|motion| MotionEvents {
            gate: MotionGate::new(motion.gate),
            preroll: Preroll::new(motion.preroll + DETECTION_MAX, motion.preroll_bytes),
            lead: motion.preroll,
            starts_stream: motion.starts_stream,
            awaits_stream: false,
        });
        let pusher = Pusher::new(self.checked.pusher, seed);
        let mut running = Running {
            idle: (self.recorder.is_some() || motion.is_some()).then(|| pusher.settings()),
            pusher,
            pipeline: self.pipeline,
            recorder: self.recorder,
            motion,
            calendar: self.checked.schedule.map(Calendar::new),
            is_triggered: false,
            backlog: Backlog::new(self.checked.preroll_bytes),
            stills: Stills::default(),
            mqtt,
            tls: self.tls,
            events,
            controls,
            supervision: self.supervision,
            link: None,
            dialling: None,
            dialled_url: Text::new(),
            watching: None,
            ready: None,
            stalled: None,
            is_stopping: false,
            is_draining: false,
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

/// A source with numbers of its own is a custom quality.
fn adopt(config: &mut PusherConfig, settings: Settings) {
    if let Ok(custom) = CustomQuality::new(settings, settings.fps) {
        config.quality = Quality::Custom;
        config.custom = Some(custom);
        config.source_fps_max = config.source_fps_max.max(settings.fps);
    }
}

/// Ids and jitter need to differ between starts, not to be secret.
pub(crate) fn random_seed() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(std::process::id())
}

/// What an application tells a running agent, and what it may look at.
pub(crate) struct Controls {
    pub(crate) inputs: mpsc::Receiver<Box<Input<'static, Bytes>>>,
    pub(crate) state: watch::Sender<StreamState>,
}

type Dialling = Pin<Box<dyn Future<Output = Result<Link, DialError>> + Send>>;

struct Running {
    pusher: Pusher<Bytes, QUEUE_FRAMES>,
    pipeline: Pipeline,
    recorder: Option<Recorder>,
    motion: Option<MotionEvents>,
    calendar: Option<Calendar>,
    /// What the pusher was told last.
    is_triggered: bool,
    backlog: Backlog,
    stills: Stills,
    /// Source and encoder run without a stream, too, for the recorder or to see motion, and then with these numbers.
    idle: Option<Settings>,
    mqtt: Option<Mqtt>,
    tls: Option<Arc<rustls::ClientConfig>>,
    events: Option<mpsc::Sender<StreamEvent>>,
    controls: Option<Controls>,
    supervision: Option<Supervision>,
    link: Option<Link>,
    dialling: Option<Dialling>,
    /// The server that [`Self::dialling`] or [`Self::watching`] is for.
    dialled_url: Text<192>,
    /// A connection that nobody waits for any more, because it took too long: its success says that the link is back.
    watching: Option<Dialling>,
    /// A connection that watching has brought; the next dial takes it.
    ready: Option<Link>,
    /// A connection on which nothing moved any more. It is reset once there is another: the server then hears of it over a link that works,
    /// and does not keep the stream's name for it.
    stalled: Option<Link>,
    is_stopping: bool,
    /// The source is over: what waits still goes out.
    is_draining: bool,
    last_error: Option<ErrorCode>,
    outcome: Option<Outcome>,
}

/// What ended the wait.
enum Woken {
    Stop,
    Cloud(Incoming),
    Made(Option<Made>),
    Dialled(Result<Link, DialError>),
    Watched(Result<Link, DialError>),
    Link(Turn),
    Progress,
    Timeout,
    Control(Box<Input<'static, Bytes>>),
    Order(Order),
    Still(Option<Vec<u8>>),
}

impl Running {
    async fn run(mut self, stop: CancellationToken) -> (Outcome, Option<Recorder>) {
        if let Some(idle) = self.idle {
            self.pipeline.order(EncoderAction::Start(idle));
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
                Some(incoming) = recv(&mut self.mqtt) => Woken::Cloud(incoming),
                made = self.pipeline.made.recv(), if !self.is_draining => Woken::Made(made),
                dialled = dialled(&mut self.dialling) => Woken::Dialled(dialled),
                watched = dialled(&mut self.watching) => Woken::Watched(watched),
                turn = turn(&mut self.link, self.pusher.pending(), &mut buffer) => Woken::Link(turn),
                Some(input) = control(&mut self.controls) => Woken::Control(input),
                Some(order) = order(&mut self.supervision) => Woken::Order(order),
                still = stills::made(&mut self.stills) => Woken::Still(still),
                _ = progress.tick(), if self.link.is_some() => Woken::Progress,
                () = sleep_until(timeout) => Woken::Timeout,
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
            Woken::Made(made) => self.take(now, made),
            Woken::Dialled(Ok(link)) => {
                self.dialling = None;
                self.take_link(now, link);
            }
            Woken::Watched(watched) => {
                self.watching = None;
                // A refusal says that the server is down, not the link: the backoff has the word.
                if let Ok(link) = watched {
                    self.ready = Some(link);
                    self.pusher.handle(now, Input::NetworkUp);
                }
            }
            Woken::Dialled(Err(error)) => {
                self.dialling = None;
                tracing::warn!(%error, "no connection to the server");
                self.pusher.handle(now, Input::LinkClosed(Some(error.code)));
            }
            Woken::Link(Turn::Wrote(bytes)) => self.pusher.consumed(now, bytes),
            Woken::Link(Turn::Read(bytes)) => self.pusher.handle(now, Input::LinkBytes(&buffer[..bytes])),
            Woken::Link(Turn::Closed) => {
                self.link = None;
                self.pusher.handle(now, Input::LinkClosed(None));
            }
            Woken::Progress => {
                self.tell_progress(now);
                self.pusher.handle_timeout(now);
            }
            Woken::Timeout => self.pusher.handle_timeout(now),
            Woken::Control(input) => self.pusher.handle(now, *input),
            Woken::Order(order) => self.obey(now, order),
            Woken::Still(jpeg) => self.hand_out_still(jpeg),
        }
    }

    fn take_link(&mut self, now: Instant, link: Link) {
        if let Some(stalled) = self.stalled.take() {
            stalled.abort();
        }
        self.link = Some(link);
        self.pusher.handle(now, Input::LinkUp);
        self.tell_progress(now);
    }

    /// What the far end has acknowledged, where the system knows.
    fn tell_progress(&mut self, now: Instant) {
        if let Some(progress) = self.link.as_ref().and_then(Link::progress) {
            let (bytes, outstanding) = (progress.acknowledged, progress.outstanding);
            self.pusher.handle(now, Input::Acknowledged { bytes, outstanding });
        }
    }

    fn dial(&mut self, url: Text<192>) {
        let is_same = self.dialled_url == url;
        let (watching, ready) = (self.watching.take().filter(|_| is_same), self.ready.take().filter(|_| is_same));
        if let Some(link) = ready {
            self.take_link(clock::now(), link);
            return;
        }
        self.dialling = Some(watching.unwrap_or_else(|| Box::pin(link::dial(url.to_string(), self.tls.clone()))));
        self.dialled_url = url;
    }

    fn hang_up(&mut self) {
        let is_wanted = matches!(self.pusher.state(), StreamState::Connecting | StreamState::Reconnecting | StreamState::Requesting);
        let (link, dialling) = (self.link.take(), self.dialling.take());
        if is_wanted {
            self.stalled = link.or(self.stalled.take());
            self.watching = dialling.or(self.watching.take());
        } else {
            (self.stalled, self.watching, self.ready) = (None, None, None);
        }
    }

    fn take(&mut self, now: Instant, made: Option<Made>) {
        match made {
            Some(Made::Track(track)) => self.take_track(now, *track),
            Some(Made::Frame(frame, captured_at)) => self.take_frame(now, frame, captured_at),
            Some(Made::Motion(since)) => {
                let change = self.motion.as_mut().and_then(|motion| motion.gate.handle_motion(now));
                self.change_event(now, change, since);
            }
            Some(Made::Lost { code, attempts, next_retry }) => self.pusher.handle(now, Input::SourceLost { code, attempts, next_retry }),
            Some(Made::Ended) => self.is_draining = true,
            Some(Made::Failed(failure)) => self.fail(now, &failure),
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
        if self.backlog.is_empty() {
            self.pusher.handle(now, Input::Frame(frame, captured_at));
        } else {
            self.backlog.push(frame, captured_at);
        }
    }

    // ---- motion and the clock -------------------------------------------------------------------------------------------

    /// What time brings.
    fn tend(&mut self, now: Instant) {
        let change = self.motion.as_mut().and_then(|motion| motion.gate.handle_timeout(now));
        self.change_event(now, change, now);
        if let Some(calendar) = &mut self.calendar {
            calendar.look(now, jiff::Timestamp::now());
        }
        self.pull_trigger(now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let gate = self.motion.as_ref().and_then(|motion| motion.gate.poll_timeout());
        let look_at = self.calendar.as_ref().map(|calendar| calendar.look_at);
        [self.pusher.poll_timeout(), gate, look_at].into_iter().flatten().min()
    }

    /// An event of motion begins, or is over. `since`: nothing moved then yet.
    fn change_event(&mut self, now: Instant, change: Option<bool>, since: Instant) {
        let (Some(is_on), Some(motion)) = (change, &mut self.motion) else { return };
        tracing::info!(motion = is_on, "motion");
        let recorder = self.recorder.as_mut().filter(|recorder| recorder.waits_for_motion());
        if is_on {
            motion.preroll.hold(motion.begins_before(since));
            motion.awaits_stream = motion.starts_stream && !self.pusher.is_streaming();
            if let Some(recorder) = recorder {
                recorder.begin();
                motion.preroll.frames().for_each(|held| recorder.push(&held.frame, wall_of(held.captured_at, now)));
            }
        } else {
            motion.awaits_stream = false;
            if let Some(recorder) = recorder {
                recorder.end();
            }
        }
        if !motion.awaits_stream {
            motion.preroll.release();
        }
        if let Some(mqtt) = &self.mqtt {
            let payload = serde_json::json!({ "motion": is_on }).to_string().into_bytes();
            mqtt.publish(Outgoing { topic: Topic::Motion, payload, retain: false });
        }
        self.pull_trigger(now);
    }

    /// Tells the pusher where motion or the clock wants something else.
    fn pull_trigger(&mut self, now: Instant) {
        let moves = self.motion.as_ref().is_some_and(|motion| motion.starts_stream && motion.gate.is_open());
        let is_triggered = !self.is_stopping && (moves || self.calendar.as_ref().is_some_and(|calendar| calendar.is_open));
        if is_triggered != self.is_triggered {
            self.is_triggered = is_triggered;
            self.pusher.handle(now, Input::Trigger(is_triggered));
        }
    }

    /// The encoder follows the stream; but where others need it, it runs on without one.
    fn order(&mut self, order: EncoderAction) {
        let Some(idle) = self.idle else {
            self.pipeline.order(order);
            return;
        };
        let order = match order {
            EncoderAction::Start(settings) if self.begins_with_preroll() => EncoderAction::Change(settings),
            EncoderAction::Stop => EncoderAction::Change(idle),
            // A recording has no hole because a link has one: what the link can't take, the pusher's queue leaves out.
            EncoderAction::Pause | EncoderAction::Resume => return,
            EncoderAction::Start(_) | EncoderAction::Change(_) | EncoderAction::Keyframe => order,
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

    fn hear(&mut self, now: Instant, incoming: Incoming) {
        match incoming {
            Incoming::Up => {
                self.pusher.handle(now, Input::SignalUp);
                self.tell(Told::Up);
            }
            Incoming::Down(code) => {
                self.pusher.handle(now, Input::SignalDown(code));
                self.tell(Told::Down(code));
            }
            Incoming::Message(Topic::ConfigDesired, payload) => self.tell(Told::Desired(payload)),
            Incoming::Message(Topic::Response, payload) => match serde_json::from_slice::<Response>(&payload) {
                Ok(response) => self.pusher.handle(now, Input::Signal(ToDevice::Response(&response))),
                Err(error) => tracing::warn!(%error, "an answer from the cloud does not parse"),
            },
            Incoming::Message(Topic::Command, payload) => match serde_json::from_slice::<Command>(&payload) {
                Ok(command) => self.command(now, command),
                Err(error) => self.refuse(&payload, &error),
            },
            Incoming::Message(topic, _) => tracing::debug!(topic = topic.suffix(), "a message that this device does not take"),
        }
    }

    /// A command that does not parse is answered with an error, never ignored.
    fn refuse(&self, payload: &[u8], error: &serde_json::Error) {
        tracing::warn!(%error, "a command does not parse");
        let parsed: serde_json::Value = serde_json::from_slice(payload).unwrap_or_default();
        let answer = serde_json::json!({
            "command_id": parsed.get("command_id").and_then(serde_json::Value::as_str).unwrap_or_default(),
            "success": false,
            "error_code": ErrorCode::BadRequest.as_str(),
            "error_message": error.to_string(),
            "timestamp": clock::wall().unix_secs(),
        });
        if let Some(mqtt) = &self.mqtt {
            mqtt.publish(Outgoing { topic: Topic::Result, payload: answer.to_string().into_bytes(), retain: false });
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Signal(message) => self.send(message),
            Action::Dial { url } => self.dial(url),
            Action::HangUp => self.hang_up(),
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
                let retry_secs = status.next_retry.map(|delay| delay.as_secs_f32());
                tracing::info!(state = status.state.name(), error = status.error.map(ErrorCode::as_str), retry_secs, "stream");
                self.show(StreamEvent::Status(status));
            }
        }
    }

    fn send(&mut self, message: FromDevice) {
        let (topic, payload, retain) = match &message {
            FromDevice::Request(request) => (Topic::Request, serde_json::to_vec(request), false),
            FromDevice::Status(event) => (Topic::Status, serde_json::to_vec(event), false),
            FromDevice::Result(result) => (Topic::Result, serde_json::to_vec(result), false),
            FromDevice::State(report) => (Topic::State, serde_json::to_vec(report), true),
        };
        if let FromDevice::Status(event) = message {
            if let StatusEvent::ConnectionError(error) = &event {
                self.last_error = Some(error.error_code);
                tracing::warn!(
                    code = error.error_code.as_str(),
                    message = error.message.as_str(),
                    attempts = error.reconnect_attempts,
                    "stream"
                );
            }
            self.show(StreamEvent::Event(Box::new(event)));
        }
        if let (Some(mqtt), Ok(payload)) = (&self.mqtt, payload) {
            mqtt.publish(Outgoing { topic, payload, retain });
        }
    }

    /// Shows it to whoever looks; nobody is waited for.
    fn show(&self, event: StreamEvent) {
        if let Some(events) = &self.events {
            let _ = events.try_send(event);
        }
    }
}

/// The civil time of an instant that has just been.
fn wall_of(at: Instant, now: Instant) -> WallTime {
    let ago_micros = i64::try_from(now.since(at).as_micros()).unwrap_or(i64::MAX);
    WallTime::from_unix_micros(clock::wall().unix_micros.saturating_sub(ago_micros))
}

async fn recv(mqtt: &mut Option<Mqtt>) -> Option<Incoming> {
    match mqtt {
        Some(mqtt) => mqtt.incoming.recv().await,
        None => pending().await,
    }
}

async fn control(controls: &mut Option<Controls>) -> Option<Box<Input<'static, Bytes>>> {
    match controls {
        Some(controls) => controls.inputs.recv().await,
        None => pending().await,
    }
}

async fn dialled(dialling: &mut Option<Dialling>) -> Result<Link, DialError> {
    match dialling {
        Some(dialling) => dialling.await,
        None => pending().await,
    }
}

async fn turn(link: &mut Option<Link>, bytes: [&[u8]; 2], buffer: &mut [u8]) -> Turn {
    match link {
        Some(link) => link.turn(bytes, buffer).await,
        None => pending().await,
    }
}

async fn sleep_until(timeout: Option<Instant>) {
    match timeout {
        Some(at) => tokio::time::sleep_until(clock::to_std(at).into()).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod fault_tests;
