//! The device agent: a source of pictures, an encoder, and the loop around `core/pusher` (specification §1).
//!
//! It decides nothing about streaming: where to push, when to try again, what to leave out and how much to encode come from
//! [`sightline_pusher::Pusher`]. This crate owns what that one may not know: threads, sockets, TLS, MQTT, files and clocks.

mod agent;
mod clock;
mod config;
pub mod doctor;
mod encoder;
mod fleet;
mod link;
mod motion;
mod mqtt;
mod picture;
mod pipeline;
mod preroll;
pub mod probe;
mod recorder;
pub mod scene;
mod schedule;
mod source;
pub mod stamp;
mod state;
mod stream_pusher;
mod tcp;
mod videodev;

pub use agent::{Agent, Outcome, StartError, StreamEvent};
pub use config::{Config, MotionConfig, MqttConfig, Problem, RecordingConfig, StreamConfig};
pub use encoder::{ENCODER_BUILD, measure_encoder_fps};
pub use fleet::{CAMERAS_MAX, Camera, Fleet, FleetError};
pub use motion::{Zone, ZoneKind};
pub use picture::Picture;
pub use recorder::RecorderError;
pub use schedule::{Day, Window};
pub use source::{CameraUrl, PixelFormat, Source, SourceError, V4l2Camera};
pub use stream_pusher::{Callbacks, ControlError, OnMetrics, OnServerInfo, OnState, PushError, PusherStatus, ServerInfo, StreamPusher};
