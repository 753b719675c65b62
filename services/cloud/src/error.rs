//! Why the cloud does not start, and why an administration fails.

use crate::{
    config::SettingError,
    data_dir::DataDirError,
    devices::{registry::RegistryError, settings::SettingsProblem},
    identity::{operator_certificates::OperatorError, signing_keys::KeyError},
    people::users::PeopleError,
    playback::PlaybackError,
    servers::entered::ServerError,
    store::error::StoreError,
};
use sightline_claim::ClaimError;
use std::{io, net::SocketAddr};

/// Why the cloud does not start: what, where, and the fix. It never contains a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A setting is out of its range.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// A port can't be bound.
    #[error("{what} can't listen on {address}: {source}; choose another address with {key}")]
    Listen {
        /// HTTP or MQTT.
        what: &'static str,
        /// The setting that names it.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system reported.
        source: io::Error,
    },
    /// Another process uses the data directory, or its lock can't be made.
    #[error("data_dir: {0}")]
    Claim(#[from] ClaimError),
    /// A file of the data directory can't be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The database can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The signing keys can't be used.
    #[error(transparent)]
    Keys(#[from] KeyError),
}

/// Why an administration of the data directory fails.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// The registry refuses, or failed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The list of operators refuses, or failed.
    #[error(transparent)]
    Operator(#[from] OperatorError),
    /// Settings that no device takes from afar.
    #[error(transparent)]
    Settings(#[from] SettingsProblem),
    /// A playback key that can't be made, or taken back.
    #[error(transparent)]
    Playback(#[from] PlaybackError),
    /// Users, groups or their tokens can't be changed.
    #[error(transparent)]
    People(#[from] PeopleError),
    /// A server can't be entered, removed or drained.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The signing keys can't be rotated.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// A file of the data directory can't be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
