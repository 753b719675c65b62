//! Discovery: the camera's question and the cloud's answer.

use crate::{DeviceId, ErrorCode, Quality, Redacted, Settings, TOKEN_BYTES_MAX, Text};
use serde::{Deserialize, Serialize};

/// The most servers one answer lists: three distinct failure domains.
pub const SERVERS_MAX: usize = 3;

/// `devices/{id}/stream/request`: where shall I stream? Every field of the seed.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Request {
    /// Names this question; the same id twice gets the identical answer.
    #[cfg_attr(feature = "schema", schema(value_type = String, min_length = 1, max_length = 64))]
    pub request_id: Text<64>,
    /// Who asks. The certificate decides; a body that names another device is refused.
    pub device_id: DeviceId,
    /// `rtmp`, or `rtmps`. Where it is left out: `rtmp`, as in the seed.
    #[serde(default = "stream_type_default")]
    #[cfg_attr(feature = "schema", schema(value_type = String, max_length = 16))]
    pub stream_type: Text<16>,
    /// The preset that is wished for. Where it is left out: `medium`, as in the seed.
    #[serde(default = "quality_default")]
    pub quality: Quality,
    /// A region to prefer; empty: the cloud's choice.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schema(value_type = String, max_length = 32))]
    pub preferred_region: Text<32>,
    /// The most bits a second that the camera will send. Where it is left out: as in the seed.
    #[serde(default = "max_bitrate_default")]
    pub max_bitrate: u32,
    /// Whether the camera can lower its bit rate while it streams.
    #[serde(default)]
    pub supports_adaptive: bool,
    /// The camera's clock, seconds since 1970; may be wrong.
    #[serde(default)]
    pub timestamp: i64,
}

fn stream_type_default() -> Text<16> {
    crate::text::cut("rtmp")
}

fn quality_default() -> Quality {
    Quality::Medium
}

fn max_bitrate_default() -> u32 {
    2_000_000
}

/// One server of an answer.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Server {
    /// `rtmp://host[:port]/app` or `rtmps://…`.
    #[cfg_attr(feature = "schema", schema(value_type = String, max_length = 192))]
    pub rtmp_url: Text<192>,
    /// Lower is tried first.
    pub priority: u16,
    /// Its name, for people.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schema(value_type = String, max_length = 64))]
    pub server_name: Text<64>,
}

/// `devices/{id}/stream/response`: the answer, or why there is none. Every field of the seed, and `servers`, `refresh_at`, `server_time`, `stream_id`, `epoch`.
///
/// A success has `rtmp_url`, `stream_key`, `expires_at` and `token`; a failure has `error_code`.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Response {
    /// Whether a server was found.
    pub success: bool,
    /// The question's id; empty where it had none.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schema(value_type = String, max_length = 64))]
    pub request_id: Text<64>,
    /// Where to stream: the first of `servers`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>, max_length = 192))]
    pub rtmp_url: Option<Text<192>>,
    /// The name to publish under. Public-safe: the token is what authorises.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>, max_length = 64))]
    pub stream_key: Option<Text<64>>,
    /// The first server's name, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>, max_length = 64))]
    pub server_name: Option<Text<64>>,
    /// The first server's region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>, max_length = 32))]
    pub server_region: Option<Text<32>>,
    /// The most bits a second that the server takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bitrate: Option<u32>,
    /// A recommendation: it never raises a preset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recommended_fps: Option<u32>,
    /// Whether the server can tell the camera to adapt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supports_adaptive: Option<bool>,
    /// When the token ends for *starting* a stream, seconds since 1970 by the cloud's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<i64>,
    /// The signed capability, sent as `stream_key?token=…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>))]
    pub token: Option<Redacted<TOKEN_BYTES_MAX>>,
    /// All servers, the first first.
    #[serde(default, skip_serializing_if = "heapless::Vec::is_empty")]
    #[cfg_attr(feature = "schema", schema(value_type = alloc::vec::Vec<Server>, max_items = 3))]
    pub servers: heapless::Vec<Server, SERVERS_MAX>,
    /// When to ask again for a fresh token, seconds since 1970 by the cloud's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_at: Option<i64>,
    /// The cloud's clock, seconds since 1970: durations are counted from the answer's receipt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_time: Option<i64>,
    /// The same in milliseconds: a camera writes into its pictures when they were captured, by this clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_time_ms: Option<i64>,
    /// Names the stream for viewers and logs; no secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>, max_length = 64))]
    pub stream_id: Option<Text<64>>,
    /// Why there is no server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_code: Option<ErrorCode>,
    /// The same for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>, max_length = 192))]
    pub error_message: Option<Text<192>>,
    /// Seconds to wait before the next question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u32>,
}

