//! What a stream token says. The cloud signs it (JWT, EdDSA), an origin checks it without asking anyone, a camera carries it unread.

use crate::{DeviceId, Text};
use serde::{Deserialize, Serialize};

/// The longest token, in bytes.
///
/// nginx-rtmp takes 255 bytes of a name with its arguments, and a token stays within that for device ids of up to 17 characters;
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
    #[serde(rename = "o", default, skip_serializing_if = "is_empty")]
    pub origin_set: Text<64>,
    /// The most that may be sent, in kbit/s.
    #[serde(rename = "b")]
    pub bitrate_kbps_max: u32,
}

/// The purpose of a [`PlayClaims`]: no token of another kind has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum PlayPurpose {
    /// To play a stream.
    #[serde(rename = "play")]
    Play,
}

/// What a playback token says: that whoever shows it may watch one stream. The cloud signs it as it signs [`Claims`], an origin checks it
/// without asking anyone. It never publishes: it names no stream that could be published.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PlayClaims {
    /// Always `play`.
    #[serde(rename = "u")]
    pub purpose: PlayPurpose,
    /// The playback id.
    #[serde(rename = "p")]
    pub playback: Text<16>,
    /// Until when playing may *begin*, and until when a player that asks again and again (HLS) may ask, seconds since 1970.
    #[serde(rename = "exp")]
    pub expires_at: i64,
    /// Names the token: those who watch with it are counted together.
    #[serde(rename = "j")]
    pub id: Text<32>,
    /// The only address, or network such as `10.0.0.0/8`, that it is good from; empty: any.
    #[serde(rename = "a", default, skip_serializing_if = "is_empty")]
    pub address: Text<64>,
    /// The ways that it is good for, by comma: `rtmp,flv,hls,whep,snapshot,frames`; empty: all.
    #[serde(rename = "w", default, skip_serializing_if = "is_empty")]
    pub ways: Text<64>,
    /// How many may watch with it at a time; 0: any number.
    #[serde(rename = "n", default, skip_serializing_if = "is_zero")]
    pub viewers_max: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

fn is_empty<const N: usize>(text: &Text<N>) -> bool {
    text.is_empty()
}
