//! How a publishing session behaves, and the limits of its names.

use super::{NAME_BYTES_MAX, TC_URL_BYTES_MAX};
use core::time::Duration;

/// How a session behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// The largest chunk that we send, in bytes; taken as 128 to 1 MiB.
    pub chunk_size: u32,
    /// After how many bytes the server shall acknowledge. Small, for acknowledgements are how a camera sees its uplink.
    pub window_ack_size: u32,
    /// How long the handshake may take, from the session's start.
    pub handshake_timeout: Duration,
    /// How long the server may take from there to accept the publish.
    pub publish_timeout: Duration,
    /// Stop at [`Event::Connected`], where the link may be tried with [`Session::pad`], until [`Session::go_on`].
    pub waits_connected: bool,
}

impl Config {
    pub(super) const DEFAULT: Self = Self {
        chunk_size: 4096,
        window_ack_size: 32 * 1024,
        handshake_timeout: Duration::from_secs(10),
        publish_timeout: Duration::from_secs(10),
        waits_connected: false,
    };
}

impl Default for Config {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The `tcUrl` is longer than [`TC_URL_BYTES_MAX`], or the name than [`NAME_BYTES_MAX`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UrlTooLong;

impl core::fmt::Display for UrlTooLong {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "the RTMP URL is longer than {TC_URL_BYTES_MAX} bytes, or its stream name than {NAME_BYTES_MAX}")
    }
}

impl core::error::Error for UrlTooLong {}
