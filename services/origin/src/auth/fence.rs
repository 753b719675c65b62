//! The fence before each stream: which publisher may have it. Epochs decide, so that a device that comes back always gets its stream,
//! and an older one never takes it away.

use crate::auth::grant::{Grant, Refusal};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

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
    /// Who published with the token last.
    holder: Option<SocketAddr>,
    /// Two have used the token: from now on it is good from the holder's address alone.
    is_stolen: bool,
}

/// How a publisher passes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Passage {
    /// With a higher epoch, or without one.
    Newer,
    /// With the token that was used last.
    Same,
}

impl Fences {
    /// Whether a publisher may pass, or why not.
    pub(crate) fn check(&self, grant: &Grant, from: IpAddr) -> Result<Passage, Refusal> {
        let none = Fence::default();
        self.by_stream.get(&grant.stream).unwrap_or(&none).check(grant, from)
    }

    /// Whether tokens are given out for the stream, as far as is known here.
    pub(crate) fn has_tokens(&self, stream: &str) -> bool {
        self.by_stream.get(stream).is_some_and(|fence| fence.epoch > 0 || fence.revoked_below > 0)
    }

    /// A publisher that was checked passes. The one before it has lost the stream then.
    pub(crate) fn pass(&mut self, grant: &Grant, from: SocketAddr, unix_secs: i64) {
        if self.by_stream.len() >= FENCES_MAX {
            self.forget_expired(unix_secs);
        }
        let fence = self.by_stream.entry(grant.stream.clone()).or_default();
        if let Some(epoch) = grant.epoch {
            fence.is_stolen &= fence.epoch == epoch;
            fence.holder = Some(from);
            fence.epoch = epoch;
            fence.token.clone_from(&grant.token);
            fence.expires_at = grant.expires_at;
        }
    }

    /// Two have used the stream's present token.
    pub(crate) fn mark_stolen(&mut self, stream: &str) {
        if let Some(fence) = self.by_stream.get_mut(stream) {
            fence.is_stolen = true;
        }
    }

    /// Who published with the stream's present token last.
    pub(crate) fn holder(&self, stream: &str) -> Option<SocketAddr> {
        self.by_stream.get(stream)?.holder
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
    fn check(&self, grant: &Grant, from: IpAddr) -> Result<Passage, Refusal> {
        let Some(epoch) = grant.epoch else { return Ok(Passage::Newer) };
        if epoch < self.revoked_below {
            return Err(Refusal::Revoked);
        }
        if epoch > self.epoch {
            return Ok(Passage::Newer);
        }
        let is_reconnect = epoch == self.epoch && (self.token.is_empty() || self.token == grant.token);
        if !is_reconnect {
            return Err(Refusal::OldEpoch);
        }
        let is_holder = self.holder.is_none_or(|holder| holder.ip().to_canonical() == from.to_canonical());
        if self.is_stolen && !is_holder { Err(Refusal::Duel) } else { Ok(Passage::Same) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOME: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1)), 1000);

    fn pass(fences: &mut Fences, grant: &Grant) -> Result<(), Refusal> {
        fences.check(grant, HOME.ip())?;
        fences.pass(grant, HOME, 0);
        Ok(())
    }

    fn grant(epoch: u64, token: &str) -> Grant {
        Grant { device: "d".into(), stream: "s".into(), epoch: Some(epoch), token: token.into(), expires_at: 0, bitrate_kbps: None }
    }

    #[test]
    fn higher_takes_over_same_reconnects_lower_is_refused() {
        let fence = Fence { epoch: 5, token: "five".into(), ..Fence::default() };
        let check = |fence: &Fence, epoch, token| fence.check(&grant(epoch, token), HOME.ip());
        assert_eq!(check(&fence, 6, "six"), Ok(Passage::Newer));
        assert_eq!(check(&fence, 5, "five"), Ok(Passage::Same));
        assert_eq!(check(&fence, 5, "other"), Err(Refusal::OldEpoch));
        assert_eq!(check(&fence, 4, "four"), Err(Refusal::OldEpoch));
        let fence = Fence { revoked_below: 7, ..fence };
        assert_eq!(check(&fence, 6, "six"), Err(Refusal::Revoked));
        assert_eq!(check(&fence, 7, "seven"), Ok(Passage::Newer));
    }

    #[test]
    fn a_token_that_two_have_used_is_good_from_the_holder_s_address_alone_and_the_next_one_is_good_again() {
        let mut fences = Fences::default();
        let elsewhere = IpAddr::from([10, 0, 0, 9]);
        pass(&mut fences, &grant(5, "five")).unwrap();
        assert_eq!(fences.check(&grant(5, "five"), elsewhere), Ok(Passage::Same));
        fences.mark_stolen("s");
        assert_eq!(fences.check(&grant(5, "five"), elsewhere), Err(Refusal::Duel));
        assert_eq!(pass(&mut fences, &grant(5, "five")), Ok(()), "the holder comes back");
        assert_eq!(fences.check(&grant(5, "five"), elsewhere), Err(Refusal::Duel), "and that changes nothing");
        assert_eq!(pass(&mut fences, &grant(6, "six")), Ok(()));
        assert_eq!(fences.check(&grant(6, "six"), elsewhere), Ok(Passage::Same));
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
                        prop_assert_eq!(pass(&mut fences, &grant(epoch, &format!("token {epoch}"))), expected, "epoch {}", epoch);
                        if expected.is_ok() {
                            newest_published = epoch;
                        }
                        // Another token for the epoch that publishes never gets in.
                        if newest_published > 0 {
                            prop_assert!(pass(&mut fences, &grant(newest_published, "forged")).is_err());
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_revocation_that_is_forgotten_is_asked_for_again() {
        let mut fences = Fences::default();
        pass(&mut fences, &Grant { expires_at: 50, ..grant(1, "one") }).unwrap();
        fences.set_revoked_up_to(9);
        fences.forget_expired(60);
        assert_eq!(fences.revoked_up_to(), 9, "only an epoch was forgotten");
        fences.revoke("s", 9);
        fences.forget_expired(60);
        assert_eq!(fences.revoked_up_to(), 0);
    }
}
