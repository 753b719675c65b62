//! How many connections a door takes, why it refuses others, and what it has counted.

/// The places of a door.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Connections at a time, those that wait among them: each has a descriptor.
    pub connections: usize,
    /// Strangers from one address (IPv6: from one /64). A connection that has proved an identity is no stranger.
    pub connections_per_address: usize,
    /// Connections that have proved the same identity.
    pub connections_per_identity: usize,
    /// Connections that are pending: they have not yet shown what they are.
    pub pending: usize,
    /// The same from one address: a small part of `pending`, so that no address takes the others' places.
    pub pending_per_address: usize,
    /// Connections that wait to be pending.
    pub waiting: usize,
    /// The same from one address.
    pub waiting_per_address: usize,
}

/// Pending connections of a door, at most: each may hold a TLS handshake of tens of kilobytes.
const PENDING_MOST: usize = 1024;
/// Pending connections of a door, at least, as far as it has places.
const PENDING_LEAST: usize = 16;
/// Pending connections of one address, at most: handshakes of 64 cameras behind one router take half a second.
const PENDING_PER_ADDRESS_MOST: usize = 64;
/// The same, at least, as long as it is a quarter of all: what a browser opens.
const PENDING_PER_ADDRESS_LEAST: usize = 8;
/// Waiting connections of one address, at most: the cameras of a building that come back at once.
const WAITING_PER_ADDRESS_MOST: usize = 512;
/// Connections of one identity: a device that changes its network leaves a few behind that are not known to be dead yet.
const PER_IDENTITY: usize = 16;

impl Limits {
    /// A door that counts and refuses nobody.
    pub const NONE: Self = Self {
        connections: usize::MAX,
        connections_per_address: usize::MAX,
        connections_per_identity: usize::MAX,
        pending: usize::MAX,
        pending_per_address: usize::MAX,
        waiting: 0,
        waiting_per_address: 0,
    };

    /// The usual proportions for so many connections. One address has two fifths, for all that come from one router or proxy; a quarter
    /// may be pending, of these an eighth from one address.
    #[must_use]
    pub fn of(connections: usize) -> Self {
        let connections_per_address = (connections * 2 / 5).max(1);
        let pending = (connections / 4).clamp(PENDING_LEAST, PENDING_MOST).min(connections);
        Self {
            connections,
            connections_per_address,
            connections_per_identity: PER_IDENTITY,
            pending,
            pending_per_address: (pending / 8).max(PENDING_PER_ADDRESS_LEAST.min(pending / 4)).clamp(1, PENDING_PER_ADDRESS_MOST),
            waiting: connections / 4,
            waiting_per_address: (connections_per_address / 2).min(WAITING_PER_ADDRESS_MOST),
        }
    }
}

/// Why a connection has no place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// All places are taken.
    Total,
    /// Those of strangers from its address are taken.
    Address,
    /// Those of its identity are taken.
    Identity,
    /// Too many are pending, in all or from its address, and too many wait; or it waited too long; or it had to go for another.
    Pending,
}

impl Refused {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Total, Self::Address, Self::Identity, Self::Pending];

    /// As metrics name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Address => "address",
            Self::Identity => "identity",
            Self::Pending => "pending",
        }
    }
}

/// How many connections there are, and were since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Now, those that wait among them.
    pub open: u64,
    /// Of these, how many are pending.
    pub pending: u64,
    /// Of these, how many wait to be pending.
    pub waiting: u64,
    /// Of these, how many have proved an identity.
    pub identified: u64,
    /// Let in since the start.
    pub accepted: u64,
    /// Refused because all places were taken.
    pub refused_total: u64,
    /// Refused because those of its address were taken.
    pub refused_address: u64,
    /// Refused because those of its identity were taken.
    pub refused_identity: u64,
    /// Refused because too many were pending.
    pub refused_pending: u64,
    /// Pending for long, and ended so that another could come in.
    pub shed: u64,
    /// Times that the system gave no connection: it was out of descriptors or memory.
    pub accept_errors: u64,
}

impl Counts {
    /// How many were refused for this reason.
    #[must_use]
    pub fn refused(&self, reason: Refused) -> u64 {
        match reason {
            Refused::Total => self.refused_total,
            Refused::Address => self.refused_address,
            Refused::Identity => self.refused_identity,
            Refused::Pending => self.refused_pending,
        }
    }
}
