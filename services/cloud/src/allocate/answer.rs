//! The answer to a request, and its token.

use crate::{
    identity::signing_keys::{KeyError, SigningKeys},
    servers::inventory::ChosenServer,
    store::answers::Answer,
};
use sightline_signal::{Claims, CustomQuality, DeviceId, Redacted, Request, Response, Server, TOKEN_BYTES_MAX, Text};

/// nginx-rtmp cuts off a name with its arguments (`NAME?token=…`) behind this many bytes, without a word (`NGX_RTMP_MAX_NAME`, 256 with the zero
/// at the end; seen with 1.22 and module 1.2.2: one byte more, and the token's last one was gone).
const NAME_BYTES_FOR_OTHERS: usize = 255;
/// Between the name and the token.
const TOKEN_ARGUMENT: &str = "?token=";
/// The specification answers a 2 Mbit/s request with 4 Mbit/s: room for one second of 1.5 times the target, and a key frame.
const BITRATE_ROOM: u32 = 2;

/// Why an answer has no token.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenError {
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("the token of {device} has {bytes} bytes, at most {TOKEN_BYTES_MAX}: enrol the device under a shorter id")]
    TooLong { device: DeviceId, bytes: usize },
}

/// Everything that an answer depends on.
pub(super) struct Grounds<'a> {
    pub(super) device: &'a DeviceId,
    pub(super) stream: &'a str,
    /// What viewers call it.
    pub(super) playback: String,
    pub(super) request: &'a Request,
    /// The first one first; never empty.
    pub(super) servers: &'a [ChosenServer],
    pub(super) asked_bps: u32,
    /// Seconds since 1970.
    pub(super) now: i64,
    /// The same in milliseconds, just now.
    pub(super) now_ms: i64,
    pub(super) token_ttl_sec: i64,
    pub(super) kid: String,
}

impl Grounds<'_> {
    /// The answer under an epoch, without its token.
    pub(super) fn answer(self, epoch: u64) -> Answer {
        let request = self.request;
        let expires_at = self.now + self.token_ttl_sec;
        let max_bitrate = request.max_bitrate.max(self.asked_bps).saturating_mul(BITRATE_ROOM).min(CustomQuality::BITRATE_BPS_MAX);
        let claims = Claims {
            device: self.device.clone(),
            stream: text(self.stream),
            epoch,
            expires_at,
            origin_set: origin_set(self.servers),
            bitrate_kbps_max: max_bitrate / 1000,
        };
        let first = self.servers.first();
        let response = Response {
            success: true,
            request_id: request.request_id.clone(),
            rtmp_url: first.map(|server| text(&server.url)),
            stream_key: Some(text(self.stream)),
            server_name: first.map(|server| text(&server.name)),
            server_region: first.map(|server| text(&server.region)),
            max_bitrate: Some(max_bitrate),
            recommended_fps: Some(request.quality.settings().map_or(30, |preset| preset.fps)),
            supports_adaptive: Some(true),
            expires_at: Some(expires_at),
            servers: (0..)
                .zip(self.servers)
                .map(|(priority, server)| Server { rtmp_url: text(&server.url), priority, server_name: text(&server.name) })
                .collect(),
            refresh_at: Some(self.now + refresh_after(self.token_ttl_sec, epoch)),
            server_time: Some(self.now),
            server_time_ms: Some(self.now_ms),
            stream_id: Some(text(&self.playback)),
            ..Response::default()
        };
        Answer { response, claims, kid: self.kid }
    }
}

/// An answer with its token. The origin set is left out of a token that would grow too long for nginx-rtmp with it: the token is
/// then valid for that one stream and epoch on any of our origins, where a higher epoch ends it.
pub(super) fn with_token(answer: Answer, keys: &SigningKeys) -> Result<Response, TokenError> {
    let Answer { response, claims, kid } = answer;
    let mut token = keys.sign(&kid, &claims)?;
    let is_long = claims.stream.len() + TOKEN_ARGUMENT.len() + token.len() > NAME_BYTES_FOR_OTHERS;
    if is_long && !claims.origin_set.is_empty() {
        token = keys.sign(&kid, &Claims { origin_set: Text::new(), ..claims.clone() })?;
    }
    let token = Redacted::try_from(token.as_str()).map_err(|_| TokenError::TooLong { device: claims.device, bytes: token.len() })?;
    Ok(Response { token: Some(token), ..response })
}

/// The origins of an answer, separated by commas. Empty, which means any, if one of the servers is not ours or they do not fit.
fn origin_set(servers: &[ChosenServer]) -> Text<64> {
    if servers.iter().any(|server| !server.is_origin) {
        return Text::new();
    }
    let joined = servers.iter().map(|server| server.id.as_str()).collect::<Vec<_>>().join(",");
    Text::try_from(joined.as_str()).unwrap_or_default()
}

/// Ask again at 75 to 85 % of the token's life. The spread keeps a fleet that started at once from asking at once for ever.
fn refresh_after(ttl_sec: i64, epoch: u64) -> i64 {
    let spread = i64::try_from(epoch % 11).unwrap_or(0);
    ttl_sec * (75 + spread) / 100
}

/// As much of it as fits.
fn text<const N: usize>(from: &str) -> Text<N> {
    let end = from.floor_char_boundary(N);
    Text::try_from(&from[..end]).unwrap_or_default()
}
