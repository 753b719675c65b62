//! The connections that have shown a certificate: whose each is, until when it may stay, and how to end it.

use super::packet::End;
use crate::identity::authority::Subject;
use sightline_signal::DeviceId;
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Connections of one device: the one that is there, one that takes over, and a few that are still on their way.
const DEVICE_CONNECTIONS_MAX: usize = 6;
/// Of these, those that have not sent CONNECT.
const DEVICE_PENDING_MAX: usize = 4;
/// Connections of one operator: a handful of dashboards and scripts.
const OPERATOR_CONNECTIONS_MAX: usize = 64;
/// Of these, those that have not sent CONNECT: scripts start many at once.
const OPERATOR_PENDING_MAX: usize = 32;

/// Whose a connection is. Whatever is counted is counted for this, so that neither a takeover nor a new connection forgets it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) enum Owner {
    Device(DeviceId),
    /// By the name of its certificate.
    Operator(String),
}

impl Owner {
    pub(super) fn of(subject: &Subject) -> Self {
        match subject {
            Subject::Device { id, .. } => Self::Device(id.clone()),
            Subject::Operator { name, .. } => Self::Operator(name.clone()),
        }
    }
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Device(id) => write!(f, "{id}"),
            Self::Operator(name) => write!(f, "operator {name}"),
        }
    }
}

/// How others reach a connection's task.
#[derive(Debug, Default)]
pub(super) struct Handle {
    /// There is something to send.
    pub(super) wake: Notify,
    pub(super) ended: CancellationToken,
    why: OnceLock<End>,
}

impl Handle {
    /// Ends the connection; the first reason counts.
    pub(super) fn end(&self, why: End) {
        let _ = self.why.set(why);
        self.ended.cancel();
    }

    /// Why it was ended.
    pub(super) fn why(&self) -> End {
        self.why.get().copied().unwrap_or(End::Gone)
    }
}

/// One connection.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    pub(super) number: u64,
    pub(super) subject: Subject,
    /// When its certificate ends, in seconds since 1970.
    pub(super) valid_until: i64,
    pub(super) address: SocketAddr,
    pub(super) handle: Arc<Handle>,
    /// It has sent CONNECT and was let in.
    is_in: bool,
}

/// All connections, listed from the end of TLS on: whoever ends those of an identity misses none.
#[derive(Debug, Default)]
pub(super) struct Connections {
    next: AtomicU64,
    by_owner: Mutex<HashMap<Owner, Vec<Listed>>>,
}

impl Connections {
    fn lock(&self) -> MutexGuard<'_, HashMap<Owner, Vec<Listed>>> {
        self.by_owner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lists a connection that has ended TLS; `None` if its identity has too many. Dropping the entry removes it.
    pub(super) fn enter(self: &Arc<Self>, subject: Subject, valid_until: i64, address: SocketAddr) -> Option<Entry> {
        let (connections_max, pending_max) = match subject {
            Subject::Device { .. } => (DEVICE_CONNECTIONS_MAX, DEVICE_PENDING_MAX),
            Subject::Operator { .. } => (OPERATOR_CONNECTIONS_MAX, OPERATOR_PENDING_MAX),
        };
        let owner = Owner::of(&subject);
        let number = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        let listed = Listed { number, subject, valid_until, address, handle: Arc::default(), is_in: false };
        let mut by_owner = self.lock();
        let own = by_owner.entry(owner.clone()).or_default();
        let pending = own.iter().filter(|listed| !listed.is_in).count();
        if own.len() >= connections_max || pending >= pending_max {
            return None;
        }
        own.push(listed.clone());
        Some(Entry { owner, listed, connections: Arc::clone(self) })
    }

    /// Whether a connection of a device is here that has shown a newer certificate than this.
    pub(super) fn has_newer(&self, device: &DeviceId, issued_at_ms: i64) -> bool {
        let is_newer = |listed: &Listed| matches!(listed.subject, Subject::Device { issued_at_ms: other, .. } if other > issued_at_ms);
        let by_owner = self.lock();
        let own = by_owner.get(&Owner::Device(device.clone())).map(Vec::as_slice).unwrap_or_default();
        own.iter().any(|listed| listed.is_in && is_newer(listed))
    }

    /// Ends all connections of a device; whether there was one that had been let in.
    pub(super) fn hang_up(&self, device: &DeviceId) -> bool {
        let by_owner = self.lock();
        let own = by_owner.get(&Owner::Device(device.clone())).map(Vec::as_slice).unwrap_or_default();
        own.iter().for_each(|listed| listed.handle.end(End::Revoked));
        own.iter().any(|listed| listed.is_in)
    }

    /// All of them, as they are now.
    pub(super) fn all(&self) -> Vec<Listed> {
        self.lock().values().flatten().cloned().collect()
    }
}

/// A connection's place in the list.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) owner: Owner,
    pub(super) listed: Listed,
    connections: Arc<Connections>,
}

impl Entry {
    /// It was let in, or it has ended but for its farewell.
    pub(super) fn set_in(&self, is_in: bool) {
        let mut by_owner = self.connections.lock();
        let own = by_owner.get_mut(&self.owner).into_iter().flatten();
        own.filter(|listed| listed.number == self.listed.number).for_each(|listed| listed.is_in = is_in);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut by_owner = self.connections.lock();
        if let Some(own) = by_owner.get_mut(&self.owner) {
            own.retain(|listed| listed.number != self.listed.number);
            if own.is_empty() {
                by_owner.remove(&self.owner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_certificate_has_a_handful_of_connections_and_another_s_are_not_counted() {
        let connections = Arc::<Connections>::default();
        let subject = |id: &str| Subject::Device { id: DeviceId::new(id).unwrap(), issued_at_ms: 0 };
        let address = "192.0.2.1:1".parse().unwrap();
        let entered: Vec<_> = (0..3000).filter_map(|_| connections.enter(subject("cam"), 0, address)).collect();
        assert_eq!(entered.len(), DEVICE_PENDING_MAX);
        assert!(connections.enter(subject("other"), 0, address).is_some());
        let cam = DeviceId::new("cam").unwrap();
        assert!(!connections.hang_up(&cam), "none was let in, all are ended");
        assert!(entered.iter().all(|entry| entry.listed.handle.ended.is_cancelled()));
        entered[0].set_in(true);
        assert!(connections.hang_up(&cam));
        assert_eq!(entered[0].listed.handle.why(), End::Revoked);
        drop(entered);
        assert!(connections.all().is_empty());
    }
}
