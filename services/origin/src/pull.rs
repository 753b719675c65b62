//! An origin that is an edge takes a stream from another origin at the first viewer, and drops it some seconds after the last.
//!
//! What comes is put into a stream of `live/` as a publisher's frames are, so that every way out works as ever. It comes by HTTP-FLV, as any
//! viewer's does: why, and how edges that lead to one another end, is in `docs/design/0012-edges.md`.

mod config;
mod puller;
mod state;
mod upstreams;

pub use config::Edge;
pub(crate) use state::PullStates;
pub(crate) use upstreams::SearchError;

use crate::auth::edges::EdgeKey;
use crate::clock::Clock;
use crate::error::StartError;
use crate::https;
use crate::live::hub::Hub;
use crate::live::incidents::Incidents;
use crate::questions::{Askers, is_playback_id};
use crate::via::Via;
use puller::{Puller, Pulling};
use sightline_media::Instant;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use upstreams::{Opened, Upstreams};

/// Edges one behind another: an origin, its region, its town and the house are as many as anyone has.
const EDGES_MAX: usize = 4;
/// How long it counts that no upstream has a stream. One that has begun is found after that.
const NOWHERE_KEPT: Duration = Duration::from_secs(2);
/// Playback ids whose answers are kept. Above it those that are no longer good go, then new ones have no question.
const ANSWERS_MAX: usize = 10_000;
/// Streams that are pulled at a time: as many as an origin has publishers at most.
const PULLS_MAX: usize = 20_000;

/// What an edge pulls.
pub(crate) struct Pulls {
    puller: Arc<Puller>,
    askers: Askers,
    answers: Mutex<HashMap<String, Arc<Answer>>>,
}

/// What came of asking for one id; held while the upstreams are asked, so that a thousand viewers are one question.
#[derive(Default)]
struct Answer(tokio::sync::Mutex<Option<(SearchError, Instant)>>);

/// What pulls need of their origin.
pub(crate) struct Parts<'a> {
    pub(crate) edge: &'a Edge,
    /// `None`: there is no cloud, and upstreams ask for no right.
    pub(crate) key: Option<EdgeKey>,
    /// The name of this process on the way.
    pub(crate) own: String,
    pub(crate) start_wait: Duration,
    pub(crate) message_bytes_max: u32,
    pub(crate) clock: Clock,
    pub(crate) hub: Arc<Hub>,
    pub(crate) incidents: Arc<Incidents>,
    pub(crate) states: Arc<PullStates>,
    pub(crate) tasks: TaskTracker,
    pub(crate) shutdown: CancellationToken,
}

impl Pulls {
    /// `None`: this origin is no edge.
    pub(crate) fn new(parts: Parts<'_>) -> Result<Option<Arc<Self>>, StartError> {
        let Parts { edge, key, own, start_wait, message_bytes_max, clock, hub, incidents, states, tasks, shutdown } = parts;
        if !edge.is_edge() {
            return Ok(None);
        }
        let client = https::client(edge.ca.as_deref(), "edge.ca")?;
        let upstreams = Upstreams::new(edge, client, own, key, clock, start_wait);
        let puller = Puller {
            clock,
            hub,
            incidents,
            upstreams,
            states,
            linger: Duration::from_secs(edge.linger_sec),
            silence_max: Duration::from_secs(edge.silent_sec),
            tag_bytes_max: message_bytes_max,
            tasks,
            shutdown,
        };
        Ok(Some(Arc::new(Self { puller: Arc::new(puller), askers: Askers::default(), answers: Mutex::default() })))
    }

    /// What a start would fail on.
    pub(crate) fn check(edge: &Edge) -> Result<(), StartError> {
        match (&edge.ca, edge.is_edge()) {
            (Some(ca), true) => https::tls(ca, "edge.ca").map(drop),
            _ => Ok(()),
        }
    }

    fn answers(&self) -> MutexGuard<'_, HashMap<String, Arc<Answer>>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a stream is on its way from an upstream now: its first picture can be waited for. `via` is the way that the request came by.
    pub(crate) async fn want(&self, playback: &str, address: IpAddr, via: &Via) -> Result<(), SearchError> {
        if via.has(self.puller.upstreams.own()) {
            return Err(SearchError::Loop("the request has been here before".to_owned()));
        }
        if self.puller.states.has(playback) {
            return Ok(());
        }
        if via.len() >= EDGES_MAX {
            return Err(SearchError::TooManyEdges("the stream is not here, and no other is asked for it".to_owned()));
        }
        if !is_playback_id(playback) {
            return Err(SearchError::Nowhere);
        }
        let Some(answer) = self.answer_of(playback, address) else { return Err(SearchError::Nowhere) };
        if via.is_empty() {
            let mut said = answer.0.lock().await;
            return self.ask(playback, via, &mut said).await;
        }
        // Two edges that ask one another for the same stream must not wait for one another.
        let mut said = answer.0.try_lock().ok().and_then(|said| said.clone());
        self.ask(playback, via, &mut said).await
    }

    async fn ask(&self, playback: &str, via: &Via, said: &mut Option<(SearchError, Instant)>) -> Result<(), SearchError> {
        let puller = &self.puller;
        if puller.states.has(playback) {
            return Ok(());
        }
        if let Some((error, until)) = said
            && puller.clock.now() < *until
        {
            return Err(error.clone());
        }
        match puller.upstreams.search(playback, via, 0).await {
            Ok(opened) => {
                self.begin(playback, via, opened);
                Ok(())
            }
            Err(error) => {
                *said = Some((error.clone(), puller.clock.now() + NOWHERE_KEPT));
                Err(error)
            }
        }
    }

    /// Another one's way to the same stream may have been faster: then this one ends here.
    fn begin(&self, playback: &str, via: &Via, opened: Opened) {
        let puller = &self.puller;
        let (upstream, now) = (puller.upstreams.name(opened.upstream), puller.clock.wall());
        if let Some(state) = puller.states.begin(playback, upstream, now, PULLS_MAX) {
            puller.tasks.spawn(Pulling::new(puller, playback, via, state).run(opened));
        }
    }

    /// The place of an id's answer. `None`: this address, or all together, have asked for too many that are not here.
    fn answer_of(&self, playback: &str, address: IpAddr) -> Option<Arc<Answer>> {
        let mut answers = self.answers();
        if let Some(answer) = answers.get(playback) {
            return Some(answer.clone());
        }
        let now = self.puller.clock.now();
        if !self.askers.may_ask(address, now) {
            return None;
        }
        if answers.len() >= ANSWERS_MAX {
            answers.retain(|_, answer| {
                let is_used = Arc::strong_count(answer) > 1;
                is_used || answer.0.try_lock().is_ok_and(|said| said.as_ref().is_some_and(|(_, until)| now < *until))
            });
        }
        (answers.len() < ANSWERS_MAX).then(|| answers.entry(playback.to_owned()).or_default().clone())
    }
}
