//! The agent's settings: one TOML file, each key also as `SIGHTLINE_…`.

pub(crate) mod afar;
pub(crate) mod checked;
pub(crate) mod local;
mod secret;
pub(crate) mod settable;

pub use secret::{Secret, SourceName};

use confique::Config as _;
use serde::{Deserialize, Serialize};
use sightline_capture::{Source, tls::client_config};
use sightline_motion::Zone;
use sightline_signal::ErrorCode;
use std::path::{Path, PathBuf};

use crate::schedule::Window;
use checked::Checked;

// As they are written: `Checked` is what a camera runs with.
/// Settings of `sightline camera`.
#[derive(confique::Config, Clone, Debug)]
pub struct Config {
    /// The device's id, as its certificate names it: A-Z a-z 0-9 _ -, at most 64 characters.
    #[config(env = "SIGHTLINE_CAMERA_DEVICE_ID")]
    pub device_id: String,
    /// Where the pictures come from: `test` (a moving scene), a media file (looped), `/dev/videoN` (a camera of this machine; `sightline camera probe`
    /// lists them), `rtsp(s)://[USER:PASSWORD@]HOST/PATH` (a camera's H.264, H.265 and AAC, passed through, its G.711 as AAC), `http(s)://[USER:PASSWORD@]HOST/PATH` (a camera's MJPEG),
    /// or `-` (standard input: H.264 in Annex B form as it is, anything else by way of ffmpeg).
    #[config(default = "test", env = "SIGHTLINE_CAMERA_SOURCE")]
    pub source: SourceName,
    /// Where a smaller stream of the same RTSP camera is, which most have at an address of their own (`rtsp://HOST/PATH`; user and password as in `source`, where
    /// it has none). Of the two, the one that comes nearest to `stream.quality` is read: the smallest that is not below it. Empty: there is none.
    #[config(default = "", env = "SIGHTLINE_CAMERA_SOURCE_SUB")]
    pub source_sub: SourceName,
    /// How an RTSP camera's media travels: tcp (in RTSP's own connection), or udp, for cameras whose TCP is broken.
    #[config(default = "tcp", env = "SIGHTLINE_CAMERA_RTSP_TRANSPORT")]
    pub rtsp_transport: String,
    /// The authority that the certificate of a camera by rtsps or https must come from (PEM); empty: those that the machine trusts, and the first
    /// certificate that a camera has signed itself and shows, from then on no other (kept in `state_dir`).
    #[config(default = "", env = "SIGHTLINE_CAMERA_SOURCE_CA")]
    pub source_ca: PathBuf,
    /// The format that a camera of this machine is read in: auto (what comes nearest to the quality, and of that the cheapest), h264, nv12, yu12, yuyv or
    /// mjpeg, for drivers that offer what they can't do.
    #[config(default = "auto", env = "SIGHTLINE_CAMERA_V4L2_FORMAT")]
    pub v4l2_format: String,
    /// What encodes: auto (the first H.264 encoder of this machine that proves itself, and otherwise openh264), software (openh264), or /dev/videoN (this
    /// encoder and no other). `sightline camera probe` lists those that are there.
    #[config(default = "auto", env = "SIGHTLINE_CAMERA_ENCODER")]
    pub encoder: String,
    /// When a `scheduled` stream runs: any number of `[[schedule]]` with `days = ["mon", "fri"]`, `start = "08:00"`, `end = "17:30"` (not after
    /// `start`: on the next day) and `tz = "Europe/Berlin"`. In the environment: the same as JSON.
    #[config(default = [], env = "SIGHTLINE_CAMERA_SCHEDULE", parse_env = from_json)]
    pub schedule: Vec<Window>,
    /// Relative paths, here and elsewhere, begin where this file lies. Where the agent keeps what is to survive a restart: settings from afar, what commands have asked for, cameras' own certificates. `{device_id}` stands for the id.
    /// Empty: nothing is kept.
    #[config(default = "", env = "SIGHTLINE_CAMERA_STATE_DIR")]
    pub state_dir: PathBuf,
    /// The stream.
    #[config(nested)]
    pub stream: StreamConfig,
    /// What counts as motion.
    #[config(nested)]
    pub motion: MotionConfig,
    /// The recorder on the device.
    #[config(nested)]
    pub recording: RecordingConfig,
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
    /// What starts the stream: motion, scheduled (see `schedule`), always_on, manual (by command; without `mqtt.url`: at the start), on_demand (by
    /// command, on a lease).
    #[config(default = "motion", env = "SIGHTLINE_CAMERA_STREAM_TRIGGER")]
    pub trigger: String,
    /// Motion starts the stream whatever `trigger` says.
    #[config(default = false, env = "SIGHTLINE_CAMERA_STREAM_AUTO_START_STREAM_ON_MOTION")]
    pub auto_start_stream_on_motion: bool,
    /// Off: nothing is streamed, whatever starts it; the device only records.
    #[config(default = true, env = "SIGHTLINE_CAMERA_STREAM_ENABLE_LIVE_STREAMING")]
    pub enable_live_streaming: bool,
    /// Lower and raise the bit rate with the link.
    #[config(default = true, env = "SIGHTLINE_CAMERA_STREAM_ENABLE_ADAPTIVE_BITRATE")]
    pub enable_adaptive_bitrate: bool,
    /// Before a stream begins, see for a moment what the uplink carries, and begin with the preset that fits; it is raised to `quality` when the
    /// link turns out better.
    #[config(default = true, env = "SIGHTLINE_CAMERA_STREAM_BANDWIDTH_CHECK")]
    pub bandwidth_check: bool,
    /// Write into each picture when it was captured, in 39 bytes that every decoder passes over, so that whoever watches sees how old it is; by the cloud's
    /// clock where there is a cloud. encoded: pictures of sources that are encoded here (`test`, a camera of this machine, MJPEG); all: those that are passed
    /// through as well (RTSP, standard input), which are no longer byte for byte as they came then; off. A file's pictures have none.
    #[config(default = "encoded", env = "SIGHTLINE_CAMERA_STREAM_CAPTURE_TIMES")]
    pub capture_times: String,
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
    /// Frames that may wait for the link; 2 to 512.
    #[config(default = 128, env = "SIGHTLINE_CAMERA_STREAM_FRAME_QUEUE")]
    pub frame_queue: u32,
    /// Bytes that may wait for the link.
    #[config(default = 4_194_304, env = "SIGHTLINE_CAMERA_STREAM_FRAME_QUEUE_BYTES")]
    pub frame_queue_bytes: u32,
    /// A key frame at least this often, in seconds (2 to 5 are usual).
    #[config(default = 2.0, env = "SIGHTLINE_CAMERA_STREAM_KEYFRAME_INTERVAL_SEC")]
    pub keyframe_interval_sec: f32,
    /// The bit rate never goes below this.
    #[config(default = 150_000, env = "SIGHTLINE_CAMERA_STREAM_MIN_BITRATE_BPS")]
    pub min_bitrate_bps: u32,
    /// For DNS, TCP and TLS together, in seconds. Each also has a time of its own.
    #[config(default = 10, env = "SIGHTLINE_CAMERA_STREAM_CONNECT_TIMEOUT_SEC")]
    pub connect_timeout_sec: u32,
    /// For the server's name, in seconds: `DNS_FAILED` after that.
    #[config(default = 5, env = "SIGHTLINE_CAMERA_STREAM_DNS_TIMEOUT_SEC")]
    pub dns_timeout_sec: u32,
    /// For the connection itself, in seconds: `RTMP_CONNECT_TIMEOUT` after that.
    #[config(default = 10, env = "SIGHTLINE_CAMERA_STREAM_TCP_TIMEOUT_SEC")]
    pub tcp_timeout_sec: u32,
    /// For the handshake of TLS, in seconds: `TLS_FAILED` after that.
    #[config(default = 8, env = "SIGHTLINE_CAMERA_STREAM_TLS_TIMEOUT_SEC")]
    pub tls_timeout_sec: u32,
    /// For the handshake of RTMP, in seconds.
    #[config(default = 10, env = "SIGHTLINE_CAMERA_STREAM_HANDSHAKE_TIMEOUT_SEC")]
    pub handshake_timeout_sec: u32,
    /// For the server's answer to RTMP's connect, and again for that to the publish, in seconds.
    #[config(default = 10, env = "SIGHTLINE_CAMERA_STREAM_PUBLISH_TIMEOUT_SEC")]
    pub publish_timeout_sec: u32,
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
    /// A server by hand, `rtmp(s)://host[:port]/app`; empty: ask the cloud. It changes where the stream goes and nothing else: with `mqtt.url`,
    /// triggers, commands and status go on as ever.
    #[config(default = "", env = "SIGHTLINE_CAMERA_STREAM_RTMP_SERVER_URL")]
    pub rtmp_server_url: String,
    /// Servers to try at once when `rtmp_server_url` dies; at most two.
    #[config(default = [], env = "SIGHTLINE_CAMERA_STREAM_BACKUP_SERVERS", parse_env = confique::env::parse::list_by_comma)]
    pub backup_servers: Vec<String>,
    /// The name to publish under on a server by hand, with its query; empty: a random one that is kept in `state_dir`. A secret.
    #[config(default = "", env = "SIGHTLINE_CAMERA_STREAM_STREAM_KEY")]
    pub stream_key: Secret,
    /// The authority that an rtmps server's certificate must come from (PEM); empty: `mqtt.ca`.
    #[config(default = "", env = "SIGHTLINE_CAMERA_STREAM_CA")]
    pub ca: PathBuf,
}

