//! A running origin: what it is made of, and its start and end.

use crate::auth::edges::EdgeKey;
use crate::auth::keys::Keys;
use crate::auth::policy::{Policy, PresentPolicy};
use crate::auth::viewing::Viewing;
use crate::callbacks::Callbacks;
use crate::certificate::Certificate;
use crate::clock::Clock;
use crate::config::Config;
use crate::control::checkpoint::KeptCheckpoint;
use crate::control::metrics::{self, ConnectionCounts};
use crate::control::report::{Addresses, CloudLink, Reporter};
use crate::control::wanted::Wanted;
use crate::control::{Control, Server, sweep};
use crate::copy::reader::CopyReader;
use crate::copy::sender::Sender;
use crate::copy::state::CopyState;
use crate::error::StartError;
use crate::ingest::Ingest;
use crate::ingest::fates::Fates;
use crate::ingest::remarks::Remarks;
use crate::ingest::rtmp::{self, Rtmp};
use crate::ingest::whip::{self, Whip};
use crate::live::hub::Hub;
use crate::live::incidents::Incidents;
use crate::live::ring;
use crate::play::frames::Decoders;
use crate::play::hls::{self, Recent};
use crate::play::vod::Vod;
use crate::play::whep::{self, Whep};
use crate::play::{self, Pace, Play};
use crate::pull::{self, PullStates, Pulls};
use crate::record::health::RecordingCounts;
use crate::record::holds::Holds;
use crate::record::keeping;
use crate::record::names::RecordedNames;
use crate::record::syncing::{self, Written};
use crate::record::tap::Recordings;
use crate::relay::{self, RelayRules, RelayStates, Relays};
use crate::via;
use axum::routing::get;
use axum::{Router, middleware};
use jiff::SignedDuration;
use sightline_archive::Formats;
use sightline_bucket::Journal;
use sightline_claim::Claim;
use sightline_listen::cors;
use sightline_listen::http::{self, Caller, Rules};
use sightline_listen::{Admission, Arrival, Door, Limits, Proxies, Rarely, descriptors, process};
use sightline_signal::PlaybackIds;
use sightline_signal::report::OriginStream;
use std::hash::{BuildHasher as _, RandomState};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long connections and recordings may take to end when the origin does.
const SHUTDOWN_WAIT: Duration = Duration::from_secs(5);
/// How long an HTTP connection may be silent at its beginning, and take for TLS.
const HTTP_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// The first byte of a TLS handshake record (RFC 8446 §5.1); no method of HTTP begins with it.
const TLS_HANDSHAKE: u8 = 0x16;
/// Broken handshakes cost a stranger nothing: one line stands for all.
static NO_TLS: Rarely = Rarely::new();
/// The part of the descriptors that is for RTMP connections, in hundredths. Each publisher has two files besides.
const RTMP_SHARE: u8 = 40;
/// The same where another server is in the process, which has ports of its own.
const RTMP_SHARE_AS_GUEST: u8 = 20;
/// The part that is for HTTP connections.
const HTTP_SHARE: u8 = 20;
/// Frames of a group of pictures, pictures and sound together: four minutes of a camera.
const GOP_FRAMES_MAX: usize = 16_384;
/// The settings that limit HTTP connections, as the log names them.
const HTTP_LIMITED_BY: &str = "http.connections and the limit of open files";
/// The settings that limit RTMP connections, as the log names them.
const RTMP_LIMITED_BY: &str = "limits.connections, limits.connections_per_address and limits.pending_per_address";

/// A running origin.
pub struct Origin {
    _claim: Claim,
    hub: Arc<Hub>,
    play: Arc<Play>,
    whip: Option<Arc<Whip>>,
    vod: Arc<Vod>,
    door: Arc<Door>,
    fates: Arc<Fates>,
    measured: Measured,
    policy: Arc<PresentPolicy>,
    relay_rules: Arc<RelayRules>,
    config: Config,
    tasks: TaskTracker,
    shutdown: CancellationToken,
    addresses: Bound<SocketAddr>,
}

