//! Starts the parts and puts them together.

use crate::{
    allocate::allocator::{Allocator, Parts},
    audit::{
        checkpoints::{CheckpointKey, Checkpoints},
        refusals::Refusals,
    },
    clock::Clock,
    config::Config,
    data_dir::{self, DataDir},
    devices::{
        commands::Commands, on_demand::OnDemand, presence::Presence, registry::Registry, renewals::Renewals, results::Results,
        settings::SettingsIntake,
    },
    error::StartError,
    events::log::EventLog,
    holds::Holds,
    hooks::Hooks,
    http::{
        self,
        state::{ClusterKey, Http, SettingsCheck},
    },
    identity::{
        authority::Authority,
        certificates::Certificates,
        operator_certificates::OperatorCertificates,
        operators::Operators,
        signing_keys::SigningKeys,
        tls::{self, ClientCertificate, ServerCertificate},
    },
    marks::Marks,
    monitoring::Monitoring,
    mqtt::{
        builtin::broker::{self, Broker},
        bus::Bus,
        uplink::Uplink,
    },
    people::{passwords::Passwords, sessions::Sessions},
    playback::Playback,
    readiness::Readiness,
    relays::Relays,
    secrets::sha256,
    servers::{entered::Entered, inventory::Inventory, lives::Lives, publishing::Publishing, reports::Reports},
    store::Store,
    watch::Watch,
};
use sightline_claim::Claim;
use sightline_endpoint::Client;
use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long open connections may take to end; viewers of endless streams never do by themselves.
const SHUTDOWN_WAIT: Duration = Duration::from_secs(3);

