//! Settings of a stream, with the seed's names and defaults (specification §1.3).

use core::time::Duration;
use sightline_signal::{CustomQuality, DeviceId, Quality, SERVERS_MAX, Settings, Text};

/// What starts a stream (specification §1.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Trigger {
    /// By API, command or console. Both start and stop are idempotent.
    Manual,
    /// By motion: the shell has a detector and a [`crate::MotionGate`], and hands in [`crate::Input::Trigger`].
    Motion,
    /// By the clock: the shell has a calendar, and hands in [`crate::Input::Trigger`].
    Scheduled,
    /// Always, without end.
    AlwaysOn,
    /// By command, on a lease that viewers renew: a lost `stop` never leaves a camera streaming.
    OnDemand,
}

/// A server given by hand: no discovery.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct FixedServer {
    /// `rtmp://host[:port]/app` or `rtmps://…`: the server, then its backups, which are tried at once when it dies.
    pub tc_urls: heapless::Vec<Text<192>, SERVERS_MAX>,
    /// The name to publish under, with its query. It may hold a key: never printed.
    pub name: Text<512>,
}

impl core::fmt::Debug for FixedServer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("FixedServer").field("tc_urls", &self.tc_urls).field("name", &"***").finish()
    }
}

/// Settings of a pusher.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who this is.
    pub device: DeviceId,
    /// The preset. Default `high`.
    pub quality: Quality,
    /// The numbers of `quality = custom`.
    pub custom: Option<CustomQuality>,
    /// What starts the stream.
    pub trigger: Trigger,
    /// Whether it streams at all; without, commands to start are refused. Default true.
    pub live_streaming: bool,
    /// Lower and raise the bit rate with the link. Default true.
    pub adaptive_bitrate: bool,
    /// Before a stream's first connection publishes, see what the uplink carries, and begin with the preset that fits. Only where the bit
    /// rate is adaptive and the link reports what has arrived. Default true.
    pub bandwidth_check: bool,
    /// Try again after a failure. Default true.
    pub auto_reconnect: bool,
    /// Failed rounds on one set of servers before the next discovery. Default 5.
    pub max_reconnect_attempts: u32,
    /// The first delay; doubles with each failure, up to 60 s. Default 10 s.
    pub reconnect_interval: Duration,
    /// Each delay is drawn from ± this share. Default 0.2.
    pub reconnect_jitter: f32,
    /// Leave frames out when the link is too slow; otherwise the stream ends with `SEND_TIMEOUT`. Default true.
    pub frame_dropping: bool,
    /// The queue is never older than this. Default 3 s.
    pub target_latency: Duration,
    /// Frames that may wait for the link, at most as many as the pusher has room for (its `QUEUE`). Default: all of it.
    pub queue_frames_max: usize,
    /// Bytes that the queue may hold besides its number of frames. Default 4 MiB.
    pub queue_bytes_max: usize,
    /// The bit rate never goes below this. Default 150 kbit/s.
    pub min_bitrate_bps: u32,
    /// For an answer to a discovery. Default 10 s.
    pub discovery_timeout: Duration,
    /// For DNS, TCP and TLS together. Default 10 s.
    pub connect_timeout: Duration,
    /// For RTMP's handshake. Default 10 s.
    pub handshake_timeout: Duration,
    /// For the answer to the connect, and again for that to the publish. Default 10 s.
    pub publish_timeout: Duration,
    /// Without acknowledged progress for this long the link counts as dead. Default 5 s.
    pub send_timeout: Duration,
    /// Between `stream_metrics`. Default 5 s.
    pub metrics_interval: Duration,
    /// The lease of an on-demand start that names none. Default 60 s.
    pub lease: Duration,
    /// A region to prefer; empty: the cloud's choice.
    pub region: Text<32>,
    /// Ask for `rtmps` (default) or `rtmp`.
    pub secure: bool,
    /// A server given by hand; `None`: ask the cloud.
    pub server: Option<FixedServer>,
    /// RTMP chunk size in bytes. Default 4096.
    pub chunk_size: u32,
    /// Write into each picture when it was captured ([`sightline_media::CaptureMark`]), so that whoever watches sees its age; 39 bytes a picture. Not for a source
    /// whose pictures are not captured now, as a file's. Default false: a picture goes out byte for byte as it was handed in.
    pub marks_pictures: bool,
    /// The most frames a second that the source gives, as far as it is known: see [`crate::Input::SourceRate`].
    pub source_fps_max: u32,
}

impl Config {
    /// The defaults for a device.
    #[must_use]
    pub fn new(device: DeviceId) -> Self {
        Self {
            device,
            quality: Quality::High,
            custom: None,
            trigger: Trigger::AlwaysOn,
            live_streaming: true,
            adaptive_bitrate: true,
            bandwidth_check: true,
            auto_reconnect: true,
            max_reconnect_attempts: 5,
            reconnect_interval: Duration::from_secs(10),
            reconnect_jitter: 0.2,
            frame_dropping: true,
            target_latency: Duration::from_millis(3000),
            queue_frames_max: usize::MAX,
            queue_bytes_max: 4 << 20,
            min_bitrate_bps: 150_000,
            discovery_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(10),
            publish_timeout: Duration::from_secs(10),
            send_timeout: Duration::from_secs(5),
            metrics_interval: Duration::from_secs(5),
            lease: Duration::from_secs(60),
            region: Text::new(),
            secure: true,
            server: None,
            chunk_size: 4096,
            marks_pictures: false,
            source_fps_max: 60,
        }
    }

    /// The numbers of the wished quality. `custom` without numbers falls back to the default preset.
    #[must_use]
    pub fn wanted(&self) -> Settings {
        const DEFAULT: Settings = Settings { width: 1920, height: 1080, fps: 25, bitrate_bps: 2_000_000 };
        match self.quality {
            Quality::Custom => self.custom.map_or(DEFAULT, CustomQuality::settings),
            preset @ (Quality::Low | Quality::Medium | Quality::High | Quality::Ultra) => preset.settings().unwrap_or(DEFAULT),
        }
    }
}
