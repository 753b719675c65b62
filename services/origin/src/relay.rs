//! Streams that go on to other servers: another of ours, nginx-rtmp, YouTube, Twitch, Facebook.
//!
//! Each stream and target has a task, a queue and a state of its own. A target that is dead, slow or unresolvable costs the stream nothing:
//! what its queue does not hold is left out up to the next key frame.

mod config;
mod feed;
mod link;
mod rules;
mod state;

pub use config::{Relay, RelayUrl};
pub(crate) use rules::RelayRules;
pub(crate) use state::RelayStates;

use crate::clock::Clock;
use crate::error::StartError;
use crate::https;
use crate::live::hub::Hub;
use crate::live::incidents::Incidents;
use crate::live::stream::Stream;
use feed::{Feed, Received};
use link::{Link, LinkError};
use sightline_signal::report::OriginIncident;
use state::{RelayState, State};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How often streams that have begun are looked for.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// The first wait after a failure.
const WAIT_LEAST: Duration = Duration::from_millis(500);
/// The longest: a target that returns is fed within five seconds.
const WAIT_MOST: Duration = Duration::from_secs(4);
/// A connection that lasted for this long was no failure of the target's: the next try is made at once.
const HEALTHY: Duration = Duration::from_secs(20);

/// All relays of an origin.
pub(crate) struct Relays {
    pub(crate) rules: Arc<RelayRules>,
    pub(crate) clock: Clock,
    pub(crate) hub: Arc<Hub>,
    pub(crate) incidents: Arc<Incidents>,
    pub(crate) states: Arc<RelayStates>,
    pub(crate) tasks: TaskTracker,
    pub(crate) shutdown: CancellationToken,
    /// For targets by `rtmps://`, from the first one on; `None`: the system has no authorities.
    tls: OnceLock<Option<Arc<rustls::ClientConfig>>>,
}

/// What relays need of their origin.
pub(crate) struct Parts {
    pub(crate) clock: Clock,
    pub(crate) hub: Arc<Hub>,
    pub(crate) incidents: Arc<Incidents>,
    pub(crate) tasks: TaskTracker,
    pub(crate) shutdown: CancellationToken,
}

impl Relays {
    pub(crate) fn new(rules: &[Relay], Parts { clock, hub, incidents, tasks, shutdown }: Parts) -> Self {
        let (rules, states, tls) = (Arc::new(RelayRules::new(rules)), Arc::default(), OnceLock::new());
        Self { rules, clock, hub, incidents, states, tasks, shutdown, tls }
    }

    /// What a start would fail on.
    pub(crate) fn check(rules: &[Relay]) -> Result<(), StartError> {
        rules.iter().try_for_each(Relay::check).map_err(|reason| StartError::Setting { key: "relays", reason })?;
        rules.iter().filter_map(|rule| rule.ca.as_deref()).try_for_each(|ca| https::tls(ca, "relays").map(drop))
    }

    /// Gives each stream that begins its relays, until the shutdown.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut interval = tokio::time::interval(LOOK_INTERVAL);
        loop {
            tokio::select! {
                () = self.shutdown.cancelled() => return,
                _ = interval.tick() => self.look(),
            }
        }
    }

    fn look(self: &Arc<Self>) {
        if self.rules.is_empty() && self.states.is_empty() {
            return;
        }
        for live in self.hub.describe() {
            let wanted = self.rules.of(&live.stream, &live.device);
            // One whose rule is gone, or goes elsewhere now, ends; its successor begins with a later look.
            self.states.keep(&live.playback, &wanted);
            for rule in wanted {
                let Some(stream) = self.hub.find(&live.playback) else { continue };
                // One that has a task already is left alone.
                let Some(state) = self.states.begin(&stream, &rule) else { continue };
                let relaying = Relaying { relays: self.clone(), rule, stream, state };
                self.tasks.spawn(relaying.run());
            }
        }
    }
}

/// One stream to one target.
struct Relaying {
    relays: Arc<Relays>,
    rule: Relay,
    stream: Arc<Stream>,
    state: Arc<RelayState>,
}

impl Relaying {
    /// Until the stream is over, or its rule is.
    async fn run(self) {
        let mut wait = WAIT_LEAST;
        loop {
            let began = self.relays.clock.now();
            let ended = tokio::select! {
                () = self.relays.shutdown.cancelled() => break,
                () = self.stream.ended.cancelled() => break,
                () = self.state.stop.cancelled() => break,
                ended = self.once() => ended,
            };
            let error = ended.err().unwrap_or(LinkError::Closed);
            if self.relays.clock.now().since(began) > HEALTHY {
                wait = WAIT_LEAST;
            }
            self.failed(&error);
            tokio::select! {
                () = self.relays.shutdown.cancelled() => break,
                () = self.stream.ended.cancelled() => break,
                () = self.state.stop.cancelled() => break,
                () = tokio::time::sleep(wait) => {}
            }
            wait = (wait * 2).min(WAIT_MOST);
        }
        self.relays.states.end(&self.stream, &self.rule);
    }

    /// One connection, from the next key frame on.
    async fn once(&self) -> Result<(), LinkError> {
        self.state.set(State::Connecting, self.relays.clock.wall());
        let tls = self.tls()?;
        let mut link = Link::connect(&self.rule.url, self.stream.name(), tls, self.relays.clock).await?;
        let mut feed = Feed::attach(&self.stream, &self.state, self.relays.clock.now());
        let mut was_told = false;
        loop {
            tokio::select! {
                turned = link.turn() => turned?,
                packet = feed.next(), if link.has_room() => match packet {
                    Received::Packet(packet) => link.send(&packet)?,
                    Received::Over => return link.close().await,
                },
            }
            if link.is_publishing() && !was_told {
                was_told = true;
                self.publishing();
            }
            self.state.sent(link.bytes_sent());
        }
    }

    /// Whom an `rtmps://` target's certificate is to come from. The file may be another one by now.
    fn tls(&self) -> Result<Option<Arc<rustls::ClientConfig>>, LinkError> {
        match &self.rule.ca {
            _ if !self.rule.url.is_tls() => Ok(None),
            None => Ok(self.relays.tls.get_or_init(link::system_tls).clone()),
            Some(ca) => {
                let read = tokio::task::block_in_place(|| https::tls(ca, "relays"));
                read.map(|tls| Some(Arc::new(tls))).map_err(LinkError::Authority)
            }
        }
    }

    fn publishing(&self) {
        let was_failing = self.state.set(State::Publishing, self.relays.clock.wall());
        tracing::info!(stream = self.stream.name(), relay = self.rule.name, target = %self.rule.url, "a relay feeds its target");
        if was_failing {
            self.tell("relay_resumed", String::new());
        }
    }

    fn failed(&self, error: &LinkError) {
        let is_first = self.state.fail(&error.to_string(), self.relays.clock.wall());
        if is_first {
            tracing::warn!(stream = self.stream.name(), relay = self.rule.name, target = %self.rule.url, %error, "a relay's target takes nothing; it is tried again");
            self.tell("relay_failed", error.to_string());
        }
    }

    fn tell(&self, kind: &str, reason: String) {
        let reason = if reason.is_empty() { self.rule.name.clone() } else { format!("{}: {reason}", self.rule.name) };
        let (stream, device) = (self.stream.name().to_owned(), self.stream.device());
        let incident = OriginIncident { kind: kind.to_owned(), stream, device, reason, ..OriginIncident::default() };
        self.relays.incidents.push(incident);
    }
}
