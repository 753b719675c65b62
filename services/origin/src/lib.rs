//! The media server: RTMP and RTMPS in, RTMP, HTTP-FLV and HLS out, recordings, snapshots.
//!
//! A publisher comes in through `ingest`, is let through by `auth`, and its frames go into a stream of `live`: one ring, which knows no
//! wire. Outputs (`play`, `record`) hang on the stream; `wire` serialises a frame once for all viewers. `control` reports to the cloud
//! every two seconds and asks it nothing when a publisher comes: tokens are checked with keys that are here already.
#![deny(missing_docs)]

mod auth;
mod callbacks;
mod certificate;
mod clock;
mod config;
mod control;
mod copy;
mod error;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod https;
mod ingest;
mod live;
mod origin;
mod pattern;
mod play;
mod pull;
mod questions;
mod reading;
mod record;
mod relay;
mod turns;
mod via;
mod wire;

pub use auth::rules::App;
pub use callbacks::{Method as CallbackMethod, Settings as CallbackSettings, WhenFailing};
pub use config::{Config, Play};
pub use control::metrics::ConnectionCounts;
pub use copy::Store;
pub use error::StartError;
pub use origin::Origin;
pub use pull::Edge;
pub use relay::{Relay, RelayUrl};
pub use sightline_endpoint::EndpointUrl;
pub use turns::gather;
