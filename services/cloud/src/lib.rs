//! `sightline-cloud`: broker, registry, allocator, keys, audit, HTTP API and console in one process (specification §3).
//!
//! The shell around `core/signal` and `core/placement`. State is in the database under `data_dir`. What is only true while the
//! process runs (who is connected, how loaded a server is) is in memory, and comes back by itself from reports and retained
//! messages.
//!
//! ```no_run
//! # async fn run() -> Result<(), sightline_cloud::StartError> {
//! let config = sightline_cloud::Config::in_dir("sightline-data")?;
//! let cloud = sightline_cloud::Cloud::start(config, axum::Router::new()).await?;
//! println!("http://{}", cloud.http_addr());
//! cloud.shutdown().await;
//! # Ok(())
//! # }
//! ```
#![deny(missing_docs)]

pub mod admin;
mod allocate;
mod audit;
pub mod backup;
mod clock;
mod cloud;
mod config;
mod data_dir;
mod devices;
mod error;
mod events;
mod holds;
mod hooks;
mod http;
mod identity;
mod marks;
mod monitoring;
mod mqtt;
mod people;
mod playback;
mod rate_limit;
mod readiness;
mod relays;
mod secrets;
mod servers;
mod store;
mod watch;

pub use cloud::Cloud;
pub use config::{Config, SettingError};
pub use data_dir::DataDirError;
pub use error::{AdminError, StartError};
pub use http::state::SettingsCheck;
pub use identity::signing_keys::KeyError;
pub use store::error::StoreError;
