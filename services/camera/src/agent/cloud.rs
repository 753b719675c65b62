//! What the cloud says to the agent, and what the agent says to the cloud.

use sightline_capture::clock;
use sightline_media::Instant;
use sightline_pusher::{FromDevice, Input, ToDevice};
use sightline_signal::{Command, ErrorCode, Response, StatusEvent, topic::Topic};

use super::{Running, StreamEvent, discovery::Discovery, supervision::Notice};
use crate::cloud::{mqtt::Incoming, outbox::Outgoing};

impl Running {
    pub(super) fn hear(&mut self, now: Instant, incoming: Incoming) {
        match incoming {
            Incoming::Up => {
                self.discovery.as_mut().map(Discovery::settled);
                self.pusher.handle(now, Input::SignalUp);
                self.notify(Notice::Up);
            }
            Incoming::Down(code) => {
                if !self.discovery.as_mut().is_some_and(|discovery| discovery.broker_failed(code)) {
                    self.pusher.handle(now, Input::SignalDown(code));
                }
                self.notify(Notice::Down(code));
            }
            Incoming::Message(Topic::ConfigDesired, payload) => self.notify(Notice::Desired(payload)),
            Incoming::Message(Topic::Response, payload) => match serde_json::from_slice::<Response>(&payload) {
                Ok(response) => {
                    self.discovery.as_mut().map(Discovery::settled);
                    self.pusher.handle(now, Input::Signal(ToDevice::Response(&response)));
                }
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
            mqtt.publish(Outgoing::new(Topic::Result, answer.to_string().into_bytes()));
        }
    }

    pub(super) fn send(&mut self, message: FromDevice) {
        let (topic, payload, retain) = match &message {
            FromDevice::Request(request) => (Topic::Request, serde_json::to_vec(request), false),
            FromDevice::Status(event) => (Topic::Status, serde_json::to_vec(event), false),
            FromDevice::Result(result) => (Topic::Result, serde_json::to_vec(result), false),
            FromDevice::State(report) => (Topic::State, serde_json::to_vec(report), true),
        };
        let is_expendable = matches!(message, FromDevice::Status(StatusEvent::Metrics(_)));
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
            if let Some(discovery) = self.discovery.as_mut().filter(|_| topic == Topic::Request) {
                discovery.asked(payload.clone());
            }
            mqtt.publish(Outgoing { topic, payload, retain, is_expendable });
        }
    }

    /// Best effort: dropped when the listener lags.
    pub(super) fn show(&self, event: StreamEvent) {
        if let Some(events) = &self.events {
            let _ = events.try_send(event);
        }
    }
}
