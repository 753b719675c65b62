//! The loop around the pusher: what `firmware/qemu-virt` is to its image, for a platform that comes in as functions.

use core::{
    ffi::{CStr, c_void},
    sync::atomic::AtomicU32,
    time::Duration,
};
use sightline_media::{Frame, Instant, MediaTime, Track, TrackId, WallTime};
use sightline_pusher::{Action, Config, FromDevice, GateConfig, Input, MotionGate, Pusher, ToDevice, Trigger};
use sightline_rtmp::url::RtmpUrl;
use sightline_signal::{
    Command, CustomQuality, DeviceId, ErrorCode, Response, RunningMetrics, Settings, StatusEvent, StreamState, Text, json, topic::Topic,
};

use crate::{
    lent::{self, Lent},
    platform::{Ended, Platform},
    types::{SightlineError, SightlineFormat, SightlineLogLevel, SightlineSocketState, SightlineStatus},
};

/// Frames that may wait for the link, by reference: half a second at 30 fps, and more than a chip's encoder has buffers.
const QUEUE_FRAMES: usize = 16;
/// How often the pusher gets to know what has arrived: as often as its rate control samples.
const PROGRESS_US: u64 = 25_000;
/// How soon a connection that is being made is looked at again: each of its round trips waits this long at most.
const OPENING_US: u64 = 5_000;
/// How soon a connection that takes no more is offered bytes again: a frame at 30 fps is 33 ms.
const FULL_US: u64 = 2_000;
/// Reads in one turn, so that a server that talks without end does not keep the rest from its turn.
const READS_MAX: usize = 16;
/// Bytes of one read: what servers say is shorter.
const READ_BYTES: usize = 256;
/// The longest host name in a URL of 192 bytes, and its NUL.
const HOST_BYTES_MAX: usize = 193;

/// The way to the server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Link {
    None,
    Opening,
    Up,
}

/// Whether it may work.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Run {
    Halted,
    Running,
    /// Until the goodbyes are sent.
    Ending,
}

/// What the cloud called the server.
#[derive(Clone, Default)]
pub(crate) struct Names {
    pub(crate) server: Text<64>,
    pub(crate) region: Text<32>,
}

/// All that a handle holds besides the platform.
pub(crate) struct Face {
    brain: Pusher<Lent, QUEUE_FRAMES>,
    gate: MotionGate,
    trigger: Trigger,
    format: SightlineFormat,
    fps_max: u32,
    run: Run,
    link: Link,
    /// Bytes that the connection took.
    sent: u64,
    told_at: u64,
    has_track: bool,
    last_time: MediaTime,
    metrics: RunningMetrics,
    pub(crate) names: Names,
}

impl Face {
    pub(crate) fn new(config: Config, format: SightlineFormat, seed: u64) -> Self {
        Self {
            gate: MotionGate::new(GateConfig::default()),
            trigger: config.trigger,
            format,
            fps_max: config.source_fps_max,
            run: Run::Halted,
            link: Link::None,
            sent: 0,
            told_at: 0,
            has_track: false,
            last_time: MediaTime::from_ticks(i64::MIN / 2),
            metrics: RunningMetrics::default(),
            names: Names::default(),
            brain: Pusher::new(config, seed),
        }
    }

    fn tell(&mut self, platform: &Platform, input: Input<'_, Lent>) {
        self.brain.handle(Instant::from_micros(platform.now_us()), input);
    }

    fn running(&self) -> Result<(), SightlineError> {
        if self.run == Run::Running { Ok(()) } else { Err(SightlineError::NotRunning) }
    }

    pub(crate) fn start(&mut self, platform: &Platform) {
        let was = core::mem::replace(&mut self.run, Run::Running);
        if was != Run::Running && self.trigger == Trigger::AlwaysOn {
            self.tell(platform, Input::Start);
        }
    }

    pub(crate) fn start_stream(&mut self, platform: &Platform, key: &str) -> Result<(), SightlineError> {
        self.running()?;
        if !key.is_empty() {
            let key = Text::try_from(key).map_err(|_| SightlineError::BadText)?;
            self.tell(platform, Input::StreamKey(key));
        }
        self.tell(platform, Input::Start);
        Ok(())
    }