impl Response {
    /// A refusal. The message is cut at 192 bytes.
    #[must_use]
    pub fn failure(request_id: &str, code: ErrorCode, message: &str, retry_after_secs: Option<u32>) -> Self {
        Self {
            success: false,
            request_id: Text::try_from(request_id).unwrap_or_default(),
            error_code: Some(code),
            error_message: Some(crate::text::cut(message)),
            retry_after: retry_after_secs,
            ..Self::default()
        }
    }
}

/// The least of what was asked for, what was answered and what the device can do. A recommendation never raises a preset.
#[must_use]
pub fn effective_settings(wanted: Settings, response: &Response, fps_max: u32) -> Settings {
    let least = |own: u32, other: Option<u32>| other.filter(|&value| value > 0).map_or(own, |value| own.min(value));
    Settings {
        fps: least(wanted.fps, response.recommended_fps).min(fps_max.max(1)),
        bitrate_bps: least(wanted.bitrate_bps, response.max_bitrate),
        ..wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seed's own message, byte for byte.
    const SEED_REQUEST: &str = r#"{"request_id":"stream_1a2b3c4d","device_id":"ESP32P4_CAM_001","stream_type":"rtmp","quality":"high","preferred_region":"us-west-1","max_bitrate":2000000,"supports_adaptive":true,"timestamp":1691234567}"#;
    const SEED_RESPONSE: &str = r#"{"success":true,"request_id":"stream_1a2b3c4d","rtmp_url":"rtmp://live.example.com/live/","stream_key":"your_stream_key","server_name":"Live Server US-West","server_region":"us-west-1","max_bitrate":4000000,"recommended_fps":30,"supports_adaptive":true,"expires_at":1691238167,"token":"auth_token_here"}"#;

    #[test]
    fn the_seed_s_request_reads_and_writes_byte_for_byte() {
        let request: Request = crate::json::read(SEED_REQUEST.as_bytes()).unwrap();
        assert_eq!(request.device_id.as_str(), "ESP32P4_CAM_001");
        let mut out = [0; 512];
        let written = crate::json::write(&request, &mut out).unwrap();
        assert_eq!(core::str::from_utf8(&out[..written]).unwrap(), SEED_REQUEST);
        assert_eq!(serde_json::to_string(&request).unwrap(), SEED_REQUEST);
    }

    #[test]
    fn the_seed_s_response_reads_and_writes_byte_for_byte() {
        let response: Response = crate::json::read(SEED_RESPONSE.as_bytes()).unwrap();
        assert!(response.success);
        assert_eq!(serde_json::to_string(&response).unwrap(), SEED_RESPONSE);
        assert_eq!(response, serde_json::from_str(SEED_RESPONSE).unwrap());
    }

    #[test]
    fn a_token_is_never_printed() {
        let response: Response = serde_json::from_str(SEED_RESPONSE).unwrap();
        let printed = std::format!("{response:?}");
        assert!(!printed.contains("auth_token_here") && printed.contains("***"), "{printed}");
    }

    #[test]
    fn unknown_fields_and_escapes_are_read() {
        let text =
            r#"{"success":false,"request_id":"a\"b\u00e9","error_code":"UNAUTHORIZED","error_message":"x\ny","new_field":{"a":[1,2]}}"#;
        let response: Response = crate::json::read(text.as_bytes()).unwrap();
        assert_eq!(response.request_id, "a\"bé");
        assert_eq!(response, serde_json::from_str(text).unwrap());
    }

    #[test]
    fn a_recommendation_never_raises_a_preset() {
        let wanted = Quality::High.settings().unwrap();
        let response = Response { recommended_fps: Some(30), max_bitrate: Some(4_000_000), ..Response::default() };
        assert_eq!(effective_settings(wanted, &response, 60), wanted);
        let response = Response { recommended_fps: Some(10), max_bitrate: Some(1_000_000), ..Response::default() };
        let lowered = effective_settings(wanted, &response, 60);
        assert_eq!((lowered.fps, lowered.bitrate_bps), (10, 1_000_000));
        assert_eq!(effective_settings(wanted, &Response::default(), 15).fps, 15);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: std::vec::Vec<u8>) {
            let _ = crate::json::read::<Request>(&bytes);
            let _ = crate::json::read::<Response>(&bytes);
        }
    }
}
