//! The device agent: a source of pictures, an encoder, and the loop around `core/pusher` (specification §1).
//!
//! It decides nothing about streaming: where to push, when to try again, what to leave out and how much to encode come from
//! [`sightline_pusher::Pusher`]. This crate owns what that one may not know: sockets, TLS, MQTT, files and threads. Pictures come from the crates under `video/`.

mod agent;
mod blocking;
mod cloud;
mod config;
pub mod doctor;
mod embed;
mod fleet;
mod optional;
pub mod probe;
mod record;
mod schedule;
mod stream_key;

pub use agent::{Agent, Outcome, Rounds, StartError, StreamEvent};
pub use config::{Config, Secret, SourceName, afar::check_settings_from_afar};
pub use embed::{Callbacks, ControlError, OnMetrics, OnServerInfo, OnState, PushError, PusherStatus, ServerInfo, StreamPusher};
pub use fleet::{Fleet, FleetError, Keeper};
pub use record::recorder::RecorderError;
