//! Why an origin does not start.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Why the origin does not start. Each says what to change.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address can't be listened on.
    #[error("{key} can't listen on {address}: {source}; set another address, or stop what listens there")]
    Listen {
        /// The setting.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Another process uses the data directory, or its lock can't be made.
    #[error("data_dir: {0}")]
    Claim(#[from] sightline_claim::ClaimError),
    /// A file or directory can't be read or made.
    #[error("{key}: {} can't be used: {source}", path.display())]
    File {
        /// The setting.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Certificate and key don't make a TLS server.
    #[error("rtmps.cert and rtmps.key: {reason}; give a PEM chain and its private key")]
    Tls {
        /// Why.
        reason: String,
    },
    /// The authority of another server's certificate can't be used.
    #[error("{key}: {}: {reason}; give the authority's certificate, such as the installation's ca.pem", path.display())]
    Authority {
        /// The setting.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A setting is missing or out of range.
    #[error("{key} {reason}")]
    Setting {
        /// The setting.
        key: &'static str,
        /// What is wrong, and the fix.
        reason: &'static str,
    },
    /// WebRTC can't be had.
    #[error("whep: {reason}; set whep.enabled = false to start without it")]
    WebRtc {
        /// Why.
        reason: String,
    },
    /// The system's trusted certificates can't be read, which another server by `https://` needs.
    #[error("the trusted certificates of this system can't be read: {source}; install ca-certificates, or set {key}")]
    Roots {
        /// The setting.
        key: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
}
