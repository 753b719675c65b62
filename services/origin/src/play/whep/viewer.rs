//! A stream's WHEP viewers: each with its session, and what they share.

use super::places::Place;
use super::port::Way;
use crate::auth::viewing::Admitted;
use crate::live::stream::ViewerCount;
use sightline_webrtc::Session;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// One viewer.
pub(super) struct Viewer {
    /// The last part of its session's address: a secret.
    pub(super) id: String,
    /// Of its stream.
    pub(super) playback: String,
    /// Its name in checks.
    pub(super) ufrag: String,
    /// The player's name in checks.
    pub(super) player: String,
    /// By which a player says which of its ICE sessions it means.
    pub(super) etag: String,
    session: Mutex<Session<Way>>,
    pub(super) outlet: Arc<Outlet>,
    pub(super) place: Place,
    /// By what right it watches.
    pub(super) admitted: Admitted,
    pub(super) _count: ViewerCount,
}

impl Viewer {
    pub(super) fn new(parts: ViewerParts, session: Session<Way>) -> Self {
        let ViewerParts { id, playback, ufrag, player, etag, outlet, place, admitted, count } = parts;
        Self { id, playback, ufrag, player, etag, session: Mutex::new(session), outlet, place, admitted, _count: count }
    }

    /// Held for a few lines, or while a picture's packets are encrypted.
    pub(super) fn session(&self) -> MutexGuard<'_, Session<Way>> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a viewer is made of beside its session.
pub(super) struct ViewerParts {
    pub(super) id: String,
    pub(super) playback: String,
    pub(super) ufrag: String,
    pub(super) player: String,
    pub(super) etag: String,
    pub(super) outlet: Arc<Outlet>,
    pub(super) place: Place,
    pub(super) admitted: Admitted,
    pub(super) count: ViewerCount,
}

/// A stream's WHEP viewers.
#[derive(Default)]
pub(super) struct Outlet {
    viewers: Mutex<Vec<Arc<Viewer>>>,
    /// Those who lost something, or have just connected: they don't wait for the next picture.
    urgent: Mutex<Vec<Arc<Viewer>>>,
    wake: Notify,
    /// Someone listens: its AAC is made into Opus.
    wants_sound: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Outlet {
    /// All of them.
    pub(super) fn viewers(&self) -> Vec<Arc<Viewer>> {
        lock(&self.urgent).clear();
        lock(&self.viewers).clone()
    }

    /// Those that don't wait for the next picture; each once.
    pub(super) fn take_urgent(&self) -> Vec<Arc<Viewer>> {
        std::mem::take(&mut *lock(&self.urgent))
    }

    /// Until one is to be looked at soon.
    pub(super) async fn hurried(&self) {
        self.wake.notified().await;
    }

    /// One has gone.
    pub(super) fn remove(&self, viewer: &Arc<Viewer>) {
        lock(&self.viewers).retain(|other| !Arc::ptr_eq(other, viewer));
    }

    /// Whether someone listens.
    pub(super) fn wants_sound(&self) -> bool {
        self.wants_sound.load(Ordering::Relaxed)
    }

    /// A viewer has a place for sound.
    pub(super) fn want_sound(&self) {
        self.wants_sound.store(true, Ordering::Relaxed);
    }

    /// A viewer is to be looked at soon.
    pub(super) fn hurry(&self, viewer: &Arc<Viewer>) {
        let mut urgent = lock(&self.urgent);
        if !urgent.iter().any(|other| Arc::ptr_eq(other, viewer)) {
            urgent.push(viewer.clone());
        }
        drop(urgent);
        self.wake.notify_one();
    }
}

/// A stream's outlet, while it has viewers.
#[derive(Default)]
pub(super) struct Slot(Mutex<Option<Arc<Outlet>>>);

impl Slot {
    /// Lets a viewer in that `make` makes of the outlet. True when the outlet is new: its task is to be spawned.
    pub(super) fn join(&self, make: impl FnOnce(Arc<Outlet>) -> Arc<Viewer>) -> (Arc<Viewer>, bool) {
        let mut slot = lock(&self.0);
        let is_new = slot.is_none();
        let outlet = slot.get_or_insert_default().clone();
        let viewer = make(outlet.clone());
        lock(&outlet.viewers).push(viewer.clone());
        (viewer, is_new)
    }

    /// True when the last viewer has gone: the outlet is over.
    pub(super) fn is_over(&self, outlet: &Outlet) -> bool {
        let mut slot = lock(&self.0);
        let is_over = lock(&outlet.viewers).is_empty();
        if is_over {
            *slot = None;
        }
        is_over
    }
}
