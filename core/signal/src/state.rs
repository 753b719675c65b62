//! The states of a stream: frozen numbers, because the seed publishes `"state": 3` for a running stream (specification §1.5).

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Where a stream is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(u8)]
pub enum StreamState {
    /// Nothing to do.
    #[default]
    Idle = 0,
    /// Asking the cloud where to stream.
    Requesting = 1,
    /// Dialling, shaking hands, asking to publish.
    Connecting = 2,
    /// Frames flow.
    Streaming = 3,
    /// The connection is gone; waiting for the next try.
    Reconnecting = 4,
    /// Ending cleanly.
    Stopping = 5,
    /// Gave up; a command starts it again.
    Error = 6,
    /// Waiting for its trigger.
    Standby = 7,
}

impl StreamState {
    /// All states, by number.
    pub const ALL: [Self; 8] =
        [Self::Idle, Self::Requesting, Self::Connecting, Self::Streaming, Self::Reconnecting, Self::Stopping, Self::Error, Self::Standby];

    /// The frozen number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The name in lower case, as logs and `state_name` have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Requesting => "requesting",
            Self::Connecting => "connecting",
            Self::Streaming => "streaming",
            Self::Reconnecting => "reconnecting",
            Self::Stopping => "stopping",
            Self::Error => "error",
            Self::Standby => "standby",
        }
    }
}

impl Serialize for StreamState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.number())
    }
}

impl<'de> Deserialize<'de> for StreamState {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u8::deserialize(deserializer)?;
        Self::ALL.get(usize::from(number)).copied().ok_or_else(|| D::Error::custom("a stream state is a number from 0 to 7"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_frozen() {
        let names: std::vec::Vec<_> = StreamState::ALL.iter().map(|state| (state.number(), state.name())).collect();
        assert_eq!(
            names,
            [
                (0, "idle"),
                (1, "requesting"),
                (2, "connecting"),
                (3, "streaming"),
                (4, "reconnecting"),
                (5, "stopping"),
                (6, "error"),
                (7, "standby")
            ]
        );
    }
}
