//! The agent's settings: one TOML file, each key also as `SIGHTLINE_…`.

use confique::Config as _;
use heapless::Vec as BoundedVec;
use sightline_pusher::{FixedServer, Trigger};
use sightline_rtmp::url::RtmpUrl;
use sightline_signal::{CustomQuality, DeviceId, ErrorCode, Quality, Settings, Text};
use std::{path::PathBuf, time::Duration};

use crate::{
    mqtt,
    source::{Source, rtsp::Transport},
};

/// Settings of `sightline camera`.
#[derive(confique::Config, Clone, Debug)]
pub struct Config {
    /// The device's id, as its certificate names it: A-Z a-z 0-9 _ -, at most 64 characters.
    #[config(env = "SIGHTLINE_CAMERA_DEVICE_ID")]
    pub device_id: String,
    /// Where the pictures come from: `test` (a moving scene), a media file (looped), `/dev/videoN` (a camera of this machine; `sightline camera probe`
    /// lists them), `rtsp(s)://[USER:PASSWORD@]HOST/PATH` (a camera's H.264 and AAC, passed through), `http(s)://[USER:PASSWORD@]HOST/PATH` (a camera's MJPEG),
    /// or `-` (Annex B on standard input).
    #[config(default = "test", env = "SIGHTLINE_CAMERA_SOURCE")]
    pub source: String,
    /// How an RTSP camera's media travels: tcp (in RTSP's own connection), or udp, for cameras whose TCP is broken.
    #[config(default = "tcp", env = "SIGHTLINE_CAMERA_RTSP_TRANSPORT")]
    pub rtsp_transport: String,
    /// The authority that the certificate of a camera by rtsps or https must come from (PEM); empty: those that the machine trusts.
    #[config(default = "", env = "SIGHTLINE_CAMERA_SOURCE_CA")]
    pub source_ca: PathBuf,
    /// The format that a camera of this machine is read in: auto (what comes nearest to the quality, and of that the cheapest), h264, nv12, yu12, yuyv or
    /// mjpeg, for drivers that offer what they can't do.
    #[config(default = "auto", env = "SIGHTLINE_CAMERA_V4L2_FORMAT")]
    pub v4l2_format: String,
    /// The stream.
    #[config(nested)]
    pub stream: StreamConfig,
    /// The way to the cloud.
    #[config(nested)]
    pub mqtt: MqttConfig,
}

