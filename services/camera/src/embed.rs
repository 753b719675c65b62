//! The agent for applications that have their own camera and encoder.

mod stream_pusher;

pub use stream_pusher::{Callbacks, ControlError, OnMetrics, OnServerInfo, OnState, PushError, PusherStatus, ServerInfo, StreamPusher};
