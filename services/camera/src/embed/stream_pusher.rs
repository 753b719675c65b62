//! The pusher as a library, for an application that has its own camera and encoder (specification §1.5).
//!
//! The application hands in H.264 access units and follows the orders to its encoder ([`StreamPusher::poll_order`]); everything else, from the
//! question to the cloud to the last retry, happens on a thread of the pusher's own. What happens comes out as owned values
//! ([`StreamPusher::events`]), or by the specification's three callbacks ([`Callbacks`]).
//!
//! ```
//! use sightline_camera::{Config, StreamPusher};
//!
//! let mut config = Config::new("cam-1", "test");
//! config.stream.rtmp_server_url = "rtmp://127.0.0.1:1/live".into();
//! config.stream.trigger = "manual".into();
//! let mut pusher = StreamPusher::initialize(config)?;
//! pusher.start()?;
//! pusher.start_stream("my-stream")?;
//! assert!(!pusher.is_streaming(), "nobody listens there");
//! pusher.stop_stream();
//! pusher.stop();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use bytes::Bytes;
use sightline_media::{
    Frame, MediaTime, Track, TrackId,
    intake::{Family, Intake},
};
use sightline_pusher::{Input, Trigger};
use sightline_signal::{CustomQuality, InvalidQuality, RunningMetrics, Settings, StatusEvent, StreamState, Text};
use std::{sync::mpsc::Receiver, thread::JoinHandle, time::Instant as StdInstant};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    agent::{Agent, Controls, StartError, StreamEvent},
    config::{Config, Problem, settable::CaptureTimes},
};
use sightline_capture::clock;
use sightline_encode::{EncoderOrder, Pipeline, PipelineEvent};

/// Two frames are at least this far apart: a tick of RTMP.
const STEP_MIN: MediaTime = MediaTime::from_millis(1);
/// Orders of the application that may wait for the pusher's thread, which takes them at once unless it hangs.
const CONTROLS_WAITING_MAX: usize = 16;
/// Events that may wait for the application; one that does not look loses the newest.
const EVENTS_WAITING_MAX: usize = 64;
/// The highest frame rate that a custom quality may have.
const FPS_MAX: u32 = 120;

/// Why a frame was not taken. The stream goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PushError {
    /// [`StreamPusher::start`] was not called, or the pusher has ended.
    #[error("the pusher does not run: call start")]
    NotRunning,
    /// There is no picture in it, or its parameter sets can't be read; or none came yet.
    #[error("FRAME_FORMAT_UNSUPPORTED: no H.264 access unit in Annex B that can be sent: the first needs its parameter sets")]
    Unsupported,
    /// The pusher's thread does not take frames: the machine is too busy. The frame is left out.
    #[error("the pusher is too busy: the frame is left out")]
    Busy,
}

/// A pusher that is not running, or whose server can't be named.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ControlError {
    /// [`StreamPusher::start`] was not called, or the pusher has ended.
    #[error("the pusher does not run: call start")]
    NotRunning,
    /// A stream key of more than 512 bytes.
    #[error("STREAM_KEY_INVALID: a stream key has at most 512 bytes")]
    KeyTooLong,
}

/// How the stream fares.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct PusherStatus {
    /// Where the stream is.
    pub state: StreamState,
    /// The last figures; all zero before the first, five seconds after the stream began.
    pub metrics: RunningMetrics,
}

impl PusherStatus {
    /// 0 to 1: how fresh the queue is, times the share of the frames that were delivered (specification §1.6).
    #[must_use]
    pub const fn network_quality(&self) -> f32 {
        self.metrics.network_quality
    }
}

/// The server that a stream runs to, or failed at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerInfo {
    /// `rtmp://host/app`, without the stream's name; empty where none was found.
    pub url: String,
    /// Why it failed; `None` where it did not.
    pub error: Option<sightline_signal::ErrorCode>,
}

