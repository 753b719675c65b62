//! The settings that may be set from afar: what is in [`Settable`] can be, and nothing else.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sightline_pusher::Trigger;
use sightline_signal::{Quality, Settings};
use std::{fmt, str::FromStr};

use super::{Config, MotionConfig, Problem, RecordingConfig, StreamConfig, problem};
use crate::{record::recorder::Mode, schedule::Window};

/// What a message may change, and what is reported.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Settable {
    pub(crate) stream: Stream,
    pub(crate) motion: MotionConfig,
    pub(crate) recording: Recording,
    pub(crate) schedule: Vec<Window>,
}

/// The settable part of `[stream]`; [`StreamConfig`] says what each means.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Stream {
    #[serde(with = "written")]
    pub(crate) quality: QualityName,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) fps: u32,
    pub(crate) bitrate_bps: u32,
    #[serde(with = "written")]
    pub(crate) trigger: StartsBy,
    pub(crate) auto_start_stream_on_motion: bool,
    pub(crate) enable_live_streaming: bool,
    pub(crate) enable_adaptive_bitrate: bool,
    pub(crate) bandwidth_check: bool,
    #[serde(with = "written")]
    pub(crate) capture_times: CaptureTimes,
    pub(crate) enable_auto_reconnect: bool,
    pub(crate) max_reconnect_attempts: u32,
    pub(crate) reconnect_interval_sec: u32,
    pub(crate) reconnect_jitter: f32,
    pub(crate) enable_frame_dropping: bool,
    pub(crate) target_latency_ms: u32,
    pub(crate) frame_queue: u32,
    pub(crate) frame_queue_bytes: u32,
    pub(crate) keyframe_interval_sec: f32,
    pub(crate) min_bitrate_bps: u32,
    pub(crate) connect_timeout_sec: u32,
    pub(crate) dns_timeout_sec: u32,
    pub(crate) tcp_timeout_sec: u32,
    pub(crate) tls_timeout_sec: u32,
    pub(crate) handshake_timeout_sec: u32,
    pub(crate) publish_timeout_sec: u32,
    pub(crate) send_timeout_sec: u32,
    pub(crate) metrics_interval_sec: u32,
    pub(crate) preferred_region: String,
    #[serde(with = "written")]
    pub(crate) stream_type: StreamType,
}

/// The settable part of `[recording]`; [`RecordingConfig`] says what each means.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Recording {
    pub(crate) enabled: bool,
    #[serde(with = "written")]
    pub(crate) mode: Mode,
    pub(crate) fragment_ms: u32,
    pub(crate) segment_sec: u32,
    pub(crate) keep_hours: u32,
    pub(crate) keep_mb: u32,
}

/// A preset's name; empty: the default, and H.264 of others is passed through as it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct QualityName(pub(crate) Option<Quality>);

/// What starts the stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct StartsBy(pub(crate) Trigger);

/// What the cloud is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum StreamType {
    Rtmps,
    Rtmp,
}

/// Which pictures say when they were captured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CaptureTimes {
    /// Those of sources that are encoded here.
    Encoded,
    /// Those that are passed through as well.
    All,
    Off,
}

/// A setting's name that is none of those it may have.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{name:?} is {wanted}")]
pub(crate) struct UnknownName {
    name: String,
    wanted: &'static str,
}

impl Settable {
    /// Reads the part of the file that may be set from afar.
    pub(super) fn of(config: &Config) -> Result<Self, Problem> {
        Ok(Self {
            stream: Stream::of(&config.stream)?,
            motion: config.motion.clone(),
            recording: Recording::of(&config.recording)?,
            schedule: config.schedule.clone(),
        })
    }

    /// The same, with the numbers that a command has asked for.
    pub(super) fn with_quality(mut self, settings: Settings) -> Self {
        let stream = &mut self.stream;
        stream.quality = QualityName(Some(Quality::of(settings)));
        (stream.width, stream.height, stream.fps, stream.bitrate_bps) =
            (settings.width, settings.height, settings.fps, settings.bitrate_bps);
        self
    }
}

