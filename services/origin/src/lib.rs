//! The media server: RTMP and RTMPS in, RTMP, HTTP-FLV and HLS out, recordings, snapshots.
//!
//! A publisher's frames pass `sightline_rtmp::server::Session` and [`stream`](self), where they get the stream's own time, into one ring.
//! Every viewer is a place in that ring; a frame is serialised once for all of them. The cloud is told every two seconds what
//! there is, and asked nothing when a publisher comes: tokens are checked with keys that are here already.
#![deny(missing_docs)]

mod admission;
mod auth;
mod certificate;
mod clock;
mod config;
mod fanout;
mod hls;
mod http;
mod hub;
mod record;
mod remarks;
mod report;
mod ring;
mod rtmp;
mod snapshot;
mod stall;
mod stream;
mod timeline;
mod turns;

pub use admission::ConnectionCounts;
pub use config::{Auth, Cloud, Config, Http, Limits, Play, Record, Rtmp, Rtmps};
pub use sightline_signal::report::OriginStream;
pub use turns::gather;

use admission::Admission;
use certificate::Certificate;
use clock::Clock;
use hub::Hub;
use report::{Addresses, Reporter};
use std::hash::{BuildHasher as _, RandomState};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How often streams without a publisher are looked at.
const SWEEP_INTERVAL: Duration = Duration::from_millis(500);
/// How often refused connections are told of, if there were any.
const REFUSALS_INTERVAL: Duration = Duration::from_secs(10);
/// How long connections and recordings may take to end when the origin does.
const SHUTDOWN_WAIT: Duration = Duration::from_secs(5);
/// The most that frames may be held back to be written together, in milliseconds: beyond a second it is no live picture any more.
const MERGE_MS_MAX: u64 = 1000;

/// The least that `limits.message_bytes` may be: a key frame of a small picture.
const MESSAGE_BYTES_LEAST: u32 = 64 * 1024;
/// The most: the length field has 24 bits.
const MESSAGE_BYTES_MOST: u32 = 0x00ff_ffff;

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
    admission: Arc<Admission>,
    remarks: remarks::Remarks,
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
        let certificate = Certificate::load(&config.rtmps)?;
        let rtmp = bind("rtmp.listen", config.rtmp.listen).await?;
        let rtmps = match certificate {
            Some(certificate) => Some((bind("rtmps.listen", config.rtmps.listen).await?, certificate.acceptor()?, certificate)),
            None => None,
        };
        let http = if config.http.enabled { Some(bind("http.listen", config.http.listen).await?) } else { None };
        let local = |listener: &TcpListener| listener.local_addr().unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)));
        let (rtmp_addr, rtmps_addr, http_addr) =
            (local(&rtmp), rtmps.as_ref().map(|(listener, ..)| local(listener)), http.as_ref().map(local));

        let reporter = reporter(&config, rtmp_addr, rtmps_addr, http_addr)?;
        let shared = Arc::new(share(config));
        let tasks = &shared.tasks;
        if let Some(reporter) = reporter {
            // It reports at once, so that the keys are here early, and again when all listen.
            tasks.spawn(reporter.run(shared.clone()));
        }
        tasks.spawn(rtmp::listen(shared.clone(), rtmp, None));
        if let Some((listener, tls, certificate)) = rtmps {
            tasks.spawn(certificate.watch(shared.shutdown.clone()));
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

    /// How many RTMP and RTMPS connections there are, and what became of those before.
    #[must_use]
    pub fn connections(&self) -> ConnectionCounts {
        self.shared.admission.counts()
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
            command_timeout: Duration::from_secs(config.rtmp.command_timeout_sec),
            idle_timeout: Duration::from_secs(config.rtmp.idle_timeout_sec),
            idle_bytes_min: config.rtmp.idle_bytes_min,
            message_bytes_max: config.limits.message_bytes,
            partial_bytes_max: config.limits.partial_bytes,
        },
        clock,
        keys: auth::Keys::load(&config.server_id, config.jwks_file()),
        hub: Arc::new(Hub::new(&config, clock, tasks.clone())),
        tasks,
        shutdown: CancellationToken::new(),
        admission: Arc::new(Admission::new(&config.limits)),
        remarks: remarks::Remarks::default(),
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
    if !(MESSAGE_BYTES_LEAST..=MESSAGE_BYTES_MOST).contains(&config.limits.message_bytes) {
        return Err(StartError::Setting { key: "limits.message_bytes", reason: "is 65536 to 16777215" });
    }
    if config.limits.partial_bytes < config.limits.message_bytes as usize {
        return Err(StartError::Setting { key: "limits.partial_bytes", reason: "is at least limits.message_bytes" });
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
    let counted = shared.clone();
    let metrics = async move || counted.admission.counts().metrics() + &counted.remarks.metrics();
    let router = router.route("/metrics", axum::routing::get(metrics));
    let listener = stall::Listener::new(listener, shared.viewer_stuck());
    let shutdown = shared.shutdown.clone();
    let served = axum::serve(listener, router).with_graceful_shutdown(async move { shutdown.cancelled().await }).await;
    if let Err(error) = served {
        tracing::error!(%error, "HTTP is not served any more");
    }
}

/// Gives up streams whose publisher has not come back, and says when connections were refused.
async fn sweep(shared: Arc<Shared>) {
    let mut interval = tokio::time::interval(SWEEP_INTERVAL);
    let mut refusals = tokio::time::interval(REFUSALS_INTERVAL);
    let mut before = ConnectionCounts::default();
    loop {
        tokio::select! {
            () = shared.shutdown.cancelled() => return,
            _ = interval.tick() => shared.hub.sweep(false),
            _ = refusals.tick() => before = tell_refusals(before, shared.admission.counts()),
        }
    }
}

/// One line for all that were refused since the last: the log's length is not the attacker's to choose.
fn tell_refusals(before: ConnectionCounts, now: ConnectionCounts) -> ConnectionCounts {
    let (total, address) = (now.refused_total - before.refused_total, now.refused_address - before.refused_address);
    let (pending, timeouts) = (now.refused_pending - before.refused_pending, now.timeouts - before.timeouts);
    if total + address + pending > 0 {
        tracing::warn!(total, address, pending, timeouts, open = now.open, "connections were refused: see limits.connections and its kin");
    }
    now
}