/// What listens, or where.
#[derive(Clone, Copy, Debug)]
struct Bound<T> {
    rtmp: T,
    rtmps: Option<T>,
    http: Option<T>,
}

/// A port that WHEP's media goes through, if it does.
type Media = Option<whep::Bound>;

impl std::fmt::Debug for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Origin").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

impl Origin {
    /// Binds, reports to the cloud, and serves from then on. Needs a multi-threaded Tokio runtime.
    ///
    /// # Errors
    /// [`StartError`], with the setting to change.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        config.check()?;
        // Before anything is opened: the places of the ports are derived from it.
        descriptors::raise();
        make_dir("data_dir", &config.data_dir)?;
        let claim = Claim::take(&config.data_dir, "origin")?;
        if config.record.enabled {
            let path = config.recordings_dir();
            sightline_archive::make_private_dir(&path).map_err(|source| StartError::File { key: "record.dir", path, source })?;
        }
        let certificate = Certificate::load(&config.rtmps)?;
        let acceptor = certificate.as_ref().map(Certificate::acceptor).transpose()?;
        let listeners = bind(&config, acceptor.is_some()).await?;
        let media = bind_media(&config).await?;
        let media_address = media.as_ref().map(|bound| bound.address);
        let addresses = listeners.addresses();
        let cluster_key = cluster_key(&config)?;
        let link = cloud_link(&config, cluster_key.as_deref())?;
        let reporter = link.clone().map(|link| reporter(&config, link, addresses));
        let parts = Parts::new(&config, cluster_key.as_deref(), media, link)?;
        if let Some(reporter) = reporter {
            // It reports at once, so that the keys are here early, and again when all listen.
            parts.tasks.spawn(reporter.run(parts.control.clone()));
        }
        if let Some(certificate) = certificate {
            parts.tasks.spawn(certificate.watch(parts.shutdown.clone()));
        }
        parts.listen(&config, listeners, acceptor);
        parts.tasks.spawn(sweep::run(parts.control.clone()));
        parts.tasks.spawn(parts.relays.clone().run());
        parts.tasks.spawn(play::waiting::call_back(parts.rtmp.play.clone(), parts.shutdown.clone()));
        parts.tasks.spawn(hls::forget_ended(parts.rtmp.play.clone(), parts.shutdown.clone()));
        if let Some(written) = parts.rtmp.ingest.recordings.as_ref().and_then(|recordings| recordings.written.clone()) {
            let (counts, tasks) = (parts.recordings.clone(), parts.tasks.clone());
            parts.tasks.spawn(syncing::sync(config.recordings_dir(), written, counts, tasks, parts.shutdown.clone()));
        }
        if config.record.enabled {
            let (record, holds, clock) = (config.record.clone(), parts.control.holds.clone(), parts.rtmp.ingest.clock);
            let (counts, copies) = (parts.recordings.clone(), parts.copies.as_ref().map(|copies| copies.state.clone()));
            parts.sender(&config).map(|sender| parts.tasks.spawn(sender.run()));
            parts.tasks.spawn(keeping::keep(
                config.recordings_dir(),
                record,
                (holds, copies),
                clock,
                counts,
                parts.tasks.clone(),
                parts.shutdown.clone(),
            ));
        }
        let hub = parts.control.hub.clone();
        hub.changed.notify_one();
        let recordings = config.record.enabled.then(|| config.recordings_dir());
        tracing::info!(rtmp = %addresses.rtmp, rtmps = or_off(addresses.rtmps), http = or_off(addresses.http), whep = or_off(media_address), recordings = recordings.map_or_else(|| "off".to_owned(), |dir| dir.display().to_string()), "the origin serves");
        let measured = parts.measured();
        let Parts { rtmp, whip, vod, relays, tasks, shutdown, .. } = parts;
        Ok(Self {
            _claim: claim,
            hub,
            play: rtmp.play.clone(),
            whip,
            vod,
            door: rtmp.door.clone(),
            fates: rtmp.fates.clone(),
            measured,
            policy: rtmp.ingest.policy.clone(),
            relay_rules: relays.rules.clone(),
            config,
            tasks,
            shutdown,
            addresses,
        })
    }

    /// What a start would fail on, but for ports that are taken: settings out of range, files that can't be read.
    ///
    /// # Errors
    /// [`StartError`], with the setting to change.
    pub fn check(config: &Config) -> Result<(), StartError> {
        config.check()?;
        Certificate::load(&config.rtmps)?.as_ref().map(Certificate::acceptor).transpose()?;
        Pulls::check(&config.edge)?;
        config.store.bucket()?;
        cloud_link(config, cluster_key(config)?.as_deref()).map(drop)
    }

    /// Writes something into the store that recordings are copied to, reads it and removes it. `None`: there is no store; else where it is.
    ///
    /// # Errors
    /// What is wrong, and what to do.
    pub async fn try_store(config: &Config) -> Result<Option<String>, String> {
        let Some(bucket) = config.store.bucket().map_err(|error| error.to_string())? else { return Ok(None) };
        bucket.probe().await.map_err(|error| error.to_string())?;
        Ok(Some(bucket.place().to_owned()))
    }

    /// The routes `/live/…` and `/vod/…`, to be mounted wherever there is an HTTP server.
    pub fn router(&self) -> Router {
        routes(&self.play, self.whip.as_ref(), &self.vod).layer(middleware::from_fn(cors::live))
    }

    /// Where RTMP listens.
    #[must_use]
    pub fn rtmp_addr(&self) -> SocketAddr {
        self.addresses.rtmp
    }

    /// Where RTMPS listens, if it does.
    #[must_use]
    pub fn rtmps_addr(&self) -> Option<SocketAddr> {
        self.addresses.rtmps
    }

    /// Where HTTP listens, if it does.
    #[must_use]
    pub fn http_addr(&self) -> Option<SocketAddr> {
        self.addresses.http
    }

    /// Where WHEP's media port is, if there is one.
    #[must_use]
    pub fn whep_addr(&self) -> Option<SocketAddr> {
        self.play.whep.as_ref().map(|whep| whep.address())
    }

    /// How many RTMP and RTMPS connections there are, and what became of those before.
    #[must_use]
    pub fn connections(&self) -> ConnectionCounts {
        ConnectionCounts::new(self.door.counts(), &self.fates)
    }

    /// What it measures, in the text format of Prometheus: for the port of another service in the same process.
    pub fn metrics(&self) -> impl Fn() -> String + Send + Sync + use<> {
        let measured = self.measured.clone();
        move || measured.metrics()
    }

    /// The live streams, as the cloud is told of them.
    #[must_use]
    pub fn streams(&self) -> Vec<OriginStream> {
        self.hub.describe()
    }

    /// Takes other settings without touching a stream, if they differ only in who may publish and play (`[[apps]]`, `auth.play`,
    /// `auth.allow_unsigned_publish`, `limits.viewers_per_stream`, `limits.viewers_per_address`) and in `[[relays]]`. False: it has to start
    /// again with them. They were [checked](Self::check). Whoever was let in before stays; a relay that is gone ends.
    pub fn change(&mut self, next: &Config) -> bool {
        if fixed(&self.config) != fixed(next) {
            return false;
        }
        self.policy.replace(Policy::of(next));
        self.relay_rules.set(&next.relays);
        self.config = next.clone();
        true
    }

    /// Ends all connections, finishes the recordings, and waits for it, five seconds at most.
    pub async fn shutdown(self) {
        self.shutdown.cancel();
        self.hub.end_all();
        self.tasks.close();
        if tokio::time::timeout(SHUTDOWN_WAIT, self.tasks.wait()).await.is_err() {
            tracing::warn!("some connections did not end in time");
        }
    }
}

