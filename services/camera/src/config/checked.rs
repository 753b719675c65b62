//! A configuration that was checked: made once, at the door, and carried from there.

use sightline_encode::MotionPlan;
use sightline_motion::Zone;
use sightline_pusher::{GateConfig, Trigger};
use sightline_signal::{CustomQuality, Quality, Settings, Text};
use std::time::Duration;

use sightline_capture::Source;

use super::{
    Config, MotionConfig, Problem,
    local::Local,
    problem,
    settable::{CaptureTimes, Recording, Settable, Stream, StreamType},
};
use crate::{
    cloud::link::StageTimeouts,
    record::recorder::{Mode, RecorderPlan},
    schedule::{Schedule, Window},
};

/// A longer pre-roll than a minute is a recording.
const PREROLL_SEC_MAX: u32 = 60;
/// The highest frame rate of `custom`. The source's own rate is unknown before it is opened, and nothing here makes more pictures.
const CUSTOM_FPS_MAX: u32 = 60;

/// The most frames that may wait for the link: 17 s at 30 fps, longer than any latency that is aimed at.
pub(crate) const QUEUE_FRAMES_MAX: usize = 512;

/// What a camera runs with.
#[derive(Clone, Debug)]
pub(crate) struct Checked {
    pub(crate) local: Local,
    pub(crate) settable: Settable,
    pub(crate) pusher: sightline_pusher::Config,
    /// Of the way to a server.
    pub(crate) timeouts: StageTimeouts,
    /// `None`: the source's own numbers where it can be passed through.
    pub(crate) limits: Option<Settings>,
    /// `None`: nothing needs to know of motion.
    pub(crate) motion: Option<CheckedMotion>,
    /// `None`: the clock starts nothing.
    pub(crate) schedule: Option<Schedule>,
    pub(crate) recorder: Option<RecorderPlan>,
}

/// Motion, checked.
#[derive(Clone, Debug)]
pub(crate) struct CheckedMotion {
    pub(crate) detector: MotionPlan,
    pub(crate) gate: GateConfig,
    pub(crate) preroll: Duration,
    pub(crate) preroll_bytes: usize,
    /// Whether it starts the stream.
    pub(crate) starts_stream: bool,
}

impl Checked {
    /// Checks a file, before any I/O.
    pub(crate) fn of(config: &Config) -> Result<Self, Problem> {
        Self::new(Local::of(config)?, Settable::of(config)?)
    }

    /// Checks that the settings can be used, and go together.
    pub(crate) fn new(local: Local, settable: Settable) -> Result<Self, Problem> {
        let stream = &settable.stream;
        let pusher = pusher_config(&local, stream)?;
        let timeouts = stage_timeouts(stream)?;
        if !(0.1..=60.0).contains(&stream.keyframe_interval_sec) {
            return problem("stream.keyframe_interval_sec", "take 0.1 to 60 seconds; 2 is usual");
        }
        if local.cloud.broker.is_none() && local.server.is_none() && stream.enable_live_streaming {
            return problem("mqtt.url", "neither a cloud (mqtt.url) nor a server by hand (stream.rtmp_server_url) is given: set one");
        }
        let recorder = settable.recording.checked(&local)?;
        let motion_starts = stream.enable_live_streaming && (pusher.trigger == Trigger::Motion || stream.auto_start_stream_on_motion);
        let motion = settable.motion.checked(motion_starts)?;
        let wants_motion = motion_starts || recorder.as_ref().is_some_and(|recorder| recorder.mode == Mode::Motion);
        let custom = pusher.custom.map(CustomQuality::settings);
        let limits = stream.quality.0.and_then(|quality| custom.or_else(|| quality.settings()));
        let schedule = schedule(&settable.schedule, pusher.trigger)?;
        Ok(Self { limits, motion: wants_motion.then_some(motion), schedule, recorder, pusher, timeouts, local, settable })
    }

    /// The same with other settings that may be set from afar.
    pub(super) fn with(&self, settable: Settable) -> Result<Self, Problem> {
        Self::new(self.local.clone(), settable)
    }

    /// The most bytes that a pre-roll may have.
    pub(crate) fn preroll_bytes(&self) -> usize {
        self.settable.motion.preroll_bytes as usize
    }

    /// Whether a start by command is worth remembering: an always-on camera starts by itself, and one that does not stream starts by nothing.
    pub(crate) fn starts_by_command(&self) -> bool {
        self.pusher.trigger != Trigger::AlwaysOn && self.pusher.live_streaming
    }
}