/// `[motion]`: what counts as motion, and how long an event lasts. It is looked for where motion starts the stream or a recording.
#[derive(confique::Config, Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct MotionConfig {
    /// From 0 (only what is large and stands out) to 1 (anything).
    #[config(default = 0.5, env = "SIGHTLINE_CAMERA_MOTION_SENSITIVITY")]
    pub sensitivity: f32,
    /// Where motion counts: any number of `[[motion.zones]]` with `kind = "include"` or `"exclude"` and `points = [[0.0, 0.5], [1.0, 1.0]]`, shares of
    /// width and height from the upper left: two corners of a rectangle, or three and more of a polygon. None: everywhere. In the environment:
    /// the same as JSON.
    #[config(default = [], env = "SIGHTLINE_CAMERA_MOTION_ZONES", parse_env = from_json)]
    pub zones: Vec<Zone>,
    /// Streams and recordings begin at least this long before the motion, in seconds.
    #[config(default = 5, env = "SIGHTLINE_CAMERA_MOTION_PREROLL_SEC")]
    pub preroll_sec: u32,
    /// Bytes of memory that this may take; where they do not suffice it is shorter.
    #[config(default = 16_777_216, env = "SIGHTLINE_CAMERA_MOTION_PREROLL_BYTES")]
    pub preroll_bytes: u32,
    /// An event goes on for this long after the last motion, in seconds.
    #[config(default = 15, env = "SIGHTLINE_CAMERA_MOTION_HOLD_SEC")]
    pub hold_sec: u32,
    /// No event lasts longer, in seconds. After one that did there is a pause of `hold_sec`.
    #[config(default = 600, env = "SIGHTLINE_CAMERA_MOTION_MAX_SEC")]
    pub max_sec: u32,
}

