//! The fence before each stream: which publisher may have it. Epochs decide, so that a device that comes back always gets its stream,
//! and an older one never takes it away.

use crate::auth::grant::{Grant, Refusal};
use std::collections::HashMap;

/// Fences kept. One is forgotten when no token of its epoch can be valid any more, an hour after it was signed.
const FENCES_MAX: usize = 100_000;

/// The fences of all streams, by publishing name.
#[derive(Default)]
pub(crate) struct Fences(HashMap<String, Fence>);

/// The highest epoch of a stream that was seen.
#[derive(Clone, Default)]
struct Fence {
    epoch: u64,
    /// The token of that epoch: its reconnect may take over.
    token: String,
    expires_at: i64,
    /// Lower epochs were revoked.
    revoked_below: u64,
}

impl Fences {
    /// Lets a publisher through, or says why not. The one before it has lost the stream then.
    pub(crate) fn pass(&mut self, grant: &Grant, unix_secs: i64) -> Result<(), Refusal> {
        if self.0.len() >= FENCES_MAX {
            self.0.retain(|_, fence| fence.expires_at > unix_secs);
        }
        let fence = self.0.entry(grant.stream.clone()).or_default();
        fence.check(grant)?;
        if let Some(epoch) = grant.epoch {
            fence.epoch = epoch;
            fence.token.clone_from(&grant.token);
            fence.expires_at = grant.expires_at;
        }
        Ok(())
    }

    /// From now on only epochs from `epoch_min` on pass.
    pub(crate) fn revoke(&mut self, stream: &str, epoch_min: u64) {
        let fence = self.0.entry(stream.to_owned()).or_default();
        fence.revoked_below = fence.revoked_below.max(epoch_min);
    }
}

impl Fence {
    fn check(&self, grant: &Grant) -> Result<(), Refusal> {
        let Some(epoch) = grant.epoch else { return Ok(()) };
        if epoch < self.revoked_below {
            return Err(Refusal::Revoked);
        }
        let is_reconnect = epoch == self.epoch && (self.token.is_empty() || self.token == grant.token);
        if epoch > self.epoch || is_reconnect { Ok(()) } else { Err(Refusal::OldEpoch) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(epoch: u64, token: &str) -> Grant {
        Grant { device: "d".into(), stream: "s".into(), epoch: Some(epoch), token: token.into(), expires_at: 0 }
    }

    #[test]
    fn higher_takes_over_same_reconnects_lower_is_refused() {
        let fence = Fence { epoch: 5, token: "five".into(), expires_at: 0, revoked_below: 0 };
        assert_eq!(fence.check(&grant(6, "six")), Ok(()));
        assert_eq!(fence.check(&grant(5, "five")), Ok(()));
        assert_eq!(fence.check(&grant(5, "other")), Err(Refusal::OldEpoch));
        assert_eq!(fence.check(&grant(4, "four")), Err(Refusal::OldEpoch));
        let fence = Fence { revoked_below: 7, ..fence };
        assert_eq!(fence.check(&grant(6, "six")), Err(Refusal::Revoked));
        assert_eq!(fence.check(&grant(7, "seven")), Ok(()));
    }
}
