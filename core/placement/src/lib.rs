//! Which server gets which stream (design §2, "Scale").
//!
//! Pure: it knows no clock, no socket and no randomness of its own, and it can't fail. What can't be placed is data:
//! an empty choice, with a reason for every server that was passed over.
//!
//! The rule is *power of two choices*: of the servers that fit, draw two and take the emptier one. Always taking the
//! emptiest would send a whole reconnect storm to one server, because every allocation of a report interval sees the same load.
#![no_std]
#![deny(missing_docs, clippy::indexing_slicing, clippy::std_instead_of_core)]

extern crate alloc;
#[cfg(test)]
extern crate std;

use alloc::{
    format,
    string::{String, ToString as _},
    vec::Vec,
};
use sightline_signal::SERVERS_MAX;

/// The part of a server's capacity that is filled by allocation, in percent. The rest takes what capped VBR sends above its
/// mean: one second may carry 1.5 times the target (specification §1.1), but never all streams at once.
pub const FILL_PERCENT_MAX: u64 = 90;

/// A server as the inventory knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Candidate<'a> {
    /// Its id.
    pub id: &'a str,
    /// Where it stands.
    pub region: &'a str,
    /// What it takes in at most, in kbit/s; 0: it has no limit of its own (a third party's ingest).
    pub capacity_kbps: u64,
    /// What was already given to it, in kbit/s: the greater of the load it reports and the sum of its allocations.
    pub committed_kbps: u64,
    /// Whether it takes streams now: it reports, it is not draining, and it speaks the scheme that was asked for.
    pub is_usable: bool,
}

/// What a stream needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wanted<'a> {
    /// A region to prefer; empty: any.
    pub region: &'a str,
    /// Its bit rate, in kbit/s.
    pub bitrate_kbps: u64,
}

/// One server of an answer, best first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Choice {
    /// Its place in the slice of candidates.
    pub index: usize,
    /// Why it was chosen, for people and for the audit log.
    pub reason: String,
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Choices {
    /// At most [`SERVERS_MAX`] distinct servers; empty if none fits.
    pub servers: Vec<Choice>,
    /// Why each of the others that can't take the stream was passed over: `"id: reason"`.
    pub refused: Vec<String>,
}

impl Candidate<'_> {
    /// How full it is, in thousandths.
    fn fill_permille(&self) -> u64 {
        self.committed_kbps.saturating_mul(1000).checked_div(self.capacity_kbps).unwrap_or(0)
    }

    /// Why it can't take `wanted`.
    fn refusal(&self, wanted: &Wanted<'_>) -> Option<String> {
        if !self.is_usable {
            return Some(format!("{}: dead, draining or without the scheme asked for", self.id));
        }
        let limit = self.capacity_kbps.saturating_mul(FILL_PERCENT_MAX) / 100;
        let after = self.committed_kbps.saturating_add(wanted.bitrate_kbps);
        (self.capacity_kbps != 0 && after > limit).then(|| format!("{}: full, {after} of {limit} kbit/s", self.id))
    }
}

/// Chooses up to [`SERVERS_MAX`] distinct servers, the preferred region first, and of two drawn at random the emptier one.
///
/// The same arguments give the same answer: `seed` is the only source of chance.
#[must_use]
pub fn choose(candidates: &[Candidate<'_>], wanted: &Wanted<'_>, seed: u64) -> Choices {
    let mut chance = SplitMix64(seed);
    let mut choices = Choices::default();
    let (mut near, mut far) = (Vec::new(), Vec::new());
    for (index, candidate) in candidates.iter().enumerate() {
        match candidate.refusal(wanted) {
            Some(reason) => choices.refused.push(reason),
            None if wanted.region.is_empty() || candidate.region == wanted.region => near.push((index, *candidate)),
            None => far.push((index, *candidate)),
        }
    }
    while choices.servers.len() < SERVERS_MAX {
        let (pool, place) = if near.is_empty() { (&mut far, "no room in the region asked for") } else { (&mut near, "in the region") };
        let Some((index, candidate)) = draw_emptier(pool, &mut chance) else { break };
        let place = if wanted.region.is_empty() { "no region asked for" } else { place };
        let fill = if candidate.capacity_kbps == 0 {
            "no stated limit".to_string()
        } else {
            format!("{} of {} kbit/s committed", candidate.committed_kbps, candidate.capacity_kbps)
        };
        choices.servers.push(Choice { index, reason: format!("{place} {}, {fill}", candidate.region) });
    }
    choices
}

/// Takes the emptier of two drawn ones out of `pool`.
fn draw_emptier<'a>(pool: &mut Vec<(usize, Candidate<'a>)>, chance: &mut SplitMix64) -> Option<(usize, Candidate<'a>)> {
    let first = chance.below(pool.len())?;
    // The second draw is among the others, so the two differ.
    let second = match chance.below(pool.len().saturating_sub(1)) {
        Some(drawn) if drawn >= first => drawn.saturating_add(1),
        Some(drawn) => drawn,
        None => first,
    };
    let fill = |at: usize| pool.get(at).map_or(u64::MAX, |(_, candidate)| candidate.fill_permille());
    let taken = if fill(second) < fill(first) { second } else { first };
    Some(pool.swap_remove(taken))
}

