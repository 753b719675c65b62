//! The media server: RTMP and RTMPS in, RTMP, HTTP-FLV and HLS out, recordings, snapshots.
//!
//! A publisher's frames pass `sightline_rtmp::server::Session` and [`stream`](self), where they get the stream's own time, into one ring.
//! Every viewer is a place in that ring; a frame is serialised once for all of them. The cloud is told every two seconds what
//! there is, and asked nothing when a publisher comes: tokens are checked with keys that are here already.
#![deny(missing_docs)]

mod auth;
mod clock;
mod config;
mod fanout;
mod hls;
mod http;
mod hub;
mod record;
mod report;
mod ring;
mod rtmp;
mod snapshot;
mod stall;
mod stream;
mod timeline;
mod turns;

pub use config::{Auth, Cloud, Config, Http, Limits, Play, Record, Rtmp, Rtmps};
pub use sightline_signal::report::OriginStream;
pub use turns::gather;

use clock::Clock;
use hub::Hub;
use report::{Addresses, Reporter};
use std::hash::{BuildHasher as _, RandomState};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How often streams without a publisher are looked at.
const SWEEP_INTERVAL: Duration = Duration::from_millis(500);
/// How long connections and recordings may take to end when the origin does.
const SHUTDOWN_WAIT: Duration = Duration::from_secs(5);
/// The most that frames may be held back to be written together, in milliseconds: beyond a second it is no live picture any more.
const MERGE_MS_MAX: u64 = 1000;

/// Why the origin does not start. Each says what to change.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address can't be listened on.
    #[error("{key} can't listen on {address}: {source}; set another address, or stop what listens there")]
    Listen {
        /// The setting.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file or directory can't be read or made.
    #[error("{key}: {} can't be used: {source}", path.display())]
    File {
        /// The setting.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Certificate and key don't make a TLS server.
    #[error("rtmps.cert and rtmps.key: {reason}; give a PEM chain and its private key")]
    Tls {
        /// Why.
        reason: String,
    },
    /// A setting is missing or out of range.
    #[error("{key} {reason}")]
    Setting {
        /// The setting.
        key: &'static str,
        /// What is wrong, and the mend.
        reason: &'static str,
    },
    /// The HTTP client for the reports can't be made.
    #[error("the reports' HTTP client can't be made: {0}")]
    Client(#[from] reqwest::Error),
}

/// What all tasks of an origin share.
struct Shared {
    config: Config,
    session_config: sightline_rtmp::server::Config,
    clock: Clock,
    keys: auth::Keys,
    hub: Arc<Hub>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
    connections: Arc<Semaphore>,
}

impl Shared {
    fn viewer_stuck(&self) -> Duration {
        Duration::from_secs(self.config.limits.viewer_stuck_sec)
    }

    fn pace(&self) -> fanout::Pace {
        fanout::Pace { stuck: self.viewer_stuck(), merge: Duration::from_millis(self.config.rtmp.merge_ms) }
    }
}

/// A running origin.
pub struct Origin {
    shared: Arc<Shared>,
    rtmp: SocketAddr,
    rtmps: Option<SocketAddr>,
    http: Option<SocketAddr>,
}

impl std::fmt::Debug for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Origin").field("rtmp", &self.rtmp).field("rtmps", &self.rtmps).field("http", &self.http).finish_non_exhaustive()
    }
}