/// `[recording]`: fragmented MP4 on the device's disk, whatever the stream does.
#[derive(confique::Config, Clone, Debug)]
pub struct RecordingConfig {
    /// Record on this device.
    #[config(default = false, env = "SIGHTLINE_CAMERA_RECORDING_ENABLED")]
    pub enabled: bool,
    /// Where. Only recordings of one device; `{device_id}` stands for the id.
    #[config(default = "recordings", env = "SIGHTLINE_CAMERA_RECORDING_DIR")]
    pub dir: PathBuf,
    /// continuous, or motion: clips of events, each with its pre-roll.
    #[config(default = "continuous", env = "SIGHTLINE_CAMERA_RECORDING_MODE")]
    pub mode: String,
    /// Written and synced at a time, in milliseconds: the most that a power cut costs.
    #[config(default = 1000, env = "SIGHTLINE_CAMERA_RECORDING_FRAGMENT_MS")]
    pub fragment_ms: u32,
    /// The length of a file, in seconds; it ends at the next key frame.
    #[config(default = 60, env = "SIGHTLINE_CAMERA_RECORDING_SEGMENT_SEC")]
    pub segment_sec: u32,
    /// Files older than this are removed, in hours; 0: none is for its age. At most one for each that begins, and none while the clock may be wrong:
    /// for six hours after it was set by more than a minute, or was a day and more from the newest recording at the start.
    #[config(default = 168, env = "SIGHTLINE_CAMERA_RECORDING_KEEP_HOURS")]
    pub keep_hours: u32,
    /// All files together have at most this many megabytes (10^6 bytes); the oldest are removed first.
    #[config(default = 4000, env = "SIGHTLINE_CAMERA_RECORDING_KEEP_MB")]
    pub keep_mb: u32,
}

