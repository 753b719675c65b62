//! The seed's events on `devices/{id}/stream/status`, and the retained state for dashboards.
//!
//! Resolved in specification §2: the stream key is always `***`, `session_id` is added, and the averages are what they say:
//! bits over milliseconds, frames over seconds.

use crate::{ErrorCode, Quality, StreamState, Text};
use serde::{Deserialize, Serialize};

/// What `latency_ms` measures.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LatencyKind {
    /// How old the oldest unsent frame is.
    #[default]
    Queue,
    /// From capture to the server's acknowledgement.
    Ack,
    /// From capture to a decoded picture.
    EndToEnd,
}

/// The figures of `stream_started`.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct StartMetrics {
    /// Frames sent a second, over the first second.
    pub fps: f32,
    /// Bits sent a second, in thousands, over the same.
    pub bitrate_kbps: f32,
    /// Whether the server has accepted the stream.
    pub is_connected: bool,
    /// Of the pictures, in pixels. Ours, not the seed's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// The same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// What the uplink carried before the stream began, where it was tried: at least this. Ours, not the seed's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uplink_kbps: Option<f32>,
}

/// `stream_started`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct StreamStarted {
    /// For people.
    pub message: Text<64>,
    /// The device's clock, seconds since 1970.
    pub timestamp: i64,
    /// [`StreamState::Streaming`], 3.
    pub state: StreamState,
    /// The server without name and token.
    pub server_url: Text<192>,
    /// Always `***`.
    pub stream_key: Text<3>,
    /// The preset.
    pub quality: Quality,
    /// Names this session.
    pub session_id: Text<32>,
    /// First figures.
    pub metrics: StartMetrics,
}

/// The figures of `stream_metrics`, over the time since the last one where they are rates.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct RunningMetrics {
    /// Frames sent a second.
    pub fps: f32,
    /// Bits sent a second, in thousands.
    pub bitrate_kbps: f32,
    /// Frames sent in this session.
    pub total_frames: u64,
    /// Frames left out in this session.
    pub dropped_frames: u64,
    /// See `latency_kind`.
    pub latency_ms: u32,
    /// What `latency_ms` measures.
    pub latency_kind: LatencyKind,
    /// `clamp(1 - queue_age / target_latency, 0, 1) * delivered / offered`.
    pub network_quality: f32,
    /// Time since the session's start.
    pub stream_duration_ms: u64,
}

/// `stream_metrics`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct StreamMetrics {
    /// The device's clock, seconds since 1970.
    pub timestamp: i64,
    /// Names the session.
    pub session_id: Text<32>,
    /// The figures.
    pub metrics: RunningMetrics,
}

/// The figures of `stream_stopped`, over the whole session.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct FinalMetrics {
    /// Frames sent.
    pub total_frames_sent: u64,
    /// Bytes of those frames.
    pub total_bytes_sent: u64,
    /// Time since the session's start.
    pub stream_duration_ms: u64,
    /// `total_frames_sent` over `stream_duration_ms`.
    pub average_fps: f32,
    /// `total_bytes_sent` times 8 over `stream_duration_ms`.
    pub average_bitrate_kbps: f32,
    /// Frames left out.
    pub dropped_frames: u64,
}

/// `stream_stopped`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct StreamStopped {
    /// For people.
    pub message: Text<64>,
    /// The device's clock, seconds since 1970.
    pub timestamp: i64,
    /// Names the session.
    pub session_id: Text<32>,
    /// The figures.
    pub final_metrics: FinalMetrics,
}

/// `connection_error`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ConnectionError {
    /// For people.
    pub message: Text<128>,
    /// What it was.
    pub error_code: ErrorCode,
    /// The device's clock, seconds since 1970.
    pub timestamp: i64,
    /// Consecutive failures so far.
    pub reconnect_attempts: u32,
    /// The delay that is really scheduled, in whole seconds rounded up; 0: none.
    pub next_retry_in_sec: u32,
}

/// `devices/{id}/stream/status`: one event, its name in `event`.
#[derive(Clone, PartialEq, Debug)]
#[expect(clippy::large_enum_variant, reason = "there is no allocator here to box it with")]
pub enum StatusEvent {
    /// The server accepted the stream.
    Started(StreamStarted),
    /// Every few seconds while it runs.
    Metrics(StreamMetrics),
    /// The stream ended by a command, or because nobody wants it.
    Stopped(StreamStopped),
    /// A try failed, or a connection ended.
    ConnectionError(ConnectionError),
}

impl StatusEvent {
    /// The event's name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Started(_) => "stream_started",
            Self::Metrics(_) => "stream_metrics",
            Self::Stopped(_) => "stream_stopped",
            Self::ConnectionError(_) => "connection_error",
        }
    }
}

