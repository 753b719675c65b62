//! A device's own events on `stream/status`, without what must not be passed on.

use super::kind::EventKind;
use serde_json::{Map, Value};

/// The longest text of a device's status that is passed on, in bytes: a line of a console.
const STATUS_TEXT_BYTES_MAX: usize = 256;
/// Figures of one event that are passed on: twice what the specification has.
const FIGURES_MAX: usize = 32;
/// The fields that are passed on. A device of the specification publishes its stream key in clear: that field is not here.
const STATUS_FIELDS: [&str; 12] = [
    "message",
    "error_code",
    "timestamp",
    "state",
    "server_url",
    "quality",
    "session_id",
    "metrics",
    "final_metrics",
    "reconnect_attempts",
    "next_retry_in_sec",
    "event",
];

/// Reads an event; `None` if it does not parse or is not of the specification (§2).
pub(crate) fn parse(payload: &[u8]) -> Option<(EventKind, Value)> {
    let Ok(Value::Object(fields)) = serde_json::from_slice(payload) else { return None };
    let kind = match fields.get("event")?.as_str()? {
        "stream_started" => EventKind::StreamStarted,
        "stream_metrics" => EventKind::StreamMetrics,
        "stream_stopped" => EventKind::StreamStopped,
        "connection_error" => EventKind::ConnectionError,
        _ => return None,
    };
    Some((kind, Value::Object(without_secrets(fields))))
}

fn without_secrets(fields: Map<String, Value>) -> Map<String, Value> {
    fields
        .into_iter()
        .filter(|(key, _)| STATUS_FIELDS.contains(&key.as_str()))
        .map(|(key, value)| match value {
            Value::String(text) => {
                // A URL may carry name and token behind the question mark.
                let text = if key == "server_url" { text.split('?').next().unwrap_or_default() } else { text.as_str() };
                let end = text.floor_char_boundary(STATUS_TEXT_BYTES_MAX);
                (key, Value::String(text[..end].to_owned()))
            }
            Value::Object(figures) => {
                let figures = figures.into_iter().filter(|(_, value)| !value.is_object() && !value.is_array()).take(FIGURES_MAX);
                (key, Value::Object(figures.collect()))
            }
            Value::Array(_) => (key, Value::Null),
            other @ (Value::Null | Value::Bool(_) | Value::Number(_)) => (key, other),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_device_s_stream_key_is_never_passed_on() {
        let payload =
            br#"{"event":"stream_started","stream_key":"secret","token":"secret","server_url":"rtmp://h/live/x?token=secret","state":3}"#;
        let (kind, detail) = parse(payload).unwrap();
        assert_eq!(kind, EventKind::StreamStarted);
        assert!(!detail.to_string().contains("secret"), "{detail}");
        assert_eq!(parse(b"{not json"), None);
        assert_eq!(parse(br#"{"event":"made_up"}"#), None);
        assert_eq!(parse(br#"{"event":"server_down"}"#), None, "a device can't speak for a server");
    }
}