    pub(crate) fn stop_stream(&mut self, platform: &Platform) -> Result<(), SightlineError> {
        self.running()?;
        self.tell(platform, Input::Stop);
        Ok(())
    }

    pub(crate) fn stop(&mut self, platform: &Platform) {
        if self.run == Run::Running {
            self.run = Run::Ending;
            self.tell(platform, Input::Stop);
        }
    }

    pub(crate) fn on_motion(&mut self, platform: &Platform) -> Result<(), SightlineError> {
        self.running()?;
        if self.trigger != Trigger::Motion {
            return Err(SightlineError::WrongTrigger);
        }
        if let Some(is_open) = self.gate.handle_motion(Instant::from_micros(platform.now_us())) {
            self.tell(platform, Input::Trigger(is_open));
        }
        Ok(())
    }

    pub(crate) fn on_schedule(&mut self, platform: &Platform, is_open: bool) -> Result<(), SightlineError> {
        self.running()?;
        if self.trigger != Trigger::Scheduled {
            return Err(SightlineError::WrongTrigger);
        }
        self.tell(platform, Input::Trigger(is_open));
        Ok(())
    }

    pub(crate) fn simple(&mut self, platform: &Platform, input: Input<'static, Lent>) -> Result<(), SightlineError> {
        self.running()?;
        self.tell(platform, input);
        Ok(())
    }

    pub(crate) fn set_custom_quality(&mut self, platform: &Platform, settings: Settings) -> Result<(), SightlineError> {
        let checked = CustomQuality::new(settings, self.fps_max).map_err(|_| SightlineError::InvalidQuality)?;
        self.tell(platform, Input::Quality(checked.settings()));
        Ok(())
    }

    pub(crate) fn adjust_bitrate(&mut self, platform: &Platform, bitrate_bps: u32) -> Result<(), SightlineError> {
        if !(CustomQuality::BITRATE_BPS_MIN..=CustomQuality::BITRATE_BPS_MAX).contains(&bitrate_bps) {
            return Err(SightlineError::InvalidQuality);
        }
        self.tell(platform, Input::Bitrate(bitrate_bps));
        Ok(())
    }

    pub(crate) fn set_adaptive_bitrate(&mut self, platform: &Platform, is_adaptive: bool) {
        self.tell(platform, Input::AdaptiveBitrate(is_adaptive));
    }

    pub(crate) fn set_track(&mut self, platform: &Platform, track: Track) {
        self.has_track = true;
        self.tell(platform, Input::Track(track));
    }

    pub(crate) fn state(&self) -> StreamState {
        self.brain.state()
    }

    pub(crate) fn status(&self, lent_frames: u32) -> SightlineStatus {
        SightlineStatus {
            state: self.brain.state().into(),
            settings: self.brain.settings().into(),
            metrics: self.metrics.into(),
            lent_frames,
        }
    }

