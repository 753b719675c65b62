//! All streams of the origin.

use crate::auth::duels::{Claimant, Duels, Holder, Verdict};
use crate::auth::fence::{Fences, Passage};
use crate::auth::grant::{Grant, Refusal};
use crate::callbacks::Told;
use crate::clock::Clock;
use crate::live::incidents::Incidents;
use crate::live::refusals::Refusals;
use crate::live::ring::Limits;
use crate::live::stream::{Publisher, Pull, Stream};
use crate::live::tap::Tap;
use crate::live::traffic::Traffic;
use crate::record::health::RecordingHealth;
use sightline_media::Instant;
use sightline_signal::PlaybackIds;
use sightline_signal::report::{OriginDuel, OriginIncident, OriginStream, RevokedStream};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

/// All streams, and the fences before them.
pub(crate) struct Hub {
    clock: Clock,
    limits: Limits,
    /// How long a stream stays for its viewers after its publisher has gone.
    grace: Duration,
    playback_ids: PlaybackIds,
    pub(crate) incidents: Arc<Incidents>,
    pub(crate) refusals: Refusals,
    pub(crate) traffic: Arc<Traffic>,
    inner: Mutex<Inner>,
    next_publisher: AtomicU64,
    /// A stream began or ended: the cloud is notified at once.
    pub(crate) changed: Notify,
    /// Counts publishers that began: whoever waits for a stream looks again.
    began: watch::Sender<u64>,
}

#[derive(Default)]
struct Inner {
    /// By playback id.
    streams: HashMap<String, Arc<Stream>>,
    fences: Fences,
    duels: Duels,
}

/// What a publisher gets that may have its stream.
pub(crate) enum Begun {
    Hold(Hold),
    /// Whether another one has the stream is seen then: ask again.
    Later(Instant),
}

/// A publisher's hold on its stream; dropping it ends the publish.
pub(crate) struct Hold {
    pub(crate) stream: Arc<Stream>,
    pub(crate) id: u64,
    /// Cancelled when another publisher takes over or the right is revoked.
    pub(crate) stop: CancellationToken,
    /// When its last bytes came, in microseconds.
    heard_at: Arc<AtomicU64>,
    hub: Arc<Hub>,
    /// Tells of the publish's end, where that is wanted.
    pub(crate) told: Option<Told>,
}

impl Hold {
    /// Bytes came.
    pub(crate) fn hear(&self, bytes: usize, now: Instant) {
        self.hub.traffic.receive(bytes);
        self.heard_at.store(now.as_micros(), Ordering::Relaxed);
    }

    /// Records this publisher alone: it ends with it.
    pub(crate) fn record(&self, tap: Box<dyn Tap>, health: Arc<RecordingHealth>) {
        self.stream.record(self.id, tap, health);
    }

    /// What became of the stream, for the cloud.
    pub(crate) fn tell(&self, kind: &str, reason: String) {
        let (stream, device) = (self.stream.name().to_owned(), self.stream.device());
        self.hub.incidents.push(OriginIncident { kind: kind.to_owned(), stream, device, reason, ..OriginIncident::default() });
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.stream.leave(self.id, self.hub.clock.now());
        self.hub.changed.notify_one();
    }
}