/// `[mqtt]`: MQTT over TLS with a client certificate.
#[derive(confique::Config, Clone, Debug)]
pub struct MqttConfig {
    /// `mqtts://host[:port]`; empty: no cloud, `stream.rtmp_server_url` is used.
    #[config(default = "", env = "SIGHTLINE_CAMERA_MQTT_URL")]
    pub url: String,
    /// `https://host[:port]`: where the cloud is asked for a server while the broker can't be reached; empty: the broker's host, port 8080; `off`:
    /// nowhere. The stream runs without the broker then; commands and status wait for it.
    #[config(default = "", env = "SIGHTLINE_CAMERA_MQTT_HTTPS_URL")]
    pub https_url: String,
    /// The authority that the broker's certificate must come from (PEM).
    #[config(default = "", env = "SIGHTLINE_CAMERA_MQTT_CA")]
    pub ca: PathBuf,
    /// The device's certificate (PEM). Its common name is the device's id. `{device_id}` stands for the id, here and in `mqtt.key`.
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

/// Stands for the device's id in settings that differ from device to device.
const DEVICE_ID_MARK: &str = "{device_id}";

/// A list in an environment variable.
fn from_json<T: serde::de::DeserializeOwned>(text: &str) -> Result<Vec<T>, serde_json::Error> {
    serde_json::from_str(text)
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
        layer.source = Some(source.into());
        match Self::from_layer(layer) {
            Ok(config) => config,
            Err(error) => unreachable!("the defaults are complete: {error}"),
        }
    }

    /// Puts the id where `{device_id}` stands: in the settings that differ from device to device.
    #[must_use]
    pub fn for_device(mut self) -> Self {
        let id = self.device_id.clone();
        self.source = self.source.reveal().replace(DEVICE_ID_MARK, &id).into();
        self.source_sub = self.source_sub.reveal().replace(DEVICE_ID_MARK, &id).into();
        self.stream.stream_key = self.stream.stream_key.reveal().replace(DEVICE_ID_MARK, &id).into();
        self.stream.rtmp_server_url = self.stream.rtmp_server_url.replace(DEVICE_ID_MARK, &id);
        for path in [&mut self.mqtt.cert, &mut self.mqtt.key, &mut self.recording.dir, &mut self.state_dir] {
            if let Some(text) = path.to_str().filter(|text| text.contains(DEVICE_ID_MARK)) {
                *path = text.replace(DEVICE_ID_MARK, &id).into();
            }
        }
        self
    }

    /// Takes relative paths from `base`: the directory of the settings' file, wherever the program was started.
    pub fn resolve(&mut self, base: &Path) {
        if let Ok(Source::File(file)) = self.source.reveal().parse()
            && let Some(file) = base.join(file).to_str()
        {
            self.source = file.into();
        }
        let mqtt = &mut self.mqtt;
        let paths = [&mut self.source_ca, &mut self.state_dir, &mut self.stream.ca, &mut self.recording.dir];
        for path in paths.into_iter().chain([&mut mqtt.ca, &mut mqtt.cert, &mut mqtt.key]) {
            // Empty says that there is none.
            if !path.as_os_str().is_empty() {
                *path = base.join(&path);
            }
        }
    }

    /// Opens the files that a start opens. Not the source: that may come later.
    ///
    /// # Errors
    /// The first [`Problem`].
    pub fn check_files(&self) -> Result<(), Problem> {
        let mqtt = &self.mqtt;
        if !mqtt.url.is_empty() {
            client_config(&mqtt.ca, Some((&mqtt.cert, &mqtt.key))).or_else(|error| problem("mqtt.ca, mqtt.cert, mqtt.key", error))?;
        }
        for (key, ca) in [("stream.ca", &self.stream.ca), ("source_ca", &self.source_ca)] {
            if !ca.as_os_str().is_empty() {
                client_config(ca, None).or_else(|error| problem(key, error))?;
            }
        }
        Ok(())
    }

