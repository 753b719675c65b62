//! How many connections may be there: in all, from one address, and of those how many that have not yet said what they want.
//! And the counts of what became of them, for `/metrics`, the log and tests.

use crate::config::Limits;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Who counts as one: an IPv4 address, or an IPv6 network of 64 bits, which is what one customer gets.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Neighbour(u128);

impl Neighbour {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self(u128::from(u32::from(v4))),
            IpAddr::V6(v6) => Self(u128::from(v6) >> 64 << 64 | 1 << 63),
        }
    }
}

/// Why a connection is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Full {
    Total,
    Address,
    Pending,
}

/// What connections came to. Each is counted once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    /// Closed before its first byte: a port scan, a health check.
    Silent,
    /// Too slow: in the TLS or RTMP handshake, with its commands, or as a publisher that trickled.
    Timeout,
    /// What it sent breaks the protocol, or a limit of it.
    Malformed,
    /// It did not read what it was sent.
    Unread,
}

/// How many connections there are and were since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ConnectionCounts {
    /// RTMP and RTMPS connections now.
    pub open: u64,
    /// Of these, how many neither publish nor play yet.
    pub pending: u64,
    /// Let in since the start.
    pub accepted: u64,
    /// Closed unread because of `limits.connections`.
    pub refused_total: u64,
    /// Closed unread because of `limits.connections_per_address`.
    pub refused_address: u64,
    /// Closed unread because of `limits.pending_per_address`.
    pub refused_pending: u64,
    /// Closed by the peer before its first byte.
    pub silent: u64,
    /// Ended by a deadline.
    pub timeouts: u64,
    /// Ended by what they sent.
    pub malformed: u64,
    /// Ended because they did not read.
    pub unread: u64,
    /// Times that the system gave no connection: it was out of descriptors or memory.
    pub accept_errors: u64,
}

/// The door: one for all listeners of an origin.
pub(crate) struct Admission {
    connections_max: usize,
    per_address_max: usize,
    pending_per_address_max: usize,
    tables: Mutex<Tables>,
    refused: [AtomicU64; 3],
    fates: [AtomicU64; 4],
    accepted: AtomicU64,
    accept_errors: AtomicU64,
}

/// One entry an address that has connections: there are at most as many as those.
#[derive(Default)]
struct Tables {
    open: usize,
    pending: usize,
    by_neighbour: HashMap<Neighbour, Counts>,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    open: usize,
    pending: usize,
}