impl Stream {
    fn of(config: &StreamConfig) -> Result<Self, Problem> {
        Ok(Self {
            quality: config.quality.parse().or_else(|error| problem("stream.quality", error))?,
            width: config.width,
            height: config.height,
            fps: config.fps,
            bitrate_bps: config.bitrate_bps,
            trigger: config.trigger.parse().or_else(|error| problem("stream.trigger", error))?,
            auto_start_stream_on_motion: config.auto_start_stream_on_motion,
            enable_live_streaming: config.enable_live_streaming,
            enable_adaptive_bitrate: config.enable_adaptive_bitrate,
            bandwidth_check: config.bandwidth_check,
            capture_times: config.capture_times.parse().or_else(|error| problem("stream.capture_times", error))?,
            enable_auto_reconnect: config.enable_auto_reconnect,
            max_reconnect_attempts: config.max_reconnect_attempts,
            reconnect_interval_sec: config.reconnect_interval_sec,
            reconnect_jitter: config.reconnect_jitter,
            enable_frame_dropping: config.enable_frame_dropping,
            target_latency_ms: config.target_latency_ms,
            frame_queue: config.frame_queue,
            frame_queue_bytes: config.frame_queue_bytes,
            keyframe_interval_sec: config.keyframe_interval_sec,
            min_bitrate_bps: config.min_bitrate_bps,
            connect_timeout_sec: config.connect_timeout_sec,
            dns_timeout_sec: config.dns_timeout_sec,
            tcp_timeout_sec: config.tcp_timeout_sec,
            tls_timeout_sec: config.tls_timeout_sec,
            handshake_timeout_sec: config.handshake_timeout_sec,
            publish_timeout_sec: config.publish_timeout_sec,
            send_timeout_sec: config.send_timeout_sec,
            metrics_interval_sec: config.metrics_interval_sec,
            preferred_region: config.preferred_region.clone(),
            stream_type: config.stream_type.parse().or_else(|error| problem("stream.stream_type", error))?,
        })
    }
}

impl Recording {
    fn of(config: &RecordingConfig) -> Result<Self, Problem> {
        Ok(Self {
            enabled: config.enabled,
            mode: config.mode.parse().or_else(|error| problem("recording.mode", error))?,
            fragment_ms: config.fragment_ms,
            segment_sec: config.segment_sec,
            keep_hours: config.keep_hours,
            keep_mb: config.keep_mb,
        })
    }
}

impl FromStr for QualityName {
    type Err = <Quality as FromStr>::Err;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        if name.is_empty() { Ok(Self(None)) } else { name.parse().map(|quality| Self(Some(quality))) }
    }
}

impl fmt::Display for QualityName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.map_or("", Quality::name))
    }
}

impl StartsBy {
    const NAMES: [(&'static str, Trigger); 5] = [
        ("motion", Trigger::Motion),
        ("scheduled", Trigger::Scheduled),
        ("always_on", Trigger::AlwaysOn),
        ("manual", Trigger::Manual),
        ("on_demand", Trigger::OnDemand),
    ];
}

impl FromStr for StartsBy {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        by_name(&Self::NAMES, name, "none of motion, scheduled, always_on, manual, on_demand").map(Self)
    }
}

impl fmt::Display for StartsBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(name_of(&Self::NAMES, self.0))
    }
}

impl StreamType {
    const NAMES: [(&'static str, Self); 2] = [("rtmps", Self::Rtmps), ("rtmp", Self::Rtmp)];
}

impl FromStr for StreamType {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        by_name(&Self::NAMES, name, "neither rtmps nor rtmp")
    }
}

impl fmt::Display for StreamType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(name_of(&Self::NAMES, *self))
    }
}

impl CaptureTimes {
    const NAMES: [(&'static str, Self); 3] = [("encoded", Self::Encoded), ("all", Self::All), ("off", Self::Off)];
}

impl FromStr for CaptureTimes {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        by_name(&Self::NAMES, name, "none of encoded, all and off")
    }
}

impl fmt::Display for CaptureTimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(name_of(&Self::NAMES, *self))
    }
}

const MODES: [(&str, Mode); 2] = [("continuous", Mode::Continuous), ("motion", Mode::Motion)];

impl FromStr for Mode {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        by_name(&MODES, name, "neither continuous nor motion")
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(name_of(&MODES, *self))
    }
}

fn by_name<T: Copy>(names: &[(&'static str, T)], name: &str, wanted: &'static str) -> Result<T, UnknownName> {
    let found = names.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    found.ok_or_else(|| UnknownName { name: name.to_owned(), wanted })
}

fn name_of<T: Copy + PartialEq>(names: &[(&'static str, T)], value: T) -> &'static str {
    names.iter().find(|(_, known)| *known == value).map_or("", |(name, _)| name)
}

/// Values that a message holds by their names, as the file does.
mod written {
    use super::{Deserialize, Deserializer, FromStr, Serializer, fmt};

    pub(super) fn serialize<T: fmt::Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, T: FromStr<Err: fmt::Display>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
