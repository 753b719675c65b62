//! The device agent: a source of pictures, an encoder, and the loop around `core/pusher` (specification §1).
//!
//! It decides nothing about streaming: where to push, when to try again, what to leave out and how much to encode come from
//! [`sightline_pusher::Pusher`]. This crate owns what that one may not know: threads, sockets, TLS, MQTT, files and clocks.

mod agent;
mod config;
pub mod doctor;
mod fleet;
mod link;
mod mqtt;
mod preroll;
pub mod probe;
mod recorder;
mod schedule;
mod state;
mod stream_pusher;
mod tcp;

pub use agent::{Agent, Outcome, Rounds, StartError, StreamEvent};
pub use config::{Config, MotionConfig, MqttConfig, Problem, RecordingConfig, Secret, SourceName, StreamConfig};
pub use fleet::{CAMERAS_MAX, Camera, Fleet, FleetError};
pub use recorder::RecorderError;
pub use schedule::{Day, Window};
pub use stream_pusher::{Callbacks, ControlError, OnMetrics, OnServerInfo, OnState, PushError, PusherStatus, ServerInfo, StreamPusher};
