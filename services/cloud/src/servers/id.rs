//! Server ids.

use sightline_signal::DeviceId;
use std::fmt;

/// A server's id, `[A-Za-z0-9_-]{1,64}`: the alphabet of device ids, so that it is safe in a path and in a token's origin set.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct ServerId(DeviceId);

/// A text that is no server id.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a server id is 1 to 64 of A-Z a-z 0-9 _ -")]
pub(crate) struct ServerIdError;

impl ServerId {
    pub(crate) fn new(id: &str) -> Result<Self, ServerIdError> {
        DeviceId::new(id).map(Self).map_err(|_| ServerIdError)
    }

    pub(crate) fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
