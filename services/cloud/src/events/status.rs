//! A device's own events on `stream/status`: read into fields that have a name, a type and a length. Nothing else of a message is kept or
//! passed on, so that neither a device that writes megabytes nor one that writes its stream key has an effect here.

use super::kind::EventKind;
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::{Map, Value};
use std::fmt;

/// The longest text of a status, in bytes: a line of a console.
const TEXT_BYTES_MAX: usize = 256;
/// The longest name or code.
const NAME_BYTES_MAX: usize = 64;
/// Figures of one event: twice what the specification has.
const FIGURES_MAX: usize = 24;
/// The longest name of a figure.
const FIGURE_NAME_BYTES_MAX: usize = 32;
/// What one event may take, as JSON. All of the specification's have a third of it.
const EVENT_BYTES_MAX: usize = 2 << 10;
/// A word of letters, digits and signs as tokens have them is left out of texts from this length on. Ids of sessions are shorter.
const TOKEN_BYTES_MIN: usize = 32;

/// One event, without what must not be passed on: a device of the specification publishes its stream key in clear.
#[derive(Debug, Deserialize, Serialize)]
struct Status {
    event: Name,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message: Option<Words>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error_code: Option<Name>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timestamp: Option<Figure>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<Figure>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    server_url: Option<ServerUrl>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quality: Option<Name>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    session_id: Option<Name>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    metrics: Option<Figures>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    final_metrics: Option<Figures>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reconnect_attempts: Option<Figure>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next_retry_in_sec: Option<Figure>,
}

/// Reads an event; `None` if it does not parse or is not of the specification (§2).
pub(crate) fn parse(payload: &[u8]) -> Option<(EventKind, Value)> {
    let mut status: Status = serde_json::from_slice(payload).ok()?;
    let kind = match status.event.0.as_str() {
        "stream_started" => EventKind::StreamStarted,
        "stream_metrics" => EventKind::StreamMetrics,
        "stream_stopped" => EventKind::StreamStopped,
        "connection_error" => EventKind::ConnectionError,
        _ => return None,
    };
    if serde_json::to_string(&status).map_or(usize::MAX, |text| text.len()) > EVENT_BYTES_MAX {
        (status.metrics, status.final_metrics, status.message) = (None, None, None);
    }
    Some((kind, serde_json::to_value(&status).ok()?))
}

/// A text for people, cut, without tokens.
#[derive(Debug, Serialize)]
struct Words(String);

/// A name or a code: what has another form than that is left out.
#[derive(Debug, Serialize)]
struct Name(String);

/// A server's address and application, without user, stream name and query.
#[derive(Debug, Serialize)]
struct ServerUrl(String);

/// A number, or yes or no.
#[derive(Debug, Serialize)]
struct Figure(Option<Value>);

/// Figures by their names. Of texts only the kind of latency is one.
#[derive(Debug, Default, Serialize)]
struct Figures(Map<String, Value>);

/// Takes any JSON, and keeps a text, a number or a boolean of it. Whatever else a device sends in a field costs that field, not the event.
struct Scalar;

impl<'de> de::Visitor<'de> for Scalar {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        // Cut where it is read: a text of a megabyte is copied nowhere.
        Ok(value[..value.floor_char_boundary(2 * TEXT_BYTES_MAX)].into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        while list.next_element::<de::IgnoredAny>()?.is_some() {}
        Ok(Value::Null)
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        while map.next_entry::<de::IgnoredAny, de::IgnoredAny>()?.is_some() {}
        Ok(Value::Null)
    }
}

impl Scalar {
    fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
        Ok(deserializer.deserialize_any(Self)?.as_str().unwrap_or_default().to_owned())
    }
}

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Scalar::text(deserializer)?;
        let words: Vec<_> = text[..text.floor_char_boundary(TEXT_BYTES_MAX)].split(' ').map(without_secret).collect();
        Ok(Self(words.join(" ")))
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Scalar::text(deserializer)?;
        let is_name = text.len() <= NAME_BYTES_MAX && !looks_secret(&text) && text.bytes().all(|byte| byte.is_ascii_graphic());
        Ok(Self(if is_name { text } else { String::new() }))
    }
}

