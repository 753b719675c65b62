//! All streams of the origin.

use crate::auth::fence::Fences;
use crate::auth::grant::{Grant, Refusal};
use crate::clock::Clock;
use crate::live::ring::Limits;
use crate::live::stream::{Publisher, Stream};
use crate::live::tap::Tap;
use sightline_signal::Text;
use sightline_signal::report::{OriginStream, RevokedStream};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// All streams, and the fences before them.
pub(crate) struct Hub {
    clock: Clock,
    limits: Limits,
    /// How long a stream stays for its viewers after its publisher has gone.
    grace: Duration,
    inner: Mutex<Inner>,
    next_publisher: AtomicU64,
    /// A stream began or ended: the cloud is notified at once.
    pub(crate) changed: Notify,
}

#[derive(Default)]
struct Inner {
    /// By playback id.
    streams: HashMap<String, Arc<Stream>>,
    fences: Fences,
}

/// A publisher's hold on its stream; dropping it ends the publish.
pub(crate) struct Hold {
    pub(crate) stream: Arc<Stream>,
    pub(crate) id: u64,
    /// Cancelled when another publisher takes over or the right is revoked.
    pub(crate) stop: CancellationToken,
    hub: Arc<Hub>,
}

impl Hold {
    /// Adds an output of this publisher alone: it ends with it.
    pub(crate) fn attach(&self, tap: Box<dyn Tap>) {
        self.stream.attach_to_publisher(self.id, tap);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.stream.leave(self.id, self.hub.clock.now());
        self.hub.changed.notify_one();
    }
}

impl Hub {
    pub(crate) fn new(clock: Clock, limits: Limits, grace: Duration) -> Self {
        Self { clock, limits, grace, inner: Mutex::default(), next_publisher: AtomicU64::new(1), changed: Notify::new() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a publisher its stream, or says why not. The one before it is told to end.
    pub(crate) fn begin(self: &Arc<Self>, grant: &Grant) -> Result<Hold, Refusal> {
        let id = self.next_publisher.fetch_add(1, Ordering::Relaxed);
        let stop = CancellationToken::new();
        let unix_secs = self.clock.wall().unix_secs();
        let mut inner = self.inner();
        inner.fences.pass(grant, unix_secs)?;
        let playback = playback_of(&grant.stream);
        let make = || Arc::new(Stream::new(&grant.stream, &playback, self.limits));
        let stream = inner.streams.entry(playback.clone()).or_insert_with(make).clone();
        let epoch = grant.epoch.unwrap_or(0);
        stream.take_over(&grant.device, Publisher::new(id, epoch, unix_secs, stop.clone()));
        drop(inner);
        self.changed.notify_one();
        Ok(Hold { stream, id, stop, hub: self.clone() })
    }

    /// The stream of a playback id.
    pub(crate) fn find(&self, playback: &str) -> Option<Arc<Stream>> {
        self.inner().streams.get(playback).cloned()
    }

    pub(crate) fn describe(&self) -> Vec<OriginStream> {
        let streams: Vec<Arc<Stream>> = self.inner().streams.values().cloned().collect();
        streams.iter().filter_map(|stream| stream.describe()).collect()
    }

    /// Revokes rights: publishers with a lower epoch end, and none begins. The answer to a report that asked for those after `asked_after`;
    /// `up_to` is the cloud's count of them.
    pub(crate) fn revoke(&self, revoked: &[RevokedStream], asked_after: u64, up_to: Option<u64>) {
        let found: Vec<(Arc<Stream>, u64)> = {
            let mut inner = self.inner();
            for RevokedStream { stream, epoch_min } in revoked {
                inner.fences.revoke(stream, *epoch_min);
            }
            // Fences that were forgotten while the answer was under way have set the count back: then it stays there.
            if inner.fences.revoked_up_to() == asked_after {
                inner.fences.set_revoked_up_to(up_to.unwrap_or(0));
            }
            let live = |revoked: &RevokedStream| Some((inner.streams.get(&playback_of(&revoked.stream))?.clone(), revoked.epoch_min));
            revoked.iter().filter_map(live).collect()
        };
        for (stream, epoch_min) in found {
            stream.revoke(epoch_min);
        }
    }

    /// The cloud's count of revocations of which all are here.
    pub(crate) fn revoked_up_to(&self) -> u64 {
        self.inner().fences.revoked_up_to()
    }

    /// Ends the streams whose publisher has not come back in time.
    pub(crate) fn end_abandoned(&self) {
        let now = self.clock.now();
        self.end_where(|stream| stream.abandoned_for(now).is_some_and(|waited| waited >= self.grace));
    }

    /// Ends every stream, when the origin does.
    pub(crate) fn end_all(&self) {
        self.end_where(|_| true);
    }

    fn end_where(&self, is_over: impl Fn(&Stream) -> bool) {
        self.inner().streams.retain(|_, stream| {
            let is_over = is_over(stream);
            if is_over {
                stream.ended.cancel();
            }
            !is_over
        });
    }
}

/// The playback id as a map's key.
fn playback_of(stream: &str) -> String {
    let id: Text<{ sightline_signal::PLAYBACK_ID_BYTES }> = sightline_signal::playback_id(stream);
    id.as_str().to_owned()
}