/// `[stream]`: what is sent, when, and how hard it is tried.
#[derive(confique::Config, Clone, Debug)]
pub struct StreamConfig {
    /// low, medium, high, ultra, custom; empty: `high`, and H.264 of a file or an RTSP camera is passed through as it is.
    #[config(default = "", env = "SIGHTLINE_CAMERA_STREAM_QUALITY")]
    pub quality: String,
    /// Width of `custom`, in pixels; even.
    #[config(default = 1280, env = "SIGHTLINE_CAMERA_STREAM_WIDTH")]
    pub width: u32,
    /// Height of `custom`, in pixels; even.
    #[config(default = 720, env = "SIGHTLINE_CAMERA_STREAM_HEIGHT")]
    pub height: u32,
    /// Frames a second of `custom`.
    #[config(default = 20, env = "SIGHTLINE_CAMERA_STREAM_FPS")]
    pub fps: u32,
    /// Bits a second of `custom`.
    #[config(default = 1_000_000, env = "SIGHTLINE_CAMERA_STREAM_BITRATE_BPS")]
    pub bitrate_bps: u32,
    /// What starts the stream: always_on, manual (by command), on_demand (by command, on a lease).
    #[config(default = "always_on", env = "SIGHTLINE_CAMERA_STREAM_TRIGGER")]
    pub trigger: String,
    /// Lower and raise the bit rate with the link.
    #[config(default = true, env = "SIGHTLINE_CAMERA_STREAM_ENABLE_ADAPTIVE_BITRATE")]
    pub enable_adaptive_bitrate: bool,
    /// Try again after a failure.
    #[config(default = true, env = "SIGHTLINE_CAMERA_STREAM_ENABLE_AUTO_RECONNECT")]
    pub enable_auto_reconnect: bool,
    /// Failed rounds on one set of servers before the cloud is asked for another.
    #[config(default = 5, env = "SIGHTLINE_CAMERA_STREAM_MAX_RECONNECT_ATTEMPTS")]
    pub max_reconnect_attempts: u32,
    /// The delay after the first failure, in seconds; doubles with each, up to 60.
    #[config(default = 10, env = "SIGHTLINE_CAMERA_STREAM_RECONNECT_INTERVAL_SEC")]
    pub reconnect_interval_sec: u32,
    /// Each delay is drawn from plus or minus this share of it.
    #[config(default = 0.2, env = "SIGHTLINE_CAMERA_STREAM_RECONNECT_JITTER")]
    pub reconnect_jitter: f32,
    /// Leave frames out when the link is too slow.
    #[config(default = true, env = "SIGHTLINE_CAMERA_STREAM_ENABLE_FRAME_DROPPING")]
    pub enable_frame_dropping: bool,
    /// No frame waits longer than this for the link, in milliseconds.
    #[config(default = 3000, env = "SIGHTLINE_CAMERA_STREAM_TARGET_LATENCY_MS")]
    pub target_latency_ms: u32,
    /// Bytes that may wait for the link, besides 128 frames.
    #[config(default = 4_194_304, env = "SIGHTLINE_CAMERA_STREAM_FRAME_QUEUE_BYTES")]
    pub frame_queue_bytes: u32,
    /// A key frame at least this often, in seconds (2 to 5 are usual).
    #[config(default = 2.0, env = "SIGHTLINE_CAMERA_STREAM_KEYFRAME_INTERVAL_SEC")]
    pub keyframe_interval_sec: f32,
    /// The bit rate never goes below this.
    #[config(default = 150_000, env = "SIGHTLINE_CAMERA_STREAM_MIN_BITRATE_BPS")]
    pub min_bitrate_bps: u32,
    /// For DNS, TCP and TLS together, in seconds.
    #[config(default = 10, env = "SIGHTLINE_CAMERA_STREAM_CONNECT_TIMEOUT_SEC")]
    pub connect_timeout_sec: u32,
    /// Without acknowledged progress for this long the link counts as dead, in seconds.
    #[config(default = 5, env = "SIGHTLINE_CAMERA_STREAM_SEND_TIMEOUT_SEC")]
    pub send_timeout_sec: u32,
    /// Between two `stream_metrics` messages, in seconds.
    #[config(default = 5, env = "SIGHTLINE_CAMERA_STREAM_METRICS_INTERVAL_SEC")]
    pub metrics_interval_sec: u32,
    /// A region to prefer; empty: the cloud's choice.
    #[config(default = "", env = "SIGHTLINE_CAMERA_STREAM_PREFERRED_REGION")]
    pub preferred_region: String,
    /// Ask for rtmps, or for rtmp (unencrypted).
    #[config(default = "rtmps", env = "SIGHTLINE_CAMERA_STREAM_STREAM_TYPE")]
    pub stream_type: String,
    /// A server by hand, `rtmp(s)://host[:port]/app`; empty: ask the cloud.
    #[config(default = "", env = "SIGHTLINE_CAMERA_STREAM_RTMP_SERVER_URL")]
    pub rtmp_server_url: String,
    /// Servers to try at once when `rtmp_server_url` dies; at most two.
    #[config(default = [], env = "SIGHTLINE_CAMERA_STREAM_BACKUP_SERVERS", parse_env = confique::env::parse::list_by_comma)]
    pub backup_servers: Vec<String>,
    /// The name to publish under on a server by hand, with its query. A secret.
    #[config(default = "", env = "SIGHTLINE_CAMERA_STREAM_STREAM_KEY")]
    pub stream_key: String,
    /// The authority that an rtmps server's certificate must come from (PEM); empty: `mqtt.ca`.
    #[config(default = "", env = "SIGHTLINE_CAMERA_STREAM_CA")]
    pub ca: PathBuf,
}

/// `[mqtt]`: MQTT over TLS with a client certificate.
#[derive(confique::Config, Clone, Debug)]
pub struct MqttConfig {
    /// `mqtts://host[:port]`; empty: no cloud, `stream.rtmp_server_url` is used.
    #[config(default = "", env = "SIGHTLINE_CAMERA_MQTT_URL")]
    pub url: String,
    /// The authority that the broker's certificate must come from (PEM).
    #[config(default = "", env = "SIGHTLINE_CAMERA_MQTT_CA")]
    pub ca: PathBuf,
    /// The device's certificate (PEM). Its common name is the device's id.
    #[config(default = "", env = "SIGHTLINE_CAMERA_MQTT_CERT")]
    pub cert: PathBuf,
    /// The certificate's private key (PEM).
    #[config(default = "", env = "SIGHTLINE_CAMERA_MQTT_KEY")]
    pub key: PathBuf,
    /// Seconds between two signs of life.
    #[config(default = 15, env = "SIGHTLINE_CAMERA_MQTT_KEEP_ALIVE_SEC")]
    pub keep_alive_sec: u16,
}