/// `SplitMix64`: small, seeded, good enough to spread load. Nothing secret depends on it.
struct SplitMix64(u64);

impl SplitMix64 {
    /// A number below `end`; `None` if there is none.
    fn below(&mut self, end: usize) -> Option<usize> {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let end = u64::try_from(end).ok()?;
        usize::try_from(mixed.checked_rem(end)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn server<'a>(id: &'a str, region: &'a str, committed_kbps: u64) -> Candidate<'a> {
        Candidate { id, region, capacity_kbps: 10_000, committed_kbps, is_usable: true }
    }

    #[test]
    fn the_region_comes_first_then_the_others_as_backups() {
        let servers = [server("a", "eu", 0), server("b", "us", 8000), server("c", "eu", 0)];
        for seed in 0..50 {
            let chosen = choose(&servers, &Wanted { region: "us", bitrate_kbps: 500 }, seed).servers;
            assert_eq!(chosen.len(), 3);
            assert_eq!(chosen[0].index, 1, "the near one although it is fuller");
            let distinct: HashSet<_> = chosen.iter().map(|choice| choice.index).collect();
            assert_eq!(distinct.len(), 3);
        }
    }

    #[test]
    fn what_is_dead_or_full_is_never_chosen_and_is_named() {
        let servers = [Candidate { is_usable: false, ..server("dead", "eu", 0) }, server("full", "eu", 8_600), server("free", "eu", 100)];
        let choices = choose(&servers, &Wanted { region: "eu", bitrate_kbps: 500 }, 7);
        assert_eq!(choices.servers.iter().map(|choice| choice.index).collect::<Vec<_>>(), [2]);
        assert_eq!(choices.refused.len(), 2);
        assert!(choices.refused[1].contains("9100 of 9000"), "{:?}", choices.refused);
        assert!(choose(&[], &Wanted { region: "", bitrate_kbps: 1 }, 0).servers.is_empty());
    }

    #[test]
    fn a_server_without_a_stated_limit_takes_anything() {
        let servers = [Candidate { capacity_kbps: 0, committed_kbps: u64::MAX, ..server("youtube", "", 0) }];
        assert_eq!(choose(&servers, &Wanted { region: "eu", bitrate_kbps: u64::MAX }, 1).servers.len(), 1);
    }

    #[test]
    fn equal_seeds_choose_equally() {
        let servers = [server("a", "", 0), server("b", "", 0), server("c", "", 0), server("d", "", 0)];
        let wanted = Wanted { region: "", bitrate_kbps: 1 };
        assert_eq!(choose(&servers, &wanted, 42), choose(&servers, &wanted, 42));
    }

    #[test]
    fn a_thousand_streams_spread_evenly() {
        let mut committed = [0_u64; 8];
        // Miri is through with fewer in seconds; they are no less even.
        for seed in 0..if cfg!(miri) { 60 } else { 1000 } {
            let servers: Vec<_> =
                committed.iter().map(|&kbps| Candidate { capacity_kbps: 10_000_000, ..server("s", "eu", kbps) }).collect();
            let chosen = choose(&servers, &Wanted { region: "eu", bitrate_kbps: 2000 }, seed).servers;
            committed[chosen[0].index] += 2000;
        }
        let (least, most) = (committed.iter().min().unwrap(), committed.iter().max().unwrap());
        assert!(most - least <= 6 * 2000, "{committed:?}");
    }
}
