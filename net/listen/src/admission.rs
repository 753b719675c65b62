//! How many connections may be there: in all, from one address, and of those how many that have not yet shown what they are.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The places of a door.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Connections at a time.
    pub connections: usize,
    /// The same from one address (IPv6: from one /64).
    pub connections_per_address: usize,
    /// Connections that are pending: they have not yet shown what they are.
    pub pending: usize,
    /// The same from one address.
    pub pending_per_address: usize,
}

impl Limits {
    /// A door that counts and refuses nobody.
    pub const NONE: Self =
        Self { connections: usize::MAX, connections_per_address: usize::MAX, pending: usize::MAX, pending_per_address: usize::MAX };
}

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

/// Why a connection has no place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// All places are taken.
    Total,
    /// Those of its address are taken.
    Address,
    /// Too many are pending, in all or from its address.
    Pending,
}

/// How many connections there are, and were since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Now.
    pub open: u64,
    /// Of these, how many are pending.
    pub pending: u64,
    /// Let in since the start.
    pub accepted: u64,
    /// Refused because all places were taken.
    pub refused_total: u64,
    /// Refused because those of its address were taken.
    pub refused_address: u64,
    /// Refused because too many were pending.
    pub refused_pending: u64,
    /// Times that the system gave no connection: it was out of descriptors or memory.
    pub accept_errors: u64,
}

/// The table behind a [`Door`](crate::Door); several listeners may share one.
#[derive(Debug)]
pub struct Admission {
    limits: Limits,
    tables: Mutex<Tables>,
    accepted: AtomicU64,
    refused_total: AtomicU64,
    refused_address: AtomicU64,
    refused_pending: AtomicU64,
    accept_errors: AtomicU64,
}

/// One entry for each address that has connections: there are at most as many as those.
#[derive(Debug, Default)]
struct Tables {
    open: usize,
    pending: usize,
    by_neighbour: HashMap<Neighbour, Places>,
}

/// What one address has.
#[derive(Clone, Copy, Debug, Default)]
struct Places {
    open: usize,
    pending: usize,
}

impl Admission {
    /// Nobody is in.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            tables: Mutex::default(),
            accepted: AtomicU64::new(0),
            refused_total: AtomicU64::new(0),
            refused_address: AtomicU64::new(0),
            refused_pending: AtomicU64::new(0),
            accept_errors: AtomicU64::new(0),
        }
    }

    /// Lets a connection in, or counts why not. It is pending at first.
    ///
    /// # Errors
    /// [`Refused`]
    pub fn enter(self: &Arc<Self>, address: IpAddr) -> Result<Permit, Refused> {
        let neighbour = Neighbour::of(address);
        let entered = self.tables.lock().unwrap_or_else(PoisonError::into_inner).enter(neighbour, &self.limits);
        let counter = match entered {
            Ok(()) => &self.accepted,
            Err(Refused::Total) => &self.refused_total,
            Err(Refused::Address) => &self.refused_address,
            Err(Refused::Pending) => &self.refused_pending,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        entered.map(|()| Permit { admission: self.clone(), neighbour, is_pending: true })
    }

    pub(crate) fn count_accept_error(&self) {
        self.accept_errors.fetch_add(1, Ordering::Relaxed);
    }

    /// The counts now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let (open, pending) = {
            let tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
            (tables.open as u64, tables.pending as u64)
        };
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            open,
            pending,
            accepted: read(&self.accepted),
            refused_total: read(&self.refused_total),
            refused_address: read(&self.refused_address),
            refused_pending: read(&self.refused_pending),
            accept_errors: read(&self.accept_errors),
        }
    }
}

impl Tables {
    fn enter(&mut self, neighbour: Neighbour, limits: &Limits) -> Result<(), Refused> {
        let places = self.by_neighbour.get(&neighbour).copied().unwrap_or_default();
        if self.open >= limits.connections {
            return Err(Refused::Total);
        }
        if places.open >= limits.connections_per_address {
            return Err(Refused::Address);
        }
        if self.pending >= limits.pending || places.pending >= limits.pending_per_address {
            return Err(Refused::Pending);
        }
        self.open += 1;
        self.pending += 1;
        self.by_neighbour.insert(neighbour, Places { open: places.open + 1, pending: places.pending + 1 });
        Ok(())
    }
}

/// A connection's place; dropping it gives the place back.
#[derive(Debug)]
pub struct Permit {
    admission: Arc<Admission>,
    neighbour: Neighbour,
    is_pending: bool,
}

impl Permit {
    /// Whether the connection has still to show what it is.
    pub fn set_pending(&mut self, is_pending: bool) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn door(connections: usize, per_address: usize, pending: usize) -> Arc<Admission> {
        let limits = Limits { connections, connections_per_address: per_address, pending: usize::MAX, pending_per_address: pending };
        Arc::new(Admission::new(limits))
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_limit_is_met_and_places_come_back() {
        let door = door(3, 2, 1);
        let mut first = door.enter(address("10.0.0.1")).unwrap();
        assert_eq!(door.enter(address("10.0.0.1")).err(), Some(Refused::Pending));
        first.set_pending(false);
        let mut second = door.enter(address("10.0.0.1")).unwrap();
        second.set_pending(false);
        assert_eq!(door.enter(address("10.0.0.1")).err(), Some(Refused::Address));
        let third = door.enter(address("10.0.0.2")).unwrap();
        assert_eq!(door.enter(address("10.0.0.3")).err(), Some(Refused::Total));
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
        assert_eq!(door.enter(address("10.0.0.1")).err(), Some(Refused::Pending));
    }

    #[test]
    fn those_that_are_pending_have_a_limit_together() {
        let door = Arc::new(Admission::new(Limits { pending: 1, ..Limits::NONE }));
        let mut first = door.enter(address("10.0.0.1")).unwrap();
        assert_eq!(door.enter(address("10.0.0.2")).err(), Some(Refused::Pending));
        first.set_pending(false);
        assert!(door.enter(address("10.0.0.2")).is_ok());
    }

    #[test]
    fn one_customer_is_one_neighbour() {
        assert_eq!(Neighbour::of(address("2001:db8::1")), Neighbour::of(address("2001:db8::ffff:2")));
        assert_ne!(Neighbour::of(address("2001:db8::1")), Neighbour::of(address("2001:db8:0:1::1")));
        assert_eq!(Neighbour::of(address("::ffff:10.0.0.1")), Neighbour::of(address("10.0.0.1")));
        assert_ne!(Neighbour::of(address("::1")), Neighbour::of(address("0.0.0.0")));
    }
}
