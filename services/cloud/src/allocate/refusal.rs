//! Why a request is refused.

use sightline_signal::ErrorCode;
use std::time::Duration;

/// When to come back if no server has room: an origin that restarts reports within two seconds.
const RETRY_AFTER_NO_SERVER_SEC: u32 = 5;
/// When to come back if the cloud itself can't answer.
const RETRY_AFTER_BUSY_SEC: u32 = 5;

/// A refusal, as the device gets it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Refusal {
    pub(super) code: ErrorCode,
    pub(super) message: String,
    pub(super) retry_after_sec: Option<u32>,
}

impl Refusal {
    pub(super) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after_sec: None }
    }

    /// The device asks too often.
    pub(super) fn too_often(wait: Duration) -> Self {
        Self {
            retry_after_sec: Some(u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1)),
            ..Self::new(ErrorCode::ServerOverloaded, "too many requests from this device")
        }
    }

    /// No server is alive and has room.
    pub(super) fn no_server(is_any_registered: bool) -> Self {
        let message = if is_any_registered { "no server has room for this stream" } else { "no server is registered" };
        Self { retry_after_sec: Some(RETRY_AFTER_NO_SERVER_SEC), ..Self::new(ErrorCode::NoServerAvailable, message) }
    }

    /// Something failed here; the log says what.
    pub(super) fn busy(error: &dyn std::error::Error) -> Self {
        tracing::error!(%error, "a stream request could not be answered");
        Self { retry_after_sec: Some(RETRY_AFTER_BUSY_SEC), ..Self::new(ErrorCode::NoServerAvailable, "the cloud can't answer now") }
    }
}