fn pusher_config(local: &Local, stream: &Stream) -> Result<sightline_pusher::Config, Problem> {
    let (quality, custom) = quality(stream)?;
    Ok(sightline_pusher::Config {
        quality,
        custom,
        // A device that only records has nothing to start.
        trigger: if stream.enable_live_streaming { stream.trigger.0 } else { Trigger::Manual },
        live_streaming: stream.enable_live_streaming,
        adaptive_bitrate: stream.enable_adaptive_bitrate,
        bandwidth_check: stream.bandwidth_check,
        marks_pictures: match local.source {
            // Its pictures were captured at another time, if ever.
            Source::File(_) => false,
            Source::Rtsp(_) | Source::Stdin => stream.capture_times == CaptureTimes::All,
            Source::Test { .. } | Source::Mjpeg(_) | Source::V4l2(_) => stream.capture_times != CaptureTimes::Off,
        },
        auto_reconnect: stream.enable_auto_reconnect,
        max_reconnect_attempts: stream.max_reconnect_attempts,
        reconnect_interval: secs(stream.reconnect_interval_sec),
        reconnect_jitter: stream.reconnect_jitter,
        frame_dropping: stream.enable_frame_dropping,
        target_latency: Duration::from_millis(u64::from(at_least("stream.target_latency_ms", stream.target_latency_ms, 100)?)),
        queue_frames_max: frame_queue(stream.frame_queue)?,
        queue_bytes_max: at_least("stream.frame_queue_bytes", stream.frame_queue_bytes, 65_536)? as usize,
        min_bitrate_bps: at_least("stream.min_bitrate_bps", stream.min_bitrate_bps, CustomQuality::BITRATE_BPS_MIN)?,
        connect_timeout: secs(at_least("stream.connect_timeout_sec", stream.connect_timeout_sec, 1)?),
        handshake_timeout: secs(at_least("stream.handshake_timeout_sec", stream.handshake_timeout_sec, 1)?),
        publish_timeout: secs(at_least("stream.publish_timeout_sec", stream.publish_timeout_sec, 1)?),
        send_timeout: secs(at_least("stream.send_timeout_sec", stream.send_timeout_sec, 1)?),
        metrics_interval: secs(at_least("stream.metrics_interval_sec", stream.metrics_interval_sec, 1)?),
        region: Text::try_from(stream.preferred_region.as_str())
            .or_else(|_| problem("stream.preferred_region", "at most 32 characters"))?,
        secure: stream.stream_type == StreamType::Rtmps,
        server: local.server.clone(),
        ..sightline_pusher::Config::new(local.device.clone())
    })
}

/// Fewer than two frames would hold up a link that takes them as they come.
const FRAME_QUEUE_MIN: u32 = 2;

fn frame_queue(frames: u32) -> Result<usize, Problem> {
    let frames = at_least("stream.frame_queue", frames, FRAME_QUEUE_MIN)? as usize;
    if frames > QUEUE_FRAMES_MAX {
        return problem("stream.frame_queue", format!("{frames} is above the most, {QUEUE_FRAMES_MAX}"));
    }
    Ok(frames)
}

fn stage_timeouts(stream: &Stream) -> Result<StageTimeouts, Problem> {
    Ok(StageTimeouts {
        dns: secs(at_least("stream.dns_timeout_sec", stream.dns_timeout_sec, 1)?),
        tcp: secs(at_least("stream.tcp_timeout_sec", stream.tcp_timeout_sec, 1)?),
        tls: secs(at_least("stream.tls_timeout_sec", stream.tls_timeout_sec, 1)?),
    })
}

fn quality(stream: &Stream) -> Result<(Quality, Option<CustomQuality>), Problem> {
    let quality = stream.quality.0.unwrap_or_default();
    if quality != Quality::Custom {
        return Ok((quality, None));
    }
    let settings = Settings { width: stream.width, height: stream.height, fps: stream.fps, bitrate_bps: stream.bitrate_bps };
    let custom = CustomQuality::new(settings, CUSTOM_FPS_MAX).or_else(|error| problem("stream.quality", error))?;
    Ok((quality, Some(custom)))
}

fn schedule(windows: &[Window], trigger: Trigger) -> Result<Option<Schedule>, Problem> {
    let schedule = Schedule::new(windows).or_else(|error| problem("schedule", error))?;
    if trigger == Trigger::Scheduled && windows.is_empty() {
        return problem("schedule", "stream.trigger is scheduled, and there is no window: add a [[schedule]] with days, start, end and tz");
    }
    Ok((trigger == Trigger::Scheduled).then_some(schedule))
}

impl MotionConfig {
    fn checked(&self, starts_stream: bool) -> Result<CheckedMotion, Problem> {
        if !(0.0..=1.0).contains(&self.sensitivity) {
            return problem("motion.sensitivity", format!("{} is not from 0 to 1; 0.5 is usual", self.sensitivity));
        }
        self.zones.iter().try_for_each(Zone::check).or_else(|error| problem("motion.zones", error))?;
        if self.preroll_sec > PREROLL_SEC_MAX {
            return problem("motion.preroll_sec", format!("{} is above {PREROLL_SEC_MAX}; 5 is usual", self.preroll_sec));
        }
        let hold_sec = at_least("motion.hold_sec", self.hold_sec, 1)?;
        let max_sec = at_least("motion.max_sec", self.max_sec, hold_sec)?;
        Ok(CheckedMotion {
            detector: MotionPlan { sensitivity: self.sensitivity, zones: self.zones.clone() },
            gate: GateConfig { hold: secs(hold_sec), length_max: secs(max_sec) },
            preroll: secs(self.preroll_sec),
            preroll_bytes: self.preroll_bytes as usize,
            starts_stream,
        })
    }
}

impl Recording {
    fn checked(&self, local: &Local) -> Result<Option<RecorderPlan>, Problem> {
        let plan = RecorderPlan {
            dir: local.recording_dir.clone(),
            mode: self.mode,
            fragment: Duration::from_millis(u64::from(at_least("recording.fragment_ms", self.fragment_ms, 100)?)),
            segment: secs(at_least("recording.segment_sec", self.segment_sec, 1)?),
            age_max: (self.keep_hours > 0).then(|| secs(self.keep_hours.saturating_mul(3600))),
            bytes_max: u64::from(at_least("recording.keep_mb", self.keep_mb, 1)?) * 1_000_000,
        };
        Ok(self.enabled.then_some(plan))
    }
}

fn secs(value: u32) -> Duration {
    Duration::from_secs(u64::from(value))
}

fn at_least(key: &'static str, value: u32, least: u32) -> Result<u32, Problem> {
    if value < least { problem(key, format!("{value} is below the least, {least}")) } else { Ok(value) }
}
