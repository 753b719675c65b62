//! Two clients with one device's certificate that throw each other out: a copied key, or a device set up twice.
//!
//! A connection that takes over another's session is nothing unusual: a camera that comes back before its old connection was missed
//! does so, from a new address too. In a duel the one that was thrown out comes back.

use sightline_signal::DeviceId;
use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Takeovers are counted over this time.
const WINDOW: Duration = Duration::from_secs(60);
/// So many takeovers to an address that was thrown out before are a duel: a camera that moves back and forth does it once or twice.
const RETURNS_MAX: usize = 2;
/// The same behind one address, where it can't be told who comes back: a camera in trouble waits longer and longer, and does it less often.
const TAKEOVERS_MAX: usize = 8;
/// How many takeovers of one device are remembered: enough for both.
const REMEMBERED_MAX: usize = 16;

/// Who threw out whom.
#[derive(Clone, Copy, Debug)]
struct Takeover {
    at: Instant,
    from: IpAddr,
    to: IpAddr,
}

/// A duel that was noticed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Duel {
    /// Where the two are.
    pub(super) addresses: [IpAddr; 2],
    /// Takeovers in the window.
    pub(super) takeovers: usize,
}

#[derive(Debug, Default)]
struct History {
    takeovers: VecDeque<Takeover>,
    reported_at: Option<Instant>,
}

/// The takeovers of all devices lately.
#[derive(Debug, Default)]
pub(super) struct Duels {
    histories: Mutex<HashMap<DeviceId, History>>,
}

impl Duels {
    /// A connection from `to` has taken over one from `from`; gives a duel, once in a window.
    pub(super) fn takeover(&self, device: &DeviceId, from: IpAddr, to: IpAddr, now: Instant) -> Option<Duel> {
        let (from, to) = (from.to_canonical(), to.to_canonical());
        let mut histories = self.histories.lock().unwrap_or_else(PoisonError::into_inner);
        let history = histories.entry(device.clone()).or_default();
        history.forget(now);
        if history.takeovers.len() >= REMEMBERED_MAX {
            history.takeovers.pop_front();
        }
        history.takeovers.push_back(Takeover { at: now, from, to });
        if !history.is_duel() || history.reported_at.is_some() {
            return None;
        }
        history.reported_at = Some(now);
        Some(Duel { addresses: [from, to], takeovers: history.takeovers.len() })
    }

    /// A device has connected where no connection of it was left. Where it was thrown out a moment ago, the one who did that has left again:
    /// its return counts as if it had thrown that one out.
    pub(super) fn connected(&self, device: &DeviceId, from: IpAddr, now: Instant) -> Option<Duel> {
        let from = from.to_canonical();
        let rival = {
            let mut histories = self.histories.lock().unwrap_or_else(PoisonError::into_inner);
            let history = histories.get_mut(device)?;
            history.forget(now);
            let last = history.takeovers.back()?;
            (last.from == from && last.to != from).then_some(last.to)?
        };
        self.takeover(device, rival, from, now)
    }

    /// Drops what is too old to count.
    pub(super) fn sweep(&self, now: Instant) {
        let mut histories = self.histories.lock().unwrap_or_else(PoisonError::into_inner);
        histories.retain(|_, history| {
            history.forget(now);
            !history.takeovers.is_empty()
        });
    }
}

impl History {
    fn forget(&mut self, now: Instant) {
        let is_old = |at: Instant| now.saturating_duration_since(at) >= WINDOW;
        self.takeovers.retain(|takeover| !is_old(takeover.at));
        self.reported_at = self.reported_at.filter(|at| !is_old(*at));
    }