    /// Takes an access unit; on an error nothing was taken.
    ///
    /// # Safety
    /// See [`Lent::new`]; `bytes` is the caller's, and nobody else looks at it until it is released.
    #[expect(unsafe_code, reason = "lends the caller's memory")]
    pub(crate) unsafe fn push_frame(
        &mut self,
        frame: Pushed<'_>,
        platform: &Platform,
        count: *const AtomicU32,
    ) -> Result<(), SightlineError> {
        self.running()?;
        let Pushed { bytes, token, pts_us, dts_us } = frame;
        let (track, unit) = match self.format {
            SightlineFormat::AnnexB => {
                let (mut track, is_known) = (None, self.has_track);
                let unit = lent::annex_b_in_place(bytes, |found| {
                    track = found;
                    if is_known || track.is_some() { Ok(()) } else { Err(SightlineError::FrameFormatUnsupported) }
                })?;
                (track, unit)
            }
            SightlineFormat::Avcc => lent::look_avcc(bytes)?,
        };
        if let Some(track) = track {
            self.set_track(platform, track);
        } else if !self.has_track {
            return Err(SightlineError::FrameFormatUnsupported);
        }
        // Two frames within a tick of RTMP's clock still follow one another.
        let dts = MediaTime::from_micros(dts_us).max(self.last_time + MediaTime::from_ticks(90));
        self.last_time = dts;
        let sent = bytes.get(unit.payload).ok_or(SightlineError::FrameFormatUnsupported)?;
        // SAFETY: this function's own contract.
        let payload = unsafe { Lent::new(sent, token, platform, count) };
        let frame = Frame {
            track: TrackId::VIDEO,
            dts,
            pts: MediaTime::from_micros(pts_us).max(dts),
            is_keyframe: unit.is_keyframe,
            is_disposable: unit.is_disposable,
            payload,
        };
        let now = Instant::from_micros(platform.now_us());
        self.brain.handle(now, Input::Frame(frame, now));
        self.write(platform);
        Ok(())
    }

    pub(crate) fn on_message(&mut self, platform: &Platform, device: &DeviceId, topic: &str, payload: &[u8]) -> Result<(), SightlineError> {
        self.running()?;
        let bad = |_| SightlineError::BadMessage;
        let (mut response, command);
        let input = match Topic::parse(topic) {
            Some((of, Topic::Response)) if of == *device => {
                response = Response::default();
                response.read(payload).map_err(bad)?;
                self.names = Names {
                    server: response.server_name.clone().unwrap_or_default(),
                    region: response.server_region.clone().unwrap_or_default(),
                };
                ToDevice::Response(&response)
            }
            Some((of, Topic::Command)) if of == *device => {
                command = json::read::<Command>(payload).map_err(bad)?;
                ToDevice::Command(&command)
            }
            _ => return Err(SightlineError::UnknownTopic),
        };
        self.tell(platform, Input::Signal(input));
        Ok(())
    }

    /// The first half of a turn: what came in, and what is due.
    pub(crate) fn turn(&mut self, platform: &Platform) {
        if self.run == Run::Halted {
            return;
        }
        self.look_at_link(platform);
        let now = Instant::from_micros(platform.now_us());
        if let Some(is_open) = self.gate.handle_timeout(now) {
            self.tell(platform, Input::Trigger(is_open));
        }
        if self.brain.poll_timeout().is_some_and(|at| at <= now) {
            self.brain.handle_timeout(now);
        }
        self.write(platform);
    }

    /// The next thing for the platform to do; what is about the connection is done here.
    pub(crate) fn next_action(&mut self, platform: &Platform) -> Option<Action> {
        loop {
            match self.brain.poll_action(WallTime::from_unix_micros(platform.wall_us()))? {
                Action::Dial { url } => self.dial(platform, &url),
                Action::HangUp => {
                    if self.link != Link::None {
                        self.link = Link::None;
                        platform.close();
                    }
                }
                other => {
                    if let Action::Signal(FromDevice::Status(StatusEvent::Metrics(event))) = &other {
                        self.metrics = event.metrics;
                    }
                    return Some(other);
                }
            }
        }
    }

    /// The other half: writes what the actions have made, and says how long nothing is to be done.
    pub(crate) fn settle(&mut self, platform: &Platform) -> Option<Duration> {
        self.write(platform);
        let is_at_rest = matches!(self.brain.state(), StreamState::Idle | StreamState::Standby | StreamState::Error);
        if self.run == Run::Ending && is_at_rest {
            self.run = Run::Halted;
            if self.link != Link::None {
                self.link = Link::None;
                platform.close();
            }
        }
        if self.run == Run::Halted {
            return None;
        }
        let now = platform.now_us();
        let link_due = match self.link {
            Link::None => None,
            Link::Opening => Some(now + OPENING_US),
            Link::Up if self.brain.pending().iter().any(|bytes| !bytes.is_empty()) => Some(now + FULL_US),
            Link::Up if self.brain.state() == StreamState::Connecting => Some(now + OPENING_US),
            Link::Up => Some(now + PROGRESS_US),
        };
        let due = [self.brain.poll_timeout(), self.gate.poll_timeout()].into_iter().flatten().map(Instant::as_micros);
        due.chain(link_due).min().map(|at| Duration::from_micros(at.saturating_sub(now)))
    }

