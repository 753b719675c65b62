//! A door to the check of tokens, for the fuzz targets in `fuzz/`. No part of the interface: it comes with the feature `fuzzing`.

use crate::auth::keys::Keys;
use sightline_signal::report::Jwks;
use std::path::PathBuf;

/// An origin's keys.
pub struct TokenCheck(Keys);

impl std::fmt::Debug for TokenCheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenCheck").finish_non_exhaustive()
    }
}

/// What a token gives a right to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Granted {
    /// Whose stream it is.
    pub device: String,
    /// Of which epoch.
    pub epoch: Option<u64>,
    /// Until when a publish may start.
    pub expires_at: i64,
    /// What may be sent.
    pub bitrate_kbps: Option<u32>,
}

impl TokenCheck {
    /// Of an origin that has these keys.
    #[must_use]
    pub fn new(server_id: &str, jwks: &Jwks) -> Self {
        let keys = Keys::load(server_id, PathBuf::new());
        keys.set(jwks);
        Self(keys)
    }

    /// Checks a token for a stream's name at a time.
    ///
    /// # Errors
    /// Why it is refused, as metrics name it.
    pub fn check(&self, stream: &str, token: &str, unix_secs: i64) -> Result<Granted, &'static str> {
        let grant = self.0.check(stream, token, unix_secs).map_err(|refusal| refusal.name())?;
        Ok(Granted { device: grant.device, epoch: grant.epoch, expires_at: grant.expires_at, bitrate_kbps: grant.bitrate_kbps })
    }
}
