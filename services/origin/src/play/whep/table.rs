//! Who watches: which session a datagram is for.

use super::port::{Port, Way};
use super::viewer::Viewer;
use crate::clock::Clock;
use bytes::Bytes;
use sightline_webrtc::{IceText, addressee, check, is_stun};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;

/// All viewers.
pub(super) struct Table {
    clock: Clock,
    inner: Mutex<Inner>,
}

/// A peer whose datagrams are handled elsewhere: a publisher.
pub(crate) struct Guest {
    /// How its checks are known.
    pub(crate) ours: IceText,
    pub(crate) theirs: IceText,
    /// Where its datagrams go.
    pub(crate) to: mpsc::Sender<Datagram>,
}

/// What came for a guest.
pub(crate) struct Datagram {
    pub(crate) way: Way,
    pub(crate) from: SocketAddr,
    pub(crate) bytes: Bytes,
}

/// Whose datagrams they are.
#[derive(Clone)]
enum Owner {
    Viewer(Arc<Viewer>),
    Guest(Arc<Guest>),
}

#[derive(Default)]
struct Inner {
    by_id: HashMap<String, Arc<Viewer>>,
    by_ufrag: HashMap<String, Owner>,
    by_way: HashMap<Way, Owner>,
}

impl Table {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, inner: Mutex::default() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, viewer: &Arc<Viewer>) {
        let mut inner = self.inner();
        inner.by_id.insert(viewer.id.clone(), viewer.clone());
        inner.by_ufrag.insert(viewer.ufrag.clone(), Owner::Viewer(viewer.clone()));
    }

    /// A publisher is to come.
    pub(super) fn expect(&self, guest: Guest) {
        self.inner().by_ufrag.insert(guest.ours.ufrag.clone(), Owner::Guest(Arc::new(guest)));
    }

    /// It has gone.
    pub(super) fn forget_guest(&self, ufrag: &str) {
        let mut inner = self.inner();
        inner.by_ufrag.remove(ufrag);
        inner.by_way.retain(|_, of| !matches!(of, Owner::Guest(guest) if guest.ours.ufrag == ufrag));
    }

    pub(super) fn remove(&self, viewer: &Arc<Viewer>) {
        let mut inner = self.inner();
        inner.by_id.remove(&viewer.id);
        inner.by_ufrag.remove(&viewer.ufrag);
        inner.by_way.retain(|_, of| !matches!(of, Owner::Viewer(other) if Arc::ptr_eq(other, viewer)));
    }

    pub(super) fn find(&self, playback: &str, id: &str) -> Option<Arc<Viewer>> {
        self.inner().by_id.get(id).filter(|viewer| viewer.playback == playback).cloned()
    }

    /// From here on what comes this way is of this peer. One that has left meanwhile is not entered again.
    fn enter(&self, way: Way, ufrag: &str, owner: Owner) {
        let mut inner = self.inner();
        if inner.by_ufrag.contains_key(ufrag) {
            inner.by_way.insert(way, owner);
        }
    }

    fn handle_guest(&self, guest: &Arc<Guest>, way: Way, from: SocketAddr, bytes: &[u8]) -> bool {
        if is_stun(bytes) {
            if check(bytes, from, &guest.ours, &guest.theirs).is_none() {
                return false;
            }
            self.enter(way, &guest.ours.ufrag, Owner::Guest(guest.clone()));
        }
        // One that is too slow loses it, as on any network.
        let _ = guest.to.try_send(Datagram { way, from, bytes: Bytes::copy_from_slice(bytes) });
        true
    }

    /// A datagram came: it goes to its session, and what that answers goes back. True when it is some session's.
    pub(super) fn handle(&self, port: &Port, way: Way, from: SocketAddr, bytes: &[u8]) -> bool {
        let is_check = is_stun(bytes);
        let owner = {
            let inner = self.inner();
            let found = if is_check { addressee(bytes).and_then(|ufrag| inner.by_ufrag.get(ufrag)) } else { inner.by_way.get(&way) };
            found.cloned()
        };
        let viewer = match owner {
            Some(Owner::Viewer(viewer)) => viewer,
            Some(Owner::Guest(guest)) => return self.handle_guest(&guest, way, from, bytes),
            None => return false,
        };
        let (is_known, is_urgent, is_over, transmits) = {
            let mut session = viewer.session();
            session.handle_datagram(way, from, bytes, self.clock.now());
            let transmits: Vec<_> = std::iter::from_fn(|| session.poll_transmit()).collect();
            (session.has_way(way), session.is_urgent(), session.over().is_some(), transmits)
        };
        for transmit in transmits {
            port.send_one(transmit.way, &transmit.bytes);
        }
        if is_check && is_known {
            self.enter(way, &viewer.ufrag, Owner::Viewer(viewer.clone()));
        }
        if is_urgent || is_over {
            viewer.outlet.hurry(&viewer);
        }
        is_known
    }

    /// A connection has ended.
    pub(super) fn forget(&self, way: Way) {
        self.inner().by_way.remove(&way);
    }
}