    /// Opens the source, where it is a file. An agent of several cameras tries it again, that of one ends.
    ///
    /// # Errors
    /// [`Problem`]
    pub fn check_source(&self) -> Result<(), Problem> {
        match self.source.reveal().parse() {
            Ok(Source::File(file)) => match std::fs::File::open(&file) {
                Ok(_) => Ok(()),
                Err(error) => problem("source", format!("{}: {error}", file.display())),
            },
            // Cameras come and go; the agent waits for them.
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// The settings that hold secrets, with their tables. Whoever shows settings hides these.
    pub const SECRETS: [&str; 1] = ["stream.stream_key"];

    /// Checks every setting, before any I/O.
    ///
    /// # Errors
    /// The first [`Problem`].
    pub fn check(&self) -> Result<(), Problem> {
        self.checked().map(|_| ())
    }

    pub(crate) fn checked(&self) -> Result<Checked, Problem> {
        Checked::of(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sightline_capture::Source;

    #[test]
    fn no_secret_is_in_what_a_log_could_show() {
        let mut config = Config::new("cam-1", "rtsp://admin:hunter2@host/1?token=hunter2");
        config.stream.rtmp_server_url = "rtmp://localhost/live".into();
        config.stream.stream_key = "name?key=hunter2".into();
        let checked = config.checked().unwrap();
        let shown = [format!("{config:?}"), format!("{checked:?}"), format!("{:?}", crate::Fleet::new(vec![config]).unwrap())];
        for shown in shown {
            assert!(shown.contains("rtsp://host/1") && !shown.contains("hunter2") && !shown.contains("admin"), "{shown}");
        }
    }

    #[test]
    fn every_secret_is_a_setting() {
        let fields = Config::META.fields;
        let stream = fields.iter().find(|field| field.name == "stream").unwrap();
        let confique::meta::FieldKind::Nested { meta } = stream.kind else { panic!("a table") };
        for secret in Config::SECRETS {
            assert!(meta.fields.iter().any(|field| format!("stream.{}", field.name) == secret), "{secret}");
        }
    }

    #[test]
    fn the_defaults_pass_once_there_is_somewhere_to_stream_to() {
        let mut config = Config::new("cam-1", "test");
        assert_eq!(config.check().unwrap_err().key, "mqtt.url");
        config.mqtt.url = "mqtts://localhost".into();
        assert!(config.check().is_ok());
        assert_eq!(config.stream.reconnect_interval_sec, 10);
    }

    #[test]
    fn motion_is_looked_for_where_someone_wants_to_know() {
        let mut config = Config::new("cam-1", "test");
        config.mqtt.url = "mqtts://localhost".into();
        let motion = |config: &Config| config.checked().unwrap().motion.map(|motion| motion.starts_stream);
        assert_eq!(motion(&config), Some(true), "the default trigger");
        config.stream.trigger = "always_on".into();
        assert_eq!(motion(&config), None);
        config.recording.enabled = true;
        config.recording.mode = "motion".into();
        assert_eq!(motion(&config), Some(false));
        config.stream.auto_start_stream_on_motion = true;
        assert_eq!(motion(&config), Some(true));
        config.stream.enable_live_streaming = false;
        config.mqtt.url = String::new();
        assert_eq!(motion(&config), Some(false), "only clips, and no server is needed");
    }

    #[test]
    fn windows_and_zones_are_read_from_the_file_and_from_json() {
        let window = r#"[{"days":["mon"],"start":"08:00","end":"17:30","tz":"Europe/Berlin"}]"#;
        let mut config = Config::new("cam-1", "test");
        config.mqtt.url = "mqtts://localhost".into();
        config.stream.trigger = "scheduled".into();
        assert_eq!(config.check().unwrap_err().key, "schedule");
        config.schedule = from_json(window).unwrap();
        config.motion.zones = from_json(r#"[{"kind":"exclude","points":[[0.0,0.5],[1.0,1.0]]}]"#).unwrap();
        assert!(config.check().is_ok());
        config.motion.zones = from_json(r#"[{"kind":"exclude","points":[[0.0,0.5],[2.0,1.0]]}]"#).unwrap();
        assert_eq!(config.check().unwrap_err().key, "motion.zones");
        assert!(from_json::<Window>(r#"[{"days":["mon"],"begin":"08:00"}]"#).is_err());
    }

    #[test]
    fn the_id_stands_where_its_mark_is() {
        let mut config = Config::new("cam-1", "/clips/{device_id}.mp4");
        config.mqtt.cert = "devices/{device_id}.pem".into();
        config.state_dir = "state/{device_id}".into();
        let config = config.for_device();
        assert_eq!((config.source.reveal(), config.mqtt.cert.to_str()), ("/clips/cam-1.mp4", Some("devices/cam-1.pem")));
        assert_eq!((config.state_dir.to_str(), config.recording.dir.to_str()), (Some("state/cam-1"), Some("recordings")));
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
        assert!(
            matches!(config.checked().unwrap().local.source, Source::V4l2(camera) if camera.format == Some(sightline_capture::PixelFormat::Nv12))
        );
    }
}