impl Hub {
    pub(crate) fn new(clock: Clock, limits: Limits, grace: Duration, incidents: Arc<Incidents>, playback_ids: PlaybackIds) -> Self {
        Self {
            clock,
            limits,
            grace,
            playback_ids,
            incidents,
            refusals: Refusals::default(),
            traffic: Arc::default(),
            inner: Mutex::default(),
            next_publisher: AtomicU64::new(1),
            changed: Notify::new(),
            began: watch::Sender::new(0),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a publisher its stream, or says why not. The one before it is told to end.
    pub(crate) fn begin(self: &Arc<Self>, grant: &Grant, claimant: Claimant) -> Result<Begun, Refusal> {
        let (now, unix_secs) = (self.clock.now(), self.clock.wall().unix_secs());
        let playback = self.playback_of(&grant.stream);
        let mut inner = self.inner();
        let holder = inner.streams.get(&playback).and_then(|stream| stream.holder());
        let took_from_sender = match self.settle(&mut inner, grant, claimant, holder, now)? {
            Verdict::Later(at) => return Ok(Begun::Later(at)),
            Verdict::Duel => return Err(Refusal::Duel),
            Verdict::Reconnect => grant.epoch.is_some() && holder.is_some_and(|holder| holder.is_in_full_flow(now)),
        };
        inner.fences.pass(grant, claimant.peer, unix_secs);
        let make = || Arc::new(Stream::new(&playback, self.limits, self.traffic.clone()));
        let stream = inner.streams.entry(playback.clone()).or_insert_with(make).clone();
        stream.set_name(&grant.stream);
        let (id, stop) = (self.next_publisher.fetch_add(1, Ordering::Relaxed), CancellationToken::new());
        let heard_at = Arc::new(AtomicU64::new(now.as_micros()));
        let publisher = Publisher {
            id,
            epoch: grant.epoch.unwrap_or(0),
            since_unix_secs: unix_secs,
            since: now,
            stop: stop.clone(),
            peer: claimant.peer,
            heard_at: heard_at.clone(),
            took_from_sender,
            taps: Vec::new(),
            recording: None,
            pull: None,
        };
        stream.take_over(&grant.device, publisher);
        drop(inner);
        self.changed.notify_one();
        self.began.send_modify(|count| *count += 1);
        Ok(Begun::Hold(Hold { stream, id, stop, heard_at, hub: self.clone(), told: None }))
    }

    /// Gives frames of another origin their stream; `None`: someone sends it already.
    pub(crate) fn begin_pull(self: &Arc<Self>, playback: &str, pull: Pull) -> Option<Hold> {
        let now = self.clock.now();
        let mut inner = self.inner();
        let make = || Arc::new(Stream::new(playback, self.limits, self.traffic.clone()));
        let stream = inner.streams.entry(playback.to_owned()).or_insert_with(make).clone();
        if stream.is_published() {
            return None;
        }
        let (id, stop) = (self.next_publisher.fetch_add(1, Ordering::Relaxed), CancellationToken::new());
        let heard_at = Arc::new(AtomicU64::new(now.as_micros()));
        let publisher = Publisher {
            id,
            epoch: 0,
            since_unix_secs: self.clock.wall().unix_secs(),
            since: now,
            stop: stop.clone(),
            peer: SocketAddr::from(([0, 0, 0, 0], 0)),
            heard_at: heard_at.clone(),
            took_from_sender: false,
            taps: Vec::new(),
            recording: None,
            pull: Some(pull),
        };
        let device = stream.device();
        stream.take_over(&device, publisher);
        drop(inner);
        self.changed.notify_one();
        self.began.send_modify(|count| *count += 1);
        Some(Hold { stream, id, stop, heard_at, hub: self.clone(), told: None })
    }

    /// A pull has ended because no one watches: nothing of its stream stays, unless someone sends it or has just come.
    pub(crate) fn end_pulled(&self, playback: &str) {
        let now = self.clock.now();
        self.end_where(|stream| stream.playback == playback && !stream.is_published() && !stream.is_watched(now));
    }

    /// Whether a publisher may have the stream from its holder, and whether that shows that its token is in two hands.
    fn settle(
        &self,
        inner: &mut Inner,
        grant: &Grant,
        claimant: Claimant,
        holder: Option<Holder>,
        now: Instant,
    ) -> Result<Verdict, Refusal> {
        let duel_with = |holder: SocketAddr| OriginDuel {
            stream: grant.stream.clone(),
            device: grant.device.clone(),
            epoch: grant.epoch.unwrap_or(0),
            holder: holder.to_string(),
            rival: claimant.peer.to_string(),
            attempts: 0,
        };
        let passage = inner.fences.check(grant, claimant.peer.ip());
        let verdict = match (passage, holder) {
            (Ok(Passage::Same), Some(holder)) => holder.verdict(claimant, now),
            (Ok(Passage::Same | Passage::Newer), _) => Verdict::Reconnect,
            (Err(Refusal::Duel), _) => Verdict::Duel,
            (Err(refusal), _) => return Err(refusal),
        };
        let is_thief_gone = passage == Ok(Passage::Newer) && grant.epoch.is_some() && holder.is_some_and(|holder| holder.was_a_thief(now));
        if verdict == Verdict::Duel || is_thief_gone {
            inner.fences.mark_stolen(&grant.stream);
            let other = holder.map(|holder| holder.peer).or_else(|| inner.fences.holder(&grant.stream));
            if other.is_some_and(|other| inner.duels.record(duel_with(other), now)) {
                self.changed.notify_one();
            }
        }
        Ok(verdict)
    }

    /// Whether tokens are given out for a stream, as far as is known here.
    pub(crate) fn has_tokens(&self, stream: &str) -> bool {
        self.inner().fences.has_tokens(stream)
    }

    /// The duels that the cloud should hear of.
    pub(crate) fn duels(&self) -> Vec<OriginDuel> {
        self.inner().duels.due(self.clock.now())
    }

    /// The cloud has heard of them.
    pub(crate) fn duels_reported(&self, duels: &[OriginDuel]) {
        self.inner().duels.reported(duels, self.clock.now());
    }

    /// Tries to publish with a token that another one uses, since the start.
    pub(crate) fn duels_total(&self) -> u64 {
        self.inner().duels.total()
    }

    /// The playback id of a publishing name, as a map's key.
    pub(crate) fn playback_of(&self, stream: &str) -> String {
        self.playback_ids.of(stream).as_str().to_owned()
    }

    /// The stream of a playback id.
    pub(crate) fn find(&self, playback: &str) -> Option<Arc<Stream>> {
        self.inner().streams.get(playback).cloned()
    }

    /// For whoever waits for a stream to begin.
    pub(crate) fn watch_begun(&self) -> watch::Receiver<u64> {
        self.began.subscribe()
    }

    /// Streams whose publisher has gone and that someone watches.
    pub(crate) fn missed(&self) -> Vec<Arc<Stream>> {
        let (streams, now): (Vec<_>, _) = (self.inner().streams.values().cloned().collect(), self.clock.now());
        streams.into_iter().filter(|stream| !stream.is_published() && stream.is_watched(now)).collect()
    }

    /// Streams that have a publisher here.
    pub(crate) fn published(&self) -> usize {
        self.inner().streams.values().filter(|stream| stream.is_published() && stream.pull().is_none()).count()
    }

    /// Streams that have a publisher here.
    pub(crate) fn describe(&self) -> Vec<OriginStream> {
        self.described(|stream| stream.pull().is_none())
    }

    /// Streams that come from other origins.
    pub(crate) fn describe_pulled(&self) -> Vec<OriginStream> {
        self.described(|stream| stream.pull().is_some())
    }

    fn described(&self, is_wanted: impl Fn(&Stream) -> bool) -> Vec<OriginStream> {
        let streams: Vec<Arc<Stream>> = self.inner().streams.values().filter(|stream| is_wanted(stream)).cloned().collect();
        let now = self.clock.now();
        streams.iter().filter_map(|stream| stream.describe(now)).collect()
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
            let live = |revoked: &RevokedStream| Some((inner.streams.get(&self.playback_of(&revoked.stream))?.clone(), revoked.epoch_min));
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