impl Serialize for StatusEvent {
    // Written by hand: serde's internally tagged enums want an allocator to be read, and this order of fields is the seed's.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct as _;
        let mut out = serializer.serialize_struct("StatusEvent", 9)?;
        out.serialize_field("event", self.name())?;
        match self {
            Self::Started(event) => {
                out.serialize_field("message", &event.message)?;
                out.serialize_field("timestamp", &event.timestamp)?;
                out.serialize_field("state", &event.state)?;
                out.serialize_field("server_url", &event.server_url)?;
                out.serialize_field("stream_key", &event.stream_key)?;
                out.serialize_field("quality", &event.quality)?;
                out.serialize_field("session_id", &event.session_id)?;
                out.serialize_field("metrics", &event.metrics)?;
            }
            Self::Metrics(event) => {
                out.serialize_field("timestamp", &event.timestamp)?;
                out.serialize_field("session_id", &event.session_id)?;
                out.serialize_field("metrics", &event.metrics)?;
            }
            Self::Stopped(event) => {
                out.serialize_field("message", &event.message)?;
                out.serialize_field("timestamp", &event.timestamp)?;
                out.serialize_field("session_id", &event.session_id)?;
                out.serialize_field("final_metrics", &event.final_metrics)?;
            }
            Self::ConnectionError(event) => {
                out.serialize_field("message", &event.message)?;
                out.serialize_field("error_code", &event.error_code)?;
                out.serialize_field("timestamp", &event.timestamp)?;
                out.serialize_field("reconnect_attempts", &event.reconnect_attempts)?;
                out.serialize_field("next_retry_in_sec", &event.next_retry_in_sec)?;
            }
        }
        out.end()
    }
}

/// `devices/{id}/stream/state`, retained: what a dashboard shows. No secret in it.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct StateReport {
    /// The frozen number.
    pub state: StreamState,
    /// Its name.
    #[cfg_attr(feature = "schema", schema(value_type = String, max_length = 16))]
    pub state_name: Text<16>,
    /// The preset.
    pub quality: Quality,
    /// Width that the encoder makes, in pixels; 0 before the first frame.
    pub width: u32,
    /// Height that the encoder makes, in pixels.
    pub height: u32,
    /// Frames sent a second.
    pub fps: f32,
    /// Bits sent a second, in thousands.
    pub bitrate_kbps: f32,
    /// See `latency_kind`.
    pub latency_ms: u32,
    /// What `latency_ms` measures.
    pub latency_kind: LatencyKind,
    /// `clamp(1 - queue_age / target_latency, 0, 1) * delivered / offered`.
    pub network_quality: f32,
    /// The device's clock, seconds since 1970.
    pub timestamp: i64,
}

/// `devices/{id}/online`, retained; `false` is the will.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Online {
    /// Whether the device is there.
    pub online: bool,
}

impl Online {
    /// The message of a device that is there, for shells that have no place to write JSON.
    pub const ONLINE_JSON: &'static [u8] = br#"{"online":true}"#;
    /// The message of one that is not.
    pub const OFFLINE_JSON: &'static [u8] = br#"{"online":false}"#;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fixed_messages_of_presence_are_what_serde_writes() {
        for (online, message) in [(true, Online::ONLINE_JSON), (false, Online::OFFLINE_JSON)] {
            assert_eq!(serde_json::to_vec(&Online { online }).unwrap(), message);
        }
    }

    #[test]
    fn events_read_as_the_specification_writes_them() {
        let event = StatusEvent::ConnectionError(ConnectionError {
            message: Text::try_from("RTMP connection failed").unwrap(),
            error_code: ErrorCode::RtmpConnectTimeout,
            timestamp: 1_691_234_799,
            reconnect_attempts: 2,
            next_retry_in_sec: 20,
        });
        let expected = r#"{"event":"connection_error","message":"RTMP connection failed","error_code":"RTMP_CONNECT_TIMEOUT","timestamp":1691234799,"reconnect_attempts":2,"next_retry_in_sec":20}"#;
        let mut out = [0; 512];
        let written = crate::json::write(&event, &mut out).unwrap();
        assert_eq!(core::str::from_utf8(&out[..written]).unwrap(), expected);
        assert_eq!(serde_json::to_string(&event).unwrap(), expected);
    }

    #[test]
    fn metrics_have_every_field_of_the_seed() {
        let event = StatusEvent::Metrics(StreamMetrics {
            timestamp: 1_691_234_580,
            session_id: Text::new(),
            metrics: RunningMetrics {
                fps: 24.8,
                bitrate_kbps: 1980.5,
                total_frames: 620,
                dropped_frames: 3,
                latency_ms: 2800,
                network_quality: 0.95,
                stream_duration_ms: 25_000,
                ..RunningMetrics::default()
            },
        });
        let value: serde_json::Value = serde_json::from_str(&serde_json::to_string(&event).unwrap()).unwrap();
        assert_eq!(value["event"], "stream_metrics");
        for field in
            ["fps", "bitrate_kbps", "total_frames", "dropped_frames", "latency_ms", "network_quality", "stream_duration_ms", "latency_kind"]
        {
            assert!(value["metrics"].get(field).is_some(), "{field}");
        }
    }
}
