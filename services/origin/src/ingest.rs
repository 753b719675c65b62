//! How streams come in.

pub(crate) mod budget;
pub(crate) mod fates;
pub(crate) mod remarks;
pub(crate) mod rtmp;
pub(crate) mod whip;

use crate::auth::duels::Claimant;
use crate::auth::grant::{Grant, Refusal};
use crate::auth::keys::Keys;
use crate::auth::policy::PresentPolicy;
use crate::auth::rules::Act;
use crate::callbacks::Callbacks;
use crate::clock::Clock;
use crate::live::hub::{Begun, Hub};
use crate::record::tap::Recordings;
use std::net::IpAddr;
use std::sync::Arc;

/// What publishers' connections may touch.
pub(crate) struct Ingest {
    pub(crate) clock: Clock,
    pub(crate) keys: Arc<Keys>,
    pub(crate) policy: Arc<PresentPolicy>,
    pub(crate) callbacks: Arc<Callbacks>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) recordings: Option<Recordings>,
    pub(crate) remarks: Arc<remarks::Remarks>,
    /// What a publisher may send whatever its token says.
    pub(crate) publisher_kbps: u32,
}

impl Ingest {
    /// What a publisher shows, checked: nothing is taken from anyone yet.
    fn grant(&self, app: &str, name: &str, token: Option<&str>, address: IpAddr) -> Result<Grant, Refusal> {
        let policy = self.policy.now();
        if !policy.apps.allows(app, Act::Publish, address) {
            return Err(Refusal::Denied);
        }
        Ok(match token {
            _ if name.is_empty() => return Err(Refusal::NoName),
            Some(token) => self.keys.check(name, token, self.clock.wall().unix_secs())?,
            None if policy.allow_unsigned_publish && address.to_canonical().is_loopback() => Grant::unsigned(name),
            // Whoever comes so far was let in by the operator's endpoint. The stream of a device that has a token is not the endpoint's to give.
            None if self.callbacks.decides_publish() && !self.hub.has_tokens(name) => Grant::unsigned(name),
            None => return Err(Refusal::NoToken),
        })
    }

    /// Gives a publisher its stream, recorded where that is wanted, or says why not, or when to ask again.
    fn begin(&self, app: &str, name: &str, token: Option<&str>, claimant: Claimant) -> Result<(Grant, Begun), Refusal> {
        let grant = self.grant(app, name, token, claimant.peer.ip())?;
        let begun = self.hub.begin(&grant, claimant)?;
        if let (Some(recordings), Begun::Hold(hold)) = (&self.recordings, &begun) {
            let (tap, health) = recordings.begin(&grant);
            hold.record(Box::new(tap), health);
        }
        Ok((grant, begun))
    }
}