/// A running cloud. Dropping it without [`Cloud::shutdown`] ends its tasks without waiting for them.
#[derive(Debug)]
pub struct Cloud {
    _claim: Claim,
    dir: DataDir,
    parts: Http,
    http_addr: SocketAddr,
    mqtts_addr: Option<SocketAddr>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Cloud {
    /// Starts everything that `config` asks for, and returns once both ports listen.
    ///
    /// `extra` is merged into the HTTP port's routes: the origin's `/live/…` in one process. Its routes must not be ours.
    /// What is under `/live/` and not in `extra` is redirected to the origin that has it.
    ///
    /// # Errors
    /// [`StartError`] names the setting, the file or the address, and the fix.
    pub async fn start(config: Config, extra: axum::Router) -> Result<Self, StartError> {
        Self::start_checking(config, extra, |_| Ok(())).await
    }

    /// The same; what `check` refuses of settings from afar, in its words, the API refuses.
    ///
    /// # Errors
    /// Like [`Cloud::start`].
    pub async fn start_checking(config: Config, extra: axum::Router, check: SettingsCheck) -> Result<Self, StartError> {
        config.validate()?;
        // Before anything is opened: the places of the ports are derived from it.
        sightline_listen::descriptors::raise();
        let dir = DataDir::open(&config.data_dir)?;
        let claim = dir.claim()?;
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let parts = assemble(&config, &dir, check, &tasks).await?;
        // Read before anything listens: whatever changes later has a higher epoch.
        let seen = parts.store.newest_epoch().await?;
        let http_listener = listen("HTTP", "http.listen", config.http.listen).await?;
        let http_addr = local(&http_listener, config.http.listen)?;
        let certificate = ServerCertificate::load(&dir)?;
        let mut mqtts_addr = None;
        if let Some(Bus::Builtin(broker)) = &parts.bus {
            broker.restore().await;
            let listener = listen("MQTT", "mqtt.listen", config.mqtt.listen).await?;
            mqtts_addr = Some(local(&listener, config.mqtt.listen)?);
            let tls = tls::server_config(&dir, &certificate, ClientCertificate::Required, &[])?;
            tasks.spawn(Arc::clone(broker).serve(listener, tls, tasks.clone(), stop.clone()));
        }
        let tls = tls::server_config(&dir, &certificate, ClientCertificate::Optional, &[b"http/1.1"])?;
        // Checked with the settings.
        let proxies = sightline_listen::Proxies::parse(&config.http.trusted_proxies).unwrap_or_default();
        tasks.spawn(http::serve(http_listener, tls, http::router(parts.clone(), extra), proxies, tasks.clone(), stop.clone()));
        let certificates = Certificates {
            authority: Authority::open(&dir, parts.clock.clone())?,
            host_names: config.host_names.clone(),
            server: certificate,
            store: parts.store.clone(),
            events: Arc::clone(&parts.events),
            clock: parts.clock.clone(),
            looked_at: None,
        };
        tasks.spawn(Arc::clone(&parts.hooks).run(tasks.clone(), stop.clone()));
        tasks.spawn(watch(&parts, certificates).run(seen, stop.clone()));
        let mqtts = mqtts_addr.map_or_else(|| "off".to_owned(), |address| address.to_string());
        let token =
            parts.operators.token_path().map_or_else(|| "none asked for on this machine".to_owned(), |path| path.display().to_string());
        let console = format!("https://{http_addr}/");
        tracing::info!(console, operator_token = token, mqtts, data_dir = %config.data_dir.display(), "the cloud is up");
        Ok(Self { _claim: claim, dir, parts, http_addr, mqtts_addr, tasks, stop })
    }

    /// Where HTTP and HTTPS listen.
    #[must_use]
    pub fn http_addr(&self) -> SocketAddr {
        self.http_addr
    }

    /// Where MQTT over TLS listens; `None` if the broker is switched off.
    #[must_use]
    pub fn mqtts_addr(&self) -> Option<SocketAddr> {
        self.mqtts_addr
    }

    /// The file with the key that origins show with their reports.
    #[must_use]
    pub fn cluster_key_path(&self) -> PathBuf {
        self.dir.file("cluster.key")
    }

    /// True once a server can take streams: an origin has reported, or the settings list a server of others.
    #[must_use]
    pub fn has_server(&self) -> bool {
        self.parts.inventory.servers().iter().any(|server| server.alive)
    }

    /// The file with the token that the API asks for; `None` while it is open to this machine.
    #[must_use]
    pub fn operator_token_path(&self) -> Option<PathBuf> {
        self.parts.operators.token_path()
    }

    /// Shows `metrics` with our own at `/metrics`: those of an origin in the same process, whose streams this port serves.
    pub fn show_metrics(&self, metrics: impl Fn() -> String + Send + Sync + 'static) {
        self.parts.monitoring.add(metrics);
    }

    /// Ends all connections and stores what was not stored yet.
    pub async fn shutdown(self) {
        self.parts.events.close();
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(SHUTDOWN_WAIT, self.tasks.wait()).await.is_err() {
            tracing::info!("some connections did not end in time and were cut");
        }
        if let Err(error) = self.parts.presence.store_last_seen(&self.parts.store).await {
            tracing::warn!(%error, "when devices were last seen was not stored");
        }
        self.parts.store.close().await;
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Opens the data directory and makes all parts, the lower ones first.
async fn assemble(config: &Config, dir: &DataDir, settings_check: SettingsCheck, tasks: &TaskTracker) -> Result<Http, StartError> {
    let clock = Clock::default();
    let authority = Authority::open(dir, clock.clone())?;
    authority.ensure_server(&config.host_names)?;
    authority.ensure_operator()?;
    let cluster_key = data_dir::read_or_make_secret(&dir.file("cluster.key"))?;
    let certificates = OperatorCertificates::open(dir, clock.clone())?;
    let operators = Operators::open(config, dir, certificates.clone())?;
    let store = Store::open(dir, clock.clone()).await?;
    let keys = SigningKeys::open(store.clone(), clock.clone()).await?;
    let inventory = Arc::new(Inventory::new(&config.servers, store.allocations().await?, clock.clone()));
    let events = Arc::new(EventLog::new(store.clone(), clock.clone()));
    let presence = Arc::new(Presence::new(Arc::clone(&events), clock.clone()));
    let refusals = Arc::new(Refusals::new(store.clone(), clock.clone()));
    let allocator = Arc::new(Allocator::new(Parts {
        store: store.clone(),
        inventory: Arc::clone(&inventory),
        presence: Arc::clone(&presence),
        events: Arc::clone(&events),
        keys: keys.clone(),
        clock: clock.clone(),
        refusals: Arc::clone(&refusals),
        token_ttl_sec: config.token.ttl_sec,
    }));
    let renewals = Arc::new(Renewals::new(
        Authority::open(dir, clock.clone())?,
        store.clone(),
        Arc::clone(&events),
        Arc::clone(&refusals),
        clock.clone(),
    ));
    let passwords = Passwords::new(tasks.clone());
    let session_sec = config.api.session_sec;
    let sessions = Arc::new(Sessions::new(store.clone(), clock.clone(), passwords, Arc::clone(&refusals), session_sec));
    let results = Arc::<Results>::default();
    let bus = config.mqtt.enabled.then(|| {
        let intake = SettingsIntake::new(store.clone(), clock.clone());
        let uplink =
            Uplink::new(Arc::clone(&allocator), Arc::clone(&presence), Arc::clone(&results), intake, Arc::clone(&renewals), store.clone());
        let parts = broker::Parts {
            store: store.clone(),
            presence: Arc::clone(&presence),
            events: Arc::clone(&events),
            clock: clock.clone(),
            uplink: Arc::new(uplink),
            operators: certificates,
            refusals: Arc::clone(&refusals),
        };
        Bus::Builtin(Broker::new(parts))
    });
    let commands = Arc::new(Commands::new(bus.clone(), Arc::clone(&presence), results));
    let playback = Arc::new(Playback::new(store.clone(), keys.clone(), clock.clone()));
    let relays = Arc::new(Relays::new(store.clone(), clock.clone()));
    let holds = Arc::new(Holds::new(store.clone(), clock.clone()));
    let on_demand = Arc::new(OnDemand::new(
        store.clone(),
        Arc::clone(&inventory),
        Arc::clone(&presence),
        Arc::clone(&commands),
        Arc::clone(&events),
        clock.clone(),
        config.on_demand.lease_sec,
    ));
    let reports = Arc::new(Reports {
        store: store.clone(),
        inventory: Arc::clone(&inventory),
        events: Arc::clone(&events),
        keys: keys.clone(),
        commands: Arc::clone(&commands),
        refusals: Arc::clone(&refusals),
        lives: Lives::new(clock.unix_secs()),
        checkpoints: Checkpoints::new(CheckpointKey::open(dir)?, store.clone(), Arc::clone(&events), clock.clone()),
        playback: Arc::clone(&playback),
        relays: Arc::clone(&relays),
        holds: Arc::clone(&holds),
        short: Mutex::default(),
        on_demand: Arc::clone(&on_demand),
    });
    let publishing =
        Arc::new(Publishing { store: store.clone(), keys: keys.clone(), clock: clock.clone(), refusals: Arc::clone(&refusals) });
    let entered = Arc::new(Entered { store: store.clone(), inventory: Arc::clone(&inventory), commands: Arc::clone(&commands) });
    entered.refresh().await?;
    let marks = Arc::new(Marks::new(store.clone(), Arc::clone(&events), clock.clone()));
    let hooks = Arc::new(Hooks::new(store.clone(), Arc::clone(&events), clock.clone(), config.hooks.allow_private_addresses));
    let readiness = Arc::new(Readiness::new(store.clone(), Arc::clone(&events), clock.clone()));
    Ok(Http {
        allocator,
        bus,
        cluster_key: ClusterKey { sha256: sha256(cluster_key.reveal()) },
        commands,
        entered,
        events,
        holds,
        hooks,
        inventory,
        keys,
        marks,
        on_demand,
        monitoring: Monitoring::new(),
        operators,
        presence,
        readiness,
        refusals,
        sessions,
        settings_check,
        renewals,
        playback,
        publishing,
        relays,
        registry: Arc::new(Registry::new(dir.clone(), authority, store.clone(), clock.clone())),
        reports,
        store,
        // Origins are ours, wherever they are.
        client: Client::new(true, ""),
        clock,
    })
}

fn watch(parts: &Http, certificates: Certificates) -> Watch {
    Watch {
        certificates,
        store: parts.store.clone(),
        clock: parts.clock.clone(),
        bus: parts.bus.clone(),
        inventory: Arc::clone(&parts.inventory),
        entered: Arc::clone(&parts.entered),
        presence: Arc::clone(&parts.presence),
        events: Arc::clone(&parts.events),
        keys: parts.keys.clone(),
        monitoring: parts.monitoring.clone(),
        readiness: Arc::clone(&parts.readiness),
        refusals: Arc::clone(parts.allocator.refusals()),
    }
}

async fn listen(what: &'static str, key: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| StartError::Listen { what, key, address, source })
}

fn local(listener: &TcpListener, address: SocketAddr) -> Result<SocketAddr, StartError> {
    listener.local_addr().map_err(|source| StartError::Listen { what: "a port", key: "listen", address, source })
}