/// Given the state and its name.
pub type OnState<'a> = Box<dyn FnMut(StreamState, &str) + Send + 'a>;
/// Given the figures since the last call.
pub type OnMetrics<'a> = Box<dyn FnMut(&RunningMetrics) + Send + 'a>;
/// Given a server, and whether the stream runs there.
pub type OnServerInfo<'a> = Box<dyn FnMut(&ServerInfo, bool) + Send + 'a>;

/// The specification's three callbacks. They run on whichever thread calls [`Callbacks::deliver`].
#[derive(Default)]
pub struct Callbacks<'a> {
    /// The state and its name.
    pub on_state: Option<OnState<'a>>,
    /// The figures, each five seconds while it streams.
    pub on_metrics: Option<OnMetrics<'a>>,
    /// A server, and whether the stream runs there.
    pub on_server_info: Option<OnServerInfo<'a>>,
}

impl std::fmt::Debug for Callbacks<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Callbacks")
    }
}

impl Callbacks<'_> {
    /// Calls what an event is for.
    ///
    /// ```
    /// use sightline_camera::{Callbacks, StreamEvent};
    /// use sightline_signal::StreamState;
    ///
    /// let mut seen = Vec::new();
    /// let mut callbacks = Callbacks { on_state: Some(Box::new(|state, name| seen.push((state, name.to_owned())))), ..Callbacks::default() };
    /// # let event = StreamEvent::Status(sightline_pusher::Status { state: StreamState::Connecting, error: None, next_retry: None });
    /// callbacks.deliver(&event);
    /// drop(callbacks);
    /// assert_eq!(seen, [(StreamState::Connecting, "connecting".to_owned())]);
    /// ```
    pub fn deliver(&mut self, event: &StreamEvent) {
        let mut info = |url: &str, error| {
            if let Some(call) = &mut self.on_server_info {
                call(&ServerInfo { url: url.to_owned(), error }, error.is_none());
            }
        };
        match event {
            StreamEvent::Status(status) => {
                if let Some(call) = &mut self.on_state {
                    call(status.state, status.state.name());
                }
            }
            StreamEvent::Event(event) => match &**event {
                StatusEvent::Metrics(event) => {
                    if let Some(call) = &mut self.on_metrics {
                        call(&event.metrics);
                    }
                }
                StatusEvent::Started(event) => info(&event.server_url, None),
                StatusEvent::ConnectionError(event) => info("", Some(event.error_code)),
                StatusEvent::Stopped(_) => {}
            },
        }
    }
}

/// A pusher that an application feeds.
#[derive(Debug)]
pub struct StreamPusher {
    settings: Settings,
    ready: Option<Agent>,
    feed: mpsc::Sender<PipelineEvent>,
    orders: Receiver<EncoderOrder>,
    running: Option<Running>,
    began: StdInstant,
    intake: Intake,
    /// The time of the last frame.
    last: Option<MediaTime>,
    /// A track that did not fit into the channel yet.
    track: Option<Track>,
    metrics: RunningMetrics,
}

#[derive(Debug)]
struct Running {
    inputs: mpsc::Sender<Box<Input<'static, Bytes>>>,
    state: watch::Receiver<StreamState>,
    events: mpsc::Receiver<StreamEvent>,
    stop: CancellationToken,
    thread: JoinHandle<()>,
}

impl StreamPusher {
    /// Checks every setting; nothing is sent anywhere. `config.source` is not used.
    ///
    /// # Errors
    /// [`StartError`]: a setting with its fix, or certificates that can't be read.
    pub fn initialize(config: Config) -> Result<Self, StartError> {
        let mut checked = config.checked()?;
        // Its pictures are the application's, whatever `source` says.
        checked.pusher.marks_pictures = checked.settable.stream.capture_times == CaptureTimes::All;
        if matches!(checked.pusher.trigger, Trigger::Motion | Trigger::Scheduled) {
            let problem = "motion and scheduled need the agent's own camera: take manual, always_on or on_demand".to_owned();
            return Err(Problem { key: "stream.trigger", problem }.into());
        }
        let settings = checked.pusher.wanted();
        let (pipeline, feed, orders) = Pipeline::fed();
        let agent = Agent::assemble(checked, pipeline)?;
        Ok(Self {
            settings,
            ready: Some(agent),
            feed,
            orders,
            running: None,
            began: StdInstant::now(),
            intake: Intake::new(Family::H264),
            last: None,
            track: None,
            metrics: RunningMetrics::default(),
        })
    }