    fn is_duel(&self) -> bool {
        let mut thrown_out = Vec::new();
        let mut returns = 0;
        for takeover in &self.takeovers {
            if takeover.from != takeover.to {
                returns += usize::from(thrown_out.contains(&takeover.to));
                thrown_out.push(takeover.from);
            }
        }
        returns >= RETURNS_MAX || self.takeovers.len() >= TAKEOVERS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn two_addresses_that_take_turns_are_a_duel_that_is_reported_once_a_window() {
        let (duels, cam, start) = (Duels::default(), DeviceId::new("cam").unwrap(), Instant::now());
        let (a, b) = (ip("192.0.2.1"), ip("198.51.100.2"));
        let mut reported = Vec::new();
        for second in 0..20 {
            let (from, to) = if second % 2 == 0 { (a, b) } else { (b, a) };
            reported.extend(duels.takeover(&cam, from, to, start + Duration::from_secs(second)).map(|duel| (second, duel)));
        }
        assert_eq!(reported.len(), 1, "{reported:?}");
        let (second, duel) = &reported[0];
        assert!(*second <= 3 && duel.addresses.contains(&a) && duel.addresses.contains(&b));
        duels.sweep(start + Duration::from_secs(200));
        assert!(duels.histories.lock().unwrap().is_empty());
    }

    /// A thief that throws the camera out and leaves at once, again and again.
    #[test]
    fn one_that_comes_and_goes_is_a_duel_by_the_camera_s_returns() {
        let (duels, cam, start) = (Duels::default(), DeviceId::new("cam").unwrap(), Instant::now());
        let (camera, thief) = (ip("192.0.2.1"), ip("198.51.100.2"));
        assert_eq!(duels.connected(&cam, camera, start), None, "nobody has thrown it out");
        let mut reported = Vec::new();
        for round in 0..4 {
            let at = start + Duration::from_secs(2 * round);
            reported.extend(duels.takeover(&cam, camera, thief, at).map(|duel| (round, duel)));
            reported.extend(duels.connected(&cam, camera, at + Duration::from_secs(1)).map(|duel| (round, duel)));
        }
        assert_eq!(reported.len(), 1, "{reported:?}");
        assert!(reported[0].0 <= 1 && reported[0].1.addresses.contains(&thief));
        // One that has moved for good, and one that comes back by itself.
        let (moved, steady) = (DeviceId::new("moved").unwrap(), DeviceId::new("steady").unwrap());
        assert_eq!(duels.takeover(&moved, camera, thief, start), None);
        (0..5).for_each(|second| assert_eq!(duels.connected(&moved, thief, start + Duration::from_secs(second)), None));
        (0..5).for_each(|second| assert_eq!(duels.connected(&steady, camera, start + Duration::from_secs(second)), None));
    }

    #[test]
    fn a_camera_that_moves_is_no_duel() {
        let (duels, start) = (Duels::default(), Instant::now());
        let (a, b, c) = (ip("192.0.2.1"), ip("198.51.100.2"), ip("203.0.113.3"));
        let cam = |name: &str| DeviceId::new(name).unwrap();
        // Once, there and back, on and on to new ones.
        assert_eq!(duels.takeover(&cam("once"), a, b, start), None);
        for (from, to) in [(a, b), (b, a)] {
            assert_eq!(duels.takeover(&cam("back"), from, to, start), None);
        }
        for (from, to) in [(a, b), (b, c)] {
            assert_eq!(duels.takeover(&cam("on"), from, to, start), None);
        }
        // A few from one address, as behind a bad link.
        for second in 0..6 {
            assert_eq!(duels.takeover(&cam("bad-link"), a, a, start + Duration::from_secs(second * 5)), None);
        }
        // Slowly there and back, for hours.
        for minute in 0..100 {
            let (from, to) = if minute % 2 == 0 { (a, b) } else { (b, a) };
            assert_eq!(duels.takeover(&cam("slow"), from, to, start + Duration::from_secs(minute * 61)), None);
        }
    }

    #[test]
    fn two_clients_behind_one_address_are_a_duel_too() {
        let (duels, cam, start) = (Duels::default(), DeviceId::new("cam").unwrap(), Instant::now());
        let a = ip("192.0.2.1");
        let reported =
            (0..10).filter_map(|second| duels.takeover(&cam, a, ip("::ffff:192.0.2.1"), start + Duration::from_secs(second))).count();
        assert_eq!(reported, 1);
    }
}
