//! How many WHEP viewers there may be: in all, from one address, and of those how many that have not connected yet.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Of one address, in hundredths of all: all viewers behind one router or proxy come from one, as at the door.
const ADDRESS_SHARE: usize = 40;
/// Of one address that have an answer and have not connected: each is that for a few round trips, and costs keys and memory.
const PENDING_PER_ADDRESS: usize = 64;

/// Why there is no place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Full {
    /// `limits.whep_viewers`.
    All,
    Address,
    Pending,
}

/// The places.
pub(super) struct Places {
    viewers_max: usize,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    by_address: HashMap<IpAddr, Of>,
}

#[derive(Default)]
struct Of {
    all: usize,
    pending: usize,
}

fn lock(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Places {
    pub(super) fn new(viewers_max: usize) -> Self {
        Self { viewers_max, taken: Arc::default() }
    }

    /// A place for a viewer that is still to connect.
    pub(super) fn enter(&self, address: IpAddr) -> Result<Place, Full> {
        let address = neighbour(address);
        let mut taken = lock(&self.taken);
        if taken.all >= self.viewers_max {
            return Err(Full::All);
        }
        let of = taken.by_address.entry(address).or_default();
        let address_max = (self.viewers_max * ADDRESS_SHARE / 100).max(1);
        let full = if of.all >= address_max {
            Some(Full::Address)
        } else if of.pending >= PENDING_PER_ADDRESS {
            Some(Full::Pending)
        } else {
            None
        };
        if let Some(full) = full {
            return Err(full);
        }
        of.all += 1;
        of.pending += 1;
        taken.all += 1;
        Ok(Place { taken: self.taken.clone(), address, is_pending: AtomicBool::new(true) })
    }
}

/// One customer has a network of 64 bits of IPv6.
fn neighbour(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => std::net::Ipv6Addr::from(u128::from(v6) >> 64 << 64).into(),
    }
}

/// A viewer's place; dropping it gives it back.
pub(super) struct Place {
    taken: Arc<Mutex<Taken>>,
    address: IpAddr,
    is_pending: AtomicBool,
}

impl Place {
    /// The viewer has connected.
    pub(super) fn settle(&self) {
        if self.is_pending.swap(false, Ordering::Relaxed)
            && let Some(of) = lock(&self.taken).by_address.get_mut(&self.address)
        {
            of.pending -= 1;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.settle();
        let mut taken = lock(&self.taken);
        taken.all -= 1;
        if let Some(of) = taken.by_address.get_mut(&self.address) {
            of.all -= 1;
            if of.all == 0 {
                taken.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_share_and_gives_back_what_it_took() {
        let places = Places::new(10);
        let (one, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let taken: Vec<Place> = (0..4).map(|_| places.enter(one).ok().unwrap()).collect();
        assert_eq!(places.enter(one).err(), Some(Full::Address));
        let others: Vec<Place> = (0..4).map(|_| places.enter(other).ok().unwrap()).collect();
        let third: Vec<Place> = (0..2).map(|_| places.enter("2001:db8::1".parse().unwrap()).ok().unwrap()).collect();
        assert_eq!(places.enter("203.0.113.1".parse().unwrap()).err(), Some(Full::All));
        drop((taken, others, third));
        let taken = lock(&places.taken);
        assert!(taken.all == 0 && taken.by_address.is_empty());
    }

    #[test]
    fn those_that_have_not_connected_are_fewer() {
        let places = Places::new(100_000);
        let address = "192.0.2.1".parse().unwrap();
        let taken: Vec<Place> = (0..PENDING_PER_ADDRESS).map(|_| places.enter(address).ok().unwrap()).collect();
        assert_eq!(places.enter(address).err(), Some(Full::Pending));
        taken[0].settle();
        taken[0].settle();
        assert!(places.enter(address).is_ok());
    }
}