    fn look_at_link(&mut self, platform: &Platform) {
        if self.link == Link::None {
            return;
        }
        match (self.link, platform.socket_state()) {
            (Link::Opening, SightlineSocketState::Opening) => return,
            (Link::Opening, SightlineSocketState::Open) => {
                self.link = Link::Up;
                self.sent = 0;
                self.tell(platform, Input::LinkUp);
            }
            (_, SightlineSocketState::DnsFailed) => return self.lose_link(platform, Some(ErrorCode::DnsFailed)),
            (_, SightlineSocketState::TlsFailed) => return self.lose_link(platform, Some(ErrorCode::TlsFailed)),
            (Link::Opening, _) => return self.lose_link(platform, Some(ErrorCode::RtmpConnectTimeout)),
            // What came before the end is read first: reading says that it has ended.
            (Link::Up | Link::None, _) => {}
        }
        for _ in 0..READS_MAX {
            let mut room = [0; READ_BYTES];
            match platform.receive(&mut room) {
                Ok([]) => break,
                Ok(bytes) => self.tell(platform, Input::LinkBytes(bytes)),
                Err(Ended) => return self.lose_link(platform, None),
            }
        }
        let now = platform.now_us();
        if now >= self.told_at + PROGRESS_US
            && let Some(outstanding) = platform.unacknowledged()
        {
            self.told_at = now;
            self.tell(platform, Input::Acknowledged { bytes: self.sent.saturating_sub(outstanding), outstanding });
        }
    }

    fn lose_link(&mut self, platform: &Platform, code: Option<ErrorCode>) {
        self.link = Link::None;
        platform.close();
        self.tell(platform, Input::LinkClosed(code));
    }

    fn dial(&mut self, platform: &Platform, url: &str) {
        self.link = Link::None;
        let host = |url: &RtmpUrl<'_>| {
            let mut host = heapless::String::<HOST_BYTES_MAX>::new();
            host.push_str(url.host).ok()?;
            host.push('\0').ok()?;
            Some(host)
        };
        let parsed = RtmpUrl::parse(url).ok();
        let named = parsed.as_ref().and_then(|url| Some((host(url)?, url.port, url.tls)));
        let Some((host, port, with_tls)) = named else { return self.lose_link(platform, Some(ErrorCode::DnsFailed)) };
        let Ok(name) = CStr::from_bytes_with_nul(host.as_bytes()) else { return self.lose_link(platform, Some(ErrorCode::DnsFailed)) };
        platform.log(
            SightlineLogLevel::Info,
            format_args!("dial {}:{port}{}", host.trim_end_matches('\0'), if with_tls { " (TLS)" } else { "" }),
        );
        platform.open(name, port, with_tls);
        self.link = Link::Opening;
    }

    /// Hands the connection what it takes.
    fn write(&mut self, platform: &Platform) {
        while self.link == Link::Up {
            let [head, rest] = self.brain.pending();
            if head.is_empty() && rest.is_empty() {
                return;
            }
            let outcome = platform.send(head).map(|taken| {
                // The rest's failure is seen at the next turn: what was taken is reported first.
                if taken == head.len() { taken + platform.send(rest).unwrap_or(0) } else { taken }
            });
            match outcome {
                Ok(0) => return,
                Ok(taken) => {
                    self.sent += taken as u64;
                    self.brain.consumed(Instant::from_micros(platform.now_us()), taken);
                }
                Err(Ended) => return self.lose_link(platform, None),
            }
        }
    }
}

/// What the caller hands over.
pub(crate) struct Pushed<'a> {
    pub(crate) bytes: &'a mut [u8],
    pub(crate) token: *mut c_void,
    pub(crate) pts_us: i64,
    pub(crate) dts_us: i64,
}
