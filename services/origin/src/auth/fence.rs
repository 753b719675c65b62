//! The fence before each stream: which publisher may have it. Epochs decide, so that a device that comes back always gets its stream,
//! and an older one never takes it away.

use crate::auth::grant::{Grant, Refusal};
use std::collections::HashMap;

/// Fences kept. One is forgotten when no token of its epoch can be valid any more, an hour after it was signed.
const FENCES_MAX: usize = 100_000;

/// The fences of all streams.
#[derive(Default)]
pub(crate) struct Fences {
    /// By publishing name.
    by_stream: HashMap<String, Fence>,
    revoked_up_to: u64,
}

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
        if self.by_stream.len() >= FENCES_MAX {
            self.forget_expired(unix_secs);
        }
        let fence = self.by_stream.entry(grant.stream.clone()).or_default();
        fence.check(grant)?;
        if let Some(epoch) = grant.epoch {
            fence.epoch = epoch;
            fence.token.clone_from(&grant.token);
            fence.expires_at = grant.expires_at;
        }
        Ok(())
    }

    fn forget_expired(&mut self, unix_secs: i64) {
        let mut has_lost_revocation = false;
        self.by_stream.retain(|_, fence| {
            let is_kept = fence.expires_at > unix_secs;
            has_lost_revocation |= !is_kept && fence.revoked_below > 0;
            is_kept
        });
        if has_lost_revocation {
            // The next report asks for all of them again.
            self.revoked_up_to = 0;
        }
    }

    /// From now on only epochs from `epoch_min` on pass.
    pub(crate) fn revoke(&mut self, stream: &str, epoch_min: u64) {
        let fence = self.by_stream.entry(stream.to_owned()).or_default();
        fence.revoked_below = fence.revoked_below.max(epoch_min);
    }

    /// The cloud's count of revocations of which all are here; 0: begin at the first.
    pub(crate) fn revoked_up_to(&self) -> u64 {
        self.revoked_up_to
    }

    /// All revocations up to the cloud's count are here.
    pub(crate) fn set_revoked_up_to(&mut self, count: u64) {
        self.revoked_up_to = count;
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
    use proptest::prelude::*;

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

    /// The allocator, as far as a fence sees it: each allocation of a stream has a higher epoch and a token of its own, and a revocation
    /// covers all that were given out so far.
    #[derive(Default)]
    struct Allocator {
        epoch: u64,
        revoked_below: u64,
    }

    #[derive(Clone, Copy, Debug)]
    enum Event {
        Allocate,
        /// The cloud revokes what it gave out, and the origin hears of it.
        Revoke,
        /// A device publishes with the token of an allocation, this many before the newest.
        Publish(u64),
    }

    /// All that the fence must remember, in plain words: the newest allocation that ever published, and what is revoked.
    fn may_publish(epoch: u64, newest_published: u64, revoked_below: u64) -> Result<(), Refusal> {
        match epoch {
            epoch if epoch < revoked_below => Err(Refusal::Revoked),
            epoch if epoch < newest_published => Err(Refusal::OldEpoch),
            // The newest again is a reconnect: its token is the same.
            _ => Ok(()),
        }
    }

    proptest! {
        #[test]
        fn fence_and_allocator_agree_whatever_happens(events in proptest::collection::vec(
            prop_oneof![3 => Just(Event::Allocate), 1 => Just(Event::Revoke), 6 => (0..4_u64).prop_map(Event::Publish)], 1..80,
        )) {
            let (mut allocator, mut fences, mut newest_published) = (Allocator::default(), Fences::default(), 0);
            for event in events {
                match event {
                    Event::Allocate => allocator.epoch += 1,
                    Event::Revoke => {
                        allocator.epoch += 1;
                        allocator.revoked_below = allocator.epoch;
                        fences.revoke("s", allocator.epoch);
                    }
                    Event::Publish(before) => {
                        let epoch = allocator.epoch.saturating_sub(before);
                        if epoch == 0 {
                            continue;
                        }
                        let expected = may_publish(epoch, newest_published, allocator.revoked_below);
                        prop_assert_eq!(fences.pass(&grant(epoch, &format!("token {epoch}")), 0), expected, "epoch {}", epoch);
                        if expected.is_ok() {
                            newest_published = epoch;
                        }
                        // Another token for the epoch that publishes never gets in.
                        if newest_published > 0 {
                            prop_assert!(fences.pass(&grant(newest_published, "forged"), 0).is_err());
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_revocation_that_is_forgotten_is_asked_for_again() {
        let mut fences = Fences::default();
        fences.pass(&Grant { expires_at: 50, ..grant(1, "one") }, 0).unwrap();
        fences.set_revoked_up_to(9);
        fences.forget_expired(60);
        assert_eq!(fences.revoked_up_to(), 9, "only an epoch was forgotten");
        fences.revoke("s", 9);
        fences.forget_expired(60);
        assert_eq!(fences.revoked_up_to(), 0);
    }
}
