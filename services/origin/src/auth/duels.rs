//! Two that publish with one token: a thief and a camera, or a camera that has only changed its address. Which it is shows in whether the
//! one that has the stream still sends.

use sightline_media::Instant;
use sightline_signal::report::OriginDuel;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

/// Who has sent nothing for so long has lost its connection, and a reconnect takes its place.
const SILENT: Duration = Duration::from_secs(1);
/// What comes of the holder so soon after the newcomer asked may have been under way: it proves nothing.
const UNDER_WAY: Duration = Duration::from_millis(300);
/// How soon an undecided question is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// A holder that took the stream from one that sent, and within this time is followed by a fresh token while it sends itself, was another.
const FRESH_TAKEOVER: Duration = Duration::from_secs(30);
/// Streams whose duels are remembered; an attacker has the tokens of few.
const DUELS_MAX: usize = 256;
/// How often the duel for one stream is reported: once at the start, then with a count.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);
/// How long one is remembered after the last try.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);

/// Who wants to publish.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claimant {
    pub(crate) peer: SocketAddr,
    pub(crate) asked_at: Instant,
}

/// Who has the stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Holder {
    pub(crate) peer: SocketAddr,
    pub(crate) since: Instant,
    /// When its last bytes came.
    pub(crate) heard_at: Instant,
    /// It took the stream from one that was sending: by the same token, or by a newer one.
    pub(crate) took_from_sender: bool,
}

impl Holder {
    pub(crate) fn is_sending(&self, now: Instant) -> bool {
        now.since(self.heard_at) < SILENT
    }

    /// It sent just now: no residue of a connection that is gone.
    pub(crate) fn is_in_full_flow(&self, now: Instant) -> bool {
        now.since(self.heard_at) < UNDER_WAY
    }

    /// It took the stream from one that sent, and is followed by one with a fresh token, which only the rightful one has.
    pub(crate) fn was_a_thief(&self, now: Instant) -> bool {
        self.took_from_sender && self.is_sending(now) && now.since(self.since) < FRESH_TAKEOVER
    }

    /// What becomes of a claimant with the same token.
    pub(crate) fn verdict(&self, claimant: Claimant, now: Instant) -> Verdict {
        // The same address is the same camera as far as anyone can see: the one before it loses, and if that was the rightful one it comes
        // back with a fresh token.
        if self.peer.ip().to_canonical() == claimant.peer.ip().to_canonical() || !self.is_sending(now) {
            Verdict::Reconnect
        } else if self.heard_at >= claimant.asked_at + UNDER_WAY {
            Verdict::Duel
        } else {
            Verdict::Later(now + LOOK_AGAIN)
        }
    }
}

/// What becomes of a claimant with the token of the one that has the stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// It has the stream now.
    Reconnect,
    /// The holder still sends.
    Duel,
    /// That is seen then.
    Later(Instant),
}

/// The duels that were seen, for the report.
#[derive(Debug, Default)]
pub(crate) struct Duels {
    by_stream: HashMap<String, Seen>,
    total: u64,
}

#[derive(Debug)]
struct Seen {
    duel: OriginDuel,
    last_at: Instant,
    reported_at: Option<Instant>,
    reported_attempts: u64,
}

impl Duels {
    /// One more try; true when it is the first, which the cloud should hear of at once.
    pub(crate) fn record(&mut self, duel: OriginDuel, now: Instant) -> bool {
        self.total += 1;
        self.by_stream.retain(|_, seen| now.since(seen.last_at) < FORGOTTEN_AFTER);
        match self.by_stream.get_mut(&duel.stream) {
            Some(seen) => {
                let attempts = seen.duel.attempts + 1;
                let is_new = seen.duel.epoch != duel.epoch;
                seen.duel = OriginDuel { attempts, ..duel };
                seen.last_at = now;
                if is_new {
                    seen.reported_at = None;
                }
                is_new
            }
            None => {
                let has_room = self.by_stream.len() < DUELS_MAX;
                if has_room {
                    let first = OriginDuel { attempts: 1, ..duel };
                    let seen = Seen { duel: first.clone(), last_at: now, reported_at: None, reported_attempts: 0 };
                    self.by_stream.insert(first.stream, seen);
                }
                has_room
            }
        }
    }

