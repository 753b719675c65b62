//! How streams come in.

pub(crate) mod fates;
pub(crate) mod remarks;
pub(crate) mod rtmp;

use crate::auth::grant::{Grant, Refusal};
use crate::auth::keys::Keys;
use crate::clock::Clock;
use crate::live::hub::{Hold, Hub};
use crate::record::tap::Recordings;
use std::net::IpAddr;
use std::sync::Arc;

/// What publishers' connections may touch.
pub(crate) struct Ingest {
    pub(crate) clock: Clock,
    pub(crate) keys: Arc<Keys>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) recordings: Option<Recordings>,
    pub(crate) remarks: Arc<remarks::Remarks>,
    /// Publishers of this machine need no token.
    pub(crate) allow_unsigned: bool,
}

impl Ingest {
    /// Gives a publisher its stream, recorded where that is wanted, or says why not.
    fn begin(&self, name: &str, token: Option<&str>, peer: IpAddr) -> Result<(Grant, Hold), Refusal> {
        let wall = self.clock.wall();
        let grant = match token {
            _ if name.is_empty() => return Err(Refusal::NoName),
            Some(token) => self.keys.check(name, token, wall.unix_secs())?,
            None if self.allow_unsigned && peer.to_canonical().is_loopback() => Grant::unsigned(name),
            None => return Err(Refusal::NoToken),
        };
        let hold = self.hub.begin(&grant)?;
        if let Some(recordings) = &self.recordings {
            hold.attach(Box::new(recordings.begin(&grant, wall)));
        }
        Ok((grant, hold))
    }
}