impl Origin {
    /// Binds, tells the cloud, and serves from then on. Needs a multi-threaded Tokio runtime.
    ///
    /// # Errors
    /// [`StartError`], with the setting to change.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        check(&config)?;
        make_dir("data_dir", &config.data_dir)?;
        if config.record.enabled {
            make_dir("record.dir", &config.recordings_dir())?;
        }
        let tls = tls_acceptor(&config.rtmps)?;
        let rtmp = bind("rtmp.listen", config.rtmp.listen).await?;
        let rtmps = if let Some(tls) = tls { Some((bind("rtmps.listen", config.rtmps.listen).await?, tls)) } else { None };
        let http = if config.http.enabled { Some(bind("http.listen", config.http.listen).await?) } else { None };
        let local = |listener: &TcpListener| listener.local_addr().unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)));
        let (rtmp_addr, rtmps_addr, http_addr) =
            (local(&rtmp), rtmps.as_ref().map(|(listener, _)| local(listener)), http.as_ref().map(local));

        let reporter = reporter(&config, rtmp_addr, rtmps_addr, http_addr)?;
        let shared = Arc::new(share(config));
        let tasks = &shared.tasks;
        if let Some(reporter) = reporter {
            // It reports at once, so that the keys are here early, and again when all listen.
            tasks.spawn(reporter.run(shared.clone()));
        }
        tasks.spawn(rtmp::listen(shared.clone(), rtmp, None));
        if let Some((listener, tls)) = rtmps {
            tasks.spawn(rtmp::listen(shared.clone(), listener, Some(tls)));
        }
        if let Some(listener) = http {
            tasks.spawn(serve_http(shared.clone(), listener));
        }
        tasks.spawn(sweep(shared.clone()));
        shared.hub.changed.notify_one();
        tracing::info!(rtmp = %rtmp_addr, rtmps = ?rtmps_addr, http = ?http_addr, recordings = ?shared.hub.recordings_dir(), "the origin serves");
        Ok(Self { shared, rtmp: rtmp_addr, rtmps: rtmps_addr, http: http_addr })
    }

    /// The routes `/live/…`, to be mounted wherever there is an HTTP server.
    pub fn router(&self) -> axum::Router {
        http::router(self.shared.clone())
    }

    /// Where RTMP listens.
    #[must_use]
    pub fn rtmp_addr(&self) -> SocketAddr {
        self.rtmp
    }

    /// Where RTMPS listens, if it does.
    #[must_use]
    pub fn rtmps_addr(&self) -> Option<SocketAddr> {
        self.rtmps
    }

    /// Where HTTP listens, if it does.
    #[must_use]
    pub fn http_addr(&self) -> Option<SocketAddr> {
        self.http
    }

    /// The live streams, as the cloud is told of them.
    #[must_use]
    pub fn streams(&self) -> Vec<OriginStream> {
        self.shared.hub.describe()
    }

    /// Ends all connections, finishes the recordings, and waits for it, five seconds at most.
    pub async fn shutdown(self) {
        self.shared.shutdown.cancel();
        self.shared.hub.sweep(true);
        self.shared.tasks.close();
        if tokio::time::timeout(SHUTDOWN_WAIT, self.shared.tasks.wait()).await.is_err() {
            tracing::warn!("some connections did not end in time");
        }
    }
}

fn share(config: Config) -> Shared {
    let (clock, tasks) = (Clock::start(), TaskTracker::new());
    Shared {
        session_config: sightline_rtmp::server::Config {
            chunk_size: config.rtmp.chunk_size,
            apps: config.rtmp.apps.clone(),
            handshake_timeout: Duration::from_secs(config.rtmp.handshake_timeout_sec),
            idle_timeout: Duration::from_secs(config.rtmp.idle_timeout_sec),
        },
        clock,
        keys: auth::Keys::load(&config.server_id, config.jwks_file()),
        hub: Arc::new(Hub::new(&config, clock, tasks.clone())),
        tasks,
        shutdown: CancellationToken::new(),
        connections: Arc::new(Semaphore::new(config.limits.connections.min(Semaphore::MAX_PERMITS))),
        config,
    }
}

/// Differs between connections and between starts; no secret hangs on it.
fn seed() -> u64 {
    RandomState::new().hash_one(0_u8)
}

fn check(config: &Config) -> Result<(), StartError> {
    let id = &config.server_id;
    if id.is_empty() || id.len() > 64 || !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-') {
        return Err(StartError::Setting { key: "server_id", reason: "is made of 1 to 64 characters A-Z a-z 0-9 _ -" });
    }
    if !(128..=sightline_rtmp::CHUNK_SIZE_MAX).contains(&config.rtmp.chunk_size) {
        return Err(StartError::Setting { key: "rtmp.chunk_size", reason: "is 128 to 1048576" });
    }
    if config.rtmp.merge_ms > MERGE_MS_MAX {
        return Err(StartError::Setting { key: "rtmp.merge_ms", reason: "is 0 to 1000; 0 sends each frame at once" });
    }
    if config.rtmp.apps.is_empty() {
        return Err(StartError::Setting { key: "rtmp.apps", reason: "names no application; the default is [\"live\"]" });
    }
    if config.cloud.url.is_some() && config.cloud.cluster_key_file.is_none() {
        return Err(StartError::Setting {
            key: "cloud.cluster_key_file",
            reason: "is missing; the cloud takes no report without the cluster's key",
        });
    }
    Ok(())
}