/// A setting that can't be used: which, why, and the mend.
#[derive(Debug, thiserror::Error)]
#[error("{}{key}: {problem}", self.code().map_or(String::new(), |code| format!("{code}: ")))]
pub struct Problem {
    /// The key, with its table.
    pub key: &'static str,
    /// What is wrong and what would be right.
    pub problem: String,
}

impl Problem {
    /// Its code, where it has one.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        self.key.starts_with("mqtt.").then_some(ErrorCode::MqttConfigInvalid)
    }
}

fn problem<T>(key: &'static str, problem: impl std::fmt::Display) -> Result<T, Problem> {
    Err(Problem { key, problem: problem.to_string() })
}

/// A configuration that was checked.
#[derive(Clone, Debug)]
pub(crate) struct Checked {
    pub(crate) pusher: sightline_pusher::Config,
    pub(crate) source: Source,
    pub(crate) rtsp_transport: Transport,
    /// `None`: the source's own numbers where it can be passed through.
    pub(crate) limits: Option<Settings>,
}

impl Config {
    /// The defaults for a device with a source: for commands that build their settings themselves.
    ///
    /// # Panics
    /// Never: the defaults are complete.
    #[must_use]
    pub fn new(device_id: &str, source: &str) -> Self {
        use confique::Layer as _;
        let mut layer = <Self as confique::Config>::Layer::default_values();
        layer.device_id = Some(device_id.to_owned());
        layer.source = Some(source.to_owned());
        match Self::from_layer(layer) {
            Ok(config) => config,
            Err(error) => unreachable!("the defaults are complete: {error}"),
        }
    }

    /// Checks every setting, before any I/O.
    ///
    /// # Errors
    /// The first [`Problem`].
    pub fn check(&self) -> Result<(), Problem> {
        self.checked().map(|_| ())
    }

    pub(crate) fn checked(&self) -> Result<Checked, Problem> {
        let stream = &self.stream;
        let device = DeviceId::new(&self.device_id).or_else(|error| problem("device_id", error))?;
        let mut source: Source = self.source.parse().or_else(|error| problem("source", error))?;
        if !self.source_ca.as_os_str().is_empty() {
            source.trust(&self.source_ca);
        }
        let format = Some(self.v4l2_format.as_str()).filter(|name| *name != "auto").map(str::parse).transpose();
        let format = format.or_else(|error: String| problem("v4l2_format", error))?;
        if let Source::V4l2(camera) = &mut source {
            camera.format = format;
        }
        let rtsp_transport = self.rtsp_transport.parse().or_else(|error: String| problem("rtsp_transport", error))?;
        let trigger = match stream.trigger.as_str() {
            "always_on" => Trigger::AlwaysOn,
            "manual" => Trigger::Manual,
            "on_demand" => Trigger::OnDemand,
            "motion" | "scheduled" => {
                return problem("stream.trigger", "motion and scheduled are not built yet; take always_on, manual or on_demand");
            }
            other => return problem("stream.trigger", format!("{other:?} is none of always_on, manual, on_demand")),
        };
        let (quality, custom) = self.quality()?;
        let limits =
            (!stream.quality.is_empty()).then(|| custom.map_or_else(|| quality.settings(), |custom| Some(custom.settings()))).flatten();
        let secs = |value: u32| Duration::from_secs(u64::from(value));
        let pusher = sightline_pusher::Config {
            quality,
            custom,
            trigger,
            adaptive_bitrate: stream.enable_adaptive_bitrate,
            auto_reconnect: stream.enable_auto_reconnect,
            max_reconnect_attempts: stream.max_reconnect_attempts,
            reconnect_interval: secs(stream.reconnect_interval_sec),
            reconnect_jitter: stream.reconnect_jitter,
            frame_dropping: stream.enable_frame_dropping,
            target_latency: Duration::from_millis(u64::from(at_least("stream.target_latency_ms", stream.target_latency_ms, 100)?)),
            queue_bytes_max: at_least("stream.frame_queue_bytes", stream.frame_queue_bytes, 65_536)? as usize,
            min_bitrate_bps: at_least("stream.min_bitrate_bps", stream.min_bitrate_bps, CustomQuality::BITRATE_BPS_MIN)?,
            connect_timeout: secs(at_least("stream.connect_timeout_sec", stream.connect_timeout_sec, 1)?),
            send_timeout: secs(at_least("stream.send_timeout_sec", stream.send_timeout_sec, 1)?),
            metrics_interval: secs(at_least("stream.metrics_interval_sec", stream.metrics_interval_sec, 1)?),
            region: Text::try_from(stream.preferred_region.as_str())
                .or_else(|_| problem("stream.preferred_region", "at most 32 characters"))?,
            secure: match stream.stream_type.as_str() {
                "rtmps" => true,
                "rtmp" => false,
                other => return problem("stream.stream_type", format!("{other:?} is neither rtmps nor rtmp")),
            },
            server: self.server()?,
            ..sightline_pusher::Config::new(device)
        };
        if !(0.1..=60.0).contains(&stream.keyframe_interval_sec) {
            return problem("stream.keyframe_interval_sec", "take 0.1 to 60 seconds; 2 is usual");
        }
        if !self.mqtt.url.is_empty() {
            mqtt::parse_url(&self.mqtt.url).or_else(|error| problem("mqtt.url", error))?;
        }
        if self.mqtt.url.is_empty() && pusher.server.is_none() {
            return problem("mqtt.url", "neither a cloud (mqtt.url) nor a server by hand (stream.rtmp_server_url) is given: set one");
        }
        Ok(Checked { pusher, source, rtsp_transport, limits })
    }