impl<'de> Deserialize<'de> for ServerUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(server_of(&Scalar::text(deserializer)?)))
    }
}

impl<'de> Deserialize<'de> for Figure {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = deserializer.deserialize_any(Scalar)?;
        Ok(Self((value.is_number() || value.is_boolean()).then_some(value)))
    }
}

impl<'de> Deserialize<'de> for Figures {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Table;
        impl<'de> de::Visitor<'de> for Table {
            type Value = Figures;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("figures by their names")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Figures, A::Error> {
                let mut figures = Map::new();
                while let Some(name) = map.next_key::<std::borrow::Cow<'_, str>>()? {
                    let is_wanted = figures.len() < FIGURES_MAX && is_figure(&name);
                    let value = map.next_value_seed(Any)?;
                    let is_kind = name == "latency_kind" && matches!(value.as_str(), Some("queue" | "ack" | "end_to_end"));
                    if is_wanted && (value.is_number() || value.is_boolean() || is_kind) {
                        figures.insert(name.into_owned(), value);
                    }
                }
                Ok(Figures(figures))
            }

            fn visit_bool<E>(self, _: bool) -> Result<Figures, E> {
                Ok(Figures::default())
            }

            fn visit_i64<E>(self, _: i64) -> Result<Figures, E> {
                Ok(Figures::default())
            }

            fn visit_u64<E>(self, _: u64) -> Result<Figures, E> {
                Ok(Figures::default())
            }

            fn visit_f64<E>(self, _: f64) -> Result<Figures, E> {
                Ok(Figures::default())
            }

            fn visit_str<E>(self, _: &str) -> Result<Figures, E> {
                Ok(Figures::default())
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, list: A) -> Result<Figures, A::Error> {
                Scalar.visit_seq(list).map(|_| Figures::default())
            }
        }
        deserializer.deserialize_any(Table)
    }
}

/// [`Scalar`] as the value of a map.
struct Any;

impl<'de> de::DeserializeSeed<'de> for Any {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(Scalar)
    }
}

