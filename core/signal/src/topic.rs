//! The topics of specification §2: `devices/{id}/…`.

use crate::{DEVICE_ID_BYTES_MAX, DeviceId, Text};

/// The longest topic: `devices/`, an id, `/stream/response`.
pub const TOPIC_BYTES_MAX: usize = 8 + DEVICE_ID_BYTES_MAX + 24;

/// What a device's topic is for, and who may write it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Topic {
    /// `stream/request`, up.
    Request,
    /// `stream/response`, down.
    Response,
    /// `stream/status`, up: the seed's events.
    Status,
    /// `stream/command`, down.
    Command,
    /// `stream/result`, up: answers to commands.
    Result,
    /// `stream/state`, up, retained: for dashboards.
    State,
    /// `online`, up, retained, the will.
    Online,
    /// `snapshot`, up: a JPEG.
    Snapshot,
    /// `motion`, up.
    Motion,
    /// `config/desired`, down, retained.
    ConfigDesired,
    /// `config/reported`, up, retained.
    ConfigReported,
    /// `certificate/request`, up.
    CertificateRequest,
    /// `certificate/response`, down.
    CertificateResponse,
}

impl Topic {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Request,
        Self::Response,
        Self::Status,
        Self::Command,
        Self::Result,
        Self::State,
        Self::Online,
        Self::Snapshot,
        Self::Motion,
        Self::ConfigDesired,
        Self::ConfigReported,
        Self::CertificateRequest,
        Self::CertificateResponse,
    ];

    /// What follows `devices/{id}/`.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Request => "stream/request",
            Self::Response => "stream/response",
            Self::Status => "stream/status",
            Self::Command => "stream/command",
            Self::Result => "stream/result",
            Self::State => "stream/state",
            Self::Online => "online",
            Self::Snapshot => "snapshot",
            Self::Motion => "motion",
            Self::ConfigDesired => "config/desired",
            Self::ConfigReported => "config/reported",
            Self::CertificateRequest => "certificate/request",
            Self::CertificateResponse => "certificate/response",
        }
    }

    /// True where the device publishes and the cloud listens; false where it is the other way round.
    #[must_use]
    pub const fn is_up(self) -> bool {
        !matches!(self, Self::Response | Self::Command | Self::ConfigDesired | Self::CertificateResponse)
    }

    /// The topic of one device.
    #[must_use]
    pub fn of(self, device: &DeviceId) -> Text<TOPIC_BYTES_MAX> {
        let mut topic = Text::new();
        // The capacity is the sum of the longest parts.
        let _ = topic.push_str("devices/");
        let _ = topic.push_str(device.as_str());
        let _ = topic.push_str("/");
        let _ = topic.push_str(self.suffix());
        topic
    }

    /// Whose topic it is and which; `None` for any other topic, a wildcard, or a name that is no device id.
    #[must_use]
    pub fn parse(topic: &str) -> Option<(DeviceId, Self)> {
        let (id, suffix) = topic.strip_prefix("devices/")?.split_once('/')?;
        let kind = Self::ALL.into_iter().find(|kind| kind.suffix() == suffix)?;
        Some((DeviceId::new(id).ok()?, kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_reads_back() {
        let device = DeviceId::new(&"x".repeat(64)).unwrap();
        for kind in Topic::ALL {
            assert_eq!(Topic::parse(&kind.of(&device)), Some((device.clone(), kind)));
        }
        for other in ["devices/+/stream/request", "devices/a/#", "devices//online", "x/a/online", "devices/a/stream/requests"] {
            assert_eq!(Topic::parse(other), None, "{other}");
        }
    }
}
