//! The kinds of events. Their names are part of the API.

use serde::{Serialize, Serializer};
use serde_json::Value;
use std::{fmt, str::FromStr};

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum EventKind {
    AuditRolledBack,
    CertificateEnds,
    CertificateRenewed,
    StreamStarted,
    StreamStopped,
    StreamDuel,
    StreamLimited,
    RecordingFailed,
    RecordingResumed,
    RelayFailed,
    RelayResumed,
    PullFailed,
    PullResumed,
    MarkAdded,
    StartFailed,
    ConnectionError,
    StreamMetrics,
    Motion,
    DeviceOnline,
    DeviceOffline,
    DeviceAdded,
    DeviceRevoked,
    DeviceDuel,
    HookFailed,
    HookRecovered,
    Allocated,
    ServerUp,
    ServerDown,
    ServerRestarted,
    ServerStoreFailed,
    ServerStoreResumed,
    ServerRecordingsShort,
    ServerRecordingsEnough,
    StorageFailed,
    StorageRecovered,
}

impl EventKind {
    pub(crate) const ALL: [Self; 35] = [
        Self::AuditRolledBack,
        Self::CertificateEnds,
        Self::CertificateRenewed,
        Self::StreamStarted,
        Self::StreamStopped,
        Self::StreamDuel,
        Self::StreamLimited,
        Self::RecordingFailed,
        Self::RecordingResumed,
        Self::RelayFailed,
        Self::RelayResumed,
        Self::PullFailed,
        Self::PullResumed,
        Self::MarkAdded,
        Self::StartFailed,
        Self::ConnectionError,
        Self::StreamMetrics,
        Self::Motion,
        Self::DeviceOnline,
        Self::DeviceOffline,
        Self::DeviceAdded,
        Self::DeviceRevoked,
        Self::DeviceDuel,
        Self::HookFailed,
        Self::HookRecovered,
        Self::Allocated,
        Self::ServerUp,
        Self::ServerDown,
        Self::ServerRestarted,
        Self::ServerStoreFailed,
        Self::ServerStoreResumed,
        Self::ServerRecordingsShort,
        Self::ServerRecordingsEnough,
        Self::StorageFailed,
        Self::StorageRecovered,
    ];

    /// Whether it is the installation's: about a server, or the cloud itself. All others are about one device.
    fn is_of_installation(self, detail: &Value) -> bool {
        match self {
            Self::CertificateEnds | Self::CertificateRenewed => detail.get("certificate").and_then(Value::as_str) != Some("device"),
            Self::AuditRolledBack
            | Self::HookFailed
            | Self::HookRecovered
            | Self::ServerUp
            | Self::ServerDown
            | Self::ServerRestarted
            | Self::ServerStoreFailed
            | Self::ServerStoreResumed
            | Self::ServerRecordingsShort
            | Self::ServerRecordingsEnough
            | Self::StorageFailed
            | Self::StorageRecovered => true,
            Self::StreamStarted
            | Self::StreamStopped
            | Self::StreamDuel
            | Self::StreamLimited
            | Self::RecordingFailed
            | Self::RecordingResumed
            | Self::RelayFailed
            | Self::RelayResumed
            | Self::PullFailed
            | Self::PullResumed
            | Self::MarkAdded
            | Self::StartFailed
            | Self::ConnectionError
            | Self::StreamMetrics
            | Self::Motion
            | Self::DeviceOnline
            | Self::DeviceOffline
            | Self::DeviceAdded
            | Self::DeviceRevoked
            | Self::DeviceDuel
            | Self::Allocated => false,
        }
    }

    /// The name in the API.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::AuditRolledBack => "audit_rolled_back",
            Self::CertificateEnds => "certificate_ends",
            Self::CertificateRenewed => "certificate_renewed",
            Self::StreamStarted => "stream_started",
            Self::StreamStopped => "stream_stopped",
            Self::StreamDuel => "stream_duel",
            Self::StreamLimited => "stream_limited",
            Self::RecordingFailed => "recording_failed",
            Self::RecordingResumed => "recording_resumed",
            Self::RelayFailed => "relay_failed",
            Self::RelayResumed => "relay_resumed",
            Self::PullFailed => "pull_failed",
            Self::PullResumed => "pull_resumed",
            Self::MarkAdded => "mark_added",
            Self::StartFailed => "start_failed",
            Self::ConnectionError => "connection_error",
            Self::StreamMetrics => "stream_metrics",
            Self::Motion => "motion",
            Self::DeviceOnline => "device_online",
            Self::DeviceOffline => "device_offline",
            Self::DeviceAdded => "device_added",
            Self::DeviceRevoked => "device_revoked",
            Self::DeviceDuel => "device_duel",
            Self::HookFailed => "hook_failed",
            Self::HookRecovered => "hook_recovered",
            Self::Allocated => "allocated",
            Self::ServerUp => "server_up",
            Self::ServerDown => "server_down",
            Self::ServerRestarted => "server_restarted",
            Self::ServerStoreFailed => "server_store_failed",
            Self::ServerStoreResumed => "server_store_resumed",
            Self::ServerRecordingsShort => "server_recordings_short",
            Self::ServerRecordingsEnough => "server_recordings_enough",
            Self::StorageFailed => "storage_failed",
            Self::StorageRecovered => "storage_recovered",
        }
    }
}

/// A name that is no kind of event.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is no kind of event of this version")]
pub(crate) struct UnknownEventKind(String);

impl FromStr for EventKind {
    type Err = UnknownEventKind;
    fn from_str(name: &str) -> Result<Self, UnknownEventKind> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name).ok_or_else(|| UnknownEventKind(name.to_owned()))
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for EventKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Something that happened.
#[derive(Clone, PartialEq, Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Event {
    /// Rises, also over restarts; 0 for `stream_metrics` and `mark_added`, which are passed on but not kept.
    pub(crate) seq: u64,
    /// By the cloud's clock, seconds since 1970.
    pub(crate) time: i64,
    /// The device, or the server for kinds that begin with `server_`, or `cloud`.
    pub(crate) device: String,
    #[schema(schema_with = kind_schema)]
    pub(crate) event: EventKind,
    /// More about it; in a device's own words, without secrets.
    pub(crate) detail: Value,
}

impl Event {
    /// Whose it is; `None`: the installation's.
    pub(crate) fn of_device(&self) -> Option<&str> {
        (!self.event.is_of_installation(&self.detail)).then_some(self.device.as_str())
    }
}

fn kind_schema() -> utoipa::openapi::schema::Object {
    let names = EventKind::ALL.map(EventKind::as_str);
    utoipa::openapi::ObjectBuilder::new().schema_type(utoipa::openapi::Type::String).enum_values(Some(names)).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_reads_back_and_documents_and_console_have_it() {
        let words = include_str!("../../../../console/js/i18n.js");
        let page = include_str!("../../../../docs/protocol/http.md");
        for kind in EventKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
            assert!(page.contains(&format!("`{kind}`")), "docs/protocol/http.md lacks {kind}");
            // Metrics are shown as figures, and motion has a word for its beginning and one for its end.
            let has_word = words.contains(&format!("ev_{kind}:")) || words.contains(&format!("ev_{kind}_"));
            assert!(kind == EventKind::StreamMetrics || has_word, "{kind}");
        }
        assert!("made_up".parse::<EventKind>().is_err());
    }
}