/// What an origin measures of itself, but for its HTTP port and the process.
#[derive(Clone)]
struct Measured {
    rtmp: Arc<Rtmp>,
    remarks: Arc<Remarks>,
    recordings: Arc<RecordingCounts>,
    relays: Arc<RelayStates>,
    pulls: Arc<PullStates>,
    copies: Option<Arc<CopyState>>,
}

impl Measured {
    fn metrics(&self) -> String {
        let rtmp = &self.rtmp;
        [
            ConnectionCounts::new(rtmp.door.counts(), &rtmp.fates).metrics(),
            metrics::streams(&rtmp.ingest.hub),
            metrics::publishers(&rtmp.fates, rtmp.ingest.hub.duels_total()),
            metrics::decoders(&rtmp.play.decoders),
            metrics::recordings(&self.recordings),
            self.remarks.metrics(),
            self.relays.metrics(),
            self.pulls.metrics(),
            self.rtmp.ingest.callbacks.metrics(),
            self.copies.as_ref().map(|copies| copies.metrics(rtmp.ingest.clock.wall().unix_secs())).unwrap_or_default(),
        ]
        .concat()
    }
}

/// Settings without what may change while it runs.
fn fixed(config: &Config) -> Config {
    let mut fixed = config.clone();
    (fixed.apps, fixed.relays) = (Vec::new(), Vec::new());
    (fixed.auth.play, fixed.auth.allow_unsigned_publish) = (None, false);
    (fixed.limits.viewers_per_stream, fixed.limits.viewers_per_address) = (0, 0);
    fixed
}