    fn quality(&self) -> Result<(Quality, Option<CustomQuality>), Problem> {
        let StreamConfig { quality, width, height, fps, bitrate_bps, .. } = &self.stream;
        if quality.is_empty() {
            return Ok((Quality::default(), None));
        }
        let quality: Quality = quality.parse().or_else(|error| problem("stream.quality", error))?;
        if quality != Quality::Custom {
            return Ok((quality, None));
        }
        let settings = Settings { width: *width, height: *height, fps: *fps, bitrate_bps: *bitrate_bps };
        // The source's own rate is not known before it is opened; 60 is the most that anything here makes.
        let custom = CustomQuality::new(settings, 60).or_else(|error| problem("stream.quality", error))?;
        Ok((quality, Some(custom)))
    }

    fn server(&self) -> Result<Option<FixedServer>, Problem> {
        let StreamConfig { rtmp_server_url: url, backup_servers, stream_key, .. } = &self.stream;
        if url.is_empty() {
            return Ok(None);
        }
        let mut tc_urls = BoundedVec::new();
        let first = std::iter::once(("stream.rtmp_server_url", url));
        for (key, url) in first.chain(backup_servers.iter().map(|url| ("stream.backup_servers", url))) {
            RtmpUrl::parse(url).or_else(|error| problem(key, format!("{error}; take rtmp(s)://host[:port]/app")))?;
            let url = Text::try_from(url.as_str()).or_else(|_| problem(key, "at most 192 characters"))?;
            tc_urls.push(url).or_else(|_| problem(key, "at most two backups"))?;
        }
        let name = Text::try_from(stream_key.as_str()).or_else(|_| problem("stream.stream_key", "at most 512 characters"))?;
        Ok(Some(FixedServer { tc_urls, name }))
    }
}

fn at_least(key: &'static str, value: u32, least: u32) -> Result<u32, Problem> {
    if value < least { problem(key, format!("{value} is below the least, {least}")) } else { Ok(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_pass_once_there_is_somewhere_to_stream_to() {
        let mut config = Config::new("cam-1", "test");
        assert_eq!(config.check().unwrap_err().key, "mqtt.url");
        config.mqtt.url = "mqtts://localhost".into();
        assert!(config.check().is_ok());
        assert_eq!(config.stream.reconnect_interval_sec, 10);
    }

    #[test]
    fn each_problem_names_its_key_and_the_mend() {
        let mut config = Config::new("cam/1", "test");
        assert_eq!(config.check().unwrap_err().key, "device_id");
        config.device_id = "cam-1".into();
        config.stream.rtmp_server_url = "http://x/live".into();
        assert_eq!(config.check().unwrap_err().key, "stream.rtmp_server_url");
        config.stream.rtmp_server_url = "rtmp://x/live".into();
        config.stream.quality = "custom".into();
        config.stream.width = 641;
        let error = config.check().unwrap_err().to_string();
        assert!(error.contains("stream.quality") && error.contains("even"), "{error}");
        config.stream.quality = "low".into();
        config.source = "/dev/video0".into();
        config.v4l2_format = "rgb3".into();
        let error = config.check().unwrap_err().to_string();
        assert!(error.contains("v4l2_format") && error.contains("nv12"), "{error}");
        config.v4l2_format = "nv12".into();
        assert!(matches!(config.checked().unwrap().source, Source::V4l2(camera) if camera.format == Some(crate::PixelFormat::Nv12)));
    }
}
