//! The settings that only the device's own file may hold: who it is, what it is connected to, its secrets and its paths.

use heapless::Vec as BoundedVec;
use sightline_capture::{Source, Transport};
use sightline_encode::EncoderChoice;
use sightline_pusher::FixedServer;
use sightline_rtmp::url::RtmpUrl;
use sightline_signal::{DeviceId, Text};
use std::path::PathBuf;

use super::{Config, Problem, problem};
use crate::cloud::{
    https::Endpoint,
    mqtt,
    renewal::{DeviceFiles, Pair},
};

/// The file's part that no message can change.
#[derive(Clone, Debug)]
pub(crate) struct Local {
    pub(crate) device: DeviceId,
    pub(crate) source: Source,
    pub(crate) rtsp_transport: Transport,
    pub(crate) encoder: EncoderChoice,
    /// `None`: nothing is kept over a restart.
    pub(crate) state_dir: Option<PathBuf>,
    /// `None`: the cloud is asked for servers.
    pub(crate) server: Option<FixedServer>,
    /// What the certificate of an rtmps server must come from.
    pub(crate) rtmps_ca: RtmpsAuthority,
    pub(crate) recording_dir: PathBuf,
    pub(crate) cloud: Cloud,
}

/// The authority of rtmps servers, and the setting that names it.
#[derive(Clone, Debug)]
pub(crate) struct RtmpsAuthority {
    pub(crate) key: &'static str,
    /// `None`: none is named.
    pub(crate) file: Option<PathBuf>,
}

/// The way to the cloud.
#[derive(Clone, Debug)]
pub(crate) struct Cloud {
    /// `None`: there is no cloud.
    pub(crate) broker: Option<Broker>,
    /// Where it is asked while the broker is away.
    pub(crate) https: Option<Endpoint>,
    pub(crate) ca: PathBuf,
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) keep_alive_sec: u16,
}

/// Where the broker listens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Broker {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Local {
    /// Reads the file's part.
    pub(super) fn of(config: &Config) -> Result<Self, Problem> {
        let device = DeviceId::new(&config.device_id).or_else(|error| problem("device_id", error))?;
        let source = source(config)?;
        let rtsp_transport = config.rtsp_transport.parse().or_else(|error| problem("rtsp_transport", error))?;
        let encoder = config.encoder.parse().or_else(|error| problem("encoder", error))?;
        let some = |path: &PathBuf| (!path.as_os_str().is_empty()).then(|| path.clone());
        let own = some(&config.stream.ca);
        let of_cloud = some(&config.mqtt.ca);
        Ok(Self {
            device,
            source,
            rtsp_transport,
            encoder,
            state_dir: some(&config.state_dir),
            server: server(config)?,
            rtmps_ca: match (own, of_cloud) {
                (None, Some(file)) => RtmpsAuthority { key: "mqtt.ca", file: Some(file) },
                (file, _) => RtmpsAuthority { key: "stream.ca", file },
            },
            recording_dir: config.recording.dir.clone(),
            cloud: cloud(config)?,
        })
    }

    /// The files by which the device shows who it is.
    pub(crate) fn device_files(&self) -> DeviceFiles {
        let configured = Pair { cert: self.cloud.cert.clone(), key: self.cloud.key.clone() };
        DeviceFiles { device: self.device.clone(), ca: self.cloud.ca.clone(), configured, state_dir: self.state_dir.clone() }
    }

    /// Whether there is a cloud. A server by hand changes where the stream goes and nothing else (specification §1.4): commands, status and
    /// settings go by the broker as ever.
    pub(crate) fn has_cloud(&self) -> bool {
        self.cloud.broker.is_some()
    }
}

/// In `state_dir`: the certificates of cameras that have signed them themselves.
const CAMERA_CERTIFICATES: &str = "camera-certificates";

fn source(config: &Config) -> Result<Source, Problem> {
    let mut source: Source = config.source.reveal().parse().or_else(|error| problem("source", error))?;
    if !config.source_sub.reveal().is_empty() {
        source.second(config.source_sub.reveal()).or_else(|error| problem("source_sub", error))?;
    }
    if !config.source_ca.as_os_str().is_empty() {
        source.trust(&config.source_ca);
    }
    if !config.state_dir.as_os_str().is_empty() {
        source.pin_in(&config.state_dir.join(CAMERA_CERTIFICATES));
    }
    let format = Some(config.v4l2_format.as_str()).filter(|name| *name != "auto").map(str::parse).transpose();
    let format = format.or_else(|error| problem("v4l2_format", error))?;
    if let Source::V4l2(camera) = &mut source {
        camera.format = format;
    }
    Ok(source)
}

fn server(config: &Config) -> Result<Option<FixedServer>, Problem> {
    let (url, backups) = (&config.stream.rtmp_server_url, &config.stream.backup_servers);
    if url.is_empty() {
        return Ok(None);
    }
    let mut tc_urls = BoundedVec::new();
    let first = std::iter::once(("stream.rtmp_server_url", url));
    for (key, url) in first.chain(backups.iter().map(|url| ("stream.backup_servers", url))) {
        RtmpUrl::parse(url).or_else(|error| problem(key, format!("{error}; take rtmp(s)://host[:port]/app")))?;
        let url = Text::try_from(url.as_str()).or_else(|_| problem(key, "at most 192 characters"))?;
        tc_urls.push(url).or_else(|_| problem(key, "at most two backups"))?;
    }
    let name = Text::try_from(config.stream.stream_key.reveal()).or_else(|_| problem("stream.stream_key", "at most 512 characters"))?;
    Ok(Some(FixedServer { tc_urls, name }))
}

/// `mqtt.https_url` where the cloud is asked by MQTT alone.
const NO_HTTPS: &str = "off";

fn cloud(config: &Config) -> Result<Cloud, Problem> {
    let mqtt = &config.mqtt;
    let broker = if mqtt.url.is_empty() {
        None
    } else {
        let (host, port) = mqtt::parse_url(&mqtt.url).or_else(|error| problem("mqtt.url", error))?;
        Some(Broker { host, port })
    };
    if mqtt.keep_alive_sec == 0 {
        return problem("mqtt.keep_alive_sec", "without it nobody would notice a dead connection: take 5 to 600 seconds; 15 is usual");
    }
    let https = match (&broker, mqtt.https_url.as_str()) {
        (None, _) | (_, NO_HTTPS) => None,
        (Some(broker), "") => Some(Endpoint::beside(&broker.host)),
        (Some(_), url) => Some(Endpoint::parse(url).or_else(|error| problem("mqtt.https_url", error))?),
    };
    Ok(Cloud { broker, https, ca: mqtt.ca.clone(), cert: mqtt.cert.clone(), key: mqtt.key.clone(), keep_alive_sec: mqtt.keep_alive_sec })
}