/// The handles that the tasks of an origin work with: each says what it may touch.
struct Parts {
    rtmp: Arc<Rtmp>,
    whip: Option<Arc<Whip>>,
    vod: Arc<Vod>,
    control: Arc<Control>,
    remarks: Arc<Remarks>,
    recordings: Arc<RecordingCounts>,
    relays: Arc<Relays>,
    copies: Option<CopyReader>,
    incidents: Arc<Incidents>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

impl Parts {
    fn new(config: &Config, cluster_key: Option<&str>, media: Media, link: Option<CloudLink>) -> Result<Self, StartError> {
        let (clock, tasks, shutdown) = (Clock::start(), TaskTracker::new(), CancellationToken::new());
        let incidents = Arc::<Incidents>::default();
        let grace = Duration::from_secs(config.limits.publisher_grace_sec);
        let playback_ids = cluster_key.map_or(PlaybackIds::without_cloud(), PlaybackIds::of_installation);
        let hub = Arc::new(Hub::new(clock, ring_limits(config), grace, incidents.clone(), playback_ids));
        let callbacks = Callbacks::new(&config.callbacks, &config.data_dir, clock, &tasks, &shutdown);
        let counts = Arc::<RecordingCounts>::default();
        let names = Arc::new(RecordedNames::new(&config.data_dir));
        let copies = config.store.bucket()?.map(|bucket| CopyReader::new(bucket, clock));
        let keys = Arc::new(Keys::load(&config.server_id, config.jwks_file()));
        let policy = Arc::new(PresentPolicy::new(Policy::of(config)));
        let edge_key = || cluster_key.map(EdgeKey::of_installation);
        let viewing = Viewing::load(clock, policy.clone(), keys.clone(), edge_key(), config.data_dir.join("playback-keys.json"));
        let remarks = Arc::new(Remarks::default());
        let session = session(config);
        let (pull_states, own_name) = (Arc::<PullStates>::default(), via::own_name());
        let pulls = Pulls::new(pull::Parts {
            edge: &config.edge,
            key: edge_key(),
            own: own_name.clone(),
            start_wait: Duration::from_secs(config.limits.start_wait_sec),
            message_bytes_max: config.limits.message_bytes,
            clock,
            hub: hub.clone(),
            incidents: incidents.clone(),
            states: pull_states.clone(),
            tasks: tasks.clone(),
            shutdown: shutdown.clone(),
        })?;
        let whep = media.map(|bound| whep(config, bound, clock, &hub, (&tasks, &shutdown))).transpose()?;
        let rtmp = Rtmp {
            door: rtmp_door(config, &tasks, &shutdown),
            fates: Arc::default(),
            ingest: Ingest {
                clock,
                keys: keys.clone(),
                policy: policy.clone(),
                callbacks: callbacks.clone(),
                hub: hub.clone(),
                recordings: recordings(config, clock, &counts, &incidents, &callbacks, &names, &tasks)
                    .map(|recordings| Recordings { copies: copies.as_ref().map(|copies| copies.state.clone()), ..recordings }),
                remarks: remarks.clone(),
                publisher_kbps: config.limits.publisher_kbps,
            },
            play: Arc::new(Play {
                clock,
                hub: hub.clone(),
                viewing: viewing.clone(),
                callbacks: callbacks.clone(),
                pace: pace(config),
                chunk_size: session.chunk_size,
                hls: hls_config(config),
                ts_places: Arc::new(Semaphore::new(config.limits.hls_ts_streams.min(Semaphore::MAX_PERMITS))),
                recent: Recent::default(),
                whep: whep.map(Arc::new),
                wanted: link.map(|link| Arc::new(Wanted::new(link, clock))),
                pulls,
                own_name,
                start_wait: Duration::from_secs(config.limits.start_wait_sec),
                decoders: Arc::new(Decoders::new(config.limits.frame_decoders, config.limits.frame_readers_per_stream)),
                tasks: tasks.clone(),
            }),
            session,
            shutdown: shutdown.clone(),
        };
        let server = Server {
            id: config.server_id.clone(),
            name: config.name.clone(),
            region: config.region.clone(),
            capacity_kbps: config.cloud.capacity_kbps,
            is_edge: config.edge.is_edge(),
            records: config.record.enabled,
            keep_hours: config.record.keep_hours,
        };
        let checkpoint = KeptCheckpoint::load(&config.data_dir);
        let parts =
            relay::Parts { clock, hub: hub.clone(), incidents: incidents.clone(), tasks: tasks.clone(), shutdown: shutdown.clone() };
        let relays = Arc::new(Relays::new(&config.relays, parts));
        let (states, relay_rules) = (relays.states.clone(), relays.rules.clone());
        let (pulls, relayed) = (pull_states, states);
        let (holds, recordings) = (Arc::new(Holds::load(&config.data_dir)), counts.clone());
        let shutdown_of = shutdown.clone();
        let control = Control {
            server,
            keys,
            viewing,
            relays: relayed,
            relay_rules,
            pulls,
            hub,
            checkpoint,
            holds,
            recordings,
            shutdown: shutdown_of,
        };
        let rtmp = Arc::new(rtmp);
        let whip = Whip::new(&rtmp);
        let vod = Arc::new(Vod::new(rtmp.play.clone(), config.recordings_dir(), names, copies.clone()));
        Ok(Self { rtmp, whip, vod, control: Arc::new(control), remarks, recordings: counts, relays, copies, incidents, tasks, shutdown })
    }

