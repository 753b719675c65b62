//! What a stream token says. The cloud signs it (JWT, EdDSA), an origin checks it without asking anyone, a camera carries it unread.

use crate::{DeviceId, Text};
use serde::{Deserialize, Serialize};

/// The longest token, in bytes.
///
/// nginx-rtmp takes 256 characters of arguments, and a token stays under that for device ids of up to 18 characters;
/// our own origins take the rest.
pub const TOKEN_BYTES_MAX: usize = 384;

/// The claims, short because they travel in a URL. `(stream, epoch)` names a token uniquely: there is no `jti`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Claims {
    /// Whose stream it is.
    #[serde(rename = "d")]
    pub device: DeviceId,
    /// The name it may be published under.
    #[serde(rename = "s")]
    pub stream: Text<64>,
    /// Hybrid logical clock, milliseconds: of one stream, a higher epoch takes over from a lower one.
    #[serde(rename = "e")]
    pub epoch: u64,
    /// Until when a publish may *start*, seconds since 1970.
    #[serde(rename = "exp")]
    pub expires_at: i64,
    /// The origins it is good for; empty: any.
    #[serde(rename = "o", default)]
    pub origin_set: Text<64>,
    /// The most that may be sent, in kbit/s.
    #[serde(rename = "b")]
    pub bitrate_kbps_max: u32,
}