    /// Starts the pusher's thread: the way to the cloud opens. A second call does nothing.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(&mut self) -> std::io::Result<()> {
        let Some(agent) = self.ready.take() else { return Ok(()) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (inputs, controls) = mpsc::channel(CONTROLS_WAITING_MAX);
        let (events_sender, events) = mpsc::channel(EVENTS_WAITING_MAX);
        let (state_sender, state) = watch::channel(StreamState::Idle);
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let thread = std::thread::Builder::new().name("pusher".into()).spawn(move || {
            let controls = Controls { inputs: controls, state: state_sender };
            let outcome = runtime.block_on(agent.run_controlled(stopped, Some(events_sender), Some(controls)));
            tracing::debug!(?outcome, "the pusher has ended");
        })?;
        self.running = Some(Running { inputs, state, events, stop, thread });
        Ok(())
    }

    /// Starts the stream; one that runs stays as it is. `key` is the name to publish under on a server given by hand
    /// (`stream.rtmp_server_url`); with a cloud, which gives the name, it is not used.
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn start_stream(&mut self, key: &str) -> Result<(), ControlError> {
        if !key.is_empty() {
            self.control(Input::StreamKey(Text::try_from(key).map_err(|_| ControlError::KeyTooLong)?))?;
        }
        self.control(Input::Start)
    }

    /// Takes one access unit of H.264 in decoding order, with start codes or with lengths before its NAL units, and its parameter sets before the first
    /// key frame at least. It counts as captured now.
    ///
    /// ```
    /// # use sightline_camera::{Config, PushError, StreamPusher};
    /// # let mut config = Config::new("cam-1", "test");
    /// # config.stream.rtmp_server_url = "rtmp://127.0.0.1:1/live".into();
    /// # config.stream.trigger = "manual".into();
    /// # let mut pusher = StreamPusher::initialize(config)?;
    /// assert_eq!(pusher.push_frame(&[0, 0, 0, 1, 0x65, 0x88]), Err(PushError::NotRunning));
    /// pusher.start()?;
    /// assert_eq!(pusher.push_frame(b"no picture"), Err(PushError::Unsupported));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`PushError`]; the frame is left out.
    pub fn push_frame(&mut self, unit: &[u8]) -> Result<(), PushError> {
        if self.running.as_ref().is_none_or(|running| running.thread.is_finished()) {
            return Err(PushError::NotRunning);
        }
        let captured = StdInstant::now();
        let (taken, payload) = self.intake.take_unit(unit).map_err(|_| PushError::Unsupported)?;
        if let Some(config) = taken.config {
            self.track = Some(Track { id: TrackId::VIDEO, config });
        }
        if let Some(track) = &self.track {
            self.feed.try_send(PipelineEvent::Track(Box::new(track.clone()))).map_err(|_| PushError::Busy)?;
            self.track = None;
        }
        let micros = i64::try_from(captured.duration_since(self.began).as_micros()).unwrap_or(i64::MAX);
        let at = MediaTime::from_micros(micros);
        let time = self.last.map_or(at, |last| at.max(last + STEP_MIN));
        self.last = Some(time);
        let (is_keyframe, is_disposable) = (taken.is_keyframe, taken.is_disposable);
        let frame = Frame { track: TrackId::VIDEO, dts: time, pts: time, is_keyframe, is_disposable, payload: Bytes::from(payload) };
        self.feed.try_send(PipelineEvent::Frame(frame, clock::from_std(captured))).map_err(|_| PushError::Busy)
    }

    /// What the application's encoder shall do: another rate, size or frame rate, a key frame, a pause. `None`: nothing new. To be asked
    /// before each picture; what is asked for takes effect within one key-frame interval.
    pub fn poll_order(&mut self) -> Option<EncoderOrder> {
        self.orders.try_recv().ok()
    }