    fn measured(&self) -> Measured {
        Measured {
            rtmp: self.rtmp.clone(),
            remarks: self.remarks.clone(),
            recordings: self.recordings.clone(),
            relays: self.relays.states.clone(),
            pulls: self.control.pulls.clone(),
            copies: self.copies.as_ref().map(|copies| copies.state.clone()),
        }
    }

    /// What copies recordings, if they are.
    fn sender(&self, config: &Config) -> Option<Sender> {
        let CopyReader { bucket, state, .. } = self.copies.clone()?;
        let hours = i64::from(config.store.keep_hours);
        Some(Sender {
            state,
            bucket,
            dir: config.recordings_dir(),
            journal: Journal::at(config.data_dir.join("store-upload.json")),
            keep_local: config.store.keep_local,
            age_max: (hours > 0).then(|| SignedDuration::from_hours(hours)),
            holds: self.control.holds.clone(),
            clock: self.rtmp.ingest.clock,
            incidents: self.incidents.clone(),
            tasks: self.tasks.clone(),
            shutdown: self.shutdown.clone(),
        })
    }

    fn listen(&self, config: &Config, listeners: Bound<TcpListener>, tls: Option<TlsAcceptor>) {
        self.tasks.spawn(rtmp::listen(self.rtmp.clone(), listeners.rtmp, None));
        if let Some(listener) = listeners.rtmps {
            self.tasks.spawn(rtmp::listen(self.rtmp.clone(), listener, tls.clone()));
        }
        if let Some(listener) = listeners.http {
            self.tasks.spawn(self.serve_http(config, listener, tls));
        }
    }