fn make_dir(key: &'static str, path: &Path) -> Result<(), StartError> {
    std::fs::create_dir_all(path).map_err(|source| StartError::File { key, path: path.to_owned(), source })
}

async fn bind(key: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| StartError::Listen { key, address, source })
}

fn tls_acceptor(settings: &Rtmps) -> Result<Option<TlsAcceptor>, StartError> {
    use rustls_pki_types::pem::PemObject as _;
    use rustls_pki_types::{CertificateDer, PrivateKeyDer};
    let (cert, key) = match (&settings.cert, &settings.key) {
        (Some(cert), Some(key)) => (cert, key),
        (None, None) => return Ok(None),
        (Some(_), None) => return Err(StartError::Setting { key: "rtmps.key", reason: "is missing; rtmps.cert needs its private key" }),
        (None, Some(_)) => return Err(StartError::Setting { key: "rtmps.cert", reason: "is missing; rtmps.key needs its certificate" }),
    };
    let read =
        |key: &'static str, path: &Path| std::fs::read(path).map_err(|source| StartError::File { key, path: path.to_owned(), source });
    let refused = |reason: &dyn std::fmt::Display| StartError::Tls { reason: reason.to_string() };
    let chain =
        CertificateDer::pem_slice_iter(&read("rtmps.cert", cert)?).collect::<Result<Vec<_>, _>>().map_err(|error| refused(&error))?;
    let key = PrivateKeyDer::from_pem_slice(&read("rtmps.key", key)?).map_err(|error| refused(&error))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| refused(&error))?;
    Ok(Some(TlsAcceptor::from(Arc::new(server))))
}

fn reporter(
    config: &Config,
    rtmp: SocketAddr,
    rtmps: Option<SocketAddr>,
    http: Option<SocketAddr>,
) -> Result<Option<Reporter>, StartError> {
    let (Some(url), Some(file)) = (&config.cloud.url, &config.cloud.cluster_key_file) else { return Ok(None) };
    let key =
        std::fs::read_to_string(file).map_err(|source| StartError::File { key: "cloud.cluster_key_file", path: file.clone(), source })?;
    let app = config.rtmp.apps.first().map_or("live", String::as_str);
    let addresses = Addresses {
        rtmp: config.cloud.rtmp_url.clone().unwrap_or_else(|| format!("rtmp://{rtmp}/{app}")),
        rtmps: config.cloud.rtmps_url.clone().or_else(|| rtmps.map(|at| format!("rtmps://{at}/{app}"))).unwrap_or_default(),
        http: config.cloud.http_url.clone().or_else(|| http.map(|at| format!("http://{at}"))).unwrap_or_default(),
    };
    let boot_id = format!("{:016x}", seed());
    Ok(Some(Reporter::new(url, &config.server_id, key.trim().to_owned(), boot_id, addresses)?))
}

async fn serve_http(shared: Arc<Shared>, listener: TcpListener) {
    let router = http::router(shared.clone()).route("/healthz", axum::routing::get(async || "ok\n"));
    let listener = stall::Listener::new(listener, shared.viewer_stuck());
    let shutdown = shared.shutdown.clone();
    let served = axum::serve(listener, router).with_graceful_shutdown(async move { shutdown.cancelled().await }).await;
    if let Err(error) = served {
        tracing::error!(%error, "HTTP is not served any more");
    }
}

/// Gives up streams whose publisher has not come back.
async fn sweep(shared: Arc<Shared>) {
    let mut interval = tokio::time::interval(SWEEP_INTERVAL);
    loop {
        tokio::select! {
            () = shared.shutdown.cancelled() => return,
            _ = interval.tick() => shared.hub.sweep(false),
        }
    }
}
