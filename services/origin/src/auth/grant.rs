//! The right to publish a stream, and why it is refused.

use sightline_signal::DeviceId;

/// Why a publish was refused. The text goes to the publisher: no secret is in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(
        "no stream name: the server's address is rtmp://HOST/APPLICATION, and the stream key, name?token=..., goes in its own field or behind another slash"
    )]
    NoName,
    #[error("no token: publish as name?token=...")]
    NoToken,
    #[error("the token is signed with a key that this origin does not have")]
    UnknownKey,
    #[error("the token is not valid")]
    Invalid,
    #[error("the token has expired: request the stream again")]
    Expired,
    #[error("the token is for another stream name")]
    OtherStream,
    #[error("the token is for another server")]
    OtherServer,
    #[error("a newer publisher has this stream")]
    OldEpoch,
    #[error("another connection sends this stream with the same token: request the stream again for a fresh one")]
    Duel,
    #[error("the stream's right to publish was taken back")]
    Revoked,
    #[error("publishing from this address is denied")]
    Denied,
    #[error("the operator's endpoint refuses this publisher")]
    Callback,
}

impl Refusal {
    /// All of them, in their order.
    pub(crate) const ALL: [Self; 12] = [
        Self::NoName,
        Self::NoToken,
        Self::UnknownKey,
        Self::Invalid,
        Self::Expired,
        Self::OtherStream,
        Self::OtherServer,
        Self::OldEpoch,
        Self::Duel,
        Self::Revoked,
        Self::Denied,
        Self::Callback,
    ];

    /// As metrics name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::NoName => "no_name",
            Self::NoToken => "no_token",
            Self::UnknownKey => "unknown_key",
            Self::Invalid => "invalid",
            Self::Expired => "expired",
            Self::OtherStream => "other_stream",
            Self::OtherServer => "other_server",
            Self::OldEpoch => "old_epoch",
            Self::Duel => "duel",
            Self::Revoked => "revoked",
            Self::Denied => "denied",
            Self::Callback => "callback",
        }
    }
}

/// A publisher that may begin.
#[derive(Clone)]
pub(crate) struct Grant {
    pub(crate) device: String,
    pub(crate) stream: String,
    /// `None`: without a token, from this machine; always the newest.
    pub(crate) epoch: Option<u64>,
    /// For the comparison with a reconnect's. A secret: this type has no `Debug`.
    pub(crate) token: String,
    pub(crate) expires_at: i64,
    /// What it may send; `None` without a token.
    pub(crate) bitrate_kbps: Option<u32>,
}

impl Grant {
    /// A publisher of this machine without a token, where the settings allow it.
    pub(crate) fn unsigned(stream: &str) -> Self {
        let device = DeviceId::new(stream).map_or_else(|_| "unsigned".to_owned(), |id| id.as_str().to_owned());
        Self { device, stream: stream.to_owned(), epoch: None, token: String::new(), expires_at: i64::MAX, bitrate_kbps: None }
    }
}