    fn serve_http(&self, config: &Config, listener: TcpListener, tls: Option<TlsAcceptor>) -> impl Future<Output = ()> + use<> {
        let (measured, shutdown) = (self.measured(), self.shutdown.clone());
        let admission = Arc::new(Admission::new(Limits::of(config.http.connections.min(descriptors::share(HTTP_SHARE)))));
        let counted = admission.clone();
        let metrics = async move || {
            let process = process::metrics(env!("CARGO_PKG_VERSION"));
            measured.metrics() + &metrics::http_connections(counted.counts()) + &process
        };
        let routes =
            routes(&self.rtmp.play, self.whip.as_ref(), &self.vod).route("/healthz", get(async || "ok\n")).route("/metrics", get(metrics));
        let routes = routes.fallback(play::http::no_route).method_not_allowed_fallback(play::http::other_method);
        let router = routes.layer(middleware::from_fn(cors::live));
        // Checked with the settings.
        let proxies = Proxies::parse(&config.http.trusted_proxies).unwrap_or_default();
        let door = Door::new("HTTP", HTTP_LIMITED_BY, HTTP_HANDSHAKE_TIMEOUT, admission, self.tasks.clone(), shutdown.clone());
        let door = door.with_proxies(proxies.clone());
        let rules = Arc::new(Rules { stuck: self.rtmp.play.pace.stuck, proxies });
        let serve = move |arrival: Arrival| {
            let (router, rules, tls, shutdown) = (router.clone(), rules.clone(), tls.clone(), shutdown.clone());
            async move {
                let address = arrival.peer;
                let is_tls = match &tls {
                    Some(_) => arrival.first_byte().await.is_ok_and(|first| first == TLS_HANDSHAKE),
                    None => false,
                };
                let Some(tls) = tls.filter(|_| is_tls) else {
                    let Arrival { socket, permit, .. } = arrival;
                    return http::serve(socket, router, Caller { address, permit, peer: () }, &rules, shutdown).await;
                };
                match arrival.accept_tls(&tls).await {
                    Ok((socket, permit)) => http::serve(socket, router, Caller { address, permit, peer: () }, &rules, shutdown).await,
                    Err(error) => NO_TLS.write(|others| tracing::info!(%address, %error, others, "no TLS with an HTTP client")),
                }
            }
        };
        async move { Arc::new(door).run(listener, |_| {}, serve).await }
    }
}

impl Bound<TcpListener> {
    fn addresses(&self) -> Bound<SocketAddr> {
        let local = |listener: &TcpListener| listener.local_addr().unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)));
        Bound { rtmp: local(&self.rtmp), rtmps: self.rtmps.as_ref().map(local), http: self.http.as_ref().map(local) }
    }
}

/// What is under `/live` and `/vod`.
fn routes(play: &Arc<Play>, whip: Option<&Arc<Whip>>, vod: &Arc<Vod>) -> Router {
    let routes = play::http::router(play.clone()).merge(play::vod::router(vod.clone())).merge(play::coverage::router(vod.clone()));
    match whip {
        Some(whip) => routes.merge(whip::http::router(whip.clone())),
        None => routes,
    }
}

async fn bind(config: &Config, has_tls: bool) -> Result<Bound<TcpListener>, StartError> {
    async fn listen(key: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
        TcpListener::bind(address).await.map_err(|source| StartError::Listen { key, address, source })
    }
    Ok(Bound {
        rtmp: listen("rtmp.listen", config.rtmp.listen).await?,
        rtmps: if has_tls { Some(listen("rtmps.listen", config.rtmps.listen).await?) } else { None },
        http: if config.http.enabled { Some(listen("http.listen", config.http.listen).await?) } else { None },
    })
}

async fn bind_media(config: &Config) -> Result<Media, StartError> {
    if !config.whep.enabled {
        return Ok(None);
    }
    whep::Bound::bind(config.whep.listen, config.http.listen.ip()).await.map(Some)
}