/// Whether this is the name of a figure, and not of a secret that is a number.
fn is_figure(name: &str) -> bool {
    const SECRETS: [&str; 5] = ["key", "token", "secret", "password", "auth"];
    (1..=FIGURE_NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        && !SECRETS.iter().any(|word| name.contains(word))
}

/// Scheme, host and application of an RTMP URL. What follows is the stream's name: a key, at servers of others.
fn server_of(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = url.split_once("://") else { return String::new() };
    let mut parts = rest.split('/');
    let host = parts.next().and_then(|host| host.rsplit('@').next()).unwrap_or_default();
    let application = parts.next().filter(|part| !looks_secret(part));
    let server = application.map_or_else(|| format!("{scheme}://{host}"), |application| format!("{scheme}://{host}/{application}"));
    server[..server.floor_char_boundary(TEXT_BYTES_MAX)].to_owned()
}

/// A word of a text; a URL in it without its path, and no tokens.
fn without_secret(word: &str) -> String {
    if word.contains("://") {
        return server_of(word);
    }
    // `token=…`, `stream_key:…`
    let lower = word.to_ascii_lowercase();
    let is_named = ["key", "token", "secret", "password"]
        .iter()
        .any(|name| lower.contains(&format!("{name}=")) || lower.contains(&format!("{name}:")));
    if is_named || looks_secret(word) { "***".to_owned() } else { word.to_owned() }
}

/// A long run of what tokens are made of.
fn looks_secret(text: &str) -> bool {
    let is_of_token = |character: char| character.is_ascii_alphanumeric() || "-_.+/=".contains(character);
    text.split(|character| !is_of_token(character)).any(|run| run.len() >= TOKEN_BYTES_MIN && !run.contains("..."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_seed_device_s_stream_key_is_never_passed_on_wherever_it_is() {
        let token = "eyJhbGciOiJFZERTQSJ9.eyJlIjoxfQ.c2lnbmF0dXJlLXNlY3JldA";
        let payload = json!({
            "event": "stream_started", "stream_key": "secret", "token": "secret", "state": 3, "session_id": token, "quality": ["secret"],
            "server_url": "rtmp://user:secret@h/live/secret?token=secret",
            "message": format!("published rtmp://h/live/secret?token=secret with {token} and token=secret"),
            "error_code": token,
            "metrics": {
                "fps": 25, "is_connected": true, "latency_kind": "queue", "stream_key": "secret", "token": 12345, "note": "secret",
                "inner": {"stream_key": "secret"}, "list": ["secret"],
            },
        });
        let (kind, detail) = parse(payload.to_string().as_bytes()).unwrap();
        assert_eq!(kind, EventKind::StreamStarted);
        let text = detail.to_string();
        assert!(!text.contains("secret") && !text.contains("eyJ") && !text.contains("12345"), "{text}");
        assert_eq!((&detail["server_url"], &detail["state"]), (&json!("rtmp://h/live"), &json!(3)));
        assert_eq!(detail["metrics"], json!({"fps": 25, "is_connected": true, "latency_kind": "queue"}));
        assert_eq!(parse(b"{not json"), None);
        assert_eq!(parse(br#"{"event":"made_up"}"#), None);
        assert_eq!(parse(br#"{"event":"server_down"}"#), None, "a device can't speak for a server");
    }

    #[test]
    fn the_specification_s_events_pass_whole() {
        let events = [
            json!({"event": "connection_error", "message": "RTMP connection failed", "error_code": "RTMP_CONNECT_TIMEOUT",
                "timestamp": 1_691_234_799, "reconnect_attempts": 2, "next_retry_in_sec": 20}),
            json!({"event": "stream_metrics", "timestamp": 1, "session_id": "9ab0d6be", "metrics": {"fps": 20.4, "bitrate_kbps": 837.6,
                "total_frames": 640, "dropped_frames": 0, "latency_ms": 9, "latency_kind": "queue", "network_quality": 1.0,
                "stream_duration_ms": 32066}}),
            json!({"event": "stream_stopped", "message": "Live streaming stopped", "timestamp": 1, "session_id": "3096474f",
                "final_metrics": {"total_frames_sent": 1879, "average_fps": 19.9}}),
            json!({"event": "stream_started", "message": "Live streaming started", "timestamp": 1, "state": 3, "quality": "medium",
                "server_url": "rtmps://127.0.0.1:44541/live", "session_id": "e42124ea", "metrics": {"fps": 20.0, "uplink_kbps": 1412.5}}),
        ];
        for event in events {
            assert_eq!(parse(event.to_string().as_bytes()).unwrap().1, event);
        }
    }

    #[test]
    fn whatever_a_device_writes_an_event_has_two_kibibytes_at_most() {
        let long = "x".repeat(1 << 20);
        let many: Map<String, Value> =
            (0..10_000).map(|number| (format!("figure_with_a_long_name_{number}"), json!(1.234_567_890_123e300))).collect();
        let quotes = "\"\u{1}".repeat(1000);
        for payload in [
            json!({"event": "connection_error", "message": long, "metrics": {"a": long, long.clone(): 1}}),
            json!({"event": "connection_error", "message": quotes, "error_code": quotes, "server_url": format!("rtmp://{quotes}"), "metrics": many, "final_metrics": many}),
            json!({"event": "connection_error", "state": long, "timestamp": {"a": long}, "quality": [long], "metrics": long}),
            json!({"event": "connection_error", "metrics": [1, {"a": 2}], "final_metrics": 3}),
        ] {
            let (_, detail) = parse(payload.to_string().as_bytes()).unwrap();
            assert!(detail.to_string().len() <= EVENT_BYTES_MAX, "{}", detail.to_string().len());
        }
    }
}