impl Admission {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            connections_max: limits.connections,
            per_address_max: limits.connections_per_address,
            pending_per_address_max: limits.pending_per_address,
            tables: Mutex::default(),
            refused: Default::default(),
            fates: Default::default(),
            accepted: AtomicU64::new(0),
            accept_errors: AtomicU64::new(0),
        }
    }

    /// Lets a connection in, or counts why not.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> Result<Permit, Full> {
        let neighbour = Neighbour::of(address);
        let entered = {
            let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
            let counts = tables.by_neighbour.get(&neighbour).copied().unwrap_or_default();
            if tables.open >= self.connections_max {
                Err(Full::Total)
            } else if counts.open >= self.per_address_max {
                Err(Full::Address)
            } else if counts.pending >= self.pending_per_address_max {
                Err(Full::Pending)
            } else {
                tables.open += 1;
                tables.pending += 1;
                tables.by_neighbour.insert(neighbour, Counts { open: counts.open + 1, pending: counts.pending + 1 });
                Ok(())
            }
        };
        match entered {
            Ok(()) => {
                self.accepted.fetch_add(1, Ordering::Relaxed);
                Ok(Permit { admission: self.clone(), neighbour, is_pending: true })
            }
            Err(full) => {
                self.refused[full as usize].fetch_add(1, Ordering::Relaxed);
                Err(full)
            }
        }
    }

    pub(crate) fn count(&self, fate: Fate) {
        self.fates[fate as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_accept_error(&self) {
        self.accept_errors.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn counts(&self) -> ConnectionCounts {
        let (open, pending) = {
            let tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
            (tables.open as u64, tables.pending as u64)
        };
        let refused = |full: Full| self.refused[full as usize].load(Ordering::Relaxed);
        let fate = |fate: Fate| self.fates[fate as usize].load(Ordering::Relaxed);
        ConnectionCounts {
            open,
            pending,
            accepted: self.accepted.load(Ordering::Relaxed),
            refused_total: refused(Full::Total),
            refused_address: refused(Full::Address),
            refused_pending: refused(Full::Pending),
            silent: fate(Fate::Silent),
            timeouts: fate(Fate::Timeout),
            malformed: fate(Fate::Malformed),
            unread: fate(Fate::Unread),
            accept_errors: self.accept_errors.load(Ordering::Relaxed),
        }
    }
}

/// A connection's place; given back when it is dropped.
pub(crate) struct Permit {
    admission: Arc<Admission>,
    neighbour: Neighbour,
    is_pending: bool,
}

impl Permit {
    /// The connection publishes or plays (or does so no more): only those that do neither are pending.
    pub(crate) fn set_pending(&mut self, is_pending: bool) {
        if self.is_pending == is_pending {
            return;
        }
        self.is_pending = is_pending;
        let mut tables = self.admission.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let change = |count: &mut usize| if is_pending { *count += 1 } else { *count = count.saturating_sub(1) };
        change(&mut tables.pending);
        if let Some(counts) = tables.by_neighbour.get_mut(&self.neighbour) {
            change(&mut counts.pending);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.set_pending(false);
        let mut tables = self.admission.tables.lock().unwrap_or_else(PoisonError::into_inner);
        tables.open = tables.open.saturating_sub(1);
        if let Some(counts) = tables.by_neighbour.get_mut(&self.neighbour) {
            counts.open = counts.open.saturating_sub(1);
            if counts.open == 0 {
                tables.by_neighbour.remove(&self.neighbour);
                // After a flood the table goes back to what is in use.
                if tables.by_neighbour.len() < tables.by_neighbour.capacity() / 4 {
                    tables.by_neighbour.shrink_to_fit();
                }
            }
        }
    }
}

impl ConnectionCounts {
    /// In the text format of Prometheus.
    #[must_use]
    pub fn metrics(&self) -> String {
        use std::fmt::Write as _;
        let mut out = String::from("# TYPE sightline_origin_rtmp_connections gauge\n");
        for (state, count) in [("pending", self.pending), ("active", self.open.saturating_sub(self.pending))] {
            // Writing to a string can't fail.
            let _ = writeln!(out, "sightline_origin_rtmp_connections{{state=\"{state}\"}} {count}");
        }
        out.push_str("# TYPE sightline_origin_rtmp_connections_total counter\n");
        for (outcome, count) in [
            ("accepted", self.accepted),
            ("refused_total", self.refused_total),
            ("refused_address", self.refused_address),
            ("refused_pending", self.refused_pending),
            ("silent", self.silent),
            ("timeout", self.timeouts),
            ("malformed", self.malformed),
            ("unread", self.unread),
            ("accept_error", self.accept_errors),
        ] {
            let _ = writeln!(out, "sightline_origin_rtmp_connections_total{{outcome=\"{outcome}\"}} {count}");
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door(connections: usize, per_address: usize, pending: usize) -> Arc<Admission> {
        let limits = Limits {
            connections,
            connections_per_address: per_address,
            pending_per_address: pending,
            ..crate::config::Config::default().limits
        };
        Arc::new(Admission::new(&limits))
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_limit_is_met_and_places_come_back() {
        let door = door(3, 2, 1);
        let mut first = door.enter(address("10.0.0.1")).unwrap();
        assert_eq!(door.enter(address("10.0.0.1")).err(), Some(Full::Pending));
        first.set_pending(false);
        let mut second = door.enter(address("10.0.0.1")).unwrap();
        second.set_pending(false);
        assert_eq!(door.enter(address("10.0.0.1")).err(), Some(Full::Address));
        let third = door.enter(address("10.0.0.2")).unwrap();
        assert_eq!(door.enter(address("10.0.0.3")).err(), Some(Full::Total));
        let counts = door.counts();
        assert_eq!((counts.open, counts.pending, counts.accepted), (3, 1, 3));
        assert_eq!((counts.refused_total, counts.refused_address, counts.refused_pending), (1, 1, 1));
        drop((first, second, third));
        assert_eq!((door.counts().open, door.counts().pending), (0, 0));
        assert!(door.tables.lock().unwrap().by_neighbour.is_empty());
        assert!(door.enter(address("10.0.0.1")).is_ok());
    }

    #[test]
    fn a_publisher_that_ends_its_stream_is_pending_again() {
        let door = door(10, 10, 1);
        let mut permit = door.enter(address("10.0.0.1")).unwrap();
        permit.set_pending(false);
        permit.set_pending(false);
        permit.set_pending(true);
        assert_eq!((door.counts().open, door.counts().pending), (1, 1));
        assert_eq!(door.enter(address("10.0.0.1")).err(), Some(Full::Pending));
    }

    #[test]
    fn one_customer_is_one_neighbour() {
        assert_eq!(Neighbour::of(address("2001:db8::1")), Neighbour::of(address("2001:db8::ffff:2")));
        assert_ne!(Neighbour::of(address("2001:db8::1")), Neighbour::of(address("2001:db8:0:1::1")));
        assert_eq!(Neighbour::of(address("::ffff:10.0.0.1")), Neighbour::of(address("10.0.0.1")));
        assert_ne!(Neighbour::of(address("::1")), Neighbour::of(address("0.0.0.0")));
    }

    #[test]
    fn the_counts_are_what_prometheus_reads() {
        let text = ConnectionCounts { open: 5, pending: 2, refused_address: 7, ..ConnectionCounts::default() }.metrics();
        assert!(text.contains("sightline_origin_rtmp_connections{state=\"active\"} 3\n"), "{text}");
        assert!(text.contains("sightline_origin_rtmp_connections_total{outcome=\"refused_address\"} 7\n"), "{text}");
        assert!(text.lines().all(|line| line.starts_with('#') || line.split(' ').count() == 2));
    }
}