fn whep(
    config: &Config,
    bound: whep::Bound,
    clock: Clock,
    hub: &Hub,
    (tasks, shutdown): (&TaskTracker, &CancellationToken),
) -> Result<Whep, StartError> {
    let rules = whep::Rules {
        candidates: config.whep.candidates.clone(),
        viewers_max: config.limits.whep_viewers,
        history_bytes: config.limits.gop_cache_bytes,
    };
    Whep::new(bound, rules, clock, hub.traffic.clone(), tasks, shutdown)
}

fn rtmp_door(config: &Config, tasks: &TaskTracker, shutdown: &CancellationToken) -> Arc<Door> {
    let share = if config.http.enabled { RTMP_SHARE } else { RTMP_SHARE_AS_GUEST };
    let limits = rtmp_limits(&config.limits, descriptors::share(share));
    let (admission, handshake) = (Arc::new(Admission::new(limits)), Duration::from_secs(config.rtmp.handshake_timeout_sec));
    Arc::new(Door::new("RTMP", RTMP_LIMITED_BY, handshake, admission, tasks.clone(), shutdown.clone()))
}

/// As the settings say, as far as there are descriptors: where there are fewer, each share is one of what there is.
fn rtmp_limits(settings: &crate::config::Limits, descriptors: usize) -> Limits {
    let connections = settings.connections.min(descriptors);
    let usual = Limits::of(connections);
    let scaled = settings.connections_per_address.saturating_mul(connections) / settings.connections.max(1);
    let pending_most = if connections < settings.connections { usual.pending_per_address } else { connections };
    let pending_per_address = settings.pending_per_address.min(pending_most).max(1);
    Limits {
        connections_per_address: settings.connections_per_address.min(scaled.max(usual.connections_per_address)).max(1),
        // Four addresses at least, also where one was given many.
        pending: usual.pending.max(pending_per_address.saturating_mul(4)).min(connections),
        pending_per_address,
        ..usual
    }
}

/// The applications that there are.
fn apps(config: &Config) -> Vec<String> {
    let mut apps = config.rtmp.apps.clone();
    let more = config.apps.iter().map(|app| &app.name);
    for name in more {
        if !apps.contains(name) {
            apps.push(name.clone());
        }
    }
    apps
}

fn session(config: &Config) -> sightline_rtmp::server::Config {
    sightline_rtmp::server::Config {
        chunk_size: config.rtmp.chunk_size,
        apps: apps(config),
        handshake_timeout: Duration::from_secs(config.rtmp.handshake_timeout_sec),
        command_timeout: Duration::from_secs(config.rtmp.command_timeout_sec),
        idle_timeout: Duration::from_secs(config.rtmp.idle_timeout_sec),
        idle_bytes_min: config.rtmp.idle_bytes_min,
        message_bytes_max: config.limits.message_bytes,
        partial_bytes_max: config.limits.partial_bytes,
    }
}

fn ring_limits(config: &Config) -> ring::Limits {
    ring::Limits {
        gop_bytes: config.limits.gop_cache_bytes,
        gop_frames: GOP_FRAMES_MAX,
        window_bytes: config.limits.viewer_queue_bytes,
        window_frames: config.limits.viewer_queue_frames,
    }
}

fn pace(config: &Config) -> Pace {
    Pace { stuck: Duration::from_secs(config.limits.viewer_stuck_sec), merge: Duration::from_millis(config.rtmp.merge_ms) }
}

fn hls_config(config: &Config) -> sightline_hls::Config {
    sightline_hls::Config {
        segment_duration_min: Duration::from_secs(config.http.hls_segment_sec),
        playlist_segments: config.http.hls_segments,
        part_duration: Duration::from_millis(config.http.hls_part_ms),
        ..sightline_hls::Config::default()
    }
}

