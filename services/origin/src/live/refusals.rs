//! Publishers that were refused, by address and reason, for the next report to the cloud: its audit log has them.

use sightline_media::Instant;
use sightline_signal::report::OriginRefusal;
use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Addresses with their reasons that are told apart within [`WINDOW`]: each may be two rows of the audit log. The rest are counted by reason alone.
const TOLD_APART_MAX: usize = 64;
/// The audit log counts refusals over the same time.
const WINDOW: Duration = Duration::from_secs(60);

/// Counts since the last report that was taken.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    /// The address is empty for those that are not told apart.
    counts: BTreeMap<(String, &'static str), u64>,
    told_apart: HashSet<(String, &'static str)>,
    since: Option<Instant>,
}

impl Refusals {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn count(&self, address: IpAddr, reason: &'static str, now: Instant) {
        let mut table = self.table();
        if table.since.is_none_or(|since| now.since(since) >= WINDOW) {
            table.told_apart.clear();
            table.since = Some(now);
        }
        let mut key = (network_of(address).to_string(), reason);
        if !table.told_apart.contains(&key) {
            if table.told_apart.len() < TOLD_APART_MAX {
                table.told_apart.insert(key.clone());
            } else {
                key.0.clear();
            }
        }
        // While the cloud is away minutes go by, and each could add as many.
        if table.counts.len() >= TOLD_APART_MAX && !table.counts.contains_key(&key) {
            key.0.clear();
        }
        *table.counts.entry(key).or_default() += 1;
    }

    /// What the next report names.
    pub(crate) fn due(&self) -> Vec<OriginRefusal> {
        let of = |((address, reason), count): (&(String, &'static str), &u64)| OriginRefusal {
            address: address.clone(),
            reason: (*reason).to_owned(),
            count: *count,
        };
        self.table().counts.iter().map(of).collect()
    }

    /// The cloud has taken a report with these. What came meanwhile stays.
    pub(crate) fn reported(&self, refusals: &[OriginRefusal]) {
        let mut table = self.table();
        for refusal in refusals {
            let same = |(address, reason): &(String, &'static str)| *address == refusal.address && *reason == refusal.reason;
            for (_, count) in table.counts.iter_mut().filter(|(key, _)| same(key)) {
                *count = count.saturating_sub(refusal.count);
            }
        }
        table.counts.retain(|_, count| *count > 0);
    }
}

/// Of IPv6, one customer has a /64 network: its addresses are as many as anyone likes.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_refused_from_however_many_addresses_fills_a_bounded_list_and_none_is_lost() {
        let (refusals, start) = (Refusals::default(), Instant::from_micros(5));
        for number in 0..1000_u32 {
            refusals.count(IpAddr::V4(number.into()), "expired", start);
            refusals.count(IpAddr::V6(Ipv6Addr::from_bits(u128::from(number))), "expired", start);
        }
        let due = refusals.due();
        assert_eq!(due.len(), TOLD_APART_MAX + 1);
        assert_eq!(due.iter().map(|refusal| refusal.count).sum::<u64>(), 2000);
        let network = due.iter().find(|refusal| refusal.address == "::").unwrap();
        assert_eq!(network.count, 1000, "one network");
        refusals.count(IpAddr::V4(7.into()), "expired", start);
        refusals.reported(&due);
        let left = [OriginRefusal { address: "0.0.0.7".to_owned(), reason: "expired".to_owned(), count: 1 }];
        assert_eq!(refusals.due(), left);
        refusals.reported(&left);
        refusals.count(IpAddr::V4(5000.into()), "no_token", start + WINDOW);
        assert_eq!(refusals.due()[0].address, "0.0.19.136", "a minute later others are told apart");
    }
}
