//! Whether someone may publish on a server of others, or play there: the server asks, with what its client has shown.

use crate::{
    audit::refusals::Refusals,
    clock::Clock,
    identity::signing_keys::SigningKeys,
    store::{
        Store,
        actor::{Action, Actor},
        error::StoreError,
    },
};
use serde_json::json;
use sightline_signal::{Claims, PlayClaims};
use std::{net::IpAddr, sync::Arc};

/// Why not.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PublishRefusal {
    #[error("no token was shown: publish as NAME?token=TOKEN")]
    NoToken,
    #[error("the token is not signed by this installation, or it is of another kind")]
    Invalid,
    #[error("the token is of another stream")]
    OtherStream,
    #[error("the token's time is over")]
    Expired,
    #[error("the device was revoked, or its key was rotated: it has to ask anew")]
    Revoked,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl PublishRefusal {
    /// For the audit log and metrics.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::NoToken => "no_token",
            Self::Invalid => "invalid",
            Self::OtherStream => "other_stream",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Store(_) => "storage_failed",
        }
    }
}

/// At which moment a server asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Moment {
    /// The publish begins.
    Begin,
    /// It goes on: a token is needed at the beginning alone, but whoever was revoked ends.
    GoesOn,
}

/// What a server asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    /// Which kind of server.
    pub(crate) server: &'static str,
    /// The publishing name.
    pub(crate) stream: &'a str,
    /// What its client has shown; empty: nothing.
    pub(crate) token: &'a str,
    /// From where that is, as the server says; `None`: it does not.
    pub(crate) address: Option<IpAddr>,
}

/// Answers servers of others.
#[derive(Debug)]
pub(crate) struct Publishing {
    pub(crate) store: Store,
    pub(crate) keys: SigningKeys,
    pub(crate) clock: Clock,
    pub(crate) refusals: Arc<Refusals>,
}

impl Publishing {
    /// May it publish? A refusal is in the audit log, once a minute and kind.
    pub(crate) async fn publish(&self, asked: Asked<'_>, moment: Moment) -> Result<(), PublishRefusal> {
        let checked = self.check(asked, moment).await;
        count(asked.server, checked.is_ok());
        if let Err(refusal) = &checked {
            let actor = asked.address.map_or(Actor::System, Actor::Stranger);
            let detail = json!({ "server_kind": asked.server });
            self.refusals.record(&actor, Action::StreamPublishRefuse, asked.server, refusal.name(), detail).await;
        }
        checked
    }

    async fn check(&self, asked: Asked<'_>, moment: Moment) -> Result<(), PublishRefusal> {
        if asked.token.is_empty() {
            return Err(PublishRefusal::NoToken);
        }
        let claims: Claims = self.keys.verify(asked.token).ok_or(PublishRefusal::Invalid)?;
        if claims.stream != asked.stream {
            return Err(PublishRefusal::OtherStream);
        }
        if moment == Moment::Begin && claims.expires_at <= self.clock.unix_secs() {
            return Err(PublishRefusal::Expired);
        }
        let device = self.store.device(&claims.device).await?.filter(|device| device.revoked_at.is_none());
        let epoch_min = self.store.epoch_min(asked.stream).await?;
        // A name that the device has no longer is void, too.
        let is_good = device.is_some_and(|device| device.stream == asked.stream) && claims.epoch >= epoch_min;
        if is_good { Ok(()) } else { Err(PublishRefusal::Revoked) }
    }

    /// May it be played there? The same playback tokens count as on our origins.
    pub(crate) fn play(&self, asked: Asked<'_>) -> Result<(), PublishRefusal> {
        let checked = self.check_play(asked);
        count(asked.server, checked.is_ok());
        checked
    }

    fn check_play(&self, asked: Asked<'_>) -> Result<(), PublishRefusal> {
        if asked.token.is_empty() {
            return Err(PublishRefusal::NoToken);
        }
        let claims: PlayClaims = self.keys.verify(asked.token).ok_or(PublishRefusal::Invalid)?;
        if claims.playback != self.store.playback_of(asked.stream).as_str() {
            return Err(PublishRefusal::OtherStream);
        }
        if claims.expires_at <= self.clock.unix_secs() { Err(PublishRefusal::Expired) } else { Ok(()) }
    }
}

fn count(server: &'static str, is_granted: bool) {
    let outcome = if is_granted { "granted" } else { "refused" };
    metrics::counter!("sightline_server_questions_total", "server" => server, "outcome" => outcome).increment(1);
}