    /// Those that the next report names.
    pub(crate) fn due(&self, now: Instant) -> Vec<OriginDuel> {
        let is_due = |seen: &&Seen| {
            seen.duel.attempts > seen.reported_attempts && seen.reported_at.is_none_or(|at| now.since(at) >= REPORT_INTERVAL)
        };
        self.by_stream.values().filter(is_due).map(|seen| seen.duel.clone()).collect()
    }

    /// The cloud has taken a report with these.
    pub(crate) fn reported(&mut self, duels: &[OriginDuel], now: Instant) {
        for duel in duels {
            if let Some(seen) = self.by_stream.get_mut(&duel.stream) {
                (seen.reported_at, seen.reported_attempts) = (Some(now), duel.attempts);
            }
        }
    }

    /// Tries since the start.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }

    fn holder(heard_ms: u64) -> Holder {
        Holder { peer: "10.0.0.1:1000".parse().unwrap(), since: at(0), heard_at: at(heard_ms), took_from_sender: false }
    }

    fn claimant(peer: &str) -> Claimant {
        Claimant { peer: peer.parse().unwrap(), asked_at: at(10_000) }
    }

    #[test]
    fn a_camera_that_changed_its_address_has_its_stream_after_a_second_of_silence_and_a_thief_has_not() {
        let elsewhere = claimant("10.0.0.2:1000");
        // The old connection is half open: its last bytes came just before, or were still under way.
        for heard_ms in [9_900, 10_250] {
            assert!(matches!(holder(heard_ms).verdict(elsewhere, at(10_300)), Verdict::Later(_)));
            assert_eq!(holder(heard_ms).verdict(elsewhere, at(heard_ms + 1000)), Verdict::Reconnect);
        }
        assert_eq!(holder(5_000).verdict(elsewhere, at(10_000)), Verdict::Reconnect, "at once where it was silent already");
        assert_eq!(holder(10_320).verdict(elsewhere, at(10_330)), Verdict::Duel, "the holder goes on");
        assert_eq!(holder(10_320).verdict(claimant("10.0.0.1:2000"), at(10_330)), Verdict::Reconnect);
        assert_eq!(holder(10_320).verdict(claimant("[::ffff:10.0.0.1]:2000"), at(10_330)), Verdict::Reconnect);
    }

    #[test]
    fn who_took_a_stream_and_loses_it_to_a_fresh_token_while_it_sends_was_another() {
        let thief = Holder { took_from_sender: true, ..holder(2_000) };
        assert!(thief.was_a_thief(at(2_500)) && !thief.was_a_thief(at(4_000)), "it was silent by then");
        assert!(!holder(2_000).was_a_thief(at(2_500)), "a rotation of keys");
    }

    #[test]
    fn a_duel_is_reported_at_once_then_each_minute_with_its_count() {
        let duel = |epoch| OriginDuel { stream: "s".into(), epoch, ..OriginDuel::default() };
        let mut duels = Duels::default();
        assert!(duels.record(duel(1), at(0)));
        assert!(!duels.record(duel(1), at(100)));
        let due = duels.due(at(200));
        assert_eq!((due.len(), due[0].attempts), (1, 2));
        duels.reported(&due, at(200));
        assert!(duels.due(at(300)).is_empty());
        duels.record(duel(1), at(400));
        assert!(duels.due(at(500)).is_empty());
        assert_eq!(duels.due(at(60_300))[0].attempts, 3);
        assert!(duels.record(duel(2), at(60_400)), "the fresh token is stolen as well");
        assert_eq!((duels.due(at(60_400))[0].epoch, duels.total()), (2, 4));
    }
}
