//! The contract between camera and cloud (specification §2): ids, topics, messages, presets, states, error codes and what a stream token says.
//!
//! One set of types for the chip, the agent and the cloud. Strings have a stated maximum and nothing allocates: the same
//! serde types serve `serde_json` on a server and [`json`] on a chip. Unknown fields are ignored everywhere.
// What derives the API's description of a type expects the standard library; a chip never asks for it.
#![cfg_attr(not(feature = "schema"), no_std)]
#![deny(missing_docs, clippy::indexing_slicing, clippy::std_instead_of_core)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(all(test, not(feature = "schema")))]
extern crate std;

mod certificate;
mod command;
pub mod config;
mod error_code;
mod ids;
pub mod json;
mod playback;
mod quality;
#[cfg(feature = "alloc")]
pub mod report;
mod request;
mod response_in_place;
#[cfg(feature = "schema")]
mod schema;
mod state;
mod status;
mod text;
mod token;
pub mod topic;

pub use certificate::{CertificateRequest, CertificateResponse, PEM_BYTES_MAX, renewal_begins_at};
pub use command::{Command, CommandName, CommandResult};
pub use error_code::{ErrorCode, UnknownErrorCode};
pub use ids::{DEVICE_ID_BYTES_MAX, DeviceId, DeviceIdError};
#[cfg(feature = "alloc")]
pub use playback::PlaybackIds;
pub use playback::{PLAYBACK_ID_BYTES, playback_id};
pub use quality::{CustomQuality, FIT_TOLERANCE, InvalidQuality, Preset, Quality, Settings};
pub use request::{Request, Response, SERVERS_MAX, Server, effective_settings};
pub use state::StreamState;
pub use status::{
    ConnectionError, FinalMetrics, LatencyKind, Online, RunningMetrics, StartMetrics, StateReport, StatusEvent, StreamMetrics,
    StreamStarted, StreamStopped,
};
pub use text::{Redacted, Text};
pub use token::{Claims, PlayClaims, PlayPurpose, TOKEN_BYTES_MAX};