fn recordings(
    config: &Config,
    clock: Clock,
    counts: &Arc<RecordingCounts>,
    incidents: &Arc<Incidents>,
    callbacks: &Arc<Callbacks>,
    names: &Arc<RecordedNames>,
    tasks: &TaskTracker,
) -> Option<Recordings> {
    let formats = Formats { flv: config.record.flv, mp4: config.record.fmp4 };
    let is_wanted = config.record.enabled && (formats.flv || formats.mp4);
    is_wanted.then(|| Recordings {
        clock,
        dir: config.recordings_dir(),
        names: names.clone(),
        formats,
        counts: counts.clone(),
        incidents: incidents.clone(),
        callbacks: callbacks.clone(),
        rooms: Arc::default(),
        copies: None,
        written: config.record.sync.then(Written::default),
        tasks: tasks.clone(),
    })
}

fn or_off(address: Option<SocketAddr>) -> String {
    address.map_or_else(|| "off".to_owned(), |address| address.to_string())
}

fn make_dir(key: &'static str, path: &Path) -> Result<(), StartError> {
    std::fs::create_dir_all(path).map_err(|source| StartError::File { key, path: path.to_owned(), source })
}

/// The key of the installation that the origin belongs to.
fn cluster_key(config: &Config) -> Result<Option<String>, StartError> {
    let (Some(_), Some(file)) = (&config.cloud.url, &config.cloud.cluster_key_file) else { return Ok(None) };
    let key =
        std::fs::read_to_string(file).map_err(|source| StartError::File { key: "cloud.cluster_key_file", path: file.clone(), source })?;
    Ok(Some(key.trim().to_owned()))
}

/// The way to the cloud, where there is one.
fn cloud_link(config: &Config, cluster_key: Option<&str>) -> Result<Option<CloudLink>, StartError> {
    let (Some(url), Some(key)) = (&config.cloud.url, cluster_key) else { return Ok(None) };
    CloudLink::new(url, config.cloud.ca.as_deref(), &config.server_id, key).map(Some)
}

fn reporter(config: &Config, link: CloudLink, bound: Bound<SocketAddr>) -> Reporter {
    let app = config.rtmp.apps.first().map_or("live", String::as_str);
    // Cameras elsewhere would look for it on their own machine.
    let is_out_of_reach = bound.rtmp.ip().is_loopback() && !link.is_on_this_machine();
    if is_out_of_reach && bound.rtmps.is_none() && config.cloud.rtmp_url.is_none() {
        tracing::warn!(rtmp = %bound.rtmp, "no camera on another machine can publish here: set rtmps.cert and rtmps.key, or open plain RTMP by rtmp.listen = \"0.0.0.0:1935\"");
    }
    let rtmp = if is_out_of_reach { String::new() } else { format!("rtmp://{}/{app}", bound.rtmp) };
    let addresses = Addresses {
        rtmp: config.cloud.rtmp_url.clone().unwrap_or(rtmp),
        rtmps: config.cloud.rtmps_url.clone().or_else(|| bound.rtmps.map(|at| format!("rtmps://{at}/{app}"))).unwrap_or_default(),
        http: config.cloud.http_url.clone().or_else(|| bound.http.map(|at| format!("http://{at}"))).unwrap_or_default(),
    };
    // Differs between starts; no secret hangs on it.
    let boot_id = format!("{:016x}", RandomState::new().hash_one(0_u8));
    Reporter::new(link, boot_id, addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_those_of_the_settings_or_a_share_of_what_there_is() {
        let mut settings = Config::default().limits;
        let limits = rtmp_limits(&settings, 1 << 20);
        assert_eq!((limits.connections, limits.connections_per_address), (20_000, 8_000));
        assert_eq!((limits.pending, limits.pending_per_address), (1024, 64));
        let few = rtmp_limits(&settings, 409);
        assert_eq!((few.connections, few.connections_per_address), (409, 163));
        assert!(few.pending_per_address * 8 <= few.pending, "{few:?}");
        settings.connections_per_address = 3;
        settings.pending_per_address = 1;
        let asked = rtmp_limits(&settings, 409);
        assert_eq!((asked.connections_per_address, asked.pending_per_address), (3, 1), "less is always had");
        (settings.connections_per_address, settings.pending_per_address) = (20_000, 20_000);
        let all = rtmp_limits(&settings, 1 << 20);
        assert_eq!((all.connections_per_address, all.pending, all.pending_per_address), (20_000, 20_000, 20_000), "behind one proxy");
    }
}