    /// Ends the stream; one that does not run stays as it is.
    pub fn stop_stream(&mut self) {
        // One that does not run has nothing to stop.
        let _ = self.control(Input::Stop);
    }

    /// Ends the stream and the thread, and waits for the goodbyes, six seconds at most.
    pub fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop.cancel();
            if running.thread.join().is_err() {
                tracing::error!("the pusher's thread panicked");
            }
        }
    }

    /// Another size, frame rate and bit rate, from the next key frame on.
    ///
    /// ```
    /// # use sightline_camera::{Config, StreamPusher};
    /// # let mut config = Config::new("cam-1", "test");
    /// # config.stream.rtmp_server_url = "rtmp://127.0.0.1:1/live".into();
    /// # config.stream.trigger = "manual".into();
    /// # let mut pusher = StreamPusher::initialize(config)?;
    /// assert!(pusher.set_custom_quality(1281, 720, 25, 2_000_000).is_err(), "odd sides can't be encoded");
    /// pusher.start()?;
    /// pusher.set_custom_quality(1280, 720, 25, 2_000_000)?;
    /// pusher.adjust_bitrate(1_500_000)?;
    /// pusher.set_adaptive_bitrate(false);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`InvalidQuality`]: odd or zero sizes, no frame rate, under 50 kbit/s. The running stream stays as it was.
    pub fn set_custom_quality(&mut self, width: u32, height: u32, fps: u32, bitrate_bps: u32) -> Result<(), InvalidQuality> {
        let settings = CustomQuality::new(Settings { width, height, fps, bitrate_bps }, FPS_MAX)?.settings();
        self.settings = settings;
        // Without a thread there is no stream to change.
        let _ = self.control(Input::Quality(settings));
        Ok(())
    }

    /// Another bit rate to aim at, in bits a second.
    ///
    /// # Errors
    /// [`InvalidQuality`]: under 50 kbit/s, or above 100 Mbit/s.
    pub fn adjust_bitrate(&mut self, bitrate_bps: u32) -> Result<(), InvalidQuality> {
        let settings = CustomQuality::new(Settings { bitrate_bps, ..self.settings }, FPS_MAX)?.settings();
        self.settings = settings;
        let _ = self.control(Input::Bitrate(bitrate_bps));
        Ok(())
    }

    /// Whether the bit rate follows the link.
    pub fn set_adaptive_bitrate(&mut self, is_adaptive: bool) {
        let _ = self.control(Input::AdaptiveBitrate(is_adaptive));
    }

    /// True while frames are taken by a server.
    #[must_use]
    pub fn is_streaming(&self) -> bool {
        self.state() == StreamState::Streaming
    }

    fn state(&self) -> StreamState {
        self.running.as_ref().map_or(StreamState::Idle, |running| *running.state.borrow())
    }

    /// How the stream fares. The figures are those of the last [`Self::events`].
    #[must_use]
    pub fn status(&self) -> PusherStatus {
        PusherStatus { state: self.state(), metrics: self.metrics }
    }

    /// What happened since the last call, in order. At most 64 wait; then the newest are lost.
    pub fn events(&mut self) -> Vec<StreamEvent> {
        let mut all = Vec::new();
        let Some(running) = &mut self.running else { return all };
        while let Ok(event) = running.events.try_recv() {
            if let StreamEvent::Event(event) = &event
                && let StatusEvent::Metrics(event) = &**event
            {
                self.metrics = event.metrics;
            }
            all.push(event);
        }
        all
    }

    fn control(&mut self, input: Input<'static, Bytes>) -> Result<(), ControlError> {
        let running = self.running.as_ref().ok_or(ControlError::NotRunning)?;
        running.inputs.blocking_send(Box::new(input)).map_err(|_| ControlError::NotRunning)
    }
}

impl Drop for StreamPusher {
    fn drop(&mut self) {
        self.stop();
    }
}
