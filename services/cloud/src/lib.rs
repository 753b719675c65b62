//! `sightline-cloud`: broker, registry, allocator, keys, audit, HTTP API and console in one process (specification §3).
//!
//! The shell around `core/signal` and `core/placement`. State is in SQLite under `data_dir`; what is only true while it runs
//! (who is connected, how loaded a server is) is in memory and comes back by itself from reports and retained messages.
//!
//! ```no_run
//! # async fn run() -> Result<(), sightline_cloud::CloudError> {
//! let config = sightline_cloud::Config::in_dir("sightline-data")?;
//! let cloud = sightline_cloud::Cloud::start(config, axum::Router::new()).await?;
//! println!("http://{}", cloud.http_addr());
//! cloud.shutdown().await;
//! # Ok(())
//! # }
//! ```
#![deny(missing_docs)]

pub mod admin;
mod allocator;
mod audit;
mod authority;
mod broker;
mod config;
mod data_dir;
mod database;
mod device_settings;
mod error;
mod http;
mod inventory;
mod presence;
mod rate_limit;
mod signing_keys;
mod state;
mod tls;
mod watch;

pub use config::{ApiConfig, Config, HttpConfig, MqttConfig, StaticServer, TOKEN_TTL_SEC_MAX, TOKEN_TTL_SEC_MIN, TokenConfig};
pub use error::CloudError;
/// Why the cloud did not start.
pub type StartError = CloudError;

use state::State;
use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long open connections may take to end; viewers of endless streams never do by themselves.
const SHUTDOWN_WAIT: Duration = Duration::from_secs(3);

/// A running cloud. Dropping it without [`Cloud::shutdown`] ends its tasks without waiting for them.
#[derive(Debug)]
pub struct Cloud {
    state: Arc<State>,
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
    /// [`CloudError`] names the setting, the file or the address, and the mend.
    pub async fn start(config: Config, extra: axum::Router) -> Result<Self, StartError> {
        config.validate()?;
        let state = State::open(&config).await?;
        let http_listener = listen("HTTP", "http.listen", config.http.listen).await?;
        let http_addr = local(&http_listener, config.http.listen)?;
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let mut mqtts_addr = None;
        if let Some(broker) = &state.broker {
            broker.restore().await;
            let listener = listen("MQTT", "mqtt.listen", config.mqtt.listen).await?;
            mqtts_addr = Some(local(&listener, config.mqtt.listen)?);
            let tls = tls::server_config(&state.dir, tls::ClientCertificate::Required, &[])?;
            tasks.spawn(Arc::clone(broker).serve(listener, tls, tasks.clone(), stop.clone()));
        }
        let tls = tls::server_config(&state.dir, tls::ClientCertificate::Optional, &[b"http/1.1"])?;
        let router = http::router(Arc::clone(&state), extra);
        tasks.spawn(http::serve(http_listener, tls, router, tasks.clone(), stop.clone()));
        tasks.spawn(watch::run(Arc::clone(&state), stop.clone()));
        tracing::info!(%http_addr, ?mqtts_addr, data_dir = %config.data_dir.display(), "the cloud is up");
        Ok(Self { state, http_addr, mqtts_addr, tasks, stop })
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
        self.state.dir.file("cluster.key")
    }

    /// True once a server can take streams: an origin has reported, or one of others is entered by hand.
    #[must_use]
    pub fn has_server(&self) -> bool {
        self.state.inventory.servers().iter().any(|server| server.alive)
    }

    /// The file with the token that the API asks for; `None` while it is open to this machine.
    #[must_use]
    pub fn operator_token_path(&self) -> Option<PathBuf> {
        self.state.operator_token_path.clone()
    }

    /// Ends all connections and writes down what was not written yet.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(SHUTDOWN_WAIT, self.tasks.wait()).await.is_err() {
            tracing::info!("some connections did not end in time and were cut");
        }
        self.state.store_last_seen().await;
        self.state.database.close().await;
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn listen(what: &'static str, key: &'static str, address: SocketAddr) -> Result<TcpListener, CloudError> {
    TcpListener::bind(address).await.map_err(|source| CloudError::Listen { what, key, address, source })
}

fn local(listener: &TcpListener, address: SocketAddr) -> Result<SocketAddr, CloudError> {
    listener.local_addr().map_err(|source| CloudError::Listen { what: "a port", key: "listen", address, source })
}
