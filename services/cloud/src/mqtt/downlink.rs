//! What the cloud publishes to a device.

use sightline_signal::{CertificateResponse, Command, Online, Response, topic::Topic};

/// How long an answer is worth delivering, in seconds: the device asks again after that.
const RESPONSE_EXPIRY_SEC: u32 = 15;

/// A message to one device. The bus adds whose topic it is.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) topic: Topic,
    pub(crate) payload: Vec<u8>,
    pub(crate) is_retained: bool,
    pub(crate) expiry_sec: Option<u32>,
    /// Of the question that this answers (MQTT 5).
    pub(crate) correlation: Option<Vec<u8>>,
}

/// Without the payload: an answer contains a token.
impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Message").field("topic", &self.topic).field("bytes", &self.payload.len()).finish_non_exhaustive()
    }
}

impl Message {
    fn new(topic: Topic, payload: Vec<u8>) -> Self {
        Self { topic, payload, is_retained: false, expiry_sec: None, correlation: None }
    }

    /// The answer to a stream request.
    pub(crate) fn response(response: &Response, correlation: Option<&[u8]>) -> Self {
        let correlation = correlation.map(<[u8]>::to_vec);
        Self { expiry_sec: Some(RESPONSE_EXPIRY_SEC), correlation, ..Self::new(Topic::Response, json(response)) }
    }

    /// The answer to a device that renews its certificate.
    pub(crate) fn certificate(response: &CertificateResponse, correlation: Option<&[u8]>) -> Self {
        let correlation = correlation.map(<[u8]>::to_vec);
        Self { expiry_sec: Some(RESPONSE_EXPIRY_SEC), correlation, ..Self::new(Topic::CertificateResponse, json(response)) }
    }

    pub(crate) fn command(command: &Command) -> Self {
        Self::new(Topic::Command, json(command))
    }

    /// What a device shall be set to; an empty payload takes it back.
    pub(crate) fn desired(payload: Vec<u8>) -> Self {
        Self { is_retained: true, ..Self::new(Topic::ConfigDesired, payload) }
    }

    /// In the name of a device that can't speak for itself any more.
    pub(crate) fn offline() -> Self {
        Self { is_retained: true, ..Self::new(Topic::Online, json(&Online { online: false })) }
    }
}

fn json(message: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(message).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offline_is_what_devices_leave_as_their_will() {
        let message = Message::offline();
        assert_eq!((message.payload.as_slice(), message.is_retained), (br#"{"online":false}"#.as_slice(), true));
    }
}
