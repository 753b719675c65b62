//! Messages between camera, cloud and origin, and the claims of a token.

use serde::{Serialize, de::DeserializeOwned};
use sightline_signal::report::{OriginReport, ReportAnswer};
use sightline_signal::topic::Topic;
use sightline_signal::{Claims, Command, DeviceId, Request, Response, StateReport, json};
use std::fmt::Debug;

/// Twice the longest message.
const OUT_BYTES: usize = 8192;

/// The input as each kind of message. What was read is written, and reads back as the same.
pub fn run(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        if let Ok(id) = DeviceId::new(text) {
            assert!(!id.as_str().contains(['/', '+', '#', '.', '%']), "an id is safe in a topic, a path and a file name");
        }
        if let Some((device, topic)) = Topic::parse(text) {
            assert_eq!(topic.of(&device).as_str(), text);
        }
    }
    round_trip::<Claims>(data);
    round_trip::<Request>(data);
    round_trip::<Response>(data);
    round_trip::<Command>(data);
    round_trip::<StateReport>(data);
    // What only servers read.
    let _ = serde_json::from_slice::<ReportAnswer>(data);
    if let Ok(report) = serde_json::from_slice::<OriginReport>(data) {
        assert!(serde_json::to_vec(&report).is_ok());
    }
}

fn round_trip<T: Serialize + DeserializeOwned + PartialEq + Debug>(data: &[u8]) {
    let Ok(message) = json::read::<T>(data) else { return };
    let mut out = [0; OUT_BYTES];
    // What does not fit is reported, and not sent.
    let Ok(length) = json::write(&message, &mut out) else { return };
    assert_eq!(json::read::<T>(&out[..length]).as_ref(), Ok(&message));
}
