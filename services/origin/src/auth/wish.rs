//! What a viewer wants, and why it may not have it.

use axum::http::StatusCode;
use std::net::IpAddr;

/// How a stream is played.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    Rtmp,
    Flv,
    Hls,
    Whep,
    Snapshot,
    Frames,
    Vod,
}

impl Way {
    /// As tokens name it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Rtmp => "rtmp",
            Self::Flv => "flv",
            Self::Hls => "hls",
            Self::Whep => "whep",
            Self::Snapshot => "snapshot",
            Self::Frames => "frames",
            Self::Vod => "vod",
        }
    }
}

/// What someone wants to watch, and what they show for it.
#[derive(Clone, Copy)]
pub(crate) struct Wish<'a> {
    /// The application whose rules hold.
    pub(crate) app: &'a str,
    pub(crate) playback: &'a str,
    /// A token of the cloud's, or a playback key. A secret: this type has no `Debug`.
    pub(crate) token: Option<&'a str>,
    pub(crate) address: IpAddr,
    pub(crate) way: Way,
}

/// Why someone may not watch. The text goes to them: no secret is in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum PlayRefusal {
    #[error("no live stream has this playback id")]
    Closed,
    #[error("playing needs a right here: add ?token=... with a playback token or a playback key (sightline token add)")]
    NoToken,
    #[error("the playback token or key is not valid, or was revoked")]
    Invalid,
    #[error("the right to play has ended: ask for a new one")]
    Expired,
    #[error("the playback token or key is for another stream")]
    OtherStream,
    #[error("the playback token or key is not for this address")]
    OtherAddress,
    #[error("the playback token or key is not for this way of playing")]
    OtherWay,
    #[error("as many watch with this token or key as may")]
    TooMany,
    #[error("this stream has as many viewers as it may")]
    StreamFull,
    #[error("this address has as many viewers as it may")]
    AddressFull,
    #[error("playing from this address is denied")]
    Denied,
    #[error("the operator's endpoint refuses this viewer")]
    Callback,
}

impl PlayRefusal {
    /// The answer by HTTP.
    pub(crate) const fn status(self) -> StatusCode {
        match self {
            Self::Closed => StatusCode::NOT_FOUND,
            Self::NoToken | Self::Invalid | Self::Expired => StatusCode::UNAUTHORIZED,
            Self::OtherStream | Self::OtherAddress | Self::OtherWay | Self::Denied | Self::Callback => StatusCode::FORBIDDEN,
            Self::TooMany | Self::StreamFull | Self::AddressFull => StatusCode::TOO_MANY_REQUESTS,
        }
    }

    /// As programs read it.
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::Closed => "NOT_FOUND",
            Self::NoToken => "TOKEN_REQUIRED",
            Self::Invalid => "TOKEN_INVALID",
            Self::Expired => "TOKEN_EXPIRED",
            Self::OtherStream | Self::OtherAddress | Self::OtherWay => "TOKEN_NOT_FOR_THIS",
            Self::TooMany | Self::StreamFull | Self::AddressFull => "TOO_MANY_VIEWERS",
            Self::Denied | Self::Callback => "PLAY_DENIED",
        }
    }
}
