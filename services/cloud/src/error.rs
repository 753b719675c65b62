//! What can go wrong while the cloud starts or its data directory is administered.

use sightline_signal::DeviceId;
use std::{io, net::SocketAddr, path::PathBuf};

/// An error of start-up or administration: what, where and the mend. It never holds a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CloudError {
    /// A setting is out of its range.
    #[error("setting {key}: {reason}")]
    Setting {
        /// The key as the TOML file has it.
        key: &'static str,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// A file of the data directory can't be read or written.
    #[error("{}: {source}; check that the data directory exists and belongs to this user", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A certificate or key of the data directory can't be used, or can't be made.
    #[error("{}: {reason}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong, and the mend.
        reason: String,
    },
    /// The database refused.
    #[error("database {}: {source}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: sqlx::Error,
    },
    /// The database is of a version that this program can't bring up to date.
    #[error("database {}: {source}; use the version of sightline that wrote it, or a newer one", path.display())]
    Migration {
        /// The file.
        path: PathBuf,
        /// Which step failed.
        source: sqlx::migrate::MigrateError,
    },
    /// A port can't be bound.
    #[error("{what} can't listen on {address}: {source}; choose another address with {key}")]
    Listen {
        /// HTTP or MQTT.
        what: &'static str,
        /// The setting that names it.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The cryptographic library failed; it never should.
    #[error("the cryptographic library failed to {0}")]
    Crypto(&'static str),
    /// Settings that no device takes from afar, in words, with the key.
    #[error("{0}")]
    DeviceSettings(String),
    /// There is such a device already.
    #[error("device {0} exists already; `sightline device show {0}` shows it, `rotate` renews its certificate")]
    DeviceExists(DeviceId),
    /// There is no such device.
    #[error("there is no device {0}; `sightline device list` shows all of them")]
    DeviceUnknown(DeviceId),
    /// The id belongs to the system.
    #[error("the id {0} is reserved; choose another one")]
    DeviceReserved(DeviceId),
    /// The device's right was taken away.
    #[error("device {0} is revoked; `sightline device add {0}` enrols it anew")]
    DeviceRevoked(DeviceId),
    /// Signing keys may not be rotated again before tokens of the previous key have ended.
    #[error("signing keys were rotated less than {0} s ago; tokens of the previous key are still in use")]
    KeysRotatedRecently(i64),
}
