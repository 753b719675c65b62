//! Who watches: which session a datagram is for.

use super::port::{Port, Way};
use super::viewer::Viewer;
use crate::clock::Clock;
use sightline_webrtc::{addressee, is_stun};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// All viewers.
pub(super) struct Table {
    clock: Clock,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    by_id: HashMap<String, Arc<Viewer>>,
    by_ufrag: HashMap<String, Arc<Viewer>>,
    by_way: HashMap<Way, Arc<Viewer>>,
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
        inner.by_ufrag.insert(viewer.ufrag.clone(), viewer.clone());
    }

    pub(super) fn remove(&self, viewer: &Arc<Viewer>) {
        let mut inner = self.inner();
        inner.by_id.remove(&viewer.id);
        inner.by_ufrag.remove(&viewer.ufrag);
        inner.by_way.retain(|_, of| !Arc::ptr_eq(of, viewer));
    }

    pub(super) fn find(&self, playback: &str, id: &str) -> Option<Arc<Viewer>> {
        self.inner().by_id.get(id).filter(|viewer| viewer.playback == playback).cloned()
    }

    /// A datagram came: it goes to its session, and what that answers goes back. True when it is some session's.
    pub(super) fn handle(&self, port: &Port, way: Way, from: SocketAddr, bytes: &[u8]) -> bool {
        let is_check = is_stun(bytes);
        let viewer = {
            let inner = self.inner();
            let found = if is_check { addressee(bytes).and_then(|ufrag| inner.by_ufrag.get(ufrag)) } else { inner.by_way.get(&way) };
            found.cloned()
        };
        let Some(viewer) = viewer else { return false };
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
            let mut inner = self.inner();
            // One that has left meanwhile is not entered again.
            if inner.by_ufrag.contains_key(&viewer.ufrag) {
                inner.by_way.insert(way, viewer.clone());
            }
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
